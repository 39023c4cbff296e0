//! Gives a database the schema of this build, under a lock, where it has none, or only looks at it.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error as Failed};

use super::address::Address;
use super::connection::{NoSession, Object, PoolError};
use super::failure::{failed, no_connection};
use super::tx::{LOCKS, add};
use crate::audit::opening;
use crate::cell::Table;
use crate::clock::wall_clock;
use crate::digest::sha256;
use crate::migrations::{NAME, SCHEMA, agree, is_current, recorded_names};
use crate::names::Names;
use crate::{Error, Result, fault};

/// The schema. It is edited in place until the first release: see [`SCHEMA`].
const TEXT: &str = include_str!("../../migrations/postgres/0001_init.sql");

/// kern's own two tables have fixed names, so that every program finds the others through them.
const OWN: &str = "
    CREATE TABLE IF NOT EXISTS kern_migrations (
        version BIGINT NOT NULL PRIMARY KEY, name TEXT COLLATE \"C\" NOT NULL, checksum TEXT COLLATE \"C\" NOT NULL,
        applied_at_ms BIGINT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS kern_names (
        word TEXT COLLATE \"C\" NOT NULL PRIMARY KEY, name TEXT COLLATE \"C\" NOT NULL
    );";

const ACTION: &str = "bring the database to this version's schema";

/// Makes the tables where there are none, and gives their names: the recorded ones, where there are any.
pub(super) async fn migrate(connection: Object, wanted: &[(Table, String)], busy: Duration) -> Result<Names> {
    let (schema, server) = (schema(&connection).await?, connection.behind.server());
    // A database that has the schema is not written: who opens it may not be allowed to.
    if let Some(applied) = applied(&connection).await?
        && is_current(TEXT, &applied)?
    {
        let names = agree(recorded(&connection).await?, wanted)?;
        return complete(&connection, names).await;
    }
    connection.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE").await.map_err(sql)?;
    match apply(&connection, &schema, server, wanted, busy).await {
        Ok(names) => {
            fault::point(fault::COMMIT, ACTION)?;
            connection.batch_execute("COMMIT").await.map_err(sql)?;
            fault::point(fault::COMMITTED, ACTION)?;
            Ok(names)
        }
        Err(error) => {
            // Its transaction ends with it.
            drop(Object::take(connection));
            Err(error)
        }
    }
}

/// The schema that has the tables, or will have them.
async fn schema(connection: &Client) -> Result<String> {
    let asked = "SELECT quote_ident(current_schema()), current_setting('search_path')";
    let row = connection.query_one(asked, &[]).await.map_err(sql)?;
    let (found, path): (Option<String>, String) = (row.try_get(0).map_err(sql)?, row.try_get(1).map_err(sql)?);
    found.ok_or_else(|| {
        Error::Invalid(format!(
            "no schema of the search path `{path}` is there: make one (`CREATE SCHEMA`), or name another in the address \
             (`?options=-c%20search_path%3DNAME`)"
        ))
    })
}

async fn apply(
    connection: &Client,
    schema: &str,
    server: Option<String>,
    wanted: &[(Table, String)],
    busy: Duration,
) -> Result<Names> {
    let lock = format!("SELECT pg_advisory_xact_lock({LOCKS}, 0)");
    connection.batch_execute(&lock).await.map_err(sql)?;
    // What others wait for ends as before; what is done here takes as long as it takes.
    let patient = format!("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {}", busy.as_millis());
    connection.batch_execute(&patient).await.map_err(sql)?;
    connection.batch_execute(OWN).await.map_err(sql)?;
    // Another process may have made them before this one had the lock.
    if is_current(TEXT, &applied(connection).await?.unwrap_or_default())? {
        return agree(recorded(connection).await?, wanted);
    }
    let names = Names::new(wanted)?;
    for table in Table::ALL {
        if kind(connection, names.of(table)).await?.is_some() {
            return Err(Error::Invalid(format!(
                "`{}` cannot name the {} table: the database has something of that name",
                names.of(table),
                table.word()
            )));
        }
    }
    fault::point(fault::MIGRATE, NAME)?;
    connection.batch_execute(&names.fill(TEXT).replace("{schema}", schema)).await.map_err(sql)?;
    let insert = "INSERT INTO kern_migrations (version, name, checksum, applied_at_ms) VALUES ($1, $2, $3, $4)";
    connection.execute(insert, &[&SCHEMA, &NAME, &sha256(TEXT), &wall_clock()]).await.map_err(sql)?;
    let clock = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    let now: i64 = connection.query_one(clock, &[]).await.and_then(|row| row.try_get(0)).map_err(sql)?;
    let (mut store, first) = opening(now);
    store.server = server;
    add(connection, &names, &store).await.map_err(sql)?;
    add(connection, &names, &first).await.map_err(sql)?;
    for table in Table::ALL {
        let insert = "INSERT INTO kern_names (word, name) VALUES ($1, $2) ON CONFLICT (word) DO NOTHING";
        connection.execute(insert, &[&table.word(), &names.of(table)]).await.map_err(sql)?;
    }
    Ok(names)
}

/// Whether this build still knows the schema. A newer kern may have changed it while this process runs.
///
/// # Errors
///
/// [`Error::Newer`], and [`Error::Corrupt`] where the database does not say.
pub(super) fn not_newer(found: Option<i64>) -> Result<()> {
    match found {
        Some(found) if found > SCHEMA => Err(Error::Newer { found, known: SCHEMA }),
        Some(_) => Ok(()),
        None => Err(Error::corrupt("kern_migrations", "it names no version")),
    }
}

/// Gives the names of the tables of a database that has the schema, and changes nothing in it.
pub(super) async fn find(connection: &Client, address: &Address, wanted: &[(Table, String)]) -> Result<Names> {
    schema(connection).await?;
    let Some(applied) = applied(connection).await? else {
        let detail = "it is a database without kern's tables".to_owned();
        return Err(Error::NoStore { place: format!("`{address}`"), detail });
    };
    if !is_current(TEXT, &applied)? {
        return Err(Error::TooOld { found: 0, known: SCHEMA });
    }
    let names = agree(recorded(connection).await?, wanted)?;
    complete(connection, names).await
}

/// Reads the id of the store.
pub(super) async fn store_id(connection: &Client, names: &Names) -> Result<String> {
    let asked = format!("SELECT store_id FROM {}", names.of(Table::Store));
    let row = connection.query_opt(&asked, &[]).await.map_err(sql)?;
    let row = row.ok_or_else(|| Error::corrupt("store", "the row about the store is missing"))?;
    row.try_get(0).map_err(|error| Error::corrupt("store.store_id", error))
}

/// What it means that a database cannot be reached when it is opened.
pub(super) fn not_opened(address: &Address, error: PoolError) -> Error {
    if let PoolError::Backend(NoSession::Driver(said)) = &error
        && said.code() == Some(&SqlState::INVALID_CATALOG_NAME)
    {
        let detail = "there is no such database".to_owned();
        return Error::NoStore { place: format!("`{address}`"), detail };
    }
    no_connection("connect to the database", error)
}

#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn sql(error: Failed) -> Error {
    failed(ACTION, &error)
}

