//! The audit log: entries gathered during a transaction, and appended to their chain before it commits.

pub(crate) mod checkpoint;
mod export;
mod gathered;
mod line;
mod replay;
mod rows;
mod second;
mod verify;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cell::Json;
use crate::clock::{Floor, Time};
use crate::digest::canonical;
use crate::records::audit::{AuditEntry, AuditRow};
use crate::records::call::CallRow;
use crate::records::outbox::{OutboxRow, TOPICS};
use crate::records::principal::Actor;
use crate::records::store::{StoreRow, random_id};
use crate::tx::{Head, Query, Tx};
use crate::{ApprovalId, Error, ExecutionId, Result, RunId, StoreState};

pub use checkpoint::Sign;
pub use export::verify_export;
pub use gathered::Gathered;
use line::{Line, chain_hash, genesis};
pub(crate) use verify::verify;

/// X2 and X3, and a person's no: A5, A7, A8, U2 and R9.
#[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
const NEED_MARK: &[&str] = &["executing", "rejected", "cancelled", "hidden", "user_rejected", "run_cancelled"];

/// Evidence: a claim whose acknowledgement was lost was read back. The start that it names is committed, and perhaps not in the
/// mark yet.
pub(crate) const READ_BACK: &str = "claim_read_back";

/// What a transaction adds to the audit log and the outbox when it commits.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The one time of the transaction, once it has asked for it.
    pub(crate) time: Option<Time>,
    /// How far a test has moved the clock.
    pub(crate) ahead_ms: i64,
    /// What this process knows of the store's time.
    pub(crate) floor: Arc<Floor>,
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
    tool_name: Option<String>,
    call_digest: Option<String>,
    payload: Value,
    /// The calls of which this entry says with what they are asked from then on.
    asks: Vec<u32>,
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
            tool_name: None,
            call_digest: None,
            payload: Value::Object(serde_json::Map::new()),
            asks: Vec::new(),
        }
    }

    /// Says that a call is asked with what this entry says: its row will have the entry's place.
    pub(crate) fn asks(mut self, call: &CallRow) -> Self {
        self.asks.push(call.idx);
        self
    }

    /// An entry that changes no state.
    pub(crate) fn evidence(mut self) -> Self {
        self.evidence = true;
        self
    }

    pub(crate) fn call(mut self, call: &CallRow) -> Self {
        self.call_digest = Some(call.digest.clone());
        self.tool_name = Some(call.tool_name.clone());
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
    pub(crate) fn new(floor: &Arc<Floor>, ahead_ms: i64) -> Self {
        Self { floor: Arc::clone(floor), ahead_ms, ..Self::default() }
    }

    pub(crate) fn record(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Whether the mark has to be synced before the caller is answered: a start, whose body is entered next, one that was read
    /// back, or a no.
    #[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
    pub(crate) fn needs_mark(&self) -> bool {
        let needs = |entry: &Entry| entry.action == READ_BACK || !entry.evidence && NEED_MARK.contains(&entry.action);
        self.entries.iter().any(needs)
    }

    /// Whether it says something new.
    #[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
    pub(crate) fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Whether it closes an epoch (Z2).
    #[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
    pub(crate) fn closes_epoch(&self) -> bool {
        self.entries.iter().any(|entry| entry.action == "restore_accepted")
    }

    /// How far a test has moved the clock of its transactions, milliseconds.
    pub(crate) fn ahead_ms(&self) -> i64 {
        self.ahead_ms
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

/// An entry that has everything but its place in the chain, which the append gives it.
#[derive(Debug)]
pub(crate) struct Draft {
    /// `seq`, `at_ms`, `prev_hash` and `hash` are not set.
    pub(crate) row: AuditRow,
    pub(crate) entry_digest: String,
    /// The places of the calls that it asks for, whose rows the append gives the entry's place.
    pub(crate) asks: Vec<u32>,
}

impl Draft {
    fn new(mut entry: Entry, now_ms: i64, buffer: &mut Vec<u8>) -> Self {
        let asks = std::mem::take(&mut entry.asks);
        let row = AuditRow {
            // A store has one chain so far.
            shard: 0,
            seq: 0,
            at_ms: 0,
            now_ms,
            actor: Json(entry.actor),
            action: entry.action.to_owned(),
            evidence: entry.evidence,
            // No run has another one above it so far.
            root_run_id: entry.run_id.clone(),
            run_id: entry.run_id,
            turn: entry.turn,
            idx: entry.idx,
            approval_id: entry.approval_id,
            execution_id: entry.execution_id,
            tool_name: entry.tool_name,
            call_digest: entry.call_digest,
            payload: canonical(&entry.payload),
            prev_hash: String::new(),
            hash: String::new(),
        };
        let entry_digest = Line::of_row(&row, &canonical(&row.actor.0)).entry_digest(buffer);
        Self { row, entry_digest, asks }
    }

    /// The row at its place, as the next one of a chain.
    fn place(self, store_id: &str, seq: i64, after_ms: i64, prev_hash: String, buffer: &mut Vec<u8>) -> AuditRow {
        let Self { mut row, entry_digest, .. } = self;
        row.seq = seq;
        row.at_ms = row.now_ms.max(after_ms);
        row.hash = chain_hash(store_id, row.shard, seq, row.at_ms, &entry_digest, &prev_hash, buffer);
        row.prev_hash = prev_hash;
        row
    }
}

/// The rows of a new store: what it is, and the first entry of its chain.
pub(crate) fn opening(now: i64) -> (StoreRow, AuditRow) {
    let shards = 1;
    let store_id = random_id();
    let payload = json!({ "store_id": store_id, "shard": 0, "shards": shards });
    let entry = Entry::of_no_run(OPENED, Actor::Runtime).payload(payload);
    let mut buffer = Vec::new();
    let genesis = genesis(&store_id, 0, shards);
    let first = Draft::new(entry, now, &mut buffer).place(&store_id, 1, now, genesis, &mut buffer);
    let store = StoreRow {
        store_id,
        epoch: random_id(),
        shards,
        at_ms: now,
        wall_ms: now,
        resets: 0,
        lease_ms: 0,
        state: StoreState::Open,
        proof: None,
        quarantined_at_ms: None,
        server: None,
    };
    (store, first)
}

/// The action of the first entry of a chain.
const OPENED: &str = "shard_opened";

/// Writes what the transaction recorded: the last thing before its commit.
///
/// # Errors
///
/// Whatever the store says. The transaction must then not commit: no transition without its entry.
pub(crate) async fn flush<T: Tx>(tx: &mut T) -> Result<()> {
    if tx.journal().entries.is_empty() && tx.journal().events.is_empty() {
        return Ok(());
    }
    let now = tx.now().await?;
    let (entries, events) = (std::mem::take(&mut tx.journal().entries), std::mem::take(&mut tx.journal().events));
    for mut event in events {
        event.created_at_ms = now;
        tx.insert(&event).await?;
    }
    if entries.is_empty() {
        return Ok(());
    }
    let mut buffer = Vec::new();
    let drafts = entries.into_iter().map(|entry| Draft::new(entry, now, &mut buffer)).collect();
    tx.append(drafts).await
}

/// Appends entries in a transaction that is the only one that writes.
pub(crate) async fn append<T: Tx + ?Sized>(tx: &mut T, drafts: Vec<Draft>) -> Result<()> {
    let store_id = tx.store().await?.store_id;
    // Read inside the transaction: other processes write too.
    let mut head = tx.head().await?;
    let mut buffer = Vec::new();
    for mut draft in drafts {
        let asks = std::mem::take(&mut draft.asks);
        let row = draft.place(&store_id, head.seq + 1, head.at_ms, head.hash, &mut buffer);
        tx.insert(&row).await?;
        for idx in asks {
            asked(tx, &row, idx).await?;
        }
        head = Head { seq: row.seq, at_ms: row.at_ms, now_ms: row.now_ms, hash: row.hash };
    }
    tx.appended(head);
    Ok(())
}

/// The row of a call names the entry in which it was asked for.
async fn asked<T: Tx + ?Sized>(tx: &mut T, entry: &AuditRow, idx: u32) -> Result<()> {
    use CallRow as C;
    let (Some(run_id), Some(turn)) = (entry.run_id.clone(), entry.turn) else {
        return Err(Error::corrupt("audit.run_id", "a call is asked for of no run"));
    };
    let set = vec![C::C.asked_shard.to(Some(entry.shard)), C::C.asked_seq.to(Some(entry.seq))];
    let named = tx.update(set, vec![C::C.run_id.is(run_id.clone()), C::C.turn.is(turn), C::C.idx.is(idx)]).await?;
    if named == 1 { Ok(()) } else { Err(Error::NotMine { run_id }) }
}

/// Whether an entry that a transaction has read is whole: its hash is that of its content, at its place in this store.
pub(crate) fn is_whole(row: &AuditRow, store_id: &str) -> bool {
    Line::of_row(row, &canonical(&row.actor.0)).fits(store_id, &mut Vec::new())
}

impl AuditEntry {
    /// Returns whether its hash is that of its content in the store with this id, which the first entry of each chain names. Only
    /// the whole chain shows that it is the entry that kern wrote.
    #[must_use]
    pub fn fits(&self, store_id: &str) -> bool {
        let (actor, payload) = (canonical(&self.actor), canonical(&self.payload));
        Line::of_entry(self, &actor, &payload).fits(store_id, &mut Vec::new())
    }
}

/// Reads entries after `after`, oldest first.
pub(crate) async fn entries<T: Tx>(tx: &mut T, after: i64, limit: u64) -> Result<Vec<AuditEntry>> {
    let query = Query::of(vec![AuditRow::C.shard.is(0), AuditRow::C.seq.above(after)])
        .oldest(AuditRow::C.seq.order())
        .limit(limit);
    tx.select::<AuditRow>(query).await?.into_iter().map(AuditEntry::try_from).collect()
}
