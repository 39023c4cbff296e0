//! What a page of approvals costs, and a count, in files with 1,000 and 100,000 of them.
//!
//! ```text
//! cargo bench -p kern-tests --bench lists
//! KERN_ROWS=1000000 cargo bench -p kern-tests --bench lists
//! ```
//!
//! The rows are copies of real ones, written past kern: so many transitions would take an hour.

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::time::{Duration, Instant};

use kern_db::{ApprovalFilter, ApprovalStatus, Ended, RunStatus, SessionFilter};
use kern_tests::steps::{Store, end};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

/// Rows of the file that the others are compared with.
const FEW: u64 = 1000;
/// Rows a page.
const PAGE: u32 = 100;
/// How often each page is read.
const ROUNDS: usize = 200;
/// Rows of one user in every file, however many others there are.
const SCARCE: u64 = 200;

/// A store with so many approvals: four users in turn, half of them pending and half carried out, each with a run of its own
/// with a conversation of 2 KB. Every now and then one is of a fifth user.
async fn filled(rows: u64) -> Store {
    let store = Store::on_a_file().await;
    let (claim, call) = store.executing().await;
    store.finish_call(call.ticket(), Ended::Succeeded("paid".to_owned()), Vec::new()).await.expect("it is recorded");
    store.end_run(end(&claim, RunStatus::Completed)).await.expect("it completes");
    let raw = store.raw();
    // What the triggers would compare is not worth an hour, and what they keep is made below as a migration makes it.
    raw.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).expect("triggers can be switched off");
    raw.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF").expect("it is a connection of our own");
    let pending = "i / 4 % 2 = 0";
    let user =
        format!("CASE WHEN i % {} = 0 THEN 'zoe' ELSE substr('anabobevejoe', 1 + i % 4 * 3, 3) END", rows / SCARCE);
    // Ids sort by time, as real ones do.
    let id = "printf('%08x-0000-7000-8000-%012x', 16777216 + i, i * 7919)";
    let times = "strftime('%s', 'now') * 1 + i / 50";
    let copy = |table: &str, set: &[(&str, &str)], only: &str| {
        let value =
            |name: String| set.iter().find(|(set, _)| *set == name).map_or(name.clone(), |(_, sql)| (*sql).to_owned());
        let columns = columns(&raw, table);
        let values: Vec<String> = columns.iter().cloned().map(value).collect();
        let sql = format!(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {rows})
             INSERT INTO {table} ({}) SELECT {} FROM n CROSS JOIN (SELECT * FROM {table} LIMIT 1) WHERE {only}",
            columns.join(", "),
            values.join(", ")
        );
        raw.execute(&sql, ()).expect("a copy of a row fits");
        // The log would grow as large as the file.
        raw.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("the rows go into the file");
    };
    let run_status = format!("CASE WHEN {pending} THEN 'PAUSED' ELSE status END");
    let snapshot = "printf('{\"kept\":\"%s\"}', hex(zeroblob(1000)))";
    let session = "printf('session-%d', i / 4)";
    let ms = format!("({times}) * 1000");
    copy(
        "kern_runs",
        &[
            ("run_id", id),
            ("session_id", session),
            ("user_id", &user),
            ("status", &run_status),
            ("snapshot", snapshot),
            ("created_at_ms", &ms),
            ("updated_at_ms", &ms),
        ],
        "1",
    );
    let status = format!("CASE WHEN {pending} THEN 'pending' ELSE status END");
    let decided = |column| format!("CASE WHEN NOT ({pending}) THEN {column} END");
    let approval = [
        ("id", id),
        ("run_id", id),
        ("session_id", session),
        ("user_id", &user),
        ("status", &status),
        ("created_at", times),
        ("resolved_by", &decided("resolved_by")),
        ("resolved_at", &decided("resolved_at")),
        ("resolver", &decided("resolver")),
        ("decided_digest", &decided("decided_digest")),
        ("resolution_data", &decided("resolution_data")),
    ];
    copy("kern_approvals", &approval, "1");
    copy("kern_executions", &[("id", id), ("run_id", id), ("approval_id", id)], &format!("NOT ({pending})"));
    copy("kern_votes", &[("approval_id", id)], &format!("NOT ({pending})"));
    raw.execute_batch(
        "DELETE FROM kern_approvals_counts;
         INSERT INTO kern_approvals_counts (whose, pending, approved)
         SELECT '*', count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'approved')
         FROM kern_approvals
         UNION ALL
         SELECT '=' || user_id, count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'approved')
         FROM kern_approvals GROUP BY user_id;
         PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .expect("the rows are stored");
    store
}

