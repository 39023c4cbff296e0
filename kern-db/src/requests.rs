//! What the runtime asks of a store, and what it gets: the transitions of the approval specification as values.

use serde_json::Value;

use crate::audit::Gathered;
use crate::records::call::CallPolicy;
use crate::records::delivery::Delivery;
use crate::records::key::AccessKey;
use crate::records::principal::{Caller, Principal};
use crate::{ApprovalId, ExecutionId, RunId, RunStatus, SessionId};

/// Proof of owning a run, until somebody raises its fence.
///
/// Every statement of the owner names it; once the fence has moved, each of them fails with
/// [`Error::NotMine`](crate::Error::NotMine).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunClaim {
    /// The run.
    pub run_id: RunId,
    /// The fence of this claim.
    pub fence: i64,
    pub(crate) owner: String,
}

impl RunClaim {
    /// The claim of a run that is about to start, with a fresh owner.
    #[must_use]
    pub fn first(run_id: &RunId) -> Self {
        Self { run_id: run_id.clone(), fence: 1, owner: OwnerToken::fresh().0 }
    }
}

/// The owner of one attempt to claim a run or a call: a fresh random token.
///
/// The claim stores it, so that the process that sent the claim finds it again where the acknowledgement of the commit was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerToken(pub(crate) String);

impl OwnerToken {
    /// A token that no other attempt has.
    #[must_use]
    pub fn fresh() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
}

/// Makes an API key of what is known of it without its secret.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NewKey {
    pub id: String,
    /// SHA-256, lower-case hexadecimal.
    pub secret_hash: String,
    pub subject: String,
    pub scopes: Vec<String>,
    pub expires_in_ms: Option<i64>,
    pub by: Option<Principal>,
}

/// A request that came with an idempotency key.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct OpenRequest {
    /// Whose key it is.
    pub owner: String,
    pub key: String,
    /// Of what is asked for.
    pub digest: String,
    /// For how long whoever claims it is waited for, unless they renew it.
    pub lease_ms: i64,
}

/// What became of such a request.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum OpenedRequest {
    /// It is to be worked on.
    Claimed(RequestClaim),
    /// Somebody works on it.
    Busy,
    /// It has the key of one that asked for something else.
    Other,
    Answered(KeptAnswer),
}

/// The right to work on such a request, until somebody else claims it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RequestClaim {
    pub owner: String,
    pub key: String,
    /// The id of the run that it starts, whoever works on it.
    pub run_id: RunId,
    /// Counts from 1.
    pub attempt: i64,
}

/// What such a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct KeptAnswer {
    /// HTTP's.
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

/// What a store has of an API key.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum KeyLookup {
    Missing,
    /// Its row is not what the audit log says was made.
    Altered,
    Found(Box<FoundKey>),
}

/// A key that is as it was made, with what has to be asked before it counts.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct FoundKey {
    pub key: AccessKey,
    pub secret_hash: String,
    /// By the row or by the audit log: either is enough.
    pub is_revoked: bool,
    /// The store's clock.
    pub now_ms: i64,
}

/// Starts a run (R1).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct BeginRun {
    pub run_id: RunId,
    pub session_id: SessionId,
    pub agent_id: String,
    pub agent_name: Option<String>,
    pub requester: Option<Principal>,
    pub snapshot: String,
    /// JSON of what was asked, unless hooks have to pass it first ([`StoreInput`]).
    pub input: Option<String>,
    pub lease_ms: i64,
}

/// Stores the input of a run whose hooks have passed (R1b).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct StoreInput {
    pub claim: RunClaim,
    pub snapshot: String,
    /// JSON of what was asked, as the hooks left it.
    pub input: String,
}

/// Commits a turn with protected calls (R2).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct CommitTurn {
    pub claim: RunClaim,
    pub turn: u32,
    pub snapshot: String,
    pub calls: Vec<NewCall>,
    /// Whether the run pauses at once, or has calls left to run before it does.
    pub pause: bool,
}

