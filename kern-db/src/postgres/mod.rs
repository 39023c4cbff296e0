//! `PostgresDb`: a database on a server, any number of processes on any number of machines.
//!
//! READ COMMITTED, and one order of locks everywhere: the run, its approvals, its executions, the outbox, and last of all
//! the audit log, which is taken in the message of the commit. Transactions of one run wait for each other at its row; those of
//! different runs only at the log, for as long as a commit takes.

mod address;
mod changes;
mod connection;
mod failure;
mod guest;
mod keeper;
mod migrate;
mod outcome;
mod text;
mod tls;
mod tx;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres_rustls::MakeRustlsConnect;

use crate::audit::{Journal, flush};
use crate::cell::Table;
use crate::clock::{Floor, Time};
use crate::mark::MarkPlace;
use crate::names::Names;
use crate::store::Lane;
use crate::store::prelude::*;
use crate::tx::{Refused, Step, Tx as _};
use crate::{Error, Result, clock, fault};
use address::Address;
use changes::Changes;
use connection::{Lender, Object, Opened, Said, connections};
use failure::{is_passing, no_connection, unavailable};
use keeper::{Claim, Keeper, Place, not_marked};
use outcome::Unresolved;
use tx::{CommitEnd, PostgresTx};

/// How long a statement waits for another transaction's lock by default.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at most, by default, beside the one for leases.
const CONNECTIONS: usize = 10;
/// Between two tries to reach a server that restarts.
const PAUSE: Duration = Duration::from_millis(50);
/// Connections that are found dead before one is taken as the server's word.
const TRIES: usize = 3;

const CONNECT: &str = "connect to the database";
const CLOSED: &str = "the server closes every connection";

/// What a job gives here: it may go on on another thread.
type SendJob<'tx, T> = Pin<Box<dyn Future<Output = T> + Send + 'tx>>;

/// A store in a PostgreSQL database. Cheap to clone; clones share their connections.
///
/// Needs PostgreSQL 13 or newer, and sessions of its own: a pooler that lends them by the transaction is refused.
///
/// ```no_run
/// # use kern_db::{Db, PostgresDb};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let db = PostgresDb::open("postgres://app:secret@localhost:5432/app?sslmode=require").await?;
/// assert_eq!(db.count_pending_approvals().await?, 0);
/// # Ok::<(), kern_db::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct PostgresDb {
    shared: Arc<Shared>,
    busy_timeout: Duration,
}

struct Shared {
    address: Address,
    tls: MakeRustlsConnect,
    names: Arc<Names>,
    busy_timeout: Duration,
    opened: Arc<Opened>,
    keeper: Keeper,
    pool: Lender,
    /// For renewals of leases only: a full pool must not make a living owner look dead.
    urgent: Lender,
    /// For asking what became of a commit that nobody acknowledged.
    aside: Lender,
    /// For confirming, however long that takes, that commits last again.
    later: Lender,
    unresolved: Unresolved,
    changes: Changes,
    floor: Arc<Floor>,
}

/// Settings of a [`PostgresDb`].
#[derive(Clone)]
#[must_use = "nothing is opened until `open` is awaited"]
pub struct PostgresDbBuilder {
    address: String,
    names: Vec<(Table, String)>,
    busy_timeout: Duration,
    connections: usize,
    existing: bool,
    mark: Option<MarkPlace>,
}

// Not derived: an address may hold a password.
impl fmt::Debug for PostgresDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDb").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

impl fmt::Debug for PostgresDbBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDbBuilder").field("names", &self.names).finish_non_exhaustive()
    }
}

impl PostgresDb {
    fn shared_place(&self) -> usize {
        std::sync::Arc::as_ptr(&self.shared).addr()
    }

    const DURABLE: bool = true;
    const TAKES_WRITES: bool = true;

    /// Opens a database with the default settings, and makes kern's tables where there are none.
    ///
    /// # Errors
    ///
    /// As [`PostgresDbBuilder::open`].
    pub async fn open(address: impl Into<String>) -> Result<Self> {
        Self::builder(address).open().await
    }

    /// Starts from the default settings. An address is `postgres://user:password@host:5432/database`; `postgresql://` and
    /// `postgresql+psycopg://` mean the same, and `?sslmode=require` asks for TLS with a certificate that is checked
    /// (`sslrootcert=FILE` names who vouches for it, else the machine's own authorities do).
    pub fn builder(address: impl Into<String>) -> PostgresDbBuilder {
        PostgresDbBuilder {
            address: address.into(),
            names: Vec::new(),
            busy_timeout: BUSY_TIMEOUT,
            connections: CONNECTIONS,
            existing: false,
            mark: None,
        }
    }

