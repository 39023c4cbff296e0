//! Approvals: what somebody other than the requester decides, and records.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::call::CallPolicy;
use super::execution::Execution;
use super::json::Text;
use super::principal::{KEY_ISSUER, Owner, Principal};
use crate::audit::Gathered;
use crate::cell::{Json, row};
use crate::{ApprovalId, ApprovalStatus, ApprovalType, PauseType, RunId, RunStatus, SessionId};

row! {
    /// One approval row. The columns up to `created_at` are those of the reference, so that other programs can read them.
    ApprovalRow, ApprovalColumns, Approvals, lookups [id, run_id], unique [[id], [run_id, turn, idx, generation]] {
        id: ApprovalId,
        run_id: RunId,
        session_id: SessionId,
        status: ApprovalStatus,
        source_type: String,
        approval_type: ApprovalType,
        pause_type: PauseType,
        tool_name: String,
        /// Canonical JSON of the current version.
        tool_args: String,
        /// Epoch seconds.
        expires_at: Option<i64>,
        agent_id: Option<String>,
        team_id: Option<String>,
        workflow_id: Option<String>,
        user_id: Option<String>,
        issuer: Option<String>,
        schedule_id: Option<String>,
        schedule_run_id: Option<String>,
        source_name: Option<String>,
        requirements: Option<String>,
        context: Option<String>,
        resolution_data: Option<String>,
        resolved_by: Option<String>,
        /// Epoch seconds.
        resolved_at: Option<i64>,
        /// Epoch seconds.
        created_at: i64,
        turn: u32,
        idx: u32,
        generation: u32,
        tool_call_id: String,
        version: u32,
        digest: String,
        decided_digest: Option<String>,
        policy: String,
        policy_digest: String,
        requester: Option<Json<Principal>>,
        resolver: Option<Json<Principal>>,
        deleted_at: Option<i64>,
        /// Who wrote the current version, where it is not the model's.
        edited_by: Option<Json<Principal>>,
        /// The arguments that displays leave out.
        sensitive: Option<Json<Vec<String>>>,
        /// When the secrets of its call were taken out.
        erased_at_ms: Option<i64>,
        /// Of everything that is shown beside the arguments.
        view_digest: String,
    }
}

row! {
    /// One approver's yes to one version.
    VoteRow, VoteColumns, Votes, lookups [approval_id], unique [[approval_id, version, voter_key]] {
        approval_id: ApprovalId,
        version: u32,
        /// Who, in a form that makes one person one voter.
        voter_key: String,
        voter: Option<Json<Principal>>,
        digest: String,
        created_at_ms: i64,
        /// What the voter sent along.
        resolution_data: Option<String>,
        /// Until when a credential says that the voter is in the policy's pool, where that alone let them vote. Null: no pool
        /// is named, or the store's held them.
        member_until_ms: Option<i64>,
    }
}

