//! Turns what a model asks for into calls: checked, with the policy that applies, and with what a human is shown.

use kern_db::{ApprovalId, Call, CallPolicy, NewCall, PauseType, Tier, canonical_json};
use serde_json::{Value, json};

use super::requirement::RunRequirement;
use super::state::{CallKind, CallResult, OpenCall};
use super::tool_execution::{ToolExecution, UserInputField};
use crate::approval::policy::policy_of;
use crate::tools::registry::{ORIGIN, Registry};
use crate::tools::wire_json::{read_arguments, read_value};
use crate::tools::{self, Arguments, ToolDescriptor, ToolHandle};

/// One call of a turn, as it is stored in the snapshot and, where it is protected, in the store.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) open: OpenCall,
    pub(crate) tool: ToolExecution,
    pub(crate) protected: Option<(NewCall, RunRequirement)>,
}

/// Prepares the calls of one turn, in order.
pub(crate) struct Preparing<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) agent_name: Option<&'a str>,
    pub(crate) argument_limit: usize,
    /// Epoch seconds.
    pub(crate) now: i64,
}

impl Preparing<'_> {
    /// Prepares one call. `seen`: ids of the calls before it in this turn.
    pub(crate) fn prepare(
        &self,
        index: u32,
        tool_call_id: &str,
        name: &str,
        arguments: &str,
        seen: &[String],
    ) -> Prepared {
        match self.check(tool_call_id, name, arguments, seen) {
            Ok((tool, arguments, unfilled)) => match policy_of(tool, &arguments) {
                None => plain(tool_call_id, tool.descriptor(), arguments, self.now),
                Some(policy) => self.protect(index, tool_call_id, tool.descriptor(), arguments, unfilled, policy),
            },
            Err(told) => Prepared {
                open: OpenCall {
                    tool_call_id: tool_call_id.to_owned(),
                    tool_name: name.to_owned(),
                    kind: CallKind::Refused,
                    result: Some(CallResult { content: told, error: true }),
                },
                tool: ToolExecution { tool_call_error: Some(true), ..shown(tool_call_id, name, self.now) },
                protected: None,
            },
        }
    }

    /// Prepares a call that was shown with another tool, to be asked again with the one of now.
    ///
    /// # Errors
    ///
    /// Why it cannot be, in words.
    pub(crate) fn prepare_again(&self, call: &Call, tool: &ToolHandle) -> Result<Prepared, String> {
        let descriptor = tool.descriptor();
        let arguments = read_arguments(&call.arguments, self.argument_limit)?;
        // What a person has filled in before stands there, and can be corrected when it is asked again.
        let mut unfilled = unfilled(descriptor, &arguments);
        unfilled.retain(|name| !arguments.contains_key(name));
        tools::check(tool.tool(), &arguments, &unfilled).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            format!("its arguments do not fit the tool any more. {}", errors.join("; "))
        })?;
        let policy = policy_of(tool, &arguments).ok_or("nobody is asked about it by now")?;
        Ok(self.protect(call.index, &call.tool_call_id, descriptor, arguments, unfilled, policy))
    }

    /// Checks a call before anybody is shown it: no human ever sees a call that cannot run.
    fn check(
        &self,
        tool_call_id: &str,
        name: &str,
        arguments: &str,
        seen: &[String],
    ) -> Result<(&ToolHandle, Arguments, Vec<String>), String> {
        if seen.iter().any(|id| id == tool_call_id) {
            return Err(format!(
                "The tool call id `{tool_call_id}` is given twice in this turn: give each call its own"
            ));
        }
        let Some(handle) = self.registry.get(name) else {
            let names: Vec<&str> = self.registry.definitions().iter().map(|tool| tool.name.as_str()).collect();
            return Err(format!("There is no tool `{}`. The tools are: {}", name, names.join(", ")));
        };
        let (tool, descriptor) = (handle.tool(), handle.descriptor());
        let arguments = read_arguments(arguments, self.argument_limit)?;
        if let Some(field) = descriptor.user_input_fields.iter().find(|field| arguments.contains_key(*field)) {
            return Err(format!("/{field}: the user fills this in, leave it out"));
        }
        let unfilled = unfilled(descriptor, &arguments);
        let complete = with_defaults(descriptor, &arguments, &unfilled);
        if tools::check(tool, &complete, &unfilled).is_ok() {
            return Ok((handle, complete, unfilled));
        }
        tools::check(tool, &arguments, &unfilled).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            format!("The arguments do not fit the tool `{}`. {}", name, errors.join("; "))
        })?;
        Ok((handle, arguments, unfilled))
    }

    fn protect(
        &self,
        index: u32,
        tool_call_id: &str,
        descriptor: &ToolDescriptor,
        arguments: Arguments,
        unfilled: Vec<String>,
        policy: CallPolicy,
    ) -> Prepared {
        let by_row = matches!(policy.tier, Tier::Required | Tier::TwoStage);
        let approval_id = by_row.then(ApprovalId::generate);
        let mut tool = shown(tool_call_id, &descriptor.name, self.now);
        tool.stop_after_tool_call = descriptor.options.stop_after_tool_call;
        show(&mut tool, Some(descriptor), &policy, &arguments);
        tool.asks(&policy, true);
        // The row keeps the requirement as it was before it had an id, as the reference does.
        let requirement = RunRequirement {
            id: kern_db::fresh_id(),
            created_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string(),
            confirmation: None,
            confirmation_note: None,
            external_execution_result: None,
            member_agent_id: None,
            member_agent_name: None,
            member_run_id: None,
            user_input_schema: tool.user_input_schema.clone(),
            user_feedback_schema: tool.user_feedback_schema.clone(),
            tool_execution: tool.clone(),
        };
        let new = NewCall {
            index,
            requirement_id: requirement.id.clone(),
            tool_call_id: tool_call_id.to_owned(),
            tool_name: descriptor.name.clone(),
            tool_version: descriptor.version.clone(),
            tool_identity: descriptor.identity(),
            schema_hash: descriptor.schema_hash.clone(),
            parameters: canonical_json(&descriptor.parameters),
            argument_limit: u32::try_from(self.argument_limit).unwrap_or(u32::MAX),
            user_fields: descriptor.user_input_fields.clone(),
            arguments: canonical_json(&Value::Object(arguments)),
            unfilled,
            approval_id: approval_id.clone(),
            requirements: json!([requirement]),
            context: context(descriptor, self.agent_name),
            policy,
        };
        tool.approval_id = approval_id;
        let requirement = RunRequirement { tool_execution: tool.clone(), ..requirement };
        Prepared {
            open: OpenCall {
                tool_call_id: tool_call_id.to_owned(),
                tool_name: descriptor.name.clone(),
                kind: CallKind::Protected,
                result: None,
            },
            tool,
            protected: Some((new, requirement)),
        }
    }
}

