//! Files with many approvals, for benchmarks: copies of real rows, written past kern. So many transitions would take an hour.

use kern_db::{Ended, RunStatus};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::steps::{Store, end};

/// Rows of one user in every file, however many others there are.
const SCARCE: u64 = 200;

/// A store with so many approvals: four users in turn, half of them pending and half carried out, each with a run of its own
/// with a conversation of 2 KB. Every now and then one is of a fifth user.
///
/// # Panics
///
/// When the file cannot be written.
pub async fn filled(rows: u64) -> Store {
    let store = Store::on_a_file().await;
    let (claim, call) = store.executing().await;
    store.finish_call(call.ticket(), Ended::Succeeded("paid".to_owned()), Vec::new()).await.expect("it is recorded");
    store.end_run(end(&claim, RunStatus::Completed)).await.expect("it completes");
    let raw = store.raw();
    // What the triggers would compare is not worth an hour, and what they keep is made below from the rows.
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
