//! Twenty ways to change a store behind kern's back. Each is refused where something would run for it, or found by
//! `verify`; most are both.
//!
//! One story is written once, on a real file. Every class gets a copy of the file, with the triggers dropped where they
//! would stand in the way: whoever has SQL of their own can do that.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

use std::path::PathBuf;

use kern::db::{CheckpointKey, Db, DbExt, SqliteDb, Transitions as _};
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;
use kern::run::RunId;
use kern_tests::folder::Folder;
use kern_tests::ledger;
use kern_tests::scale;
use kern_tests::steps::{drop_triggers, new_key, verified};
use kern_tests::store::{Store, open};
use kern_tests::tools::{delete_user, export};
use rusqlite::Connection;

/// What the story has: a call that is approved and has not started, and things that are over.
struct Story {
    folder: Folder,
    /// Paused, its call approved.
    open: RunId,
    session: String,
}

impl Story {
    fn path(&self) -> PathBuf {
        self.folder.file("story.db")
    }
}

fn agent(db: SqliteDb) -> Agent {
    let turns = [turn().tool_call("delete_user", json!({ "user_id": "u_42" })), turn().text("done")];
    let tools = tools![delete_user, export];
    Agent::builder().id("agent").model(ScriptedModel::new(turns)).tools(tools).db(db).build().unwrap()
}

async fn decide(db: &SqliteDb, run: &RunOutput, resolution: Resolution) {
    let waiting = ApprovalFilter::new().status(ApprovalStatus::Pending).run_id(&run.run_id);
    for approval in db.list_approvals(waiting).await.unwrap().data {
        db.update_approval(&approval.id, ApprovalStatus::Pending, resolution.clone()).await.unwrap();
    }
}

/// Pays. Somebody of the finance pool decides.
#[approval(pool = "finance")]
#[tool]
fn pay(to: String) -> String {
    format!("paid {to}")
}

/// One run that went to its end, one that was rejected, a bare audit call, a pool, a call that somebody has approved who is in
/// it by a token, and one run whose call is approved and waits.
async fn story() -> Story {
    let folder = Folder::new();
    let session = RunId::generate().to_string();
    let db = open(folder.file("story.db")).await;
    db.set_pool("finance", ["bob", "eve"]).await.unwrap();
    let ask = || agent(db.clone()).run("delete u_42").user_id("ana").session_id("before");
    let run = ask().await.unwrap();
    decide(&db, &run, Resolution::approved().by("bob").note("as agreed")).await;
    agent(db.clone()).continue_run(&run.run_id).await.unwrap();
    let run = ask().await.unwrap();
    decide(&db, &run, Resolution::rejected().by("bob").note("no")).await;
    agent(db.clone()).continue_run(&run.run_id).await.unwrap();
    let turns = [turn().tool_call("export", json!({ "customer": "c_1" })), turn().text("exported")];
    let exporting =
        Agent::builder().id("exporter").model(ScriptedModel::new(turns)).tools(tools![export]).db(db.clone());
    exporting.build().unwrap().run("export c_1").session_id("before").await.unwrap();
    let turns = [turn().tool_call("pay", json!({ "to": "u_1" })), turn().text("paid")];
    let paying = Agent::builder().id("payer").model(ScriptedModel::new(turns)).tools(tools![pay]).db(db.clone());
    let run = paying.build().unwrap().run("pay u_1").user_id("ana").session_id("before").await.unwrap();
    let in_a_year = 365 * 86_400_000 + run.created_at * 1000;
    decide(&db, &run, Resolution::approved().by_member(verified("dan"), ["finance"], in_a_year)).await;
    let run = agent(db.clone()).run("delete u_42").user_id("ana").session_id(session.as_str()).await.unwrap();
    decide(&db, &run, Resolution::approved().by("bob")).await;
    db.make_key(new_key("00112233445566aa")).await.unwrap();
    assert!(db.audit().verify().await.unwrap().is_intact());
    Story { folder, open: run.run_id, session }
}

/// What is done to a copy of the file. `{open}` stands for the run whose call is approved and waits.
struct Class {
    name: &'static str,
    /// Whether kern's triggers are dropped first, and made again with the statements that had made them.
    quietly: bool,
    sql: &'static str,
    /// Whether the call that waits must be refused for it: what was changed is its own.
    refused: bool,
}

