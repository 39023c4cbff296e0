//! The statement that starts a call decides alone, whatever was read before it.

use super::*;
use crate::db::{Db as _, Transitions as _};
use crate::memory::InMemoryDb;
use crate::records::audit::AuditRow;
use crate::requests::RunClaim;
use crate::requests::{ClaimRun, OwnerToken, RunClaimed};
use crate::store::Lane;
use crate::transitions::fixture::{paused, paused_for};
use crate::{CallPolicy, Caller, Resolution};

/// A call that may start, and whose execution gets another state between the look and the start. Says what came of the start.
async fn started_after(status: ExecutionStatus, effect: Effect) -> CallClaimed {
    let db = InMemoryDb::new();
    let (run, approval_id) = paused(&db, effect).await;
    let yes = Resolution::approved().by("bob");
    db.update_approval(&approval_id, ApprovalStatus::Pending, yes).await.expect("it is approved");
    let (run_id, fence, loaded) = (run.run_id.clone(), run.fence, run.loaded.clone());
    let request = ClaimRun {
        run_id,
        fence,
        turn: 1,
        loaded,
        caller: Caller::Worker,
        lease_ms: 60_000,
        owner: OwnerToken::fresh(),
    };
    let RunClaimed::Claimed(claim) = db.claim_run(request).await.expect("it is claimed") else {
        panic!("nothing is missing");
    };
    let start_anyway = db.write(Lane::Normal, "start a call", move |tx| {
        Box::pin(async move {
            let run = own(tx, &claim).await?;
            let rows = call(tx, &claim.run_id, 1, 0).await?;
            let now = tx.now().await?;
            let Readiness::Ready(ready) = readiness(tx, &run, rows, now).await? else {
                panic!("nothing keeps it from starting");
            };
            let of_it = vec![E::C.id.is(ready.execution.id.clone())];
            tx.update(vec![E::C.status.to(status)], of_it).await?;
            start(tx, &run, *ready, ("owner".to_owned(), 60_000), now).await
        })
    });
    start_anyway.await.expect("the store answers")
}

#[test]
fn i6_a_call_starts_from_ready_and_from_no_other_state() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("there is a runtime");
    let started_after = |status, effect| runtime.block_on(started_after(status, effect));
    for effect in [Effect::Once, Effect::Idempotent] {
        assert!(matches!(started_after(ExecutionStatus::Ready, effect), CallClaimed::Claimed(_)), "{effect:?}");
        for status in [
            ExecutionStatus::Executing,
            ExecutionStatus::Succeeded,
            ExecutionStatus::Failed,
            ExecutionStatus::Unknown,
            ExecutionStatus::Abandoned,
        ] {
            let started = started_after(status, effect);
            assert!(!matches!(started, CallClaimed::Claimed(_)), "{status:?}, {effect:?}");
        }
    }
}

/// A run that is claimed, with a call that was approved under this policy and has not started.
async fn approved(db: &InMemoryDb, policy: CallPolicy) -> RunClaim {
    let (run, approval_id) = paused_for(db, policy).await;
    let yes = Resolution::approved().by("bob");
    db.update_approval(&approval_id, ApprovalStatus::Pending, yes).await.expect("it is approved");
    let (run_id, fence, loaded) = (run.run_id, run.fence, run.loaded);
    let request = ClaimRun {
        run_id,
        fence,
        turn: 1,
        loaded,
        caller: Caller::Worker,
        lease_ms: 60_000,
        owner: OwnerToken::fresh(),
    };
    let RunClaimed::Claimed(claim) = db.claim_run(request).await.expect("it is claimed") else {
        panic!("nothing is missing");
    };
    claim
}

fn required(effect: Effect) -> CallPolicy {
    CallPolicy::new(Tier::Required, Some(PauseType::Confirmation)).effect(effect)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("there is a runtime").block_on(future)
}

