//! I5, I13, I21: sensitive arguments enter digests as commitments, and can be erased without breaking any.

use kern_db::{
    Answered, CallPolicy, Caller, CommitTurn, Ended, Error, NewAnswer, NewCall, Principal, Resolution, RunClaim, RunId,
    RunStatus,
};
use kern_tests::steps::{ARGUMENTS, REQUESTER, Store, answer_to, call, end, person, required, turn, two_stage, user};
use serde_json::{Value, json};

const SECRET: &str = "hunter2-hunter2";
/// Canonical.
const WITH_KEY: &str = r#"{"amount":100,"key":"hunter2-hunter2","to":"x"}"#;

fn secret(index: u32, policy: CallPolicy) -> NewCall {
    let arguments: Value = serde_json::from_str(WITH_KEY).unwrap();
    NewCall {
        arguments: WITH_KEY.to_owned(),
        requirements: json!([{ "tool_execution": { "tool_name": "pay", "tool_args": arguments } }]),
        ..call(index, policy)
    }
}

fn snapshot() -> String {
    let arguments: Value = serde_json::from_str(WITH_KEY).unwrap();
    json!({ "said": "hello", "tools": [{ "tool_name": "pay", "tool_args": arguments }] }).to_string()
}

async fn paused(store: &Store, policy: CallPolicy) -> RunId {
    let claim = store.started().await;
    commit(store, &claim, policy).await;
    claim.run_id
}

async fn commit(store: &Store, claim: &RunClaim, policy: CallPolicy) {
    let turn = CommitTurn { snapshot: snapshot(), calls: vec![secret(0, policy)], ..turn(claim, 1, &[], true) };
    store.commit_turn(turn).await.unwrap();
}

/// A run of which one call with a secret was approved and has run.
async fn ended(store: &Store) -> RunId {
    let run_id = paused(store, required()).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let started = store.start(&claim, 0).await;
    assert_eq!(started.arguments(), WITH_KEY, "what runs is what was asked");
    store.finish_call(started.ticket(), Ended::Succeeded("paid".to_owned()), Vec::new()).await.unwrap();
    let mut end = end(&claim, RunStatus::Completed);
    end.snapshot = snapshot();
    store.end_run(end).await.unwrap();
    run_id
}

fn by() -> Option<Principal> {
    Some(Principal::unverified("dpo"))
}

async fn is_intact(store: &Store) {
    let report = store.audit().verify().await.unwrap();
    assert!(report.is_intact(), "{report:?}");
}

async fn everything_that_the_store_gives(store: &Store, run_id: &RunId) -> String {
    let run = store.get_run(run_id).await.unwrap();
    let entries = kern_tests::history::entries(&**store).await;
    format!("{run:?} {entries:?}")
}

async fn i21_the_secret_is_nowhere_but_in_the_arguments_and_the_snapshot(store: &Store) {
    let run_id = paused(store, required()).await;
    let approval = store.approval(&run_id).await;
    let args = approval.tool_args.clone().unwrap();
    assert_eq!(args["key"], SECRET, "who decides may look");
    assert!(!approval.requirements.unwrap().to_string().contains(SECRET));
    let edit = json!({ "edited_args": { "amount": 5, "key": "another-secret", "to": "x" } });
    let resolution = Resolution::approved().by("bob").data(edit);
    store.update_approval(&approval.id, kern_db::ApprovalStatus::Pending, resolution).await.unwrap();
    let decided = store.approval(&run_id).await;
    assert_eq!(decided.tool_args.unwrap()["key"], "another-secret");
    let data = decided.resolution_data.unwrap();
    assert_eq!(data["edited_args"]["amount"], 5);
    assert!(data["edited_args"]["key"]["$commitment"].is_string(), "{data}");
    assert!(!format!("{:?}", decided.votes).contains("another-secret"));
    let entries = format!("{:?}", kern_tests::history::entries(&**store).await);
    assert!(!entries.contains(SECRET) && !entries.contains("another-secret"));
    is_intact(store).await;
}

