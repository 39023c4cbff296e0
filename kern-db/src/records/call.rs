//! Protected calls: what the model asked for, what the requester answered.

use serde::{Deserialize, Serialize};

use super::approval::Approval;
use super::execution::Execution;
use super::principal::Principal;
use crate::cell::{Json, row};
use crate::sensitive::Salts;
use crate::{Answer, ApprovalId, PauseType, RunId};

row! {
    /// One protected call. It is named by run, turn and index; `tool_call_id` is only an attribute of it.
    CallRow, CallColumns, Calls, lookups [run_id], unique [[run_id, turn, idx]] {
        run_id: RunId,
        turn: u32,
        idx: u32,
        /// Id of the requirement that the requester was shown.
        requirement_id: String,
        tool_call_id: String,
        tool_name: String,
        tool_version: String,
        schema_hash: String,
        /// Canonical JSON of the current version.
        arguments: String,
        version: u32,
        digest: String,
        /// The digest as the requester was first shown it.
        shown_digest: String,
        earlier_digests: Json<Vec<String>>,
        /// Arguments that the user still has to fill.
        unfilled: Json<Vec<String>>,
        /// Canonical JSON of the [`CallPolicy`].
        policy: String,
        policy_digest: String,
        approval_id: Option<ApprovalId>,
        generation: u32,
        answer: Option<Answer>,
        answer_digest: Option<String>,
        answer_note: Option<String>,
        answered_by: Option<Json<Principal>>,
        answered_at_ms: Option<i64>,
        created_at_ms: i64,
        /// Canonical JSON of the tool's schema. `None`: asked by a kern that did not store it.
        parameters: Option<String>,
        /// The fields that the tool leaves to people. Empty: all of them.
        user_fields: Option<Json<Vec<String>>>,
        /// Bytes that the arguments may have.
        argument_limit: Option<u32>,
        /// Ids of the requirements of earlier generations.
        earlier_requirements: Option<Json<Vec<String>>>,
        /// Of the sensitive properties. `None`: there are none, or it was asked by a kern that had no salts.
        salts: Option<Json<Salts>>,
        /// When its secrets were taken out.
        erased_at_ms: Option<i64>,
        /// The identity of the tool, which no other tool's permit has.
        tool_identity: String,
        /// The entry of the audit log in which the current version was asked for. Null only inside the transaction that asks.
        asked_shard: Option<u32>,
        asked_seq: Option<i64>,
        /// The version that the requester has confirmed. An edit back to its arguments is another version.
        confirmed_version: Option<u32>,
    }
}

/// Who is asked before a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tier {
    /// Nobody; the record is durable before the body starts.
    Audit,
    /// The requester.
    User,
    /// An approver.
    Required,
    /// An approver, and the requester as well.
    TwoStage,
}

/// What is promised about how often a body runs, and so what may happen when a start is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effect {
    /// Started at most once for each approval. Nothing but a human runs it again.
    #[default]
    Once,
    /// Started again with the same idempotency key, at most [`ATTEMPTS`] times in all: effectively once, if the other side
    /// sorts out what comes twice.
    Idempotent,
    /// The tool's writes are committed with its outcome, in one transaction of the store: exactly once. A start that was
    /// lost has left nothing, and is made again.
    Transactional,
}

/// How often a call with [`Effect::Idempotent`] is started, the first start included.
pub const ATTEMPTS: u32 = 3;

/// The policy of one call, as it is stored with it. The stored one decides, whatever the code says later.
///
/// A field this build does not know makes the row unreadable: a policy is never half enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CallPolicy {
    /// Who is asked.
    pub tier: Tier,
    /// What the call waits for. `None` only for [`Tier::Audit`].
    pub pause: Option<PauseType>,
    /// Whether the requester's answer leaves a row of type `audit`.
    pub record: bool,
    /// What may happen after a lost process.
    pub effect: Effect,
    /// Whether the requester may decide the approval.
    pub allow_self: bool,
    /// How long the approval may stay undecided.
    pub expires_in_ms: Option<i64>,
    /// How long a given approval may stay unused.
    pub valid_for_ms: Option<i64>,
    /// How many distinct people have to approve.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub quorum: u32,
    /// Whether nobody decides without a note.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_reason: bool,
    /// The pool that everybody who decides has to be in. `None`: anybody but the requester.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