/// A protected call the model asks for, checked against the tool's types.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NewCall {
    pub index: u32,
    pub requirement_id: String,
    pub tool_call_id: String,
    pub tool_name: String,
    pub tool_version: String,
    /// SHA-256: no other tool has it.
    pub tool_identity: String,
    pub schema_hash: String,
    /// Canonical JSON of the tool's schema: `schema_hash` is its SHA-256. What an approver edits is checked against it.
    pub parameters: String,
    /// Canonical JSON.
    pub arguments: String,
    /// Bytes that canonical arguments may have.
    pub argument_limit: u32,
    pub unfilled: Vec<String>,
    /// The fields that the tool leaves to people. Empty: all of them.
    pub user_fields: Vec<String>,
    pub policy: CallPolicy,
    /// The id the approval row gets, where the policy asks for one.
    pub approval_id: Option<ApprovalId>,
    /// The requirement as the approver is shown it.
    pub requirements: Value,
    pub context: Value,
}

/// Claims a paused run (R4).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ClaimRun {
    pub run_id: RunId,
    /// As loaded: a run that went on since then is not claimed.
    pub fence: i64,
    /// As loaded.
    pub turn: u32,
    /// As loaded: [`Run::loaded`](crate::Run::loaded).
    pub loaded: String,
    pub caller: Caller,
    pub lease_ms: i64,
    pub owner: OwnerToken,
}

/// What claiming a run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunClaimed {
    /// The run is the caller's.
    Claimed(RunClaim),
    /// Somebody else drives it, or it went on since it was loaded.
    AlreadyRunning,
    /// It is not paused.
    NotPaused(RunStatus),
    /// Calls that are not decided or not settled. Nothing was claimed.
    Blocked(Vec<Blocker>),
}

/// Why a run cannot go on yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blocker {
    /// An approver has to decide.
    AwaitsApproval {
        /// The approval.
        approval_id: ApprovalId,
        /// The call's place in the turn.
        index: u32,
    },
    /// The requester has to answer.
    AwaitsRequester {
        /// The call's place in the turn.
        index: u32,
    },
    /// The row that decides is gone.
    ApprovalMissing {
        /// The call's place in the turn.
        index: u32,
    },
    /// Nobody knows how the call ended; somebody has to settle it.
    Unknown {
        /// The execution.
        execution_id: ExecutionId,
        /// The call's place in the turn.
        index: u32,
    },
    /// The call may still be running.
    Executing {
        /// The call's place in the turn.
        index: u32,
    },
}

/// Stores one answer of the requester (U1, U2, X10).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct AnswerCall {
    pub run_id: RunId,
    pub turn: u32,
    pub index: u32,
    /// As loaded: a yes to a call that was asked again since then is none.
    pub generation: u32,
    pub caller: Caller,
    pub answer: NewAnswer,
    /// What the answer says it is about.
    pub shown: Shown,
    /// Where evidence goes that the request leaves together with others. `None`: into an entry of its own.
    pub gathered: Option<Gathered>,
}

/// Asks again for calls of the open turn whose tool has changed since they were shown.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct AskAgain {
    pub run_id: RunId,
    /// As loaded: for a run that went on since then nothing is asked.
    pub fence: i64,
    /// As loaded.
    pub turn: u32,
    pub caller: Caller,
    /// The run as it is shown from now on.
    pub snapshot: String,
    /// The calls with the tool of now: same place, name, id and arguments.
    pub calls: Vec<NewCall>,
}

/// What a requester saw when they answered.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Shown {
    pub tool_name: String,
    /// Canonical JSON.
    pub arguments: String,
}

/// What a requester says to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewAnswer {
    /// Nothing: what it is about is only compared with what was shown. Going on may imply a yes, and must not imply one to
    /// something else.
    Unanswered,
    /// Yes.
    Confirm,
    /// No, and why.
    Reject(Option<String>),
    /// The values asked for, merged into the arguments and checked: canonical JSON of all of them.
    Input(String),
    /// What the other system gave.
    ExternalResult(String),
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answered {
    /// It is stored.
    Stored,
    /// The same answer was stored before.
    Already,
    /// The call does not ask the requester for this now; nothing was stored.
    NotAsked,
    /// The answer is to a version that somebody has edited since; nothing was stored.
    Outdated,
    /// The answer's name or arguments were never shown: recorded as evidence of tampering, nothing was stored.
    Mismatch,
}

/// Whether the store takes anything new.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quarantine {
    /// It does.
    Open,
    /// Something shows that it went back in time. Until the restore is accepted, nothing new is decided or started.
    Restored {
        /// What shows it.
        proof: String,
    },
    /// The database took the place of another one, by a failover or a restore, and these hosts have not compared their marks
    /// with it yet. Until they have, or are retired, nothing new is decided or started.
    Unconfirmed {
        /// Their ids, each with the machine's name.
        hosts: Vec<String>,
    },
}

