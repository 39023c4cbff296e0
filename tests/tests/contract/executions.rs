//! X1 to X5, X8 and X9: the way into a body and the ways out of it.

use kern_db::{
    Blocker, CallClaimed, Caller, Ended, Error, ExecutionFilter, ExecutionStatus, Finished, NewAnswer, Outcome,
    PauseType, Recovered, RunClaimed, RunStatus, Settlement, Standing, Tier,
};
use kern_tests::steps::{
    APPROVER, ARGUMENTS, LONG, REQUESTER, Store, audit, call, person, required, turn, two_stage, user, wait_until,
};

async fn i1_no_claim_without_an_approved_row(store: &Store) {
    let claim = store.started().await;
    // The run belongs to the caller, so that only the gate is between it and the bodies.
    store.commit_turn(turn(&claim, 1, &[required(), two_stage(), user()], false)).await.unwrap();
    for index in 0..3 {
        assert!(matches!(store.claim(&claim, index).await.unwrap(), CallClaimed::NotStartable));
    }
    assert_eq!(store.call_at(&claim.run_id, 0).await.standing, Standing::AwaitsApproval);
    assert_eq!(store.call_at(&claim.run_id, 1).await.standing, Standing::AwaitsApproval);
    assert_eq!(store.call_at(&claim.run_id, 2).await.standing, Standing::AwaitsRequester);
    store.approve(&claim.run_id, 0).await.unwrap();
    store.approve(&claim.run_id, 1).await.unwrap();
    let _started = store.start(&claim, 0).await;
    // The approver's word alone does not open a gate with two locks.
    assert!(matches!(store.claim(&claim, 1).await.unwrap(), CallClaimed::NotStartable));
    assert!(matches!(store.claim(&claim, 2).await.unwrap(), CallClaimed::NotStartable));
    assert_eq!(store.starts(&claim.run_id).await, 1);
}

async fn i1_no_run_goes_on_before_every_call_is_decided(store: &Store) {
    let run_id = store.paused(&[required(), user()]).await;
    let id = store.approval_id(&run_id, 0).await;
    let blocked = store.claim_as(&run_id, person(REQUESTER)).await.unwrap();
    let approval = Blocker::AwaitsApproval { approval_id: id, index: 0 };
    assert_eq!(blocked, RunClaimed::Blocked(vec![approval, Blocker::AwaitsRequester { index: 1 }]));
    assert_eq!(store.get_run(&run_id).await.unwrap().status, RunStatus::Paused);
    assert_eq!(store.count(&run_id, "run_claimed").await, 0);
}

async fn i1_what_starts_is_what_was_approved(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let approval = store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    assert_eq!((call.tool_name(), call.arguments(), call.turn(), call.index()), ("pay", ARGUMENTS, 1, 0));
    assert_eq!(call.decided_digest(), approval.digest);
    assert!(call.idempotency_key().starts_with("kern:"));
    assert_eq!(call.ticket().execution_id().as_str(), approval.id.as_str());
    let execution = store.call(&run_id).await.execution.unwrap();
    assert_eq!((execution.status, execution.attempt, execution.fence), (ExecutionStatus::Executing, 1, 1));
}

async fn i1_a_call_of_another_system_is_never_started_here(store: &Store) {
    let external = kern_db::CallPolicy::new(Tier::Required, Some(PauseType::ExternalExecution));
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[external], false)).await.unwrap();
    store.approve(&claim.run_id, 0).await.unwrap();
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::NotStartable));
    assert_eq!(store.starts(&claim.run_id).await, 0);
}

