//! A session: one connection with kern's settings, the server behind it, and the warnings that it was given.

use std::future::poll_fn;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio::sync::Notify;
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Config, Error as Failed, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Address;
use super::failure::{ONLY_READS, failed, unavailable, within};
use super::migrate;
use crate::{Error, Result, fault};

/// Sessions that are kept for the next caller.
pub(super) type Connections = managed::Pool<Sessions>;
/// A session in the hands of one caller.
pub(super) type Object = managed::Object<Sessions>;
/// Why there is none to be had.
pub(super) type PoolError = managed::PoolError<NoSession>;

const ACTION: &str = "connect to the database";
/// Sessions that may wait for a standby at most, beside those of a pool.
const PARKED: usize = 10;

/// Why a session was not made.
#[derive(Debug)]
pub(super) enum NoSession {
    Driver(Failed),
    /// It was made, and kern does not use it.
    Refused(Error),
}

impl From<Failed> for NoSession {
    fn from(error: Failed) -> Self {
        Self::Driver(error)
    }
}

/// The server process behind a session, and the history that it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    /// The process. It is another one in a later statement where a pooler lends sessions by the transaction.
    pub(super) pid: i64,
    /// The number that the cluster was made with, which its copies share.
    pub(super) system: String,
    /// The oid of the database, which a copy that was dumped and read in does not share.
    pub(super) database: String,
    /// The timeline, which a promoted copy changes. Empty on a server that only reads.
    pub(super) timeline: String,
}

impl Behind {
    /// Whether a commit on the one is a commit on the other: the same cluster on the same timeline.
    pub(super) fn shares_history(&self, other: &Self) -> bool {
        !self.timeline.is_empty() && self.system == other.system && self.timeline == other.timeline
    }

    /// The database: the cluster, the oid and the timeline. `None`: it only reads.
    pub(super) fn server(&self) -> Option<String> {
        (!self.timeline.is_empty()).then(|| format!("{}/{}/{}", self.system, self.database, self.timeline))
    }
}

/// Whether the store is open, and who is told of each new session from then on: the server may be another one.
#[derive(Debug, Default)]
pub(super) struct Opened(OnceLock<Arc<Notify>>);

impl Opened {
    pub(super) fn tell(&self, wake: Arc<Notify>) {
        // A store is opened once.
        let _ = self.0.set(wake);
    }
}

/// A connection with kern's settings.
pub(super) struct Session {
    client: ClientWrapper,
    pub(super) behind: Behind,
    warnings: Arc<AtomicU64>,
}

impl Session {
    /// How many warnings the server has given it. One that comes with an answer is counted before the answer is read.
    fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::SeqCst)
    }
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

/// Makes sessions.
pub(super) struct Sessions {
    config: Config,
    tls: MakeRustlsConnect,
    settings: String,
    opened: Arc<Opened>,
}

impl managed::Manager for Sessions {
    type Type = Session;
    type Error = NoSession;