    fn write<'a, V, F>(&'a self, lane: Lane, action: &'static str, job: F) -> DbFuture<'a, V>
    where
        V: Send + 'static,
        F: for<'tx> FnOnce(&'tx mut PostgresTx) -> SendJob<'tx, Step<V>> + Send + 'static,
    {
        let ahead_ms = clock::ahead_ms();
        Box::pin(async move {
            // Whoever stops waiting here has begun nothing.
            let connection = self.shared.connection(self.shared.lane(lane), action).await?;
            // And from here on it is done to its end, whoever waits: half of it would be a commit that nobody knows of.
            let shared = Arc::clone(&self.shared);
            let done = tokio::spawn(async move { shared.transact(connection, lane, action, ahead_ms, job).await });
            done.await.map_err(|error| unavailable(action, error))?
        })
    }

    fn read<'a, V, F>(&'a self, action: &'static str, job: F) -> DbFuture<'a, V>
    where
        V: Send + 'static,
        F: for<'tx> FnOnce(&'tx mut PostgresTx) -> SendJob<'tx, Result<V>> + Send + 'static,
    {
        let ahead_ms = clock::ahead_ms();
        Box::pin(async move {
            let shared = &self.shared;
            fault::point(fault::READ, action)?;
            let connection = shared.connection(&shared.pool, action).await?;
            let mut tx = shared.begin(connection, Lane::Normal, action, true, &|_| None).await?;
            *tx.journal() = Journal::new(&self.shared.floor, ahead_ms);
            let found = job(&mut tx).await;
            tx.roll_back().await;
            found
        })
    }
}

impl PostgresDb {
    /// Reads without a runtime to wait on: on a thread that has one, over a connection of its own.
    fn read_now<V, F>(&self, action: &'static str, job: F) -> Result<V>
    where
        V: Send,
        F: for<'tx> FnOnce(&'tx mut PostgresTx) -> SendJob<'tx, Result<V>> + Send,
    {
        let ahead_ms = clock::ahead_ms();
        let Shared { address, tls, names, busy_timeout, opened, .. } = &*self.shared;
        let patience = self.shared.patience();
        let read = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| unavailable(action, error))?.block_on(async {
                let pool = connections(address, tls, *busy_timeout, 1, opened)?;
                let connection = pool.get().await.map_err(|error| no_connection(action, error))?;
                let begun = PostgresTx::begin(connection, Arc::clone(names), action, patience, true, None).await;
                let mut tx = begun.map_err(|error| error.unwrap_or_else(|| unavailable(action, CLOSED)))?;
                *tx.journal() = Journal::new(&self.shared.floor, ahead_ms);
                let found = job(&mut tx).await;
                tx.roll_back().await;
                found
            })
        };
        std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, read) {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(unavailable(action, "reading panicked"))),
            Err(error) => Err(unavailable(action, error)),
        })
    }

    fn end_in_order(&self) -> DbFuture<'_, ()> {
        Box::pin(self.shared.end_in_order())
    }

    fn next_change(&self) -> DbFuture<'_, ()> {
        let change = self.shared.changes.next();
        Box::pin(async move {
            change.await;
            Ok(())
        })
    }
}

impl Shared {
    fn lane(&self, lane: Lane) -> &Lender {
        match lane {
            Lane::Urgent => &self.urgent,
            Lane::Normal | Lane::Alone => &self.pool,
        }
    }

    /// A connection, waited for as long as a lock is. A server that restarts is waited for, too.
    async fn connection(&self, lender: &Lender, action: &'static str) -> Result<Object, Error> {
        let until = Instant::now() + self.busy_timeout;
        loop {
            match lender.pool.get().await {
                Ok(connection) => return Ok(connection),
                Err(error) if is_passing(&error) && Instant::now() < until => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(no_connection(action, error)),
            }
        }
    }

    /// Remembers what came of a commit that was not acknowledged.
    fn resolved(
        self: &Arc<Self>,
        found: Result<Option<Place>>,
        has_entries: bool,
        action: &'static str,
    ) -> Result<Option<Place>> {
        if let Err(Error::CommitUnknown { .. }) = &found
            // Nothing hangs on one without an entry: a lease is renewed again.
            && has_entries
        {
            outcome::resolve_later(self, action);
        }
        found
    }

    /// How long an answer is waited for: longer than the server itself lets a statement take.
    fn patience(&self) -> Duration {
        self.busy_timeout.saturating_mul(3).saturating_add(Duration::from_secs(1))
    }

