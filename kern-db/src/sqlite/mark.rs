//! Keeps the mark of a file beside what is committed to it, and notices that the file was set back.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use super::tx::SqliteTx;
use super::{failed, say, unavailable};
use crate::audit::flush;
use crate::mark::compare::{Compared, Memory, Seen, mark_of};
use crate::mark::file::MarkFile;
use crate::mark::{Mark, MarkPlace, MarkSink};
use crate::names::Names;
use crate::records::principal::Actor;
use crate::records::store::StoreRow;
use crate::transitions::restore::quarantine;
use crate::tx::{Head, Tx as _, finish_now};
use crate::{Error, Result, fault};

/// How long after a commit the mark holds it at the latest.
const SYNC: Duration = Duration::from_millis(800);
/// Tries to write over a mark that other processes write, too.
const TRIES: usize = 64;

const ACTION: &str = "keep the mark of the store";

/// The mark of one file, in the hands of its writer.
#[derive(Debug)]
pub(super) struct Keeper {
    sink: Arc<dyn MarkSink>,
    memory: Memory,
    /// The store as the last transaction has found or left it.
    store: Option<StoreRow>,
    /// Since when something is committed that the mark lacks.
    unsynced: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(place: Option<MarkPlace>, path: &Path) -> Self {
        let sink: Arc<dyn MarkSink> = match place {
            Some(MarkPlace::Sink(sink)) => sink,
            Some(MarkPlace::File(path)) => Arc::new(MarkFile::new(path)),
            None => {
                let mut name = path.as_os_str().to_owned();
                name.push("-mark");
                Arc::new(MarkFile::new(name.into()))
            }
        };
        Self { sink, memory: Memory::default(), store: None, unsynced: None }
    }

    fn load(&self) -> Result<Option<Mark>> {
        self.sink.load().map_err(unusable)
    }

    /// Compares the log with the mark and with what this process saw last. A proof is what the log lacks.
    ///
    /// Only inside a transaction that writes, or where nothing is decided by it.
    fn proof(&mut self, tx: &mut SqliteTx<'_>) -> Result<Option<Value>> {
        let mark = self.load()?;
        let Compared { store, proof } = finish_now(self.memory.compare(tx, mark))?;
        self.store = Some(store);
        Ok(proof)
    }

    /// Looks once, before anything is written. Where there is no mark, and the store may be written, it makes one.
    pub(super) fn open(&mut self, connection: &Connection, names: &Names, makes: bool) -> Result<()> {
        let mut tx = SqliteTx::new(connection, names, ACTION);
        if self.proof(&mut tx)?.is_some() {
            drop(tx);
            say(connection, "BEGIN IMMEDIATE").map_err(|error| failed(ACTION, error))?;
            return self.compare(connection, names);
        }
        let head = finish_now(tx.head())?;
        let epoch = self.store.as_ref().map(|row| row.epoch.clone()).unwrap_or_default();
        self.memory.seen = Some(Seen { epoch, seq: head.seq, hash: head.hash });
        if makes && self.load()?.is_none() {
            self.sync(connection, names)?;
        }
        Ok(())
    }

    /// In a transaction that has begun: looks for a proof, and where there is one, commits the quarantine (Z1).
    ///
    /// On return no transaction is open if the store was quarantined by this; else the one that was begun is.
    pub(super) fn compare(&mut self, connection: &Connection, names: &Names) -> Result<()> {
        let mut tx = SqliteTx::new(connection, names, ACTION);
        let Some(proof) = self.proof(&mut tx)? else { return Ok(()) };
        tracing::error!(%proof, "the store was set back to an older copy: nothing is started until `kern restore --accept`");
        let actor = Actor::Recovery;
        finish_now(quarantine(&mut tx, actor, &proof))?;
        finish_now(flush(&mut tx))?;
        say(connection, "COMMIT").map_err(|error| failed(ACTION, error))?;
        let mut tx = SqliteTx::new(connection, names, ACTION);
        self.store = Some(finish_now(tx.store())?);
        Ok(())
    }

    /// Before the commit of Z2: the new epoch is in the mark first. A crash between the two leaves the store quarantined.
    pub(super) fn close_epoch(&mut self, connection: &Connection, names: &Names) -> Result<()> {
        let mut tx = SqliteTx::new(connection, names, ACTION);
        let row = finish_now(tx.store())?;
        let head = finish_now(tx.head())?;
        let mark = mark_of(&row, head.seq, &head.hash, None);
        for _ in 0..TRIES {
            let found = self.load()?;
            if self.sink.compare_and_set(found.as_ref(), &mark).map_err(unusable)? {
                self.memory = Memory { seen: None, verified: Some(mark) };
                self.store = Some(row);
                return fault::point(fault::MARKED, ACTION);
            }
        }
        Err(Error::Busy { action: ACTION })
    }

    /// After a commit: what it added has to be in the mark, now or soon.
    pub(super) fn committed(&mut self) {
        self.unsynced.get_or_insert_with(Instant::now);
    }

    /// How long until the mark has to be synced. `None`: it lacks nothing.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.unsynced.map(|since| SYNC.saturating_sub(since.elapsed()))
    }

    /// Whether the mark was removed after this process saw it, for example with the folder of the store. A sync without a waiting
    /// caller does not make it again; the next start or no does.
    pub(super) fn is_removed(&self) -> Result<bool> {
        Ok(self.memory.verified.is_some() && self.load()?.is_none())
    }

    /// After a failure: the next try is as far away as the first one was.
    pub(super) fn put_off(&mut self) {
        self.unsynced = Some(Instant::now());
    }

    /// Writes the mark by compare-and-set. What it is written over must lie in the log in which this process has committed: in
    /// the same epoch, and compared by hash.
    ///
    /// # Errors
    ///
    /// The mark is not synced: the body is not entered, and the no is not answered.
    pub(super) fn sync(&mut self, connection: &Connection, names: &Names) -> Result<()> {
        let row = self.store.clone().ok_or(Error::Busy { action: ACTION })?;
        for _ in 0..TRIES {
            // Before the look at the log: what another process has written here is in a log that is read later.
            let found = self.load()?;
            // One look: the mark that is found and what was committed are entries of the same log.
            say(connection, "BEGIN").map_err(|error| failed(ACTION, error))?;
            let mut tx = SqliteTx::new(connection, names, ACTION);
            let next = finish_now(self.memory.next(&mut tx, &row, found.as_ref(), None));
            let ended = say(connection, "COMMIT").map_err(|error| failed(ACTION, error));
            let (new, head) = next?;
            ended?;
            let is_there = found.as_ref() == Some(&new);
            if !is_there {
                fault::point(fault::MARK, ACTION)?;
            }
            if is_there || self.sink.compare_and_set(found.as_ref(), &new).map_err(unusable)? {
                self.saw(Some(&head));
                (self.memory.verified, self.unsynced) = (Some(new), None);
                return fault::point(fault::MARKED, ACTION);
            }
        }
        Err(Error::Busy { action: ACTION })
    }

    /// The end of the log as a commit has left it.
    pub(super) fn saw(&mut self, head: Option<&Head>) {
        if let (Some(head), Some(row)) = (head, &self.store) {
            self.memory.saw(Seen { epoch: row.epoch.clone(), seq: head.seq, hash: head.hash.clone() });
        }
    }
}

fn unusable(error: io::Error) -> Error {
    unavailable(ACTION, error)
}
