//! A tool as it was meant: the attributes, and the function's signature in a tool's terms.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident};
use syn::ext::IdentExt as _;
use syn::{
    Attribute, Expr, ExprLit, FnArg, GenericParam, Ident, Lit, Pat, PatType, Receiver, ReceiverKind, Safety, Type,
    TypeReference,
};

use super::arg::ArgOptions;
use super::parse::ToolArgs;
use super::state::{State, state_type};
use super::types::{Injected, context, is_self, peel, refuse_unowned, result_types, text};
use crate::approval::Approval;
use crate::attributes;
use crate::errors::Errors;

/// What one function with its attributes says.
pub(crate) struct ToolModel {
    pub(super) args: ToolArgs,
    pub(super) approval: Option<Approval>,
    pub(super) signature: Signature,
    /// The function's name, as it is used to call it.
    pub(super) ident: Ident,
    /// The expressions of the function's doc comment.
    pub(super) docs: Vec<TokenStream>,
    /// Whether the doc comment is known to hold no text.
    pub(super) docs_are_empty: bool,
}

impl ToolModel {
    pub(crate) fn new(
        args: ToolArgs,
        approval: Option<Approval>,
        signature: Signature,
        attrs: &[Attribute],
        ident: &Ident,
    ) -> Self {
        let docs: Vec<&Expr> = attrs.iter().filter_map(attributes::doc).collect();
        Self {
            args,
            approval,
            signature,
            ident: ident.clone(),
            docs_are_empty: docs.iter().all(|doc| is_empty_text(doc)),
            docs: docs.iter().map(ToTokens::to_token_stream).collect(),
        }
    }
}

/// An expression like `concat!(…)` is believed to give text.
fn is_empty_text(doc: &Expr) -> bool {
    matches!(doc, Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if text.value().trim().is_empty())
}

/// Where a tool's function stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Alone,
    Toolkit,
}

/// The function's parameters, sorted by who fills them.
pub(crate) struct Signature {
    pub(super) place: Place,
    pub(super) params: Vec<Param>,
    pub(super) is_async: bool,
    /// It takes `self`, legal or not.
    pub(super) has_receiver: bool,
    pub(super) result: Option<TokenStream>,
    /// The error type, where the return type is written as a `Result` of two types.
    pub(super) error: Option<TokenStream>,
    /// The success type, likewise.
    pub(super) success: Option<TokenStream>,
}

/// One parameter. `cfg` attributes go wherever the parameter goes.
pub(crate) enum Param {
    /// `&RunContext`, filled by kern.
    Context { ident: Option<Ident>, cfgs: Vec<TokenStream> },
    /// `#[state]`, filled with what the application brought.
    State(State),
    /// Filled by the model, or by the user.
    Argument(Argument),
}

/// A parameter that is in the schema.
pub(crate) struct Argument {
    pub(super) ident: Ident,
    /// Its name in JSON: without `r#`.
    pub(super) name: String,
    pub(super) ty: TokenStream,
    pub(super) docs: Vec<TokenStream>,
    pub(super) cfgs: Vec<TokenStream>,
    pub(super) options: ArgOptions,
    /// The generated field and local that hold it.
    pub(super) field: Ident,
}

impl Signature {
    /// Reads the signature, and cleans the function of what only the macro understands: documentation of parameters, and
    /// what is not Rust.
    pub(crate) fn new(sig: &mut syn::Signature, place: Place, errors: &mut Errors) -> Self {
        for param in &sig.generics.params {
            match param {
                GenericParam::Lifetime(_) => {}
                GenericParam::Type(param) => {
                    let message = format!("a tool cannot be generic over the type `{}`", param.ident);
                    errors.at(param, message, "its schema has to be known: write the type itself");
                }
                GenericParam::Const(param) => {
                    let message = format!("a tool cannot be generic over the constant `{}`", param.ident);
                    errors.at(param, message, "its schema has to be known: write the value itself");
                }
            }
        }
        let keyword = "a tool is a plain function: `async fn` or `fn`";
        if let Some(constness) = &sig.constness {
            errors.at(constness, "a tool cannot be a `const fn`", keyword);
        }
        if let Safety::Unsafe(safety) = &sig.safety {
            errors.at(
                safety,
                "a tool cannot be an `unsafe fn`",
                "make the function safe: nobody could uphold its contract for the model",
            );
        }
        if let Some(abi) = &sig.abi {
            errors.at(abi, "a tool cannot be an `extern` function", keyword);
        }
        if let Some(variadic) = sig.variadic.take() {
            errors.at(variadic.dots, "a tool cannot be variadic", "use a `Vec`");
            sig.inputs.pop_punct();
        }
        let mut params: Vec<Param> = Vec::new();
        let mut has_receiver = false;
        for input in &mut sig.inputs {
            match input {
                FnArg::Receiver(receiver) => {
                    has_receiver = true;
                    check_receiver(receiver, place, errors);
                }
                FnArg::Typed(typed) => {
                    // With `cfg` on both of them only one may be there: that is for the compiler to say.
                    let earlier =
                        params.iter().any(|param| matches!(param, Param::Context { cfgs, .. } if cfgs.is_empty()));
                    params.extend(Param::new(typed, params.len(), earlier, errors));
                }
            }
        }
        let output = match &sig.output {
            syn::ReturnType::Default => None,
            syn::ReturnType::Type(_, ty) => Some(ty),
        };
        if let Some(Type::Never(never)) = output.map(|ty| peel(ty)) {
            errors.at(never, "a tool has to return", "return what the model shall read, or nothing at all");
        }
        let (success, error) = output.and_then(|ty| result_types(ty)).unzip();
        Self {
            place,
            params,
            is_async: sig.asyncness.is_some(),
            has_receiver,
            result: output.map(ToTokens::to_token_stream),
            error,
            success,
        }
    }

