//! A store that several processes open by its address, and what a test of killed processes asks of it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kern::db::{ApprovalFilter, ApprovalStatus, Db, ExecutionFilter, IntoDb, RunFilter, SqliteDb};
use kern::prelude::{Resolution, RunStatus};
use kern_db::{Execution, ExecutionStatus, Run, RunId};

use crate::children::Worker;
use crate::folder::Folder;
use crate::{ledger, scale};

/// How long a process waits for a lock that a test kills: its leases, three times as long, are soon over.
pub const SHORT: Duration = Duration::from_millis(300);
/// The same for a process that is to live.
pub const PATIENT: Duration = Duration::from_secs(5);
/// The variable that names the place in kern's code where a process stops, and says so: `committed: claim a run`.
pub const STOP: &str = "KERN_TEST_STOP";
/// The variable that says what fails in a process: a place, `=`, and the actions of the crate `fail`; several with `;` between
/// them.
pub const FAIL: &str = "KERN_TEST_FAIL";
/// What a process says that stopped there.
pub const HERE: &str = "here";

/// Which store a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A SQLite file.
    Sqlite,
    /// A database on this program's PostgreSQL server.
    #[cfg(feature = "postgres")]
    Postgres,
}

impl On {
    /// Its name in figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            #[cfg(feature = "postgres")]
            Self::Postgres => "PostgreSQL",
        }
    }

    /// How often something is repeated whose full count on SQLite is `full`: on PostgreSQL, where a process needs longer to
    /// connect, three times out of ten.
    #[must_use]
    pub fn scaled(self, full: usize) -> usize {
        match self {
            Self::Sqlite => scale::of(full),
            #[cfg(feature = "postgres")]
            Self::Postgres => scale::of(full * 3 / 10),
        }
    }
}

/// Runs tests, each of them a function of [`On`], on a SQLite file and on a PostgreSQL database.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::place::On::Sqlite).await;
            })+
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::place::On::Postgres).await;
            })+
        }
    };
}

/// A store with its address, a ledger beside it, and a program whose processes use both.
#[derive(Debug)]
pub struct Place {
    /// The store, opened in this process.
    pub db: Arc<dyn Db>,
    address: String,
    program: &'static str,
    folder: Folder,
}

impl Place {
    /// A store of its own.
    pub async fn new(on: On, program: &'static str) -> Self {
        let folder = Folder::new();
        let address = match on {
            On::Sqlite => folder.file("app.db").display().to_string(),
            #[cfg(feature = "postgres")]
            On::Postgres => crate::postgres::server().database().await.address(),
        };
        Self { db: open(&address, PATIENT).await, address, program, folder }
    }