async fn i2_only_the_owner_of_the_run_claims_its_calls(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let first = store.resumed(&run_id).await;
    store.pause_run(first.clone(), "{}".to_owned(), false).await.unwrap();
    assert!(matches!(store.claim(&first, 0).await, Err(Error::NotMine { .. })), "a paused run has no owner");
    let second = store.resumed(&run_id).await;
    assert!(matches!(store.claim(&first, 0).await, Err(Error::NotMine { .. })), "an owner of the past");
    let mut forged = second.clone();
    forged.fence += 1;
    assert!(matches!(store.claim(&forged, 0).await, Err(Error::NotMine { .. })), "a fence of the future");
    let mut borrowed = first.clone();
    borrowed.fence = second.fence;
    assert!(matches!(store.claim(&borrowed, 0).await, Err(Error::NotMine { .. })), "the fence alone proves nothing");
    assert_eq!(store.starts(&run_id).await, 0);
    let _started = store.start(&second, 0).await;
}

async fn i6_a_call_that_was_started_is_not_started_again(store: &Store) {
    let (claim, call) = store.executing().await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::NotStartable));
    store.succeed(&call).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    store.pause_run(claim.clone(), "{}".to_owned(), false).await.unwrap();
    let claim = store.resumed(&claim.run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    assert_eq!(store.starts(&claim.run_id).await, 1);
}

async fn i6_one_of_many_claims_at_once_starts_the_call(store: &Store) {
    for _ in 0..5 {
        let run_id = store.paused(&[required()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let claim = store.resumed(&run_id).await;
        let handles = [store.shared(), store.second().await];
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let (db, claim) = (handles[number % 2].clone(), claim.clone());
                let request = kern_db::ClaimCall {
                    claim,
                    turn: 1,
                    index: 0,
                    lease_ms: LONG,
                    owner: kern_db::OwnerToken::fresh(),
                };
                tokio::spawn(async move { db.claim_call(request).await })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap().unwrap() {
                CallClaimed::Claimed(_) => won += 1,
                CallClaimed::NotStartable => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((won, store.starts(&run_id).await), (1, 1));
    }
}

async fn i8_unknown_is_never_started_again(store: &Store) {
    let (claim, call) = store.unknown().await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::NotStartable));
    store.pause_run(claim.clone(), "{}".to_owned(), true).await.unwrap();
    assert!(store.get_run(&claim.run_id).await.unwrap().attention);
    let execution_id = call.ticket().execution_id().clone();
    let blocked = store.claim_as(&claim.run_id, Caller::Worker).await.unwrap();
    assert_eq!(blocked, RunClaimed::Blocked(vec![Blocker::Unknown { execution_id: execution_id.clone(), index: 0 }]));
    assert!(store.approve(&claim.run_id, 0).await.is_err());
    assert_eq!(store.answer(&claim.run_id, 0, NewAnswer::Reject(None)).await.unwrap(), kern_db::Answered::NotAsked);
    assert_eq!(store.starts(&claim.run_id).await, 1);
    let unknown = || ExecutionFilter::new().status(ExecutionStatus::Unknown);
    let waiting = store.list_executions(unknown()).await.unwrap();
    assert_eq!(store.count_executions(unknown().limit(1)).await.unwrap(), waiting.len() as u64);
    assert_eq!(store.count_executions(unknown().run_id("none")).await.unwrap(), 0);
    assert_eq!(waiting.into_iter().map(|execution| execution.id).collect::<Vec<_>>(), [execution_id]);
}

async fn i8_unknown_stays_unknown_when_the_approval_has_run_out(store: &Store) {
    let run_id = store.paused(&[required().valid_for_ms(300)]).await;
    let approved_by = store.approve(&run_id, 0).await.unwrap().execution.unwrap().created_at_ms + 300;
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    wait_until(approved_by).await;
    // It runs, and then nobody knows: neither is an end that the run may go on with.
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::NotStartable));
    store.finish_call(call.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await.unwrap();
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::NotStartable));
    assert!(matches!(store.complete(&claim).await, Err(Error::RunConflict { .. })));
    assert_eq!(store.call(&run_id).await.standing, Standing::Unknown);
}

