//! Statements of somebody else's, in kern's own transaction: what a transactional call writes.
//!
//! Each is prepared, so that it is one statement, and begins with a word that changes rows, so that it ends no transaction.
//! What it does besides, through functions and triggers of theirs as well, is seen afterwards: the server counts the rows
//! that this transaction has changed in each table, and says what its settings are.

use std::error::Error as StdError;

use bytes::BytesMut;
use tokio_postgres::Error as Failed;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use super::failure::{is_lost, within};
use super::tx::PostgresTx;
use crate::Result;
use crate::cell::Table;
use crate::names::Names;
use crate::requests::{SqlValue, Write, check_statement};

/// kern's tables whose names are not configurable.
const OWN: [&str; 2] = ["kern_migrations", "kern_names"];

/// A value as text, which the server reads as the type that the statement expects.
#[derive(Debug)]
struct Bound<'a>(&'a SqlValue);

impl ToSql for Bound<'_> {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let number =
            matches!(*kind, Type::INT2 | Type::INT4 | Type::INT8 | Type::NUMERIC | Type::FLOAT4 | Type::FLOAT8);
        match self.0 {
            SqlValue::Null => return Ok(IsNull::Yes),
            SqlValue::Bool(truth) if number => out.extend_from_slice(if *truth { b"1" } else { b"0" }),
            SqlValue::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
            SqlValue::Integer(value) => out.extend_from_slice(value.to_string().as_bytes()),
            SqlValue::Real(value) => out.extend_from_slice(value.to_string().as_bytes()),
            SqlValue::Text(text) => out.extend_from_slice(text.as_bytes()),
            SqlValue::Blob(bytes) => {
                out.extend_from_slice(b"\\x");
                for byte in bytes {
                    out.extend_from_slice(format!("{byte:02x}").as_bytes());
                }
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        self.to_sql(kind, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

/// What a guest leaves as it is: who the session is, its settings but those that are nobody's, and how often this
/// transaction has looked into kern's tables, and how many rows of them it has changed.
fn untouched(names: &Names) -> String {
    let tables: Vec<String> = Table::ALL
        .iter()
        .map(|table| names.of(*table))
        .chain(OWN)
        .map(|name| format!("'{name}'::pg_catalog.regclass::pg_catalog.oid"))
        .collect();
    format!(
        "SELECT pg_catalog.concat_ws(' ', current_user, session_user, pg_catalog.current_setting('role'),
            pg_catalog.current_setting('track_counts'),
            (SELECT pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat(name, '=', setting), ' ' ORDER BY name))
             FROM pg_catalog.pg_settings WHERE category <> 'Customized Options'),
            (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', kept,
                pg_catalog.pg_stat_get_xact_numscans(kept), pg_catalog.pg_stat_get_xact_tuples_inserted(kept),
                pg_catalog.pg_stat_get_xact_tuples_updated(kept), pg_catalog.pg_stat_get_xact_tuples_deleted(kept)), ' ')
             FROM pg_catalog.unnest(ARRAY[{}]) AS kept)),
            pg_catalog.current_setting('track_counts')",
        tables.join(", ")
    )
}

/// Why writes are not done.
enum Why {
    /// What is wrong with one of them.
    Theirs(String),
    /// The store's own trouble. `None`: the server did not answer in time.
    Ours(Option<Failed>),
}

impl PostgresTx {
    /// All of them, or none.
    pub(super) async fn write_all(&mut self, writes: Vec<Write>) -> Result<Result<(), String>> {
        // Its session may be left with what a guest has put there; nobody else gets it.
        self.had_guest = true;
        match self.guests(&writes).await {
            Ok(()) => Ok(Ok(())),
            Err(Why::Ours(error)) => Err(self.broken(error)),
            Err(Why::Theirs(why)) => {
                let back = within(self.patience, self.connection().batch_execute("ROLLBACK TO SAVEPOINT kern_writes"));
                match back.await {
                    Ok(()) => Ok(Err(why)),
                    Err(error) => Err(self.broken(error)),
                }
            }
        }
    }

    async fn guests(&self, writes: &[Write]) -> Result<(), Why> {
        let connection = self.connection();
        let untouched = untouched(&self.names);
        let look = async || {
            let row = within(self.patience, connection.query_one(&untouched, &[])).await.map_err(Why::Ours)?;
            let look = row.try_get(0).and_then(|all| Ok((all, row.try_get(1)?)));
            look.map_err(|error| Why::Ours(Some(error)))
        };
        let saved = within(self.patience, connection.batch_execute("SAVEPOINT kern_writes")).await;
        saved.map_err(Why::Ours)?;
        let (before, counts): (String, String) = look().await?;
        if counts != "on" {
            let why = "the server counts no rows (`track_counts`), so that nobody would see what a statement changed";
            return Err(Why::Theirs(why.to_owned()));
        }
        let count = writes.len();
        for (place, write) in (1..).zip(writes) {
            let refused = |why: String| {
                Why::Theirs(format!("write {place} of {count} was refused, and none of them stays: {why}"))
            };
            check_statement(&write.sql).map_err(refused)?;
            let done = within(self.patience, async {
                let statement = connection.prepare(&write.sql).await?;
                let bound: Vec<Bound<'_>> = write.params.iter().map(Bound).collect();
                let expected = statement.params().len();
                if expected != bound.len() {
                    return Ok(Some(format!("it has {expected} places for values, and {} were given", bound.len())));
                }
                let bound: Vec<&(dyn ToSql + Sync)> = bound.iter().map(|value| value as _).collect();
                connection.query(&statement, &bound).await.map(|_| None)
            });
            match done.await {
                Ok(None) => {}
                Ok(Some(why)) => return Err(refused(why)),
                Err(error) => return Err(theirs(error).map_or_else(Why::Ours, refused)),
            }
        }
        // What they put off is done now, where it can be refused and seen.
        let put_off = within(self.patience, connection.batch_execute("SET CONSTRAINTS ALL IMMEDIATE")).await;
        put_off.map_err(|error| theirs(error).map_or_else(Why::Ours, Why::Theirs))?;
        let (after, _): (String, String) = match look().await {
            // They have put the tables out of sight.
            Err(Why::Ours(error)) => return Err(theirs(error).map_or_else(Why::Ours, Why::Theirs)),
            other => other?,
        };
        if after != before {
            let why = "the writes were refused, and none of them stays: they read or changed kern's own tables, or the \
                       session's settings";
            return Err(Why::Theirs(why.to_owned()));
        }
        let kept = within(self.patience, connection.batch_execute("RELEASE SAVEPOINT kern_writes")).await;
        kept.map_err(Why::Ours)
    }
}

/// What is wrong with a statement, unless it is the store that has trouble.
fn theirs(error: Option<Failed>) -> Result<String, Option<Failed>> {
    let ours = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::DISK_FULL,
        SqlState::OUT_OF_MEMORY,
    ];
    let Some(error) = error else { return Err(None) };
    match error.as_db_error() {
        Some(said) if !is_lost(&error) && !ours.contains(said.code()) => {
            Ok(format!("{} ({})", said.message(), said.code().code()))
        }
        // A value that cannot be written is told before anything is sent.
        None if !is_gone(&error) => Ok(error.to_string()),
        _ => Err(Some(error)),
    }
}

fn is_gone(error: &Failed) -> bool {
    let said = error.to_string();
    !said.starts_with("error serializing parameter")
}
