//! Z1, Z2, R12, R13 and X12: what happens to a store that was set back to an older copy.

use serde_json::{Value, json};

use super::settle::may_settle;
use super::{all_calls, close_rows, evidence, host, key, next, run};
use crate::audit::Entry;
use crate::records::audit::AuditRow;
use crate::records::execution::ExecutionRow;
use crate::records::key::KeyRow;
use crate::records::principal::{Actor, Principal};
use crate::records::run::RunRow;
use crate::records::store::{RestoreAcceptance, RestoreAccepted, StoreRow, StoreStatus, random_id};
use crate::requests::Quarantine;
use crate::tx::{Query, Refused, Step, Tx};
use crate::{Error, ExecutionStatus, Result, RunId, RunStatus, StoreState};

use StoreRow as S;

/// The row about the store, where it is open.
///
/// So does a database that took the place of another one, until every host has compared its mark with it.
///
/// A quarantined store lets nothing be asked, allowed, claimed or started: what its log lacks may have been started already.
pub(crate) async fn open<T: Tx>(tx: &mut T) -> Step<StoreRow> {
    let store = tx.store().await?;
    match store.state {
        StoreState::Open => host::check_confirmed(tx, &store).await.map(|()| store),
        StoreState::Quarantined => Err(Refused::Undo(quarantined())),
    }
}

pub(crate) fn quarantined() -> Error {
    let what = "the store was set back to an older copy: nothing is asked for, allowed or started until an operator has accepted \
                the loss with `kern restore --accept`";
    Error::StoreRestored { what: what.to_owned() }
}

/// The row about the store, where it is open and the run may go on in its epoch.
///
/// After an accepted restore a run's calls may have been decided and executed in the history that was lost: it goes on only
/// after R13.
pub(crate) async fn open_to<T: Tx>(tx: &mut T, run: &RunRow, actor: &Actor) -> Step<StoreRow> {
    let store = open(tx).await?;
    check_epoch(tx, run, actor).await?;
    if run.epoch != store.epoch {
        return Err(Refused::Undo(unacknowledged(&run.run_id)));
    }
    Ok(store)
}

/// A run's epoch is what the log says: a column that was set by hand would let a run go on that no person has acknowledged.
async fn check_epoch<T: Tx>(tx: &mut T, run: &RunRow, actor: &Actor) -> Step<()> {
    if run.epoch == said_epoch(tx, run).await? {
        return Ok(());
    }
    let (run_id, turn) = (run.run_id.clone(), run.turn);
    let error = Error::DigestMismatch { run_id, turn, index: 0, what: "the run's epoch and the audit log" };
    Err(evidence(tx, &run.run_id, actor.clone(), error).await)
}

fn unacknowledged(run_id: &RunId) -> Error {
    let what = format!(
        "run `{run_id}` is from before the store was set back, and what it waits for may have been decided and executed since: \
         it goes on when a person has acknowledged that"
    );
    Error::StoreRestored { what }
}

/// The epoch in which a person last let a run go on, by the log.
async fn said_epoch<T: Tx>(tx: &mut T, run: &RunRow) -> Result<String> {
    let filter =
        vec![AuditRow::C.run_id.is(Some(run.run_id.clone())), AuditRow::C.turn.is(None), AuditRow::C.idx.is(None)];
    let entries = tx.select::<AuditRow>(Query::of(filter).oldest(AuditRow::C.seq.order())).await?;
    let says =
        |entry: &&AuditRow| !entry.evidence && matches!(entry.action.as_str(), "run_started" | "restore_acknowledged");
    let Some(last) = entries.iter().rev().find(says) else { return Ok(String::new()) };
    let payload: Value = serde_json::from_str(&last.payload).map_err(|error| Error::corrupt("audit.payload", error))?;
    Ok(payload["epoch"].as_str().unwrap_or_default().to_owned())
}

