//! Checkpoints of the log: making the next one, and holding the log against those there are.

use super::verify::GENESIS;
use crate::cell::{Json, Table};
use crate::records::audit::{AuditBreak, AuditRow};
use crate::records::checkpoint::{Checkpoint, CheckpointRow};
use crate::tx::{Query, Step, Tx};
use crate::{Error, Result};

use CheckpointRow as C;

/// Signs a text, and gives the signature in hexadecimal. The key stays with whoever made this.
pub type Sign = std::sync::Arc<dyn Fn(&str) -> String + Send + Sync>;

/// The checkpoint of the log as it is now: a new one, or the last one where nothing was added since. `None`: nothing
/// was added at all.
///
/// What does not go on from the last checkpoint is not signed: a signature would make it whole.
pub(crate) async fn make<T: Tx>(tx: &mut T, sign: Sign) -> Step<Option<Checkpoint>> {
    // Of several processes each sees the checkpoint that the one before it has made.
    tx.lock_name(Table::Checkpoints, "").await?;
    let head = tx.head().await?;
    // Nothing has happened but that the store was made.
    if head.seq == 1 {
        return Ok(None);
    }
    let last = tx.select::<C>(Query::of(Vec::new()).newest(C::C.size.order()).limit(1)).await?.pop();
    let last = last.map(Checkpoint::from);
    if let Some(last) = &last {
        let there = entry(tx, last.size).await?;
        if there.is_none_or(|there| there.hash != last.head) {
            let detail = format!("entry {} is not the one that the last checkpoint names: verify it", last.size);
            return Err(Error::corrupt("the audit log", detail).into());
        }
        if last.size == head.seq {
            return Ok(Some(last.clone()));
        }
    }
    let origin = entry(tx, 1).await?.map(|first| first.hash);
    let mut next = Checkpoint {
        origin: origin.ok_or_else(|| Error::corrupt("the audit log", "entry 1 is missing"))?,
        size: head.seq,
        head: head.hash,
        time_ms: tx.now().await?,
        previous: last.map_or_else(|| GENESIS.to_owned(), |last| last.hash()),
        signature: String::new(),
    };
    next.signature = sign(&next.text());
    let Checkpoint { origin, size, head, time_ms, previous, signature } = next.clone();
    tx.insert(&C { size, origin, head, time_ms, previous, signature, delivered: Json(Vec::new()) }).await?;
    Ok(Some(next))
}

async fn entry<T: Tx>(tx: &mut T, seq: i64) -> Result<Option<AuditRow>> {
    Ok(tx.select::<AuditRow>(Query::of(vec![AuditRow::C.shard.is(0), AuditRow::C.seq.is(seq)]).limit(1)).await?.pop())
}

/// Checkpoints after one of so many entries, oldest first; only those that a sink does not have, where one is named.
pub(crate) async fn list<T: Tx>(
    tx: &mut T,
    after: i64,
    without: Option<String>,
    limit: u64,
) -> Result<Vec<Checkpoint>> {
    let mut found = Vec::new();
    let mut after = after;
    loop {
        let query = Query::of(vec![C::C.size.above(after)]).oldest(C::C.size.order()).limit(1000);
        let page = tx.select::<C>(query).await?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.size;
        let lacks = |row: &C| without.as_ref().is_none_or(|sink| !row.delivered.0.contains(sink));
        for row in page.into_iter().filter(lacks) {
            found.push(row.into());
            if found.len() as u64 == limit {
                return Ok(found);
            }
        }
    }
}

/// Remembers that a sink has a checkpoint.
pub(crate) async fn delivered<T: Tx>(tx: &mut T, size: i64, sink: String) -> Step<()> {
    let Some(row) = tx.one(vec![C::C.size.is(size)]).await? else {
        return Err(Error::NotFound { entity: "checkpoint", id: size.to_string() }.into());
    };
    if row.delivered.0.contains(&sink) {
        return Ok(());
    }
    let mut sinks = row.delivered.0.clone();
    sinks.push(sink);
    let expect = vec![C::C.size.is(size), C::C.delivered.is(row.delivered)];
    match tx.update(vec![C::C.delivered.to(Json(sinks))], expect).await? {
        1 => Ok(()),
        // Another sink was noted at the same moment: the next look finds this one again.
        _ => Err(Error::Busy { action: "note a delivery" }.into()),
    }
}

/// What checkpoints say about the log, in the order of their sizes.
#[derive(Debug)]
pub(super) struct Kept {
    checkpoints: Vec<(Checkpoint, &'static str)>,
    next: usize,
    origin: Option<String>,
}

impl Kept {
    /// Those of the store, and those that somebody kept elsewhere.
    pub(super) fn new(stored: Vec<Checkpoint>, kept: Vec<Checkpoint>) -> Self {
        let stored = stored.into_iter().map(|checkpoint| (checkpoint, "a checkpoint of the store"));
        let kept = kept.into_iter().map(|checkpoint| (checkpoint, "a checkpoint that was kept elsewhere"));
        let mut checkpoints: Vec<_> = stored.chain(kept).collect();
        checkpoints.sort_by_key(|(checkpoint, _)| checkpoint.size);
        Self { checkpoints, next: 0, origin: None }
    }

    /// Compares the entry that the log has come to.
    pub(super) fn reached(&mut self, seq: i64, hash: &str) -> Result<(), String> {
        if seq == 1 {
            self.origin = Some(hash.to_owned());
        }
        while let Some((checkpoint, whose)) = self.checkpoints.get(self.next).filter(|(it, _)| it.size <= seq) {
            if self.origin.as_ref() != Some(&checkpoint.origin) {
                return Err(format!("{whose} is of another log: its first entry is not this one's"));
            }
            if checkpoint.size != seq || checkpoint.head != hash {
                return Err(format!("it is not the entry that {whose} names"));
            }
            self.next += 1;
        }
        Ok(())
    }

    /// What is missing where the log ends.
    pub(super) fn ended(&self, seq: i64) -> Result<(), String> {
        match self.checkpoints.last() {
            Some((last, whose)) if last.size > seq => {
                Err(format!("it is missing: {whose} says that the log had {} entries", last.size))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the store's checkpoints follow each other.
pub(super) fn links(stored: &[Checkpoint]) -> Option<AuditBreak> {
    let mut previous = GENESIS.to_owned();
    for checkpoint in stored {
        if checkpoint.previous != previous {
            let row = Some(format!("checkpoints `{}`", checkpoint.size));
            let what = "it does not follow from the checkpoint before it".to_owned();
            return Some(AuditBreak { seq: checkpoint.size, row, what });
        }
        previous = checkpoint.hash();
    }
    None
}
