//! `SqliteDb`: one file, any number of processes.
//!
//! One writer connection on a thread of its own with a bounded queue, a few connections that can only read. What a
//! write returned is on the disk: WAL with `synchronous=FULL`.

mod counts;
mod guard;
mod mark;
mod migrate;
mod place;
mod readers;
mod tx;
mod watch;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::audit::Journal;
use crate::cell::Table;
use crate::clock::Floor;
use crate::mark::MarkPlace;
use crate::store::Lane;
use crate::store::prelude::*;
use crate::tx::{Job, Step, Tx, finish_now};
use crate::{Error, Result, clock};
use mark::Keeper;
use place::Place;
use readers::Readers;
use tx::SqliteTx;
use watch::Watch;
use writer::Writer;

/// How long a statement waits for another process's lock by default.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A store in a SQLite file. Cheap to clone; clones share their connections.
///
/// ```
/// # use kern_db::{ApprovalFilter, Db, SqliteDb};
/// # let folder = std::env::temp_dir().join(format!("kern-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let path = folder.join("app.db");
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let db = SqliteDb::builder(&path).approvals_table("approvals").open().await?;
/// assert_eq!(db.count_pending_approvals().await?, 0);
/// # drop(db);
/// # Ok::<(), kern_db::Error>(())
/// # }).unwrap();
/// # std::fs::remove_dir_all(&folder).ok();
/// ```
#[derive(Clone, Debug)]
pub struct SqliteDb {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    watch: Arc<Watch>,
    floor: Arc<Floor>,
    busy_timeout: Duration,
}

/// Settings of a [`SqliteDb`].
#[derive(Clone, Debug)]
#[must_use = "nothing is opened until `open` is awaited"]
pub struct SqliteDbBuilder {
    path: PathBuf,
    names: Vec<(Table, String)>,
    busy_timeout: Duration,
    existing: bool,
    mark: Option<MarkPlace>,
}

impl SqliteDb {
    fn shared_place(&self) -> usize {
        std::sync::Arc::as_ptr(&self.writer).addr()
    }

    const DURABLE: bool = true;
    const TAKES_WRITES: bool = true;

    /// Opens a file with the default settings, and makes it if there is none.
    ///
    /// # Errors
    ///
    /// As [`SqliteDbBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder(path).open().await
    }

    /// Starts from the default settings.
    pub fn builder(path: impl AsRef<Path>) -> SqliteDbBuilder {
        SqliteDbBuilder {
            path: path.as_ref().to_owned(),
            names: Vec::new(),
            busy_timeout: BUSY_TIMEOUT,
            existing: false,
            mark: None,
        }
    }

    fn write<'a, V, F>(&'a self, lane: Lane, action: &'static str, job: F) -> DbFuture<'a, V>
    where
        V: Send + 'static,
        F: for<'tx> FnOnce(&'tx mut SqliteTx<'_>) -> Job<'tx, Step<V>> + Send + 'static,
    {
        let (floor, ahead_ms) = (Arc::clone(&self.floor), clock::ahead_ms());
        Box::pin(self.writer.run(lane, action, move |tx: &mut SqliteTx<'_>| {
            *tx.journal() = Journal::new(&floor, ahead_ms);
            finish_now(job(tx))
        }))
    }

    fn read<'a, V, F>(&'a self, action: &'static str, job: F) -> DbFuture<'a, V>
    where
        V: Send + 'static,
        F: for<'tx> FnOnce(&'tx mut SqliteTx<'_>) -> Job<'tx, Result<V>> + Send + 'static,
    {
        let (floor, ahead_ms) = (Arc::clone(&self.floor), clock::ahead_ms());
        Box::pin(self.readers.run(action, move |tx: &mut SqliteTx<'_>| {
            *tx.journal() = Journal::new(&floor, ahead_ms);
            finish_now(job(tx))
        }))
    }

    /// The writer syncs the mark when its last handle is dropped.
    fn end_in_order(&self) -> DbFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn next_change(&self) -> DbFuture<'_, ()> {
        self.watch.next_change()
    }

    fn read_now<V, F>(&self, action: &'static str, job: F) -> Result<V>
    where
        F: for<'tx> FnOnce(&'tx mut SqliteTx<'_>) -> Job<'tx, Result<V>>,
    {
        let (floor, ahead_ms) = (Arc::clone(&self.floor), clock::ahead_ms());
        self.readers.run_now(action, |tx: &mut SqliteTx<'_>| {
            *tx.journal() = Journal::new(&floor, ahead_ms);
            finish_now(job(tx))
        })
    }
}

