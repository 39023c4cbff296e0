//! What became of a commit whose acknowledgement was lost: the server is asked, over another connection, until it knows.

use std::time::{Duration, Instant};

use tokio_postgres::Error as Failed;

use super::Shared;
use super::failure::{unavailable, within};
use super::text;
use super::tx::{LastEntry, Mark};
use crate::Result;
use crate::cell::Table;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the server has for ending the transaction by itself, before it is told to.
const GRACE: Duration = Duration::from_millis(500);

/// `Ok`: it was committed.
///
/// # Errors
///
/// [`Error::Unavailable`](crate::Error::Unavailable), which says whether it was taken back or that nobody knows.
pub(super) async fn find(shared: &Shared, action: &'static str, mark: Option<Mark>) -> Result<()> {
    let unknown = "the connection was lost during the commit, and it is not known whether this was stored";
    // A transaction without an entry is a renewal, or changed nothing.
    let Some(mark) = mark else { return Err(unavailable(action, unknown)) };
    let began = Instant::now();
    let until = began + shared.busy_timeout.max(Duration::from_secs(1)).saturating_mul(2);
    loop {
        match ask(shared, &mark, began.elapsed() > GRACE).await {
            Some(Word::Committed) => return Ok(()),
            Some(Word::TakenBack) => {
                return Err(unavailable(action, "the connection was lost before the commit, and nothing was stored"));
            }
            Some(Word::Unknown) => return Err(unavailable(action, unknown)),
            // Nobody is there to ask, or it is not decided.
            None if Instant::now() < until => tokio::time::sleep(PAUSE).await,
            None => return Err(unavailable(action, unknown)),
        }
    }
}

enum Word {
    Committed,
    TakenBack,
    Unknown,
}

async fn ask(shared: &Shared, mark: &Mark, end_it: bool) -> Option<Word> {
    let connection = shared.aside.get().await.ok()?;
    let asked = within(shared.busy_timeout, async {
        let status = connection.query_one("SELECT pg_xact_status($1::text::xid8)", &[&mark.xid]).await?;
        let status: Option<String> = status.try_get(0)?;
        match status.as_deref() {
            Some("committed") => {
                // Another server, which was a copy of the first one, may have given the number to another transaction.
                let LastEntry { after, now_ms, action, payload } = &mark.entry;
                let sql = format!(
                    "SELECT count(*) FROM {} WHERE shard = 0 AND seq > $1 AND now_ms = $2 AND action = $3 AND payload = $4",
                    shared.names.of(Table::Audit)
                );
                let payload = text::stored(payload);
                let found = connection.query_one(&sql, &[after, now_ms, action, &payload]).await?;
                let found: i64 = found.try_get(0)?;
                Ok(Some(if found > 0 { Word::Committed } else { Word::Unknown }))
            }
            Some("aborted") => Ok(Some(Word::TakenBack)),
            Some(_) => {
                if end_it {
                    // Its session waits for words from a connection that is gone.
                    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                               WHERE backend_xid = $1::text::xid8::xid AND usename = current_user
                               AND datname = current_database() AND pid <> pg_backend_pid()";
                    connection.query(sql, &[&mark.xid]).await?;
                }
                Ok::<_, Failed>(None)
            }
            None => Ok(Some(Word::Unknown)),
        }
    })
    .await;
    match asked {
        Ok(word) => word,
        Err(_) => {
            // It may be another one that died.
            drop(deadpool_postgres::Object::take(connection));
            None
        }
    }
}
