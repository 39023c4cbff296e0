//! Asking again for a call whose tool has changed: the next generation, and nothing of the one before it.

use kern_db::{
    AnswerCall, Answered, ApprovalFilter, ApprovalStatus, AskAgain, CallClaimed, CallPolicy, Caller, CommitTurn, Error,
    ExecutionFilter, ExecutionStatus, NewAnswer, NewCall, Outcome, PauseType, Resolution, RunClaimed, RunId, RunStatus,
    Standing, Tier,
};
use kern_tests::steps::{
    APPROVER, ARGUMENTS, REQUESTER, Store, answer_to, audit, call, person, required, turn, two_stage, user, wait_until,
};
use serde_json::json;

/// The call with version 2 of the tool.
fn newer(index: u32, policy: CallPolicy) -> NewCall {
    NewCall { tool_version: "2".to_owned(), ..call(index, policy) }
}

/// What a process that has just loaded the run asks again with.
async fn request(store: &Store, run_id: &RunId, calls: Vec<NewCall>) -> AskAgain {
    let run = store.get_run(run_id).await.unwrap();
    let snapshot = r#"{"asked":"again"}"#.to_owned();
    AskAgain { run_id: run_id.clone(), fence: run.fence, turn: run.turn, caller: person(REQUESTER), snapshot, calls }
}

async fn ask_again(store: &Store, run_id: &RunId, calls: Vec<NewCall>) -> kern_db::Result<()> {
    store.ask_again(request(store, run_id, calls).await).await
}