async fn x3_a_bare_audit_call_starts_once(store: &Store) {
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[audit()], false)).await.unwrap();
    let call = store.start(&claim, 0).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::NotStartable));
    store.succeed(&call).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    assert_eq!(store.starts(&claim.run_id).await, 1);
    store.complete(&claim).await.unwrap();
}

/// Nobody confirmed it in time, nor at all: what is given up has its outcome, and nothing more is waited for.
async fn x3_what_was_void_before_it_was_confirmed_is_over(store: &Store) {
    let run_id = store.paused(&[two_stage().valid_for_ms(0)]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    assert_eq!(store.call(&run_id).await.execution.unwrap().status, ExecutionStatus::Abandoned);
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    store.complete(&claim).await.unwrap();
}

async fn x4_both_ends_of_a_body_are_outcomes(store: &Store) {
    let run_id = store.paused(&[required(), required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    store.approve(&run_id, 1).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let first = store.start(&claim, 0).await;
    let second = store.start(&claim, 1).await;
    store.finish_call(second.ticket(), Ended::Failed("no such account".to_owned()), Vec::new()).await.unwrap();
    store.finish_call(first.ticket(), Ended::Succeeded("paid".to_owned()), Vec::new()).await.unwrap();
    let standing = store.call_at(&run_id, 0).await.standing;
    assert_eq!(standing, Standing::Outcome(Outcome::Succeeded("paid".to_owned())));
    let standing = store.call_at(&run_id, 1).await.standing;
    assert_eq!(standing, Standing::Outcome(Outcome::Failed("no such account".to_owned())));
    store.complete(&claim).await.unwrap();
}

async fn x4_a_result_is_recorded_after_the_run_was_cancelled(store: &Store) {
    let (claim, call) = store.executing().await;
    store.cancel_run(claim.run_id.clone(), Caller::Anonymous).await.unwrap();
    assert_eq!(store.call(&claim.run_id).await.standing, Standing::Executing);
    store.succeed(&call).await;
    let execution = store.call(&claim.run_id).await.execution.unwrap();
    assert_eq!((execution.status, execution.result.as_deref()), (ExecutionStatus::Succeeded, Some("done")));
}

/// Schedule 16: the body of a call that was given up says how it ended, and nothing is unknown any more.
async fn x4b_a_body_that_was_given_up_says_how_it_ended(store: &Store) {
    let ends = [
        (Ended::Succeeded("paid".to_owned()), "late_succeeded", Outcome::Succeeded("paid".to_owned())),
        (Ended::Failed("no".to_owned()), "late_failed", Outcome::Failed("no".to_owned())),
    ];
    for (ended, word, outcome) in ends {
        // Given up by somebody else, by its own owner, and after its run was cancelled.
        for how in 0..3 {
            let run_id = store.paused(&[required()]).await;
            store.approve(&run_id, 0).await.unwrap();
            let claim = store.resumed(&run_id).await;
            let call = store.start_and_die(&claim, 0).await;
            match how {
                0 => drop(store.recover_run(run_id.clone()).await.unwrap()),
                1 => drop(store.finish_call(call.ticket(), Ended::Lost("slow".to_owned()), Vec::new()).await.unwrap()),
                _ => {
                    store.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap();
                    store.recover_run(run_id.clone()).await.unwrap();
                }
            }
            assert_eq!(store.call(&run_id).await.standing, Standing::Unknown);
            let again = store.finish_call(call.ticket(), Ended::Lost("gone".to_owned()), Vec::new()).await;
            assert_eq!(again.unwrap(), Finished::Recorded, "nobody knows more");
            for _ in 0..2 {
                let finished = store.finish_call(call.ticket(), ended.clone(), Vec::new()).await;
                assert_eq!(finished.unwrap(), Finished::Recorded);
            }
            assert_eq!(store.call(&run_id).await.standing, Standing::Outcome(outcome.clone()));
            assert_eq!((store.count(&run_id, word).await, store.count(&run_id, "[late_result]").await), (1, 0));
            // One result: another one is evidence, and kept.
            let other = store.finish_call(call.ticket(), Ended::Succeeded("other".to_owned()), Vec::new()).await;
            assert_eq!(other.unwrap(), Finished::Late);
            assert_eq!(store.call(&run_id).await.standing, Standing::Outcome(outcome.clone()));
        }
    }
}

/// A settlement stays, whatever its body says later; what it says is kept beside it.
async fn x9_a_settlement_stays_and_what_came_too_late_is_kept_beside_it(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let call = store.start_and_die(&claim, 0).await;
    store.recover_run(run_id.clone()).await.unwrap();
    let id = call.ticket().execution_id().clone();
    store.settle_execution(&id, Settlement::abandoned().by(APPROVER).note("looked")).await.unwrap();
    for (number, result) in ["paid".to_owned(), "x".repeat(100_000)].into_iter().enumerate() {
        for _ in 0..2 {
            let late = store.finish_call(call.ticket(), Ended::Succeeded(result.clone()), Vec::new()).await;
            assert_eq!(late.unwrap(), Finished::Late);
        }
        let execution = store.call(&run_id).await.execution.unwrap();
        assert_eq!(execution.status, ExecutionStatus::Abandoned);
        assert_eq!(execution.late_status, Some(ExecutionStatus::Succeeded));
        assert_eq!(execution.late_result.as_deref(), Some("paid"), "the first one is kept");
        let evidence = kern_tests::history::entries(&**store).await;
        let last = evidence.iter().rfind(|entry| entry.action == "late_result").unwrap();
        assert!(last.evidence);
        assert_eq!(
            (last.payload["as"].as_str(), last.payload["size"].as_u64()),
            (Some("succeeded"), Some(result.len() as u64))
        );
        assert_eq!(last.payload.get("kept").is_some(), number == 0);
        assert!(!last.payload.to_string().contains("paid"), "the log cannot be erased");
    }
    let again = Settlement::adopt(store.call(&run_id).await.execution.unwrap().late_digest().unwrap());
    let again = store.settle_execution(&id, again.by(APPROVER).note("it says so")).await;
    assert!(matches!(again, Err(Error::ExecutionConflict { found: ExecutionStatus::Abandoned, .. })), "{again:?}");
}

fn external() -> kern_db::CallPolicy {
    kern_db::CallPolicy::new(Tier::Required, Some(PauseType::ExternalExecution))
}

/// Another system may have acted as soon as it was allowed to: nothing here says that it has not.
async fn x7_what_another_system_may_have_done_is_unknown_and_its_result_adoptable(store: &Store) {
    let result = |text: &str| NewAnswer::ExternalResult(text.to_owned());
    // Lapsed before the result, lapsed and swept, cancelled, taken back.
    for how in ["lapsed", "swept", "cancelled", "taken back"] {
        let valid = if matches!(how, "lapsed" | "swept") { external().valid_for_ms(300) } else { external() };
        let run_id = store.paused(&[valid]).await;
        let id = store.approve(&run_id, 0).await.unwrap().execution.unwrap().id;
        let until = store.call(&run_id).await.execution.unwrap().created_at_ms + 300;
        let row = store.approval_id(&run_id, 0).await;
        let hidden = store.hide_approval(row, None).await;
        assert!(matches!(hidden, Err(Error::ExecutionConflict { .. })), "A8: {hidden:?}");
        match how {
            "cancelled" => store.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap(),
            "taken back" => drop(store.answer(&run_id, 0, NewAnswer::Reject(None)).await.unwrap()),
            _ => wait_until(until).await,
        }
        if how == "swept" {
            assert_eq!(store.sweep_run(run_id.clone()).await.unwrap().unknown, 1);
        }
        let late = store.answer(&run_id, 0, result("seen")).await.unwrap_err();
        let code = if how == "cancelled" { "not_paused" } else { "approval_lapsed" };
        assert_eq!(late.code(), code, "{how}");
        let call = store.call(&run_id).await;
        assert_eq!(call.standing, Standing::Unknown, "{how}");
        let execution = call.execution.unwrap();
        assert_eq!(
            (execution.late_status, execution.late_result.as_deref()),
            (Some(ExecutionStatus::Succeeded), Some("seen"))
        );
        assert_eq!((store.count(&run_id, "unknown").await, store.count(&run_id, "abandoned").await), (1, 0));
        // Adopted by who did not ask, with a note, and with the digest of what was shown.
        let digest = execution.late_digest().unwrap();
        let wrong = store.settle_execution(&id, Settlement::adopt("0").by(APPROVER).note("looked")).await;
        assert!(matches!(wrong, Err(Error::ExecutionConflict { .. })), "{wrong:?}");
        let own = store.settle_execution(&id, Settlement::adopt(&digest).by(REQUESTER).note("looked")).await;
        assert!(matches!(own, Err(Error::NotPermitted { .. })), "{own:?}");
        let adopted =
            store.settle_execution(&id, Settlement::adopt(&digest).by(APPROVER).note("looked")).await.unwrap();
        assert_eq!((adopted.status, adopted.result.as_deref()), (ExecutionStatus::Succeeded, Some("seen")));
        if how == "cancelled" {
            store.audit().erase(&run_id, None, "as they asked").await.unwrap();
            let execution = store.call(&run_id).await.execution.unwrap();
            assert_eq!((execution.late_status, execution.late_result), (Some(ExecutionStatus::Succeeded), None));
        }
    }
    // In time, it is the outcome.
    let run_id = store.paused(&[external().valid_for_ms(60_000)]).await;
    store.approve(&run_id, 0).await.unwrap();
    assert_eq!(store.answer(&run_id, 0, result("seen")).await.unwrap(), kern_db::Answered::Stored);
}

/// R10b: whatever became of the run, and not for ever.
async fn r10_a_body_keeps_its_lease_after_its_run_was_cancelled_and_not_for_ever(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let call = store.start_and_die(&claim, 0).await;
    store.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap();
    assert!(matches!(store.renew_call(call.ticket(), LONG, 0).await, Err(Error::NotMine { .. })), "its time is up");
    store.renew_call(call.ticket(), LONG, LONG).await.unwrap();
    assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::NotNeeded);
    assert_eq!(store.call(&run_id).await.standing, Standing::Executing);
    store.succeed(&call).await;
    assert_eq!(store.count(&run_id, "unknown").await, 0);
    assert!(matches!(store.renew_call(call.ticket(), LONG, LONG).await, Err(Error::NotMine { .. })), "it has ended");
}

async fn x4_the_same_end_counts_once(store: &Store) {
    let (claim, call) = store.executing().await;
    store.succeed(&call).await;
    assert_eq!(
        store.finish_call(call.ticket(), Ended::Failed("no".to_owned()), Vec::new()).await.unwrap(),
        Finished::Late
    );
    let standing = store.call(&claim.run_id).await.standing;
    assert_eq!(standing, Standing::Outcome(Outcome::Succeeded("done".to_owned())));
}

/// I19: a commit whose acknowledgement was lost is read back by the token of the start.
async fn x4_the_same_end_said_again_by_its_own_start_is_recorded_and_leaves_no_trace(store: &Store) {
    for ended in [Ended::Succeeded("done".to_owned()), Ended::Failed("no".to_owned()), Ended::Lost("gone".to_owned())] {
        let (claim, call) = store.executing().await;
        let finished = store.finish_call(call.ticket(), ended.clone(), Vec::new()).await;
        assert_eq!(finished.unwrap(), Finished::Recorded);
        let (before, words) = (store.call(&claim.run_id).await.execution, store.words(&claim.run_id).await);
        let again = store.finish_call(call.ticket(), ended.clone(), Vec::new()).await;
        assert_eq!(again.unwrap(), Finished::Recorded, "{ended:?}");
        assert_eq!(store.call(&claim.run_id).await.execution, before);
        assert_eq!(store.words(&claim.run_id).await, words);
    }
    // What somebody else has settled since is not the start's own word, were it the same.
    let (claim, call) = store.unknown().await;
    let settlement = Settlement::succeeded("done").by(APPROVER).note("looked");
    store.settle_execution(call.ticket().execution_id(), settlement).await.unwrap();
    let late = store.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), Vec::new()).await;
    assert_eq!(late.unwrap(), Finished::Late);
    assert_eq!(store.count(&claim.run_id, "[late_result]").await, 1);
}

