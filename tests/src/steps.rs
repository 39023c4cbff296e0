//! Stores for tests, and short ways to the states of the transition table.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kern_db::{
    AnswerCall, Answered, Approval, ApprovalId, ApprovalStatus, BeginRun, Call, CallClaim, CallClaimed, CallPolicy,
    Caller, ClaimCall, ClaimRun, CommitTurn, Db, EndRun, Ended, Finished, InMemoryDb, IntoDb, NewAnswer, NewCall,
    NewKey, OwnerToken, PauseType, Principal, Resolution, Result, RunClaim, RunClaimed, RunId, RunStatus, SessionId,
    Shown, SqliteDb, Tier,
};
use rusqlite::Connection;
use serde_json::json;

use crate::folder::Folder;

/// Who asks in these tests.
pub const REQUESTER: &str = "ana";
/// Who decides in these tests.
pub const APPROVER: &str = "bob";
/// A lease that no test outlives.
pub const LONG: i64 = 600_000;
/// The arguments of every call that names no others.
pub const ARGUMENTS: &str = r#"{"amount":100,"to":"x"}"#;

/// What the arguments of every call are checked against that names no other schema: canonical JSON.
pub const SCHEMA: &str = r#"{"additionalProperties":false,"properties":{"amount":{"format":"uint32","minimum":0,"type":"integer"},"key":{"type":"string","writeOnly":true},"to":{"maxLength":20,"type":"string"}},"required":["amount","to"],"type":"object"}"#;
/// Its SHA-256.
pub const SCHEMA_HASH: &str = "c17c900d0b7da08013cd2e141da46b324c0d5a0d93ff77845cfc48e236322041";

/// A store under test. It stands for its `dyn Db`.
#[derive(Debug)]
pub struct Store {
    db: Arc<dyn Db>,
    memory: Option<InMemoryDb>,
    folder: Option<Folder>,
    #[cfg(feature = "postgres")]
    database: Option<crate::postgres::Database>,
}

impl Deref for Store {
    type Target = dyn Db;

    fn deref(&self) -> &Self::Target {
        &*self.db
    }
}

impl Store {
    fn of(db: Arc<dyn Db>) -> Self {
        Self {
            db,
            memory: None,
            folder: None,
            #[cfg(feature = "postgres")]
            database: None,
        }
    }

    /// A store that was opened elsewhere.
    #[must_use]
    pub fn around(db: Arc<dyn Db>) -> Self {
        Self::of(db)
    }

    /// A fresh database on this program's PostgreSQL server.
    #[cfg(feature = "postgres")]
    pub async fn on_postgres() -> Self {
        let database = crate::postgres::server().database().await;
        let db = database.open().await.into_db();
        Self { database: Some(database), ..Self::of(db) }
    }

