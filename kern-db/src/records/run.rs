//! Runs.

use serde::Serialize;

use super::call::Call;
use super::principal::{Owner, Principal};
use crate::cell::{Json, row};
use crate::digest::Fields;
use crate::sensitive::snapshot_digest;
use crate::{RunId, RunStatus, SessionId};

row! {
    /// One run. `snapshot` is kern's own JSON: the conversation and the open turn.
    RunRow, RunColumns, Runs, lookups [run_id, session_id, agent_id, user_id], unique [[run_id]] {
        run_id: RunId,
        session_id: SessionId,
        agent_id: String,
        agent_name: Option<String>,
        /// Who asked. `None`: nobody was named.
        requester: Option<Json<Principal>>,
        status: RunStatus,
        /// A fresh random token for each claim.
        owner: Option<String>,
        fence: i64,
        lease_until_ms: Option<i64>,
        /// The last committed turn; 0 before the first.
        turn: u32,
        recoveries: u32,
        /// Paused because a call needs somebody to look: `unknown`, or ready and cannot start.
        attention: bool,
        snapshot: String,
        snapshot_digest: String,
        created_at_ms: i64,
        updated_at_ms: i64,
        /// Of the snapshot's digest, from the first turn on that has secrets in it.
        snapshot_salt: Option<String>,
        /// When the secrets of its calls were taken out.
        erased_at_ms: Option<i64>,
        /// The subject of the requester, for lists.
        user_id: Option<String>,
        issuer: Option<String>,
        /// When its session was deleted: no list has it any more.
        deleted_at_ms: Option<i64>,
        /// JSON of what was asked, as the hooks left it. `None`: they have not passed yet, or it was erased.
        input: Option<String>,
        /// The epoch of the store in which a person last let it go on.
        epoch: String,
    }
}

impl RunRow {
    /// Of the snapshot and the epoch, as a process reads them before it claims the run.
    pub(crate) fn loaded(&self) -> String {
        Fields::new("kern/loaded/v1").text(&self.snapshot_digest).text(&self.epoch).finish()
    }

    /// The digest that the run's snapshot has to have.
    pub(crate) fn digest_of_snapshot(&self) -> String {
        snapshot_digest(&self.snapshot, self.snapshot_salt.as_deref())
    }
}

/// A run as it is stored, with its protected calls.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Run {
    /// The run.
    pub run_id: RunId,
    /// Its session.
    pub session_id: SessionId,
    /// The agent that can resume it.
    pub agent_id: String,
    /// The agent's name.
    pub agent_name: Option<String>,
    /// Who asked.
    pub requester: Option<Principal>,
    /// Its state.
    pub status: RunStatus,
    /// Whether the input is stored that the hooks have passed: then a run that loses its owner is recovered.
    #[serde(skip)]
    pub has_input: bool,
    /// Raised by every claim, recovery and cancellation.
    pub fence: i64,
    /// The last committed turn; 0 before the first.
    pub turn: u32,
    /// How often its owner was lost.
    pub recoveries: u32,
    /// Whether it is paused because somebody has to look at a call.
    pub attention: bool,
    /// Whether it is running and its owner's lease is over, by the store's clock.
    pub lapsed: bool,
    /// kern's own JSON: the conversation and the open turn.
    #[serde(skip)]
    pub snapshot: String,
    /// Its protected calls, of all turns, in order.
    pub calls: Vec<Call>,
    /// Epoch milliseconds.
    pub created_at_ms: i64,
    /// Epoch milliseconds.
    pub updated_at_ms: i64,
    /// When the sensitive arguments of its calls were erased, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erased_at_ms: Option<i64>,
    /// When its session was deleted, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at_ms: Option<i64>,
    /// The epoch of the store in which a person last let it go on.
    #[serde(skip)]
    pub epoch: String,
    /// Of the snapshot and the epoch as they were read: what a claim of the run compares, because fences repeat after a restore.
    #[serde(skip)]
    pub loaded: String,
}

/// Which runs to list. Those of a session that was deleted are in no list.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RunFilter {
    pub(crate) agent_id: Option<String>,
    pub(crate) session_id: Option<SessionId>,
    pub(crate) owner: Option<Owner>,
    pub(crate) status: Option<RunStatus>,
    pub(crate) after: Option<RunId>,
    pub(crate) newest_first: bool,
    pub(crate) limit: Option<u32>,
}

impl RunFilter {
    /// All runs, oldest first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only runs of this agent.
    #[must_use]
    pub fn agent_id(mut self, agent_id: impl Into<String>) -> Self {
        self.agent_id = Some(agent_id.into());
        self
    }

    /// Only runs of this session.
    #[must_use]
    pub fn session_id(mut self, session_id: impl Into<SessionId>) -> Self {
        self.session_id = Some(session_id.into());
        self
    }

    /// Only runs that this user asked for: a name stands for the subject of the requester, whatever issuer vouches for it, a
    /// [`Principal`] for itself.
    #[must_use]
    pub fn user_id(mut self, user_id: impl Into<Owner>) -> Self {
        self.owner = Some(user_id.into());
        self
    }

    /// Only runs in this state.
    #[must_use]
    pub fn status(mut self, status: RunStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Only runs that come after this one in the list: the last of a page gives the next page.
    #[must_use]
    pub fn after(mut self, run_id: impl Into<RunId>) -> Self {
        self.after = Some(run_id.into());
        self
    }

    /// The newest first.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.newest_first = true;
        self
    }

    /// At most this many. 1,000 by default.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }
}