/// What the database has under this name: the letter of the catalog, `r` for a table.
async fn kind(connection: &Client, name: &str) -> Result<Option<String>> {
    let sql_text = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)";
    let row = connection.query_opt(sql_text, &[&name]).await.map_err(sql)?;
    row.map(|row| row.try_get(0)).transpose().map_err(sql)
}

/// The names, if the database has a table for each of them: history that is gone is not an empty history.
async fn complete(connection: &Client, names: Names) -> Result<Names> {
    for table in Table::ALL {
        // A view of that name would show what somebody likes to show.
        match kind(connection, names.of(table)).await?.as_deref() {
            Some("r") => {}
            Some(_) => return Err(Error::corrupt(names.of(table), "it is no table")),
            None => return Err(Error::corrupt(names.of(table), "the table is missing")),
        }
    }
    Ok(names)
}

/// Number and checksum of the schema that a database has recorded. `None`: it never had any.
async fn applied(connection: &Client) -> Result<Option<Vec<(i64, String)>>> {
    if kind(connection, "kern_migrations").await?.is_none() {
        return Ok(None);
    }
    let rows = connection.query("SELECT version, checksum FROM kern_migrations ORDER BY version", &[]).await;
    let rows = rows.map_err(sql)?;
    let applied: Result<_, Failed> = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
    // Somebody else's table of that name.
    applied.map(Some).map_err(|_| Error::corrupt("kern_migrations", "it is not kern's"))
}