async fn a_pending_call_is_cancelled_and_asked_for_anew(store: &Store) {
    let run_id = store.paused(&[required(), required()]).await;
    let before = store.call(&run_id).await;
    let fence = store.get_run(&run_id).await.unwrap().fence;
    ask_again(store, &run_id, vec![newer(0, required())]).await.unwrap();
    assert_eq!(store.words(&run_id).await[4..], ["cancelled", "asked_again", "requested"]);
    let run = store.get_run(&run_id).await.unwrap();
    assert_eq!((run.status, run.fence, run.snapshot.as_str()), (RunStatus::Paused, fence + 1, r#"{"asked":"again"}"#));
    let after = &run.calls[0];
    assert_eq!((after.generation, after.version, after.tool_version.as_str()), (1, 0, "2"));
    assert_eq!((after.arguments.as_str(), &after.standing), (ARGUMENTS, &Standing::AwaitsApproval));
    assert_ne!(after.digest, before.digest);
    assert_eq!(after.earlier_requirement_ids, [before.requirement_id]);
    let (old, new) = (before.approval.unwrap(), after.approval.clone().unwrap());
    assert_ne!(old.id, new.id);
    assert_eq!(store.get_approval(&old.id).await.unwrap().unwrap().status, ApprovalStatus::Cancelled);
    assert_eq!(run.calls[1].generation, 0, "nobody asked for the other one");
    // What is over is over, and says so.
    let late = store.update_approval(&old.id, ApprovalStatus::Pending, Resolution::approved().by(APPROVER)).await;
    assert!(matches!(late, Err(Error::Conflict { found: ApprovalStatus::Cancelled, .. })), "{late:?}");
    store.approve(&run_id, 0).await.unwrap();
    store.approve(&run_id, 1).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let started = store.start(&claim, 0).await;
    assert_eq!(started.decided_digest(), after.digest);
    store.succeed(&started).await;
    store.succeed(&store.start(&claim, 1).await).await;
    store.complete(&claim).await.unwrap();
}

async fn i6_an_old_approval_never_starts_the_new_generation(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let old = store.approve(&run_id, 0).await.unwrap();
    ask_again(store, &run_id, vec![newer(0, required())]).await.unwrap();
    assert_eq!(store.words(&run_id).await[6..], ["abandoned", "asked_again", "requested"]);
    let kept = store.get_approval(&old.id).await.unwrap().unwrap();
    assert_eq!(kept.status, ApprovalStatus::Approved, "a decision does not change");
    assert_eq!(kept.execution.unwrap().status, ExecutionStatus::Abandoned);
    for caller in [person(REQUESTER), Caller::Worker] {
        assert!(matches!(store.claim_as(&run_id, caller).await.unwrap(), RunClaimed::Blocked(_)));
    }
    assert_eq!(store.starts(&run_id).await, 0);
    store.refuse(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    assert_eq!(store.starts(&run_id).await, 0);
    store.complete(&claim).await.unwrap();
}

async fn i17_a_run_that_was_loaded_before_claims_nothing(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let (old, again) =
        (store.load(&run_id, Caller::Worker).await, request(store, &run_id, vec![newer(0, required())]).await);
    ask_again(store, &run_id, vec![newer(0, required())]).await.unwrap();
    store.approve(&run_id, 0).await.unwrap();
    assert_eq!(store.claim_run(old).await.unwrap(), RunClaimed::AlreadyRunning);
    let twice = store.ask_again(again).await;
    assert!(matches!(twice, Err(Error::NotMine { .. })), "{twice:?}");
}

async fn u1_what_the_requester_said_is_asked_again(store: &Store) {
    for policy in [user().record(true), two_stage()] {
        let run_id = store.paused(std::slice::from_ref(&policy)).await;
        store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
        ask_again(store, &run_id, vec![newer(0, policy.clone())]).await.unwrap();
        let call = store.call(&run_id).await;
        assert_eq!((call.answer, call.answer_is_current), (None, false));
        if policy.tier == Tier::TwoStage {
            store.approve(&run_id, 0).await.unwrap();
        }
        // Going on implies nothing: whoever goes on may have seen only what was asked before.
        for caller in [person(REQUESTER), Caller::Anonymous, Caller::Worker] {
            assert!(matches!(store.claim_as(&run_id, caller).await.unwrap(), RunClaimed::Blocked(_)));
        }
        assert_eq!(store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap(), Answered::Stored);
        let claim = store.resumed(&run_id).await;
        store.succeed(&store.start(&claim, 0).await).await;
        store.complete(&claim).await.unwrap();
    }
}

async fn i9_a_no_is_not_asked_again(store: &Store) {
    let rejected = store.paused(&[required()]).await;
    store.refuse(&rejected, 0).await.unwrap();
    let user_rejected = store.paused(&[required()]).await;
    store.answer(&user_rejected, 0, NewAnswer::Reject(None)).await.unwrap();
    let hidden = store.paused(&[required()]).await;
    store.delete_approval(&store.approval_id(&hidden, 0).await).await.unwrap();
    for run_id in [rejected, user_rejected, hidden] {
        let refused = ask_again(store, &run_id, vec![newer(0, required())]).await;
        assert!(matches!(refused, Err(Error::RunConflict { .. })), "{refused:?}");
        assert_eq!(store.call(&run_id).await.generation, 0);
    }
    let expired = store.paused(&[required().expires_in_ms(1), required()]).await;
    wait_until(store.approval(&expired).await.expires_at.unwrap() * 1000).await;
    let late = ask_again(store, &expired, vec![newer(0, required()), newer(1, required())]).await;
    assert!(matches!(late, Err(Error::RunConflict { .. })), "{late:?}");
    assert_eq!(store.call(&expired).await.standing, Standing::Outcome(Outcome::Expired), "it is on record");
    let again = ask_again(store, &expired, vec![newer(0, required())]).await;
    assert!(matches!(again, Err(Error::RunConflict { .. })), "{again:?}");
    let void = store.paused(&[required().valid_for_ms(0)]).await;
    store.approve(&void, 0).await.unwrap();
    let late = ask_again(store, &void, vec![newer(0, required())]).await;
    assert!(matches!(late, Err(Error::RunConflict { .. })), "{late:?}");
    assert_eq!(store.call(&void).await.execution.unwrap().status, ExecutionStatus::Abandoned);
}

async fn i8_what_has_started_is_not_asked_again(store: &Store) {
    // Unknown, and the run is paused for it.
    let (claim, _) = store.unknown().await;
    store.pause_run(claim.clone(), "{}".to_owned(), true).await.unwrap();
    let refused = ask_again(store, &claim.run_id, vec![newer(0, required())]).await;
    assert!(matches!(refused, Err(Error::RunConflict { .. })), "{refused:?}");
    // Finished.
    let (claim, call) = store.executing().await;
    let running = ask_again(store, &claim.run_id, vec![newer(0, required())]).await;
    assert!(matches!(running, Err(Error::NotMine { .. })), "a running run is somebody's: {running:?}");
    store.succeed(&call).await;
    store.pause_run(claim.clone(), "{}".to_owned(), false).await.unwrap();
    let refused = ask_again(store, &claim.run_id, vec![newer(0, required())]).await;
    assert!(matches!(refused, Err(Error::RunConflict { .. })), "{refused:?}");
    assert_eq!(store.count(&claim.run_id, "asked_again").await, 0);
}

async fn i2_one_call_that_cannot_be_asked_again_keeps_all_as_they_are(store: &Store) {
    let run_id = store.paused(&[required(), required()]).await;
    store.refuse(&run_id, 1).await.unwrap();
    let words = store.words(&run_id).await;
    let (other, same) = (|index| newer(index, required()), call(0, required()));
    for calls in [
        vec![],
        vec![other(0), other(1)],
        vec![other(0), other(0)],
        vec![other(0), other(7)],
        vec![same],
        vec![NewCall { tool_name: "other".to_owned(), ..other(0) }],
        vec![NewCall { tool_call_id: "other".to_owned(), ..other(0) }],
        vec![NewCall { arguments: "{}".to_owned(), ..other(0) }],
        vec![NewCall { approval_id: None, ..other(0) }],
        vec![NewCall { approval_id: Some(store.approval_id(&run_id, 1).await), ..other(0) }],
        vec![NewCall { schema_hash: "0".repeat(64), ..other(0) }],
        // Nobody who was asked is passed by.
        vec![newer(0, user())],
        vec![newer(0, audit())],
    ] {
        let refused = ask_again(store, &run_id, calls.clone()).await;
        assert!(matches!(refused, Err(Error::Invalid(_) | Error::RunConflict { .. })), "{calls:?}: {refused:?}");
        assert_eq!(store.words(&run_id).await, words, "{calls:?}");
        assert_eq!(store.get_run(&run_id).await.unwrap().snapshot, r#"{"turn":1}"#);
    }
}

async fn a_call_that_is_approved_by_more_people_from_now_on_is_asked_of_them(store: &Store) {
    // A stricter policy of the same tool is a change, too.
    let run_id = store.paused(&[user()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    ask_again(store, &run_id, vec![call(0, required().quorum(2))]).await.unwrap();
    assert_eq!(store.words(&run_id).await[4..], ["abandoned", "asked_again", "requested"]);
    assert_eq!(store.approval(&run_id).await.quorum, 2);
    assert_eq!(store.approve(&run_id, 0).await.unwrap().status, ApprovalStatus::Pending);
}

async fn i10_who_wrote_what_is_asked_again_stays_its_author(store: &Store) {
    let policy = required().quorum(2);
    let run_id = store.paused(std::slice::from_ref(&policy)).await;
    let id = store.approval_id(&run_id, 0).await;
    let data = json!({ "edited_args": { "amount": 7, "to": "y" } });
    store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("carol").data(data)).await.unwrap();
    let again = NewCall { arguments: r#"{"amount":7,"to":"y"}"#.to_owned(), ..newer(0, policy) };
    ask_again(store, &run_id, vec![again]).await.unwrap();
    let id = store.approval_id(&run_id, 0).await;
    let own = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("carol")).await;
    assert!(matches!(own, Err(Error::NotPermitted { .. })), "{own:?}");
    store.approve(&run_id, 0).await.unwrap();
    let last = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("dan")).await.unwrap();
    assert_eq!(last.status, ApprovalStatus::Approved);
}

async fn a8_hiding_what_was_asked_before_changes_nothing_of_what_is_asked_now(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let old = store.approval_id(&run_id, 0).await;
    ask_again(store, &run_id, vec![newer(0, required())]).await.unwrap();
    store.approve(&run_id, 0).await.unwrap();
    store.delete_approval(&old).await.unwrap();
    assert_eq!(store.get_approval(&old).await.unwrap(), None);
    assert_eq!(store.list_approvals(ApprovalFilter::new()).await.unwrap().meta.total_count, 1);
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 0).await).await;
}

async fn i20_a_call_is_asked_again_as_often_as_its_tool_changes(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    for version in 2..6_u32 {
        store.approve(&run_id, 0).await.unwrap();
        let again = NewCall { tool_version: version.to_string(), ..call(0, required()) };
        ask_again(store, &run_id, vec![again]).await.unwrap();
        assert_eq!(store.call(&run_id).await.generation, version - 1);
    }
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 0).await).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    assert_eq!(store.list_executions(ExecutionFilter::new()).await.unwrap().len(), 5);
    assert_eq!(store.starts(&run_id).await, 1);
    store.complete(&claim).await.unwrap();
}

