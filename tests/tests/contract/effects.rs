//! X6 and X7: starts that are lost and made again, as often as their effect allows, and never otherwise.

use kern_db::{
    ATTEMPTS, Blocker, CallClaim, CallClaimed, CallPolicy, Caller, ClaimCall, Effect, Ended, Error, ExecutionStatus,
    Finished, NewAnswer, Outcome, Recovered, RunClaim, RunClaimed, RunId, RunStatus, Standing,
};
use kern_tests::steps::{Store, audit, end, person, required, turn, two_stage, user};

fn idempotent() -> CallPolicy {
    required().effect(Effect::Idempotent)
}

fn transactional() -> CallPolicy {
    required().effect(Effect::Transactional)
}

/// A run whose only call has this policy and may start, and its owner.
async fn open(store: &Store, policy: CallPolicy) -> RunClaim {
    let run_id = store.paused(std::slice::from_ref(&policy)).await;
    allow(store, &run_id, &policy).await;
    store.resumed(&run_id).await
}

async fn allow(store: &Store, run_id: &RunId, policy: &CallPolicy) {
    use kern_db::Tier::{Audit, Required, TwoStage, User};
    if matches!(policy.tier, Required | TwoStage) {
        store.approve(run_id, 0).await.unwrap();
    }
    if matches!(policy.tier, User | TwoStage) {
        store.answer(run_id, 0, NewAnswer::Confirm).await.unwrap();
    }
    assert!(policy.tier != Audit || store.call(run_id).await.approval.is_none());
}

/// Its owner and its body die, and somebody recovers the run.
async fn die(store: &Store, claim: &RunClaim) -> CallClaim {
    store.renew_run(claim.clone(), 0).await.unwrap();
    let call = store.start_and_die(claim, 0).await;
    assert_eq!(store.recover_run(claim.run_id.clone()).await.unwrap(), Recovered::Paused);
    call
}

async fn status(store: &Store, run_id: &RunId) -> (ExecutionStatus, u32) {
    let execution = store.call(run_id).await.execution.expect("it has one");
    (execution.status, execution.attempt)
}

async fn x6_a_lost_start_is_made_again_with_the_same_key(store: &Store) {
    for policy in [idempotent(), transactional(), two_stage().effect(Effect::Idempotent)] {
        let claim = open(store, policy).await;
        let run_id = claim.run_id.clone();
        let first = die(store, &claim).await;
        assert_eq!(status(store, &run_id).await, (ExecutionStatus::Ready, 1));
        assert_eq!(store.call(&run_id).await.standing, Standing::Open, "the worker may go on");
        let claim = store.resumed(&run_id).await;
        let second = store.start(&claim, 0).await;
        assert_eq!((first.attempt(), second.attempt()), (1, 2));
        assert_eq!(first.idempotency_key(), second.idempotency_key());
        assert_eq!(first.arguments(), second.arguments());
        // The first one wakes up: its fence is old, and what it says changes nothing.
        let late = store.finish_call(first.ticket(), Ended::Succeeded("zombie".to_owned()), Vec::new()).await;
        assert_eq!(late.unwrap(), Finished::Late);
        store.succeed(&second).await;
        let late = store.finish_call(first.ticket(), Ended::Lost("late".to_owned()), Vec::new()).await;
        assert_eq!(late.unwrap(), Finished::Late);
        assert_eq!(store.call(&run_id).await.standing, Standing::Outcome(Outcome::Succeeded("done".to_owned())));
        store.complete(&claim).await.unwrap();
        assert_eq!((store.starts(&run_id).await, store.count(&run_id, "retry").await), (2, 1));
    }
}

async fn x6_a_zombie_says_nothing_while_its_call_waits_to_be_started_again(store: &Store) {
    let claim = open(store, idempotent()).await;
    let first = die(store, &claim).await;
    for ended in [Ended::Succeeded("x".into()), Ended::Failed("x".into()), Ended::Lost("x".into())] {
        assert_eq!(store.finish_call(first.ticket(), ended, Vec::new()).await.unwrap(), Finished::Late);
        assert_eq!(status(store, &claim.run_id).await, (ExecutionStatus::Ready, 1));
    }
    assert_eq!(store.count(&claim.run_id, "[late_result]").await, 3);
}

