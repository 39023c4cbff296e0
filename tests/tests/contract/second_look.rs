//! What somebody tried who had not built it: ways around a decision, and evidence of nothing.

use kern_db::{
    ApprovalStatus, AskAgain, CallPolicy, Error, ExecutionFilter, ExecutionStatus, NewAnswer, NewCall, Resolution,
    RunId, Settlement, Standing, Tier,
};
use kern_tests::steps::{APPROVER, REQUESTER, Store, audit, call, person, required, turn, user};
use serde_json::{Value, json};

async fn newer(store: &Store, run_id: &RunId, policy: CallPolicy, arguments: &str) -> AskAgain {
    let run = store.get_run(run_id).await.unwrap();
    let calls = vec![NewCall { tool_version: "2".to_owned(), arguments: arguments.to_owned(), ..call(0, policy) }];
    let snapshot = r#"{"asked":"again"}"#.to_owned();
    AskAgain { run_id: run_id.clone(), fence: run.fence, turn: run.turn, caller: person(REQUESTER), snapshot, calls }
}

/// The record of a bare audit call, of what the requester allowed, and of what they refused.
async fn records(store: &Store) -> Vec<RunId> {
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[audit()], false)).await.unwrap();
    let call = store.start(&claim, 0).await;
    store.succeed(&call).await;
    let mut found = vec![claim.run_id];
    for answer in [NewAnswer::Confirm, NewAnswer::Reject(None)] {
        let run_id = store.paused(&[user().record(true)]).await;
        store.answer(&run_id, 0, answer).await.unwrap();
        found.push(run_id);
    }
    found
}

async fn a9_a_record_is_decided_and_deciding_it_again_is_a_conflict(store: &Store) {
    for run_id in records(store).await {
        let record = store.approval(&run_id).await;
        let before = store.words(&run_id).await;
        for resolution in [
            Resolution::approved().by(APPROVER),
            Resolution::rejected().by(APPROVER),
            Resolution::rejected(),
            Resolution::approved().by(REQUESTER),
            Resolution::approved().by(APPROVER).data(json!({ "edited_args": { "amount": 7, "to": "y" } })),
        ] {
            let late = store.update_approval(&record.id, ApprovalStatus::Pending, resolution).await;
            assert!(matches!(&late, Err(Error::Conflict { found, .. }) if *found == record.status), "{late:?}");
        }
        assert_eq!(store.words(&run_id).await, before, "nobody tampered with anything");
        assert_eq!(store.approval(&run_id).await, record);
    }
}

/// A record that somebody made pending is no approval that waits.
async fn i5_a_record_that_was_made_pending_is_not_decided(_: &Store) {
    for number in 0..3 {
        let store = Store::on_a_file().await;
        let run_id = records(&store).await.swap_remove(number);
        let id = store.approval_id(&run_id, 0).await;
        store.tamper("UPDATE kern_approvals SET status = 'pending', decided_digest = NULL");
        let decided = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by(APPROVER)).await;
        assert!(matches!(decided, Err(Error::DigestMismatch { .. })), "{decided:?}");
        assert_eq!(store.count(&run_id, "[digest_mismatch]").await, 1);
    }
}

/// Whoever wrote what is there does not vote for it, also where their name was taken off the row before the tool changed.
async fn i10_asking_again_does_not_clear_an_author(_: &Store) {
    for forged in [
        "UPDATE kern_approvals SET edited_by = NULL",
        "UPDATE kern_approvals SET edited_by = replace(edited_by, 'carol', 'dan')",
        "UPDATE kern_approvals SET expires_at = 1e10",
    ] {
        let store = Store::on_a_file().await;
        let run_id = store.paused(&[required().quorum(2)]).await;
        let id = store.approval_id(&run_id, 0).await;
        let data = json!({ "edited_args": { "amount": 7, "to": "y" } });
        let edit = Resolution::approved().by("carol").data(data);
        store.update_approval(&id, ApprovalStatus::Pending, edit).await.unwrap();
        store.tamper(&forged.replace("1e10", "10000000000"));
        let arguments = r#"{"amount":7,"to":"y"}"#;
        let asked = store.ask_again(newer(&store, &run_id, required().quorum(2), arguments).await).await;
        assert!(matches!(asked, Err(Error::DigestMismatch { .. })), "{forged}: {asked:?}");
        assert_eq!(store.count(&run_id, "[digest_mismatch]").await, 1);
        assert_eq!(store.call(&run_id).await.generation, 0);
    }
}