/// Whether a call whose execution is ready, and has had a start already, is started by the statement alone.
async fn started_again(effect: Effect) -> CallClaimed {
    let db = InMemoryDb::new();
    let claim = approved(&db, required(effect)).await;
    let start_again = db.write(Lane::Normal, "start a call", move |tx| {
        Box::pin(async move {
            let run = own(tx, &claim).await?;
            let rows = call(tx, &claim.run_id, 1, 0).await?;
            let execution = rows.execution.clone().expect("it is allowed");
            tx.update(vec![E::C.attempt.to(1)], vec![E::C.id.is(execution.id.clone())]).await?;
            let execution = ExecutionRow { attempt: 1, ..execution };
            let now = tx.now().await?;
            start(tx, &run, ReadyCall { rows, execution }, ("owner".to_owned(), 60_000), now).await
        })
    });
    start_again.await.expect("the store answers")
}

#[test]
fn i6_a_once_call_that_was_started_before_is_not_started_again_by_the_statement() {
    assert!(!matches!(wait(started_again(Effect::Once)), CallClaimed::Claimed(_)));
    assert!(matches!(wait(started_again(Effect::Idempotent)), CallClaimed::Claimed(_)));
}

/// The rows of an approved call, and what the log says about it.
async fn on_record(effect: Effect) -> (CallRows, Vec<AuditRow>) {
    let db = InMemoryDb::new();
    let claim = approved(&db, required(effect)).await;
    let read = db.write(Lane::Normal, "read a call", move |tx| {
        Box::pin(async move {
            let rows = call(tx, &claim.run_id, 1, 0).await?;
            let entries = entries(tx, &rows.call).await?;
            Ok((rows, entries))
        })
    });
    read.await.expect("the store answers")
}

/// An entry about the same call.
fn entry(of: &[AuditRow], action: &str, payload: &str) -> AuditRow {
    let ready = of.iter().find(|entry| entry.action == "ready").expect("it was made ready");
    AuditRow { action: action.to_owned(), payload: payload.to_owned(), ..ready.clone() }
}

#[test]
fn i8_a_once_call_that_the_log_has_a_start_of_may_not_start_and_an_idempotent_one_may() {
    for (effect, may_start) in [(Effect::Once, false), (Effect::Idempotent, true)] {
        let (mut rows, mut entries) = wait(on_record(effect));
        assert!(check_record(&rows, &entries).is_ok(), "{effect:?}");
        // Started and given up, by the rows and by the log.
        rows.execution.as_mut().expect("it is allowed").attempt = 1;
        entries.push(entry(&entries, "executing", r#"{"attempt":1}"#));
        entries.push(entry(&entries, "retry", "{}"));
        assert_eq!(check_record(&rows, &entries).is_ok(), may_start, "{effect:?}");
    }
}

#[test]
fn i9_whatever_closes_a_call_on_record_keeps_it_from_starting_whatever_its_rows_say() {
    let (rows, entries) = wait(on_record(Effect::Once));
    for action in ["rejected", "expired", "cancelled", "hidden", "user_rejected"] {
        let closed = AuditRow { execution_id: None, ..entry(&entries, action, "{}") };
        for approval_id in [None, rows.call.approval_id.clone()] {
            let closed = AuditRow { approval_id, ..closed.clone() };
            let entries: Vec<AuditRow> = entries.iter().cloned().chain([closed]).collect();
            assert!(check_record(&rows, &entries).is_err(), "{action}");
        }
    }
}

/// What a call is ready for so many milliseconds after the end of its time.
async fn ready_after(ms: i64) -> Readiness {
    let db = InMemoryDb::new();
    let claim = approved(&db, required(Effect::Once).valid_for_ms(60_000)).await;
    let look = db.write(Lane::Normal, "look at a call", move |tx| {
        Box::pin(async move {
            let run = own(tx, &claim).await?;
            let rows = call(tx, &claim.run_id, 1, 0).await?;
            let valid_until = rows.execution.as_ref().and_then(|execution| execution.valid_until_ms);
            let now = valid_until.expect("it counts for a minute") + ms;
            readiness(tx, &run, rows, now).await
        })
    });
    look.await.expect("the store answers")
}

#[test]
fn i15_an_approval_counts_until_the_moment_before_its_end() {
    assert!(matches!(wait(ready_after(-1)), Readiness::Ready(_)));
    for ms in [0, 1] {
        assert!(matches!(wait(ready_after(ms)), Readiness::Over), "{ms}");
    }
}
