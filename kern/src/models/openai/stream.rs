//! From the parts of a streamed answer to the body that the whole answer would have had, so that `read_reply` reads both.
//!
//! What fits into two answers is an error: the arguments that are put together here are what a human will be shown.

use serde_json::{Map, Value, json};

use super::reply::{number, object, read_parts, string};
use crate::models::ModelDelta;
use crate::models::http::ANSWER_LIMIT;

/// What a call costs beside its texts: every later part is compared with it. So there are at most 4,096.
const CALL_SIZE: usize = 4096;

/// An answer that is being put together.
#[derive(Default)]
pub(super) struct Assembly {
    /// `id`, `model`, `usage`.
    head: Map<String, Value>,
    message: Map<String, Value>,
    calls: Vec<PartialCall>,
    finish_reason: Option<String>,
    /// A part of the answer has come, empty or not.
    begun: bool,
    size: usize,
}

struct PartialCall {
    index: Option<u64>,
    fields: Map<String, Value>,
    function: Map<String, Value>,
}

impl Assembly {
    /// Takes the next part and gives what of it is for those who watch.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or that the answer has become too large.
    pub(super) fn add(&mut self, part: &Value) -> Result<ModelDelta, String> {
        let part = object(part, "an event")?;
        for name in ["id", "model"] {
            if let Some(text) = string(part, name)?.filter(|text| !text.is_empty()) {
                self.head.entry(name).or_insert_with(|| text.into());
            }
        }
        // The last one counts: some providers count anew with every part.
        if let Some(usage) = part.get("usage").filter(|usage| !usage.is_null()) {
            self.head.insert("usage".to_owned(), usage.clone());
        }
        let mut delta = ModelDelta::default();
        match part.get("choices") {
            None | Some(Value::Null) => {}
            Some(Value::Array(choices)) => {
                for choice in choices {
                    let choice = object(choice, "a part of `choices`")?;
                    // Where several were asked for, the first counts, as in a whole answer.
                    if number(choice, "index")?.unwrap_or(0) == 0 {
                        self.add_choice(choice, &mut delta)?;
                    }
                }
            }
            Some(_) => return Err("`choices` is no list".to_owned()),
        }
        Ok(delta)
    }

