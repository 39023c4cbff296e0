//! What a store has to offer inside one transaction. The transitions are written once, over this.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::audit::{self, Draft, Journal};
use crate::cell::{Assign, Cell, Columns, Cond, Row, Table};
use crate::clock::Seen;
use crate::page::Page;
use crate::records::audit::AuditRow;
use crate::records::run::RunRow;
use crate::records::session::{SessionRow, SessionSum};
use crate::records::store::StoreRow;
use crate::requests::Write;
use crate::{Error, Result};

/// One transaction of a store.
///
/// Every change of a state goes through [`update`](Tx::update), whose conditions name the state it expects: the store
/// decides the race. There is no unconditional update.
pub(crate) trait Tx {
    /// Adds a row.
    async fn insert<R: Row>(&mut self, row: &R) -> Result<()>;

    /// Reads rows, and locks them until the transaction ends where the query asks for it.
    async fn select<R: Row>(&mut self, query: Query<R>) -> Result<Vec<R>>;

    /// Reads rows as they are stored, without decoding them. A store may give fewer than the query's limit, but not none
    /// where there are any, and where the query has no limit it gives all.
    async fn page<R: Row>(&mut self, query: Query<R>) -> Result<Page> {
        Ok(Page::of(&self.select(query).await?))
    }

    /// What of the tables, indexes and triggers is not as the schema made it: its name, and what is wrong.
    async fn schema_faults(&mut self) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    /// Reads some columns of the rows that a query finds, and locks nothing: for lists that must not bring whole rows along.
    async fn pluck<R: Row, C: Columns<R>>(&mut self, columns: C, query: Query<R>) -> Result<Vec<C::Values>>;

    /// Counts rows.
    async fn count<R: Row>(&mut self, filter: Vec<Cond<R>>) -> Result<u64>;

    /// Sums up the sessions of the runs that a query finds, and those that have a row of their own: the last changed first, then
    /// by their ids. The query's limit and offset count sessions, and it has no order of its own.
    async fn sessions(&mut self, runs: Query<RunRow>, rows: Vec<Cond<SessionRow>>) -> Result<Vec<SessionSum>>;

    /// Counts the sessions of the runs, and of the rows, that meet the conditions.
    async fn count_sessions(&mut self, runs: Vec<Cond<RunRow>>, rows: Vec<Cond<SessionRow>>) -> Result<u64>;

    /// Sets columns of the rows that meet every condition, and says how many there were.
    async fn update<R: Row>(&mut self, set: Vec<Assign<R>>, expect: Vec<Cond<R>>) -> Result<u64>;

    /// Removes the rows that a query finds, and says how many there were. Its order, limit and offset mean nothing. History is
    /// never removed: the schema's triggers see to that.
    async fn delete<R: Row>(&mut self, query: Query<R>) -> Result<u64>;

    /// Whether [`write`](Tx::write) is there.
    const TAKES_WRITES: bool = false;

    /// Executes statements of somebody else's: all of them, or none. The inner error says what is wrong with one of them, and
    /// then nothing of any stays; the outer one is the store's own.
    async fn write(&mut self, writes: Vec<Write>) -> Result<Result<(), String>> {
        drop(writes);
        Ok(Err("this store takes no statements".to_owned()))
    }

    /// The store's clock, epoch milliseconds. Read after the locks are held.
    async fn clock(&mut self) -> Result<i64>;

    /// Waits until this transaction is the only one that holds this name, until it ends. Nothing, where a transaction that writes is
    /// the only one that does. For what has no row that could be locked.
    async fn lock_name(&mut self, table: Table, name: &str) -> Result<()> {
        let _ = (table, name);
        Ok(())
    }

    /// Waits until no other transaction writes to these tables or has rows of them locked, and keeps them out until this one ends.
    /// Nothing, where a transaction that writes is the only one that does.
    async fn lock_tables(&mut self, tables: &[Table]) -> Result<()> {
        let _ = tables;
        Ok(())
    }

