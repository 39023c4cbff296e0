//! `InMemoryDb`: the whole contract inside one process, and nothing beyond it.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::audit::{Journal, flush, opening};
use crate::cell::{Assign, Cell, Columns, Cond, Op, Row, Table};
use crate::records::audit::AuditRow;
use crate::records::run::RunRow;
use crate::records::session::{SessionRow, SessionSum};
use crate::records::store::StoreRow;
use crate::store::Lane;
use crate::store::prelude::*;
use crate::tx::{Among, Head, Job, Query, Refused, Step, Tx, finish_now};
use crate::{Error, Result, clock};
use clock::{Floor, wall_clock};

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
#[derive(Clone, Debug)]
pub struct InMemoryDb {
    tables: Arc<Mutex<Tables>>,
    floor: Arc<Floor>,
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
    /// Which columns rows are looked up by, and what was where.
    Deleted(Table, &'static [usize], Vec<(usize, Vec<Cell>)>),
}

pub(crate) struct MemoryTx<'a> {
    tables: &'a mut Tables,
    undo: Vec<Undo>,
    journal: Journal,
}

impl Default for InMemoryDb {
    fn default() -> Self {
        Self::new()
    }
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
        let (store, first) = opening(wall_clock());
        let mut tables = Tables::default();
        tables.of(Table::Store).add(StoreRow::LOOKUPS, store.to_cells());
        tables.of(Table::Audit).add(AuditRow::LOOKUPS, first.to_cells());
        Self {
            tables: Arc::new(Mutex::new(tables)),
            floor: Arc::default(),
            changes: Arc::default(),
            busy_timeout: Duration::ZERO,
        }
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
            let mut tx =
                MemoryTx { tables: &mut tables, undo: Vec::new(), journal: Journal::new(&self.floor, ahead_ms) };
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

    /// There is no mark, and no host.
    fn end_in_order(&self) -> DbFuture<'_, ()> {
        Box::pin(async { Ok(()) })
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
        let mut tx = MemoryTx { tables: &mut tables, undo: Vec::new(), journal: Journal::new(&self.floor, ahead_ms) };
        finish_now(job(&mut tx))
    }
}

fn poisoned() -> Error {
    let source = PoisonError::new(()).to_string().into();
    Error::Unavailable { action: "use the store in memory after a panic inside it", source }
}

fn paged<V>(all: impl Iterator<Item = V>, limit: Option<u64>, offset: u64) -> impl Iterator<Item = V> {
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    all.skip(usize::try_from(offset).unwrap_or(usize::MAX)).take(limit)
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

    /// The rows that a query finds, in its order.
    fn found<R: Row>(&self, query: Query<R>) -> impl Iterator<Item = &Vec<Cell>> {
        let mut places = match &query.among {
            Some(among) => self.named::<R>(among, &query.filter),
            None => self.matching(&query.filter),
        };
        // Text and numbers compare as SQL compares them, and no column that orders is ever null.
        let way = |newest: bool, order: Ordering| if newest { order.reverse() } else { order };
        if let Some(last) = &query.after {
            let order = |place: usize| {
                let columns = query.order.iter().zip(last);
                columns.fold(Ordering::Equal, |so_far, ((_, column, newest), last)| {
                    so_far.then(way(*newest, self.rows[place][*column].cmp(last)))
                })
            };
            places.retain(|place| order(*place) == Ordering::Greater);
        }
        places.sort_by(|one, other| {
            query.order.iter().fold(Ordering::Equal, |so_far, (_, column, newest)| {
                so_far.then(way(*newest, self.rows[*one][*column].cmp(&self.rows[*other][*column])))
            })
        });
        paged(places.into_iter(), query.limit, query.offset).map(|place| &self.rows[place])
    }

    /// Places of the rows that are named and meet every condition.
    fn named<R: Row>(&self, among: &Among, filter: &[Cond<R>]) -> Vec<usize> {
        let named = |place: &usize| {
            among.values.contains(
                &among.columns.iter().map(|(_, column)| self.rows[*place][*column].clone()).collect::<Vec<_>>(),
            )
        };
        let meets = |place: &usize| filter.iter().all(|cond| cond.holds(&self.rows[*place][cond.place]));
        let (_, first) = among.columns[0];
        if !R::LOOKUPS.contains(&first) {
            return (0..self.rows.len()).filter(named).filter(meets).collect();
        }
        let firsts: BTreeSet<&Cell> = among.values.iter().map(|values| &values[0]).collect();
        let places = firsts.into_iter().filter_map(|value| self.lookups.get(&(first, value.clone())));
        places.flatten().copied().filter(named).filter(meets).collect()
    }
}