macro_rules! table_names {
    ($($method:ident: $Table:ident, $what:literal;)+) => {
        $(
            #[doc = concat!("Names the table of ", $what, ". The name is recorded in the database; a file that has one \
                             keeps it.")]
            pub fn $method(self, name: impl Into<String>) -> Self {
                self.name(Table::$Table, name.into())
            }
        )+
    };
}

impl SqliteDbBuilder {
    table_names! {
        runs_table: Runs, "runs";
        calls_table: Calls, "protected calls";
        approvals_table: Approvals, "approvals";
        votes_table: Votes, "votes";
        executions_table: Executions, "executions";
        audit_table: Audit, "the audit log";
        outbox_table: Outbox, "events to deliver";
        pools_table: Pools, "pools";
        checkpoints_table: Checkpoints, "checkpoints of the audit log";
        keys_table: Keys, "API keys";
        requests_table: Requests, "requests with an idempotency key";
        webhooks_table: Webhooks, "webhooks";
        sessions_table: Sessions, "sessions that somebody made or named";
        store_table: Store, "what a store says of itself";
        hosts_table: Hosts, "hosts that drive the store";
        deliveries_table: Deliveries, "events on their way to webhooks";
    }

    fn name(mut self, table: Table, name: String) -> Self {
        self.names.push((table, name));
        self
    }

    /// Sets how long a statement waits for another process's lock before it gives up with
    /// [`Error::Busy`]. 5 seconds by default.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        // SQLite counts milliseconds in 32 bits.
        self.busy_timeout = timeout.min(Duration::from_millis(i32::MAX.unsigned_abs().into()));
        self
    }

    /// Sets where the mark is kept: the audit log as a process last knew it, by which kern notices that the file was set back. By
    /// default it is a file beside the database, `app.db-mark` beside `app.db`, and moves with it.
    pub fn mark(mut self, place: impl Into<MarkPlace>) -> Self {
        self.mark = Some(place.into());
        self
    }

    /// Opens only what is there: no file is made, no table, and no schema is brought up to date. For programs that look
    /// into a store that is not theirs.
    pub fn existing(mut self) -> Self {
        self.existing = true;
        self
    }

    /// Opens the file, and makes it and kern's tables where there are none.
    ///
    /// # Errors
    ///
    /// - [`Error::NoStore`]: there is none, after [`existing`](Self::existing).
    /// - [`Error::TooOld`]: an older kern wrote the file.
    /// - [`Error::Invalid`]: the mark is of another store; a table name that is none or that something else has, another name than the file has, or no
    ///   file at all.
    /// - [`Error::Corrupt`]: the file is no SQLite database, a table of kern is missing, or its schema is not as this
    ///   build has it.
    /// - [`Error::Newer`]: a newer kern wrote the file.
    /// - [`Error::Busy`], [`Error::Full`], [`Error::Unavailable`]: it cannot be written.
    pub async fn open(self) -> Result<SqliteDb> {
        let Self { path, names, busy_timeout, existing, mark } = self;
        if !existing && (path.as_os_str() == ":memory:" || path.as_os_str().is_empty()) {
            let reason = "a SQLite store is a file that several connections share: use `InMemoryDb` for one in memory";
            return Err(Error::Invalid(reason.to_owned()));
        }
        let opened = tokio::task::spawn_blocking(move || {
            let (path, connection, names) = if existing {
                let path = existing_file(&path)?;
                let connection = connect(&path, OpenFlags::empty(), busy_timeout)?;
                let names = migrate::find(&connection, &path, &names)?;
                write_ahead(&connection)?;
                (path, connection, names)
            } else {
                let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_CREATE, busy_timeout)?;
                write_ahead(&connection)?;
                let names = migrate::migrate(&mut connection, &names)?;
                (path, connection, names)
            };
            let names = Arc::new(names);
            let watch = Arc::new(Watch::new(path.clone(), busy_timeout));
            let place = Arc::new(Place::of(&path)?);
            let mut keeper = Keeper::new(mark, &path);
            keeper.open(&connection, &names, !existing)?;
            let readers = Readers::new(path, Arc::clone(&place), Arc::clone(&names), busy_timeout);
            let changes = Arc::clone(watch.changes());
            Ok((Writer::start(connection, place, names, changes, keeper)?, readers, watch))
        })
        .await;
        let (writer, readers, watch) = opened.map_err(|error| unavailable("open the database", error))??;
        Ok(SqliteDb {
            writer: Arc::new(writer),
            readers: Arc::new(readers),
            watch,
            floor: Arc::default(),
            busy_timeout,
        })
    }
}

