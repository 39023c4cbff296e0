//! The tools of one agent, by name.

use std::collections::HashMap;

use kern_db::{Call, Effect, Tier};
use serde_json::Value;

use super::wire_json::read_arguments;
use super::{ApprovalPolicy, ToolHandle};
use crate::approval::policy::approval_needed;
use crate::error::{Error, Result};
use crate::models::ToolDefinition;

/// Where the context of an approval names the tools that an adapter stands for.
pub(crate) const ORIGIN: &str = "tool_origin";

/// The tools that the tool stood for that an approver was shown.
fn shown_origin(call: &Call) -> Option<&str> {
    call.approval.as_ref()?.context.as_ref()?.get(ORIGIN)?.as_str()
}

/// The tools of one agent.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    tools: Vec<ToolHandle>,
    by_name: HashMap<String, usize>,
    definitions: Vec<ToolDefinition>,
}

impl Registry {
    /// Gathers tools.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`]: two tools of one name, or a name that providers do not take.
    pub(crate) fn new(tools: Vec<ToolHandle>) -> Result<Self> {
        let mut by_name = HashMap::with_capacity(tools.len());
        for (place, tool) in tools.iter().enumerate() {
            let name = &tool.descriptor().name;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                let what = "a name has 1 to 64 letters, digits, `_` or `-`";
                return Err(Error::Setup(format!("`{name}` cannot name a tool: {what}")));
            }
            if by_name.insert(name.clone(), place).is_some() {
                let what = "the model could not tell them apart: give one of them another `name`";
                return Err(Error::Setup(format!("two tools have the name `{name}`: {what}")));
            }
        }
        let definitions = tools.iter().map(definition).collect();
        Ok(Self { tools, by_name, definitions })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&ToolHandle> {
        self.by_name.get(name).map(|place| &self.tools[*place])
    }

    /// The tool that a call was shown with.
    ///
    /// # Errors
    ///
    /// What changed since, in words.
    pub(crate) fn shown_with(&self, call: &Call) -> Result<&ToolHandle, &'static str> {
        let tool = self.get(&call.tool_name).ok_or("this agent does not have it")?;
        if tool.descriptor().version != call.tool_version {
            return Err("its version is another");
        }
        if tool.descriptor().schema_hash != call.schema_hash {
            return Err("its arguments are others");
        }
        // The effect that was asked for is the one that counts. A body that is written for another one must not be started
        // again where it may not be, nor miss the transaction that it writes to. One that may be started again may as well be
        // started once.
        let (asked, found) = (call.policy.effect, tool.descriptor().policy.effect);
        if asked != found && (asked, found) != (Effect::Once, Effect::Idempotent) {
            return Err("its effect is another");
        }
        // What was asked decides who is asked; but a build that would ask an administrator does not run what was asked
        // of nobody but the user.
        let by_row = matches!(call.policy.tier, Tier::Required | Tier::TwoStage);
        // Interleaving prevented: an approver confirms an adapter of one tool, a build where an adapter of another tool has this
        // name, version and schema continues the run, and the body of that other tool is entered. Not the whole identity of the
        // tool is compared: it covers the policy, and that of the row decides, whatever the tool declares by now.
        if by_row && shown_origin(call) != tool.descriptor().stands_for() {
            return Err("it stands for another tool");
        }
        if !by_row && tool.descriptor().policy.approval == Some(ApprovalPolicy::Required) {
            let arguments = read_arguments(&call.arguments, usize::MAX);
            if arguments.is_ok_and(|arguments| !approval_needed(tool.tool(), &arguments)) {
                return Ok(tool);
            }
            return Err("it needs an approval by now");
        }
        Ok(tool)
    }

    pub(crate) fn all(&self) -> &[ToolHandle] {
        &self.tools
    }

    /// Whether any of them can look up how a call ended.
    pub(crate) fn any_probe(&self) -> bool {
        self.tools.iter().any(|tool| tool.tool().probe().is_some())
    }

    /// What the model is told: without the arguments that the user fills.
    pub(crate) fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }
}

fn definition(tool: &ToolHandle) -> ToolDefinition {
    let descriptor = tool.descriptor();
    let mut parameters = descriptor.parameters.clone();
    for field in &descriptor.user_input_fields {
        if let Some(properties) = parameters.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove(field);
        }
        if let Some(required) = parameters.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|name| name != field);
        }
    }
    // What is kept from people's displays is nothing that the model has to know.
    for name in &descriptor.sensitive {
        let properties = parameters.get_mut("properties").and_then(Value::as_object_mut);
        if let Some(property) = properties.and_then(|properties| properties.get_mut(name)?.as_object_mut()) {
            property.remove("writeOnly");
        }
    }
    ToolDefinition::new(&descriptor.name, &descriptor.description, parameters).strict(descriptor.options.strict)
}
