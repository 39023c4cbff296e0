//! The audit chain: entries gathered during a transaction, hashed one on the other before it commits.

pub(crate) mod checkpoint;
mod export;
mod line;
mod replay;
mod rows;
mod second;
mod verify;

use serde_json::Value;

use crate::cell::Json;
use crate::digest::{Fields, canonical};
use crate::records::audit::{AuditEntry, AuditRow};
use crate::records::call::CallRow;
use crate::records::outbox::{OutboxRow, TOPICS};
use crate::records::principal::Actor;
use crate::tx::{Head, Query, Tx};
use crate::{ApprovalId, ExecutionId, Result, RunId};

pub use checkpoint::Sign;
pub use export::verify_export;
pub(crate) use rows::rest;
use verify::GENESIS;
pub(crate) use verify::verify;

/// What a transaction adds to the audit log and the outbox when it commits.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) time_ms: Option<i64>,
    /// How far a test has moved the clock.
    pub(crate) ahead_ms: i64,
    entries: Vec<Entry>,
    events: Vec<OutboxRow>,
}

/// An entry before it has its place in the chain.
#[derive(Debug)]
pub(crate) struct Entry {
    actor: Actor,
    action: &'static str,
    evidence: bool,
    run_id: Option<RunId>,
    turn: Option<u32>,
    idx: Option<u32>,
    approval_id: Option<ApprovalId>,
    execution_id: Option<ExecutionId>,
    call_digest: Option<String>,
    payload: Value,
}

impl Entry {
    pub(crate) fn new(action: &'static str, actor: Actor, run_id: &RunId) -> Self {
        Self { run_id: Some(run_id.clone()), ..Self::of_no_run(action, actor) }
    }

    /// An entry about something that no run owns.
    pub(crate) fn of_no_run(action: &'static str, actor: Actor) -> Self {
        Self {
            actor,
            action,
            evidence: false,
            run_id: None,
            turn: None,
            idx: None,
            approval_id: None,
            execution_id: None,
            call_digest: None,
            payload: Value::Object(serde_json::Map::new()),
        }
    }

    /// An entry that changes no state.
    pub(crate) fn evidence(mut self) -> Self {
        self.evidence = true;
        self
    }

    pub(crate) fn call(mut self, call: &CallRow) -> Self {
        self.call_digest = Some(call.digest.clone());
        self.at(call.turn, call.idx)
    }

    pub(crate) fn at(mut self, turn: u32, idx: u32) -> Self {
        self.turn = Some(turn);
        self.idx = Some(idx);
        self
    }

    pub(crate) fn turn(mut self, turn: u32) -> Self {
        self.turn = Some(turn);
        self
    }

    pub(crate) fn approval(mut self, id: &ApprovalId) -> Self {
        self.approval_id = Some(id.clone());
        self
    }

    pub(crate) fn execution(mut self, id: &ExecutionId) -> Self {
        self.execution_id = Some(id.clone());
        self
    }

    pub(crate) fn digest(mut self, digest: &str) -> Self {
        self.call_digest = Some(digest.to_owned());
        self
    }

    pub(crate) fn payload(mut self, payload: Value) -> Self {
        self.payload = payload;
        self
    }
}

impl Journal {
    pub(crate) fn ahead(ahead_ms: i64) -> Self {
        Self { ahead_ms, ..Self::default() }
    }

