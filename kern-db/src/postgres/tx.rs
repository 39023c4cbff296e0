//! One transaction on a PostgreSQL connection.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Error as Failed, Row as Found};

use super::connection::{self, Behind, Lender, Object, Said};
use super::failure::{copy, failed, is_lost, unavailable, within};
use super::keeper::Place;
use super::migrate;
use super::text;
use crate::audit::{Draft, Journal};
use crate::cell::{Assign, Cell, Columns, Cond, Op, Row, Table};
use crate::clock::Seen;
use crate::digest::canonical;
use crate::names::Names;
use crate::page::Page;
use crate::records::run::RunRow;
use crate::records::session::{SessionRow, SessionSum};
use crate::requests::Write;
use crate::tx::{Among, Lock, Query, Tx, after, clause};
use crate::{Error, Result, fault};

/// A transaction. It has its connection for itself, and takes it along if it is dropped before its end.
pub(super) struct PostgresTx {
    /// `None`: it is over.
    connection: Option<Object>,
    pub(super) names: Arc<Names>,
    action: &'static str,
    /// Whether it only looks: all of it sees one moment, and locks nothing.
    looks: bool,
    /// How long an answer of the server is waited for.
    pub(super) patience: Duration,
    journal: Journal,
    /// A statement failed: the server takes nothing more, and its `COMMIT` would take everything back in silence.
    failed: Option<Error>,
    /// Whether others wait for what this transaction has put into the outbox.
    tells: bool,
    /// The number of this transaction, and the end of the log as it saw it: from the moment that it has asked for the time.
    seen: Option<(String, i64)>,
    append: Option<Append>,
    /// Somebody else's statements ran in its session.
    pub(super) had_guest: bool,
    /// Whether the question of its beginning holds: the store is as this process knows it.
    pub(super) is_as_known: bool,
}

/// What shows, after its connection was lost, whether a transaction was committed.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    /// Where it was written.
    pub(super) behind: Behind,
    /// Its number, as text: 64 bits without a sign.
    pub(super) xid: String,
    /// Its last entry in the audit log.
    pub(super) entry: LastEntry,
}

/// What is known of an entry before the append has given it its place.
#[derive(Clone, Debug)]
pub(super) struct LastEntry {
    /// The end of the log as this transaction saw it. The entry comes behind it.
    pub(super) after: i64,
    pub(super) now_ms: i64,
    pub(super) action: String,
    pub(super) payload: String,
}

/// What the commit's message says beside `COMMIT`.
#[derive(Debug)]
struct Append {
    /// The call of the append, as SQL.
    sql: String,
    trace: Trace,
}

/// How a transaction ended.
pub(super) enum CommitEnd {
    /// With the place of its last entry, where it has any.
    Committed(Option<Place>),
    /// The server said that it did not commit it.
    Refused(Error),
    /// There was no answer, or the server warned that a standby may not have it.
    Unheard(Option<Trace>),
    /// Its session still waits for a standby.
    Waits(Option<Trace>),
}

impl PostgresTx {
    /// Begins one.
    ///
    /// # Errors
    ///
    /// `Err(None)`: the connection was gone already; another one may do. Nothing was tried on it.
    pub(super) async fn begin(
        connection: Object,
        names: Arc<Names>,
        action: &'static str,
        patience: Duration,
        looks: bool,
        question: Option<&str>,
    ) -> Result<Self, Option<Error>> {
        let mut tx = Self {
            connection: Some(connection),
            names,
            action,
            looks,
            patience,
            journal: Journal::default(),
            failed: None,
            tells: false,
            seen: None,
            append: None,
            had_guest: false,
            is_as_known: false,
        };
        let how = match looks {
            true => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            false => "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE",
        };
        match connection::begin(tx.connection(), how, !looks, question, action, patience).await {
            Ok(Ok(is_as_known)) => {
                tx.is_as_known = is_as_known;
                Ok(tx)
            }
            Ok(Err(error)) => Err(Some(error)),
            Err(Some(error)) if is_lost(&error) => Err(None),
            Err(Some(error)) => Err(Some(failed(action, &error))),
            Err(None) => Err(Some(unavailable(action, SILENT))),
        }
    }

