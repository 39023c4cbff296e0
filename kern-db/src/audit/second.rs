//! A second thread beside the one that reads: what has to be done in order, and what either of them may do.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Error, Result};

/// How much waits before the first thread helps the second.
const AHEAD: usize = 4;
/// After how long it is looked whether the second thread is still there.
const PATIENCE: Duration = Duration::from_millis(100);

/// The bytes are there to be used again.
pub(super) type Work = Box<dyn FnOnce(&mut Vec<u8>) + Send>;

/// What waits to be done.
#[derive(Default)]
struct Queue {
    /// By the second thread, in this order.
    ordered: VecDeque<Work>,
    /// By whoever has nothing better to do.
    free: VecDeque<Work>,
    is_closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is there until there is nothing more and will not be.
    fn work(&self) {
        let mut buffer = Vec::new();
        let mut queue = self.queue();
        loop {
            let next = queue.ordered.pop_front().or_else(|| queue.free.pop_front());
            match next {
                Some(work) => {
                    drop(queue);
                    self.changed.notify_all();
                    work(&mut buffer);
                    queue = self.queue();
                }
                None if queue.is_closed => return,
                None => queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// A second thread for what does not need the store. The first one, which reads, helps where too much waits.
pub(super) struct Second {
    shared: Arc<Shared>,
    /// `None`: there is none to be had, and the first does everything.
    thread: Option<JoinHandle<()>>,
    buffer: Vec<u8>,
}

impl Second {
    pub(super) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kern-verify".to_owned()).spawn(move || theirs.work());
        Self { shared, thread: thread.ok(), buffer: Vec::new() }
    }

    /// Work that follows on what was given like this before.
    pub(super) fn in_order(&mut self, work: Work) {
        match &self.thread {
            None => work(&mut self.buffer),
            Some(_) => self.give(|queue| queue.ordered.push_back(work)),
        }
    }

    /// Work that anybody may do at any time.
    pub(super) fn any_time(&mut self, work: Work) {
        match &self.thread {
            None => work(&mut self.buffer),
            Some(_) => self.give(|queue| queue.free.push_back(work)),
        }
    }

    fn give(&mut self, push: impl FnOnce(&mut Queue)) {
        let shared = Arc::clone(&self.shared);
        let mut queue = shared.queue();
        push(&mut queue);
        shared.changed.notify_all();
        // A second thread that is gone does nothing more.
        while queue.ordered.len() + queue.free.len() > AHEAD && !self.is_gone() {
            match queue.free.pop_front() {
                Some(work) => {
                    drop(queue);
                    work(&mut self.buffer);
                    queue = shared.queue();
                }
                None => {
                    let waited = shared.changed.wait_timeout(queue, PATIENCE);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn is_gone(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until everything is done that was given.
    ///
    /// # Errors
    ///
    /// It panicked.
    pub(super) fn finish(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        loop {
            let mut queue = self.shared.queue();
            queue.is_closed = true;
            self.shared.changed.notify_all();
            let Some(work) = queue.free.pop_front() else { break };
            drop(queue);
            work(&mut self.buffer);
        }
        thread.join().map_err(|_| {
            let source = "the thread that compares has panicked".into();
            Error::Unavailable { action: "verify the audit log", source }
        })
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // Whoever stops waiting for the outcome needs nothing more of it.
        let mut queue = self.shared.queue();
        queue.ordered.clear();
        queue.free.clear();
        queue.is_closed = true;
        drop(queue);
        self.shared.changed.notify_all();
    }
}
