//! Schedule 19 and Z3: the store's time neither stands still nor goes back, whatever the clocks say, until an operator sets it back.

use std::time::Duration;

use kern_db::{
    Answered, ApprovalStatus, CallPolicy, Effect, Ended, Error, ExecutionStatus, Finished, NewAnswer, PauseType,
    Principal, Recovered, RunId, RunStatus, Tier, clock,
};
use kern_tests::steps::{Store, begin, end, required, two_stage};

const HOUR_MS: i64 = 3_600_000;
/// The store's time falls behind by what passes between one process and the next.
const ABOUT_MS: i64 = 60_000;
/// Longer than a second of the store, wherever in a second it begins.
const PASSED: Duration = Duration::from_millis(2_100);

/// A process whose clock is ahead writes an entry.
async fn written_ahead(store: &Store, ahead_ms: i64) {
    let other = store.another().await;
    clock::set_ahead_ms(ahead_ms);
    let claim = other.started().await;
    other.complete(&claim).await.unwrap();
    clock::set_ahead_ms(0);
}

/// An approval and a lease of a second each are over in time. `open` gives the handle for the next step.
async fn time_passes(mut open: impl AsyncFnMut() -> Store) {
    let asked = open().await.paused(&[required().expires_in_ms(1_000)]).await;
    let kept = open().await.paused(&[required().expires_in_ms(60_000)]).await;
    let mut short = begin(&RunId::generate());
    short.lease_ms = 1_000;
    let owned = open().await.begin_run(short).await.unwrap();
    assert_eq!(open().await.recover_run(owned.run_id.clone()).await.unwrap(), Recovered::NotNeeded);
    tokio::time::sleep(PASSED).await;
    let late = open().await.approve(&asked, 0).await;
    assert!(matches!(late, Err(Error::Expired { .. })), "{late:?}");
    assert_eq!(open().await.approval(&asked).await.status, ApprovalStatus::Expired, "and it is closed");
    let recovered = open().await.recover_run(owned.run_id.clone()).await.unwrap();
    assert_ne!(recovered, Recovered::NotNeeded, "the lease is over");
    open().await.approve(&kept, 0).await.unwrap();
}

async fn schedule_19_after_an_entry_ahead_of_time_time_passes_in_one_process(store: &Store) {
    written_ahead(store, HOUR_MS).await;
    let one = store.another().await.shared();
    time_passes(async || Store::around(one.clone())).await;
    let now = one.clock().await.unwrap();
    assert!(now.has_jumped() && now.ahead_ms() >= HOUR_MS - ABOUT_MS, "{now:?}");
}

async fn schedule_19_after_an_entry_ahead_of_time_time_passes_by_commands_alone(store: &Store) {
    written_ahead(store, HOUR_MS).await;
    time_passes(async || store.another().await).await;
}

/// An entry that was moved ahead with SQL, as an operator's hand may.
async fn schedule_19_after_an_entry_that_sql_moved_ahead_time_passes(store: &Store) {
    store.started().await;
    let moved = format!("UPDATE kern_audit SET at_ms = at_ms + {HOUR_MS}, now_ms = now_ms + {HOUR_MS} WHERE seq = 2");
    store.tamper(&moved);
    assert!(store.another().await.clock().await.unwrap().has_jumped());
    time_passes(async || store.another().await).await;
}

async fn schedule_19_a_clock_that_is_set_back_makes_nothing_valid_that_was_refused(store: &Store) {
    let asked = store.paused(&[required().expires_in_ms(60_000)]).await;
    let ready = store.paused(&[required().valid_for_ms(60_000)]).await;
    store.approve(&ready, 0).await.unwrap();
    clock::set_ahead_ms(HOUR_MS);
    assert!(matches!(store.approve(&asked, 0).await, Err(Error::Expired { .. })));
    let before = store.clock().await.unwrap().now_ms;
    clock::set_ahead_ms(-HOUR_MS);
    assert!(store.clock().await.unwrap().now_ms >= before, "within a process it never falls");
    for handle in [Store::around(store.shared()), store.another().await] {
        assert!(handle.approve(&asked, 0).await.is_err());
        let claim = handle.claim_as(&ready, kern_db::Caller::Worker).await.unwrap();
        assert!(!matches!(claim, kern_db::RunClaimed::Claimed(_)) || handle.starts(&ready).await == 0, "{claim:?}");
    }
    assert_eq!((store.starts(&asked).await, store.starts(&ready).await), (0, 0));
    clock::set_ahead_ms(0);
}

async fn schedule_19_ten_years_ahead_are_reported_and_runs_go_on(store: &Store) {
    assert!(!store.clock().await.unwrap().has_jumped());
    let years = 10 * 365 * 24 * HOUR_MS;
    written_ahead(store, years).await;
    let handle = store.another().await;
    let now = handle.clock().await.unwrap();
    assert!(now.has_jumped() && now.ahead_ms() >= years - ABOUT_MS, "{now:?}");
    let (claim, call) = handle.executing().await;
    handle.succeed(&call).await;
    handle.complete(&claim).await.unwrap();
    assert_eq!(handle.get_run(&claim.run_id).await.unwrap().status, RunStatus::Completed);
}

fn operator() -> Principal {
    Principal::unverified("root")
}