    pub(super) fn connection(&self) -> &Object {
        self.connection.as_ref().expect("only the end of a transaction takes its connection")
    }

    /// What a failed statement means. The transaction is over with it.
    pub(super) fn broken(&mut self, error: Option<Failed>) -> Error {
        let error = match (error, &self.failed) {
            // From then on the server says of everything that the transaction has failed, and not why.
            (_, Some(first)) => copy(first),
            (Some(error), None) => failed(self.action, &error),
            (None, None) => unavailable(self.action, SILENT),
        };
        self.failed.get_or_insert_with(|| copy(&error));
        error
    }

    /// Runs one statement, prepared once on each connection.
    pub(super) async fn ask(&mut self, sql: &str, values: &[Cell]) -> Result<Vec<Found>> {
        let work = async {
            let connection = self.connection();
            let statement = connection.prepare_cached(sql).await?;
            let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
            connection.query(&statement, &values).await
        };
        match within(self.patience, work).await {
            Ok(rows) => Ok(rows),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// The same for a statement that gives a number of rows.
    async fn run(&mut self, sql: &str, values: &[Cell]) -> Result<u64> {
        let work = async {
            let connection = self.connection();
            let statement = connection.prepare_cached(sql).await?;
            let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
            connection.execute(&statement, &values).await
        };
        match within(self.patience, work).await {
            Ok(count) => Ok(count),
            Err(error) => Err(self.broken(error)),
        }
    }

    /// Columns of the rows that a query finds.
    async fn find<R: Row>(&mut self, columns: &[&'static str], query: Query<R>) -> Result<Vec<Found>> {
        let mut values = Vec::new();
        let mut sql = format!("SELECT {} FROM {}", columns.join(", "), self.names.of(R::TABLE));
        let mut conds = conditions(query.filter, &mut values);
        conds.extend(query.among.map(|among| named(among, &mut values)));
        if let Some(last) = query.after {
            conds.push(after(&query.order, &places(values.len(), last.len())));
            values.extend(last);
        }
        sql.push_str(&clause(&conds));
        for (place, (column, _, newest)) in query.order.iter().enumerate() {
            let word = if place == 0 { " ORDER BY" } else { "," };
            // No column that orders is ever null, of which the stores think differently.
            let way = if *newest { "DESC" } else { "ASC" };
            write!(sql, "{word} {column} {way}").expect("a string takes everything");
        }
        match query.limit {
            // Said, not bound: one row is planned otherwise than many.
            Some(1) => sql.push_str(" LIMIT 1"),
            Some(limit) => {
                values.push(number(limit));
                write!(sql, " LIMIT ${}", values.len()).expect("a string takes everything");
            }
            None => {}
        }
        if query.offset > 0 {
            values.push(number(query.offset));
            write!(sql, " OFFSET ${}", values.len()).expect("a string takes everything");
        }
        match query.lock {
            Lock::No => {}
            _ if self.looks => {}
            Lock::Wait => sql.push_str(" FOR UPDATE"),
            Lock::Skip => sql.push_str(" FOR UPDATE SKIP LOCKED"),
        }
        self.ask(&sql, &values).await
    }

    /// The only value of the only row.
    async fn number(&mut self, sql: &str, values: &[Cell]) -> Result<i64> {
        let rows = self.ask(sql, values).await?;
        match rows.first().map(|row| row.try_get::<_, i64>(0)) {
            Some(Ok(number)) => Ok(number),
            _ => Err(unavailable(self.action, "the server answered with no number")),
        }
    }

    /// Commits, and says how that ended. The append of its entries is in the same message as the `COMMIT`: where this process stops
    /// before it has sent that, it holds no chain, and where it stops afterwards, the server goes on without it.
    pub(super) async fn commit(mut self, lender: &Lender) -> CommitEnd {
        if let Some(error) = self.failed.take() {
            self.abandon();
            return CommitEnd::Refused(error);
        }
        let mut sql = String::new();
        if self.tells {
            // Told only if it is committed, and after it is. A channel is the whole database's: the schema says whose it is.
            sql = format!("SELECT pg_notify('{}', current_schema()); ", channel(&self.names));
        }
        let mut trace = None;
        if let Some(append) = self.append.take() {
            sql.push_str(&append.sql);
            trace = Some(append.trace);
        }
        sql.push_str("COMMIT");
        let session = self.connection.take().expect("only the end of a transaction takes its connection");
        let (session, said) = lender.commit(session, sql, self.patience).await;
        self.connection = session;
        // As if its answer had not come.
        let unheard = matches!(said, Said::Committed(_)) && fault::point(fault::COMMITTED, self.action).is_err();
        match said {
            Said::Committed(answer) if !unheard => {
                self.give_back();
                CommitEnd::Committed(trace.and(answer).and_then(|answer| Place::read(&answer)))
            }
            Said::Refused(error) => {
                let error = failed(self.action, &error);
                self.abandon();
                CommitEnd::Refused(error)
            }
            Said::Waits => CommitEnd::Waits(trace),
            Said::Committed(_) | Said::Warned | Said::Lost => {
                self.abandon();
                CommitEnd::Unheard(trace)
            }
        }
    }

    /// Takes everything back.
    pub(super) async fn roll_back(mut self) {
        // Where that cannot be said, the connection is closed, and the server does it by itself.
        if self.failed.as_ref().is_none_or(|_| !self.connection().is_closed())
            && within(self.patience, self.connection().batch_execute("ROLLBACK")).await.is_ok()
        {
            self.give_back();
        }
    }

    /// Hands the connection to whoever needs one next.
    fn give_back(&mut self) {
        match self.had_guest {
            true => self.abandon(),
            false => drop(self.connection.take()),
        }
    }

    /// Closes the connection: whoever gets it next must not be in the middle of something.
    fn abandon(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

impl Drop for PostgresTx {
    fn drop(&mut self) {
        self.abandon();
    }
}

const SILENT: &str = "the server did not answer in time";

/// What those who wait for changes listen to.
pub(super) fn channel(names: &Names) -> String {
    format!("{}_changed", names.of(Table::Outbox).to_ascii_lowercase())
}

impl ToSql for Cell {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => <i64 as ToSql>::to_sql_checked(number, kind, out),
            Self::Text(text) => <&str as ToSql>::to_sql_checked(&&*text::stored(text), kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        // Each value says so itself, when it is written.
        true
    }

    to_sql_checked!();
}

/// A cell, or what is wrong with it: another program may have written it.
struct Kept(Result<Cell, String>);

impl<'a> FromSql<'a> for Kept {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(match *kind {
            Type::INT8 => i64::from_sql(kind, raw).map(Cell::Int).map_err(|error| error.to_string()),
            Type::TEXT => match <&str>::from_sql(kind, raw) {
                Ok(text) => text::read(text).map(Cell::Text),
                Err(error) => Err(error.to_string()),
            },
            _ => Err("neither text nor an integer".to_owned()),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(Ok(Cell::Null)))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn cells<R: Row>(columns: &[&'static str], row: &Found) -> Result<Vec<Cell>> {
    let mut cells = Vec::with_capacity(columns.len());
    for (place, column) in columns.iter().enumerate() {
        let place_of = || format!("{}.{column}", R::TABLE.word());
        let kept: Kept = row.try_get(place).map_err(|error| Error::corrupt(place_of(), error))?;
        cells.push(kept.0.map_err(|detail| Error::corrupt(place_of(), detail))?);
    }
    Ok(cells)
}

/// Conditions as SQL, and the values that they bind after `values`. Null is compared as a value, in a way that uses indexes,
/// which `IS NOT DISTINCT FROM` does not.
fn conditions<R>(filter: Vec<Cond<R>>, values: &mut Vec<Cell>) -> Vec<String> {
    let condition = |cond: Cond<R>| {
        let op = match cond.op {
            Op::Is if cond.value == Cell::Null => return format!("{} IS NULL", cond.name),
            Op::Is => "=",
            Op::AtMost => "<=",
            Op::Above => ">",
        };
        values.push(cond.value);
        format!("{} {op} ${}", cond.name, values.len())
    };
    filter.into_iter().map(condition).collect()
}

/// The condition that rows are named, and what it binds after `values`.
fn named(among: Among, values: &mut Vec<Cell>) -> String {
    let columns: Vec<&str> = among.columns.iter().map(|(column, _)| *column).collect();
    let (room, named) = among.bound();
    let row = |row: usize| format!("({})", places(values.len() + row * columns.len(), columns.len()).join(", "));
    let rows: Vec<String> = (0..room).map(row).collect();
    values.extend(named);
    format!("({}) IN ({})", columns.join(", "), rows.join(", "))
}

fn number(number: u64) -> Cell {
    Cell::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The next places of bound values, after so many.
fn places(before: usize, count: usize) -> Vec<String> {
    (1..=count).map(|place| format!("${}", before + place)).collect()
}

impl Tx for PostgresTx {
    async fn insert<R: Row>(&mut self, row: &R) -> Result<()> {
        let cells = row.to_cells();
        self.tells |= R::TABLE == Table::Outbox;
        self.run(&insertion::<R>(&self.names), &cells).await.map(drop)
    }

    async fn select<R: Row>(&mut self, query: Query<R>) -> Result<Vec<R>> {
        self.find(R::COLUMNS, query).await?.iter().map(|row| R::from_cells(cells::<R>(R::COLUMNS, row)?)).collect()
    }

    async fn page<R: Row>(&mut self, query: Query<R>) -> Result<Page> {
        let rows = self.find(R::COLUMNS, query).await?;
        let mut page = Page::new(R::COLUMNS.len());
        for row in &rows {
            for place in 0..R::COLUMNS.len() {
                match row.try_get::<_, Kept>(place) {
                    Ok(Kept(Ok(Cell::Null))) => page.null(),
                    Ok(Kept(Ok(Cell::Int(number)))) => page.int(number),
                    Ok(Kept(Ok(Cell::Text(text)))) => page.text(&text),
                    Ok(Kept(Err(_))) | Err(_) => page.odd(),
                }
            }
        }
        Ok(page)
    }

    async fn schema_faults(&mut self) -> Result<Vec<(String, String)>> {
        let names = Arc::clone(&self.names);
        let found = migrate::faults(self.connection(), &names).await;
        found.map_err(|error| self.broken(Some(error)))
    }

    async fn pluck<R: Row, C: Columns<R>>(&mut self, columns: C, query: Query<R>) -> Result<Vec<C::Values>> {
        let names: Vec<_> = columns.list().into_iter().map(|(name, _)| name).collect();
        let found = self.find(&names, Query { lock: Lock::No, ..query }).await?;
        found.iter().map(|row| columns.take(&mut cells::<R>(&names, row)?.into_iter())).collect()
    }

    async fn count<R: Row>(&mut self, filter: Vec<Cond<R>>) -> Result<u64> {
        let mut values = Vec::new();
        let conds = conditions(filter, &mut values);
        let sql = format!("SELECT count(*) FROM {}{}", self.names.of(R::TABLE), clause(&conds));
        Ok(self.number(&sql, &values).await?.unsigned_abs())
    }

    async fn sessions(&mut self, runs: Query<RunRow>, rows: Vec<Cond<SessionRow>>) -> Result<Vec<SessionSum>> {
        let mut values = Vec::new();
        let of_runs = clause(&conditions(runs.filter, &mut values));
        let of_rows = clause(&conditions(rows, &mut values));
        let [session_id, run_id, updated_at_ms] = SessionSum::COLUMNS;
        // No run of a row is null, and counts as none.
        let mut sql = format!(
            "SELECT {session_id}, min({run_id}), max({updated_at_ms}), count({run_id}) FROM (
               SELECT {session_id}, {run_id}, {updated_at_ms} FROM {}{of_runs}
               UNION ALL SELECT {session_id}, NULL, {updated_at_ms} FROM {}{of_rows}) AS summed
             GROUP BY {session_id} ORDER BY 3 DESC, 1",
            self.names.of(Table::Runs),
            self.names.of(Table::Sessions),
        );
        if let Some(limit) = runs.limit {
            values.push(number(limit));
            write!(sql, " LIMIT ${}", values.len()).expect("a string takes everything");
        }
        values.push(number(runs.offset));
        write!(sql, " OFFSET ${}", values.len()).expect("a string takes everything");
        let found = self.ask(&sql, &values).await?;
        let sum = |row: &Found| {
            let runs: i64 = row.try_get(3).map_err(|error| unavailable(self.action, error))?;
            SessionSum::of(cells::<RunRow>(&SessionSum::COLUMNS, row)?, runs)
        };
        found.iter().map(sum).collect()
    }

    async fn count_sessions(&mut self, runs: Vec<Cond<RunRow>>, rows: Vec<Cond<SessionRow>>) -> Result<u64> {
        let mut values = Vec::new();
        let of_runs = clause(&conditions(runs, &mut values));
        let of_rows = clause(&conditions(rows, &mut values));
        let sql = format!(
            "SELECT count(*) FROM (SELECT session_id FROM {}{of_runs} UNION SELECT session_id FROM {}{of_rows}) AS found",
            self.names.of(Table::Runs),
            self.names.of(Table::Sessions),
        );
        Ok(self.number(&sql, &values).await?.unsigned_abs())
    }

    async fn update<R: Row>(&mut self, set: Vec<Assign<R>>, expect: Vec<Cond<R>>) -> Result<u64> {
        let mut values = Vec::new();
        let mut columns = Vec::with_capacity(set.len());
        for assign in set {
            values.push(assign.value);
            columns.push(format!("{} = ${}", assign.name, values.len()));
        }
        let conds = conditions(expect, &mut values);
        let sql = format!("UPDATE {} SET {}{}", self.names.of(R::TABLE), columns.join(", "), clause(&conds));
        self.run(&sql, &values).await
    }

    async fn delete<R: Row>(&mut self, query: Query<R>) -> Result<u64> {
        let mut values = Vec::new();
        let mut conds = conditions(query.filter, &mut values);
        conds.extend(query.among.map(|among| named(among, &mut values)));
        let sql = format!("DELETE FROM {}{}", self.names.of(R::TABLE), clause(&conds));
        self.run(&sql, &values).await
    }

    const TAKES_WRITES: bool = true;

    async fn write(&mut self, writes: Vec<Write>) -> Result<Result<(), String>> {
        self.write_all(writes).await
    }

    /// Never `now()`: that is the time at which the transaction began, and it may have waited for a lock since.
    async fn clock(&mut self) -> Result<i64> {
        self.number("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint", &[]).await
    }

    /// One question for the clock, the end of the log, what the store says of itself and, where the transaction may write, its number.
    async fn now(&mut self) -> Result<i64> {
        if let Some(time) = self.journal.time {
            return Ok(time.now_ms);
        }
        let xid = if self.looks { "''" } else { "pg_current_xact_id()::text" };
        let sql = format!(
            "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, seq, now_ms, at_ms, wall_ms, resets, {xid}
             FROM (SELECT at_ms, wall_ms, resets FROM {}) AS store
             CROSS JOIN (SELECT seq, now_ms FROM {} WHERE shard = 0 ORDER BY seq DESC LIMIT 1) AS head",
            self.names.of(Table::Store),
            self.names.of(Table::Audit)
        );
        let rows = self.ask(&sql, &[]).await?;
        let [row] = &rows[..] else {
            let detail = "the row about the store or the first entry of the log is missing";
            return Err(Error::corrupt("store", detail));
        };
        let read = || {
            let number = |place| row.try_get::<_, i64>(place);
            let seen = Seen { head_ms: number(2)?, at_ms: number(3)?, wall_ms: number(4)?, resets: number(5)? };
            Ok::<_, Failed>((number(0)?, number(1)?, seen, row.try_get::<_, String>(6)?))
        };
        let (clock_ms, seq, seen, xid) = read().map_err(|error| Error::corrupt("store", error))?;
        self.seen = Some((xid, seq));
        let time = self.journal.floor.time(clock_ms.saturating_add(self.journal.ahead_ms), seen);
        self.journal.time = Some(time);
        Ok(time.now_ms)
    }

    /// A name has no row to be locked: its hash stands for it, and two names of one hash wait for each other.
    async fn lock_name(&mut self, table: Table, name: &str) -> Result<()> {
        let sql = format!(
            "SELECT pg_advisory_xact_lock('{}'::regclass::oid::int, hashtext($1)) IS NULL",
            self.names.of(table)
        );
        self.ask(&sql, &[Cell::Text(name.to_owned())]).await.map(drop)
    }

    async fn lock_tables(&mut self, tables: &[Table]) -> Result<()> {
        let names: Vec<&str> = tables.iter().map(|table| self.names.of(*table)).collect();
        self.ask(&format!("LOCK TABLE {} IN EXCLUSIVE MODE", names.join(", ")), &[]).await.map(drop)
    }

    /// Nothing is sent yet: the call of the append goes out with the `COMMIT`.
    async fn append(&mut self, drafts: Vec<Draft>) -> Result<()> {
        let (Some((xid, after)), Some(last)) = (self.seen.clone(), drafts.last()) else {
            return Err(unavailable(self.action, "entries are appended by a transaction that has a time"));
        };
        let entry = LastEntry {
            after,
            now_ms: last.row.now_ms,
            action: last.row.action.clone(),
            payload: last.row.payload.clone(),
        };
        let entries = serde_json::Value::Array(drafts.iter().map(to_append).collect());
        let resets = self.journal.time.map_or(0, |time| time.resets);
        let sql =
            format!("SELECT {}_append(0, {resets}, {}); ", self.names.of(Table::Audit), literal(&entries.to_string()));
        self.append = Some(Append { sql, trace: Trace { behind: self.connection().behind.clone(), xid, entry } });
        Ok(())
    }

    fn server(&self) -> Option<String> {
        self.connection().behind.server()
    }

    fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }
}

/// Adds a row, outside of a transaction of [`PostgresTx`].
pub(super) async fn add<R: Row>(client: &Client, names: &Names, row: &R) -> Result<(), Failed> {
    let cells = row.to_cells();
    let values: Vec<&(dyn ToSql + Sync)> = cells.iter().map(|value| value as _).collect();
    client.execute(&insertion::<R>(names), &values).await.map(drop)
}

fn insertion<R: Row>(names: &Names) -> String {
    format!("INSERT INTO {} ({}) VALUES ({})", names.of(R::TABLE), R::LIST, places(0, R::COLUMNS.len()).join(", "))
}

/// An entry as the append takes it.
fn to_append(draft: &Draft) -> serde_json::Value {
    let text = |text: &str| text::stored(text).into_owned();
    let optional = |value: Option<&str>| value.map(text);
    let Draft { row, entry_digest, asks } = draft;
    serde_json::json!({
        "now_ms": row.now_ms,
        "actor": text(&canonical(&row.actor.0)),
        "action": text(&row.action),
        "evidence": i64::from(row.evidence),
        "root_run_id": optional(row.root_run_id.as_ref().map(|id| id.as_str())),
        "run_id": optional(row.run_id.as_ref().map(|id| id.as_str())),
        "turn": row.turn,
        "idx": row.idx,
        "approval_id": optional(row.approval_id.as_ref().map(|id| id.as_str())),
        "execution_id": optional(row.execution_id.as_ref().map(|id| id.as_str())),
        "tool_name": optional(row.tool_name.as_deref()),
        "call_digest": optional(row.call_digest.as_deref()),
        "payload": text(&row.payload),
        "entry_digest": entry_digest,
        "asks": asks,
    })
}

/// A text as a literal, whatever `standard_conforming_strings` is. A message of several statements binds no values.
pub(super) fn literal(text: &str) -> String {
    format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The first half of the number of the lock under which the schema is made: `kern`. Every other lock of kern begins with the number
/// of a table.
pub(super) const LOCKS: i32 = i32::from_be_bytes(*b"kern");
