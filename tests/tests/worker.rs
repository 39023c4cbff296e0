//! The worker: runs go on by themselves once they are decided, in any process, and each call is started once.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kern::agent::AgentBuilder;
use kern::db::{
    BeginRun, Db, ExecutionFilter, ExecutionStatus, InMemoryDb, RunFilter, Settlement, SqliteDb, Transitions as _,
};
use kern::models::{ScriptedModel, Turn, turn};
use kern::prelude::*;
use kern::run::RunId;
use kern::tools::ToolHandle;
use kern::worker::{Worker, WorkerHandle};
use kern_tests::children;
use kern_tests::gates::{SlowModel, gate};
use kern_tests::ledger::{self, enter};
use kern_tests::store::{SHORT_LEASE, Store, one_call, told};
use kern_tests::tools::{delete_user, erase_user, lookup};

const SOON: Duration = Duration::from_millis(50);
const NEVER: Duration = Duration::from_secs(3600);

/// Waits until something is so. Who waits says for what.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(300), "it does not come to this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ended(agent: &Agent, run_id: &RunId, status: RunStatus) -> RunOutput {
    until(&format!("{run_id} is {status}"), || async { agent.get_run(run_id).await.unwrap().status == status }).await;
    agent.get_run(run_id).await.unwrap()
}

async fn started(worker: Worker) -> WorkerHandle {
    worker.poll_interval(SOON).await.unwrap()
}

fn agent_of(store: &Store, tools: Vec<ToolHandle>, turns: Vec<Turn>) -> AgentBuilder {
    store.agent(tools, turns).lease(SHORT_LEASE)
}

