//! A SQLite store in a folder of its own, and short words for what the tests ask of it.

use std::path::PathBuf;
use std::time::Duration;

use kern::agent::AgentBuilder;
use kern::db::{ApprovalFilter, ApprovalStatus, Execution, ExecutionFilter, RunFilter, SqliteDb};
use kern::models::{ScriptedModel, Turn, turn};
use kern::prelude::*;
use kern::run::{Role, RunId};
use kern::tools::ToolHandle;
use serde_json::Value;

use crate::folder::Folder;

/// How long a test's store waits for a lock. Leases are three times as long, so that tests wait for them.
pub const BUSY: Duration = Duration::from_millis(200);
/// How long a connection waits that is not to give up. A lease is at least three times as long.
pub const PATIENT: Duration = Duration::from_secs(20);
/// The lease of a test that waits until it is over.
pub const SHORT_LEASE: Duration = Duration::from_millis(600);

/// A store in a folder of its own.
#[derive(Debug)]
pub struct Store {
    /// The store.
    pub db: SqliteDb,
    /// Its folder. It is removed after the store has closed its files.
    pub folder: Folder,
}

impl Store {
    /// Makes one.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    pub async fn new() -> Self {
        let folder = Folder::new();
        let db = open(folder.file("app.db")).await;
        Self { db, folder }
    }

    /// Opens the same file once more, as another process would.
    pub async fn again(&self) -> SqliteDb {
        open(self.path()).await
    }

    /// Opens the same file once more, for tests in which several connections write at once and none may give up: on a loaded
    /// machine, another one holds the lock for longer than [`BUSY`].
    pub async fn patient(&self) -> SqliteDb {
        SqliteDb::builder(self.path()).busy_timeout(PATIENT).open().await.expect("a store in an own folder opens")
    }

    /// Gives the file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.file("app.db")
    }

    /// Opens the file past kern.
    ///
    /// # Panics
    ///
    /// When it cannot be opened.
    #[must_use]
    pub fn raw(&self) -> rusqlite::Connection {
        let raw = rusqlite::Connection::open(self.path()).expect("the store is a SQLite file");
        raw.busy_timeout(Duration::from_secs(5)).expect("a timeout can be set");
        raw
    }

    /// Starts an agent on this store.
    pub fn agent(&self, tools: Vec<ToolHandle>, turns: impl IntoIterator<Item = Turn>) -> AgentBuilder {
        Agent::builder().id("agent").model(ScriptedModel::new(turns)).tools(tools).db(self.db.clone())
    }

    /// Gives a run's approvals of one type, in the order of its calls.
    ///
    /// # Panics
    ///
    /// When the store fails.
    pub async fn approvals(&self, run_id: &RunId) -> Vec<kern::approval::Approval> {
        let filter = ApprovalFilter::new().run_id(run_id.clone());
        let mut found = self.db.list_approvals(filter).await.expect("approvals are listed").data;
        found.reverse();
        found
    }

    /// Counts the rows of a table.
    ///
    /// # Panics
    ///
    /// When there is no such table.
    #[must_use]
    pub fn count(&self, table: &str) -> i64 {
        self.raw()
            .query_row(&format!("SELECT count(*) FROM kern_{table}"), (), |row| row.get(0))
            .expect("the table can be counted")
    }

    /// Approves all that waits of a run, as `admin`.
    ///
    /// # Panics
    ///
    /// When the store refuses.
    pub async fn approve_all(&self, run_id: &RunId) {
        for approval in self.approvals(run_id).await {
            if approval.status == ApprovalStatus::Pending {
                let yes = Resolution::approved().by("admin").digest(approval.digest);
                self.db.update_approval(&approval.id, ApprovalStatus::Pending, yes).await.expect("it is approved");
            }
        }
    }

    /// Gives a run's executions, in the order they were made.
    ///
    /// # Panics
    ///
    /// When the store fails.
    pub async fn executions(&self, run_id: &RunId) -> Vec<Execution> {
        let filter = ExecutionFilter::new().run_id(run_id.clone());
        self.db.list_executions(filter).await.expect("executions are listed")
    }

    /// Gives the states of a run's executions.
    pub async fn states(&self, run_id: &RunId) -> Vec<&'static str> {
        self.executions(run_id).await.iter().map(|execution| execution.status.as_str()).collect()
    }

    /// Gives the actions of a run's entries in the audit log, and checks that the whole log is intact.
    ///
    /// # Panics
    ///
    /// When the log is broken.
    pub async fn actions(&self, run_id: &RunId) -> Vec<String> {
        let report = self.db.audit().verify().await.expect("the log is read");
        assert!(report.is_intact(), "{report:?}");
        self.actions_on_record(run_id).await
    }

    /// Gives the actions of a run's entries in the audit log, whatever the log and the tables are worth.
    ///
    /// # Panics
    ///
    /// When the log cannot be read.
    pub async fn actions_on_record(&self, run_id: &RunId) -> Vec<String> {
        let entries = self.db.audit().entries(0, 10_000).await.expect("the log is read");
        entries.into_iter().filter(|entry| entry.run_id.as_ref() == Some(run_id)).map(|entry| entry.action).collect()
    }

    /// Counts an action in a run's entries.
    pub async fn count_actions(&self, run_id: &RunId, action: &str) -> usize {
        self.actions(run_id).await.iter().filter(|found| *found == action).count()
    }

    /// Waits until the owner of a run has been silent for a lease, and the leases of its calls, which were made a moment
    /// later, are over too. Only the clock can end this, so the clock is asked.
    ///
    /// # Panics
    ///
    /// When that does not come.
    pub async fn lapsed(&self, run_id: &RunId) {
        for _ in 0..1000 {
            let run = self.db.get_run(run_id).await.expect("the run is there");
            if run.lapsed && !self.has_a_living_call(run_id) {
                return;
            }
            assert_eq!(run.status, RunStatus::Running, "it ended before its lease was over");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the lease of {run_id} does not end");
    }

    fn has_a_living_call(&self, run_id: &RunId) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
        let now = i64::try_from(now.as_millis()).expect("it is before the end of time");
        let living = "SELECT count(*) FROM kern_executions
                      WHERE run_id = ? AND status = 'executing' AND lease_until_ms > ?";
        let count = self.raw().query_row(living, (run_id.as_str(), now), |row| row.get::<_, i64>(0));
        count.expect("executions can be counted") > 0
    }

    /// Gives the only run of the store.
    ///
    /// # Panics
    ///
    /// When there is another number of them.
    pub async fn only_run(&self) -> RunId {
        let runs = self.db.list_runs(RunFilter::new()).await.expect("runs are listed");
        assert_eq!(runs.len(), 1, "one run");
        runs[0].run_id.clone()
    }
}

