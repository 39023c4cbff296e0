//! Keeps the mark of a database in this host's state directory, and notices that the database was set back or replaced.
//!
//! Each writing transaction begins with one question whether the log holds the mark and the entry that this process saw last, in
//! the message of its `BEGIN`. Only where the answer is no, the transaction looks closer.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Shared;
use super::connection::{Object, Said};
use super::failure::{failed, unavailable};
use super::tx::{CommitEnd, PostgresTx};
use crate::audit::{Journal, flush};
use crate::cell::Table;
use crate::clock;
use crate::mark::compare::{Compared, Memory, Seen, mark_of};
use crate::mark::file::MarkFile;
use crate::mark::{Mark, MarkHost, MarkPlace, MarkSink};
use crate::names::Names;
use crate::records::principal::Actor;
use crate::records::store::{StoreRow, random_id};
use crate::store::Lane;
use crate::transitions::host::{SILENT_MS, confirm};
use crate::transitions::restore::quarantine;
use crate::tx::Tx as _;
use crate::{Error, Result, StoreState, fault};

const ACTION: &str = "keep the mark of the store";
/// How long after a commit the mark holds it at the latest.
const SYNC: Duration = Duration::from_millis(800);
/// Between two tries to look at a server that restarts.
const PAUSE: Duration = Duration::from_millis(50);
/// Tries to write over a mark that other processes write, too.
const TRIES: usize = 64;
/// Looks at a store that changes between two of them.
const LOOKS: usize = 4;
/// How long the mark is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The interval between two heartbeats of a host.
const BEAT: Duration = Duration::from_secs(10);

/// The mark of one database, for all transactions of this process.
#[derive(Debug)]
pub(super) struct Keeper {
    sink: Arc<dyn MarkSink>,
    users: Option<Users>,
    /// The id in the mark, and the machine's name.
    id: String,
    name: String,
    state: Mutex<State>,
    /// Wakes the task that looks and syncs within a second.
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    memory: Memory,
    /// The store as a transaction has found or left it.
    store: Option<StoreRow>,
    /// When this process last sent its host's heartbeat.
    beat: Option<Instant>,
    /// Whether something is committed that the mark lacks.
    is_behind: bool,
}

/// The mark and the memory that a transaction compares the log with. Both were read before it began, so that their entries were
/// committed by then.
#[derive(Debug)]
pub(super) struct Before {
    pub(super) mark: Option<Mark>,
    memory: Memory,
    store: Option<StoreRow>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The task finds that there is nothing left to keep.
        self.wake.notify_one();
    }
}

impl Keeper {
    /// Finds the mark of a store, or the place for it.
    pub(super) async fn open(place: Option<MarkPlace>, store_id: String) -> Result<Self> {
        let opened = tokio::task::spawn_blocking(move || Self::find(place, &store_id)).await;
        opened.map_err(|error| unavailable(ACTION, error))?
    }

    fn find(place: Option<MarkPlace>, store_id: &str) -> Result<Self> {
        let (sink, users): (Arc<dyn MarkSink>, _) = match place {
            Some(MarkPlace::Sink(sink)) => (sink, None),
            Some(MarkPlace::File(path)) => Self::file(path).map_err(|(path, error)| unusable(&path, &error))?,
            None => {
                let path = state_directory().join(format!("{store_id}.mark"));
                Self::file(path).map_err(|(path, error)| unusable(&path, &error))?
            }
        };
        let found = sink.load().map_err(|error| Error::Invalid(format!("{error}; {SETTING}")))?;
        let id = found.and_then(|mark| mark.host).map_or_else(random_id, |host| host.id);
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default().trim().to_owned();
        let (state, wake) = (Mutex::default(), Arc::default());
        Ok(Self { sink, users, id, name, state, wake })
    }

