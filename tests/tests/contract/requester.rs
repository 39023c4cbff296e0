//! U1 to U3, and A3 by the requester's input.

use kern_db::{
    Answer, Answered, Blocker, CallClaimed, CallPolicy, Caller, Error, ExecutionStatus, NewAnswer, PauseType,
    RunClaimed, RunId, Standing, Tier,
};
use kern_tests::steps::{
    ARGUMENTS, REQUESTER, Store, answer_to, audit, begin, call, person, required, turn, two_stage, user, verified,
    wait_until,
};

const EDITED: &str = r#"{"amount":100,"to":"y"}"#;

fn input(tier: Tier) -> CallPolicy {
    CallPolicy::new(tier, Some(PauseType::UserInput))
}

/// A run that waits for one call whose `to` is still to be filled.
async fn asked_for_input(store: &Store, policy: CallPolicy) -> RunId {
    let claim = store.started().await;
    let mut commit = turn(&claim, 1, &[], true);
    let mut asked = call(0, policy);
    asked.arguments = r#"{"amount":100}"#.to_owned();
    asked.unfilled = vec!["to".to_owned()];
    commit.calls = vec![asked];
    store.commit_turn(commit).await.unwrap();
    claim.run_id
}

async fn u1_a_confirmed_call_of_the_user_tier_starts(store: &Store) {
    let run_id = store.paused(&[user().record(true)]).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap(), Answered::Stored);
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap(), Answered::Already);
    assert_eq!(store.words(&run_id).await[2..], ["confirmed", "ready", "recorded"]);
    let row = store.call(&run_id).await;
    assert_eq!((row.answer, row.answer_is_current), (Some(Answer::Confirmed), true));
    assert_eq!(row.approval.unwrap().resolved_by.as_deref(), Some(REQUESTER));
    let claim = store.resumed(&run_id).await;
    assert_eq!(store.start(&claim, 0).await.arguments(), ARGUMENTS);
}

async fn u1_a_confirmation_is_stored_while_an_approver_is_still_asked(store: &Store) {
    let run_id = store.paused(&[two_stage()]).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap(), Answered::Stored);
    assert_eq!(store.call(&run_id).await.standing, Standing::AwaitsApproval);
    assert!(matches!(store.claim_as(&run_id, person(REQUESTER)).await.unwrap(), RunClaimed::Blocked(_)));
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let _started = store.start(&claim, 0).await;
    assert_eq!(
        store.words(&run_id).await[3..],
        ["confirmed", "voted", "approved", "ready", "run_claimed", "executing"]
    );
}

async fn u1_a_confirmation_after_the_approval_opens_the_gate_too(store: &Store) {
    let run_id = store.paused(&[two_stage()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let blocked = store.claim_as(&run_id, Caller::Worker).await.unwrap();
    assert_eq!(blocked, RunClaimed::Blocked(vec![Blocker::AwaitsRequester { index: 0 }]));
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let _started = store.start(&claim, 0).await;
}

async fn u1_only_the_requester_answers(store: &Store) {
    let run_id = store.paused(&[user(), two_stage()]).await;
    for caller in [person("eve"), Caller::Worker] {
        for index in 0..2 {
            for answer in [NewAnswer::Confirm, NewAnswer::Reject(None)] {
                let refused = store.answer_as(&run_id, index, caller.clone(), answer).await;
                assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
            }
        }
    }
    assert_eq!(store.call(&run_id).await.answer, None);
    // Where nobody proved who they are, a caller without a name acts as the requester.
    assert_eq!(store.answer_as(&run_id, 0, Caller::Anonymous, NewAnswer::Confirm).await.unwrap(), Answered::Stored);
}

async fn i11_a_proven_requester_is_not_replaced_by_a_name_or_by_nobody(store: &Store) {
    let mut request = begin(&RunId::generate());
    request.requester = Some(verified(REQUESTER));
    let claim = store.begin_run(request).await.unwrap();
    store.commit_turn(turn(&claim, 1, &[two_stage()], true)).await.unwrap();
    let run_id = claim.run_id;
    for caller in [Caller::Anonymous, person(REQUESTER), Caller::Worker, Caller::Person(verified("eve"))] {
        let refused = store.answer_as(&run_id, 0, caller, NewAnswer::Confirm).await;
        assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
    }
    store.approve(&run_id, 0).await.unwrap();
    for caller in [Caller::Anonymous, person(REQUESTER)] {
        assert!(matches!(store.claim_as(&run_id, caller).await.unwrap(), RunClaimed::Blocked(_)));
    }
    let claimed = store.claim_as(&run_id, Caller::Person(verified(REQUESTER))).await.unwrap();
    assert!(matches!(claimed, RunClaimed::Claimed(_)), "{claimed:?}");
}

async fn u1_answers_are_taken_only_while_the_run_waits_for_them(store: &Store) {
    let run_id = store.paused(&[user()]).await;
    let mut wrong_turn = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, ARGUMENTS);
    wrong_turn.turn = 2;
    assert!(matches!(store.answer_call(wrong_turn).await, Err(Error::RunConflict { .. })));
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let running = store.answer(&run_id, 0, NewAnswer::Reject(None)).await;
    assert!(matches!(running, Err(Error::RunConflict { .. })), "{running:?}");
    let _started = store.start(&claim, 0).await;
}

async fn u1_what_is_not_asked_is_not_stored(store: &Store) {
    let run_id = store.paused(&[required(), user(), audit()]).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap(), Answered::NotAsked);
    assert_eq!(store.answer(&run_id, 1, NewAnswer::Input(EDITED.to_owned())).await.unwrap(), Answered::NotAsked);
    assert_eq!(store.answer(&run_id, 1, NewAnswer::ExternalResult("x".to_owned())).await.unwrap(), Answered::NotAsked);
    for answer in [NewAnswer::Confirm, NewAnswer::Reject(None), NewAnswer::Input(EDITED.to_owned())] {
        assert_eq!(store.answer(&run_id, 2, answer).await.unwrap(), Answered::NotAsked);
    }
    for index in 0..3 {
        let call = store.call_at(&run_id, index).await;
        assert_eq!((call.answer, call.arguments.as_str()), (None, ARGUMENTS));
    }
}

