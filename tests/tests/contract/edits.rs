//! A3 by an approver, and X10 by one: what goes with a yes and changes what runs.

use kern_db::{
    Answered, Approval, ApprovalId, ApprovalStatus, Blocker, CallPolicy, Caller, CommitTurn, Error, ExecutionStatus,
    NewAnswer, NewCall, Outcome, PauseType, Resolution, Result, RunClaimed, RunId, Standing, Tier, canonical_json,
};
use kern_tests::steps::{
    APPROVER, ARGUMENTS, REQUESTER, Store, answer_to, call, person, required, schema_hash, turn, two_stage, wait_until,
};
use serde_json::{Value, json};

const EDITED: &str = r#"{"amount":7,"to":"y"}"#;

fn edited() -> Value {
    json!({ "edited_args": { "to": "y", "amount": 7 } })
}

fn yes(data: Value) -> Resolution {
    Resolution::approved().by(APPROVER).data(data)
}

async fn resolve(store: &Store, run_id: &RunId, resolution: Resolution) -> Result<Approval> {
    let id = store.approval_id(run_id, 0).await;
    store.update_approval(&id, ApprovalStatus::Pending, resolution).await
}

/// A run that waits for one call.
async fn asked(store: &Store, call: NewCall) -> RunId {
    let claim = store.started().await;
    store.commit_turn(CommitTurn { calls: vec![call], ..turn(&claim, 1, &[], true) }).await.unwrap();
    claim.run_id
}

fn with_schema(mut call: NewCall, schema: Value) -> NewCall {
    call.parameters = canonical_json(&schema);
    call.schema_hash = schema_hash(&call.parameters);
    call
}

/// A call whose `to` a user has to fill.
fn form(tier: Tier) -> NewCall {
    NewCall {
        arguments: r#"{"amount":100}"#.to_owned(),
        unfilled: vec!["to".to_owned()],
        user_fields: vec!["to".to_owned()],
        ..call(0, CallPolicy::new(tier, Some(PauseType::UserInput)))
    }
}

fn outside(tier: Tier) -> CallPolicy {
    CallPolicy::new(tier, Some(PauseType::ExternalExecution))
}

async fn a3_an_edit_by_the_only_approver_is_a_new_version_and_their_yes_to_it(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let before = store.call(&run_id).await;
    let approved = resolve(store, &run_id, yes(edited()).note("less")).await.unwrap();
    assert_eq!((approved.status, approved.version), (ApprovalStatus::Approved, 1));
    assert_eq!(approved.edited_by.as_ref().map(|editor| editor.subject.as_str()), Some(APPROVER));
    assert_eq!(approved.tool_args, edited()["edited_args"].as_object().cloned());
    assert_ne!(approved.digest, before.digest);
    assert_eq!(approved.votes.len(), 1);
    assert_eq!((approved.votes[0].version, &approved.votes[0].digest), (1, &approved.digest));
    let kept = approved.resolution_data.unwrap();
    assert_eq!((&kept["edited_args"], &kept["note"]), (&edited()["edited_args"], &json!("less")));
    assert_eq!(store.words(&run_id).await[3..], ["edited", "voted", "approved", "ready"]);
    let claim = store.resumed(&run_id).await;
    let started = store.start(&claim, 0).await;
    assert_eq!((started.arguments(), started.decided_digest()), (EDITED, approved.digest.as_str()));
}

async fn a3_the_same_arguments_again_are_no_edit(store: &Store) {
    for same in [json!({ "to": "x", "amount": 100 }), json!({ "amount": 100.0, "to": "x" })] {
        let run_id = store.paused(&[required()]).await;
        let approved = resolve(store, &run_id, yes(json!({ "edited_args": same }))).await.unwrap();
        assert_eq!((approved.status, approved.version, approved.edited_by), (ApprovalStatus::Approved, 0, None));
        assert_eq!(store.words(&run_id).await[3..], ["voted", "approved", "ready"]);
    }
}

