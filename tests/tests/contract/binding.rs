//! I5 and I22: what is shown is what is approved is what runs, and what is stored is not trusted.

use kern_db::{
    CallClaimed, CallPolicy, Caller, Ended, Error, ExecutionFilter, ExecutionStatus, NewAnswer, PauseType, RunClaimed,
    RunStatus, Tier,
};
use kern_tests::steps::{REQUESTER, Store, audit, person, required, turn, two_stage, user};

/// One byte of one stored copy of a required call: what to set, where. The first character that fits is changed.
const COPIES: &[(&str, &str, &str)] = &[
    ("calls", "arguments", r#"replace(arguments, '100', '900')"#),
    ("calls", "digest", FLIP_DIGEST),
    ("calls", "policy", r#"replace(policy, '"allow_self":false', '"allow_self":true ')"#),
    ("calls", "policy_digest", FLIP_POLICY_DIGEST),
    ("calls", "tool_name", "'pay2'"),
    ("calls", "tool_version", "'2'"),
    ("calls", "schema_hash", "'1' || substr(schema_hash, 2)"),
    ("calls", "tool_call_id", "'call_9'"),
    ("calls", "version", "version + 1"),
    ("calls", "generation", "generation + 1"),
    ("calls", "approval_id", "'other'"),
    ("approvals", "tool_args", r#"replace(tool_args, '"x"', '"y"')"#),
    ("approvals", "tool_name", "'pay2'"),
    ("approvals", "tool_call_id", "'call_9'"),
    ("approvals", "digest", FLIP_DIGEST),
    ("approvals", "decided_digest", "'0' || substr(decided_digest, 2) || ''"),
    ("approvals", "version", "version + 1"),
    ("approvals", "generation", "generation + 1"),
    ("approvals", "policy", r#"replace(policy, '"record":false', '"record":true ')"#),
    ("approvals", "policy_digest", FLIP_POLICY_DIGEST),
    ("approvals", "requirements", r#"replace(requirements, 'pay', 'spy')"#),
    ("approvals", "requester", r#"replace(requester, 'ana', 'eva')"#),
    ("approvals", "idx", "idx + 1"),
    ("approvals", "run_id", "'other'"),
    ("executions", "arguments", r#"replace(arguments, '100', '900')"#),
    ("executions", "decided_digest", "'0' || substr(decided_digest, 2) || ''"),
    ("executions", "tool_name", "'pay2'"),
    ("executions", "approval_id", "'other'"),
    ("executions", "authority", "'answer'"),
    ("executions", "generation", "generation + 1"),
    ("executions", "valid_until_ms", "valid_until_ms + 1"),
    ("runs", "requester", r#"replace(requester, 'ana', 'eva')"#),
];

/// The same hexadecimal digits with the first one changed.
const FLIP_DIGEST: &str = "CASE substr(digest, 1, 1) WHEN '0' THEN '1' ELSE '0' END || substr(digest, 2)";
const FLIP_POLICY_DIGEST: &str =
    "CASE substr(policy_digest, 1, 1) WHEN '0' THEN '1' ELSE '0' END || substr(policy_digest, 2)";

fn flip(table: &str, column: &str, value: &str) -> String {
    let value =
        value.replace("'0' || substr(decided_digest, 2) || ''", &FLIP_DIGEST.replace("digest", "decided_digest"));
    format!("PRAGMA foreign_keys = OFF; UPDATE kern_{table} SET {column} = {value}")
}

/// Changes one stored copy behind kern's back, and makes sure that it changed.
fn tamper(store: &Store, sql: &str) {
    let connection = store.raw();
    kern_tests::steps::drop_triggers(&connection);
    let before = kern_tests::steps::dump(&connection);
    connection.execute_batch(sql).unwrap();
    assert_ne!(kern_tests::steps::dump(&connection), before, "`{sql}` changed nothing");
}

fn is_refused<T: std::fmt::Debug>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::DigestMismatch { .. } | Error::Corrupt { .. }))
}

async fn evidence(store: &Store) -> usize {
    let entries = kern_tests::history::entries(&**store).await;
    entries.into_iter().filter(|entry| entry.evidence).count()
}

/// The triggers keep the foreign keys of a raw connection out of the way; everything else is one file for each copy.
async fn i5_a_flipped_copy_keeps_the_run_from_being_claimed(_: &Store) {
    for (table, column, value) in COPIES {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required().valid_for_ms(600_000)]).await;
        store.approve(&run_id, 0).await.unwrap();
        let request = store.load(&run_id, Caller::Worker).await;
        tamper(store, &flip(table, column, value));
        let claimed = store.claim_run(request).await;
        let refused = is_refused(&claimed) || matches!(claimed, Ok(RunClaimed::Blocked(_)));
        assert!(refused, "{table}.{column}: {claimed:?}");
        assert_eq!(store.get_run(&run_id).await.map(|run| run.status).unwrap_or(RunStatus::Paused), RunStatus::Paused);
        assert_eq!(evidence(store).await, 1, "{table}.{column} is on record");
        assert_eq!(store.starts(&run_id).await, 0);
        let report = store.audit().verify().await.unwrap();
        assert!(report.is_log_intact() && !report.is_intact(), "{table}.{column} is found: {report:?}");
    }
}

async fn i5_a_copy_flipped_after_the_run_was_claimed_keeps_the_call_from_starting(_: &Store) {
    for (table, column, value) in COPIES {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required().valid_for_ms(600_000)]).await;
        store.approve(&run_id, 0).await.unwrap();
        let claim = store.resumed(&run_id).await;
        tamper(store, &flip(table, column, value));
        let claimed = store.claim(&claim, 0).await;
        let refused = is_refused(&claimed) || matches!(claimed, Ok(CallClaimed::NotStartable));
        assert!(refused, "{table}.{column}: {claimed:?}");
        assert_eq!(evidence(store).await, 1, "{table}.{column} is on record");
        let ready = store.list_executions(ExecutionFilter::new().status(ExecutionStatus::Ready)).await.unwrap();
        assert_eq!(ready.len(), 1, "{table}.{column}: nothing was claimed");
    }
}

async fn i5_a_flipped_copy_cannot_be_approved(_: &Store) {
    for (table, column, value) in COPIES {
        if *table == "executions" || *column == "decided_digest" {
            continue;
        }
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required()]).await;
        let id = store.approval_id(&run_id, 0).await;
        tamper(store, &flip(table, column, value));
        let resolution = kern_db::Resolution::approved().by("bob");
        let resolved = store.update_approval(&id, kern_db::ApprovalStatus::Pending, resolution).await;
        let gone = *column == "run_id" && matches!(resolved, Err(Error::NotFound { .. }));
        assert!(is_refused(&resolved) || gone, "{table}.{column}: {resolved:?}");
        assert_eq!(evidence(store).await, usize::from(!gone), "{table}.{column} is on record");
        assert_eq!(store.list_executions(ExecutionFilter::new()).await.unwrap(), []);
    }
}

