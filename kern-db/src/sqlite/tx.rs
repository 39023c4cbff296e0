//! One transaction on a SQLite connection.

use std::fmt::Write as _;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use super::guard::Guard;
use super::migrate;
use super::{Failure, failed};
use crate::audit::Journal;
use crate::cell::{Assign, Cell, Column, Cond, Op, Row, Stored, take};
use crate::memory::wall_clock;
use crate::names::Names;
use crate::page::Page;
use crate::records::audit::AuditRow;
use crate::requests::{SqlValue, Write, check_statement};
use crate::tx::{Query, Tx, last_entry};
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
    /// The log's last entry: in this transaction nobody else writes.
    head: Option<Option<AuditRow>>,
}

impl<'a> SqliteTx<'a> {
    pub(super) fn new(connection: &'a Connection, names: &'a Names, action: &'static str) -> Self {
        Self { connection, names, action, guard: None, journal: Journal::default(), head: None }
    }

    pub(super) fn guarded(self, guard: &'a Guard) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// A query as SQL, with what is bound to it.
    fn selection<R: Row>(&self, columns: &[&str], query: Query<R>) -> (String, impl Iterator<Item = Cell> + use<R>) {
        let mut sql =
            format!("SELECT {} FROM {}{}", columns.join(", "), self.names.of(R::TABLE), condition(&query.filter));
        for (place, (column, _, newest)) in query.order.iter().enumerate() {
            let word = if place == 0 { " ORDER BY" } else { "," };
            let way = if *newest { "DESC" } else { "ASC" };
            write!(sql, "{word} {column} {way}").expect("a string takes everything");
        }
        // Bound, not written into the text: the statement is prepared once for all numbers.
        sql.push_str(" LIMIT ? OFFSET ?");
        let number = |number: u64| Cell::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let limit = query.limit.map_or(Cell::Int(-1), number);
        let offset = number(query.offset);
        (sql, bound(query.filter).chain([limit, offset]))
    }

    fn sql(&self) -> impl Fn(rusqlite::Error) -> Error + use<> {
        let action = self.action;
        move |error| failed(action, error)
    }

    /// Columns of the rows that a query finds.
    fn find<R: Row, V>(
        &self,
        columns: &[&'static str],
        query: Query<R>,
        read: impl Fn(Vec<Cell>) -> Result<V>,
    ) -> Result<Vec<V>> {
        let (sql, values) = self.selection(columns, query);
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        let mut found = statement.query(params_from_iter(values)).map_err(self.sql())?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(self.sql())? {
            let mut cells = Vec::with_capacity(columns.len());
            for (place, column) in columns.iter().enumerate() {
                cells.push(cell::<R>(row.get_ref(place).map_err(self.sql())?, column)?);
            }
            rows.push(read(cells)?);
        }
        Ok(rows)
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

/// `WHERE …` for conditions. `IS` compares null as a value, and uses indexes as `=` does. Null itself stands in the text:
/// only so an index is used that holds the rows where a column is null, and no others.
fn condition<R>(filter: &[Cond<R>]) -> String {
    let mut sql = String::new();
    for (place, cond) in filter.iter().enumerate() {
        let op = match cond.op {
            Op::Is if cond.value == Cell::Null => "IS NULL",
            Op::Is => "IS ?",
            Op::AtMost => "<= ?",
            Op::Above => "> ?",
        };
        let word = if place == 0 { " WHERE" } else { " AND" };
        write!(sql, "{word} {} {op}", cond.name).expect("a string takes everything");
    }
    sql
}

/// What is bound to the places of [`condition`].
fn bound<R>(filter: Vec<Cond<R>>) -> impl Iterator<Item = Cell> {
    filter.into_iter().filter(|cond| cond.op != Op::Is || cond.value != Cell::Null).map(|cond| cond.value)
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
        let places = vec!["?"; R::COLUMNS.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", self.names.of(R::TABLE), R::COLUMNS.join(", "));
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        statement.execute(params_from_iter(row.to_cells())).map_err(self.sql())?;
        Ok(())
    }

    async fn select<R: Row>(&mut self, query: Query<R>) -> Result<Vec<R>> {
        self.find(R::COLUMNS, query, R::from_cells)
    }

    async fn pluck<R: Row, V: Stored>(&mut self, column: Column<R, V>, query: Query<R>) -> Result<Vec<V>> {
        let (name, _) = column.order();
        self.find(&[name], query, |cells| take::<R, V>(name, cells.into_iter().next()))
    }

    async fn page<R: Row>(&mut self, query: Query<R>) -> Result<Page> {
        let limit = query.limit;
        let (sql, values) = self.selection(R::COLUMNS, query);
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
        migrate::faults(self.connection, self.names)
    }

    async fn count<R: Row>(&mut self, filter: Vec<Cond<R>>) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {}{}", self.names.of(R::TABLE), condition(&filter));
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        let count: i64 = statement.query_row(params_from_iter(bound(filter)), |row| row.get(0)).map_err(self.sql())?;
        Ok(count.unsigned_abs())
    }

    async fn update<R: Row>(&mut self, set: Vec<Assign<R>>, expect: Vec<Cond<R>>) -> Result<u64> {
        let columns: Vec<String> = set.iter().map(|assign| format!("{} = ?", assign.name)).collect();
        let sql = format!("UPDATE {} SET {}{}", self.names.of(R::TABLE), columns.join(", "), condition(&expect));
        let values = set.into_iter().map(|assign| assign.value).chain(bound(expect));
        let mut statement = self.connection.prepare_cached(&sql).map_err(self.sql())?;
        let changed = statement.execute(params_from_iter(values)).map_err(self.sql())?;
        Ok(changed as u64)
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
                self.head = None;
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

    async fn head(&mut self) -> Result<Option<AuditRow>> {
        if let Some(head) = &self.head {
            return Ok(head.clone());
        }
        let head = last_entry(self).await?;
        self.head = Some(head.clone());
        Ok(head)
    }

    fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }
}
