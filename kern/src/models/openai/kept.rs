//! What a provider wants to see again of its own turns.

use serde_json::{Map, Value};

use crate::run::Message;

/// Marks what this client keeps in a message, so that no other wire format takes it for its own.
const FORMAT: &str = "openai-chat";

/// What a message has beyond text and calls, and what its provider wants to see again.
///
/// Of the message these are the refusal and every spelling of reasoning (`reasoning_content`, `reasoning_details`, …):
/// some providers refuse to go on after a call without it. Other fields are answers only, and several servers refuse a
/// request that repeats them (`annotations`, `executed_tools`). Of a call it is everything the format does not know,
/// such as a signature. It goes back to the host it came from, since another one refuses unknown fields too.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) message: Map<String, Value>,
    /// The content, where it was not a text but a list.
    pub(super) content: Option<Value>,
    /// One for each call, in order.
    pub(super) calls: Vec<Map<String, Value>>,
}

impl Kept {
    pub(super) fn of_answer(message: &Map<String, Value>, calls: &[Value]) -> Self {
        let worth = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        };
        let wanted = |name: &str| name == "refusal" || name.starts_with("reasoning");
        let pairs = |fields: &Map<String, Value>, keep: &dyn Fn(&str) -> bool| -> Map<String, Value> {
            fields
                .iter()
                .filter(|(name, value)| keep(name) && worth(value))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        let of_call = |name: &str| !matches!(name, "id" | "type" | "function" | "index");
        Self {
            message: pairs(message, &wanted),
            content: message.get("content").filter(|content| content.is_array()).cloned(),
            calls: calls
                .iter()
                .map(|call| call.as_object().map(|call| pairs(call, &of_call)).unwrap_or_default())
                .collect(),
        }
    }

    pub(super) fn into_provider_data(self, host: &str) -> Option<Value> {
        let Self { message, content, calls } = self;
        let mut data = Map::new();
        if !message.is_empty() {
            data.insert("message".into(), message.into());
        }
        data.extend(content.map(|content| ("content".to_owned(), content)));
        if calls.iter().any(|call| !call.is_empty()) {
            data.insert("tool_calls".into(), calls.into_iter().map(Value::Object).collect());
        }
        if data.is_empty() {
            return None;
        }
        data.insert("format".into(), FORMAT.into());
        data.insert("host".into(), host.into());
        Some(data.into())
    }

    /// Reads it back. What another format or another host left, or a store garbled, counts as nothing.
    pub(super) fn of(message: &Message, host: &str) -> Self {
        let data = match &message.model_provider_data {
            Some(data) if data["format"] == FORMAT && data["host"] == host => data,
            _ => return Self::default(),
        };
        Self {
            message: data["message"].as_object().cloned().unwrap_or_default(),
            content: data.get("content").cloned(),
            calls: data["tool_calls"]
                .as_array()
                .map(|calls| calls.iter().map(|call| call.as_object().cloned().unwrap_or_default()).collect())
                .unwrap_or_default(),
        }
    }
}
