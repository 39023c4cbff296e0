//! Sessions: what runs with the same `session_id` have in common, and what somebody said of them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::principal::{Owner, Principal};
use super::run::RunRow;
use crate::cell::{Cell, Json, row, take};
use crate::{Result, RunId, SessionId};

row! {
    /// What somebody said of a session: that it is there before its first run, what it is called. Most sessions have no such
    /// row: they are there as long as a run of them is.
    SessionRow, SessionColumns, Sessions, lookups [session_id], unique [[session_id]] {
        session_id: SessionId,
        /// Whose it is: who made it, or asked for its first run.
        requester: Option<Json<Principal>>,
        /// The subject of the requester, for lists.
        user_id: Option<String>,
        issuer: Option<String>,
        agent_id: Option<String>,
        name: Option<String>,
        metadata: Option<Json<Map<String, Value>>>,
        created_at_ms: i64,
        updated_at_ms: i64,
    }
}

/// The runs of one session, as the store sums them up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionSum {
    pub(crate) session_id: SessionId,
    pub(crate) runs: u64,
    /// Ids sort by time. `None`: it has no run yet.
    pub(crate) first_run: Option<RunId>,
    pub(crate) updated_at_ms: i64,
}

#[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
impl SessionSum {
    /// What a store reads of runs, and of rows that have no run.
    pub(crate) const COLUMNS: [&'static str; 3] = ["session_id", "run_id", "updated_at_ms"];

    /// Summed up by SQL, in the order of [`COLUMNS`](Self::COLUMNS).
    pub(crate) fn of(cells: Vec<Cell>, runs: i64) -> Result<Self> {
        let mut cells = cells.into_iter();
        let [session_id, first_run, updated_at_ms] = Self::COLUMNS;
        Ok(Self {
            session_id: take::<RunRow, _>(session_id, cells.next())?,
            runs: runs.unsigned_abs(),
            first_run: take::<RunRow, _>(first_run, cells.next())?,
            updated_at_ms: take::<RunRow, _>(updated_at_ms, cells.next())?,
        })
    }
}

/// A session: what runs with the same `session_id` have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Session {
    /// The session.
    pub session_id: SessionId,
    /// The agent that it was made for, or that of its first run.
    pub agent_id: Option<String>,
    /// The name of its first run's agent.
    pub agent_name: Option<String>,
    /// Whose it is: who made it, or asked for its first run.
    pub requester: Option<Principal>,
    /// What it is called, where somebody has named it.
    pub name: Option<String>,
    /// What a client keeps with it. kern makes nothing of it.
    pub metadata: Option<Map<String, Value>>,
    /// Its first run. `None`: it has none yet.
    pub first_run: Option<RunId>,
    /// How many runs it has.
    pub runs: u64,
    /// When it was made, or its first run started, epoch milliseconds.
    pub created_at_ms: i64,
    /// When the last change of it or of any of its runs was, epoch milliseconds.
    pub updated_at_ms: i64,
}

/// Whose a session is.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOwner {
    /// Who made it, or asked for its first run.
    pub requester: Option<Principal>,
}

/// A session to make before its first run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NewSession {
    pub(crate) session_id: Option<SessionId>,
    pub(crate) agent_id: Option<String>,
    pub(crate) requester: Option<Principal>,
    pub(crate) name: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
}

impl NewSession {
    /// A session with an id of its own, of nobody in particular.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this id, 1 to 255 characters.
    #[must_use]
    pub fn session_id(mut self, session_id: impl Into<SessionId>) -> Self {
        self.session_id = Some(session_id.into());
        self
    }

    /// For this agent.
    #[must_use]
    pub fn agent_id(mut self, agent_id: impl Into<String>) -> Self {
        self.agent_id = Some(agent_id.into());
        self
    }

    /// Of this person.
    #[must_use]
    pub fn requester(mut self, requester: Principal) -> Self {
        self.requester = Some(requester);
        self
    }

    /// What it is called, 1 to 255 characters.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What to keep with it, at most 64 KiB of JSON.
    #[must_use]
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }
}

/// What to change of a session. What is not named stays as it is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SessionChange {
    pub(crate) name: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) owner: Option<Owner>,
}

impl SessionChange {
    /// Changes nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it is called from now on, 1 to 255 characters.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What is kept with it from now on, at most 64 KiB of JSON.
    #[must_use]
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Only if it is this user's; another person's is not found. A name stands for the subject of its requester, whatever issuer
    /// vouches for it, a [`Principal`] for itself.
    #[must_use]
    pub fn of_user(mut self, user_id: impl Into<Owner>) -> Self {
        self.owner = Some(user_id.into());
        self
    }
}

/// Who deletes sessions.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SessionDeletion {
    pub(crate) by: Option<Principal>,
    pub(crate) owner: Option<Owner>,
}

impl SessionDeletion {
    /// By nobody in particular, whosever it is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// By this person, for the audit log.
    #[must_use]
    pub fn by_person(mut self, by: Option<Principal>) -> Self {
        self.by = by;
        self
    }

    /// Only this user's; another person's are not found. A name stands for the subject of their requester, whatever issuer
    /// vouches for it, a [`Principal`] for itself.
    #[must_use]
    pub fn of_user(mut self, user_id: impl Into<Owner>) -> Self {
        self.owner = Some(user_id.into());
        self
    }
}

/// What deleting a session has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedSession {
    /// The session.
    pub session_id: SessionId,
    /// Its runs, oldest first: no list has them any more.
    pub runs: Vec<RunId>,
    /// Those of them that had not ended, and were cancelled.
    pub cancelled: Vec<RunId>,
}

/// Which sessions to list. Each condition is one on runs, and on sessions that somebody made or named: what does not meet it
/// is not seen, and a run that is not seen neither counts nor makes a session.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SessionFilter {
    pub(crate) agent_id: Option<String>,
    pub(crate) owner: Option<Owner>,
    pub(crate) limit: Option<u32>,
    pub(crate) page: Option<u32>,
}

impl SessionFilter {
    /// All sessions, the last changed first, 20 a page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only of this agent.
    #[must_use]
    pub fn agent_id(mut self, agent_id: impl Into<String>) -> Self {
        self.agent_id = Some(agent_id.into());
        self
    }

    /// Only of this user: a name stands for the subject of their requester, whatever issuer vouches for it, a [`Principal`] for
    /// itself.
    #[must_use]
    pub fn user_id(mut self, user_id: impl Into<Owner>) -> Self {
        self.owner = Some(user_id.into());
        self
    }

    /// At most this many a page, 1 to 1000.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The page, from 1.
    #[must_use]
    pub fn page(mut self, page: u32) -> Self {
        self.page = Some(page);
        self
    }
}
