//! Brings a file to the schema this build knows, under SQLite's write lock.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{counts, failed};
use crate::cell::Table;
use crate::digest::sha256;
use crate::memory::wall_clock;
use crate::migrations::{Migration, agree, had, newest, recorded_names};
use crate::names::Names;
use crate::{Error, Result, fault};

/// The migrations, in order. One that was ever released is never edited: the next number is added.
const MIGRATIONS: &[Migration] = &[
    (1, "init", include_str!("../../migrations/sqlite/0001_init.sql")),
    (2, "edits", include_str!("../../migrations/sqlite/0002_edits.sql")),
    (3, "policy", include_str!("../../migrations/sqlite/0003_policy.sql")),
    (4, "audit", include_str!("../../migrations/sqlite/0004_audit.sql")),
    (5, "erasure", include_str!("../../migrations/sqlite/0005_erasure.sql")),
    (6, "lists", include_str!("../../migrations/sqlite/0006_lists.sql")),
    (7, "keys", include_str!("../../migrations/sqlite/0007_keys.sql")),
    (8, "requests", include_str!("../../migrations/sqlite/0008_requests.sql")),
    (9, "webhooks", include_str!("../../migrations/sqlite/0009_webhooks.sql")),
    (10, "rowids", include_str!("../../migrations/sqlite/0010_rowids.sql")),
    (11, "counts", include_str!("../../migrations/sqlite/0011_counts.sql")),
    (12, "members", include_str!("../../migrations/sqlite/0012_members.sql")),
    (13, "sessions", include_str!("../../migrations/sqlite/0013_sessions.sql")),
];

/// kern's own two tables have fixed names, so that every program finds the others through them.
const OWN: &str = "
    CREATE TABLE IF NOT EXISTS kern_migrations (
        version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS kern_names (
        word TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL
    ) STRICT;";

const ACTION: &str = "bring the database to this version's schema";

/// Applies what is missing, and gives the names of the tables: the recorded ones, where there are any.
pub(super) fn migrate(connection: &mut Connection, wanted: &[(Table, String)]) -> Result<Names> {
    // A file that is up to date is not written: opening it must not wait for a busy writer.
    if let Some(applied) = applied(connection)?
        && had(MIGRATIONS, &applied)? == MIGRATIONS.len()
    {
        let names = agree(recorded(connection)?, wanted)?;
        return complete(connection, names);
    }
    // A table that is made anew is gone for a moment. SQLite takes the setting between transactions only.
    connection.execute_batch("PRAGMA foreign_keys = OFF").map_err(sql)?;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    tx.execute_batch(OWN).map_err(sql)?;
    let done = had(MIGRATIONS, &applied(&tx)?.unwrap_or_default())?;
    let names = if done == 0 {
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
        names
    } else {
        agree(recorded(&tx)?, wanted)?
    };
    for (version, name, text) in &MIGRATIONS[done..] {
        fault::point(fault::MIGRATE, name)?;
        apply(&tx, &names.fill(text))?;
        tx.execute(
            "INSERT INTO kern_migrations (version, name, checksum, applied_at_ms) VALUES (?, ?, ?, ?)",
            (version, name, sha256(text), wall_clock()),
        )
        .map_err(sql)?;
    }
    for table in Table::ALL {
        tx.execute("INSERT OR IGNORE INTO kern_names (word, name) VALUES (?, ?)", (table.word(), names.of(table)))
            .map_err(sql)?;
    }
    fault::point(fault::COMMIT, ACTION)?;
    tx.commit().map_err(sql)?;
    connection.execute_batch("PRAGMA foreign_keys = ON").map_err(sql)?;
    fault::point(fault::COMMITTED, ACTION)?;
    Ok(names)
}

/// Before a line of a migration that names tables which are to have rowids from there on.
const ROWIDS: &str = "--! rowids ";

/// Executes a migration, line after line.
fn apply(connection: &Connection, text: &str) -> Result<()> {
    let mut parts = text.split(ROWIDS);
    connection.execute_batch(parts.next().unwrap_or_default()).map_err(sql)?;
    for part in parts {
        let (tables, rest) = part.split_once('\n').unwrap_or((part, ""));
        tables.split_whitespace().try_for_each(|table| give_rowids(connection, table))?;
        connection.execute_batch(rest).map_err(sql)?;
    }
    Ok(())
}

/// Makes a table anew, with rowids, from its own definition: whatever columns, indexes and triggers it has by now.
fn give_rowids(connection: &Connection, table: &str) -> Result<()> {
    let mut statement = connection
        .prepare(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL ORDER BY type = 'table' DESC",
        )
        .map_err(sql)?;
    let definitions = statement.query_map([table], |row| row.get(0)).and_then(Iterator::collect);
    let definitions: Vec<String> = definitions.map_err(sql)?;
    let (made, around) = definitions.split_first().ok_or_else(|| Error::corrupt(table, "the table is missing"))?;
    let columns = made.find('(').and_then(|start| made[start..].strip_suffix(", WITHOUT ROWID"));
    // One that has them stays.
    let Some(columns) = columns else { return Ok(()) };
    // Legacy: what other tables say of this one by its name stays as it is, while there is none of that name and afterwards.
    connection
        .execute_batch(&format!(
            "PRAGMA legacy_alter_table = ON;
             CREATE TABLE {table}_with_rowids {columns};
             INSERT INTO {table}_with_rowids SELECT * FROM {table};
             DROP TABLE {table};
             ALTER TABLE {table}_with_rowids RENAME TO {table};
             PRAGMA legacy_alter_table = OFF;"
        ))
        .map_err(sql)?;
    around.iter().try_for_each(|definition| connection.execute_batch(definition)).map_err(sql)
}

/// Gives the names of the tables of a file that is up to date, and changes nothing in it.
pub(super) fn find(connection: &Connection, path: &Path, wanted: &[(Table, String)]) -> Result<Names> {
    let Some(applied) = applied(connection)? else {
        let detail = "it is a SQLite database without kern's tables".to_owned();
        return Err(Error::NoStore { place: format!("`{}`", path.display()), detail });
    };
    if had(MIGRATIONS, &applied)? < MIGRATIONS.len() {
        let found = applied.last().map_or(0, |(version, _)| *version);
        return Err(Error::Older { found, known: newest(MIGRATIONS) });
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

/// Version and checksum of the migrations a file has had. `None`: it never had any.
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

/// What of the schema is not as the migrations make it: its name, and what is wrong. Whatever else a database holds is not
/// kern's business, but for triggers on kern's tables.
pub(super) fn faults(connection: &Connection, names: &Names) -> Result<Vec<(String, String)>> {
    let fresh = Connection::open_in_memory().map_err(sql)?;
    fresh.execute_batch("PRAGMA foreign_keys = OFF").map_err(sql)?;
    fresh.execute_batch(OWN).map_err(sql)?;
    for (_, _, text) in MIGRATIONS {
        apply(&fresh, &names.fill(text))?;
    }
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
