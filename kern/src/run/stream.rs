//! Watching a run: the queue between the run's own task and whoever reads its events.
//!
//! The run never waits for a reader. A reader that is gone, or too slow for the queue, is no longer told; the run goes on.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use kern_db::RunId;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::event::{EventBase, RunEvent};
use super::output::RunOutput;
use crate::error::{Error, Result};

/// Events that a reader may be behind.
const QUEUE: usize = 1024;

type Driving = Pin<Box<dyn Future<Output = Result<RunOutput>> + Send>>;

/// The run whose events did not fit into the queue any more.
type Lost = Arc<OnceLock<RunId>>;

/// The events of one run, as they happen. Made by `.stream()`.
///
/// The run starts when its first event is asked for, in a task of its own: dropping the stream, or reading it slowly,
/// neither stops nor slows the run. Whoever is more than 1,024 events behind is no longer told: their stream ends with
/// [`Error::EventsLost`] after what was queued, and [`get_run`](crate::Agent::get_run) says how the run stands.
///
/// An error ends the stream. It needs a tokio runtime.
#[must_use = "a run starts when its first event is asked for"]
pub struct RunStream {
    stage: Stage,
    events: Receiver<RunEvent>,
    lost: Lost,
}

enum Stage {
    Ready(Driving),
    Driven(JoinHandle<Result<RunOutput>>),
    Over,
}

impl RunStream {
    /// Makes the stream of a run. `numbered`: the events carry their numbers.
    pub(crate) fn new<F>(numbered: bool, drive: impl FnOnce(Events) -> F) -> Self
    where
        F: Future<Output = Result<RunOutput>> + Send + 'static,
    {
        let (queue, events) = channel(QUEUE);
        let lost = Lost::default();
        let number = numbered.then(AtomicU64::default);
        let reader = Reader { queue: Mutex::new(Some(queue)), number, lost: Arc::clone(&lost) };
        Self { stage: Stage::Ready(Box::pin(drive(Events(Some(reader))))), events, lost }
    }

    /// Waits for the next event. `None`: the run has paused or ended, or an error was given before.
    pub async fn next(&mut self) -> Option<Result<RunEvent>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for RunStream {
    type Item = Result<RunEvent>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Stage::Ready(_) = self.stage {
            let Stage::Ready(driving) = std::mem::replace(&mut self.stage, Stage::Over) else {
                return Poll::Ready(None);
            };
            self.stage = Stage::Driven(tokio::spawn(driving));
        }
        if let Some(event) = ready!(self.events.poll_recv(context)) {
            return Poll::Ready(Some(Ok(event)));
        }
        if let Some(run_id) = self.lost.get().cloned() {
            let told = !matches!(std::mem::replace(&mut self.stage, Stage::Over), Stage::Over);
            return Poll::Ready(told.then_some(Err(Error::EventsLost { run_id })));
        }
        let Stage::Driven(task) = &mut self.stage else { return Poll::Ready(None) };
        let outcome = ready!(Pin::new(task).poll(context));
        self.stage = Stage::Over;
        match outcome {
            Ok(Ok(_)) => Poll::Ready(None),
            Ok(Err(error)) => Poll::Ready(Some(Err(error))),
            Err(error) => Poll::Ready(Some(Err(Error::Interrupted(Box::new(error))))),
        }
    }
}

impl fmt::Debug for RunStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Ready(_) => "ready",
            Stage::Driven(_) => "driven",
            Stage::Over => "over",
        };
        f.debug_struct("RunStream").field("stage", &stage).finish_non_exhaustive()
    }
}

/// The run's end of the queue. Where nobody watches, telling costs nothing.
pub(crate) struct Events(Option<Reader>);

struct Reader {
    /// `None`: the reader is gone, or was too far behind.
    queue: Mutex<Option<Sender<RunEvent>>>,
    number: Option<AtomicU64>,
    lost: Lost,
}

impl Events {
    /// Nobody watches.
    pub(crate) fn unwatched() -> Self {
        Self(None)
    }

    /// Whether the run was started to be watched, whatever became of the reader.
    pub(crate) fn are_watched(&self) -> bool {
        self.0.is_some()
    }

    /// Tells the reader of an event. Never waits.
    pub(crate) fn tell(&self, base: impl FnOnce() -> EventBase, event: impl FnOnce(EventBase) -> RunEvent) {
        let Some(reader) = &self.0 else { return };
        let mut queue = reader.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = queue.as_ref() else { return };
        let mut base = base();
        base.event_index = reader.number.as_ref().map(|number| number.fetch_add(1, Ordering::Relaxed));
        let run_id = base.run_id.clone();
        match sender.try_send(event(base)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                tracing::warn!(%run_id, "a reader of events is too far behind, and is not told any more");
                // Before the queue is closed, so that the reader finds it when the queue is empty.
                reader.lost.get_or_init(|| run_id);
                *queue = None;
            }
            Err(TrySendError::Closed(_)) => *queue = None,
        }
    }
}
