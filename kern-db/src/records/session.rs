//! Sessions: what runs with the same `session_id` have in common.

use serde::{Deserialize, Serialize};

use super::principal::Principal;
use crate::{RunId, SessionId};

/// The runs of one session, as the store sums them up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionSum {
    pub(crate) session_id: SessionId,
    pub(crate) runs: u64,
    /// Ids sort by time.
    pub(crate) first_run: RunId,
    pub(crate) updated_at_ms: i64,
}

/// A session. No table holds it: it is there as long as a run of it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Session {
    /// The session.
    pub session_id: SessionId,
    /// The agent of its first run.
    pub agent_id: String,
    /// The name of that agent.
    pub agent_name: Option<String>,
    /// Who asked for its first run.
    pub requester: Option<Principal>,
    /// Its first run.
    pub first_run: RunId,
    /// How many runs it has.
    pub runs: u64,
    /// When its first run started, epoch milliseconds.
    pub created_at_ms: i64,
    /// When the last change of any of its runs was, epoch milliseconds.
    pub updated_at_ms: i64,
}

/// Which sessions to list. Each condition is one on runs: a run that does not meet it is not seen, and neither counts nor
/// makes a session.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SessionFilter {
    pub(crate) agent_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) limit: Option<u32>,
    pub(crate) page: Option<u32>,
}

impl SessionFilter {
    /// All sessions, the last changed first, 20 a page.
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

    /// Only runs that this user asked for: the subject of their requester, whoever vouches for it.
    #[must_use]
    pub fn user_id(mut self, user_id: impl Into<String>) -> Self {
        self.user_id = Some(user_id.into());
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
