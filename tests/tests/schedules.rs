//! The schedules of the approval specification that an agent can be driven through: something happens in the middle.
//!
//! Where each of the first eighteen is tested, by `schedule_N_…` in the names:
//!
//! | # | What happens | Through an agent or in processes | On each store |
//! |---|---|---|---|
//! | 1 | killed after the run's claim, before the call's | here; every other place: `faults/crash_points.rs` | |
//! | 2 | an older turn is claimed | here | `contract/schedules.rs` |
//! | 3 | the owner stands still past its lease | here, `worker.rs` | `contract/schedules.rs` |
//! | 4 | cancelled before a turn, between calls, in a body | here | `contract/schedules.rs` |
//! | 5 | `valid_until` passes with nobody sweeping | `policies.rs` | `contract/schedules.rs`, `contract/sweeping.rs` |
//! | 6 | of two calls the first panics | here | |
//! | 7 | unknown, run again | here | `contract/run_again.rs` |
//! | 8 | two stages in both orders, killed between | here | `contract/schedules.rs` |
//! | 9 | confirmed, then edited; a vote, then an edit | `resolutions.rs` | `contract/{schedules,edits,votes}.rs` |
//! | 10 | deleted in each state against a claim | `races.rs` | `contract/schedules.rs` |
//! | 11 | a retry that comes too late | | `contract/effects.rs` |
//! | 12 | locks held across a decision | | `postgres.rs` |
//! | 13 | a bare audit call is killed in a resumed run | here | `contract/schedules.rs` |
//! | 14 | the same call twice | here | `contract/schedules.rs` |
//! | 15 | a writer kept out, a clock that jumps, a run that kills | `faults/clock.rs` | `contract/binding.rs` (the clock) |
//! | 16 | results that come too late | `late_results.rs` | `contract/executions.rs` |
//! | 17 | owners lost before a turn, and often | `faults/lost_owners.rs` | `contract/runs.rs` |
//! | 18 | a store that is away for a while | `late_results.rs`, `postgres/away.rs` | |

use std::future::IntoFuture as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kern::agent::AgentBuilder;
use kern::db::{Db as _, Settlement, SqliteDb, Transitions as _};
use kern::models::{ScriptedModel, Turn, turn};
use kern::prelude::*;
use kern::run::RunId;
use kern::tools::{
    ApprovalPolicy, ArgumentError, Arguments, PauseType, Tool, ToolCall, ToolDescriptor, ToolFuture, ToolHandle,
    ToolOutput, ToolPolicy,
};
use kern_db::{AnswerCall, Caller, ClaimRun, NewAnswer, Principal, RunClaimed, Shown};
use kern_tests::children::Worker;
use kern_tests::folder::unique;
use kern_tests::gates::{SlowModel, gate};
use kern_tests::ledger;
use kern_tests::store::{SHORT_LEASE, Store, code, one_call, told, winners};
use kern_tests::tools::{delete_user, erase_user, explode, lookup, wait};
use serde_json::Value;

fn user(id: &str) -> Value {
    json!({ "user_id": id })
}

/// Starts a worker process on a store.
fn process(store: &Store, command: &str, script: &str, words: &[&str]) -> Worker {
    start(store, "5000", command, script, words)
}

/// Starts the process that is to be killed. Its lease is short.
fn victim(store: &Store, command: &str, script: &str, run_id: &RunId) -> Worker {
    start(store, "200", command, script, &[run_id.as_str()])
}

fn start(store: &Store, busy: &str, command: &str, script: &str, words: &[&str]) -> Worker {
    let path: PathBuf = store.path();
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&command, &script, &busy, &path];
    arguments.extend(words.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
    Worker::start(env!("CARGO_BIN_EXE_kern-path-worker"), &store.folder.file("ledger"), &arguments)
}

fn effects(store: &Store) -> Vec<String> {
    ledger::read(&store.folder.file("ledger"))
}

/// Pauses an agent's run in a session of its own, and approves all it asks for.
async fn approved(store: &Store, agent: AgentBuilder) -> (Agent, String, RunOutput) {
    let agent = agent.build().expect("the agent is right");
    let session = unique("session");
    let run = agent.run("go").user_id("alice").session_id(&session).await.expect("it pauses");
    assert!(run.is_paused());
    store.approve_all(&run.run_id).await;
    (agent, session, run)
}