impl std::fmt::Display for Quarantine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("nothing shows that the store went back in time"),
            Self::Unconfirmed { hosts } => {
                let hosts = if hosts.is_empty() { "the next one".to_owned() } else { hosts.join(", ") };
                write!(
                    f,
                    "the database took the place of another one, by a failover or a restore, and nothing starts until every host \
                     has compared its mark with it: waiting for {hosts}. A host that does not come back is retired with \
                     `kern hosts retire ID`"
                )
            }
            Self::Restored { proof } => write!(f, "the store went back in time: {proof}"),
        }
    }
}

/// Claims a ready call (X3), or starts a bare audit call (X2).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ClaimCall {
    pub claim: RunClaim,
    pub turn: u32,
    pub index: u32,
    pub lease_ms: i64,
    pub owner: OwnerToken,
}

/// What claiming a call gave.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallClaimed {
    /// The body may be entered, once, with the arguments in the claim.
    Claimed(CallClaim),
    /// It cannot start and never will; the run goes on with this outcome.
    Over,
    /// It cannot start now: somebody has to look.
    NotStartable,
}

/// Permission to enter a protected body once. Only a committed claim makes one, and entering consumes it.
#[derive(Debug)]
#[must_use = "a claimed call that is not finished becomes `unknown`"]
pub struct CallClaim {
    pub(crate) ticket: Ticket,
    pub(crate) turn: u32,
    pub(crate) index: u32,
    pub(crate) tool_name: String,
    pub(crate) arguments: String,
    pub(crate) decided_digest: String,
    pub(crate) idempotency_key: String,
    pub(crate) attempt: u32,
}

impl CallClaim {
    /// The call's turn.
    pub fn turn(&self) -> u32 {
        self.turn
    }

    /// The call's place in the turn.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The tool that may be entered.
    pub fn tool_name(&self) -> &str {
        &self.tool_name
    }

    /// Canonical JSON of the arguments that were decided on.
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    /// The digest that was decided on.
    pub fn decided_digest(&self) -> &str {
        &self.decided_digest
    }

    /// The key for the other side's deduplication.
    pub fn idempotency_key(&self) -> &str {
        &self.idempotency_key
    }

    /// Which start of the call this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What the outcome is recorded with.
    pub fn ticket(&self) -> Ticket {
        self.ticket.clone()
    }
}

/// Names one start of one execution: its outcome is only accepted from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) execution_id: ExecutionId,
    pub(crate) run_id: RunId,
    pub(crate) owner: String,
    pub(crate) fence: i64,
}

impl Ticket {
    /// The execution.
    pub fn execution_id(&self) -> &ExecutionId {
        &self.execution_id
    }

    /// Its run.
    pub fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// The fence of this start.
    pub fn fence(&self) -> i64 {
        self.fence
    }
}

/// How a body ended (X4, X5).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// With this result.
    Succeeded(String),
    /// With the tool's own error.
    Failed(String),
    /// In a way that says nothing about its effect: a panic, a timeout, a shutdown. Why.
    Lost(String),
}

/// A body that refused a call, because the call was not allowed for this tool or not any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct WrongTool {
    pub run_id: RunId,
    pub turn: u32,
    pub index: u32,
    /// `None`: no person was asked about the call, so it has no execution.
    pub execution_id: Option<ExecutionId>,
    /// The tool that the call was allowed for.
    pub allowed: String,
    /// The tool that was handed the call.
    pub entered: String,
    pub why: &'static str,
}

/// One statement that a transactional call hands to the store, to be committed with its outcome.
///
/// `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `WITH` or `SELECT`, one of them, about tables that are not kern's.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The statement, in the store's SQL, with its own places for parameters.
    pub sql: String,
    /// What is bound to the places, in order.
    pub params: Vec<SqlValue>,
}

impl Write {
    /// Makes a statement.
    pub fn new(sql: impl Into<String>, params: impl IntoIterator<Item = SqlValue>) -> Self {
        Self { sql: sql.into(), params: params.into_iter().collect() }
    }
}

