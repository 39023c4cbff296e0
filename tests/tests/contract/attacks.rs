//! Ways past the gate through effects, retries, generations, tiers and pools, by somebody who writes rows with SQL and has
//! kern itself make the digests that fit. None of them enters a body: the audit log says what was really asked.

use kern_db::{
    ApprovalId, ApprovalStatus, CallClaimed, CallPolicy, Caller, CommitTurn, DbExt as _, Effect, Ended, Error,
    ExecutionStatus, Finished, NewAnswer, NewCall, PauseType, Recovered, Resolution, Result, RunClaim, RunClaimed,
    RunId, Settlement, Tier,
};
use kern_tests::steps::{
    APPROVER, REQUESTER, Store, audit, begin, call, person, required, turn, two_stage, user, wait_until,
};

/// What kern, in another file, would have stored for the same call of the same run with another policy.
async fn twin(store: &Store, run_id: &RunId, policy: &CallPolicy) -> (String, String) {
    let twin = Store::on_a_file().await;
    let claim = twin.begin_run(begin(run_id)).await.unwrap();
    let approval_id = store.call(run_id).await.approval.map_or_else(ApprovalId::generate, |approval| approval.id);
    let call = NewCall { approval_id: Some(approval_id), ..call(0, policy.clone()) };
    twin.commit_turn(CommitTurn { calls: vec![call], ..turn(&claim, 1, &[], true) }).await.unwrap();
    assert_eq!(twin.call(run_id).await.digest, store.call(run_id).await.digest);
    let read = "SELECT policy, policy_digest FROM kern_calls";
    twin.raw().query_row(read, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

/// Gives a call another policy, in all of its rows, with the digests that fit.
async fn forge(store: &Store, run_id: &RunId, policy: &CallPolicy) {
    let (policy, digest) = twin(store, run_id, policy).await;
    store.tamper(&format!("UPDATE kern_calls SET policy = '{policy}', policy_digest = '{digest}'"));
    if store.call(run_id).await.approval.is_some() {
        store.tamper(&format!("UPDATE kern_approvals SET policy = '{policy}', policy_digest = '{digest}'"));
    }
}

fn is_refused<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(Error::DigestMismatch { .. }))
}

async fn no_start(store: &Store, claim: &RunClaim, starts: usize, why: &str) {
    let claimed = store.claim(claim, 0).await;
    assert!(is_refused(&claimed) || matches!(claimed, Ok(CallClaimed::NotStartable)), "{why}: {claimed:?}");
    assert_eq!(store.starts(&claim.run_id).await, starts, "{why}");
}

/// I1: a call that waits for an approver, or for the requester, becomes one that waits for nobody.
async fn i1_nobody_is_asked_by_another_tier(_: &Store) {
    for asked in [required(), two_stage(), required().quorum(2).pool("finance"), user()] {
        let by_row = asked.tier != Tier::User;
        for forged in [audit(), user(), required()] {
            if forged == asked {
                continue;
            }
            let store = &Store::on_a_file().await;
            let claim = store.started().await;
            store.commit_turn(turn(&claim, 1, std::slice::from_ref(&asked), false)).await.unwrap();
            let why = format!("{:?} as {:?}", asked.tier, forged.tier);
            let (policy, digest) = twin(store, &claim.run_id, &forged).await;
            store.tamper(&format!("UPDATE kern_calls SET policy = '{policy}', policy_digest = '{digest}'"));
            match forged.tier {
                // With the row and without it.
                Tier::Required if by_row => {
                    store.tamper(&format!("UPDATE kern_approvals SET policy = '{policy}', policy_digest = '{digest}'"))
                }
                _ if by_row => store.tamper("UPDATE kern_calls SET approval_id = NULL"),
                _ => {}
            }
            no_start(store, &claim, 0, &why).await;
            if forged.tier == Tier::User {
                store.pause_run(claim.clone(), "{}".to_owned(), false).await.unwrap();
                // The requester's own word is not the one that was asked for.
                let _ = store.answer(&claim.run_id, 0, NewAnswer::Confirm).await;
                let claimed = store.claim_as(&claim.run_id, person(REQUESTER)).await;
                if let Ok(RunClaimed::Claimed(claim)) = claimed {
                    no_start(store, &claim, 0, &why).await;
                }
            }
        }
    }
}

