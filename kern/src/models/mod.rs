//! Models: the trait, a scripted one for tests and documentation, one file per wire format.

#[cfg(feature = "openai")]
mod http;
mod name;
mod scripted;
#[cfg(feature = "openai")]
mod sse;

#[cfg(feature = "openai")]
pub mod openai;

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::name::{IntoModel, from_name};
#[cfg(feature = "openai")]
pub use self::openai::OpenAIChat;
pub use self::scripted::{ScriptedModel, Turn, turn};
use crate::run::Message;

/// What a model answers with, boxed so that [`Model`] stays object-safe.
pub type ModelFuture<'a> = Pin<Box<dyn Future<Output = Result<ModelReply, ModelError>> + Send + 'a>>;

/// Where the parts of a streamed answer go. It never waits.
pub type DeltaSink<'a> = &'a (dyn Fn(ModelDelta) + Send + Sync);

/// A part of a streamed answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelDelta {
    /// More of the text.
    pub content: Option<String>,
    /// More of the reasoning.
    pub reasoning: Option<String>,
}

/// A language model.
///
/// One call of [`respond`](Model::respond) is one turn. A model keeps no state of a conversation: everything it may
/// know of it is in the request, so that a run can go on in another process.
pub trait Model: Send + Sync + 'static {
    /// The model's name as its provider knows it, for example `gpt-4o-mini`.
    fn id(&self) -> &str;

    /// The provider's name, for example `OpenAI`.
    fn provider(&self) -> &str;

    /// Answers the last message of the request.
    ///
    /// # Errors
    ///
    /// A [`ModelError`] when there is no complete answer. A partial answer is never given as a complete one.
    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a>;

    /// Asks the model as [`respond`](Model::respond), and hands on what it says while it says it.
    ///
    /// The answer that is returned at the end counts; the parts are for those who watch. Without an implementation of its
    /// own the whole text comes as one part.
    ///
    /// # Errors
    ///
    /// As [`respond`](Model::respond). A connection that is lost before the answer is complete is an error, whatever was
    /// handed on by then.
    fn respond_streamed<'a>(&'a self, request: ModelRequest<'a>, deltas: DeltaSink<'a>) -> ModelFuture<'a> {
        Box::pin(async move {
            let reply = self.respond(request).await?;
            let content = reply.content.clone().filter(|text| !text.is_empty());
            let reasoning = reply.reasoning.clone().filter(|text| !text.is_empty());
            if content.is_some() || reasoning.is_some() {
                deltas(ModelDelta { content, reasoning });
            }
            Ok(reply)
        })
    }
}

/// What a model is asked with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ModelRequest<'a> {
    /// The conversation so far, instructions first.
    pub messages: &'a [Message],
    /// The tools it may call, in the order they were registered.
    pub tools: &'a [ToolDefinition],
}

impl<'a> ModelRequest<'a> {
    /// Makes a request.
    pub fn new(messages: &'a [Message], tools: &'a [ToolDefinition]) -> Self {
        Self { messages, tools }
    }
}

/// What a model is told of a tool.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ToolDefinition {
    /// The tool's name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments, an object.
    pub parameters: Value,
    /// Whether the provider is asked to hold the model to the schema.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
}

impl ToolDefinition {
    /// Makes a definition.
    pub fn new(name: impl Into<String>, description: impl Into<String>, parameters: Value) -> Self {
        Self { name: name.into(), description: description.into(), parameters, strict: false }
    }

    /// Asks the provider to hold the model to the schema.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }
}

/// One turn of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelReply {
    /// The text. `None` when the model gave none.
    pub content: Option<String>,
    /// Its reasoning, where the provider shows it.
    pub reasoning: Option<String>,
    /// Its refusal, where the provider tells one apart from text.
    pub refusal: Option<String>,
    /// The calls it asks for, in order.
    pub tool_calls: Vec<ModelToolCall>,
    /// Why it stopped, in the provider's word.
    pub finish_reason: Option<String>,
    /// What it cost.
    pub usage: Option<Usage>,
    /// The provider's id of this answer.
    pub response_id: Option<String>,
    /// The model that really answered.
    pub model: Option<String>,
    /// What the provider wants to see again with this turn (opaque; copied to the message).
    pub provider_data: Option<Value>,
}

/// One call a model asks for, as it came: nothing of it has been checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelToolCall {
    /// The model's id. `None` or empty: kern makes one.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// The arguments' text, as the model wrote it.
    pub arguments: String,
}

impl ModelToolCall {
    /// Makes a call.
    pub fn new(id: Option<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id, name: name.into(), arguments: arguments.into() }
    }
}

/// Tokens, as the provider counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the request.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// The provider's own sum, else the sum of the two.
    pub total_tokens: u64,
    /// Part of `input_tokens` read from a cache.
    pub cached_tokens: u64,
    /// Part of `output_tokens` spent on reasoning.
    pub reasoning_tokens: u64,
}

/// Why a model gave no complete answer.
///
/// Keys never appear in it: a provider's own text is kept, with the key cut out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The client is not set up: no key, no TLS, an address that is none.
    #[error("the model is not set up: {0}")]
    Setup(String),
    /// The provider did not answer at all, or the connection broke.
    #[error("no whole answer from {provider}: {message}")]
    Connection {
        /// The provider's name.
        provider: String,
        /// What happened, and what to look at.
        message: String,
        /// What the HTTP client said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The provider answered with an error status.
    #[error("{provider} answered {status}: {message}{}", again(*.retry_after))]
    Status {
        /// The provider's name.
        provider: String,
        /// The HTTP status.
        status: u16,
        /// The provider's message.
        message: String,
        /// The provider's own code, where it gives one.
        provider_code: Option<String>,
        /// What `Retry-After` said, in seconds.
        retry_after: Option<u64>,
    },
    /// The answer is not what the wire format says, or was cut short.
    #[error("{provider} sent an answer that cannot be read: {message}")]
    InvalidReply {
        /// The provider's name.
        provider: String,
        /// What is wrong with it.
        message: String,
    },
    /// A scripted model has no turn left.
    #[error("the scripted model has no turn {turn}: it has {turns}")]
    ScriptEnded {
        /// The turn asked for, from 0.
        turn: usize,
        /// How many there are.
        turns: usize,
    },
}

fn again(retry_after: Option<u64>) -> String {
    retry_after.map(|seconds| format!("; try again in {seconds} s")).unwrap_or_default()
}

impl ModelError {
    /// Gives the stable code: `model_…`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Setup(_) => "model_setup",
            Self::Connection { .. } => "model_unreachable",
            Self::Status { status: 401 | 403, .. } => "model_auth",
            Self::Status { status: 429, .. } => "model_rate_limited",
            Self::Status { status: 500.., .. } => "model_unavailable",
            Self::Status { .. } => "model_refused_request",
            Self::InvalidReply { .. } => "model_invalid_reply",
            Self::ScriptEnded { .. } => "model_script_ended",
        }
    }
}
