//! Reads the whole log and every row, and finds what is not as kern wrote it.
//!
//! One thread reads; a second one, where there is one to be had, follows the log; hashes and rows are compared by whichever
//! of them has time. What is kept is one state for each run, call, approval and execution, and nothing for an entry.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::checkpoint::{self, Kept};
use super::line::{Line, genesis};
use super::replay::Replay;
use super::rows::{Chunk, Rows};
use super::second::Second;
use crate::cell::{Column, Cond, Row};
use crate::page::Page;
use crate::records::approval::{ApprovalRow, VoteRow};
use crate::records::audit::{AuditBreak, AuditReport, AuditRow};
use crate::records::call::CallRow;
use crate::records::checkpoint::Checkpoint;
use crate::records::execution::ExecutionRow;
use crate::records::key::KeyRow;
use crate::records::pool::PoolRow;
use crate::records::run::RunRow;
use crate::tx::{Query, Tx};
use crate::{Error, Result, RunId};

/// What the first checkpoint follows.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Entries read at once.
const PAGE: u64 = 1024;
/// Runs compared at once.
const RUNS: u64 = 256;
/// Votes compared at once.
const VOTES: u64 = 4096;
/// How many findings are told.
const TOLD: usize = 100;

/// Where the chain breaks, and what was intact before it.
#[derive(Debug)]
struct Fault {
    seq: i64,
    what: String,
    head: String,
}

/// What both threads have found.
#[derive(Debug, Default)]
struct Found {
    fault: Mutex<Option<Fault>>,
    rows: Mutex<Vec<AuditBreak>>,
    any: AtomicBool,
}

impl Found {
    /// The first fault of the chain is the one that counts.
    fn fault(&self, fault: Fault) {
        let mut first = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        // Of one entry, that it cannot be read says more than that its hash does not fit.
        let says_more = |first: &Fault| fault.seq == first.seq && fault.what.starts_with("it is unreadable");
        if first.as_ref().is_none_or(|first| fault.seq < first.seq || says_more(first)) {
            *first = Some(fault);
        }
        self.any.store(true, Ordering::Release);
    }

    fn rows(&self, found: Vec<AuditBreak>) {
        if !found.is_empty() {
            self.rows.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
        }
    }
}

/// The chain as far as it was followed, from a store or from a file.
#[derive(Debug)]
pub(super) struct Chain {
    /// Which store it is of, once its first entry was read.
    pub(super) store: Option<Opened>,
    pub(super) seq: i64,
    at_ms: i64,
    pub(super) head: String,
    pub(super) replay: Replay,
}

/// What the first entry of a chain says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opened {
    pub(super) store_id: String,
    shard: u32,
    shards: u32,
}

impl Opened {
    /// # Errors
    ///
    /// It is no first entry.
    pub(super) fn of(line: &Line<'_>) -> std::result::Result<Self, String> {
        if line.seq != 1 || line.action != super::OPENED || line.evidence || line.run_id.is_some() {
            return Err(format!("the chain does not begin with `{}`", super::OPENED));
        }
        let opened: Self =
            serde_json::from_str(line.payload).map_err(|error| format!("it is unreadable: audit.payload: {error}"))?;
        if opened.shard != line.shard || opened.shard >= opened.shards {
            return Err("it opens another shard than the one it is in".to_owned());
        }
        Ok(opened)
    }
}

impl Chain {
    pub(super) fn new() -> Self {
        Self { store: None, seq: 0, at_ms: i64::MIN, head: GENESIS.to_owned(), replay: Replay::default() }
    }

    /// Takes the next entry. Its own hash is another's business.
    pub(super) fn follow(&mut self, line: &Line<'_>) -> std::result::Result<(), String> {
        if line.seq != self.seq + 1 {
            return Err(format!("entry {} is missing", self.seq + 1));
        }
        let (shard, head) = match &self.store {
            Some(store) => (store.shard, self.head.clone()),
            None => {
                let opened = Opened::of(line)?;
                let genesis = genesis(&opened.store_id, opened.shard, opened.shards);
                (self.store.insert(opened).shard, genesis)
            }
        };
        if line.shard != shard {
            return Err("it is of another shard".to_owned());
        }
        if line.prev_hash != head {
            return Err("it does not follow from the entry before it".to_owned());
        }
        if line.at_ms != line.now_ms.max(self.at_ms) {
            return Err("its place in time is not the one that follows from the entry before it".to_owned());
        }
        self.replay.step(line).map_err(|what| match what.starts_with("it is unreadable") {
            true => what.into_owned(),
            false => format!("it is no step of the table: {what}"),
        })?;
        (self.seq, self.at_ms) = (line.seq, line.at_ms);
        line.hash.clone_into(&mut self.head);
        Ok(())
    }
}

