//! `InMemoryDb`: the whole contract inside one process, and nothing beyond it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use crate::audit::{Journal, flush};
use crate::cell::{Assign, Cell, Cond, Op, Row, Table};
use crate::db::Lane;
use crate::db::prelude::*;
use crate::tx::{Job, Query, Refused, Step, Tx, finish_now};
use crate::{Error, Result, clock};

/// A store that lives and dies with the process. Made for tests, examples and agents without protected tools.
///
/// Cheap to clone; clones share their rows.
///
/// ```
/// # use kern_db::{ApprovalFilter, Db, InMemoryDb};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let db = InMemoryDb::new();
/// assert_eq!(db.list_approvals(ApprovalFilter::new()).await?.meta.total_count, 0);
/// # Ok::<(), kern_db::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct InMemoryDb {
    tables: Arc<Mutex<Tables>>,
    changes: Arc<Notify>,
    busy_timeout: Duration,
}

#[derive(Debug, Default)]
struct Tables {
    tables: [Rows; Table::ALL.len()],
}

/// The rows of one table in the order they came, and where each value of a lookup column is.
#[derive(Debug, Default)]
struct Rows {
    rows: Vec<Vec<Cell>>,
    lookups: HashMap<(usize, Cell), Vec<usize>>,
}

/// How to take one change back.
#[derive(Debug)]
enum Undo {
    Inserted(Table),
    Updated(Table, usize, Vec<Cell>),
}

pub(crate) struct MemoryTx<'a> {
    tables: &'a mut Tables,
    undo: Vec<Undo>,
    journal: Journal,
}

impl InMemoryDb {
    fn shared_place(&self) -> usize {
        std::sync::Arc::as_ptr(&self.tables).addr()
    }

    const DURABLE: bool = false;
    const TAKES_WRITES: bool = false;

    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn write<'a, V, F>(&'a self, _: Lane, _: &'static str, job: F) -> DbFuture<'a, V>
    where
        V: Send + 'static,
        F: for<'tx> FnOnce(&'tx mut MemoryTx<'_>) -> Job<'tx, Step<V>> + Send + 'static,
    {
        let ahead_ms = clock::ahead_ms();
        Box::pin(async move {
            // A panic inside a job leaves its changes half done; they are taken back before the lock is given up only
            // when the job returns, so a poisoned store answers nothing any more.
            let mut tables = self.tables.lock().map_err(|_| poisoned())?;
            let mut tx = MemoryTx { tables: &mut tables, undo: Vec::new(), journal: Journal::ahead(ahead_ms) };
            let outcome = finish_now(job(&mut tx));
            let (commit, outcome) = match outcome {
                Ok(value) => (true, Ok(value)),
                Err(Refused::Keep(error)) => (true, Err(error)),
                Err(Refused::Undo(error)) => (false, Err(error)),
            };
            if !commit {
                tx.take_back();
                return outcome;
            }
            if let Err(error) = finish_now(flush(&mut tx)) {
                tx.take_back();
                return Err(error);
            }
            self.changes.notify_waiters();
            outcome
        })
    }

    fn next_change(&self) -> DbFuture<'_, ()> {
        // Made here: what changes before this is awaited counts, too.
        let change = self.changes.notified();
        Box::pin(async move {
            change.await;
            Ok(())
        })
    }

    fn read<'a, V, F>(&'a self, _: &'static str, job: F) -> DbFuture<'a, V>
    where
        V: Send + 'static,
        F: for<'tx> FnOnce(&'tx mut MemoryTx<'_>) -> Job<'tx, Result<V>> + Send + 'static,
    {
        let ahead_ms = clock::ahead_ms();
        Box::pin(async move { self.read_at(ahead_ms, job) })
    }

    fn read_now<V, F>(&self, _: &'static str, job: F) -> Result<V>
    where
        F: for<'tx> FnOnce(&'tx mut MemoryTx<'_>) -> Job<'tx, Result<V>>,
    {
        self.read_at(clock::ahead_ms(), job)
    }

    fn read_at<V, F>(&self, ahead_ms: i64, job: F) -> Result<V>
    where
        F: for<'tx> FnOnce(&'tx mut MemoryTx<'_>) -> Job<'tx, Result<V>>,
    {
        let mut tables = self.tables.lock().map_err(|_| poisoned())?;
        let mut tx = MemoryTx { tables: &mut tables, undo: Vec::new(), journal: Journal::ahead(ahead_ms) };
        finish_now(job(&mut tx))
    }
}

fn poisoned() -> Error {
    let source = PoisonError::new(()).to_string().into();
    Error::Unavailable { action: "use the store in memory after a panic inside it", source }
}