async fn i5_an_answer_to_something_never_shown_is_evidence(store: &Store) {
    let run_id = store.paused(&[user()]).await;
    let of = |arguments: &str| answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, arguments);
    assert_eq!(store.answer_call(of(r#"{"amount":1,"to":"x"}"#)).await.unwrap(), Answered::Mismatch);
    let mut other_tool = of(ARGUMENTS);
    other_tool.shown.tool_name = "look".to_owned();
    assert_eq!(store.answer_call(other_tool).await.unwrap(), Answered::Mismatch);
    assert_eq!(store.count(&run_id, "[requirement_mismatch]").await, 2);
    assert_eq!(store.call(&run_id).await.answer, None);
    assert!(matches!(store.claim_as(&run_id, person(REQUESTER)).await.unwrap(), RunClaimed::Blocked(_)));
}

async fn u2_the_requesters_no_is_final(store: &Store) {
    for policy in [required(), two_stage(), user().record(true)] {
        let run_id = store.paused(&[policy]).await;
        let no = NewAnswer::Reject(Some("not today".to_owned()));
        assert_eq!(store.answer(&run_id, 0, no.clone()).await.unwrap(), Answered::Stored);
        assert_eq!(store.answer(&run_id, 0, no).await.unwrap(), Answered::Already);
        assert_eq!(store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap(), Answered::NotAsked);
        assert!(store.approve(&run_id, 0).await.is_err());
        let claim = store.resumed(&run_id).await;
        assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
        assert_eq!(store.starts(&run_id).await, 0);
        assert_eq!(store.count(&run_id, "user_rejected").await, 1);
        store.complete(&claim).await.unwrap();
    }
}

async fn u2_the_requesters_no_is_final_after_an_approvers_yes(store: &Store) {
    let run_id = store.paused(&[two_stage()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    store.approve(&run_id, 0).await.unwrap();
    store.answer(&run_id, 0, NewAnswer::Reject(None)).await.unwrap();
    let row = store.call(&run_id).await;
    assert_eq!(row.execution.unwrap().status, ExecutionStatus::Abandoned);
    assert_eq!(row.approval.unwrap().status, kern_db::ApprovalStatus::Approved, "a decision does not change");
    let claim = store.resumed(&run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
}

async fn u3_a_requester_who_goes_on_confirms(store: &Store) {
    for caller in [person(REQUESTER), Caller::Anonymous] {
        let run_id = store.paused(&[two_stage()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let Ok(RunClaimed::Claimed(claim)) = store.claim_as(&run_id, caller).await else { panic!("it is claimed") };
        assert_eq!(store.words(&run_id).await[6..], ["confirmed_implied", "run_claimed"]);
        let _started = store.start(&claim, 0).await;
    }
}

async fn u3_nobody_else_confirms_by_going_on(store: &Store) {
    for caller in [person("eve"), Caller::Worker] {
        let run_id = store.paused(&[two_stage()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let blocked = store.claim_as(&run_id, caller).await.unwrap();
        assert_eq!(blocked, RunClaimed::Blocked(vec![Blocker::AwaitsRequester { index: 0 }]));
        assert_eq!(store.call(&run_id).await.answer, None);
        assert_eq!(store.count(&run_id, "confirmed_implied").await, 0);
    }
}

async fn u3_a_requester_who_goes_on_confirms_nothing_while_another_call_waits(store: &Store) {
    let run_id = store.paused(&[two_stage(), required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let blocked = store.claim_as(&run_id, person(REQUESTER)).await.unwrap();
    assert!(matches!(blocked, RunClaimed::Blocked(ref blockers) if blockers.len() == 1), "{blocked:?}");
    assert_eq!(store.call_at(&run_id, 0).await.answer, None);
}

async fn u3_after_an_edit_only_an_explicit_word_counts(store: &Store) {
    let run_id = asked_for_input(store, input(Tier::TwoStage)).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Input(EDITED.to_owned())).await.unwrap(), Answered::Stored);
    store.approve(&run_id, 0).await.unwrap();
    let blocked = store.claim_as(&run_id, person(REQUESTER)).await.unwrap();
    assert_eq!(blocked, RunClaimed::Blocked(vec![Blocker::AwaitsRequester { index: 0 }]));
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap(), Answered::Stored);
    let claim = store.resumed(&run_id).await;
    assert_eq!(store.start(&claim, 0).await.arguments(), EDITED);
}

async fn u1_a_yes_to_what_is_not_complete_is_not_asked(store: &Store) {
    let run_id = asked_for_input(store, input(Tier::TwoStage)).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap(), Answered::NotAsked);
}

async fn a3_the_requesters_input_is_an_edit_while_it_is_pending(store: &Store) {
    let run_id = asked_for_input(store, input(Tier::Required)).await;
    let before = store.call(&run_id).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Input(EDITED.to_owned())).await.unwrap(), Answered::Stored);
    let after = store.call(&run_id).await;
    assert_eq!((after.version, after.arguments.as_str(), after.unfilled.len()), (1, EDITED, 0));
    assert_ne!(after.digest, before.digest);
    let approval = after.approval.unwrap();
    assert_eq!((approval.version, &approval.digest), (1, &after.digest));
    assert_eq!(approval.tool_args.unwrap()["to"], "y");
    // What was shown before the edit is outdated, not tampered with.
    let old = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, r#"{"amount":100}"#);
    assert_eq!(store.answer_call(old).await.unwrap(), Answered::Outdated);
    assert_eq!(store.count(&run_id, "[requirement_mismatch]").await, 0);
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Input(EDITED.to_owned())).await.unwrap(), Answered::Already);
    store.approve(&run_id, 0).await.unwrap();
    let late = store.answer(&run_id, 0, NewAnswer::Input(ARGUMENTS.to_owned())).await.unwrap();
    assert_eq!(late, Answered::NotAsked, "what is approved is not edited");
    let claim = store.resumed(&run_id).await;
    assert_eq!(store.start(&claim, 0).await.arguments(), EDITED);
    assert_eq!(store.words(&run_id).await[3..5], ["edited", "voted"]);
}

async fn i5_what_was_edited_is_only_approved_by_who_says_what_they_saw(store: &Store) {
    let run_id = asked_for_input(store, input(Tier::Required)).await;
    let shown = store.approval(&run_id).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Input(EDITED.to_owned())).await.unwrap(), Answered::Stored);
    let yes = || kern_db::Resolution::approved().by(kern_tests::steps::APPROVER);
    for blind in [yes(), yes().digest(&shown.digest)] {
        let refused = store.update_approval(&shown.id, kern_db::ApprovalStatus::Pending, blind).await;
        assert!(matches!(refused, Err(kern_db::Error::StaleView { version: 1, .. })), "{refused:?}");
    }
    assert_eq!(store.count(&run_id, "[vote_refused]").await, 2);
    let now = store.approval(&run_id).await;
    assert_eq!(now.status, kern_db::ApprovalStatus::Pending);
    let seeing = yes().digest(&now.digest);
    store.update_approval(&shown.id, kern_db::ApprovalStatus::Pending, seeing).await.unwrap();
}

async fn u1_what_holds_no_answer_is_compared_and_answers_nothing(store: &Store) {
    let run_id = asked_for_input(store, input(Tier::TwoStage)).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Input(EDITED.to_owned())).await.unwrap(), Answered::Stored);
    let before = store.call(&run_id).await.answer;
    let shown = |arguments: &str| answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Unanswered, arguments);
    for (arguments, answered) in [
        (EDITED, Answered::NotAsked),
        (r#"{"amount":100}"#, Answered::Outdated),
        (r#"{"amount":1}"#, Answered::Mismatch),
    ] {
        assert_eq!(store.answer_call(shown(arguments)).await.unwrap(), answered, "{arguments}");
    }
    assert_eq!(store.count(&run_id, "[requirement_mismatch]").await, 1);
    assert_eq!(store.call(&run_id).await.answer, before);
}

async fn u2_a_no_counts_whatever_version_it_was_given_to(store: &Store) {
    let run_id = asked_for_input(store, input(Tier::Required)).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Input(EDITED.to_owned())).await.unwrap(), Answered::Stored);
    let no = NewAnswer::Reject(Some("not that".to_owned()));
    let old = answer_to(&run_id, 0, person(REQUESTER), no.clone(), r#"{"amount":100}"#);
    assert_eq!(store.answer_call(old).await.unwrap(), Answered::Stored);
    assert_eq!(store.approval(&run_id).await.status, kern_db::ApprovalStatus::Cancelled);
    let never_shown = answer_to(&run_id, 0, person(REQUESTER), no, r#"{"amount":1}"#);
    assert_eq!(store.answer_call(never_shown).await.unwrap(), Answered::Mismatch);
}

async fn a3_an_edit_comes_too_late_when_the_approval_has_expired(store: &Store) {
    let run_id = asked_for_input(store, input(Tier::Required).expires_in_ms(1)).await;
    wait_until(store.approval(&run_id).await.expires_at.unwrap() * 1000).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Input(EDITED.to_owned())).await.unwrap(), Answered::NotAsked);
    let approval = store.approval(&run_id).await;
    assert_eq!((approval.status, approval.version), (kern_db::ApprovalStatus::Expired, 0));
}

