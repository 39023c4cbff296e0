//! Real locks, really held: the order of decisions is the order of commits, and time is read after the wait.

use std::time::{Duration, Instant};

use kern_db::{
    ApprovalStatus, Caller, Error, ExecutionStatus, IntoDb as _, NewAnswer, Resolution, RunClaimed, RunStatus, Standing,
};
use kern_tests::history;
use kern_tests::steps::{LONG, Store, begin, person, required, two_stage};
use tokio_postgres::Client;

/// Holds what the SQL locks until the client is dropped or commits.
async fn hold(store: &Store, sql: &str) -> Client {
    let client = store.database().raw().await;
    client.batch_execute(&format!("BEGIN; {sql}")).await.unwrap();
    client
}

async fn release(client: Client) {
    client.batch_execute("COMMIT").await.unwrap();
}

/// Waits until this many sessions of the store wait for a lock.
async fn waiting(store: &Store, count: i64) {
    let raw = store.database().raw().await;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = $1";
    for _ in 0..1000 {
        let found: i64 = raw.query_one(sql, &[&store.database().name()]).await.unwrap().get(0);
        if found >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn i15_an_approval_that_waited_for_a_lock_past_its_time_is_refused() {
    let store = Store::on_postgres().await;
    let run_id = store.paused(&[required().expires_in_ms(2_000)]).await;
    let id = store.approval_id(&run_id, 0).await;
    let held = hold(&store, "SELECT 1 FROM kern_runs FOR UPDATE").await;
    let (db, approved) = (store.shared(), id.clone());
    let approving = tokio::spawn(async move {
        db.update_approval(&approved, ApprovalStatus::Pending, Resolution::approved().by("bob")).await
    });
    waiting(&store, 1).await;
    let due = store.approval(&run_id).await.expires_at.unwrap();
    kern_tests::steps::wait_until(due * 1000 + 100).await;
    release(held).await;
    let refused = approving.await.unwrap();
    assert!(matches!(refused, Err(Error::Expired { .. })), "{refused:?}");
    assert_eq!(store.approval(&run_id).await.status, ApprovalStatus::Expired);
    assert_eq!(store.count(&run_id, "ready").await, 0);
    history::check(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_12_an_approval_held_open_while_the_run_is_cancelled_is_void() {
    let store = Store::on_postgres().await;
    let run_id = store.paused(&[required()]).await;
    let id = store.approval_id(&run_id, 0).await;
    // The approval has its run locked, and waits for its row.
    let held = hold(&store, "SELECT 1 FROM kern_approvals FOR UPDATE").await;
    let (db, approved) = (store.shared(), id.clone());
    let approving = tokio::spawn(async move {
        db.update_approval(&approved, ApprovalStatus::Pending, Resolution::approved().by("bob")).await
    });
    waiting(&store, 1).await;
    let (db, cancelled) = (store.second().await, run_id.clone());
    let cancelling = tokio::spawn(async move { db.cancel_run(cancelled, person("ana")).await });
    waiting(&store, 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    release(held).await;
    assert_eq!(approving.await.unwrap().unwrap().status, ApprovalStatus::Approved);
    cancelling.await.unwrap().unwrap();
    let run = store.get_run(&run_id).await.unwrap();
    assert_eq!(run.status, RunStatus::Cancelled);
    assert_eq!(run.calls[0].execution.as_ref().unwrap().status, ExecutionStatus::Abandoned);
    history::check(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_12_a_confirmation_and_an_approval_that_commit_together_are_both_seen() {
    let store = Store::on_postgres().await;
    for confirm_first in [true, false] {
        let run_id = store.paused(&[two_stage()]).await;
        let id = store.approval_id(&run_id, 0).await;
        // Whoever comes first has done all but its last step.
        let log = "SELECT pg_advisory_xact_lock('kern_audit'::regclass::oid::int, 0)".to_owned();
        let held = hold(&store, &log).await;
        let (db, second) = (store.shared(), store.second().await);
        let call = store.call(&run_id).await;
        let request = kern_tests::steps::answer_to(&run_id, 0, person("ana"), NewAnswer::Confirm, &call.arguments);
        let confirm = async move { db.answer_call(request).await.map(drop) };
        let approve = async move {
            second.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await.map(drop)
        };
        let (first, other) = match confirm_first {
            true => {
                let first = tokio::spawn(confirm);
                waiting(&store, 1).await;
                (first, tokio::spawn(approve))
            }
            false => {
                let first = tokio::spawn(approve);
                waiting(&store, 1).await;
                (first, tokio::spawn(confirm))
            }
        };
        waiting(&store, 2).await;
        release(held).await;
        first.await.unwrap().unwrap();
        other.await.unwrap().unwrap();
        assert_eq!(store.call(&run_id).await.standing, Standing::Open);
        assert!(matches!(store.claim_as(&run_id, Caller::Worker).await.unwrap(), RunClaimed::Claimed(_)));
    }
    history::check(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_does_not_wait_for_a_run_that_somebody_is_at() {
    let store = Store::on_postgres().await;
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let load = store.load(&run_id, Caller::Worker).await;
    let held = hold(&store, "SELECT 1 FROM kern_runs FOR UPDATE").await;
    let began = Instant::now();
    assert_eq!(store.claim_run(load.clone()).await.unwrap(), RunClaimed::AlreadyRunning);
    assert!(began.elapsed() < Duration::from_secs(3), "it waited {:?}", began.elapsed());
    release(held).await;
    assert!(matches!(store.claim_run(load).await.unwrap(), RunClaimed::Claimed(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn i18_a_lock_and_a_connection_are_waited_for_no_longer_than_the_timeout_and_leases_are_renewed_meanwhile() {
    let store = Store::on_postgres().await;
    let db = store.database().open_with(Duration::from_millis(400), 1).await.into_db();
    let claim = db.begin_run(begin(&kern_db::RunId::generate())).await.unwrap();
    let other = store.paused(&[required()]).await;
    let held = hold(&store, &format!("SELECT 1 FROM kern_runs WHERE run_id = '{other}' FOR UPDATE")).await;
    // One waits at the row and has the only connection, one waits for that.
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let (db, other) = (db.clone(), other.clone());
            tokio::spawn(async move { db.cancel_run(other, Caller::Anonymous).await })
        })
        .collect();
    waiting(&store, 1).await;
    let began = Instant::now();
    db.renew_run(claim, LONG).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(350), "it waited for {:?}", began.elapsed());
    for task in tasks {
        let refused = task.await.unwrap();
        assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
    }
    release(held).await;
    db.cancel_run(other, Caller::Anonymous).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn i19_what_a_caller_no_longer_waits_for_is_done_to_its_end() {
    let store = Store::on_postgres().await;
    let run_id = store.paused(&[required()]).await;
    let id = store.approval_id(&run_id, 0).await;
    let held = hold(&store, "SELECT 1 FROM kern_runs FOR UPDATE").await;
    let (db, approved) = (store.shared(), id.clone());
    let approving = tokio::spawn(async move {
        db.update_approval(&approved, ApprovalStatus::Pending, Resolution::approved().by("bob")).await
    });
    waiting(&store, 1).await;
    approving.abort();
    assert!(approving.await.unwrap_err().is_cancelled());
    release(held).await;
    for _ in 0..500 {
        if store.approval(&run_id).await.status == ApprovalStatus::Approved {
            history::check(&*store).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was dropped half way");
}