async fn x5_a_lost_body_is_unknown(store: &Store) {
    let (claim, _) = store.unknown().await;
    assert_eq!(store.call(&claim.run_id).await.standing, Standing::Unknown);
    assert!(matches!(store.complete(&claim).await, Err(Error::RunConflict { .. })), "unknown is no outcome");
    assert_eq!(store.count(&claim.run_id, "unknown").await, 1);
}

async fn x8_taking_back_a_confirmed_call_abandons_it(store: &Store) {
    let run_id = store.paused(&[user()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    store.answer(&run_id, 0, NewAnswer::Reject(Some("changed my mind".to_owned()))).await.unwrap();
    let call = store.call(&run_id).await;
    assert_eq!(call.execution.unwrap().status, ExecutionStatus::Abandoned);
    assert_eq!(call.standing, Standing::Outcome(Outcome::UserRejected(Some("changed my mind".to_owned()))));
    let claim = store.resumed(&run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
}

async fn x9_only_somebody_else_settles_what_is_unknown(store: &Store) {
    let (claim, call) = store.unknown().await;
    let id = call.ticket().execution_id().clone();
    store.pause_run(claim.clone(), "{}".to_owned(), true).await.unwrap();
    let refused = store.settle_execution(&id, Settlement::succeeded("paid").by(REQUESTER).note("looked")).await;
    assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
    let settled =
        store.settle_execution(&id, Settlement::succeeded("paid").by(APPROVER).note("seen at the bank")).await.unwrap();
    assert_eq!((settled.status, settled.result.as_deref()), (ExecutionStatus::Succeeded, Some("paid")));
    assert_eq!(settled.note.as_deref(), Some("seen at the bank"));
    let again = store.settle_execution(&id, Settlement::abandoned().by("eve").note("looked")).await;
    assert!(matches!(again, Err(Error::ExecutionConflict { found: ExecutionStatus::Succeeded, .. })), "{again:?}");
    let claim = store.resumed(&claim.run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    store.complete(&claim).await.unwrap();

    let mut policy = required();
    policy.allow_self = true;
    let run_id = store.paused(&[policy]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    store.finish_call(call.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await.unwrap();
    let settled = store
        .settle_execution(call.ticket().execution_id(), Settlement::abandoned().by(REQUESTER).note("looked"))
        .await;
    assert_eq!(settled.unwrap().status, ExecutionStatus::Abandoned);
}

async fn x9_only_what_is_unknown_can_be_settled(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let ready = store.approve(&run_id, 0).await.unwrap().execution.unwrap().id;
    let refused = store.settle_execution(&ready, Settlement::abandoned().by(APPROVER).note("looked")).await;
    assert!(matches!(refused, Err(Error::ExecutionConflict { found: ExecutionStatus::Ready, .. })), "{refused:?}");
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    let refused = store.settle_execution(&ready, Settlement::succeeded("x").by(APPROVER).note("looked")).await;
    assert!(matches!(refused, Err(Error::ExecutionConflict { found: ExecutionStatus::Executing, .. })), "{refused:?}");
    store.succeed(&call).await;
    let refused = store.settle_execution(&kern_db::ExecutionId::generate(), Settlement::abandoned()).await;
    assert!(matches!(refused, Err(Error::NotFound { entity: "execution", .. })), "{refused:?}");
}

async fn x10_an_external_result_is_taken_once_and_only_through_an_open_gate(store: &Store) {
    let external = |tier| kern_db::CallPolicy::new(tier, Some(PauseType::ExternalExecution));
    let run_id = store.paused(&[external(Tier::User), external(Tier::Required)]).await;
    let result = |text: &str| NewAnswer::ExternalResult(text.to_owned());
    assert_eq!(store.answer(&run_id, 1, result("too early")).await.unwrap(), kern_db::Answered::NotAsked);
    assert_eq!(store.answer(&run_id, 0, result("one")).await.unwrap(), kern_db::Answered::Stored);
    assert_eq!(store.answer(&run_id, 0, result("two")).await.unwrap(), kern_db::Answered::NotAsked);
    store.approve(&run_id, 1).await.unwrap();
    let blocked = store.claim_as(&run_id, Caller::Worker).await.unwrap();
    assert_eq!(blocked, RunClaimed::Blocked(vec![Blocker::AwaitsRequester { index: 1 }]));
    assert_eq!(store.answer(&run_id, 1, result("three")).await.unwrap(), kern_db::Answered::Stored);
    let claim = store.resumed(&run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    let standing = store.call_at(&run_id, 0).await.standing;
    assert_eq!(standing, Standing::Outcome(Outcome::Succeeded("one".to_owned())));
    let standing = store.call_at(&run_id, 1).await.standing;
    assert_eq!(standing, Standing::Outcome(Outcome::Succeeded("three".to_owned())));
    assert_eq!(store.starts(&run_id).await, 0);
    store.complete(&claim).await.unwrap();
}

async fn a_call_that_does_not_exist_is_not_found(store: &Store) {
    let claim = store.started().await;
    let mut commit = turn(&claim, 1, &[], false);
    commit.calls = vec![call(3, required())];
    store.commit_turn(commit).await.unwrap();
    assert!(matches!(store.claim(&claim, 0).await, Err(Error::NotFound { entity: "call", .. })));
}

on_each_store! {
    a_call_that_does_not_exist_is_not_found,
    i1_a_call_of_another_system_is_never_started_here,
    i1_no_claim_without_an_approved_row,
    i1_no_run_goes_on_before_every_call_is_decided,
    i1_what_starts_is_what_was_approved,
    i2_only_the_owner_of_the_run_claims_its_calls,
    i6_a_call_that_was_started_is_not_started_again,
    i6_one_of_many_claims_at_once_starts_the_call,
    i8_unknown_is_never_started_again,
    i8_unknown_stays_unknown_when_the_approval_has_run_out,
    x10_an_external_result_is_taken_once_and_only_through_an_open_gate,
    x3_a_bare_audit_call_starts_once,
    x3_what_was_void_before_it_was_confirmed_is_over,
    r10_a_body_keeps_its_lease_after_its_run_was_cancelled_and_not_for_ever,
    x4b_a_body_that_was_given_up_says_how_it_ended,
    x7_what_another_system_may_have_done_is_unknown_and_its_result_adoptable,
    x9_a_settlement_stays_and_what_came_too_late_is_kept_beside_it,
    x4_a_result_is_recorded_after_the_run_was_cancelled,
    x4_both_ends_of_a_body_are_outcomes,
    x4_the_same_end_counts_once,
    x4_the_same_end_said_again_by_its_own_start_is_recorded_and_leaves_no_trace,
    x5_a_lost_body_is_unknown,
    x8_taking_back_a_confirmed_call_abandons_it,
    x9_only_somebody_else_settles_what_is_unknown,
    x9_only_what_is_unknown_can_be_settled,
}