impl Rows {
    fn add(&mut self, lookups: &[usize], cells: Vec<Cell>) {
        let place = self.rows.len();
        for lookup in lookups {
            self.lookups.entry((*lookup, cells[*lookup].clone())).or_default().push(place);
        }
        self.rows.push(cells);
    }

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
                Undo::Deleted(table, lookups, gone) => {
                    let rows = self.tables.of(table);
                    let mut left = std::mem::take(rows).rows.into_iter();
                    for (place, cells) in gone {
                        while rows.rows.len() < place {
                            rows.add(lookups, left.next().expect("what was not removed is still there"));
                        }
                        rows.add(lookups, cells);
                    }
                    left.for_each(|cells| rows.add(lookups, cells));
                }
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
        rows.add(R::LOOKUPS, cells);
        self.undo.push(Undo::Inserted(R::TABLE));
        Ok(())
    }

    async fn select<R: Row>(&mut self, query: Query<R>) -> Result<Vec<R>> {
        let rows = self.tables.of(R::TABLE);
        rows.found(query).map(|row| R::from_cells(row.clone())).collect()
    }

    async fn pluck<R: Row, C: Columns<R>>(&mut self, columns: C, query: Query<R>) -> Result<Vec<C::Values>> {
        let places = columns.list();
        let rows = self.tables.of(R::TABLE);
        rows.found(query).map(|row| columns.take(&mut places.iter().map(|(_, place)| row[*place].clone()))).collect()
    }

    async fn count<R: Row>(&mut self, filter: Vec<Cond<R>>) -> Result<u64> {
        Ok(self.tables.of(R::TABLE).matching(&filter).len() as u64)
    }

    async fn sessions(&mut self, runs: Query<RunRow>, rows: Vec<Cond<SessionRow>>) -> Result<Vec<SessionSum>> {
        let (limit, offset) = (runs.limit, runs.offset);
        let columns = (RunRow::C.session_id, RunRow::C.run_id, RunRow::C.updated_at_ms);
        let runs = self.pluck(columns, Query::of(runs.filter)).await?;
        let rows = self.pluck((SessionRow::C.session_id, SessionRow::C.updated_at_ms), Query::of(rows)).await?;
        let runs = runs.into_iter().map(|(session_id, run_id, updated)| (session_id, Some(run_id), updated));
        let rows = rows.into_iter().map(|(session_id, updated)| (session_id, None, updated));
        let mut sums: HashMap<SessionId, SessionSum> = HashMap::new();
        for (session_id, run_id, updated_at_ms) in runs.chain(rows) {
            let sum = sums.entry(session_id.clone()).or_insert_with(|| SessionSum {
                session_id,
                runs: 0,
                first_run: None,
                updated_at_ms,
            });
            sum.runs += u64::from(run_id.is_some());
            sum.updated_at_ms = sum.updated_at_ms.max(updated_at_ms);
            sum.first_run = sum.first_run.take().into_iter().chain(run_id).min();
        }
        let mut sums: Vec<_> = sums.into_values().collect();
        sums.sort_by(|one, other| {
            other.updated_at_ms.cmp(&one.updated_at_ms).then_with(|| one.session_id.cmp(&other.session_id))
        });
        Ok(paged(sums.into_iter(), limit, offset).collect())
    }

    async fn count_sessions(&mut self, runs: Vec<Cond<RunRow>>, rows: Vec<Cond<SessionRow>>) -> Result<u64> {
        let mut found: BTreeSet<_> = self.pluck(RunRow::C.session_id, Query::of(runs)).await?.into_iter().collect();
        found.extend(self.pluck(SessionRow::C.session_id, Query::of(rows)).await?);
        Ok(found.len() as u64)
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

    async fn delete<R: Row>(&mut self, query: Query<R>) -> Result<u64> {
        let rows = self.tables.of(R::TABLE);
        let found = match &query.among {
            Some(among) => rows.named::<R>(among, &query.filter),
            None => rows.matching(&query.filter),
        };
        if found.is_empty() {
            return Ok(0);
        }
        let found: BTreeSet<usize> = found.into_iter().collect();
        // Every row behind the first one moves up, so that their places are gathered anew.
        let mut gone = Vec::with_capacity(found.len());
        for (place, cells) in std::mem::take(rows).rows.into_iter().enumerate() {
            match found.contains(&place) {
                true => gone.push((place, cells)),
                false => rows.add(R::LOOKUPS, cells),
            }
        }
        self.undo.push(Undo::Deleted(R::TABLE, R::LOOKUPS, gone));
        Ok(found.len() as u64)
    }

    async fn clock(&mut self) -> Result<i64> {
        Ok(wall_clock())
    }

    /// The log's rows lie in the order of `seq`: every transaction asks for the last one.
    async fn head(&mut self) -> Result<Head> {
        let last = self.tables.of(Table::Audit).rows.last().cloned();
        let last = last.ok_or_else(|| Error::corrupt("the audit log", "its first entry is missing"))?;
        AuditRow::from_cells(last).map(Head::from)
    }

    fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }
}

