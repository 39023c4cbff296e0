//! What a run does, while it does it: `RunEvent`, with the JSON of the reference.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use kern_db::{RunId, SessionId};

use super::blocked::RunBlocked;
use super::output::{RunMetrics, RunOutput};
use super::requirement::{RunRequirement, ToolExecution};
use crate::error::Error;
use crate::hooks::RunFailure;
use crate::models::Usage;

/// Characters of one argument in the line that says that a call ended.
const LONGEST_ARGUMENT: usize = 100;

/// Where an event belongs. Its fields stand beside the event's own in the JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventBase {
    /// Epoch seconds.
    pub created_at: i64,
    /// The agent.
    pub agent_id: String,
    /// The agent's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    /// The run.
    pub run_id: RunId,
    /// In a team: the run that started this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_run_id: Option<RunId>,
    /// The run's session.
    pub session_id: SessionId,
    /// How deep the run lies in other runs. 0: in none.
    #[serde(default)]
    pub nested_depth: u32,
    /// The event's number, from 0, in the stream of a run that was continued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_index: Option<u64>,
}

/// Something that happened in a run.
///
/// A paused run ends its stream with [`RunPaused`](RunEvent::RunPaused); the stream of its continuation starts with
/// [`RunContinued`](RunEvent::RunContinued). In JSON the event's name stands under `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event")]
#[non_exhaustive]
pub enum RunEvent {
    /// The run has started, and its row is in the store.
    #[non_exhaustive]
    RunStarted {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
        /// The model.
        model: String,
        /// Its provider.
        model_provider: String,
    },
    /// A paused run goes on, and is claimed for this process.
    #[non_exhaustive]
    RunContinued {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
    },
    /// The model is asked.
    #[non_exhaustive]
    ModelRequestStarted {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
        /// The model.
        model: String,
        /// Its provider.
        model_provider: String,
    },
    /// The model has answered, in full.
    #[non_exhaustive]
    ModelRequestCompleted {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
        /// The model.
        model: String,
        /// Its provider.
        model_provider: String,
        /// What it cost.
        #[serde(flatten)]
        tokens: RequestTokens,
    },
    /// More of what the run says: the model's text, turn by turn, and results of tools that are shown. A run that fails may
    /// have said a part of an answer that nobody keeps.
    #[non_exhaustive]
    RunContent {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
        /// More of the text. Empty where only the reasoning goes on.
        #[serde(default)]
        content: String,
        /// Always false.
        #[serde(default)]
        workflow_agent: bool,
        /// Always `str`.
        content_type: String,
        /// More of the model's reasoning, where its provider shows it.
        #[serde(default)]
        reasoning_content: String,
    },
    /// Nothing more is said before the run pauses or ends.
    #[non_exhaustive]
    RunContentCompleted {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
    },
    /// A tool's body is about to be entered.
    #[non_exhaustive]
    ToolCallStarted {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
        /// The call.
        tool: ToolExecution,
    },
    /// A tool's body has ended, well or not: `tool.tool_call_error` says which. Calls that nobody is asked about run side by
    /// side, and end in any order.
    #[non_exhaustive]
    ToolCallCompleted {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
        /// For people: which call, and how long it took.
        content: String,
        /// The call, with its result.
        tool: ToolExecution,
    },
    /// A call did not give its normal result, or could not start. A body that is known to have ended has its
    /// [`ToolCallCompleted`](RunEvent::ToolCallCompleted) before it.
    #[non_exhaustive]
    ToolCallError {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
        /// What went wrong.
        content: String,
        /// The call.
        tool: ToolExecution,
    },
    /// The run waits for people, and everything that they need is in the store.
    #[non_exhaustive]
    RunPaused {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
        /// The model's text, or what the run waits for.
        content: String,
        /// All tool calls so far.
        #[serde(default)]
        tools: Vec<ToolExecution>,
        /// What the run asks people for: answer them, and send them back with
        /// [`continue_run`](crate::Agent::continue_run).
        #[serde(default)]
        requirements: Vec<RunRequirement>,
        /// Why the run cannot continue with the tools of this build.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blocked: Option<RunBlocked>,
    },
    /// The run has ended, and that is in the store.
    #[non_exhaustive]
    RunCompleted {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
        /// The whole text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<String>,
        /// Always `str`.
        content_type: String,
        /// The session's state.
        #[serde(default)]
        session_state: Map<String, Value>,
        /// What it took.
        #[serde(default)]
        metrics: EventMetrics,
    },
    /// The run has ended with an error, and that is in the store. The stream ends with the error itself, or here, where a
    /// hook stopped the run.
    #[non_exhaustive]
    RunError {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
        /// The error's text.
        content: String,
        /// What kind of error it is, where a hook stopped the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_type: Option<String>,
        /// Its stable code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_id: Option<String>,
        /// What else is known of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        additional_data: Option<Map<String, Value>>,
    },
    /// Somebody has cancelled the run.
    #[non_exhaustive]
    RunCancelled {
        /// Where it belongs.
        #[serde(flatten)]
        base: EventBase,
    },
}

