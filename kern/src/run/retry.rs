//! What is tried again where the store is away for a while, and for how long.

use std::time::{Duration, Instant};

use kern_db::{DbFuture, Run, RunStatus};

use super::turn::Drive;
use crate::error::{Result, causes};

/// The first pause, and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// For how long a step of a run is tried. An outcome is tried for as long as the process lives: losing it would leave the
/// call `unknown`.
const STEP: Duration = Duration::from_secs(300);

/// Pauses that grow.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    pub(super) async fn rest(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = LONGEST.min(self.0 * 2);
    }
}

impl Drive {
    /// Takes a step of the run, again and again where the store is away, as long as the run is this owner's. One that is not
    /// stored yet (`starts`) is not retried: its caller gets the error at once.
    ///
    /// Before each further try the run is read: what was committed, and not acknowledged, is there. `is_there` says so of a
    /// run with this owner's fence, which no other owner can have moved there.
    ///
    /// # Errors
    ///
    /// The step was refused, the run is not this owner's any more, or the time is up.
    pub(super) async fn step<'a>(
        &'a self,
        starts: bool,
        step: impl Fn() -> DbFuture<'a, Run>,
        is_there: impl Fn(&Run) -> bool,
    ) -> Result<Run> {
        let (since, mut pauses) = (Instant::now(), Pauses::new());
        let goes_on = |error: &kern_db::Error| {
            // A store without room has none in a minute either, and the caller can do something about that.
            let passes = error.is_passing() && !matches!(error, kern_db::Error::Full { .. });
            passes && !starts && since.elapsed() < STEP && !self.stop.is_closed()
        };
        loop {
            match step().await {
                Err(error) if goes_on(&error) => {
                    tracing::warn!(run_id = %self.claim.run_id, error = causes(&error), "a step of a run is not stored yet");
                }
                outcome => return Ok(outcome?),
            }
            loop {
                pauses.rest().await;
                match self.agent.db.get_run(&self.claim.run_id).await {
                    Ok(run) if run.fence == self.claim.fence && is_there(&run) => return Ok(run),
                    Ok(run) if run.fence != self.claim.fence || run.status != RunStatus::Running => {
                        return Err(self.not_mine());
                    }
                    Ok(_) => break,
                    Err(error) if goes_on(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    /// Reads the run between two steps.
    ///
    /// # Errors
    ///
    /// It cannot be read, and the time is up where the store is away.
    pub(super) async fn read_run(&self) -> std::result::Result<Run, kern_db::Error> {
        let (since, mut pauses) = (Instant::now(), Pauses::new());
        loop {
            match self.agent.db.get_run(&self.claim.run_id).await {
                Err(error) if error.is_passing() && since.elapsed() < STEP && !self.stop.is_closed() => {
                    tracing::warn!(run_id = %self.claim.run_id, error = causes(&error), "a run cannot be read yet");
                    pauses.rest().await;
                }
                outcome => return outcome,
            }
        }
    }
}
