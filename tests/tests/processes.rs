//! Several processes on one store: paused in one, approved in a second, resumed in a third; raced for; killed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kern::db::{Db as _, ExecutionStatus, Settlement, SqliteDb};
use kern::models::ScriptedModel;
use kern::prelude::*;
use kern::run::RunId;
use kern_tests::children::Worker;
use kern_tests::ledger;
use kern_tests::store::{Store, code, told};

/// Milliseconds a process waits for a lock: long enough for nobody to wait in vain.
const PATIENT: &str = "5000";
/// The same for a process that is killed: short enough to wait until its lease, three times as long, is over.
const SHORT: &str = "200";

struct Processes {
    store: Store,
    script: &'static str,
}

impl Processes {
    async fn new(script: &'static str) -> Self {
        Self { store: Store::new().await, script }
    }

    fn ledger_file(&self) -> PathBuf {
        self.store.folder.file("ledger")
    }

    fn ledger(&self) -> Vec<String> {
        ledger::read(&self.ledger_file())
    }

    fn start(&self, command: &str, words: &[&str]) -> Worker {
        self.start_with(PATIENT, command, words)
    }

    /// Starts the process that is to be killed.
    fn victim(&self, command: &str, run_id: &RunId) -> Worker {
        self.start_with(SHORT, command, &[run_id.as_str()])
    }

    fn start_with(&self, busy: &str, command: &str, words: &[&str]) -> Worker {
        let path = self.store.path();
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&command, &self.script, &busy, &path];
        arguments.extend(words.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
        Worker::start(env!("CARGO_BIN_EXE_kern-path-worker"), &self.ledger_file(), &arguments)
    }

    fn run(&self, command: &str, words: &[&str]) -> Vec<String> {
        self.start(command, words).rest()
    }

    /// Pauses in one process and approves in another.
    fn approved(&self) -> RunId {
        let run_id = self.run("pause", &[]).remove(0);
        assert_eq!(self.run("approve", &[&run_id]), ["approved"]);
        RunId::from(run_id)
    }
}