async fn i5_a_flipped_snapshot_keeps_the_run_from_going_on(store: &Store) {
    for column in ["snapshot", "snapshot_digest"] {
        let run_id = store.paused(&[user()]).await;
        store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
        let request = store.load(&run_id, Caller::Worker).await;
        store.tamper(&format!("UPDATE kern_runs SET {column} = '{{\"turn\":2}}' WHERE run_id = '{run_id}'"));
        let claimed = store.claim_run(request).await;
        assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{claimed:?}");
        assert_eq!(store.count(&run_id, "[digest_mismatch]").await, 1);
        assert_eq!(store.get_run(&run_id).await.unwrap().status, RunStatus::Paused);
    }
}

async fn i5_a_flipped_copy_of_the_user_tier_keeps_the_call_from_starting(_: &Store) {
    let copies = [
        ("calls", "arguments", r#"replace(arguments, '100', '900')"#),
        ("calls", "policy", r#"replace(policy, '"user"', '"audit"')"#),
        ("calls", "policy_digest", FLIP_POLICY_DIGEST),
        ("calls", "tool_name", "'pay2'"),
        ("executions", "arguments", r#"replace(arguments, '100', '900')"#),
        ("executions", "authority", "'policy'"),
        ("executions", "tool_name", "'pay2'"),
        ("runs", "requester", r#"replace(requester, 'ana', 'eva')"#),
    ];
    for (table, column, value) in copies {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[user()]).await;
        store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
        let claim = store.resumed(&run_id).await;
        tamper(store, &flip(table, column, value));
        let claimed = store.claim(&claim, 0).await;
        assert!(is_refused(&claimed), "{table}.{column}: {claimed:?}");
        assert_eq!((evidence(store).await, store.starts(&run_id).await), (1, 0), "{table}.{column}");
    }
}

async fn i5_a_policy_that_was_weakened_does_not_open_the_gate(_: &Store) {
    for weaker in ["user", "audit", "two_stage"] {
        let store = &Store::on_a_file().await;
        let claim = store.started().await;
        store.commit_turn(turn(&claim, 1, &[required()], false)).await.unwrap();
        for table in ["calls", "approvals"] {
            store.tamper(&format!("UPDATE kern_{table} SET policy = replace(policy, '\"required\"', '\"{weaker}\"')"));
        }
        let claimed = store.claim(&claim, 0).await;
        assert!(is_refused(&claimed) || matches!(claimed, Ok(CallClaimed::NotStartable)), "{weaker}: {claimed:?}");
        assert_eq!(store.starts(&claim.run_id).await, 0);
    }
}

async fn i5_a_bare_audit_call_is_bound_too(_: &Store) {
    for (column, value) in [("arguments", "'{}'"), ("tool_name", "'pay2'"), ("approval_id", "'other'")] {
        let store = &Store::on_a_file().await;
        let claim = store.started().await;
        store.commit_turn(turn(&claim, 1, &[audit()], false)).await.unwrap();
        tamper(store, &flip("calls", column, value));
        let claimed = store.claim(&claim, 0).await;
        assert!(is_refused(&claimed) || matches!(claimed, Ok(CallClaimed::NotStartable)), "{column}: {claimed:?}");
        assert_eq!((evidence(store).await, store.starts(&claim.run_id).await), (1, 0), "{column}");
        assert_eq!(store.list_executions(ExecutionFilter::new()).await.unwrap(), []);
        assert_eq!(store.count(&claim.run_id, "recorded").await, 0);
    }
}

/// A call that is about to be confirmed by its requester's going on is looked at before, not after.
async fn i5_nothing_is_confirmed_that_does_not_fit(store: &Store) {
    let run_id = store.paused(&[two_stage()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let request = store.load(&run_id, person(REQUESTER)).await;
    store.tamper("UPDATE kern_executions SET arguments = '{}'");
    let claimed = store.claim_run(request).await;
    assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{claimed:?}");
    assert_eq!(store.call(&run_id).await.answer, None);
    assert_eq!(store.words(&run_id).await[6..], ["[digest_mismatch]"]);
}

/// The columns that no digest covers and a decision depends on are held against the log.
async fn i5_what_was_first_asked_and_until_when_is_on_record(store: &Store) {
    // A later end of an approval's time.
    let run_id = store.paused(&[required().expires_in_ms(60_000)]).await;
    let id = store.approval_id(&run_id, 0).await;
    store.tamper("UPDATE kern_approvals SET expires_at = expires_at + 1000");
    let resolved = decide(store, &id).await;
    assert!(matches!(resolved, Err(Error::DigestMismatch { .. })), "{resolved:?}");
    assert_eq!(store.count(&run_id, "[digest_mismatch]").await, 1);
    store.cancel_run(run_id, Caller::Anonymous).await.unwrap();

    // An edit that pretends to be what was first shown, so that going on would confirm it.
    let input = CallPolicy::new(Tier::TwoStage, Some(PauseType::UserInput));
    let run_id = store.paused(&[input]).await;
    let edited = NewAnswer::Input(r#"{"amount":100,"to":"y"}"#.to_owned());
    store.answer(&run_id, 0, edited).await.unwrap();
    store.approve(&run_id, 0).await.unwrap();
    let request = store.load(&run_id, person(REQUESTER)).await;
    store.tamper("UPDATE kern_calls SET shown_digest = digest");
    let claimed = store.claim_run(request).await;
    assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{claimed:?}");
    assert_eq!(store.call(&run_id).await.answer, None);
    assert_eq!(store.starts(&run_id).await, 0);
}

/// A result from outside goes through the same bound gate.
async fn i5_an_external_result_is_not_taken_for_a_flipped_call(store: &Store) {
    let external = CallPolicy::new(Tier::Required, Some(PauseType::ExternalExecution));
    let run_id = store.paused(&[external]).await;
    store.approve(&run_id, 0).await.unwrap();
    store.tamper("UPDATE kern_approvals SET tool_args = '{}'");
    let result = NewAnswer::ExternalResult("done elsewhere".to_owned());
    let taken = store.answer(&run_id, 0, result).await;
    assert!(matches!(taken, Err(Error::DigestMismatch { .. })), "{taken:?}");
    assert_eq!(store.words(&run_id).await.last().map(String::as_str), Some("[digest_mismatch]"));
}

/// I15: time is the last time in the store at least. A clock that is set back, or another process whose clock ran ahead,
/// revives nothing.
async fn i15_the_clock_of_the_store_never_goes_back(store: &Store) {
    let run_id = store.paused(&[required().expires_in_ms(60_000)]).await;
    let claim = store.started().await;
    assert!(!store.get_run(&claim.run_id).await.unwrap().lapsed);
    store.tamper(
        "UPDATE kern_audit SET at_ms = at_ms + 3600000, now_ms = now_ms + 3600000
         WHERE seq = (SELECT max(seq) FROM kern_audit)",
    );
    let late = store.approve(&run_id, 0).await;
    assert!(matches!(late, Err(Error::Expired { .. })), "{late:?}");
    assert!(store.get_run(&claim.run_id).await.unwrap().lapsed);
    let entries = kern_tests::history::entries(&**store).await;
    assert!(entries.is_sorted_by_key(|entry| entry.at_ms));
}

/// I2: owner and fence are not enough while the run is not running.
async fn i2_a_run_that_does_not_run_starts_nothing(_: &Store) {
    for status in ["PAUSED", "PENDING", "COMPLETED", "ERROR", "CANCELLED"] {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let claim = store.resumed(&run_id).await;
        store.tamper(&format!("UPDATE kern_runs SET status = '{status}'"));
        let claimed = store.claim(&claim, 0).await;
        assert!(matches!(claimed, Err(Error::NotMine { .. })), "{status}: {claimed:?}");
        assert_eq!(store.starts(&run_id).await, 0);
    }
}

/// I6: the end of a start comes from whoever holds its owner's token and its fence.
async fn i6_only_who_started_a_call_says_how_it_ended(_: &Store) {
    for other in ["owner = 'somebody else'", "owner = NULL", "fence = 2"] {
        for ended in [Ended::Succeeded("x".to_owned()), Ended::Failed("x".to_owned()), Ended::Lost("x".to_owned())] {
            let store = &Store::on_a_file().await;
            let (claim, call) = store.executing().await;
            store.tamper(&format!("UPDATE kern_executions SET {other}"));
            let finished = store.finish_call(call.ticket(), ended, Vec::new()).await.unwrap();
            assert_eq!(finished, kern_db::Finished::Late, "{other}");
            let execution = store.call(&claim.run_id).await.execution.unwrap();
            assert_eq!(execution.status, ExecutionStatus::Executing, "{other}");
        }
    }
}

/// I1: an execution that is ready while nobody has decided is not permission, whoever put it there.
async fn i1_a_pending_approval_opens_nothing_whatever_else_is_there(_: &Store) {
    let store = &Store::on_a_file().await;
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[required()], false)).await.unwrap();
    store.tamper(
        "INSERT INTO kern_executions SELECT approval_id, run_id, turn, idx, generation, approval_id, 'approval', tool_name,
         arguments, digest, 'ready', 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, created_at_ms, NULL, NULL, NULL, NULL, NULL
         FROM kern_calls",
    );
    assert!(matches!(store.claim(&claim, 0).await, Ok(CallClaimed::NotStartable)));
    assert_eq!(store.starts(&claim.run_id).await, 0);
}

/// I1: rows that say yes are not enough. What opens the gate is on record, entry by entry.
async fn i1_a_yes_that_is_only_in_the_rows_opens_nothing(_: &Store) {
    // An approval that nobody gave.
    let store = &Store::on_a_file().await;
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[required()], false)).await.unwrap();
    store.tamper("UPDATE kern_approvals SET status = 'approved', decided_digest = digest, resolved_by = 'bob'");
    assert!(matches!(store.claim(&claim, 0).await, Ok(CallClaimed::NotStartable)));
    store.tamper(
        "INSERT INTO kern_executions SELECT approval_id, run_id, turn, idx, generation, approval_id, 'approval', tool_name,
         arguments, digest, 'ready', 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, created_at_ms, NULL, NULL, NULL, NULL, NULL
         FROM kern_calls",
    );
    let claimed = store.claim(&claim, 0).await;
    assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{claimed:?}");
    assert_eq!(store.starts(&claim.run_id).await, 0);

    // A confirmation that nobody gave.
    let store = &Store::on_a_file().await;
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[two_stage()], false)).await.unwrap();
    store.approve(&claim.run_id, 0).await.unwrap();
    store.tamper("UPDATE kern_calls SET answer = 'confirmed', answer_digest = digest, confirmed_version = version");
    let claimed = store.claim(&claim, 0).await;
    assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{claimed:?}");
    assert_eq!(store.starts(&claim.run_id).await, 0);

    // A no that was turned into a yes.
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[two_stage(), required()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    store.approve(&run_id, 0).await.unwrap();
    store.answer(&run_id, 0, NewAnswer::Reject(None)).await.unwrap();
    store.refuse(&run_id, 1).await.unwrap();
    let claim = store.resumed(&run_id).await;
    store.tamper("UPDATE kern_calls SET answer = 'confirmed', confirmed_version = version WHERE idx = 0");
    store.tamper("UPDATE kern_executions SET status = 'ready', error = NULL, finished_at_ms = NULL");
    let claimed = store.claim(&claim, 0).await;
    assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{claimed:?}");
    assert_eq!(store.starts(&run_id).await, 0);
}

/// I6: an execution that was put back to the start has started all the same.
async fn i6_a_start_that_was_taken_back_with_sql_stays_a_start(_: &Store) {
    for back in ["status = 'ready'", "status = 'ready', attempt = 0", "status = 'ready', attempt = 0, fence = 0"] {
        for ended in [true, false] {
            let store = &Store::on_a_file().await;
            let (claim, call) = store.executing().await;
            if ended {
                store.succeed(&call).await;
            }
            store.tamper(&format!("UPDATE kern_executions SET {back}, result = NULL, owner = NULL"));
            let claimed = store.claim(&claim, 0).await;
            assert!(is_refused(&claimed) || matches!(claimed, Ok(CallClaimed::NotStartable)), "{back}: {claimed:?}");
            assert_eq!(store.starts(&claim.run_id).await, 1);
        }
    }
    // A start that only the row knows of counts as well.
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    store.tamper("UPDATE kern_executions SET attempt = 1");
    let claimed = store.claim(&claim, 0).await;
    assert!(is_refused(&claimed), "{claimed:?}");
    assert_eq!(store.starts(&run_id).await, 0);
    // A second generation that nobody ordered.
    for generation in ["calls SET generation = 1", "executions SET generation = 0"] {
        let store = &Store::on_a_file().await;
        let (claim, call) = store.executing().await;
        store.succeed(&call).await;
        store.tamper(
            "INSERT INTO kern_executions SELECT 'again', run_id, turn, idx, 1, approval_id, authority, tool_name, arguments,
             decided_digest, 'ready', 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, created_at_ms, NULL, NULL, NULL, NULL, NULL
             FROM kern_executions",
        );
        store.tamper(&format!(
            "UPDATE kern_{generation} WHERE generation = (SELECT min(generation) FROM kern_executions)"
        ));
        let claimed = store.claim(&claim, 0).await;
        assert!(is_refused(&claimed), "{claimed:?}");
        assert_eq!(store.starts(&claim.run_id).await, 1);
    }
}

/// I9: a row that is gone is no permission, and says so.
async fn i9_a_missing_approval_starts_nothing(_: &Store) {
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    store.pause_run(claim, "{}".to_owned(), false).await.unwrap();
    tamper(store, "PRAGMA foreign_keys = OFF; DELETE FROM kern_approvals");
    let blocked = store.claim_as(&run_id, Caller::Worker).await.unwrap();
    assert_eq!(blocked, RunClaimed::Blocked(vec![kern_db::Blocker::ApprovalMissing { index: 0 }]));
    assert_eq!(store.count(&run_id, "[approval_missing]").await, 1);
    assert_eq!(store.starts(&run_id).await, 0);
}

/// I9: a deleted approval is closed by itself, not only because its execution was given up with it.
async fn i9_a_deleted_approval_starts_nothing_even_if_its_execution_is_ready(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let id = store.approval_id(&run_id, 0).await;
    store.delete_approval(&id).await.unwrap();
    store.tamper("UPDATE kern_executions SET status = 'ready', error = NULL, finished_at_ms = NULL");
    assert!(matches!(store.claim(&claim, 0).await, Ok(CallClaimed::Over)));
    assert_eq!(store.starts(&run_id).await, 0);
}

/// I22: whatever stands in a cell, the answer is typed, and nothing runs.
async fn i22_cells_that_kern_never_wrote_are_typed_errors(_: &Store) {
    let broken = [
        ("calls", "policy", "'{'"),
        ("calls", "policy", "''"),
        ("calls", "policy", "'[]'"),
        ("calls", "policy", r#"replace(policy, '"required"', '"nobody"')"#),
        ("calls", "policy", r#"replace(policy, '{', '{"new_field":1,')"#),
        ("calls", "earlier_digests", "'x'"),
        ("calls", "unfilled", "'[1]'"),
        ("calls", "turn", "-1"),
        ("calls", "idx", "99999999999"),
        ("calls", "version", "-1"),
        ("calls", "arguments", "CAST(x'ff' AS TEXT)"),
        ("calls", "answer", "'maybe'"),
        ("approvals", "status", "'granted'"),
        ("approvals", "approval_type", "'none'"),
        ("approvals", "pause_type", "'sleep'"),
        ("approvals", "tool_args", "'{'"),
        ("approvals", "tool_args", "'[]'"),
        ("approvals", "requirements", "'{'"),
        ("approvals", "requester", "'ana'"),
        ("approvals", "generation", "-1"),
        ("approvals", "resolver", "'{}'"),
        ("executions", "status", "'done'"),
        ("executions", "authority", "'me'"),
        ("executions", "attempt", "-1"),
        ("executions", "fence", "9223372036854775807"),
        ("executions", "generation", "4294967296"),
        ("runs", "status", "'SLEEPING'"),
        ("runs", "requester", "'{}'"),
        ("runs", "attention", "2"),
        ("runs", "turn", "-1"),
        ("runs", "recoveries", "4294967296"),
        ("runs", "fence", "9223372036854775807"),
    ];
    for (table, column, value) in broken {
        let what = format!("{table}.{column} = {value}");
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required()]).await;
        let id = store.approval_id(&run_id, 0).await;
        store.approve(&run_id, 0).await.unwrap();
        let request = store.load(&run_id, Caller::Worker).await;
        let ready = store.resumed(&run_id).await;
        tamper(
            store,
            &format!(
                "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF; UPDATE kern_{table} SET {column} = {value}"
            ),
        );
        // Every way into the store that could meet the cell: none of them may panic.
        let claimed = store.claim(&ready, 0).await;
        let starts = store.starts(&run_id).await;
        assert!(!matches!(claimed, Ok(CallClaimed::Claimed(_))) && starts == 0, "{what}: {claimed:?}");
        let outcomes: Vec<Option<Error>> = vec![
            store.claim_run(request).await.err(),
            store.get_run(&run_id).await.err(),
            store.get_approval(&id).await.err(),
            store.list_approvals(kern_db::ApprovalFilter::new()).await.err(),
            store.list_executions(ExecutionFilter::new()).await.err(),
            store.list_runs(kern_db::RunFilter::new()).await.err(),
            decide(store, &id).await.err(),
            store
                .answer_call(kern_tests::steps::answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, "{}"))
                .await
                .err(),
            store.recover_run(run_id.clone()).await.err(),
            store.renew_run(ready.clone(), 1).await.err(),
            store.lapsed_runs("agent".to_owned(), 10).await.err(),
            store.delete_approval(&id).await.err(),
            store.pause_run(ready.clone(), "{}".to_owned(), false).await.err(),
            store.complete(&ready).await.err(),
            store.cancel_run(run_id.clone(), Caller::Anonymous).await.err(),
        ];
        assert!(
            outcomes
                .iter()
                .flatten()
                .all(|error| !error.to_string().contains("panicked") && !chain(error).contains("panicked")),
            "{what}: {outcomes:?}"
        );
        assert!(outcomes.iter().any(Option::is_some), "{what}: somebody has to notice");
        assert_eq!(store.starts(&run_id).await, 0, "{what}");
        assert!(store.audit().verify().await.unwrap().is_log_intact(), "{what}");
    }
}

