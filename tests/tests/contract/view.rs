//! I5 and schedule 23: everything that an approver sees and a body receives is bound to the decision, column by column.

use kern_db::{
    ApprovalStatus, Blocker, CallClaimed, Caller, ClaimRun, CommitTurn, Error, ExecutionStatus, NewAnswer, NewCall,
    Resolution, RunClaim, RunClaimed, RunId, RunStatus, Settlement,
};
use kern_tests::steps::{REQUESTER, Store, call, person, required, turn, two_stage};
use serde_json::json;
use sha2::Digest as _;

/// What is asked of the store once a column was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The second vote of two.
    Vote,
    /// R4.
    Resume,
    /// X3.
    Start,
}

use Stage::{Resume, Start, Vote};

const ALL: &[Stage] = &[Vote, Resume, Start];
const LATER: &[Stage] = &[Resume, Start];

/// What a changed column does.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// It is seen, received, or decides: refused at these stages as a mismatch, on record, and named by `verify`.
    Refused(&'static [Stage]),
    /// It says how far the row has come, or names it: nothing starts, whatever the answer, and `verify` names it.
    Stops(Stage),
    /// Seen by no approver before the decision, and received by no body: `verify` names it. Why.
    Verified(&'static str),
    /// `verify` cannot know it. Why.
    Unknown(&'static str),
}

use Does::{Refused, Stops, Unknown, Verified};

/// One column: the table, the column, what it is set to (an expression that both databases know), and what that does.
type Case = (&'static str, &'static str, &'static str, Does);

const PERSON: &str = r#"'{"issuer":null,"subject":"eva","verified":false}'"#;
const LATER_WORD: &str = "it is written with the decision or after it";
const LEASE: &str = "it changes without an entry: a lease is liveness, and the fence is safety";

const CASES: &[Case] = &[
    ("runs", "run_id", "run_id || 'x'", Stops(Resume)),
    ("runs", "session_id", "session_id || 'x'", Refused(ALL)),
    ("runs", "agent_id", "'prod'", Refused(ALL)),
    ("runs", "agent_name", "'Prod'", Refused(ALL)),
    ("runs", "requester", PERSON, Refused(ALL)),
    ("runs", "user_id", "'eva'", Refused(ALL)),
    ("runs", "issuer", "'https://other'", Refused(ALL)),
    ("runs", "status", "'CANCELLED'", Stops(Resume)),
    ("runs", "owner", "'x'", Verified("the owner of a run is compared, and its fence")),
    ("runs", "fence", "fence + 1", Stops(Resume)),
    ("runs", "lease_until_ms", "1", Unknown(LEASE)),
    ("runs", "epoch", "'x'", Refused(&[Vote, Resume])),
    ("runs", "input", "'x'", Verified("a run goes on from its snapshot")),
    ("runs", "turn", "turn + 1", Refused(&[Resume])),
    (
        "runs",
        "recoveries",
        "recoveries + 1",
        Verified("it bounds how often a run is recovered, and lets nothing start"),
    ),
    ("runs", "attention", "1 - attention", Verified("it says that somebody has to look")),
    ("runs", "snapshot", r#"'{"turn":2}'"#, Refused(&[Resume])),
    ("runs", "snapshot_digest", "'x'", Refused(&[Resume])),
    ("runs", "snapshot_salt", "'x'", Refused(&[Resume])),
    ("runs", "created_at_ms", "created_at_ms - 5000", Verified("no approver sees it, and no body receives it")),
    (
        "runs",
        "updated_at_ms",
        "updated_at_ms - 5000",
        Verified("it is read from the run, and says when it last changed"),
    ),
    ("runs", "erased_at_ms", "1", Refused(ALL)),
    ("runs", "deleted_at_ms", "1", Verified("it leaves lists")),
    ("calls", "run_id", "run_id || 'x'", Refused(&[Vote, Resume])),
    ("calls", "turn", "turn + 1", Refused(&[Vote, Resume])),
    ("calls", "idx", "idx + 1", Refused(&[Vote, Resume])),
    ("calls", "requirement_id", "requirement_id || 'x'", Refused(ALL)),
    ("calls", "tool_call_id", "'call_9'", Refused(ALL)),
    ("calls", "tool_name", "'spy'", Refused(ALL)),
    ("calls", "tool_version", "'2'", Refused(ALL)),
    ("calls", "tool_identity", "replace(tool_identity, '1d', '2d')", Refused(ALL)),
    ("calls", "schema_hash", "'1' || substr(schema_hash, 2)", Refused(ALL)),
    ("calls", "arguments", "replace(arguments, '100', '900')", Refused(ALL)),
    ("calls", "version", "version + 1", Refused(ALL)),
    ("calls", "digest", "'x' || substr(digest, 2)", Refused(ALL)),
    ("calls", "shown_digest", "'x' || substr(shown_digest, 2)", Refused(ALL)),
    ("calls", "earlier_digests", r#"'["x"]'"#, Refused(ALL)),
    ("calls", "unfilled", r#"'["to"]'"#, Refused(ALL)),
    ("calls", "policy", r#"replace(policy, '"quorum":2', '"quorum":3')"#, Refused(ALL)),
    ("calls", "policy_digest", "'x' || substr(policy_digest, 2)", Refused(ALL)),
    ("calls", "approval_id", "'other'", Refused(&[Vote])),
    ("calls", "generation", "generation + 1", Refused(ALL)),
    ("calls", "answer", "NULL", Stops(Resume)),
    ("calls", "answer_digest", "'x'", Stops(Resume)),
    ("calls", "confirmed_version", "confirmed_version + 1", Stops(Resume)),
    ("calls", "answer_note", "'x'", Verified("it is the requester's own word")),
    ("calls", "answered_by", PERSON, Verified("it is the requester's own word")),
    ("calls", "answered_at_ms", "answered_at_ms - 5000", Verified("it is the requester's own word")),
    ("calls", "created_at_ms", "created_at_ms - 5000", Verified("the row that decides has a time of its own")),
    ("calls", "parameters", r#"'{"type":"object"}'"#, Refused(ALL)),
    ("calls", "user_fields", r#"'["to"]'"#, Refused(ALL)),
    ("calls", "argument_limit", "argument_limit + 1", Refused(ALL)),
    ("calls", "earlier_requirements", r#"'["x"]'"#, Verified("an answer to one of them is none")),
    ("calls", "salts", "NULL", Refused(ALL)),
    ("calls", "erased_at_ms", "1", Refused(ALL)),
    ("calls", "asked_shard", "asked_shard + 1", Refused(ALL)),
    ("calls", "asked_seq", "asked_seq - 1", Refused(ALL)),
    ("approvals", "id", "id || 'x'", Stops(Vote)),
    ("approvals", "run_id", "run_id || 'x'", Stops(Vote)),
    ("approvals", "session_id", "session_id || 'x'", Refused(ALL)),
    ("approvals", "status", "'rejected'", Stops(Vote)),
    ("approvals", "source_type", "'team'", Refused(ALL)),
    ("approvals", "approval_type", "'audit'", Refused(ALL)),
    ("approvals", "pause_type", "'user_input'", Refused(ALL)),
    ("approvals", "tool_name", "'spy'", Refused(ALL)),
    ("approvals", "tool_args", "replace(tool_args, '100', '900')", Refused(ALL)),
    ("approvals", "expires_at", "1", Refused(ALL)),
    ("approvals", "agent_id", "'prod'", Refused(ALL)),
    ("approvals", "team_id", "'x'", Refused(ALL)),
    ("approvals", "workflow_id", "'x'", Refused(ALL)),
    ("approvals", "user_id", "'eva'", Refused(ALL)),
    ("approvals", "issuer", "'https://other'", Refused(ALL)),
    ("approvals", "schedule_id", "'x'", Refused(ALL)),
    ("approvals", "schedule_run_id", "'x'", Refused(ALL)),
    ("approvals", "source_name", "'Prod'", Refused(ALL)),
    ("approvals", "requirements", "replace(requirements, 'pay', 'spy')", Refused(ALL)),
    ("approvals", "context", "replace(context, 'pay', 'spy')", Refused(ALL)),
    ("approvals", "resolution_data", "'{}'", Verified(LATER_WORD)),
    ("approvals", "resolved_by", "'eva'", Verified(LATER_WORD)),
    ("approvals", "resolved_at", "1", Verified(LATER_WORD)),
    ("approvals", "created_at", "created_at + 1", Refused(ALL)),
    ("approvals", "turn", "turn + 1", Refused(ALL)),
    ("approvals", "idx", "idx + 1", Refused(ALL)),
    ("approvals", "generation", "generation + 1", Refused(ALL)),
    ("approvals", "tool_call_id", "'call_9'", Refused(ALL)),
    ("approvals", "version", "version + 1", Refused(ALL)),
    ("approvals", "digest", "'x' || substr(digest, 2)", Refused(ALL)),
    ("approvals", "decided_digest", "'x' || substr(decided_digest, 2)", Refused(LATER)),
    ("approvals", "policy", r#"replace(policy, '"quorum":2', '"quorum":3')"#, Refused(ALL)),
    ("approvals", "policy_digest", "'x' || substr(policy_digest, 2)", Refused(ALL)),
    ("approvals", "requester", PERSON, Refused(ALL)),
    ("approvals", "resolver", PERSON, Verified(LATER_WORD)),
    ("approvals", "deleted_at", "1", Stops(Vote)),
    ("approvals", "edited_by", PERSON, Refused(ALL)),
    ("approvals", "sensitive", r#"'["amount","key"]'"#, Refused(ALL)),
    ("approvals", "erased_at_ms", "1", Verified(LATER_WORD)),
    ("approvals", "view_digest", "'x' || substr(view_digest, 2)", Refused(ALL)),
    ("votes", "approval_id", "approval_id || 'x'", Refused(&[Vote])),
    ("votes", "version", "version + 1", Refused(&[Vote])),
    ("votes", "voter_key", "voter_key || 'x'", Refused(&[Vote])),
    ("votes", "voter", PERSON, Refused(&[Vote])),
    ("votes", "digest", "'x' || substr(digest, 2)", Refused(&[Vote])),
    ("votes", "created_at_ms", "created_at_ms + 1", Refused(&[Vote])),
    ("votes", "resolution_data", r#"'{"note":"x"}'"#, Refused(&[Vote])),
    ("votes", "member_until_ms", "9007199254740991", Refused(&[Vote])),
    ("executions", "id", "id || 'x'", Refused(LATER)),
    ("executions", "run_id", "run_id || 'x'", Stops(Start)),
    ("executions", "turn", "turn + 1", Stops(Start)),
    ("executions", "idx", "idx + 1", Stops(Start)),
    ("executions", "generation", "generation + 1", Refused(LATER)),
    ("executions", "approval_id", "'other'", Refused(LATER)),
    ("executions", "authority", "'answer'", Refused(LATER)),
    ("executions", "tool_name", "'spy'", Refused(LATER)),
    ("executions", "arguments", "replace(arguments, '100', '900')", Refused(LATER)),
    ("executions", "decided_digest", "'x' || substr(decided_digest, 2)", Refused(LATER)),
    ("executions", "status", "'abandoned'", Stops(Start)),
    ("executions", "attempt", "attempt + 1", Refused(&[Start])),
    ("executions", "fence", "fence + 1", Verified("a later start has a later one, whatever it was")),
    ("executions", "owner", "'x'", Unknown(LEASE)),
    ("executions", "lease_until_ms", "1", Unknown(LEASE)),
    ("executions", "valid_until_ms", "valid_until_ms + 1", Refused(LATER)),
    ("executions", "late_status", "'failed'", Verified(LATER_WORD)),
    ("executions", "late_result", "'x'", Verified(LATER_WORD)),
    ("executions", "result", "'x'", Verified(LATER_WORD)),
    ("executions", "error", "'x'", Verified(LATER_WORD)),
    ("executions", "settled_by", "'x'", Verified(LATER_WORD)),
    ("executions", "note", "'x'", Verified(LATER_WORD)),
    ("executions", "created_at_ms", "created_at_ms - 5000", Refused(LATER)),
    ("executions", "started_at_ms", "1", Verified(LATER_WORD)),
    ("executions", "finished_at_ms", "1", Verified(LATER_WORD)),
    ("executions", "erased_at_ms", "1", Verified(LATER_WORD)),
];

const TABLES: &[&str] = &["runs", "calls", "approvals", "votes", "executions"];

/// A database whose triggers are out of the way, and SQL on it past kern.
struct Raw<'a> {
    store: &'a Store,
    /// What had made the triggers of a file.
    triggers: Vec<String>,
}

impl<'a> Raw<'a> {
    async fn without_triggers(store: &'a Store) -> Self {
        #[cfg(feature = "postgres")]
        if store.is_on_postgres() {
            for table in TABLES {
                // Those of foreign keys, too.
                let sql = format!("ALTER TABLE kern_{table} DISABLE TRIGGER ALL");
                store.database().raw().await.batch_execute(&sql).await.unwrap();
            }
            return Self { store, triggers: Vec::new() };
        }
        let raw = store.raw();
        let triggers = raw
            .prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger'")
            .and_then(|mut statement| statement.query_map((), |row| row.get(0))?.collect())
            .unwrap();
        kern_tests::steps::drop_triggers(&raw);
        Self { store, triggers }
    }

    /// Changes rows, and says how many.
    async fn execute(&self, sql: &str) -> u64 {
        #[cfg(feature = "postgres")]
        if self.store.is_on_postgres() {
            return self
                .store
                .database()
                .raw()
                .await
                .execute(sql, &[])
                .await
                .unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        let raw = self.store.raw();
        raw.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON").unwrap();
        raw.execute(sql, ()).unwrap_or_else(|error| panic!("{sql}: {error}")) as u64
    }

    async fn columns(&self, table: &str) -> Vec<String> {
        #[cfg(feature = "postgres")]
        if self.store.is_on_postgres() {
            let sql = "SELECT attname::text FROM pg_attribute
                       WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped";
            let rows = self.store.database().raw().await.query(sql, &[&format!("kern_{table}")]).await.unwrap();
            return rows.iter().map(|row| row.get(0)).collect();
        }
        let raw = self.store.raw();
        let mut statement = raw.prepare("SELECT name FROM pragma_table_info(?)").unwrap();
        let names = statement.query_map([format!("kern_{table}")], |row| row.get(0)).unwrap();
        names.collect::<Result<_, _>>().unwrap()
    }

    /// Makes the triggers again: what `verify` finds is the rows.
    async fn restore_triggers(&self) {
        #[cfg(feature = "postgres")]
        if self.store.is_on_postgres() {
            for table in TABLES {
                for trigger in ["guard", "no_truncate"] {
                    let sql = format!("ALTER TABLE kern_{table} ENABLE ALWAYS TRIGGER kern_{table}_{trigger}");
                    self.store.database().raw().await.batch_execute(&sql).await.unwrap();
                }
            }
            return;
        }
        let raw = self.store.raw();
        self.triggers.iter().for_each(|trigger| raw.execute_batch(trigger).unwrap());
    }
}

/// A call with a secret, that two people and the requester have to allow.
fn asked() -> NewCall {
    let policy = two_stage().quorum(2).expires_in_ms(600_000).valid_for_ms(600_000);
    NewCall { arguments: r#"{"amount":100,"key":"hunter2","to":"x"}"#.to_owned(), ..call(0, policy) }
}

/// A run at a stage.
struct Ready {
    run_id: RunId,
    approval_id: kern_db::ApprovalId,
    /// As the last approver saw it.
    digest: String,
    loaded: ClaimRun,
    claim: Option<RunClaim>,
}

async fn vote(store: &Store, ready: &Ready, by: &str) -> kern_db::Result<kern_db::Approval> {
    let yes = Resolution::approved().by(by).digest(ready.digest.clone());
    store.update_approval(&ready.approval_id, ApprovalStatus::Pending, yes).await
}

async fn at(store: &Store, stage: Stage) -> Ready {
    let claim = store.started().await;
    store.commit_turn(CommitTurn { calls: vec![asked()], ..turn(&claim, 1, &[], true) }).await.unwrap();
    let run_id = claim.run_id;
    let shown = store.call(&run_id).await;
    let confirm = kern_tests::steps::answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, &shown.arguments);
    store.answer_call(confirm).await.unwrap();
    let loaded = store.load(&run_id, Caller::Worker).await;
    let approval_id = shown.approval.unwrap().id;
    let mut ready = Ready { run_id, approval_id, digest: shown.digest, loaded, claim: None };
    vote(store, &ready, "bob").await.unwrap();
    if stage != Vote {
        vote(store, &ready, "dan").await.unwrap();
    }
    if stage == Start {
        ready.claim = Some(store.resumed(&ready.run_id).await);
    }
    ready
}

/// Which row of a table belongs to a run.
fn of_run(table: &str, ready: &Ready) -> String {
    match table {
        "votes" => format!("approval_id = '{}'", ready.approval_id),
        _ => format!("run_id = '{}'", ready.run_id),
    }
}

/// Asks for the next step. The error, or what was answered in its place.
async fn step(store: &Store, stage: Stage, ready: &Ready) -> Result<String, Error> {
    match stage {
        Vote => vote(store, ready, "dan").await.map(|approval| format!("{:?}", approval.status)),
        Resume => store.claim_run(ready.loaded.clone()).await.map(|claimed| format!("{claimed:?}")),
        Start => {
            let claimed = store.claim(ready.claim.as_ref().unwrap(), 0).await?;
            Ok(if matches!(claimed, CallClaimed::Claimed(_)) { "Claimed".to_owned() } else { format!("{claimed:?}") })
        }
    }
}

/// The evidence that there is.
async fn evidence(store: &Store) -> usize {
    let entries = kern_tests::history::entries(&**store).await;
    let words = ["digest_mismatch", "unreadable"];
    entries.iter().filter(|entry| entry.evidence && words.contains(&entry.action.as_str())).count()
}

async fn check_columns(store: &Store, cases: &[(Case, Option<Stage>)]) {
    let mut prepared = Vec::new();
    for (case, stage) in cases {
        prepared.push((case, stage, at(store, stage.unwrap_or(Resume)).await));
    }
    let raw = Raw::without_triggers(store).await;
    for ((table, column, value, does), stage, ready) in &prepared {
        let what = format!("{table}.{column} at {stage:?}");
        let changed =
            raw.execute(&format!("UPDATE kern_{table} SET {column} = {value} WHERE {}", of_run(table, ready))).await;
        assert!(changed > 0, "{what}: nothing has changed");
        let Some(stage) = stage else { continue };
        let before = evidence(store).await;
        let answered = step(store, *stage, ready).await;
        if matches!(does, Refused(_)) {
            let refused = matches!(answered, Err(Error::DigestMismatch { .. } | Error::Corrupt { .. }));
            assert!(refused, "{what}: {answered:?}");
            assert_eq!(evidence(store).await, before + 1, "{what} is on record");
            // Whoever asks again adds nothing to the log.
            assert!(step(store, *stage, ready).await.is_err(), "{what}, once more");
            assert_eq!(evidence(store).await, before + 1, "{what} is on record once a day");
        } else {
            let goes_on = matches!(&answered, Ok(answer) if answer.starts_with("Claimed") || answer == "Approved");
            assert!(!goes_on, "{what}: {answered:?}");
        }
        assert_eq!(store.starts(&ready.run_id).await, 0, "{what}");
    }
    raw.restore_triggers().await;
    let report = store.audit().verify().await.unwrap();
    let found: Vec<_> = report.broken.iter().chain(&report.others).filter_map(|found| found.row.as_deref()).collect();
    for ((table, column, _, does), _, ready) in &prepared {
        let named =
            found.iter().any(|row| row.contains(ready.run_id.as_str()) || row.contains(ready.approval_id.as_str()));
        assert_eq!(named, !matches!(does, Unknown(_)), "{table}.{column}: {report:?}");
    }
}

/// Every column of the tables that hold a call is one of the cases, and every case is what it says.
async fn every_column(stores: impl AsyncFn() -> Store) {
    let first = stores().await;
    let raw = Raw { store: &first, triggers: Vec::new() };
    for table in TABLES {
        let mut known: Vec<&str> = CASES.iter().filter(|case| case.0 == *table).map(|case| case.1).collect();
        let mut found = raw.columns(table).await;
        known.sort_unstable();
        found.sort_unstable();
        assert_eq!(known, found, "a new column of `{table}` says what changing it does");
    }
    let mut cases: Vec<(Case, Option<Stage>)> = Vec::new();
    for case in CASES {
        match case.3 {
            Refused(stages) => cases.extend(stages.iter().map(|stage| (*case, Some(*stage)))),
            Stops(stage) => cases.push((*case, Some(stage))),
            Verified(why) | Unknown(why) => {
                assert!(!why.is_empty());
                cases.push((*case, None));
            }
        }
    }
    // `verify` names a hundred places.
    for some in cases.chunks(25) {
        check_columns(&stores().await, some).await;
    }
    kern_tests::scale::figure("columns changed by SQL, each at its stages", cases.len().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_every_column_that_is_seen_or_received_is_bound_on_a_file() {
    every_column(Store::on_a_file).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_every_column_that_is_seen_or_received_is_bound_on_postgres() {
    every_column(Store::on_postgres).await;
}

/// I5: a run that was recovered before its first turn goes on with the input that the log has, and with no other.
async fn i5_a_run_without_a_turn_is_bound_to_its_input(_: &Store) {
    let store = &Store::on_a_file().await;
    let claim = store.lapsed().await;
    store.recover_run(claim.run_id.clone()).await.unwrap();
    let other = r#"{"input":"pay eva"}"#;
    let digest: String = sha2::Sha256::digest(other).iter().map(|byte| format!("{byte:02x}")).collect();
    store.tamper(&format!("UPDATE kern_runs SET snapshot = '{other}', snapshot_digest = '{digest}'"));
    let claimed = store.claim_as(&claim.run_id, Caller::Worker).await;
    assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{claimed:?}");
    assert!(!store.audit().verify().await.unwrap().is_intact());
}

/// I5: a call of the user tier has no row that is shown, and its setting is bound as well. So is that of a bare audit call.
async fn i5_a_call_without_an_approval_is_bound_to_its_setting(_: &Store) {
    let settings = [
        "runs SET agent_id = 'prod'",
        "runs SET session_id = 'other'",
        "runs SET agent_name = 'Prod'",
        "calls SET tool_identity = replace(tool_identity, '1d', '2d')",
        "calls SET argument_limit = 1",
        "calls SET user_fields = '[\"to\"]'",
        "calls SET requirement_id = 'x'",
        "calls SET created_at_ms = 1",
        "calls SET asked_seq = 1",
        "calls SET asked_seq = NULL",
        "calls SET asked_shard = NULL",
    ];
    for policy in [kern_tests::steps::user(), kern_tests::steps::audit()] {
        for setting in settings {
            let store = &Store::on_a_file().await;
            let claim = store.started().await;
            store.commit_turn(turn(&claim, 1, std::slice::from_ref(&policy), false)).await.unwrap();
            store.tamper(&format!("UPDATE kern_{setting}"));
            let claimed = store.claim(&claim, 0).await;
            assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{setting}: {claimed:?}");
            assert_eq!(store.count(&claim.run_id, "[digest_mismatch]").await, 1, "{setting}");
            assert_eq!(store.starts(&claim.run_id).await, 0);
        }
    }
}

/// I5: with the rows of an earlier version, and the number of its entry, the votes for it would count again.
async fn i5_rows_of_an_earlier_version_bring_no_decision_back(_: &Store) {
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[required().quorum(2)]).await;
    let id = store.approval_id(&run_id, 0).await;
    store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await.unwrap();
    let raw = store.raw();
    let keep = "CREATE TABLE kept_calls AS SELECT * FROM kern_calls; CREATE TABLE kept_approvals AS SELECT * FROM kern_approvals";
    raw.execute_batch(keep).unwrap();
    let edit = Resolution::approved().by("dan").data(json!({ "edited_args": { "to": "y", "amount": 7 } }));
    store.update_approval(&id, ApprovalStatus::Pending, edit).await.unwrap();
    kern_tests::steps::drop_triggers(&raw);
    let back = "PRAGMA foreign_keys = OFF; DELETE FROM kern_calls; INSERT INTO kern_calls SELECT * FROM kept_calls;
                DELETE FROM kern_approvals; INSERT INTO kern_approvals SELECT * FROM kept_approvals";
    raw.execute_batch(back).unwrap();
    let second = store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("eve")).await;
    assert!(matches!(second, Err(Error::DigestMismatch { .. })), "{second:?}");
}

/// I5: what an audit row shows is bound, too.
async fn i5_a_record_that_was_changed_lets_nothing_start(_: &Store) {
    for change in ["context = '{}'", "source_name = 'Prod'", "created_at = 1", "session_id = 'x'", "view_digest = 'x'"]
    {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[kern_tests::steps::user().record(true)]).await;
        store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
        let request = store.load(&run_id, Caller::Worker).await;
        store.tamper(&format!("UPDATE kern_approvals SET {change}"));
        let claimed = store.claim_run(request).await;
        assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{change}: {claimed:?}");
        assert!(!store.audit().verify().await.unwrap().is_intact(), "{change}");
    }
}

/// X9 and X11: what is settled is what was asked for.
async fn x9_a_call_whose_setting_was_changed_is_not_settled(_: &Store) {
    for change in ["runs SET session_id = 'x'", "approvals SET context = '{}'", "calls SET tool_name = 'spy'"] {
        let store = &Store::on_a_file().await;
        let (claim, started) = store.unknown().await;
        store.tamper(&format!("UPDATE kern_{change}"));
        let id = started.ticket().execution_id().clone();
        for settlement in [Settlement::succeeded("done"), Settlement::run_again()] {
            let settled = store.settle_execution(&id, settlement.by("bob").note("looked it up")).await;
            assert!(matches!(settled, Err(Error::DigestMismatch { .. })), "{change}: {settled:?}");
        }
        assert_eq!(store.count(&claim.run_id, "[digest_mismatch]").await, 1, "{change}");
        let execution = store.call(&claim.run_id).await.execution.unwrap();
        assert_eq!(execution.status, ExecutionStatus::Unknown, "{change}");
    }
}

/// I9: a run that was cancelled does not go on because a row says so.
async fn i9_a_cancelled_run_whose_row_was_set_back_stays_cancelled(_: &Store) {
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    store.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap();
    store.tamper("UPDATE kern_runs SET status = 'PAUSED'");
    let claimed = store.claim_as(&run_id, Caller::Worker).await;
    assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{claimed:?}");
}

fn edit(to: &str, amount: u32) -> Resolution {
    Resolution::approved().by("bob").data(json!({ "edited_args": { "to": to, "amount": amount } }))
}

/// The required test: confirm v0, edit, edit back, approve. What was confirmed is not what was approved.
async fn u1_an_edit_back_needs_a_new_confirmation(store: &Store) {
    let run_id = store.paused(&[two_stage().quorum(2)]).await;
    let id = store.approval_id(&run_id, 0).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    let first = store.call(&run_id).await;
    store.update_approval(&id, ApprovalStatus::Pending, edit("y", 7)).await.unwrap();
    let between = store.call(&run_id).await;
    store.update_approval(&id, ApprovalStatus::Pending, edit("x", 100).digest(between.digest)).await.unwrap();
    let back = store.call(&run_id).await;
    assert_eq!((back.version, &back.digest), (2, &first.digest));
    assert!(!back.answer_is_current);
    for by in ["dan", "eve"] {
        let yes = Resolution::approved().by(by).digest(back.digest.clone());
        store.update_approval(&id, ApprovalStatus::Pending, yes).await.unwrap();
    }
    let waits = RunClaimed::Blocked(vec![Blocker::AwaitsRequester { index: 0 }]);
    assert_eq!(store.claim_as(&run_id, Caller::Worker).await.unwrap(), waits);
    // Going on implies nothing, either: what was first shown is another version.
    assert_eq!(store.claim_as(&run_id, person(REQUESTER)).await.unwrap(), waits);
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let started = store.start(&claim, 0).await;
    store.succeed(&started).await;
    store.complete(&claim).await.unwrap();
    assert_eq!(store.get_run(&run_id).await.unwrap().status, RunStatus::Completed);
}

/// U3: without an answer, going on implies none for a version that was edited back, either.
async fn u3_an_edit_back_is_not_what_was_first_shown(store: &Store) {
    let run_id = store.paused(&[two_stage().quorum(2)]).await;
    let id = store.approval_id(&run_id, 0).await;
    store.update_approval(&id, ApprovalStatus::Pending, edit("y", 7)).await.unwrap();
    let between = store.call(&run_id).await;
    store.update_approval(&id, ApprovalStatus::Pending, edit("x", 100).digest(between.digest)).await.unwrap();
    let back = store.call(&run_id).await;
    for by in ["dan", "eve"] {
        let yes = Resolution::approved().by(by).digest(back.digest.clone());
        store.update_approval(&id, ApprovalStatus::Pending, yes).await.unwrap();
    }
    let claimed = store.claim_as(&run_id, person(REQUESTER)).await.unwrap();
    assert_eq!(claimed, RunClaimed::Blocked(vec![Blocker::AwaitsRequester { index: 0 }]));
}

on_each_store! {
    u1_an_edit_back_needs_a_new_confirmation,
    u3_an_edit_back_is_not_what_was_first_shown,
}

on_a_file! {
    i5_a_run_without_a_turn_is_bound_to_its_input,
    i5_a_call_without_an_approval_is_bound_to_its_setting,
    i5_a_record_that_was_changed_lets_nothing_start,
    i5_rows_of_an_earlier_version_bring_no_decision_back,
    i9_a_cancelled_run_whose_row_was_set_back_stays_cancelled,
    x9_a_call_whose_setting_was_changed_is_not_settled,
}
