//! Where the reference breaks the promise (section 9 of the wire specification): each of its weaknesses, in the opposite
//! sense. The numbers are the specification's.

use std::future::IntoFuture as _;

use kern::agent::AgentBuilder;
use kern::db::{Db as _, Error as DbError, RunFilter};
use kern::models::turn;
use kern::prelude::*;
use kern::tools::{ApprovalPolicy, ToolHandle};
use kern_tests::folder::unique;
use kern_tests::ledger;
use kern_tests::store::{Store, code, one_call, told, winners};
use kern_tests::tools::{delete_user, erase_user, export, export_asked, mail_all, restart, run_outside_approved};
use serde_json::Value;

const NOTHING: [&str; 0] = [];

fn user() -> Value {
    json!({ "user_id": "u1" })
}

async fn start(agent: AgentBuilder) -> (Agent, String, kern::Result<RunOutput>) {
    let agent = agent.build().expect("the agent is right");
    let session = unique("session");
    let run = agent.run("go").user_id("alice").session_id(&session).await;
    (agent, session, run)
}

async fn paused(store: &Store, tools: Vec<ToolHandle>, name: &str, arguments: Value) -> (Agent, String, RunOutput) {
    let (agent, session, run) = start(store.agent(tools, one_call(name, arguments))).await;
    let run = run.expect("the run starts");
    assert!(run.is_paused());
    (agent, session, run)
}

/// Runs SQL on the store's file past kern.
fn sql(store: &Store, text: &str) -> rusqlite::Result<()> {
    store.raw().execute_batch(text)
}

#[tokio::test]
async fn w1_a_payload_of_requirements_does_not_pass_the_gate_and_the_documents_call_works() {
    let store = Store::new().await;
    let (agent, session, run) = paused(&store, tools![erase_user], "erase_user", user()).await;
    let mut own = run.requirements.clone();
    own[0].confirm().unwrap();
    let continued = || agent.continue_run(&run.run_id).user_id("alice");
    assert_eq!(code(continued().requirements(own.clone()).await), "approval_pending");
    assert_eq!(store.approvals(&run.run_id).await[0].status, ApprovalStatus::Pending);
    assert_eq!(ledger::of(&session), NOTHING);
    store.approve_all(&run.run_id).await;
    let run = continued().requirements(run.requirements.clone()).await.unwrap();
    assert_eq!(told(&run), ["erased u1"]);
}

#[tokio::test]
async fn w4_a_run_whose_approval_cannot_be_written_fails_and_is_never_paused_without_it() {
    for table in ["approvals", "calls", "audit", "outbox"] {
        let store = Store::new().await;
        let trigger = format!("CREATE TRIGGER refuse BEFORE INSERT ON kern_{table} WHEN NEW.rowid IS NOT NULL");
        // The first entries of the log belong to the start of the run.
        let only = if table == "audit" { " AND NEW.action IN ('requested', 'run_paused')" } else { "" };
        sql(&store, &format!("{trigger}{only} BEGIN SELECT RAISE(ABORT, 'no'); END;")).unwrap();
        let (agent, session, run) = start(store.agent(tools![delete_user], one_call("delete_user", user()))).await;
        assert_eq!(code(run), "store_unavailable", "{table}");
        // The run and its pause are one transaction: nothing of it is there, and nothing to continue.
        assert!(store.db.list_runs(RunFilter::new()).await.unwrap().is_empty(), "{table}");
        for rows in ["approvals", "calls", "audit", "outbox"] {
            // The log has its first entry, which is of no run.
            assert_eq!(store.count(rows), i64::from(rows == "audit"), "{table}: {rows}");
        }
        assert!(agent.resume_decided_runs().await.unwrap().is_empty(), "{table}");
        assert_eq!(ledger::of(&session), NOTHING, "{table}");
    }
}

#[tokio::test]
async fn w4_a_locked_store_fails_the_run() {
    let store = Store::new().await;
    let thinking = kern_tests::gates::gate(&unique("model"));
    let script = kern::models::ScriptedModel::new(one_call("delete_user", user()));
    let model = kern_tests::gates::SlowModel::new(script, 0, std::sync::Arc::clone(&thinking));
    let agent = store.agent(tools![delete_user], []).model(model).build().unwrap();
    let session = unique("session");
    let running = tokio::spawn(agent.run("go").user_id("alice").session_id(&session).into_future());
    thinking.arrival().await;
    let raw = store.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    thinking.open();
    assert_eq!(code(running.await.unwrap()), "store_busy");
    raw.execute_batch("ROLLBACK").unwrap();
    assert!(store.db.list_runs(RunFilter::new()).await.unwrap().is_empty());
    assert_eq!((store.count("approvals"), store.count("audit")), (0, 1));
    assert_eq!(ledger::of(&session), NOTHING);
}

