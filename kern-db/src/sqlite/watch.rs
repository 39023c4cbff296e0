//! Noticing that the file has changed: at once where this process wrote, soon where another did. A hint, nothing more.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Notify;

use super::readers::connect;
use super::{failed, unavailable};
use crate::Result;
use crate::store::prelude::*;

/// How often the file is asked whether another process has written. It is asked in memory that processes share, which
/// takes some microseconds.
const LOOK: Duration = Duration::from_millis(50);
const ACTION: &str = "look whether the store has changed";

/// Who waits for a change of the file.
#[derive(Debug)]
pub(super) struct Watch {
    path: Arc<PathBuf>,
    busy_timeout: Duration,
    /// Told after each commit of this process.
    changes: Arc<Notify>,
    /// SQLite's number of a file's version is a connection's own: it is only ever compared with one of the same connection.
    connection: Arc<Mutex<Option<Connection>>>,
}

impl Watch {
    pub(super) fn new(path: PathBuf, busy_timeout: Duration) -> Self {
        Self { path: Arc::new(path), busy_timeout, changes: Arc::default(), connection: Arc::default() }
    }

    pub(super) fn changes(&self) -> &Arc<Notify> {
        &self.changes
    }

    /// Waits until the file may have changed.
    pub(super) fn next_change(&self) -> DbFuture<'_, ()> {
        // Made here: what this process writes before this is awaited counts, too.
        let mut change = Box::pin(self.changes.notified());
        Box::pin(async move {
            let before = self.version().await?;
            while tokio::time::timeout(LOOK, change.as_mut()).await.is_err() && self.version().await? == before {}
            Ok(())
        })
    }

    /// A number that is another one after each commit by another connection.
    async fn version(&self) -> Result<i64> {
        let (path, busy_timeout, connection) =
            (Arc::clone(&self.path), self.busy_timeout, Arc::clone(&self.connection));
        let look = move || {
            let mut place = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = match place.take() {
                Some(connection) => connection,
                None => connect(&path, busy_timeout)?,
            };
            let version = connection.query_row("PRAGMA data_version", (), |row| row.get(0))?;
            // One that failed is not kept.
            *place = Some(connection);
            Ok(version)
        };
        let looked = tokio::task::spawn_blocking(look).await.map_err(|error| unavailable(ACTION, error))?;
        looked.map_err(|error| failed(ACTION, error))
    }
}