    #[allow(clippy::type_complexity, reason = "a place, or what is wrong with it")]
    fn file(path: PathBuf) -> Result<(Arc<dyn MarkSink>, Option<Users>), (PathBuf, io::Error)> {
        let made = match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => std::fs::create_dir_all(folder),
            None => Ok(()),
        };
        match made.and_then(|()| Users::join(&path)) {
            Ok(users) => Ok((Arc::new(MarkFile::new(path)), Some(users))),
            Err(error) => Err((path, error)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs while the lock is held, and the state is whole after every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the mark on a thread that may block.
    async fn load(&self) -> Result<Option<Mark>> {
        let sink = Arc::clone(&self.sink);
        in_time(tokio::task::spawn_blocking(move || sink.load())).await
    }

    /// Replaces the mark. A write that comes too late is still made only over the expected mark.
    async fn set(&self, expected: Option<Mark>, new: Mark) -> Result<bool> {
        let sink = Arc::clone(&self.sink);
        in_time(tokio::task::spawn_blocking(move || sink.compare_and_set(expected.as_ref(), &new))).await
    }

    async fn before(&self) -> Result<Before> {
        let (memory, store) = {
            let state = self.state();
            (state.memory.clone(), state.store.clone())
        };
        Ok(Before { mark: self.load().await?, memory, store })
    }

    /// Learns what a transaction has found.
    fn learn(&self, memory: Memory, store: Option<StoreRow>) {
        let mut state = self.state();
        let known = state.store.as_ref().map(|known| known.epoch.clone());
        if store.as_ref().is_some_and(|row| known.as_ref() != Some(&row.epoch)) {
            // The memory belongs to an epoch that is closed.
            state.memory = memory;
        } else {
            if memory.verified.is_some() {
                state.memory.verified = memory.verified;
            }
            if let Some(seen) = memory.seen {
                state.memory.saw(seen);
            }
        }
        if let Some(store) = store {
            state.store = Some(store);
        }
    }

    /// An entry of this process was committed, and every standby that counts has it.
    pub(super) fn committed(&self, entry: &Place) {
        let mut state = self.state();
        if let Some(epoch) = state.store.as_ref().map(|store| store.epoch.clone()) {
            state.memory.saw(Seen { epoch, seq: entry.seq, hash: entry.hash.clone() });
        }
        state.is_behind = true;
        drop(state);
        self.wake.notify_one();
    }

    /// A session was made: the server may be another one.
    pub(super) fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    fn host(&self, server: Option<String>) -> Option<MarkHost> {
        server.map(|server| MarkHost { id: self.id.clone(), server })
    }

    /// Before the commit of Z2: the new epoch is in the mark first. A crash between the two leaves the store quarantined.
    pub(super) async fn close_epoch(&self, tx: &mut PostgresTx) -> Result<()> {
        let (row, head) = (tx.store().await?, tx.head().await?);
        let mark = mark_of(&row, head.seq, &head.hash, self.host(tx.server()));
        for _ in 0..TRIES {
            let found = self.load().await?;
            if self.set(found, mark.clone()).await? {
                let mut state = self.state();
                state.memory = Memory { seen: None, verified: Some(mark) };
                state.store = Some(row);
                drop(state);
                return fault::point(fault::MARKED, ACTION);
            }
        }
        Err(Error::Busy { action: ACTION })
    }
}

/// Waits for the mark, but not for as long as another process of the host is stopped while it holds the lock on the file.
async fn in_time<T>(work: JoinHandle<io::Result<T>>) -> Result<T> {
    let done = tokio::time::timeout(PATIENCE, work).await.map_err(|_| Error::Busy { action: ACTION })?;
    done.map_err(|error| unavailable(ACTION, error))?.map_err(|error| unavailable(ACTION, error))
}

/// The place of the last entry that a commit has added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: i64,
    pub(super) hash: String,
}

/// What a transaction has found and committed.
#[derive(Debug)]
pub(super) struct Claim {
    /// The mark that lay in its log.
    pub(super) mark: Option<Mark>,
    /// Its last entry.
    pub(super) place: Place,
    pub(super) server: Option<String>,
}

impl Place {
    /// Reads what the append answers with.
    pub(super) fn read(said: &str) -> Option<Self> {
        let (seq, hash) = said.split_once(' ')?;
        Some(Self { seq: seq.parse().ok()?, hash: hash.to_owned() })
    }
}

impl Before {
    /// The question whether nothing has changed, as SQL: the store is open, in the same epoch and database, and its log holds
    /// the mark and the entry that was seen last. `None`: it has to be looked at.
    fn question(&self, names: &Names, server: Option<&str>) -> Option<String> {
        let (store, server) = (self.store.as_ref()?, server?);
        let mut entries = Vec::new();
        if let Some(mark) = &self.mark {
            let ([size], [head]) = (mark.sizes.as_slice(), mark.heads.as_slice()) else { return None };
            if (&mark.store_id, &mark.epoch) != (&store.store_id, &store.epoch) || mark.quarantined.is_some() {
                return None;
            }
            entries.push((*size, head));
        }
        if let Some(seen) = &self.memory.seen {
            if seen.epoch != store.epoch {
                return None;
            }
            entries.push((seen.seq, &seen.hash));
        }
        entries.dedup();
        // A mark comes from outside, and the question binds no values.
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
        if !plain(&store.epoch) || !plain(server) || entries.iter().any(|(_, hash)| !plain(hash)) {
            return None;
        }
        let mut sql = format!(
            "(SELECT state = 'open' AND epoch = '{}' AND server = '{server}' FROM {})",
            store.epoch,
            names.of(Table::Store)
        );
        for (seq, hash) in entries {
            sql.push_str(&format!(
                " AND EXISTS (SELECT 1 FROM {} WHERE shard = 0 AND seq = {seq} AND hash = '{hash}')",
                names.of(Table::Audit)
            ));
        }
        Some(sql)
    }
}

impl Shared {
    /// Begins a transaction that writes, in a store that was compared with its mark. With the mark that lies in its log, if the
    /// store is open.
    ///
    /// Interleaving prevented: this process commits, the server is replaced by a copy from before (a backup, a standby that was
    /// behind, an old primary that is back), and the process decides and starts by rows that are out of date.
    pub(super) async fn begin_compared(
        self: &Arc<Self>,
        connection: Object,
        lane: Lane,
        action: &'static str,
        ahead_ms: i64,
    ) -> Result<(PostgresTx, Option<Before>)> {
        let mut connection = Some(connection);
        let mut has_confirmed = false;
        for _ in 0..LOOKS {
            let before = self.keeper.before().await?;
            let taken = match connection.take() {
                Some(connection) => connection,
                None => self.connection(self.lane(lane), action).await?,
            };
            let ask = |server: Option<&str>| before.question(&self.names, server);
            let mut tx = self.begin(taken, lane, action, false, &ask).await?;
            *tx.journal() = Journal::new(&self.floor, ahead_ms);
            if tx.is_as_known {
                let mut memory = before.memory.clone();
                memory.verified.clone_from(&before.mark);
                self.keeper.learn(memory, None);
                return Ok((tx, Some(before)));
            }
            let mut memory = before.memory.clone();
            let Compared { store, proof } = match memory.compare(&mut tx, before.mark.clone()).await {
                Ok(compared) => compared,
                Err(error) => {
                    tx.roll_back().await;
                    return Err(error);
                }
            };
            let server = tx.server();
            if let Some(proof) = proof {
                tracing::error!(%proof, "the store was set back to an older copy: nothing is started until `kern restore --accept`");
                let found = quarantine(&mut tx, Actor::Recovery, &proof).await.map(drop);
                self.conclude(tx, lane, found).await?;
                continue;
            }
            let is_open = store.state == StoreState::Open;
            let is_other = is_open && server.is_some() && store.server != server;
            self.keeper.learn(memory, Some(store));
            match server {
                Some(server) if is_other && !has_confirmed => {
                    has_confirmed = true;
                    let found = confirm(&mut tx, &self.keeper.id, &server).await;
                    self.conclude(tx, lane, found).await?;
                }
                _ => return Ok((tx, is_open.then_some(before))),
            }
        }
        Err(Error::Busy { action })
    }

