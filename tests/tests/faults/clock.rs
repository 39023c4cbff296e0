//! Schedule 15: a clock that jumps, a writer that is kept out for long, a run that kills whoever drives it.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kern::prelude::*;
use kern_db::{ApprovalStatus, Caller, Error, Outcome, Recovered, RunClaimed, Standing, clock};
use kern_tests::faults::agent;
use kern_tests::folder::unique;
use kern_tests::gates::gate;
use kern_tests::place::{On, PATIENT, Place};
use kern_tests::scale::figure;
use kern_tests::steps::{Store as Steps, required};
use kern_tests::store::{SHORT_LEASE, Store, one_call};
use kern_tests::tools::wait;
use kern_tests::{history, ledger};

use super::PROGRAM;
use super::endings::{counts, nothing_doubled, recovered, to_the_end};

const HOUR_MS: i64 = 3_600_000;

/// What is over an hour ahead stays over when the clock is set back: nothing comes to life again.
#[tokio::test]
async fn schedule_15_a_clock_that_is_set_back_revives_nothing() {
    let store = Steps::on_a_file().await;
    let short = || required().expires_in_ms(60_000);
    let (met, unmet) = (store.paused(&[short()]).await, store.paused(&[short()]).await);
    let unused = store.paused(&[required().valid_for_ms(60_000)]).await;
    store.approve(&unused, 0).await.unwrap();
    clock::set_ahead_ms(HOUR_MS);
    assert!(matches!(store.approve(&met, 0).await, Err(Error::Expired { .. })));
    // Back again, by an hour.
    clock::set_ahead_ms(0);
    assert!(store.approve(&met, 0).await.is_err());
    assert_eq!(store.approval(&met).await.status, ApprovalStatus::Expired);
    // What nobody had met is over by the last time in the store.
    assert!(matches!(store.approve(&unmet, 0).await, Err(Error::Expired { .. })));
    assert!(matches!(store.claim_as(&unused, Caller::Worker).await.unwrap(), RunClaimed::Claimed(_)));
    assert!(matches!(store.call(&unused).await.standing, Standing::Outcome(Outcome::Abandoned(_))));
    for run_id in [&met, &unmet, &unused] {
        assert_eq!(store.starts(run_id).await, 0);
    }
    let entries = history::entries(&*store).await;
    assert!(entries.is_sorted_by_key(|entry| entry.at_ms), "time in the log never goes back");
    history::check(&*store).await;
}

/// A process whose clock jumps ahead takes a living owner for dead: the start is lost, and not made again.
#[tokio::test(flavor = "multi_thread")]
async fn schedule_15_a_clock_that_jumps_ahead_loses_a_start_and_doubles_none() {
    let place = Arc::new(Place::new(On::Sqlite, PROGRAM).await);
    let ahead = format!("clock=return({HOUR_MS})");
    let there = Arc::clone(&place);
    let entries = tokio::task::spawn_blocking(move || {
        // Asked for by a process an hour ahead, decided and run by others: time in the store only waits for them.
        let said = there.run_failing(&ahead, &["run", "delete"]).remove(0);
        let (run_id, status) = said.split_once(' ').unwrap();
        assert_eq!(status, "PAUSED");
        assert_eq!(there.start(&["approve", run_id]).rest(), ["approved"]);
        let owner = there.stopped_at("body: after its effect", &["resume", run_id]);
        assert_eq!(there.start(&["work"]).rest(), [] as [&str; 0], "its owner lives");
        let further = format!("clock=return({})", HOUR_MS * 2);
        assert_eq!(there.run_failing(&further, &["work"]), [] as [&str; 0], "what is unknown is not resumed");
        assert_eq!(there.start(&["resume", run_id]).rest(), ["execution_unknown"]);
        owner.signal("KILL");
        there.ledger()
    })
    .await
    .unwrap();
    assert_eq!(entries.len(), 1, "{entries:?}");
    to_the_end(&place).await;
    let log = history::entries(&*place.db).await;
    assert!(log.is_sorted_by_key(|entry| entry.at_ms), "time in the log never goes back");
    assert_eq!(counts(&place).len(), 1);
}

/// Somebody holds the file's write lock. Up to a third of the lease nobody is taken for dead; beyond, nothing starts twice.
#[tokio::test(flavor = "multi_thread")]
async fn schedule_15_a_writer_that_is_kept_out_starts_nothing_twice() {
    let patient = Duration::from_secs(6);
    for (lease, held, sure) in [(patient, patient / 4, true), (SHORT_LEASE, SHORT_LEASE * 2, false)] {
        let store = Store::new().await;
        let build = |db| {
            let builder = store.agent(tools![wait], one_call("wait", json!({ "key": "k" })));
            builder.lease(lease).db(db).build().unwrap()
        };
        let (agent, other) = (build(store.db.clone()), build(store.again().await));
        let session = unique("session");
        let run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
        store.approve_all(&run.run_id).await;
        let running = tokio::spawn(agent.continue_run(&run.run_id).into_future());
        gate(&session).arrival().await;
        let raw = store.raw();
        raw.execute_batch("BEGIN IMMEDIATE").unwrap();
        let until = Instant::now() + held + lease;
        let looking = tokio::spawn(async move {
            while Instant::now() < until {
                // Whether it may write or not: it finds nothing that it could start.
                let _ = other.resume_decided_runs().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        tokio::time::sleep(held).await;
        raw.execute_batch("ROLLBACK").unwrap();
        looking.await.unwrap();
        gate(&session).open();
        let outcome = running.await.unwrap();
        assert_eq!(ledger::of(&session), ["wait k"]);
        assert_eq!(store.count_actions(&run.run_id, "executing").await, 1);
        match store.states(&run.run_id).await[0] {
            "succeeded" => assert_eq!(outcome.unwrap().status, RunStatus::Completed),
            "unknown" if !sure => assert_eq!(store.count_actions(&run.run_id, "late_result").await, 1),
            other => panic!("{other}, {outcome:?}"),
        }
    }
}

/// A run that kills whoever drives it is given up, and what it did stays done once.
#[tokio::test(flavor = "multi_thread")]
async fn schedule_15_a_run_that_kills_its_owners_is_given_up_after_three_recoveries() {
    let place = Arc::new(Place::new(On::Sqlite, PROGRAM).await);
    let run = agent(place.db.clone(), PATIENT * 3).run("delete").user_id("alice").await.unwrap();
    place.approve(&run.run_id).await;
    for kill in 1..=4_u32 {
        let (there, run_id) = (Arc::clone(&place), run.run_id.to_string());
        let killed = move || there.kill_at("begin: end a run", &["resume", &run_id]);
        tokio::task::spawn_blocking(killed).await.unwrap();
        place.lapsed().await;
        let expected = if kill < 4 { Recovered::Paused } else { Recovered::Failed };
        assert_eq!(place.db.recover_run(run.run_id.clone()).await.unwrap(), expected);
    }
    let found = place.run(&run.run_id).await;
    assert_eq!((found.status, found.recoveries), (RunStatus::Error, 4));
    assert_eq!(recovered(&place).await, [] as [&str; 0]);
    nothing_doubled(&[found], &counts(&place));
    assert_eq!(place.ledger().len(), 1);
    history::check(&*place.db).await;
    figure("kills of one run until it is given up", 4);
}
