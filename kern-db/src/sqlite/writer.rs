//! The writer: one connection on its own thread, a bounded queue, and group commit.
//!
//! Jobs that wait together are committed together, each in its own savepoint. Nobody is answered before the commit:
//! what a caller hears of is on the disk.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::guard::Guard;
use super::mark::Keeper;
use super::place::Place;
use super::tx::{Known, SqliteTx};
use super::{Failure, failed, say, unavailable};
use crate::audit::flush;
use crate::cell::Table;
use crate::clock::Time;
use crate::names::Names;
use crate::store::Lane;
use crate::tx::{Refused, Step, Tx as _, finish_now};
use crate::{Error, Result, fault};

/// Jobs that may wait before callers wait themselves.
const QUEUE: usize = 1024;
/// Jobs committed together at the most.
const GROUP: usize = 64;
/// The pause between two tries to get the write lock.
const ASK_AGAIN: Duration = Duration::from_millis(2);

const MARK: &str = "compare the store with its mark";

/// What a job leaves behind until the commit: how to answer its caller.
type Answer = Box<dyn FnOnce(Option<Error>) + Send>;

/// One job: does its work on the connection, and says what becomes of it.
type Job = Box<dyn FnOnce(&Desk) -> Done + Send>;

/// What the writer works with.
struct Desk {
    connection: Connection,
    place: Arc<Place>,
    names: Arc<Names>,
    guard: Guard,
    /// What the last job of this transaction knew at its end.
    known: RefCell<Known>,
    /// Changes of rows before this transaction.
    changes: Cell<u64>,
    keeper: RefCell<Keeper>,
}

/// What a job did.
struct Done {
    /// Whether its savepoint stays.
    keep: bool,
    /// What it adds to the log, as far as the mark is concerned.
    adds: Adds,
    /// What it failed with, in case the whole transaction went with it.
    failure: Option<Failure>,
    answer: Answer,
}

/// What a job adds to the audit log.
#[derive(Clone, Copy, Debug, Default)]
struct Adds {
    entries: bool,
    /// A start or a no: it is in the mark before anybody is told.
    marked: bool,
    /// A new epoch: it is in the mark before the commit.
    epoch: bool,
}

