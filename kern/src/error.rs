//! The crate's one error.

use std::fmt;

use kern_db::{ApprovalId, ExecutionId, RunId, RunStatus};

use crate::models::ModelError;
use crate::run::blocked::TO_DO;

/// Why kern did not do what it was asked. Nothing protected ran because of it.
///
/// A tool's own failure, and a human's no, are no errors: the model is told. [`code`](Error::code) is stable; the text
/// is for people.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An approver has not decided yet. The run is still paused, nothing ran.
    #[error("run `{run_id}` waits for approval `{approval_id}`{}", more(.approval_ids.len()))]
    ApprovalPending {
        /// The run.
        run_id: RunId,
        /// The first approval that is open.
        approval_id: ApprovalId,
        /// All of them.
        approval_ids: Vec<ApprovalId>,
    },
    /// The approval of a call is gone, or its rows do not fit together. Nothing ran.
    #[error("call `{tool_call_id}` of run `{run_id}` has no approval any more: it cannot run")]
    ApprovalMissing {
        /// The run.
        run_id: RunId,
        /// The call.
        tool_call_id: String,
    },
    /// The requester has not answered yet. The run is still paused, nothing ran.
    #[error("run `{run_id}` waits for an answer of the person who asked, to {}", list(.tool_call_ids))]
    RequirementsUnresolved {
        /// The run.
        run_id: RunId,
        /// The calls, by the model's ids.
        tool_call_ids: Vec<String>,
    },
    /// An answer is to a call that was never shown. It was recorded as suspected tampering; nothing ran.
    #[error(
        "the answer to call `{tool_call_id}` of run `{run_id}` names another tool or other arguments than were shown: \
         answer the requirement as it came"
    )]
    RequirementMismatch {
        /// The run.
        run_id: RunId,
        /// The call.
        tool_call_id: String,
    },
    /// An answer does not fit what was asked.
    #[error("{0}")]
    InvalidAnswer(String),
    /// Somebody else drives the run, or it went on since it was loaded.
    #[error("run `{run_id}` is being driven elsewhere")]
    AlreadyRunning {
        /// The run.
        run_id: RunId,
    },
    /// The run is not paused.
    #[error("run `{run_id}` is {status}, only a paused run can be continued")]
    NotPaused {
        /// The run.
        run_id: RunId,
        /// What it is.
        status: RunStatus,
    },
    /// This agent has no such run.
    #[error("no run with id `{run_id}`")]
    RunNotFound {
        /// The id asked for.
        run_id: RunId,
    },
    /// The tool changed since the call was shown. Nothing was claimed: the build that showed it can still run it.
    #[error("tool `{tool_name}` is not the one that call `{tool_call_id}` of run `{run_id}` was shown with: {what}; {to_do}", to_do = TO_DO)]
    ToolChanged {
        /// The run.
        run_id: RunId,
        /// The call.
        tool_call_id: String,
        /// The tool.
        tool_name: String,
        /// What changed.
        what: &'static str,
    },
    /// The tool changed since the call was shown, and the call cannot be asked again with the tool of now. Nothing changed:
    /// the build that showed it can still run it.
    #[error("call `{tool_call_id}` of run `{run_id}` cannot be asked again for tool `{tool_name}`: {why}")]
    CannotAskAgain {
        /// The run.
        run_id: RunId,
        /// The call.
        tool_call_id: String,
        /// The tool.
        tool_name: String,
        /// Why not.
        why: String,
    },
    /// Nobody knows how a call ended. Somebody has to settle it; nothing runs it again.
    #[error("nobody knows how execution `{execution_id}` of run `{run_id}` ended: settle it, then continue")]
    ExecutionUnknown {
        /// The run.
        run_id: RunId,
        /// The execution.
        execution_id: ExecutionId,
    },
    /// The model went on for more turns than the agent allows.
    #[error("run `{run_id}` was stopped after {turns} turns: raise `max_turns` if it needs more")]
    TurnLimit {
        /// The run.
        run_id: RunId,
        /// How many there were.
        turns: u32,
    },
    /// A tool asks for something that nobody can ever satisfy, or that its store cannot keep. Nothing is accepted and then
    /// ignored.
    #[error("tool `{tool_name}` can never run: {why}")]
    PolicyUnsatisfiable {
        /// The tool.
        tool_name: String,
        /// Why, and what to write instead.
        why: String,
    },
    /// The agent cannot be built as it is described.
    #[error("{0}")]
    Setup(String),
    /// The model gave no complete answer.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] kern_db::Error),
    /// Who watched the run was too far behind, and was not told of everything. The run itself goes on.
    #[error("events of run `{run_id}` were lost, because its stream was not read: `get_run` says how it stands")]
    EventsLost {
        /// The run.
        run_id: RunId,
    },
    /// A bug in kern, or a runtime that is shutting down.
    #[error("the run's own task ended early")]
    Interrupted(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a program that ends with an error prints: the message, the code, and the causes.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{}]", self.code())?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "\n  because: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error {
    /// Gives the stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ApprovalPending { .. } => "approval_pending",
            Self::ApprovalMissing { .. } => "approval_missing",
            Self::RequirementsUnresolved { .. } => "requirements_unresolved",
            Self::RequirementMismatch { .. } => "requirement_mismatch",
            Self::InvalidAnswer(_) => "invalid_answer",
            Self::AlreadyRunning { .. } => "already_running",
            Self::NotPaused { .. } => "not_paused",
            Self::RunNotFound { .. } => "run_not_found",
            Self::ToolChanged { .. } | Self::CannotAskAgain { .. } => "tool_changed",
            Self::ExecutionUnknown { .. } => "execution_unknown",
            Self::TurnLimit { .. } => "turn_limit",
            Self::PolicyUnsatisfiable { .. } => "policy_unsatisfiable",
            Self::Setup(_) => "setup",
            Self::Model(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::EventsLost { .. } => "events_lost",
            Self::Interrupted(_) => "interrupted",
        }
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

/// An error as a field of a log line, which keeps its causes: an error that is shown by its words alone loses them.
pub(crate) fn causes<E: std::error::Error + 'static>(error: &E) -> &(dyn std::error::Error + 'static) {
    error
}

fn more(count: usize) -> String {
    if count > 1 { format!(" and {} more", count - 1) } else { String::new() }
}

fn list(ids: &[String]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_with_an_error_prints_what_a_person_can_read() {
        let pending = Error::RunNotFound { run_id: "r1".into() };
        assert_eq!(format!("{pending:?}"), "no run with id `r1` [run_not_found]");
        let source = std::io::Error::other("the disk is gone");
        let store = Error::from(kern_db::Error::Unavailable { action: "start a run", source: source.into() });
        let printed = format!("{store:?}");
        assert!(printed.contains("[store_unavailable]\n  because: the disk is gone"), "{printed}");
    }

    #[test]
    fn an_error_stays_small_enough_to_return_by_value() {
        assert!(size_of::<Error>() <= 128, "{} bytes", size_of::<Error>());
    }
}
