//! A1 to A9: asking, deciding, hiding.

use std::sync::Arc;

use kern_db::{
    ApprovalFilter, ApprovalStatus, ApprovalType, Blocker, CallClaimed, Caller, Ended, Error, ExecutionFilter,
    ExecutionStatus, Finished, Outcome, Resolution, RunClaimed, RunStatus, Settlement, Standing,
};
use kern_tests::steps::{
    APPROVER, REQUESTER, Store, audit, call, person, required, turn, two_stage, user, verified, wait_until,
};
use serde_json::json;

async fn a1_what_is_asked_is_what_an_approver_reads(store: &Store) {
    let run_id = store.paused(&[required().expires_in_ms(60_000)]).await;
    let approval = store.approval(&run_id).await;
    let read = store.get_approval(&approval.id).await.unwrap().expect("it is there");
    assert_eq!(read, approval);
    assert_eq!(read.status, ApprovalStatus::Pending);
    assert_eq!(read.approval_type, Some(ApprovalType::Required));
    assert_eq!(read.tool_args, json!({ "amount": 100, "to": "x" }).as_object().cloned());
    assert_eq!((read.user_id.as_deref(), read.version), (Some(REQUESTER), 0));
    assert!(read.expires_at.expect("it expires") >= read.created_at + 60);
    assert_eq!(read.digest, store.call(&run_id).await.digest);
    assert_eq!(store.count_pending_approvals().await.unwrap(), 1);
    assert_eq!(store.words(&run_id).await, ["run_started", "run_paused", "requested"]);
}

async fn a2_a_vote_that_reaches_the_quorum_approves_and_makes_ready(store: &Store) {
    let run_id = store.paused(&[required().valid_for_ms(60_000)]).await;
    let approved = store.approve(&run_id, 0).await.unwrap();
    assert_eq!((approved.status, approved.resolved_by.as_deref()), (ApprovalStatus::Approved, Some(APPROVER)));
    assert!(!approved.resolved_by_verified);
    assert_eq!(approved.votes.len(), 1);
    assert_eq!(approved.votes[0].digest, approved.digest);
    let execution = approved.execution.expect("the gate made it ready");
    assert_eq!((execution.status, execution.attempt, execution.fence), (ExecutionStatus::Ready, 0, 0));
    assert_eq!(execution.id.as_str(), approved.id.as_str());
    assert_eq!(execution.decided_digest, approved.digest);
    assert_eq!(store.call(&run_id).await.standing, Standing::Open);
    assert_eq!(store.words(&run_id).await[3..], ["voted", "approved", "ready"]);
    assert_eq!(store.count_pending_approvals().await.unwrap(), 0);
}

async fn a5_a_rejection_is_an_outcome_with_its_note(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let rejected = store.refuse(&run_id, 0).await.unwrap();
    assert_eq!(rejected.status, ApprovalStatus::Rejected);
    assert_eq!(rejected.resolution_data, Some(json!({ "note": "too much" })));
    let standing = store.call(&run_id).await.standing;
    assert_eq!(standing, Standing::Outcome(Outcome::Rejected(Some("too much".to_owned()))));
    assert_eq!(store.words(&run_id).await[3..], ["rejected"]);
}

async fn a6_whoever_decides_too_late_meets_the_expiry(store: &Store) {
    let run_id = store.paused(&[required().expires_in_ms(1)]).await;
    let approval = store.approval(&run_id).await;
    wait_until(approval.expires_at.expect("it expires") * 1000).await;
    let late = store.approve(&run_id, 0).await;
    assert!(matches!(late, Err(Error::Expired { ref id }) if *id == approval.id), "{late:?}");
    // The refusal itself is durable: it is expired for everybody from now on.
    assert_eq!(store.approval(&run_id).await.status, ApprovalStatus::Expired);
    let again = store.refuse(&run_id, 0).await;
    assert!(matches!(again, Err(Error::Conflict { found: ApprovalStatus::Expired, .. })), "{again:?}");
    assert_eq!(store.count(&run_id, "expired").await, 1);
    assert_eq!(store.list_executions(ExecutionFilter::new()).await.unwrap(), []);
    assert_eq!(store.words(&run_id).await[3..], ["expired"]);
}

