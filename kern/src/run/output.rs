//! What a run gives: `RunOutput`, with the JSON of the reference.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use kern_db::{Principal, RunId, RunStatus, SessionId};

use super::blocked::RunBlocked;
use super::message::Message;
use super::requirement::{RunRequirement, ToolExecution};

/// What went into a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunInput {
    /// The request's text.
    pub input_content: String,
}

impl RunInput {
    /// Makes an input of a text.
    pub fn new(input_content: impl Into<String>) -> Self {
        Self { input_content: input_content.into() }
    }
}

impl<T: Into<String>> From<T> for RunInput {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

/// What a run took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunMetrics {
    /// Seconds until the model's first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_first_token: Option<f64>,
    /// Seconds in all, the waiting for people not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Tokens of all requests to the model.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub input_tokens: u64,
    /// Tokens of all its answers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_tokens: u64,
    /// Both.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub total_tokens: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A run, as it stands: what was asked, what happened, what it waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunOutput {
    /// Its id.
    pub run_id: RunId,
    /// The agent.
    pub agent_id: String,
    /// The agent's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_name: Option<String>,
    /// Its session.
    pub session_id: SessionId,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Whose it is: a name alone owns nothing.
    #[serde(skip)]
    #[cfg_attr(not(feature = "os"), allow(dead_code))]
    pub(crate) requester: Option<Principal>,
    /// The text: the model's last, what the run waits for, or why it cannot continue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Always `str`.
    pub content_type: String,
    /// The model.
    pub model: String,
    /// Its provider.
    pub model_provider: String,
    /// The session's state.
    #[serde(default)]
    pub session_state: Map<String, Value>,
    /// Epoch seconds.
    pub created_at: i64,
    /// Its state.
    pub status: RunStatus,
    /// What it took.
    #[serde(default)]
    pub metrics: RunMetrics,
    /// The run's own conversation: without the instructions, and without the earlier runs of its session.
    #[serde(default)]
    pub messages: Vec<Message>,
    /// All tool calls, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolExecution>,
    /// What it asked people for, answered or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<RunRequirement>,
    /// Whether it is paused because somebody has to look at a call: its end is unknown, or it cannot start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attention: bool,
    /// Why it is paused and cannot continue with the tools of this build. `None`: it can, once everything is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<RunBlocked>,
    /// What went in.
    pub input: RunInput,
    /// Whether its session was deleted.
    #[serde(skip)]
    pub(crate) is_deleted: bool,
}

impl RunOutput {
    /// The text; empty where there is none.
    pub fn content(&self) -> &str {
        self.content.as_deref().unwrap_or_default()
    }

    /// Whether it waits for people.
    pub fn is_paused(&self) -> bool {
        self.status == RunStatus::Paused
    }

    /// All tool calls, in order.
    pub fn tool_calls(&self) -> &[ToolExecution] {
        &self.tools
    }

    /// What it still asks people for.
    pub fn active_requirements(&self) -> impl Iterator<Item = &RunRequirement> {
        self.requirements.iter().filter(|requirement| !requirement.is_resolved())
    }

    /// What it still asks people for, to be answered.
    pub fn active_requirements_mut(&mut self) -> impl Iterator<Item = &mut RunRequirement> {
        self.requirements.iter_mut().filter(|requirement| !requirement.is_resolved())
    }
}