    /// Whether it is one on PostgreSQL.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn is_on_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// The database of a store that has one.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn database(&self) -> &crate::postgres::Database {
        self.database.as_ref().expect("only a store on PostgreSQL has one")
    }

    /// A SQLite file in a fresh folder.
    pub async fn on_a_file() -> Self {
        let folder = Folder::new();
        let db = SqliteDb::open(folder.file("kern.db")).await.expect("a fresh file opens");
        Self { folder: Some(folder), ..Self::of(db.into_db()) }
    }

    /// A store in memory.
    #[must_use]
    pub fn in_memory() -> Self {
        let memory = InMemoryDb::new();
        Self { memory: Some(memory.clone()), ..Self::of(memory.into_db()) }
    }

    /// The store as a shared one.
    #[must_use]
    pub fn shared(&self) -> Arc<dyn Db> {
        Arc::clone(&self.db)
    }

    /// A second handle that shares nothing with the first but what is stored.
    pub async fn second(&self) -> Arc<dyn Db> {
        #[cfg(feature = "postgres")]
        if let Some(database) = &self.database {
            return database.open().await.into_db();
        }
        match &self.memory {
            Some(memory) => memory.clone().into_db(),
            None => SqliteDb::open(self.file()).await.expect("the file opens again").into_db(),
        }
    }

    /// The same store, opened by a handle that shares nothing with the first but what is stored: as another process would.
    pub async fn another(&self) -> Self {
        Self::of(self.second().await)
    }

    /// The file of a store that has one.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.as_ref().expect("only a store on a file has one").file("kern.db")
    }

    /// A connection that is not kern's.
    #[must_use]
    pub fn raw(&self) -> Connection {
        let connection = Connection::open(self.file()).expect("the file opens");
        connection.busy_timeout(Duration::from_secs(10)).expect("a timeout can be set");
        connection
    }

    /// Runs SQL on a connection that is not kern's, with every trigger gone.
    pub fn tamper(&self, sql: &str) {
        let connection = self.raw();
        drop_triggers(&connection);
        let changed = connection.execute(sql, ()).expect("SQL without triggers in the way");
        assert!(changed > 0, "`{sql}` changed nothing");
    }

    /// Every row of every table of kern, as text.
    #[must_use]
    pub fn dump(&self) -> String {
        dump(&self.raw())
    }

    /// A run that has started.
    pub async fn started(&self) -> RunClaim {
        self.begin_run(begin(&RunId::generate())).await.expect("a run starts")
    }

    /// A run that has started and whose owner is gone.
    pub async fn lapsed(&self) -> RunClaim {
        let mut request = begin(&RunId::generate());
        request.lease_ms = 0;
        self.begin_run(request).await.expect("a run starts")
    }

    /// A run that is paused at one call for each policy.
    pub async fn paused(&self, policies: &[CallPolicy]) -> RunId {
        let claim = self.started().await;
        self.commit_turn(turn(&claim, 1, policies, true)).await.expect("a turn is committed");
        claim.run_id
    }

    /// The only protected call of a run.
    pub async fn call(&self, run_id: &RunId) -> Call {
        self.call_at(run_id, 0).await
    }

    /// One protected call of a run's first turn.
    pub async fn call_at(&self, run_id: &RunId, index: u32) -> Call {
        let run = self.get_run(run_id).await.expect("the run is there");
        let mut calls = run.calls.into_iter();
        calls.find(|call| (call.turn, call.index) == (1, index)).expect("the call is there")
    }

    /// The approval of the only call of a run.
    pub async fn approval(&self, run_id: &RunId) -> Approval {
        self.call(run_id).await.approval.expect("the call has an approval")
    }

    /// The approval of one call of a run's first turn.
    pub async fn approval_id(&self, run_id: &RunId, index: u32) -> ApprovalId {
        self.call_at(run_id, index).await.approval.expect("the call has an approval").id
    }

    /// When the first approval of a run is past its time, epoch milliseconds.
    pub async fn approval_row_due(&self, run_id: &RunId) -> i64 {
        let approval = self.call_at(run_id, 0).await.approval.expect("the call has an approval");
        approval.expires_at.expect("it has an end") * 1000
    }

    /// An approver says yes to what is there.
    pub async fn approve(&self, run_id: &RunId, index: u32) -> Result<Approval> {
        let id = self.approval_id(run_id, index).await;
        let resolution = match self.get_approval(&id).await? {
            Some(seen) => Resolution::approved().digest(seen.digest),
            None => Resolution::approved(),
        };
        self.update_approval(&id, ApprovalStatus::Pending, resolution.by(APPROVER)).await
    }

    /// An approver says no.
    pub async fn refuse(&self, run_id: &RunId, index: u32) -> Result<Approval> {
        let id = self.approval_id(run_id, index).await;
        let resolution = Resolution::rejected().by(APPROVER).note("too much");
        self.update_approval(&id, ApprovalStatus::Pending, resolution).await
    }

    /// The requester answers the version that is there.
    pub async fn answer(&self, run_id: &RunId, index: u32, answer: NewAnswer) -> Result<Answered> {
        self.answer_as(run_id, index, person(REQUESTER), answer).await
    }

    /// Somebody answers the version that is there.
    pub async fn answer_as(&self, run_id: &RunId, index: u32, caller: Caller, answer: NewAnswer) -> Result<Answered> {
        let call = self.call_at(run_id, index).await;
        let to = answer_to(run_id, index, caller, answer, &call.arguments);
        self.answer_call(AnswerCall { generation: call.generation, ..to }).await
    }

    /// Claims a run as it is now.
    pub async fn claim_as(&self, run_id: &RunId, caller: Caller) -> Result<RunClaimed> {
        self.claim_run(self.load(run_id, caller).await).await
    }

    /// What a process that has just loaded a run would claim it with.
    pub async fn load(&self, run_id: &RunId, caller: Caller) -> ClaimRun {
        let run = self.get_run(run_id).await.expect("the run is there");
        let (fence, turn, loaded) = (run.fence, run.turn, run.loaded);
        let owner = OwnerToken::fresh();
        ClaimRun { run_id: run_id.clone(), fence, turn, loaded, caller, lease_ms: LONG, owner }
    }

    /// Claims a run that the worker can claim.
    pub async fn resumed(&self, run_id: &RunId) -> RunClaim {
        match self.claim_as(run_id, Caller::Worker).await {
            Ok(RunClaimed::Claimed(claim)) => claim,
            other => panic!("the run is not resumed: {other:?}"),
        }
    }

    /// Claims a call of the first turn.
    pub async fn claim(&self, claim: &RunClaim, index: u32) -> Result<CallClaimed> {
        self.claim_call(ClaimCall { claim: claim.clone(), turn: 1, index, lease_ms: LONG, owner: OwnerToken::fresh() })
            .await
    }

    /// Claims a call of the first turn that can be claimed.
    pub async fn start(&self, claim: &RunClaim, index: u32) -> CallClaim {
        match self.claim(claim, index).await {
            Ok(CallClaimed::Claimed(claim)) => claim,
            other => panic!("the call does not start: {other:?}"),
        }
    }

    /// Starts a call whose process is lost at once.
    pub async fn start_and_die(&self, claim: &RunClaim, index: u32) -> CallClaim {
        let request = ClaimCall { claim: claim.clone(), turn: 1, index, lease_ms: 0, owner: OwnerToken::fresh() };
        match self.claim_call(request).await {
            Ok(CallClaimed::Claimed(claim)) => claim,
            other => panic!("the call does not start: {other:?}"),
        }
    }

    /// Records that a body gave a result.
    pub async fn succeed(&self, call: &CallClaim) {
        let finished = self.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), Vec::new()).await;
        assert_eq!(finished.expect("an outcome is recorded"), Finished::Recorded);
    }

    /// Ends a run with an answer.
    pub async fn complete(&self, claim: &RunClaim) -> Result<()> {
        self.end_run(end(claim, RunStatus::Completed)).await.map(drop)
    }

    /// A run whose only call was approved, whose owner is alive, and whose call is claimed.
    pub async fn executing(&self) -> (RunClaim, CallClaim) {
        let run_id = self.paused(&[required()]).await;
        self.approve(&run_id, 0).await.expect("it is approved");
        let claim = self.resumed(&run_id).await;
        let call = self.start(&claim, 0).await;
        (claim, call)
    }

    /// A run whose only call was started and lost.
    pub async fn unknown(&self) -> (RunClaim, CallClaim) {
        let (claim, call) = self.executing().await;
        let lost = self.finish_call(call.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await;
        assert_eq!(lost.expect("an outcome is recorded"), Finished::Recorded);
        (claim, call)
    }

    /// Words of the audit log about one run, in order, evidence in brackets.
    pub async fn words(&self, run_id: &RunId) -> Vec<String> {
        let entries = crate::history::entries(&**self).await;
        let of_run = entries.into_iter().filter(|entry| entry.run_id.as_ref() == Some(run_id));
        of_run.map(|entry| if entry.evidence { format!("[{}]", entry.action) } else { entry.action }).collect()
    }

    /// How often a word stands in the audit log about one run.
    pub async fn count(&self, run_id: &RunId, word: &str) -> usize {
        self.words(run_id).await.iter().filter(|found| *found == word).count()
    }

    /// How often a body of this run was allowed to be entered.
    pub async fn starts(&self, run_id: &RunId) -> usize {
        self.count(run_id, "executing").await
    }
}

