//! kern's own attributes among the others of an item: found by name, taken away, and kept in use.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Ident, Meta, Path};

use crate::errors::Errors;

/// The argument of a marker: the attribute was read by another one of kern's, and expands to nothing.
const CONSUMED: &str = "__consumed";

/// Says whether these are the arguments of a marker, and the item is one. On anything else the argument is unknown, so
/// that it cannot make an item disappear.
pub(crate) fn is_marker(args: &TokenStream, item: &TokenStream) -> bool {
    let mut args = args.clone().into_iter();
    let consumed = matches!((args.next(), args.next()), (Some(TokenTree::Ident(ident)), None) if ident == CONSUMED);
    consumed && item.to_string().starts_with("const _")
}

/// Attributes that one of kern's took off an item.
#[derive(Default)]
pub(crate) struct Consumed(Vec<Path>);

impl Consumed {
    /// Takes every attribute of this name away, whatever the path before it.
    pub(crate) fn take(&mut self, name: &str, attrs: &mut Vec<Attribute>) -> Vec<Attribute> {
        let taken: Vec<Attribute> = attrs.extract_if(.., |attr| names(attr.path(), name)).collect();
        self.0.extend(taken.iter().filter_map(|attr| syn::parse2(attr.path().to_token_stream()).ok()));
        taken
    }

    /// Emits each one again as a marker, so that its import stays used.
    pub(crate) fn markers(&self) -> TokenStream {
        self.markers_under(&[])
    }

    /// The same, where what they stood on exists.
    pub(crate) fn markers_under(&self, cfgs: &[TokenStream]) -> TokenStream {
        let consumed = Ident::new(CONSUMED, Span::call_site());
        let markers = self.0.iter().map(|path| quote!(#(#cfgs)* #[#path(#consumed)] const _: () = ();));
        markers.collect()
    }
}

/// Says whether a path ends in this name.
pub(crate) fn names(path: &Path, name: &str) -> bool {
    path.segments.last().is_some_and(|segment| segment.ident == name)
}

/// The arguments of an attribute that was taken off an item.
pub(crate) fn args(attr: &Attribute, help: &str, errors: &mut Errors) -> TokenStream {
    match &attr.meta {
        Meta::Path(_) => TokenStream::new(),
        Meta::List(list) => list.tokens.clone(),
        Meta::NameValue(pair) => {
            let name = path_text(&pair.path);
            errors.at(&attr.meta, format!("`#[{name}]` takes its arguments in parentheses"), help);
            TokenStream::new()
        }
    }
}

/// The `cfg` attributes of a parameter: what the macro makes of it exists exactly when it does. (Those of an item are
/// evaluated before any attribute macro sees it, and so is `cfg_attr`.)
pub(crate) fn cfgs(attrs: &[Attribute]) -> Vec<TokenStream> {
    attrs.iter().filter(|attr| attr.path().is_ident("cfg")).map(ToTokens::to_token_stream).collect()
}

/// The lines of a doc comment: each the expression of one `#[doc = …]`.
pub(crate) fn docs(attrs: &[Attribute]) -> Vec<TokenStream> {
    attrs.iter().filter_map(doc).map(ToTokens::to_token_stream).collect()
}

/// The expression of a `#[doc = …]`.
pub(crate) fn doc(attr: &Attribute) -> Option<&syn::Expr> {
    match &attr.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => Some(&pair.value),
        _ => None,
    }
}

/// What the attribute was called where it is none of these names: it was imported under another one.
pub(crate) fn alias(names: &[&str]) -> Option<String> {
    let written = Span::call_site().source_text().unwrap_or_default();
    let alias = written.trim_start_matches(['#', '[']).split(['(', ']']).next().unwrap_or_default().trim();
    let last = alias.rsplit("::").next().unwrap_or_default().trim();
    (!last.is_empty() && !names.contains(&last)).then(|| alias.to_owned())
}

/// Attributes of the language, none of which can be an alias of one of kern's.
const KNOWN: &[&str] = &[
    "allow",
    "cfg",
    "cfg_attr",
    "cold",
    "deny",
    "deprecated",
    "doc",
    "expect",
    "forbid",
    "inline",
    "must_use",
    "test",
    "track_caller",
    "warn",
];

/// Notes of every attribute that may be `#[tool]` under another name.
pub(crate) fn may_be_tool(attrs: &[Attribute]) -> String {
    let others = attrs.iter().filter(|attr| !KNOWN.iter().any(|known| attr.path().is_ident(known)));
    let note = |attr: &Attribute| {
        let other = path_text(attr.path());
        format!("\nnote: kern knows its attributes by name: if `#[{other}]` is `#[tool]`, import it without `as`")
    };
    others.map(note).collect()
}

/// Refuses the attribute on anything but a function, and gives the item back without kern's attributes.
pub(crate) fn not_a_function(item: TokenStream, attribute: &str, errors: &mut Errors) -> TokenStream {
    let help = if noun(&item).is_some_and(|(keyword, _)| keyword == "impl") {
        format!("put {attribute} on each method that it is for, and `#[toolkit]` on the `impl` block")
    } else {
        format!("put {attribute} on a function: `async fn` or `fn`")
    };
    refuse(item, &format!("{attribute} belongs on a function"), &help, errors)
}

/// Refuses what the attribute stands on, and gives it back without kern's attributes.
pub(crate) fn refuse(item: TokenStream, belongs: &str, help: &str, errors: &mut Errors) -> TokenStream {
    let Some((mut attrs, rest)) = errors.keep(attrs_and_rest.parse2(item.clone())) else {
        return item;
    };
    let mut consumed = Consumed::default();
    for name in ["tool", "approval"] {
        consumed.take(name, &mut attrs);
    }
    match noun(&rest) {
        // A function that is refused where functions belong has no body.
        Some((keyword, _)) if keyword == "fn" && belongs.ends_with("on a function") => {
            errors.at(keyword, format!("{belongs}, not on one without a body"), help);
        }
        Some((keyword, noun)) => errors.at(keyword, format!("{belongs}, not on {noun}"), help),
        None => errors.at(&rest, format!("{belongs}, not on this"), help),
    }
    let markers = consumed.markers();
    quote! { #markers #(#attrs)* #rest }
}

/// What kind of item it is, by its keyword.
fn noun(item: &TokenStream) -> Option<(Ident, &'static str)> {
    item.clone().into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) => {
            let noun = KEYWORDS.iter().find(|(keyword, _)| ident == keyword)?.1;
            Some((ident, noun))
        }
        _ => None,
    })
}

pub(crate) const KEYWORDS: &[(&str, &str)] = &[
    ("struct", "a struct"),
    ("enum", "an enum"),
    ("union", "a union"),
    ("trait", "a trait"),
    ("impl", "an `impl` block"),
    ("mod", "a module"),
    ("const", "a constant"),
    ("static", "a static"),
    ("type", "a type alias"),
    ("use", "an import"),
    ("extern", "an `extern` block"),
    ("macro_rules", "a macro"),
    ("fn", "a function"),
];

fn attrs_and_rest(input: ParseStream<'_>) -> syn::Result<(Vec<Attribute>, TokenStream)> {
    Ok((input.call(Attribute::parse_outer)?, input.parse()?))
}

/// A path as the user wrote it.
pub(crate) fn path_text(path: &Path) -> String {
    path.to_token_stream().to_string().replace(' ', "")
}
