//! The leases of a run that is driven here and of its bodies: renewed while they are, and given up when the store says that
//! they are not ours.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use kern_db::{RunClaim, RunId, Ticket};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::driven::Registration;
use super::stop::Stop;
use crate::agent::Inner;
use crate::error::causes;

/// Renews a run's lease while it is driven. Dropping it stops the renewals.
pub(crate) struct Lease {
    agent: Arc<Inner>,
    run_id: RunId,
    hint: Arc<Notify>,
    /// Ends when the run's fence has moved, and only then.
    renewals: JoinHandle<()>,
    lost: bool,
}

/// The runs driven in this process, for those who know that one of them is worth a look. It is a hint, which may come too
/// often or never: the store decides.
#[derive(Debug, Default)]
pub(crate) struct Hints(Mutex<HashMap<RunId, Arc<Notify>>>);

impl Hints {
    /// Lets the owner of a run look at once whether it still is the owner.
    pub(crate) fn look_at(&self, run_id: &RunId) {
        if let Some(hint) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(run_id) {
            hint.notify_one();
        }
    }

    fn register(&self, run_id: &RunId) -> Arc<Notify> {
        let hint = Arc::new(Notify::new());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(run_id.clone(), Arc::clone(&hint));
        hint
    }

    /// Another owner in this process may have taken the place meanwhile, and keeps it.
    fn remove(&self, run_id: &RunId, hint: &Arc<Notify>) {
        let mut hints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hints.get(run_id).is_some_and(|found| Arc::ptr_eq(found, hint)) {
            hints.remove(run_id);
        }
    }
}

impl Lease {
    pub(super) fn keep(agent: &Arc<Inner>, claim: &RunClaim) -> Self {
        let (run_id, hint) = (claim.run_id.clone(), agent.hints.register(&claim.run_id));
        let renewals = tokio::spawn(renew(Arc::clone(agent), claim.clone(), Arc::clone(&hint)));
        Self { agent: Arc::clone(agent), run_id, hint, renewals, lost: false }
    }

    fn poll_lost(&mut self, context: &mut Context<'_>) -> bool {
        self.lost = self.lost || Pin::new(&mut self.renewals).poll(context).is_ready();
        self.lost
    }
}

/// Keeps a start, whatever becomes of its run, until the outcome is recorded: registered, and its lease renewed (R10b).
/// Dropping it ends both.
pub(super) struct Started {
    renewals: JoinHandle<()>,
    _driven: Registration,
}

impl Started {
    pub(super) fn keep(agent: &Arc<Inner>, ticket: &Ticket, longest: Duration) -> Self {
        let renewals = tokio::spawn(renew_call(Arc::clone(agent), ticket.clone(), longest));
        Self { renewals, _driven: Registration::of_call(ticket) }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.renewals.abort();
    }
}

async fn renew_call(agent: Arc<Inner>, ticket: Ticket, longest: Duration) {
    let longest_ms = i64::try_from(longest.as_millis()).unwrap_or(i64::MAX);
    loop {
        tokio::time::sleep(agent.lease / 3).await;
        match agent.db.renew_call(ticket.clone(), agent.lease_ms(), longest_ms).await {
            Ok(()) => {}
            Err(kern_db::Error::NotMine { .. }) => return,
            Err(error) => {
                tracing::warn!(execution_id = %ticket.execution_id(), error = causes(&error), "the lease of a call was not renewed");
            }
        }
    }
}

/// Why something is not waited for any more.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left {
    /// The run is not ours, and nothing more may be done for it.
    NotMine,
    /// The worker that drives the run is closed.
    ShutDown,
}

/// Waits for something, as long as the run is ours and its worker is not closed.
pub(super) async fn while_mine<F: Future>(
    mut lease: Option<&mut Lease>,
    stop: &Stop,
    future: F,
) -> Result<F::Output, Left> {
    let (mut future, mut closed) = (pin!(future), pin!(stop.closed()));
    poll_fn(|context| {
        if lease.as_mut().is_some_and(|lease| lease.poll_lost(context)) {
            return Poll::Ready(Err(Left::NotMine));
        }
        if closed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(Left::ShutDown));
        }
        future.as_mut().poll(context).map(Ok)
    })
    .await
}

async fn renew(agent: Arc<Inner>, claim: RunClaim, hint: Arc<Notify>) {
    loop {
        // A hint or the time: both are a reason to ask the store.
        let _ = tokio::time::timeout(agent.lease / 3, hint.notified()).await;
        match agent.db.renew_run(claim.clone(), agent.lease_ms()).await {
            Ok(()) => {}
            Err(kern_db::Error::NotMine { .. }) => return,
            Err(error) => tracing::warn!(run_id = %claim.run_id, error = causes(&error), "a lease was not renewed"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewals.abort();
        self.agent.hints.remove(&self.run_id, &self.hint);
    }
}