/// Checks the hash of every entry of a page.
fn hashes(page: &Page, store_id: &str, before: (i64, &str), buffer: &mut Vec<u8>, found: &Found) {
    let (mut seq, mut head) = before;
    for row in page.rows() {
        // What is unreadable is found by whoever follows the chain.
        let Ok(line) = Line::of(&row) else { return };
        if !line.fits(store_id, buffer) {
            let what = "its hash does not fit its content".to_owned();
            return found.fault(Fault { seq: seq + 1, what, head: head.to_owned() });
        }
        (seq, head) = (line.seq, line.hash);
    }
}

/// Reads the whole chain and every row, and finds the first place that is not as kern wrote it.
pub(crate) async fn verify<T: Tx>(tx: &mut T, kept: Vec<Checkpoint>) -> Result<AuditReport> {
    let stored = checkpoint::list(tx, 0, None, u64::MAX).await;
    let (stored, unreadable) = match stored {
        Ok(stored) => (stored, None),
        Err(Error::Corrupt { place, detail }) => {
            let what = format!("it is unreadable: {detail}");
            (Vec::new(), Some(AuditBreak { seq: 0, row: Some(place), what }))
        }
        Err(error) => return Err(error),
    };
    let torn = checkpoint::links(&stored).or(unreadable);
    let found = Arc::new(Found::default());
    let follower =
        Arc::new(Mutex::new(Follower { chain: Chain::new(), kept: Kept::new(stored, kept), is_over: false }));
    let mut second = Second::start();
    let read = chain(tx, &mut second, &found, &follower).await;
    second.finish()?;
    read?;
    let chain = std::mem::replace(&mut follower.lock().unwrap_or_else(PoisonError::into_inner).chain, Chain::new());
    let fault = found.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Fault { seq, what, head }) = fault {
        let broken = Some(AuditBreak { seq, row: None, what });
        let entries = seq.saturating_sub(1).unsigned_abs();
        return Ok(AuditReport { entries, head, broken, others: schema(tx).await? });
    }
    let Chain { store, seq, head, replay, .. } = chain;
    let other = identity(tx, store.as_ref()).await?;
    let replay = Arc::new(replay);
    let mut second = Second::start();
    let read = rows(tx, &mut second, &replay, &found).await;
    // While the second thread still compares.
    let schema = schema(tx).await;
    second.finish()?;
    read?;
    let mut last = Rows::new(&replay);
    last.missing();
    found.rows(last.found);
    // A million small pieces: nobody waits until they are given back.
    drop(std::thread::Builder::new().spawn(move || drop(replay)));
    let mut rows = std::mem::take(&mut *found.rows.lock().unwrap_or_else(PoisonError::into_inner));
    rows.sort_by(|one, other| (one.seq, &one.row, &one.what).cmp(&(other.seq, &other.row, &other.what)));
    rows.extend(other);
    rows.extend(torn);
    rows.extend(schema?);
    rows.truncate(TOLD);
    let mut rows = rows.into_iter();
    Ok(AuditReport { entries: seq.unsigned_abs(), head, broken: rows.next(), others: rows.collect() })
}

/// Whether the store says of itself what its chain began with.
async fn identity<T: Tx>(tx: &mut T, opened: Option<&Opened>) -> Result<Option<AuditBreak>> {
    let what = match (tx.store().await, opened) {
        (Ok(row), Some(opened)) if row.store_id == opened.store_id && row.shards == opened.shards => return Ok(None),
        (Ok(_), _) => "it is not the store that its log was begun for".to_owned(),
        (Err(Error::Corrupt { detail, .. }), _) => format!("it is unreadable: {detail}"),
        (Err(error), _) => return Err(error),
    };
    Ok(Some(AuditBreak { seq: 1, row: Some("store".to_owned()), what }))
}

