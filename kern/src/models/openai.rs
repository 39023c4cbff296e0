//! OpenAI's Chat Completions, the wire format that many other servers copy: whole answers and streamed ones.

mod failure;
mod kept;
mod reply;
mod request;
mod stream;
mod strict;

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use self::failure::Failures;
use self::reply::{Ending, read_reply};
use self::request::{wire_message, wire_tool};
use self::stream::Assembly;
use super::http::{Answer, ApiKey, HttpClient, Incoming, Post, endpoint, shown_address};
use super::sse::{Decoder, Event};
use super::{DeltaSink, Model, ModelDelta, ModelError, ModelFuture, ModelReply, ModelRequest};

const KEY_VARIABLE: &str = "OPENAI_API_KEY";
const BASE_VARIABLE: &str = "OPENAI_BASE_URL";
const DEFAULT_BASE: &str = "https://api.openai.com/v1";

/// A model with many reasoning tokens may well take minutes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// A model may think for minutes before it says more.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// The hosts that refuse a request for the usage of a streamed answer. They tell it unasked.
const REFUSE_STREAM_OPTIONS: &[&str] = &["api.mistral.ai"];

/// The last event of a stream.
const END_OF_STREAM: &str = "[DONE]";

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
    idle_timeout: Duration,
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
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
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

    /// Sets how long one answer may take, streamed or not, by default 10 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long a streamed answer may pause between two of its parts, by default 5 minutes.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets the sampling temperature. By default the provider's applies.
    pub fn temperature(self, temperature: f64) -> Self {
        self.parameter("temperature", temperature)
    }

    /// Adds a parameter of the request as the provider names it, for example `max_completion_tokens`.
    ///
    /// `model`, `messages`, `tools` and `stream` stay kern's: another value for them has no effect. A streamed answer is
    /// asked for with `stream_options: {"include_usage": true}`. For a server that refuses it, set `stream_options` to
    /// `Value::Null`, and nothing is sent.
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

    /// Sends a request and waits for the head of its answer.
    async fn send<'a>(
        &'a self,
        request: ModelRequest<'_>,
        streamed: bool,
    ) -> Result<(Incoming<'a>, Reading<'a>), ModelError> {
        let key = self.key()?;
        let url = endpoint(&self.base_url, &["chat", "completions"])?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let address = shown_address(url.as_str());
        let body = self.body(request, &host, streamed).to_string().into_bytes();
        let post = Post { provider: &self.provider, url, key, timeout: self.timeout, body };
        let incoming = self.client.send(post).await?;
        let retry_after = incoming.retry_after();
        let failures = Failures { provider: &self.provider, key, address, retry_after };
        Ok((incoming, Reading { failures, host }))
    }

    async fn answer(&self, request: ModelRequest<'_>) -> Result<ModelReply, ModelError> {
        let (incoming, reading) = self.send(request, false).await?;
        reading.whole(&incoming.whole().await?)
    }

    async fn answer_streamed(
        &self,
        request: ModelRequest<'_>,
        deltas: DeltaSink<'_>,
    ) -> Result<ModelReply, ModelError> {
        let (incoming, reading) = self.send(request, true).await?;
        if !incoming.is_success() || incoming.is_json() {
            // An error comes whole, and so does the answer of a server that streams nothing.
            let reply = reading.whole(&incoming.whole().await?)?;
            hand_on(ModelDelta { content: reply.content.clone(), reasoning: reply.reasoning.clone() }, deltas);
            return Ok(reply);
        }
        reading.stream(incoming, self.idle_timeout, deltas).await
    }

    fn body(&self, request: ModelRequest<'_>, host: &str, streamed: bool) -> Value {
        let mut body = self.parameters.clone();
        body.insert("model".into(), self.id.as_str().into());
        body.insert("messages".into(), request.messages.iter().map(|message| wire_message(message, host)).collect());
        body.insert("stream".into(), streamed.into());
        let asked = body.remove("stream_options");
        let default = || (!REFUSE_STREAM_OPTIONS.contains(&host)).then(|| json!({ "include_usage": true }));
        // Without a stream they are an error to OpenAI.
        if streamed && let Some(options) = asked.or_else(default).filter(|options| !options.is_null()) {
            body.insert("stream_options".into(), options);
        }
        // An empty list is an error to OpenAI.
        body.remove("tools");
        if !request.tools.is_empty() {
            body.insert("tools".into(), request.tools.iter().map(wire_tool).collect());
        }
        Value::Object(body)
    }
}