/// The context of an approval. Of an adapter it names the tools that it stands for: the view digest covers them.
fn context(descriptor: &ToolDescriptor, agent_name: Option<&str>) -> Value {
    let mut context = json!({ "tool_names": [descriptor.name], "source_name": agent_name });
    if let Some(origin) = descriptor.stands_for() {
        context[ORIGIN] = origin.into();
    }
    context
}

fn plain(tool_call_id: &str, descriptor: &ToolDescriptor, arguments: Arguments, now: i64) -> Prepared {
    let (name, stop_after_tool_call) = (&descriptor.name, descriptor.options.stop_after_tool_call);
    Prepared {
        tool: ToolExecution {
            tool_args: Some(arguments.clone()),
            stop_after_tool_call,
            ..shown(tool_call_id, name, now)
        },
        open: OpenCall {
            tool_call_id: tool_call_id.to_owned(),
            tool_name: name.clone(),
            kind: CallKind::Plain { arguments },
            result: None,
        },
        protected: None,
    }
}

fn shown(tool_call_id: &str, name: &str, now: i64) -> ToolExecution {
    ToolExecution {
        tool_call_id: Some(tool_call_id.to_owned()),
        tool_name: Some(name.to_owned()),
        created_at: Some(now),
        ..ToolExecution::default()
    }
}

/// The arguments with the defaults of those that the model left out: whoever decides about a call sees all that the body
/// gets, and the digest covers it.
fn with_defaults(descriptor: &ToolDescriptor, arguments: &Arguments, unfilled: &[String]) -> Arguments {
    let mut complete = arguments.clone();
    let properties = descriptor.parameters.get("properties").and_then(Value::as_object);
    for (name, schema) in properties.into_iter().flatten() {
        let default = schema.get("default").filter(|_| !complete.contains_key(name) && !unfilled.contains(name));
        // What could not come from a model has no place among the arguments either: the tool makes its own.
        if let Some(default) = default.and_then(|default| read_value(default.clone()).ok()) {
            complete.insert(name.clone(), default);
        }
    }
    complete
}

/// The arguments that the user still has to fill: the named ones; where none are named, what the model left out.
fn unfilled(descriptor: &ToolDescriptor, arguments: &Arguments) -> Vec<String> {
    if descriptor.policy.pause != Some(PauseType::UserInput) {
        return Vec::new();
    }
    if let Some(form) = descriptor.form {
        return vec![form.argument().to_owned()];
    }
    if !descriptor.user_input_fields.is_empty() {
        return descriptor.user_input_fields.clone();
    }
    let required = descriptor.parameters.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    names.filter(|name| !arguments.contains_key(*name)).map(str::to_owned).collect()
}

/// Shows the arguments of a call, and the form that a user fills. Without its tool, only what was shown before is.
pub(super) fn show(
    tool: &mut ToolExecution,
    descriptor: Option<&ToolDescriptor>,
    policy: &CallPolicy,
    arguments: &Arguments,
) {
    tool.tool_args = Some(arguments.clone());
    if policy.pause != Some(PauseType::UserInput) {
        tool.user_input_schema = None;
        tool.user_feedback_schema = None;
        return;
    }
    match (descriptor, &mut tool.user_input_schema) {
        (Some(ToolDescriptor { form: Some(form), .. }), _) => form.show(arguments.clone(), tool),
        (_, Some(fields)) => fields.iter_mut().for_each(|field| field.value = arguments.get(&field.name).cloned()),
        (Some(descriptor), schema) => *schema = Some(fields(descriptor, arguments)),
        (None, None) => {}
    }
}

/// All arguments as fields of a form, filled where the model has filled them.
fn fields(descriptor: &ToolDescriptor, arguments: &Arguments) -> Vec<UserInputField> {
    let properties = descriptor.parameters.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, schema)| UserInputField {
            name: name.clone(),
            field_type: field_type(schema).to_owned(),
            description: schema.get("description").and_then(Value::as_str).map(str::to_owned),
            value: arguments.get(name).cloned(),
        })
        .collect()
}

/// The reference's word for a JSON type. `["string", "null"]` is an optional string.
fn field_type(schema: &Value) -> &'static str {
    let name = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        other => other.and_then(Value::as_str),
    };
    match name {
        Some("integer") => "int",
        Some("number") => "float",
        Some("boolean") => "bool",
        Some("array") => "list",
        Some("object") => "dict",
        _ => "str",
    }
}