/// X10: nor does a result of another system count for a call that an approver had to allow.
async fn i1_a_result_is_not_taken_by_another_tier(_: &Store) {
    let external = |tier| CallPolicy::new(tier, Some(PauseType::ExternalExecution));
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[external(Tier::Required)]).await;
    let (policy, digest) = twin(store, &run_id, &external(Tier::User)).await;
    store.tamper(&format!("UPDATE kern_calls SET policy = '{policy}', policy_digest = '{digest}', approval_id = NULL"));
    let answered = store.answer(&run_id, 0, NewAnswer::ExternalResult("done".to_owned())).await;
    assert!(is_refused(&answered), "{answered:?}");
    assert_eq!(store.count(&run_id, "succeeded").await, 0);
}

/// A row of a call that nobody asked for.
async fn i1_a_call_that_no_turn_asked_for_does_not_start(_: &Store) {
    for tier in [audit(), required()] {
        let store = &Store::on_a_file().await;
        let claim = store.started().await;
        store.commit_turn(turn(&claim, 1, &[tier], false)).await.unwrap();
        let other = Store::on_a_file().await;
        let twin = other.begin_run(begin(&claim.run_id)).await.unwrap();
        let calls = vec![call(1, audit())];
        other.commit_turn(CommitTurn { calls, ..turn(&twin, 1, &[], true) }).await.unwrap();
        store
            .raw()
            .execute_batch(&format!(
                "ATTACH '{}' AS other; INSERT INTO main.kern_calls SELECT * FROM other.kern_calls;",
                other.file().display()
            ))
            .unwrap();
        let claimed = store.claim(&claim, 1).await;
        assert!(is_refused(&claimed), "{claimed:?}");
        assert_eq!(store.starts(&claim.run_id).await, 0);
    }
}

/// I8: a call that was promised to start once is made one that may start again, before it starts or while it runs.
async fn i8_once_does_not_become_another_effect(_: &Store) {
    for effect in [Effect::Idempotent, Effect::Transactional] {
        for policy in [required(), two_stage(), user(), audit()] {
            for early in [true, false] {
                let store = &Store::on_a_file().await;
                let claim = store.started().await;
                store
                    .commit_turn(turn(&claim, 1, std::slice::from_ref(&policy), policy.tier != Tier::Audit))
                    .await
                    .unwrap();
                let run_id = claim.run_id.clone();
                if matches!(policy.tier, Tier::Required | Tier::TwoStage) {
                    store.approve(&run_id, 0).await.unwrap();
                }
                if matches!(policy.tier, Tier::User | Tier::TwoStage) {
                    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
                }
                let claim = if policy.tier == Tier::Audit { claim } else { store.resumed(&run_id).await };
                let forged = policy.clone().effect(effect);
                if early {
                    forge(store, &run_id, &forged).await;
                    no_start(store, &claim, 0, "before it started").await;
                    continue;
                }
                store.renew_run(claim.clone(), 0).await.unwrap();
                let call = store.start_and_die(&claim, 0).await;
                forge(store, &run_id, &forged).await;
                assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::Paused);
                let execution = store.call(&run_id).await.execution.unwrap();
                assert_eq!(execution.status, ExecutionStatus::Unknown, "{policy:?}");
                // Nor does setting it back help.
                store.tamper("UPDATE kern_executions SET status = 'ready'");
                let claimed = store.claim_as(&run_id, Caller::Worker).await;
                if let Ok(RunClaimed::Claimed(claim)) = claimed {
                    no_start(store, &claim, 1, "set back").await;
                }
                drop(call);
            }
        }
    }
}