/// Takes every trigger away, as somebody with SQL access can.
pub fn drop_triggers(connection: &Connection) {
    let names: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .and_then(|mut statement| statement.query_map((), |row| row.get(0))?.collect())
        .expect("the schema can be read");
    for name in names {
        connection.execute_batch(&format!("DROP TRIGGER {name}")).expect("a trigger can be dropped");
    }
}

/// Every row of every table of kern, as text.
#[must_use]
pub fn dump(connection: &Connection) -> String {
    let mut text = String::new();
    for table in [
        "runs",
        "calls",
        "approvals",
        "votes",
        "executions",
        "audit",
        "outbox",
        "pools",
        "keys",
        "webhooks",
        "deliveries",
    ] {
        let mut statement = connection
            .prepare(&format!("SELECT * FROM kern_{table} ORDER BY 1, 2, 3"))
            .expect("kern's tables are there");
        let columns = statement.column_count();
        let mut rows = statement.query(()).expect("rows can be read");
        while let Some(row) = rows.next().expect("rows can be read") {
            let cells: Vec<String> =
                (0..columns).map(|place| format!("{:?}", row.get_ref(place).expect("a column"))).collect();
            text.push_str(&format!("{table}: {}\n", cells.join(", ")));
        }
    }
    text
}

/// A caller with a name.
#[must_use]
pub fn person(name: &str) -> Caller {
    Caller::Person(Principal::unverified(name))
}

/// Somebody whose name comes from a verified credential.
#[must_use]
pub fn verified(name: &str) -> Principal {
    serde_json::from_value(json!({ "issuer": "https://id.example", "subject": name, "verified": true }))
        .expect("a principal")
}

