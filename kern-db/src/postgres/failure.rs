//! What PostgreSQL's errors mean to a caller.

use std::error::Error as _;

use deadpool_postgres::PoolError;
use deadpool_postgres::tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::Error as Failed;

use crate::{Error, Result};

/// What an error of the driver means. Nothing of what the server says about values is kept: a detail quotes rows.
pub(super) fn failed(action: &'static str, error: &Failed) -> Error {
    let Some(said) = error.as_db_error() else {
        return unavailable(action, chain(error));
    };
    let code = said.code();
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
    if [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_COLUMN].contains(code) {
        return Error::corrupt("the schema", said.message());
    }
    unavailable(action, words(said))
}

/// What an error of the pool means.
pub(super) fn no_connection(action: &'static str, error: &PoolError) -> Error {
    match error {
        PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => Error::Busy { action },
        PoolError::Backend(error) => failed(action, error),
        PoolError::PostCreateHook(deadpool_postgres::HookError::Backend(error)) => failed(action, error),
        other => unavailable(action, other.to_string()),
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
    let (PoolError::Backend(error) | PoolError::PostCreateHook(deadpool_postgres::HookError::Backend(error))) = error
    else {
        return false;
    };
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
