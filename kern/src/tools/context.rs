//! What a tool's body may know of the call it runs for.

use std::sync::Arc;

use super::state::States;
use super::{StateType, ToolError};

/// Where a call belongs: its run, its session, who asked. Injected into a tool as `&RunContext`, never shown to the model.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunContext {
    /// The run.
    pub run_id: kern_db::RunId,
    /// Its session.
    pub session_id: kern_db::SessionId,
    /// The agent.
    pub agent_id: String,
    /// Who asked, as the caller named them.
    pub user_id: Option<String>,
    /// The model's id of the call.
    pub tool_call_id: String,
    /// The tool's name.
    pub tool_name: String,
    pub(crate) idempotency_key: String,
    pub(crate) states: Arc<States>,
}

impl RunContext {
    /// Gives the key for the other side's deduplication: the same on every attempt of this call.
    ///
    /// `kern:` and the hex SHA-256 of the call's id and the digest that was decided on.
    pub fn idempotency_key(&self) -> &str {
        &self.idempotency_key
    }

    /// Gives the value that a tool asked for with `#[state]`.
    ///
    /// # Errors
    ///
    /// There is none of this type. `build()` refuses an agent whose tools ask for what it does not have, so only a
    /// hand-written [`Tool`](super::Tool) that does not name its `states` sees this.
    pub fn state<T: Send + Sync + 'static>(&self) -> Result<&T, ToolError> {
        let name = StateType::of::<T>().name();
        self.states.get().ok_or_else(|| ToolError::new(format!("this agent has no state of type `{name}`")))
    }

    /// Makes a context for calling a tool's function in a unit test. Such a call is outside the gate.
    pub fn for_test() -> Self {
        Self {
            run_id: kern_db::RunId::from("test-run"),
            session_id: kern_db::SessionId::from("test-session"),
            agent_id: "test-agent".to_owned(),
            user_id: None,
            tool_call_id: "test-call".to_owned(),
            tool_name: "test-tool".to_owned(),
            idempotency_key: "kern:test".to_owned(),
            states: Arc::default(),
        }
    }
}