    fn add_choice(&mut self, choice: &Map<String, Value>, delta: &mut ModelDelta) -> Result<(), String> {
        if let Some(reason) = string(choice, "finish_reason")?.filter(|reason| !reason.is_empty()) {
            if self.finish_reason.as_ref().is_some_and(|known| *known != reason) {
                return Err("it ends for two different reasons".to_owned());
            }
            self.finish_reason = Some(reason);
        }
        let not_null = |name: &str| choice.get(name).filter(|value| !value.is_null());
        // Some servers send the whole answer as one part, and some repeat it beside the parts.
        let whole = if self.begun { None } else { not_null("message") };
        let Some(fields) = not_null("delta").or(whole) else {
            return Ok(());
        };
        self.begun = true;
        let fields = object(fields, "a part of the answer")?;
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match name.as_str() {
                "tool_calls" => self.add_calls(value)?,
                "role" | "function_call" => self.keep(name, value)?,
                "content" => {
                    let parts = read_parts(value)?;
                    append(&mut delta.content, parts.text);
                    append(&mut delta.reasoning, parts.reasoning);
                    self.add_content(value)?;
                }
                name if name == "refusal" || name.starts_with("reasoning") => {
                    self.grow(value)?;
                    match (self.message.get_mut(name), value) {
                        (Some(Value::String(known)), Value::String(more)) => known.push_str(more),
                        (Some(Value::Array(known)), Value::Array(more)) => {
                            more.iter().for_each(|item| add_detail(known, item));
                        }
                        (None, Value::Array(items)) => {
                            let mut details = Vec::new();
                            items.iter().for_each(|item| add_detail(&mut details, item));
                            self.message.insert(name.to_owned(), details.into());
                        }
                        (Some(Value::String(_) | Value::Array(_)), _) => {
                            return Err(format!("`{name}` is now a text and now none"));
                        }
                        _ => {
                            self.message.insert(name.to_owned(), value.clone());
                        }
                    }
                }
                _ => {}
            }
        }
        if delta.reasoning.is_none() {
            let texts = ["reasoning_content", "reasoning"].map(|name| string(fields, name).ok().flatten());
            append(&mut delta.reasoning, texts.into_iter().flatten().find(|text| !text.is_empty()));
        }
        Ok(())
    }

    /// Keeps a field whose value says what the whole answer is. A later value that says otherwise is kept as well, as
    /// something that `read_reply` refuses.
    fn keep(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let expected = name == "role" && (value == "assistant" || value == "");
        if !expected || !self.message.contains_key(name) {
            self.grow(value)?;
            let value = if expected { json!("assistant") } else { value.clone() };
            // Of an old function call the name comes first, and is enough to refuse it.
            let named = |kept: &Value| kept["name"].as_str().is_some_and(|name| !name.is_empty());
            if !self.message.get(name).is_some_and(named) {
                self.message.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    fn add_content(&mut self, value: &Value) -> Result<(), String> {
        self.grow(value)?;
        let known = self.message.entry("content").or_insert_with(|| match value {
            Value::Array(_) => json!([]),
            _ => json!(""),
        });
        match (&mut *known, value) {
            (Value::String(known), Value::String(more)) => known.push_str(more),
            (known, value) => {
                // Taken, not copied: there may be a hundred thousand.
                let mut parts = parts(known.take());
                for part in self::parts(value.clone()) {
                    add_part(&mut parts, part);
                }
                *known = parts.into();
            }
        }
        Ok(())
    }

    fn add_calls(&mut self, value: &Value) -> Result<(), String> {
        let deltas = value.as_array().ok_or("`tool_calls` is no list")?;
        for delta in deltas {
            self.grow(delta)?;
            let delta = object(delta, "a part of `tool_calls`")?;
            let index = number(delta, "index")?;
            let id = string(delta, "id")?.filter(|id| !id.is_empty());
            let nothing = Map::new();
            let function = match delta.get("function") {
                None | Some(Value::Null) => &nothing,
                Some(function) => object(function, "`function`")?,
            };
            let name = string(function, "name")?.filter(|name| !name.is_empty());
            let place = self.place_of_call(index, id.as_deref(), name.as_deref())?;
            let call = match place {
                Some(place) => &mut self.calls[place],
                None => {
                    self.size += CALL_SIZE;
                    self.calls.push(PartialCall { index, fields: Map::new(), function: Map::new() });
                    self.calls.last_mut().expect("a call was just pushed")
                }
            };
            for (field, value) in delta.iter().filter(|(_, value)| !value.is_null() && **value != "") {
                if !matches!(field.as_str(), "index" | "function") {
                    call.fields.insert(field.clone(), value.clone());
                }
            }
            if let Some(name) = name {
                call.function.insert("name".to_owned(), name.into());
            }
            match (function.get("arguments"), call.function.get_mut("arguments")) {
                (None | Some(Value::Null), _) => {}
                (Some(Value::String(more)), Some(Value::String(known))) => known.push_str(more),
                // What is no text is refused when the answer is read.
                (Some(arguments), None) => drop(call.function.insert("arguments".to_owned(), arguments.clone())),
                (Some(_), Some(_)) => return Err("`arguments` is no text".to_owned()),
            }
        }
        Ok(())
    }

    /// Gives which call a part belongs to. `None`: it begins one.
    ///
    /// By the format a part has an index, and only the first part of a call has an id and a name. There are servers that
    /// send no index, or the same for all calls, or id and name with every part.
    fn place_of_call(&self, index: Option<u64>, id: Option<&str>, name: Option<&str>) -> Result<Option<usize>, String> {
        let place = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None => self.calls.len().checked_sub(1),
        };
        let Some(place) = place else {
            return if name.is_some() { Ok(None) } else { Err("a part of `tool_calls` belongs to no call".to_owned()) };
        };
        let call = &self.calls[place];
        let known_id = call.fields.get("id").and_then(Value::as_str);
        let known_name = call.function.get("name").and_then(Value::as_str);
        let other_id = id.is_some() && known_id.is_some() && id != known_id;
        match name {
            // A second call without index and id is told from more of the first by its name only.
            Some(_) if other_id || (index.is_none() && id.is_none()) => Ok(None),
            Some(_) if name != known_name => Err("the name of a call changes".to_owned()),
            None if other_id => Err("the id of a call changes".to_owned()),
            _ => Ok(Some(place)),
        }
    }

    /// Counts what is kept.
    fn grow(&mut self, value: &Value) -> Result<(), String> {
        self.size += match value {
            Value::String(text) => text.len(),
            value => value.to_string().len(),
        };
        if self.size > ANSWER_LIMIT {
            return Err(format!("it is larger than {} MiB", ANSWER_LIMIT / (1024 * 1024)));
        }
        Ok(())
    }

    /// Whether a part of the answer has come.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether the provider has said why it stopped.
    pub(super) fn is_finished(&self) -> bool {
        self.finish_reason.is_some()
    }

    /// Gives the body that the whole answer would have had.
    pub(super) fn into_body(self) -> Value {
        let Self { mut head, mut message, calls, finish_reason, begun, .. } = self;
        if !calls.is_empty() {
            let calls = calls.into_iter().map(|PartialCall { mut fields, function, .. }| {
                fields.insert("function".to_owned(), function.into());
                Value::Object(fields)
            });
            message.insert("tool_calls".to_owned(), calls.collect());
        }
        let choices = if begun { json!([{ "message": message, "finish_reason": finish_reason }]) } else { json!([]) };
        head.insert("choices".to_owned(), choices);
        head.into()
    }
}

fn append(text: &mut Option<String>, more: Option<String>) {
    if let Some(more) = more.filter(|more| !more.is_empty()) {
        text.get_or_insert_default().push_str(&more);
    }
}

/// Gives a content as a list of parts.
fn parts(content: Value) -> Vec<Value> {
    match content {
        Value::Array(parts) => parts,
        Value::String(text) if !text.is_empty() => vec![json!({ "type": "text", "text": text })],
        _ => Vec::new(),
    }
}

/// Adds a part of a list, as more of the part before it where both are of one kind.
fn add_part(parts: &mut Vec<Value>, part: Value) {
    let kind = part["type"].clone();
    let field = match kind.as_str() {
        Some("text") => "text",
        Some("thinking") => "thinking",
        _ => return parts.push(part),
    };
    match parts.last_mut().filter(|last| last["type"] == kind) {
        None => parts.push(part),
        Some(last) => match (&mut last[field], &part[field]) {
            (Value::String(known), Value::String(more)) => known.push_str(more),
            (Value::Array(known), Value::Array(more)) => {
                more.iter().for_each(|part| add_part(known, part.clone()));
            }
            _ => parts.push(part),
        },
    }
}

/// Adds a detail of the reasoning, as more of the one with the same index and type. Some providers check that they get
/// these back as they were.
fn add_detail(details: &mut Vec<Value>, detail: &Value) {
    let same = |known: &&mut Value| {
        !detail["index"].is_null() && known["index"] == detail["index"] && known["type"] == detail["type"]
    };
    let known = details.iter_mut().rev().find(same).and_then(Value::as_object_mut);
    let (Some(known), Some(detail)) = (known, detail.as_object()) else {
        return details.push(detail.clone());
    };
    for (name, value) in detail.iter().filter(|(_, value)| !value.is_null()) {
        match (known.get_mut(name), value) {
            (Some(Value::String(known)), Value::String(more))
                if matches!(name.as_str(), "text" | "summary" | "data") =>
            {
                known.push_str(more);
            }
            _ => drop(known.insert(name.clone(), value.clone())),
        }
    }
}