async fn recorded(connection: &Client) -> Result<Names> {
    if kind(connection, "kern_names").await?.is_none() {
        return Err(Error::corrupt("kern_names", "the table is missing"));
    }
    let rows = connection.query("SELECT word, name FROM kern_names", &[]).await.map_err(sql)?;
    let names: Result<Vec<(String, String)>, Failed> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
    recorded_names(names.map_err(|_| Error::corrupt("kern_names", "it is not kern's"))?)
}

/// What guards the tables, and is not as the schema made it: its name, and what is wrong.
pub(super) async fn faults(connection: &Client, names: &Names) -> Result<Vec<(String, String)>, Failed> {
    let mut faults = Vec::new();
    for table in Table::ALL {
        let name = names.of(table);
        let mut fault = |what: String, why: &str| faults.push((what, why.to_owned()));
        let kind = "SELECT relkind = 'r' AND NOT relhasrules AND EXISTS (
                        SELECT 1 FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'p')
                    FROM pg_class WHERE oid = to_regclass($1)";
        match connection.query_opt(kind, &[&name]).await?.map(|row| row.try_get(0)).transpose()? {
            Some(true) => {}
            Some(false) => fault(name.to_owned(), "it has a rule, no primary key, or is no table"),
            None => {
                fault(name.to_owned(), "the table is missing");
                continue;
            }
        }
        let triggers = "SELECT tgname::text, tgenabled = 'A', prosrc, proname::text
                        FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid
                        WHERE tgrelid = to_regclass($1) AND NOT tgisinternal";
        let rows = connection.query(triggers, &[&name]).await?;
        let guard = guard(table, names);
        let lower = name.to_ascii_lowercase();
        let mut expected = match guard {
            Some(_) => vec![format!("{lower}_guard"), format!("{lower}_no_truncate")],
            None => Vec::new(),
        };
        for row in &rows {
            let (trigger, always, source): (String, bool, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            if !expected.contains(&trigger) {
                fault(trigger, "the trigger is not kern's");
                continue;
            }
            expected.retain(|other| *other != trigger);
            if !always {
                fault(trigger, "the trigger is switched off");
            } else if row.try_get::<_, String>(3)? != format!("{lower}_guard") || Some(source) != guard {
                fault(trigger, "the trigger's function is not as kern wrote it");
            }
        }
        for trigger in expected {
            fault(trigger, "the trigger is missing");
        }
    }
    let append = format!("{}_append", names.of(Table::Audit).to_ascii_lowercase());
    let sources = "SELECT prosrc FROM pg_proc WHERE proname = $1 AND pronamespace = current_schema()::regnamespace
                   AND provolatile = 'v' AND NOT prosecdef";
    let rows = connection.query(sources, &[&append]).await?;
    let found: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, Failed>>()?;
    // Nothing that this calls may be another function of that name.
    if found.len() != 1 || Some(&found[0]) != body("{audit}_append(", "$append$", names).as_ref() {
        faults.push((append, "the function that appends to the log is not as kern wrote it".to_owned()));
    }
    Ok(faults)
}

/// The body of a function of the schema.
fn body(name: &str, quote: &str, names: &Names) -> Option<String> {
    let (_, after) = TEXT.split_once(&format!("FUNCTION {name}"))?;
    names.fill(after).split(quote).nth(1).map(str::to_owned)
}

/// The body of a table's guard, as the schema has it.
fn guard(table: Table, names: &Names) -> Option<String> {
    body(&format!("{{{}}}_guard() RETURNS", table.word()), "$guard$", names)
}
