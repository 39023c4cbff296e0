//! What a transactional call writes, in PostgreSQL's own words and types.

use kern_db::{CallPolicy, Effect, Ended, ExecutionStatus, Finished, SqlValue, Write};
use kern_tests::history;
use kern_tests::steps::{Store, required};

fn transactional() -> CallPolicy {
    required().effect(Effect::Transactional)
}

async fn with_ledger() -> Store {
    let store = Store::on_postgres().await;
    let raw = store.database().raw().await;
    raw.batch_execute(
        "CREATE TABLE ledger (key text PRIMARY KEY, cents int NOT NULL CHECK (cents > 0), paid bool, rate numeric, at timestamptz,
            id uuid, data jsonb, bytes bytea, real float8);
         CREATE TABLE other (of text REFERENCES ledger (key) DEFERRABLE INITIALLY DEFERRED);
         CREATE TABLE through (x int);
         CREATE FUNCTION reach() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN UPDATE kern_runs SET updated_at_ms = updated_at_ms; RETURN NEW; END';
         CREATE TRIGGER reach AFTER INSERT ON through FOR EACH ROW EXECUTE FUNCTION reach();
         CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS 'BEGIN UPDATE kern_executions SET note = NULL; RETURN 1; END'",
    )
    .await
    .unwrap();
    store
}

async fn keys(store: &Store) -> Vec<String> {
    let rows = store.database().raw().await.query("SELECT key FROM ledger ORDER BY key", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

fn paid(key: &str, cents: i64) -> Write {
    Write::new("INSERT INTO ledger (key, cents) VALUES ($1, $2)", [key.into(), cents.into()])
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_committed_with_the_outcome_as_the_types_of_their_columns() {
    let store = with_ledger().await;
    assert!(store.takes_writes());
    let run_id = store.paused(&[transactional()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    let none: Option<i64> = None;
    let writes = vec![
        Write::new(
            "INSERT INTO ledger (key, cents, paid, rate, at, id, data, bytes, real) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            [
                "a".into(),
                5.into(),
                true.into(),
                "12.50".into(),
                "2026-01-02T03:04:05Z".into(),
                "01890a5d-ac96-774b-bcce-b302099a8057".into(),
                r#"{"x":1}"#.into(),
                SqlValue::Blob(vec![0, 1, 255]),
                1.5.into(),
            ],
        ),
        Write::new("UPDATE ledger SET cents = cents + $1 WHERE key = $2 RETURNING cents", [1.into(), "a".into()]),
        Write::new(
            "WITH x(k) AS (SELECT 'b') INSERT INTO ledger (key, cents, paid) SELECT k, 9, $1 FROM x",
            [none.into()],
        ),
        Write::new("INSERT INTO other VALUES ('c')", []),
        paid("c", 1),
        Write::new("SELECT count(*) FROM ledger", []),
    ];
    let finish = async |writes| store.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), writes).await;
    assert_eq!(finish(writes).await.unwrap(), Finished::Recorded);
    assert_eq!(keys(&store).await, ["a", "b", "c"]);
    let sql = "SELECT cents::int8, paid, rate::text, extract(epoch FROM at)::int8, data ->> 'x', bytes, real FROM ledger WHERE key = 'a'";
    let row = store.database().raw().await.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1), row.get::<_, &str>(2)), (6, true, "12.50"));
    assert_eq!((row.get::<_, i64>(3), row.get::<_, &str>(4)), (1_767_323_045, "1"));
    assert_eq!((row.get::<_, &[u8]>(5), row.get::<_, f64>(6)), (&[0, 1, 255][..], 1.5));
    // Once more, as after an acknowledgement that was lost.
    assert_eq!(finish(vec![paid("d", 1)]).await.unwrap(), Finished::Recorded);
    assert_eq!(keys(&store).await, ["a", "b", "c"]);
    store.complete(&claim).await.unwrap();
    history::check(&*store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_refused_takes_the_others_with_it_and_is_the_outcome() {
    let store = with_ledger().await;
    for bad in [
        paid("first", 1),
        paid("x", 0),
        paid("nul\0", 1),
        Write::new("INSERT INTO nowhere VALUES (1)", []),
        Write::new("INSERT INTO ledger (key, cents) VALUES ($1, $2)", ["x".into()]),
        Write::new("INSERT INTO ledger (key, cents) VALUES ('x', $1)", ["much".into()]),
        Write::new("INSERT INTO other VALUES ('nobody')", []),
        Write::new("INSERT INTO ledger (key, cents) VALUES ('x', 1); COMMIT", []),
        Write::new("SELECT 1; ROLLBACK", []),
        Write::new("COMMIT", []),
        Write::new("ROLLBACK", []),
        Write::new("ROLLBACK TO kern_writes", []),
        Write::new("RELEASE kern_writes", []),
        Write::new("SET search_path = x", []),
        Write::new("DO 'BEGIN COMMIT; END'", []),
        Write::new("CALL x()", []),
        Write::new("TRUNCATE ledger", []),
        Write::new("DROP TABLE kern_runs", []),
        Write::new("UPDATE kern_runs SET attention = 1", []),
        Write::new("INSERT INTO kern_pools (name, members, set_at_ms) VALUES ('finance', '[]', 1)", []),
        Write::new("WITH x AS (UPDATE kern_executions SET note = 'x' RETURNING 1) SELECT 1", []),
        Write::new("DELETE FROM kern_audit", []),
        Write::new("SELECT snapshot FROM kern_runs", []),
        Write::new("INSERT INTO through VALUES (1)", []),
        Write::new("SELECT wipe()", []),
        Write::new("SELECT set_config('search_path', 'pg_catalog', false)", []),
        Write::new("SELECT set_config('lock_timeout', '0', true)", []),
    ] {
        let run_id = store.paused(&[transactional()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let claim = store.resumed(&run_id).await;
        let call = store.start(&claim, 0).await;
        let sql = bad.sql.clone();
        let writes = vec![paid("first", 1), bad];
        let finished = store.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), writes).await;
        let Ok(Finished::WritesRefused(why)) = finished else { panic!("`{sql}`: {finished:?}") };
        let execution = store.call(&run_id).await.execution.unwrap();
        assert_eq!((execution.status, execution.error.as_ref()), (ExecutionStatus::Failed, Some(&why)), "`{sql}`");
        assert!(keys(&store).await.is_empty(), "`{sql}` left something");
        store.complete(&claim).await.unwrap();
    }
    assert!(store.list_pools().await.unwrap().is_empty());
    history::check(&*store).await;
}