fn columns(raw: &Connection, table: &str) -> Vec<String> {
    raw.prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
        .and_then(|mut statement| statement.query_map((), |row| row.get(0))?.collect())
        .expect("the table is there")
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn filters() -> [(&'static str, ApprovalFilter); 5] {
    let pending = || ApprovalFilter::new().status(ApprovalStatus::Pending);
    [
        ("unfiltered", ApprovalFilter::new()),
        ("by status", pending()),
        ("by user", ApprovalFilter::new().user_id("ana")),
        ("by both", pending().user_id("ana")),
        ("by a user with 200 rows", ApprovalFilter::new().user_id("zoe")),
    ]
}

/// Milliseconds of the first page, of one far down that a cursor finds, and of a count: for each filter.
async fn measured(store: &Store) -> Vec<[f64; 3]> {
    let mut all = Vec::new();
    for (name, filter) in filters() {
        let filter = filter.limit(PAGE);
        let first = store.list_approvals(filter.clone()).await.expect("a page is read");
        assert_eq!(first.data.len(), PAGE as usize, "{name}");
        // By its number, and only once: that costs the more the further down it is.
        let middle = u32::try_from(first.meta.total_pages.div_ceil(2)).expect("it is a page");
        let middle = store.list_approvals(filter.clone().page(middle)).await.expect("a page is read");
        let last = middle.data.last().expect("it has rows");
        let below = filter.clone().after(last.created_at, last.id.clone());
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (place, filter) in [&filter, &below].into_iter().enumerate() {
                let started = Instant::now();
                store.list_approvals(filter.clone()).await.expect("a page is read");
                times[place].push(started.elapsed());
            }
            let started = Instant::now();
            store.count_approvals(filter.clone()).await.expect("they are counted");
            times[2].push(started.elapsed());
        }
        all.push(times.map(median));
    }
    all
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut sizes = vec![100_000];
    sizes.extend(std::env::var("KERN_ROWS").ok().and_then(|text| text.parse::<u64>().ok()));
    let few = filled(FEW).await;
    for rows in sizes {
        let started = Instant::now();
        let many = filled(rows).await;
        let size = std::fs::metadata(many.file()).map_or(0, |file| file.len());
        println!("made a file of {} MB with {rows} approvals in {:.0} s", size >> 20, started.elapsed().as_secs_f64());
        // Together, so that both meet the same machine.
        let (base, measured) = (measured(&few).await, measured(&many).await);
        for (((name, _), base), many) in filters().iter().zip(base).zip(measured) {
            println!(
                "{rows} approvals, page of {PAGE} {name}: {:.2} ms ({:.2} times that of {FEW}: {:.2} ms); \
                 after a cursor far down: {:.2} ms; count: {:.3} ms",
                many[0],
                many[0] / base[0],
                base[0],
                many[1],
                many[2]
            );
        }
        for (name, filter) in [("all", SessionFilter::new()), ("of a user", SessionFilter::new().user_id("ana"))] {
            let mut times = Vec::new();
            for _ in 0..5 {
                let started = Instant::now();
                many.list_sessions(filter.clone()).await.expect("a page is read");
                times.push(started.elapsed());
            }
            println!("{rows} runs, page of 20 sessions, {name}: {:.1} ms", median(times));
        }
    }
}
