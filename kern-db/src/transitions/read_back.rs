//! Reads back a claim (R4, X2, X3) whose acknowledgement was lost, by its owner token.

use serde_json::json;

use super::execution::call_claim;
use super::{CallRows, calls, check_bound, evidence, next, restore, run};
use crate::audit::{Entry, READ_BACK};
use crate::records::principal::Actor;
use crate::records::run::RunRow;
use crate::requests::{CallClaim, ClaimCall, ClaimRun, RunClaim};
use crate::rules::check_started;
use crate::tx::{Step, Tx};
use crate::{ExecutionStatus, RunStatus};

/// Reads back R4, and the start that was claimed with it. `None`: the run is not claimed by this attempt.
///
/// This is a transaction of its own that writes an entry, for two reasons. On a server with a synchronous standby, what one
/// session reads may be lost with the primary; a later commit that returned without a warning shows that the claim lasts. And
/// a start has to be in the mark before its body is entered: the entry makes the store write the mark before it answers.
pub(crate) async fn run_claim<T: Tx>(tx: &mut T, request: ClaimRun) -> Step<Option<(RunClaim, Option<CallClaim>)>> {
    // Not of a store that was set back: the history that was lost may hold another start.
    restore::open(tx).await?;
    let fence = next(request.fence, "runs.fence")?;
    let claim = RunClaim { run_id: request.run_id, fence, owner: request.owner.0 };
    // Locked by its id: a claim whose commit still waits for a standby holds this lock, and is waited for.
    let run = run(tx, &claim.run_id).await?;
    if !is_claimed_by(&run, &claim) {
        return Ok(None);
    }
    let entry = Entry::new(READ_BACK, Actor::Runtime, &run.run_id).turn(run.turn);
    tx.journal().record(entry.evidence().payload(json!({ "fence": fence })));
    let mut started = None;
    for rows in calls(tx, &run.run_id, run.turn).await? {
        if is_started_by(&rows, &claim.owner) {
            started = Some(start(tx, &run, &rows, &claim.owner).await?);
        }
    }
    Ok(Some((claim, started)))
}

/// Reads back X2 or X3. `None`: the call is not started by this attempt, or its run is not the caller's any more.
pub(crate) async fn call_start<T: Tx>(tx: &mut T, request: ClaimCall) -> Step<Option<CallClaim>> {
    restore::open(tx).await?;
    let run = run(tx, &request.claim.run_id).await?;
    // A cancel or a recovery was answered meanwhile: no body begins after it.
    if !is_claimed_by(&run, &request.claim) {
        return Ok(None);
    }
    let rows = calls(tx, &run.run_id, request.turn).await?;
    let rows = rows.into_iter().find(|rows| rows.call.idx == request.index);
    match rows.filter(|rows| is_started_by(rows, &request.owner.0)) {
        Some(rows) => Ok(Some(start(tx, &run, &rows, &request.owner.0).await?)),
        None => Ok(None),
    }
}

/// Interleaving prevented: the claim of this process was not committed, another process claims the same run, and this process
/// takes that claim for its own: two processes then drive one run. The token tells them apart, and no two attempts have the
/// same one; the fence tells apart the claims of one attempt that a restore has brought back.
fn is_claimed_by(run: &RunRow, claim: &RunClaim) -> bool {
    run.status == RunStatus::Running && run.owner.as_ref() == Some(&claim.owner) && run.fence == claim.fence
}

/// Interleaving prevented: another process has started the call, and this one enters the body a second time. And: the lease ended,
/// recovery has given the start up (X5 keeps its owner), a person has settled it or had it run again, and the body begins
/// afterwards. A call whose start was given up is not EXECUTING, or has another owner.
fn is_started_by(rows: &CallRows, owner: &str) -> bool {
    let execution = rows.execution.as_ref();
    execution.is_some_and(|row| row.status == ExecutionStatus::Executing && row.owner.as_deref() == Some(owner))
}

/// The start, if rows and log agree about it: the rows were read by the claim, and are read again here.
async fn start<T: Tx>(tx: &mut T, run: &RunRow, rows: &CallRows, owner: &str) -> Step<CallClaim> {
    let checked = match check_bound(tx, run, rows).await {
        Ok(entries) => check_started(rows, &entries),
        Err(error) => Err(error),
    };
    if let Err(error) = checked {
        return Err(evidence(tx, &run.run_id, Actor::Runtime, error).await);
    }
    let execution = rows.execution.as_ref().expect("a call that is started has an execution");
    let entry = Entry::new(READ_BACK, Actor::Runtime, &run.run_id).call(&rows.call).execution(&execution.id);
    tx.journal().record(entry.evidence().payload(json!({ "attempt": execution.attempt, "fence": execution.fence })));
    Ok(call_claim(execution, &rows.call, owner.to_owned(), execution.fence, execution.attempt))
}