/// An approval row, with the JSON of the reference and kern's own fields behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The run that waits for it.
    pub run_id: RunId,
    /// The run's session.
    pub session_id: SessionId,
    /// Its state.
    pub status: ApprovalStatus,
    /// `agent`, `team` or `workflow`.
    pub source_type: String,
    /// Whether it decides or records.
    pub approval_type: Option<ApprovalType>,
    /// What the call waits for.
    pub pause_type: PauseType,
    /// The tool.
    pub tool_name: Option<String>,
    /// The arguments of the current version: what is approved is what runs.
    pub tool_args: Option<Map<String, Value>>,
    /// Epoch seconds.
    pub expires_at: Option<i64>,
    /// The agent.
    pub agent_id: Option<String>,
    /// The team.
    pub team_id: Option<String>,
    /// The workflow.
    pub workflow_id: Option<String>,
    /// Who asked.
    pub user_id: Option<String>,
    /// The schedule that asked.
    pub schedule_id: Option<String>,
    /// The schedule's run.
    pub schedule_run_id: Option<String>,
    /// The agent's name.
    pub source_name: Option<String>,
    /// The requirement as it was shown.
    pub requirements: Option<Value>,
    /// `{"tool_names": […], "source_name": …}`.
    pub context: Option<Value>,
    /// What the approver sent along.
    pub resolution_data: Option<Value>,
    /// Who decided.
    pub resolved_by: Option<String>,
    /// Epoch seconds.
    pub resolved_at: Option<i64>,
    /// Epoch seconds.
    pub created_at: i64,
    /// Epoch seconds, read from the run.
    pub updated_at: Option<i64>,
    /// Read from the run.
    pub run_status: Option<RunStatus>,
    /// Whether the decider's name came from a verified credential.
    pub resolved_by_verified: bool,
    /// The model's id of the call.
    pub tool_call_id: String,
    /// 0 for what the model asked, one more with each edit.
    pub version: u32,
    /// Digest of the current version.
    pub digest: String,
    /// Who may decide. `None`: anybody but the requester.
    pub pool: Option<String>,
    /// How many distinct people have to approve.
    pub quorum: u32,
    /// Who said yes, to which version. Only those to the current one count.
    pub votes: Vec<Vote>,
    /// Who wrote the current version, where somebody with a name edited it. With a quorum of two or more their own yes to it
    /// does not count.
    pub edited_by: Option<Principal>,
    /// The principal that asked, with the issuer that vouches for it and every link of its chain.
    #[serde(default)]
    pub requester: Option<Principal>,
    /// The arguments that displays and notifications leave out.
    #[serde(default)]
    pub sensitive: Vec<String>,
    /// What became of the call.
    pub execution: Option<Execution>,
}

/// One approver's yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Vote {
    /// Who. `None`: somebody who gave no name.
    pub voter: Option<String>,
    /// Whether the name came from a verified credential.
    pub verified: bool,
    /// The version.
    pub version: u32,
    /// Its digest.
    pub digest: String,
    /// Epoch milliseconds.
    pub created_at_ms: i64,
    /// What the voter sent along.
    pub resolution_data: Option<Value>,
    /// Until when a credential says that the voter is in the pool, epoch milliseconds, where that alone let them vote. After
    /// that the vote counts only if the store's pool holds them.
    pub member_until_ms: Option<i64>,
}

impl Approval {
    pub(crate) fn assemble(
        row: ApprovalRow,
        run: Option<(RunStatus, i64)>,
        votes: Vec<VoteRow>,
        execution: Option<Execution>,
    ) -> crate::Result<Self> {
        let policy: CallPolicy =
            serde_json::from_str(&row.policy).map_err(|error| crate::Error::corrupt("approvals.policy", error))?;
        Ok(Self {
            tool_args: Some(object("approvals.tool_args", &row.tool_args)?),
            requirements: json("approvals.requirements", row.requirements.as_deref())?,
            context: json("approvals.context", row.context.as_deref())?,
            resolution_data: json("approvals.resolution_data", row.resolution_data.as_deref())?,
            id: row.id,
            run_id: row.run_id,
            session_id: row.session_id,
            status: row.status,
            source_type: row.source_type,
            approval_type: Some(row.approval_type),
            pause_type: row.pause_type,
            tool_name: Some(row.tool_name),
            expires_at: row.expires_at,
            agent_id: row.agent_id,
            team_id: row.team_id,
            workflow_id: row.workflow_id,
            user_id: row.user_id,
            schedule_id: row.schedule_id,
            schedule_run_id: row.schedule_run_id,
            source_name: row.source_name,
            resolved_by: row.resolved_by,
            resolved_at: row.resolved_at,
            created_at: row.created_at,
            updated_at: run.map(|(_, updated_at_ms)| updated_at_ms / 1000),
            run_status: run.map(|(status, _)| status),
            resolved_by_verified: row.resolver.is_some_and(|resolver| resolver.0.verified),
            tool_call_id: row.tool_call_id,
            version: row.version,
            digest: row.digest,
            pool: policy.pool,
            quorum: policy.quorum,
            votes: votes.into_iter().map(Vote::try_from).collect::<Result<_, _>>()?,
            edited_by: row.edited_by.map(|editor| editor.0),
            requester: row.requester.map(|requester| requester.0),
            sensitive: row.sensitive.map(|names| names.0).unwrap_or_default(),
            execution,
        })
    }
}