async fn i14_an_edit_that_breaks_the_schema_changes_nothing_and_names_every_mistake(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let before = store.call(&run_id).await;
    for (arguments, named) in [
        (json!({}), vec!["/amount: missing", "/to: missing"]),
        (
            json!({ "amount": "7", "to": 1, "more": true }),
            vec!["/amount: expected integer", "/more: unknown", "/to: ex"],
        ),
        (json!({ "amount": -1, "to": "x".repeat(21) }), vec!["/amount: -1 is no uint32", "/to: has 21 characters"]),
        (json!({ "amount": 1e300, "to": "x" }), vec!["not exact"]),
        (json!({ "amount": 9_007_199_254_740_993_u64, "to": "x" }), vec!["not exact"]),
        (json!([]), vec!["is a JSON object"]),
        (json!(null), vec!["is a JSON object"]),
        (json!("{}"), vec!["is a JSON object"]),
    ] {
        let refused = resolve(store, &run_id, yes(json!({ "edited_args": arguments }))).await;
        let Err(Error::Invalid(what)) = &refused else { panic!("{arguments}: {refused:?}") };
        assert!(named.iter().all(|named| what.contains(named)), "{named:?} in {what}");
    }
    let after = store.call(&run_id).await;
    assert_eq!((after.version, after.digest, after.standing), (0, before.digest, Standing::AwaitsApproval));
    assert_eq!(store.words(&run_id).await.len(), 3, "nothing is on record, nothing has changed");
}

async fn i18_an_edit_has_the_limits_of_a_models_arguments(store: &Store) {
    let mut deep = call(0, required());
    deep.argument_limit = 200;
    let deep = with_schema(deep, json!({ "type": "object" }));
    let run_id = asked(store, deep).await;
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    for (arguments, named) in
        [(json!({ "x": "y".repeat(200) }), "200 are allowed"), (json!({ "x": nested(64) }), "nested deeper than 64")]
    {
        let refused = resolve(store, &run_id, yes(json!({ "edited_args": arguments }))).await;
        assert!(matches!(refused, Err(Error::Invalid(ref what)) if what.contains(named)), "{refused:?}");
    }
    let edited = json!({ "edited_args": { "x": nested(63) } });
    assert_eq!(resolve(store, &run_id, yes(edited)).await.unwrap().version, 1);
}

async fn i14_a_schema_that_cannot_be_checked_takes_no_edit_and_every_decision(store: &Store) {
    let odd = json!({ "type": "object", "properties": { "to": { "type": "string", "pattern": "^x" } } });
    let run_id = asked(store, with_schema(call(0, required()), odd.clone())).await;
    let refused = resolve(store, &run_id, yes(edited())).await;
    assert!(matches!(refused, Err(Error::NotEditable { ref why, .. }) if why.contains("`pattern`")), "{refused:?}");
    assert_eq!(refused.unwrap_err().code(), "not_editable");
    assert_eq!(store.approve(&run_id, 0).await.unwrap().status, ApprovalStatus::Approved);
    let run_id = asked(store, with_schema(call(0, required()), odd)).await;
    assert_eq!(store.refuse(&run_id, 0).await.unwrap().status, ApprovalStatus::Rejected);
}

async fn i5_a_schema_that_is_not_the_one_hashed_makes_no_row(store: &Store) {
    for (schema, hash) in [("{}", "0".repeat(64)), ("[]", schema_hash("[]")), ("", schema_hash(""))] {
        let claim = store.started().await;
        let asked = NewCall { parameters: schema.to_owned(), schema_hash: hash, ..call(0, required()) };
        let turn = CommitTurn { calls: vec![asked], ..turn(&claim, 1, &[], true) };
        let refused = store.commit_turn(turn).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        assert!(store.get_run(&claim.run_id).await.unwrap().calls.is_empty());
    }
}

