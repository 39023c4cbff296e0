//! The statement that starts a call decides alone, whatever was read before it.

use super::*;
use crate::db::{Db as _, Transitions as _};
use crate::memory::InMemoryDb;
use crate::requests::{ClaimRun, RunClaimed};
use crate::store::Lane;
use crate::transitions::fixture::paused;
use crate::{Caller, Resolution};

/// A call that may start, and whose execution gets another state between the look and the start. Says what came of the start.
async fn started_after(status: ExecutionStatus, effect: Effect) -> CallClaimed {
    let db = InMemoryDb::new();
    let (run, approval_id) = paused(&db, effect).await;
    let yes = Resolution::approved().by("bob");
    db.update_approval(&approval_id, ApprovalStatus::Pending, yes).await.expect("it is approved");
    let request =
        ClaimRun { run_id: run.run_id.clone(), fence: run.fence, turn: 1, caller: Caller::Worker, lease_ms: 60_000 };
    let RunClaimed::Claimed(claim) = db.claim_run(request).await.expect("it is claimed") else {
        panic!("nothing is missing");
    };
    let start_anyway = db.write(Lane::Normal, "start a call", move |tx| {
        Box::pin(async move {
            let run = own(tx, &claim).await?;
            let rows = call(tx, &claim.run_id, 1, 0).await?;
            let now = tx.now().await?;
            let Readiness::Ready(ready) = readiness(tx, &run, rows, now).await? else {
                panic!("nothing keeps it from starting");
            };
            let of_it = vec![E::C.id.is(ready.execution.id.clone())];
            tx.update(vec![E::C.status.to(status)], of_it).await?;
            start(tx, &run, *ready, 60_000, now).await
        })
    });
    start_anyway.await.expect("the store answers")
}

#[test]
fn i6_a_call_starts_from_ready_and_from_no_other_state() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("there is a runtime");
    let started_after = |status, effect| runtime.block_on(started_after(status, effect));
    for effect in [Effect::Once, Effect::Idempotent] {
        assert!(matches!(started_after(ExecutionStatus::Ready, effect), CallClaimed::Claimed(_)), "{effect:?}");
        for status in [
            ExecutionStatus::Executing,
            ExecutionStatus::Succeeded,
            ExecutionStatus::Failed,
            ExecutionStatus::Unknown,
            ExecutionStatus::Abandoned,
        ] {
            let started = started_after(status, effect);
            assert!(!matches!(started, CallClaimed::Claimed(_)), "{status:?}, {effect:?}");
        }
    }
}
