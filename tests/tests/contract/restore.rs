//! Z1, Z2, R12, R13 and X12 on every store: what a quarantined store refuses, and what an accepted restore leaves.

use std::time::Duration;

use kern_db::{
    ApprovalStatus, BeginRun, CallClaimed, Caller, ClaimCall, ClaimRun, DbExt as _, Ended, Error, ExecutionFilter,
    ExecutionStatus, Finished, OwnerToken, Principal, Resolution, RestoreAcceptance, RestoreAccepted, RunClaimed,
    RunId, RunStatus, Settlement, StoreState, clock,
};
use kern_tests::steps::{APPROVER, LONG, REQUESTER, Store, begin, end, required, turn, verified};

fn operator() -> Principal {
    Principal::unverified("root")
}

fn accepted() -> RestoreAcceptance {
    RestoreAcceptance::new(operator(), "the disk failed").force()
}

/// The first half of an accepted restore that nothing proves: the store is quarantined, and every lease still runs.
async fn quarantined(store: &Store) {
    let waits = store.accept_restore(accepted()).await.unwrap();
    assert!(matches!(waits, RestoreAccepted::Waits { for_ms } if for_ms > 0), "{waits:?}");
    assert_eq!(store.store_status().await.unwrap().state, StoreState::Quarantined);
}

/// Accepts a restore, when every lease is over.
async fn restored(store: &Store) -> RestoreAccepted {
    clock::set_ahead_ms(2 * LONG);
    store.accept_restore(accepted()).await.unwrap()
}

fn is_refused<V>(outcome: Result<V, Error>) -> bool {
    matches!(outcome, Err(Error::StoreRestored { .. }))
}

async fn a_quarantined_store_takes_a_no_and_a_result_and_nothing_else(store: &Store) {
    let (claim, call) = store.executing().await;
    let waiting = store.paused(&[required()]).await;
    let refused = store.paused(&[required()]).await;
    let ready = store.paused(&[required()]).await;
    store.approve(&ready, 0).await.unwrap();
    quarantined(store).await;
    assert!(is_refused(store.begin_run(begin(&RunId::generate())).await));
    assert!(is_refused(store.approve(&waiting, 0).await));
    assert!(is_refused(store.claim_as(&ready, Caller::Worker).await));
    assert!(is_refused(store.commit_turn(turn(&claim, 2, &[required()], true)).await));
    assert!(is_refused(store.renew_run(claim.clone(), LONG).await));
    assert!(is_refused(store.end_run(end(&claim, RunStatus::Error)).await));
    assert!(is_refused(store.recover_run(claim.run_id.clone()).await));
    assert!(is_refused(store.acknowledge_restore(&waiting, None, None).await));
    // The result of a body under way, and a person's no.
    let finished = store.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), Vec::new()).await;
    assert_eq!(finished.unwrap(), Finished::Recorded);
    store.refuse(&refused, 0).await.unwrap();
    store.cancel_run(ready, Caller::Anonymous).await.unwrap();
    assert_eq!(store.approval(&refused).await.status, ApprovalStatus::Rejected);
}

/// Z2 waits for the longest lease that was ever granted, whichever claim it was granted with.
async fn a_restore_is_not_accepted_before_the_longest_lease_is_over(store: &Store) {
    let mut ahead_ms = 0;
    let mut waits = async |lease_ms: i64| {
        let waits = store.accept_restore(accepted()).await.unwrap();
        assert!(matches!(waits, RestoreAccepted::Waits { for_ms } if for_ms == lease_ms), "{waits:?}, {lease_ms}");
        ahead_ms += lease_ms;
        clock::set_ahead_ms(ahead_ms);
        let done = store.accept_restore(accepted()).await.unwrap();
        assert!(matches!(done, RestoreAccepted::Accepted { .. }), "{done:?}");
    };
    let started = store.begin_run(BeginRun { lease_ms: 2 * LONG, ..begin(&RunId::generate()) }).await.unwrap();
    store.commit_turn(turn(&started, 1, &[required()], true)).await.unwrap();
    waits(2 * LONG).await;
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let loaded = store.load(&run_id, Caller::Worker).await;
    let claimed = store.claim_run(ClaimRun { lease_ms: 3 * LONG, ..loaded }).await.unwrap();
    assert!(matches!(claimed, RunClaimed::Claimed(_)), "{claimed:?}");
    waits(3 * LONG).await;
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let request = ClaimCall { claim, turn: 1, index: 0, lease_ms: 4 * LONG, owner: OwnerToken::fresh() };
    assert!(matches!(store.claim_call(request).await.unwrap(), CallClaimed::Claimed(_)));
    waits(4 * LONG).await;
}