/// What the store's own guards are like: tables, indexes, triggers.
async fn schema<T: Tx>(tx: &mut T) -> Result<Vec<AuditBreak>> {
    let found = tx.schema_faults().await?;
    Ok(found.into_iter().map(|(what, wrong)| AuditBreak { seq: 0, row: Some(what), what: wrong }).collect())
}

type FollowerStep = Box<dyn FnOnce(&mut Follower, &Found) + Send>;

/// Follows the chain, page by page.
struct Follower {
    chain: Chain,
    kept: Kept,
    is_over: bool,
}

impl Follower {
    fn page(&mut self, page: &Page, found: &Found) {
        for row in page.rows() {
            if self.is_over {
                return;
            }
            let seq = self.chain.seq + 1;
            let followed = match Line::of(&row) {
                Ok(line) if (seq == 1 || line.prev_hash == self.chain.head) && line.seq == seq => {
                    match self.kept.reached(seq, line.hash) {
                        Ok(()) => self.chain.follow(&line),
                        Err(what) => Err(what),
                    }
                }
                Ok(line) => self.chain.follow(&line),
                Err(column) => Err(format!("it is unreadable: audit.{column}")),
            };
            if let Err(what) = followed {
                self.fault(what, found);
            }
        }
    }

    /// Something is wrong with the next entry.
    fn fault(&mut self, what: String, found: &Found) {
        if !self.is_over {
            found.fault(Fault { seq: self.chain.seq + 1, what, head: self.chain.head.clone() });
        }
        self.is_over = true;
    }
}