/// What an [`Approval`] is as JSON, made of the rows: what is stored as JSON is looked at and goes through.
#[derive(Debug, Serialize)]
pub(crate) struct ApprovalJson<'a> {
    id: &'a ApprovalId,
    run_id: &'a RunId,
    session_id: &'a SessionId,
    status: ApprovalStatus,
    source_type: &'a str,
    approval_type: ApprovalType,
    pause_type: PauseType,
    tool_name: &'a str,
    tool_args: Text<'a>,
    expires_at: Option<i64>,
    agent_id: Option<&'a str>,
    team_id: Option<&'a str>,
    workflow_id: Option<&'a str>,
    user_id: Option<&'a str>,
    schedule_id: Option<&'a str>,
    schedule_run_id: Option<&'a str>,
    source_name: Option<&'a str>,
    requirements: Option<Text<'a>>,
    context: Option<Text<'a>>,
    resolution_data: Option<Text<'a>>,
    resolved_by: Option<&'a str>,
    resolved_at: Option<i64>,
    created_at: i64,
    updated_at: Option<i64>,
    run_status: Option<RunStatus>,
    resolved_by_verified: bool,
    tool_call_id: &'a str,
    version: u32,
    digest: &'a str,
    pool: Option<String>,
    quorum: u32,
    votes: Vec<VoteJson<'a>>,
    edited_by: Option<&'a Principal>,
    requester: Option<&'a Principal>,
    sensitive: &'a [String],
    execution: Option<&'a Execution>,
}

#[derive(Debug, Serialize)]
struct VoteJson<'a> {
    voter: Option<&'a str>,
    verified: bool,
    version: u32,
    digest: &'a str,
    created_at_ms: i64,
    resolution_data: Option<Text<'a>>,
    member_until_ms: Option<i64>,
}

impl<'a> ApprovalJson<'a> {
    /// As [`Approval::assemble`], and with its errors.
    pub(crate) fn assemble(
        row: &'a ApprovalRow,
        run: Option<(RunStatus, i64)>,
        votes: &'a [VoteRow],
        execution: Option<&'a Execution>,
    ) -> crate::Result<Self> {
        let policy: CallPolicy =
            serde_json::from_str(&row.policy).map_err(|error| crate::Error::corrupt("approvals.policy", error))?;
        let text = |place: &str, text: Option<&'a str>| {
            text.map(|text| Text::any(text).map_err(|error| crate::Error::corrupt(place, error))).transpose()
        };
        let vote = |row: &'a VoteRow| {
            Ok(VoteJson {
                voter: row.voter.as_ref().map(|voter| &*voter.0.subject),
                verified: row.voter.as_ref().is_some_and(|voter| voter.0.verified),
                version: row.version,
                digest: &row.digest,
                created_at_ms: row.created_at_ms,
                resolution_data: text("votes.resolution_data", row.resolution_data.as_deref())?,
                member_until_ms: row.member_until_ms,
            })
        };
        Ok(Self {
            tool_args: Text::object(&row.tool_args)
                .map_err(|error| crate::Error::corrupt("approvals.tool_args", error))?,
            requirements: text("approvals.requirements", row.requirements.as_deref())?,
            context: text("approvals.context", row.context.as_deref())?,
            resolution_data: text("approvals.resolution_data", row.resolution_data.as_deref())?,
            votes: votes.iter().map(vote).collect::<crate::Result<_>>()?,
            id: &row.id,
            run_id: &row.run_id,
            session_id: &row.session_id,
            status: row.status,
            source_type: &row.source_type,
            approval_type: row.approval_type,
            pause_type: row.pause_type,
            tool_name: &row.tool_name,
            expires_at: row.expires_at,
            agent_id: row.agent_id.as_deref(),
            team_id: row.team_id.as_deref(),
            workflow_id: row.workflow_id.as_deref(),
            user_id: row.user_id.as_deref(),
            schedule_id: row.schedule_id.as_deref(),
            schedule_run_id: row.schedule_run_id.as_deref(),
            source_name: row.source_name.as_deref(),
            resolved_by: row.resolved_by.as_deref(),
            resolved_at: row.resolved_at,
            created_at: row.created_at,
            updated_at: run.map(|(_, updated_at_ms)| updated_at_ms / 1000),
            run_status: run.map(|(status, _)| status),
            resolved_by_verified: row.resolver.as_ref().is_some_and(|resolver| resolver.0.verified),
            tool_call_id: &row.tool_call_id,
            version: row.version,
            digest: &row.digest,
            pool: policy.pool,
            quorum: policy.quorum,
            edited_by: row.edited_by.as_ref().map(|editor| &editor.0),
            requester: row.requester.as_ref().map(|requester| &requester.0),
            sensitive: row.sensitive.as_ref().map_or(&[], |names| &names.0),
            execution,
        })
    }
}

