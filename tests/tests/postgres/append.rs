//! The append to the audit log: in the message of the commit, so that a process that stops holds up nothing but its own rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kern_db::Db;
use kern_tests::history;
use kern_tests::place::{On, Place};
use kern_tests::scale::{self, figure};
use kern_tests::steps::{Store, begin, required};
use tokio::task::JoinSet;

/// Far less than the 15 s after which the server ends a session that is idle in a transaction.
const AT_ONCE: Duration = Duration::from_secs(3);

/// A run of its own, from its start to a decision.
async fn cycle(db: &Arc<dyn Db>) -> kern_db::Result<()> {
    let store = Store::around(Arc::clone(db));
    let claim = store.begin_run(begin(&kern_db::RunId::generate())).await?;
    store.commit_turn(kern_tests::steps::turn(&claim, 1, &[required()], true)).await?;
    store.approve(&claim.run_id, 0).await.map(drop)
}

/// A process that is stopped after everything of its transaction but the message of the commit holds up its own run only.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_before_it_commits_holds_up_no_other_writer() {
    let place = Arc::new(Place::new(On::Postgres, env!("CARGO_BIN_EXE_kern-fault-worker")).await);
    for stop in ["written: start a run with a turn", "commit: start a run with a turn"] {
        let there = Arc::clone(&place);
        let stopped = tokio::task::spawn_blocking(move || {
            let worker = there.stopped_at(stop, &["run", "delete"]);
            worker.signal("STOP");
            worker
        });
        let stopped = stopped.await.unwrap();
        let began = Instant::now();
        for _ in 0..5 {
            cycle(&place.db).await.unwrap();
        }
        assert!(began.elapsed() < AT_ONCE, "{stop}: {:?}", began.elapsed());
        stopped.signal("KILL");
    }
    history::check(&*place.db).await;
}

/// Many writers on one chain, some of them refused: no gap, no fork, and no writer is told to try again.
#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_one_chain_number_its_entries_densely() {
    let store = Store::on_postgres().await;
    let each = scale::of(100);
    let mut writers = JoinSet::new();
    for writer in 0..16 {
        let db = store.shared();
        writers.spawn(async move {
            for turn in 0..each {
                cycle(&db).await.unwrap();
                if (writer + turn) % 20 == 0 {
                    // The second one of a name is refused, and takes its transaction back.
                    let _ = db.begin_run(begin(&kern_db::RunId::from("the same"))).await;
                }
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    history::check(&*store).await;
    figure("entries of one chain by 16 writers", store.audit().verify().await.unwrap().entries);
}

/// The text of the function, with something in it replaced.
async fn replace(store: &Store, change: impl Fn(String) -> String) {
    let raw = store.database().raw().await;
    let text = raw.query_one("SELECT pg_get_functiondef('kern_audit_append'::regproc)", &[]).await.unwrap();
    let text: String = text.get(0);
    let changed = change(text.clone());
    assert_ne!(changed, text);
    raw.batch_execute(&changed).await.unwrap();
}

async fn refused(store: &Store) -> usize {
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let db = store.shared();
        writers.spawn(async move {
            let mut refused = 0;
            for _ in 0..10 {
                refused += usize::from(cycle(&db).await.is_err());
            }
            refused
        });
    }
    let mut refused = 0;
    while let Some(done) = writers.join_next().await {
        refused += done.unwrap();
    }
    refused
}

/// The lock in a statement of its own, and before the one that reads the head, is needed: the test sees it go.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_locks_and_reads_in_one_statement_or_does_not_lock_is_noticed() {
    let store = Store::on_postgres().await;
    assert_eq!(refused(&store).await, 0);
    let lock = "PERFORM pg_advisory_xact_lock('kern_audit'::regclass::oid::int, this_shard::int);";
    let head = "FROM kern_audit WHERE shard = this_shard ORDER BY seq DESC LIMIT 1;";
    let one = |text: String| {
        assert!(text.contains(lock) && text.contains(head), "{text}");
        text.replace(lock, "").replace(
            head,
            "FROM kern_audit, (SELECT pg_advisory_xact_lock('kern_audit'::regclass::oid::int, this_shard::int)) AS locked
             WHERE shard = this_shard ORDER BY seq DESC LIMIT 1;",
        )
    };
    replace(&store, one).await;
    let stale = refused(&store).await;
    assert!(stale > 0, "it reads the head from before its wait");
    let other = Store::on_postgres().await;
    replace(&other, |text| text.replace(lock, "")).await;
    let unlocked = refused(&other).await;
    assert!(unlocked > 0, "two transactions give one number");
    for store in [&store, &other] {
        let report = store.audit().verify().await.unwrap();
        assert!(report.is_log_intact(), "the primary key is the second guard: {report:?}");
        assert!(format!("{report:?}").contains("kern_audit_append"), "a changed function is found: {report:?}");
    }
    figure(
        "writers refused by an append that reads and locks at once, and without a lock",
        format!("{stale}, {unlocked} of 80"),
    );
}

/// What of a text PostgreSQL and JSON treat in a way of their own goes into the log and comes back as it was.
#[tokio::test(flavor = "multi_thread")]
async fn every_text_comes_back_from_the_log_as_it_was() {
    let store = Store::on_postgres().await;
    for odd in [
        "'",
        "''; DROP TABLE kern_audit; --",
        "\\",
        "\\'",
        "E'\\0'",
        "$append$",
        "\0",
        "\u{1}",
        "\u{1}0",
        "\"",
        "\n\t\r",
        "é\u{10ffff}",
    ] {
        let run_id = store.paused(&[required()]).await;
        let id = store.approval_id(&run_id, 0).await;
        let no = kern_db::Resolution::rejected().by(format!("b{odd}")).note(odd);
        store
            .update_approval(&id, kern_db::ApprovalStatus::Pending, no)
            .await
            .unwrap_or_else(|error| panic!("{odd:?}: {error}"));
    }
    history::check(&*store).await;
}