async fn decide(store: &Store, id: &kern_db::ApprovalId) -> kern_db::Result<kern_db::Approval> {
    let resolution = kern_db::Resolution::approved().by("bob");
    store.update_approval(id, kern_db::ApprovalStatus::Pending, resolution).await
}

fn chain(error: &Error) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

/// I22: what a caller hands over is not trusted either.
async fn i22_a_forged_ticket_records_nothing(store: &Store) {
    let (claim, call) = store.executing().await;
    let (_, other) = store.executing().await;
    store.succeed(&other).await;
    let first = store.finish_call(other.ticket(), Ended::Succeeded("again".to_owned()), Vec::new()).await;
    assert_eq!(first.unwrap(), kern_db::Finished::Late);
    assert_eq!(store.call(&claim.run_id).await.execution.unwrap().status, ExecutionStatus::Executing);
    store.succeed(&call).await;
}

async fn i5_external_results_need_no_body_and_still_an_open_gate(store: &Store) {
    let external = CallPolicy::new(Tier::TwoStage, Some(PauseType::ExternalExecution));
    let run_id = store.paused(&[external]).await;
    store.approve(&run_id, 0).await.unwrap();
    let result = NewAnswer::ExternalResult("done elsewhere".to_owned());
    let without_a_yes = store.answer(&run_id, 0, result.clone()).await.unwrap();
    assert_eq!(without_a_yes, kern_db::Answered::NotAsked);
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    assert_eq!(store.answer(&run_id, 0, result).await.unwrap(), kern_db::Answered::Stored);
}