/// Whether the store has a lease on record that is at least as long: Z2 waits for the longest one.
///
/// Interleaving prevented: a call is claimed with a longer lease than the store has, the store is quarantined, Z2 waits for the
/// shorter lease and accepts, and the body is entered within the longer one. The lease is therefore committed before the first
/// claim that has it ([`grant`]), and not with that claim: a process that stops in the middle of its claim would hold the lock
/// of the one row of the store.
pub(crate) fn granted(store: &StoreRow, lease_ms: i64) -> Step<()> {
    match lease_ms <= store.lease_ms {
        true => Ok(()),
        false => Err(Refused::Undo(Error::LeaseNotGranted)),
    }
}

/// Records a lease that is longer than every one before it.
pub(crate) async fn grant<T: Tx>(tx: &mut T, lease_ms: i64) -> Step<()> {
    open(tx).await?;
    // A store that another process has given a longer lease stays as it is.
    tx.update(vec![S::C.lease_ms.to(lease_ms)], vec![S::C.lease_ms.at_most(lease_ms)]).await?;
    Ok(())
}

/// Whether the log says that an epoch is closed. What a closed epoch left behind proves nothing any more.
#[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
pub(crate) async fn is_closed<T: Tx>(tx: &mut T, epoch: &str) -> Result<bool> {
    // Both columns of the index on what is of no run.
    let filter = vec![AuditRow::C.run_id.is(None), AuditRow::C.call_digest.is(Some(epoch.to_owned()))];
    let entries = tx.select::<AuditRow>(Query::of(filter).limit(8)).await?;
    Ok(entries.iter().any(|entry| entry.action == "restore_accepted" && !entry.evidence))
}

/// The hash of one entry of the log.
#[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
pub(crate) async fn hash_at<T: Tx>(tx: &mut T, seq: i64) -> Result<Option<String>> {
    let query = Query::of(vec![AuditRow::C.shard.is(0), AuditRow::C.seq.is(seq)]).limit(1);
    Ok(tx.pluck(AuditRow::C.hash, query).await?.pop())
}

/// Z1. Says whether the store was open.
pub(crate) async fn quarantine<T: Tx>(tx: &mut T, actor: Actor, proof: &Value) -> Result<bool> {
    let now = tx.now().await?;
    let closed = tx
        .update(
            vec![
                S::C.state.to(StoreState::Quarantined),
                S::C.proof.to(Some(crate::digest::canonical(proof))),
                S::C.quarantined_at_ms.to(Some(now)),
            ],
            vec![S::C.state.is(StoreState::Open)],
        )
        .await?;
    if closed == 1 {
        tx.journal().record(Entry::of_no_run("quarantined", actor).payload(json!({ "proof": proof })));
    }
    Ok(closed == 1)
}

/// Z2, with R12 for each open run and X12 for each call that is ready or executing.
pub(crate) async fn accept<T: Tx>(tx: &mut T, request: RestoreAcceptance) -> Step<RestoreAccepted> {
    let RestoreAcceptance { by, note, force, revoke_keys } = request;
    if note.trim().is_empty() {
        return Err(Error::Invalid("a restore is only accepted with a reason: add a note".to_owned()).into());
    }
    let actor = Actor::of(Some(&by));
    let found = tx.store().await?;
    let now = tx.now().await?;
    let Some(since) = found.quarantined_at_ms.filter(|_| found.state == StoreState::Quarantined) else {
        if !force {
            let what = "nothing proves that the store was set back; `--force` accepts a restore all the same";
            return Err(Error::Invalid(what.to_owned()).into());
        }
        quarantine(tx, actor, &json!({ "kind": "forced" })).await?;
        return Ok(RestoreAccepted::Waits { for_ms: found.lease_ms });
    };
    // A process that claimed a call before Z1 may enter its body as long as the lease of the claim holds.
    let over = since.saturating_add(found.lease_ms);
    if now < over {
        return Ok(RestoreAccepted::Waits { for_ms: over.saturating_sub(now) });
    }
    // In the order of all transactions: runs before executions.
    let runs = pause_runs(tx, &actor, now).await?;
    let calls = lose_calls(tx, &actor).await?;
    let keys = if revoke_keys { revoke(tx, &by).await? } else { 0 };
    let epoch = random_id();
    let accepted = tx
        .update(
            vec![
                S::C.epoch.to(epoch.clone()),
                S::C.state.to(StoreState::Open),
                S::C.proof.to(None),
                S::C.quarantined_at_ms.to(None),
                // What hosts knew of another database is of a closed epoch, too.
                S::C.server.to(tx.server()),
            ],
            vec![S::C.state.is(StoreState::Quarantined), S::C.epoch.is(found.epoch.clone())],
        )
        .await?;
    if accepted != 1 {
        return Err(Error::Busy { action: "accept a restore" }.into());
    }
    let proof: Value = match &found.proof {
        Some(proof) => serde_json::from_str(proof).map_err(|error| Error::corrupt("store.proof", error))?,
        None => Value::Null,
    };
    let entry = Entry::of_no_run("restore_accepted", actor).digest(&found.epoch);
    tx.journal().record(entry.payload(json!({
        "closed_epoch": found.epoch, "epoch": epoch, "proof": proof, "note": note, "runs": runs, "calls": calls, "keys": keys,
    })));
    Ok(RestoreAccepted::Accepted { runs, calls, keys })
}

