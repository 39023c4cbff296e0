//! Rows: what comes back is what was stored, in the order of every store, and what is stored cannot be changed.

use kern_db::{
    DbExt as _, DeliveryFilter, Ended, Error, IntoDb as _, NewSession, RunFilter, RunId, SessionChange,
    SessionDeletion, SessionFilter,
};
use kern_tests::history;
use kern_tests::postgres::server;
use kern_tests::steps::{Store, begin, required};

#[tokio::test(flavor = "multi_thread")]
async fn a_result_with_a_nul_is_kept_as_it_is() {
    let store = Store::on_postgres().await;
    for result in ["a\0b", "\u{1}", "\u{1}0\0", "é\u{1}1"] {
        let (claim, call) = store.executing().await;
        store.finish_call(call.ticket(), Ended::Succeeded(result.to_owned()), Vec::new()).await.unwrap();
        let kept = store.call(&claim.run_id).await.execution.unwrap().result;
        assert_eq!(kept.as_deref(), Some(result));
    }
    history::check(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i22_what_kern_never_wrote_is_corrupt() {
    let store = Store::on_postgres().await;
    let (claim, call) = store.executing().await;
    store.succeed(&call).await;
    let raw = store.database().raw().await;
    let tamper = "ALTER TABLE kern_executions DISABLE TRIGGER ALL; UPDATE kern_executions SET result = E'\\x01' || 'x'";
    raw.batch_execute(tamper).await.unwrap();
    let refused = store.get_run(&claim.run_id).await;
    let corrupt = |refused: &Result<_, Error>, column: &str| {
        assert!(matches!(refused, Err(Error::Corrupt { place, .. }) if place == column), "{refused:?}");
    };
    corrupt(&refused, "executions.result");
    raw.batch_execute("ALTER TABLE kern_runs ALTER COLUMN turn TYPE float8").await.unwrap();
    corrupt(&store.second().await.get_run(&claim.run_id).await, "runs.turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_have_the_same_order_as_in_a_file() {
    let (server, file) = (Store::on_postgres().await, Store::on_a_file().await);
    let ids = ["b", "B", "a_1", "a-1", "a1", "A", "é", "z", "Z", "aa", "a", "_", "-"];
    for id in ids {
        for store in [&server, &file] {
            store.begin_run(begin(&RunId::from(id))).await.unwrap();
        }
    }
    let mut after: Option<RunId> = None;
    let mut found = Vec::new();
    loop {
        let mut filter = RunFilter::new().limit(3);
        if let Some(after) = &after {
            filter = filter.after(after.clone());
        }
        let page = server.list_runs(filter.clone()).await.unwrap();
        let same = file.list_runs(filter).await.unwrap();
        let of = |runs: &[kern_db::Run]| runs.iter().map(|run| run.run_id.clone()).collect::<Vec<_>>();
        assert_eq!(of(&page), of(&same));
        let Some(last) = page.last() else { break };
        after = Some(last.run_id.clone());
        found.extend(of(&page));
    }
    assert_eq!(found.len(), ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn i16_the_owner_of_the_tables_cannot_change_history_by_a_slip() {
    let store = Store::on_postgres().await;
    let (_, call) = store.executing().await;
    store.succeed(&call).await;
    store.write_pool("finance".to_owned(), vec!["eve".to_owned()], None).await.unwrap();
    store.make_key(kern_tests::steps::new_key("00112233445566aa")).await.unwrap();
    store.revoke_key("00112233445566aa", None).await.unwrap();
    store.register_webhook("w".to_owned(), vec!["approval.requested".to_owned()]).await.unwrap();
    store.paused(&[required()]).await;
    while store.hand_over_events(100).await.unwrap() > 0 {}
    assert_eq!(store.list_deliveries(DeliveryFilter::new()).await.unwrap().len(), 1);
    let raw = store.database().raw().await;
    // Not even where replication says that triggers stay silent.
    raw.batch_execute("SET session_replication_role = replica").await.unwrap();
    for sql in [
        "UPDATE kern_audit SET action = 'x'",
        "DELETE FROM kern_audit",
        "TRUNCATE kern_audit",
        "INSERT INTO kern_audit SELECT * FROM kern_audit WHERE seq = 1 ON CONFLICT (shard, seq) DO UPDATE SET action = 'x'",
        "DELETE FROM kern_votes",
        "UPDATE kern_votes SET voter_key = 'x'",
        "DELETE FROM kern_runs",
        "TRUNCATE kern_runs CASCADE",
        "DELETE FROM kern_approvals",
        "UPDATE kern_approvals SET status = 'pending'",
        "UPDATE kern_approvals SET tool_name = 'x'",
        "DELETE FROM kern_calls",
        "UPDATE kern_calls SET arguments = '{}'",
        "DELETE FROM kern_executions",
        "UPDATE kern_executions SET status = 'ready'",
        "UPDATE kern_executions SET result = 'x'",
        "UPDATE kern_executions SET attempt = 0",
        "DELETE FROM kern_pools",
        "UPDATE kern_pools SET name = 'x'",
        "DELETE FROM kern_keys",
        "UPDATE kern_keys SET scopes = '[]'",
        "UPDATE kern_keys SET revoked_at_ms = NULL",
        "UPDATE kern_webhooks SET since_ms = 0",
        "TRUNCATE kern_webhooks",
        "DELETE FROM kern_deliveries",
        "TRUNCATE kern_deliveries",
        "UPDATE kern_deliveries SET topic = 'x'",
        "UPDATE kern_deliveries SET attempts = -1",
    ] {
        let refused = raw.execute(sql, &[]).await.map_err(|error| error.as_db_error().unwrap().message().to_owned());
        assert!(refused.as_ref().is_err_and(|why| why.starts_with("kern: ")), "`{sql}`: {refused:?}");
    }
    history::check(&*store).await;
}

/// Whoever owns the tables may take their guards away, and that is found.
#[tokio::test(flavor = "multi_thread")]
async fn i13_a_guard_that_was_taken_away_is_found() {
    for (tamper, what, why) in [
        ("DROP TRIGGER kern_audit_guard ON kern_audit", "kern_audit_guard", "missing"),
        ("DROP TRIGGER kern_runs_no_truncate ON kern_runs", "kern_runs_no_truncate", "missing"),
        ("ALTER TABLE kern_approvals DISABLE TRIGGER kern_approvals_guard", "kern_approvals_guard", "switched off"),
        // Left out where somebody replays changes as a replica does.
        ("ALTER TABLE kern_votes ENABLE TRIGGER kern_votes_guard", "kern_votes_guard", "switched off"),
        (
            "CREATE OR REPLACE FUNCTION kern_runs_guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "kern_runs_guard",
            "not as kern wrote it",
        ),
        (
            "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER theirs BEFORE INSERT ON kern_audit FOR EACH ROW EXECUTE FUNCTION theirs()",
            "theirs",
            "not kern's",
        ),
        ("CREATE RULE quiet AS ON UPDATE TO kern_pools DO INSTEAD NOTHING", "kern_pools", "has a rule"),
        ("ALTER TABLE kern_keys DROP CONSTRAINT kern_keys_pkey CASCADE", "kern_keys", "no primary key"),
        ("DROP TABLE kern_sessions", "kern_sessions", "missing"),
    ] {
        let store = Store::on_postgres().await;
        store.paused(&[required()]).await;
        assert!(store.audit().verify().await.unwrap().is_intact());
        store.database().raw().await.batch_execute(tamper).await.unwrap();
        let report = store.audit().verify().await.unwrap();
        assert!(report.is_log_intact() && !report.is_intact(), "`{tamper}`: {report:?}");
        let found: Vec<_> = report.broken.iter().chain(&report.others).collect();
        let is_named = |it: &&kern_db::AuditBreak| {
            it.row.as_deref().is_some_and(|row| row.contains(what)) && it.what.contains(why)
        };
        assert!(found.iter().any(is_named), "`{tamper}`: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn i16_the_runtimes_role_may_not_change_the_log_and_kern_needs_no_more() {
    let store = Store::on_postgres().await;
    let database = store.database();
    let (raw, schema) = (database.raw().await, database.name());
    let role = format!("runtime_{schema}");
    // As docs/postgres.md has it.
    let document = include_str!("../../../docs/postgres.md");
    let grants = document.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let grants = grants.replace("kern_runtime", &role).replace("SCHEMA public", &format!("SCHEMA {schema}"));
    raw.batch_execute(&grants.replace("PASSWORD 'choose one'", "")).await.unwrap();

    let db = kern_db::PostgresDb::open(database.address_as(&role)).await.unwrap();
    let as_runtime = Store::around(db.into_db());
    let (claim, call) = as_runtime.executing().await;
    as_runtime.succeed(&call).await;
    as_runtime.complete(&claim).await.unwrap();
    as_runtime.register_webhook("w".to_owned(), vec!["approval.requested".to_owned()]).await.unwrap();
    as_runtime.paused(&[required()]).await;
    while as_runtime.hand_over_events(100).await.unwrap() > 0 {}
    assert!(!as_runtime.claim_deliveries("w".to_owned(), 8, 1000).await.unwrap().is_empty());
    assert!(!as_runtime.sweep_events(100).await.unwrap());
    let made = as_runtime.create_session(NewSession::new().name("one")).await.unwrap().session_id;
    as_runtime.update_session(&made, SessionChange::new().name("two")).await.unwrap();
    assert_eq!(as_runtime.list_sessions(SessionFilter::new()).await.unwrap().data.len(), 2);
    as_runtime.delete_session(&made, SessionDeletion::new()).await.unwrap();
    history::check(&*as_runtime).await;

    let client = database.raw_as(&role).await;
    for sql in [
        "UPDATE kern_audit SET action = 'x'",
        "DELETE FROM kern_audit",
        "TRUNCATE kern_audit",
        "UPDATE kern_votes SET voter_key = 'x'",
        "DELETE FROM kern_runs",
        "DELETE FROM kern_approvals",
        "DELETE FROM kern_executions",
        "ALTER TABLE kern_audit DISABLE TRIGGER ALL",
        "DROP TABLE kern_audit",
        "DROP TRIGGER kern_audit_guard ON kern_audit",
        "CREATE OR REPLACE FUNCTION kern_audit_guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "UPDATE kern_migrations SET checksum = 'x'",
        "UPDATE kern_names SET name = 'x'",
        "SET session_replication_role = replica",
        "CREATE TABLE kern_more (x int)",
    ] {
        let refused = client.batch_execute(sql).await.map_err(|error| error.code().unwrap().code().to_owned());
        assert_eq!(refused, Err("42501".to_owned()), "`{sql}`");
    }
    assert_eq!(server().connect("postgres").await.query("SELECT 1", &[]).await.unwrap().len(), 1);
}