// What was stored before there were quorums keeps its text, and so its digest.
fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(quorum: &u32) -> bool {
    *quorum == 1
}

impl CallPolicy {
    /// A policy that asks `tier` and waits for `pause`; everything else as strict as it gets.
    #[must_use]
    pub fn new(tier: Tier, pause: Option<PauseType>) -> Self {
        Self {
            tier,
            pause,
            record: false,
            effect: Effect::Once,
            allow_self: false,
            expires_in_ms: None,
            valid_for_ms: None,
            quorum: 1,
            require_reason: false,
            pool: None,
        }
    }

    /// Sets what may happen after a lost start.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// Sets whether the requester may decide the approval, and settle the call.
    #[must_use]
    pub fn allow_self(mut self, allowed: bool) -> Self {
        self.allow_self = allowed;
        self
    }

    /// Sets the pool that everybody who decides has to be in.
    #[must_use]
    pub fn pool(mut self, name: impl Into<String>) -> Self {
        self.pool = Some(name.into());
        self
    }

    /// Sets how many distinct people have to approve.
    #[must_use]
    pub fn quorum(mut self, people: u32) -> Self {
        self.quorum = people;
        self
    }

    /// Sets whether nobody decides without a note.
    #[must_use]
    pub fn require_reason(mut self, required: bool) -> Self {
        self.require_reason = required;
        self
    }

    /// Sets whether the requester's answer leaves a row of type `audit`.
    #[must_use]
    pub fn record(mut self, record: bool) -> Self {
        self.record = record;
        self
    }

    /// Sets how long the approval may stay undecided, in milliseconds.
    #[must_use]
    pub fn expires_in_ms(mut self, milliseconds: i64) -> Self {
        self.expires_in_ms = Some(milliseconds);
        self
    }

    /// Sets how long a given approval may stay unused, in milliseconds.
    #[must_use]
    pub fn valid_for_ms(mut self, milliseconds: i64) -> Self {
        self.valid_for_ms = Some(milliseconds);
        self
    }
}

/// A protected call with everything that has been decided about it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Call {
    /// Its turn.
    pub turn: u32,
    /// Its place in the turn.
    pub index: u32,
    /// Id of the requirement that the requester was shown.
    pub requirement_id: String,
    /// The model's id.
    pub tool_call_id: String,
    /// The tool.
    pub tool_name: String,
    /// The tool's version when it was shown.
    pub tool_version: String,
    /// The schema's hash when it was shown.
    pub schema_hash: String,
    /// Canonical JSON of the current version.
    pub arguments: String,
    /// 0 for what the model asked, one more with each edit.
    pub version: u32,
    /// 0, one more each time the call was asked again.
    pub generation: u32,
    /// Ids of the requirements of earlier generations: an answer to one of them is not to this one.
    pub earlier_requirement_ids: Vec<String>,
    /// Digest of the current version.
    pub digest: String,
    /// Arguments that the user still has to fill.
    pub unfilled: Vec<String>,
    /// Who is asked.
    pub policy: CallPolicy,
    /// What the requester said.
    pub answer: Option<Answer>,
    /// Whether that answer is to the current version.
    pub answer_is_current: bool,
    /// Why the requester said no.
    pub answer_note: Option<String>,
    /// The row that somebody else decides, or the audit record.
    pub approval: Option<Approval>,
    /// The latest execution.
    pub execution: Option<Execution>,
    /// Where the call stands.
    pub standing: Standing,
}

/// Where a call stands. Only [`Standing::Open`] can be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// An approver has to decide.
    AwaitsApproval,
    /// The requester has to answer.
    AwaitsRequester,
    /// Approved or confirmed, and not started, or to be started again.
    Open,
    /// The body may be running.
    Executing,
    /// Nobody knows how it ended.
    Unknown,
    /// It has an outcome.
    Outcome(Outcome),
    /// Its approval row is gone, or its rows do not fit together.
    Missing,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The tool gave this.
    Succeeded(String),
    /// The tool returned this error.
    Failed(String),
    /// It never started and never will; why.
    Abandoned(String),
    /// An approver said no; the note.
    Rejected(Option<String>),
    /// The requester said no; the note.
    UserRejected(Option<String>),
    /// Nobody decided in time.
    Expired,
    /// The approval was cancelled or deleted.
    Cancelled,
}
