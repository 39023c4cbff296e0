//! The schedules of the approval specification, as far as a store alone can show them.

use kern_db::{
    Answered, ApprovalStatus, CallClaimed, CallPolicy, Caller, ClaimCall, Ended, Error, ExecutionStatus, NewAnswer,
    Outcome, PauseType, Recovered, RunClaimed, RunStatus, Standing, Tier,
};
use kern_tests::steps::{
    APPROVER, LONG, REQUESTER, Store, answer_to, audit, call, person, required, turn, two_stage, user,
};

async fn schedule_2_who_loaded_an_older_turn_claims_nothing(store: &Store) {
    let run_id = store.paused(&[user()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    let old = store.load(&run_id, person(REQUESTER)).await;
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 0).await).await;
    store.commit_turn(turn(&claim, 2, &[two_stage()], true)).await.unwrap();
    let id = store.get_run(&run_id).await.unwrap().calls[1].approval.clone().unwrap().id;
    store.update_approval(&id, ApprovalStatus::Pending, kern_db::Resolution::approved().by(APPROVER)).await.unwrap();
    // All calls of turn 1 are decided, and the caller is the requester: nothing but fence and turn is in the way.
    assert_eq!(store.claim_run(old).await.unwrap(), RunClaimed::AlreadyRunning);
    let run = store.get_run(&run_id).await.unwrap();
    assert_eq!((run.status, run.calls[1].answer), (RunStatus::Paused, None));
    assert_eq!(store.count(&run_id, "confirmed_implied").await, 0);
}

async fn schedule_2_a_claim_with_the_fence_of_now_and_an_older_turn_confirms_nothing(store: &Store) {
    let run_id = store.paused(&[user()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 0).await).await;
    store.commit_turn(turn(&claim, 2, &[required()], true)).await.unwrap();
    let mut mixed = store.load(&run_id, person(REQUESTER)).await;
    mixed.turn = 1;
    assert_eq!(store.claim_run(mixed).await.unwrap(), RunClaimed::AlreadyRunning);
    assert_eq!(store.get_run(&run_id).await.unwrap().status, RunStatus::Paused);
}

async fn schedule_3_an_owner_that_was_recovered_from_does_nothing_any_more(store: &Store) {
    let run_id = store.paused(&[required(), required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    store.approve(&run_id, 1).await.unwrap();
    let mut request = store.load(&run_id, Caller::Worker).await;
    request.lease_ms = 0;
    let Ok(RunClaimed::Claimed(stopped)) = store.claim_run(request).await else { panic!("it is claimed") };
    assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::Paused);
    let refused = |outcome: Result<(), Error>| assert!(matches!(outcome, Err(Error::NotMine { .. })), "{outcome:?}");
    for claimed_elsewhere in [false, true] {
        let other = if claimed_elsewhere { Some(store.resumed(&run_id).await) } else { None };
        refused(store.claim(&stopped, 1).await.map(drop));
        refused(store.commit_turn(turn(&stopped, 2, &[required()], true)).await.map(drop));
        refused(store.commit_turn(turn(&stopped, 2, &[audit()], false)).await.map(drop));
        refused(store.pause_run(stopped.clone(), "{}".to_owned(), false).await.map(drop));
        refused(store.complete(&stopped).await.map(drop));
        refused(store.renew_run(stopped.clone(), LONG).await);
        if let Some(claim) = other {
            store.succeed(&store.start(&claim, 0).await).await;
            store.succeed(&store.start(&claim, 1).await).await;
            store.complete(&claim).await.unwrap();
        }
    }
    assert_eq!(store.starts(&run_id).await, 2);
}

async fn schedule_4_cancel_before_a_turn_is_committed(store: &Store) {
    let claim = store.started().await;
    store.cancel_run(claim.run_id.clone(), Caller::Anonymous).await.unwrap();
    let late = store.commit_turn(turn(&claim, 1, &[required()], true)).await;
    assert!(matches!(late, Err(Error::NotMine { .. })), "{late:?}");
    assert!(store.get_run(&claim.run_id).await.unwrap().calls.is_empty());
}

async fn schedule_4_cancel_between_two_calls_and_during_a_body(store: &Store) {
    let run_id = store.paused(&[required(), required(), required()]).await;
    for index in 0..3 {
        store.approve(&run_id, index).await.unwrap();
    }
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 0).await).await;
    let body = store.start(&claim, 1).await;
    store.cancel_run(run_id.clone(), person(REQUESTER)).await.unwrap();
    assert!(matches!(store.claim(&claim, 2).await, Err(Error::NotMine { .. })));
    assert_eq!(store.call_at(&run_id, 1).await.standing, Standing::Executing);
    store.succeed(&body).await;
    let statuses: Vec<_> =
        store.get_run(&run_id).await.unwrap().calls.into_iter().map(|call| call.execution.unwrap().status).collect();
    assert_eq!(statuses, [ExecutionStatus::Succeeded, ExecutionStatus::Succeeded, ExecutionStatus::Abandoned]);
    assert_eq!(store.starts(&run_id).await, 2);
}

