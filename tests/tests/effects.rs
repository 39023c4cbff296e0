//! What a tool promises about lost starts: retries with one key, writes that are committed with the outcome, and probes.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use kern::agent::AgentBuilder;
use kern::db::{Effect, ExecutionFilter, ExecutionStatus, InMemoryDb, Settlement};
use kern::models::ScriptedModel;
use kern::prelude::*;
use kern::run::RunId;
use kern::tools::{Probed, ToolError, ToolHandle, TransactionError};
use kern::worker::Worker;
use kern_tests::children;
use kern_tests::gates::gate;
use kern_tests::ledger::{self, enter};
use kern_tests::store::{SHORT_LEASE, Store, code, one_call, told};
use serde_json::Value;

/// Where the application's own rows are.
fn stock(store: &Store) {
    store
        .raw()
        .execute_batch("CREATE TABLE stock (chairs INTEGER CHECK (chairs >= 0)); INSERT INTO stock VALUES (5)")
        .unwrap();
}

fn chairs(store: &Store) -> i64 {
    store.raw().query_row("SELECT chairs FROM stock", (), |row| row.get(0)).unwrap()
}

fn builder(store: &Store, tools: Vec<ToolHandle>, name: &str, arguments: Value) -> AgentBuilder {
    store.agent(tools, one_call(name, arguments)).lease(SHORT_LEASE)
}

