//! A few connections that can only read. A reader never waits for the writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::place::Place;
use super::tx::SqliteTx;
use super::{failed, keep_statements, say, unavailable};
use crate::names::Names;
use crate::{Result, fault};

/// Reads that run at the same time.
const READERS: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Readers {
    path: Arc<PathBuf>,
    place: Arc<Place>,
    names: Arc<Names>,
    busy_timeout: Duration,
    places: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, place: Arc<Place>, names: Arc<Names>, busy_timeout: Duration) -> Self {
        Self {
            path: Arc::new(path),
            place,
            names,
            busy_timeout,
            places: Arc::new(Semaphore::new(READERS)),
            idle: Arc::default(),
        }
    }

    /// Runs a job on a connection that can only read, in one transaction: it sees one state of the store.
    pub(super) async fn run<V, F>(&self, action: &'static str, job: F) -> Result<V>
    where
        V: Send + 'static,
        F: FnOnce(&mut SqliteTx<'_>) -> Result<V> + Send + 'static,
    {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|error| unavailable(action, error))?;
        let readers = self.clone();
        let read = move || {
            let _place = place;
            readers.run_now(action, job)
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| unavailable(action, error))?
    }

    /// Runs a job in the calling thread.
    pub(super) fn run_now<V, F>(&self, action: &'static str, job: F) -> Result<V>
    where
        F: FnOnce(&mut SqliteTx<'_>) -> Result<V>,
    {
        fault::point(fault::READ, action)?;
        self.place.check(action)?;
        let rested = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match rested {
            Some(connection) => connection,
            None => connect(&self.path, self.busy_timeout).map_err(|error| failed(action, error))?,
        };
        say(&connection, "BEGIN").map_err(|error| failed(action, error))?;
        let outcome = job(&mut SqliteTx::new(&connection, &self.names, action));
        // A connection that cannot even end its transaction is not used again.
        if say(&connection, "COMMIT").is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        outcome
    }
}

pub(super) fn connect(path: &std::path::Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    // Read-write because a WAL file needs its shared memory; query_only takes the writing away.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")?;
    keep_statements(&connection, 64)?;
    Ok(connection)
}
