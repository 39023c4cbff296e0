//! The rules between the parts of a tool. What passes here can be expanded without another error.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt as _;
use syn::{Ident, LitStr};

use super::model::{Param, Place, Signature, ToolModel};
use super::parse::{Effect, Flag};
use super::state::State;
use crate::approval::{Kind, Rules};
use crate::arguments::{Milliseconds, list};
use crate::errors::Errors;
use crate::when::{self, Hidden};

const PAUSES_ONCE: &str = "a tool pauses in one way, keep one of the two";

/// A tool without a mistake.
pub(crate) struct ValidTool {
    pub(super) krate: TokenStream,
    pub(crate) name: String,
    /// Expressions of type `&'static str`: the lines of the description.
    pub(super) description: Vec<TokenStream>,
    pub(super) version: String,
    pub(super) pause: Option<Pause>,
    pub(super) approval: Option<Kind>,
    pub(super) rules: Rules,
    pub(super) effect: Effect,
    pub(super) probe: Option<TokenStream>,
    pub(super) options: Options,
    /// A plain function runs on the task itself.
    pub(super) inline: bool,
    pub(super) user_input_fields: Vec<String>,
    pub(super) when: Option<TokenStream>,
    pub(super) signature: Signature,
    pub(super) ident: Ident,
}

/// How the tool is called, and what becomes of its result.
pub(crate) struct Options {
    pub(super) stop_after_tool_call: bool,
    pub(super) show_result: bool,
    pub(super) strict: bool,
    pub(super) timeout: Option<Milliseconds>,
}

#[derive(Clone, Copy)]
pub(crate) enum Pause {
    Confirmation,
    UserInput,
    ExternalExecution,
}

impl ToolModel {
    /// Reports every rule that is broken. `None`: at least one is.
    pub(crate) fn validate(self, errors: &mut Errors) -> Option<ValidTool> {
        if self.signature.place == Place::Alone {
            reserved(&self.ident, &self.args.krate(), errors);
        }
        let name = self.name(errors);
        let description = self.description(errors);
        let pause = self.pause(errors);
        let user_input_fields = self.user_input_fields(errors);
        let approval = self.approval(errors);
        self.when(&user_input_fields, errors);
        let inline = self.inline(errors);
        if let (Some((timeout, _)), Some(Pause::ExternalExecution)) = (&self.args.timeout, pause) {
            let help = "remove it: another system runs the tool, and there is no body here to stop waiting for";
            errors.at(timeout, "`timeout` cannot be combined with `external_execution`", help);
        }
        self.effects(pause, approval, errors);
        if !errors.is_empty() {
            return None;
        }
        let (when, rules) = self.approval.map_or_else(Default::default, |approval| (approval.when, approval.rules));
        let args = self.args;
        Some(ValidTool {
            krate: args.krate(),
            name,
            description,
            version: args.version.map_or_else(|| "1".to_owned(), |version| version.value()),
            pause,
            approval,
            rules,
            effect: args.effect,
            probe: args.probe.map(|(_, path)| path),
            options: Options {
                stop_after_tool_call: args.stop_after_tool_call,
                show_result: args.show_result.unwrap_or(args.stop_after_tool_call),
                strict: args.strict,
                timeout: args.timeout.map(|(_, timeout)| timeout),
            },
            inline,
            user_input_fields,
            when: when.map(|when| when.expression),
            signature: self.signature,
            ident: self.ident,
        })
    }

    /// What is promised about lost starts is about calls that have a body and a record.
    fn effects(&self, pause: Option<Pause>, approval: Option<Kind>, errors: &mut Errors) {
        let probe = self.args.probe.as_ref().map(|(key, _)| key);
        if let Some(Pause::ExternalExecution) = pause {
            let help = "remove it: another system runs the tool, and there is no start here that could be lost";
            for key in self.args.again.iter().chain(probe) {
                errors.at(key, format!("`{key}` cannot be combined with `external_execution`"), help);
            }
            return;
        }
        if let Some(key) = probe
            && pause.is_none()
            && approval.is_none()
            && self.args.again.is_none()
        {
            let help = "remove it, or add what keeps a record, such as `log_approval` or `#[approval]`";
            let message = "`probe` has no effect here: nobody is asked about this tool, and its calls have no record that could be unknown";
            errors.at(key, message, help);
        }
    }