/// More than are listed at once: a pass leaves none of them to the next one.
#[tokio::test]
async fn one_pass_recovers_every_run_whose_process_is_gone() {
    let db = InMemoryDb::new();
    let agent = Agent::builder().id("many").model(ScriptedModel::new([])).db(db.clone()).build().unwrap();
    for _ in 0..1_001 {
        let begin = BeginRun {
            run_id: RunId::generate(),
            session_id: "many".into(),
            agent_id: "many".to_owned(),
            agent_name: None,
            requester: None,
            snapshot: "{}".to_owned(),
            input: None,
            lease_ms: 1,
        };
        db.begin_run(begin).await.unwrap();
    }
    tokio::time::sleep(SOON).await;
    let running = || db.list_runs(RunFilter::new().status(RunStatus::Running).limit(2_000));
    assert_eq!(running().await.unwrap().len(), 1_001);
    // Their snapshots are none, so that none of them goes on.
    let _ = agent.resume_decided_runs().await.unwrap();
    assert_eq!(running().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_run_goes_on_when_it_is_decided_and_nobody_continues_it() {
    let store = Store::new().await;
    let script = one_call("delete_user", json!({ "user_id": "w1" }));
    let agent = agent_of(&store, tools![delete_user], script).build().unwrap();
    let run = agent.run("Delete w1").user_id("alice").session_id("goes-on").await.unwrap();
    let worker = started(Worker::new(agent.clone())).await;
    tokio::time::sleep(SOON * 4).await;
    assert!(agent.get_run(&run.run_id).await.unwrap().is_paused(), "nobody has decided");
    store.approve_all(&run.run_id).await;
    let run = ended(&agent, &run.run_id, RunStatus::Completed).await;
    assert_eq!(told(&run), ["deleted w1"]);
    assert_eq!(ledger::of("goes-on"), ["delete w1"]);
    worker.shutdown().await;
}

#[tokio::test]
async fn what_was_decided_before_the_worker_starts_is_found_by_its_first_pass() {
    let store = Store::new().await;
    let script = one_call("delete_user", json!({ "user_id": "w2" }));
    let agent = agent_of(&store, tools![delete_user], script).build().unwrap();
    let run = agent.run("Delete w2").user_id("alice").await.unwrap();
    store.approve_all(&run.run_id).await;
    let worker = Worker::new(agent.clone()).poll_interval(NEVER).pass_interval(NEVER).await.unwrap();
    ended(&agent, &run.run_id, RunStatus::Completed).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn a_hint_is_enough_and_so_is_polling_without_one() {
    // Another handle on the file stands for another process: nobody in this one tells the worker.
    for (poll, handle) in [(NEVER, "same"), (NEVER, "other"), (SOON, "other")] {
        let store = Store::new().await;
        let script = one_call("delete_user", json!({ "user_id": "w3" }));
        let db = if handle == "same" { store.db.clone() } else { store.again().await };
        let agent = agent_of(&store, tools![delete_user], script).db(db).build().unwrap();
        let worker = Worker::new(agent.clone()).poll_interval(poll).pass_interval(NEVER).await.unwrap();
        let run = agent.run("Delete w3").user_id("alice").await.unwrap();
        tokio::time::sleep(SOON).await;
        store.approve_all(&run.run_id).await;
        ended(&agent, &run.run_id, RunStatus::Completed).await;
        worker.shutdown().await;
    }
}

#[tokio::test]
async fn a_store_in_memory_has_its_worker_too() {
    let db = InMemoryDb::new();
    let model = ScriptedModel::new(one_call("delete_user", json!({ "user_id": "w4" })));
    let agent = Agent::builder().model(model).tools(tools![delete_user]).db(db.clone()).build().unwrap();
    let worker = Worker::new(agent.clone()).poll_interval(NEVER).pass_interval(NEVER).await.unwrap();
    let run = agent.run("Delete w4").user_id("alice").await.unwrap();
    let pending = db.list_approvals(ApprovalFilter::new()).await.unwrap().data.remove(0);
    db.update_approval(&pending.id, ApprovalStatus::Pending, Resolution::approved().by("admin")).await.unwrap();
    ended(&agent, &run.run_id, RunStatus::Completed).await;
    worker.shutdown().await;
}

#[tokio::test]
async fn i10_the_worker_never_confirms_for_the_requester() {
    let store = Store::new().await;
    let script = one_call("erase_user", json!({ "user_id": "w5" }));
    let agent = agent_of(&store, tools![erase_user], script).build().unwrap();
    let worker = started(Worker::new(agent.clone())).await;
    let run = agent.run("Erase w5").user_id("alice").session_id("never-confirms").await.unwrap();
    store.approve_all(&run.run_id).await;
    tokio::time::sleep(SOON * 6).await;
    assert!(agent.get_run(&run.run_id).await.unwrap().is_paused());
    assert_eq!(ledger::of("never-confirms"), [] as [&str; 0]);
    assert_eq!(store.count_actions(&run.run_id, "run_claimed").await, 0, "it is not even claimed");
    let mut answered = run.clone();
    answered.active_requirements_mut().for_each(|requirement| requirement.confirm().unwrap());
    // The confirmation is stored; whoever is first goes on.
    let _ = agent.continue_run(&run.run_id).user_id("alice").requirements(answered.requirements).await;
    ended(&agent, &run.run_id, RunStatus::Completed).await;
    assert_eq!(ledger::of("never-confirms"), ["erase w5"]);
    worker.shutdown().await;
}

#[tokio::test]
async fn i9_a_no_is_told_to_the_model_and_runs_nothing() {
    let store = Store::new().await;
    let script = one_call("delete_user", json!({ "user_id": "w6" }));
    let agent = agent_of(&store, tools![delete_user], script).build().unwrap();
    let worker = started(Worker::new(agent.clone())).await;
    let run = agent.run("Delete w6").user_id("alice").session_id("a-no").await.unwrap();
    let approval = store.approvals(&run.run_id).await.remove(0);
    let no = Resolution::rejected().by("admin").note("not today");
    store.db.update_approval(&approval.id, ApprovalStatus::Pending, no).await.unwrap();
    let run = ended(&agent, &run.run_id, RunStatus::Completed).await;
    assert!(told(&run)[0].contains("not today"), "{:?}", told(&run));
    assert_eq!(ledger::of("a-no"), [] as [&str; 0]);
    worker.shutdown().await;
}

#[tokio::test]
async fn a_run_that_cannot_go_on_is_tried_seldom_and_keeps_no_other_back() {
    let store = Store::new().await;
    let script = one_call("delete_user", json!({ "user_id": "w7" }));
    let agent = agent_of(&store, tools![delete_user], script).build().unwrap();
    let (broken, good) = (agent.run("Delete w7").await.unwrap(), agent.run("Delete w7").await.unwrap());
    store.approve_all(&broken.run_id).await;
    store.approve_all(&good.run_id).await;
    let raw = store.raw();
    kern_tests::steps::drop_triggers(&raw);
    let sql = "UPDATE kern_executions SET arguments = '{\"user_id\":\"all\"}' WHERE run_id = ?";
    assert_eq!(raw.execute(sql, [broken.run_id.as_str()]).unwrap(), 1);
    let worker = started(Worker::new(agent.clone())).await;
    ended(&agent, &good.run_id, RunStatus::Completed).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    worker.shutdown().await;
    // Not by way of `verify`, which finds the row, too.
    let entries = store.db.audit().entries(0, 1000).await.unwrap();
    let tried = entries.iter().filter(|entry| entry.action == "digest_mismatch").count();
    assert!(!store.db.audit().verify().await.unwrap().is_intact());
    assert!((1..=3).contains(&tried), "at the start, after one second, after two more: {tried}");
    assert!(agent.get_run(&broken.run_id).await.unwrap().is_paused());
}

/// Wait for the test. An administrator decides.
#[approval]
#[tool]
async fn wait_for_it(name: String, ctx: &RunContext) -> String {
    enter(ctx, format!("wait {name}"));
    gate(&name).pass().await;
    format!("waited for {name}")
}

#[tokio::test]
async fn a_body_longer_than_its_lease_is_not_taken_for_lost() {
    let store = Store::new().await;
    let script = one_call("wait_for_it", json!({ "name": "longer" }));
    let agent = agent_of(&store, tools![wait_for_it], script).build().unwrap();
    let workers = [started(Worker::new(agent.clone())).await, started(Worker::new(agent.clone())).await];
    let run = agent.run("Wait").session_id("longer").await.unwrap();
    store.approve_all(&run.run_id).await;
    gate("longer").arrival().await;
    tokio::time::sleep(SHORT_LEASE * 3).await;
    assert_eq!(store.states(&run.run_id).await, ["executing"]);
    gate("longer").open();
    ended(&agent, &run.run_id, RunStatus::Completed).await;
    for worker in workers {
        worker.shutdown().await;
    }
    assert_eq!(ledger::of("longer"), ["wait longer"]);
    let actions = store.actions(&run.run_id).await;
    assert!(!actions.contains(&"run_recovered".to_owned()), "{actions:?}");
}

#[tokio::test]
async fn a_worker_that_shuts_down_waits_for_bodies_and_starts_no_more() {
    let store = Store::new().await;
    let calls =
        turn().tool_call("wait_for_it", json!({ "name": "last" })).tool_call("delete_user", json!({ "user_id": "w8" }));
    let agent = agent_of(&store, tools![wait_for_it, delete_user], vec![calls, turn().text("ok")]).build().unwrap();
    let worker = started(Worker::new(agent.clone())).await;
    let run = agent.run("Wait, then delete").session_id("last").await.unwrap();
    let other = agent.run("Wait, then delete").session_id("last").await.unwrap();
    store.approve_all(&run.run_id).await;
    gate("last").arrival().await;
    let shutdown = tokio::spawn(worker.shutdown());
    tokio::time::sleep(SOON).await;
    store.approve_all(&other.run_id).await;
    tokio::time::sleep(SOON * 2).await;
    assert!(!shutdown.is_finished(), "it waits for the body");
    gate("last").open();
    shutdown.await.unwrap();
    assert_eq!(ledger::of("last"), ["wait last"], "the second call and the other run are left to others");
    let left = agent.get_run(&run.run_id).await.unwrap();
    assert!(left.is_paused() && !left.attention, "{left:?}");
    let mut states = store.states(&run.run_id).await;
    states.sort_unstable();
    assert_eq!(states, ["ready", "succeeded"]);
    // Anybody goes on from there.
    let run = agent.continue_run(&run.run_id).await.unwrap();
    assert_eq!(told(&run), ["waited for last", "deleted w8"]);
    assert_eq!(ledger::of("last"), ["wait last", "delete w8"]);
}

#[tokio::test]
async fn i8_what_a_closed_worker_does_not_wait_for_is_unknown_and_not_run_again() {
    let store = Store::new().await;
    let script = one_call("wait_for_it", json!({ "name": "never" }));
    let agent = agent_of(&store, tools![wait_for_it], script).build().unwrap();
    let worker = started(Worker::new(agent.clone()).shutdown_limit(SOON)).await;
    let run = agent.run("Wait").session_id("never").await.unwrap();
    store.approve_all(&run.run_id).await;
    gate("never").arrival().await;
    worker.shutdown().await;
    assert_eq!(store.states(&run.run_id).await, ["unknown"]);
    let left = agent.get_run(&run.run_id).await.unwrap();
    assert!(left.is_paused() && left.attention, "{left:?}");
    let again = started(Worker::new(agent.clone())).await;
    tokio::time::sleep(SOON * 4).await;
    assert_eq!(store.states(&run.run_id).await, ["unknown"]);
    let execution = store.executions(&run.run_id).await.remove(0);
    let settlement = Settlement::succeeded("it had waited").by("admin").note("asked the other side");
    store.db.settle_execution(&execution.id, settlement).await.unwrap();
    let run = ended(&agent, &run.run_id, RunStatus::Completed).await;
    assert_eq!(told(&run), ["it had waited"]);
    assert_eq!(ledger::of("never"), ["wait never"]);
    again.shutdown().await;
}

#[tokio::test]
async fn a_closed_worker_waits_for_no_model_and_the_run_goes_on_elsewhere() {
    let store = Store::new().await;
    let script = || ScriptedModel::new(one_call("delete_user", json!({ "user_id": "w12" })));
    let slow = SlowModel::new(script(), 1, gate("slow model"));
    let agent = agent_of(&store, tools![delete_user], vec![]).model(slow).build().unwrap();
    let worker = started(Worker::new(agent.clone()).shutdown_limit(SOON)).await;
    let run = agent.run("Delete w12").session_id("slow model").await.unwrap();
    store.approve_all(&run.run_id).await;
    gate("slow model").arrival().await;
    worker.shutdown().await;
    assert!(agent.get_run(&run.run_id).await.unwrap().is_paused());
    let other = agent_of(&store, tools![delete_user], vec![]).model(script()).build().unwrap();
    let worker = started(Worker::new(other.clone())).await;
    let run = ended(&other, &run.run_id, RunStatus::Completed).await;
    assert_eq!(told(&run), ["deleted w12"]);
    assert_eq!(ledger::of("slow model"), ["delete w12"]);
    worker.shutdown().await;
}

#[tokio::test]
async fn a_handle_that_is_dropped_lets_the_worker_end() {
    let store = Store::new().await;
    let script = one_call("delete_user", json!({ "user_id": "w9" }));
    let agent = agent_of(&store, tools![delete_user], script).build().unwrap();
    drop(started(Worker::new(agent.clone())).await);
    let run = agent.run("Delete w9").await.unwrap();
    store.approve_all(&run.run_id).await;
    tokio::time::sleep(SOON * 6).await;
    assert!(agent.get_run(&run.run_id).await.unwrap().is_paused());
}

static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
static MOST_AT_ONCE: AtomicUsize = AtomicUsize::new(0);

/// Count how many run at once. An administrator decides.
#[approval]
#[tool]
async fn count_at_once() -> bool {
    MOST_AT_ONCE.fetch_max(AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    AT_ONCE.fetch_sub(1, Ordering::SeqCst);
    true
}

#[tokio::test]
async fn i18_no_more_runs_are_driven_than_the_worker_was_told() {
    let store = Store::new().await;
    let agent = agent_of(&store, tools![count_at_once], one_call("count_at_once", json!({}))).build().unwrap();
    let mut runs = Vec::new();
    for _ in 0..12 {
        let run = agent.run("Count").await.unwrap();
        store.approve_all(&run.run_id).await;
        runs.push(run.run_id);
    }
    let worker = started(Worker::new(agent.clone()).concurrency(3)).await;
    for run_id in &runs {
        ended(&agent, run_id, RunStatus::Completed).await;
    }
    worker.shutdown().await;
    assert!((2..=3).contains(&MOST_AT_ONCE.load(Ordering::SeqCst)), "{MOST_AT_ONCE:?}");
}

#[tokio::test]
async fn a_worker_of_two_agents_goes_on_with_the_runs_of_both() {
    let store = Store::new().await;
    let script = || one_call("delete_user", json!({ "user_id": "w10" }));
    let one = agent_of(&store, tools![delete_user], script()).id("one").build().unwrap();
    let two = agent_of(&store, tools![delete_user], script()).id("two").build().unwrap();
    let worker = started(Worker::new(one.clone()).agent(two.clone())).await;
    for agent in [&one, &two] {
        let run = agent.run("Delete w10").await.unwrap();
        store.approve_all(&run.run_id).await;
        ended(agent, &run.run_id, RunStatus::Completed).await;
    }
    worker.shutdown().await;
}

#[tokio::test]
async fn a_worker_that_could_do_nothing_is_refused() {
    let db: Arc<dyn Db> = Arc::new(InMemoryDb::new());
    let agent = |id: &str| Agent::builder().id(id).model(ScriptedModel::new([])).db(Arc::clone(&db)).build().unwrap();
    for (worker, says) in [
        (Worker::new(agent("a")).concurrency(0), "`.concurrency(0)`"),
        (Worker::new(agent("a")).poll_interval(Duration::ZERO), "`.poll_interval(0ns)`"),
        (Worker::new(agent("a")).pass_interval(Duration::ZERO), "`.pass_interval(0ns)`"),
        (Worker::new(agent("a")).agent(agent("b")).agent(agent("a")), "two agents with the id `a`"),
    ] {
        let refused = worker.await.unwrap_err();
        assert_eq!(refused.code(), "setup");
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

/// Two or more processes on one file.
struct Processes {
    store: Store,
    script: &'static str,
}

impl Processes {
    async fn new(script: &'static str) -> Self {
        Self { store: Store::new().await, script }
    }

    /// A worker whose lease is soon over when it is gone.
    fn worker(&self) -> children::Worker {
        self.worker_that_waits("300")
    }

    /// A worker that waits for the store's lock for so many milliseconds.
    fn worker_that_waits(&self, busy: &str) -> children::Worker {
        let (path, ledger_file) = (self.store.path(), self.store.folder.file("ledger"));
        let arguments: [&dyn AsRef<std::ffi::OsStr>; 4] = [&"keep-working", &self.script, &busy, &path];
        let mut worker = children::Worker::start(env!("CARGO_BIN_EXE_kern-path-worker"), &ledger_file, &arguments);
        assert_eq!(worker.line(), "working");
        worker
    }

    fn ledger(&self) -> Vec<String> {
        ledger::read(&self.store.folder.file("ledger"))
    }

    /// Pauses runs, each for a user of its own, and approves them. Waits for the workers as long as it takes.
    async fn decided(&self, runs: usize) {
        let patient = SqliteDb::builder(self.store.path()).busy_timeout(Duration::from_secs(60)).open().await.unwrap();
        for number in 0..runs {
            let script = one_call("delete_user", json!({ "user_id": format!("u{number}") }));
            let agent = self.store.agent(tools![delete_user], script).id("paths").db(patient.clone());
            let agent = agent.lease(Duration::from_secs(180)).build().unwrap();
            let run = agent.run("Delete somebody").user_id("alice").await.unwrap();
            let pending = ApprovalFilter::new().run_id(&run.run_id);
            let approval = patient.list_approvals(pending).await.unwrap().data.remove(0);
            let yes = Resolution::approved().by("admin");
            patient.update_approval(&approval.id, ApprovalStatus::Pending, yes).await.unwrap();
        }
    }

    async fn completed(&self) -> usize {
        let completed = RunFilter::new().status(RunStatus::Completed).limit(10_000);
        self.store.db.list_runs(completed).await.unwrap().len()
    }

    async fn unknown(&self) -> Vec<kern::db::Execution> {
        self.store.db.list_executions(ExecutionFilter::new().status(ExecutionStatus::Unknown)).await.unwrap()
    }

    fn each_once(&self, runs: usize) {
        let ledger = self.ledger();
        let distinct: HashSet<&String> = ledger.iter().collect();
        assert_eq!((ledger.len(), distinct.len()), (runs, runs), "each body was entered, and once");
    }
}

async fn stopped(mut worker: children::Worker) {
    worker.tell("end");
    assert_eq!(worker.rest(), ["ended"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i6_two_workers_in_two_processes_execute_two_hundred_decided_runs_once_each() {
    const RUNS: usize = 200;
    let processes = Processes::new("delete").await;
    let workers = [processes.worker_that_waits("20000"), processes.worker_that_waits("20000")];
    processes.decided(RUNS).await;
    until("all runs are completed", || async { processes.completed().await == RUNS }).await;
    for worker in workers {
        stopped(worker).await;
    }
    processes.each_once(RUNS);
    assert!(processes.store.db.audit().verify().await.unwrap().is_intact());
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_what_a_killed_worker_leaves_is_taken_over_by_the_other() {
    const RUNS: usize = 200;
    let processes = Processes::new("delete").await;
    processes.decided(RUNS).await;
    let (victim, heir) = (processes.worker(), processes.worker());
    until("half of them have run", || async { processes.ledger().len() >= RUNS / 2 }).await;
    victim.kill();
    let over = || async { processes.completed().await + processes.unknown().await.len() == RUNS };
    until("all runs are completed or known to be unknown", over).await;
    let unknown = processes.unknown().await;
    assert!(unknown.len() <= 8, "no more than it drove at the same time: {}", unknown.len());
    for execution in unknown {
        let settlement = Settlement::succeeded("looked").by("admin").note("looked");
        processes.store.db.settle_execution(&execution.id, settlement).await.unwrap();
    }
    until("all runs are completed", || async { processes.completed().await == RUNS }).await;
    stopped(heir).await;
    let ledger = processes.ledger();
    let distinct: HashSet<&String> = ledger.iter().collect();
    assert_eq!(ledger.len(), distinct.len(), "no body was entered twice");
    // The one that was killed may have had its claims and not its bodies: those were unknown.
    assert!(ledger.len() >= RUNS - 8, "{}", ledger.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_3_a_worker_that_was_stopped_past_its_lease_changes_nothing_when_it_goes_on() {
    let processes = Processes::new("linger-two").await;
    let store = &processes.store;
    let run_id = {
        let path = store.path();
        let arguments: [&dyn AsRef<std::ffi::OsStr>; 4] = [&"pause", &"linger-two", &"300", &path];
        let ledger_file = store.folder.file("ledger");
        let paused = children::Worker::start(env!("CARGO_BIN_EXE_kern-path-worker"), &ledger_file, &arguments);
        RunId::from(paused.rest().remove(0))
    };
    store.approve_all(&run_id).await;
    let mut stalled = processes.worker();
    assert_eq!(stalled.line(), "in the body");
    stalled.signal("STOP");
    let heir = processes.worker();
    until("the call is unknown", || async { !processes.unknown().await.is_empty() }).await;
    let execution = processes.unknown().await.remove(0);
    let settlement = Settlement::succeeded("u1 is gone").by("admin").note("looked");
    store.db.settle_execution(&execution.id, settlement).await.unwrap();
    until("the run is completed", || async { processes.completed().await == 1 }).await;
    let before = store.db.audit_head().await.unwrap();
    stalled.signal("CONT");
    // It comes back from its body, and out of it as a worker that has nothing to do.
    stalled.tell("come back");
    stopped(stalled).await;
    stopped(heir).await;
    assert_eq!(processes.ledger(), ["linger u1", "delete u2"]);
    let after = store.db.audit_entries(before, 100).await.unwrap();
    assert!(after.iter().all(|entry| entry.evidence), "what it still said is evidence: {after:?}");
    let agent = store.agent(tools![lookup], vec![]).id("paths").build().unwrap();
    assert_eq!(told(&agent.get_run(&run_id).await.unwrap()), ["u1 is gone", "deleted u2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn i18_ten_thousand_paused_runs_are_looked_at_without_a_task_or_a_snapshot_of_each() {
    let runs = kern_tests::scale::of(10_000);
    let store = Store::new().await;
    let db: SqliteDb = store.db.clone();
    let begun = kern_tests::steps::begin(&RunId::from("first"));
    // Straight into the store: the pauses are not what this is about.
    let pause = |number: usize| {
        let (db, mut begin) = (db.clone(), begun.clone());
        async move {
            begin.run_id = RunId::generate();
            let claim = kern_db::RunClaim::first(&begin.run_id);
            let commit = kern_tests::steps::turn(&claim, 1, &[kern_tests::steps::required()], true);
            db.begin_with_turn(begin, commit).await.unwrap_or_else(|error| panic!("{number}: {error}"))
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..runs {
        tasks.spawn(pause(number));
        if tasks.len() >= 64 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    while tasks.join_next().await.is_some() {}
    let agent = agent_of(&store, tools![delete_user], one_call("delete_user", json!({ "user_id": "w11" })));
    let agent = agent.build().unwrap();
    let run = agent.run("Delete w11").await.unwrap();
    store.approve_all(&run.run_id).await;
    let begun = Instant::now();
    let worker = Worker::new(agent.clone()).poll_interval(NEVER).pass_interval(NEVER).await.unwrap();
    ended(&agent, &run.run_id, RunStatus::Completed).await;
    kern_tests::scale::figure(
        &format!("a worker finds the one decided run behind {runs} paused ones, in ms"),
        begun.elapsed().as_millis(),
    );
    worker.shutdown().await;
}