async fn an_accepted_restore_leaves_nothing_that_could_start(store: &Store) {
    let (claim, call) = store.executing().await;
    let ready = store.paused(&[required()]).await;
    store.approve(&ready, 0).await.unwrap();
    let unborn = store.begin_run(BeginRun { input: None, ..begin(&RunId::generate()) }).await.unwrap();
    let epoch = store.store_status().await.unwrap().epoch;
    quarantined(store).await;
    let early = store.accept_restore(accepted()).await.unwrap();
    assert!(matches!(early, RestoreAccepted::Waits { .. }), "a lease still runs: {early:?}");
    assert_eq!(restored(store).await, RestoreAccepted::Accepted { runs: 3, calls: 2, keys: 0 });
    let status = store.store_status().await.unwrap();
    assert_eq!((status.state, status.restored_runs), (StoreState::Open, 2));
    assert_ne!(status.epoch, epoch);
    let unknown = store.list_executions(ExecutionFilter::new().status(ExecutionStatus::Unknown)).await.unwrap();
    assert_eq!(unknown.len(), 2, "also what never started");
    // Without an input that anybody could drive it from.
    assert_eq!(store.get_run(&unborn.run_id).await.unwrap().status, RunStatus::Error);
    // What was claimed before counts no more.
    assert!(matches!(store.claim(&claim, 0).await, Err(Error::NotMine { .. })));
    let late = store.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), Vec::new()).await;
    assert_eq!(late.unwrap(), Finished::Late);
    clock::set_ahead_ms(0);
}

async fn a_run_goes_on_when_a_person_has_acknowledged_the_restore(store: &Store) {
    let ready = store.paused(&[required()]).await;
    store.approve(&ready, 0).await.unwrap();
    let waiting = store.paused(&[required()]).await;
    let loaded = store.load(&ready, Caller::Worker).await;
    quarantined(store).await;
    restored(store).await;
    let (id, unknown) = (store.approval_id(&waiting, 0).await, store.call(&ready).await.execution.unwrap().id);
    let yes = || Resolution::approved().by(APPROVER);
    assert!(is_refused(store.update_approval(&id, ApprovalStatus::Pending, yes()).await));
    assert!(is_refused(store.claim_as(&ready, Caller::Worker).await));
    // Who asked may not.
    let own = Some(Principal::unverified(REQUESTER));
    let refused = store.acknowledge_restore(&ready, own, None).await;
    assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
    // With a yes to a call of it, and by itself.
    store.update_approval(&id, ApprovalStatus::Pending, yes().acknowledge_restore()).await.unwrap();
    let by = Some(verified(APPROVER));
    store.acknowledge_restore(&ready, by.clone(), Some("the bank has nothing".to_owned())).await.unwrap();
    store.acknowledge_restore(&ready, by, None).await.unwrap();
    assert_eq!(store.count(&ready, "restore_acknowledged").await, 1);
    assert_eq!(store.store_status().await.unwrap().restored_runs, 0);
    // What was read before the restore claims nothing.
    assert!(!matches!(store.claim_run(loaded).await.unwrap(), RunClaimed::Claimed(_)));
    store.settle_execution(&unknown, Settlement::abandoned().by(APPROVER).note("it never ran")).await.unwrap();
    let claim = store.resumed(&ready).await;
    store.complete(&claim).await.unwrap();
    let claim = store.resumed(&waiting).await;
    let call = store.start(&claim, 0).await;
    store.succeed(&call).await;
    store.complete(&claim).await.unwrap();
    assert!(store.audit().verify().await.unwrap().is_intact());
    clock::set_ahead_ms(0);
}