struct Queued {
    action: &'static str,
    job: Job,
    /// Whether it is committed with nothing else.
    alone: bool,
    /// What to tell the caller if the job is never run.
    abandon: Box<dyn FnOnce(Error) + Send>,
    _place: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Lanes {
    urgent: VecDeque<Queued>,
    normal: VecDeque<Queued>,
    closed: bool,
}

struct Queue {
    lanes: Mutex<Lanes>,
    filled: Condvar,
    places: Arc<Semaphore>,
    /// A full queue must not keep renewals out.
    urgent_places: Arc<Semaphore>,
}

/// Handle of the writer thread. Dropping it lets the thread finish what is queued and end.
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Option<thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Queue {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // Nothing that can panic runs while the lock is held, and the lanes are whole after every step.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next jobs to commit together, none after this long; `None` when no caller can add any more.
    fn next(&self, patience: Option<Duration>) -> Option<Vec<Queued>> {
        let mut lanes = self.lanes();
        while lanes.urgent.is_empty() && lanes.normal.is_empty() {
            if lanes.closed {
                return None;
            }
            lanes = match patience {
                None => self.filled.wait(lanes).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.filled.wait_timeout(lanes, patience);
                    let (lanes, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() {
                        return Some(Vec::new());
                    }
                    lanes
                }
            };
        }
        let mut group: Vec<Queued> = Vec::new();
        while group.len() < GROUP {
            let alone = |queued: &Queued| queued.alone;
            let next = match lanes.urgent.pop_front() {
                // One that has to be alone waits for what came before it, and the others for it.
                None if !group.is_empty() && lanes.normal.front().is_some_and(alone) => None,
                None => lanes.normal.pop_front(),
                urgent => urgent,
            };
            let Some(queued) = next else { break };
            let alone = queued.alone;
            group.push(queued);
            if alone {
                break;
            }
        }
        Some(group)
    }
}

impl Writer {
    /// `changes` is told after each commit.
    pub(super) fn start(
        mut connection: Connection,
        place: Arc<Place>,
        names: Arc<Names>,
        changes: Arc<Notify>,
        keeper: Keeper,
    ) -> Result<Self> {
        let guard = Guard::set(&mut connection, &names)?;
        let (known, keeper) = (RefCell::default(), RefCell::new(keeper));
        let desk = Desk { connection, place, names, guard, known, changes: Cell::default(), keeper };
        let queue = Arc::new(Queue {
            lanes: Mutex::default(),
            filled: Condvar::new(),
            places: Arc::new(Semaphore::new(QUEUE)),
            urgent_places: Arc::new(Semaphore::new(QUEUE)),
        });
        let jobs = Arc::clone(&queue);
        let thread = thread::Builder::new()
            .name("kern-sqlite".to_owned())
            .spawn(move || {
                // As the connection was opened with: nothing is begun that waits longer.
                let patience = desk.connection.query_row("PRAGMA busy_timeout", (), |row| row.get::<_, u32>(0));
                let patience = Duration::from_millis(patience.unwrap_or(0).into());
                while let Some(group) = jobs.next(desk.due_in()) {
                    if !group.is_empty() {
                        commit(&desk, patience, group);
                        changes.notify_waiters();
                    }
                    if desk.due_in().is_some_and(|left| left.is_zero()) {
                        desk.sync_later();
                    }
                }
                if desk.due_in().is_some() {
                    desk.sync_later();
                }
            })
            .map_err(|error| unavailable("start the writer's thread", error))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Queues a job and waits for its commit. A caller that stops waiting does not stop the job.
    pub(super) async fn run<V, F>(&self, lane: Lane, action: &'static str, job: F) -> Result<V>
    where
        V: Send + 'static,
        F: FnOnce(&mut SqliteTx<'_>) -> Step<V> + Send + 'static,
    {
        let places = match lane {
            Lane::Urgent => &self.queue.urgent_places,
            Lane::Normal | Lane::Alone => &self.queue.places,
        };
        let place = Arc::clone(places).acquire_owned().await;
        let place = place.map_err(|error| unavailable(action, error))?;
        let (sender, receiver) = oneshot::channel();
        let sender = Arc::new(Mutex::new(Some(sender)));
        let take = |sender: &Mutex<Option<oneshot::Sender<Result<V>>>>| {
            sender.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let abandoned = Arc::clone(&sender);
        let abandon = Box::new(move |error| {
            if let Some(sender) = take(&abandoned) {
                // A caller that is gone needs no answer.
                let _ = sender.send(Err(error));
            }
        });
        let job: Job = Box::new(move |desk| {
            let known = desk.known.borrow().clone();
            let mut tx = SqliteTx::new(&desk.connection, &desk.names, action).guarded(&desk.guard).after(known);
            let done = fault::point(fault::BEGIN, action).map_err(Refused::Undo).and_then(|()| job(&mut tx));
            let (keep, outcome) = match done {
                Ok(value) => (true, Ok(value)),
                Err(Refused::Keep(error)) => (true, Err(error)),
                Err(Refused::Undo(error)) => (false, Err(error)),
            };
            let mut adds = Adds::default();
            let (keep, outcome) = match keep.then(|| {
                let journal = tx.journal();
                adds = Adds {
                    entries: journal.has_entries(),
                    marked: journal.needs_mark(),
                    epoch: journal.closes_epoch(),
                };
                fault::point(fault::WRITTEN, action).and_then(|()| finish_now(flush(&mut tx)))
            }) {
                Some(Err(error)) => (false, Err(error)),
                _ => (keep, outcome),
            };
            if keep {
                desk.known.replace(tx.known());
            }
            let failure = outcome.as_ref().err().map(Failure::from);
            let answer: Answer = Box::new(move |lost| {
                if let Some(sender) = take(&sender) {
                    let _ = sender.send(lost.map_or(outcome, Err));
                }
            });
            let adds = if keep { adds } else { Adds::default() };
            Done { keep, adds, failure, answer }
        });
        {
            let mut lanes = self.queue.lanes();
            let queued = Queued { action, job, alone: lane == Lane::Alone, abandon, _place: place };
            match lane {
                Lane::Urgent => lanes.urgent.push_back(queued),
                Lane::Normal | Lane::Alone => lanes.normal.push_back(queued),
            }
        }
        self.queue.filled.notify_one();
        receiver.await.map_err(|error| unavailable(action, error))?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.lanes().closed = true;
        self.queue.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // What was queued is still written; a panic of the thread has been told to the callers already.
            let _ = thread.join();
        }
    }
}

impl Desk {
    /// How long until the mark has to be synced. `None`: it lacks nothing.
    fn due_in(&self) -> Option<Duration> {
        self.keeper.borrow().due_in()
    }

    /// Syncs the mark after commits that no caller waits for. A mark that cannot be written now is written with the next start or no, or that
    /// is refused.
    fn sync_later(&self) {
        let mut keeper = self.keeper.borrow_mut();
        let synced = match keeper.is_removed() {
            Ok(true) => return keeper.put_off(),
            Ok(false) => keeper.sync(&self.connection, &self.names),
            Err(error) => Err(error),
        };
        if let Err(error) = synced {
            tracing::warn!(%error, "the mark of the store is not synced");
            keeper.put_off();
        }
    }
}

/// Runs a group of jobs in one transaction, each in its savepoint, and answers after the commit.
fn commit(desk: &Desk, patience: Duration, group: Vec<Queued>) {
    let connection = &desk.connection;
    // Others may have written since.
    desk.known.take();
    desk.changes.set(desk.connection.total_changes());
    if !connection.is_autocommit() {
        // A rollback that failed is tried again: otherwise one bad moment of the disk would end the store's life.
        let _ = connection.execute_batch("ROLLBACK");
    }
    if let Err(error) = begin(connection, patience) {
        let failure = Failure::from(error);
        for queued in group {
            (queued.abandon)(failure.clone().means(queued.action));
        }
        return;
    }
    // Each transaction looks whether the file was set back, and commits the quarantine before anything else if it was.
    let compared = desk.keeper.borrow_mut().compare(connection, &desk.names).and_then(|()| {
        if connection.is_autocommit() {
            begin(connection, patience).map_err(|error| Failure::from(error).means(MARK))?;
        }
        Ok(())
    });
    if let Err(error) = compared {
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        let failure = Failure::from(&error);
        for queued in group {
            (queued.abandon)(failure.clone().means(queued.action));
        }
        return;
    }
    let mut answers: Vec<(&'static str, Answer, bool)> = Vec::with_capacity(group.len());
    let mut adds = Adds::default();
    let mut failure = None;
    // A job that is alone needs no savepoint, which would copy every page it changes: the transaction is its own.
    let alone = group.len() == 1;
    let guest = group.iter().any(|queued| queued.alone);
    let mut taken_back = false;
    for queued in group {
        let action = queued.action;
        if let Some(failure) = &failure {
            (queued.abandon)(Failure::means(Failure::clone(failure), action));
            continue;
        }
        match run(desk, queued.job, alone) {
            Ok(Ran { answer, kept, adds: added }) => {
                taken_back = alone && !kept;
                adds.entries |= added.entries;
                adds.marked |= added.marked;
                adds.epoch |= added.epoch;
                match answer {
                    Some(answer) => answers.push((action, answer, added.marked)),
                    None => {
                        let panicked = std::io::Error::other("a transition of kern panicked");
                        (queued.abandon)(unavailable(action, panicked));
                    }
                }
            }
            Err(found) => {
                // The whole transaction is in doubt: nobody of the group is told that anything is written.
                (queued.abandon)(found.clone().means(action));
                failure = Some(found);
            }
        }
    }
    if failure.is_none() && !taken_back {
        let reach = |place| answers.iter().find_map(|(action, ..)| fault::point(place, action).err());
        let moved = answers.first().and_then(|(action, ..)| desk.place.check(action).err());
        let kept = moved.map_or_else(|| keep_time(desk), Err);
        let close = || desk.keeper.borrow_mut().close_epoch(connection, &desk.names);
        let kept = kept.and_then(|()| if adds.epoch { close() } else { Ok(()) });
        failure = match kept.err().or_else(|| reach(fault::COMMIT)) {
            Some(error) => Some(Failure::from(&error)),
            // kern's own rules are all looked at before: this one is about what somebody else's statements wrote.
            None => {
                let failed = say(connection, "COMMIT").err();
                failed.map(|error| Failure { at_commit: guest, ..Failure::from(error) })
            }
        };
        failure = failure.or_else(|| reach(fault::COMMITTED).map(|error| Failure::from(&error)));
    }
    if failure.is_some() && !connection.is_autocommit() {
        // Takes back what is left of it. Where even that fails, the next BEGIN fails too, and nobody is told a lie.
        let _ = connection.execute_batch("ROLLBACK");
    }
    let mut unmarked = None;
    if failure.is_none() && !taken_back && adds.entries {
        let mut keeper = desk.keeper.borrow_mut();
        keeper.saw(desk.known.borrow().head());
        keeper.committed();
        // What was started or refused is in the mark before anybody is told of it.
        if adds.marked {
            unmarked = keeper.sync(connection, &desk.names).err();
        }
    }
    for (action, answer, marked) in answers {
        let failure = failure.clone().map(|failure| failure.means(action));
        let unmarked = || unmarked.as_ref().filter(|_| marked).map(not_marked);
        answer(failure.or_else(unmarked));
    }
}

/// Stores the time of a transaction that has changed something, and what the clock said: a process that starts later goes on from
/// there, so that time passes for commands that live for a moment, too.
fn keep_time(desk: &Desk) -> Result<()> {
    let Some(Time { now_ms, clock_ms, .. }) = desk.known.borrow().time else { return Ok(()) };
    if desk.connection.total_changes() == desk.changes.get() {
        return Ok(());
    }
    let sql = format!("UPDATE {} SET at_ms = ?, wall_ms = ?", desk.names.of(Table::Store));
    let keep = || desk.connection.prepare_cached(&sql)?.execute((now_ms, clock_ms));
    keep().map(drop).map_err(|error| failed("keep the store's time", error))
}

/// Takes the file's write lock. SQLite waits for it with longer and longer pauses, and in each of them a writer that has no
/// pause has taken the lock again: asked for every few milliseconds, it comes to everybody.
fn begin(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    let deadline = Instant::now() + patience;
    let begun = loop {
        connection.busy_timeout(ASK_AGAIN)?;
        match say(connection, "BEGIN IMMEDIATE") {
            Err(error) if is_busy(&error) && Instant::now() < deadline => thread::sleep(ASK_AGAIN),
            begun => break begun,
        }
    };
    connection.busy_timeout(patience)?;
    begun
}

/// What a caller is told whose change is committed and not in the mark: it does not enter the body, and answers no no.
fn not_marked(error: &Error) -> Error {
    match error {
        Error::StoreRestored { what } => Error::StoreRestored { what: what.clone() },
        // No error that lets a claim be read back: what is committed is in no mark.
        error => Error::NotMarked { detail: Failure::from(error).text },
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

/// What became of one job.
struct Ran {
    /// `None`: it panicked.
    answer: Option<Answer>,
    /// Whether what it did stays.
    kept: bool,
    adds: Adds,
}

/// Runs one job in its savepoint, or in the transaction itself where it is alone.
///
/// # Errors
///
/// The whole transaction is in doubt.
fn run(desk: &Desk, job: Job, alone: bool) -> Result<Ran, Failure> {
    let connection = &desk.connection;
    if !alone {
        say(connection, "SAVEPOINT job")?;
    }
    // A panic is a bug of kern; it must not take the store with it, nor leave half a transition.
    let done = catch_unwind(AssertUnwindSafe(|| job(desk))).ok();
    if let Some(failure) = done.as_ref().and_then(|done| done.failure.clone())
        && connection.is_autocommit()
    {
        // A full disk, for one, makes SQLite take back the whole transaction by itself. What did that says more than
        // that the savepoint is gone.
        return Err(failure);
    }
    let kept = done.as_ref().is_some_and(|done| done.keep);
    let adds = done.as_ref().map_or_else(Adds::default, |done| done.adds);
    match (kept, alone) {
        (true, true) => {}
        (true, false) => say(connection, "RELEASE job")?,
        (false, true) => connection.execute_batch("ROLLBACK")?,
        (false, false) => connection.execute_batch("ROLLBACK TO job; RELEASE job")?,
    }
    Ok(Ran { answer: done.map(|done| done.answer), kept, adds })
}

#[cfg(test)]
mod tests;