store!(InMemoryDb);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::outbox::OutboxRow;

    /// The ids that are there, in order.
    async fn ids(db: &InMemoryDb) -> Vec<String> {
        let all = db.read("look", |tx: &mut MemoryTx<'_>| {
            Box::pin(async move { tx.select::<OutboxRow>(Query::of(Vec::new())).await })
        });
        let rows = all.await.expect("rows");
        for row in &rows {
            // By the lookup, too.
            let id = row.id.clone();
            let found = db.read("look", move |tx: &mut MemoryTx<'_>| {
                Box::pin(async move { tx.select::<OutboxRow>(Query::of(vec![OutboxRow::C.id.is(id)])).await })
            });
            assert_eq!(found.await.expect("rows").as_slice(), std::slice::from_ref(row));
        }
        rows.into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn what_is_removed_is_gone_and_comes_back_to_its_place_where_that_is_taken_back() {
        finish_now(async {
            let db = InMemoryDb::new();
            let added = db.write(Lane::Normal, "add", |tx: &mut MemoryTx<'_>| {
                Box::pin(async move {
                    for id in ["a", "b", "c", "d", "e"] {
                        let row = OutboxRow {
                            id: id.to_owned(),
                            created_at_ms: 0,
                            topic: "run.paused".to_owned(),
                            run_id: None,
                            approval_id: None,
                            execution_id: None,
                            delivered_at_ms: None,
                        };
                        tx.insert(&row).await?;
                    }
                    Ok(())
                })
            });
            added.await.expect("rows are added");
            for (undo, left) in [(true, &["a", "b", "c", "d", "e"][..]), (false, &["b", "d"])] {
                let removed = db.write(Lane::Normal, "remove", move |tx: &mut MemoryTx<'_>| {
                    Box::pin(async move {
                        for ids in [&["c", "x"][..], &["a", "e"]] {
                            let ids = ids.iter().map(|id| (*id).to_owned());
                            tx.delete(Query::of(Vec::new()).among(OutboxRow::C.id, ids)).await?;
                        }
                        match undo {
                            true => Err(Error::Busy { action: "remove" }.into()),
                            false => Ok(()),
                        }
                    })
                });
                assert_eq!(removed.await.is_err(), undo);
                assert_eq!(ids(&db).await, left);
            }
        });
    }
}
