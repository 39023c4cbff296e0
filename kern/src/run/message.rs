//! One message of a conversation, with the JSON of `RunOutput.messages`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who speaks in a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Instructions of the developer.
    System,
    /// The person who asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// One message of a conversation. Absent values are left out of its JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// A UUID.
    pub id: String,
    /// The text, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Whether the message comes from an earlier run of the session. The model is given such messages; a run keeps its own
    /// ones only.
    #[serde(default)]
    pub from_history: bool,
    /// Whether the run ends after this tool result.
    #[serde(default)]
    pub stop_after_tool_call: bool,
    /// Who speaks.
    pub role: Role,
    /// The calls the model asks for, as it sent them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallRequest>,
    /// On a tool result: the call it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// On a tool result: the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    /// On a tool result: the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_args: Option<Map<String, Value>>,
    /// On a tool result: whether the tool did not give its normal result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_error: Option<bool>,
    /// What a provider wants to see again with this message (an opaque value of the model's client).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_provider_data: Option<Value>,
    /// Epoch seconds.
    pub created_at: i64,
}

/// One call the model asks for, in the shape of Chat Completions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolCallRequest {
    /// The model's id for the call. Not unique beyond its turn.
    pub id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which tool, with what.
    pub function: FunctionCall,
}

/// The tool and the arguments' text, exactly as the model wrote it. Arguments that were too large are not kept: `{}`
/// stands in their place, and the result says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FunctionCall {
    /// The tool's name.
    pub name: String,
    /// The arguments, a JSON text.
    pub arguments: String,
}

impl Message {
    fn new(role: Role, content: Option<String>) -> Self {
        Self {
            id: kern_db::fresh_id(),
            content,
            from_history: false,
            stop_after_tool_call: false,
            role,
            tool_calls: Vec::new(),
            tool_call_id: None,
            tool_name: None,
            tool_args: None,
            tool_call_error: None,
            model_provider_data: None,
            created_at: jiff::Timestamp::now().as_second(),
        }
    }

    /// Makes a message of the developer.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, Some(content.into()))
    }

    /// Makes a message of the person who asks.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, Some(content.into()))
    }

    /// Makes a message of the model.
    pub fn assistant(content: Option<String>, tool_calls: Vec<ToolCallRequest>) -> Self {
        Self { tool_calls, ..Self::new(Role::Assistant, content) }
    }

    /// Makes the result of a tool call.
    pub fn tool(tool_call_id: impl Into<String>, tool_name: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            tool_call_id: Some(tool_call_id.into()),
            tool_name: Some(tool_name.into()),
            ..Self::new(Role::Tool, Some(content.into()))
        }
    }
}

impl ToolCallRequest {
    /// Makes a call of a function tool.
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            kind: "function".to_owned(),
            function: FunctionCall { name: name.into(), arguments: arguments.into() },
        }
    }
}
