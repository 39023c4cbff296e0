//! OpenAI's Chat Completions, the wire format that many other servers copy. Not streamed.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::http::{Answer, ApiKey, HttpClient, Post, endpoint, shown_address};
use super::{Model, ModelError, ModelFuture, ModelReply, ModelRequest, ModelToolCall, ToolDefinition, Usage};
use crate::run::{Message, Role};

const KEY_VARIABLE: &str = "OPENAI_API_KEY";
const BASE_VARIABLE: &str = "OPENAI_BASE_URL";
const DEFAULT_BASE: &str = "https://api.openai.com/v1";

/// A model with many reasoning tokens may well take minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// Marks what this client keeps in a message, so that no other wire format takes it for its own.
const FORMAT: &str = "openai-chat";

/// How much is repeated of a message.
const MESSAGE_LIMIT: usize = 2000;

/// How much is repeated of an error page that says nothing in JSON.
const PAGE_LIMIT: usize = 300;

/// A model behind OpenAI's Chat Completions, or behind a server that speaks the same format.
///
/// The key is `OPENAI_API_KEY` and the address `OPENAI_BASE_URL` (by default `https://api.openai.com/v1`), both read by
/// [`new`](OpenAIChat::new), unless they are given here. The key of the environment goes to no address but OpenAI's
/// and the one the environment names: with [`base_url`](OpenAIChat::base_url), a key is sent only when
/// [`api_key`](OpenAIChat::api_key) gives one, and none is needed.
///
/// ```
/// use kern::models::OpenAIChat;
///
/// let hosted = OpenAIChat::new("gpt-4o-mini");
/// let local = OpenAIChat::new("qwen3").base_url("http://localhost:8080/v1").temperature(0.0);
/// # let _ = (hosted, local);
/// ```
#[derive(Clone)]
#[must_use]
pub struct OpenAIChat {
    id: String,
    provider: String,
    base_url: String,
    /// Whether `base_url` was given here and not by the environment.
    own_base_url: bool,
    key: Option<ApiKey>,
    environment_key: Option<ApiKey>,
    timeout: Duration,
    parameters: Map<String, Value>,
    client: HttpClient,
}

impl OpenAIChat {
    /// Makes a client for a model, by the name its provider gives it. Sends nothing.
    pub fn new(id: impl Into<String>) -> Self {
        Self::in_environment(id.into(), |variable| std::env::var(variable).ok())
    }

    fn in_environment(id: String, read: impl Fn(&str) -> Option<String>) -> Self {
        let base_url = read(BASE_VARIABLE).filter(|base| !base.trim().is_empty());
        Self {
            id,
            provider: "OpenAI".to_owned(),
            base_url: base_url.unwrap_or_else(|| DEFAULT_BASE.to_owned()),
            own_base_url: false,
            key: None,
            environment_key: read(KEY_VARIABLE).as_deref().and_then(ApiKey::new),
            timeout: DEFAULT_TIMEOUT,
            parameters: Map::new(),
            client: HttpClient::default(),
        }
    }