async fn schedule_5_valid_until_passes_with_no_sweeper(store: &Store) {
    let run_id = store.paused(&[required().valid_for_ms(150)]).await;
    let ready = store.approve(&run_id, 0).await.unwrap().execution.unwrap();
    let claim = store.resumed(&run_id).await;
    // The run was claimed in time; the call was not.
    kern_tests::steps::wait_until(ready.created_at_ms + 150).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    assert_eq!(store.call(&run_id).await.execution.unwrap().status, ExecutionStatus::Abandoned);
    assert!(matches!(store.call(&run_id).await.standing, Standing::Outcome(Outcome::Abandoned(_))));
    // Given up is given up, also for whoever asks again: it was never started, and it is not ready.
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    assert_eq!(store.starts(&run_id).await, 0);
    store.complete(&claim).await.unwrap();
}

async fn schedule_8_two_stage_in_both_orders(store: &Store) {
    // Confirmed while pending: the worker may resume.
    let run_id = store.paused(&[two_stage()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    assert!(matches!(store.claim_as(&run_id, person(REQUESTER)).await.unwrap(), RunClaimed::Blocked(_)));
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 0).await).await;
    store.complete(&claim).await.unwrap();

    // Not confirmed: the worker may not; the requester's own resume says yes, and its process may die on it.
    let run_id = store.paused(&[two_stage()]).await;
    store.approve(&run_id, 0).await.unwrap();
    assert!(matches!(store.claim_as(&run_id, Caller::Worker).await.unwrap(), RunClaimed::Blocked(_)));
    let mut request = store.load(&run_id, person(REQUESTER)).await;
    request.lease_ms = 0;
    let Ok(RunClaimed::Claimed(dead)) = store.claim_run(request).await else { panic!("it is claimed") };
    assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::Paused);
    assert!(matches!(store.claim(&dead, 0).await, Err(Error::NotMine { .. })));
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 0).await).await;
    store.complete(&claim).await.unwrap();
    let words = store.words(&run_id).await;
    for word in ["approved", "confirmed_implied", "run_recovered"] {
        assert_eq!(words.iter().filter(|found| *found == word).count(), 1, "{word} in {words:?}");
    }
    assert_eq!(store.starts(&run_id).await, 1);
}

async fn schedule_9_a_confirmation_of_v0_does_not_count_for_v1(store: &Store) {
    // As an approver's edit does, the requester's input makes a version.
    let policy = CallPolicy::new(Tier::TwoStage, Some(PauseType::UserInput));
    let run_id = store.paused(&[policy]).await;
    let v0 = store.call(&run_id).await.arguments;
    let edited = r#"{"amount":100,"to":"y"}"#;
    store.answer(&run_id, 0, NewAnswer::Input(edited.to_owned())).await.unwrap();
    store.approve(&run_id, 0).await.unwrap();
    let stale = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, &v0);
    assert_eq!(store.answer_call(stale).await.unwrap(), Answered::Outdated);
    assert_eq!(store.count(&run_id, "[requirement_mismatch]").await, 0);
    assert!(matches!(store.claim_as(&run_id, person(REQUESTER)).await.unwrap(), RunClaimed::Blocked(_)));
    let current = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, edited);
    assert_eq!(store.answer_call(current).await.unwrap(), Answered::Stored);
    let claim = store.resumed(&run_id).await;
    assert_eq!(store.start(&claim, 0).await.arguments(), edited);
}