async fn i5_two_calls_with_the_same_secret_have_nothing_in_common_that_shows_it(store: &Store) {
    let claim = store.started().await;
    let calls = vec![secret(0, required()), NewCall { tool_call_id: "call_0".to_owned(), ..secret(1, required()) }];
    store.commit_turn(CommitTurn { calls, ..turn(&claim, 1, &[], true) }).await.unwrap();
    let run = store.get_run(&claim.run_id).await.unwrap();
    let shown = |index: usize| run.calls[index].approval.as_ref().unwrap().requirements.clone().unwrap();
    assert_ne!(shown(0), shown(1));
}

async fn i5_an_answer_counts_for_the_version_with_the_secret_that_was_shown(store: &Store) {
    let run_id = paused(store, user()).await;
    let answer = |arguments: &str| answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, arguments);
    let other = WITH_KEY.replace("hunter2-", "hunter3-");
    assert_eq!(store.answer_call(answer(&other)).await.unwrap(), Answered::Mismatch);
    assert_eq!(store.answer_call(answer(ARGUMENTS)).await.unwrap(), Answered::Mismatch);
    assert_eq!(store.answer_call(answer(WITH_KEY)).await.unwrap(), Answered::Stored);
}

async fn i5_after_an_edit_of_the_secret_the_version_shown_before_is_outdated_and_no_tampering(store: &Store) {
    let run_id = paused(store, two_stage()).await;
    let id = store.approval_id(&run_id, 0).await;
    let data = json!({ "edited_args": { "amount": 100, "key": "another-secret", "to": "x" } });
    let resolution = Resolution::approved().by("bob").data(data);
    store.update_approval(&id, kern_db::ApprovalStatus::Pending, resolution).await.unwrap();
    let answer = |arguments: &str| answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, arguments);
    assert_eq!(store.answer_call(answer(WITH_KEY)).await.unwrap(), Answered::Outdated);
    let edited = WITH_KEY.replace(SECRET, "another-secret");
    assert_eq!(store.answer_call(answer(&edited)).await.unwrap(), Answered::Stored);
    assert_eq!(store.count(&run_id, "requirement_mismatch").await, 0);
    let claim = store.resumed(&run_id).await;
    assert_eq!(store.start(&claim, 0).await.arguments(), edited);
}

async fn an_erased_run_still_verifies_and_its_secret_is_gone(store: &Store) {
    let run_id = ended(store).await;
    // An answer to a request with a key holds what was asked for, too.
    let asked =
        || kern_db::OpenRequest { owner: String::new(), key: "k".to_owned(), digest: "d".to_owned(), lease_ms: 60_000 };
    let kern_db::OpenedRequest::Claimed(claim) = store.open_request(asked()).await.unwrap() else {
        panic!("it is new")
    };
    let kept = kern_db::KeptAnswer { status: 200, content_type: "text/plain".to_owned(), body: SECRET.to_owned() };
    store.close_request(claim.clone(), Some(kept)).await.unwrap();
    let erased = store.audit().erase(&run_id, by(), "ticket 42").await.unwrap();
    let again = store.open_request(asked()).await.unwrap();
    assert!(
        matches!(&again, kern_db::OpenedRequest::Claimed(again) if again.run_id == claim.run_id && again.attempt == 2),
        "its answer is gone, and the request is still known: {again:?}"
    );
    assert_eq!((erased.names, erased.calls, erased.kept), (vec!["pay.key".to_owned()], 1, 0));
    assert!(erased.erased_at_ms.is_some() && !erased.before);
    is_intact(store).await;
    let run = store.get_run(&run_id).await.unwrap();
    assert_eq!(run.erased_at_ms, erased.erased_at_ms);
    assert!(run.snapshot.contains("hello") && run.snapshot.contains("$erased"), "{}", run.snapshot);
    let left: Value = serde_json::from_str(&run.calls[0].arguments).unwrap();
    assert_eq!((&left["amount"], left["key"]["$commitment"].is_string()), (&json!(100), true));
    assert!(!everything_that_the_store_gives(store, &run_id).await.contains(SECRET));
    let entries = kern_tests::history::entries(&**store).await;
    let entry = entries.iter().find(|entry| entry.action == "erased").unwrap();
    assert_eq!((&entry.payload["names"], &entry.payload["note"]), (&json!(["pay.key"]), &json!("ticket 42")));
}