    /// Sets the address, up to and without `/chat/completions`.
    pub fn base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = base_url.into();
        self.own_base_url = true;
        // How a client is built depends on the address.
        self.client = HttpClient::default();
        self
    }

    /// Sets the key. An empty one counts as none.
    pub fn api_key(mut self, api_key: impl Into<String>) -> Self {
        self.key = ApiKey::new(&api_key.into());
        self
    }

    /// Sets the provider's name, by default `OpenAI`, for errors and for the run's record.
    pub fn provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = provider.into();
        self
    }

    /// Sets how long one answer may take, by default 10 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the sampling temperature. By default the provider's applies.
    pub fn temperature(self, temperature: f64) -> Self {
        self.parameter("temperature", temperature)
    }

    /// Adds a parameter of the request as the provider names it, for example `max_completion_tokens`.
    ///
    /// `model`, `messages`, `tools` and `stream` stay kern's: another value for them has no effect.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.parameters.insert(name.into(), value.into());
        self
    }

    fn key(&self) -> Result<Option<&ApiKey>, ModelError> {
        match (&self.key, &self.environment_key) {
            (Some(key), _) => Ok(Some(key)),
            (None, _) if self.own_base_url => Ok(None),
            (None, Some(key)) => Ok(Some(key)),
            (None, None) => {
                Err(ModelError::Setup(format!("no API key: set {KEY_VARIABLE}, or give one with `api_key`")))
            }
        }
    }

    async fn answer(&self, request: ModelRequest<'_>) -> Result<ModelReply, ModelError> {
        let key = self.key()?;
        let url = endpoint(&self.base_url, &["chat", "completions"])?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let answer = self
            .client
            .post(Post {
                provider: &self.provider,
                url,
                key,
                timeout: self.timeout,
                body: self.body(request, &host).to_string().into_bytes(),
            })
            .await?;
        self.read(&answer, key, &host)
    }

    fn body(&self, request: ModelRequest<'_>, host: &str) -> Value {
        let mut body = self.parameters.clone();
        body.insert("model".into(), self.id.as_str().into());
        body.insert("messages".into(), request.messages.iter().map(|message| wire_message(message, host)).collect());
        body.insert("stream".into(), false.into());
        // An empty list is an error to OpenAI.
        body.remove("tools");
        if !request.tools.is_empty() {
            body.insert("tools".into(), request.tools.iter().map(wire_tool).collect());
        }
        Value::Object(body)
    }

    /// Reads an answer. Every text of the provider's that gets into an error passes through `cut`.
    fn read(&self, answer: &Answer, key: Option<&ApiKey>, host: &str) -> Result<ModelReply, ModelError> {
        let cut = |text: String| match key {
            Some(key) => key.cut_from(text),
            None => text,
        };
        let status_error = |status: u16, error: ProviderError| ModelError::Status {
            provider: self.provider.clone(),
            status,
            message: excerpt(&cut(error.message), MESSAGE_LIMIT),
            provider_code: error.code.map(cut),
            retry_after: answer.retry_after,
        };
        let invalid = |message: String| ModelError::InvalidReply {
            provider: self.provider.clone(),
            message: excerpt(&cut(message), MESSAGE_LIMIT),
        };
        if !answer.is_success() {
            return Err(status_error(answer.status, ProviderError::of_body(answer, &cut)));
        }
        if answer.body.is_empty() {
            return Err(invalid("the body is empty".to_owned()));
        }
        let body: Value =
            serde_json::from_slice(&answer.body).map_err(|error| invalid(format!("the body is not JSON: {error}")))?;
        // Routers in front of providers answer 200 before they know, and put the failure into the body.
        if let Some(error) = ProviderError::inside(&body) {
            return Err(match error.status() {
                Some(status) => status_error(status, error),
                None => invalid(format!("it holds an error: {}", error.message)),
            });
        }
        read_reply(&body, host).map_err(invalid)
    }
}

impl fmt::Debug for OpenAIChat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAIChat")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .field("base_url", &shown_address(&self.base_url))
            .field("timeout", &self.timeout)
            // Their values may hold what a user's own gateway takes for a secret.
            .field("parameters", &self.parameters.keys())
            .finish_non_exhaustive()
    }
}

impl Model for OpenAIChat {
    fn id(&self) -> &str {
        &self.id
    }

    fn provider(&self) -> &str {
        &self.provider
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        Box::pin(self.answer(request))
    }
}

// What is sent.

fn wire_tool(tool: &ToolDefinition) -> Value {
    let mut function = json!({
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    });
    if tool.strict {
        function["strict"] = true.into();
    }
    json!({ "type": "function", "function": function })
}

