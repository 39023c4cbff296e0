//! `#[hook]`: the function stays a function, and its return type says when it runs.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{FnArg, ItemFn, Lifetime, Pat, Path, ReturnType, Safety, Type, TypeReference, Visibility};

use crate::arguments::Grammar;
use crate::attributes::{self, Consumed, KEYWORDS};
use crate::errors::Errors;
use crate::tool;

const GRAMMAR: Grammar = Grammar {
    attribute: "`#[hook]`",
    keys: &["run_in_background", "crate"],
    synonyms: &[
        ("background", "run_in_background"),
        ("in_background", "run_in_background"),
        ("run_in_the_background", "run_in_background"),
        ("detached", "run_in_background"),
        ("spawn", "run_in_background"),
    ],
    others: ("`#[tool]`", tool::KEYS),
    literal_help: "write `#[hook]` or `#[hook(run_in_background)]`",
};

const SHAPES: &str = "a pre-hook is `async fn(input: &mut RunInput, ctx: &HookContext) -> HookResult`, a post-hook is \
                      `async fn(out: &RunOutput, ctx: &HookContext) -> HookResult`";

/// What `#[hook(…)]` says.
struct HookArgs {
    /// The key, where it is on.
    run_in_background: Option<Ident>,
    krate: TokenStream,
}

/// A hook that can be expanded.
struct ValidHook {
    in_background: bool,
    krate: TokenStream,
    func: ItemFn,
    /// What it takes, each with the lifetime of what it gives.
    params: [Param; 2],
    result: TokenStream,
}

/// A parameter, a reference with the lifetime of what the hook gives.
struct Param {
    ident: Ident,
    ty: TokenStream,
    mutable: bool,
}