    /// Commits what the comparison itself has found.
    async fn conclude(&self, mut tx: PostgresTx, lane: Lane, found: Result<()>) -> Result<()> {
        let flushed = match found {
            Ok(()) => flush(&mut tx).await,
            Err(error) => Err(error),
        };
        if let Err(error) = flushed {
            tx.roll_back().await;
            return Err(error);
        }
        match tx.commit(self.lane(lane)).await {
            CommitEnd::Committed(_) => Ok(()),
            CommitEnd::Refused(error) => Err(error),
            CommitEnd::Unheard(_) | CommitEnd::Waits(_) => {
                Err(unavailable(ACTION, "the commit was not acknowledged, and is looked at again"))
            }
        }
    }

    /// Sends the heartbeat of this host, so that a failover waits for its mark. The host stops writing when the heartbeat fails.
    pub(super) async fn beat(&self, server: Option<&str>, ahead_ms: i64) -> Result<()> {
        let since = self.keeper.state().beat.map(|beat| beat.elapsed());
        if since.is_some_and(|since| since < BEAT) {
            return Ok(());
        }
        let Some(server) = server else { return Ok(()) };
        let now = format!("floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + {ahead_ms}");
        let hosts = self.names.of(Table::Hosts);
        let text = super::tx::literal;
        let sql = format!(
            "INSERT INTO {hosts} (id, name, server, added_at_ms, seen_at_ms)
             VALUES ({}, {}, {}, {now}, {now})
             ON CONFLICT (id) DO UPDATE SET seen_at_ms = greatest({hosts}.seen_at_ms, EXCLUDED.seen_at_ms)",
            text(&self.keeper.id),
            text(&self.keeper.name),
            text(server),
        );
        let asked = Instant::now();
        let said = match self.connection(&self.aside, ACTION).await {
            Ok(connection) => self.aside.commit(connection, sql, self.busy_timeout).await.1,
            Err(error) if since.is_none() => return Err(error),
            Err(_) => Said::Lost,
        };
        let error = match said {
            Said::Committed(_) => {
                self.keeper.state().beat = Some(asked);
                return Ok(());
            }
            Said::Refused(error) => failed(ACTION, &error),
            Said::Warned | Said::Lost | Said::Waits => {
                unavailable(ACTION, "it is not known whether the list of hosts was written")
            }
        };
        // Interleaving prevented: the host is retired as silent, and its claims go on.
        match since {
            Some(since) if since.as_millis() < SILENT_MS.unsigned_abs().into() => Ok(()),
            _ => Err(error),
        }
    }