/// An API key for a day, without its secret.
#[must_use]
pub fn new_key(id: &str) -> NewKey {
    NewKey {
        id: id.to_owned(),
        secret_hash: "5a".repeat(32),
        subject: "ann".to_owned(),
        scopes: vec!["approvals:read".to_owned(), "agents:refunds:run".to_owned()],
        expires_in_ms: Some(86_400_000),
        by: Some(Principal::unverified("root")),
    }
}

/// `#[approval]`.
#[must_use]
pub fn required() -> CallPolicy {
    CallPolicy::new(Tier::Required, Some(PauseType::Confirmation))
}

/// `#[approval]` with an explicit `requires_confirmation`.
#[must_use]
pub fn two_stage() -> CallPolicy {
    CallPolicy::new(Tier::TwoStage, Some(PauseType::Confirmation))
}

/// `requires_confirmation`.
#[must_use]
pub fn user() -> CallPolicy {
    CallPolicy::new(Tier::User, Some(PauseType::Confirmation))
}

/// `#[approval(type = "audit")]` with nothing to pause for.
#[must_use]
pub fn audit() -> CallPolicy {
    CallPolicy::new(Tier::Audit, None)
}

/// Starts a run for the requester.
#[must_use]
pub fn begin(run_id: &RunId) -> BeginRun {
    BeginRun {
        run_id: run_id.clone(),
        session_id: SessionId::from("session"),
        agent_id: "agent".to_owned(),
        agent_name: Some("Agent".to_owned()),
        requester: Some(Principal::unverified(REQUESTER)),
        snapshot: "{}".to_owned(),
        input: Some("{}".to_owned()),
        lease_ms: LONG,
    }
}

/// A turn with one call for each policy.
#[must_use]
pub fn turn(claim: &RunClaim, turn: u32, policies: &[CallPolicy], pause: bool) -> CommitTurn {
    let calls = policies.iter().zip(0..).map(|(policy, index)| call(index, policy.clone())).collect();
    CommitTurn { claim: claim.clone(), turn, snapshot: format!("{{\"turn\":{turn}}}"), calls, pause }
}

/// A call with this policy.
#[must_use]
pub fn call(index: u32, policy: CallPolicy) -> NewCall {
    let decided = matches!(policy.tier, Tier::Required | Tier::TwoStage);
    NewCall {
        index,
        requirement_id: RunId::generate().to_string(),
        tool_call_id: format!("call_{index}"),
        tool_name: "pay".to_owned(),
        tool_version: "1".to_owned(),
        tool_identity: "1d".repeat(32),
        schema_hash: SCHEMA_HASH.to_owned(),
        parameters: SCHEMA.to_owned(),
        argument_limit: 1000,
        user_fields: Vec::new(),
        arguments: ARGUMENTS.to_owned(),
        unfilled: Vec::new(),
        policy,
        approval_id: decided.then(ApprovalId::generate),
        requirements: json!([{ "tool_name": "pay" }]),
        context: json!({ "tool_names": ["pay"], "source_name": "Agent" }),
    }
}

/// The hash of a schema: what `schema_hash` of a call is.
#[must_use]
pub fn schema_hash(schema: &str) -> String {
    match serde_json::from_str(schema) {
        Ok(parameters) if kern_db::canonical_json(&parameters) == schema => {
            kern::tools::ToolDescriptor::new("x", "x", parameters).schema_hash
        }
        // Of what is no canonical JSON nobody has one.
        _ => String::new(),
    }
}

/// An answer to a call of the first turn that was shown with these arguments.
#[must_use]
pub fn answer_to(run_id: &RunId, index: u32, caller: Caller, answer: NewAnswer, arguments: &str) -> AnswerCall {
    AnswerCall {
        run_id: run_id.clone(),
        turn: 1,
        index,
        generation: 0,
        caller,
        answer,
        shown: Shown { tool_name: "pay".to_owned(), arguments: arguments.to_owned() },
        gathered: None,
    }
}

/// Ends a run.
#[must_use]
pub fn end(claim: &RunClaim, status: RunStatus) -> EndRun {
    EndRun {
        claim: claim.clone(),
        snapshot: "{}".to_owned(),
        status,
        error: (status == RunStatus::Error).then(|| "the model is gone".to_owned()),
    }
}

/// Waits until the wall clock has reached a time.
pub async fn wait_until(epoch_ms: i64) {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
        let left = i128::from(epoch_ms) - i128::try_from(now.as_millis()).expect("the clock is sane");
        match u64::try_from(left) {
            Ok(left) if left > 0 => tokio::time::sleep(Duration::from_millis(left)).await,
            _ => return,
        }
    }
}
