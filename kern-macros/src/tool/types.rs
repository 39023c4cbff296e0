//! What a macro can tell of a type by looking at it: its names, and nothing behind them.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{GenericArgument, PathArguments, Type, TypeReference};

use crate::attributes;
use crate::errors::Errors;

/// How a type that is meant to be the context is written.
pub(super) enum Injected {
    Right,
    Wrong,
}

/// Says whether the type is meant to be the context: by its name, the only thing a macro can see.
pub(super) fn context(ty: &Type) -> Option<Injected> {
    match peel(ty) {
        Type::Path(path) if attributes::names(&path.path, "RunContext") => Some(Injected::Wrong),
        Type::Reference(TypeReference { elem, mutability, .. }) => match peel(elem) {
            Type::Path(path) if attributes::names(&path.path, "RunContext") => {
                Some(if mutability.is_some() { Injected::Wrong } else { Injected::Right })
            }
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn is_self(ty: &Type) -> bool {
    matches!(peel(ty), Type::Path(path) if path.path.is_ident("Self"))
}

/// The type without parentheses and the invisible groups of `macro_rules!`.
pub(super) fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peel(&group.elem),
        Type::Paren(paren) => peel(&paren.elem),
        other => other,
    }
}

/// Refuses borrowed and anonymous types, wherever in the type they stand.
pub(super) fn refuse_unowned(ty: &Type, errors: &mut Errors) {
    match peel(ty) {
        Type::Reference(reference) => {
            let text = text(reference);
            errors.at(
                reference,
                format!("`{text}` cannot be an argument: the model's arguments are owned"),
                format!("use `{}`", owned_text(&reference.elem)),
            );
        }
        Type::ImplTrait(anonymous) => {
            let message = "`impl Trait` cannot be an argument: its schema has to be known";
            errors.at(anonymous, message, "write the type itself");
        }
        Type::Array(array) => refuse_unowned(&array.elem, errors),
        Type::Slice(slice) => refuse_unowned(&slice.elem, errors),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|ty| refuse_unowned(ty, errors)),
        Type::Path(path) => {
            for segment in &path.path.segments {
                let PathArguments::AngleBracketed(list) = &segment.arguments else {
                    continue;
                };
                for arg in &list.args {
                    match arg {
                        GenericArgument::Type(ty) => refuse_unowned(ty, errors),
                        GenericArgument::Lifetime(lifetime) if lifetime.ident != "static" => {
                            let message = format!("`{}` borrows: the model's arguments are owned", text(&path.path));
                            errors.at(lifetime, message, "use an owned type, or `'static`");
                        }
                        _ => {}
                    }
                }
            }
        }
        _ => {}
    }
}

/// What to write instead of a reference to this type.
fn owned_text(ty: &Type) -> String {
    match peel(ty) {
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        Type::Slice(slice) => format!("Vec<{}>", owned_text(&slice.elem)),
        Type::Reference(reference) => owned_text(&reference.elem),
        other => text(other),
    }
}

/// A type as it is written.
pub(super) fn text(tokens: impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (spaced, tight) in
        [(" :: ", "::"), (" :", ":"), (" <", "<"), ("< ", "<"), (" >", ">"), (" ,", ","), ("& ", "&"), (" ;", ";")]
    {
        text = text.replace(spaced, tight);
    }
    text
}

/// The two types of a return type that is written as `Result<T, E>`, for spans only: what it really is the compiler
/// says.
pub(super) fn result_types(ty: &Type) -> Option<(TokenStream, TokenStream)> {
    let Type::Path(path) = peel(ty) else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(list) = &segment.arguments else {
        return None;
    };
    let mut types = list.args.iter().filter_map(|arg| match arg {
        GenericArgument::Type(ty) => Some(quote!(#ty)),
        _ => None,
    });
    Some((types.next()?, types.next()?))
}
