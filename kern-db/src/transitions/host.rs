//! The hosts of a store, and the confirmation of a database that another one took the place of.

use serde_json::json;

use crate::audit::Entry;
use crate::records::host::{Host, HostRow};
use crate::records::principal::{Actor, Principal, check_named};
use crate::records::store::StoreRow;
use crate::requests::Quarantine;
use crate::tx::{Query, Refused, Step, Tx};
use crate::{Error, Result};

use HostRow as H;
use StoreRow as S;

/// How long a host may claim calls after its last heartbeat. It sends one more often, and stops when that fails.
pub(crate) const SILENT_MS: i64 = 60_000;

async fn all<T: Tx>(tx: &mut T) -> Result<Vec<HostRow>> {
    tx.select::<H>(Query::of(Vec::new()).oldest(H::C.added_at_ms.order()).oldest(H::C.id.order())).await
}

/// Lists the hosts, the first one first.
pub(crate) async fn list<T: Tx>(tx: &mut T) -> Result<Vec<Host>> {
    let server = tx.server();
    let rows = all(tx).await?;
    let host = |row: HostRow| Host {
        compared: server.as_deref().is_none_or(|server| server == row.server),
        id: row.id,
        name: row.name,
        added_at_ms: row.added_at_ms,
        seen_at_ms: row.seen_at_ms,
    };
    Ok(rows.into_iter().map(host).collect())
}

/// Compares the database with the one that the log was last confirmed in.
///
/// # Errors
///
/// [`Error::StoreRestored`]: it is another one, and a host has not compared its mark with it yet.
pub(crate) async fn check_confirmed<T: Tx>(tx: &mut T, store: &StoreRow) -> Step<()> {
    match waits_for(tx, store).await? {
        None => Ok(()),
        Some(hosts) => Err(Refused::Undo(Error::StoreRestored { what: Quarantine::Unconfirmed { hosts }.to_string() })),
    }
}

/// The hosts that a database which took the place of another one waits for. `None`: it is confirmed.
pub(crate) async fn waits_for<T: Tx>(tx: &mut T, store: &StoreRow) -> Result<Option<Vec<String>>> {
    let Some(server) = tx.server().filter(|server| store.server.as_ref() != Some(server)) else { return Ok(None) };
    let missing = all(tx).await?.into_iter().filter(|host| host.server != server);
    Ok(Some(missing.map(|host| format!("{} ({})", host.id, host.name)).collect()))
}

/// Records that a host has compared its mark with the database, and that the log is whole there once every host has.
///
/// Interleaving prevented: host B starts a body, its commit is lost in a failover, and host A, whose mark lies in the log, starts
/// the same call again before host B has shown what it started.
#[cfg_attr(not(feature = "postgres"), allow(dead_code))]
pub(crate) async fn confirm<T: Tx>(tx: &mut T, host: &str, server: &str) -> Result<()> {
    let store = tx.one::<S>(Vec::new()).await?;
    let store = store.ok_or_else(|| Error::corrupt("store", "the row about the store is missing"))?;
    tx.update(vec![H::C.server.to(server.to_owned())], vec![H::C.id.is(host.to_owned())]).await?;
    if store.server.as_deref() == Some(server) || all(tx).await?.iter().any(|host| host.server != server) {
        return Ok(());
    }
    let changed =
        tx.update(vec![S::C.server.to(Some(server.to_owned()))], vec![S::C.server.is(store.server.clone())]).await?;
    if changed != 1 {
        return Err(Error::Busy { action: "confirm a failover" });
    }
    let entry = Entry::of_no_run("failover_confirmed", Actor::Recovery);
    tx.journal().record(entry.payload(json!({ "from": store.server, "to": server })));
    Ok(())
}

/// Takes a host from the list that does not come back. What it started and did not replicate cannot be known then.
pub(crate) async fn retire<T: Tx>(tx: &mut T, id: String, by: Principal, note: String) -> Step<Host> {
    check_named(Some(&by))?;
    if note.trim().is_empty() {
        return Err(Error::Invalid("a host is only retired with a reason: add a note".to_owned()).into());
    }
    let host = tx.one::<H>(vec![H::C.id.is(id.clone())]).await?;
    let host = host.ok_or_else(|| Error::NotFound { entity: "host", id: id.clone() })?;
    let store = tx.store().await?;
    let now = tx.clock().await?.saturating_add(tx.journal().ahead_ms());
    // Interleaving prevented: the host is cut off, its lease still holds, and a call that it has claimed starts beside it.
    let over = host.seen_at_ms.saturating_add(SILENT_MS).saturating_add(store.lease_ms);
    if now < over {
        let for_s = over.saturating_sub(now) / 1000 + 1;
        let what = format!(
            "host `{id}` may still drive runs: it was heard of {} s ago. Stop its processes, and retire it in {for_s} s",
            now.saturating_sub(host.seen_at_ms) / 1000
        );
        return Err(Error::Invalid(what).into());
    }
    let gone = tx.delete(Query::of(vec![H::C.id.is(id.clone()), H::C.seen_at_ms.is(host.seen_at_ms)])).await?;
    if gone != 1 {
        return Err(Error::Busy { action: "retire a host" }.into());
    }
    let entry = Entry::of_no_run("host_retired", Actor::of(Some(&by)));
    tx.journal().record(entry.payload(json!({ "host": id, "name": host.name, "server": host.server, "note": note })));
    let compared = tx.server().is_none_or(|server| server == host.server);
    let HostRow { id, name, added_at_ms, seen_at_ms, .. } = host;
    Ok(Host { id, name, compared, added_at_ms, seen_at_ms })
}
