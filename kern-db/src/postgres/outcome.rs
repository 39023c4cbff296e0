//! A commit that is not known to last: its acknowledgement was lost, or the server warned that a standby may not have it.
//!
//! It counts once a further commit of kern's own, on the same timeline, came back without a warning. Until then its caller is
//! told that it is not known.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_postgres::Error as Failed;

use super::Shared;
use super::connection::{Object, Said};
use super::failure::{unavailable, within};
use super::keeper::Place;
use super::text;
use super::tx::{LastEntry, Trace};
use crate::audit::Entry;
use crate::cell::Table;
use crate::records::principal::Actor;
use crate::store::Lane;
use crate::tx::Tx as _;
use crate::{Error, Result};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two attempts to confirm what was unknown when its caller left: the first and the longest.
const LATER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A wait for a standby ends when the standby is back.
const AS_LONG_AS_IT_TAKES: Duration = Duration::from_secs(365 * 24 * 3600);
/// Actions that an evidence entry names at most.
const NAMED: usize = 20;
/// Writes to the log of the server, and changes nothing: its commit waits for the standbys as every commit does.
const FURTHER: &str = "SELECT pg_logical_emit_message(true, 'kern', '')";

/// The commits of this process that are not known to last.
#[derive(Debug, Default)]
pub(super) struct Unresolved(Mutex<Waiting>);

#[derive(Clone, Debug, Default)]
struct Waiting {
    count: usize,
    /// What the first of them were for.
    actions: Vec<&'static str>,
    /// Whether a task confirms them.
    confirming: bool,
}