const fn class(name: &'static str, refused: bool, sql: &'static str) -> Class {
    Class { name, quietly: true, sql, refused }
}

const CLASSES: &[Class] = &[
    // The log.
    class("an entry's words are edited", false, "UPDATE kern_audit SET payload = '{}' WHERE seq = 3"),
    class("who did something is edited", false, "UPDATE kern_audit SET actor = json_set(actor, '$.subject', 'eve') WHERE action = 'approved'"),
    class(
        "an entry is inserted",
        false,
        "INSERT INTO kern_audit SELECT shard, (SELECT max(seq) FROM kern_audit) + 1, at_ms, now_ms, actor, action, evidence, root_run_id,
             run_id, turn, idx, approval_id, execution_id, tool_name, call_digest, payload, prev_hash, hash FROM kern_audit WHERE action = 'approved' LIMIT 1",
    ),
    class(
        "an entry is deleted",
        true,
        "DELETE FROM kern_audit WHERE run_id = '{open}' AND action = 'approved'",
    ),
    class(
        "two entries trade places",
        false,
        "UPDATE kern_audit SET seq = -1 WHERE seq = 4; UPDATE kern_audit SET seq = 4 WHERE seq = 5;
         UPDATE kern_audit SET seq = 5 WHERE seq = -1",
    ),
    class("the time that a guard compared is edited", false, "UPDATE kern_audit SET now_ms = now_ms - 1 WHERE action = 'approved'"),
    class("an entry's place in time is edited", false, "UPDATE kern_audit SET at_ms = at_ms + 1 WHERE action = 'approved'"),
    class("the tool of an entry is edited", false, "UPDATE kern_audit SET tool_name = 'other' WHERE action = 'approved'"),
    class("the store says that it is another one", false, "UPDATE kern_store SET store_id = '00'"),
    class("the store says that it has more chains", false, "UPDATE kern_store SET shards = 16"),
    // The guards.
    Class {
        name: "the triggers are dropped",
        quietly: false,
        sql: "SELECT 1",
        refused: false,
    },
    // Approvals.
    class("a no becomes a yes", false, "UPDATE kern_approvals SET status = 'approved', decided_digest = digest WHERE status = 'rejected'"),
    class("another person has decided", false, "UPDATE kern_approvals SET resolved_by = 'eve', resolver = json_set(resolver, '$.subject', 'eve') WHERE status = 'approved' AND approval_type = 'required'"),
    class("a hidden row is shown, or a row is hidden", true, "UPDATE kern_approvals SET deleted_at = 1 WHERE run_id = '{open}'"),
    class("an approval is gone", true, "PRAGMA foreign_keys = OFF; DELETE FROM kern_votes WHERE approval_id IN (SELECT id FROM kern_approvals WHERE run_id = '{open}'); DELETE FROM kern_approvals WHERE run_id = '{open}'"),
    // Executions.
    class("a start is taken back", false, "UPDATE kern_executions SET status = 'ready', attempt = 0, fence = 0, owner = NULL, finished_at_ms = NULL, result = NULL WHERE status = 'succeeded' AND authority = 'approval'"),
    class("a result is another one", false, "UPDATE kern_executions SET result = 'deleted nobody' WHERE status = 'succeeded'"),
    // Runs.
    class("another person has asked", true, "UPDATE kern_runs SET requester = json_set(requester, '$.subject', 'eve') WHERE run_id = '{open}'"),
    class("a run's conversation is another one", true, "UPDATE kern_runs SET snapshot = replace(snapshot, 'delete u_42', 'delete u_43') WHERE run_id = '{open}'"),
    // Votes.
    class("a voter is in the pool for longer", false, "UPDATE kern_votes SET member_until_ms = member_until_ms + 86400000"),
    class("a vote is gone", false, "DELETE FROM kern_votes WHERE approval_id IN (SELECT id FROM kern_approvals WHERE run_id = '{open}')"),
    // What is bound.
    class("a policy is weaker", true, "UPDATE kern_calls SET policy = json_set(policy, '$.allow_self', json('true')) WHERE run_id = '{open}'; UPDATE kern_approvals SET policy = json_set(policy, '$.allow_self', json('true')) WHERE run_id = '{open}'"),
    class("a digest is another one", true, "UPDATE kern_executions SET decided_digest = replace(decided_digest, substr(decided_digest, 1, 1), 'x') WHERE run_id = '{open}'"),
    class("the arguments are others, in every copy", true, "UPDATE kern_calls SET arguments = replace(arguments, 'u_42', 'u_43') WHERE run_id = '{open}'; UPDATE kern_approvals SET tool_args = replace(tool_args, 'u_42', 'u_43') WHERE run_id = '{open}'; UPDATE kern_executions SET arguments = replace(arguments, 'u_42', 'u_43') WHERE run_id = '{open}'"),
    class("another tool, in every copy", true, "UPDATE kern_calls SET tool_name = 'export' WHERE run_id = '{open}'; UPDATE kern_approvals SET tool_name = 'export' WHERE run_id = '{open}'; UPDATE kern_executions SET tool_name = 'export' WHERE run_id = '{open}'"),
    class("an API key is worth more", false, "UPDATE kern_keys SET scopes = json_insert(scopes, '$[#]', 'agent_os:admin')"),
    class("an API key expires later", false, "UPDATE kern_keys SET expires_at_ms = expires_at_ms + 1"),
    class("an API key is added", false, "INSERT INTO kern_keys SELECT 'ffffffffffffffff', secret_hash, subject, scopes, created_by, created_at_ms, expires_at_ms, revoked_by, revoked_at_ms FROM kern_keys"),
    class("a pool has another member", false, "UPDATE kern_pools SET members = replace(members, 'eve', 'ana')"),
];

