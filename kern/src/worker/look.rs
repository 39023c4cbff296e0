//! Where a worker looks, and what it does about what it finds. All of it may be repeated, by any number of workers.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kern_db::{AuditEntry, Candidates, Db, Resumable, RunId};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use super::trouble::Troubles;
use crate::agent::Agent;
use crate::agent::resume::{ContinueRun, recover};
use crate::error::{Error, Result, causes};
use crate::run::RunOutput;
use crate::run::stop::Stop;

/// Paused runs looked at together, by their ids.
const PAGE: u32 = 256;
/// Entries of the audit log read together.
const ENTRIES: u32 = 512;
/// Runs of a lost owner that are listed together.
const LAPSED: u32 = 1000;
/// Old events removed together, and how often they are looked for: not at once, so that what starts is not held up.
const OLD_EVENTS: u32 = 500;
const TIDY_FIRST: Duration = Duration::from_secs(60);
const TIDY: Duration = Duration::from_secs(60 * 60);
/// What happens within this time is looked at together.
const GATHER: Duration = Duration::from_millis(10);
/// The first pause after the store has failed, and the longest.
const STORE_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_STORE_PAUSE: Duration = Duration::from_secs(10);

/// After what a run may be able to go on that could not before: a decision, an answer, an outcome, a recovery, and that it
/// has paused.
const WAKES: [&str; 17] = [
    "abandoned",
    "approved",
    "cancelled",
    "confirmed",
    "expired",
    "failed",
    "hidden",
    "late_failed",
    "late_succeeded",
    "ready",
    "rejected",
    "retry",
    "run_paused",
    "run_recovered",
    "settled",
    "succeeded",
    "user_rejected",
];

/// The part of a worker that goes on with the runs of one agent.
pub(super) struct Work {
    pub(super) agent: Agent,
    pub(super) stop: Stop,
    /// How many runs the whole worker may drive.
    pub(super) places: Arc<Semaphore>,
    pub(super) hint: Arc<Notify>,
    pub(super) poll_interval: Duration,
    pub(super) pass_interval: Duration,
}

/// How far the look at the store is.
#[derive(Debug, Default)]
struct Place {
    /// The last entry of the audit log that was read.
    seq: i64,
    /// When the last pass over all paused runs was begun.
    passed: Option<Instant>,
}

/// What the tasks of the runs and the look at the store share.
#[derive(Debug, Default)]
struct Known {
    underway: HashSet<RunId>,
    troubles: Troubles,
}

/// Passes on that the store has changed.
pub(super) async fn watch(db: Arc<dyn Db>, stop: Stop, hint: Arc<Notify>, poll_interval: Duration) {
    while !stop.is_closing() {
        // Asked for before the hint is given: what changes during the look that it starts is told, too.
        let change = db.changed();
        hint.notify_one();
        match stop.unless_closing(change).await {
            Some(Ok(())) => stop.unless_closing(tokio::time::sleep(GATHER)).await,
            Some(Err(error)) => {
                tracing::debug!(
                    error = causes(&error),
                    "the store does not say whether it has changed: the worker polls"
                );
                stop.unless_closing(tokio::time::sleep(poll_interval)).await
            }
            None => return,
        };
    }
}

/// Keeps taking runs from processes that are gone and closing what is past its time, whatever else the worker is busy with.
pub(super) async fn keep_up(agent: Agent, stop: Stop, poll_interval: Duration) {
    let mut troubles = Troubles::default();
    while !stop.is_closing() {
        match keep(&agent, &mut troubles).await {
            Ok(kept) => {
                for error in kept.failed {
                    tracing::warn!(
                        error = causes(&error),
                        "a run was not recovered, or what is past its time in it not closed"
                    );
                }
                if kept.more {
                    continue;
                }
            }
            Err(error) => {
                tracing::warn!(error = causes(&error), "runs that are lost or past their time could not be listed")
            }
        }
        stop.unless_closing(tokio::time::sleep(poll_interval)).await;
    }
}

/// Keeps removing events that nobody was told of or is told of any more: without it, the outbox of a store without webhooks
/// grows for ever.
pub(crate) async fn tidy(db: Arc<dyn Db>, stop: Stop) {
    let mut rest = TIDY_FIRST;
    while stop.unless_closing(tokio::time::sleep(rest)).await.is_some() {
        rest = TIDY;
        loop {
            match db.sweep_events(OLD_EVENTS).await {
                Ok(true) if !stop.is_closing() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(error = causes(&error), "old events could not be removed, it is tried again later");
                    break;
                }
            }
        }
    }
}