async fn erasing_again_changes_nothing_and_says_so(store: &Store) {
    let run_id = ended(store).await;
    let first = store.audit().erase(&run_id, by(), "ticket 42").await.unwrap();
    let again = store.audit().erase(&run_id, by(), "ticket 43").await.unwrap();
    assert_eq!((again.before, again.erased_at_ms), (true, first.erased_at_ms));
    assert_eq!(store.count(&run_id, "erased").await, 1);
}

async fn only_what_has_ended_is_erased_and_only_with_a_note(store: &Store) {
    let run_id = paused(store, required()).await;
    let refused = store.audit().erase(&run_id, by(), "ticket 42").await;
    assert!(matches!(refused, Err(Error::RunConflict { .. })), "{refused:?}");
    store.cancel_run(run_id.clone(), person(REQUESTER)).await.unwrap();
    let refused = store.audit().erase(&run_id, by(), " ").await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let erased = store.audit().erase(&run_id, by(), "ticket 42").await.unwrap();
    assert_eq!(erased.calls, 1);
    is_intact(store).await;
    assert!(!everything_that_the_store_gives(store, &run_id).await.contains(SECRET));
    let none = store.audit().erase(&RunId::from("none"), by(), "ticket 42").await;
    assert!(matches!(none, Err(Error::NotFound { .. })), "{none:?}");
}

async fn a_run_without_secrets_is_left_as_it_is(store: &Store) {
    let claim = store.started().await;
    store.complete(&claim).await.unwrap();
    let erased = store.audit().erase(&claim.run_id, by(), "ticket 42").await.unwrap();
    assert_eq!((erased.erased_at_ms, erased.before, erased.calls, erased.kept), (None, false, 0, 0));
    assert_eq!(store.count(&claim.run_id, "erased").await, 0);
}

async fn hidden_rejected_and_lost_calls_are_erased_too(store: &Store) {
    let run_id = paused(store, required()).await;
    let id = store.approval_id(&run_id, 0).await;
    store.approve(&run_id, 0).await.unwrap();
    store.delete_approval(&id).await.unwrap();
    store.cancel_run(run_id.clone(), person(REQUESTER)).await.unwrap();
    let rejected = paused(store, required()).await;
    store.refuse(&rejected, 0).await.unwrap();
    store.cancel_run(rejected.clone(), person(REQUESTER)).await.unwrap();
    // A body that is still under way when its run is cancelled, and ends after the erasure.
    let running = paused(store, required()).await;
    store.approve(&running, 0).await.unwrap();
    let claim = store.resumed(&running).await;
    let started = store.start(&claim, 0).await;
    store.cancel_run(running.clone(), person(REQUESTER)).await.unwrap();
    for run_id in [&run_id, &rejected, &running] {
        store.audit().erase(run_id, by(), "ticket 42").await.unwrap();
        assert!(!everything_that_the_store_gives(store, run_id).await.contains(SECRET));
    }
    store.succeed(&started).await;
    is_intact(store).await;
}

async fn an_erased_call_is_decided_and_started_by_nobody(store: &Store) {
    let run_id = paused(store, required()).await;
    let id = store.approval_id(&run_id, 0).await;
    let request = store.load(&run_id, Caller::Worker).await;
    store.cancel_run(run_id.clone(), person(REQUESTER)).await.unwrap();
    store.audit().erase(&run_id, by(), "ticket 42").await.unwrap();
    let decided = store.update_approval(&id, kern_db::ApprovalStatus::Pending, Resolution::approved().by("bob")).await;
    assert!(matches!(decided, Err(Error::Conflict { .. })), "{decided:?}");
    let claimed = store.claim_run(request).await;
    assert!(!matches!(claimed, Ok(kern_db::RunClaimed::Claimed(_))), "{claimed:?}");
    assert_eq!(store.starts(&run_id).await, 0);
    assert!(matches!(store.answer(&run_id, 0, NewAnswer::Confirm).await, Err(Error::RunConflict { .. }),));
}

on_each_store!(
    i21_the_secret_is_nowhere_but_in_the_arguments_and_the_snapshot,
    i5_two_calls_with_the_same_secret_have_nothing_in_common_that_shows_it,
    i5_an_answer_counts_for_the_version_with_the_secret_that_was_shown,
    i5_after_an_edit_of_the_secret_the_version_shown_before_is_outdated_and_no_tampering,
    an_erased_run_still_verifies_and_its_secret_is_gone,
    erasing_again_changes_nothing_and_says_so,
    only_what_has_ended_is_erased_and_only_with_a_note,
    a_run_without_secrets_is_left_as_it_is,
    hidden_rejected_and_lost_calls_are_erased_too,
    an_erased_call_is_decided_and_started_by_nobody,
);

