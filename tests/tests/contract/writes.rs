//! What a transactional call writes is committed with its outcome: all of it, exactly once, or none of it.

use kern_db::{
    CallClaim, CallPolicy, Caller, Effect, Ended, Error, ExecutionStatus, Finished, InMemoryDb, Outcome, RunClaim,
    SqlValue, Standing, Transitions as _, Write,
};
use kern_tests::steps::{Store, required};

fn transactional() -> CallPolicy {
    required().effect(Effect::Transactional)
}

/// A store with a table of somebody else's.
fn with_ledger(store: &Store) {
    store
        .raw()
        .execute_batch(
            "CREATE TABLE ledger (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, cents INTEGER NOT NULL CHECK (cents > 0));
             CREATE TABLE other (id INTEGER PRIMARY KEY, of INTEGER REFERENCES ledger (id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .unwrap();
}

fn paid(key: &str, cents: i64) -> Write {
    Write::new("INSERT INTO ledger (key, cents) VALUES (?, ?)", [key.into(), cents.into()])
}

/// Keys in the ledger, in order.
fn keys(store: &Store) -> Vec<String> {
    let raw = store.raw();
    let mut statement = raw.prepare("SELECT key FROM ledger ORDER BY key").unwrap();
    let keys = statement.query_map((), |row| row.get(0)).unwrap();
    keys.collect::<Result<_, _>>().unwrap()
}

async fn started(store: &Store, policy: CallPolicy) -> (RunClaim, CallClaim) {
    let run_id = store.paused(&[policy]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    (claim, call)
}

async fn finish(store: &Store, call: &CallClaim, writes: Vec<Write>) -> Result<Finished, Error> {
    store.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), writes).await
}

async fn status(store: &Store, claim: &RunClaim) -> ExecutionStatus {
    store.call(&claim.run_id).await.execution.expect("it has one").status
}

async fn writes_are_committed_with_the_outcome(store: &Store) {
    with_ledger(store);
    assert!(store.takes_writes());
    let (claim, call) = started(store, transactional()).await;
    let none: Option<i64> = None;
    let writes = vec![
        paid("a", 5),
        Write::new(
            "UPDATE ledger SET cents = cents + ? WHERE key = ? RETURNING cents",
            [SqlValue::from(1), "a".into()],
        ),
        Write::new("WITH x(k) AS (SELECT 'b') INSERT INTO ledger (key, cents) SELECT k, 9 FROM x", []),
        Write::new("INSERT INTO other (id, of) VALUES (?1, ?2)", [true.into(), none.into()]),
        Write::new("  delete from other -- all of it", []),
        Write::new("SELECT count(*) FROM ledger;", []),
    ];
    assert_eq!(finish(store, &call, writes).await.unwrap(), Finished::Recorded);
    assert_eq!(keys(store), ["a", "b"]);
    let cents: i64 = store.raw().query_row("SELECT cents FROM ledger WHERE key = 'a'", (), |row| row.get(0)).unwrap();
    assert_eq!(cents, 6);
    assert_eq!(store.call(&claim.run_id).await.standing, Standing::Outcome(Outcome::Succeeded("done".to_owned())));
    // Once more, as after an acknowledgement that was lost.
    assert_eq!(finish(store, &call, vec![paid("c", 1)]).await.unwrap(), Finished::Recorded);
    let other = Ended::Succeeded("something else".to_owned());
    let other = store.finish_call(call.ticket(), other, vec![paid("c", 1)]).await.unwrap();
    assert_eq!(other, Finished::Late);
    assert_eq!(keys(store), ["a", "b"]);
    store.complete(&claim).await.unwrap();
    kern_tests::history::check(&**store).await;
}

async fn a_write_that_fails_takes_the_others_with_it_and_is_the_outcome(store: &Store) {
    with_ledger(store);
    for (number, bad) in [
        paid("taken", 0),
        paid("first", 1),
        Write::new("INSERT INTO nowhere VALUES (1)", []),
        Write::new("INSERT INTO ledger (key, cents) VALUES (?, ?)", ["x".into()]),
        Write::new("INSERT INTO ledger", []),
        Write::new("INSERT OR ROLLBACK INTO ledger (key, cents) VALUES ('first', 1)", []),
        Write::new("INSERT INTO other (of) VALUES (4711)", []),
    ]
    .into_iter()
    .enumerate()
    {
        let (claim, call) = started(store, transactional()).await;
        let sql = bad.sql.clone();
        let finished = finish(store, &call, vec![paid("first", 1), bad]).await.unwrap();
        let Finished::WritesRefused(why) = finished else { panic!("{number}, `{sql}`: {finished:?}") };
        let execution = store.call(&claim.run_id).await.execution.unwrap();
        assert_eq!((execution.status, execution.error.as_ref()), (ExecutionStatus::Failed, Some(&why)), "`{sql}`");
        assert!(keys(store).is_empty(), "`{sql}` left something");
        assert_eq!(finish(store, &call, vec![paid("late", 1)]).await.unwrap(), Finished::Late);
        store.complete(&claim).await.unwrap();
    }
    kern_tests::history::check(&**store).await;
}

async fn nothing_but_tables_of_their_own_is_written(store: &Store) {
    with_ledger(store);
    let before = store.list_pools().await.unwrap();
    store
        .raw()
        .execute_batch(
            "CREATE TRIGGER through AFTER INSERT ON other BEGIN UPDATE kern_runs SET attention = 1; END;
             CREATE VIEW peek AS SELECT * FROM kern_approvals;",
        )
        .unwrap();
    for sql in [
        "UPDATE kern_executions SET status = 'ready'",
        "update KERN_EXECUTIONS set result = 'x'",
        "UPDATE main.\"kern_approvals\" SET status = 'approved'",
        "INSERT INTO kern_pools (name, members, set_at_ms) VALUES ('finance', '[\"eve\"]', 1)",
        "INSERT INTO kern_audit SELECT * FROM kern_audit",
        "DELETE FROM kern_votes",
        "DELETE FROM kern_migrations",
        "UPDATE kern_approvals_counts SET pending = 0",
        "SELECT pending FROM kern_approvals_counts",
        "SELECT snapshot FROM kern_runs",
        "SELECT count(*) FROM kern_runs",
        "SELECT 1 FROM ledger WHERE EXISTS (SELECT 1 FROM kern_calls)",
        "INSERT INTO ledger (key, cents) SELECT run_id, 1 FROM kern_runs",
        "INSERT INTO ledger (key, cents) SELECT id, 1 FROM peek",
        "INSERT INTO other (id) VALUES (1)",
        "UPDATE sqlite_schema SET sql = ''",
        "SELECT sql FROM sqlite_schema",
        "PRAGMA user_version = 7",
        "SELECT * FROM pragma_journal_mode('delete')",
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "SAVEPOINT x",
        "RELEASE writes",
        "ATTACH ':memory:' AS x",
        "VACUUM",
        "REINDEX",
        "CREATE TABLE x (y)",
        "CREATE TEMP TRIGGER t AFTER INSERT ON kern_runs BEGIN SELECT 1; END",
        "DROP TRIGGER kern_executions_step",
        "ALTER TABLE ledger RENAME TO kern_x",
        "EXPLAIN SELECT 1",
        "REPLACE INTO ledger (key, cents) VALUES ('x', 1)",
        "",
        " ; ",
        "-- INSERT\nDROP TABLE ledger",
        "INSERT INTO ledger (key, cents) VALUES ('x', 1); COMMIT",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE ledger",
        "SELECT load_extension('x')",
    ] {
        let (claim, call) = started(store, transactional()).await;
        let dump = store.dump();
        let finished = finish(store, &call, vec![paid("first", 1), Write::new(sql, [])]).await;
        assert!(matches!(finished, Ok(Finished::WritesRefused(_))), "`{sql}`: {finished:?}");
        assert!(keys(store).is_empty(), "`{sql}`");
        assert_eq!(status(store, &claim).await, ExecutionStatus::Failed, "`{sql}`");
        // The outcome itself is in the other tables, and the log says that nothing else is.
        let rest = |dump: String| -> Vec<String> {
            let tables = ["runs:", "calls:", "approvals:", "votes:", "pools:"];
            dump.lines().filter(|line| tables.iter().any(|table| line.starts_with(table))).map(str::to_owned).collect()
        };
        assert!(rest(dump) == rest(store.dump()), "`{sql}` changed something else");
    }
    assert_eq!(store.list_pools().await.unwrap(), before);
    kern_tests::history::check(&**store).await;
}

async fn exactly_once_over_deaths_zombies_and_late_results(store: &Store) {
    with_ledger(store);
    let run_id = store.paused(&[transactional()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let mut zombies = Vec::new();
    for _ in 0..3 {
        let claim = store.resumed(&run_id).await;
        store.renew_run(claim.clone(), 0).await.unwrap();
        zombies.push(store.start_and_die(&claim, 0).await);
        store.recover_run(run_id.clone()).await.unwrap();
    }
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    let late = |zombie: &CallClaim| finish_owned(store, zombie.ticket(), "late");
    for zombie in &zombies {
        assert_eq!(late(zombie).await, Finished::Late);
    }
    assert!(keys(store).is_empty());
    assert_eq!(finish(store, &call, vec![paid("once", 1)]).await.unwrap(), Finished::Recorded);
    for zombie in &zombies {
        assert_eq!(late(zombie).await, Finished::Late);
    }
    assert_eq!(keys(store), ["once"]);
    store.complete(&claim).await.unwrap();
    kern_tests::history::check(&**store).await;
}

async fn finish_owned(store: &Store, ticket: kern_db::Ticket, key: &str) -> Finished {
    store.finish_call(ticket, Ended::Succeeded("done".to_owned()), vec![paid(key, 1)]).await.unwrap()
}

async fn writes_of_a_body_that_failed_or_was_lost_are_dropped(store: &Store) {
    with_ledger(store);
    for ended in [Ended::Failed("no".to_owned()), Ended::Lost("it panicked".to_owned())] {
        let (_claim, call) = started(store, transactional()).await;
        let finished = store.finish_call(call.ticket(), ended.clone(), vec![paid("x", 1)]).await.unwrap();
        assert_eq!(finished, if matches!(ended, Ended::Failed(_)) { Finished::Recorded } else { Finished::Retry });
        assert!(keys(store).is_empty());
    }
}

async fn only_a_transactional_call_writes(store: &Store) {
    with_ledger(store);
    for policy in [required(), required().effect(Effect::Idempotent)] {
        let (claim, call) = started(store, policy).await;
        let refused = finish(store, &call, vec![paid("x", 1)]).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        assert_eq!(status(store, &claim).await, ExecutionStatus::Executing, "nothing is recorded");
        store.succeed(&call).await;
    }
    // Nor one that somebody made transactional with SQL.
    let (claim, call) = started(store, required()).await;
    for table in ["calls", "approvals"] {
        store.tamper(&format!("UPDATE kern_{table} SET policy = replace(policy, '\"once\"', '\"transactional\"')"));
    }
    let refused = finish(store, &call, vec![paid("x", 1)]).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
    assert_eq!(status(store, &claim).await, ExecutionStatus::Executing);
    assert!(keys(store).is_empty());
}

async fn a_write_of_one_job_leaves_the_others_alone(store: &Store) {
    with_ledger(store);
    let mut jobs = Vec::new();
    for number in 0..24 {
        let (claim, call) = started(store, transactional()).await;
        let bad = match number % 3 {
            0 => paid("unused", 0),
            1 => Write::new("INSERT OR ROLLBACK INTO ledger (key, cents) VALUES ('unused', 0)", []),
            _ => paid(&format!("good {number}"), 1),
        };
        jobs.push((claim, call, bad, number));
    }
    let tasks: Vec<_> = jobs
        .into_iter()
        .map(|(claim, call, write, number)| {
            let db = store.shared();
            tokio::spawn(async move {
                let noise = db.set_noise(number);
                let finished = db.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), vec![write]).await;
                (claim, number, finished.unwrap(), noise.await)
            })
        })
        .collect();
    for task in tasks {
        let (claim, number, finished, noise) = task.await.unwrap();
        noise.unwrap();
        let expected = if number % 3 == 2 { ExecutionStatus::Succeeded } else { ExecutionStatus::Failed };
        assert_eq!((finished == Finished::Recorded, status(store, &claim).await), (number % 3 == 2, expected));
    }
    assert_eq!((keys(store).len(), store.list_pools().await.unwrap().len()), (8, 24));
    kern_tests::history::check(&**store).await;
}

/// Other jobs that wait beside the writes.
trait Noise {
    fn set_noise(&self, number: usize) -> kern_db::DbFuture<'_, kern_db::Pool>;
}

impl Noise for std::sync::Arc<dyn kern_db::Db> {
    fn set_noise(&self, number: usize) -> kern_db::DbFuture<'_, kern_db::Pool> {
        self.write_pool(format!("pool{number}"), vec!["ann".to_owned()], None)
    }
}

async fn what_belongs_to_their_tables_goes_with_them(store: &Store) {
    store
        .raw()
        .execute_batch(
            "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT) STRICT;
             CREATE VIRTUAL TABLE texts USING fts5(body);
             CREATE TRIGGER indexed AFTER INSERT ON counted BEGIN INSERT INTO texts (body) VALUES (NEW.body); END;
             CREATE VIEW bodies AS SELECT body FROM counted;
             CREATE TRIGGER through INSTEAD OF INSERT ON bodies BEGIN INSERT INTO counted (body) VALUES (NEW.body); END;",
        )
        .unwrap();
    let (_claim, call) = started(store, transactional()).await;
    let writes = vec![
        Write::new("INSERT INTO counted (body) VALUES (?)", ["hello there".into()]),
        Write::new("INSERT INTO bodies VALUES ('good bye')", []),
        Write::new(
            "INSERT INTO counted (id, body) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET body = upper(body)",
            [],
        ),
        Write::new("SELECT * FROM texts WHERE texts MATCH 'hello'", []),
        Write::new(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT sum(i) FROM n",
            [],
        ),
    ];
    assert_eq!(finish(store, &call, writes).await.unwrap(), Finished::Recorded);
    let count = |sql: &str| store.raw().query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM texts WHERE texts MATCH 'hello OR bye'"), 2);
    assert_eq!(count("SELECT count(*) FROM counted WHERE body = 'HELLO THERE'"), 1);
}

async fn a_value_that_is_too_large_is_the_statements_own_fault(store: &Store) {
    with_ledger(store);
    let (claim, call) = started(store, transactional()).await;
    let huge = Write::new("INSERT INTO ledger (key, cents) VALUES (zeroblob(2000000000), 1)", []);
    let finished = finish(store, &call, vec![paid("x", 1), huge]).await;
    assert!(matches!(finished, Ok(Finished::WritesRefused(_))), "{finished:?}");
    assert!(keys(store).is_empty());
    store.cancel_run(claim.run_id.clone(), Caller::Anonymous).await.unwrap();
}

on_a_file! {
    a_value_that_is_too_large_is_the_statements_own_fault,
    a_write_of_one_job_leaves_the_others_alone,
    a_write_that_fails_takes_the_others_with_it_and_is_the_outcome,
    exactly_once_over_deaths_zombies_and_late_results,
    nothing_but_tables_of_their_own_is_written,
    only_a_transactional_call_writes,
    what_belongs_to_their_tables_goes_with_them,
    writes_are_committed_with_the_outcome,
    writes_of_a_body_that_failed_or_was_lost_are_dropped,
}

#[tokio::test]
async fn a_store_in_memory_takes_no_writes() {
    assert!(!InMemoryDb::new().takes_writes());
    let store = Store::in_memory();
    let (claim, call) = started(&store, transactional()).await;
    let refused = finish(&store, &call, vec![Write::new("SELECT 1", [])]).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(status(&store, &claim).await, ExecutionStatus::Executing);
}