    fn name(&self, errors: &mut Errors) -> String {
        let allowed = "1 to 64 of the letters `a-z A-Z 0-9 _ -`";
        let is_allowed = |name: &str| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        if let Some(version) = self.args.version.as_ref().filter(|version| version.value().trim().is_empty()) {
            errors.at(
                version,
                "the version is empty",
                "write `version = \"2\"`, or leave it out: the default is `\"1\"`",
            );
        }
        match &self.args.name {
            Some(literal) => {
                let name = literal.value();
                if !is_allowed(&name) {
                    let message = if name.is_empty() {
                        "a tool's name cannot be empty".to_owned()
                    } else {
                        format!("`{name}` cannot be the name of a tool")
                    };
                    errors.at(literal, message, format!("use {allowed}"));
                }
                name
            }
            None => {
                let name = self.ident.unraw().to_string();
                if !is_allowed(&name) {
                    let help = format!("give it one with `#[tool(name = \"…\")]`: {allowed}");
                    errors.at(&self.ident, format!("`{name}` cannot be the name of a tool"), help);
                }
                name
            }
        }
    }

    fn description(&self, errors: &mut Errors) -> Vec<TokenStream> {
        match &self.args.description {
            Some(literal) => {
                if literal.value().trim().is_empty() {
                    errors.at(literal, "the description is empty", "say what the tool does: the model chooses by it");
                }
                vec![literal.to_token_stream()]
            }
            None => {
                if self.docs_are_empty {
                    let message = format!("the tool `{}` has no description", self.ident.unraw());
                    let help = "add a doc comment (`/// What it does.`): the model chooses by it";
                    errors.at(&self.ident, message, help);
                }
                self.docs.clone()
            }
        }
    }

    fn pause(&self, errors: &mut Errors) -> Option<Pause> {
        let mut on = self.args.flags.iter().filter(|flag| flag.on);
        let first = on.next();
        if let (Some(first), Some(second)) = (first, on.next()) {
            let (first, second) = (&first.key, &second.key);
            errors.at(second, format!("`{second}` cannot be combined with `{first}`"), PAUSES_ONCE);
        }
        if let Some((fields, _)) = &self.args.user_input_fields {
            for flag in &self.args.flags {
                let key = &flag.key;
                match (key == "requires_user_input", flag.on) {
                    (false, true) => {
                        errors.at(fields, format!("`{fields}` cannot be combined with `{key}`"), PAUSES_ONCE);
                        break;
                    }
                    (true, false) => {
                        let message = format!("`{fields}` cannot be combined with `{key} = false`");
                        errors.at(
                            fields,
                            message,
                            "fields that the user fills make the tool ask for them: remove one of the two",
                        );
                    }
                    _ => {}
                }
            }
            return Some(Pause::UserInput);
        }
        first.map(|Flag { key, .. }| match key.to_string().as_str() {
            "requires_confirmation" => Pause::Confirmation,
            "requires_user_input" => Pause::UserInput,
            _ => Pause::ExternalExecution,
        })
    }

    fn user_input_fields(&self, errors: &mut Errors) -> Vec<String> {
        let fields: &[LitStr] = self.args.user_input_fields.as_ref().map_or(&[], |(_, fields)| fields);
        let names: Vec<&str> = self.signature.arguments().map(|argument| argument.name.as_str()).collect();
        let mut seen: Vec<String> = Vec::new();
        for field in fields {
            let name = field.value();
            if !names.contains(&name.as_str()) {
                let help = if names.is_empty() {
                    "it has no parameters that anybody could fill".to_owned()
                } else {
                    format!("its parameters are {}", list(&names))
                };
                errors.at(field, format!("`{name}` is not a parameter of `{}`", self.ident.unraw()), help);
            } else if seen.contains(&name) {
                errors.at(field, format!("`{name}` is given twice"), "keep one of the two");
            }
            seen.push(name);
        }
        seen
    }