    /// Adds entries to the audit log: the last step of a transaction before its commit. Where several transactions write at a time,
    /// the lock of the chain is taken here and not before.
    async fn append(&mut self, drafts: Vec<Draft>) -> Result<()> {
        audit::append(self, drafts).await
    }

    /// What the transaction is going to add to the audit log and the outbox.
    fn journal(&mut self) -> &mut Journal;

    /// The only row that meets the conditions, locked.
    async fn one<R: Row>(&mut self, filter: Vec<Cond<R>>) -> Result<Option<R>> {
        let mut rows = self.select(Query::of(filter).limit(1).lock()).await?;
        Ok(rows.pop())
    }

    /// The time of this transaction (`clock.rs`). Asked for after the rows are locked, because waiting for them takes time.
    async fn now(&mut self) -> Result<i64> {
        // A transaction has one time, so that its rows and its entries carry the same.
        if let Some(time) = self.journal().time {
            return Ok(time.now_ms);
        }
        let clock_ms = self.clock().await?.saturating_add(self.journal().ahead_ms);
        let head_ms = self.head().await?.now_ms;
        let StoreRow { at_ms, wall_ms, resets, .. } = self.store().await?;
        let time = self.journal().floor.time(clock_ms, Seen { head_ms, at_ms, wall_ms, resets });
        self.journal().time = Some(time);
        Ok(time.now_ms)
    }

    /// The end of the audit log, as this transaction found it.
    async fn head(&mut self) -> Result<Head> {
        last_entry(self).await
    }

    /// Hears where the log ends now. Only for a store that can tell the next transaction: nobody else may write in between.
    fn appended(&mut self, head: Head) {
        drop(head);
    }

    /// The database behind this transaction: system identifier, oid and timeline. `None`: the store has no server.
    fn server(&self) -> Option<String> {
        None
    }

    /// What the store says of itself.
    async fn store(&mut self) -> Result<StoreRow> {
        store_row(self).await
    }
}

/// What the next entry of a chain goes on from: its last one.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) seq: i64,
    pub(crate) at_ms: i64,
    pub(crate) now_ms: i64,
    pub(crate) hash: String,
}

impl From<AuditRow> for Head {
    fn from(last: AuditRow) -> Self {
        Self { seq: last.seq, at_ms: last.at_ms, now_ms: last.now_ms, hash: last.hash }
    }
}

/// Reads the end of the audit log. The whole entry: a log that nobody can read is not written to.
pub(crate) async fn last_entry<T: Tx + ?Sized>(tx: &mut T) -> Result<Head> {
    let query = Query::of(vec![AuditRow::C.shard.is(0)]).newest(AuditRow::C.seq.order()).limit(1);
    let last = tx.select::<AuditRow>(query).await?.pop();
    // A chain has its first entry from the beginning: one without any was cut off as a whole.
    last.map(Head::from).ok_or_else(|| Error::corrupt("the audit log", "its first entry is missing"))
}

/// Reads what the store says of itself.
pub(crate) async fn store_row<T: Tx + ?Sized>(tx: &mut T) -> Result<StoreRow> {
    let mut rows = tx.select::<StoreRow>(Query::of(Vec::new()).limit(2)).await?;
    match (rows.pop(), rows.pop()) {
        (Some(row), None) => Ok(row),
        _ => Err(Error::corrupt("store", "it has one row, which says what the store is")),
    }
}

/// Whether the rows of a query are locked until the transaction ends. Means something where several transactions write
/// at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    No,
    /// Waits for whoever has them locked.
    Wait,
    /// Leaves out what somebody else has locked.
    Skip,
}

