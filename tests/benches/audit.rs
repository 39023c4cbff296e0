//! What the audit log costs: verifying 1,000,000 entries, with every row of the runs that made them, and what appending
//! adds to a transition, in the same run on the same disk.
//!
//! ```text
//! cargo bench -p kern-tests --bench audit
//! KERN_ENTRIES=100000 cargo bench -p kern-tests --bench audit
//! KERN_FILE=app.db cargo bench -p kern-tests --bench audit
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::time::{Duration, Instant};

use kern_db::{Db, Ended, Resolution, RunId, RunStatus, SqliteDb};
use kern_tests::bare::Bare;
use kern_tests::steps::{APPROVER, Store, end, required, turn};

/// Runs that are driven at the same time while the file is made.
const TASKS: usize = 64;
/// Entries of one run.
const ENTRIES: u64 = 10;

/// One whole run: paused, approved, resumed, started, finished, complete.
async fn cycle(store: &Store) -> RunId {
    let claim = store.started().await;
    let paused = store.commit_turn(turn(&claim, 1, &[required()], true)).await.expect("it pauses");
    let approval = paused.calls[0].approval.as_ref().expect("it is asked for");
    let yes = Resolution::approved().by(APPROVER).digest(&approval.digest);
    store.update_approval(&approval.id, kern_db::ApprovalStatus::Pending, yes).await.expect("it is approved");
    let claim = store.resumed(&paused.run_id).await;
    let call = store.start(&claim, 0).await;
    store.finish_call(call.ticket(), Ended::Succeeded("paid".to_owned()), Vec::new()).await.expect("it is recorded");
    store.end_run(end(&claim, RunStatus::Completed)).await.expect("it completes").run_id
}

async fn fill(store: &std::sync::Arc<Store>, entries: u64) {
    let runs = usize::try_from(entries / ENTRIES).expect("as many as fit");
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = std::sync::Arc::clone(store);
            let share = runs / TASKS + usize::from(task < runs % TASKS);
            tokio::spawn(async move {
                for _ in 0..share {
                    cycle(&store).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task ends");
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if let Some(file) = std::env::var_os("KERN_FILE") {
        let db = SqliteDb::builder(file).existing().open().await.expect("the file is a store");
        return verify(&db).await;
    }
    let entries = std::env::var("KERN_ENTRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let store = std::sync::Arc::new(Store::on_a_file().await);
    let started = Instant::now();
    fill(&store, entries).await;
    let size = std::fs::metadata(store.file()).map_or(0, |file| file.len());
    println!("made a file of {} MB in {:.0} s", size >> 20, started.elapsed().as_secs_f64());
    verify(&**store).await;
    append(&store).await;
}

async fn verify(db: &dyn Db) {
    let (mut all, mut entries): (Vec<Duration>, u64) = (Vec::new(), 0);
    for _ in 0..3 {
        let started = Instant::now();
        let report = db.audit().verify().await.expect("the log can be read");
        all.push(started.elapsed());
        assert!(report.is_intact(), "{report:?}");
        entries = report.entries;
    }
    all.sort();
    println!(
        "verify of {entries} entries with every row beside them: {:.2} s (median of 3: {:.2} to {:.2})",
        all[1].as_secs_f64(),
        all[0].as_secs_f64(),
        all[2].as_secs_f64()
    );
}

/// What appending to the log adds to a transition: the same rows in bare commits with and without their entries, the head
/// read and the entries made canonical and hashed, beside whole cycles. In turns, and the medians of all rounds.
async fn append(store: &Store) {
    let run_id = cycle(store).await;
    let last = store.audit().verify().await.expect("the log can be read").entries;
    let last = i64::try_from(last).expect("it is one");
    let entries =
        store.audit().entries(last - i64::try_from(ENTRIES).expect("it is one"), 100).await.expect("they are read");
    let first = store.audit().entries(0, 1).await.expect("they are read");
    let store_id = first[0].payload["store_id"].as_str().expect("the first entry names the store").to_owned();
    let beside = store.file().with_file_name("bare.db");
    let mut bare = Bare::of(&store.file(), run_id.as_str(), &beside);
    let mut rounds: Vec<[f64; 3]> = Vec::new();
    for _ in 0..300 {
        let started = Instant::now();
        bare.five_commits_without_log();
        let without = started.elapsed().as_secs_f64();
        let started = Instant::now();
        bare.five_commits_with_head();
        assert!(entries.iter().all(|entry| entry.fits(&store_id)));
        let with = started.elapsed().as_secs_f64();
        let started = Instant::now();
        cycle(store).await;
        rounds.push([without, with, started.elapsed().as_secs_f64()]);
    }
    let median = |place: usize| {
        let mut all: Vec<f64> = rounds.iter().map(|round| round[place]).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (without, with, cycle) = (median(0), median(1), median(2));
    let added = with - without;
    println!(
        "append: {:.3} ms of a cycle of {:.3} ms in five transitions: adds {:.1} % to the rest (medians of 300 rounds)",
        added * 1e3,
        cycle * 1e3,
        added / (cycle - added) * 100.0
    );
}