impl Tables {
    fn of(&mut self, table: Table) -> &mut Rows {
        &mut self.tables[table as usize]
    }
}

impl Rows {
    /// Places of the rows that meet every condition, in the order they came.
    fn matching<R: Row>(&self, filter: &[Cond<R>]) -> Vec<usize> {
        let lookup = filter.iter().find(|cond| cond.op == Op::Is && R::LOOKUPS.contains(&cond.place));
        let meets = |place: &usize| filter.iter().all(|cond| cond.holds(&self.rows[*place][cond.place]));
        match lookup {
            Some(cond) => {
                let places = self.lookups.get(&(cond.place, cond.value.clone()));
                places.into_iter().flatten().copied().filter(meets).collect()
            }
            None => (0..self.rows.len()).filter(meets).collect(),
        }
    }
}

impl Rows {
    /// Whether a row has the same values in all columns of a key.
    fn holds(&self, lookups: &[usize], key: &[usize], cells: &[Cell]) -> bool {
        let same = |place: &usize| key.iter().all(|column| self.rows[*place][*column] == cells[*column]);
        match key.iter().find(|column| lookups.contains(column)) {
            Some(column) => {
                let places = self.lookups.get(&(*column, cells[*column].clone()));
                places.into_iter().flatten().any(same)
            }
            None => (0..self.rows.len()).any(|place| same(&place)),
        }
    }
}

impl MemoryTx<'_> {
    fn take_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Inserted(table) => {
                    let rows = self.tables.of(table);
                    let place = rows.rows.len() - 1;
                    rows.rows.pop();
                    rows.lookups.retain(|_, places| {
                        places.retain(|found| *found != place);
                        !places.is_empty()
                    });
                }
                Undo::Updated(table, place, cells) => self.tables.of(table).rows[place] = cells,
            }
        }
    }
}

impl Tx for MemoryTx<'_> {
    async fn insert<R: Row>(&mut self, row: &R) -> Result<()> {
        let cells = row.to_cells();
        let rows = self.tables.of(R::TABLE);
        if R::UNIQUE.iter().any(|key| rows.holds(R::LOOKUPS, key, &cells)) {
            let table = R::TABLE.word();
            return Err(Error::Unavailable {
                action: "add a row",
                source: format!("{table} has a row of that name, and rows are never replaced").into(),
            });
        }
        let place = rows.rows.len();
        for lookup in R::LOOKUPS {
            rows.lookups.entry((*lookup, cells[*lookup].clone())).or_default().push(place);
        }
        rows.rows.push(cells);
        self.undo.push(Undo::Inserted(R::TABLE));
        Ok(())
    }

    async fn select<R: Row>(&mut self, query: Query<R>) -> Result<Vec<R>> {
        let rows = self.tables.of(R::TABLE);
        // The head of the audit log is read by every transaction: its rows lie in the order of `seq`.
        if R::TABLE == Table::Audit && query.filter.is_empty() && query.limit == Some(1) && query.order.len() == 1 {
            return rows.rows.last().cloned().map(R::from_cells).into_iter().collect();
        }
        let mut places = rows.matching(&query.filter);
        places.sort_by(|one, other| {
            query.order.iter().fold(std::cmp::Ordering::Equal, |so_far, (_, column, newest)| {
                let order = rows.rows[*one][*column].cmp(&rows.rows[*other][*column]);
                so_far.then(if *newest { order.reverse() } else { order })
            })
        });
        let limit = query.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
        places.into_iter().skip(offset).take(limit).map(|place| R::from_cells(rows.rows[place].clone())).collect()
    }

    async fn count<R: Row>(&mut self, filter: Vec<Cond<R>>) -> Result<u64> {
        Ok(self.tables.of(R::TABLE).matching(&filter).len() as u64)
    }

    async fn update<R: Row>(&mut self, set: Vec<Assign<R>>, expect: Vec<Cond<R>>) -> Result<u64> {
        let places = self.tables.of(R::TABLE).matching(&expect);
        for place in &places {
            let row = &mut self.tables.of(R::TABLE).rows[*place];
            self.undo.push(Undo::Updated(R::TABLE, *place, row.clone()));
            for assign in &set {
                debug_assert!(!R::LOOKUPS.contains(&assign.place), "what rows are looked up by never changes");
                row[assign.place] = assign.value.clone();
            }
        }
        Ok(places.len() as u64)
    }

    async fn clock(&mut self) -> Result<i64> {
        Ok(wall_clock())
    }

    fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }
}

/// Epoch milliseconds of the machine. A clock before 1970 counts as 1970.
pub(crate) fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

store!(InMemoryDb);
