//! Executions: a call's way through its body.

use serde::Serialize;

use crate::cell::row;
use crate::records::principal::Principal;
use crate::{ApprovalId, Authority, ExecutionId, ExecutionStatus, RunId};

row! {
    /// One execution.
    ExecutionRow, ExecutionColumns, Executions, lookups [id, run_id, approval_id], unique [[id], [run_id, turn, idx, generation]] {
        id: ExecutionId,
        run_id: RunId,
        turn: u32,
        idx: u32,
        generation: u32,
        approval_id: Option<ApprovalId>,
        authority: Authority,
        tool_name: String,
        /// Canonical JSON of the version that was decided on; these bytes run.
        arguments: String,
        decided_digest: String,
        status: ExecutionStatus,
        attempt: u32,
        fence: i64,
        /// A fresh random token for each claim.
        owner: Option<String>,
        lease_until_ms: Option<i64>,
        valid_until_ms: Option<i64>,
        result: Option<String>,
        error: Option<String>,
        settled_by: Option<String>,
        note: Option<String>,
        created_at_ms: i64,
        started_at_ms: Option<i64>,
        finished_at_ms: Option<i64>,
        /// When the secrets of its call were taken out.
        erased_at_ms: Option<i64>,
        /// How the first report ended that came too late to be the outcome.
        late_status: Option<ExecutionStatus>,
        /// What it gave, cut where it is long.
        late_result: Option<String>,
    }
}

/// An execution, for those who look.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Execution {
    /// Its id; the approval's id where an approval allows it.
    pub id: ExecutionId,
    /// The run.
    pub run_id: RunId,
    /// The call's turn.
    pub turn: u32,
    /// The call's place in the turn.
    pub index: u32,
    /// 0, one more each time somebody ordered the call to be run again.
    pub generation: u32,
    /// The approval that allows it.
    pub approval_id: Option<ApprovalId>,
    /// What allows it.
    pub authority: Authority,
    /// The tool.
    pub tool_name: String,
    /// Canonical JSON of the arguments that were decided on.
    pub arguments: String,
    /// The digest that was decided on.
    pub decided_digest: String,
    /// Its state.
    pub status: ExecutionStatus,
    /// How often it was started.
    pub attempt: u32,
    /// Raised by every start.
    pub fence: i64,
    /// What the tool gave.
    pub result: Option<String>,
    /// The tool's own error, or why it never started.
    pub error: Option<String>,
    /// Who settled it, where somebody had to.
    pub settled_by: Option<String>,
    /// Why.
    pub note: Option<String>,
    /// Epoch milliseconds.
    pub created_at_ms: i64,
    /// Epoch milliseconds of the last start.
    pub started_at_ms: Option<i64>,
    /// Epoch milliseconds.
    pub finished_at_ms: Option<i64>,
    /// How a body, or another system, said that the call ended, where that came too late to be its outcome.
    #[serde(default)]
    pub late_status: Option<ExecutionStatus>,
    /// What it gave, at most 64 KiB. Gone after an erasure.
    #[serde(default)]
    pub late_result: Option<String>,
}

impl Execution {
    /// Gives the digest of the late result, by which [`Settlement::adopt`] names it.
    #[must_use]
    pub fn late_digest(&self) -> Option<String> {
        self.late_result.as_deref().map(crate::digest::sha256)
    }

    /// Gives the key for the other side's deduplication: the same for every start and every generation of the call.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        crate::digest::idempotency_key(self.run_id.as_str(), self.turn, self.index, &self.decided_digest)
    }
}

impl From<ExecutionRow> for Execution {
    fn from(row: ExecutionRow) -> Self {
        Self {
            id: row.id,
            run_id: row.run_id,
            turn: row.turn,
            index: row.idx,
            generation: row.generation,
            approval_id: row.approval_id,
            authority: row.authority,
            tool_name: row.tool_name,
            arguments: row.arguments,
            decided_digest: row.decided_digest,
            status: row.status,
            attempt: row.attempt,
            fence: row.fence,
            result: row.result,
            error: row.error,
            settled_by: row.settled_by,
            note: row.note,
            created_at_ms: row.created_at_ms,
            started_at_ms: row.started_at_ms,
            finished_at_ms: row.finished_at_ms,
            late_status: row.late_status,
            late_result: row.late_result,
        }
    }
}

/// Which executions to list.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExecutionFilter {
    pub(crate) run_id: Option<RunId>,
    pub(crate) approval_id: Option<ApprovalId>,
    pub(crate) status: Option<ExecutionStatus>,
    pub(crate) limit: Option<u32>,
}

impl ExecutionFilter {
    /// All executions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only executions of this run.
    #[must_use]
    pub fn run_id(mut self, run_id: impl Into<RunId>) -> Self {
        self.run_id = Some(run_id.into());
        self
    }

    /// Only executions that this approval allows.
    #[must_use]
    pub fn approval_id(mut self, approval_id: impl Into<ApprovalId>) -> Self {
        self.approval_id = Some(approval_id.into());
        self
    }

    /// Only executions in this state.
    #[must_use]
    pub fn status(mut self, status: ExecutionStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// At most this many, oldest first. 1,000 by default.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// A human's word on how an `unknown` execution ended, or that it is to be run again. Each needs a [`note`](Self::note).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a settlement does nothing until `settle_execution` is called with it"]
#[non_exhaustive]
pub struct Settlement {
    pub(crate) to: ExecutionStatus,
    pub(crate) result: Option<String>,
    pub(crate) by: Option<Principal>,
    pub(crate) note: Option<String>,
    /// Whether the call is asked for again.
    pub(crate) again: bool,
    /// The digest of the late result that it ended with.
    pub(crate) adopts: Option<String>,
}

impl Settlement {
    fn new(to: ExecutionStatus, result: Option<String>) -> Self {
        Self { to, result, by: None, note: None, again: false, adopts: None }
    }

    /// It did happen, with this result for the model.
    pub fn succeeded(result: impl Into<String>) -> Self {
        Self::new(ExecutionStatus::Succeeded, Some(result.into()))
    }

    /// It failed, with this error for the model.
    pub fn failed(error: impl Into<String>) -> Self {
        Self::new(ExecutionStatus::Failed, Some(error.into()))
    }

    /// It did not happen and shall not.
    pub fn abandoned() -> Self {
        Self::new(ExecutionStatus::Abandoned, None)
    }

    /// It ended as its late result says. The digest is that of the result that was shown
    /// ([`Execution::late_digest`]). Not for a transactional call, whose writes are not there.
    pub fn adopt(digest: impl Into<String>) -> Self {
        Self { adopts: Some(digest.into()), ..Self::new(ExecutionStatus::Unknown, None) }
    }

    /// Whatever became of it, it shall be run again: this execution is abandoned, and the same call is asked for once more,
    /// with the same idempotency key. Whoever had to allow it has to allow it anew; nothing that was said before counts.
    pub fn run_again() -> Self {
        Self { again: true, ..Self::new(ExecutionStatus::Abandoned, None) }
    }

    /// Who says so.
    pub fn by(mut self, subject: impl Into<String>) -> Self {
        self.by = Some(Principal::unverified(subject));
        self
    }

    /// Who says so, as whoever asked them knows them.
    #[doc(hidden)]
    pub fn by_person(mut self, person: Option<Principal>) -> Self {
        self.by = person;
        self
    }

    /// How they know, or why it shall be run again. Without a note nothing is settled.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}