async fn a6_whoever_resumes_the_run_meets_the_expiry(store: &Store) {
    let run_id = store.paused(&[required().expires_in_ms(1), required()]).await;
    let approval = store.call_at(&run_id, 0).await.approval.expect("it is there");
    wait_until(approval.expires_at.expect("it expires") * 1000).await;
    let other = store.approval_id(&run_id, 1).await;
    let blocked = store.claim_as(&run_id, Caller::Worker).await.unwrap();
    assert_eq!(blocked, RunClaimed::Blocked(vec![Blocker::AwaitsApproval { approval_id: other, index: 1 }]));
    assert_eq!(store.call_at(&run_id, 0).await.standing, Standing::Outcome(Outcome::Expired));
    assert_eq!(store.count(&run_id, "expired").await, 1);
    store.approve(&run_id, 1).await.unwrap();
    let claim = store.resumed(&run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    store.succeed(&store.start(&claim, 1).await).await;
    store.complete(&claim).await.unwrap();
}

async fn a6_nothing_expires_before_its_time(store: &Store) {
    let run_id = store.paused(&[required().expires_in_ms(30_000)]).await;
    store.claim_as(&run_id, Caller::Worker).await.unwrap();
    assert_eq!(store.approve(&run_id, 0).await.unwrap().status, ApprovalStatus::Approved);
}

async fn a7_a_cancelled_run_cancels_what_is_pending(store: &Store) {
    let run_id = store.paused(&[required(), required()]).await;
    store.approve(&run_id, 1).await.unwrap();
    store.cancel_run(run_id.clone(), person(REQUESTER)).await.unwrap();
    assert_eq!(store.call_at(&run_id, 0).await.approval.unwrap().status, ApprovalStatus::Cancelled);
    let execution = store.call_at(&run_id, 1).await.execution.unwrap();
    assert_eq!(execution.status, ExecutionStatus::Abandoned);
    let late = store.approve(&run_id, 0).await;
    assert!(matches!(late, Err(Error::Conflict { found: ApprovalStatus::Cancelled, .. })), "{late:?}");
}

async fn a8_deleting_a_pending_row_cancels_it(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let id = store.approval_id(&run_id, 0).await;
    store.delete_approval(&id).await.unwrap();
    assert_eq!(store.get_approval(&id).await.unwrap(), None);
    assert_eq!(store.list_approvals(ApprovalFilter::new()).await.unwrap().meta.total_count, 0);
    assert_eq!(store.count_pending_approvals().await.unwrap(), 0);
    let late = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by(APPROVER)).await;
    assert!(matches!(late, Err(Error::NotFound { entity: "approval", .. })), "{late:?}");
    let again = store.delete_approval(&id).await;
    assert!(matches!(again, Err(Error::NotFound { entity: "approval", .. })), "{again:?}");
    assert_eq!(store.words(&run_id).await[3..], ["cancelled", "hidden"]);
    let claim = store.resumed(&run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
}

async fn a8_deleting_an_approved_row_voids_it(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let id = store.approval_id(&run_id, 0).await;
    let claim = store.resumed(&run_id).await;
    store.delete_approval(&id).await.unwrap();
    assert_eq!(store.words(&run_id).await[7..], ["abandoned", "hidden"]);
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    assert_eq!(store.starts(&run_id).await, 0);
}

async fn a8_a_row_whose_call_is_running_or_unknown_cannot_be_deleted(store: &Store) {
    let (claim, call) = store.executing().await;
    let id = store.approval_id(&claim.run_id, 0).await;
    let running = store.delete_approval(&id).await;
    let is = |found: &kern_db::Result<()>, status| matches!(found, Err(Error::ExecutionConflict { found, .. }) if *found == status);
    assert!(is(&running, ExecutionStatus::Executing), "{running:?}");
    store.finish_call(call.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await.unwrap();
    let unknown = store.delete_approval(&id).await;
    assert!(is(&unknown, ExecutionStatus::Unknown), "{unknown:?}");
    assert!(store.get_approval(&id).await.unwrap().is_some());
    assert_eq!(store.count(&claim.run_id, "hidden").await, 0);
    // Once its end is known, it may go.
    store
        .settle_execution(
            call.ticket().execution_id(),
            Settlement::failed("no trace of it").by(APPROVER).note("looked"),
        )
        .await
        .unwrap();
    store.delete_approval(&id).await.unwrap();
    assert_eq!(
        store.call(&claim.run_id).await.standing,
        Standing::Outcome(Outcome::Failed("no trace of it".to_owned()))
    );
}

async fn a8_deleting_the_record_of_a_confirmed_call_voids_it_too(store: &Store) {
    let run_id = store.paused(&[user().record(true)]).await;
    store.answer(&run_id, 0, kern_db::NewAnswer::Confirm).await.unwrap();
    let record = store.approval(&run_id).await;
    assert_eq!(record.approval_type, Some(ApprovalType::Audit));
    let read = store.get_approval(&record.id).await.unwrap().expect("it is there");
    assert_eq!(read.execution.map(|execution| execution.status), Some(ExecutionStatus::Ready));
    store.delete_approval(&record.id).await.unwrap();
    let claim = store.resumed(&run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
}

async fn a9_a_bare_audit_call_has_its_record_before_it_starts(store: &Store) {
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[audit()], false)).await.unwrap();
    let call = store.start(&claim, 0).await;
    let row = store.call(&claim.run_id).await;
    let record = row.approval.expect("there is a record");
    assert_eq!((record.status, record.resolved_by), (ApprovalStatus::Approved, None));
    assert_eq!(record.approval_type, Some(ApprovalType::Audit));
    assert_eq!(row.execution.unwrap().status, ExecutionStatus::Executing);
    assert_eq!(store.count_pending_approvals().await.unwrap(), 0);
    assert_eq!(store.words(&claim.run_id).await[2..], ["recorded", "executing"]);
    let entries = store.audit().entries(0, 100).await.unwrap();
    let recorded = entries.iter().find(|entry| entry.action == "recorded").expect("there is one");
    assert_eq!(recorded.actor, kern_db::Actor::Runtime, "nobody decided but the policy");
    store.succeed(&call).await;
    store.pause_run(claim.clone(), "{}".to_owned(), false).await.unwrap();
    assert!(matches!(store.claim(&claim, 0).await, Err(Error::NotMine { .. })));
}

async fn i4_the_first_resolution_wins_and_the_second_learns_what_it_was(store: &Store) {
    for (first, second) in [(true, true), (true, false), (false, true), (false, false)] {
        let run_id = store.paused(&[required()]).await;
        let id = store.approval_id(&run_id, 0).await;
        let say = |yes: bool| {
            if yes { Resolution::approved() } else { Resolution::rejected() }
        };
        let found = store.update_approval(&id, ApprovalStatus::Pending, say(first).by(APPROVER)).await.unwrap().status;
        let lost = store.update_approval(&id, ApprovalStatus::Pending, say(second).by("eve")).await;
        let Err(Error::Conflict { found: learned, by, at, .. }) = lost else { panic!("{lost:?}") };
        assert_eq!((learned, by.as_deref()), (found, Some(APPROVER)));
        assert!(at.is_some());
        let approval = store.approval(&run_id).await;
        assert_eq!((approval.status, approval.resolved_by.as_deref()), (found, Some(APPROVER)));
    }
}

async fn i4_one_of_many_resolutions_at_once_wins(store: &Store) {
    for _ in 0..5 {
        let run_id = store.paused(&[required()]).await;
        let id = store.approval_id(&run_id, 0).await;
        let handles = [store.shared(), store.second().await];
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let (db, id) = (Arc::clone(&handles[number % 2]), id.clone());
                let say = if number % 3 == 0 { Resolution::rejected() } else { Resolution::approved() };
                tokio::spawn(async move {
                    db.update_approval(&id, ApprovalStatus::Pending, say.by(format!("approver {number}"))).await
                })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => won += 1,
                Err(Error::Conflict { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(won, 1);
    }
}

async fn i4_only_what_is_pending_can_be_decided(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let id = store.approval_id(&run_id, 0).await;
    for expected in [ApprovalStatus::Approved, ApprovalStatus::Rejected, ApprovalStatus::Expired] {
        let refused = store.update_approval(&id, expected, Resolution::approved().by(APPROVER)).await;
        let Err(Error::Conflict { expected: said, found, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((said, found), (expected, ApprovalStatus::Pending));
    }
    let rejected = store.paused(&[required()]).await;
    let decided = store.approval_id(&rejected, 0).await;
    store.update_approval(&decided, ApprovalStatus::Pending, Resolution::rejected().by(APPROVER)).await.unwrap();
    let turned = store.update_approval(&decided, ApprovalStatus::Rejected, Resolution::approved().by(APPROVER)).await;
    assert!(matches!(turned, Err(Error::Invalid(_))), "{turned:?}");
    assert_eq!(store.approval(&rejected).await.status, ApprovalStatus::Rejected);
    let unknown = kern_db::ApprovalId::generate();
    let refused = store.update_approval(&unknown, ApprovalStatus::Pending, Resolution::approved()).await;
    assert!(matches!(refused, Err(Error::NotFound { entity: "approval", .. })), "{refused:?}");
    assert_eq!(store.approval(&run_id).await.status, ApprovalStatus::Pending);
}

async fn i5_a_vote_is_for_the_version_that_was_shown(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let approval = store.approval(&run_id).await;
    let of_another = Resolution::approved().by(APPROVER).digest("0".repeat(64));
    let refused = store.update_approval(&approval.id, ApprovalStatus::Pending, of_another).await;
    assert!(matches!(refused, Err(Error::StaleView { version: 0, .. })), "{refused:?}");
    assert_eq!(store.count(&run_id, "[vote_refused]").await, 1);
    assert_eq!(store.approval(&run_id).await.status, ApprovalStatus::Pending);
    let of_this = Resolution::approved().by(APPROVER).digest(approval.digest);
    store.update_approval(&approval.id, ApprovalStatus::Pending, of_this).await.unwrap();
}

async fn i5_values_that_cannot_be_enforced_are_not_accepted(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let id = store.approval_id(&run_id, 0).await;
    for data in [json!({ "edited_args": {} }), json!({ "values": {} }), json!({ "result": "x" }), json!([1])] {
        let resolution = Resolution::approved().by(APPROVER).data(data);
        let refused = store.update_approval(&id, ApprovalStatus::Pending, resolution).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    assert_eq!(store.approval(&run_id).await.status, ApprovalStatus::Pending);
}

async fn i9_no_means_no(store: &Store) {
    let rejected = store.paused(&[required()]).await;
    store.refuse(&rejected, 0).await.unwrap();
    let cancelled = store.paused(&[required()]).await;
    store.answer(&cancelled, 0, kern_db::NewAnswer::Reject(None)).await.unwrap();
    let deleted = store.paused(&[required()]).await;
    store.delete_approval(&store.approval_id(&deleted, 0).await).await.unwrap();
    let expired = store.paused(&[required().expires_in_ms(1)]).await;
    wait_until(store.approval(&expired).await.expires_at.unwrap() * 1000).await;
    for run_id in [rejected, cancelled, deleted, expired] {
        for _ in 0..2 {
            let claim = store.resumed(&run_id).await;
            assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
            assert!(store.approve(&run_id, 0).await.is_err());
            assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
            store.pause_run(claim, "{}".to_owned(), false).await.unwrap();
        }
        assert_eq!(store.starts(&run_id).await, 0);
        assert_eq!(store.count(&run_id, "ready").await, 0);
    }
}

async fn i10_whoever_asked_does_not_decide(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let id = store.approval_id(&run_id, 0).await;
    for resolution in [Resolution::approved(), Resolution::rejected()] {
        let refused = store.update_approval(&id, ApprovalStatus::Pending, resolution.by(REQUESTER)).await;
        assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
    }
    assert_eq!(store.count(&run_id, "[vote_refused]").await, 2);
    assert_eq!(store.approval(&run_id).await.status, ApprovalStatus::Pending);

    let mut policy = required();
    policy.allow_self = true;
    let run_id = store.paused(&[policy]).await;
    let id = store.approval_id(&run_id, 0).await;
    let allowed = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by(REQUESTER)).await;
    assert_eq!(allowed.unwrap().status, ApprovalStatus::Approved);
}

async fn i10_a_name_alone_does_not_make_another_person_of_the_requester(store: &Store) {
    let mut request = kern_tests::steps::begin(&kern_db::RunId::generate());
    request.requester = Some(verified(REQUESTER));
    let claim = store.begin_run(request).await.unwrap();
    store.commit_turn(turn(&claim, 1, &[required()], true)).await.unwrap();
    let id = store.approval_id(&claim.run_id, 0).await;
    let refused = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by(REQUESTER)).await;
    assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
}

async fn i14_nothing_is_approved_before_it_is_complete(store: &Store) {
    let claim = store.started().await;
    let mut commit = turn(&claim, 1, &[], true);
    let mut asked = call(0, kern_db::CallPolicy::new(kern_db::Tier::Required, Some(kern_db::PauseType::UserInput)));
    asked.unfilled = vec!["to".to_owned()];
    commit.calls = vec![asked];
    store.commit_turn(commit).await.unwrap();
    let refused = store.approve(&claim.run_id, 0).await;
    assert!(matches!(refused, Err(Error::Invalid(ref why)) if why.contains("`to`")), "{refused:?}");
    assert_eq!(store.approval(&claim.run_id).await.status, ApprovalStatus::Pending);
    // A no needs no values.
    assert_eq!(store.refuse(&claim.run_id, 0).await.unwrap().status, ApprovalStatus::Rejected);
}

async fn i14_arguments_that_are_no_canonical_object_make_no_row(store: &Store) {
    let claim = store.started().await;
    for arguments in ["", "{", "[]", "null", r#"{"b":1,"a":2}"#, r#"{ "a":1}"#, r#"{"a":1,"a":1}"#] {
        let mut commit = turn(&claim, 1, &[required()], true);
        commit.calls[0].arguments = arguments.to_owned();
        let refused = store.commit_turn(commit).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{arguments}: {refused:?}");
    }
    assert_eq!(store.list_approvals(ApprovalFilter::new()).await.unwrap().meta.total_count, 0);
    assert_eq!(store.get_run(&claim.run_id).await.unwrap().status, RunStatus::Running);
}

async fn i15_an_approval_that_was_not_used_in_time_starts_nothing(store: &Store) {
    let run_id = store.paused(&[required().valid_for_ms(0)]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    assert_eq!(store.call(&run_id).await.execution.unwrap().status, ExecutionStatus::Abandoned);
    assert_eq!(store.starts(&run_id).await, 0);
    store.complete(&claim).await.unwrap();
}

async fn i20_each_call_is_decided_for_itself(store: &Store) {
    let run_id = store.paused(&[required(), required(), required()]).await;
    let page = store.list_approvals(ApprovalFilter::new().run_id(&run_id)).await.unwrap();
    assert_eq!(page.meta.total_count, 3);
    store.approve(&run_id, 0).await.unwrap();
    store.refuse(&run_id, 1).await.unwrap();
    let id = store.approval_id(&run_id, 2).await;
    let blocked = store.claim_as(&run_id, Caller::Worker).await.unwrap();
    assert_eq!(blocked, RunClaimed::Blocked(vec![Blocker::AwaitsApproval { approval_id: id, index: 2 }]));
    store.approve(&run_id, 2).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let first = store.start(&claim, 0).await;
    assert_eq!(first.index(), 0);
    store.succeed(&first).await;
    assert!(matches!(store.claim(&claim, 1).await.unwrap(), CallClaimed::Over));
    let third = store.start(&claim, 2).await;
    assert_ne!(first.idempotency_key(), third.idempotency_key());
    assert_ne!(first.decided_digest(), third.decided_digest(), "equal arguments at another place are another call");
    assert_eq!(
        store.finish_call(third.ticket(), Ended::Failed("no".to_owned()), Vec::new()).await.unwrap(),
        Finished::Recorded
    );
    store.complete(&claim).await.unwrap();
}

async fn lists_are_narrowed_and_paged(store: &Store) {
    for _ in 0..3 {
        store.paused(&[required(), two_stage()]).await;
    }
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let count = async |filter: ApprovalFilter| store.list_approvals(filter).await.unwrap().meta.total_count;
    assert_eq!(count(ApprovalFilter::new()).await, 7);
    assert_eq!(count(ApprovalFilter::new().status(ApprovalStatus::Pending)).await, 6);
    assert_eq!(count(ApprovalFilter::new().run_id(&run_id)).await, 1);
    assert_eq!(count(ApprovalFilter::new().user_id(REQUESTER).agent_id("agent").session_id("session")).await, 7);
    assert_eq!(count(ApprovalFilter::new().user_id("nobody")).await, 0);
    let mut ids = Vec::new();
    for page in 1..=3_u32 {
        let found = store.list_approvals(ApprovalFilter::new().limit(3_u32).page(page)).await.unwrap();
        assert_eq!((found.meta.total_pages, found.meta.total_count), (3, 7));
        ids.extend(found.data.into_iter().map(|approval| approval.id));
    }
    assert_eq!(ids.len(), 7);
    assert!(ids.windows(2).all(|pair| pair[0] > pair[1]), "newest first, none twice");
    for filter in
        [ApprovalFilter::new().limit(0_u32), ApprovalFilter::new().limit(1001_u32), ApprovalFilter::new().page(0_u32)]
    {
        let refused = store.list_approvals(filter).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
}

on_each_store! {
    a1_what_is_asked_is_what_an_approver_reads,
    a2_a_vote_that_reaches_the_quorum_approves_and_makes_ready,
    a5_a_rejection_is_an_outcome_with_its_note,
    a6_nothing_expires_before_its_time,
    a6_whoever_decides_too_late_meets_the_expiry,
    a6_whoever_resumes_the_run_meets_the_expiry,
    a7_a_cancelled_run_cancels_what_is_pending,
    a8_a_row_whose_call_is_running_or_unknown_cannot_be_deleted,
    a8_deleting_a_pending_row_cancels_it,
    a8_deleting_an_approved_row_voids_it,
    a8_deleting_the_record_of_a_confirmed_call_voids_it_too,
    a9_a_bare_audit_call_has_its_record_before_it_starts,
    i10_a_name_alone_does_not_make_another_person_of_the_requester,
    i10_whoever_asked_does_not_decide,
    i14_arguments_that_are_no_canonical_object_make_no_row,
    i14_nothing_is_approved_before_it_is_complete,
    i15_an_approval_that_was_not_used_in_time_starts_nothing,
    i20_each_call_is_decided_for_itself,
    i4_one_of_many_resolutions_at_once_wins,
    i4_only_what_is_pending_can_be_decided,
    i4_the_first_resolution_wins_and_the_second_learns_what_it_was,
    i5_a_vote_is_for_the_version_that_was_shown,
    i5_values_that_cannot_be_enforced_are_not_accepted,
    i9_no_means_no,
    lists_are_narrowed_and_paged,
}
