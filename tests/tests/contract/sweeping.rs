//! A6, X7 and X8 by a sweeper: what is past its time is closed, also in runs that nobody continues.

use kern_db::{ApprovalStatus, Effect, Ended, ExecutionStatus, Finished, Outcome, RunId, Standing, Swept};
use kern_tests::steps::{Store, required, user, wait_until};

async fn swept(store: &Store, run_id: &RunId) -> (u32, u32, u32) {
    let Swept { expired, abandoned, unknown, .. } = store.sweep_run(run_id.clone()).await.unwrap();
    (expired, abandoned, unknown)
}

async fn a6_x7_and_x8_are_swept_once_each(store: &Store) {
    let undecided = store.paused(&[required().expires_in_ms(0), required()]).await;
    let unused = store.paused(&[required().valid_for_ms(0)]).await;
    store.approve(&unused, 0).await.unwrap();
    let retried = store.paused(&[required().valid_for_ms(400).effect(Effect::Transactional)]).await;
    let until = store.approve(&retried, 0).await.unwrap().execution.unwrap().created_at_ms + 400;
    let claim = store.resumed(&retried).await;
    let call = store.start(&claim, 0).await;
    let lost = store.finish_call(call.ticket(), Ended::Lost("gone".to_owned()), Vec::new()).await.unwrap();
    assert_eq!(lost, Finished::Retry);
    let in_time = store.paused(&[required().expires_in_ms(600_000), user()]).await;
    wait_until(until).await;
    // A whole second, since expiry counts in them.
    wait_until(store.approval_row_due(&undecided).await).await;

    let due = store.overdue(100).await.unwrap();
    assert!([&undecided, &unused, &retried].iter().all(|run_id| due.contains(run_id)), "{due:?}");
    assert_eq!((due.len(), due.contains(&in_time)), (3, false));
    assert_eq!(store.overdue(1).await.unwrap().len(), 1);
    assert_eq!(swept(store, &undecided).await, (1, 0, 0));
    assert_eq!(swept(store, &unused).await, (0, 1, 0));
    assert_eq!(swept(store, &retried).await, (0, 0, 1));
    for run_id in [&undecided, &unused, &retried, &in_time] {
        assert_eq!(swept(store, run_id).await, (0, 0, 0));
    }
    assert!(store.overdue(100).await.unwrap().is_empty());
    assert_eq!(store.call_at(&undecided, 0).await.standing, Standing::Outcome(Outcome::Expired));
    assert_eq!(store.call_at(&undecided, 1).await.approval.unwrap().status, ApprovalStatus::Pending);
    assert_eq!(store.call(&unused).await.execution.unwrap().status, ExecutionStatus::Abandoned);
    assert_eq!(store.call(&retried).await.standing, Standing::Unknown);
    for (run_id, word) in [(&undecided, "expired"), (&unused, "abandoned"), (&retried, "unknown")] {
        assert_eq!(store.count(run_id, word).await, 1, "{word}");
    }
}

async fn a6_a_sweep_races_an_approval(store: &Store) {
    for _ in 0..8 {
        let run_id = store.paused(&[required().expires_in_ms(0)]).await;
        let due = store.approval_row_due(&run_id).await;
        wait_until(due - 2).await;
        let (sweeper, approver) = (store.second().await, store.shared());
        let (id, swept) = (store.approval_id(&run_id, 0).await, run_id.clone());
        let sweeping = tokio::spawn(async move { sweeper.sweep_run(swept).await });
        let yes = kern_db::Resolution::approved().by("bob");
        let approved = tokio::spawn(async move { approver.update_approval(&id, ApprovalStatus::Pending, yes).await });
        let (swept, approved) = (sweeping.await.unwrap().unwrap(), approved.await.unwrap());
        let status = store.approval(&run_id).await.status;
        match approved {
            Ok(_) => assert_eq!((status, swept.expired), (ApprovalStatus::Approved, 0)),
            Err(_) => assert_eq!(status, ApprovalStatus::Expired),
        }
        assert_eq!(store.count(&run_id, "expired").await + store.count(&run_id, "approved").await, 1);
    }
}

on_each_store! {
    a6_a_sweep_races_an_approval,
    a6_x7_and_x8_are_swept_once_each,
}