/// X12, of every run, ended or not. No READY row is exempt, not even at attempt 0: the log that could clear it is what is
/// missing.
async fn lose_calls<T: Tx>(tx: &mut T, actor: &Actor) -> Step<u64> {
    use ExecutionRow as E;
    let mut lost = 0;
    for status in [ExecutionStatus::Ready, ExecutionStatus::Executing] {
        let query = Query::of(vec![E::C.status.is(status)]).oldest(E::C.created_at_ms.order()).oldest(E::C.id.order());
        for execution in tx.select::<ExecutionRow>(query.lock()).await? {
            let why = "the store was set back: whether it ran in the history that was lost is not known";
            let changed = tx
                .update(
                    vec![
                        E::C.status.to(ExecutionStatus::Unknown),
                        E::C.error.to(Some(why.to_owned())),
                        E::C.owner.to(None),
                        E::C.lease_until_ms.to(None),
                    ],
                    vec![E::C.id.is(execution.id.clone()), E::C.status.is(status), E::C.fence.is(execution.fence)],
                )
                .await?;
            if changed != 1 {
                return Err(Error::Busy { action: "accept a restore" }.into());
            }
            lost += 1;
            let entry = Entry::new("restored", actor.clone(), &execution.run_id).at(execution.turn, execution.idx);
            let entry = entry.execution(&execution.id).digest(&execution.decided_digest);
            tx.journal().record(entry.payload(json!({ "why": why })));
            let approval = execution.approval_id.as_ref();
            tx.journal().tell("execution.unknown", &execution.run_id, approval, Some(&execution.id));
        }
    }
    Ok(lost)
}

/// R12 for each open run; R7 where its input is not stored, because no process could drive it.
async fn pause_runs<T: Tx>(tx: &mut T, actor: &Actor, now: i64) -> Step<u64> {
    use RunRow as R;
    // Both lists before any change: a run that was RUNNING is PAUSED after its own.
    let mut rows = Vec::new();
    for status in [RunStatus::Running, RunStatus::Paused] {
        let query = Query::of(vec![R::C.status.is(status)]).oldest(R::C.run_id.order());
        rows.extend(tx.select::<RunRow>(query.lock()).await?);
    }
    let paused = rows.len() as u64;
    for row in rows {
        let status = row.status;
        let (fence, ends) = (next(row.fence, "runs.fence")?, row.input.is_none());
        let recoveries = if ends { next(row.recoveries, "runs.recoveries")? } else { row.recoveries };
        let changed = tx
            .update(
                vec![
                    R::C.status.to(if ends { RunStatus::Error } else { RunStatus::Paused }),
                    R::C.owner.to(None),
                    R::C.lease_until_ms.to(None),
                    R::C.fence.to(fence),
                    R::C.recoveries.to(recoveries),
                    R::C.updated_at_ms.to(now),
                ],
                vec![R::C.run_id.is(row.run_id.clone()), R::C.status.is(status), R::C.fence.is(row.fence)],
            )
            .await?;
        if changed != 1 {
            return Err(Error::Busy { action: "accept a restore" }.into());
        }
        if ends {
            let entry = Entry::new("run_failed", actor.clone(), &row.run_id).turn(row.turn);
            tx.journal().record(entry.payload(json!({ "recoveries": recoveries })));
            tx.journal().tell("run.ended", &row.run_id, None, None);
            let calls = all_calls(tx, &row.run_id).await?;
            close_rows(tx, &calls, actor, now).await?;
        } else {
            let entry = Entry::new("run_restored", actor.clone(), &row.run_id).turn(row.turn);
            tx.journal().record(entry.payload(json!({ "fence": fence })));
            tx.journal().tell("run.paused", &row.run_id, None, None);
        }
    }
    Ok(paused)
}

