//! Schedules 16 and 18 of the approval specification: bodies that outlast a lease, a timeout or a cancel, and a store that is
//! away while they do. A process keeps its own work, and `unknown` hides no result that a body has reported.

#![allow(clippy::unwrap_used, reason = "what a store answers otherwise is what a test shows")]

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kern::db::{Db as _, RunFilter, Settlement, Transitions as _};
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;
use kern::run::RunId;
use kern::tools::ToolHandle;
use kern_db::Caller;
use kern_tests::children::Worker;
use kern_tests::folder::unique;
use kern_tests::gates::{SlowModel, gate};
use kern_tests::ledger::{self, enter};
use kern_tests::scale;
use kern_tests::store::{BUSY, SHORT_LEASE, Store, code, one_call, told};
use kern_tests::tools::wait;

/// Take longer than anybody waits for it. An administrator decides.
#[approval]
#[tool(timeout = "300ms")]
fn sluggish(key: String, ctx: &RunContext) -> String {
    enter(ctx, format!("sluggish {key}"));
    std::thread::sleep(Duration::from_secs(2));
    format!("slow {key}")
}

/// Never come back. An administrator decides.
#[approval]
#[tool(timeout = "300ms")]
async fn hang_on(key: String, ctx: &RunContext) -> String {
    enter(ctx, format!("hang_on {key}"));
    std::future::pending::<()>().await;
    key
}

/// Pauses a run in a session of its own, and approves all it asks for.
async fn approved(store: &Store, tools: Vec<ToolHandle>, name: &str) -> (Agent, String, RunId) {
    let agent = store.agent(tools, one_call(name, json!({ "key": "k" }))).lease(SHORT_LEASE).build().unwrap();
    let session = unique("session");
    let run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
    store.approve_all(&run.run_id).await;
    (agent, session, run.run_id)
}

