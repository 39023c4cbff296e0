//! What is sent: tools and messages as the wire format has them.

use serde_json::{Map, Value, json};

use super::kept::Kept;
use super::reply::read_parts;
use super::strict::strict_schema;
use crate::models::ToolDefinition;
use crate::run::{Message, Role};

pub(super) fn wire_tool(tool: &ToolDefinition) -> Value {
    let strict = if tool.strict { strict_schema(&tool.parameters) } else { None };
    let mut function = json!({ "name": tool.name, "description": tool.description });
    // Strict or not, kern checks the arguments itself. A request that is refused as a whole would help nobody.
    if tool.strict && strict.is_none() {
        tracing::warn!(tool = %tool.name, "the tool's schema has no strict form: it is sent as it is, not strict");
    }
    if strict.is_some() {
        function["strict"] = true.into();
    }
    function["parameters"] = strict.unwrap_or_else(|| tool.parameters.clone());
    json!({ "type": "function", "function": function })
}

pub(super) fn wire_message(message: &Message, host: &str) -> Value {
    let text = message.content.as_deref();
    match message.role {
        Role::System => json!({ "role": "system", "content": text.unwrap_or_default() }),
        Role::User => json!({ "role": "user", "content": text.unwrap_or_default() }),
        Role::Tool => json!({
            "role": "tool",
            "tool_call_id": message.tool_call_id.as_deref().unwrap_or_default(),
            "content": text.unwrap_or_default(),
        }),
        Role::Assistant => wire_turn(message, host),
    }
}

/// Writes a turn of the model as it came: its text, its calls with the arguments' own text, and what was kept of it.
fn wire_turn(message: &Message, host: &str) -> Value {
    let kept = Kept::of(message, host);
    let mut turn = kept.message;
    let refused = turn.get("refusal").and_then(Value::as_str);
    let content = match message.content.as_deref() {
        // A run shows a refusal as its content. The provider gets it once.
        Some(text) if refused == Some(text) => Value::Null,
        Some(text) => match kept.content {
            Some(parts) if read_parts(&parts).is_ok_and(|read| read.text.as_deref() == Some(text)) => parts,
            _ => text.into(),
        },
        // `null` is for turns that have something else to show.
        None if message.tool_calls.is_empty() && refused.is_none() => "".into(),
        None => Value::Null,
    };
    turn.insert("role".into(), "assistant".into());
    turn.insert("content".into(), content);
    if !message.tool_calls.is_empty() {
        let mut extras = kept.calls;
        if extras.len() != message.tool_calls.len() {
            extras = vec![Map::new(); message.tool_calls.len()];
        }
        let calls = message.tool_calls.iter().zip(extras).map(|(call, mut wire)| {
            wire.insert("id".into(), call.id.as_str().into());
            wire.insert("type".into(), call.kind.as_str().into());
            wire.insert("function".into(), json!({ "name": call.function.name, "arguments": call.function.arguments }));
            Value::Object(wire)
        });
        turn.insert("tool_calls".into(), calls.collect());
    }
    Value::Object(turn)
}
