//! One transaction on a SQLite connection.

use std::fmt::Write as _;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::guard::Guard;
use super::{Failure, failed};
use super::{counts, migrate};
use crate::audit::Journal;
use crate::cell::{Assign, Cell, Columns, Cond, Op, Row, Table};
use crate::clock::{Time, wall_clock};
use crate::names::Names;
use crate::page::Page;
use crate::records::run::RunRow;
use crate::records::session::{SessionRow, SessionSum};
use crate::records::store::StoreRow;
use crate::requests::{SqlValue, Write, check_statement};
use crate::tx::{Head, Query, Tx, after, last_entry, store_row};
use crate::{Error, Result};

/// Bytes of text after which a page with a limit ends.
const PAGE_BYTES: usize = 4 << 20;
/// Rows that room is made for at once, at most.
const ROOM: usize = 4096;
/// Bytes of text that an entry of the log has, about.
const ROW_BYTES: usize = 768;

/// A transaction that somebody else has begun and will commit.
pub(super) struct SqliteTx<'a> {
    connection: &'a Connection,
    names: &'a Names,
    action: &'static str,
    /// `None`: the connection is one that only reads.
    guard: Option<&'a Guard>,
    journal: Journal,
    /// The row about the store, cached: no other connection writes during this transaction.
    known: Known,
}

/// What a transaction has read, and the next one of the same group need not read again.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The end of the log.
    head: Option<Head>,
    store: Option<StoreRow>,
    /// The last time of a transaction that stays.
    pub(super) time: Option<Time>,
}

impl Known {
    /// The end of the log, where it is known.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }
}

impl<'a> SqliteTx<'a> {
    pub(super) fn new(connection: &'a Connection, names: &'a Names, action: &'static str) -> Self {
        Self { connection, names, action, guard: None, journal: Journal::default(), known: Known::default() }
    }

