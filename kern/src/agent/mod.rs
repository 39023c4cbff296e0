//! `Agent`: a model, tools and a store, and the ways to start and continue a run.

mod builder;
mod cancel;
mod probe;
pub(crate) mod resume;
mod start;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kern_db::{Caller, Db, Principal, RunId};

pub use builder::AgentBuilder;
pub use cancel::CancelRun;
pub use resume::ContinueRun;
pub use start::StartRun;

use crate::error::{Error, Result};
use crate::hooks::Hooks;
use crate::milliseconds::milliseconds;
use crate::models::Model;
use crate::run::lease::Hints;
use crate::run::{Message, RunInput, RunOutput, RunRequirement};
use crate::tools::States;
use crate::tools::registry::Registry;
use crate::worker;

/// A model with tools. Cheap to clone; clones are the same agent.
#[derive(Clone)]
pub struct Agent(pub(crate) Arc<Inner>);

/// What an agent is made of.
pub(crate) struct Inner {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) model: Arc<dyn Model>,
    pub(crate) tools: Registry,
    pub(crate) states: Arc<States>,
    pub(crate) instructions: Option<Message>,
    pub(crate) hooks: Hooks,
    pub(crate) db: Arc<dyn Db>,
    pub(crate) lease: Duration,
    pub(crate) max_turns: u32,
    pub(crate) argument_limit: usize,
    pub(crate) num_history_runs: u32,
    pub(crate) hints: Hints,
}

impl Inner {
    pub(crate) fn lease_ms(&self) -> i64 {
        milliseconds(self.lease)
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("id", &self.0.id).field("tools", &self.0.tools.all()).finish_non_exhaustive()
    }
}

impl Agent {
    /// Starts from the default settings.
    pub fn builder() -> AgentBuilder {
        AgentBuilder::default()
    }

    /// The agent's id: a process with an agent of the same id can resume its runs.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Asks the agent. Await it for the run's output: complete, or paused.
    ///
    /// The run goes on by itself when the caller stops waiting; it needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// - [`Error::Model`]: the model gave no complete answer. The run has ended with an error.
    /// - [`Error::TurnLimit`]: the model went on for too long. The run has ended with an error.
    /// - [`Error::Store`]: the store failed. A run is only ever reported as paused when that is on the disk.
    pub fn run(&self, input: impl Into<RunInput>) -> StartRun {
        StartRun::new(self.clone(), input.into())
    }

    /// Continues a paused run, in this or any other process. Await it for the run's output.
    ///
    /// It gives no power over approvals: those are read from the store. What the requirements hold counts as the
    /// caller's own answers, and is stored also where the run cannot go on yet.
    ///
    /// # Errors
    ///
    /// Nothing protected ran in any of them.
    ///
    /// - [`Error::RunNotFound`]: this agent has no such run.
    /// - [`Error::ApprovalPending`], [`Error::RequirementsUnresolved`]: somebody has not decided yet.
    /// - [`Error::ApprovalMissing`]: an approval is gone.
    /// - [`Error::ExecutionUnknown`]: nobody knows how a call ended; settle it first.
    /// - [`Error::RequirementMismatch`], [`Error::InvalidAnswer`]: an answer does not fit what was asked.
    /// - [`Error::ToolChanged`]: a tool is not the one that the call was shown with.
    /// - [`Error::AlreadyRunning`], [`Error::NotPaused`]: the run is elsewhere, or over.
    /// - [`Error::Store`]: the store failed, or what it holds does not agree with itself.
    /// - [`Error::Model`], [`Error::TurnLimit`]: as for [`run`](Agent::run).
    pub fn continue_run(&self, run_id: impl Into<RunId>) -> ContinueRun {
        ContinueRun::new(self.clone(), run_id.into())
    }

    /// Reads a run as it stands.
    ///
    /// # Errors
    ///
    /// - [`Error::RunNotFound`]: this agent has no such run.
    /// - [`Error::Store`]: the store failed.
    pub async fn get_run(&self, run_id: impl Into<RunId>) -> Result<RunOutput> {
        resume::look(&self.0, &run_id.into()).await
    }

    /// The same of a run of this agent that the store gave with its calls.
    #[cfg(feature = "os")]
    pub(crate) fn shown(&self, run: &kern_db::Run) -> Result<RunOutput> {
        resume::shown(&self.0, run)
    }

    /// Stops a run, paused or running. Await it for the run's output. Its open approvals are cancelled, what was allowed and
    /// not started never will be. A body under way ends by itself, and where it is protected its result is recorded. The
    /// model's answer, and what plain tools give, is not waited for any more: at once where the run is driven by this very
    /// agent, elsewhere within a third of the lease.
    ///
    /// # Errors
    ///
    /// - [`Error::RunNotFound`]: this agent has no such run.
    /// - [`Error::Store`]: the run has ended already, or the store failed.
    pub fn cancel_run(&self, run_id: impl Into<RunId>) -> CancelRun {
        CancelRun::new(self.clone(), run_id.into())
    }

    /// Resumes every paused run of this agent whose calls are all decided, after recovering those whose process is gone.
    /// One pass, one run after another; what is still waiting stays as it is. It never answers for a requester. A
    /// [`Worker`](crate::worker::Worker) does the same all the time.
    ///
    /// # Errors
    ///
    /// - [`Error::Store`]: the runs cannot be listed. What goes wrong in one run is given in its place.
    pub async fn resume_decided_runs(&self) -> Result<Vec<Result<RunOutput>>> {
        worker::pass(self).await
    }
}

/// Who calls: somebody with a name that nobody vouches for, or nobody.
fn caller(user_id: Option<String>) -> Caller {
    user_id.map_or(Caller::Anonymous, |user_id| Caller::Person(Principal::unverified(user_id)))
}

/// Waits for a run's own task. It is not the caller's: a caller that stops waiting loses no run.
async fn driven(task: tokio::task::JoinHandle<Result<RunOutput>>) -> Result<RunOutput> {
    task.await.map_err(|error| Error::Interrupted(Box::new(error)))?
}

/// What a caller sends back with a run.
pub(crate) type Requirements = Vec<RunRequirement>;
