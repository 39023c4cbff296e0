//! R6, R7, X5 and X6 by anyone: what happens to the rows of a process that is gone.

use serde_json::json;

use super::{all_calls, close_rows, lose, lose_start, next, restore, run};
use crate::audit::Entry;
use crate::records::principal::Actor;
use crate::records::run::RunRow;
use crate::requests::Recovered;
use crate::tx::{Refused, Step, Tx};
use crate::{Error, ExecutionStatus, RunId, RunStatus};

use RunRow as R;

/// A run that was recovered this often since its last turn was committed is given up: something in it kills its owners.
const RECOVERIES: u32 = 3;

/// Recovers a run whose owner's lease is over. Its executing calls, whose leases are over too, become unknown, or ready to be
/// started again where their effect allows it.
pub(crate) async fn recover<T: Tx>(tx: &mut T, run_id: RunId) -> Step<Recovered> {
    // Z2 says what becomes of the rows of a store that was set back.
    restore::open(tx).await?;
    let run = run(tx, &run_id).await?;
    let calls = all_calls(tx, &run_id).await?;
    let now = tx.now().await?;
    let over = |lease: Option<i64>| lease.is_none_or(|lease| now >= lease);
    let executing = || {
        calls
            .iter()
            .filter_map(|rows| rows.execution.as_ref().map(|execution| (rows, execution)))
            .filter(|(_, execution)| execution.status == ExecutionStatus::Executing)
    };
    let lost = run.status == RunStatus::Running
        && over(run.lease_until_ms)
        && !executing().any(|(_, execution)| !over(execution.lease_until_ms));
    // Without its input no process can drive it: input that the hooks have not passed is never stored.
    let gone = lost && (run.input.is_none() || run.recoveries >= RECOVERIES);
    for (rows, execution) in executing().filter(|(_, execution)| over(execution.lease_until_ms)) {
        let why = "the process that ran it is gone";
        if gone {
            // Nothing of a run that ends here is started again.
            lose(tx, execution, why, Actor::Recovery).await?;
        } else {
            lose_start(tx, &run, rows, execution, why, Actor::Recovery, now).await?;
        }
    }
    if !lost {
        return Ok(Recovered::NotNeeded);
    }
    let (fence, recoveries) = (next(run.fence, "runs.fence")?, next(run.recoveries, "runs.recoveries")?);
    let status = if gone { RunStatus::Error } else { RunStatus::Paused };
    let recovered = tx
        .update(
            vec![
                R::C.status.to(status),
                R::C.owner.to(None),
                R::C.lease_until_ms.to(None),
                R::C.fence.to(fence),
                R::C.recoveries.to(recoveries),
                R::C.updated_at_ms.to(now),
            ],
            vec![
                R::C.run_id.is(run_id.clone()),
                R::C.status.is(RunStatus::Running),
                R::C.fence.is(run.fence),
                R::C.lease_until_ms.is(run.lease_until_ms),
            ],
        )
        .await?;
    if recovered != 1 {
        return Err(Refused::Undo(Error::NotMine { run_id }));
    }
    let action = if gone { "run_failed" } else { "run_recovered" };
    let entry = Entry::new(action, Actor::Recovery, &run_id).turn(run.turn);
    tx.journal().record(entry.payload(json!({ "recoveries": recoveries })));
    tx.journal().tell(if gone { "run.ended" } else { "run.paused" }, &run_id, None, None);
    if gone {
        let calls = all_calls(tx, &run_id).await?;
        close_rows(tx, &calls, &Actor::Recovery, now).await?;
        return Ok(Recovered::Failed);
    }
    Ok(Recovered::Paused)
}
