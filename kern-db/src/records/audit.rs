//! The audit log's entries.

use serde::Serialize;
use serde_json::Value;

use super::principal::Actor;
use crate::cell::{Json, row};
use crate::{ApprovalId, ExecutionId, RunId};

row! {
    /// One entry. `hash` covers all the other columns and the hash before it.
    AuditRow, AuditColumns, Audit, lookups [seq, run_id], unique [[seq]] {
        seq: i64,
        time_ms: i64,
        actor: Json<Actor>,
        action: String,
        /// Changes no state: a late result, a mismatch, a refusal.
        evidence: bool,
        run_id: Option<RunId>,
        turn: Option<u32>,
        idx: Option<u32>,
        approval_id: Option<ApprovalId>,
        execution_id: Option<ExecutionId>,
        call_digest: Option<String>,
        /// Canonical JSON.
        payload: String,
        prev_hash: String,
        hash: String,
    }
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Its place, from 1, without gaps.
    pub seq: i64,
    /// Epoch milliseconds, by the store's clock.
    pub time_ms: i64,
    /// Who.
    pub actor: Actor,
    /// What: the word of the transition table.
    pub action: String,
    /// Whether it changed no state: a late result, a mismatch, a refusal.
    pub evidence: bool,
    /// The run.
    pub run_id: Option<RunId>,
    /// The call's turn.
    pub turn: Option<u32>,
    /// The call's place in the turn.
    pub index: Option<u32>,
    /// The approval.
    pub approval_id: Option<ApprovalId>,
    /// The execution.
    pub execution_id: Option<ExecutionId>,
    /// The digest of the call's version that this is about.
    pub call_digest: Option<String>,
    /// What else belongs to it.
    pub payload: Value,
    /// The hash of the entry before.
    pub prev_hash: String,
    /// The hash of this entry.
    pub hash: String,
}

impl AuditEntry {
    /// Whether its hash is that of its content. Whether it is the entry that kern wrote shows only in the whole chain.
    #[must_use]
    pub fn fits(&self) -> bool {
        crate::audit::fits(self)
    }
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = crate::Error;

    fn try_from(row: AuditRow) -> Result<Self, crate::Error> {
        let payload = serde_json::from_str(&row.payload)
            .map_err(|error| crate::Error::corrupt(format!("audit.payload of entry {}", row.seq), error))?;
        Ok(Self {
            seq: row.seq,
            time_ms: row.time_ms,
            actor: row.actor.0,
            action: row.action,
            evidence: row.evidence,
            run_id: row.run_id,
            turn: row.turn,
            index: row.idx,
            approval_id: row.approval_id,
            execution_id: row.execution_id,
            call_digest: row.call_digest,
            payload,
            prev_hash: row.prev_hash,
            hash: row.hash,
        })
    }
}

/// What a verification of the audit log found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditReport {
    /// How many entries were read.
    pub entries: u64,
    /// The hash of the last intact entry. Kept elsewhere, it shows a truncated tail.
    pub head: String,
    /// The first place that is not as kern wrote it.
    pub broken: Option<AuditBreak>,
    /// What else is wrong, where the log itself is whole: rows that say something else, guards that are gone. At most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<AuditBreak>,
}

impl AuditReport {
    /// Whether the log itself is whole, whatever the rows beside it say.
    pub fn is_log_intact(&self) -> bool {
        self.broken.as_ref().is_none_or(|broken| broken.row.is_some())
    }

    /// Whether every entry and every row is as kern wrote it.
    pub fn is_intact(&self) -> bool {
        self.broken.is_none() && self.others.is_empty()
    }
}

/// A place of a store that is not as kern wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditBreak {
    /// The entry's number, or the number that is missing. Of a row: that of the last entry about it, 0 if there is none.
    pub seq: i64,
    /// The row, or the guard of the schema, if it is not the log itself: `approvals`, and its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// What is wrong there.
    pub what: String,
}
