//! Going on with runs whose calls are decided, whoever decided and wherever they were started.
//!
//! A run that waits for somebody holds no task and no connection. When the last of its calls is decided, anybody may
//! continue it; a [`Worker`] is the one that always does.
//!
//! ```
//! use kern::db::SqliteDb;
//! use kern::models::{ScriptedModel, turn};
//! use kern::prelude::*;
//! use kern::worker::Worker;
//!
//! /// Delete a user.
//! #[approval]
//! #[tool]
//! async fn delete_user(user_id: String) -> String {
//!     format!("{user_id} is gone.")
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("kern-doc-worker-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("app.db");
//! let db = SqliteDb::open(&path).await?;
//! let model = ScriptedModel::new([
//!     turn().tool_call("delete_user", json!({ "user_id": "u_42" })),
//!     turn().text("Done."),
//! ]);
//! let agent = Agent::builder().id("data").model(model).tools(tools![delete_user]).db(db.clone()).build()?;
//! let worker = Worker::new(agent.clone()).concurrency(4).await?;
//!
//! let run = agent.run("Delete u_42").user_id("alice").await?;
//! let waiting = ApprovalFilter::new().status(ApprovalStatus::Pending).run_id(&run.run_id);
//! let approval = &db.list_approvals(waiting).await?.data[0];
//! db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await?;
//!
//! // Nobody continues the run; the worker does.
//! while agent.get_run(&run.run_id).await?.status != RunStatus::Completed {
//!     tokio::time::sleep(std::time::Duration::from_millis(20)).await;
//! }
//! worker.shutdown().await;
//! # drop((agent, db));
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```

mod look;
mod trouble;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::agent::Agent;
use crate::error::{Error, Result};
use crate::run::stop::{Phase, Stop};

pub(crate) use look::pass;
#[cfg(feature = "webhooks")]
pub(crate) use look::tidy;

const POLL_INTERVAL: Duration = Duration::from_secs(1);
const PASS_INTERVAL: Duration = Duration::from_secs(60);
const CONCURRENCY: usize = 8;
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);
/// How long runs that are not waited for any more may take to be recorded as what they are, before their tasks are dropped.
const GRACE: Duration = Duration::from_secs(10);

/// Resumes the paused runs of agents whose calls are all decided, until it is shut down. Await it to start it.
///
/// It looks at the store and trusts nothing else: a hint that something has changed makes it look soon, and without any
/// hint it looks every [`poll_interval`](Worker::poll_interval). It reads what has been added to the audit log since its
/// last look, and looks at the runs that this is about; at the start, and every
/// [`pass_interval`](Worker::pass_interval), it looks at all paused runs. It recovers runs whose process is gone.
///
/// Any number of workers, in any number of processes, may work on one store: the claim decides who goes on with a run, and
/// a call is started as often as its effect allows, however many try. A worker answers for nobody: where the requester's
/// own confirmation is needed, it has to be stored already.
///
/// A run that fails keeps no other from going on, and is tried again after a while that grows; a run that loses its
/// process again and again is given up by the store after three recoveries. It needs a tokio runtime.
#[derive(Debug)]
#[must_use = "a worker starts when it is awaited"]
pub struct Worker {
    agents: Vec<Agent>,
    poll_interval: Duration,
    pass_interval: Duration,
    concurrency: usize,
    shutdown_limit: Duration,
}

impl Worker {
    /// A worker for the runs of one agent.
    pub fn new(agent: Agent) -> Self {
        Self {
            agents: vec![agent],
            poll_interval: POLL_INTERVAL,
            pass_interval: PASS_INTERVAL,
            concurrency: CONCURRENCY,
            shutdown_limit: SHUTDOWN_LIMIT,
        }
    }

    /// Adds an agent. All agents of a worker share its [`concurrency`](Self::concurrency).
    pub fn agent(mut self, agent: Agent) -> Self {
        self.agents.push(agent);
        self
    }

    /// Sets how often it looks at what has changed, and at runs and calls whose time is over, where nothing tells it to look
    /// sooner. A second by default.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Sets how often it looks at all paused runs. A minute by default.
    pub fn pass_interval(mut self, interval: Duration) -> Self {
        self.pass_interval = interval;
        self
    }

    /// Sets how many runs it drives at the same time. Eight by default.
    pub fn concurrency(mut self, runs: usize) -> Self {
        self.concurrency = runs;
        self
    }

    /// Sets how long a [`shutdown`](WorkerHandle::shutdown) waits for bodies of tools and for the model. 30 seconds by
    /// default.
    pub fn shutdown_limit(mut self, limit: Duration) -> Self {
        self.shutdown_limit = limit;
        self
    }

    fn start(self) -> Result<WorkerHandle> {
        let refused = |what: &str| Err(Error::Setup(format!("{what}: the worker would never do anything")));
        if self.concurrency == 0 || self.concurrency > Semaphore::MAX_PERMITS {
            return refused(&format!("`.concurrency({})`", self.concurrency));
        }
        for (name, interval) in [("poll_interval", self.poll_interval), ("pass_interval", self.pass_interval)] {
            if interval < Duration::from_millis(1) {
                let what = "the worker would do nothing but look: leave it out, or give it a time";
                return Err(Error::Setup(format!("`.{name}({interval:?})`: {what}")));
            }
        }
        for (place, agent) in self.agents.iter().enumerate() {
            let same = |other: &&Agent| {
                let (one, other) = (&agent.0, &other.0);
                one.id == other.id && Arc::ptr_eq(&one.db, &other.db)
            };
            if self.agents[..place].iter().any(|other| same(&other)) {
                let what = "one would drive the other's runs: give one of them another `.id(…)`";
                return Err(Error::Setup(format!("the worker has two agents with the id `{}`: {what}", agent.id())));
            }
        }
        let phase = watch::Sender::new(Phase::Working);
        let places = Arc::new(Semaphore::new(self.concurrency));
        let mut loops = JoinSet::new();
        let mut stores: Vec<_> = self.agents.iter().map(|agent| &agent.0.db).collect();
        stores.sort_by_key(|db| db.handle());
        stores.dedup_by_key(|db| db.handle());
        for db in stores {
            loops.spawn(look::tidy(Arc::clone(db), Stop::by(phase.subscribe())));
        }
        for agent in self.agents {
            let (stop, hint) = (Stop::by(phase.subscribe()), Arc::new(Notify::new()));
            loops.spawn(look::watch(Arc::clone(&agent.0.db), stop.clone(), Arc::clone(&hint), self.poll_interval));
            loops.spawn(look::keep_up(agent.clone(), stop.clone(), self.poll_interval));
            loops.spawn(look::work(look::Work {
                agent,
                stop,
                places: Arc::clone(&places),
                hint,
                poll_interval: self.poll_interval,
                pass_interval: self.pass_interval,
            }));
        }
        let task = tokio::spawn(async move {
            while let Some(ended) = loops.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "a part of the worker ended early");
                }
            }
        });
        Ok(WorkerHandle { phase, task, shutdown_limit: self.shutdown_limit })
    }
}

impl IntoFuture for Worker {
    type Output = Result<WorkerHandle>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<WorkerHandle>> + Send>>;

    /// Starts the worker.
    ///
    /// It gives [`Error::Setup`] where the worker could do nothing: no concurrency, an interval of nothing, two agents of
    /// one id on one store.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.start() })
    }
}

/// A worker that has started.
///
/// Dropping it lets the worker end by itself: nothing new is started, and what runs is finished.
#[must_use = "a worker ends when its handle is dropped: keep it, and call `shutdown` at the end"]
pub struct WorkerHandle {
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
    shutdown_limit: Duration,
}

impl WorkerHandle {
    /// Ends the worker: it claims nothing more, and waits for the bodies of tools, and for the model, as long as its
    /// [`shutdown_limit`](Worker::shutdown_limit) says.
    ///
    /// Runs that it has not finished are paused, for anybody to go on with. A body that is not waited for any more is
    /// `unknown`, or to be started again, as its effect says; where even that cannot be recorded, its lease decides.
    pub async fn shutdown(mut self) {
        self.phase.send_replace(Phase::Closing);
        if tokio::time::timeout(self.shutdown_limit, &mut self.task).await.is_ok() {
            return;
        }
        self.phase.send_replace(Phase::Closed);
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            tracing::warn!("runs of a worker did not end when they were told to: they are left to their leases");
            self.task.abort();
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.phase.send_if_modified(|phase| {
            let working = *phase == Phase::Working;
            *phase = (*phase).max(Phase::Closing);
            working
        });
    }
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerHandle").field("phase", &*self.phase.borrow()).finish_non_exhaustive()
    }
}