async fn schedule_10_a_deletion_races_a_claim(store: &Store) {
    for round in 0..12 {
        let run_id = store.paused(&[required()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let id = store.approval_id(&run_id, 0).await;
        let claim = store.resumed(&run_id).await;
        let (deleter, claimer) = (store.second().await, store.shared());
        let request =
            ClaimCall { claim: claim.clone(), turn: 1, index: 0, lease_ms: LONG, owner: kern_db::OwnerToken::fresh() };
        let deleting = async move { deleter.delete_approval(&id).await };
        let claiming = async move { claimer.claim_call(request).await };
        let (deleted, claimed) = if round % 2 == 0 {
            let claiming = tokio::spawn(claiming);
            (tokio::spawn(deleting).await.unwrap(), claiming.await.unwrap())
        } else {
            let deleting = tokio::spawn(deleting);
            let claimed = tokio::spawn(claiming).await.unwrap();
            (deleting.await.unwrap(), claimed)
        };
        match (deleted, claimed.unwrap()) {
            (Ok(()), CallClaimed::Over) => assert_eq!(store.starts(&run_id).await, 0),
            (Err(Error::ExecutionConflict { .. }), CallClaimed::Claimed(call)) => store.succeed(&call).await,
            other => panic!("both or neither: {other:?}"),
        }
    }
}

/// A deletion and something else at the same time, on two handles, in either order.
async fn race<A: Send + 'static, B: Send + 'static>(
    round: u32,
    one: impl Future<Output = A> + Send + 'static,
    other: impl Future<Output = B> + Send + 'static,
) -> (A, B) {
    if round.is_multiple_of(2) {
        let one = tokio::spawn(one);
        let other = tokio::spawn(other);
        (one.await.unwrap(), other.await.unwrap())
    } else {
        let other = tokio::spawn(other);
        let one = tokio::spawn(one);
        (one.await.unwrap(), other.await.unwrap())
    }
}

async fn schedule_10_deleting_what_is_pending_races_the_claim_of_its_run(store: &Store) {
    for round in 0..12 {
        let run_id = store.paused(&[required()]).await;
        let id = store.approval_id(&run_id, 0).await;
        let load = store.load(&run_id, Caller::Worker).await;
        let (deleter, claimer) = (store.second().await, store.shared());
        let deleting = async move { deleter.delete_approval(&id).await };
        let (deleted, claimed) = race(round, deleting, async move { claimer.claim_run(load).await }).await;
        deleted.unwrap();
        match claimed.unwrap() {
            RunClaimed::Blocked(_) => {}
            RunClaimed::Claimed(claim) => {
                assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
                store.complete(&claim).await.unwrap();
            }
            // The worker does not wait for who is at the run.
            RunClaimed::AlreadyRunning => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(store.call(&run_id).await.standing, Standing::Outcome(Outcome::Cancelled));
        assert_eq!((store.starts(&run_id).await, store.count(&run_id, "ready").await), (0, 0));
    }
}

async fn schedule_10_what_is_running_or_unknown_is_not_deleted_under_a_claim(store: &Store) {
    for round in 0..6 {
        let (claim, call) = store.executing().await;
        let run_id = claim.run_id.clone();
        let id = store.approval_id(&run_id, 0).await;
        let (deleter, claimer, gone) = (store.second().await, store.shared(), id.clone());
        let again =
            ClaimCall { claim: claim.clone(), turn: 1, index: 0, lease_ms: LONG, owner: kern_db::OwnerToken::fresh() };
        let deleting = async move { deleter.delete_approval(&gone).await };
        let (deleted, claimed) = race(round, deleting, async move { claimer.claim_call(again).await }).await;
        let refused = |outcome| matches!(outcome, Err(Error::ExecutionConflict { .. }));
        assert!(refused(deleted), "its body is running");
        assert!(matches!(claimed.unwrap(), CallClaimed::NotStartable));

        store.finish_call(call.ticket(), Ended::Lost("it is gone".to_owned()), Vec::new()).await.unwrap();
        store.pause_run(claim, "{}".to_owned(), true).await.unwrap();
        let load = store.load(&run_id, person(REQUESTER)).await;
        let (deleter, claimer) = (store.second().await, store.shared());
        let deleting = async move { deleter.delete_approval(&id).await };
        let (deleted, claimed) = race(round, deleting, async move { claimer.claim_run(load).await }).await;
        assert!(refused(deleted), "nobody knows how it ended");
        assert!(matches!(claimed.unwrap(), RunClaimed::Blocked(_)));
        assert_eq!(store.call(&run_id).await.standing, Standing::Unknown);
        assert_eq!((store.starts(&run_id).await, store.count(&run_id, "hidden").await), (1, 0));
    }
}

async fn schedule_13_a_bare_audit_call_that_was_killed_is_not_called_again(store: &Store) {
    let run_id = store.paused(&[user()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    let mut request = store.load(&run_id, Caller::Worker).await;
    request.lease_ms = 0;
    let Ok(RunClaimed::Claimed(claim)) = store.claim_run(request).await else { panic!("it is claimed") };
    store.succeed(&store.start(&claim, 0).await).await;
    store.commit_turn(turn(&claim, 2, &[audit()], false)).await.unwrap();
    let second =
        ClaimCall { claim: claim.clone(), turn: 2, index: 0, lease_ms: 0, owner: kern_db::OwnerToken::fresh() };
    assert!(matches!(store.claim_call(second).await.unwrap(), CallClaimed::Claimed(_)));
    assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::Paused);
    let run = store.get_run(&run_id).await.unwrap();
    assert_eq!(run.calls[1].standing, Standing::Unknown);
    assert!(matches!(store.claim_as(&run_id, person(REQUESTER)).await.unwrap(), RunClaimed::Blocked(_)));
    assert_eq!(store.starts(&run_id).await, 2);
}

async fn schedule_14_the_same_call_again_is_another_call(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let first = store.start(&claim, 0).await;
    store.finish_call(first.ticket(), Ended::Succeeded("paid".to_owned()), Vec::new()).await.unwrap();
    let mut commit = turn(&claim, 2, &[], true);
    let (mut one, mut other) = (call(0, required()), call(1, required()));
    one.tool_call_id = "call_0".to_owned();
    other.tool_call_id = "call_0".to_owned();
    commit.calls = vec![one, other];
    store.commit_turn(commit).await.unwrap();
    let run = store.get_run(&run_id).await.unwrap();
    let standings: Vec<_> = run.calls.iter().skip(1).map(|call| call.standing.clone()).collect();
    assert_eq!(standings, [Standing::AwaitsApproval, Standing::AwaitsApproval], "the old yes says nothing about them");
    let mut digests: Vec<_> = run.calls.iter().map(|call| call.digest.clone()).collect();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 3);
    assert!(matches!(store.claim_as(&run_id, person(REQUESTER)).await.unwrap(), RunClaimed::Blocked(_)));
}

on_each_store! {
    schedule_10_a_deletion_races_a_claim,
    schedule_10_deleting_what_is_pending_races_the_claim_of_its_run,
    schedule_10_what_is_running_or_unknown_is_not_deleted_under_a_claim,
    schedule_13_a_bare_audit_call_that_was_killed_is_not_called_again,
    schedule_14_the_same_call_again_is_another_call,
    schedule_2_a_claim_with_the_fence_of_now_and_an_older_turn_confirms_nothing,
    schedule_2_who_loaded_an_older_turn_claims_nothing,
    schedule_3_an_owner_that_was_recovered_from_does_nothing_any_more,
    schedule_4_cancel_before_a_turn_is_committed,
    schedule_4_cancel_between_two_calls_and_during_a_body,
    schedule_5_valid_until_passes_with_no_sweeper,
    schedule_8_two_stage_in_both_orders,
    schedule_9_a_confirmation_of_v0_does_not_count_for_v1,
}
