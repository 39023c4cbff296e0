//! Cancelling a run.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use kern_db::{Caller, RunId};

use super::{Agent, caller, resume};
use crate::error::Result;
use crate::run::RunOutput;

/// A run about to be cancelled. Await it.
#[derive(Debug)]
#[must_use = "a run is cancelled when this is awaited"]
pub struct CancelRun {
    agent: Agent,
    run_id: RunId,
    caller: Caller,
}

impl CancelRun {
    pub(super) fn new(agent: Agent, run_id: RunId) -> Self {
        Self { agent, run_id, caller: Caller::Anonymous }
    }

    /// Names who cancels, for the audit log: recorded as unverified.
    pub fn user_id(mut self, user_id: impl Into<String>) -> Self {
        self.caller = caller(Some(user_id.into()));
        self
    }

    /// Cancels as a server does, which knows who asks.
    #[cfg(feature = "os")]
    pub(crate) fn served(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }

    async fn cancel(self) -> Result<RunOutput> {
        let agent = &self.agent.0;
        resume::load(agent, &self.run_id).await?;
        agent.db.cancel_run(self.run_id.clone(), self.caller).await?;
        // Driven in this process, it need not wait for its next renewal to find out.
        agent.hints.look_at(&self.run_id);
        resume::look(agent, &self.run_id).await
    }
}

impl IntoFuture for CancelRun {
    type Output = Result<RunOutput>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<RunOutput>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.cancel())
    }
}