async fn a5_a_rejection_changes_nothing(store: &Store) {
    for (policy, data) in [
        (required(), edited()),
        (required(), json!({ "values": {} })),
        (outside(Tier::Required), json!({ "result": "done" })),
        (required(), json!([1])),
    ] {
        let run_id = store.paused(&[policy]).await;
        let refused = resolve(store, &run_id, Resolution::rejected().by(APPROVER).data(data)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        assert_eq!(store.approval(&run_id).await.status, ApprovalStatus::Pending);
        // What is none of these is kept as it is.
        let other = json!({ "ticket": 17 });
        let rejected = resolve(store, &run_id, Resolution::rejected().by(APPROVER).data(other.clone())).await.unwrap();
        assert_eq!((rejected.status, rejected.resolution_data), (ApprovalStatus::Rejected, Some(other)));
    }
    let run_id = asked(store, form(Tier::Required)).await;
    let refused = resolve(store, &run_id, Resolution::rejected().by(APPROVER).data(json!({ "to": "y" }))).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
}

async fn a3_one_resolution_makes_one_change(store: &Store) {
    for (policy, data) in [
        (required(), json!({ "edited_args": { "amount": 7, "to": "y" }, "values": {} })),
        (outside(Tier::Required), json!({ "edited_args": { "amount": 7, "to": "y" }, "result": "done" })),
        (required(), json!({ "values": { "to": "y" } })),
        (required(), json!({ "result": "done" })),
        (outside(Tier::Required), json!({ "result": { "text": "done" } })),
        (outside(Tier::Required), json!({ "result": null })),
        (CallPolicy::new(Tier::Required, Some(PauseType::UserInput)), json!({ "values": "y" })),
        (CallPolicy::new(Tier::Required, Some(PauseType::UserInput)), json!({ "to": "y", "ticket": 17 })),
    ] {
        let run_id = store.paused(&[policy]).await;
        let refused = resolve(store, &run_id, yes(data.clone())).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{data}: {refused:?}");
        let call = store.call(&run_id).await;
        assert_eq!((call.version, call.standing), (0, Standing::AwaitsApproval), "{data}");
    }
}

async fn a3_values_fill_what_is_to_be_filled_and_nothing_else(store: &Store) {
    for data in [json!({ "values": { "to": "y" } }), json!({ "to": "y" })] {
        let run_id = asked(store, form(Tier::Required)).await;
        let approved = resolve(store, &run_id, yes(data)).await.unwrap();
        assert_eq!((approved.status, approved.version), (ApprovalStatus::Approved, 1));
        assert_eq!(store.words(&run_id).await[3..], ["edited", "voted", "approved", "ready"]);
        let call = store.call(&run_id).await;
        assert_eq!((call.arguments.as_str(), call.unfilled.len()), (r#"{"amount":100,"to":"y"}"#, 0));
    }
    for data in
        [json!({ "values": { "amount": 1, "to": "y" } }), json!({ "values": { "to": 3 } }), json!({ "values": {} })]
    {
        let run_id = asked(store, form(Tier::Required)).await;
        let refused = resolve(store, &run_id, yes(data)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        assert_eq!(store.call(&run_id).await.unfilled, ["to"]);
    }
    // Where the tool names no fields, all of its parameters are.
    let all = NewCall { user_fields: Vec::new(), ..form(Tier::Required) };
    let run_id = asked(store, all).await;
    resolve(store, &run_id, yes(json!({ "amount": 1, "to": "y" }))).await.unwrap();
    assert_eq!(store.call(&run_id).await.arguments, r#"{"amount":1,"to":"y"}"#);
}

async fn x10_a_result_goes_with_the_yes_that_opens_the_gate(store: &Store) {
    let run_id = store.paused(&[outside(Tier::Required)]).await;
    let approved = resolve(store, &run_id, yes(json!({ "result": "ticket 17" }))).await.unwrap();
    assert_eq!(approved.status, ApprovalStatus::Approved);
    let execution = approved.execution.unwrap();
    assert_eq!((execution.status, execution.result.as_deref()), (ExecutionStatus::Succeeded, Some("ticket 17")));
    assert_eq!(store.words(&run_id).await[3..], ["voted", "approved", "ready", "succeeded"]);
    assert_eq!(
        store.answer(&run_id, 0, NewAnswer::ExternalResult("mine".to_owned())).await.unwrap(),
        Answered::NotAsked
    );
    let claim = store.resumed(&run_id).await;
    store.complete(&claim).await.unwrap();
    assert_eq!(store.starts(&run_id).await, 0);

    // Without one it is approved, and the person who asked brings the result.
    let run_id = store.paused(&[outside(Tier::Required)]).await;
    store.approve(&run_id, 0).await.unwrap();
    let late = resolve(store, &run_id, yes(json!({ "result": "ticket 17" }))).await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    assert_eq!(store.answer(&run_id, 0, NewAnswer::ExternalResult("mine".to_owned())).await.unwrap(), Answered::Stored);

    // Where the gate needs more than this yes, nothing of it happens.
    let run_id = store.paused(&[outside(Tier::TwoStage)]).await;
    let early = resolve(store, &run_id, yes(json!({ "result": "ticket 17" }))).await;
    assert!(matches!(early, Err(Error::Invalid(_))), "{early:?}");
    assert_eq!(store.words(&run_id).await.len(), 3);
}

async fn i4_what_is_decided_hidden_or_expired_is_not_edited(store: &Store) {
    let decided = store.paused(&[required()]).await;
    store.approve(&decided, 0).await.unwrap();
    let late = resolve(store, &decided, yes(edited())).await;
    assert!(matches!(late, Err(Error::Conflict { found: ApprovalStatus::Approved, .. })), "{late:?}");

    let started = store.executing().await.0.run_id;
    assert!(matches!(resolve(store, &started, yes(edited())).await, Err(Error::Conflict { .. })));

    let hidden = store.paused(&[required()]).await;
    let id: ApprovalId = store.approval_id(&hidden, 0).await;
    store.delete_approval(&id).await.unwrap();
    let gone = store.update_approval(&id, ApprovalStatus::Pending, yes(edited())).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");

    let expired = store.paused(&[required().expires_in_ms(1)]).await;
    wait_until(store.approval(&expired).await.expires_at.unwrap() * 1000).await;
    assert!(matches!(resolve(store, &expired, yes(edited())).await, Err(Error::Expired { .. })));
    assert_eq!(store.approval(&expired).await.version, 0);

    let cancelled = store.paused(&[required()]).await;
    store.cancel_run(cancelled.clone(), Caller::Anonymous).await.unwrap();
    assert!(matches!(resolve(store, &cancelled, yes(edited())).await, Err(Error::Conflict { .. })));
}

async fn i10_whoever_asked_does_not_edit(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let refused = resolve(store, &run_id, Resolution::approved().by(REQUESTER).data(edited())).await;
    assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
    assert_eq!(store.count(&run_id, "[vote_refused]").await, 1);
    assert_eq!(store.call(&run_id).await.version, 0);
}

async fn i5_an_edit_is_of_the_version_that_was_looked_at(store: &Store) {
    let run_id = asked(store, form(Tier::Required)).await;
    let shown = store.approval(&run_id).await;
    let values = NewAnswer::Input(r#"{"amount":100,"to":"mine"}"#.to_owned());
    store.answer(&run_id, 0, values).await.unwrap();
    for blind in [yes(edited()), yes(edited()).digest(&shown.digest)] {
        let refused = resolve(store, &run_id, blind).await;
        assert!(matches!(refused, Err(Error::StaleView { version: 1, .. })), "{refused:?}");
    }
    let now = store.approval(&run_id).await;
    assert_eq!(now.edited_by.as_ref().map(|editor| editor.subject.as_str()), Some(REQUESTER));
    let edited = resolve(store, &run_id, yes(edited()).digest(now.digest)).await.unwrap();
    assert_eq!((edited.version, edited.status), (2, ApprovalStatus::Approved));
    assert_eq!(edited.edited_by.unwrap().subject, APPROVER);
}

async fn schedule_9_an_approvers_edit_needs_the_requesters_word(store: &Store) {
    let run_id = store.paused(&[two_stage()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    resolve(store, &run_id, yes(edited())).await.unwrap();
    // The quick start's requirements: the confirmation of what was shown before the edit.
    let stale = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, ARGUMENTS);
    assert_eq!(store.answer_call(stale).await.unwrap(), Answered::Outdated);
    let blocked = store.claim_as(&run_id, person(REQUESTER)).await.unwrap();
    assert_eq!(blocked, RunClaimed::Blocked(vec![Blocker::AwaitsRequester { index: 0 }]));
    assert_eq!(store.count(&run_id, "[requirement_mismatch]").await, 0);
    assert_eq!(store.count(&run_id, "confirmed_implied").await, 0);
    assert_eq!(store.starts(&run_id).await, 0);
    let current = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, EDITED);
    assert_eq!(store.answer_call(current).await.unwrap(), Answered::Stored);
    let claim = store.resumed(&run_id).await;
    assert_eq!(store.start(&claim, 0).await.arguments(), EDITED);
}

async fn schedule_9_going_on_confirms_no_edit(store: &Store) {
    // Nobody has confirmed anything: going on as the requester confirms what was first shown, and this is not it.
    let run_id = store.paused(&[two_stage()]).await;
    resolve(store, &run_id, yes(edited())).await.unwrap();
    for caller in [person(REQUESTER), Caller::Anonymous, Caller::Worker] {
        let blocked = store.claim_as(&run_id, caller).await.unwrap();
        assert_eq!(blocked, RunClaimed::Blocked(vec![Blocker::AwaitsRequester { index: 0 }]));
    }
    // A no to what was shown before the edit is a no to the edit.
    let no = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Reject(None), ARGUMENTS);
    assert_eq!(store.answer_call(no).await.unwrap(), Answered::Stored);
    let standing = store.call(&run_id).await.standing;
    assert_eq!(standing, Standing::Outcome(Outcome::UserRejected(None)));
}

async fn i4_edits_race_each_other_approvals_and_a_cancellation(store: &Store) {
    for round in 0..12 {
        let run_id = store.paused(&[required()]).await;
        let id = store.approval_id(&run_id, 0).await;
        let (one, other, canceller) = (store.shared(), store.second().await, store.second().await);
        let edit = |to: &str| {
            let data = json!({ "edited_args": { "amount": 7, "to": to } });
            Resolution::approved().by(format!("approver {to}")).data(data)
        };
        let rival = if round % 3 == 0 { Resolution::approved().by("plain") } else { edit("b") };
        let (first, second) = (edit("a"), rival);
        let ids = (id.clone(), id.clone());
        let one = tokio::spawn(async move { one.update_approval(&ids.0, ApprovalStatus::Pending, first).await });
        let other = tokio::spawn(async move { other.update_approval(&ids.1, ApprovalStatus::Pending, second).await });
        let cancel = (round % 2 == 0).then(|| {
            let run_id = run_id.clone();
            tokio::spawn(async move { canceller.cancel_run(run_id, Caller::Anonymous).await })
        });
        let mut won = Vec::new();
        for resolved in [one.await.unwrap(), other.await.unwrap()] {
            match resolved {
                Ok(approval) => won.push(approval),
                Err(Error::Conflict { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        let cancelled = match cancel {
            Some(task) => task.await.unwrap().is_ok(),
            None => false,
        };
        let approval = store.approval(&run_id).await;
        match won.as_slice() {
            [] => assert!(cancelled && approval.status == ApprovalStatus::Cancelled, "{approval:?}"),
            [winner] => {
                assert_eq!((winner.version, &winner.digest), (approval.version, &approval.digest));
                assert_eq!(approval.execution.unwrap().decided_digest, approval.digest);
                let voted = store.count(&run_id, "voted").await;
                assert_eq!(voted, 1, "who edited is who approved");
            }
            _ => panic!("two decisions: {won:?}"),
        }
    }
}

async fn i5_a_tampered_schema_edits_and_starts_nothing(_: &Store) {
    for tampered in [r#"'{"type":"object"}'"#, "'{}'", "''"] {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required()]).await;
        store.tamper(&format!("UPDATE kern_calls SET parameters = {tampered}"));
        for resolution in [yes(edited()), yes(json!({})), Resolution::rejected().by(APPROVER)] {
            let refused = resolve(store, &run_id, resolution).await;
            assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
        }
        // Once for each row and day.
        assert_eq!(store.count(&run_id, "[digest_mismatch]").await, 1);

        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let claim = store.resumed(&run_id).await;
        store.tamper(&format!("UPDATE kern_calls SET parameters = {tampered}"));
        let refused = store.claim(&claim, 0).await;
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
    }
    // A schema that is gone is none that would let an edit through.
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    store.tamper("UPDATE kern_calls SET parameters = NULL");
    let refused = resolve(store, &run_id, yes(edited())).await;
    assert!(matches!(refused, Err(Error::NotEditable { .. })), "{refused:?}");
}

async fn i5_an_edit_that_is_only_in_the_rows_is_not_decided_on(_: &Store) {
    // The version of one edit, with another author or none.
    for author in ["NULL", r#"replace(edited_by, 'bob', 'eve')"#] {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required().quorum(2)]).await;
        resolve(store, &run_id, yes(edited())).await.unwrap();
        store.tamper(&format!("UPDATE kern_approvals SET edited_by = {author}"));
        let now = store.approval(&run_id).await;
        let vote = resolve(store, &run_id, Resolution::approved().by(APPROVER).digest(now.digest)).await;
        assert!(matches!(vote, Err(Error::DigestMismatch { .. })), "{author}: {vote:?}");
    }
}

async fn i16_what_was_asked_and_written_is_kept(store: &Store) {
    let run_id = store.paused(&[required().quorum(2)]).await;
    resolve(store, &run_id, yes(edited())).await.unwrap();
    let other = store.paused(&[required()]).await;
    store.approve(&other, 0).await.unwrap();
    let raw = store.raw();
    for sql in [
        "UPDATE kern_calls SET parameters = '{}'",
        "UPDATE kern_calls SET user_fields = '[\"a\"]'",
        "UPDATE kern_calls SET argument_limit = 1",
        "UPDATE kern_calls SET requirement_id = 'x'",
        "UPDATE kern_calls SET earlier_requirements = '[]'",
        "UPDATE kern_calls SET tool_version = '2'",
        "UPDATE kern_calls SET policy = '{}'",
        "UPDATE kern_calls SET generation = generation + 2",
        "UPDATE kern_calls SET generation = generation + 1, arguments = '{}'",
        // Pending, and ready: neither is over.
        "UPDATE kern_calls SET generation = generation + 1",
        "UPDATE kern_approvals SET sensitive = '[]'",
        "UPDATE kern_approvals SET edited_by = '{}'",
        "UPDATE kern_approvals SET edited_by = '{}', version = version + 1 WHERE status = 'approved'",
        "UPDATE kern_votes SET resolution_data = '{}'",
    ] {
        for run_id in [&run_id, &other] {
            let about = if sql.contains("votes") {
                format!("{sql} WHERE approval_id IN (SELECT id FROM kern_approvals WHERE run_id = '{run_id}')")
            } else if sql.contains("WHERE") {
                format!("{sql} AND run_id = '{run_id}'")
            } else {
                format!("{sql} WHERE run_id = '{run_id}'")
            };
            // Nothing changed, or it was refused.
            match raw.execute(&about, ()) {
                Ok(changed) => assert_eq!(changed, 0, "{about}"),
                Err(error) => assert!(error.to_string().contains("kern:"), "{about}: {error}"),
            }
        }
    }
}

async fn i21_secret_arguments_are_named_on_the_row(store: &Store) {
    let run_id = store.paused(&[required(), kern_tests::steps::user().record(true)]).await;
    assert_eq!(store.approval(&run_id).await.sensitive, ["key"]);
    store.answer(&run_id, 1, NewAnswer::Confirm).await.unwrap();
    assert_eq!(store.call_at(&run_id, 1).await.approval.unwrap().sensitive, ["key"]);
}

on_each_store! {
    a3_an_edit_by_the_only_approver_is_a_new_version_and_their_yes_to_it,
    a3_one_resolution_makes_one_change,
    a3_the_same_arguments_again_are_no_edit,
    a3_values_fill_what_is_to_be_filled_and_nothing_else,
    a5_a_rejection_changes_nothing,
    i10_whoever_asked_does_not_edit,
    i14_a_schema_that_cannot_be_checked_takes_no_edit_and_every_decision,
    i14_an_edit_that_breaks_the_schema_changes_nothing_and_names_every_mistake,
    i18_an_edit_has_the_limits_of_a_models_arguments,
    i21_secret_arguments_are_named_on_the_row,
    i4_edits_race_each_other_approvals_and_a_cancellation,
    i4_what_is_decided_hidden_or_expired_is_not_edited,
    i5_a_schema_that_is_not_the_one_hashed_makes_no_row,
    i5_an_edit_is_of_the_version_that_was_looked_at,
    schedule_9_an_approvers_edit_needs_the_requesters_word,
    schedule_9_going_on_confirms_no_edit,
    x10_a_result_goes_with_the_yes_that_opens_the_gate,
}

on_a_file! {
    i16_what_was_asked_and_written_is_kept,
    i5_a_tampered_schema_edits_and_starts_nothing,
    i5_an_edit_that_is_only_in_the_rows_is_not_decided_on,
}