impl TryFrom<VoteRow> for Vote {
    type Error = crate::Error;

    fn try_from(row: VoteRow) -> crate::Result<Self> {
        Ok(Self {
            verified: row.voter.as_ref().is_some_and(|voter| voter.0.verified),
            voter: row.voter.map(|voter| voter.0.subject),
            version: row.version,
            digest: row.digest,
            created_at_ms: row.created_at_ms,
            resolution_data: json("votes.resolution_data", row.resolution_data.as_deref())?,
            member_until_ms: row.member_until_ms,
        })
    }
}

fn json(place: &str, text: Option<&str>) -> crate::Result<Option<Value>> {
    text.map(|text| serde_json::from_str(text).map_err(|error| crate::Error::corrupt(place, error))).transpose()
}

fn object(place: &str, text: &str) -> crate::Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| crate::Error::corrupt(place, error))
}

/// Which approvals to list. Every condition narrows.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ApprovalFilter {
    pub(crate) status: Option<ApprovalStatus>,
    pub(crate) source_type: Option<String>,
    pub(crate) approval_type: Option<ApprovalType>,
    pub(crate) pause_type: Option<PauseType>,
    pub(crate) run_id: Option<RunId>,
    pub(crate) session_id: Option<SessionId>,
    pub(crate) agent_id: Option<String>,
    pub(crate) team_id: Option<String>,
    pub(crate) workflow_id: Option<String>,
    pub(crate) schedule_id: Option<String>,
    pub(crate) owner: Option<Owner>,
    pub(crate) limit: Option<u32>,
    pub(crate) page: Option<u32>,
    pub(crate) after: Option<(i64, ApprovalId)>,
}