/// What one request to a model cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RequestTokens {
    /// Tokens of the request.
    #[serde(default)]
    pub input_tokens: u64,
    /// Tokens of the answer.
    #[serde(default)]
    pub output_tokens: u64,
    /// Both.
    #[serde(default)]
    pub total_tokens: u64,
    /// Seconds until the first part of the text. `None`: there was no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_first_token: Option<f64>,
    /// Tokens of the answer that the model thought with.
    #[serde(default)]
    pub reasoning_tokens: u64,
    /// Tokens of the request that the provider had kept.
    #[serde(default)]
    pub cache_read_tokens: u64,
    /// Tokens of the request that the provider keeps from now on.
    #[serde(default)]
    pub cache_write_tokens: u64,
}

/// What a run took, and whose model it asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventMetrics {
    /// What it took.
    #[serde(flatten)]
    pub run: RunMetrics,
    /// By what: `{"model": [{"id": …, "provider": …}]}`.
    #[serde(default)]
    pub details: Map<String, Value>,
}

#[cfg(feature = "os")]
impl EventBase {
    /// Of a run as it stands.
    pub(crate) fn of(run: &RunOutput) -> Self {
        Self {
            created_at: jiff::Timestamp::now().as_second(),
            agent_id: run.agent_id.clone(),
            agent_name: run.agent_name.clone(),
            run_id: run.run_id.clone(),
            parent_run_id: None,
            session_id: run.session_id.clone(),
            nested_depth: 0,
            event_index: None,
        }
    }
}

impl RunEvent {
    /// Where the event belongs.
    pub fn base(&self) -> &EventBase {
        match self {
            Self::RunStarted { base, .. }
            | Self::RunContinued { base }
            | Self::ModelRequestStarted { base, .. }
            | Self::ModelRequestCompleted { base, .. }
            | Self::RunContent { base, .. }
            | Self::RunContentCompleted { base }
            | Self::ToolCallStarted { base, .. }
            | Self::ToolCallCompleted { base, .. }
            | Self::ToolCallError { base, .. }
            | Self::RunPaused { base, .. }
            | Self::RunCompleted { base, .. }
            | Self::RunError { base, .. }
            | Self::RunCancelled { base } => base,
        }
    }