    /// Begins a transaction, on another connection where this one died while nobody used it.
    ///
    /// `question` gives the SQL condition that is checked together with the BEGIN, from the database behind the connection.
    async fn begin(
        &self,
        connection: Object,
        lane: Lane,
        action: &'static str,
        looks: bool,
        question: &(dyn Fn(Option<&str>) -> Option<String> + Send + Sync),
    ) -> Result<PostgresTx> {
        let mut connection = connection;
        for tried in 1.. {
            let asked = question(connection.behind.server().as_deref());
            let (names, patience) = (Arc::clone(&self.names), self.patience());
            match PostgresTx::begin(connection, names, action, patience, looks, asked.as_deref()).await {
                Ok(tx) => return Ok(tx),
                Err(Some(error)) => return Err(error),
                Err(None) if tried == TRIES => break,
                Err(None) => connection = self.connection(self.lane(lane), action).await?,
            }
        }
        Err(unavailable(action, CLOSED))
    }

    /// Stores the store's time where it is ahead of its clock, so that it passes for processes that live for a moment, too. Not in
    /// every transaction: they would all wait for the one row. The transaction itself is committed, whatever comes of this.
    async fn keep_time(&self, time: Time) {
        let Time { now_ms, clock_ms, resets, .. } = time;
        let sql = format!(
            "UPDATE {} SET at_ms = {now_ms}, wall_ms = {clock_ms}
             WHERE resets = {resets} AND at_ms + greatest({clock_ms} - wall_ms, 0) < {now_ms}",
            self.names.of(Table::Store)
        );
        // No caller waits for a standby here: the session does, and a time that is not stored now is stored with the next one.
        let kept = match self.connection(&self.aside, "keep the store's time").await {
            Ok(connection) => self.aside.commit(connection, sql, self.busy_timeout).await.1,
            Err(error) => {
                let cause: &(dyn std::error::Error + 'static) = &error;
                return tracing::warn!(
                    error = cause,
                    "the store's time is ahead of its clock, and could not be stored"
                );
            }
        };
        if let Said::Refused(error) = kept {
            let cause: &(dyn std::error::Error + 'static) = &error;
            tracing::warn!(error = cause, "the store's time is ahead of its clock, and could not be stored");
        }
    }

    async fn transact<V, F>(
        self: &Arc<Self>,
        connection: Object,
        lane: Lane,
        action: &'static str,
        ahead_ms: i64,
        job: F,
    ) -> Result<V>
    where
        F: for<'tx> FnOnce(&'tx mut PostgresTx) -> SendJob<'tx, Step<V>>,
    {
        let (mut tx, before) = match lane {
            // A renewal decides nothing.
            Lane::Urgent => {
                let mut tx = self.begin(connection, lane, action, false, &|_| None).await?;
                *tx.journal() = Journal::new(&self.floor, ahead_ms);
                (tx, None)
            }
            Lane::Normal | Lane::Alone => self.begin_compared(connection, lane, action, ahead_ms).await?,
        };
        let server = tx.server();
        if let Err(error) = self.beat(server.as_deref(), ahead_ms).await {
            tx.roll_back().await;
            return Err(error);
        }
        let done = match fault::point(fault::BEGIN, action) {
            Ok(()) => job(&mut tx).await,
            Err(error) => Err(Refused::Undo(error)),
        };
        let outcome = match done {
            Ok(value) => Ok(value),
            Err(Refused::Keep(error)) => Err(error),
            Err(Refused::Undo(error)) => {
                tx.roll_back().await;
                return Err(outcome::refusal(self, action, error));
            }
        };
        let journal = tx.journal();
        let (has_entries, is_marked, closes) = (journal.has_entries(), journal.needs_mark(), journal.closes_epoch());
        let flushed = match fault::point(fault::WRITTEN, action) {
            Ok(()) => flush(&mut tx).await,
            Err(error) => Err(error),
        };
        let flushed = match flushed {
            Ok(()) if closes => self.keeper.close_epoch(&mut tx).await,
            flushed => flushed,
        };
        if let Err(error) = flushed.and_then(|()| fault::point(fault::COMMIT, action)) {
            tx.roll_back().await;
            return Err(error);
        }
        let time = tx.journal().time;
        let place = match tx.commit(self.lane(lane)).await {
            CommitEnd::Committed(place) => {
                if let Some(time) = time.filter(|time| time.lags()) {
                    self.keep_time(time).await;
                }
                place
            }
            CommitEnd::Refused(error) => return Err(error),
            CommitEnd::Unheard(trace) => {
                let found = outcome::find(self, action, trace.as_ref()).await;
                self.resolved(found, has_entries, action)?
            }
            CommitEnd::Waits(trace) => {
                let found = outcome::find_late(self, action, trace.as_ref()).await;
                self.resolved(found, has_entries, action)?
            }
        };
        let Some(place) = place else { return outcome };
        self.keeper.committed(&place);
        if is_marked {
            // The mark holds a start before its body is entered, and a no before it is answered.
            let claim = before.map(|before| Claim { mark: before.mark, place, server });
            self.sync(claim).await.map_err(not_marked)?;
        }
        outcome
    }
}

macro_rules! table_names {
    ($($method:ident: $Table:ident, $what:literal;)+) => {
        $(
            #[doc = concat!("Names the table of ", $what, ". The name is recorded in the database; one that has it \
                             keeps it.")]
            pub fn $method(self, name: impl Into<String>) -> Self {
                self.name(Table::$Table, name.into())
            }
        )+
    };
}

impl PostgresDbBuilder {
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