macro_rules! narrow {
    ($($(#[$doc:meta])* $field:ident: $ty:ty),+ $(,)?) => {
        $($(#[$doc])* #[must_use] pub fn $field(mut self, $field: impl Into<$ty>) -> Self {
            self.$field = Some($field.into());
            self
        })+
    };
}

impl ApprovalFilter {
    /// All approvals, newest first, 100 a page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    narrow! {
        /// Only in this state.
        status: ApprovalStatus,
        /// Only from this kind of source: `agent`, `team` or `workflow`.
        source_type: String,
        /// Only of this type.
        approval_type: ApprovalType,
        /// Only waiting for this.
        pause_type: PauseType,
        /// Only of this run.
        run_id: RunId,
        /// Only of this session.
        session_id: SessionId,
        /// Only of this agent.
        agent_id: String,
        /// Only of this team.
        team_id: String,
        /// Only of this workflow.
        workflow_id: String,
        /// Only of this schedule.
        schedule_id: String,
        /// At most this many a page, 1 to 1000.
        limit: u32,
        /// The page, from 1.
        page: u32,
    }

    /// Only asked for by this user: a name stands for the subject of the requester, whatever issuer vouches for it, a
    /// [`Principal`] for itself.
    #[must_use]
    pub fn user_id(mut self, user_id: impl Into<Owner>) -> Self {
        self.owner = Some(user_id.into());
        self
    }

    /// Only what comes after this one in the list: [`created_at`](Approval::created_at) and id of the last of a page give the
    /// next page. It costs what the first one costs, however far down it is, and misses nothing and shows nothing twice when
    /// approvals are added meanwhile. In the place of [`page`](Self::page): a page beside it is refused, and
    /// [`PageMeta::page`] stays 1.
    #[must_use]
    pub fn after(mut self, created_at: i64, id: impl Into<ApprovalId>) -> Self {
        self.after = Some((created_at, id.into()));
        self
    }

    /// Only what comes after this cursor, as `meta.next_cursor` of a page of [`approvals_json`](crate::Transitions) names it.
    /// `None`: it is not a cursor.
    #[doc(hidden)]
    #[must_use]
    pub fn cursor(self, cursor: &str) -> Option<Self> {
        let (created_at, id) = cursor.split_once('.').filter(|(_, id)| !id.is_empty())?;
        Some(self.after(created_at.parse().ok()?, id))
    }
}

/// The cursor of the rows that come after this one.
pub(crate) fn cursor_after((created_at, id): &(i64, ApprovalId)) -> String {
    format!("{created_at}.{id}")
}

/// Where a page stands in the whole, and how the next one is found.
#[derive(Debug, Serialize)]
pub(crate) struct CursorMeta {
    #[serde(flatten)]
    pub(crate) meta: PageMeta,
    /// `None`: this is the last page.
    pub(crate) next_cursor: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Where the page stands in the whole.
    pub meta: PageMeta,
}

/// Where a page stands in the whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PageMeta {
    /// The page, from 1.
    pub page: u32,
    /// Rows a page.
    pub limit: u32,
    /// 0 when there are no rows.
    pub total_pages: u64,
    /// Rows in all.
    pub total_count: u64,
    /// Always 0, as the reference answers it.
    pub search_time_ms: f64,
}

/// A decision about an approval.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a resolution does nothing until `update_approval` is called with it"]
#[non_exhaustive]
pub struct Resolution {
    pub(crate) approve: Decision,
    pub(crate) by: Option<Principal>,
    /// What `by` is in, as whoever asked them vouches.
    member: Option<Membership>,
    pub(crate) note: Option<String>,
    pub(crate) data: Option<Value>,
    pub(crate) digest: Option<String>,
    /// Where evidence goes of a decision that is one of many.
    pub(crate) gathered: Option<Gathered>,
    pub(crate) acknowledge_restore: bool,
}

/// Yes or no. An enum, so that no default and no `false` can stand for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Approve,
    Reject,
}

/// The pools that a credential says its bearer is in, and until when.
#[derive(Clone, Debug, PartialEq)]
struct Membership {
    pools: Vec<String>,
    /// Epoch milliseconds.
    until_ms: i64,
}

/// The last time that JSON holds exactly, and so the last one that the audit log can name.
const LAST_MS: i64 = (1 << 53) - 1;

impl Resolution {
    fn new(approve: Decision) -> Self {
        Self {
            approve,
            by: None,
            member: None,
            note: None,
            data: None,
            digest: None,
            gathered: None,
            acknowledge_restore: false,
        }
    }