    /// The event's name, as it stands in the JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "RunStarted",
            Self::RunContinued { .. } => "RunContinued",
            Self::ModelRequestStarted { .. } => "ModelRequestStarted",
            Self::ModelRequestCompleted { .. } => "ModelRequestCompleted",
            Self::RunContent { .. } => "RunContent",
            Self::RunContentCompleted { .. } => "RunContentCompleted",
            Self::ToolCallStarted { .. } => "ToolCallStarted",
            Self::ToolCallCompleted { .. } => "ToolCallCompleted",
            Self::ToolCallError { .. } => "ToolCallError",
            Self::RunPaused { .. } => "RunPaused",
            Self::RunCompleted { .. } => "RunCompleted",
            Self::RunError { .. } => "RunError",
            Self::RunCancelled { .. } => "RunCancelled",
        }
    }

    pub(crate) fn content(base: EventBase, content: Option<String>, reasoning: Option<String>) -> Self {
        Self::RunContent {
            base,
            content: content.unwrap_or_default(),
            workflow_agent: false,
            content_type: "str".to_owned(),
            reasoning_content: reasoning.unwrap_or_default(),
        }
    }

    pub(crate) fn paused(base: EventBase, run: &RunOutput) -> Self {
        let content = run.content().to_owned();
        let (tools, requirements) = (run.tools.clone(), run.requirements.clone());
        Self::RunPaused { base, content, tools, requirements, blocked: run.blocked.clone() }
    }

    pub(crate) fn completed(base: EventBase, run: &RunOutput) -> Self {
        let mut details = Map::new();
        details.insert("model".to_owned(), json!([{ "id": run.model, "provider": run.model_provider }]));
        Self::RunCompleted {
            base,
            content: run.content.clone(),
            content_type: run.content_type.clone(),
            session_state: run.session_state.clone(),
            metrics: EventMetrics { run: run.metrics.clone(), details },
        }
    }

    /// A run that a hook stopped.
    pub(crate) fn stopped(base: EventBase, run: &RunOutput, failure: Option<&RunFailure>) -> Self {
        let additional_data = failure.map(|failure| failure.additional_data.clone()).filter(|data| !data.is_empty());
        Self::RunError {
            base,
            content: run.content().to_owned(),
            error_type: failure.map(|failure| failure.error_type.clone()),
            error_id: failure.map(|failure| failure.error_id.clone()),
            additional_data,
        }
    }

    /// Why a run could not go on, in words that a client may read.
    #[cfg(feature = "os")]
    pub(crate) fn refused(base: EventBase, content: String, code: &str) -> Self {
        Self::RunError { base, content, error_type: None, error_id: Some(code.to_owned()), additional_data: None }
    }

    pub(crate) fn error(base: EventBase, error: &Error) -> Self {
        let (content, code) = (error.to_string(), error.code().to_owned());
        Self::RunError { base, content, error_type: None, error_id: Some(code), additional_data: None }
    }
}

impl RequestTokens {
    pub(crate) fn new(usage: Option<&Usage>, time_to_first_token: Option<f64>) -> Self {
        let usage = usage.copied().unwrap_or_default();
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            total_tokens: usage.total_tokens,
            time_to_first_token,
            reasoning_tokens: usage.reasoning_tokens,
            cache_read_tokens: usage.cached_tokens,
            cache_write_tokens: 0,
        }
    }
}

/// The line that says that a body has ended. Arguments named in `sensitive` are left out of it.
pub(crate) fn ended_line(tool: &ToolExecution, sensitive: &[String], seconds: f64) -> String {
    let shown = |(name, value): (&String, &Value)| {
        if sensitive.contains(name) {
            return format!("{name}=…");
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match text.char_indices().nth(LONGEST_ARGUMENT) {
            None => format!("{name}={text}"),
            Some((end, _)) => format!("{name}={}…", &text[..end]),
        }
    };
    let arguments: Vec<String> = tool.tool_args.iter().flatten().map(shown).collect();
    format!("{}({}) completed in {seconds:.4}s. ", tool.name(), arguments.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_call_is_bounded_and_keeps_what_is_sensitive_to_itself() {
        let arguments = json!({ "key": "k", "long": "é".repeat(1000), "secret": "s3cret", "sum": 3 });
        let tool = ToolExecution {
            tool_name: Some("lookup".to_owned()),
            tool_args: arguments.as_object().cloned(),
            ..ToolExecution::default()
        };
        let line = ended_line(&tool, &["secret".to_owned()], 0.000_49);
        let long = "é".repeat(LONGEST_ARGUMENT);
        assert_eq!(line, format!("lookup(key=k, long={long}…, secret=…, sum=3) completed in 0.0005s. "));
    }
}