/// Reads what came for one request.
struct Reading<'a> {
    failures: Failures<'a>,
    host: String,
}

impl Reading<'_> {
    fn whole(&self, answer: &Answer) -> Result<ModelReply, ModelError> {
        let failures = &self.failures;
        if !answer.is_success() {
            return Err(failures.status(answer));
        }
        if answer.body.is_empty() {
            return Err(failures.no_answer("the body is empty"));
        }
        let body: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| failures.no_answer(&format!("the body is not JSON: {error}")))?;
        match failures.inside(&body) {
            Some(error) => Err(error),
            None => self.reply(&body, Ending::Reason),
        }
    }

    /// Reads a stream to its end. Whatever was handed on by then: without an end there is no answer.
    async fn stream(
        &self,
        mut incoming: Incoming<'_>,
        idle_timeout: Duration,
        deltas: DeltaSink<'_>,
    ) -> Result<ModelReply, ModelError> {
        let mut decoder = Decoder::default();
        let mut assembly = Assembly::default();
        while let Some(bytes) = incoming.next(idle_timeout).await? {
            for event in decoder.push(bytes.as_ref()).map_err(|what| self.failures.invalid(what))? {
                if self.ends(&event, &mut assembly, deltas)? {
                    incoming.let_go();
                    return self.reply(&assembly.into_body(), Ending::Mark);
                }
            }
        }
        if let Some(event) = decoder.end().map_err(|what| self.failures.invalid(what))?
            && self.ends(&event, &mut assembly, deltas)?
        {
            return self.reply(&assembly.into_body(), Ending::Mark);
        }
        if !assembly.has_begun() {
            return Err(self.failures.no_answer("the stream ended before the answer began"));
        }
        // A reason to stop is the provider's word. That nothing was lost after it is HTTP's, where HTTP says so.
        if !assembly.is_finished() || !incoming.has_an_end() {
            return Err(self.failures.invalid("the stream ended before the answer was whole"));
        }
        self.reply(&assembly.into_body(), Ending::Reason)
    }

    /// Takes one event, and gives whether it is the last one.
    fn ends(&self, event: &Event, assembly: &mut Assembly, deltas: DeltaSink<'_>) -> Result<bool, ModelError> {
        if event.data.trim() == END_OF_STREAM {
            return Ok(true);
        }
        if event.name == "error" {
            return Err(self.failures.event(&event.data));
        }
        let part: Value = serde_json::from_str(&event.data)
            .map_err(|error| self.failures.invalid(format!("an event is not JSON: {error}")))?;
        if let Some(error) = self.failures.inside(&part) {
            return Err(error);
        }
        hand_on(assembly.add(&part).map_err(|what| self.failures.invalid(what))?, deltas);
        Ok(false)
    }

    fn reply(&self, body: &Value, ending: Ending) -> Result<ModelReply, ModelError> {
        read_reply(body, ending, &self.host).map_err(|what| self.failures.invalid(what))
    }
}

/// Hands on what there is, and nothing where there is nothing.
fn hand_on(delta: ModelDelta, deltas: DeltaSink<'_>) {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let delta = ModelDelta { content: some(delta.content), reasoning: some(delta.reasoning) };
    if delta != ModelDelta::default() {
        deltas(delta);
    }
}

impl fmt::Debug for OpenAIChat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAIChat")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .field("base_url", &shown_address(&self.base_url))
            .field("timeout", &self.timeout)
            .field("idle_timeout", &self.idle_timeout)
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

    fn respond_streamed<'a>(&'a self, request: ModelRequest<'a>, deltas: DeltaSink<'a>) -> ModelFuture<'a> {
        Box::pin(self.answer_streamed(request, deltas))
    }
}

#[cfg(test)]
mod tests;