async fn revoke<T: Tx>(tx: &mut T, by: &Principal) -> Step<u64> {
    let query = Query::of(vec![KeyRow::C.revoked_at_ms.is(None)]).oldest(KeyRow::C.id.order());
    let ids = tx.pluck(KeyRow::C.id, query).await?;
    let count = ids.len() as u64;
    for id in ids {
        key::revoke(tx, id, Some(by.clone())).await?;
    }
    Ok(count)
}

/// R13: a person lets a run go on after an accepted restore. Where the run needs no such word, nothing happens.
pub(crate) async fn acknowledge<T: Tx>(
    tx: &mut T,
    run_id: RunId,
    by: Option<Principal>,
    note: Option<String>,
) -> Step<()> {
    let row = run(tx, &run_id).await?;
    let calls = all_calls(tx, &run_id).await?;
    let store = open(tx).await?;
    check_epoch(tx, &row, &Actor::of(by.as_ref())).await?;
    if row.epoch == store.epoch {
        return Ok(());
    }
    if row.status != RunStatus::Paused {
        let needs = "only a paused run is acknowledged after a restore";
        return Err(Refused::Undo(Error::RunConflict { run_id, found: row.status, needs }));
    }
    // A person who may settle the run's calls may let it go on. The requester may not, unless every call's policy has `allow_self`.
    if calls.is_empty() {
        may_settle(&row, None, by.as_ref())?;
    }
    for rows in &calls {
        may_settle(&row, Some(rows), by.as_ref())?;
    }
    let now = tx.now().await?;
    let changed = tx
        .update(
            vec![RunRow::C.epoch.to(store.epoch.clone()), RunRow::C.updated_at_ms.to(now)],
            vec![
                RunRow::C.run_id.is(run_id.clone()),
                RunRow::C.status.is(RunStatus::Paused),
                RunRow::C.fence.is(row.fence),
                RunRow::C.epoch.is(row.epoch.clone()),
            ],
        )
        .await?;
    if changed != 1 {
        return Err(Refused::Undo(Error::NotMine { run_id }));
    }
    let entry = Entry::new("restore_acknowledged", Actor::of(by.as_ref()), &run_id);
    tx.journal().record(entry.payload(json!({ "epoch": store.epoch, "note": note })));
    Ok(())
}

/// Whether the store takes anything new.
pub(crate) async fn state<T: Tx>(tx: &mut T) -> Result<Quarantine> {
    let row = tx.store().await?;
    Ok(match row.state {
        StoreState::Open => match host::waits_for(tx, &row).await? {
            None => Quarantine::Open,
            Some(hosts) => Quarantine::Unconfirmed { hosts },
        },
        StoreState::Quarantined => Quarantine::Restored { proof: row.proof.unwrap_or_default() },
    })
}

/// What is known of the store as a whole.
pub(crate) async fn status<T: Tx>(tx: &mut T) -> Result<StoreStatus> {
    let row = tx.store().await?;
    let paused = tx.count(vec![RunRow::C.status.is(RunStatus::Paused)]).await?;
    let here = vec![RunRow::C.status.is(RunStatus::Paused), RunRow::C.epoch.is(row.epoch.clone())];
    let restored_runs = paused.saturating_sub(tx.count(here).await?);
    let proof = row.proof.as_deref().map(serde_json::from_str).transpose();
    Ok(StoreStatus {
        proof: proof.map_err(|error| Error::corrupt("store.proof", error))?,
        store_id: row.store_id,
        epoch: row.epoch,
        state: row.state,
        quarantined_at_ms: row.quarantined_at_ms,
        restored_runs,
    })
}
