//! `#[tool]`: parse, model, validate, expand.

mod arg;
mod expand;
mod function;
mod method;
mod model;
mod parse;
mod state;
mod types;
mod validate;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemFn;

use crate::approval::{self, Approval};
use crate::attributes::{self, Consumed};
use crate::errors::Errors;

pub(crate) use expand::{allowed_lints, private};
pub(crate) use model::{Place, Signature, ToolModel};
pub(crate) use parse::{Crate, HELP, KEYS, ToolArgs, default_crate};
pub(crate) use validate::ValidTool;

/// Expands a `#[tool]` that no `#[approval]` outside of it took.
pub(crate) fn run(args: TokenStream, item: TokenStream) -> TokenStream {
    if attributes::is_marker(&args, &item) {
        return TokenStream::new();
    }
    let mut errors = Errors::default();
    let Ok(mut func) = syn::parse2::<ItemFn>(item.clone()) else {
        let item = attributes::not_a_function(item, "`#[tool]`", &mut errors);
        return errors.beside(item);
    };
    let mut consumed = Consumed::default();
    for second in consumed.take("tool", &mut func.attrs) {
        errors.at(second, "`#[tool]` is given twice", "keep one of the two");
    }
    let mut approvals = consumed.take("approval", &mut func.attrs).into_iter();
    let approval = approvals.next().map(|first| attributes::args(&first, approval::HELP, &mut errors));
    for second in approvals {
        errors.at(second, "`#[approval]` is given twice", "keep one of the two");
    }
    build(args, approval, func, consumed, errors)
}

/// Expands a tool whose attributes have met, in whichever order they stood.
pub(crate) fn build(
    args: TokenStream,
    approval: Option<TokenStream>,
    mut func: ItemFn,
    consumed: Consumed,
    mut errors: Errors,
) -> TokenStream {
    let args = ToolArgs::new(args, &mut errors);
    let approval = approval.map(|tokens| Approval::read(tokens, &mut errors));
    let signature = Signature::new(&mut func.sig, Place::Alone, &mut errors);
    let item = function::Item::new(&func, args.krate(), &signature);
    let markers = consumed.markers();
    let model = ToolModel::new(args, approval, signature, &func.attrs, &func.sig.ident);
    let tokens = match model.validate(&mut errors) {
        Some(tool) if errors.is_empty() => item.with_tool(&tool),
        _ => errors.beside(item.with_stub()),
    };
    quote! { #tokens #markers }
}