/// Changes a copy of the file, with kern's triggers out of the way. They are there again afterwards, unless the class is
/// about them: what is found is the change, not that they are gone.
fn tamper(raw: &Connection, class: &Class, open: &RunId) {
    let triggers: Vec<String> = raw
        .prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger'")
        .and_then(|mut statement| statement.query_map((), |row| row.get(0))?.collect())
        .unwrap();
    drop_triggers(raw);
    raw.execute_batch(&class.sql.replace("{open}", open.as_str()))
        .unwrap_or_else(|error| panic!("{}: {error}", class.name));
    if class.quietly {
        assert!(raw.total_changes() > 0, "{}: nothing has changed", class.name);
        triggers.iter().for_each(|trigger| raw.execute_batch(trigger).unwrap());
    }
}

/// Whether the call that waits is refused: the body is not entered, whoever goes on with the run.
async fn is_refused(db: &SqliteDb, story: &Story) -> bool {
    let agent = agent(db.clone());
    let before = ledger::of(&story.session).len();
    // Who is refused is told so, or the model is: what counts here is the body.
    let _ = agent.continue_run(&story.open).user_id("ana").await;
    let _ = agent.resume_decided_runs().await;
    let entered = ledger::of(&story.session).len() - before;
    assert!(entered <= 1, "one approval, one start");
    entered == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_class_of_tampering_is_refused_or_found() {
    let story = story().await;
    let mut found = 0;
    for class in CLASSES {
        let folder = Folder::new();
        let path = folder.file("copy.db");
        std::fs::copy(story.path(), &path).unwrap();
        tamper(&Connection::open(&path).unwrap(), class, &story.open);
        let db = open(path).await;
        let report = db.audit().verify().await.unwrap();
        assert!(!report.is_intact(), "{}: verify finds nothing", class.name);
        if class.refused {
            assert!(is_refused(&db, &story).await, "{}: the call that waits was started", class.name);
        }
        found += 1;
    }
    scale::figure("tamper classes found in one file", format!("{found} of {}", CLASSES.len()));
}

/// One approved run of an agent, whose rows are changed: what another agent, or the same, is told then.
async fn changed(sql: &str, by: &str) -> (Store, RunId, String, Option<&'static str>) {
    let store = Store::new().await;
    let session = RunId::generate().to_string();
    let agent = |id: &str| {
        let turns = [turn().tool_call("delete_user", json!({ "user_id": "u_42" })), turn().text("done")];
        let tools = tools![delete_user];
        Agent::builder().id(id).model(ScriptedModel::new(turns)).tools(tools).db(store.db.clone()).build().unwrap()
    };
    let run = agent("staging").run("delete u_42").user_id("ana").session_id(session.as_str()).await.unwrap();
    decide(&store.db, &run, Resolution::approved().by("bob")).await;
    let raw = store.raw();
    drop_triggers(&raw);
    raw.execute_batch(sql).unwrap();
    let told = agent(by).continue_run(&run.run_id).user_id("ana").await.err().map(|error| error.code());
    assert!(agent(by).resume_decided_runs().await.unwrap().iter().all(Result::is_err));
    (store, run.run_id, session, told)
}

/// The field: a call that was approved for the agent `staging` ran in `prod`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_approved_for_one_agent_runs_in_no_other() {
    let sql = "UPDATE kern_runs SET agent_id = 'prod'; UPDATE kern_approvals SET agent_id = 'prod'";
    let (store, run_id, session, told) = changed(sql, "prod").await;
    assert_eq!((told, ledger::of(&session).len()), (Some("digest_mismatch"), 0));
    assert_eq!(store.actions_on_record(&run_id).await.iter().filter(|word| *word == "digest_mismatch").count(), 1);
    assert!(!store.db.audit().verify().await.unwrap().is_intact());
}

