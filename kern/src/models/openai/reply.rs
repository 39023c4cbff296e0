//! What is read of an answer. The errors name places and never values: a value may be the user's data.

use serde_json::{Map, Value};

use super::kept::Kept;
use crate::models::{ModelReply, ModelToolCall, Usage};

/// What tells that an answer is whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Only its `finish_reason`.
    Reason,
    /// The mark at the end of a stream. Some providers then leave the reason out.
    Mark,
}

/// Reads an answer: one that came whole, or one that was put together of its parts.
pub(super) fn read_reply(body: &Value, ending: Ending, host: &str) -> Result<ModelReply, String> {
    let body = object(body, "the body")?;
    let choices = match body.get("choices") {
        Some(Value::Array(choices)) => choices,
        Some(_) => return Err("`choices` is no list".to_owned()),
        None => return Err("`choices` is missing".to_owned()),
    };
    let choice = object(choices.first().ok_or("`choices` is empty")?, "`choices[0]`")?;
    let message = object(choice.get("message").ok_or("`choices[0].message` is missing")?, "`choices[0].message`")?;
    if string(message, "role")?.is_some_and(|role| role != "assistant") {
        return Err("`role` is not `assistant`".to_owned());
    }
    // Without it nobody can tell a whole answer from the start of one.
    let finish_reason = string(choice, "finish_reason")?;
    match finish_reason.as_deref() {
        None if ending == Ending::Reason => return Err("`finish_reason` is missing".to_owned()),
        Some("error") => return Err("it ended for `error`, and does not say which".to_owned()),
        _ => {}
    }

    let mut content = read_parts(message.get("content").unwrap_or(&Value::Null))?;
    for name in ["reasoning_content", "reasoning"] {
        if content.reasoning.is_none() {
            content.reasoning = string(message, name)?.filter(|text| !text.is_empty());
        }
    }
    let refusal = string(message, "refusal")?.filter(|text| !text.is_empty());

    let calls = match message.get("tool_calls") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(calls)) => calls,
        Some(_) => return Err("`tool_calls` is no list".to_owned()),
    };
    let tool_calls = calls
        .iter()
        .enumerate()
        .map(|(index, call)| read_call(call).map_err(|what| format!("`tool_calls[{index}]`: {what}")))
        .collect::<Result<Vec<_>, _>>()?;

    // The calls of before there were tools. kern offers no such functions, and must not take one for silence.
    let old_call = message.get("function_call").and_then(|call| call.get("name")?.as_str());
    if old_call.is_some_and(|name| !name.is_empty()) {
        return Err("it asks for a `function_call`, which is not the format of tools".to_owned());
    }
    if tool_calls.is_empty() {
        let silent = content.text.is_none() && refusal.is_none();
        match finish_reason.as_deref() {
            Some("tool_calls") => return Err("it ended for `tool_calls` and has none".to_owned()),
            Some("stop") | None if silent => return Err("it has neither text nor calls".to_owned()),
            _ => {}
        }
    }
    Ok(ModelReply {
        content: content.text,
        reasoning: content.reasoning,
        refusal,
        tool_calls,
        finish_reason,
        usage: read_usage(body.get("usage"))?,
        response_id: string(body, "id")?,
        model: string(body, "model")?,
        provider_data: Kept::of_answer(message, calls).into_provider_data(host),
    })
}

fn read_call(call: &Value) -> Result<ModelToolCall, String> {
    let call = object(call, "it")?;
    if string(call, "type")?.is_some_and(|kind| kind != "function") {
        return Err("its `type` is not `function`".to_owned());
    }
    let function = object(call.get("function").ok_or("`function` is missing")?, "`function`")?;
    let name = string(function, "name")?.filter(|name| !name.is_empty()).ok_or("`name` is missing")?;
    let arguments = string(function, "arguments")?.ok_or("`arguments` is missing")?;
    Ok(ModelToolCall::new(string(call, "id")?, name, arguments))
}

#[derive(Default)]
pub(super) struct Parts {
    pub(super) text: Option<String>,
    pub(super) reasoning: Option<String>,
}

/// Reads the content: a text, or (a vendor's variation) a list of texts and thoughts.
pub(super) fn read_parts(content: &Value) -> Result<Parts, String> {
    let mut read = Parts::default();
    match content {
        Value::Null => {}
        Value::String(text) => read.text = Some(text.clone()),
        Value::Array(parts) => {
            for part in parts {
                let part = object(part, "a part of `content`")?;
                match part.get("type").and_then(Value::as_str) {
                    Some("text") => {
                        let text = string(part, "text")?.ok_or("a part of `content` has no text")?;
                        read.text.get_or_insert_default().push_str(&text);
                    }
                    Some("thinking") => {
                        let thoughts = read_parts(part.get("thinking").unwrap_or(&Value::Null))?;
                        read.reasoning.get_or_insert_default().push_str(&thoughts.text.unwrap_or_default());
                    }
                    // To leave it out would pass a part of an answer for the whole.
                    _ => return Err("a part of `content` is neither text nor thinking".to_owned()),
                }
            }
        }
        _ => return Err("`content` is no text".to_owned()),
    }
    Ok(read)
}

fn read_usage(usage: Option<&Value>) -> Result<Option<Usage>, String> {
    let usage = match usage {
        None | Some(Value::Null) => return Ok(None),
        Some(usage) => object(usage, "`usage`")?,
    };
    let detail = |name: &str, field: &str| match usage.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(details) => number(object(details, "a part of `usage`")?, field),
    };
    let input_tokens = number(usage, "prompt_tokens")?.unwrap_or(0);
    let output_tokens = number(usage, "completion_tokens")?.unwrap_or(0);
    Ok(Some(Usage {
        input_tokens,
        output_tokens,
        total_tokens: number(usage, "total_tokens")?.unwrap_or(input_tokens.saturating_add(output_tokens)),
        cached_tokens: detail("prompt_tokens_details", "cached_tokens")?.unwrap_or(0),
        reasoning_tokens: detail("completion_tokens_details", "reasoning_tokens")?.unwrap_or(0),
    }))
}

pub(super) fn object<'v>(value: &'v Value, place: &str) -> Result<&'v Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{place} is no object"))
}

pub(super) fn string(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{name}` is no text")),
    }
}

pub(super) fn number(fields: &Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| format!("`{name}` is no count")),
    }
}
