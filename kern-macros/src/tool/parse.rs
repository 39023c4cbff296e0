//! The arguments of `#[tool(…)]`, read into values that keep their spans.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::{Expr, Ident, LitStr, Path};

use crate::approval;
use crate::arguments::{Argument, Grammar, Milliseconds, list, nearest};
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
    "stop_after_tool_call",
    "show_result",
    "strict",
    "timeout",
    "effect",
    "probe",
    "inline",
    "version",
    "crate",
];

const GRAMMAR: Grammar = Grammar {
    attribute: "`#[tool]`",
    keys: KEYS,
    synonyms: &[
        ("confirm", "requires_confirmation"),
        ("confirmation", "requires_confirmation"),
        ("needs_confirmation", "requires_confirmation"),
        ("user_input", "requires_user_input"),
        ("external", "external_execution"),
        ("desc", "description"),
        ("doc", "description"),
        ("stop", "stop_after_tool_call"),
    ],
    others: ("`#[approval]`", approval::KEYS),
    literal_help: "write `name = \"…\"` or `description = \"…\"`",
};

/// What `#[tool(…)]` says. A part that is wrong is missing here and reported.
#[derive(Default)]
pub(crate) struct ToolArgs {
    pub(crate) name: Option<LitStr>,
    pub(crate) description: Option<LitStr>,
    /// The pausing flags, in the order they were written, with the ones that are switched off.
    pub(crate) flags: Vec<Flag>,
    pub(crate) user_input_fields: Option<(Ident, Vec<LitStr>)>,
    pub(crate) log_approval: Option<Flag>,
    pub(crate) stop_after_tool_call: bool,
    /// `None`: not written. It then follows `stop_after_tool_call`.
    pub(crate) show_result: Option<bool>,
    pub(crate) strict: bool,
    pub(crate) timeout: Option<(Ident, Milliseconds)>,
    pub(crate) effect: Effect,
    /// The key of `effect = "…"`, where that is not `once`.
    pub(crate) again: Option<Ident>,
    /// The function after `probe =`.
    pub(crate) probe: Option<(Ident, TokenStream)>,
    pub(crate) inline: Option<Flag>,
    pub(crate) version: Option<LitStr>,
    /// Where kern is found, if it is not at `::kern`.
    pub(crate) krate: Option<Crate>,
}

/// A flag and whether it is on.
pub(crate) struct Flag {
    pub(crate) key: Ident,
    pub(crate) on: bool,
}

/// `crate = "…"`
pub(crate) struct Crate {
    pub(crate) key: Ident,
    pub(crate) path: TokenStream,
}

#[derive(Clone, Copy, Default)]
pub(crate) enum Effect {
    #[default]
    Once,
    Idempotent,
    Transactional,
}

impl ToolArgs {
    pub(crate) fn new(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self::default();
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
            "crate" => self.krate = Crate::read(argument, errors),
            "user_input_fields" => {
                let Some(fields) = argument.strings(errors) else { return };
                let fields = fields.into_iter().map(copy).collect();
                self.user_input_fields = Some((argument.key, fields));
            }
            "log_approval" => self.log_approval = Flag::read(argument, errors),
            "stop_after_tool_call" => self.stop_after_tool_call = argument.flag(errors) == Some(true),
            "show_result" => self.show_result = argument.flag(errors),
            "strict" => self.strict = argument.flag(errors) == Some(true),
            "timeout" => {
                self.timeout = argument.duration("30s", errors).map(|duration| (argument.key, duration));
            }
            "effect" => {
                self.effect = Effect::read(&argument, errors);
                self.again = (!matches!(self.effect, Effect::Once)).then_some(argument.key);
            }
            "probe" => self.probe = probe(&argument, errors).map(|path| (argument.key, path)),
            "inline" => self.inline = Flag::read(argument, errors),
            _ => self.flags.extend(Flag::read(argument, errors)),
        }
    }

    /// The path of kern, as it was written or as it is by default.
    pub(crate) fn krate(&self) -> TokenStream {
        self.krate.as_ref().map_or_else(default_crate, |krate| krate.path.clone())
    }
}

pub(crate) fn default_crate() -> TokenStream {
    quote_spanned!(Span::mixed_site()=> ::kern)
}

impl Flag {
    fn read(argument: Argument, errors: &mut Errors) -> Option<Self> {
        argument.flag(errors).map(|on| Self { key: argument.key, on })
    }
}

impl Crate {
    pub(crate) fn read(argument: Argument, errors: &mut Errors) -> Option<Self> {
        let text = argument.string("my_kern", errors)?;
        match text.parse_with(Path::parse_mod_style) {
            Ok(path) => Some(Self { path: path.into_token_stream(), key: argument.key }),
            Err(_) => {
                errors.at(text, "`crate` takes the path of the crate", "write `crate = \"my_kern\"`");
                None
            }
        }
    }
}

impl Effect {
    const NAMES: [&str; 3] = ["once", "idempotent", "transactional"];

    /// What is wrong is reported, and taken for the effect that promises the least.
    fn read(argument: &Argument, errors: &mut Errors) -> Self {
        let Some(effect) = argument.string("idempotent", errors) else {
            return Self::Once;
        };
        match effect.value().as_str() {
            "once" => Self::Once,
            "idempotent" => Self::Idempotent,
            "transactional" => Self::Transactional,
            unknown => {
                let help = match nearest(unknown, &Self::NAMES) {
                    Some(meant) => format!("did you mean `\"{meant}\"`?"),
                    None => format!("expected one of {}", list(&Self::NAMES)),
                };
                errors.at(effect, format!("unknown effect `{unknown}`"), help);
                Self::Once
            }
        }
    }
}

/// Reads `probe = path::to::a_function`.
fn probe(argument: &Argument, errors: &mut Errors) -> Option<TokenStream> {
    match argument.expression("find_it", errors)? {
        Expr::Path(path) => Some(path.to_token_stream()),
        Expr::Group(group) if matches!(*group.expr, Expr::Path(_)) => Some(group.expr.to_token_stream()),
        other => {
            let help = "write `probe = find_it`, and beside the tool `async fn find_it(ctx: &RunContext) -> Probed`";
            errors.at(other, "`probe` takes the path of a function", help);
            None
        }
    }
}

fn copy(text: &LitStr) -> LitStr {
    LitStr::new(&text.value(), text.span())
}
