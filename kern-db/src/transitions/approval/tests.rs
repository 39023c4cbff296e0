//! The statement that decides an approval decides alone, whatever was read before it.

use super::*;
use crate::Effect;
use crate::db::Db as _;
use crate::memory::InMemoryDb;
use crate::store::Lane;
use crate::transitions::fixture::paused;

/// A pending approval that gets another state, or another version, between the look and the decision. Says what came of the
/// decision, and the row after it.
async fn decided_after(status: ApprovalStatus, versions: u32) -> (Result<()>, Approval) {
    let db = InMemoryDb::new();
    let (run, approval_id) = paused(&db, Effect::Once).await;
    let id = approval_id.clone();
    let decided = db.write(Lane::Normal, "decide an approval", move |tx| {
        Box::pin(async move {
            let run = super::super::run(tx, &run.run_id).await?;
            let rows = call(tx, &run.run_id, 1, 0).await?;
            let approval = rows.approval.clone().expect("it is asked for");
            let now = tx.now().await?;
            let resolution = Resolution::approved().by("bob");
            let actor = Actor::of(resolution.by.as_ref());
            let set = vec![A::C.status.to(status), A::C.version.to(approval.version + versions)];
            tx.update(set, vec![A::C.id.is(id)]).await?;
            let (rows, approval, resolution) = (&rows, &approval, &resolution);
            let deciding = Deciding { run: &run, rows, approval, resolution, actor, now };
            // Kept either way: what it has done to the row is what is looked at.
            Ok(match deciding.close(tx, ApprovalStatus::Approved).await {
                Ok(_) => Ok(()),
                Err(Refused::Keep(error) | Refused::Undo(error)) => Err(error),
            })
        })
    });
    let decided = decided.await.expect("the store answers");
    (decided, db.get_approval(&approval_id).await.expect("it can be read").expect("it is there"))
}

#[test]
fn a2_an_approval_is_decided_while_it_is_pending_and_in_the_version_that_was_looked_at() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("there is a runtime");
    let decided_after = |status, versions| runtime.block_on(decided_after(status, versions));
    let (decided, row) = decided_after(ApprovalStatus::Pending, 0);
    assert!(decided.is_ok(), "{decided:?}");
    assert_eq!((row.status, row.resolved_by.as_deref()), (ApprovalStatus::Approved, Some("bob")));
    for status in
        [ApprovalStatus::Approved, ApprovalStatus::Rejected, ApprovalStatus::Expired, ApprovalStatus::Cancelled]
    {
        let (decided, row) = decided_after(status, 0);
        assert!(matches!(decided, Err(Error::Conflict { .. })), "{status:?}: {decided:?}");
        assert_eq!((row.status, row.resolved_by), (status, None), "nothing is written over it");
    }
    let (decided, row) = decided_after(ApprovalStatus::Pending, 1);
    assert!(matches!(decided, Err(Error::Conflict { .. })), "{decided:?}");
    assert_eq!(row.status, ApprovalStatus::Pending);
}
