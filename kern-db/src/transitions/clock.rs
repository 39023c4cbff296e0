//! The store's time: how it stands to the clock, and setting it back (Z3).

use serde_json::json;

use super::{call, close_pending, drop_ready};
use crate::audit::Entry;
use crate::cell::Table;
use crate::clock::StoreClock;
use crate::records::approval::ApprovalRow;
use crate::records::delivery::DeliveryRow;
use crate::records::execution::ExecutionRow;
use crate::records::principal::{Actor, Principal};
use crate::records::request::RequestRow;
use crate::records::run::RunRow;
use crate::records::store::StoreRow;
use crate::tx::{Query, Step, Tx};
use crate::{ApprovalStatus, DeliveryStatus, Error, ExecutionStatus, Result, RunStatus};

use ApprovalRow as A;
use DeliveryRow as D;
use ExecutionRow as E;
use RequestRow as Q;
use RunRow as R;
use StoreRow as S;

/// The tables with times that were computed on the clock that was ahead.
const TABLES: &[Table] =
    &[Table::Store, Table::Runs, Table::Approvals, Table::Executions, Table::Requests, Table::Deliveries];

/// Reads the store's time and its clock.
pub(crate) async fn read<T: Tx>(tx: &mut T) -> Result<StoreClock> {
    tx.now().await?;
    let time = tx.journal().time.expect("a transaction that was asked for its time has one");
    Ok(time.into())
}

/// Z3: sets the store's time back to its clock, and closes every row whose time was computed on the old one.
pub(crate) async fn reset<T: Tx>(tx: &mut T, by: Principal, note: String) -> Step<StoreClock> {
    if note.trim().is_empty() {
        return Err(Error::Invalid("the store's time is only set back with a reason: add a note".to_owned()).into());
    }
    // Without it, a row that another transaction writes meanwhile would keep a time of the old clock, and outlive the reset.
    tx.lock_tables(TABLES).await?;
    let before = tx.now().await?;
    // Without it, a process that drives a run would renew and start by the time that is taken back under it.
    let live = vec![R::C.status.is(RunStatus::Running), R::C.lease_until_ms.above(Some(before))];
    if let Some(run) = tx.select::<R>(Query::of(live).limit(1)).await?.pop() {
        return Err(Error::RunConflict { run_id: run.run_id, found: run.status, needs: LIVE }.into());
    }
    let live = vec![E::C.status.is(ExecutionStatus::Executing), E::C.lease_until_ms.above(Some(before))];
    if let Some(execution) = tx.select::<E>(Query::of(live).limit(1)).await?.pop() {
        return Err(Error::ExecutionConflict { id: execution.id, found: execution.status, needs: LIVE }.into());
    }
    let store = tx.store().await?;
    let time = tx.journal().time.expect("it was asked for above").reset();
    tx.journal().time = Some(time);
    let now = time.now_ms;
    let actor = Actor::from(&crate::Caller::Person(by));
    let pending = Query::of(vec![A::C.status.is(ApprovalStatus::Pending)]).oldest(A::C.id.order());
    let approvals = tx.select::<A>(pending).await?;
    for approval in &approvals {
        close_pending(tx, approval, ApprovalStatus::Expired, actor.clone(), None, now).await?;
    }
    let ready = Query::of(vec![E::C.status.is(ExecutionStatus::Ready)]).oldest(E::C.id.order());
    let executions = tx.select::<E>(ready).await?;
    for execution in &executions {
        let rows = call(tx, &execution.run_id, execution.turn, execution.idx).await?;
        let why = "the store's time was set back before the call was started";
        drop_ready(tx, &rows, execution, why, actor.clone(), now).await?;
    }
    let ended = Some(now);
    tx.update(
        vec![R::C.lease_until_ms.to(ended)],
        vec![R::C.lease_until_ms.above(ended), R::C.status.is(RunStatus::Running)],
    )
    .await?;
    let executing = vec![E::C.lease_until_ms.above(ended), E::C.status.is(ExecutionStatus::Executing)];
    tx.update(vec![E::C.lease_until_ms.to(ended)], executing).await?;
    tx.update(vec![Q::C.lease_until_ms.to(now)], vec![Q::C.lease_until_ms.above(now)]).await?;
    let waiting = vec![D::C.due_at_ms.above(now), D::C.status.is(DeliveryStatus::Pending)];
    tx.update(vec![D::C.due_at_ms.to(now)], waiting).await?;
    let set = vec![S::C.at_ms.to(now), S::C.wall_ms.to(now), S::C.resets.to(time.resets)];
    if tx.update(set, vec![S::C.store_id.is(store.store_id), S::C.resets.is(store.resets)]).await? != 1 {
        return Err(Error::Busy { action: "set the store's time back" }.into());
    }
    let payload = json!({
        "note": note,
        "from_ms": before,
        "expired": approvals.len(),
        "closed": executions.len(),
    });
    tx.journal().record(Entry::of_no_run("clock_reset", actor).payload(payload));
    Ok(time.into())
}

const LIVE: &str = "its process has a live lease: stop the process, or wait until the lease is over, and try again";