pub(crate) fn run(args: TokenStream, item: TokenStream) -> TokenStream {
    if attributes::is_marker(&args, &item) {
        return TokenStream::new();
    }
    let mut errors = Errors::default();
    let args = HookArgs::new(args, &mut errors);
    let Ok(mut func) = syn::parse2::<ItemFn>(item.clone()) else {
        not_a_function(&item, &mut errors);
        return errors.beside(item);
    };
    let mut consumed = Consumed::default();
    for second in consumed.take("hook", &mut func.attrs) {
        errors.at(second, "`#[hook]` is given twice", "keep one of the two");
    }
    for name in ["tool", "approval"] {
        for tool in consumed.take(name, &mut func.attrs) {
            let help = "the model calls a tool, kern calls a hook: write two functions";
            errors.at(tool, "a hook cannot be a tool as well", help);
        }
    }
    let markers = consumed.markers();
    let written = func.to_token_stream();
    match ValidHook::new(args, func, &mut errors) {
        Some(hook) => {
            let hook = hook.expand();
            errors.beside(quote!(#hook #markers))
        }
        None => errors.beside(quote!(#written #markers)),
    }
}

impl HookArgs {
    fn new(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self { run_in_background: None, krate: quote_spanned!(Span::mixed_site()=> ::kern) };
        for argument in GRAMMAR.parse(tokens, errors) {
            if argument.key == "run_in_background" {
                args.run_in_background = (argument.flag(errors) == Some(true)).then_some(argument.key);
            } else if let Some(text) = argument.string("my_kern", errors) {
                match text.parse_with(Path::parse_mod_style) {
                    Ok(path) => args.krate = path.into_token_stream(),
                    Err(_) => errors.at(text, "`crate` takes the path of the crate", "write `crate = \"my_kern\"`"),
                }
            }
        }
        args
    }
}

impl ValidHook {
    /// `None`: what is wrong is reported, and the function cannot be expanded. A hook with a smaller mistake is expanded
    /// all the same, so that what uses it makes no second error.
    fn new(args: HookArgs, mut func: ItemFn, errors: &mut Errors) -> Option<Self> {
        let reported = errors.count();
        if func.sig.asyncness.is_none() {
            errors.at(func.sig.fn_token.to_token_stream(), "a hook is an `async fn`", "write `async fn`");
        }
        let keyword = "a hook is a plain `async fn`";
        if let Some(constness) = func.sig.constness.take() {
            errors.at(constness, "a hook cannot be a `const fn`", keyword);
        }
        if let Safety::Unsafe(safety) = &func.sig.safety {
            errors.at(
                safety,
                "a hook cannot be an `unsafe fn`",
                "make the function safe: kern calls it with any input",
            );
        }
        if let Some(abi) = &func.sig.abi {
            errors.at(abi, "a hook cannot be an `extern` function", keyword);
        }
        if !func.sig.generics.params.is_empty() {
            let message = "a hook cannot have generic parameters";
            errors.at(&func.sig.generics, message, "write the types themselves, and leave the lifetimes out");
        }
        let params = params(&func, errors);
        let result = match &func.sig.output {
            ReturnType::Type(_, result) => Some(result.to_token_stream()),
            ReturnType::Default => {
                let help = "write `-> HookResult`, and end the body with `Ok(())`: `?` in it takes any error";
                errors.at(&func.sig.ident, "a hook returns `HookResult`, and this one returns nothing", help);
                None
            }
        };
        let whole = errors.count() == reported || (func.sig.asyncness.is_none() && errors.count() == reported + 1);
        let params = params?;
        if let Some(key) = &args.run_in_background
            && params[0].mutable
        {
            let message =
                "a pre-hook cannot run in the background: the model would see the input before it was checked";
            errors.at(key, message, "remove `run_in_background`: the run waits for a pre-hook");
            // The rest of the program may have it as a pre-hook, which it is.
            return whole.then_some(Self { in_background: false, krate: args.krate, func, params, result: result? });
        }
        let in_background = args.run_in_background.is_some();
        whole.then_some(Self { in_background, krate: args.krate, func, params, result: result? })
    }

    fn expand(self) -> TokenStream {
        let Self { in_background, krate, mut func, params: [input, context], result } = self;
        let vis = std::mem::replace(&mut func.vis, Visibility::Inherited);
        let outside: Vec<_> =
            func.attrs.extract_if(.., |attr| OUTSIDE.iter().any(|name| attr.path().is_ident(name))).collect();
        let span = func.sig.fn_token.span();
        func.sig.asyncness.get_or_insert(syn::token::Async { span });
        let (input, input_type, context, context_type) = (&input.ident, &input.ty, &context.ident, &context.ty);
        let (name, private) = (&func.sig.ident, quote!(#krate::__private));
        let (mode, make) = if in_background { ("Background", "background") } else { ("Inline", "inline") };
        let (mode, make) = (Ident::new(mode, Span::call_site()), Ident::new(make, Span::call_site()));
        // The bound on the return type is mentioned once, at that type.
        let made = quote_spanned!(result.span()=> #private::#make::<#result, _>);
        quote! {
            #(#outside)*
            #[allow(clippy::unused_async, clippy::must_use_candidate)]
            #vis fn #name<'__kern>(#input: #input_type, #context: #context_type) -> #krate::hooks::#mode<'__kern> {
                #func
                #made(#name(#input, #context))
            }
        }
    }
}

/// The two parameters, with the lifetime of what the hook gives. `None`: there are others, and that is reported.
fn params(func: &ItemFn, errors: &mut Errors) -> Option<[Param; 2]> {
    let mut found = Vec::new();
    for (place, input) in func.sig.inputs.iter().enumerate() {
        let typed = match input {
            FnArg::Receiver(receiver) => {
                let help = "make it a function outside of the `impl` block; a check with settings is a `Guardrail`";
                errors.at(receiver, "a hook cannot take `self`", help);
                return None;
            }
            FnArg::Typed(typed) => typed,
        };
        if place > 1 {
            errors.at(typed, "a hook takes two parameters", SHAPES);
            return None;
        }
        if place == 0 && named(&typed.ty).as_deref() == Some("HookContext") {
            errors.at(&typed.ty, "`&HookContext` is a hook's second parameter", SHAPES);
            return None;
        }
        let reference = if place == 0 { first(&typed.ty, errors) } else { second(&typed.ty, errors) };
        let mut name = match &*typed.pat {
            Pat::Ident(pat) if pat.subpat.is_none() => pat.ident.clone(),
            _ => format_ident!("__kern_{place}"),
        };
        name.set_span(name.span().resolved_at(Span::mixed_site()));
        found.push(reference.and_then(|reference| Param::new(name, reference, errors)));
    }
    if found.len() < 2 {
        errors.at(&func.sig.ident, "a hook takes two parameters", SHAPES);
        return None;
    }
    let [first, second] = <[_; 2]>::try_from(found).ok()?;
    let (mut first, second) = (first?, second?);
    if first.ident == second.ident {
        first.ident = format_ident!("__kern_first");
    }
    Some([first, second])
}

impl Param {
    fn new(ident: Ident, reference: &TypeReference, errors: &mut Errors) -> Option<Self> {
        if let Some(named) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident == "static") {
            errors.at(named, "a hook borrows only while it runs", "remove the lifetime");
            return None;
        }
        let TypeReference { and_token, mutability, elem, .. } = reference;
        let lifetime = Lifetime::new("'__kern", Span::mixed_site());
        let ty = quote!(#and_token #lifetime #mutability #elem);
        Some(Self { ident, ty, mutable: mutability.is_some() })
    }
}

/// `&mut RunInput` or `&RunOutput`. A name that is neither may be an alias: that is for the compiler to say.
fn first<'a>(ty: &'a Type, errors: &mut Errors) -> Option<&'a TypeReference> {
    let reference = reference(ty);
    let mutable = reference.as_ref().is_some_and(|reference| reference.mutability.is_some());
    match (named(ty).as_deref(), &reference, mutable) {
        (Some("RunInput"), _, false) => errors.at(ty, "a pre-hook takes `&mut RunInput`", "write `&mut RunInput`"),
        (Some("RunOutput"), _, true) => {
            errors.at(
                ty,
                "a post-hook cannot change the output",
                "write `&RunOutput`; to stop the run, return an `OutputCheckError`",
            );
        }
        (Some("RunOutput"), None, _) => errors.at(ty, "a post-hook takes `&RunOutput`", "write `&RunOutput`"),
        (_, None, _) => errors.at(ty, "a hook takes `&mut RunInput` or `&RunOutput`", SHAPES),
        (_, Some(_), _) => return reference,
    }
    None
}

/// `&HookContext`.
fn second<'a>(ty: &'a Type, errors: &mut Errors) -> Option<&'a TypeReference> {
    match reference(ty) {
        Some(reference) if reference.mutability.is_none() => {
            if let Some("RunInput" | "RunOutput" | "RunContext") = named(ty).as_deref() {
                errors.at(ty, "a hook's second parameter is `&HookContext`", SHAPES);
                return None;
            }
            Some(reference)
        }
        _ => {
            errors.at(ty, "a hook's second parameter is `&HookContext`", "write `&HookContext`");
            None
        }
    }
}

fn reference(ty: &Type) -> Option<&TypeReference> {
    match ty {
        Type::Reference(reference) => Some(reference),
        Type::Group(group) => reference(&group.elem),
        Type::Paren(paren) => reference(&paren.elem),
        _ => None,
    }
}

/// The last name of a type, or of what it refers to.
fn named(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        Type::Reference(reference) => named(&reference.elem),
        Type::Group(group) => named(&group.elem),
        Type::Paren(paren) => named(&paren.elem),
        _ => None,
    }
}

fn not_a_function(item: &TokenStream, errors: &mut Errors) {
    let keyword = item.clone().into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) => KEYWORDS.iter().find(|(word, _)| ident == word).map(|(_, noun)| (ident, *noun)),
        _ => None,
    });
    let help = "put it on an `async fn`; a check with settings is a `Guardrail`";
    match keyword {
        Some((keyword, noun)) => errors.at(keyword, format!("`#[hook]` belongs on a function, not on {noun}"), help),
        None => errors.at(item, "`#[hook]` belongs on a function", help),
    }
}

/// Attributes that are about the function as others see it, or about all that stands in it. Any other one is about the
/// `async fn` that was written, and stays there.
const OUTSIDE: &[&str] = &[
    "allow",
    "cfg",
    "cold",
    "deny",
    "deprecated",
    "doc",
    "expect",
    "forbid",
    "inline",
    "must_use",
    "track_caller",
    "warn",
];
