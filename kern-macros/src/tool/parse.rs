//! The arguments of `#[tool(…)]`, read into values that keep their spans.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{Ident, LitStr, Path};

use crate::arguments::{Argument, Grammar};
use crate::errors::Errors;

pub(crate) const HELP: &str = "write `#[tool]` or `#[tool(requires_confirmation)]`";

pub(crate) const KEYS: &[&str] = &[
    "name",
    "description",
    "requires_confirmation",
    "requires_user_input",
    "user_input_fields",
    "external_execution",
    "log_approval",
    "version",
    "crate",
];

const GRAMMAR: Grammar = Grammar {
    attribute: "`#[tool]`",
    keys: KEYS,
    planned: &["stop_after_tool_call", "show_result", "strict", "timeout", "effect", "inline"],
    synonyms: &[
        ("confirm", "requires_confirmation"),
        ("confirmation", "requires_confirmation"),
        ("needs_confirmation", "requires_confirmation"),
        ("user_input", "requires_user_input"),
        ("external", "external_execution"),
        ("desc", "description"),
        ("doc", "description"),
    ],
    others: (
        "`#[approval]`",
        &["type", "when", "pool", "quorum", "expires_in", "valid_for", "require_reason", "allow_self"],
    ),
    literal_help: "write `name = \"…\"` or `description = \"…\"`",
};

/// What `#[tool(…)]` says. A part that is wrong is missing here and reported.
pub(crate) struct ToolArgs {
    pub(crate) name: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    /// The pausing flags, in the order they were written, with the ones that are switched off.
    pub(crate) flags: Vec<Flag>,
    pub(crate) user_input_fields: Option<(Ident, Vec<LitStr>)>,
    pub(crate) log_approval: Option<Flag>,
    pub(crate) version: Option<LitStr>,
    /// Where kern is found.
    pub(crate) krate: TokenStream,
}

/// A flag and whether it is on.
pub(crate) struct Flag {
    pub(crate) key: Ident,
    pub(crate) on: bool,
}

impl ToolArgs {
    pub(crate) fn new(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self {
            name: None,
            description: None,
            flags: Vec::new(),
            user_input_fields: None,
            log_approval: None,
            version: None,
            krate: quote_spanned!(Span::mixed_site()=> ::kern),
        };
        for argument in GRAMMAR.parse(tokens, errors) {
            args.set(argument, errors);
        }
        args
    }

    fn set(&mut self, argument: Argument, errors: &mut Errors) {
        match argument.key.to_string().as_str() {
            "name" => self.name = argument.string("delete_user_data", errors).map(copy),
            "description" => self.description = argument.string("What the tool does.", errors).map(copy),
            "version" => self.version = argument.string("2", errors).map(copy),
            "crate" => {
                let Some(text) = argument.string("my_kern", errors) else {
                    return;
                };
                match text.parse_with(Path::parse_mod_style) {
                    Ok(path) => self.krate = path.into_token_stream(),
                    Err(_) => errors.at(text, "`crate` takes the path of the crate", "write `crate = \"my_kern\"`"),
                }
            }
            "user_input_fields" => {
                let Some(fields) = argument.strings(errors) else { return };
                let fields = fields.into_iter().map(copy).collect();
                self.user_input_fields = Some((argument.key, fields));
            }
            "log_approval" => {
                self.log_approval = argument.flag(errors).map(|on| Flag { key: argument.key, on });
            }
            _ => self.flags.extend(argument.flag(errors).map(|on| Flag { key: argument.key, on })),
        }
    }
}

fn copy(text: &LitStr) -> LitStr {
    LitStr::new(&text.value(), text.span())
}