#[tokio::test]
async fn w4_a_full_store_fails_the_run() {
    let store = Store::new().await;
    // A table whose numbers are used up makes SQLite say what it says on a full disk, in the statement that asks.
    sql(
        &store,
        "CREATE TABLE used_up (id INTEGER PRIMARY KEY AUTOINCREMENT);
         INSERT INTO used_up VALUES (9223372036854775807);
         CREATE TRIGGER full AFTER INSERT ON kern_approvals BEGIN INSERT INTO used_up (id) VALUES (NULL); END;",
    )
    .unwrap();
    let (agent, session, run) = start(store.agent(tools![delete_user], one_call("delete_user", user()))).await;
    assert_eq!(code(run), "store_full");
    assert!(store.db.list_runs(RunFilter::new()).await.unwrap().is_empty());
    assert_eq!((store.count("approvals"), store.count("audit")), (0, 1));
    assert!(agent.resume_decided_runs().await.unwrap().is_empty());
    assert_eq!(ledger::of(&session), NOTHING);
    // Room again, and the same agent works.
    sql(&store, "DROP TRIGGER full").unwrap();
    assert!(agent.run("go").await.unwrap().is_paused());
}

#[tokio::test]
async fn w5_no_status_but_approved_executes() {
    // As a form: there the reference went past its gate.
    for (name, tools, arguments) in [
        ("delete_user", tools![delete_user], user()),
        ("mail_all", tools![mail_all], json!({ "subject": "hi" })),
        ("run_outside_approved", tools![run_outside_approved], json!({ "command": "ls" })),
    ] {
        for status in ["pending", "rejected", "expired", "cancelled", "approoved", "APPROVED", "approved "] {
            let store = Store::new().await;
            let (agent, session, run) = paused(&store, tools.clone(), name, arguments.clone()).await;
            // The table itself refuses words it does not know; somebody who can write the file can say otherwise.
            let update = format!("UPDATE kern_approvals SET status = '{status}';");
            sql(&store, &format!("PRAGMA ignore_check_constraints = ON; {update}")).unwrap();
            let outcome = agent.continue_run(&run.run_id).requirements(answered(&run)).user_id("alice").await;
            match status {
                "pending" => assert_eq!(code(outcome), "approval_pending", "{name}"),
                "rejected" | "expired" | "cancelled" => {
                    let run = outcome.unwrap();
                    assert_eq!((run.status, run.tools[0].tool_call_error), (RunStatus::Completed, Some(true)));
                }
                _ => assert_eq!(code(outcome), "store_corrupt", "{name} {status}"),
            }
            assert_eq!(ledger::of(&session), NOTHING, "{name} {status}");
            assert!(store.executions(&run.run_id).await.is_empty(), "{name} {status}");
        }
    }
}

/// Everything a user can say to a run.
fn answered(run: &RunOutput) -> Vec<RunRequirement> {
    let mut run = run.clone();
    for requirement in run.active_requirements_mut() {
        if requirement.needs_user_input() {
            requirement.provide_user_input([("to", json!("a@b")), ("copies", json!(1))]).expect("it is asked for");
        } else if requirement.needs_external_execution() {
            requirement.set_external_execution_result("done").expect("it is asked for");
        } else {
            requirement.confirm().expect("it is asked for");
        }
    }
    run.requirements
}