    fn approval(&self, errors: &mut Errors) -> Option<Kind> {
        let log = self.args.log_approval.as_ref().filter(|log| log.on);
        if let (Some(log), Some(_)) = (log, &self.approval) {
            let help = "keep one of the two: `log_approval` means `#[approval(type = \"audit\")]`";
            errors.at(&log.key, "`log_approval` cannot be combined with `#[approval]`", help);
        }
        self.approval.as_ref().map(|approval| approval.kind).or(log.map(|_| Kind::Audit))
    }

    fn inline(&self, errors: &mut Errors) -> bool {
        let Some(Flag { key, .. }) = self.args.inline.as_ref().filter(|inline| inline.on) else {
            return false;
        };
        if self.signature.is_async {
            let help = "remove it: an `async fn` runs on the task itself anyway, `inline` is for a plain `fn`";
            errors.at(key, "`inline` on an `async fn` has no effect", help);
        } else if let Some((timeout, _)) = &self.args.timeout {
            let help = "a plain function on the task itself cannot be left alone: remove one of the two";
            errors.at(timeout, "`timeout` cannot be combined with `inline`", help);
        }
        true
    }

    fn when(&self, user_input_fields: &[String], errors: &mut Errors) {
        let Some(approval) = &self.approval else { return };
        if approval.kind == Kind::Audit {
            for key in &approval.deciding {
                let why =
                    if key == "when" { "an audited call is always recorded" } else { "nobody decides an audited call" };
                let message = format!("`{key}` cannot be combined with `type = \"audit\"`");
                errors.at(key, message, format!("{why}: remove `{key}`, or use `type = \"required\"`"));
            }
        }
        let Some(when) = &approval.when else { return };
        let mut hidden = vec![Hidden {
            name: Ident::new("self", proc_macro2::Span::call_site()),
            what: "`self`",
            help: "whether approval is needed depends on the arguments the model fills",
        }];
        for param in &self.signature.params {
            match param {
                Param::Context { ident: Some(ident), .. } => hidden.push(Hidden {
                    name: ident.clone(),
                    what: "`&RunContext`",
                    help: "whether approval is needed depends on the arguments the model fills",
                }),
                Param::State(State { ident: Some(ident), .. }) => hidden.push(Hidden {
                    name: ident.clone(),
                    what: "a `#[state]`",
                    help: "whether approval is needed depends on the arguments the model fills",
                }),
                Param::Argument(argument) if user_input_fields.contains(&argument.name) => hidden.push(Hidden {
                    name: argument.ident.clone(),
                    what: "an argument that the user fills",
                    help: "it is not there when kern decides whether approval is needed: use the arguments the model fills",
                }),
                _ => {}
            }
        }
        when::check(when.expression.clone(), &hidden, errors);
    }
}

/// Refuses a function whose handle would hide a type or a crate that the user's other code names.
fn reserved(ident: &Ident, krate: &TokenStream, errors: &mut Errors) {
    if is_reserved(ident, krate) {
        let name = ident.unraw();
        errors.at(
            ident,
            format!("a tool's function cannot be called `{name}`: it would hide the type or the crate of this name"),
            format!("rename the function, and write `#[tool(name = \"{name}\")]` to keep the tool's name"),
        );
    }
}

pub(super) fn is_reserved(ident: &Ident, krate: &TokenStream) -> bool {
    const RESERVED: &[&str] = &[
        "alloc", "bool", "char", "core", "f16", "f32", "f64", "f128", "i8", "i16", "i32", "i64", "i128", "isize",
        "kern", "std", "str", "u8", "u16", "u32", "u64", "u128", "usize",
    ];
    let name = ident.unraw().to_string();
    RESERVED.contains(&name.as_str()) || krate.to_string().trim_start_matches([':', ' ']) == name
}