/// I6: starts that were had do not come back.
async fn i6_starts_are_counted_by_the_log(_: &Store) {
    let lost = Ended::Lost("gone".to_owned());
    for forged in ["attempt = 0, fence = 0", "attempt = 1, fence = 1", "attempt = 0", "attempt = 1", "error = NULL"] {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required().effect(Effect::Idempotent)]).await;
        store.approve(&run_id, 0).await.unwrap();
        let claim = store.resumed(&run_id).await;
        for _ in 0..kern_db::ATTEMPTS {
            let call = store.start(&claim, 0).await;
            store.finish_call(call.ticket(), lost.clone(), Vec::new()).await.unwrap();
        }
        store.tamper(&format!("UPDATE kern_executions SET status = 'ready', {forged}"));
        no_start(store, &claim, kern_db::ATTEMPTS as usize, forged).await;
    }
    // While there are starts left: an unknown one is no lost one, nor is one that has ended.
    for end in [None, Some(Ended::Succeeded("paid".to_owned())), Some(Ended::Failed("no".to_owned()))] {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required().effect(Effect::Transactional).valid_for_ms(500)]).await;
        let until = store.approve(&run_id, 0).await.unwrap().execution.unwrap().created_at_ms + 500;
        let claim = store.resumed(&run_id).await;
        let call = store.start(&claim, 0).await;
        match end {
            Some(end) => drop(store.finish_call(call.ticket(), end, Vec::new()).await.unwrap()),
            None => {
                assert_eq!(store.finish_call(call.ticket(), lost.clone(), Vec::new()).await.unwrap(), Finished::Retry);
                wait_until(until).await;
                assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::NotStartable));
            }
        }
        let later = until + 600_000;
        for forged in [
            "status = 'ready', result = NULL, owner = NULL".to_owned(),
            format!("valid_until_ms = {later}"),
            format!("created_at_ms = {} - 500", later),
        ] {
            store.tamper(&format!("UPDATE kern_executions SET {forged}"));
            no_start(store, &claim, 1, &forged).await;
        }
    }
}

/// I15: an approval is not made to count for longer, whatever is moved with it.
async fn i15_how_long_an_approval_counts_is_on_record(_: &Store) {
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[required().valid_for_ms(200)]).await;
    let made = store.approve(&run_id, 0).await.unwrap().execution.unwrap().created_at_ms;
    let claim = store.resumed(&run_id).await;
    wait_until(made + 200).await;
    let later = made + 600_000;
    store.tamper(&format!("UPDATE kern_executions SET created_at_ms = {later}, valid_until_ms = {later} + 200"));
    let claimed = store.claim(&claim, 0).await;
    assert!(is_refused(&claimed), "{claimed:?}");
    assert_eq!(store.starts(&run_id).await, 0);
}

/// X11: an end that is known is not forgotten by having it run again, and a generation that nobody ordered is none.
async fn i6_only_what_the_log_has_as_unknown_is_run_again(_: &Store) {
    for end in [Ended::Succeeded("paid".to_owned()), Ended::Failed("no".to_owned())] {
        let store = &Store::on_a_file().await;
        let (claim, call) = store.executing().await;
        store.finish_call(call.ticket(), end, Vec::new()).await.unwrap();
        store.pause_run(claim.clone(), "{}".to_owned(), false).await.unwrap();
        store.tamper("UPDATE kern_executions SET status = 'unknown', result = NULL, error = NULL");
        let order = Settlement::run_again().by(APPROVER).note("again");
        let ordered = store.settle_execution(call.ticket().execution_id(), order).await;
        assert!(is_refused(&ordered), "{ordered:?}");
        assert_eq!(store.count(&claim.run_id, "run_again").await, 0);
    }
    // The old yes under a new number.
    let store = &Store::on_a_file().await;
    let (claim, call) = store.unknown().await;
    store.tamper("UPDATE kern_calls SET generation = 1");
    store.tamper("UPDATE kern_approvals SET generation = 1");
    store.tamper("UPDATE kern_executions SET generation = 1, status = 'ready', attempt = 0, fence = 0");
    no_start(store, &claim, 1, "a generation that nobody ordered").await;
    // The old yes beside the new question.
    let store = &Store::on_a_file().await;
    let (claim, other) = store.unknown().await;
    let old = store.approval_id(&claim.run_id, 0).await;
    let order = Settlement::run_again().by(APPROVER).note("again");
    store.settle_execution(other.ticket().execution_id(), order).await.unwrap();
    store.tamper(&format!("UPDATE kern_calls SET approval_id = '{old}'"));
    no_start(store, &claim, 1, "the old approval").await;
    store.tamper("UPDATE kern_approvals SET generation = generation + 10 WHERE generation = 1");
    store.tamper("UPDATE kern_approvals SET generation = 1 WHERE generation = 0");
    no_start(store, &claim, 1, "the old approval in the new one's place").await;
    store.tamper("UPDATE kern_executions SET generation = 1, status = 'ready', attempt = 0, fence = 0");
    no_start(store, &claim, 1, "with its execution").await;
    drop(call);
}