    /// Gives the files beside the ledger: those of a store that is one.
    ///
    /// # Panics
    ///
    /// When they cannot be listed.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.folder.path()).expect("the folder is there");
        all.map(|file| file.expect("it can be listed").path()).filter(|path| *path != self.ledger_file()).collect()
    }

    /// Gives what other processes open.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Gives the file that bodies write into, down to the disk.
    #[must_use]
    pub fn ledger_file(&self) -> PathBuf {
        self.folder.file("ledger")
    }

    /// The bodies entered so far, in any process.
    #[must_use]
    pub fn ledger(&self) -> Vec<String> {
        ledger::read(&self.ledger_file())
    }

    /// Starts a process that is to live.
    #[must_use]
    pub fn start(&self, words: &[&str]) -> Worker {
        self.start_with(PATIENT, None, words)
    }

    /// Starts a process that is to be killed: its leases are short.
    #[must_use]
    pub fn victim(&self, words: &[&str]) -> Worker {
        self.start_with(SHORT, None, words)
    }

    /// Kills a process where it has reached a place of kern's code.
    ///
    /// # Panics
    ///
    /// When it says anything before.
    pub fn kill_at(&self, stop: &str, words: &[&str]) {
        let mut victim = self.start_with(SHORT, Some(stop), words);
        assert_eq!(victim.line(), HERE, "{words:?} until `{stop}`");
        victim.kill();
    }

    /// Starts a process that is to live, until it has reached a place of kern's code, where it stands.
    ///
    /// # Panics
    ///
    /// When it says anything before.
    #[must_use]
    pub fn stopped_at(&self, stop: &str, words: &[&str]) -> Worker {
        let mut stopped = self.start_with(PATIENT, Some(stop), words);
        assert_eq!(stopped.line(), HERE, "{words:?} until `{stop}`");
        stopped
    }

    /// Runs a process in which calls of the store fail: `begin=2*off->1*return(busy)` fails the third one. What it said.
    ///
    /// # Panics
    ///
    /// When it ends badly.
    #[must_use]
    pub fn run_failing(&self, fails: &str, words: &[&str]) -> Vec<String> {
        self.start_as(SHORT, Some((FAIL, fails)), words).rest()
    }

    fn start_with(&self, busy: Duration, stop: Option<&str>, words: &[&str]) -> Worker {
        self.start_as(busy, stop.map(|stop| (STOP, stop)), words)
    }

    fn start_as(&self, busy: Duration, variable: Option<(&str, &str)>, words: &[&str]) -> Worker {
        let busy = busy.as_millis().to_string();
        let mut arguments: Vec<&dyn AsRef<OsStr>> = vec![&self.address, &busy];
        arguments.extend(words.iter().map(|word| word as &dyn AsRef<OsStr>));
        Worker::start_with(self.program, &self.ledger_file(), &arguments, variable)
    }

    /// Every run, with its calls.
    ///
    /// # Panics
    ///
    /// When the store fails.
    pub async fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        for run in self.db.list_runs(RunFilter::new().limit(1_000_000)).await.expect("runs are listed") {
            runs.push(self.run(&run.run_id).await);
        }
        runs
    }

    /// One run, with its calls.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub async fn run(&self, run_id: &RunId) -> Run {
        self.db.get_run(run_id).await.expect("the run is there")
    }

    /// Every execution, or those in one state.
    ///
    /// # Panics
    ///
    /// When the store fails.
    pub async fn executions(&self, status: Option<ExecutionStatus>) -> Vec<Execution> {
        let filter = ExecutionFilter::new().limit(1_000_000);
        let filter = match status {
            Some(status) => filter.status(status),
            None => filter,
        };
        self.db.list_executions(filter).await.expect("executions are listed")
    }

    /// Approves what waits of a run.
    ///
    /// # Panics
    ///
    /// When the store refuses.
    pub async fn approve(&self, run_id: &RunId) {
        let pending = ApprovalFilter::new().run_id(run_id.clone()).status(ApprovalStatus::Pending);
        for approval in self.db.list_approvals(pending).await.expect("approvals are listed").data {
            let yes = Resolution::approved().by("admin").digest(approval.digest);
            self.db.update_approval(&approval.id, ApprovalStatus::Pending, yes).await.expect("it is approved");
        }
    }

    /// Waits until nobody that is gone holds anything: no run and no call has a lease that is still to end. Nobody else
    /// may be at work here.
    ///
    /// # Panics
    ///
    /// When that does not come.
    pub async fn lapsed(&self) {
        for _ in 0..2_000 {
            let running = self.db.list_runs(RunFilter::new().status(RunStatus::Running).limit(1_000_000)).await;
            let lapsed = running.expect("runs are listed").iter().all(|run| run.lapsed);
            if lapsed {
                // A call is claimed a moment after its run, and its lease ends a moment after that of its run.
                tokio::time::sleep(SHORT * 3).await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the leases do not end");
    }
}

/// Connections of a process to a server at most: a test has many processes.
#[cfg(feature = "postgres")]
const CONNECTIONS: usize = 4;

/// Opens a store by its address, as every process of a test does.
///
/// # Panics
///
/// When it cannot be opened.
pub async fn open(address: &str, busy: Duration) -> Arc<dyn Db> {
    #[cfg(feature = "postgres")]
    if address.starts_with("postgres://") {
        let builder = kern::db::PostgresDb::builder(address).busy_timeout(busy).max_connections(CONNECTIONS);
        // The server may restart just now.
        for _ in 0..100 {
            match builder.clone().open().await {
                Err(error) if error.is_passing() => tokio::time::sleep(busy).await,
                opened => return opened.expect("the store opens").into_db(),
            }
        }
        panic!("the server does not come back");
    }
    SqliteDb::builder(address).busy_timeout(busy).open().await.expect("the store opens").into_db()
}
