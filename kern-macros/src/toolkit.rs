//! `#[toolkit]`: gathers the tools among the methods of an `impl` block.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Attribute, ImplItem, ImplItemFn, ItemImpl, Lifetime, Meta, parse_quote};

use crate::approval::{self, ADD_TOOL, Approval, WITHOUT_TOOL};
use crate::arguments::Grammar;
use crate::attributes::{self, Consumed};
use crate::errors::Errors;
use crate::tool::{self, Crate, Place, Signature, ToolArgs, ToolModel, ValidTool};

const GRAMMAR: Grammar = Grammar {
    attribute: "`#[toolkit]`",
    keys: &["crate"],
    synonyms: &[],
    others: ("`#[tool]`", tool::KEYS),
    literal_help: "write `#[toolkit]`",
};

pub(crate) fn run(args: TokenStream, item: TokenStream) -> TokenStream {
    if attributes::is_marker(&args, &item) {
        return TokenStream::new();
    }
    let mut errors = Errors::default();
    let mut krate = None;
    for argument in GRAMMAR.parse(args, &mut errors) {
        krate = Crate::read(argument, &mut errors);
    }
    let krate = krate.map_or_else(tool::default_crate, |krate| krate.path);
    let Ok(mut block) = syn::parse2::<ItemImpl>(item.clone()) else {
        let help = "put `#[toolkit]` on an `impl` block, and `#[tool]` on the methods in it";
        let item = attributes::refuse(item, "`#[toolkit]` belongs on an `impl` block", help, &mut errors);
        return errors.beside(item);
    };
    let mut toolkit = Kit { krate, tools: Vec::new(), found: Vec::new(), has_attributes: false, is_broken: false };
    let mut consumed = Consumed::default();
    for second in consumed.take("toolkit", &mut block.attrs) {
        errors.at(second, "`#[toolkit]` is given twice", "keep one of the two");
    }
    let mut markers = consumed.markers();
    for item in &mut block.items {
        if let ImplItem::Fn(method) = item {
            markers.extend(toolkit.read(method, &mut errors));
        }
    }
    if let Some((path, _)) = &block.trait_ {
        let message = "`#[toolkit]` belongs on an `impl` block of the type itself, not of a trait";
        errors = Errors::default(); // Everything in the block is at the wrong place.
        errors.at(path, message, "move the tools to an `impl` block without a trait");
        return errors.beside(quote!(#block #markers));
    }
    if let Some(lifetime) = borrowed(&block) {
        let help = "own the value, or share it in an `Arc`";
        errors.at(lifetime, "a toolkit cannot borrow: its agent may live longer", help);
    }
    if !toolkit.has_attributes {
        let help = "put `#[tool]` on the methods that the model may call, or remove `#[toolkit]`";
        errors.at(block.impl_token.to_token_stream(), "`#[toolkit]` without any tool has no effect", help);
    }
    let implementation = toolkit.implementation(&block, errors.is_empty() && !toolkit.is_broken);
    errors.beside(quote! { #block #implementation #markers })
}

/// The tools of one `impl` block.
struct Kit {
    krate: TokenStream,
    /// Each with the `cfg`s of its method.
    tools: Vec<(Vec<TokenStream>, ValidTool)>,
    /// The names so far.
    found: Vec<Named>,
    /// There is a `#[tool]`, or what is reported as the lack of one.
    has_attributes: bool,
    /// The compiler will say what is wrong, and the calls of the methods would only repeat it.
    is_broken: bool,
}

/// The name of a tool, and where it was given.
struct Named {
    name: String,
    at: TokenStream,
    method: Ident,
    under_cfg: bool,
}

impl Kit {
    /// Reads a method, and takes kern's attributes off it. Gives what keeps their imports used.
    fn read(&mut self, method: &mut ImplItemFn, errors: &mut Errors) -> TokenStream {
        for attr in method.attrs.extract_if(.., |attr| is_conditional(attr)) {
            self.has_attributes = true;
            let help = "write two versions of the method, each with its `#[cfg(…)]`";
            errors.at(attr, "in a toolkit, consent must not depend on an attribute that kern cannot see", help);
        }
        let mut consumed = Consumed::default();
        let mut tools = consumed.take("tool", &mut method.attrs).into_iter();
        let mut approvals = consumed.take("approval", &mut method.attrs).into_iter();
        let (tool, approval) = (tools.next(), approvals.next());
        for (name, second) in tools.map(|second| ("tool", second)).chain(approvals.map(|second| ("approval", second))) {
            errors.at(second, format!("`#[{name}]` is given twice"), "keep one of the two");
        }
        let cfgs = attributes::cfgs(&method.attrs);
        let markers = consumed.markers_under(&cfgs);
        self.has_attributes |= tool.is_some() || approval.is_some();
        let approval_args = approval.as_ref().map(|approval| attributes::args(approval, approval::HELP, errors));
        let approval_read = approval_args.map(|tokens| Approval::read(tokens, errors));
        let Some(tool) = tool else {
            if let Some(approval) = approval {
                let help = format!("{ADD_TOOL}{}", attributes::may_be_tool(&method.attrs));
                errors.at(approval, WITHOUT_TOOL, help);
            }
            return markers;
        };
        let mut args = ToolArgs::new(attributes::args(&tool, tool::HELP, errors), errors);
        if let Some(krate) = args.krate.take() {
            let help = "the tools of a toolkit share it: write `#[toolkit(crate = \"…\")]`";
            errors.at(krate.key, "`crate` of `#[tool]` in a toolkit", help);
        }
        args.krate = Some(Crate { key: method.sig.ident.clone(), path: self.krate.clone() });
        let name = match &args.name {
            Some(literal) => (literal.value(), literal.to_token_stream()),
            None => (method.sig.ident.unraw().to_string(), method.sig.ident.to_token_stream()),
        };
        let signature = Signature::new(&mut method.sig, Place::Toolkit, errors);
        let model = ToolModel::new(args, approval_read, signature, &method.attrs, &method.sig.ident);
        let tool = model.validate(errors);
        self.name(name, &method.sig.ident, !cfgs.is_empty(), errors);
        self.tools.extend(tool.map(|tool| (cfgs, tool)));
        let allowed = tool::allowed_lints();
        method.attrs.insert(0, parse_quote!(#allowed));
        markers
    }

    /// Two tools of one name: the model could not tell them apart. Under `cfg` only one of them may be there; then
    /// `build()` says it. Two methods of one name are for the compiler to report.
    fn name(&mut self, (name, at): (String, TokenStream), method: &Ident, under_cfg: bool, errors: &mut Errors) {
        match self.found.iter().find(|found| found.name == name && !found.under_cfg && !under_cfg) {
            Some(first) if first.method == *method => self.is_broken = true,
            Some(first) => {
                let line = line(&first.at).map(|line| format!(", line {line}")).unwrap_or_default();
                let help = format!(
                    "give one of them another `name`: the model could not tell them apart\nnote: the first one is `{}`{line}",
                    first.method
                );
                errors.at(&at, format!("two tools of this toolkit have the name `{name}`"), help);
            }
            None => {}
        }
        self.found.push(Named { name, at, method: method.clone(), under_cfg });
    }

    /// The `impl Toolkit`. On error a stub, so that `.toolkit(…)` keeps compiling. It never runs.
    fn implementation(&self, block: &ItemImpl, is_valid: bool) -> TokenStream {
        let private = tool::private(&self.krate);
        let (generics, _, bounds) = block.generics.split_for_impl();
        let ty = &block.self_ty;
        // What a toolkit has to be. Said here, it is one error for a type that is not, and not one for each of its tools.
        let predicates = bounds.map(|bounds| &bounds.predicates).into_iter().flatten();
        let span = ty.span().resolved_at(Span::call_site());
        let shared = quote_spanned!(span=> Self: ::core::marker::Send + ::core::marker::Sync + 'static);
        let tools = self.tools.iter().map(|(cfgs, tool)| {
            let handle = tool.method();
            quote!(#(#cfgs)* __kern_tools.push(#handle);)
        });
        let body = if is_valid {
            quote! {
                let mut __kern_tools = ::std::vec::Vec::new();
                #(#tools)*
                __kern_tools
            }
        } else {
            quote!(::core::unreachable!())
        };
        quote! {
            #[allow(deprecated)]
            impl #generics #private::Toolkit for #ty
            where
                #shared,
                #(#predicates,)*
            {
                fn tools(self: ::std::sync::Arc<Self>) -> ::std::vec::Vec<#private::ToolHandle> {
                    #body
                }
            }
        }
    }
}

/// The first lifetime of a toolkit that borrows.
fn borrowed(block: &ItemImpl) -> Option<Lifetime> {
    // After a `for` a lifetime may be its own, as in `for<'a> fn(&'a str)`; then the compiler decides.
    fn in_tokens(tokens: TokenStream) -> Option<Lifetime> {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => {
                    if let Some(lifetime) = in_tokens(group.stream()) {
                        return Some(lifetime);
                    }
                }
                TokenTree::Ident(ident) if ident == "for" => return None,
                TokenTree::Punct(mark) if mark.as_char() == '\'' => match tokens.peek() {
                    Some(TokenTree::Ident(ident)) if ident != "static" => {
                        return Some(Lifetime { apostrophe: mark.span(), ident: ident.clone() });
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        None
    }
    block
        .generics
        .lifetimes()
        .next()
        .map(|param| param.lifetime.clone())
        .or_else(|| in_tokens(block.self_ty.to_token_stream()))
}

/// Says whether a `cfg_attr` holds one of kern's attributes. One that holds an alias of them is an error once it expands.
fn is_conditional(attr: &Attribute) -> bool {
    fn names_kern(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(ident) => ident == "tool" || ident == "approval",
            TokenTree::Group(group) => names_kern(group.stream()),
            _ => false,
        })
    }
    attr.path().is_ident("cfg_attr") && matches!(&attr.meta, Meta::List(list) if names_kern(list.tokens.clone()))
}

/// The line of the first token, where the compiler tells it.
fn line(tokens: &TokenStream) -> Option<usize> {
    let span = tokens.clone().into_iter().next().map_or_else(Span::call_site, |token| token.span());
    proc_macro::is_available().then(|| span.unwrap().line())
}
