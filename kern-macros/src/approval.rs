//! `#[approval]`: its arguments, and its way to the tool it belongs to.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Expr, Ident, ItemFn};

use crate::arguments::{self, Grammar};
use crate::attributes::{self, Consumed};
use crate::errors::Errors;
use crate::tool;

pub(crate) const HELP: &str = "write `#[approval(type = \"audit\")]`, or `#[approval]` for `type = \"required\"`";

const GRAMMAR: Grammar = Grammar {
    attribute: "`#[approval]`",
    keys: &["type", "when"],
    planned: &["pool", "quorum", "expires_in", "valid_for", "require_reason", "allow_self"],
    synonyms: &[
        ("kind", "type"),
        ("approval_type", "type"),
        ("mode", "type"),
        ("audit", "type = \"audit\""),
        ("required", "type = \"required\""),
        ("if", "when"),
        ("condition", "when"),
    ],
    others: ("`#[tool]`", tool::KEYS),
    literal_help: HELP,
};

/// What `#[approval(…)]` asks for. A part that is wrong is missing here and reported.
pub(crate) struct Approval {
    pub(crate) kind: Kind,
    pub(crate) when: Option<When>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Required,
    Audit,
}

/// `when = …`
pub(crate) struct When {
    pub(crate) key: Ident,
    pub(crate) expression: TokenStream,
}

impl Approval {
    pub(crate) fn read(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut approval = Self { kind: Kind::Required, when: None };
        for argument in GRAMMAR.parse(tokens, errors) {
            if argument.key == "type" {
                let Some(kind) = argument.string("audit", errors) else {
                    continue;
                };
                match kind.value().as_str() {
                    "required" => approval.kind = Kind::Required,
                    "audit" => approval.kind = Kind::Audit,
                    unknown => {
                        let help = match arguments::nearest(unknown, &["required", "audit"]) {
                            Some(meant) => format!("did you mean `\"{meant}\"`?"),
                            None => HELP.to_owned(),
                        };
                        let message = format!("unknown approval type `{unknown}`: expected `required` or `audit`");
                        errors.at(kind, message, help);
                    }
                }
            } else if let Some(expression) = argument.expression("*amount > 100.0", errors) {
                let expression = Expr::to_token_stream(expression);
                approval.when = Some(When { key: argument.key, expression });
            }
        }
        approval
    }
}

/// Expands an `#[approval]` that no `#[tool]` outside of it took: it is the outer one, or it is alone.
pub(crate) fn run(args: TokenStream, item: TokenStream) -> TokenStream {
    if attributes::is_marker(&args, &item) {
        return TokenStream::new();
    }
    let mut errors = Errors::default();
    let Ok(mut func) = syn::parse2::<ItemFn>(item.clone()) else {
        let item = attributes::not_a_function(item, GRAMMAR.attribute, &mut errors);
        return errors.beside(item);
    };
    let mut consumed = Consumed::default();
    for second in consumed.take("approval", &mut func.attrs) {
        errors.at(second, "`#[approval]` is given twice", "keep one of the two");
    }
    let mut tools = consumed.take("tool", &mut func.attrs).into_iter();
    let Some(tool) = tools.next() else {
        Approval::read(args, &mut errors);
        errors.at(Attribute, "`#[approval]` without `#[tool]` has no effect: the function is no tool", alone(&func));
        let markers = consumed.markers();
        return errors.beside(quote! { #func #markers });
    };
    for second in tools {
        errors.at(second, "`#[tool]` is given twice", "keep one of the two");
    }
    let tool = attributes::args(&tool, tool::HELP, &mut errors);
    tool::build(tool, Some(args), func, consumed, errors)
}

/// What to do with an `#[approval]` that finds no `#[tool]`.
fn alone(func: &ItemFn) -> String {
    let mut help = "add `#[tool]`, above or below it".to_owned();
    let written = Span::call_site().source_text().unwrap_or_default();
    let alias = written.trim_start_matches(['#', '[']).split(['(', ']']).next().unwrap_or_default().trim();
    let own_name = alias.is_empty() || alias.rsplit("::").next().is_some_and(|last| last.trim() == "approval");
    if !own_name {
        help += &format!(
            "\nnote: kern knows its attributes by name: `#[tool]` does not see that `#[{alias}]` is `#[approval]`, import it without `as`"
        );
    }
    for attr in &func.attrs {
        if own_name && !KNOWN.iter().any(|known| attr.path().is_ident(known)) {
            let other = attributes::path_text(attr.path());
            help += &format!(
                "\nnote: kern knows its attributes by name: if `#[{other}]` is `#[tool]`, import it without `as`"
            );
        }
    }
    help
}

/// Attributes of the language, none of which can be an alias of `#[tool]`.
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

/// The attribute itself, as a place for an error.
struct Attribute;

impl ToTokens for Attribute {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        Ident::new("approval", Span::call_site()).to_tokens(tokens);
    }
}
