//! What PostgreSQL's errors mean to a caller.

use std::error::Error as _;

use tokio_postgres::Error as Failed;
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::connection::{NoSession, PoolError};
use crate::{Error, Result};

/// What an error of the driver means. Nothing of what the server says about values is kept: a detail quotes rows.
pub(super) fn failed(action: &'static str, error: &Failed) -> Error {
    let Some(said) = error.as_db_error() else {
        let text = chain(error);
        // A column has another type than this build's.
        if text.starts_with("error serializing parameter") {
            return Error::corrupt("the schema", text);
        }
        return unavailable(action, explained(text));
    };
    let code = said.code();
    let class = code.code().get(..2).unwrap_or_default();
    if [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::TOO_MANY_CONNECTIONS,
    ]
    .contains(code)
    {
        return Error::Busy { action };
    }
    if *code == SqlState::DISK_FULL {
        return Error::Full { detail: said.message().to_owned() };
    }
    if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code) {
        return Error::corrupt("the database", said.message());
    }
    // Another transaction has made the same row meanwhile. Looked for again, it is found.
    if *code == SqlState::UNIQUE_VIOLATION && said.constraint().is_some_and(|name| name.ends_with("_pkey")) {
        return Error::Busy { action };
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        let what = format!("{}: grant it to the user that kern connects as", words(said));
        return Error::Refused { action, source: what.into() };
    }
    match class {
        // A table, a column or a function that is gone, has another name or another type, also for a statement that was
        // prepared before.
        "42" | "0A" => Error::corrupt("the schema", words(said)),
        // The connection, the resources or the operator of the server; a copy that only reads; a bug of the server.
        "08" | "53" | "55" | "57" | "58" | "F0" | "XX" => unavailable(action, words(said)),
        "25" => unavailable(action, format!("{}: {ONLY_READS}", words(said))),
        // The message itself quotes a value.
        "22" => Error::Refused { action, source: format!("a value does not fit ({})", code.code()).into() },
        // Who may connect, constraints, triggers.
        _ => Error::Refused { action, source: words(said).into() },
    }
}

pub(super) const ONLY_READS: &str = "the server takes no writes, since it is a standby or `default_transaction_read_only` is on: give \
                          the address of the primary, or of all servers, separated by commas; to only look, add \
                          `target_session_attrs=any`";

/// What the driver says, with a way out where there is one that the words do not name.
fn explained(said: String) -> String {
    // A name that differs and a time that is over are told by the words themselves.
    if said.contains("invalid peer certificate")
        && !["NotValid", "not valid", "xpired"].iter().any(|word| said.contains(word))
    {
        return format!(
            "{said}: no authority known here vouches for the server's certificate, which may be a self-signed one. Name it, or its authority, with `sslrootcert=FILE` in the address; or, where the network may be trusted, \
             speak without TLS with `sslmode=disable`"
        );
    }
    if said.contains("database does not allow writes") {
        return format!("{said}: {ONLY_READS}");
    }
    said
}

/// The same error once more.
pub(super) fn copy(error: &Error) -> Error {
    match error {
        Error::Busy { action } => Error::Busy { action },
        Error::Full { detail } => Error::Full { detail: detail.clone() },
        Error::Corrupt { place, detail } => Error::Corrupt { place: place.clone(), detail: detail.clone() },
        Error::Refused { action, source } => Error::Refused { action, source: source.to_string().into() },
        Error::Unavailable { action, source } => unavailable(action, source.to_string()),
        other => unavailable("go on with a transaction", other.to_string()),
    }
}

/// What an error of the pool means.
pub(super) fn no_connection(action: &'static str, error: PoolError) -> Error {
    match error {
        PoolError::Timeout(deadpool::managed::TimeoutType::Wait) => Error::Busy { action },
        PoolError::Timeout(_) => unavailable(action, "no connection was made in time"),
        PoolError::Backend(NoSession::Driver(error)) => failed(action, &error),
        PoolError::Backend(NoSession::Refused(error)) => error,
        PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            unavailable(action, "the connections are closed")
        }
    }
}

pub(super) fn unavailable(action: &'static str, said: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unavailable { action, source: said.into() }
}

/// Whether the connection is gone, or the server is going: what was sent last may have been done or not.
pub(super) fn is_lost(error: &Failed) -> bool {
    match error.as_db_error() {
        Some(said) => {
            matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic) | None)
                || said.code().code().starts_with("08")
                || said.code().code().starts_with("57P")
        }
        None => true,
    }
}

/// Whether a connection that could not be made may be made in a moment: the server restarts, or has no place left.
pub(super) fn is_passing(error: &PoolError) -> bool {
    let PoolError::Backend(NoSession::Driver(error)) = error else { return false };
    match error.as_db_error() {
        Some(said) => {
            let code = said.code().code();
            code.starts_with("57P") || code.starts_with("08") || *said.code() == SqlState::TOO_MANY_CONNECTIONS
        }
        // What is wrong with a password or a certificate stays wrong.
        None => ["error connecting", "error communicating", "connection closed", "timeout"]
            .iter()
            .any(|start| error.to_string().starts_with(start)),
    }
}

/// The words of a server, without what it says about values.
fn words(said: &DbError) -> String {
    format!("{} ({})", said.message(), said.code().code())
}

fn chain(error: &Failed) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Waits for an answer, and no longer than this.
///
/// # Errors
///
/// The driver's. `None`: nobody answered in time.
pub(super) async fn within<T>(
    timeout: std::time::Duration,
    work: impl Future<Output = Result<T, Failed>>,
) -> Result<T, Option<Failed>> {
    match tokio::time::timeout(timeout, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Some(error)),
        Err(_) => Err(None),
    }
}
