//! `#[approval]`: its arguments, and its way to the tool it belongs to.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Expr, FnArg, Ident, ItemFn};

use crate::arguments::{self, Argument, Grammar, Milliseconds};
use crate::attributes::{self, Consumed};
use crate::errors::Errors;
use crate::tool;

pub(crate) const KEYS: &[&str] =
    &["type", "when", "pool", "quorum", "expires_in", "valid_for", "require_reason", "allow_self"];

pub(crate) const HELP: &str = "write `#[approval(type = \"audit\")]`, or `#[approval]` for `type = \"required\"`";

const GRAMMAR: Grammar = Grammar {
    attribute: "`#[approval]`",
    keys: KEYS,
    synonyms: &[
        ("kind", "type"),
        ("approval_type", "type"),
        ("mode", "type"),
        ("audit", "type = \"audit\""),
        ("required", "type = \"required\""),
        ("if", "when"),
        ("condition", "when"),
        ("approvers", "quorum"),
        ("expires", "expires_in"),
        ("reason", "require_reason"),
    ],
    others: ("`#[tool]`", tool::KEYS),
    literal_help: HELP,
};

/// What `#[approval(…)]` asks for. A part that is wrong is missing here and reported.
pub(crate) struct Approval {
    pub(crate) kind: Kind,
    pub(crate) when: Option<When>,
    pub(crate) rules: Rules,
    /// The keys that only make sense where somebody decides, in the order they were written.
    pub(crate) deciding: Vec<Ident>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Required,
    Audit,
}

/// `when = …`
pub(crate) struct When {
    pub(crate) expression: TokenStream,
}

/// Who may decide, and for how long it counts.
pub(crate) struct Rules {
    pub(crate) pool: Option<String>,
    pub(crate) quorum: u32,
    pub(crate) expires_in: Option<Milliseconds>,
    pub(crate) valid_for: Option<Milliseconds>,
    pub(crate) require_reason: bool,
    pub(crate) allow_self: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { pool: None, quorum: 1, expires_in: None, valid_for: None, require_reason: false, allow_self: false }
    }
}

impl Approval {
    pub(crate) fn read(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut approval = Self { kind: Kind::Required, when: None, rules: Rules::default(), deciding: Vec::new() };
        for argument in GRAMMAR.parse(tokens, errors) {
            approval.set(argument, errors);
        }
        approval
    }

    fn set(&mut self, argument: Argument, errors: &mut Errors) {
        let rules = &mut self.rules;
        match argument.key.to_string().as_str() {
            "type" => {
                self.kind = Kind::read(&argument, errors).unwrap_or(self.kind);
                return;
            }
            "pool" => rules.pool = pool(&argument, errors),
            "quorum" => rules.quorum = argument.count(2, errors).unwrap_or(rules.quorum),
            "expires_in" => rules.expires_in = argument.duration("24h", errors),
            "valid_for" => rules.valid_for = argument.duration("1h", errors),
            "require_reason" => {
                rules.require_reason = argument.flag(errors) == Some(true);
                if !rules.require_reason {
                    return;
                }
            }
            "allow_self" => {
                rules.allow_self = argument.flag(errors) == Some(true);
                if !rules.allow_self {
                    return;
                }
            }
            _ => {
                let expression = argument.expression("*amount > 100.0", errors);
                self.when = expression.map(|expression| When { expression: Expr::to_token_stream(expression) });
            }
        }
        self.deciding.push(argument.key);
    }
}

impl Kind {
    fn read(argument: &Argument, errors: &mut Errors) -> Option<Self> {
        let kind = argument.string("audit", errors)?;
        match kind.value().as_str() {
            "required" => Some(Self::Required),
            "audit" => Some(Self::Audit),
            unknown => {
                let help = match arguments::nearest(unknown, &["required", "audit"]) {
                    Some(meant) => format!("did you mean `\"{meant}\"`?"),
                    None => HELP.to_owned(),
                };
                let message = format!("unknown approval type `{unknown}`: expected `required` or `audit`");
                errors.at(kind, message, help);
                None
            }
        }
    }
}

fn pool(argument: &Argument, errors: &mut Errors) -> Option<String> {
    let pool = argument.string("finance", errors)?;
    let name = pool.value();
    if name.trim().is_empty() {
        let help = "name the pool of those who may decide, or leave it out: then anybody but the requester may";
        errors.at(pool, "the pool has no name", help);
        return None;
    }
    Some(name)
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
        errors.at(Attribute, WITHOUT_TOOL, alone(&func));
        // What only `#[tool]` could take would be the compiler's error beside this one.
        for input in &mut func.sig.inputs {
            if let FnArg::Typed(typed) = input {
                let of_tool = |path: &syn::Path| {
                    path.is_ident("doc") || ["arg", "state"].iter().any(|name| attributes::names(path, name))
                };
                typed.attrs.retain(|attr| !of_tool(attr.path()));
            }
        }
        let markers = consumed.markers();
        return errors.beside(quote! { #func #markers });
    };
    for second in tools {
        errors.at(second, "`#[tool]` is given twice", "keep one of the two");
    }
    let tool = attributes::args(&tool, tool::HELP, &mut errors);
    tool::build(tool, Some(args), func, consumed, errors)
}

pub(crate) const WITHOUT_TOOL: &str = "`#[approval]` without `#[tool]` has no effect: the function is no tool";

/// What to do with an `#[approval]` that finds no `#[tool]`.
fn alone(func: &ItemFn) -> String {
    let mut help = ADD_TOOL.to_owned();
    match attributes::alias(&["approval"]) {
        Some(alias) => {
            help += &format!(
                "\nnote: kern knows its attributes by name: `#[tool]` does not see that `#[{alias}]` is `#[approval]`, import it without `as`"
            );
        }
        None => help += &attributes::may_be_tool(&func.attrs),
    }
    help
}

pub(crate) const ADD_TOOL: &str = "add `#[tool]`, above or below it";

/// The attribute itself, as a place for an error.
struct Attribute;

impl ToTokens for Attribute {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        Ident::new("approval", Span::call_site()).to_tokens(tokens);
    }
}