async fn i7_a_run_that_ends_leaves_nothing_of_any_generation_open(store: &Store) {
    let run_id = store.paused(&[required(), user()]).await;
    ask_again(store, &run_id, vec![newer(0, required()), newer(1, user())]).await.unwrap();
    store.answer(&run_id, 1, NewAnswer::Confirm).await.unwrap();
    store.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap();
    assert_eq!(store.approval(&run_id).await.status, ApprovalStatus::Cancelled);
    assert_eq!(store.call_at(&run_id, 1).await.execution.unwrap().status, ExecutionStatus::Abandoned);
    let late = ask_again(store, &run_id, vec![newer(0, required())]).await;
    assert!(matches!(late, Err(Error::NotMine { .. })), "{late:?}");
}

async fn i4_asking_again_races_a_claim_and_an_approval(store: &Store) {
    for round in 0..12 {
        let run_id = store.paused(&[required()]).await;
        if round % 2 == 0 {
            store.approve(&run_id, 0).await.unwrap();
        }
        let id = store.approval_id(&run_id, 0).await;
        let again = request(store, &run_id, vec![newer(0, required())]).await;
        let claim = store.load(&run_id, Caller::Worker).await;
        let (one, other) = (store.shared(), store.second().await);
        let asking = tokio::spawn(async move { one.ask_again(again).await });
        let rival = tokio::spawn(async move {
            if round % 2 == 0 {
                matches!(other.claim_run(claim).await.unwrap(), RunClaimed::Claimed(_))
            } else {
                other.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by(APPROVER)).await.is_ok()
            }
        });
        let (asked, won) = (asking.await.unwrap(), rival.await.unwrap());
        let call = store.call(&run_id).await;
        match asked {
            // Approved or not before: from now on it waits.
            Ok(()) => {
                assert_eq!((call.generation, call.standing), (1, Standing::AwaitsApproval));
                assert!(!won || round % 2 == 1, "the claim and the question cannot both come first");
            }
            Err(Error::NotMine { .. }) => assert!(won && call.generation == 0),
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!(store.starts(&run_id).await, 0);
    }
}