    pub(crate) fn record(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// How many entries there are so far.
    pub(crate) fn place(&self) -> usize {
        self.entries.len()
    }

    /// Records an entry before those that came since.
    pub(crate) fn record_at(&mut self, place: usize, entry: Entry) {
        self.entries.insert(place, entry);
    }

    /// Tells others, once the transaction is committed.
    pub(crate) fn tell(
        &mut self,
        topic: &'static str,
        run_id: &RunId,
        approval_id: Option<&ApprovalId>,
        execution_id: Option<&ExecutionId>,
    ) {
        debug_assert!(TOPICS.contains(&topic), "who is told of events chooses among the topics: {topic}");
        self.events.push(OutboxRow {
            id: crate::ids::fresh_id(),
            created_at_ms: 0,
            topic: topic.to_owned(),
            run_id: Some(run_id.clone()),
            approval_id: approval_id.cloned(),
            execution_id: execution_id.cloned(),
            delivered_at_ms: None,
        });
    }
}

/// Writes what the transaction recorded. The last thing before its commit: on stores with many writers the chain is
/// the last lock of all.
///
/// # Errors
///
/// Whatever the store says. The transaction must then not commit: no transition without its entry.
pub(crate) async fn flush<T: Tx>(tx: &mut T) -> Result<()> {
    if tx.journal().entries.is_empty() && tx.journal().events.is_empty() {
        return Ok(());
    }
    let now = match tx.journal().time_ms {
        Some(now) => now,
        None => tx.now().await?,
    };
    let journal = std::mem::take(tx.journal());
    for mut event in journal.events {
        event.created_at_ms = now;
        tx.insert(&event).await?;
    }
    if journal.entries.is_empty() {
        return Ok(());
    }
    tx.lock_log().await?;
    // Read inside the transaction and after its lock: other processes write too.
    let head = tx.head().await?;
    let (mut seq, mut prev_hash, time_ms) = match head {
        Some(head) => (head.seq, head.hash, head.time_ms.max(now)),
        None => (0, GENESIS.to_owned(), now),
    };
    for mut entry in journal.entries {
        seq += 1;
        // Another transaction has written a later time since this one read its own: its rows carry this one.
        if time_ms > now
            && let Some(payload) = entry.payload.as_object_mut()
        {
            payload.insert("at_ms".to_owned(), now.into());
        }
        let mut row = AuditRow {
            seq,
            time_ms,
            actor: Json(entry.actor),
            action: entry.action.to_owned(),
            evidence: entry.evidence,
            run_id: entry.run_id,
            turn: entry.turn,
            idx: entry.idx,
            approval_id: entry.approval_id,
            execution_id: entry.execution_id,
            call_digest: entry.call_digest,
            payload: canonical(&entry.payload),
            prev_hash,
            hash: String::new(),
        };
        row.hash = hash(&row);
        tx.insert(&row).await?;
        prev_hash = row.hash;
    }
    tx.appended(Head { seq, time_ms, hash: prev_hash });
    Ok(())
}

fn hash(row: &AuditRow) -> String {
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    Fields::new("kern/audit/v1")
        .number(row.seq)
        .number(row.time_ms)
        .text(&canonical(&row.actor.0))
        .text(&row.action)
        .number(i64::from(row.evidence))
        .optional(row.run_id.as_ref().map(RunId::as_str))
        .optional(number(row.turn).as_deref())
        .optional(number(row.idx).as_deref())
        .optional(row.approval_id.as_ref().map(ApprovalId::as_str))
        .optional(row.execution_id.as_ref().map(ExecutionId::as_str))
        .optional(row.call_digest.as_deref())
        .text(&row.payload)
        .text(&row.prev_hash)
        .finish()
}

/// Whether an entry's hash is that of its content.
pub(crate) fn fits(entry: &AuditEntry) -> bool {
    let (actor, payload) = (canonical(&entry.actor), canonical(&entry.payload));
    line::Line::of_entry(entry, &actor, &payload).fits(&mut Vec::new())
}

/// Reads entries after `after`, oldest first.
pub(crate) async fn entries<T: Tx>(tx: &mut T, after: i64, limit: u64) -> Result<Vec<AuditEntry>> {
    let query = Query::of(vec![AuditRow::C.seq.above(after)]).oldest(AuditRow::C.seq.order()).limit(limit);
    tx.select::<AuditRow>(query).await?.into_iter().map(AuditEntry::try_from).collect()
}
