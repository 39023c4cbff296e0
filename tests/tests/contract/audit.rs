//! I2, I12, I13, I16: the log says everything, and nobody can quietly say something else.

use kern_db::{Actor, Caller, Ended, Error, ExecutionFilter, NewAnswer, RunStatus, Settlement};
use kern_tests::history::{check, entries};
use kern_tests::steps::{
    APPROVER, LONG, REQUESTER, Store, audit, begin, drop_triggers, dump, end, person, required, turn, two_stage, user,
};

/// A store in which something of everything has happened.
async fn busy(store: &Store) {
    let (claim, call) = store.executing().await;
    store.succeed(&call).await;
    store.complete(&claim).await.unwrap();
    let (claim, call) = store.unknown().await;
    store
        .settle_execution(call.ticket().execution_id(), Settlement::abandoned().by(APPROVER).note("looked"))
        .await
        .unwrap();
    store.finish_call(call.ticket(), Ended::Failed("late".to_owned()), Vec::new()).await.unwrap();
    store.end_run(end(&claim, RunStatus::Error)).await.unwrap();
    let run_id = store.paused(&[user().record(true), two_stage()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    store.approve(&run_id, 1).await.unwrap();
    store.cancel_run(run_id, person(REQUESTER)).await.unwrap();
    store.paused(&[required()]).await;
}

async fn i12_every_transition_has_its_entry_and_names_who_did_it(store: &Store) {
    busy(store).await;
    check(&**store).await;
    let entries = entries(&**store).await;
    let by = |name: &str| {
        entries
            .iter()
            .filter(|entry| matches!(&entry.actor, Actor::Person { principal } if principal.subject == name))
            .count()
    };
    // requested and started runs, an answer; votes, approvals, ready executions, a settlement.
    assert!(by(REQUESTER) >= 8 && by(APPROVER) >= 10, "{} and {}", by(REQUESTER), by(APPROVER));
    for pair in entries.windows(2) {
        assert_eq!((pair[1].seq, &pair[1].prev_hash), (pair[0].seq + 1, &pair[0].hash));
        assert_eq!(pair[1].at_ms, pair[1].now_ms.max(pair[0].at_ms));
    }
}

async fn i12_what_is_refused_changes_no_row(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let before = store.words(&run_id).await;
    assert!(store.approve(&run_id, 0).await.is_err());
    assert!(store.begin_run(begin(&run_id)).await.is_err());
    assert!(store.settle_execution(&kern_db::ExecutionId::from("none"), Settlement::abandoned()).await.is_err());
    assert!(store.delete_approval(&kern_db::ApprovalId::from("none")).await.is_err());
    assert_eq!(store.words(&run_id).await, before);
}

async fn i13_the_head_moves_with_every_entry(store: &Store) {
    let empty = store.audit().verify().await.unwrap();
    assert_eq!((empty.entries, empty.is_intact()), (1, true));
    store.started().await;
    let one = store.audit().verify().await.unwrap();
    assert_eq!((one.entries, one.is_intact()), (2, true));
    assert_ne!(one.head, empty.head);
    assert_eq!(one.head, entries(&**store).await[1].hash);
}

/// Does something to the log with SQL and gives what verification finds: where, and what.
async fn after(store: &Store, sql: &str) -> (i64, String) {
    let connection = store.raw();
    drop_triggers(&connection);
    connection.execute_batch(sql).unwrap();
    let report = store.audit().verify().await.unwrap();
    let found = report.broken.unwrap_or_else(|| panic!("`{sql}` was not found"));
    (found.seq, found.what)
}

async fn i13_every_edited_column_is_found(store: &Store) {
    for _ in 0..3 {
        let _started = store.executing().await;
    }
    let connection = store.raw();
    drop_triggers(&connection);
    let set = |sql: &str| connection.execute(&format!("UPDATE kern_audit SET {sql} WHERE seq = 7"), ()).unwrap();
    let columns = [
        ("at_ms", "at_ms + 1"),
        ("now_ms", "now_ms - 1"),
        ("actor", r#"replace(actor, 'bob', 'eve')"#),
        ("action", "'rejected'"),
        ("evidence", "1 - evidence"),
        ("root_run_id", "'other'"),
        ("run_id", "'other'"),
        ("turn", "turn + 1"),
        ("idx", "NULL"),
        ("approval_id", "'other'"),
        ("execution_id", "'other'"),
        ("tool_name", "'other'"),
        ("call_digest", "replace(call_digest, substr(call_digest, 1, 1), 'z')"),
        ("payload", "'{}'"),
        ("prev_hash", "hash"),
        ("hash", "prev_hash"),
    ];
    for (column, value) in columns {
        connection.execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM kern_audit WHERE seq = 7").unwrap();
        assert_eq!(set(&format!("{column} = {value}")), 1);
        let report = store.audit().verify().await.unwrap();
        assert_eq!(report.broken.as_ref().map(|found| found.seq), Some(7), "{column}: {report:?}");
        assert_eq!(report.entries, 6);
        set(&format!("{column} = (SELECT {column} FROM kept)"));
        connection.execute_batch("DROP TABLE kept").unwrap();
        let report = store.audit().verify().await.unwrap();
        assert!(report.is_log_intact(), "{column} is as it was");
        // The triggers that were dropped for it are missed.
        assert!(!report.is_intact() && report.others.len() > 5, "{report:?}");
    }
}

/// A log says which store it is of, and which of how many chains: in its first entry, and in the store's own row.
async fn i13_another_store_is_found(store: &Store) {
    busy(store).await;
    for (sql, seq, row) in [
        ("DELETE FROM kern_audit WHERE seq = 1", 1, None),
        ("UPDATE kern_audit SET payload = replace(payload, '\"shards\":1', '\"shards\":2') WHERE seq = 1", 1, None),
        ("UPDATE kern_audit SET action = 'run_started' WHERE seq = 1", 1, None),
        ("UPDATE kern_audit SET prev_hash = hash WHERE seq = 1", 1, None),
        ("UPDATE kern_store SET store_id = '00'", 1, Some("store")),
        ("UPDATE kern_store SET shards = 16", 1, Some("store")),
        ("DELETE FROM kern_store", 1, Some("store")),
        (
            "INSERT INTO kern_store SELECT '00', epoch, shards, at_ms, wall_ms, resets, lease_ms, state, proof, quarantined_at_ms, server
             FROM kern_store",
            1,
            Some("store"),
        ),
    ] {
        let connection = store.raw();
        drop_triggers(&connection);
        connection
            .execute_batch("CREATE TABLE log AS SELECT * FROM kern_audit; CREATE TABLE row AS SELECT * FROM kern_store")
            .unwrap();
        connection.execute_batch(sql).unwrap();
        let broken = store.audit().verify().await.unwrap().broken.unwrap_or_else(|| panic!("`{sql}` was not found"));
        assert_eq!((broken.seq, broken.row.as_deref()), (seq, row), "`{sql}`: {broken:?}");
        connection
            .execute_batch(
                "DELETE FROM kern_audit; INSERT INTO kern_audit SELECT * FROM log; DROP TABLE log;
                 DELETE FROM kern_store; INSERT INTO kern_store SELECT * FROM row; DROP TABLE row",
            )
            .unwrap();
    }
    assert!(store.audit().verify().await.unwrap().is_log_intact());
}

async fn i13_a_deleted_entry_is_found(store: &Store) {
    busy(store).await;
    let (seq, what) = after(store, "DELETE FROM kern_audit WHERE seq = 4").await;
    assert_eq!((seq, what.as_str()), (4, "entry 4 is missing"));
}

async fn i13_a_deleted_entry_is_found_also_when_the_others_close_up(store: &Store) {
    busy(store).await;
    let sql = "DELETE FROM kern_audit WHERE seq = 4; UPDATE kern_audit SET seq = -seq WHERE seq > 4;
               UPDATE kern_audit SET seq = -seq - 1 WHERE seq < 0;";
    assert_eq!(after(store, sql).await.0, 4);
}

async fn i13_an_inserted_entry_is_found(store: &Store) {
    busy(store).await;
    let sql = "UPDATE kern_audit SET seq = -seq WHERE seq > 4; UPDATE kern_audit SET seq = -seq + 1 WHERE seq < 0;
               INSERT INTO kern_audit SELECT shard, 5, at_ms, now_ms, actor, 'approved', evidence, root_run_id, run_id, turn, idx,
               approval_id, execution_id, tool_name, call_digest, payload, hash, hash FROM kern_audit WHERE seq = 4;";
    assert_eq!(after(store, sql).await.0, 5);
}

async fn i13_an_entry_at_the_end_is_found(store: &Store) {
    busy(store).await;
    let entries = entries(&**store).await.len();
    let sql =
        "INSERT INTO kern_audit SELECT shard, seq + 1, at_ms, now_ms, actor, 'approved', evidence, root_run_id, run_id, turn, idx,
               approval_id, execution_id, tool_name, call_digest, payload, hash, hash FROM kern_audit ORDER BY seq DESC LIMIT 1;";
    assert_eq!(after(store, sql).await.0, i64::try_from(entries).unwrap() + 1);
}

async fn i13_two_entries_that_changed_places_are_found(store: &Store) {
    busy(store).await;
    let sql = "UPDATE kern_audit SET seq = -1 WHERE seq = 3; UPDATE kern_audit SET seq = 3 WHERE seq = 4;
               UPDATE kern_audit SET seq = 4 WHERE seq = -1;";
    assert_eq!(after(store, sql).await.0, 3);
}

/// An entry whose own hash fits, made by somebody who can compute one.
async fn i13_an_entry_of_another_log_is_found(store: &Store) {
    store.paused(&[required()]).await;
    let other = Store::on_a_file().await;
    other.paused(&[required()]).await;
    let connection = store.raw();
    drop_triggers(&connection);
    let attach = format!("ATTACH '{}' AS other", other.file().display());
    connection.execute_batch(&attach).unwrap();
    for seq in [3, 2] {
        connection
            .execute_batch(&format!(
                "DELETE FROM main.kern_audit WHERE seq = {seq};
                 INSERT INTO main.kern_audit SELECT * FROM other.kern_audit WHERE seq = {seq};"
            ))
            .unwrap();
        let found = store.audit().verify().await.unwrap().broken;
        assert_eq!(found.map(|found| found.seq), Some(seq), "it does not follow from the entry before it");
    }
}

async fn i13_an_entry_nobody_can_read_is_a_finding(store: &Store) {
    busy(store).await;
    assert_eq!(after(store, "UPDATE kern_audit SET actor = '{' WHERE seq = 3").await.0, 3);
    // A log that cannot be read is not written to either: nothing happens without its entry.
    let (_, what) =
        after(store, "UPDATE kern_audit SET actor = '{' WHERE seq = (SELECT max(seq) FROM kern_audit)").await;
    assert!(what.contains("unreadable"), "{what}");
    let refused = store.begin_run(begin(&kern_db::RunId::generate())).await;
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
}

async fn i13_a_cut_off_tail_shows_in_the_head(store: &Store) {
    busy(store).await;
    let kept = store.audit().verify().await.unwrap();
    let connection = store.raw();
    drop_triggers(&connection);
    connection.execute_batch("DELETE FROM kern_audit WHERE seq > 5").unwrap();
    let found = store.audit().verify().await.unwrap();
    assert!(found.is_log_intact(), "what is left is a log of its own");
    assert!(!found.is_intact(), "the rows say more than it");
    assert!(found.head != kept.head && found.entries < kept.entries, "but it is not the one whose head was kept");
}

async fn i13_a_log_longer_than_a_page_is_read_to_its_end(store: &Store) {
    for _ in 0..9 {
        store.paused(&vec![required(); 500]).await;
    }
    let report = store.audit().verify().await.unwrap();
    assert_eq!((report.entries, report.is_intact()), (4519, true));
    assert_eq!(after(store, "UPDATE kern_audit SET payload = '{}' WHERE seq = 4498").await.0, 4498);
}

/// Rows that somebody edits behind kern's back, with the triggers out of the way: each column of each table.
async fn i13_every_edited_column_of_every_row_is_found(store: &Store) {
    busy(store).await;
    let yes = kern_db::Resolution::approved().by(APPROVER).note("fine").data(serde_json::json!({ "ticket": 17 }));
    let run_id = store.paused(&[required().expires_in_ms(60_000)]).await;
    let id = store.approval_id(&run_id, 0).await;
    store.update_approval(&id, kern_db::ApprovalStatus::Pending, yes).await.unwrap();
    let connection = store.raw();
    drop_triggers(&connection);
    let others = store.audit().verify().await.unwrap();
    assert!(others.is_log_intact());
    // Who drives a run, and for how long, is no history.
    let spared = ["owner", "lease_until_ms"];
    for table in ["runs", "calls", "approvals", "votes", "executions"] {
        connection.execute_batch(&format!("CREATE TABLE kept AS SELECT * FROM kern_{table}")).unwrap();
        for column in columns(&connection, table) {
            if spared.contains(&column.as_str()) {
                continue;
            }
            for value in
                [format!("coalesce({column}, '') || 'x'"), format!("coalesce({column}, 0) + 7777"), "NULL".to_owned()]
            {
                // Keys and checks of the schema refuse some of it.
                let sql = format!("PRAGMA foreign_keys = OFF; UPDATE kern_{table} SET {column} = {value}");
                if connection.execute_batch(&sql).is_err() {
                    continue;
                }
                let same: i64 = connection
                    .query_row(
                        &format!("SELECT count(*) FROM (SELECT * FROM kern_{table} EXCEPT SELECT * FROM kept)"),
                        (),
                        |row| row.get(0),
                    )
                    .unwrap();
                let report = store.audit().verify().await.unwrap();
                let rows = report.broken.iter().chain(&report.others);
                let found =
                    rows.filter(|found| found.row.as_ref().is_some_and(|row| !row.starts_with("trigger"))).count();
                assert_eq!(found > 0, same > 0, "{table}.{column} = {value}: {report:?}");
                connection
                    .execute_batch(&format!("DELETE FROM kern_{table}; INSERT INTO kern_{table} SELECT * FROM kept"))
                    .unwrap();
            }
        }
        connection.execute_batch("DROP TABLE kept").unwrap();
    }
}

/// Rows that are gone, or that nobody has asked for.
async fn i13_a_row_without_its_entries_and_entries_without_their_row_are_found(store: &Store) {
    busy(store).await;
    let connection = store.raw();
    drop_triggers(&connection);
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    for table in ["runs", "calls", "approvals", "votes", "executions"] {
        connection.execute_batch(&format!("CREATE TABLE kept AS SELECT * FROM kern_{table}")).unwrap();
        let key = key(table);
        for sql in [
            format!("DELETE FROM kern_{table} WHERE {key} = (SELECT max({key}) FROM kern_{table})"),
            format!("DELETE FROM kern_{table}"),
            format!("UPDATE kern_{table} SET {key} = 'another' WHERE {key} = (SELECT max({key}) FROM kern_{table})"),
        ] {
            connection.execute_batch(&sql).unwrap();
            let report = store.audit().verify().await.unwrap();
            let first = report.broken.as_ref().and_then(|found| found.row.clone()).unwrap_or_default();
            assert!(!first.is_empty() && !first.starts_with("trigger"), "{sql}: {report:?}");
            connection
                .execute_batch(&format!("DELETE FROM kern_{table}; INSERT INTO kern_{table} SELECT * FROM kept"))
                .unwrap();
        }
        connection.execute_batch("DROP TABLE kept").unwrap();
    }
}

/// What somebody with SQL access is refused while the triggers are there, on a connection that is not kern's.
async fn i16_history_is_not_changed_with_sql(store: &Store) {
    busy(store).await;
    let connection = store.raw();
    let before = dump(&connection);
    for recursive in ["OFF", "ON"] {
        connection.execute_batch(&format!("PRAGMA recursive_triggers = {recursive}")).unwrap();
        for table in ["runs", "calls", "approvals", "votes", "executions", "audit"] {
            let refused = |sql: String| {
                let outcome = connection.execute_batch(&sql);
                assert!(
                    outcome.as_ref().is_err_and(|error| error.to_string().contains("kern: ")),
                    "{sql}: {outcome:?}"
                );
            };
            refused(format!("DELETE FROM kern_{table}"));
            refused(
                format!("DELETE FROM kern_{table} WHERE rowid = (SELECT max(rowid) FROM kern_{table})")
                    .replace("rowid", key(table)),
            );
            refused(format!("INSERT OR REPLACE INTO kern_{table} SELECT * FROM kern_{table} LIMIT 1"));
            refused(format!("REPLACE INTO kern_{table} SELECT * FROM kern_{table}"));
            refused(format!(
                "INSERT INTO kern_{table} SELECT * FROM kern_{table} LIMIT 1 ON CONFLICT DO UPDATE SET {0} = {0}",
                key(table)
            ));
        }
        for sql in [
            "UPDATE kern_audit SET payload = '{}'",
            "UPDATE OR REPLACE kern_audit SET seq = 1 WHERE seq = 2",
            "UPDATE kern_votes SET voter = NULL",
            "UPDATE OR REPLACE kern_votes SET voter_key = 'x'",
            "UPDATE kern_approvals SET status = 'pending' WHERE status = 'approved'",
            "UPDATE kern_approvals SET tool_args = '{}' WHERE status = 'approved'",
            "UPDATE kern_approvals SET policy = '{}'",
            "UPDATE kern_approvals SET requester = NULL",
            "UPDATE OR REPLACE kern_approvals SET id = (SELECT id FROM kern_approvals ORDER BY id LIMIT 1)",
            "UPDATE kern_calls SET policy = '{}'",
            "UPDATE kern_calls SET tool_name = 'look'",
            "UPDATE kern_calls SET arguments = '{}' WHERE run_id IN (SELECT run_id FROM kern_executions)",
            "UPDATE kern_calls SET answer = NULL WHERE answer = 'rejected'",
            "UPDATE kern_executions SET status = 'ready' WHERE status <> 'ready'",
            "UPDATE kern_executions SET attempt = 0 WHERE attempt > 0",
            "UPDATE kern_executions SET arguments = '{}'",
            "UPDATE kern_executions SET result = 'x' WHERE status = 'succeeded'",
            "UPDATE kern_runs SET status = 'PAUSED' WHERE status = 'COMPLETED'",
            "UPDATE kern_runs SET requester = NULL",
            "UPDATE kern_runs SET fence = fence - 1 WHERE status = 'PAUSED'",
        ] {
            let outcome = connection.execute(sql, ());
            assert!(
                outcome.as_ref().is_err_and(|error| error.to_string().contains("kern: ")) || outcome == Ok(0),
                "{sql}: {outcome:?}"
            );
        }
    }
    assert_eq!(dump(&connection), before);
    check(&**store).await;
}

fn key(table: &str) -> &'static str {
    match table {
        "audit" => "seq",
        "runs" | "calls" => "run_id",
        "votes" => "approval_id",
        _ => "id",
    }
}

/// A row with a key of its own can still push another one out, through any of its unique keys or the row id.
async fn i16_a_new_row_does_not_push_an_old_one_out(store: &Store) {
    busy(store).await;
    let connection = store.raw();
    let before = dump(&connection);
    for sql in [
        "INSERT OR REPLACE INTO kern_approvals
         SELECT 'new', run_id, session_id, 'pending', source_type, approval_type, pause_type, tool_name, tool_args,
           expires_at, agent_id, team_id, workflow_id, user_id, issuer, schedule_id, schedule_run_id, source_name,
           requirements,
           context, NULL, NULL, NULL, created_at, turn, idx, generation, tool_call_id, version, digest, NULL, policy,
           policy_digest, requester, NULL, NULL, NULL, NULL, NULL, view_digest FROM kern_approvals WHERE status = 'approved' LIMIT 1",
        "INSERT OR REPLACE INTO kern_executions
         SELECT 'new', run_id, turn, idx, generation, approval_id, authority, tool_name, arguments, decided_digest, 'ready',
           0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, created_at_ms, NULL, NULL, NULL, NULL, NULL
           FROM kern_executions WHERE status = 'succeeded' LIMIT 1",
    ] {
        let outcome = connection.execute(sql, ());
        assert!(outcome.as_ref().is_err_and(|error| error.to_string().contains("kern: ")), "{sql}: {outcome:?}");
    }
    for table in ["runs", "calls", "approvals", "votes", "executions"] {
        let columns = columns(&connection, table);
        let moved: Vec<String> = columns
            .iter()
            .map(|column| match column.as_str() {
                "id" | "run_id" | "approval_id" => format!("'new-' || {column}"),
                other => other.to_owned(),
            })
            .collect();
        let (columns, moved) = (columns.join(", "), moved.join(", "));
        connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        let by_rowid = format!(
            "INSERT OR REPLACE INTO kern_{table} (rowid, {columns}) SELECT rowid, {moved} FROM kern_{table} LIMIT 1"
        );
        assert!(connection.execute(&by_rowid, ()).is_err(), "{by_rowid}");
        let update = format!(
            "UPDATE OR REPLACE kern_{table} SET rowid = (SELECT max(rowid) FROM kern_{table})
             WHERE rowid = (SELECT min(rowid) FROM kern_{table})"
        );
        assert!(connection.execute(&update, ()).is_err(), "{update}");
    }
    assert_eq!(dump(&connection), before);
}

fn columns(connection: &rusqlite::Connection, table: &str) -> Vec<String> {
    connection
        .prepare(&format!("SELECT name FROM pragma_table_info('kern_{table}')"))
        .and_then(|mut statement| statement.query_map((), |row| row.get(0))?.collect())
        .unwrap()
}

/// SQL alone makes no permission: with the triggers in place an execution cannot be put there without its approval.
async fn i1_no_execution_is_born_without_what_allows_it(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let connection = store.raw();
    let insert = |status: &str, attempt: u32| {
        let sql = format!(
            "INSERT INTO kern_executions SELECT approval_id, run_id, turn, idx, generation, approval_id, 'approval', tool_name,
             arguments, digest, '{status}', {attempt}, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, created_at_ms, NULL, NULL, NULL, NULL, NULL
             FROM kern_calls"
        );
        let outcome = connection.execute(&sql, ());
        assert!(outcome.as_ref().is_err_and(|error| error.to_string().contains("kern: ")), "{sql}: {outcome:?}");
    };
    insert("ready", 0);
    insert("executing", 1);
    insert("succeeded", 1);
    assert_eq!(store.list_executions(ExecutionFilter::new()).await.unwrap(), []);
    store.approve(&run_id, 0).await.unwrap();
}

/// I2, I12: with the log unwritable, no transition happens at all.
async fn i2_nothing_happens_when_its_entry_cannot_be_written(store: &Store) {
    // One store in every state that a transition starts from.
    let running = store.started().await;
    let asked = store.paused(&[required().expires_in_ms(60_000)]).await;
    let asked_id = store.approval_id(&asked, 0).await;
    let confirm = store.paused(&[user().record(true)]).await;
    let implied = store.paused(&[two_stage()]).await;
    store.approve(&implied, 0).await.unwrap();
    let ready = store.paused(&[required()]).await;
    store.approve(&ready, 0).await.unwrap();
    let ready = store.resumed(&ready).await;
    let (_, executing) = store.executing().await;
    let (_, lost) = store.executing().await;
    let (_, unknown) = store.unknown().await;
    let lapsed = store.lapsed().await;
    let audited = store.started().await;
    store.commit_turn(turn(&audited, 1, &[audit()], false)).await.unwrap();

    store
        .raw()
        .execute_batch("CREATE TRIGGER block BEFORE INSERT ON kern_audit BEGIN SELECT RAISE(ABORT, 'blocked'); END")
        .unwrap();
    let before = store.dump();
    let mut refused: Vec<(&str, Option<Error>)> = vec![
        ("R1", store.begin_run(begin(&kern_db::RunId::generate())).await.err()),
        ("R2", store.commit_turn(turn(&running, 1, &[required()], true)).await.err()),
        ("R3", store.pause_run(running.clone(), "{}".to_owned(), false).await.err()),
        ("R4", store.claim_as(&implied, person(REQUESTER)).await.err()),
        ("R6", store.recover_run(lapsed.run_id.clone()).await.err()),
        ("R8", store.complete(&running).await.err()),
        ("R9", store.cancel_run(asked.clone(), Caller::Anonymous).await.err()),
        ("A2", store.approve(&asked, 0).await.err()),
        ("A5", store.refuse(&asked, 0).await.err()),
        ("A8", store.delete_approval(&asked_id).await.err()),
        ("U1", store.answer(&confirm, 0, NewAnswer::Confirm).await.err()),
        ("U2", store.answer(&confirm, 0, NewAnswer::Reject(None)).await.err()),
        ("X2", store.claim(&audited, 0).await.err()),
        ("X3", store.claim(&ready, 0).await.err()),
        ("X4", store.finish_call(executing.ticket(), Ended::Succeeded("x".to_owned()), Vec::new()).await.err()),
        ("X5", store.finish_call(lost.ticket(), Ended::Lost("x".to_owned()), Vec::new()).await.err()),
    ];
    let settled = store
        .settle_execution(unknown.ticket().execution_id(), Settlement::abandoned().by(APPROVER).note("looked"))
        .await;
    refused.push(("X9", settled.err()));
    for (line, error) in refused {
        assert!(matches!(error, Some(Error::Unavailable { .. })), "{line}: {error:?}");
    }
    assert_eq!(store.dump(), before, "nothing without its entry");

    store.raw().execute_batch("DROP TRIGGER block").unwrap();
    store.approve(&asked, 0).await.unwrap();
    let _started = store.start(&ready, 0).await;
    store.succeed(&executing).await;
    store.renew_run(running.clone(), LONG).await.unwrap();
    check(&**store).await;
}

on_each_store! {
    i12_every_transition_has_its_entry_and_names_who_did_it,
    i12_what_is_refused_changes_no_row,
    i13_the_head_moves_with_every_entry,
}

on_a_file! {
    i13_a_cut_off_tail_shows_in_the_head,
    i13_another_store_is_found,
    i13_a_deleted_entry_is_found,
    i13_a_deleted_entry_is_found_also_when_the_others_close_up,
    i13_a_log_longer_than_a_page_is_read_to_its_end,
    i13_an_entry_at_the_end_is_found,
    i13_an_entry_of_another_log_is_found,
    i13_an_entry_nobody_can_read_is_a_finding,
    i13_an_inserted_entry_is_found,
    i13_a_row_without_its_entries_and_entries_without_their_row_are_found,
    i13_every_edited_column_is_found,
    i13_every_edited_column_of_every_row_is_found,
    i13_two_entries_that_changed_places_are_found,
    i16_a_new_row_does_not_push_an_old_one_out,
    i16_history_is_not_changed_with_sql,
    i1_no_execution_is_born_without_what_allows_it,
    i2_nothing_happens_when_its_entry_cannot_be_written,
}
