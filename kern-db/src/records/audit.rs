//! The audit log's entries.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::principal::Actor;
use crate::cell::{Json, row};
use crate::{ApprovalId, ExecutionId, RunId};

row! {
    /// One entry: its position, its header (`now_ms` to `call_digest`, but for the actor) and its body (actor and payload). `hash`
    /// covers all of them, the store's id and the hash before it.
    AuditRow, AuditColumns, Audit, lookups [seq, run_id], unique [[shard, seq]] {
        shard: u32,
        seq: i64,
        /// `now_ms`, but never before the entry before it.
        at_ms: i64,
        /// The time that the guards of its transition compared.
        now_ms: i64,
        actor: Json<Actor>,
        action: String,
        /// Changes no state: a late result, a mismatch, a refusal.
        evidence: bool,
        /// The run at the root of `run_id`.
        root_run_id: Option<RunId>,
        run_id: Option<RunId>,
        turn: Option<u32>,
        idx: Option<u32>,
        approval_id: Option<ApprovalId>,
        execution_id: Option<ExecutionId>,
        tool_name: Option<String>,
        call_digest: Option<String>,
        /// Canonical JSON.
        payload: String,
        prev_hash: String,
        hash: String,
    }
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AuditEntry {
    /// The chain that it is in.
    pub shard: u32,
    /// Its place in that chain, from 1, without gaps.
    pub seq: i64,
    /// Epoch milliseconds by the store's time, never before the entry before it.
    pub at_ms: i64,
    /// The time that the guards of its transition compared. Earlier than `at_ms` where another transaction was faster.
    pub now_ms: i64,
    /// Who.
    pub actor: Actor,
    /// What: the word of the transition table.
    pub action: String,
    /// Whether it changed no state: a late result, a mismatch, a refusal.
    pub evidence: bool,
    /// The run at the root of the run.
    pub root_run_id: Option<RunId>,
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
    /// The tool of the call.
    pub tool_name: Option<String>,
    /// The digest of the call's version that this is about.
    pub call_digest: Option<String>,
    /// What else belongs to it.
    pub payload: Value,
    /// The hash of the entry before.
    pub prev_hash: String,
    /// The hash of this entry.
    pub hash: String,
}

impl TryFrom<AuditRow> for AuditEntry {
    type Error = crate::Error;

    fn try_from(row: AuditRow) -> Result<Self, crate::Error> {
        let payload = serde_json::from_str(&row.payload)
            .map_err(|error| crate::Error::corrupt(format!("audit.payload of entry {}", row.seq), error))?;
        Ok(Self {
            shard: row.shard,
            seq: row.seq,
            at_ms: row.at_ms,
            now_ms: row.now_ms,
            actor: row.actor.0,
            action: row.action,
            evidence: row.evidence,
            root_run_id: row.root_run_id,
            run_id: row.run_id,
            turn: row.turn,
            index: row.idx,
            approval_id: row.approval_id,
            execution_id: row.execution_id,
            tool_name: row.tool_name,
            call_digest: row.call_digest,
            payload,
            prev_hash: row.prev_hash,
            hash: row.hash,
        })
    }
}

/// What an erasure took out of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Erased {
    /// The run.
    pub run_id: RunId,
    /// When, epoch milliseconds. `None`: there was nothing to be erased, and nothing was changed.
    pub erased_at_ms: Option<i64>,
    /// Whether it was erased before. Then nothing was changed now.
    pub before: bool,
    /// The erased properties, as `tool.property`, by name.
    pub names: Vec<String>,
    /// How many calls had them.
    pub calls: u64,
    /// Calls whose sensitive arguments stay: they were asked by a kern that kept no salts, and their digests are over the
    /// values themselves.
    pub kept: u64,
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
    /// The same, with what somebody else has found.
    #[must_use]
    pub fn with(mut self, found: Vec<AuditBreak>) -> Self {
        self.others.extend(found);
        if self.broken.is_none() && !self.others.is_empty() {
            self.broken = Some(self.others.remove(0));
        }
        self
    }

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