impl Unresolved {
    pub(super) fn any(&self) -> bool {
        self.lock().count > 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(action: &'static str, why: &'static str) -> Error {
    Error::CommitUnknown { action, source: why.into() }
}

const LOST: &str = "the connection was lost during the commit";
const WAITS: &str = "the commit still waits for a synchronous standby";
const OTHER: &str = "the server is another one by now, or writes on another timeline";

/// The connection was lost during the commit, or the commit came with a warning. `Ok`: it is committed, and lasts; the place of its
/// last entry.
///
/// # Errors
///
/// [`Error::Unavailable`]: it was taken back. [`Error::CommitUnknown`]: it is not known.
pub(super) async fn find(shared: &Shared, action: &'static str, trace: Option<&Trace>) -> Result<Option<Place>> {
    // A transaction without an entry is a renewal, or changed nothing.
    let Some(trace) = trace else { return Err(unknown(action, LOST)) };
    let until = Instant::now() + shared.busy_timeout.max(Duration::from_secs(1)).saturating_mul(2);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match ask(shared, trace).await {
            Word::Committed(session, place) => match shared.aside.commit(*session, FURTHER.to_owned(), left).await.1 {
                Said::Committed(_) => return Ok(Some(place)),
                Said::Waits => return Err(unknown(action, WAITS)),
                Said::Warned | Said::Refused(_) | Said::Lost => {}
            },
            Word::TakenBack => {
                return Err(unavailable(action, "the connection was lost before the commit, and nothing was stored"));
            }
            Word::Elsewhere => return Err(unknown(action, OTHER)),
            // The server cannot be asked, or it is not decided. Its session is never ended: it may wait for a standby, and
            // the server would commit without one. One that waits for words from a lost connection ends by itself.
            Word::NotYet => {}
        }
        if left.is_zero() {
            return Err(unknown(action, LOST));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The session of the commit still waits for a standby, and its caller waits no longer.
///
/// # Errors
///
/// [`Error::CommitUnknown`].
pub(super) async fn find_late(shared: &Shared, action: &'static str, trace: Option<&Trace>) -> Result<Option<Place>> {
    #[cfg(feature = "failpoints")]
    if let Some(trace) = trace
        && crate::fault::without(crate::fault::REPLICATED)
    {
        return without_the_rule(shared, action, trace).await;
    }
    let _ = (shared, trace);
    Err(unknown(action, WAITS))
}

/// How it once was: the session that waits is ended, the server commits on its own, and that counts.
#[cfg(feature = "failpoints")]
async fn without_the_rule(shared: &Shared, action: &'static str, trace: &Trace) -> Result<Option<Place>> {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = $1::text::xid8::xid";
    for _ in 0..100 {
        if let Ok(session) = shared.aside.pool.get().await {
            // The next round sees what came of it.
            let _ = session.query(end, &[&trace.xid]).await;
        }
        if let Word::Committed(_, place) = ask(shared, trace).await {
            return Ok(Some(place));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(unknown(action, WAITS))
}

enum Word {
    /// It is committed on the server of this session, and perhaps on no other.
    Committed(Box<Object>, Place),
    TakenBack,
    /// The server has another history.
    Elsewhere,
    NotYet,
}

async fn ask(shared: &Shared, trace: &Trace) -> Word {
    let Ok(session) = shared.aside.pool.get().await else { return Word::NotYet };
    // A copy of the first server may have given the number to another transaction.
    if !session.behind.shares_history(&trace.behind) {
        return Word::Elsewhere;
    }
    let asked = within(shared.busy_timeout, async {
        let status = session.query_one("SELECT pg_xact_status($1::text::xid8)", &[&trace.xid]).await?;
        let status: Option<String> = status.try_get(0)?;
        let Some(status) = status else { return Ok(None) };
        if status == "committed" {
            let LastEntry { after, now_ms, action, payload } = &trace.entry;
            let sql = format!(
                "SELECT seq, hash FROM {} WHERE shard = 0 AND seq > $1 AND now_ms = $2 AND action = $3 AND payload = $4
                 ORDER BY seq DESC LIMIT 1",
                shared.names.of(Table::Audit)
            );
            let payload = text::stored(payload);
            let found = session.query_opt(&sql, &[after, now_ms, action, &payload]).await?;
            let Some(found) = found else { return Ok(None) };
            let place = Place { seq: found.try_get(0)?, hash: found.try_get(1)? };
            return Ok(Some((status, Some(place))));
        }
        Ok::<_, Failed>(Some((status, None)))
    })
    .await;
    match asked {
        Ok(Some((_, Some(place)))) => Word::Committed(Box::new(session), place),
        Ok(Some((status, None))) if status == "aborted" => Word::TakenBack,
        Ok(Some((_, None))) => Word::NotYet,
        Ok(None) => Word::Elsewhere,
        Err(_) => {
            // It may be another one that died.
            drop(Object::take(session));
            Word::NotYet
        }
    }
}

/// What a refusal says while commits of this process are not known to last: it may rest on one of them.
pub(super) fn refusal(shared: &Shared, action: &'static str, error: Error) -> Error {
    let decided = matches!(error, Error::Conflict { .. } | Error::ExecutionConflict { .. } | Error::RunConflict { .. });
    match decided && shared.unresolved.any() {
        true => unknown(action, "what was found stored is not known to last"),
        false => error,
    }
}

/// Remembers a commit that is not known to last, and has a task confirm that the commits of this process last again. It then
/// records, as evidence, what was unknown.
pub(super) fn resolve_later(shared: &Arc<Shared>, action: &'static str) {
    let mut waiting = shared.unresolved.lock();
    waiting.count += 1;
    if waiting.actions.len() < NAMED {
        waiting.actions.push(action);
    }
    if !std::mem::replace(&mut waiting.confirming, true) {
        tokio::spawn(confirm(Arc::downgrade(shared)));
    }
}

async fn confirm(store: Weak<Shared>) {
    let mut pause = LATER.0;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LATER.1);
        let Some(shared) = store.upgrade() else { return };
        let Ok(session) = shared.later.pool.get().await else { continue };
        let lender = shared.later.clone();
        // The store may be dropped meanwhile.
        drop(shared);
        // One session waits for all that is unknown, however long the standby is away.
        let (session, said) = lender.commit(session, FURTHER.to_owned(), AS_LONG_AS_IT_TAKES).await;
        drop(session);
        let Some(shared) = store.upgrade() else { return };
        if !matches!(said, Said::Committed(_)) {
            continue;
        }
        let known = shared.unresolved.lock().clone();
        match record(&shared, &known).await {
            Ok(()) => {
                let mut waiting = shared.unresolved.lock();
                waiting.count -= known.count;
                waiting.actions.drain(..known.actions.len());
                if waiting.count == 0 {
                    waiting.confirming = false;
                    return;
                }
                pause = LATER.0;
            }
            Err(error) => {
                let cause: &(dyn std::error::Error + 'static) = &error;
                tracing::warn!(error = cause, "what was not known to be stored is not on record yet");
            }
        }
    }
}

async fn record(shared: &Arc<Shared>, known: &Waiting) -> Result<()> {
    let action = "record what was not known to be stored";
    let payload = json!({ "count": known.count, "actions": known.actions });
    let connection = shared.connection(&shared.pool, action).await?;
    let done = shared.transact(connection, Lane::Normal, action, crate::clock::ahead_ms(), move |tx| {
        tx.journal().record(Entry::of_no_run("commit_unknown", Actor::Runtime).evidence().payload(payload));
        Box::pin(async { Ok(()) })
    });
    done.await
}