/// Which rows, in which order.
#[derive(Clone, Debug)]
pub(crate) struct Query<R> {
    pub(crate) filter: Vec<Cond<R>>,
    /// Only rows that are named here.
    pub(crate) among: Option<Among>,
    /// Only rows that come after one with these values of the columns that order them.
    pub(crate) after: Option<Vec<Cell>>,
    /// Name and place of a column, and whether the largest comes first.
    pub(crate) order: Vec<(&'static str, usize, bool)>,
    pub(crate) limit: Option<u64>,
    pub(crate) offset: u64,
    // Stores with one writer at a time have nothing to lock.
    #[allow(dead_code)]
    pub(crate) lock: Lock,
}

/// Columns that name rows, and their values for each of them. No row is named twice.
#[derive(Clone, Debug)]
pub(crate) struct Among {
    pub(crate) columns: Vec<(&'static str, usize)>,
    pub(crate) values: BTreeSet<Vec<Cell>>,
}

impl Among {
    /// The values one after another, and how many rows there is room for in a statement. The room grows in powers of two, so
    /// that few statements are prepared, and what is left of it names nothing: null equals nothing.
    #[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
    pub(crate) fn bound(self) -> (usize, Vec<Cell>) {
        let room = self.values.len().next_power_of_two();
        let mut values: Vec<Cell> = self.values.into_iter().flatten().collect();
        values.resize(room * self.columns.len(), Cell::Null);
        (room, values)
    }
}

impl<R> Query<R> {
    pub(crate) fn of(filter: Vec<Cond<R>>) -> Self {
        Self { filter, among: None, after: None, order: Vec::new(), limit: None, offset: 0, lock: Lock::No }
    }

    pub(crate) fn oldest(mut self, (name, place): (&'static str, usize)) -> Self {
        self.order.push((name, place, false));
        self
    }

    pub(crate) fn newest(mut self, (name, place): (&'static str, usize)) -> Self {
        self.order.push((name, place, true));
        self
    }

    /// Only the rows that these columns name.
    pub(crate) fn among<C: Columns<R>>(mut self, columns: C, values: impl IntoIterator<Item = C::Values>) -> Self {
        let values = values.into_iter().map(C::to_cells).collect();
        self.among = Some(Among { columns: columns.list(), values });
        self
    }

    /// Only what comes after a row with these values of the columns that order. All of them order the same way.
    pub(crate) fn after<C: Columns<R>>(mut self, columns: C, values: C::Values) -> Self {
        let order: Vec<_> = self.order.iter().map(|(name, place, _)| (*name, *place)).collect();
        debug_assert_eq!(columns.list(), order, "each column that orders has its value");
        debug_assert!(self.order.windows(2).all(|pair| pair[0].2 == pair[1].2), "all of them order the same way");
        self.after = Some(C::to_cells(values));
        self
    }

    pub(crate) fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    pub(crate) fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    pub(crate) fn lock(mut self) -> Self {
        self.lock = Lock::Wait;
        self
    }

    pub(crate) fn lock_or_skip(mut self) -> Self {
        self.lock = Lock::Skip;
        self
    }
}

/// The condition that a row comes after one in a query's order, as SQL.
#[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
pub(crate) fn after(order: &[(&'static str, usize, bool)], values: &[String]) -> String {
    let columns: Vec<&str> = order.iter().map(|(column, ..)| *column).collect();
    let op = if order.iter().any(|(.., newest)| *newest) { "<" } else { ">" };
    format!("({}) {op} ({})", columns.join(", "), values.join(", "))
}

/// ` WHERE …`, where there are conditions.
#[cfg_attr(not(feature = "postgres"), allow(dead_code))]
pub(crate) fn clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// Why a transition ends without its change.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nothing of the transaction stays.
    Undo(Error),
    /// The transition did not happen, but what was recorded on the way (evidence, an expiry that was met) stays.
    Keep(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Undo(error)
    }
}

/// What a transition gives.
pub(crate) type Step<T> = Result<T, Refused>;

/// What a store runs in a transaction: made by [`store!`](crate::store::store), awaited before the transaction ends.
pub(crate) type Job<'tx, T> = Pin<Box<dyn Future<Output = T> + 'tx>>;

/// Runs a future of a store that never waits: SQLite and memory do their work inside the call.
pub(crate) fn finish_now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("these stores work inside the call and never wait"),
    }
}