/// The file that is there, by a name that is nothing but a path: SQLite would read `file:…` as an address with options,
/// and could be told to make a file.
fn existing_file(path: &Path) -> Result<PathBuf> {
    let action = "look at the database's file";
    let place = || format!("`{}`", path.display());
    let none = |detail: &str| Error::NoStore { place: place(), detail: detail.to_owned() };
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => std::fs::canonicalize(path).map_err(|error| unavailable(action, error)),
        Ok(found) if found.is_dir() => Err(none("it is a folder")),
        Ok(_) => Err(none("it is not a file")),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(none("there is no such file"))
        }
        Err(error) => Err(unavailable(action, error)),
    }
}

/// A connection that can write, made as every connection of kern is. It changes nothing in the file.
fn connect(path: &Path, create: OpenFlags, busy_timeout: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let sql = |error| failed("open the database", error);
    let connection = Connection::open_with_flags(path, flags).map_err(sql)?;
    connection.busy_timeout(busy_timeout).map_err(sql)?;
    // SQLite opens a file that it may not write as one to read, and would say so only at the first write.
    if connection.is_readonly("main").map_err(sql)? {
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        return Err(unavailable("open the database for writing", source));
    }
    // recursive_triggers: without it, INSERT OR REPLACE on this connection would slip past the delete triggers. temp_store: each
    // job of a group has a savepoint, and what it changes is kept beside it, in a file if this was not said. cache_size: a
    // decision looks into a dozen tables and indexes, whose upper pages do not all stay in 2 MB. wal_autocheckpoint: what many
    // decisions change is written into the file once, and not each 4 MB of them; the log beside it grows to 16 MB.
    connection
        .execute_batch(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;
             PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;
             PRAGMA wal_autocheckpoint = 4000;",
        )
        .map_err(sql)?;
    keep_statements(&connection, 256).map_err(sql)?;
    Ok(connection)
}

/// Has the file keep a write-ahead log, which stays with it: asked only of a file that is kern's, or becomes it.
fn write_ahead(connection: &Connection) -> Result<()> {
    let sql = |error| failed("open the database", error);
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0)).map_err(sql)?;
    if !mode.eq_ignore_ascii_case("wal") {
        // A database in memory has no log, and each connection would have one of its own.
        let reason = format!("a SQLite store needs a file with a write-ahead log, and this one stays in mode `{mode}`");
        return Err(Error::Invalid(reason));
    }
    Ok(())
}

/// Has a connection keep its prepared statements as they are. Without the planner's stability guarantee SQLite plans by
/// what is bound to a statement, and prepares it anew for each value.
fn keep_statements(connection: &Connection, statements: usize) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(statements);
    Ok(())
}

/// Executes a statement that begins or ends something: prepared once, as every transaction says it again.
fn say(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(()).map(drop)
}

fn unavailable(action: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unavailable { action, source: Box::new(source) }
}

/// What SQLite's error means to a caller.
fn failed(action: &'static str, error: rusqlite::Error) -> Error {
    Failure::from(error).means(action)
}

/// SQLite's error in a form that every caller of a group can be told.
#[derive(Clone, Debug)]
struct Failure {
    code: Option<rusqlite::ErrorCode>,
    text: String,
    /// Whether it was the commit of somebody else's statements that failed.
    at_commit: bool,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self { code: error.sqlite_error_code(), text: error.to_string(), at_commit: false }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        use rusqlite::ErrorCode;
        let code = match error {
            Error::Busy { .. } => Some(ErrorCode::DatabaseBusy),
            Error::Full { .. } => Some(ErrorCode::DiskFull),
            _ => None,
        };
        let text = match error {
            Error::Full { detail } => detail.clone(),
            Error::Unavailable { source, .. } => source.to_string(),
            error => error.to_string(),
        };
        Self { code, text, at_commit: false }
    }
}

impl Failure {
    /// Whether it says something about a statement, and nothing about the store.
    fn is_the_statements(&self) -> bool {
        use rusqlite::ErrorCode;
        !matches!(
            self.code,
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::OutOfMemory
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::ReadOnly
                    | ErrorCode::CannotOpen
                    | ErrorCode::OperationInterrupted
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::NoLargeFileSupport
            )
        )
    }

    fn means(self, action: &'static str) -> Error {
        use rusqlite::ErrorCode;
        match self.code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy { action },
            Some(ErrorCode::DiskFull) => Error::Full { detail: self.text },
            Some(ErrorCode::NotADatabase) => Error::corrupt("the file", "it is not a SQLite database"),
            Some(ErrorCode::DatabaseCorrupt) => Error::corrupt("the file", self.text),
            Some(ErrorCode::ConstraintViolation) if self.at_commit => Error::RefusedAtCommit { detail: self.text },
            _ => Error::Unavailable { action, source: self.text.into() },
        }
    }
}

store!(SqliteDb);