async fn z3_no_row_outlives_a_reset(store: &Store) {
    let ahead = store.another().await;
    clock::set_ahead_ms(HOUR_MS);
    let pending = ahead.paused(&[required()]).await;
    let ready = ahead.paused(&[required().valid_for_ms(60_000)]).await;
    ahead.approve(&ready, 0).await.unwrap();
    let both = ahead.paused(&[two_stage()]).await;
    ahead.answer(&both, 0, NewAnswer::Confirm).await.map(|answered| assert_eq!(answered, Answered::Stored)).unwrap();
    ahead.approve(&both, 0).await.unwrap();
    // Started once, and lost: what may be started again has happened already, for all that is known.
    let again = ahead.paused(&[required().effect(Effect::Idempotent)]).await;
    ahead.approve(&again, 0).await.unwrap();
    let claim = ahead.resumed(&again).await;
    let call = ahead.start(&claim, 0).await;
    let lost = ahead.finish_call(call.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await.unwrap();
    assert_eq!(lost, Finished::Retry);
    let live = ahead.started().await;
    clock::set_ahead_ms(0);

    let handle = store.another().await;
    let none = handle.reset_clock(operator(), " ".to_owned()).await;
    assert!(matches!(none, Err(Error::Invalid(_))), "{none:?}");
    for owned in [&claim, &live] {
        let refused = handle.reset_clock(operator(), "a wrong clock".to_owned()).await;
        assert!(matches!(refused, Err(Error::RunConflict { .. })), "its process lives: {refused:?}");
        ahead.end_run(end(owned, RunStatus::Error)).await.unwrap();
    }
    // `again` has ended with its run; the others wait.
    let before = handle.clock().await.unwrap();
    assert!(before.ahead_ms() >= HOUR_MS - ABOUT_MS, "{before:?}");
    let after = handle.reset_clock(operator(), "a wrong clock".to_owned()).await.unwrap();
    assert_eq!(after.ahead_ms(), 0, "{after:?}");

    assert_eq!(store.approval(&pending).await.status, ApprovalStatus::Expired);
    for run_id in [&ready, &both] {
        let execution = store.call(run_id).await.execution.unwrap();
        assert_eq!(execution.status, ExecutionStatus::Abandoned);
    }
    assert_eq!(store.call(&again).await.execution.unwrap().status, ExecutionStatus::Unknown);
    for handle in [Store::around(ahead.shared()), Store::around(handle.shared()), store.another().await] {
        let now = handle.clock().await.unwrap();
        assert!(now.ahead_ms() < 1_000, "every process goes on from the clock: {now:?}");
        assert!(handle.approve(&pending, 0).await.is_err());
    }
    // New times are those of the clock.
    time_passes(async || store.another().await).await;
    for run_id in [&pending, &ready, &both] {
        assert_eq!(store.starts(run_id).await, 0);
    }
}

/// A lease that was granted by the clock that was ahead is over with it: what its process has left is recovered at once.
async fn z3_every_lease_ends(store: &Store) {
    let ahead = store.another().await;
    clock::set_ahead_ms(HOUR_MS);
    let mut short = begin(&RunId::generate());
    short.lease_ms = 300;
    let lost = ahead.begin_run(short).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    // Its time is over by the store's time, and an hour ahead by the clock.
    assert!(ahead.get_run(&lost.run_id).await.unwrap().lapsed);
    clock::set_ahead_ms(0);
    let handle = store.another().await;
    // From here on this process counts.
    assert!(handle.clock().await.unwrap().has_jumped());
    tokio::time::sleep(Duration::from_millis(400)).await;
    handle.reset_clock(operator(), "a wrong clock".to_owned()).await.unwrap();
    assert_ne!(handle.recover_run(lost.run_id.clone()).await.unwrap(), Recovered::NotNeeded);
}

/// An external call whose gate is open may have been acted on: what becomes of it is decided where `drop_ready` decides it.
async fn z3_an_external_call_does_not_stay_ready(store: &Store) {
    let external = CallPolicy::new(Tier::Required, Some(PauseType::ExternalExecution));
    let run_id = store.paused(&[external]).await;
    store.approve(&run_id, 0).await.unwrap();
    store.reset_clock(operator(), "a wrong clock".to_owned()).await.unwrap();
    let execution = store.call(&run_id).await.execution.unwrap();
    assert_ne!(execution.status, ExecutionStatus::Ready);
    let late = store.answer(&run_id, 0, NewAnswer::ExternalResult("done".to_owned())).await;
    assert!(!matches!(late, Ok(Answered::Stored)), "{late:?}");
}

on_each_store! {
    schedule_19_a_clock_that_is_set_back_makes_nothing_valid_that_was_refused,
    schedule_19_after_an_entry_ahead_of_time_time_passes_by_commands_alone,
    schedule_19_after_an_entry_ahead_of_time_time_passes_in_one_process,
    schedule_19_ten_years_ahead_are_reported_and_runs_go_on,
    z3_an_external_call_does_not_stay_ready,
    z3_every_lease_ends,
    z3_no_row_outlives_a_reset,
}

mod file {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn schedule_19_after_an_entry_that_sql_moved_ahead_time_passes() {
        super::schedule_19_after_an_entry_that_sql_moved_ahead_time_passes(&super::Store::on_a_file().await).await;
    }
}