/// Waits until the only execution of a run is in a state.
async fn until(store: &Store, run_id: &RunId, state: &str) {
    let since = Instant::now();
    while store.states(run_id).await != [state] {
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", store.states(run_id).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn process(store: &Store, busy: &str, command: &str, words: &[&str]) -> Worker {
    let path = store.path();
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&command, &"linger", &busy, &path];
    arguments.extend(words.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
    Worker::start(env!("CARGO_BIN_EXE_kern-path-worker"), &store.folder.file("ledger"), &arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_16_a_body_of_four_leases_after_a_cancel_is_recorded() {
    let store = Store::new().await;
    let (agent, session, run_id) = approved(&store, tools![wait], "wait").await;
    let running = tokio::spawn(agent.continue_run(&run_id).into_future());
    gate(&session).arrival().await;
    store.db.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap();
    // Another process looks for what is lost, all the time.
    let (other, since) = (store.again().await, Instant::now());
    while since.elapsed() < SHORT_LEASE * 4 {
        other.recover_run(run_id.clone()).await.unwrap();
        assert_eq!(store.states(&run_id).await, ["executing"]);
        tokio::time::sleep(SHORT_LEASE / 10).await;
    }
    gate(&session).open();
    assert_eq!(running.await.unwrap().unwrap().status, RunStatus::Cancelled);
    assert_eq!(store.states(&run_id).await, ["succeeded"]);
    assert_eq!(store.count_actions(&run_id, "unknown").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_16_the_result_of_a_body_that_stood_still_past_its_lease_is_taken() {
    for settled in [false, true] {
        let store = Store::new().await;
        let run_id = RunId::from(process(&store, "5000", "pause", &[]).rest().remove(0));
        store.approve_all(&run_id).await;
        let mut owner = process(&store, "200", "resume", &[run_id.as_str()]);
        assert_eq!(owner.line(), "in the body");
        owner.signal("STOP");
        store.lapsed(&run_id).await;
        assert_eq!(process(&store, "5000", "work", &[]).rest(), [] as [&str; 0]);
        assert_eq!(store.states(&run_id).await, ["unknown"]);
        let id = store.executions(&run_id).await.remove(0).id;
        if settled {
            let settlement = Settlement::failed("no trace of it").by("admin").note("looked");
            store.db.settle_execution(&id, settlement).await.unwrap();
        }
        owner.signal("CONT");
        owner.tell("go on");
        // It has lost the run, and not its result.
        assert_eq!(owner.rest(), ["already_running"]);
        let execution = store.executions(&run_id).await.remove(0);
        let late = (execution.late_status.map(|status| status.as_str()), execution.late_result.as_deref());
        if settled {
            assert_eq!((execution.status.as_str(), late), ("failed", (Some("succeeded"), Some("u1"))));
            assert_eq!(store.count_actions(&run_id, "late_result").await, 1);
        } else {
            assert_eq!((execution.status.as_str(), late), ("succeeded", (None, None)));
            assert_eq!(execution.result.as_deref(), Some("u1"));
            assert_eq!(store.count_actions(&run_id, "late_succeeded").await, 1);
        }
        assert_eq!(process(&store, "5000", "work", &[]).rest(), ["COMPLETED"]);
        assert_eq!(ledger::read(&store.folder.file("ledger")), ["linger u1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_16_a_blocking_body_past_its_timeout_is_unknown_until_it_reports() {
    let store = Store::new().await;
    let (agent, session, run_id) = approved(&store, tools![sluggish], "sluggish").await;
    let paused = agent.continue_run(&run_id).await.unwrap();
    assert!(paused.is_paused() && paused.attention);
    assert_eq!(store.states(&run_id).await, ["unknown"]);
    until(&store, &run_id, "succeeded").await;
    assert_eq!(store.count_actions(&run_id, "late_succeeded").await, 1);
    let resumed = agent.resume_decided_runs().await.unwrap();
    assert_eq!(told(resumed[0].as_ref().unwrap()), ["slow k"]);
    assert_eq!(ledger::of(&session), ["sluggish k"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_16_a_body_that_hangs_is_unknown_when_its_time_is_up() {
    let store = Store::new().await;
    let (agent, _, run_id) = approved(&store, tools![hang_on], "hang_on").await;
    let paused = agent.continue_run(&run_id).await.unwrap();
    assert!(paused.is_paused() && paused.attention);
    assert_eq!(store.states(&run_id).await, ["unknown"]);
    assert_eq!(code(agent.continue_run(&run_id).await), "execution_unknown");
}

/// The store is away for ten leases, while a body ends. Its own process keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn schedule_18_a_store_that_is_away_for_ten_leases_makes_nothing_unknown() {
    let store = Store::new().await;
    let (agent, session, run_id) = approved(&store, tools![wait], "wait").await;
    let worker = kern::worker::Worker::new(agent.clone()).poll_interval(BUSY / 4).await.unwrap();
    // The worker goes on with it, and looks for what is lost beside that.
    gate(&session).arrival().await;
    let raw = store.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    gate(&session).open();
    tokio::time::sleep(SHORT_LEASE * 10).await;
    raw.execute_batch("ROLLBACK").unwrap();
    let since = Instant::now();
    while agent.get_run(&run_id).await.unwrap().status != RunStatus::Completed {
        assert!(since.elapsed() < Duration::from_secs(30), "{:?}", store.actions(&run_id).await);
        tokio::time::sleep(BUSY / 4).await;
    }
    worker.shutdown().await;
    assert_eq!(store.states(&run_id).await, ["succeeded"]);
    for word in ["unknown", "run_recovered"] {
        assert_eq!(store.count_actions(&run_id, word).await, 0, "{word}");
    }
    assert_eq!(ledger::of(&session), ["wait k"]);
}

/// A task that is dropped with its runtime leaves nothing behind: the same process recovers its run after the lease.
#[test]
fn schedule_18_what_is_dropped_is_recovered_by_the_same_process() {
    let runs = scale::of(1_000);
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (here, there) = (runtime(), runtime());
    let store = here.block_on(Store::new());
    let thinking = gate(&unique("model"));
    let slow = SlowModel::new(ScriptedModel::new([turn().text("never")]), 0, Arc::clone(&thinking));
    let lease = SHORT_LEASE * 5;
    let busy = store.agent(Vec::new(), []).id("dropped").model(slow).pre_hook(pass).lease(lease).build().unwrap();
    for _ in 0..runs {
        let run = busy.run("go").user_id("alice");
        there.spawn(async { run.await });
    }
    for _ in 0..runs {
        here.block_on(thinking.arrival());
    }
    let ids: Vec<RunId> = here
        .block_on(store.db.list_runs(RunFilter::new().limit(10_000)))
        .unwrap()
        .into_iter()
        .map(|run| run.run_id)
        .collect();
    assert_eq!(ids.iter().filter(|id| kern::__private::drives(id)).count(), runs);
    there.shutdown_timeout(Duration::from_secs(10));
    assert!(!ids.iter().any(kern::__private::drives), "an entry lives as long as its task");
    let turns: Vec<_> = (0..runs).map(|_| turn().text("done")).collect();
    let agent = store.agent(Vec::new(), turns).id("dropped").lease(lease).build().unwrap();
    let (since, mut completed) = (Instant::now(), 0);
    while completed < runs {
        assert!(since.elapsed() < Duration::from_secs(120), "{completed} of {runs}");
        let resumed = here.block_on(agent.resume_decided_runs()).unwrap();
        completed += resumed.iter().filter(|run| run.as_ref().unwrap().status == RunStatus::Completed).count();
    }
    scale::figure("dropped runs that the same process recovered after the lease", completed);
}

/// Lets every input pass.
#[hook]
async fn pass(_: &mut RunInput, _: &HookContext) -> HookResult {
    Ok(())
}