/// Whatever an approver sends along, the store answers, and goes on.
async fn i22_what_an_approver_sends_along_is_any_json(store: &Store) {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    for data in [
        Value::Null,
        json!([1]),
        json!("text"),
        json!({}),
        json!({ "note": 1 }),
        json!({ "note": { "note": [] } }),
        json!({ "n": u64::MAX }),
        json!({ "n": i64::MIN }),
        json!({ "n": [f64::MAX, f64::MIN_POSITIVE, 5e-324, -0.0, 1e21, 1e-7] }),
        json!({ "deep": deep }),
        json!({ "\u{0}": "\u{ffff}\u{10ffff}" }),
        json!({ "edited_args": null }),
        json!({ "edited_args": { "amount": u64::MAX, "to": "x" } }),
        json!({ "edited_args": { "amount": -0.0, "to": "x" } }),
        json!({ "edited_args": { "amount": 1e300, "to": "x" } }),
        json!({ "edited_args": { "amount": 1.5, "to": "x" } }),
    ] {
        for resolution in [Resolution::approved(), Resolution::rejected()] {
            for noted in [resolution.clone(), resolution.note("why")] {
                let run_id = store.paused(&[required()]).await;
                let id = store.approval_id(&run_id, 0).await;
                let decided =
                    store.update_approval(&id, ApprovalStatus::Pending, noted.by(APPROVER).data(data.clone())).await;
                match decided {
                    Ok(decided) => assert_ne!(decided.status, ApprovalStatus::Pending),
                    Err(Error::Invalid(_)) => {
                        assert_eq!(store.approval(&run_id).await.status, ApprovalStatus::Pending);
                    }
                    Err(other) => panic!("{data}: {other:?}"),
                }
            }
        }
    }
}

/// What goes with a decision is kept as it was given, or refused: canonical JSON would write another number.
async fn i12_what_cannot_be_kept_as_it_is_decides_nothing(store: &Store) {
    let deep = (0..500).fold(json!(1), |inner, _| json!([inner]));
    for data in [
        json!({ "n": 9_007_199_254_740_993_i64 }),
        json!({ "n": [{ "m": u64::MAX }] }),
        json!({ "n": 1e300 }),
        json!({ "deep": deep }),
    ] {
        let run_id = store.paused(&[required()]).await;
        let id = store.approval_id(&run_id, 0).await;
        for resolution in [Resolution::approved(), Resolution::rejected()] {
            let resolution = resolution.by(APPROVER).data(data.clone());
            let decided = store.update_approval(&id, ApprovalStatus::Pending, resolution).await;
            assert!(matches!(decided, Err(Error::Invalid(_))), "{decided:?}");
        }
        assert_eq!(store.approval(&run_id).await.status, ApprovalStatus::Pending);
    }
    let run_id = store.paused(&[required()]).await;
    let id = store.approval_id(&run_id, 0).await;
    let data = json!({ "n": 9_007_199_254_740_991_i64, "half": 0.5, "text": "9007199254740993" });
    let yes = Resolution::approved().by(APPROVER).data(data.clone());
    let decided = store.update_approval(&id, ApprovalStatus::Pending, yes).await.unwrap();
    assert_eq!(decided.resolution_data, Some(data));
}

/// What is stored of a call that another system runs is what was shown, in each tier.
async fn i5_a_flipped_call_takes_no_result_of_the_requester(_: &Store) {
    for column in ["arguments", "policy_digest", "digest"] {
        let store = Store::on_a_file().await;
        let outside = CallPolicy::new(Tier::User, Some(kern_db::PauseType::ExternalExecution));
        let run_id = store.paused(&[outside]).await;
        let call = store.call(&run_id).await;
        store.tamper(&match column {
            "arguments" => "UPDATE kern_calls SET arguments = replace(arguments, '100', '900')".to_owned(),
            column => format!("UPDATE kern_calls SET {column} = 'f' || substr({column}, 2, 62) || '_'"),
        });
        let to = kern_tests::steps::answer_to(
            &run_id,
            0,
            person(REQUESTER),
            NewAnswer::ExternalResult("done".to_owned()),
            &call.arguments,
        );
        let answered = store.answer_call(to).await;
        assert!(
            matches!(answered, Err(Error::DigestMismatch { .. }) | Ok(kern_db::Answered::Mismatch)),
            "{column}: {answered:?}"
        );
        assert!(store.call(&run_id).await.execution.is_none(), "{column}");
    }
}

/// What was refused, or has started, is not asked again, also where somebody made the rows say that it waits.
async fn i9_a_no_and_a_start_that_are_only_in_the_log_are_not_asked_again(_: &Store) {
    let waits =
        "UPDATE kern_approvals SET status = 'pending', decided_digest = NULL, resolved_at = NULL, deleted_at = NULL";
    for end in ["rejected", "deleted", "user_rejected"] {
        let store = Store::on_a_file().await;
        let run_id = store.paused(&[required()]).await;
        match end {
            "rejected" => drop(store.refuse(&run_id, 0).await.unwrap()),
            "deleted" => store.delete_approval(&store.approval_id(&run_id, 0).await).await.unwrap(),
            _ => drop(store.answer(&run_id, 0, NewAnswer::Reject(None)).await.unwrap()),
        }
        store.tamper(waits);
        store.tamper("UPDATE kern_calls SET answer = NULL, answer_digest = NULL");
        is_not_asked_again(&store, &run_id, required()).await;
    }
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[user()]).await;
    store.answer(&run_id, 0, NewAnswer::Reject(None)).await.unwrap();
    store.tamper("UPDATE kern_calls SET answer = NULL, answer_digest = NULL");
    is_not_asked_again(&store, &run_id, user()).await;

    let store = Store::on_a_file().await;
    let (claim, call) = store.executing().await;
    store.succeed(&call).await;
    store.pause_run(claim.clone(), "{}".to_owned(), false).await.unwrap();
    store.tamper("UPDATE kern_executions SET status = 'ready', attempt = 0, fence = 0, owner = NULL, result = NULL");
    is_not_asked_again(&store, &claim.run_id, required()).await;
}