/// Asks in a session of its own, and approves.
async fn approved(store: &Store, agent: &Agent, session: &str) -> RunId {
    let run = agent.run("Do it").user_id("alice").session_id(session).await.unwrap();
    store.approve_all(&run.run_id).await;
    run.run_id
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come to this: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn noted(ctx: &RunContext) -> String {
    format!("{} {}", ctx.attempt(), ctx.idempotency_key())
}

/// Pay, and panic as often as it is told.
#[approval]
#[tool(effect = "idempotent")]
async fn pay(panics: u32, ctx: &RunContext) -> u32 {
    enter(ctx, noted(ctx));
    assert!(ctx.attempt() > panics, "as it was told");
    ctx.attempt()
}

/// Pay once, and panic.
#[approval]
#[tool]
async fn pay_once(ctx: &RunContext) -> u32 {
    enter(ctx, noted(ctx));
    panic!("as ever")
}

/// Pay, slowly at first.
#[approval]
#[tool(effect = "idempotent", timeout = "100ms")]
async fn pay_slowly(ctx: &RunContext) -> u32 {
    enter(ctx, noted(ctx));
    if ctx.attempt() == 1 {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    ctx.attempt()
}

/// Every start of one call: its attempts, and that all had one key.
fn attempts(session: &str) -> Vec<String> {
    let lines = ledger::of(session);
    let keys: std::collections::HashSet<&str> = lines.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(keys.len() <= 1, "one key for all of them: {lines:?}");
    lines.iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_body_that_panics_is_entered_again_with_the_same_key() {
    let store = Store::new().await;
    let agent = builder(&store, tools![pay], "pay", json!({ "panics": 1 })).build().unwrap();
    let run_id = approved(&store, &agent, "again").await;
    let run = agent.continue_run(&run_id).await.unwrap();
    assert_eq!(told(&run), ["2"]);
    assert_eq!(attempts("again"), ["1", "2"]);
    let execution = store.executions(&run_id).await.remove(0);
    assert_eq!((execution.status, execution.attempt), (ExecutionStatus::Succeeded, 2));
    assert_eq!(ledger::of("again")[0].split(' ').nth(1), Some(execution.idempotency_key().as_str()));
    assert_eq!(store.count_actions(&run_id, "executing").await, 2, "a claim of its own for each start");
    assert_eq!(store.count_actions(&run_id, "retry").await, 1);
}

#[tokio::test]
async fn a_body_that_always_panics_is_entered_three_times_and_is_unknown() {
    let store = Store::new().await;
    let agent = builder(&store, tools![pay], "pay", json!({ "panics": 9 })).build().unwrap();
    let run_id = approved(&store, &agent, "always").await;
    let run = agent.continue_run(&run_id).await.unwrap();
    assert!(run.is_paused() && run.attention);
    assert_eq!(store.states(&run_id).await, ["unknown"]);
    assert_eq!(code(agent.continue_run(&run_id).await), "execution_unknown");
    assert!(agent.resume_decided_runs().await.unwrap().is_empty());
    assert_eq!(attempts("always"), ["1", "2", "3"]);
}

#[tokio::test]
async fn i6_a_body_that_may_run_once_is_entered_once() {
    let store = Store::new().await;
    let agent = builder(&store, tools![pay_once], "pay_once", json!({})).build().unwrap();
    let run_id = approved(&store, &agent, "once").await;
    assert!(agent.continue_run(&run_id).await.unwrap().attention);
    assert_eq!(code(agent.continue_run(&run_id).await), "execution_unknown");
    assert_eq!(attempts("once"), ["1"]);
}

#[tokio::test]
async fn a_body_past_its_timeout_is_entered_again() {
    let store = Store::new().await;
    let agent = builder(&store, tools![pay_slowly], "pay_slowly", json!({})).build().unwrap();
    let run_id = approved(&store, &agent, "slowly").await;
    assert_eq!(told(&agent.continue_run(&run_id).await.unwrap()), ["2"]);
    assert_eq!(attempts("slowly"), ["1", "2"]);
}

#[tokio::test]
async fn whoever_watches_is_told_of_every_start() {
    let store = Store::new().await;
    let agent = builder(&store, tools![pay], "pay", json!({ "panics": 1 })).build().unwrap();
    let run_id = approved(&store, &agent, "watched").await;
    let mut events = agent.continue_run(&run_id).stream();
    let mut told = Vec::new();
    while let Some(event) = events.next().await {
        match event.unwrap() {
            RunEvent::ToolCallStarted { .. } => told.push("started"),
            RunEvent::ToolCallError { content, .. } => {
                assert_eq!(content, "the tool panicked");
                told.push("lost");
            }
            RunEvent::ToolCallCompleted { .. } => told.push("completed"),
            _ => {}
        }
    }
    assert_eq!(told, ["started", "lost", "started", "completed"]);
}

#[tokio::test]
async fn i9_a_cancelled_run_starts_nothing_again() {
    let store = Store::new().await;
    let agent = builder(&store, tools![pay_at_gate], "pay_at_gate", json!({})).build().unwrap();
    let run_id = approved(&store, &agent, "cancelled").await;
    let driven = tokio::spawn(std::future::IntoFuture::into_future(agent.continue_run(&run_id)));
    gate("cancelled").arrival().await;
    agent.cancel_run(&run_id).await.unwrap();
    gate("cancelled").open();
    let _ = driven.await.unwrap();
    assert_eq!(attempts("cancelled"), ["1"]);
    assert_eq!(store.states(&run_id).await, ["unknown"]);
}

/// Pay, wait, and panic.
#[approval]
#[tool(effect = "idempotent")]
async fn pay_at_gate(ctx: &RunContext) -> u32 {
    enter(ctx, noted(ctx));
    gate("cancelled").pass().await;
    panic!("after the run was cancelled")
}

/// The same tool in two builds: it may be started again in one, and not in the other.
mod builds {
    pub(super) mod before {
        use kern::prelude::*;
        use kern_tests::ledger::enter;

        /// Ship it.
        #[approval]
        #[tool(effect = "idempotent")]
        pub(crate) async fn ship(ctx: &RunContext) -> u32 {
            enter(ctx, "shipped");
            panic!("on the way")
        }
    }

    pub(super) mod after {
        use kern::prelude::*;
        use kern_tests::ledger::enter;

        /// Ship it.
        #[approval]
        #[tool]
        pub(crate) async fn ship(ctx: &RunContext) -> u32 {
            enter(ctx, "shipped");
            panic!("on the way")
        }
    }
}

#[tokio::test]
async fn i6_a_build_whose_body_may_run_once_does_not_start_it_again_for_an_older_promise() {
    let store = Store::new().await;
    let before = builder(&store, tools![builds::before::ship], "ship", json!({})).build().unwrap();
    let after = builder(&store, tools![builds::after::ship], "ship", json!({})).build().unwrap();
    let run_id = approved(&store, &before, "two builds").await;
    assert_eq!(code(after.continue_run(&run_id).await), "tool_changed");
    assert_eq!(ledger::of("two builds"), [] as [&str; 0]);
    assert!(before.continue_run(&run_id).await.unwrap().attention);
    assert_eq!(ledger::of("two builds").len(), 3);

    // The other way round the stored promise is the stricter one, and counts.
    let run_id = approved(&store, &after, "two builds again").await;
    assert!(before.continue_run(&run_id).await.unwrap().attention);
    assert_eq!(ledger::of("two builds again").len(), 1);
}

/// Take chairs, and end as it is told.
#[approval]
#[tool(effect = "transactional")]
async fn take(chairs: u32, ends: String, ctx: &RunContext) -> Result<String, ToolError> {
    enter(ctx, format!("take {}", ctx.attempt()));
    ctx.transaction().execute("UPDATE stock SET chairs = chairs - ?", (chairs,))?;
    match ends.as_str() {
        "in a panic once" => assert!(ctx.attempt() > 1, "as it was told"),
        "in an error" => return Err(ToolError::new("changed my mind")),
        "with kern's own tables" => ctx.transaction().execute("UPDATE kern_runs SET status = 'COMPLETED'", ())?,
        "with a commit" => ctx.transaction().execute("COMMIT", ())?,
        _ => {}
    }
    Ok("taken".to_owned())
}

#[tokio::test]
async fn what_a_tool_writes_is_committed_with_its_outcome_or_not_at_all() {
    for (case, takes, ends, says, left) in [
        ("well", 2, "well", "taken", 3),
        ("panic", 2, "in a panic once", "taken", 3),
        ("error", 2, "in an error", "changed my mind", 5),
        ("constraint", 6, "well", "CHECK constraint", 5),
        ("kern", 2, "with kern's own tables", "kern", 5),
        ("commit", 2, "with a commit", "COMMIT", 5),
    ] {
        let store = Store::new().await;
        stock(&store);
        let arguments = json!({ "chairs": takes, "ends": ends });
        let agent = builder(&store, tools![take], "take", arguments).build().unwrap();
        let run_id = approved(&store, &agent, case).await;
        let run = agent.continue_run(&run_id).await.unwrap();
        assert_eq!(run.status, RunStatus::Completed, "{case}");
        assert!(told(&run)[0].contains(says) || says == "COMMIT" || says == "kern", "{case}: {:?}", told(&run));
        assert_eq!(chairs(&store), left, "{case}: {:?}", told(&run));
        let execution = store.executions(&run_id).await.remove(0);
        let succeeded = left != 5;
        assert_eq!(execution.status == ExecutionStatus::Succeeded, succeeded, "{case}: {execution:?}");
        // What is told now is what another process would be told later.
        let said = if succeeded { execution.result } else { execution.error };
        assert_eq!(said.as_deref(), Some(told(&run)[0].as_str()), "{case}");
        let starts = if case == "panic" { 2 } else { 1 };
        assert_eq!(ledger::of(case).len(), starts, "{case}");
        assert!(store.db.audit().verify().await.unwrap().is_intact());
    }
}

/// Take a chair, without anybody who is asked.
#[tool(effect = "transactional")]
async fn take_freely(ctx: &RunContext) -> Result<String, ToolError> {
    ctx.transaction().execute("UPDATE stock SET chairs = chairs - 1", ())?;
    Ok("taken".to_owned())
}

#[tokio::test]
async fn a_transactional_tool_that_nobody_is_asked_about_has_a_record_to_be_committed_with() {
    let store = Store::new().await;
    stock(&store);
    let agent = builder(&store, tools![take_freely], "take_freely", json!({})).build().unwrap();
    let run = agent.run("Take one").await.unwrap();
    assert_eq!((run.status, told(&run)), (RunStatus::Completed, vec!["taken".to_owned()]));
    assert_eq!(chairs(&store), 4);
    assert_eq!(store.states(&run.run_id).await, ["succeeded"]);
}

/// Take a chair, with a transaction that is not there.
#[approval]
#[tool]
async fn take_wrongly(ctx: &RunContext) -> Result<String, TransactionError> {
    ctx.transaction().execute("UPDATE stock SET chairs = chairs - 1", ())?;
    Ok("taken".to_owned())
}

#[tokio::test]
async fn a_tool_that_is_not_transactional_has_no_transaction() {
    let store = Store::new().await;
    stock(&store);
    let agent = builder(&store, tools![take_wrongly], "take_wrongly", json!({})).build().unwrap();
    let run_id = approved(&store, &agent, "wrongly").await;
    let run = agent.continue_run(&run_id).await.unwrap();
    assert!(told(&run)[0].contains("not transactional"), "{:?}", told(&run));
    assert_eq!((chairs(&store), store.states(&run_id).await), (5, vec!["failed"]));
}

static KEPT: Mutex<Option<RunContext>> = Mutex::new(None);

/// Take a chair, and keep the context.
#[approval]
#[tool(effect = "transactional")]
async fn take_and_keep(ctx: &RunContext) -> String {
    *KEPT.lock().unwrap() = Some(ctx.clone());
    "taken".to_owned()
}

#[tokio::test]
async fn a_context_that_outlives_its_body_writes_nothing() {
    let store = Store::new().await;
    stock(&store);
    let agent = builder(&store, tools![take_and_keep], "take_and_keep", json!({})).build().unwrap();
    let run_id = approved(&store, &agent, "kept").await;
    agent.continue_run(&run_id).await.unwrap();
    let kept = KEPT.lock().unwrap().take().unwrap();
    let late = kept.transaction().execute("UPDATE stock SET chairs = 0", ());
    assert_eq!(late, Err(TransactionError::Ended));
    assert_eq!(chairs(&store), 5);
}

#[tokio::test]
async fn a_transactional_tool_is_refused_where_nothing_keeps_what_it_writes() {
    for tool in [tools![take], tools![take_freely]] {
        let agent = Agent::builder().model(ScriptedModel::new([])).tools(tool).db(InMemoryDb::new());
        let refused = agent.build().unwrap_err();
        assert_eq!(refused.code(), "policy_unsatisfiable");
        assert!(refused.to_string().contains("`.db(SqliteDb::open("), "{refused}");
    }
    let refused = Agent::builder().model(ScriptedModel::new([])).tools(tools![take_freely]).build().unwrap_err();
    assert_eq!(refused.code(), "policy_unsatisfiable");
}

/// Pay at a bank that is asked when nobody knows.
#[approval]
#[tool(probe = ask_bank)]
async fn pay_at_bank(finds: String, ctx: &RunContext) -> String {
    enter(ctx, noted(ctx));
    panic!("after {finds}")
}

async fn ask_bank(ctx: &RunContext) -> Result<Probed, ToolError> {
    enter(ctx, format!("asked {}", ctx.idempotency_key()));
    assert_eq!(ctx.transaction().execute("DELETE FROM stock", ()), Err(TransactionError::NotTransactional));
    match ctx.arguments()["finds"].as_str().unwrap_or_default() {
        "it" => Ok(Probed::succeeded("receipt 7")),
        "an error" => Ok(Probed::failed("no money")),
        "nothing" => Ok(Probed::NotStarted),
        "no bank" => Err(ToolError::new("the bank is closed")),
        "a bug" => panic!("in the probe"),
        _ => Ok(Probed::Unknown),
    }
}

#[tokio::test]
async fn a_probe_says_what_became_of_a_call_and_starts_nothing() {
    for (finds, status, says) in [
        ("it", Some(ExecutionStatus::Succeeded), "receipt 7"),
        ("an error", Some(ExecutionStatus::Failed), "no money"),
        ("nothing", Some(ExecutionStatus::Abandoned), "The function was not called"),
        ("no bank", None, ""),
        ("a bug", None, ""),
        ("no word", None, ""),
    ] {
        let store = Store::new().await;
        let agent = builder(&store, tools![pay_at_bank], "pay_at_bank", json!({ "finds": finds })).build().unwrap();
        let session = format!("bank {finds}");
        let run_id = approved(&store, &agent, &session).await;
        assert!(agent.continue_run(&run_id).await.unwrap().attention, "{finds}");
        let continued = agent.continue_run(&run_id).user_id("bob").await;
        let execution = store.executions(&run_id).await.remove(0);
        match status {
            Some(status) => {
                assert_eq!(execution.status, status, "{finds}");
                assert!(told(&continued.unwrap())[0].starts_with(says), "{finds}");
                assert_eq!(execution.settled_by.as_deref(), Some("the tool's probe"));
            }
            None => {
                assert_eq!(code(continued), "execution_unknown", "{finds}");
                assert_eq!(execution.status, ExecutionStatus::Unknown, "{finds}");
                let word = Settlement::succeeded("seen").by("admin").note("called the bank");
                store.db.settle_execution(&execution.id, word).await.unwrap();
                assert_eq!(told(&agent.continue_run(&run_id).await.unwrap()), ["seen"]);
            }
        }
        let lines = ledger::of(&session);
        let (started, asked): (Vec<&String>, Vec<&String>) = lines.iter().partition(|line| line.starts_with("1 "));
        assert_eq!((started.len(), asked.len()), (1, 1), "{finds}: {lines:?}");
        assert_eq!(asked[0].split(' ').next_back(), started[0].split(' ').next_back(), "with the key of the start");
    }
}

#[tokio::test]
async fn the_worker_asks_the_probe_and_goes_on() {
    let store = Store::new().await;
    let agent = builder(&store, tools![pay_at_bank], "pay_at_bank", json!({ "finds": "it" })).build().unwrap();
    let worker = Worker::new(agent.clone()).poll_interval(Duration::from_millis(50)).await.unwrap();
    let run_id = approved(&store, &agent, "the worker asks").await;
    until("it is completed", || async { agent.get_run(&run_id).await.unwrap().status == RunStatus::Completed }).await;
    assert_eq!(told(&agent.get_run(&run_id).await.unwrap()), ["receipt 7"]);
    worker.shutdown().await;
}

#[tokio::test]
async fn a_call_that_is_run_again_is_asked_anew_and_has_the_same_key() {
    let store = Store::new().await;
    let agent = builder(&store, tools![pay], "pay", json!({ "panics": 3 })).build().unwrap();
    let run_id = approved(&store, &agent, "run again").await;
    assert!(agent.continue_run(&run_id).await.unwrap().attention);
    let unknown = store.executions(&run_id).await.remove(0);
    let again = Settlement::run_again().by("admin").note("the bank never heard of it");
    store.db.settle_execution(&unknown.id, again).await.unwrap();
    let run = agent.get_run(&run_id).await.unwrap();
    assert!(run.is_paused() && run.active_requirements().count() == 1, "{run:?}");
    assert_eq!(code(agent.continue_run(&run_id).await), "approval_pending");
    assert_eq!(attempts("run again").len(), 3, "the old approval starts nothing");
    store.approve_all(&run_id).await;
    let _ = agent.continue_run(&run_id).await.unwrap();
    let lines = attempts("run again");
    assert_eq!(lines[..4], ["1", "2", "3", "1"], "a row of its own, and one key");
}

/// A process that is killed in a body, and a worker that goes on.
struct Killed {
    store: Store,
    run_id: RunId,
}

impl Killed {
    async fn new(script: &str) -> Self {
        let store = Store::new().await;
        stock(&store);
        let process = |command: &str| {
            let (path, ledger_file) = (store.path(), store.folder.file("ledger"));
            let words: [&dyn AsRef<std::ffi::OsStr>; 4] = [&command, &script, &"300", &path];
            children::Worker::start(env!("CARGO_BIN_EXE_kern-path-worker"), &ledger_file, &words)
        };
        let run_id = RunId::from(process("pause").rest().remove(0));
        store.approve_all(&run_id).await;
        let mut victim = process("keep-working");
        assert_eq!(victim.line(), "working");
        assert_eq!(victim.line(), "in the body");
        victim.kill();
        let mut heir = process("keep-working");
        assert_eq!(heir.line(), "working");
        let succeeded = || async {
            let done = ExecutionFilter::new().status(ExecutionStatus::Succeeded);
            !store.db.list_executions(done).await.unwrap().is_empty()
        };
        until("the other one has done it", succeeded).await;
        heir.tell("end");
        assert_eq!(heir.rest(), ["ended"]);
        Self { store, run_id }
    }

    fn ledger(&self) -> Vec<String> {
        ledger::read(&self.store.folder.file("ledger"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_call_whose_process_is_killed_is_made_again_with_the_same_key() {
    let killed = Killed::new("pay-again").await;
    let execution = killed.store.executions(&killed.run_id).await.remove(0);
    let key = execution.idempotency_key();
    assert_eq!(killed.ledger(), [format!("pay ann 1 {key}"), format!("pay ann 2 {key}")]);
    assert_eq!(killed.store.count_actions(&killed.run_id, "retry").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transactional_call_whose_process_is_killed_has_its_effect_exactly_once() {
    let killed = Killed::new("take-chair").await;
    assert_eq!(killed.ledger(), ["take 1", "take 2"]);
    assert_eq!(chairs(&killed.store), 4);
    let execution = killed.store.executions(&killed.run_id).await.remove(0);
    assert_eq!((execution.status, execution.attempt), (ExecutionStatus::Succeeded, 2));
}

#[tokio::test]
async fn a_stored_effect_is_what_counts_whatever_was_written_into_the_row() {
    // Somebody makes a call that may run once one that may run again: its digest says otherwise.
    let store = Store::new().await;
    let agent = builder(&store, tools![pay_once], "pay_once", json!({})).build().unwrap();
    let run_id = approved(&store, &agent, "made again").await;
    let raw = store.raw();
    kern_tests::steps::drop_triggers(&raw);
    for table in ["calls", "approvals"] {
        let sql =
            format!("UPDATE kern_{table} SET policy = replace(policy, '\"once\"', '\"idempotent\"') WHERE run_id = ?");
        assert_eq!(raw.execute(&sql, [run_id.as_str()]).unwrap(), 1);
    }
    let policy = store.db.get_run(&run_id).await.unwrap().calls.remove(0).policy;
    assert_eq!(policy.effect, Effect::Idempotent);
    let refused = code(agent.continue_run(&run_id).await);
    assert!(["tool_changed", "digest_mismatch"].contains(&refused), "{refused}");
    assert_eq!(ledger::of("made again"), [] as [&str; 0]);
}