    /// Sets how long a statement waits for another transaction's lock, and a caller for a connection, before it gives up
    /// with [`Error::Busy`]. 5 seconds by default, at least 10 milliseconds.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout =
            timeout.clamp(Duration::from_millis(10), Duration::from_millis(i32::MAX.unsigned_abs().into()) / 4);
        self
    }

    /// Sets how many connections there are at most, beside one for leases. 10 by default.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Sets where the mark is kept: the audit log as a process last knew it, by which kern notices that the database was set back.
    /// Every process of a host uses one mark. By default it is a file in `$KERN_STATE_DIR`, otherwise in
    /// `$XDG_STATE_HOME/kern`, otherwise in `/var/lib/kern`, which outlives the process and is no part of the database's backup.
    pub fn mark(mut self, place: impl Into<MarkPlace>) -> Self {
        self.mark = Some(place.into());
        self
    }

    /// Opens only what is there: no table is made, and no schema is brought up to date. For programs that look into a
    /// store that is not theirs.
    pub fn existing(mut self) -> Self {
        self.existing = true;
        self
    }

    /// Connects, and makes kern's tables where there are none.
    ///
    /// # Errors
    ///
    /// - [`Error::NoStore`]: there is no such database, or none of kern's tables in it, after
    ///   [`existing`](Self::existing).
    /// - [`Error::TooOld`]: an older kern wrote it.
    /// - [`Error::Invalid`]: an address that cannot be read, a table name that is none or that something else has, or
    ///   another name than the database has.
    /// - [`Error::Corrupt`]: a table of kern is missing, or its schema is not as this build has it.
    /// - [`Error::Newer`]: a newer kern wrote it.
    /// - [`Error::Invalid`], too, for a mark that cannot be written, a pooler that lends sessions by the transaction, and a search path without a schema.
    /// - [`Error::Refused`]: the server does not let kern in, or does not let it do this.
    /// - [`Error::Busy`], [`Error::Full`], [`Error::Unavailable`]: the server cannot be reached, or takes no writes.
    pub async fn open(self) -> Result<PostgresDb> {
        let Self { address, names, busy_timeout, connections: size, existing, mark } = self;
        let mut address = Address::parse(&address)?;
        address.patience(busy_timeout);
        let tls = address.trust.connector()?;
        let opened = Arc::<Opened>::default();
        let lender =
            |size| connections(&address, &tls, busy_timeout, size, &opened).map(|pool| Lender::new(pool, size));
        let (pool, urgent, aside, later) = (lender(size)?, lender(1)?, lender(1)?, lender(1)?);
        let connection = pool.pool.get().await.map_err(|error| migrate::not_opened(&address, error))?;
        let second = aside.pool.get().await.map_err(|error| migrate::not_opened(&address, error))?;
        connection::refuse_pooler(&connection, &second, busy_timeout.saturating_mul(3)).await?;
        drop(Object::take(second));
        let names = match existing {
            true => migrate::find(&connection, &address, &names).await?,
            false => migrate::migrate(connection, &names, busy_timeout).await?,
        };
        let names = Arc::new(names);
        let keeper = Keeper::open(
            mark,
            migrate::store_id(&*pool.pool.get().await.map_err(|error| no_connection(CONNECT, error))?, &names).await?,
        )
        .await?;
        let wake = keeper.waker();
        opened.tell(Arc::clone(&wake));
        let settings = connection::looked_after(busy_timeout);
        let changes = Changes::new(address.config.clone(), tls.clone(), tx::channel(&names), settings);
        let (unresolved, floor) = (Unresolved::default(), Arc::default());
        let shared = Arc::new(Shared {
            address,
            tls,
            names,
            busy_timeout,
            opened,
            keeper,
            pool,
            urgent,
            aside,
            later,
            unresolved,
            changes,
            floor,
        });
        shared.open_mark().await?;
        tokio::spawn(keeper::tend(Arc::downgrade(&shared), wake));
        Ok(PostgresDb { shared, busy_timeout })
    }
}

store!(PostgresDb);