/// Reads the chain, and has it followed and hashed.
async fn chain<T: Tx>(
    tx: &mut T,
    second: &mut Second,
    found: &Arc<Found>,
    follower: &Arc<Mutex<Follower>>,
) -> Result<()> {
    let follow = |second: &mut Second, step: FollowerStep| {
        let (follower, found) = (Arc::clone(follower), Arc::clone(found));
        second.in_order(Box::new(move |_| {
            step(&mut follower.lock().unwrap_or_else(PoisonError::into_inner), &found);
        }));
    };
    let (mut seq, mut head) = (0, GENESIS.to_owned());
    let mut store_id: Option<Arc<str>> = None;
    let mut limit = PAGE;
    while !found.any.load(Ordering::Acquire) {
        let query = Query::of(vec![AuditRow::C.shard.is(0), AuditRow::C.seq.above(seq)])
            .oldest(AuditRow::C.seq.order())
            .limit(limit);
        let page = match tx.page::<AuditRow>(query).await {
            Ok(page) => Arc::new(page),
            // Which entry of the page it is shows when they are read one by one.
            Err(Error::Corrupt { .. }) if limit > 1 => {
                limit = 1;
                continue;
            }
            // A row that cannot even be read is a finding, not a failure to look.
            Err(Error::Corrupt { place, detail }) => {
                let what = format!("it is unreadable: {place}: {detail}");
                follow(second, Box::new(move |follower, found| follower.fault(what, found)));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let Some(last) = page.rows().next_back() else {
            let ended = |follower: &mut Follower, found: &Found| {
                if follower.chain.seq == 0 {
                    follower.fault("the first entry is missing".to_owned(), found);
                }
                if let Err(what) = follower.kept.ended(follower.chain.seq) {
                    follower.fault(what, found);
                }
            };
            follow(second, Box::new(ended));
            return Ok(());
        };
        let followed = Arc::clone(&page);
        follow(second, Box::new(move |follower, found| follower.page(&followed, found)));
        let next = (last.int(AuditRow::C.seq.order()), last.text(AuditRow::C.hash.order()).map(str::to_owned));
        if store_id.is_none() {
            let first = page.rows().next().and_then(|row| Line::of(&row).ok());
            store_id = first.and_then(|first| Opened::of(&first).ok()).map(|opened| opened.store_id.into());
        }
        let (before, shared, hashed) = ((seq, head), Arc::clone(found), Arc::clone(&page));
        // Without it, the one that follows the chain finds that it does not begin as a chain does.
        let Some(store_id) = store_id.clone() else { return Ok(()) };
        second.any_time(Box::new(move |buffer| hashes(&hashed, &store_id, (before.0, &before.1), buffer, &shared)));
        // Without them, whoever follows finds that the entry cannot be read.
        let (Some(last_seq), Some(last_hash)) = next else { return Ok(()) };
        (seq, head) = (last_seq, last_hash);
    }
    Ok(())
}

async fn rows<T: Tx>(tx: &mut T, second: &mut Second, replay: &Arc<Replay>, found: &Arc<Found>) -> Result<()> {
    let mut after: Option<RunId> = None;
    loop {
        let query = Query::of(after.clone().map(|after| RunRow::C.run_id.above(after)).into_iter().collect());
        let runs = match tx.page::<RunRow>(query.oldest(RunRow::C.run_id.order()).limit(RUNS)).await {
            Err(error) => return unreadable(error, found),
            Ok(runs) => runs,
        };
        let last = runs.rows().next_back().and_then(|row| row.text(RunRow::C.run_id.order())).map(RunId::from);
        // The last chunk also has what belongs to no run.
        let range = between(&CallRow::C.run_id, after.as_ref(), last.as_ref());
        let calls = tx.page::<CallRow>(Query::of(range)).await;
        let range = between(&ApprovalRow::C.run_id, after.as_ref(), last.as_ref());
        let approvals = tx.page::<ApprovalRow>(Query::of(range)).await;
        let range = between(&ExecutionRow::C.run_id, after.as_ref(), last.as_ref());
        let executions = tx.page::<ExecutionRow>(Query::of(range)).await;
        let (calls, approvals, executions) = match (calls, approvals, executions) {
            (Ok(calls), Ok(approvals), Ok(executions)) => (calls, approvals, executions),
            (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return unreadable(error, found),
        };
        let chunk = Chunk { runs, calls, approvals, executions };
        let (replay, shared) = (Arc::clone(replay), Arc::clone(found));
        second.any_time(Box::new(move |_| {
            let mut rows = Rows::new(&replay);
            rows.chunk(&chunk);
            shared.rows(rows.found);
        }));
        match last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    match tx.page::<PoolRow>(Query::of(Vec::new())).await {
        Err(error) => return unreadable(error, found),
        Ok(pools) => {
            let mut rows = Rows::new(replay);
            rows.pools(&pools);
            found.rows(rows.found);
        }
    }
    match tx.page::<KeyRow>(Query::of(Vec::new())).await {
        Err(error) => return unreadable(error, found),
        Ok(keys) => {
            let mut rows = Rows::new(replay);
            rows.keys(&keys);
            found.rows(rows.found);
        }
    }
    let mut offset = 0;
    loop {
        let query = Query::of(Vec::new())
            .oldest(VoteRow::C.approval_id.order())
            .oldest(VoteRow::C.version.order())
            .oldest(VoteRow::C.voter_key.order());
        let page = match tx.page::<VoteRow>(query.offset(offset).limit(VOTES)).await {
            Err(error) => return unreadable(error, found),
            Ok(page) => page,
        };
        if page.len() == 0 {
            return Ok(());
        }
        offset += page.len() as u64;
        let (replay, shared) = (Arc::clone(replay), Arc::clone(found));
        second.any_time(Box::new(move |_| {
            let mut rows = Rows::new(&replay);
            rows.votes(&page);
            shared.rows(rows.found);
        }));
    }
}

/// The rows of the runs between two.
fn between<R: Row>(run_id: &Column<R, RunId>, after: Option<&RunId>, last: Option<&RunId>) -> Vec<Cond<R>> {
    let after = after.map(|after| run_id.above(after.clone()));
    after.into_iter().chain(last.map(|last| run_id.at_most(last.clone()))).collect()
}

fn unreadable(error: Error, found: &Found) -> Result<()> {
    match error {
        Error::Corrupt { place, detail } => {
            found.rows(vec![AuditBreak { seq: 0, row: Some(place), what: format!("it is unreadable: {detail}") }]);
            Ok(())
        }
        error => Err(error),
    }
}
