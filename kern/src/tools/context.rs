//! What a tool's body may know of the call it runs for.

use std::sync::Arc;

use super::state::States;
use super::transaction::{Transaction, Writes};
use super::{Arguments, StateType, ToolError};

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
    pub(crate) attempt: u32,
    /// Only for a probe.
    pub(crate) arguments: Arguments,
    /// `None`: the call was not allowed as one of a transactional tool.
    pub(crate) writes: Option<Writes>,
    pub(crate) states: Arc<States>,
}

impl RunContext {
    /// Gives the key for the other side's deduplication: the same on every attempt of this call.
    ///
    /// `kern:` and the hex SHA-256 of the call's id and the digest that was decided on.
    pub fn idempotency_key(&self) -> &str {
        &self.idempotency_key
    }

    /// Says which start of this call it is, from 1. Only tools whose `effect` is `idempotent` or `transactional` are started
    /// more than once.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Gives what a tool with `effect = "transactional"` writes: statements that are committed together with the outcome of
    /// this call. See [`Transaction::execute`].
    pub fn transaction(&self) -> Transaction<'_> {
        Transaction { writes: self.writes.as_ref() }
    }

    /// Gives the call's arguments to a tool's probe, as they were decided on. The body itself has them as its parameters, and
    /// finds none here.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
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

    /// Makes a context for calling a tool's function in a unit test. Such a call is outside the gate, and what it hands to
    /// its [`transaction`](Self::transaction) is only gathered.
    pub fn for_test() -> Self {
        Self {
            run_id: kern_db::RunId::from("test-run"),
            session_id: kern_db::SessionId::from("test-session"),
            agent_id: "test-agent".to_owned(),
            user_id: None,
            tool_call_id: "test-call".to_owned(),
            tool_name: "test-tool".to_owned(),
            idempotency_key: "kern:test".to_owned(),
            attempt: 1,
            arguments: Arguments::new(),
            writes: Some(Writes::new()),
            states: Arc::default(),
        }
    }
}