/// Goes on with the runs of an agent until the worker closes, and waits for them.
pub(super) async fn work(work: Work) {
    let mut runs = JoinSet::new();
    let (mut place, known) = (Place::default(), Arc::new(Mutex::new(Known::default())));
    let mut store_pause = STORE_PAUSE;
    while !work.stop.is_closing() {
        match work.look(&mut place, &known, &mut runs).await {
            Ok(()) => {
                store_pause = STORE_PAUSE;
                let now = Instant::now();
                let rest = lock(&known)
                    .troubles
                    .next(now)
                    .map_or(work.poll_interval, |next| work.poll_interval.min(next.duration_since(now)));
                let hint = tokio::time::timeout(rest, work.hint.notified());
                work.stop.unless_closing(hint).await;
            }
            Err(error) => {
                tracing::warn!(
                    error = causes(&error),
                    agent_id = work.agent.id(),
                    "the worker cannot look at the store, and tries again"
                );
                work.stop.unless_closing(tokio::time::sleep(store_pause)).await;
                store_pause = LONGEST_STORE_PAUSE.min(store_pause * 2);
            }
        }
    }
    while runs.join_next().await.is_some() {}
}

impl Work {
    /// Looks at what may have changed, and goes on with what is decided.
    async fn look(&self, place: &mut Place, known: &Arc<Mutex<Known>>, runs: &mut JoinSet<()>) -> Result<()> {
        let db = &self.agent.0.db;
        if place.passed.is_none_or(|passed| passed.elapsed() >= self.pass_interval) {
            let begun = Instant::now();
            // Before the pass: what is added while it is under way is read after it.
            place.seq = db.audit_head().await?;
            let mut after = None;
            loop {
                let mut found = self.resumable(Candidates::Page { after, limit: PAGE }).await?;
                after = found.next.take();
                self.go_on(found, known, runs).await;
                if after.is_none() || self.stop.is_closing() {
                    break;
                }
            }
            place.passed = Some(begun);
        }
        while !self.stop.is_closing() {
            let entries = db.audit_entries(place.seq, ENTRIES).await?;
            let Some(last) = entries.last().map(|entry| entry.seq) else { break };
            let full = entries.len() == ENTRIES as usize;
            self.look_at(named(entries), known, runs).await?;
            place.seq = last;
            if !full {
                break;
            }
        }
        let rested = lock(known).troubles.rested(Instant::now(), PAGE as usize);
        self.look_at(rested, known, runs).await
    }

    async fn look_at(&self, run_ids: Vec<RunId>, known: &Arc<Mutex<Known>>, runs: &mut JoinSet<()>) -> Result<()> {
        if run_ids.is_empty() {
            return Ok(());
        }
        let found = self.resumable(Candidates::These(run_ids.clone())).await?;
        {
            // What is no longer to be gone on with is no trouble any more.
            let mut known = lock(known);
            for run_id in run_ids {
                if !found.decided.contains(&run_id)
                    && !found.unknown.contains(&run_id)
                    && !known.underway.contains(&run_id)
                {
                    known.troubles.forget(&run_id);
                }
            }
        }
        self.go_on(found, known, runs).await;
        Ok(())
    }

    async fn resumable(&self, candidates: Candidates) -> Result<Resumable> {
        Ok(self.agent.0.db.resumable_runs(self.agent.id().to_owned(), candidates).await?)
    }

    /// Goes on with runs, each in a task of its own, as soon as there is a place for it.
    async fn go_on(&self, found: Resumable, known: &Arc<Mutex<Known>>, runs: &mut JoinSet<()>) {
        let mut decided = found.decided;
        if self.agent.0.tools.any_probe() {
            // Whoever goes on with a run asks the probes of its tools first.
            decided.extend(found.unknown);
        }
        // Each worker in an order of its own: two that look at the same runs seldom try the same one.
        let order = RandomState::new();
        decided.sort_by_cached_key(|run_id| order.hash_one(run_id));
        for run_id in decided {
            while runs.try_join_next().is_some() {}
            if !lock(known).may_try(&run_id) {
                continue;
            }
            let place = self.stop.unless_closing(Arc::clone(&self.places).acquire_owned()).await;
            let Some(Ok(place)) = place else { return };
            let Some(underway) = Underway::enter(known, run_id.clone()) else { continue };
            let (agent, stop) = (self.agent.clone(), self.stop.clone());
            runs.spawn(async move {
                let _place = place;
                let outcome = ContinueRun::as_worker(&agent, run_id, stop).await;
                underway.ended(outcome);
            });
        }
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // Whole after every step, whoever panicked.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    fn may_try(&self, run_id: &RunId) -> bool {
        !self.underway.contains(run_id) && !self.troubles.rests(run_id, Instant::now())
    }
}

/// A run that is driven by this worker. However its task ends, it is not any more.
struct Underway {
    known: Arc<Mutex<Known>>,
    run_id: RunId,
    /// Whether to leave the run alone for a while, and whether that is its own fault.
    trouble: Option<bool>,
}

impl Underway {
    fn enter(known: &Arc<Mutex<Known>>, run_id: RunId) -> Option<Self> {
        let fresh = lock(known).underway.insert(run_id.clone());
        fresh.then(|| Self { known: Arc::clone(known), run_id, trouble: Some(true) })
    }