/// R13 comes with the vote, or not at all.
async fn a_vote_that_is_refused_acknowledges_nothing(store: &Store) {
    store.set_pool("finance", [APPROVER]).await.unwrap();
    let waiting = store.paused(&[required().pool("finance")]).await;
    quarantined(store).await;
    restored(store).await;
    let id = store.approval_id(&waiting, 0).await;
    let yes = |by: &str| Resolution::approved().by(by).acknowledge_restore();
    let outsider = store.update_approval(&id, ApprovalStatus::Pending, yes("eve")).await;
    assert!(matches!(outsider, Err(Error::NotPermitted { .. })), "{outsider:?}");
    assert_eq!(store.count(&waiting, "restore_acknowledged").await, 0);
    assert_eq!(store.store_status().await.unwrap().restored_runs, 1);
    let approved = store.update_approval(&id, ApprovalStatus::Pending, yes(APPROVER)).await.unwrap();
    assert_eq!((approved.status, store.store_status().await.unwrap().restored_runs), (ApprovalStatus::Approved, 0));
    assert_eq!(approved, store.approval(&waiting).await);
    clock::set_ahead_ms(0);
}

async fn a_restore_is_accepted_with_a_reason_and_a_proof(store: &Store) {
    let silent = store.accept_restore(RestoreAcceptance::new(operator(), " ").force()).await;
    assert!(matches!(silent, Err(Error::Invalid(_))), "{silent:?}");
    let unproved = store.accept_restore(RestoreAcceptance::new(operator(), "to be safe")).await;
    assert!(matches!(unproved, Err(Error::Invalid(_))), "{unproved:?}");
    assert_eq!(store.store_status().await.unwrap().state, StoreState::Open);
}

async fn a_run_whose_epoch_was_set_by_hand_does_not_start(store: &Store) {
    let ready = store.paused(&[required()]).await;
    store.approve(&ready, 0).await.unwrap();
    quarantined(store).await;
    restored(store).await;
    let epoch = store.store_status().await.unwrap().epoch;
    store.tamper(&format!("UPDATE kern_runs SET epoch = '{epoch}'"));
    let claimed = store.claim_as(&ready, Caller::Worker).await;
    assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{claimed:?}");
    let report = store.audit().verify().await.unwrap();
    assert!(!report.is_intact(), "{report:?}");
    assert_eq!(store.starts(&ready).await, 0);
    clock::set_ahead_ms(0);
}

async fn an_epoch_of_the_store_that_was_set_by_hand_is_a_proof(store: &Store) {
    let ready = store.paused(&[required()]).await;
    store.approve(&ready, 0).await.unwrap();
    store.tamper("UPDATE kern_store SET epoch = 'another'");
    assert!(is_refused(store.claim_as(&ready, Caller::Worker).await));
    assert_eq!(store.starts(&ready).await, 0);
}

async fn the_mark_of_another_store_is_refused(store: &Store) {
    let other = Store::on_a_file().await;
    other.started().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mark = |store: &Store| store.file().with_file_name("kern.db-mark");
    std::fs::copy(mark(&other), mark(store)).unwrap();
    let opened = kern_db::SqliteDb::open(store.file()).await;
    assert!(matches!(opened, Err(Error::Invalid(_))), "{opened:?}");
}

async fn without_a_mark_that_can_be_written_nothing_starts(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let mark = store.file().with_file_name("kern.db-mark");
    std::fs::remove_file(&mark).unwrap();
    std::fs::create_dir(&mark).unwrap();
    let started = store.claim(&claim, 0).await;
    assert!(started.is_err(), "{started:?}");
    let cancelled = store.cancel_run(run_id, Caller::Anonymous).await;
    assert!(cancelled.is_err(), "a no is answered that no mark holds");
}

on_each_store!(
    a_restore_is_not_accepted_before_the_longest_lease_is_over,
    a_quarantined_store_takes_a_no_and_a_result_and_nothing_else,
    a_restore_is_accepted_with_a_reason_and_a_proof,
    a_run_goes_on_when_a_person_has_acknowledged_the_restore,
    a_vote_that_is_refused_acknowledges_nothing,
    an_accepted_restore_leaves_nothing_that_could_start,
);

on_a_file!(
    a_run_whose_epoch_was_set_by_hand_does_not_start,
    an_epoch_of_the_store_that_was_set_by_hand_is_a_proof,
    the_mark_of_another_store_is_refused,
    without_a_mark_that_can_be_written_nothing_starts,
);
