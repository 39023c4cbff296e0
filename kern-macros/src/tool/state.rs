//! `#[state]` on a parameter that the application brings.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Attribute, Ident, Meta, PatType, Type};

use super::types::{context, peel, text};
use crate::errors::Errors;

/// A parameter of type `&T`, where the application brings the `T`.
pub(crate) struct State {
    pub(super) ident: Option<Ident>,
    /// Without the reference.
    pub(super) ty: TokenStream,
    pub(super) cfgs: Vec<TokenStream>,
    pub(super) field: Ident,
}

/// The type of a `#[state]` parameter without its reference. `None`: the parameter is refused.
pub(super) fn state_type(
    typed: &PatType,
    state: &Attribute,
    args: &[Attribute],
    docs: &[Attribute],
    errors: &mut Errors,
) -> Option<TokenStream> {
    let reported = errors.count();
    if !matches!(state.meta, Meta::Path(_)) {
        errors.at(state, "`#[state]` takes no arguments", "write `#[state]`: the value is found by its type");
    }
    if let Some(arg) = args.first() {
        let help = "keep one of the two: a state is brought by the application, an argument is filled by the model";
        errors.at(arg, "`#[arg]` cannot be combined with `#[state]`", help);
    }
    if let Some(doc) = docs.first() {
        errors.at(
            doc,
            "documentation on a `#[state]`: the model never sees this parameter",
            "write an ordinary comment (`//`), or document the function",
        );
    }
    let is_context = context(&typed.ty).is_some();
    let ty = match peel(&typed.ty) {
        _ if is_context => {
            errors.at(&typed.ty, "`RunContext` is no state", "write `&RunContext` without `#[state]`");
            return None;
        }
        Type::Reference(reference) if reference.mutability.is_none() => peel(&reference.elem),
        Type::Reference(reference) => {
            let help = format!("write `&{}`: tools may run in parallel and share it", text(&reference.elem));
            errors.at(reference, "a state is taken by shared reference", help);
            return None;
        }
        other => {
            let help = format!("write `&{}`: tools may run in parallel and share it", text(other));
            errors.at(other, "a state is taken by shared reference", help);
            return None;
        }
    };
    let owned = match ty {
        Type::Slice(slice) => Some(format!("&Vec<{}>", text(&slice.elem))),
        Type::Path(path) if path.path.is_ident("str") => Some("&String".to_owned()),
        Type::TraitObject(object) => Some(format!("&std::sync::Arc<{}>", text(object))),
        Type::ImplTrait(_) => Some("&T` with the type itself as `T".to_owned()),
        _ => None,
    };
    if let Some(owned) = owned {
        let message = format!("`{}` cannot be a state: it is found by its type, which has to be sized", text(ty));
        errors.at(&typed.ty, message, format!("write `{owned}`, better still a type of your own"));
    }
    (errors.count() == reported).then(|| ty.to_token_stream())
}
