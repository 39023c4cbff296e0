//! A6, X7 and X8 by whoever looks for what is past its time.

use super::run::expire_due;
use super::{all_calls, run};
use crate::records::approval::ApprovalRow;
use crate::records::execution::ExecutionRow;
use crate::requests::Swept;
use crate::tx::{Query, Step, Tx};
use crate::{ApprovalStatus, ExecutionStatus, Result, RunId};

use ApprovalRow as A;
use ExecutionRow as E;

/// Runs with something that is past its time, those that are longest so first.
pub(crate) async fn overdue<T: Tx>(tx: &mut T, limit: u64) -> Result<Vec<RunId>> {
    let now = tx.now().await?;
    let pending = vec![A::C.status.is(ApprovalStatus::Pending), A::C.expires_at.at_most(Some(now / 1000))];
    let pending = Query::of(pending).oldest(A::C.expires_at.order()).limit(limit);
    let ready = vec![E::C.status.is(ExecutionStatus::Ready), E::C.valid_until_ms.at_most(Some(now))];
    let ready = Query::of(ready).oldest(E::C.valid_until_ms.order()).limit(limit);
    let approvals = tx.select::<ApprovalRow>(pending).await?.into_iter();
    let mut due: Vec<(i64, RunId)> =
        approvals.map(|row| (row.expires_at.unwrap_or(0).saturating_mul(1000), row.run_id)).collect();
    let executions = tx.select::<ExecutionRow>(ready).await?.into_iter();
    due.extend(executions.map(|row| (row.valid_until_ms.unwrap_or(0), row.run_id)));
    due.sort();
    let mut runs = Vec::new();
    for (_, run_id) in due {
        if !runs.contains(&run_id) {
            runs.push(run_id);
        }
    }
    runs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(runs)
}

/// Closes what is past its time in one run, in all of its turns.
pub(crate) async fn run_due<T: Tx>(tx: &mut T, run_id: RunId) -> Step<Swept> {
    let run = run(tx, &run_id).await?;
    let calls = all_calls(tx, &run.run_id).await?;
    let now = tx.now().await?;
    expire_due(tx, &calls, now).await
}
