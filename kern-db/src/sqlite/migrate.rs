//! Gives a file the schema of this build, under SQLite's write lock, where it has none.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::tx::SqliteTx;
use super::{counts, failed};
use crate::audit::opening;
use crate::cell::Table;
use crate::clock::wall_clock;
use crate::digest::sha256;
use crate::migrations::{NAME, SCHEMA, agree, is_current, recorded_names};
use crate::names::Names;
use crate::tx::{Tx as _, finish_now};
use crate::{Error, Result, fault};

/// The schema. It is edited in place until the first release: see [`SCHEMA`].
const TEXT: &str = include_str!("../../migrations/sqlite/0001_init.sql");

/// kern's own two tables have fixed names, so that every program finds the others through them.
const OWN: &str = "
    CREATE TABLE IF NOT EXISTS kern_migrations (
        version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS kern_names (
        word TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL
    ) STRICT;";

const ACTION: &str = "bring the database to this version's schema";

/// Makes the tables where there are none, and gives their names: the recorded ones, where there are any.
pub(super) fn migrate(connection: &mut Connection, wanted: &[(Table, String)]) -> Result<Names> {
    // A file that has the schema is not written: opening it must not wait for a busy writer.
    if let Some(applied) = applied(connection)?
        && is_current(TEXT, &applied)?
    {
        let names = agree(recorded(connection)?, wanted)?;
        return complete(connection, names);
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    tx.execute_batch(OWN).map_err(sql)?;
    // Another process may have made them before this one had the lock.
    if is_current(TEXT, &applied(&tx)?.unwrap_or_default())? {
        return agree(recorded(&tx)?, wanted);
    }
    let names = Names::new(wanted)?;
    for table in Table::ALL {
        if exists(&tx, names.of(table))? {
            return Err(Error::Invalid(format!(
                "`{}` cannot name the {} table: the database has something of that name",
                names.of(table),
                table.word()
            )));
        }
    }
    fault::point(fault::MIGRATE, NAME)?;
    tx.execute_batch(&names.fill(TEXT)).map_err(sql)?;
    tx.execute(
        "INSERT INTO kern_migrations (version, name, checksum, applied_at_ms) VALUES (?, ?, ?, ?)",
        (SCHEMA, NAME, sha256(TEXT), wall_clock()),
    )
    .map_err(sql)?;
    for table in Table::ALL {
        tx.execute("INSERT OR IGNORE INTO kern_names (word, name) VALUES (?, ?)", (table.word(), names.of(table)))
            .map_err(sql)?;
    }
    let (store, first) = opening(wall_clock());
    let mut rows = SqliteTx::new(&tx, &names, ACTION);
    finish_now(rows.insert(&store))?;
    finish_now(rows.insert(&first))?;
    drop(rows);
    fault::point(fault::COMMIT, ACTION)?;
    tx.commit().map_err(sql)?;
    fault::point(fault::COMMITTED, ACTION)?;
    Ok(names)
}

/// Gives the names of the tables of a file that has the schema, and changes nothing in it.
pub(super) fn find(connection: &Connection, path: &Path, wanted: &[(Table, String)]) -> Result<Names> {
    let Some(applied) = applied(connection)? else {
        let detail = "it is a SQLite database without kern's tables".to_owned();
        return Err(Error::NoStore { place: format!("`{}`", path.display()), detail });
    };
    if !is_current(TEXT, &applied)? {
        return Err(Error::TooOld { found: 0, known: SCHEMA });
    }
    let names = agree(recorded(connection)?, wanted)?;
    complete(connection, names)
}

fn sql(error: rusqlite::Error) -> Error {
    failed(ACTION, error)
}

/// Whether the database has a table, a view or an index of this name. SQLite's names have no case.
fn exists(connection: &Connection, name: &str) -> Result<bool> {
    let found: Option<i64> = connection
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = ? COLLATE NOCASE", [name], |row| row.get(0))
        .optional()
        .map_err(sql)?;
    Ok(found.is_some())
}

/// The names, if the database has a table for each of them: history that is gone is not an empty history.
fn complete(connection: &Connection, names: Names) -> Result<Names> {
    for table in Table::ALL {
        // A view of that name would show what somebody likes to show.
        let kind: Option<String> = connection
            .query_row("SELECT type FROM sqlite_schema WHERE name = ? COLLATE NOCASE", [names.of(table)], |row| {
                row.get(0)
            })
            .optional()
            .map_err(sql)?;
        match kind.as_deref() {
            Some("table") => {}
            Some(_) => return Err(Error::corrupt(names.of(table), "it is no table")),
            None => return Err(Error::corrupt(names.of(table), "the table is missing")),
        }
    }
    Ok(names)
}

/// Number and checksum of the schema that a file has recorded. `None`: it never had any.
fn applied(connection: &Connection) -> Result<Option<Vec<(i64, String)>>> {
    if !exists(connection, "kern_migrations")? {
        return Ok(None);
    }
    let mut statement =
        connection.prepare("SELECT version, checksum FROM kern_migrations ORDER BY version").map_err(sql)?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).map_err(sql)?;
    rows.collect::<rusqlite::Result<_>>().map(Some).map_err(sql)
}

fn recorded(connection: &Connection) -> Result<Names> {
    if !exists(connection, "kern_names")? {
        return Err(Error::corrupt("kern_names", "the table is missing"));
    }
    let mut statement = connection.prepare("SELECT word, name FROM kern_names").map_err(sql)?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).map_err(sql)?;
    recorded_names(rows.collect::<rusqlite::Result<Vec<(String, String)>>>().map_err(sql)?)
}

/// What a schema holds, without the blanks of its definitions.
fn definitions(connection: &Connection) -> Result<BTreeMap<String, (String, String)>> {
    let mut statement = connection
        .prepare("SELECT type, name, lower(tbl_name), sql FROM sqlite_schema WHERE sql IS NOT NULL")
        .map_err(sql)?;
    let rows = statement
        .query_map((), |row| {
            let kind: String = row.get(0)?;
            let (name, table, sql): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let sql = sql.split_whitespace().collect::<String>();
            Ok((format!("{kind} `{name}`"), (table, sql)))
        })
        .map_err(sql)?;
    rows.collect::<rusqlite::Result<_>>().map_err(sql)
}

/// What of the schema is not as the schema makes it: its name, and what is wrong. Whatever else a database holds is not
/// kern's business, but for triggers on kern's tables.
pub(super) fn faults(connection: &Connection, names: &Names) -> Result<Vec<(String, String)>> {
    let fresh = Connection::open_in_memory().map_err(sql)?;
    fresh.execute_batch(OWN).map_err(sql)?;
    fresh.execute_batch(&names.fill(TEXT)).map_err(sql)?;
    let (made, found) = (definitions(&fresh)?, definitions(connection)?);
    let mut faults = Vec::new();
    for (name, definition) in &made {
        match found.get(name) {
            None => faults.push((name.clone(), "kern made it, and it is gone".to_owned())),
            Some(other) if other != definition => {
                faults.push((name.clone(), "it is not as kern made it".to_owned()));
            }
            Some(_) => {}
        }
    }
    let ours = |table: &str| {
        let own = Table::ALL.iter().map(|table| names.of(*table).to_owned()).chain([counts::table(names)]);
        own.into_iter().any(|own| own.eq_ignore_ascii_case(table))
    };
    for (name, (table, _)) in found.iter().filter(|(name, _)| name.starts_with("trigger") && !made.contains_key(*name))
    {
        if ours(table) {
            faults.push((name.clone(), format!("it is on `{table}`, and kern did not make it")));
        }
    }
    Ok(faults)
}