    pub(super) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.params.iter().filter_map(|param| match param {
            Param::Argument(argument) => Some(argument),
            Param::Context { .. } | Param::State(_) => None,
        })
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &State> {
        self.params.iter().filter_map(|param| match param {
            Param::State(state) => Some(state),
            Param::Context { .. } | Param::Argument(_) => None,
        })
    }
}

/// A tool shares its toolkit with every other call.
fn check_receiver(receiver: &Receiver, place: Place, errors: &mut Errors) {
    if place == Place::Alone {
        let message = "a tool with `self` belongs to a toolkit";
        let mut help = "put `#[toolkit]` on the `impl` block".to_owned();
        if let Some(alias) = attributes::alias(&["tool", "approval"]) {
            help += &format!(
                "\nnote: kern knows its attributes by name: `#[toolkit]` does not see that `#[{alias}]` is one of them, import it without `as`"
            );
        }
        errors.at(receiver.self_token.to_token_stream(), message, help);
        return;
    }
    // `self: &Self` says the same as `&self`. Anything else owns the toolkit, or wants it alone.
    let is_shared = match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => mutability.is_none(),
        ReceiverKind::Typed(_, ty) => match peel(ty) {
            Type::Reference(TypeReference { elem, mutability: None, .. }) => is_self(elem),
            _ => false,
        },
        _ => false,
    };
    if !is_shared {
        let written = text(receiver);
        let help = "tools may run in parallel and share their toolkit: use `&self`, and a lock around what changes";
        errors.at(receiver, format!("a tool of a toolkit cannot take `{written}`"), help);
    }
}

impl Param {
    /// `None`: the parameter is refused.
    fn new(typed: &mut PatType, index: usize, has_context: bool, errors: &mut Errors) -> Option<Self> {
        let docs: Vec<Attribute> = typed.attrs.extract_if(.., |attr| attr.path().is_ident("doc")).collect();
        let args: Vec<Attribute> = typed.attrs.extract_if(.., |attr| attributes::names(attr.path(), "arg")).collect();
        let states: Vec<Attribute> =
            typed.attrs.extract_if(.., |attr| attributes::names(attr.path(), "state")).collect();
        let cfgs = attributes::cfgs(&typed.attrs);
        let ident = match &*typed.pat {
            Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => Some(pat.ident.clone()),
            _ => None,
        };
        let field = format_ident!("__kern_arg_{index}", span = proc_macro2::Span::mixed_site());
        if let Some(state) = states.first() {
            for second in &states[1..] {
                errors.at(second, "`#[state]` is given twice", "keep one of the two");
            }
            return state_type(typed, state, &args, &docs, errors)
                .map(|ty| Self::State(State { ident, ty, cfgs, field }));
        }
        let injected = context(&typed.ty);
        if let (Some(_), Some(arg)) = (&injected, args.first()) {
            let help = "remove it: kern fills this parameter";
            errors.at(arg, "`#[arg]` on `&RunContext`: the model never sees this parameter", help);
        }
        match injected {
            Some(Injected::Right) => {
                if has_context && cfgs.is_empty() {
                    errors.at(&typed, "a second `&RunContext`: a call has one context", "remove one of the two");
                    return None;
                }
                if let Some(doc) = docs.first() {
                    errors.at(
                        doc,
                        "documentation on `&RunContext`: the model never sees this parameter",
                        "write an ordinary comment (`//`), or document the function",
                    );
                }
                return Some(Self::Context { ident, cfgs });
            }
            Some(Injected::Wrong) => {
                errors.at(&typed.ty, "the context is taken by shared reference", "write `&RunContext`");
                return None;
            }
            None => {}
        }
        let reported = errors.count();
        refuse_unowned(&typed.ty, errors);
        let options = ArgOptions::read(&args, &typed.ty, errors);
        let Some(ident) = ident else {
            let help = "give it a plain name, and take it apart in the body: the name is the property the model fills";
            errors.at(&typed.pat, "a tool's parameter cannot be a pattern", help);
            return None;
        };
        (errors.count() == reported).then(|| {
            Self::Argument(Argument {
                name: ident.unraw().to_string(),
                field,
                ident,
                ty: typed.ty.to_token_stream(),
                docs: attributes::docs(&docs),
                cfgs,
                options,
            })
        })
    }
}