/// The field: a session that was swapped reached the body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_swapped_reaches_no_body() {
    let sql = "UPDATE kern_runs SET session_id = 'other'; UPDATE kern_approvals SET session_id = 'other'";
    let (store, run_id, session, told) = changed(sql, "staging").await;
    assert_eq!(told, Some("digest_mismatch"));
    assert_eq!((ledger::of(&session).len(), ledger::of("other").len()), (0, 0));
    assert_eq!(store.actions_on_record(&run_id).await.iter().filter(|word| *word == "digest_mismatch").count(), 1);
}

/// The field: an argument that `approvals.sensitive` hid was approved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_argument_that_a_row_hides_is_not_approved() {
    let store = Store::new().await;
    let run = agent(store.db.clone()).run("delete u_42").user_id("ana").await.unwrap();
    let raw = store.raw();
    drop_triggers(&raw);
    raw.execute_batch("UPDATE kern_approvals SET sensitive = '[\"user_id\"]'").unwrap();
    let approval = store.approvals(&run.run_id).await.remove(0);
    let yes = Resolution::approved().by("bob").digest(approval.digest);
    let refused = store.db.update_approval(&approval.id, ApprovalStatus::Pending, yes).await;
    assert!(matches!(refused, Err(kern::db::Error::DigestMismatch { .. })), "{refused:?}");
    assert_eq!(store.approvals(&run.run_id).await.remove(0).status, ApprovalStatus::Pending);
    assert!(!store.db.audit().verify().await.unwrap().is_intact());
}

/// What leaves no trace in what remains is found by a checkpoint that was kept elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_was_cut_off_and_an_older_copy_are_found_with_a_checkpoint() {
    let story = story().await;
    let older = story.folder.file("older.db");
    std::fs::copy(story.path(), &older).unwrap();
    let key = CheckpointKey::generate().unwrap();
    let db = open(story.path()).await;
    agent(db.clone()).continue_run(&story.open).user_id("ana").await.unwrap();
    let kept = vec![db.audit().checkpoint(&key).await.unwrap().unwrap()];
    assert!(db.audit().verify_signed(kept.clone(), &key.public()).await.unwrap().is_intact());
    drop(db);

    let raw = Connection::open(story.path()).unwrap();
    let cut = Class {
        name: "the tail is cut off",
        quietly: true,
        sql: "DELETE FROM kern_checkpoints; DELETE FROM kern_audit WHERE seq > (SELECT max(seq) - 2 FROM kern_audit)",
        refused: false,
    };
    tamper(&raw, &cut, &story.open);
    drop(raw);
    let mut found = 0;
    for path in [story.path(), older] {
        let db = open(path).await;
        let report = db.audit().verify_signed(kept.clone(), &key.public()).await.unwrap();
        assert!(!report.is_log_intact(), "{report:?}");
        found += 1;
    }
    scale::figure("tamper classes found with a checkpoint kept elsewhere", format!("{found} of 2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_has_changed_is_intact_and_runs() {
    let story = story().await;
    let db = open(story.path()).await;
    assert!(db.audit().verify().await.unwrap().is_intact());
    assert!(!is_refused(&db, &story).await, "the call that waits is approved");
}