/// Whether a statement begins as one that a transactional call may hand over. The store itself looks at all of it.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn check_statement(sql: &str) -> Result<(), String> {
    const WORDS: [&str; 6] = ["insert", "update", "delete", "merge", "with", "select"];
    let start = sql.trim_start();
    let end = start.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(start.len());
    let word = start[..end].to_ascii_lowercase();
    if WORDS.contains(&word.as_str()) {
        return Ok(());
    }
    Err("it begins with none of INSERT, UPDATE, DELETE, MERGE, WITH and SELECT".to_owned())
}

/// A value that is bound to a statement.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum SqlValue {
    Null,
    Bool(bool),
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

macro_rules! sql_value {
    ($($Type:ty => $make:expr),+ $(,)?) => {
        $(impl From<$Type> for SqlValue {
            fn from(value: $Type) -> Self {
                let make: fn($Type) -> Self = $make;
                make(value)
            }
        })+
    };
}

sql_value! {
    bool => Self::Bool,
    i8 => |number| Self::Integer(number.into()),
    i16 => |number| Self::Integer(number.into()),
    i32 => |number| Self::Integer(number.into()),
    i64 => Self::Integer,
    u8 => |number| Self::Integer(number.into()),
    u16 => |number| Self::Integer(number.into()),
    u32 => |number| Self::Integer(number.into()),
    f32 => |number| Self::Real(number.into()),
    f64 => Self::Real,
    String => Self::Text,
    &String => |text| Self::Text(text.clone()),
    &str => |text| Self::Text(text.to_owned()),
    Vec<u8> => Self::Blob,
    &[u8] => |bytes| Self::Blob(bytes.to_vec()),
}

impl<T: Into<Self>> From<Option<T>> for SqlValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Whether an outcome was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finished {
    /// It was.
    Recorded,
    /// A start that was lost is given up, and the call may be started again (X6).
    Retry,
    /// The outcome is recorded as failed, with this error: the store refused what the call wanted to write, and nothing of
    /// that stays.
    WritesRefused(String),
    /// Somebody else had given the start up for lost; that it ended, and how, is kept as evidence and changes nothing.
    Late,
}

/// How a run ends by its owner's hand (R8).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct EndRun {
    pub claim: RunClaim,
    pub snapshot: String,
    /// `Completed` or `Error`.
    pub status: RunStatus,
    /// For the audit log, where it is an error.
    pub error: Option<String>,
}

/// What sweeping a run did: how many rows were past their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Approvals that nobody decided in time (A6).
    pub expired: u32,
    /// Calls that were allowed and not started in time (X8).
    pub abandoned: u32,
    /// Calls that were to be started again and were not in time (X7).
    pub unknown: u32,
}

/// Which paused runs to look at.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Candidates {
    /// All of them, in the order of their ids: at most `limit`, after this one.
    Page { after: Option<RunId>, limit: u32 },
    /// Those of these that are paused.
    These(Vec<RunId>),
}

/// What a look at paused runs found: ids alone, so that a list of thousands is no burden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumable {
    /// Nobody has to decide anything about their calls, as far as rows can say: whether they may go on is for the claim.
    pub decided: Vec<RunId>,
    /// The end of a call is unknown, and nothing else keeps them.
    pub unknown: Vec<RunId>,
    /// Where the next page starts. `None`: this was the last.
    pub next: Option<RunId>,
}

/// What recovering a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovered {
    /// Nothing was lost: its owner lives, or nobody owns it.
    NotNeeded,
    /// Its owner is gone; it is paused and can be resumed.
    Paused,
    /// Its owner is gone for good; it ended with an error.
    Failed,
}

/// A delivery that somebody has taken, with what its event was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryClaim {
    /// The delivery, as it is with this attempt.
    pub delivery: Delivery,
    /// The state that the event has led to, where it is about one.
    pub status: Option<String>,
    /// Whose run it is.
    pub agent_id: Option<String>,
    /// The run's session.
    pub session_id: Option<SessionId>,
    /// The tool of the call that it is about.
    pub tool_name: Option<String>,
}

/// How one attempt of a delivery ended, and what came of it: an HTTP status, or a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// The receiver has said that it has it.
    Delivered {
        /// What came of it.
        outcome: String,
    },
    /// It is to be begun again.
    Again {
        /// What came of it.
        outcome: String,
        /// Not before so many milliseconds.
        in_ms: i64,
    },
    /// It is not to be begun again.
    GivenUp {
        /// What came of it.
        outcome: String,
    },
}