    pub(super) fn guarded(self, guard: &'a Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// With what a job before this one has read, in the same transaction.
    pub(super) fn after(self, known: Known) -> Self {
        Self { known, ..self }
    }

    /// What is known at its end.
    pub(super) fn known(self) -> Known {
        let time = self.journal.time.or(self.known.time);
        Known { time, ..self.known }
    }

    /// A query as SQL, with what is bound to it.
    fn selection<R: Row>(&self, columns: &str, query: Query<R>) -> (String, Vec<Cell>) {
        let mut sql = with_room(columns.len());
        sql.extend(["SELECT ", columns, " FROM "]);
        let mut values = Vec::new();
        match query.among {
            // Joined, and in this order: of `IN` with several columns SQLite's planner makes a scan.
            Some(among) => {
                let columns: Vec<&str> = among.columns.iter().map(|(column, _)| *column).collect();
                let (room, named) = among.bound();
                values = named;
                let places = vec![format!("({})", vec!["?"; columns.len()].join(", ")); room].join(", ");
                write!(sql, "(VALUES {places}) AS named CROSS JOIN {} ON ", self.names.of(R::TABLE)).expect(ROOMY);
                let equal = (1..).zip(columns).map(|(place, column)| format!("{column} = named.column{place}"));
                sql.push_str(&equal.collect::<Vec<_>>().join(" AND "));
            }
            None => sql.push_str(self.names.of(R::TABLE)),
        }
        add_conditions(&mut sql, &query.filter);
        let is_first = query.filter.is_empty();
        values.extend(bound(query.filter));
        if let Some(last) = query.after {
            sql.push_str(if is_first { " WHERE " } else { " AND " });
            sql.push_str(&after(&query.order, &vec!["?".to_owned(); last.len()]));
            values.extend(last);
        }
        for (place, (column, _, newest)) in query.order.iter().enumerate() {
            let word = if place == 0 { " ORDER BY " } else { ", " };
            sql.extend([word, *column, if *newest { " DESC" } else { " ASC" }]);
        }
        // Bound, not written into the text: the statement is prepared once for all numbers.
        sql.push_str(" LIMIT ? OFFSET ?");
        values.extend([query.limit.map_or(Cell::Int(-1), number), number(query.offset)]);
        (sql, values)
    }

    fn sql(&self) -> impl Fn(rusqlite::Error) -> Error + use<> {
        let action = self.action;
        move |error| failed(action, error)
    }

    /// One number about the rows that meet the conditions.
    fn number<R>(&self, what: &str, table: &str, filter: Vec<Cond<R>>) -> Result<u64> {
        let mut sql = format!("SELECT {what} FROM {table}");
        add_conditions(&mut sql, &filter);
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        let number: i64 = statement.query_row(params_from_iter(bound(filter)), |row| row.get(0)).map_err(self.sql())?;
        Ok(number.unsigned_abs())
    }

    /// Columns of the rows that a query finds. `list` is what SQL calls them.
    fn find<R: Row, V>(
        &self,
        columns: &[&'static str],
        list: &str,
        query: Query<R>,
        read: impl Fn(Vec<Cell>) -> Result<V>,
    ) -> Result<Vec<V>> {
        let (sql, values) = self.selection(list, query);
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        let mut found = statement.query(params_from_iter(values)).map_err(self.sql())?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(self.sql())? {
            rows.push(read(self.cells::<R>(row, columns)?)?);
        }
        Ok(rows)
    }

    /// The first columns of what a statement gives.
    fn cells<R: Row>(&self, row: &rusqlite::Row<'_>, columns: &[&str]) -> Result<Vec<Cell>> {
        let mut cells = Vec::with_capacity(columns.len());
        for (place, column) in columns.iter().enumerate() {
            cells.push(cell::<R>(row.get_ref(place).map_err(self.sql())?, column)?);
        }
        Ok(cells)
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Int(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl ToSql for SqlValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Null => ToSqlOutput::Owned(Value::Null),
            Self::Bool(truth) => ToSqlOutput::Owned(Value::Integer(i64::from(*truth))),
            Self::Integer(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Self::Real(number) => ToSqlOutput::Owned(Value::Real(*number)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// Executes one statement of somebody else's to its end. It is not kept: it was prepared for this once.
fn execute(connection: &Connection, write: &Write) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&write.sql)?;
    let mut rows = statement.query(params_from_iter(&write.params))?;
    while rows.next()?.is_some() {}
    Ok(())
}

const ROOMY: &str = "a string takes everything";

fn number(number: u64) -> Cell {
    Cell::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Adds ` WHERE …`, where there are conditions. `IS` compares null as a value, and uses indexes as `=` does. Null itself is
/// written into the text, not bound: an index that holds only the rows without a value is used only where the text says so.
fn add_conditions<R>(sql: &mut String, filter: &[Cond<R>]) {
    for (place, cond) in filter.iter().enumerate() {
        let op = match cond.op {
            Op::Is => " IS ",
            Op::AtMost => " <= ",
            Op::Above => " > ",
        };
        let value = if cond.value == Cell::Null { "NULL" } else { "?" };
        sql.extend([if place == 0 { " WHERE " } else { " AND " }, cond.name, op, value]);
    }
}

/// A text for a statement over columns of this length, mostly without growing: each transaction makes dozens of them.
fn with_room(columns: usize) -> String {
    String::with_capacity(columns + 256)
}

/// What conditions bind.
fn bound<R>(filter: Vec<Cond<R>>) -> Vec<Cell> {
    filter.into_iter().map(|cond| cond.value).filter(|value| *value != Cell::Null).collect()
}

fn cell<R: Row>(value: ValueRef<'_>, column: &str) -> Result<Cell> {
    let place = || format!("{}.{column}", R::TABLE.word());
    match value {
        ValueRef::Null => Ok(Cell::Null),
        ValueRef::Integer(number) => Ok(Cell::Int(number)),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|error| Error::corrupt(place(), error))?;
            Ok(Cell::Text(text.to_owned()))
        }
        ValueRef::Real(_) | ValueRef::Blob(_) => Err(Error::corrupt(place(), "neither text nor an integer")),
    }
}

impl Tx for SqliteTx<'_> {
    async fn insert<R: Row>(&mut self, row: &R) -> Result<()> {
        let mut sql = with_room(R::LIST.len());
        sql.extend(["INSERT INTO ", self.names.of(R::TABLE), " (", R::LIST, ") VALUES (?"]);
        sql.extend(R::COLUMNS.iter().skip(1).map(|_| ", ?"));
        sql.push(')');
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        statement.execute(params_from_iter(row.to_cells())).map_err(self.sql())?;
        Ok(())
    }

    async fn select<R: Row>(&mut self, query: Query<R>) -> Result<Vec<R>> {
        self.find(R::COLUMNS, R::LIST, query, R::from_cells)
    }

    async fn pluck<R: Row, C: Columns<R>>(&mut self, columns: C, query: Query<R>) -> Result<Vec<C::Values>> {
        let names: Vec<_> = columns.list().into_iter().map(|(name, _)| name).collect();
        self.find(&names, &names.join(", "), query, |cells| columns.take(&mut cells.into_iter()))
    }

    async fn page<R: Row>(&mut self, query: Query<R>) -> Result<Page> {
        let limit = query.limit;
        let (sql, values) = self.selection(R::LIST, query);
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        let mut found = statement.query(params_from_iter(values)).map_err(self.sql())?;
        let mut page = Page::new(R::COLUMNS.len());
        if let Some(rows) = limit.and_then(|limit| usize::try_from(limit).ok()).filter(|rows| *rows <= ROOM) {
            page.reserve(rows, rows * ROW_BYTES);
        }
        while let Some(row) = found.next().map_err(self.sql())? {
            for place in 0..R::COLUMNS.len() {
                match row.get_ref(place).map_err(self.sql())? {
                    ValueRef::Null => page.null(),
                    ValueRef::Integer(number) => page.int(number),
                    ValueRef::Text(text) => match std::str::from_utf8(text) {
                        Ok(text) => page.text(text),
                        Err(_) => page.odd(),
                    },
                    ValueRef::Real(_) | ValueRef::Blob(_) => page.odd(),
                }
            }
            if limit.is_some() && page.size() > PAGE_BYTES {
                break;
            }
        }
        Ok(page)
    }

    async fn schema_faults(&mut self) -> Result<Vec<(String, String)>> {
        let mut faults = migrate::faults(self.connection, self.names)?;
        faults.extend(counts::fault(self.connection, self.names)?);
        Ok(faults)
    }

    async fn count<R: Row>(&mut self, filter: Vec<Cond<R>>) -> Result<u64> {
        match counts::kept(R::TABLE, &filter) {
            // No row: nobody of that name has ever asked.
            Some((columns, whose)) => {
                self.number(&format!("coalesce(sum({columns}), 0)"), &counts::table(self.names), whose)
            }
            None => self.number("count(*)", self.names.of(R::TABLE), filter),
        }
    }

    async fn sessions(&mut self, runs: Query<RunRow>, rows: Vec<Cond<SessionRow>>) -> Result<Vec<SessionSum>> {
        let mut sql = "SELECT session_id, min(run_id), max(updated_at_ms), count(run_id) FROM (".to_owned();
        // No run of a row is null, and counts as none.
        let [session_id, _, updated_at_ms] = SessionSum::COLUMNS;
        sql.extend(["SELECT ", &SessionSum::COLUMNS.join(", "), " FROM ", self.names.of(Table::Runs)]);
        add_conditions(&mut sql, &runs.filter);
        sql.extend([
            " UNION ALL SELECT ",
            session_id,
            ", NULL, ",
            updated_at_ms,
            " FROM ",
            self.names.of(Table::Sessions),
        ]);
        add_conditions(&mut sql, &rows);
        sql.push_str(") GROUP BY session_id ORDER BY 3 DESC, 1 LIMIT ? OFFSET ?");
        let mut values = bound(runs.filter);
        values.extend(bound(rows));
        values.extend([runs.limit.map_or(Cell::Int(-1), number), number(runs.offset)]);
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        let mut found = statement.query(params_from_iter(values)).map_err(self.sql())?;
        let mut sums = Vec::new();
        while let Some(row) = found.next().map_err(self.sql())? {
            let runs: i64 = row.get(SessionSum::COLUMNS.len()).map_err(self.sql())?;
            sums.push(SessionSum::of(self.cells::<RunRow>(row, &SessionSum::COLUMNS)?, runs)?);
        }
        Ok(sums)
    }

    async fn count_sessions(&mut self, runs: Vec<Cond<RunRow>>, rows: Vec<Cond<SessionRow>>) -> Result<u64> {
        let mut sql = format!("SELECT count(*) FROM (SELECT session_id FROM {}", self.names.of(Table::Runs));
        add_conditions(&mut sql, &runs);
        sql.extend([" UNION SELECT session_id FROM ", self.names.of(Table::Sessions)]);
        add_conditions(&mut sql, &rows);
        sql.push(')');
        let mut values = bound(runs);
        values.extend(bound(rows));
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        let found: i64 = statement.query_row(params_from_iter(values), |row| row.get(0)).map_err(self.sql())?;
        Ok(found.unsigned_abs())
    }

    async fn update<R: Row>(&mut self, set: Vec<Assign<R>>, expect: Vec<Cond<R>>) -> Result<u64> {
        if R::TABLE == Table::Store {
            self.known.store = None;
        }
        let mut sql = with_room(0);
        sql.extend(["UPDATE ", self.names.of(R::TABLE), " SET "]);
        for (place, assign) in set.iter().enumerate() {
            sql.extend([if place == 0 { "" } else { ", " }, assign.name, " = ?"]);
        }
        add_conditions(&mut sql, &expect);
        let values = set.into_iter().map(|assign| assign.value).chain(bound(expect));
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        let changed = statement.execute(params_from_iter(values)).map_err(self.sql())?;
        Ok(changed as u64)
    }

    async fn delete<R: Row>(&mut self, query: Query<R>) -> Result<u64> {
        let mut sql = format!("DELETE FROM {}", self.names.of(R::TABLE));
        add_conditions(&mut sql, &query.filter);
        let word = if query.filter.is_empty() { " WHERE" } else { " AND" };
        let mut values = bound(query.filter);
        if let Some(among) = query.among {
            let columns: Vec<&str> = among.columns.iter().map(|(column, _)| *column).collect();
            let (room, named) = among.bound();
            let places = vec![format!("({})", vec!["?"; columns.len()].join(", ")); room].join(", ");
            write!(sql, "{word} ({}) IN (VALUES {places})", columns.join(", ")).expect(ROOMY);
            values.extend(named);
        }
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        let removed = statement.execute(params_from_iter(values)).map_err(self.sql())?;
        Ok(removed as u64)
    }

    const TAKES_WRITES: bool = true;

    /// Only for a job that is alone: a statement can take the whole transaction back with it.
    async fn write(&mut self, writes: Vec<Write>) -> Result<Result<(), String>> {
        let Some(guard) = self.guard else {
            return Err(Error::Invalid("this connection only reads".to_owned()));
        };
        let connection = self.connection;
        connection.execute_batch("SAVEPOINT writes").map_err(self.sql())?;
        let count = writes.len();
        for (place, write) in (1..).zip(&writes) {
            let done = match check_statement(&write.sql) {
                Ok(()) => guard.watch(|| execute(connection, write)).map_err(Failure::from),
                Err(why) => Err(Failure { code: None, text: why, at_commit: false }),
            };
            let Err(failure) = done else { continue };
            let statements = failure.is_the_statements();
            let why = format!("write {place} of {count} was refused, and none of them stays: {}", failure.text);
            if !statements {
                // The writer takes back what is left, and nobody is told that anything is written.
                return Err(failure.means(self.action));
            }
            if connection.is_autocommit() {
                // `OR ROLLBACK`, in the statement or in a table or trigger of theirs: nothing has happened yet in this
                // transaction but reading, so that another one goes on for it.
                connection.execute_batch("BEGIN IMMEDIATE").map_err(self.sql())?;
                self.known = Known::default();
            } else {
                connection.execute_batch("ROLLBACK TO writes; RELEASE writes").map_err(self.sql())?;
            }
            return Ok(Err(why));
        }
        connection.execute_batch("RELEASE writes").map_err(self.sql())?;
        Ok(Ok(()))
    }

    async fn clock(&mut self) -> Result<i64> {
        Ok(wall_clock())
    }

    async fn head(&mut self) -> Result<Head> {
        if let Some(head) = &self.known.head {
            return Ok(head.clone());
        }
        let head = last_entry(self).await?;
        self.known.head = Some(head.clone());
        Ok(head)
    }

    fn appended(&mut self, head: Head) {
        self.known.head = Some(head);
    }

    async fn store(&mut self) -> Result<StoreRow> {
        if let Some(store) = &self.known.store {
            return Ok(store.clone());
        }
        let store = store_row(self).await?;
        self.known.store = Some(store.clone());
        Ok(store)
    }

    fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }
}