/// Opens a file as the tests do.
///
/// # Panics
///
/// When it cannot be opened.
pub async fn open(path: PathBuf) -> SqliteDb {
    SqliteDb::builder(path).busy_timeout(BUSY).open().await.expect("a store in an own folder opens")
}

/// A script of one call and a last word.
#[must_use]
pub fn one_call(name: &str, arguments: Value) -> Vec<Turn> {
    vec![turn().tool_call(name, arguments), turn().text("ok")]
}

/// What the model was told of its calls, in order.
#[must_use]
pub fn told(run: &RunOutput) -> Vec<String> {
    let tools = run.messages.iter().filter(|message| message.role == Role::Tool);
    tools.map(|message| message.content.clone().unwrap_or_default()).collect()
}

/// The code of the error that something has to end with.
///
/// # Panics
///
/// When it ends well.
pub fn code<T: std::fmt::Debug>(outcome: kern::Result<T>) -> &'static str {
    match outcome {
        Ok(value) => panic!("it was to be refused, and gave {value:?}"),
        Err(error) => error.code(),
    }
}

/// Waits for all who continued one run, and counts those who drove it to its end. Everybody else was told why not.
///
/// # Panics
///
/// When a run ended in another way, or somebody was told something else.
pub async fn winners(runners: Vec<tokio::task::JoinHandle<kern::Result<RunOutput>>>) -> usize {
    let mut won = 0;
    for runner in runners {
        match runner.await.expect("a runner does not panic") {
            Ok(run) => {
                assert_eq!(run.status, RunStatus::Completed);
                won += 1;
            }
            Err(error) => assert!(["already_running", "not_paused"].contains(&error.code()), "{error}"),
        }
    }
    won
}