async fn u1_an_answer_to_what_is_asked_now_counts_and_one_to_other_arguments_does_not(store: &Store) {
    let form = CallPolicy::new(Tier::User, Some(PauseType::UserInput));
    let claim = store.started().await;
    let asked = |version: &str| NewCall {
        tool_version: version.to_owned(),
        arguments: r#"{"amount":100}"#.to_owned(),
        unfilled: vec!["to".to_owned()],
        user_fields: vec!["to".to_owned()],
        ..call(0, form.clone())
    };
    store.commit_turn(CommitTurn { calls: vec![asked("1")], ..turn(&claim, 1, &[], true) }).await.unwrap();
    let run_id = claim.run_id;
    ask_again(store, &run_id, vec![asked("2")]).await.unwrap();
    let other = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Input(ARGUMENTS.to_owned()), ARGUMENTS);
    let other = AnswerCall { generation: 1, ..other };
    assert_eq!(store.answer_call(other).await.unwrap(), Answered::Mismatch);
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Input(ARGUMENTS.to_owned())).await.unwrap(), Answered::Stored);
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 0).await).await;
}

async fn u1_an_answer_that_was_on_its_way_while_it_was_asked_again_does_not_count(store: &Store) {
    for policy in [user(), two_stage()] {
        let run_id = store.paused(std::slice::from_ref(&policy)).await;
        let sent = |answer| answer_to(&run_id, 0, person(REQUESTER), answer, ARGUMENTS);
        ask_again(store, &run_id, vec![newer(0, policy)]).await.unwrap();
        // The same name and the same arguments, but of another tool.
        assert_eq!(store.answer_call(sent(NewAnswer::Confirm)).await.unwrap(), Answered::Outdated);
        assert_eq!(store.call(&run_id).await.answer, None);
        // A no is a no, whatever tool it was said to.
        assert_eq!(store.answer_call(sent(NewAnswer::Reject(None))).await.unwrap(), Answered::Stored);
        assert_eq!(store.count(&run_id, "[requirement_mismatch]").await, 0);
        let claim = store.resumed(&run_id).await;
        assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    }
}