fn wire_message(message: &Message, host: &str) -> Value {
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

/// What a message has beyond text and calls, and what its provider wants to see again.
///
/// Of the message these are the refusal and every spelling of reasoning (`reasoning_content`, `reasoning_details`, …):
/// some providers refuse to go on after a call without it. Other fields are answers only, and several servers refuse a
/// request that repeats them (`annotations`, `executed_tools`). Of a call it is everything the format does not know,
/// such as a signature. It goes back to the host it came from, since another one refuses unknown fields too.
#[derive(Default)]
struct Kept {
    message: Map<String, Value>,
    /// The content, where it was not a text but a list.
    content: Option<Value>,
    /// One for each call, in order.
    calls: Vec<Map<String, Value>>,
}

impl Kept {
    fn of_answer(message: &Map<String, Value>, calls: &[Value]) -> Self {
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

    fn into_provider_data(self, host: &str) -> Option<Value> {
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
    fn of(message: &Message, host: &str) -> Self {
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

// What is read. The errors name places and never values: a value may be the user's data.

fn read_reply(body: &Value, host: &str) -> Result<ModelReply, String> {
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
    let finish_reason = string(choice, "finish_reason")?.ok_or("`finish_reason` is missing")?;

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
        if finish_reason == "tool_calls" {
            return Err("it ended for `tool_calls` and has none".to_owned());
        }
        if finish_reason == "stop" && content.text.is_none() && refusal.is_none() {
            return Err("it has neither text nor calls".to_owned());
        }
    }
    Ok(ModelReply {
        content: content.text,
        reasoning: content.reasoning,
        refusal,
        tool_calls,
        finish_reason: Some(finish_reason),
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
struct Parts {
    text: Option<String>,
    reasoning: Option<String>,
}

/// Reads the content: a text, or (a vendor's variation) a list of texts and thoughts.
fn read_parts(content: &Value) -> Result<Parts, String> {
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

fn object<'v>(value: &'v Value, place: &str) -> Result<&'v Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{place} is no object"))
}

fn string(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("`{name}` is no text")),
    }
}

fn number(fields: &Map<String, Value>, name: &str) -> Result<Option<u64>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| format!("`{name}` is no count")),
    }
}

/// What a provider says about a failure.
struct ProviderError {
    message: String,
    code: Option<String>,
}

impl ProviderError {
    /// Reads the body of an error status. The servers that copy the format differ most here.
    fn of_body(answer: &Answer, cut: &dyn Fn(String) -> String) -> Self {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let body = body.get(0).unwrap_or(&body);
        let nested = Self::of(&body["error"]);
        nested.or_else(|| Self::of(body)).or_else(|| Self::of(&body["detail"])).unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&answer.body);
            let message = match text.trim() {
                "" => "no reason given".to_owned(),
                text => excerpt(&cut(text.to_owned()), PAGE_LIMIT),
            };
            Self { message, code: None }
        })
    }

    /// Reads an error inside an answer that claims success.
    fn inside(body: &Value) -> Option<Self> {
        [&body["error"], &body["choices"][0]["error"]].into_iter().find_map(|error| {
            Self::of(error)
                .or_else(|| error.is_object().then(|| Self { message: "it gives no reason".to_owned(), code: None }))
        })
    }

    fn of(error: &Value) -> Option<Self> {
        let message = error.as_str().or_else(|| error["message"].as_str())?;
        if message.is_empty() {
            return None;
        }
        let code = match error.get("code") {
            Some(Value::String(code)) => Some(code.clone()),
            Some(Value::Number(code)) => Some(code.to_string()),
            _ => None,
        };
        Some(Self { message: message.to_owned(), code })
    }

    /// Gives the HTTP status that a router names as its code.
    fn status(&self) -> Option<u16> {
        let status = self.code.as_deref()?.parse().ok()?;
        (400..600).contains(&status).then_some(status)
    }
}

/// Cuts a text to a readable length, after the key was cut out of it: the other way round could leave half a key.
fn excerpt(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
