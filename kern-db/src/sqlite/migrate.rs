//! Brings a file to the schema this build knows, under SQLite's write lock.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::failed;
use super::names::Names;
use crate::cell::Table;
use crate::digest::sha256;
use crate::memory::wall_clock;
use crate::{Error, Result, fault};

/// The migrations, in order. One that was ever released is never edited: the next number is added.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "init", include_str!("../../migrations/sqlite/0001_init.sql")),
    (2, "edits", include_str!("../../migrations/sqlite/0002_edits.sql")),
    (3, "policy", include_str!("../../migrations/sqlite/0003_policy.sql")),
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
        && check(&applied)? == MIGRATIONS.len()
    {
        let names = agree(recorded(connection)?, wanted)?;
        return complete(connection, names);
    }
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sql)?;
    tx.execute_batch(OWN).map_err(sql)?;
    let done = check(&applied(&tx)?.unwrap_or_default())?;
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
        tx.execute_batch(&names.fill(text)).map_err(sql)?;
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
    fault::point(fault::COMMITTED, ACTION)?;
    Ok(names)
}

/// Gives the names of the tables of a file that is up to date, and changes nothing in it.
pub(super) fn find(connection: &Connection, path: &Path, wanted: &[(Table, String)]) -> Result<Names> {
    let Some(applied) = applied(connection)? else {
        let detail = "it is a SQLite database without kern's tables".to_owned();
        return Err(Error::NoStore { place: format!("`{}`", path.display()), detail });
    };
    if check(&applied)? < MIGRATIONS.len() {
        let found = applied.last().map_or(0, |(version, _)| *version);
        return Err(Error::Older { found, known: newest() });
    }
    let names = agree(recorded(connection)?, wanted)?;
    complete(connection, names)
}

/// The newest schema this build knows.
fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |(version, ..)| *version)
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

/// How many of this build's migrations a file has had.
fn check(applied: &[(i64, String)]) -> Result<usize> {
    let known = newest();
    if let Some((found, _)) = applied.iter().find(|(version, _)| *version > known) {
        return Err(Error::Newer { found: *found, known });
    }
    for ((found, checksum), (version, name, text)) in applied.iter().zip(MIGRATIONS) {
        if found != version || *checksum != sha256(text) {
            let detail = format!("migration {found} is not this build's {version} `{name}`");
            return Err(Error::corrupt("kern_migrations", detail));
        }
    }
    Ok(applied.len())
}

fn recorded(connection: &Connection) -> Result<Names> {
    if !exists(connection, "kern_names")? {
        return Err(Error::corrupt("kern_names", "the table is missing"));
    }
    let mut found = Vec::new();
    let mut statement = connection.prepare("SELECT word, name FROM kern_names").map_err(sql)?;
    let rows = statement.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).map_err(sql)?;
    for row in rows {
        let (word, name) = row.map_err(sql)?;
        let table = Table::ALL.into_iter().find(|table| table.word() == word);
        let table = table.ok_or_else(|| Error::corrupt("kern_names", format!("`{word}` is no table of kern")))?;
        found.push((table, name));
    }
    Names::new(&found).map_err(|error| Error::corrupt("kern_names", error))
}

/// The recorded names, unless the caller asks for others: looking into other tables would find nothing waiting.
fn agree(names: Names, wanted: &[(Table, String)]) -> Result<Names> {
    for (table, name) in wanted {
        if names.of(*table) != name {
            return Err(Error::Invalid(format!(
                "the {} table of this database is `{}`, not `{name}`: leave the name out, or open another file",
                table.word(),
                names.of(*table)
            )));
        }
    }
    Ok(names)
}