#[tokio::test]
async fn w5_approved_by_sql_alone_executes_nothing() {
    let store = Store::new().await;
    let (agent, session, run) = paused(&store, tools![delete_user], "delete_user", user()).await;
    // A status without the decision's other half: no digest was decided on, no execution was allowed.
    sql(&store, "UPDATE kern_approvals SET status = 'approved', resolved_by = 'admin', resolved_at = 1;").unwrap();
    let outcome = agent.continue_run(&run.run_id).await;
    assert_eq!(code(outcome), "digest_mismatch");
    assert!(agent.resume_decided_runs().await.unwrap().into_iter().all(|run| code(run) == "digest_mismatch"));
    assert_eq!(ledger::of(&session), NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn w6_of_many_that_continue_one_executes() {
    let store = Store::new().await;
    let (_, session, run) = paused(&store, tools![erase_user], "erase_user", user()).await;
    store.approve_all(&run.run_id).await;
    let build = |db| {
        let agent = store.agent(tools![erase_user], one_call("erase_user", user())).db(db);
        agent.lease(3 * kern_tests::store::PATIENT).build().unwrap()
    };
    let (agent, elsewhere) = (build(store.patient().await), build(store.patient().await));
    let runners: Vec<_> = (0..32)
        .map(|place| {
            let agent = if place % 2 == 0 { &agent } else { &elsewhere };
            let mut requirements = run.requirements.clone();
            requirements[0].confirm().unwrap();
            let continued = agent.continue_run(&run.run_id).requirements(requirements).user_id("alice");
            tokio::spawn(continued.into_future())
        })
        .collect();
    let won = winners(runners).await;
    assert_eq!((won, ledger::of(&session)), (1, vec!["erase u1".to_owned()]));
}

#[tokio::test]
async fn w7_what_is_decided_can_neither_be_edited_nor_deleted_with_plain_sql() {
    let store = Store::new().await;
    let (agent, _, run) = paused(&store, tools![delete_user], "delete_user", user()).await;
    store.approve_all(&run.run_id).await;
    let before = store.approvals(&run.run_id).await;
    for statement in [
        "UPDATE kern_approvals SET status = 'rejected'",
        "UPDATE kern_approvals SET status = 'pending'",
        "UPDATE kern_approvals SET tool_args = '{\"user_id\":\"u2\"}'",
        "UPDATE kern_approvals SET tool_name = 'other'",
        "UPDATE kern_approvals SET resolved_by = 'mallory'",
        "UPDATE kern_approvals SET resolved_at = 1",
        "UPDATE kern_approvals SET requester = NULL",
        "UPDATE kern_approvals SET user_id = 'mallory'",
        "UPDATE kern_approvals SET digest = 'x', decided_digest = 'x'",
        "UPDATE kern_approvals SET policy = '{}'",
        "UPDATE kern_approvals SET approval_type = 'audit'",
        "DELETE FROM kern_approvals",
        "INSERT OR REPLACE INTO kern_approvals SELECT * FROM kern_approvals",
        "UPDATE kern_executions SET arguments = '{\"user_id\":\"u2\"}'",
        "UPDATE kern_executions SET decided_digest = 'x'",
        "UPDATE kern_executions SET attempt = -1",
        "DELETE FROM kern_executions",
        "UPDATE kern_calls SET tool_name = 'other'",
        "UPDATE kern_calls SET policy = '{}'",
        "DELETE FROM kern_calls",
        "DELETE FROM kern_runs",
        "UPDATE kern_runs SET requester = NULL",
        "UPDATE kern_votes SET digest = 'x'",
        "DELETE FROM kern_votes",
        "UPDATE kern_audit SET action = 'nothing'",
        "DELETE FROM kern_audit",
    ] {
        let refused = sql(&store, statement).expect_err(statement);
        assert!(refused.to_string().contains("kern:"), "{statement}: {refused}");
    }
    assert_eq!(store.approvals(&run.run_id).await, before);
    let run = agent.continue_run(&run.run_id).await.unwrap();
    assert_eq!(told(&run), ["deleted u1"]);
    store.actions(&run.run_id).await;
}

#[tokio::test]
async fn w7_whoever_edits_past_the_triggers_is_found_out_and_nothing_runs() {
    for edit in [
        "UPDATE kern_calls SET arguments = '{\"user_id\":\"u2\"}'",
        "UPDATE kern_approvals SET tool_args = '{\"user_id\":\"u2\"}'",
        "UPDATE kern_executions SET arguments = '{\"user_id\":\"u2\"}'",
        "UPDATE kern_calls SET policy = replace(policy, '\"required\"', '\"audit\"')",
        "UPDATE kern_calls SET policy = replace(policy, '\"required\"', '\"audit\"'), approval_id = NULL",
        "UPDATE kern_runs SET requester = '{\"issuer\":null,\"subject\":\"mallory\",\"verified\":false}'",
        "UPDATE kern_approvals SET requirements = '[]'",
        "UPDATE kern_runs SET snapshot = replace(snapshot, 'u1', 'u2')",
        "UPDATE kern_runs SET snapshot = replace(snapshot, '\"protected\"', '{\"plain\":{\"arguments\":{\"user_id\":\"u2\"}}}')",
    ] {
        let store = Store::new().await;
        let (agent, session, run) = paused(&store, tools![delete_user], "delete_user", user()).await;
        store.approve_all(&run.run_id).await;
        let raw = store.raw();
        let triggers: Vec<String> = raw
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .and_then(|mut names| names.query_map((), |row| row.get(0))?.collect())
            .unwrap();
        triggers.iter().for_each(|name| raw.execute_batch(&format!("DROP TRIGGER {name}")).unwrap());
        raw.execute_batch(edit).unwrap();
        for outcome in [agent.continue_run(&run.run_id).await, agent.continue_run(&run.run_id).user_id("alice").await] {
            assert_eq!(code(outcome), "digest_mismatch", "{edit}");
        }
        assert!(agent.resume_decided_runs().await.unwrap().into_iter().all(|run| code(run) == "digest_mismatch"));
        assert_eq!(ledger::of(&session), NOTHING, "{edit}");
        let recorded = store.actions_on_record(&run.run_id).await;
        // Once for each row and day.
        assert!(recorded.iter().any(|action| action == "digest_mismatch"), "{edit}: {recorded:?}");
        let report = store.db.audit().verify().await.unwrap();
        assert!(report.is_log_intact() && !report.is_intact(), "{edit}: {report:?}");
    }
}

#[tokio::test]
async fn w7_deleting_what_is_not_there_is_not_found_and_records_name_who_asked_and_who_answered() {
    let store = Store::new().await;
    let missing = store.db.delete_approval(&"nothing".into()).await.unwrap_err();
    assert!(matches!(missing, DbError::NotFound { .. }) && missing.code() == "not_found", "{missing}");
    let (agent, _, run) = paused(&store, tools![export_asked], "export_asked", json!({ "customer": "c1" })).await;
    agent.continue_run(&run.run_id).requirements(answered(&run)).user_id("alice").await.unwrap();
    let record = store.approvals(&run.run_id).await.remove(0);
    assert_eq!((record.user_id.as_deref(), record.resolved_by.as_deref()), (Some("alice"), Some("alice")));
    assert_eq!(record.status, ApprovalStatus::Approved);
    store.db.delete_approval(&record.id).await.unwrap();
    assert_eq!(store.db.delete_approval(&record.id).await.unwrap_err().code(), "not_found");
    assert!(store.db.get_approval(&record.id).await.unwrap().is_none());
    assert_eq!(store.count("approvals"), 1, "the row itself stays");
}

#[tokio::test]
async fn w9_each_call_has_a_row_with_its_own_arguments() {
    let store = Store::new().await;
    let turns = [
        turn()
            .tool_call("delete_user", json!({ "user_id": "one" }))
            .tool_call("delete_user", json!({ "user_id": "everybody" }))
            .tool_call("restart", json!({ "service": "web" }))
            .tool_call("export_asked", json!({ "customer": "c1" })),
        turn().text("ok"),
    ];
    let (agent, session, run) = start(store.agent(tools![delete_user, restart, export_asked], turns)).await;
    let run = run.unwrap();
    let rows = store.approvals(&run.run_id).await;
    let shown: Vec<Value> = rows.iter().map(|row| Value::from(row.tool_args.clone().unwrap())).collect();
    assert_eq!(shown, [json!({ "user_id": "one" }), json!({ "user_id": "everybody" })]);
    let yes = Resolution::approved().by("admin");
    store.db.update_approval(&rows[0].id, ApprovalStatus::Pending, yes).await.unwrap();
    let continued = || agent.continue_run(&run.run_id).user_id("alice");
    // The siblings that nobody answered are not silently refused: the run waits for them.
    assert_eq!(code(continued().await), "approval_pending");
    store.db.update_approval(&rows[1].id, ApprovalStatus::Pending, Resolution::rejected().by("admin")).await.unwrap();
    assert_eq!(code(continued().await), "requirements_unresolved");
    assert_eq!(store.approvals(&run.run_id).await.len(), 2, "no record says that the user refused");
    assert_eq!(ledger::of(&session), NOTHING);
    let answers = answered(&agent.get_run(&run.run_id).await.unwrap());
    let run = continued().requirements(answers).await.unwrap();
    let refused = "Function call was rejected by an administrator";
    assert_eq!(told(&run), ["deleted one", refused, "restarted web", "exported c1"]);
}

/// Report. Nobody is asked, a record is kept.
#[tool(log_approval)]
async fn report(key: String) -> String {
    key
}

/// Both words for the same, on one tool: the compiler refuses it, see `kern-macros/ui/fail/log_approval_with_approval.rs`; so
/// it does with two pausing flags (`two_pausing_flags.rs`) and with one attribute twice (`approval_given_twice.rs`).
#[tokio::test]
async fn w10_a_bare_audit_tool_is_legal_and_no_attribute_is_dropped_or_weakened() {
    for (tools, name, arguments) in
        [(tools![export], "export", json!({ "customer": "c1" })), (tools![report], "report", json!({ "key": "k" }))]
    {
        let policy = &tools[0].descriptor().policy;
        assert_eq!((policy.pause, policy.approval.as_ref()), (None, Some(&ApprovalPolicy::Audit)));
        let store = Store::new().await;
        let (_, _, run) = start(store.agent(tools, one_call(name, arguments))).await;
        let run = run.unwrap();
        assert_eq!(run.status, RunStatus::Completed);
        assert_eq!(store.approvals(&run.run_id).await.len(), 1);
        assert_eq!(store.states(&run.run_id).await, ["succeeded"]);
    }
    for (tools, pauses) in [(tools![delete_user], false), (tools![erase_user], true), (tools![mail_all], true)] {
        let policy = &tools[0].descriptor().policy;
        assert_eq!((policy.pause.is_some(), policy.approval.as_ref()), (pauses, Some(&ApprovalPolicy::Required)));
    }
    let ui = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../kern-macros/ui/fail");
    for refused in ["log_approval_with_approval", "two_pausing_flags", "approval_given_twice", "approval_without_tool"]
    {
        assert!(ui.join(refused).with_extension("rs").is_file(), "{refused} is shown to be refused");
    }
}

#[tokio::test]
async fn w8_a_cancelled_run_is_cancelled_with_its_approvals_and_nothing_of_it_ever_runs() {
    let store = Store::new().await;
    let (agent, session, run) = paused(&store, tools![delete_user], "delete_user", user()).await;
    let cancelled = agent.cancel_run(&run.run_id).user_id("carol").await.unwrap();
    assert_eq!(cancelled.status, RunStatus::Cancelled);
    let row = store.approvals(&run.run_id).await.remove(0);
    assert_eq!((row.status, row.run_status), (ApprovalStatus::Cancelled, Some(RunStatus::Cancelled)));
    let yes = Resolution::approved().by("admin").digest(row.digest);
    let late = store.db.update_approval(&row.id, ApprovalStatus::Pending, yes).await;
    assert!(matches!(late, Err(DbError::Conflict { .. })), "{late:?}");
    assert_eq!(code(agent.continue_run(&run.run_id).user_id("alice").await), "not_paused");
    assert_eq!(code(agent.cancel_run(&run.run_id).await), "not_paused");
    assert_eq!(code(agent.cancel_run("nothing").await), "run_not_found");
    // Approved, and then cancelled: the same.
    let (agent, other, run) = paused(&store, tools![delete_user], "delete_user", user()).await;
    store.approve_all(&run.run_id).await;
    agent.cancel_run(&run.run_id).await.unwrap();
    assert_eq!(store.states(&run.run_id).await, ["abandoned"]);
    assert_eq!(code(agent.continue_run(&run.run_id).user_id("alice").await), "not_paused");
    assert!(agent.resume_decided_runs().await.unwrap().is_empty());
    assert_eq!((ledger::of(&session), ledger::of(&other)), (vec![], vec![]));
    // Who cancelled is on record.
    let entries = store.db.audit().entries(0, 1000).await.unwrap();
    let cancelled: Vec<_> = entries.iter().filter(|entry| entry.action == "run_cancelled").collect();
    assert_eq!(cancelled.len(), 2);
    assert!(json!(cancelled[0].actor).to_string().contains("carol"), "{:?}", cancelled[0].actor);
}

/// A run whose model never answers for the second time.
async fn thinking(
    store: &Store,
    lease: std::time::Duration,
) -> (Agent, tokio::task::JoinHandle<kern::Result<RunOutput>>) {
    let place = kern_tests::gates::gate(&unique("model"));
    let script = kern::models::ScriptedModel::new(one_call("lookup", json!({ "key": "k" })));
    let model = kern_tests::gates::SlowModel::new(script, 1, std::sync::Arc::clone(&place));
    let agent = store
        .agent(tools![kern_tests::tools::lookup], [])
        .model(model)
        .lease(lease)
        .build()
        .expect("the agent is right");
    let running = tokio::spawn(agent.run("go").into_future());
    place.arrival().await;
    (agent, running)
}

#[tokio::test]
async fn w8_a_running_run_that_is_cancelled_stops_waiting_for_its_model() {
    let store = Store::new().await;
    // By the same agent: at once, whatever the lease is.
    let (agent, running) = thinking(&store, std::time::Duration::from_secs(3600)).await;
    let run_id = store.only_run().await;
    agent.cancel_run(&run_id).await.unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), running).await.expect("it does not wait");
    let run = ended.unwrap().unwrap();
    assert_eq!((run.status, run.content()), (RunStatus::Cancelled, ""));
}