/// I10: who is in a pool is what was set, and not what a row says.
async fn i10_a_pool_is_who_was_put_in_it(_: &Store) {
    for forged in [
        "UPDATE kern_pools SET members = '[\"eve\"]'",
        "UPDATE kern_pools SET members = '[\"ann\",\"eve\"]'",
        "UPDATE kern_pools SET name = 'finance', members = '[\"eve\"]' WHERE name = 'friends'",
        "DELETE FROM kern_pools",
    ] {
        let store = &Store::on_a_file().await;
        store.set_pool("finance", ["old"]).await.unwrap();
        store.set_pool("finance", ["ann"]).await.unwrap();
        store.set_pool("friends", ["eve"]).await.unwrap();
        let run_id = store.paused(&[required().pool("finance")]).await;
        if forged.contains("friends") {
            store.tamper("UPDATE kern_pools SET name = 'gone' WHERE name = 'finance'");
        }
        store.tamper(forged);
        let id = store.approval_id(&run_id, 0).await;
        for who in ["eve", "ann", "old"] {
            let refused = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by(who)).await;
            assert!(is_refused(&refused), "{forged}, {who}: {refused:?}");
        }
        // Once for each row and day.
        assert_eq!(store.count(&run_id, "[digest_mismatch]").await, 1);
    }
    // A pool that was never set by anybody, and one of long ago.
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[required().pool("finance")]).await;
    store.raw().execute("INSERT INTO kern_pools VALUES ('finance', '[\"eve\"]', NULL, 1)", ()).unwrap();
    let id = store.approval_id(&run_id, 0).await;
    let refused = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("eve")).await;
    assert!(is_refused(&refused), "{refused:?}");
    let store = &Store::on_a_file().await;
    store.set_pool("finance", ["eve"]).await.unwrap();
    store.set_pool("finance", ["ann"]).await.unwrap();
    let run_id = store.paused(&[required().pool("finance")]).await;
    store.tamper("UPDATE kern_pools SET members = '[\"eve\"]'");
    let id = store.approval_id(&run_id, 0).await;
    let refused = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("eve")).await;
    assert!(is_refused(&refused), "{refused:?}");
    // Nor is a policy without its pool the one that was asked.
    let store = &Store::on_a_file().await;
    store.set_pool("finance", ["ann"]).await.unwrap();
    let run_id = store.paused(&[required().pool("finance")]).await;
    forge(store, &run_id, &required()).await;
    let id = store.approval_id(&run_id, 0).await;
    let refused = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("eve")).await;
    assert!(is_refused(&refused), "{refused:?}");
}

on_a_file! {
    i10_a_pool_is_who_was_put_in_it,
    i15_how_long_an_approval_counts_is_on_record,
    i1_a_call_that_no_turn_asked_for_does_not_start,
    i1_a_result_is_not_taken_by_another_tier,
    i1_nobody_is_asked_by_another_tier,
    i6_only_what_the_log_has_as_unknown_is_run_again,
    i6_starts_are_counted_by_the_log,
    i8_once_does_not_become_another_effect,
}