    async fn create(&self) -> Result<Session, NoSession> {
        let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
        let warnings = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&warnings);
        let driver = tokio::spawn(async move {
            // The driver hands a notice over before the answer that it came with.
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message
                    && !matches!(
                        notice.parsed_severity(),
                        Some(Severity::Notice | Severity::Info | Severity::Log | Severity::Debug)
                    )
                {
                    told.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let client = ClientWrapper::new(client, driver);
        let said = client.simple_query(&self.settings).await?;
        let behind =
            behind(&said).ok_or_else(|| NoSession::Refused(unavailable(ACTION, "the server says too little")))?;
        let session = Session { client, behind, warnings };
        self.check_schema(&session).await?;
        Ok(session)
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<NoSession> {
        match session.is_closed() {
            true => Err(RecycleError::message("the connection is closed")),
            false => Ok(()),
        }
    }
}

impl Sessions {
    /// Looks whether the schema behind a session is still the one of this build.
    async fn check_schema(&self, session: &Session) -> Result<(), NoSession> {
        let Some(wake) = self.opened.0.get() else { return Ok(()) };
        let said = session.simple_query("SELECT max(version) FROM kern_migrations").await?;
        let found = last_row(&said).and_then(|row| row.get(0)?.parse().ok());
        migrate::not_newer(found).map_err(NoSession::Refused)?;
        wake.notify_one();
        Ok(())
    }
}

fn last_row(said: &[SimpleQueryMessage]) -> Option<&tokio_postgres::SimpleQueryRow> {
    said.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

fn behind(said: &[SimpleQueryMessage]) -> Option<Behind> {
    let row = last_row(said)?;
    Some(Behind {
        pid: row.get(0)?.parse().ok()?,
        timeline: row.get(1)?.to_owned(),
        system: row.get(2)?.to_owned(),
        database: row.get(3)?.to_owned(),
    })
}

/// Begins a transaction, in one message with the questions that every one begins with.
///
/// # Errors
///
/// The driver's, or `None` where the server did not answer in time. The inner one says what is wrong with the session or the store.
///
/// `question`: one more, as SQL, that is answered with whether it holds. Only of a transaction that writes.
pub(super) async fn begin(
    session: &Session,
    how: &str,
    writes: bool,
    question: Option<&str>,
    action: &'static str,
    patience: Duration,
) -> Result<Result<bool>, Option<Failed>> {
    // It may have been asked for, to look.
    if writes && session.behind.timeline.is_empty() {
        return Ok(Err(unavailable(action, ONLY_READS)));
    }
    let asked = match writes {
        true => format!(", (SELECT max(version) FROM kern_migrations), {}", question.unwrap_or("false")),
        false => String::new(),
    };
    let sql = format!("{how}; SELECT pg_backend_pid(){asked}");
    let said = within(patience, session.simple_query(&sql)).await?;
    let row = last_row(&said);
    let pid: Option<i64> = row.and_then(|row| row.get(0)?.parse().ok());
    // Settings, locks and prepared statements are the session's: on another one, nothing of them holds.
    if pid != Some(session.behind.pid) {
        return Ok(Err(unavailable(action, POOLED)));
    }
    if writes {
        let known = migrate::not_newer(row.and_then(|row| row.get(1)?.parse().ok()));
        return Ok(known.map(|()| row.and_then(|row| row.get(2)) == Some("t")));
    }
    Ok(Ok(false))
}

const POOLED: &str = "the address leads to a pooler that lends the server's sessions by the transaction: let it lend them \
                      by the session (PgBouncer: `pool_mode = session`), or give kern the server's own address";

/// Finds a pooler in transaction mode: two connections that are open side by side have a server process each, and keep it.
///
/// # Errors
///
/// [`Error::Invalid`]: there is such a pooler. Others are the driver's.
pub(super) async fn refuse_pooler(first: &Session, second: &Session, patience: Duration) -> Result<()> {
    let pooled = || Error::Invalid(POOLED.to_owned());
    if first.behind.system == second.behind.system && first.behind.pid == second.behind.pid {
        return Err(pooled());
    }
    // In both orders: the pooler lends the session that was given back last, or first.
    for (one, other) in [(first, second), (second, first)] {
        for session in [one, other] {
            let begun = begin(session, "BEGIN READ ONLY", false, None, ACTION, patience).await;
            match begun {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err(pooled()),
                Err(Some(error)) => return Err(failed(ACTION, &error)),
                Err(None) => return Err(unavailable(ACTION, "the server did not answer in time")),
            }
        }
        for session in [one, other] {
            let ended = within(patience, session.batch_execute("ROLLBACK")).await;
            ended.map_err(|error| match error {
                Some(error) => failed(ACTION, &error),
                None => unavailable(ACTION, "the server did not answer in time"),
            })?;
        }
    }
    Ok(())
}

/// The settings by which the server looks after its end of a connection: a session whose process is gone without a word,
/// with its machine or its network, ends, and so do its locks.
pub(super) fn looked_after(busy_timeout: Duration) -> String {
    let seconds = busy_timeout.as_secs().max(1);
    let (idle, gone_ms) = (seconds.saturating_mul(2), seconds.saturating_mul(5_000));
    format!(
        "SET tcp_keepalives_idle = {idle}; SET tcp_keepalives_interval = {seconds}; SET tcp_keepalives_count = 3;
         SET tcp_user_timeout = {gone_ms}"
    )
}

/// Connections with kern's settings, made when they are needed.
pub(super) fn connections(
    address: &Address,
    tls: &MakeRustlsConnect,
    busy_timeout: Duration,
    size: usize,
    opened: &Arc<Opened>,
) -> Result<Connections> {
    let lock = busy_timeout.as_millis();
    // A commit that the server only promises to write, or that waits for no standby, is none; and the warning that no
    // standby has it must be heard. A transaction whose process is silent gives up its locks. No timeout ends a wait for a
    // standby: that of statements is off by then, and that of transactions (from PostgreSQL 17 on) is set to none.
    let settings = format!(
        "SET lock_timeout = {lock}; SET statement_timeout = {};
         SET idle_in_transaction_session_timeout = {}; SET jit = off; SET client_min_messages = 'warning';
         {};
         SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');
         SELECT set_config('transaction_timeout', '0', false) WHERE current_setting('transaction_timeout', true) IS NOT NULL;
         SELECT pg_backend_pid(),
                CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
                (SELECT system_identifier FROM pg_control_system()),
                (SELECT oid FROM pg_database WHERE datname = current_database())",
        lock * 2,
        lock * 3,
        looked_after(busy_timeout),
    );
    let sessions = Sessions { config: address.config.clone(), tls: tls.clone(), settings, opened: Arc::clone(opened) };
    managed::Pool::builder(sessions)
        .max_size(size)
        .wait_timeout(Some(busy_timeout))
        .create_timeout(Some(busy_timeout.max(Duration::from_secs(1)).saturating_mul(2)))
        .runtime(deadpool::Runtime::Tokio1)
        .build()
        .map_err(|error| unavailable("prepare connections", error.to_string()))
}

/// The answer to a commit.
#[derive(Debug)]
pub(super) enum Said {
    /// It is committed, and every standby that counts has it. With the text that was answered last, where one was.
    Committed(Option<String>),
    /// It is committed here, and the server warns that a standby may not have it.
    Warned,
    /// The server did not commit it.
    Refused(Failed),
    /// The connection is gone.
    Lost,
    /// There is no answer yet. The session goes on waiting by itself.
    Waits,
}

/// Lends sessions, and makes room for those that wait for a standby.
#[derive(Clone)]
pub(super) struct Lender {
    pub(super) pool: Connections,
    size: usize,
    parked: Arc<Mutex<usize>>,
}

impl Lender {
    pub(super) fn new(pool: Connections, size: usize) -> Self {
        Self { pool, size, parked: Arc::default() }
    }

    /// Commits, and gives the session back, unless it is gone or has no answer yet.
    ///
    /// A session that waits is never ended, cancelled or dropped: PostgreSQL would commit on this server alone. The caller
    /// stops waiting, and the session stays until the server answers.
    pub(super) async fn commit(&self, session: Object, sql: String, patience: Duration) -> (Option<Object>, Said) {
        let mut work = Box::pin(async move {
            let before = session.warnings();
            let said = session.simple_query(&sql).await;
            let warned = session.warnings() != before && !fault::without(fault::REPLICATED);
            (session, said, warned)
        });
        match tokio::time::timeout(patience, &mut work).await {
            Ok((session, Ok(said), false)) => {
                let answer = last_row(&said).and_then(|row| row.get(0)).map(str::to_owned);
                (Some(session), Said::Committed(answer))
            }
            Ok((session, Ok(_), true)) => (Some(session), Said::Warned),
            Ok((session, Err(error), _)) if !super::failure::is_lost(&error) => (Some(session), Said::Refused(error)),
            Ok((session, Err(_), _)) => {
                drop(Object::take(session));
                (None, Said::Lost)
            }
            Err(_) => {
                let room = self.room(true);
                let lender = self.clone();
                tokio::spawn(async move {
                    let (session, ..) = work.await;
                    // The next caller must not be in the middle of something.
                    drop(Object::take(session));
                    if room {
                        lender.room(false);
                    }
                });
                (None, Said::Waits)
            }
        }
    }

    /// Makes room for one more session while one waits, or takes it back. Whether there is.
    fn room(&self, more: bool) -> bool {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        match more {
            true if *parked == PARKED => return false,
            true => *parked += 1,
            false => *parked = parked.saturating_sub(1),
        }
        self.pool.resize(self.size + *parked);
        true
    }
}