/// No call of the run is left that something could start.
async fn nothing_left(store: &Store, run_id: &RunId) {
    let states = store.states(run_id).await;
    assert!(!states.iter().any(|state| ["ready", "executing"].contains(state)), "{states:?}");
    let pending = store.approvals(run_id).await;
    assert!(pending.iter().all(|approval| approval.status != ApprovalStatus::Pending), "{pending:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_1_killed_after_the_runs_claim_another_process_or_the_worker_starts_the_call_once() {
    for recovered_by in ["resume", "work"] {
        let store = Store::new().await;
        let run_id = RunId::from(process(&store, "pause", "delete", &[]).rest().remove(0));
        store.approve_all(&run_id).await;
        let mut owner = victim(&store, "claim", "delete", &run_id);
        assert_eq!(owner.line(), "claimed");
        owner.kill();
        store.lapsed(&run_id).await;
        let words: &[&str] = if recovered_by == "resume" { &[run_id.as_str()] } else { &[] };
        assert_eq!(process(&store, recovered_by, "delete", words).rest(), ["COMPLETED"]);
        assert_eq!(effects(&store), ["delete u1"]);
        assert_eq!(store.count_actions(&run_id, "executing").await, 1);
    }
}

#[tokio::test]
async fn schedule_2_what_was_loaded_at_turn_1_is_not_claimed_at_turn_2() {
    let store = Store::new().await;
    let turns = [turn().tool_call("erase_user", user("u1")), turn().tool_call("erase_user", user("u2"))];
    let (agent, session, run) = approved(&store, store.agent(tools![erase_user], turns)).await;
    // A loads turn 1 …
    let loaded = store.db.get_run(&run.run_id).await.unwrap();
    // … B completes it and pauses at turn 2, where the administrator has approved already …
    let second = agent.continue_run(&run.run_id).user_id("alice").await.unwrap();
    assert_eq!((second.status, second.requirements.len()), (RunStatus::Paused, 2));
    store.approve_all(&run.run_id).await;
    let before = store.actions(&run.run_id).await;
    // … and A claims what it has loaded, as the requester.
    let claim = ClaimRun {
        run_id: loaded.run_id,
        fence: loaded.fence,
        turn: loaded.turn,
        loaded: loaded.loaded,
        caller: Caller::Anonymous,
        lease_ms: 30_000,
        owner: kern_db::OwnerToken::fresh(),
    };
    assert_eq!(store.db.claim_run(claim).await.unwrap(), RunClaimed::AlreadyRunning);
    // No implied confirmation, no third question to the model (the script has none), no effect.
    assert_eq!(store.actions(&run.run_id).await, before);
    assert_eq!(agent.get_run(&run.run_id).await.unwrap().messages, second.messages);
    assert_eq!(ledger::of(&session), ["erase u1"]);
    assert_eq!(store.states(&run.run_id).await, ["succeeded", "ready"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_2_of_many_that_continue_at_once_one_asks_the_model() {
    let store = Store::new().await;
    let turns = vec![turn().tool_call("delete_user", user("u1")), turn().text("ok")];
    let thinking = gate(&unique("model"));
    let model = SlowModel::new(ScriptedModel::new(turns), 1, Arc::clone(&thinking));
    let builder = store.agent(tools![delete_user], []).model(model);
    let (agent, session, run) = approved(&store, builder).await;
    let runners: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn({
                let (agent, run_id) = (agent.clone(), run.run_id.clone());
                async move { agent.continue_run(run_id).user_id("alice").await }
            })
        })
        .collect();
    thinking.arrival().await;
    // While the winner's model is thinking, everybody else has been refused or will be.
    assert_eq!(code(agent.continue_run(&run.run_id).await), "already_running");
    // A second visit to the model would wait at the gate for ever.
    thinking.open();
    let won = winners(runners).await;
    assert_eq!((won, ledger::of(&session)), (1, vec!["delete u1".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_3_an_owner_that_was_stopped_past_its_lease_does_nothing_when_it_wakes() {
    // What it would do next: claim the second call, complete the run, commit a turn that pauses.
    for script in ["linger-two", "linger", "linger-again"] {
        let store = Store::new().await;
        let run_id = RunId::from(process(&store, "pause", script, &[]).rest().remove(0));
        store.approve_all(&run_id).await;
        let mut owner = victim(&store, "resume", script, &run_id);
        assert_eq!(owner.line(), "in the body");
        owner.signal("STOP");
        store.lapsed(&run_id).await;
        assert_eq!(process(&store, "work", script, &[]).rest(), [] as [&str; 0]);
        let unknown = store.executions(&run_id).await.remove(0);
        store.db.settle_execution(&unknown.id, Settlement::failed("lost").by("admin").note("looked")).await.unwrap();
        let mut other = process(&store, "claim", script, &[run_id.as_str()]);
        assert_eq!(other.line(), "claimed");
        let before = store.db.get_run(&run_id).await.unwrap();

        owner.signal("CONT");
        owner.tell("go on");
        assert_eq!(owner.rest(), ["already_running"], "{script}");
        let after = store.db.get_run(&run_id).await.unwrap();
        assert_eq!((after.status, after.fence, after.turn), (RunStatus::Running, before.fence, 1), "{script}");
        assert_eq!((after.snapshot, after.calls.len()), (before.snapshot, before.calls.len()), "{script}");
        assert_eq!(effects(&store), ["linger u1"], "{script}");
        assert_eq!(store.states(&run_id).await[0], "failed", "what was settled stays so");
        assert_eq!(store.count_actions(&run_id, "executing").await, 1);
        assert_eq!(store.count_actions(&run_id, "late_result").await, 1);
        other.kill();
    }
}

/// The zombie of a call that was run again: its own start is over, and what it says then is evidence.
#[tokio::test(flavor = "multi_thread")]
async fn schedule_7_the_zombie_of_a_call_that_was_run_again_changes_nothing() {
    let store = Store::new().await;
    let run_id = RunId::from(process(&store, "pause", "linger", &[]).rest().remove(0));
    store.approve_all(&run_id).await;
    let mut zombie = victim(&store, "resume", "linger", &run_id);
    assert_eq!(zombie.line(), "in the body");
    zombie.signal("STOP");
    store.lapsed(&run_id).await;
    assert_eq!(process(&store, "work", "linger", &[]).rest(), [] as [&str; 0]);
    let lost = store.executions(&run_id).await.remove(0);
    let again = Settlement::run_again().by("admin").note("the host never saw it");
    store.db.settle_execution(&lost.id, again).await.unwrap();
    // The old yes says nothing about the new question.
    assert_eq!(process(&store, "resume", "linger", &[run_id.as_str()]).rest(), ["approval_pending"]);
    assert_eq!(effects(&store), ["linger u1"]);
    store.approve_all(&run_id).await;
    let mut second = process(&store, "resume", "linger", &[run_id.as_str()]);
    assert_eq!(second.line(), "in the body");
    zombie.signal("CONT");
    zombie.tell("go on");
    assert_eq!(zombie.rest(), ["already_running"]);
    assert_eq!(store.states(&run_id).await, ["abandoned", "executing"]);
    assert_eq!(store.count_actions(&run_id, "late_result").await, 1);
    second.tell("go on");
    assert_eq!(second.rest(), ["COMPLETED"]);
    assert_eq!(store.states(&run_id).await, ["abandoned", "succeeded"]);
    // Twice in all, each under an approval of its own.
    assert_eq!(effects(&store), ["linger u1", "linger u1"]);
    assert_eq!(store.count_actions(&run_id, "approved").await, 2);
}

#[tokio::test]
async fn schedule_4_cancelled_while_the_model_thinks_no_call_of_its_answer_comes_to_be() {
    for (name, tools) in [("delete_user", tools![delete_user]), ("lookup", tools![lookup])] {
        let store = Store::new().await;
        let arguments = if name == "lookup" { json!({ "key": "k" }) } else { user("u1") };
        let session = unique("session");
        let thinking = gate(&unique("model"));
        let model = SlowModel::new(ScriptedModel::new(one_call(name, arguments)), 0, Arc::clone(&thinking));
        let agent = store.agent(tools, []).model(model).build().unwrap();
        let mut events = agent.run("go").user_id("alice").session_id(&session).stream();
        let Some(Ok(RunEvent::RunStarted { base, .. })) = events.next().await else { panic!("it starts") };
        let run_id = base.run_id;
        thinking.arrival().await;
        assert_eq!(agent.cancel_run(&run_id).await.unwrap().status, RunStatus::Cancelled);
        thinking.open();
        let mut last = None;
        while let Some(event) = events.next().await {
            last = Some(event.unwrap());
        }
        assert!(matches!(last, Some(RunEvent::RunCancelled { .. })), "{last:?}");
        assert!(store.approvals(&run_id).await.is_empty());
        assert!(store.executions(&run_id).await.is_empty());
        assert_eq!(ledger::of(&session), [] as [&str; 0], "{name}");
        assert_eq!(code(agent.continue_run(&run_id).await), "not_paused");
    }
}

#[tokio::test]
async fn schedule_4_cancelled_between_two_calls_the_second_never_starts() {
    let store = Store::new().await;
    let turns =
        [turn().tool_call("wait", json!({ "key": "k" })).tool_call("delete_user", user("u2")), turn().text("ok")];
    let (agent, session, run) = approved(&store, store.agent(tools![wait, delete_user], turns)).await;
    let body = gate(&session);
    let running = tokio::spawn(async { (agent.continue_run(&run.run_id).await, agent, run) });
    body.arrival().await;
    let run_id = store.only_run().await;
    store.db.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap();
    assert_eq!(store.states(&run_id).await, ["executing", "abandoned"]);
    body.open();
    let (outcome, agent, _) = running.await.unwrap();
    assert_eq!(outcome.unwrap().status, RunStatus::Cancelled);
    // The body under way ended by itself, and what came of it is recorded.
    assert_eq!(store.states(&run_id).await, ["succeeded", "abandoned"]);
    assert_eq!(ledger::of(&session), ["wait k"]);
    nothing_left(&store, &run_id).await;
    assert_eq!(code(agent.continue_run(&run_id).await), "not_paused");
    assert!(agent.resume_decided_runs().await.unwrap().is_empty());
    assert_eq!(ledger::of(&session), ["wait k"]);
}

#[tokio::test]
async fn schedule_4_cancelled_during_a_body_its_result_is_recorded_and_the_model_not_asked() {
    let store = Store::new().await;
    // A script without a second turn: were the model asked, the run would end in an error.
    let turns = [turn().tool_call("wait", json!({ "key": "k" }))];
    let (agent, session, run) = approved(&store, store.agent(tools![wait], turns)).await;
    let running = tokio::spawn(async move { agent.continue_run(&run.run_id).await });
    gate(&session).arrival().await;
    let run_id = store.only_run().await;
    store.db.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap();
    gate(&session).open();
    assert_eq!(running.await.unwrap().unwrap().status, RunStatus::Cancelled);
    let execution = store.executions(&run_id).await.remove(0);
    assert_eq!((execution.status.as_str(), execution.result.as_deref()), ("succeeded", Some("waited k")));
    nothing_left(&store, &run_id).await;
    assert_eq!(store.count_actions(&run_id, "late_result").await, 0);
}

#[tokio::test]
async fn schedule_6_a_panic_stops_the_turn_until_it_is_settled_then_the_worker_goes_on_in_order() {
    let store = Store::new().await;
    let turns =
        [turn().tool_call("explode", json!({ "why": "boom" })).tool_call("delete_user", user("u2")), turn().text("ok")];
    let (agent, session, run) = approved(&store, store.agent(tools![explode, delete_user], turns)).await;
    let paused = agent.continue_run(&run.run_id).user_id("alice").await.unwrap();
    assert_eq!((paused.status, paused.attention), (RunStatus::Paused, true));
    assert_eq!(store.states(&run.run_id).await, ["unknown", "ready"]);
    let refused = agent.continue_run(&run.run_id).await.unwrap_err();
    let executions = store.executions(&run.run_id).await;
    let kern::Error::ExecutionUnknown { execution_id, .. } = &refused else { panic!("{refused}") };
    assert_eq!(execution_id, &executions[0].id);
    assert!(agent.resume_decided_runs().await.unwrap().is_empty());
    assert_eq!(ledger::of(&session), ["explode boom"]);

    store.db.settle_execution(execution_id, Settlement::failed("half done").by("admin").note("looked")).await.unwrap();
    let resumed = agent.resume_decided_runs().await.unwrap();
    let run = resumed[0].as_ref().unwrap();
    assert_eq!(told(run), ["half done", "deleted u2"]);
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(ledger::of(&session), ["explode boom", "delete u2"]);
    assert_eq!(store.states(&run.run_id).await, ["failed", "succeeded"]);
}

#[tokio::test]
async fn schedule_8_the_worker_resumes_two_decisions_and_never_makes_one() {
    for confirmed in [true, false] {
        let store = Store::new().await;
        let agent = store.agent(tools![erase_user], one_call("erase_user", user("u1"))).build().unwrap();
        let session = unique("session");
        let mut run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
        if confirmed {
            run.active_requirements_mut().for_each(|requirement| requirement.confirm().unwrap());
        }
        let early = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await;
        assert_eq!(code(early), "approval_pending");
        store.approve_all(&run.run_id).await;
        let resumed = agent.resume_decided_runs().await.unwrap();
        assert_eq!(resumed.len(), usize::from(confirmed));
        assert_eq!(ledger::of(&session).len(), usize::from(confirmed));
        assert_eq!(store.count_actions(&run.run_id, "confirmed_implied").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_8_a_requester_killed_after_the_runs_claim_has_confirmed() {
    let store = Store::new().await;
    let run_id = RunId::from(process(&store, "pause", "erase", &[]).rest().remove(0));
    store.approve_all(&run_id).await;
    // Nobody else can resume it: alice has not confirmed.
    assert_eq!(process(&store, "resume", "erase", &[run_id.as_str()]).rest(), ["requirements_unresolved"]);
    assert_eq!(process(&store, "work", "erase", &[]).rest(), [] as [&str; 0]);
    let mut alice = victim(&store, "claim", "erase", &run_id);
    assert_eq!(alice.line(), "claimed");
    alice.kill();
    store.lapsed(&run_id).await;
    assert_eq!(process(&store, "work", "erase", &[]).rest(), ["COMPLETED"]);
    assert_eq!(effects(&store), ["erase u1"]);
    for decision in ["approved", "confirmed_implied", "executing"] {
        assert_eq!(store.count_actions(&run_id, decision).await, 1, "{decision}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedule_13_a_recorded_call_killed_in_the_second_turn_is_unknown_and_not_called_again() {
    let store = Store::new().await;
    let run_id = RunId::from(process(&store, "pause", "hang-second", &[]).rest().remove(0));
    store.approve_all(&run_id).await;
    let mut owner = victim(&store, "resume", "hang-second", &run_id);
    assert_eq!(owner.line(), "in the body");
    assert_eq!(effects(&store), ["delete u1", "hang_recorded c1"]);
    owner.kill();
    store.lapsed(&run_id).await;
    assert_eq!(process(&store, "work", "hang-second", &[]).rest(), [] as [&str; 0]);
    assert_eq!(process(&store, "resume", "hang-second", &[run_id.as_str()]).rest(), ["execution_unknown"]);
    assert_eq!(store.states(&run_id).await, ["succeeded", "unknown"]);
    let unknown = store.executions(&run_id).await.remove(1);
    store.db.settle_execution(&unknown.id, Settlement::failed("lost").by("admin").note("looked")).await.unwrap();
    assert_eq!(process(&store, "work", "hang-second", &[]).rest(), ["COMPLETED"]);
    assert_eq!(effects(&store), ["delete u1", "hang_recorded c1"]);
    assert_eq!(store.count_actions(&run_id, "executing").await, 2);
}

#[tokio::test]
async fn schedule_14_the_same_call_in_two_turns_is_two_questions() {
    let store = Store::new().await;
    let same = || turn().tool_call_with_id("same", "erase_user", user("u1"));
    let turns = [same(), same(), turn().text("ok")];
    let (agent, session, run) = approved(&store, store.agent(tools![erase_user], turns)).await;
    let mut first = run.requirements;
    first[0].confirm().unwrap();
    let second = agent.continue_run(&run.run_id).requirements(first.clone()).user_id("alice").await.unwrap();
    assert_eq!(second.status, RunStatus::Paused);
    let rows = store.approvals(&run.run_id).await;
    assert_eq!(
        rows.iter().map(|row| row.status).collect::<Vec<_>>(),
        [ApprovalStatus::Approved, ApprovalStatus::Pending]
    );
    assert_ne!(rows[0].digest, rows[1].digest);
    // The first turn's answer, id, approval and all, says nothing about the second call.
    let old = agent.continue_run(&run.run_id).requirements(first).user_id("alice").await;
    assert_eq!(code(old), "approval_pending");
    assert_eq!(store.count_actions(&run.run_id, "confirmed").await, 1);
    assert!(agent.resume_decided_runs().await.unwrap().is_empty());
    assert_eq!(ledger::of(&session), ["erase u1"]);
    store.approve_all(&run.run_id).await;
    assert!(agent.resume_decided_runs().await.unwrap().is_empty(), "alice has not confirmed the second one");
    assert_eq!(agent.continue_run(&run.run_id).user_id("alice").await.unwrap().status, RunStatus::Completed);
    assert_eq!(ledger::of(&session), ["erase u1", "erase u1"]);
}

#[tokio::test]
async fn schedule_14_the_same_id_twice_in_a_turn_is_refused() {
    let store = Store::new().await;
    let same = |turn: Turn| turn.tool_call_with_id("same", "delete_user", user("u1"));
    let (agent, session, run) =
        approved(&store, store.agent(tools![delete_user], [same(same(turn())), turn().text("ok")])).await;
    assert_eq!(store.approvals(&run.run_id).await.len(), 1);
    let run = agent.continue_run(&run.run_id).await.unwrap();
    assert_eq!(ledger::of(&session), ["delete u1"]);
    assert_eq!(told(&run)[0], "deleted u1");
    assert!(told(&run)[1].contains("`same` is given twice in this turn"), "{:?}", told(&run));
}

/// What other builds and other interruptions make of a run.
mod other_builds {
    use super::*;

    /// Delete a user. An administrator decides.
    #[approval]
    #[tool(name = "change")]
    async fn protected(key: String, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("protected {key}"));
        key
    }

    /// Delete a user. Nobody is asked any more.
    #[tool(name = "change")]
    async fn unprotected(key: String, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("unprotected {key}"));
        key
    }

    /// Delete a user. The user is asked.
    #[tool(name = "change", requires_confirmation)]
    async fn confirmed(key: String, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("confirmed {key}"));
        key
    }

    /// Delete a user, in another way.
    #[approval]
    #[tool(name = "change", version = "2")]
    async fn newer(key: String, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("newer {key}"));
        key
    }

    /// Delete a user by number.
    #[approval]
    #[tool(name = "change")]
    async fn retyped(key: u64, ctx: &RunContext) -> String {
        ledger::enter(ctx, format!("retyped {key}"));
        key.to_string()
    }

    fn key(key: &str) -> Value {
        json!({ "key": key })
    }

    fn build(store: &Store, tools: Vec<ToolHandle>) -> Agent {
        store.agent(tools, one_call("change", key("k"))).build().expect("the agent is right")
    }

    #[tokio::test]
    async fn a_build_that_lost_the_approval_does_not_run_what_an_older_one_paused_for_it() {
        for lost in [tools![unprotected], tools![confirmed]] {
            let store = Store::new().await;
            let session = unique("session");
            let old = build(&store, tools![protected]);
            let run = old.run("go").user_id("alice").session_id(&session).await.unwrap();
            let new = build(&store, lost);
            let mut requirements = run.requirements.clone();
            requirements[0].confirm().unwrap();
            for requirements in [vec![], requirements] {
                let outcome = new.continue_run(&run.run_id).requirements(requirements).user_id("alice").await;
                assert_eq!(code(outcome), "approval_pending");
            }
            assert!(new.resume_decided_runs().await.unwrap().is_empty());
            assert_eq!(ledger::of(&session), [] as [&str; 0]);
            let row = store.approvals(&run.run_id).await.remove(0);
            let no = Resolution::rejected().by("admin");
            store.db.update_approval(&row.id, ApprovalStatus::Pending, no).await.unwrap();
            assert_eq!(new.continue_run(&run.run_id).await.unwrap().status, RunStatus::Completed);
            assert_eq!(ledger::of(&session), [] as [&str; 0]);
        }
    }

    #[tokio::test]
    async fn a_build_with_another_tool_is_refused_and_the_older_one_still_runs_it() {
        for changed in [tools![newer], tools![retyped], tools![]] {
            let store = Store::new().await;
            let (old, session, run) =
                approved(&store, store.agent(tools![protected], one_call("change", key("k")))).await;
            let new = build(&store, changed);
            assert_eq!(code(new.continue_run(&run.run_id).user_id("alice").await), "tool_changed");
            let worker = new.resume_decided_runs().await.unwrap();
            assert_eq!(worker.into_iter().map(code).collect::<Vec<_>>(), ["tool_changed"]);
            assert_eq!(store.count_actions(&run.run_id, "run_claimed").await, 0);
            assert_eq!(ledger::of(&session), [] as [&str; 0]);
            assert_eq!(old.continue_run(&run.run_id).await.unwrap().status, RunStatus::Completed);
            assert_eq!(ledger::of(&session), ["protected k"]);
        }
    }

    #[tokio::test]
    async fn a_users_confirmation_does_not_run_a_call_that_this_build_wants_approved() {
        let store = Store::new().await;
        let session = unique("session");
        let old = build(&store, tools![confirmed]);
        let run = old.run("go").user_id("alice").session_id(&session).await.unwrap();
        let new = build(&store, tools![protected]);
        let mut requirements = run.requirements.clone();
        requirements[0].confirm().unwrap();
        let outcome = new.continue_run(&run.run_id).requirements(requirements).user_id("alice").await;
        assert_eq!(code(outcome), "tool_changed");
        let worker = new.resume_decided_runs().await.unwrap();
        assert_eq!(worker.into_iter().map(code).collect::<Vec<_>>(), ["tool_changed"]);
        assert_eq!(ledger::of(&session), [] as [&str; 0]);
        // The build that asked the user runs it still; the other one may turn it down.
        assert_eq!(old.continue_run(&run.run_id).user_id("alice").await.unwrap().status, RunStatus::Completed);
        assert_eq!(ledger::of(&session), ["confirmed k"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_approval_that_comes_after_the_look_at_the_tools_lets_no_other_tool_in() {
        // The store is held while the approval, and then the continuation, wait for it: the continuation has looked at
        // the run while it was pending, and claims it when it is approved.
        for changed in [tools![newer], tools![retyped], tools![]] {
            let store = Store::new().await;
            let patient = SqliteDb::builder(store.path()).busy_timeout(Duration::from_secs(5)).open().await.unwrap();
            let session = unique("session");
            let old = build(&store, tools![protected]);
            let run = old.run("go").user_id("alice").session_id(&session).await.unwrap();
            let row = store.approvals(&run.run_id).await.remove(0);
            let raw = store.raw();
            raw.execute_batch("BEGIN IMMEDIATE").unwrap();
            let approving = tokio::spawn({
                let (db, id) = (patient.clone(), row.id.clone());
                let yes = Resolution::approved().by("admin");
                async move { db.update_approval(&id, ApprovalStatus::Pending, yes).await }
            });
            let new = store.agent(changed, []).db(patient.clone()).lease(Duration::from_secs(15)).build().unwrap();
            // Nothing shows that a writer waits. Whoever comes too late makes this test easier, not wrong.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let continuing = tokio::spawn(new.continue_run(&run.run_id).user_id("alice").into_future());
            tokio::time::sleep(Duration::from_millis(50)).await;
            raw.execute_batch("ROLLBACK").unwrap();
            assert_eq!(approving.await.unwrap().unwrap().status, ApprovalStatus::Approved);
            match continuing.await.unwrap() {
                Ok(run) => assert_eq!((run.status, run.attention), (RunStatus::Paused, true)),
                Err(error) => assert!(["tool_changed", "approval_pending"].contains(&error.code()), "{error}"),
            }
            assert_eq!(ledger::of(&session), [] as [&str; 0]);
            assert_eq!(store.states(&run.run_id).await, ["ready"]);
            assert_eq!(code(new.continue_run(&run.run_id).user_id("alice").await), "tool_changed");
            assert_eq!(old.continue_run(&run.run_id).await.unwrap().status, RunStatus::Completed);
            assert_eq!(ledger::of(&session), ["protected k"]);
        }
    }

    #[tokio::test]
    async fn a_plain_call_of_an_older_build_does_not_run_in_one_that_protects_it() {
        let store = Store::new().await;
        let session = unique("session");
        // The older build dies in the plain calls: its turn is committed, and what came of them is not.
        let turns = || {
            [
                turn()
                    .tool_call("wait_plain", key("w"))
                    .tool_call("change", key("k"))
                    .tool_call("delete_user", user("u1")),
                turn().text("ok"),
            ]
        };
        use kern_tests::tools::wait_plain;
        let lease = SHORT_LEASE;
        let old = store.agent(tools![wait_plain, unprotected, delete_user], turns()).lease(lease).build().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let starting = old.run("go").user_id("alice").session_id(&session);
        runtime.spawn(async { starting.await });
        gate(&session).arrival().await;
        runtime.shutdown_background();
        let run_id = store.only_run().await;
        store.lapsed(&run_id).await;
        store.approve_all(&run_id).await;
        gate(&session).open();
        let new = store.agent(tools![wait_plain, protected, delete_user], turns()).build().unwrap();
        let run = new.continue_run(&run_id).user_id("alice").await.unwrap();
        assert_eq!(run.status, RunStatus::Completed);
        let entered = ledger::of(&session);
        let count = |what: &str| entered.iter().filter(|line| *line == what).count();
        // What nobody is asked about runs again after a crash, where that is still so.
        assert_eq!((count("wait_plain w"), count("delete u1")), (2, 1), "{entered:?}");
        assert!(count("unprotected k") <= 1 && count("protected k") == 0, "at most the older build's: {entered:?}");
        assert!(told(&run)[1].contains("needs a decision by now"), "{:?}", told(&run));
    }

    #[tokio::test]
    async fn a_caller_who_stops_waiting_loses_nothing_and_starts_nothing_twice() {
        let store = Store::new().await;
        let turns = one_call("wait", key("k"));
        let (agent, session, run) = approved(&store, store.agent(tools![wait], turns)).await;
        let body = gate(&session);
        let waiting = tokio::spawn({
            let continued = agent.continue_run(&run.run_id);
            async move { continued.await }
        });
        body.arrival().await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(code(agent.continue_run(&run.run_id).await), "already_running");
        assert_eq!(store.states(&run.run_id).await, ["executing"]);
        body.open();
        // Nobody is told of its end: the store is.
        while store.db.get_run(&run.run_id).await.unwrap().status == RunStatus::Running {
            tokio::task::yield_now().await;
        }
        assert_eq!(agent.get_run(&run.run_id).await.unwrap().status, RunStatus::Completed);
        assert_eq!(ledger::of(&session), ["wait k"]);
    }

    #[tokio::test]
    async fn a_runtime_that_shuts_down_in_a_body_leaves_an_unknown_call() {
        let store = Store::new().await;
        let turns = one_call("wait", key("k"));
        let builder = store.agent(tools![wait], turns).lease(SHORT_LEASE);
        let (agent, session, run) = approved(&store, builder).await;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let continued = agent.continue_run(&run.run_id).user_id("alice");
        runtime.spawn(async { continued.await });
        gate(&session).arrival().await;
        runtime.shutdown_background();
        // Its own process may still have recorded the body as lost; otherwise the lease runs out.
        while store.states(&run.run_id).await == ["executing"] {
            store.db.recover_run(run.run_id.clone()).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(store.states(&run.run_id).await, ["unknown"]);
        while store.db.get_run(&run.run_id).await.unwrap().status == RunStatus::Running {
            store.db.recover_run(run.run_id.clone()).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(code(agent.continue_run(&run.run_id).await), "execution_unknown");
        assert!(agent.resume_decided_runs().await.unwrap().is_empty());
        assert_eq!(ledger::of(&session), ["wait k"]);
    }

    #[tokio::test]
    async fn two_agents_and_two_runs_of_one_session_keep_to_their_own() {
        let store = Store::new().await;
        let session = unique("session");
        let turns = || one_call("delete_user", user("u1"));
        let one = store.agent(tools![delete_user], turns()).id("one").build().unwrap();
        let other = store.agent(tools![delete_user], turns()).id("other").build().unwrap();
        let first = one.run("go").user_id("alice").session_id(&session).await.unwrap();
        let second = one.run("go").user_id("alice").session_id(&session).await.unwrap();
        let third = other.run("go").user_id("alice").session_id(&session).await.unwrap();
        store.approve_all(&second.run_id).await;
        assert_eq!(code(one.continue_run(&first.run_id).await), "approval_pending");
        assert_eq!(code(other.continue_run(&third.run_id).await), "approval_pending");
        assert_eq!(code(other.continue_run(&second.run_id).await), "run_not_found");
        // A requirement of one run in another.
        let mixed = one.continue_run(&first.run_id).requirements(second.requirements.clone()).user_id("alice").await;
        assert_eq!(code(mixed), "approval_pending");
        assert!(other.resume_decided_runs().await.unwrap().is_empty());
        assert_eq!(ledger::of(&session), [] as [&str; 0]);
        let worker = one.resume_decided_runs().await.unwrap();
        assert_eq!(worker.len(), 1);
        assert_eq!(worker[0].as_ref().unwrap().run_id, second.run_id);
        assert_eq!(ledger::of(&session), ["delete u1"]);
    }
}

#[tokio::test]
async fn a_body_longer_than_the_lease_stays_its_owners() {
    let store = Store::new().await;
    let builder = store.agent(tools![wait], one_call("wait", json!({ "key": "k" }))).lease(SHORT_LEASE);
    let (agent, session, run) = approved(&store, builder).await;
    let continued = tokio::spawn(agent.continue_run(&run.run_id).into_future());
    gate(&session).arrival().await;
    let start = std::time::Instant::now();
    while start.elapsed() < SHORT_LEASE * 2 {
        assert_eq!(code(agent.continue_run(&run.run_id).await), "already_running");
        assert!(agent.resume_decided_runs().await.unwrap().is_empty());
        assert_eq!(store.states(&run.run_id).await, ["executing"]);
        tokio::time::sleep(SHORT_LEASE / 10).await;
    }
    gate(&session).open();
    assert_eq!(continued.await.unwrap().unwrap().status, RunStatus::Completed);
    assert_eq!(ledger::of(&session), ["wait k"]);
    assert_eq!(store.count_actions(&run.run_id, "run_recovered").await, 0);
}

/// A store that fails for a while, at each step of an approved call.
mod failing_stores {
    use super::*;

    /// Makes updates of a table fail where a condition holds, until the trigger is dropped.
    fn refuse(store: &Store, table: &str, condition: &str) {
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE UPDATE ON kern_{table} WHEN {condition} BEGIN SELECT RAISE(ABORT, 'no'); END;"
        );
        store.raw().execute_batch(&trigger).expect("a trigger can be made");
    }

    fn allow(store: &Store) {
        store.raw().execute_batch("DROP TRIGGER refuse").expect("the trigger is there");
    }

    async fn deletion(store: &Store) -> (Agent, String, RunOutput) {
        let builder = store.agent(tools![delete_user], one_call("delete_user", user("u1")));
        approved(store, builder.lease(SHORT_LEASE)).await
    }

    #[tokio::test]
    async fn a_run_that_cannot_be_claimed_stays_paused() {
        let store = Store::new().await;
        let (agent, session, run) = deletion(&store).await;
        refuse(&store, "runs", "NEW.status = 'RUNNING'");
        assert_eq!(code(agent.continue_run(&run.run_id).await), "store_unavailable");
        assert_eq!(agent.get_run(&run.run_id).await.unwrap().status, RunStatus::Paused);
        assert_eq!(ledger::of(&session), [] as [&str; 0]);
        allow(&store);
        assert_eq!(told(&agent.continue_run(&run.run_id).await.unwrap()), ["deleted u1"]);
    }

    #[tokio::test]
    async fn a_call_that_cannot_be_claimed_does_not_start_and_the_run_goes_on_later() {
        let store = Store::new().await;
        let (agent, session, run) = deletion(&store).await;
        refuse(&store, "executions", "NEW.status = 'executing'");
        assert_eq!(code(agent.continue_run(&run.run_id).await), "store_unavailable");
        assert_eq!(ledger::of(&session), [] as [&str; 0]);
        // The run is claimed together with its first call, or not at all.
        assert_eq!(agent.get_run(&run.run_id).await.unwrap().status, RunStatus::Paused);
        allow(&store);
        let resumed = agent.resume_decided_runs().await.unwrap();
        assert_eq!(told(resumed[0].as_ref().unwrap()), ["deleted u1"]);
        assert_eq!(ledger::of(&session), ["delete u1"]);
    }

    #[tokio::test]
    async fn a_second_call_that_cannot_be_claimed_does_not_start_and_the_run_is_paused_at_once_if_it_can() {
        for can in [true, false] {
            let store = Store::new().await;
            let both = turn().tool_call("delete_user", user("u1")).tool_call("delete_user", user("u2"));
            let builder = store.agent(tools![delete_user], [both, turn().text("ok")]).lease(SHORT_LEASE);
            let (agent, session, run) = approved(&store, builder).await;
            refuse(&store, "executions", "NEW.status = 'executing' AND NEW.idx = 1");
            if !can {
                let pauses = "CREATE TRIGGER refuse_too BEFORE UPDATE ON kern_runs WHEN NEW.status = 'PAUSED'
                              BEGIN SELECT RAISE(ABORT, 'no'); END;";
                store.raw().execute_batch(pauses).unwrap();
            }
            assert_eq!(code(agent.continue_run(&run.run_id).await), "store_unavailable");
            assert_eq!(ledger::of(&session), ["delete u1"]);
            allow(&store);
            assert_eq!(agent.get_run(&run.run_id).await.unwrap().is_paused(), can);
            if !can {
                store.raw().execute_batch("DROP TRIGGER refuse_too").unwrap();
                store.lapsed(&run.run_id).await;
            }
            let resumed = agent.resume_decided_runs().await.unwrap();
            assert_eq!(told(resumed[0].as_ref().unwrap()), ["deleted u1", "deleted u2"]);
            assert_eq!(ledger::of(&session), ["delete u1", "delete u2"]);
        }
    }

    #[tokio::test]
    async fn a_result_that_cannot_be_recorded_for_a_while_is_kept_by_its_process() {
        let store = Store::new().await;
        let (agent, session, run) = deletion(&store).await;
        refuse(&store, "executions", "NEW.status = 'succeeded'");
        let continued = tokio::spawn(agent.continue_run(&run.run_id).into_future());
        while ledger::of(&session).is_empty() {
            tokio::task::yield_now().await;
        }
        // Longer than its lease: this process recovers nothing that it drives.
        let since = std::time::Instant::now();
        while since.elapsed() < SHORT_LEASE * 2 {
            assert!(agent.resume_decided_runs().await.unwrap().is_empty());
            assert_eq!(store.states(&run.run_id).await, ["executing"]);
            tokio::time::sleep(SHORT_LEASE / 10).await;
        }
        allow(&store);
        assert_eq!(told(&continued.await.unwrap().unwrap()), ["deleted u1"]);
        assert_eq!(store.states(&run.run_id).await, ["succeeded"]);
        assert_eq!(ledger::of(&session), ["delete u1"]);
    }

    #[tokio::test]
    async fn a_run_whose_end_cannot_be_stored_for_a_while_asks_no_model_again_and_no_tool() {
        let store = Store::new().await;
        let (agent, session, run) = deletion(&store).await;
        refuse(&store, "runs", "NEW.status = 'COMPLETED'");
        let continued = tokio::spawn(agent.continue_run(&run.run_id).into_future());
        while ledger::of(&session).is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(SHORT_LEASE * 2).await;
        assert_eq!(code(agent.continue_run(&run.run_id).await), "already_running");
        allow(&store);
        assert_eq!(told(&continued.await.unwrap().unwrap()), ["deleted u1"]);
        assert_eq!(ledger::of(&session), ["delete u1"]);
        assert_eq!(store.count_actions(&run.run_id, "executing").await, 1);
        assert_eq!(store.count_actions(&run.run_id, "run_recovered").await, 0);
    }

    #[tokio::test]
    async fn a_result_waits_for_a_store_that_is_locked_for_a_while() {
        let store = Store::new().await;
        let builder = store.agent(tools![wait], one_call("wait", json!({ "key": "k" })));
        let (agent, session, run) = approved(&store, builder).await;
        let continued = tokio::spawn(agent.continue_run(&run.run_id).into_future());
        gate(&session).arrival().await;
        let raw = store.raw();
        raw.execute_batch("BEGIN IMMEDIATE").unwrap();
        gate(&session).open();
        // Longer than the store waits for a lock, so that the first try has failed.
        tokio::time::sleep(kern_tests::store::BUSY * 3 / 2).await;
        raw.execute_batch("ROLLBACK").unwrap();
        let run = continued.await.unwrap().unwrap();
        assert_eq!((run.status, told(&run)), (RunStatus::Completed, vec!["waited k".to_owned()]));
        assert_eq!(ledger::of(&session), ["wait k"]);
    }
}

/// Pay. The user may correct the sum; a stricter build asks an administrator about large ones.
struct Pay {
    descriptor: ToolDescriptor,
    /// What happens while a build looks at the call, once.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    paid: Arc<Mutex<Vec<Value>>>,
}

impl Pay {
    fn new(approval: Option<ApprovalPolicy>, paid: &Arc<Mutex<Vec<Value>>>) -> Self {
        let parameters = json!({
            "type": "object", "properties": { "sum": { "type": "integer" } }, "required": ["sum"],
            "additionalProperties": false,
        });
        let descriptor = ToolDescriptor::new("pay", "Pay.", parameters);
        let descriptor = descriptor.policy(ToolPolicy::new(Some(PauseType::UserInput), approval));
        Self { descriptor, meanwhile: Mutex::default(), paid: Arc::clone(paid) }
    }
}

impl Tool for Pay {
    fn descriptor(&self) -> &ToolDescriptor {
        &self.descriptor
    }

    fn check(&self, _: &Arguments, _: &[String]) -> Result<(), Vec<ArgumentError>> {
        Ok(())
    }

    fn approval_needed(&self, arguments: &Arguments) -> bool {
        let needed = arguments["sum"].as_u64().is_none_or(|sum| sum > 100);
        if let Some(meanwhile) = self.meanwhile.lock().expect("nobody panics with it").take() {
            std::thread::spawn(meanwhile).join().expect("it works");
        }
        needed
    }

    fn call(&self, call: ToolCall) -> ToolFuture {
        self.paid.lock().expect("nobody panics with it").push(call.arguments()["sum"].clone());
        Box::pin(async { Ok(ToolOutput::new("paid")) })
    }
}

/// A stricter build looks at a call that waits for its user, a laxer one stores the user's large sum, the stricter one goes
/// on: the call that it looked at is not the one that would start.
#[tokio::test]
async fn a_call_that_was_answered_after_a_stricter_build_looked_does_not_start_there() {
    let store = Store::new().await;
    let paid = Arc::new(Mutex::default());
    let script = || one_call("pay", json!({ "sum": 50 }));
    let lax = store.agent(vec![], script()).tool(Pay::new(None, &paid)).build().unwrap();
    let run = lax.run("go").user_id("alice").await.unwrap();
    let answer = AnswerCall {
        run_id: run.run_id.clone(),
        turn: 1,
        index: 0,
        generation: 0,
        caller: Caller::Person(Principal::unverified("alice")),
        answer: NewAnswer::Input(r#"{"sum":5000}"#.to_owned()),
        shown: Shown { tool_name: "pay".to_owned(), arguments: r#"{"sum":50}"#.to_owned() },
        gathered: None,
    };
    let strict = Pay::new(Some(ApprovalPolicy::Required), &paid);
    let db = store.again().await;
    *strict.meanwhile.lock().unwrap() = Some(Box::new(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(db.answer_call(answer)).unwrap();
    }));
    let strict = store.agent(vec![], script()).tool(strict).build().unwrap();
    let after = strict.continue_run(&run.run_id).user_id("alice").await.unwrap();
    assert_eq!(*paid.lock().unwrap(), Vec::<Value>::new(), "nobody approved it");
    assert!(after.is_paused() && after.attention, "somebody has to look");
    // The build that asked for it may still run it.
    let after = lax.continue_run(&run.run_id).user_id("alice").await.unwrap();
    assert_eq!(after.status, RunStatus::Completed);
    assert_eq!(*paid.lock().unwrap(), [json!(5000)]);
}