#[tokio::test]
async fn a_run_paused_in_one_process_and_approved_in_a_second_is_resumed_in_a_third() {
    let processes = Processes::new("delete").await;
    let run_id = processes.run("pause", &[]).remove(0);
    assert_eq!(processes.run("resume", &[&run_id]), ["approval_pending"]);
    assert_eq!(processes.ledger(), [] as [&str; 0]);
    assert_eq!(processes.run("approve", &[&run_id]), ["approved"]);
    assert_eq!(processes.run("resume", &[&run_id]), ["COMPLETED"]);
    assert_eq!(processes.ledger(), ["delete u1"]);
    assert_eq!(processes.run("resume", &[&run_id]), ["not_paused"]);
    assert_eq!(processes.ledger(), ["delete u1"]);

    let run_id = RunId::from(run_id);
    assert_eq!(processes.store.states(&run_id).await, ["succeeded"]);
    let mut actions = processes.store.actions(&run_id).await;
    actions.retain(|action| action != "run_paused" && action != "requested");
    let after = ["voted", "approved", "ready", "run_claimed", "executing", "succeeded", "run_completed"];
    assert_eq!(actions.split_first().map(|(first, _)| first.as_str()), Some("run_started"));
    assert_eq!(actions[1..], after);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_processes_with_eight_tasks_each_one_runs_the_tool_once() {
    let processes = Processes::new("delete").await;
    let run_id = processes.approved();
    let mut racers: Vec<Worker> = (0..8).map(|_| processes.start("race", &[run_id.as_str(), "8"])).collect();
    for racer in &mut racers {
        assert_eq!(racer.line(), "ready");
    }
    for racer in &mut racers {
        racer.tell("go");
    }
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for outcome in racers.into_iter().flat_map(Worker::rest) {
        *outcomes.entry(outcome).or_default() += 1;
    }
    assert_eq!(processes.ledger(), ["delete u1"], "{outcomes:?}");
    assert_eq!(outcomes.values().sum::<usize>(), 64, "{outcomes:?}");
    assert_eq!(outcomes.remove("COMPLETED"), Some(1), "{outcomes:?}");
    assert!(outcomes.keys().all(|code| ["already_running", "not_paused"].contains(&code.as_str())), "{outcomes:?}");
    assert_eq!(processes.store.states(&run_id).await, ["succeeded"]);
    assert_eq!(processes.store.count_actions(&run_id, "executing").await, 1);
    assert_eq!(processes.store.count_actions(&run_id, "run_claimed").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_four_tasks_in_one_process_one_runs_the_tool_once() {
    let processes = Processes::new("delete").await;
    let run_id = processes.approved();
    let mut racer = processes.start("race", &[run_id.as_str(), "64"]);
    assert_eq!(racer.line(), "ready");
    racer.tell("go");
    let mut outcomes = racer.rest();
    assert_eq!(outcomes.len(), 64);
    outcomes.sort_unstable();
    outcomes.dedup();
    assert_eq!(processes.ledger(), ["delete u1"], "{outcomes:?}");
    assert!(outcomes.contains(&"COMPLETED".to_owned()), "{outcomes:?}");
    let expected = ["COMPLETED", "already_running", "not_paused"];
    assert!(outcomes.iter().all(|outcome| expected.contains(&outcome.as_str())), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_in_the_body_leaves_an_unknown_call_that_nothing_runs_again() {
    let processes = Processes::new("hang").await;
    let store = &processes.store;
    let run_id = processes.approved();
    let mut owner = processes.victim("resume", &run_id);
    assert_eq!(owner.line(), "in the body");
    assert_eq!(processes.run("resume", &[run_id.as_str()]), ["already_running"]);
    owner.kill();
    assert_eq!(processes.ledger(), ["hang u1"]);
    store.lapsed(&run_id).await;

    // Recovered by whoever meets it first; then it is unknown for everybody.
    assert_eq!(processes.run("resume", &[run_id.as_str()]), ["execution_unknown"]);
    assert_eq!(store.states(&run_id).await, ["unknown"]);
    assert_eq!(processes.run("resume-as-requester", &[run_id.as_str()]), ["execution_unknown"]);
    assert_eq!(processes.run("work", &[]), [] as [&str; 0]);
    let mut racers: Vec<Worker> = (0..4).map(|_| processes.start("race", &[run_id.as_str(), "4"])).collect();
    for racer in &mut racers {
        assert_eq!(racer.line(), "ready");
        racer.tell("go");
    }
    let outcomes: Vec<String> = racers.into_iter().flat_map(Worker::rest).collect();
    assert_eq!(outcomes, vec!["execution_unknown"; 16]);
    assert_eq!(processes.ledger(), ["hang u1"]);

    let execution = store.executions(&run_id).await.remove(0);
    let refused =
        store.db.settle_execution(&execution.id, Settlement::succeeded("gone").by("alice").note("seen")).await;
    assert_eq!(refused.unwrap_err().code(), "not_permitted");
    let settled =
        store.db.settle_execution(&execution.id, Settlement::succeeded("u1 is gone").by("admin").note("seen")).await;
    assert_eq!(settled.unwrap().status, ExecutionStatus::Succeeded);
    assert_eq!(processes.run("work", &[]), ["COMPLETED"]);
    assert_eq!(processes.ledger(), ["hang u1"]);
    let actions = store.actions(&run_id).await;
    for (action, times) in
        [("executing", 1), ("unknown", 1), ("run_recovered", 1), ("settled", 1), ("run_completed", 1)]
    {
        assert_eq!(actions.iter().filter(|found| *found == action).count(), times, "{action} in {actions:?}");
    }

    // What the model was told is what the settler said, not what anybody guessed.
    let reader = Agent::builder().id("paths").model(ScriptedModel::new([])).db(store.db.clone()).build().unwrap();
    assert_eq!(told(&reader.get_run(&run_id).await.unwrap()), ["u1 is gone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_between_the_runs_claim_and_the_first_calls_claim_costs_nothing() {
    for recovered_by in ["resume", "work"] {
        let processes = Processes::new("delete").await;
        let run_id = processes.approved();
        let mut owner = processes.victim("claim", &run_id);
        assert_eq!(owner.line(), "claimed");
        assert_eq!(processes.run("resume", &[run_id.as_str()]), ["already_running"]);
        owner.kill();
        processes.store.lapsed(&run_id).await;
        let words: &[&str] = if recovered_by == "resume" { &[run_id.as_str()] } else { &[] };
        assert_eq!(processes.run(recovered_by, words), ["COMPLETED"], "{recovered_by}");
        assert_eq!(processes.ledger(), ["delete u1"], "{recovered_by}");
        assert_eq!(processes.store.states(&run_id).await, ["succeeded"]);
        assert_eq!(processes.store.count_actions(&run_id, "executing").await, 1);
        assert_eq!(processes.store.count_actions(&run_id, "run_recovered").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_recover_the_same_run_start_its_call_once() {
    let processes = Processes::new("delete").await;
    let run_id = processes.approved();
    let mut owner = processes.victim("claim", &run_id);
    assert_eq!(owner.line(), "claimed");
    owner.kill();
    let mut racers: Vec<Worker> = (0..4).map(|_| processes.start("race", &[run_id.as_str(), "4"])).collect();
    for racer in &mut racers {
        assert_eq!(racer.line(), "ready");
    }
    processes.store.lapsed(&run_id).await;
    for racer in &mut racers {
        racer.tell("go");
    }
    let outcomes: Vec<String> = racers.into_iter().flat_map(Worker::rest).collect();
    assert_eq!(processes.ledger(), ["delete u1"], "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "COMPLETED").count(), 1, "{outcomes:?}");
    let expected = ["COMPLETED", "already_running", "not_paused"];
    assert!(outcomes.iter().all(|outcome| expected.contains(&outcome.as_str())), "{outcomes:?}");
    assert_eq!(processes.store.count_actions(&run_id, "executing").await, 1);
}

#[tokio::test]
async fn an_agent_of_another_id_neither_sees_nor_resumes_the_run() {
    let processes = Processes::new("delete").await;
    let run_id = processes.approved();
    let db: SqliteDb = processes.store.again().await;
    let other = Agent::builder().id("other").model(ScriptedModel::new([])).db(db).build().unwrap();
    assert_eq!(code(other.get_run(&run_id).await), "run_not_found");
    assert_eq!(code(other.continue_run(&run_id).await), "run_not_found");
    assert_eq!(code(other.cancel_run(&run_id).await), "run_not_found");
    assert!(other.resume_decided_runs().await.unwrap().is_empty());
    assert_eq!(processes.run("resume", &[run_id.as_str()]), ["COMPLETED"]);
}