#[tokio::test]
async fn w8_a_run_that_is_cancelled_elsewhere_stops_with_the_next_renewal_of_its_lease() {
    let store = Store::new().await;
    let (_, running) = thinking(&store, kern_tests::store::SHORT_LEASE).await;
    let elsewhere = Agent::builder().id("agent").db(store.patient().await).lease(3 * kern_tests::store::PATIENT);
    let elsewhere = elsewhere.model(kern::models::ScriptedModel::new([])).build().unwrap();
    elsewhere.cancel_run(store.only_run().await).await.unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), running).await.expect("it does not wait");
    assert_eq!(ended.unwrap().unwrap().status, RunStatus::Cancelled);
}

#[tokio::test]
async fn w8_a_run_that_is_cancelled_in_a_body_keeps_what_the_body_gave_and_asks_the_model_no_more() {
    let store = Store::new().await;
    for name in ["wait_plain", "wait"] {
        // A script without a second turn: were the model asked, the run would end in an error.
        let script = [turn().tool_call(name, json!({ "key": "k" }))];
        let tools = tools![kern_tests::tools::wait_plain, kern_tests::tools::wait];
        let agent = store.agent(tools, script).build().unwrap();
        let session = unique("session");
        let started = agent.run("go").session_id(&session);
        let running = if name == "wait" {
            let run = started.await.unwrap();
            store.approve_all(&run.run_id).await;
            tokio::spawn(agent.continue_run(&run.run_id).into_future())
        } else {
            tokio::spawn(started.into_future())
        };
        let body = kern_tests::gates::gate(&session);
        body.arrival().await;
        let runs = store.db.list_runs(kern::db::RunFilter::new().session_id(&session)).await.unwrap();
        agent.cancel_run(&runs[0].run_id).await.unwrap();
        // What a plain call gives is not waited for any more, what a protected one gives is recorded.
        if name == "wait" {
            body.open();
        }
        let ended = tokio::time::timeout(std::time::Duration::from_secs(20), running).await.expect("it ends");
        assert_eq!(ended.unwrap().unwrap().status, RunStatus::Cancelled, "{name}");
        body.open();
        let recorded: &[&str] = if name == "wait" { &["succeeded"] } else { &[] };
        assert_eq!(store.states(&runs[0].run_id).await, recorded, "{name}");
    }
}

#[tokio::test]
async fn w14_the_administrators_note_is_given_to_the_model() {
    let store = Store::new().await;
    let (agent, _, run) = paused(&store, tools![delete_user], "delete_user", user()).await;
    let row = store.approvals(&run.run_id).await.remove(0);
    let no = Resolution::rejected().by("admin").note("the account is under audit");
    store.db.update_approval(&row.id, ApprovalStatus::Pending, no).await.unwrap();
    let run = agent.continue_run(&run.run_id).user_id("alice").await.unwrap();
    assert!(told(&run)[0].contains("the account is under audit"), "{:?}", told(&run));
}