async fn x6_the_owner_gives_its_own_start_up(store: &Store) {
    let claim = open(store, idempotent()).await;
    let first = store.start(&claim, 0).await;
    let lost = store.finish_call(first.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await;
    assert_eq!(lost.unwrap(), Finished::Retry);
    let lost = store.finish_call(first.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await;
    assert_eq!(lost.unwrap(), Finished::Late, "once for each start");
    let second = store.start(&claim, 0).await;
    assert_eq!(second.attempt(), 2);
    store.succeed(&second).await;
    store.complete(&claim).await.unwrap();
}

async fn x6_the_starts_of_an_idempotent_call_are_counted(store: &Store) {
    let claim = open(store, idempotent()).await;
    let run_id = claim.run_id.clone();
    for attempt in 1..=ATTEMPTS {
        let call = store.start(&claim, 0).await;
        assert_eq!(call.attempt(), attempt);
        let lost = store.finish_call(call.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await.unwrap();
        let last = attempt == ATTEMPTS;
        assert_eq!(lost, if last { Finished::Recorded } else { Finished::Retry });
    }
    assert_eq!(status(store, &run_id).await, (ExecutionStatus::Unknown, ATTEMPTS));
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::NotStartable));
    assert_eq!(store.starts(&run_id).await, ATTEMPTS as usize);
}

async fn i8_once_is_never_made_again(store: &Store) {
    for policy in [required(), two_stage(), user()] {
        let claim = open(store, policy).await;
        let run_id = claim.run_id.clone();
        let _gone = die(store, &claim).await;
        assert_eq!(status(store, &run_id).await, (ExecutionStatus::Unknown, 1));
        assert!(matches!(
            store.claim_as(&run_id, Caller::Worker).await.unwrap(),
            RunClaimed::Blocked(blockers) if matches!(blockers[..], [Blocker::Unknown { .. }])
        ));
        assert_eq!((store.starts(&run_id).await, store.count(&run_id, "retry").await), (1, 0));
    }
}

async fn x6_a_bare_audit_call_is_made_again_under_its_record(store: &Store) {
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[audit().effect(Effect::Idempotent)], false)).await.unwrap();
    let first = store.start(&claim, 0).await;
    let lost = store.finish_call(first.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await;
    assert_eq!(lost.unwrap(), Finished::Retry);
    let second = store.start(&claim, 0).await;
    assert_eq!((second.attempt(), second.idempotency_key()), (2, first.idempotency_key()));
    assert_eq!(second.ticket().execution_id(), first.ticket().execution_id());
    store.succeed(&second).await;
    store.complete(&claim).await.unwrap();
    assert_eq!(store.count(&claim.run_id, "recorded").await, 1);
}

/// Schedule 11: what was to be started again is unknown when that can no longer be, never abandoned and never ready.
async fn schedule_11_a_retry_that_comes_too_late_is_unknown(store: &Store) {
    // The run is cancelled.
    let claim = open(store, idempotent()).await;
    let _gone = die(store, &claim).await;
    store.cancel_run(claim.run_id.clone(), Caller::Anonymous).await.unwrap();
    assert_eq!(status(store, &claim.run_id).await, (ExecutionStatus::Unknown, 1));

    // It is cancelled while the body runs, and the body is lost after it.
    let claim = open(store, idempotent()).await;
    let request =
        ClaimCall { claim: claim.clone(), turn: 1, index: 0, lease_ms: 0, owner: kern_db::OwnerToken::fresh() };
    let CallClaimed::Claimed(_call) = store.claim_call(request).await.unwrap() else { panic!("it starts") };
    store.cancel_run(claim.run_id.clone(), Caller::Anonymous).await.unwrap();
    assert_eq!(store.recover_run(claim.run_id.clone()).await.unwrap(), Recovered::NotNeeded);
    assert_eq!(status(store, &claim.run_id).await, (ExecutionStatus::Unknown, 1));

    // Its owner ends it with an error.
    let claim = open(store, transactional()).await;
    let call = store.start(&claim, 0).await;
    let lost = store.finish_call(call.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await;
    assert_eq!(lost.unwrap(), Finished::Retry);
    assert!(matches!(store.complete(&claim).await, Err(Error::RunConflict { .. })), "it has no outcome");
    store.end_run(end(&claim, RunStatus::Error)).await.unwrap();
    assert_eq!(status(store, &claim.run_id).await, (ExecutionStatus::Unknown, 1));
    assert_eq!(store.count(&claim.run_id, "abandoned").await, 0);
}

async fn a8_what_has_started_is_not_deleted_while_it_waits_to_be_started_again(store: &Store) {
    let claim = open(store, idempotent()).await;
    let _gone = die(store, &claim).await;
    let id = store.approval_id(&claim.run_id, 0).await;
    let deleted = store.delete_approval(&id).await;
    assert!(matches!(deleted, Err(Error::ExecutionConflict { found: ExecutionStatus::Ready, .. })), "{deleted:?}");
    // Nor taken back by whoever asked.
    let answered = store.answer_as(&claim.run_id, 0, person("ana"), NewAnswer::Reject(None)).await.unwrap();
    assert_eq!(answered, kern_db::Answered::NotAsked);
    assert_eq!(status(store, &claim.run_id).await, (ExecutionStatus::Ready, 1));
}

on_each_store! {
    a8_what_has_started_is_not_deleted_while_it_waits_to_be_started_again,
    i8_once_is_never_made_again,
    schedule_11_a_retry_that_comes_too_late_is_unknown,
    x6_a_bare_audit_call_is_made_again_under_its_record,
    x6_a_lost_start_is_made_again_with_the_same_key,
    x6_a_zombie_says_nothing_while_its_call_waits_to_be_started_again,
    x6_the_owner_gives_its_own_start_up,
    x6_the_starts_of_an_idempotent_call_are_counted,
}
