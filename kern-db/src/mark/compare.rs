//! Compares the log of a store with its mark and with what a process saw last: the same for every store that has a mark.

use serde_json::{Value, json};

use super::{Heads, Mark, MarkHost};
use crate::records::store::StoreRow;
use crate::transitions::restore::{hash_at, is_closed, quarantined};
use crate::tx::{Head, Tx};
use crate::{Error, Result, StoreState};

/// An entry that a process saw in the log, and its epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) epoch: String,
    pub(crate) seq: i64,
    pub(crate) hash: String,
}

/// What a process remembers of the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// The entry that it saw last.
    pub(crate) seen: Option<Seen>,
    /// A mark that lies in the log up to there.
    pub(crate) verified: Option<Mark>,
}

/// What a comparison found.
pub(crate) struct Compared {
    pub(crate) store: StoreRow,
    /// What the log lacks.
    pub(crate) proof: Option<Value>,
}

impl Memory {
    /// Compares the log with the mark and with the entry that was seen last, and learns what lies in it.
    ///
    /// The mark was read before the transaction began, or while no other process could commit: what another process has
    /// written into it is in a log that is read later.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: the mark is of another store.
    pub(crate) async fn compare<T: Tx>(&mut self, tx: &mut T, mark: Option<Mark>) -> Result<Compared> {
        let store = tx.store().await?;
        let proof = if store.state == StoreState::Open { self.proof(tx, &store, mark).await? } else { None };
        Ok(Compared { store, proof })
    }

    async fn proof<T: Tx>(&mut self, tx: &mut T, store: &StoreRow, mark: Option<Mark>) -> Result<Option<Value>> {
        if let Some(seen) = self.seen.clone() {
            if seen.epoch == store.epoch {
                if hash_at(tx, seen.seq).await?.as_deref() != Some(seen.hash.as_str()) {
                    return Ok(Some(json!({ "kind": "memory", "seq": seen.seq, "hash": seen.hash })));
                }
            } else if is_closed(tx, &seen.epoch).await? {
                *self = Self::default();
            } else {
                return Ok(Some(json!({ "kind": "memory", "epoch": seen.epoch })));
            }
        }
        let Some(mark) = mark else { return Ok(None) };
        if self.verified.as_ref() == Some(&mark) && mark.epoch == store.epoch {
            return Ok(None);
        }
        if mark.store_id != store.store_id {
            return Err(stray(&mark));
        }
        if mark.epoch != store.epoch {
            // A mark of a closed epoch is never a proof again.
            let closed = is_closed(tx, &mark.epoch).await?;
            return Ok((!closed).then(|| json!({ "kind": "mark", "epoch": mark.epoch })));
        }
        if !lies(tx, &mark).await? {
            return Ok(Some(json!({ "kind": "mark", "sizes": mark.sizes, "heads": mark.heads })));
        }
        // What lies in the log up to the entry that was seen last needs no second look.
        if let ([size], [hash]) = (mark.sizes.as_slice(), mark.heads.as_slice()) {
            self.saw(Seen { epoch: store.epoch.clone(), seq: *size, hash: hash.clone() });
        }
        self.verified = Some(mark);
        Ok(None)
    }

    /// Remembers an entry of the log, if it is later than the one that was seen last, or of another epoch.
    pub(crate) fn saw(&mut self, entry: Seen) {
        if self.seen.as_ref().is_none_or(|seen| seen.epoch != entry.epoch || seen.seq < entry.seq) {
            self.seen = Some(entry);
        }
    }

    /// Gives the mark that is to be written over the one that was found, and the end of the log.
    ///
    /// # Errors
    ///
    /// [`Error::StoreRestored`]: what was found, or was seen, does not lie in the log, or the epoch is another one by now.
    pub(crate) async fn next<T: Tx>(
        &self,
        tx: &mut T,
        row: &StoreRow,
        found: Option<&Mark>,
        host: Option<MarkHost>,
    ) -> Result<(Mark, Head)> {
        let now = tx.store().await?;
        if (&now.store_id, &now.epoch) != (&row.store_id, &row.epoch) {
            return Err(quarantined());
        }
        if let Some(seen) = &self.seen
            && seen.epoch == row.epoch
            && hash_at(tx, seen.seq).await?.as_deref() != Some(seen.hash.as_str())
        {
            return Err(quarantined());
        }
        let head = tx.head().await?;
        let new = mark_of(row, head.seq, &head.hash, host);
        let new = match found {
            None => new,
            Some(mark) if mark.store_id != row.store_id => return Err(stray(mark)),
            // The heads that are the proof stay.
            Some(mark) if now.state == StoreState::Quarantined => {
                let heads = Heads { sizes: new.sizes, heads: new.heads };
                Mark { quarantined: Some(heads), ..mark.clone() }
            }
            Some(mark) if mark.epoch == row.epoch => {
                if !lies(tx, mark).await? {
                    return Err(quarantined());
                }
                new
            }
            Some(mark) if is_closed(tx, &mark.epoch).await? => new,
            Some(_) => return Err(quarantined()),
        };
        Ok((new, head))
    }
}

/// Whether the heads of a mark are entries of the log.
async fn lies<T: Tx>(tx: &mut T, mark: &Mark) -> Result<bool> {
    let ([size], [head]) = (mark.sizes.as_slice(), mark.heads.as_slice()) else { return Ok(false) };
    if *size == 0 {
        return Ok(true);
    }
    Ok(hash_at(tx, *size).await?.as_deref() == Some(head.as_str()))
}

/// The mark of a log that ends with this entry.
pub(crate) fn mark_of(row: &StoreRow, seq: i64, hash: &str, host: Option<MarkHost>) -> Mark {
    let (store_id, epoch) = (row.store_id.clone(), row.epoch.clone());
    Mark { store_id, epoch, sizes: vec![seq], heads: vec![hash.to_owned()], quarantined: None, host }
}

fn stray(mark: &Mark) -> Error {
    let what = format!(
        "the mark beside the database is of another store, `{}`: move it to where that store is, or remove it if there is none \
         any more",
        mark.store_id
    );
    Error::Invalid(what)
}