    fn ended(mut self, outcome: Result<RunOutput>) {
        let run_id = &self.run_id;
        self.trouble = match &outcome {
            Ok(run) => {
                tracing::info!(%run_id, status = %run.status, "the worker went on with a run");
                // Somebody has to look, and yet nothing in its rows says so: it would be tried for ever.
                run.attention.then_some(true)
            }
            // Somebody else was faster.
            Err(Error::AlreadyRunning { .. } | Error::NotPaused { .. }) => None,
            Err(error) => {
                tracing::warn!(%run_id, error = causes(error), code = error.code(), "the worker could not go on with a run");
                Some(!is_the_stores(error))
            }
        };
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut known = lock(&self.known);
        known.underway.remove(&self.run_id);
        match self.trouble {
            Some(own_fault) => known.troubles.note(self.run_id.clone(), own_fault, Instant::now()),
            None => known.troubles.forget(&self.run_id),
        }
    }
}

/// Whether an error says something about the store, and nothing about the run.
fn is_the_stores(error: &Error) -> bool {
    matches!(error, Error::Store(error) if error.is_passing())
}

/// The runs that entries are about which may let them go on, each once.
fn named(entries: Vec<AuditEntry>) -> Vec<RunId> {
    let mut seen = HashSet::new();
    let wakes = |entry: &AuditEntry| !entry.evidence && WAKES.contains(&entry.action.as_str());
    let named = entries.into_iter().filter(wakes).filter_map(|entry| entry.run_id);
    named.filter(|run_id| seen.insert(run_id.clone())).collect()
}

/// What came of [`keep`].
struct Kept {
    /// What went wrong with single runs: one that cannot be recovered keeps no other from going on.
    failed: Vec<Error>,
    /// There may be more than were looked at.
    more: bool,
}

/// Takes an agent's runs from processes that are gone, and closes what is past its time: as many as are read at once.
///
/// # Errors
///
/// They cannot be listed.
async fn keep(agent: &Agent, troubles: &mut Troubles) -> Result<Kept> {
    let inner = &agent.0;
    let mut outcomes = Vec::new();
    let lapsed = inner.db.lapsed_runs(inner.id.clone(), LAPSED).await?;
    let mut full = lapsed.len() >= LAPSED as usize;
    for run_id in lapsed {
        if !troubles.rests(&run_id, Instant::now()) {
            let recovered = recover(inner, &run_id).await;
            outcomes.push((run_id, recovered));
        }
    }
    let overdue = inner.db.overdue(LAPSED).await?;
    full |= overdue.len() >= LAPSED as usize;
    for run_id in overdue {
        if !troubles.rests(&run_id, Instant::now()) {
            let swept = inner.db.sweep_run(run_id.clone()).await;
            outcomes.push((run_id, swept.map(drop).map_err(Error::from)));
        }
    }
    // Where none of them is done with, the next look would find the same ones.
    let more = full && outcomes.iter().any(|(_, outcome)| outcome.is_ok());
    let mut failed = Vec::new();
    for (run_id, outcome) in outcomes {
        match outcome {
            Ok(()) => troubles.forget(&run_id),
            Err(error) => {
                troubles.note(run_id, !is_the_stores(&error), Instant::now());
                failed.push(error);
            }
        }
    }
    Ok(Kept { failed, more })
}

/// One pass over the runs of an agent, one run after another.
///
/// # Errors
///
/// The runs cannot be listed. What goes wrong with one of them is given in its place.
pub(crate) async fn pass(agent: &Agent) -> Result<Vec<Result<RunOutput>>> {
    let mut resumed: Vec<Result<RunOutput>> = Vec::new();
    let mut troubles = Troubles::default();
    loop {
        let kept = keep(agent, &mut troubles).await?;
        resumed.extend(kept.failed.into_iter().map(Err));
        if !kept.more {
            break;
        }
    }
    let mut after = None;
    loop {
        let page = Candidates::Page { after, limit: PAGE };
        let found = agent.0.db.resumable_runs(agent.id().to_owned(), page).await?;
        let unknown = found.unknown.into_iter().filter(|_| agent.0.tools.any_probe());
        for run_id in found.decided.into_iter().chain(unknown) {
            let agent = agent.clone();
            // In a task of its own: who stops waiting loses no run.
            let run = tokio::spawn(async move { ContinueRun::as_worker(&agent, run_id, Stop::never()).await });
            match run.await.map_err(|error| Error::Interrupted(Box::new(error))).flatten() {
                // Waiting for somebody by now, or somebody else was faster: both are as they should be.
                Err(
                    Error::ApprovalPending { .. }
                    | Error::RequirementsUnresolved { .. }
                    | Error::ExecutionUnknown { .. }
                    | Error::AlreadyRunning { .. }
                    | Error::NotPaused { .. },
                ) => {}
                outcome => resumed.push(outcome),
            }
        }
        after = found.next;
        if after.is_none() {
            return Ok(resumed);
        }
    }
}