/// A generation that the log does not know starts nothing, nor does one that was taken back.
async fn i1_a_generation_that_is_only_in_the_rows_starts_nothing(_: &Store) {
    // The approval of the first generation, and every row put back to it.
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let old = store.approve(&run_id, 0).await.unwrap();
    let kept = store.raw();
    kern_tests::steps::drop_triggers(&kept);
    kept.execute_batch("CREATE TABLE kept AS SELECT * FROM kern_calls").unwrap();
    ask_again(store, &run_id, vec![newer(0, required())]).await.unwrap();
    kept.execute_batch("DELETE FROM kern_calls; INSERT INTO kern_calls SELECT * FROM kept").unwrap();
    store.tamper("UPDATE kern_executions SET status = 'ready', error = NULL, finished_at_ms = NULL");
    assert_eq!(store.approval(&run_id).await.id, old.id);
    let claimed = store.claim_as(&run_id, Caller::Worker).await;
    assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{claimed:?}");
    assert_eq!(store.starts(&run_id).await, 0);

    // A second generation that nobody asked for cannot be voted on.
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    store.tamper("UPDATE kern_calls SET generation = 1");
    store.tamper("UPDATE kern_approvals SET generation = 1");
    let vote = store.approve(&run_id, 0).await;
    assert!(matches!(vote, Err(Error::DigestMismatch { .. })), "{vote:?}");
}

on_each_store! {
    a8_hiding_what_was_asked_before_changes_nothing_of_what_is_asked_now,
    a_call_that_is_approved_by_more_people_from_now_on_is_asked_of_them,
    a_pending_call_is_cancelled_and_asked_for_anew,
    i10_who_wrote_what_is_asked_again_stays_its_author,
    i17_a_run_that_was_loaded_before_claims_nothing,
    i20_a_call_is_asked_again_as_often_as_its_tool_changes,
    i2_one_call_that_cannot_be_asked_again_keeps_all_as_they_are,
    i4_asking_again_races_a_claim_and_an_approval,
    i6_an_old_approval_never_starts_the_new_generation,
    i7_a_run_that_ends_leaves_nothing_of_any_generation_open,
    i8_what_has_started_is_not_asked_again,
    i9_a_no_is_not_asked_again,
    u1_an_answer_that_was_on_its_way_while_it_was_asked_again_does_not_count,
    u1_an_answer_to_what_is_asked_now_counts_and_one_to_other_arguments_does_not,
    u1_what_the_requester_said_is_asked_again,
}

on_a_file! {
    i1_a_generation_that_is_only_in_the_rows_starts_nothing,
}