async fn is_not_asked_again(store: &Store, run_id: &RunId, policy: CallPolicy) {
    let asked = store.ask_again(newer(store, run_id, policy, kern_tests::steps::ARGUMENTS).await).await;
    assert!(matches!(asked, Err(Error::DigestMismatch { .. })), "{asked:?}");
    assert_eq!((store.call(run_id).await.generation, store.count(run_id, "[digest_mismatch]").await), (0, 1));
}

/// A result of another system is taken for what was really allowed, as a start is.
async fn i1_a_yes_that_is_only_in_the_rows_takes_no_result(_: &Store) {
    let store = Store::on_a_file().await;
    let outside = CallPolicy::new(Tier::Required, Some(kern_db::PauseType::ExternalExecution));
    let run_id = store.paused(&[outside]).await;
    store.tamper("UPDATE kern_approvals SET status = 'approved', decided_digest = digest, resolved_by = 'bob'");
    store.tamper(
        "INSERT INTO kern_executions SELECT approval_id, run_id, turn, idx, generation, approval_id, 'approval', tool_name,
         arguments, digest, 'ready', 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, created_at_ms, NULL, NULL, NULL, NULL, NULL
         FROM kern_calls",
    );
    let answered = store.answer(&run_id, 0, NewAnswer::ExternalResult("done".to_owned())).await;
    assert!(matches!(answered, Err(Error::DigestMismatch { .. })), "{answered:?}");
    assert_eq!(store.count(&run_id, "[digest_mismatch]").await, 1);
    assert_eq!(store.count(&run_id, "succeeded").await, 0);
}

/// A probe looks up what the rows say, so that it is only believed where the log and every copy say the same.
async fn i5_a_probe_is_not_believed_of_a_call_that_was_changed(_: &Store) {
    for change in [
        r#"UPDATE kern_executions SET arguments = '{"amount":1,"to":"x"}'"#,
        r#"UPDATE kern_calls SET arguments = '{"amount":1,"to":"x"}'"#,
    ] {
        let store = Store::on_a_file().await;
        let (claim, call) = store.unknown().await;
        store.tamper(change);
        let settled = store.settle_probed(call.ticket().execution_id().clone(), Settlement::succeeded("paid")).await;
        assert!(matches!(settled, Err(Error::DigestMismatch { .. })), "{change}: {settled:?}");
        assert_eq!(store.count(&claim.run_id, "[digest_mismatch]").await, 1);
        assert_eq!(store.call(&claim.run_id).await.standing, Standing::Unknown);
    }
    // There is no call any more that the rows could agree with.
    let store = Store::on_a_file().await;
    let (_, call) = store.unknown().await;
    store.tamper("DELETE FROM kern_calls");
    let settled = store.settle_probed(call.ticket().execution_id().clone(), Settlement::succeeded("paid")).await;
    assert!(matches!(settled, Err(Error::ExecutionConflict { .. })), "{settled:?}");
    let left = store.list_executions(ExecutionFilter::new()).await.unwrap();
    assert_eq!(left[0].status, ExecutionStatus::Unknown);
    // A row that was made unknown, which the log has as ended.
    let store = Store::on_a_file().await;
    let (claim, call) = store.executing().await;
    store.succeed(&call).await;
    store.tamper("UPDATE kern_executions SET status = 'unknown', result = NULL, finished_at_ms = NULL");
    let settled = store.settle_probed(call.ticket().execution_id().clone(), Settlement::failed("no")).await;
    assert!(matches!(settled, Err(Error::DigestMismatch { .. })), "{settled:?}");
    assert_eq!(store.count(&claim.run_id, "[digest_mismatch]").await, 1);
}

on_each_store!(
    a9_a_record_is_decided_and_deciding_it_again_is_a_conflict,
    i12_what_cannot_be_kept_as_it_is_decides_nothing,
    i22_what_an_approver_sends_along_is_any_json,
);
on_a_file!(
    i5_a_probe_is_not_believed_of_a_call_that_was_changed,
    i5_a_record_that_was_made_pending_is_not_decided,
    i10_asking_again_does_not_clear_an_author,
    i9_a_no_and_a_start_that_are_only_in_the_log_are_not_asked_again,
    i5_a_flipped_call_takes_no_result_of_the_requester,
    i1_a_yes_that_is_only_in_the_rows_takes_no_result,
);