/// What somebody with SQL access may try on a call that is approved, so that another one runs.
async fn i5_no_commitment_passes_for_an_argument(_: &Store) {
    let covered = r#"json_set(arguments, '$.key', json(json_extract((SELECT requirements FROM kern_approvals),
        '$[0].tool_execution.tool_args.key')))"#;
    let everywhere = |value: &str| {
        format!(
            "UPDATE kern_calls SET arguments = {value}; UPDATE kern_approvals SET tool_args = {};
             UPDATE kern_executions SET arguments = {value}",
            value.replace("(arguments,", "(tool_args,")
        )
    };
    let attacks = [
        everywhere(covered) + "; UPDATE kern_calls SET salts = NULL",
        everywhere(covered) + "; UPDATE kern_calls SET salts = '{}'",
        // Exactly what an erasure leaves, while the run is open.
        everywhere(covered) + r#"; UPDATE kern_calls SET salts = '{"key":null}'"#,
        everywhere(covered)
            + r#"; UPDATE kern_calls SET salts = '{"key":null}', erased_at_ms = 1; UPDATE kern_runs SET erased_at_ms = 1"#,
        everywhere("replace(arguments, 'hunter2-', 'hunter3-')"),
        "UPDATE kern_calls SET salts = NULL".to_owned(),
        "UPDATE kern_calls SET salts = '{}'".to_owned(),
        r#"UPDATE kern_calls SET salts = '{"key":null}'"#.to_owned(),
        r#"UPDATE kern_calls SET salts = '{"key":"00"}'"#.to_owned(),
        r#"UPDATE kern_calls SET salts = json_set(salts, '$.amount', '00')"#.to_owned(),
        "UPDATE kern_calls SET salts = 'x'".to_owned(),
        "UPDATE kern_runs SET snapshot_salt = NULL".to_owned(),
        "UPDATE kern_runs SET erased_at_ms = 1".to_owned(),
    ];
    for attack in attacks {
        let store = &Store::on_a_file().await;
        let run_id = paused(store, required()).await;
        store.approve(&run_id, 0).await.unwrap();
        let request = store.load(&run_id, Caller::Worker).await;
        let raw = store.raw();
        assert!(raw.execute_batch(&attack).is_err(), "the triggers refuse `{attack}`");
        kern_tests::steps::drop_triggers(&raw);
        raw.execute_batch(&attack).unwrap();
        let claimed = store.claim_run(request).await;
        let refused = matches!(claimed, Err(Error::DigestMismatch { .. } | Error::Corrupt { .. }));
        assert!(refused, "`{attack}`: {claimed:?}");
        assert_eq!(store.starts(&run_id).await, 0, "`{attack}`");
        let report = store.audit().verify().await.unwrap();
        assert!(report.is_log_intact() && !report.is_intact(), "`{attack}` is found: {report:?}");
    }
}

/// What was changed behind kern's back is not covered up by an erasure.
async fn i13_an_erasure_hides_no_change(_: &Store) {
    let changes = [
        "UPDATE kern_runs SET snapshot = replace(snapshot, 'hello', 'hallo')",
        "UPDATE kern_runs SET snapshot = replace(snapshot, 'hunter2-', 'hunter3-')",
        "UPDATE kern_runs SET snapshot_salt = '00'",
        "UPDATE kern_runs SET snapshot_digest = '00'",
        "UPDATE kern_calls SET arguments = replace(arguments, '100', '900')",
        "UPDATE kern_calls SET arguments = replace(arguments, 'hunter2-', 'hunter3-')",
        "UPDATE kern_approvals SET tool_args = replace(tool_args, '100', '900')",
        "UPDATE kern_executions SET arguments = replace(arguments, 'hunter2-', 'hunter3-')",
        r#"UPDATE kern_calls SET salts = '{"key":"00"}'"#,
        r#"UPDATE kern_calls SET salts = '{"key":null}'"#,
    ];
    for change in changes {
        let store = &Store::on_a_file().await;
        let run_id = ended(store).await;
        store.tamper(change);
        let erased = store.audit().erase(&run_id, by(), "ticket 42").await;
        assert!(matches!(erased, Err(Error::DigestMismatch { .. })), "`{change}`: {erased:?}");
        assert_eq!(store.count(&run_id, "[digest_mismatch]").await, 1, "`{change}` is on record");
        assert!(!store.audit().verify().await.unwrap().is_intact(), "`{change}` is still found");
    }
}

