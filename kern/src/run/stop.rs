//! Being told to come to an end: how a worker that shuts down takes its runs back.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::sync::watch;

use crate::error::Error;

/// How far a worker is with its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Working,
    /// Nothing new is started; what runs is waited for.
    Closing,
    /// Nothing is waited for any more.
    Closed,
}

/// What a run knows of the worker that drives it. A run that somebody waits for is never told to end.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Option<watch::Receiver<Phase>>);

impl Stop {
    pub(crate) fn never() -> Self {
        Self(None)
    }

    pub(crate) fn by(phase: watch::Receiver<Phase>) -> Self {
        Self(Some(phase))
    }

    /// Whether nothing new may be started.
    pub(crate) fn is_closing(&self) -> bool {
        self.phase() >= Phase::Closing
    }

    /// Whether nothing is waited for any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.phase() == Phase::Closed
    }

    fn phase(&self) -> Phase {
        self.0.as_ref().map_or(Phase::Working, |phase| *phase.borrow())
    }

    /// Waits until nothing new may be started.
    pub(crate) async fn closing(&self) {
        self.reached(Phase::Closing).await;
    }

    /// Waits until nothing is waited for any more.
    pub(crate) async fn closed(&self) {
        self.reached(Phase::Closed).await;
    }

    /// Waits for something, unless nothing new may be started.
    pub(crate) async fn unless_closing<F: Future>(&self, future: F) -> Option<F::Output> {
        let (mut future, mut closing) = (pin!(future), pin!(self.closing()));
        poll_fn(|context| {
            if closing.as_mut().poll(context).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(context).map(Some)
        })
        .await
    }

    async fn reached(&self, wanted: Phase) {
        if let Some(phase) = &self.0
            && phase.clone().wait_for(|phase| *phase >= wanted).await.is_ok()
        {
            return;
        }
        // Nobody is left who could say so.
        pending().await
    }
}

/// Why a step of a run was left: its worker is closed. The run is paused then, and somebody else goes on.
#[derive(Debug, thiserror::Error)]
#[error("the worker was shut down")]
struct ShutDown;

pub(super) fn shut_down() -> Error {
    Error::Interrupted(Box::new(ShutDown))
}