    /// Writes the mark by compare-and-set. What it is written over must lie in the log in which this process has committed: in
    /// the same epoch, and compared by hash.
    ///
    /// `claim`: what a transaction has found and committed. `None`: after commits that no caller waits for.
    ///
    /// # Errors
    ///
    /// The mark is not synced: the body is not entered, and the no is not answered.
    pub(super) async fn sync(&self, claim: Option<Claim>) -> Result<()> {
        let mut claim = claim;
        let until = Instant::now() + self.busy_timeout.max(Duration::from_secs(1)).saturating_mul(2);
        let mut tries = 0;
        while tries < TRIES {
            let before = self.keeper.before().await?;
            let store = before.store.clone().ok_or(Error::Busy { action: ACTION })?;
            let known = claim.take().filter(|claim| {
                // No process has written the mark since the transaction found it in its own log.
                let is_older = |mark: &Mark| mark.epoch == store.epoch && mark.sizes < vec![claim.place.seq];
                claim.mark == before.mark && claim.mark.as_ref().is_some_and(is_older)
            });
            let new = match known {
                Some(Claim { place: Place { seq, hash }, server, .. }) => {
                    mark_of(&store, seq, &hash, self.keeper.host(server))
                }
                None => match self.look(&before, &store).await {
                    Ok(mark) => mark,
                    // The commit stands. The server restarts, or the connection was cut.
                    Err(error) if error.is_passing() && Instant::now() < until => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            let is_there = before.mark.as_ref() == Some(&new);
            if !is_there {
                fault::point(fault::MARK, ACTION)?;
            }
            if is_there || self.keeper.set(before.mark, new.clone()).await? {
                let mut state = self.keeper.state();
                state.memory.verified = Some(new);
                drop(state);
                return fault::point(fault::MARKED, ACTION);
            }
            tries += 1;
        }
        Err(Error::Busy { action: ACTION })
    }

    /// Checks in one snapshot that the mark and this process's commits are entries of the same log.
    async fn look(&self, before: &Before, store: &StoreRow) -> Result<Mark> {
        let connection = self.connection(&self.pool, ACTION).await?;
        let mut tx = self.begin(connection, Lane::Normal, ACTION, true, &|_| None).await?;
        let host = self.keeper.host(tx.server());
        // Mark and memory were read before this transaction began, so that their entries were committed by then.
        let next = before.memory.next(&mut tx, store, before.mark.as_ref(), host).await;
        tx.roll_back().await;
        next.map(|(mark, _)| mark)
    }

    /// Looks once where the store is opened: before anything is written. Where there is no mark, it makes one.
    pub(super) async fn open_mark(self: &Arc<Self>) -> Result<()> {
        if self.connection(&self.pool, ACTION).await?.behind.timeline.is_empty() {
            // It may have been asked for, to look.
            return Ok(());
        }
        match self.compare().await {
            // Who opens it may not be allowed to write, and then decides nothing either.
            Ok(()) | Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        let found = self.keeper.load().await?;
        let written = match found.clone() {
            None => self.sync(None).await,
            // A store whose mark cannot be written is not opened.
            Some(mark) => self.keeper.set(found, mark).await.map(drop),
        };
        written.map_err(|error| match error {
            Error::Unavailable { source, .. } => Error::Invalid(format!("{source}; {SETTING}")),
            error => error,
        })
    }

    /// Compares, and commits what that has found.
    async fn compare(self: &Arc<Self>) -> Result<()> {
        let connection = self.connection(&self.pool, ACTION).await?;
        let (tx, _) = self.begin_compared(connection, Lane::Normal, ACTION, clock::ahead_ms()).await?;
        tx.roll_back().await;
        Ok(())
    }

    /// Looks, and syncs the mark after commits that no caller waits for.
    async fn tend(self: &Arc<Self>) -> Result<()> {
        self.compare().await?;
        if !std::mem::take(&mut self.keeper.state().is_behind) {
            return Ok(());
        }
        // A mark that was removed is not made again here; the next start or no does that.
        let was_there = self.keeper.state().memory.verified.is_some();
        if was_there && self.keeper.load().await?.is_none() {
            return Ok(());
        }
        self.sync(None).await.inspect_err(|_| self.keeper.state().is_behind = true)
    }

    /// Ends the work of this process in order: syncs the mark, and takes the host from the list if no other process uses its mark.
    pub(super) async fn end_in_order(self: &Arc<Self>) -> Result<()> {
        self.tend().await?;
        let Some(users) = &self.keeper.users else { return Ok(()) };
        if self.keeper.state().beat.is_none() || !users.is_last().map_err(|error| unavailable(ACTION, error))? {
            return Ok(());
        }
        let sql =
            format!("DELETE FROM {} WHERE id = {}", self.names.of(Table::Hosts), super::tx::literal(&self.keeper.id));
        let connection = self.connection(&self.aside, ACTION).await?;
        let said = self.aside.commit(connection, sql, self.busy_timeout).await.1;
        self.keeper.state().beat = None;
        users.stay().map_err(|error| unavailable(ACTION, error))?;
        match said {
            Said::Refused(error) => Err(failed(ACTION, &error)),
            // The host stays on the list at worst, and an operator can retire it.
            _ => Ok(()),
        }
    }
}

/// Compares the store after a new session, and syncs the mark after a commit without a waiting caller, within a second.
pub(super) async fn tend(store: Weak<Shared>, wake: Arc<Notify>) {
    loop {
        wake.notified().await;
        tokio::time::sleep(SYNC).await;
        let Some(shared) = store.upgrade() else { return };
        if let Err(error) = shared.tend().await {
            let cause: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error = cause, "the mark of the store is not synced");
            // It is written with the next start or no, or that is refused; and tried again with the next commit or session.
        }
    }
}

/// The processes of this host that use a mark: each holds a lock on a file beside it.
#[derive(Debug)]
struct Users(File);

impl Users {
    fn join(mark: &Path) -> io::Result<Self> {
        let mut name = mark.as_os_str().to_owned();
        name.push("-users");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(PathBuf::from(name))?;
        file.lock_shared()?;
        Ok(Self(file))
    }

    /// Whether no other process uses the mark. None can begin to until [`stay`](Self::stay), or the end of this one.
    fn is_last(&self) -> io::Result<bool> {
        self.0.unlock()?;
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(std::fs::TryLockError::WouldBlock) => self.0.lock_shared().map(|()| false),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn stay(&self) -> io::Result<()> {
        self.0.unlock()?;
        self.0.lock_shared()
    }
}

/// Where the marks of this host are: `$KERN_STATE_DIR`, otherwise `$XDG_STATE_HOME/kern`, otherwise `/var/lib/kern`.
fn state_directory() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = set("KERN_STATE_DIR").or_else(|| set("XDG_STATE_HOME").map(|folder| folder.join("kern")));
    own.unwrap_or_else(|| PathBuf::from("/var/lib/kern"))
}

const SETTING: &str = "a PostgreSQL store needs a place for its mark outside of the database. Set KERN_STATE_DIR to a folder that \
                       this process may write and that outlives it, or name the place with `.mark(…)`";

fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::Invalid(format!("the mark `{}` cannot be kept: {error}; {SETTING}", path.display()))
}

/// The error for a caller whose change is committed and not in the mark: the body is not entered, and the no is not answered.
pub(super) fn not_marked(error: Error) -> Error {
    match error {
        Error::StoreRestored { .. } => error,
        // Not an error after which a claim is read back: no mark holds the commit.
        error => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            Error::NotMarked { detail: format!("{error}{source}") }
        }
    }
}