/// After an erasure nothing can be changed that could not be changed before, and what is changed is found.
async fn i13_what_was_erased_does_not_change_any_more(_: &Store) {
    let changes = [
        "UPDATE kern_calls SET arguments = replace(arguments, '100', '900')",
        "UPDATE kern_calls SET arguments = json_set(arguments, '$.key', 'else')",
        "UPDATE kern_calls SET erased_at_ms = NULL",
        r#"UPDATE kern_calls SET salts = '{"key":"00"}'"#,
        "UPDATE kern_approvals SET tool_args = replace(tool_args, '100', '900')",
        "UPDATE kern_approvals SET erased_at_ms = erased_at_ms + 1",
        "UPDATE kern_executions SET arguments = json_set(arguments, '$.key', 'else')",
        "UPDATE kern_executions SET erased_at_ms = NULL",
        "UPDATE kern_runs SET snapshot = replace(snapshot, 'hello', 'hallo')",
        "UPDATE kern_runs SET erased_at_ms = NULL",
        "UPDATE kern_runs SET status = 'PAUSED'",
    ];
    for change in changes {
        let store = &Store::on_a_file().await;
        let run_id = ended(store).await;
        store.audit().erase(&run_id, by(), "ticket 42").await.unwrap();
        assert!(store.raw().execute_batch(change).is_err(), "the triggers refuse `{change}`");
        store.tamper(change);
        assert!(!store.audit().verify().await.unwrap().is_intact(), "`{change}` is found");
    }
}

/// An erasure by hand: only with everything that belongs to one do the triggers let it pass, and then the log has no word of it.
async fn i13_an_erasure_that_kern_did_not_make_is_found(_: &Store) {
    let store = &Store::on_a_file().await;
    let run_id = ended(store).await;
    let open = paused(store, required()).await;
    let raw = store.raw();
    let run = |run_id: &RunId| {
        format!("UPDATE kern_runs SET erased_at_ms = 1, snapshot_salt = NULL WHERE run_id = '{run_id}'")
    };
    let call = "UPDATE kern_calls SET erased_at_ms = 1, salts = '{\"key\":null}', arguments =";
    assert!(raw.execute_batch(&run(&open)).is_err(), "a run that has not ended");
    let of = format!("WHERE run_id = '{run_id}'");
    assert!(
        raw.execute_batch(&format!("{call} json_set(arguments, '$.key', 'gone') {of}")).is_err(),
        "without its run"
    );
    raw.execute_batch(&run(&run_id)).unwrap();
    assert!(
        raw.execute_batch(&format!("{call} json_set(arguments, '$.amount', 900) {of}")).is_err(),
        "another argument"
    );
    assert!(raw.execute_batch(&format!("{call} json_remove(arguments, '$.amount') {of}")).is_err(), "a missing one");
    let digest = format!("{call} arguments, digest = '00' {of}");
    assert!(raw.execute_batch(&digest).is_err(), "another digest");
    raw.execute_batch(&format!("{call} json_set(arguments, '$.key', 'gone') {of}")).unwrap();
    let approval = "UPDATE kern_approvals SET erased_at_ms = 1,";
    assert!(raw.execute_batch(&format!("{approval} tool_args = '{{}}' {of}")).is_err(), "not those of the call");
    assert!(raw.execute_batch(&format!("{approval} status = 'rejected' {of}")).is_err(), "a decision");
    let report = store.audit().verify().await.unwrap();
    assert!(report.is_log_intact() && !report.is_intact(), "{report:?}");
}

on_a_file!(
    i5_no_commitment_passes_for_an_argument,
    i13_an_erasure_hides_no_change,
    i13_what_was_erased_does_not_change_any_more,
    i13_an_erasure_that_kern_did_not_make_is_found,
);