async fn u1_values_of_the_user_tier_complete_the_call(store: &Store) {
    let run_id = asked_for_input(store, input(Tier::User).record(true)).await;
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap(), Answered::NotAsked, "a yes fills nothing");
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Input(EDITED.to_owned())).await.unwrap(), Answered::Stored);
    assert_eq!(store.answer(&run_id, 0, NewAnswer::Input(ARGUMENTS.to_owned())).await.unwrap(), Answered::NotAsked);
    let claim = store.resumed(&run_id).await;
    assert_eq!(store.start(&claim, 0).await.arguments(), EDITED);
}

async fn i14_an_input_that_is_no_canonical_object_is_refused(store: &Store) {
    let run_id = asked_for_input(store, input(Tier::User)).await;
    for broken in ["", "[]", "{", r#"{ "to":"y"}"#] {
        let refused = store.answer(&run_id, 0, NewAnswer::Input(broken.to_owned())).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{broken}: {refused:?}");
    }
    assert_eq!(store.call(&run_id).await.version, 0);
}

on_each_store! {
    a3_an_edit_comes_too_late_when_the_approval_has_expired,
    u2_a_no_counts_whatever_version_it_was_given_to,
    u1_what_holds_no_answer_is_compared_and_answers_nothing,
    i5_what_was_edited_is_only_approved_by_who_says_what_they_saw,
    a3_the_requesters_input_is_an_edit_while_it_is_pending,
    i11_a_proven_requester_is_not_replaced_by_a_name_or_by_nobody,
    i14_an_input_that_is_no_canonical_object_is_refused,
    i5_an_answer_to_something_never_shown_is_evidence,
    u1_a_confirmation_after_the_approval_opens_the_gate_too,
    u1_a_confirmation_is_stored_while_an_approver_is_still_asked,
    u1_a_confirmed_call_of_the_user_tier_starts,
    u1_a_yes_to_what_is_not_complete_is_not_asked,
    u1_answers_are_taken_only_while_the_run_waits_for_them,
    u1_only_the_requester_answers,
    u1_values_of_the_user_tier_complete_the_call,
    u1_what_is_not_asked_is_not_stored,
    u2_the_requesters_no_is_final,
    u2_the_requesters_no_is_final_after_an_approvers_yes,
    u3_a_requester_who_goes_on_confirms,
    u3_a_requester_who_goes_on_confirms_nothing_while_another_call_waits,
    u3_after_an_edit_only_an_explicit_word_counts,
    u3_nobody_else_confirms_by_going_on,
}
