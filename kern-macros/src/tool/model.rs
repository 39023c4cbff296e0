//! A tool as it was meant: the attributes, and the function's signature in a tool's terms.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt as _;
use syn::{
    Attribute, Expr, ExprLit, FnArg, GenericArgument, GenericParam, Ident, Lit, Pat, PatType, PathArguments, Receiver,
    ReceiverKind, Safety, Type, TypeReference,
};

use super::arg::ArgOptions;
use super::parse::ToolArgs;
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

/// A parameter of type `&T`, where the application brings the `T`.
pub(crate) struct State {
    pub(super) ident: Option<Ident>,
    /// Without the reference.
    pub(super) ty: TokenStream,
    pub(super) cfgs: Vec<TokenStream>,
    pub(super) field: Ident,
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
        if let Some(alias) = attributes::alias("tool") {
            help += &format!(
                "\nnote: kern knows its attributes by name: `#[toolkit]` does not see that `#[{alias}]` is `#[tool]`, import it without `as`"
            );
        }
        errors.at(receiver.self_token, message, help);
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
            return state_param(typed, state, &args, &docs, errors)
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

/// The type of a `#[state]` parameter without its reference. `None`: the parameter is refused.
fn state_param(
    typed: &PatType,
    state: &Attribute,
    args: &[Attribute],
    docs: &[Attribute],
    errors: &mut Errors,
) -> Option<TokenStream> {
    let reported = errors.count();
    if !matches!(state.meta, syn::Meta::Path(_)) {
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

enum Injected {
    Right,
    Wrong,
}

/// Says whether the type is meant to be the context: by its name, the only thing a macro can see.
fn context(ty: &Type) -> Option<Injected> {
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

fn is_self(ty: &Type) -> bool {
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
fn refuse_unowned(ty: &Type, errors: &mut Errors) {
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
fn result_types(ty: &Type) -> Option<(TokenStream, TokenStream)> {
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