    /// Yes.
    pub fn approved() -> Self {
        Self::new(Decision::Approve)
    }

    /// No.
    pub fn rejected() -> Self {
        Self::new(Decision::Reject)
    }

    /// Who says so: a name that nobody vouches for, recorded as unverified.
    pub fn by(self, subject: impl Into<String>) -> Self {
        self.by_person(Some(Principal::unverified(subject)))
    }

    /// Who says so, as whoever asked them knows them.
    #[doc(hidden)]
    pub fn by_person(mut self, person: Option<Principal>) -> Self {
        // A membership is of the person that it was said of, and of nobody else.
        (self.by, self.member) = (person, None);
        self
    }

    /// Who says so, and which pools their credential says they are in, until `until_ms` (epoch milliseconds): what kern's server
    /// takes from a token's `kern_pools` and `exp`.
    ///
    /// **Whoever calls this vouches for it**, as for a name that is passed on: nothing here is checked again but the time. Take
    /// all three from one credential that you have verified, and never from what a request says of itself.
    ///
    /// Such a person is in the pool that a policy names if the store's pool of that name holds them, or if it is one of `pools`
    /// and `until_ms` has not come by the store's clock, also where nobody has set that pool in the store. At the last vote an
    /// earlier one counts if the store's pool holds its voter then, or if the time that it was given with has not come. Of
    /// somebody who is not verified ([`Principal::verified`]), or who has brought an API key of kern's, only the name counts.
    pub fn by_member(
        mut self,
        person: Principal,
        pools: impl IntoIterator<Item = impl Into<String>>,
        until_ms: i64,
    ) -> Self {
        let pools = pools.into_iter().map(Into::into).collect();
        self.by = Some(person);
        self.member = Some(Membership { pools, until_ms: until_ms.min(LAST_MS) });
        self
    }

    /// Until when a credential says that whoever decides is in this pool. `None`: none says it, or nobody has verified who
    /// they are.
    pub(crate) fn member_until_ms(&self, pool: &str) -> Option<i64> {
        let by = self.by.as_ref()?;
        let is_proved = by.verified && by.issuer.as_deref().is_some_and(|issuer| issuer != KEY_ISSUER);
        let member = self.member.as_ref().filter(|_| is_proved)?;
        member.pools.iter().any(|name| name == pool).then_some(member.until_ms)
    }

    /// Gathers the evidence of this decision, if it is refused, with that of others in the same request.
    #[doc(hidden)]
    pub fn gathered(mut self, gathered: &Gathered) -> Self {
        self.gathered = Some(gathered.clone());
        self
    }

    /// Why. The model is told, marked as the word of a human.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// `resolution_data`: what goes with the decision. With a yes, one key of it may change the call:
    ///
    /// - `{"edited_args": {…}}`: all arguments anew. They are checked against the tool's schema and make a new version, for
    ///   which no earlier yes counts. Where one person decides, it is approved with that; with a quorum of two or more the
    ///   editor's own yes does not count, and the row stays pending. The same arguments again are no edit.
    /// - `{"values": {…}}`: fills what a call for user input still lacks, and only the fields that are to be filled. So does a
    ///   flat object whose keys are all such fields.
    /// - `{"result": "…"}`: what another system gave, for a call with `external_execution`.
    ///
    /// Anything else is kept as it is. What cannot be is refused: a number that is not exact in JSON, and more than 64 lists
    /// and objects within each other.
    pub fn data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// Lets the run go on after an accepted restore, with a yes to this call: the approver knows that it may have been decided
    /// and executed in the history that was lost.
    pub fn acknowledge_restore(mut self) -> Self {
        self.acknowledge_restore = true;
        self
    }

    /// The digest of the version the decider saw. Any other current version is refused. Needed to approve what was edited
    /// since it was asked for.
    pub fn digest(mut self, digest: impl Into<String>) -> Self {
        self.digest = Some(digest.into());
        self
    }
}