on_each_store! {
    i22_a_forged_ticket_records_nothing,
    i5_external_results_need_no_body_and_still_an_open_gate,
}

on_a_file! {
    i1_a_pending_approval_opens_nothing_whatever_else_is_there,
    i1_a_yes_that_is_only_in_the_rows_opens_nothing,
    i15_the_clock_of_the_store_never_goes_back,
    i22_cells_that_kern_never_wrote_are_typed_errors,
    i5_a_bare_audit_call_is_bound_too,
    i5_a_copy_flipped_after_the_run_was_claimed_keeps_the_call_from_starting,
    i5_a_flipped_copy_cannot_be_approved,
    i5_a_flipped_copy_keeps_the_run_from_being_claimed,
    i5_a_flipped_copy_of_the_user_tier_keeps_the_call_from_starting,
    i5_a_flipped_snapshot_keeps_the_run_from_going_on,
    i5_a_policy_that_was_weakened_does_not_open_the_gate,
    i5_what_was_first_asked_and_until_when_is_on_record,
    i5_an_external_result_is_not_taken_for_a_flipped_call,
    i2_a_run_that_does_not_run_starts_nothing,
    i5_nothing_is_confirmed_that_does_not_fit,
    i6_only_who_started_a_call_says_how_it_ended,
    i6_a_start_that_was_taken_back_with_sql_stays_a_start,
    i9_a_deleted_approval_starts_nothing_even_if_its_execution_is_ready,
    i9_a_missing_approval_starts_nothing,
}
