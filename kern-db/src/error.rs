//! The crate's one error.

use std::error::Error as StdError;

use crate::{ApprovalId, ApprovalStatus, ExecutionId, ExecutionStatus, RunId, SessionId};

/// What a store can answer with instead of doing what was asked.
///
/// [`code`](Error::code) is stable; the text is for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No row has this id (or it was deleted).
    #[error("no {entity} with id `{id}`")]
    NotFound {
        /// What was looked for.
        entity: &'static str,
        /// The id asked for.
        id: String,
    },
    /// The approval left the expected status first. Nothing was written.
    #[error("approval `{id}` is {found}, expected {expected}{}", .by.as_deref().map(|by| format!(" (decided by {by})")).unwrap_or_default())]
    Conflict {
        /// The approval.
        id: ApprovalId,
        /// What the caller expected.
        expected: ApprovalStatus,
        /// What it is.
        found: ApprovalStatus,
        /// Who decided, where somebody with a name did.
        by: Option<String>,
        /// When, epoch seconds, where it is decided.
        at: Option<i64>,
    },
    /// The approval was edited, and the decider did not say, with the digest of what they saw, that they know. Nothing was
    /// decided.
    #[error("approval `{id}` is at version {version} by now: look at it, and decide with the digest of what you saw")]
    StaleView {
        /// The approval.
        id: ApprovalId,
        /// Its version.
        version: u32,
    },
    /// The policy of this call asks for a reason with every decision.
    #[error("approval `{id}` is only decided with a reason: add a note")]
    ReasonRequired {
        /// The approval.
        id: ApprovalId,
    },
    /// Nobody settles an execution without saying how they know.
    #[error("execution `{id}` is only settled with a reason: add a note")]
    NoteRequired {
        /// The execution.
        id: ExecutionId,
    },
    /// The arguments of this call cannot be edited. It can be approved or rejected as it is.
    #[error("the arguments of approval `{id}` cannot be edited, approve or reject them as they are: {why}")]
    NotEditable {
        /// The approval.
        id: ApprovalId,
        /// Why not.
        why: String,
    },
    /// The approval is past its time. It can no longer be decided.
    #[error("approval `{id}` has expired: ask again for a new one")]
    Expired {
        /// The approval.
        id: ApprovalId,
    },
    /// What allowed another system's call is past its time, or the call has an end already. The result is kept with the
    /// execution, for the person who settles it.
    #[error(
        "execution `{id}` takes no result any more: its approval has lapsed, and the result was kept for the person who settles it"
    )]
    Lapsed {
        /// The execution.
        id: ExecutionId,
    },
    /// The execution is in another state than the one this needs.
    #[error("execution `{id}` is {found}: {needs}")]
    ExecutionConflict {
        /// The execution.
        id: ExecutionId,
        /// What it is.
        found: ExecutionStatus,
        /// What would be needed.
        needs: &'static str,
    },
    /// This person may not do this.
    #[error("not permitted: {reason}")]
    NotPermitted {
        /// Why not, and who may.
        reason: String,
    },
    /// The stored copies of a call differ from each other or from their digests. Nothing runs until a human has looked.
    #[error("the stored copies of call {index} in turn {turn} of run `{run_id}` do not agree: {what}")]
    DigestMismatch {
        /// The run.
        run_id: RunId,
        /// The turn.
        turn: u32,
        /// The call's place in the turn.
        index: u32,
        /// Which copies.
        what: &'static str,
    },
    /// Another process owns the run by now, or it ended. Whoever gets this stops and touches nothing.
    #[error("run `{run_id}` belongs to somebody else by now, or has ended")]
    NotMine {
        /// The run.
        run_id: RunId,
    },
    /// The run is in a state that does not allow this.
    #[error("run `{run_id}` is {found}: {needs}")]
    RunConflict {
        /// The run.
        run_id: RunId,
        /// What it is.
        found: crate::RunStatus,
        /// What would be needed.
        needs: &'static str,
    },
    /// There is a session with this id already.
    #[error("there is a session `{session_id}` already: choose another id, or none to have one made")]
    SessionExists {
        /// The session.
        session_id: SessionId,
    },
    /// A name has no visible character, so it identifies no person.
    #[error("`{name}` is not a name: it needs at least one visible character")]
    InvalidPrincipal {
        /// The name, escaped.
        name: String,
    },
    /// The store was set back to an older copy, and an operator has not accepted that yet; or a run waits for a person to
    /// acknowledge it.
    #[error("{what}")]
    StoreRestored {
        /// What has to happen first.
        what: String,
    },
    /// It is committed, and the mark of the store could not be written: the body is not entered, and the no is not answered.
    #[error("the mark of the store could not be written, without which nothing is started or refused: {detail}")]
    NotMarked {
        /// What was said.
        detail: String,
    },
    /// The caller's own input is not usable.
    #[error("{0}")]
    Invalid(String),
    /// The store was locked for longer than the timeout. Nothing was written; trying again is safe.
    #[error("the store was busy for longer than its timeout while trying to {action}")]
    Busy {
        /// What was tried.
        action: &'static str,
    },
    /// There is no room left. Nothing was written.
    #[error("the store is full: {detail}")]
    Full {
        /// What the store said.
        detail: String,
    },
    /// What a transactional call wrote breaks a rule of the database that is only looked at when everything is committed.
    /// Nothing was written. A call's outcome is recorded as failed then.
    #[error("the database refused to commit: {detail}")]
    RefusedAtCommit {
        /// What the store said.
        detail: String,
    },
    /// Something stored is not what kern wrote.
    #[error("the store is unreadable ({place}): {detail}")]
    Corrupt {
        /// Table and column, or the file.
        place: String,
        /// What is wrong there.
        detail: String,
    },
    /// There is no store: no file, none of kern's tables in it, or not a file at all. Nothing was made.
    #[error("there is no store in {place}: {detail}")]
    NoStore {
        /// The file.
        place: String,
        /// What there is instead.
        detail: String,
    },
    /// The store was written by an older kern. Before the first release no store is converted.
    #[error(
        "the store has schema {found}, this build needs {known} and converts no older one: keep it for the kern that wrote it, \
         and start with an empty store"
    )]
    TooOld {
        /// The schema found. 0: none was finished.
        found: i64,
        /// The schema this build needs.
        known: i64,
    },
    /// The store was written by a newer kern.
    #[error("the store has schema {found}, this build knows {known}: use a newer kern")]
    Newer {
        /// The schema found.
        found: i64,
        /// The newest this build knows.
        known: i64,
    },
    /// It is not known whether this was stored: the acknowledgement of the commit was lost, or the commit may not have
    /// reached the standbys that it was to wait for. Asking again is safe: a change that was stored is found then.
    #[error(
        "it is not known whether this was stored, while trying to {action}: ask again, a change that was stored is found then"
    )]
    CommitUnknown {
        /// What was tried.
        action: &'static str,
        /// Why it is not known.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A claim has a longer lease than the store has on record. The store records it and takes the claim again, so that no caller
    /// is told of this.
    #[doc(hidden)]
    #[error("the store has no lease of this length on record")]
    LeaseNotGranted,
    /// The store was reached, and does not allow this: a missing permission, a constraint or a trigger that is not kern's.
    /// Nothing was written, and trying again does not help.
    #[error("the store refused this, while trying to {action}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// What the store said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The store itself failed. The driver's error is the source.
    #[error("the store failed while trying to {action}")]
    Unavailable {
        /// What was tried.
        action: &'static str,
        /// What the driver said.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Gives the stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { entity: "run", .. } => "run_not_found",
            Self::NotFound { .. } => "not_found",
            Self::Conflict { .. } | Self::ExecutionConflict { .. } => "conflict",
            Self::StaleView { .. } => "stale_view",
            Self::ReasonRequired { .. } | Self::NoteRequired { .. } => "reason_required",
            Self::NotEditable { .. } => "not_editable",
            Self::Expired { .. } => "expired",
            Self::Lapsed { .. } => "approval_lapsed",
            Self::NotPermitted { .. } => "not_permitted",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::NotMine { .. } => "already_running",
            Self::RunConflict { .. } => "not_paused",
            Self::SessionExists { .. } => "session_exists",
            Self::InvalidPrincipal { .. } => "invalid_principal",
            Self::StoreRestored { .. } => "store_restored",
            Self::NotMarked { .. } => "mark_not_written",
            Self::Invalid(_) => "invalid",
            Self::Busy { .. } | Self::LeaseNotGranted => "store_busy",
            Self::Full { .. } => "store_full",
            Self::Refused { .. } | Self::RefusedAtCommit { .. } => "store_refused",
            Self::Corrupt { .. } => "store_corrupt",
            Self::NoStore { .. } => "store_missing",
            Self::TooOld { .. } => "store_too_old",
            Self::Newer { .. } => "store_newer",
            Self::CommitUnknown { .. } => "commit_unknown",
            Self::Unavailable { .. } => "store_unavailable",
        }
    }

    /// Whether the store may take the same in a moment: it was busy, full or gone, or did not say what became of it.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Full { .. } | Self::CommitUnknown { .. } | Self::Unavailable { .. })
    }

    /// Whether this may have been stored all the same: the store failed, and the acknowledgement of a commit may be what was lost.
    ///
    /// Not [`NotMarked`](Self::NotMarked): that is stored, and what is not in the mark is not used.
    pub fn may_be_stored(&self) -> bool {
        matches!(self, Self::CommitUnknown { .. } | Self::Unavailable { .. })
    }

    pub(crate) fn corrupt(place: impl Into<String>, detail: impl ToString) -> Self {
        Self::Corrupt { place: place.into(), detail: detail.to_string() }
    }
}
