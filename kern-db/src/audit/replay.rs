//! The transition table once more, from the log's side: what the entries say happened, without I/O.
//!
//! Written from the table and not from the transitions: an entry is taken only where the table has a line that leads there.
//! What comes out is what every row has to say.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use serde::{Deserialize, Deserializer};

use crate::records::principal::{Actor, Principal};
use crate::{ApprovalStatus, Authority, ExecutionStatus, RunStatus};

use super::line::Line;

/// Why an entry cannot stand where it stands.
pub(super) type Wrong = Cow<'static, str>;

/// A SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sha([u8; 32]);

impl Sha {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    pub(super) fn is(&self, text: &str) -> bool {
        Self::parse(text).as_ref() == Some(self)
    }
}

/// What the payloads of entries say, as far as rows have to agree with it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Said<'a> {
    #[serde(borrow)]
    agent_id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "present")]
    agent_name: Option<Option<Cow<'a, str>>>,
    #[serde(borrow)]
    session_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    snapshot_digest: Option<&'a str>,
    calls: Option<u32>,
    attention: bool,
    fence: Option<i64>,
    recoveries: Option<u32>,
    attempt: Option<u32>,
    version: Option<u32>,
    generation: Option<u32>,
    #[serde(borrow)]
    status: Option<&'a str>,
    #[serde(borrow, rename = "as")]
    settled_as: Option<&'a str>,
    #[serde(borrow)]
    policy_digest: Option<&'a str>,
    #[serde(borrow)]
    digest: Option<&'a str>,
    expires_at: Option<f64>,
    valid_until_ms: Option<f64>,
    authority: Option<Authority>,
    #[serde(borrow)]
    tool_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    schema_hash: Option<&'a str>,
    edited_by: Option<Principal>,
    #[serde(borrow)]
    note: Option<Cow<'a, str>>,
    #[serde(borrow)]
    why: Option<Cow<'a, str>>,
    #[serde(borrow)]
    rest: Option<&'a str>,
    unfilled: Vec<String>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    members: Vec<String>,
    #[serde(borrow)]
    data: Option<&'a str>,
    #[serde(borrow)]
    asked: Vec<Asked<'a>>,
    before: Before<'a>,
    /// The time that the transaction's rows carry, where the log's is later.
    at_ms: Option<i64>,
}

/// Tells a key that is null from one that is not there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A call that no approval row asks for.
#[derive(Debug, Deserialize)]
struct Asked<'a> {
    index: u32,
    #[serde(borrow)]
    digest: &'a str,
    #[serde(borrow)]
    policy_digest: &'a str,
    #[serde(borrow)]
    rest: &'a str,
    #[serde(default)]
    unfilled: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Before<'a> {
    #[serde(borrow)]
    approval_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    execution_id: Option<Cow<'a, str>>,
}

/// Everything that the log says about every object.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) runs: HashMap<Box<str>, Run>,
    /// Which call an approval is about.
    pub(super) approvals: HashMap<Box<str>, Place>,
    pub(super) executions: u64,
    pub(super) pools: HashMap<Box<str>, Pool>,
    actors: HashMap<Box<str>, u32>,
    pub(super) who: Vec<Who>,
}

/// A pool as it was last set.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) seq: i64,
    pub(super) members: String,
    pub(super) by: u32,
    pub(super) at_ms: i64,
}

/// Where a call is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) run: Box<str>,
    pub(super) turn: u32,
    pub(super) idx: u32,
}

/// Somebody that entries name.
#[derive(Debug)]
pub(super) struct Who {
    /// As rows name them. `None`: nobody that a row names.
    pub(super) principal: Option<String>,
    pub(super) person: Option<Principal>,
    pub(super) voter_key: String,
    pub(super) shown: String,
}

#[derive(Debug)]
pub(super) struct Run {
    /// Whether its row was met.
    pub(super) met: AtomicBool,
    pub(super) seq: i64,
    pub(super) requester: u32,
    pub(super) agent_id: Box<str>,
    /// `None`: the entry is older than this word.
    pub(super) agent_name: Option<Option<Box<str>>>,
    pub(super) session_id: Box<str>,
    pub(super) status: RunStatus,
    pub(super) turn: u32,
    pub(super) recoveries: u32,
    pub(super) attention: bool,
    pub(super) fence: i64,
    /// `None`: nothing has been said of it yet.
    pub(super) snapshot: Option<Sha>,
    pub(super) started_ms: i64,
    pub(super) changed_ms: i64,
    pub(super) turns: Vec<Turn>,
    /// In order.
    pub(super) calls: Vec<Call>,
}

/// A committed turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) turn: u32,
    /// How many calls it has.
    pub(super) calls: u32,
    pub(super) at_ms: i64,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) turn: u32,
    pub(super) idx: u32,
    pub(super) generation: u32,
    pub(super) version: u32,
    /// Of the current version.
    pub(super) digest: Sha,
    /// The digests of version 0 and those after it. `None`: the log does not say what was asked first.
    pub(super) earlier: Option<Vec<Sha>>,
    /// Of the policy as it was asked with, which covers the digest of version 0.
    pub(super) policy: Option<Sha>,
    pub(super) rest: Option<Sha>,
    /// The arguments that are left to people. `None`: the log does not say it.
    pub(super) unfilled: Option<Vec<String>>,
    pub(super) answer: Option<Answered>,
    pub(super) approvals: Vec<Approval>,
    pub(super) executions: Vec<Execution>,
    pub(super) seq: i64,
}

#[derive(Debug)]
pub(super) struct Answered {
    pub(super) confirmed: bool,
    pub(super) digest: Sha,
    pub(super) by: u32,
    pub(super) note: Option<Box<str>>,
    pub(super) at_ms: i64,
}

#[derive(Debug)]
pub(super) struct Approval {
    pub(super) id: Box<str>,
    pub(super) seq: i64,
    pub(super) generation: u32,
    /// Whether it decides. Others are records.
    pub(super) required: bool,
    pub(super) status: ApprovalStatus,
    pub(super) version: u32,
    pub(super) digest: Sha,
    pub(super) tool: Option<Tool>,
    pub(super) expires_at: Option<f64>,
    pub(super) edited_by: Option<String>,
    pub(super) resolver: Option<u32>,
    pub(super) note: Option<Box<str>>,
    /// `None`: the entry does not say it.
    pub(super) data: Option<Sha>,
    pub(super) asked_ms: i64,
    pub(super) resolved_ms: Option<i64>,
    pub(super) hidden_ms: Option<i64>,
    pub(super) votes: Vec<Vote>,
    /// How many of their rows were met.
    pub(super) voted: AtomicUsize,
}

/// The tool that a row was asked for, where the entry says so.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) version: Box<str>,
    pub(super) schema: Sha,
}

#[derive(Debug)]
pub(super) struct Vote {
    pub(super) version: u32,
    pub(super) digest: Sha,
    pub(super) by: u32,
    pub(super) at_ms: i64,
    pub(super) data: Option<Sha>,
    /// Whether the entry says a note.
    pub(super) noted: bool,
}

#[derive(Debug)]
pub(super) struct Execution {
    pub(super) id: Box<str>,
    pub(super) seq: i64,
    pub(super) generation: u32,
    pub(super) authority: Authority,
    pub(super) status: ExecutionStatus,
    pub(super) attempt: u32,
    pub(super) fence: i64,
    pub(super) digest: Sha,
    pub(super) valid_until_ms: Option<f64>,
    /// Of what it gave: its result or its error.
    pub(super) result: Option<Sha>,
    pub(super) why: Option<Box<str>>,
    pub(super) settled: Option<(u32, Option<Box<str>>)>,
    pub(super) made_ms: i64,
    pub(super) started_ms: Option<i64>,
    pub(super) ended_ms: Option<i64>,
}

/// The words of the table that change a state.
const ACTIONS: &[&str] = &[
    "run_started",
    "turn_committed",
    "run_paused",
    "run_claimed",
    "run_recovered",
    "run_completed",
    "run_failed",
    "run_cancelled",
    "requested",
    "recorded",
    "voted",
    "edited",
    "approved",
    "rejected",
    "expired",
    "cancelled",
    "hidden",
    "confirmed",
    "confirmed_implied",
    "user_rejected",
    "ready",
    "executing",
    "succeeded",
    "failed",
    "unknown",
    "retry",
    "abandoned",
    "settled",
    "run_again",
    "asked_again",
    "pool_set",
    "erased",
];

fn check(holds: bool, otherwise: impl Into<Wrong>) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

fn need<T>(value: Option<T>, name: &'static str) -> Result<T, Wrong> {
    value.ok_or_else(|| format!("it names no {name}").into())
}

impl Replay {
    /// Takes the next entry.
    pub(super) fn step(&mut self, line: &Line<'_>) -> Result<(), Wrong> {
        let by = self.who(line.actor)?;
        if line.evidence {
            return check(!ACTIONS.contains(&line.action), "it is marked as evidence, and its action changes a state");
        }
        let said: Said<'_> =
            serde_json::from_str(line.payload).map_err(|error| format!("it is unreadable: audit.payload: {error}"))?;
        let at_ms = said.at_ms.unwrap_or(line.time_ms);
        check(at_ms <= line.time_ms, "its rows are said to be younger than it is")?;
        if line.action == "pool_set" {
            check(line.run_id.is_none(), "a pool has no run")?;
            let name = need(said.name.as_deref(), "pool")?;
            let members = crate::digest::canonical(&said.members);
            self.pools.insert(name.into(), Pool { seq: line.seq, members, by, at_ms });
            return Ok(());
        }
        let run_id = need(line.run_id, "run")?;
        if line.action == "run_started" {
            check(!self.runs.contains_key(run_id), "the run has started before")?;
            self.runs.insert(run_id.into(), Run::started(line, &said, by, at_ms)?);
            return Ok(());
        }
        let run = self.runs.get_mut(run_id).ok_or("its run has not started")?;
        let step = Step { line, said: &said, by, at_ms };
        match line.action {
            "turn_committed" | "run_paused" | "run_claimed" | "run_recovered" | "run_completed" | "run_failed"
            | "run_cancelled" => run.step(&step),
            "asked_again" => run.asked_again(&step),
            "confirmed" | "confirmed_implied" | "user_rejected" => run.answered(&step),
            "requested" | "recorded" => {
                let id = need(line.approval_id, "approval")?;
                let (turn, idx) = step.place()?;
                check(!self.approvals.contains_key(id), "the approval was asked for before")?;
                self.approvals.insert(id.into(), Place { run: run_id.into(), turn, idx });
                run.asked(&step, id)
            }
            "voted" | "edited" | "approved" | "rejected" | "expired" | "cancelled" | "hidden" => run.decided(&step),
            "ready" | "executing" | "succeeded" | "failed" | "unknown" | "retry" | "abandoned" | "settled"
            | "run_again" => {
                self.executions += u64::from(run.executed(&step)?);
                Ok(())
            }
            "erased" => run.erased(&step),
            other => Err(format!("no line of the table is called `{other}`").into()),
        }
    }

    fn who(&mut self, actor: &str) -> Result<u32, Wrong> {
        if let Some(known) = self.actors.get(actor) {
            return Ok(*known);
        }
        let read: Actor =
            serde_json::from_str(actor).map_err(|error| format!("it is unreadable: audit.actor: {error}"))?;
        let shown = read.to_string();
        let who = match &read {
            Actor::Person { principal } => {
                let principal = Principal::from(principal);
                Who {
                    voter_key: crate::digest::canonical(&(&principal.issuer, &principal.subject)),
                    principal: Some(crate::digest::canonical(&principal)),
                    person: Some(principal),
                    shown,
                }
            }
            _ => Who { principal: None, person: None, voter_key: "-".to_owned(), shown },
        };
        let number = u32::try_from(self.who.len()).map_err(|_| "too many people")?;
        self.who.push(who);
        self.actors.insert(actor.into(), number);
        Ok(number)
    }
}

/// One entry, with what its payload says.
struct Step<'a> {
    line: &'a Line<'a>,
    said: &'a Said<'a>,
    by: u32,
    at_ms: i64,
}

impl Step<'_> {
    fn place(&self) -> Result<(u32, u32), Wrong> {
        Ok((need(self.line.turn, "turn")?, need(self.line.idx, "place of a call")?))
    }

    fn digest(&self) -> Result<Sha, Wrong> {
        need(self.line.call_digest.and_then(Sha::parse), "digest of a call")
    }

    fn note(&self) -> Option<Box<str>> {
        self.said.note.as_deref().map(Box::from)
    }
}

fn sha(text: Option<&str>) -> Option<Sha> {
    text.and_then(Sha::parse)
}

impl Run {
    fn started(line: &Line<'_>, said: &Said<'_>, by: u32, at_ms: i64) -> Result<Self, Wrong> {
        Ok(Self {
            met: AtomicBool::new(false),
            seq: line.seq,
            requester: by,
            agent_id: need(said.agent_id.as_deref(), "agent")?.into(),
            agent_name: said.agent_name.as_ref().map(|name| name.as_deref().map(Box::from)),
            session_id: need(said.session_id.as_deref(), "session")?.into(),
            status: RunStatus::Running,
            turn: 0,
            recoveries: 0,
            attention: false,
            fence: 1,
            snapshot: sha(said.snapshot_digest),
            started_ms: at_ms,
            changed_ms: at_ms,
            turns: Vec::new(),
            calls: Vec::new(),
        })
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.status, RunStatus::Completed | RunStatus::Error | RunStatus::Cancelled)
    }

    fn step(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        use RunStatus::{Cancelled, Completed, Error, Paused, Running};
        let Step { line, said, at_ms, .. } = step;
        let (from, to): (&[RunStatus], RunStatus) = match line.action {
            "turn_committed" => (&[Running], Running),
            "run_paused" | "run_recovered" => (&[Running], Paused),
            "run_claimed" => (&[Paused], Running),
            "run_completed" => (&[Running], Completed),
            "run_failed" => (&[Running], Error),
            _ => (&[Paused, Running], Cancelled),
        };
        check(from.contains(&self.status), format!("`{}`, and the run is {}", line.action, self.status))?;
        let turn = need(line.turn, "turn")?;
        match said.calls {
            // R8 of a run that starts with it has no turn; R2 makes one.
            Some(calls) if matches!(line.action, "turn_committed" | "run_paused") => {
                check(turn > self.turn, "the turn is over")?;
                self.turns.push(Turn { turn, calls, at_ms: *at_ms });
                self.turn = turn;
                for asked in &said.asked {
                    let digest = Sha::parse(asked.digest).ok_or("it names no digest of a call")?;
                    let call = self.call(turn, asked.index, digest, step);
                    call.policy = Sha::parse(asked.policy_digest);
                    call.earlier = Some(Vec::new());
                    call.rest = Sha::parse(asked.rest);
                    call.unfilled = Some(asked.unfilled.clone());
                }
            }
            _ => check(turn == self.turn, "it is about another turn than the run's")?,
        }
        match line.action {
            "run_claimed" => {
                check(said.fence == self.fence.checked_add(1), "its fence does not follow")?;
                self.fence += 1;
            }
            "run_recovered" | "run_cancelled" => self.fence = self.fence.saturating_add(1),
            "run_failed" if said.recoveries.is_some() => self.fence = self.fence.saturating_add(1),
            _ => {}
        }
        if matches!(line.action, "run_recovered" | "run_failed")
            && let Some(recoveries) = said.recoveries
        {
            check(recoveries == self.recoveries + 1, "the run was recovered another number of times")?;
            self.recoveries = recoveries;
        }
        match line.action {
            "run_paused" => self.attention = said.attention || (self.attention && said.calls.is_some()),
            "run_claimed" => self.attention = false,
            "run_completed" => {
                check(self.calls.iter().all(Call::has_outcome), "the run is complete, and a call has no outcome")?;
            }
            _ => {}
        }
        if let Some(snapshot) = said.snapshot_digest {
            self.snapshot = Some(Sha::parse(snapshot).ok_or("its snapshot has no digest")?);
        }
        (self.status, self.seq, self.changed_ms) = (to, line.seq, *at_ms);
        Ok(())
    }

    /// The call in a place; a new one, as it was asked, where nothing has been said of it.
    fn call(&mut self, turn: u32, idx: u32, digest: Sha, step: &Step<'_>) -> &mut Call {
        let found = self.calls.binary_search_by_key(&(turn, idx), |call| (call.turn, call.idx));
        let place = found.unwrap_or_else(|place| {
            let call = Call {
                turn,
                idx,
                generation: 0,
                version: 0,
                digest,
                earlier: None,
                policy: None,
                rest: None,
                unfilled: None,
                answer: None,
                approvals: Vec::new(),
                executions: Vec::new(),
                seq: step.line.seq,
            };
            self.calls.insert(place, call);
            place
        });
        let call = &mut self.calls[place];
        call.seq = step.line.seq;
        call
    }

    fn known(&mut self, step: &Step<'_>) -> Result<&mut Call, Wrong> {
        let place = step.place()?;
        let found = self.calls.binary_search_by_key(&place, |call| (call.turn, call.idx));
        let call = &mut self.calls[found.map_err(|_| "nobody has asked for this call")?];
        call.seq = step.line.seq;
        Ok(call)
    }

    fn asked_again(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        let Step { line, said, at_ms, .. } = step;
        check(self.status == RunStatus::Paused, "only calls of a paused run are asked again")?;
        let (digest, (turn, idx)) = (step.digest()?, step.place()?);
        check(turn == self.turn, "it is about another turn than the run's")?;
        let fence = need(said.fence, "fence")?;
        check(fence == self.fence || Some(fence) == self.fence.checked_add(1), "its fence does not follow")?;
        self.fence = fence;
        if let Some(snapshot) = said.snapshot_digest {
            self.snapshot = Some(Sha::parse(snapshot).ok_or("its snapshot has no digest")?);
        }
        (self.seq, self.changed_ms) = (line.seq, *at_ms);
        let call = self.call(turn, idx, digest, step);
        check(said.generation == call.generation.checked_add(1), "the call was asked another number of times")?;
        if let Some(id) = said.before.execution_id.as_deref() {
            let execution = call.executions.iter().find(|execution| &*execution.id == id);
            let over = execution.is_some_and(|it| it.status == ExecutionStatus::Abandoned && it.attempt == 0);
            check(over, "what has started is not asked again")?;
        }
        if let Some(id) = said.before.approval_id.as_deref() {
            let approval = call.approvals.iter().find(|approval| &*approval.id == id);
            let over = approval.is_some_and(|approval| approval.status != ApprovalStatus::Pending);
            check(over, "what was asked before is still open")?;
        }
        check(call.answer.as_ref().is_none_or(|answer| answer.confirmed), "a no is final")?;
        call.next_generation(digest, said);
        Ok(())
    }

    fn answered(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        let Step { line, said, by, at_ms } = step;
        check(self.status == RunStatus::Paused, "answers are taken while the run is paused")?;
        let (digest, (turn, idx)) = (step.digest()?, step.place()?);
        check(turn == self.turn, "it is about another turn than the run's")?;
        let call = self.call(turn, idx, digest, step);
        let implied = line.action == "confirmed_implied";
        let legal = match &call.answer {
            None => true,
            Some(answer) => answer.confirmed && !implied,
        };
        check(legal, "the requester has said something else before")?;
        match said.version {
            // A version that nobody else decides about: what the requester filled in.
            Some(version) if call.earlier.is_some() => {
                check(Some(version) == call.version.checked_add(1), "versions follow each other")?;
                call.edit(version, digest);
            }
            Some(version) => (call.version, call.unfilled) = (version, Some(Vec::new())),
            None => {}
        }
        check(call.digest == digest, "it is to another version than the current one")?;
        let confirmed = line.action != "user_rejected";
        call.answer = Some(Answered { confirmed, digest, by: *by, note: step.note(), at_ms: *at_ms });
        Ok(())
    }

    /// A1 and A9.
    fn asked(&mut self, step: &Step<'_>, id: &str) -> Result<(), Wrong> {
        let Step { line, said, by, at_ms } = step;
        let (digest, (turn, idx)) = (step.digest()?, step.place()?);
        let required = line.action == "requested";
        check(!self.has_ended(), "the run has ended")?;
        check(turn == self.turn, "it is about another turn than the run's")?;
        let call = self.call(turn, idx, digest, step);
        check(call.digest == digest, "it is about another version than the current one")?;
        let generation = call.generation;
        check(call.approvals.iter().all(|row| row.generation < generation), "the call was asked for already")?;
        let status = match (required, said.status) {
            (true, _) => ApprovalStatus::Pending,
            (false, Some("approved")) => ApprovalStatus::Approved,
            (false, Some("rejected")) => ApprovalStatus::Rejected,
            (false, _) => return Err("a record is born decided".into()),
        };
        let tool = match (&said.tool_version, sha(said.schema_hash)) {
            (Some(version), Some(schema)) => Some(Tool { version: (&**version).into(), schema }),
            _ => None,
        };
        if required {
            call.earlier = Some(Vec::new());
            call.policy = sha(said.policy_digest);
            call.rest = sha(said.rest);
            call.unfilled = said.rest.map(|_| said.unfilled.clone());
        }
        call.approvals.push(Approval {
            id: id.into(),
            seq: line.seq,
            generation,
            required,
            status,
            version: said.version.unwrap_or(0),
            digest,
            tool,
            expires_at: said.expires_at,
            edited_by: said.edited_by.as_ref().map(crate::digest::canonical),
            resolver: (!required).then_some(*by),
            note: call.answer.as_ref().filter(|_| !required).and_then(|answer| answer.note.clone()),
            data: None,
            asked_ms: *at_ms,
            resolved_ms: (!required).then_some(*at_ms),
            hidden_ms: None,
            votes: Vec::new(),
            voted: AtomicUsize::new(0),
        });
        Ok(())
    }

    /// What happens to an approval.
    fn decided(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        use ApprovalStatus::{Approved, Cancelled, Expired, Pending, Rejected};
        let Step { line, said, by, at_ms } = step;
        let (digest, id) = (step.digest()?, need(line.approval_id, "approval")?);
        // T: nobody takes back what falls with its run.
        let ended = self.has_ended();
        let call = self.known(step)?;
        let (generation, mut version) = (call.generation, None);
        let approval = call.approvals.iter_mut().rfind(|approval| &*approval.id == id);
        let approval = approval.ok_or("nobody has asked for this approval")?;
        approval.seq = line.seq;
        check(approval.hidden_ms.is_none(), "nothing follows on hiding")?;
        if line.action == "hidden" {
            check(approval.status != Pending, "what is pending is cancelled before it is hidden")?;
            check(approval.digest == digest, "it is about another version than the current one")?;
            approval.hidden_ms = Some(*at_ms);
            return Ok(());
        }
        check(approval.status == Pending, format!("`{}`, and the approval is {}", line.action, approval.status))?;
        if line.action == "edited" {
            check(!ended && approval.generation == generation, "it is over")?;
            check(said.version == approval.version.checked_add(1), "versions follow each other")?;
            approval.version += 1;
            approval.digest = digest;
            approval.edited_by = said.edited_by.as_ref().map(crate::digest::canonical);
            version = Some(approval.version);
        }
        check(approval.digest == digest, "it is about another version than the current one")?;
        let now_at = approval.version;
        match line.action {
            "voted" => {
                check(!ended, "the run has ended")?;
                check(said.version == Some(now_at), "it is a vote for another version")?;
                let again = |vote: &Vote| vote.version == now_at && vote.by == *by;
                check(!approval.votes.iter().any(again), "one person votes once")?;
                let data = sha(said.data);
                approval.votes.push(Vote {
                    version: now_at,
                    digest,
                    by: *by,
                    at_ms: *at_ms,
                    data,
                    noted: said.note.is_some(),
                });
                return Ok(());
            }
            "edited" => {}
            "approved" => {
                check(!ended, "the run has ended")?;
                check(approval.votes.iter().any(|vote| vote.version == now_at), "nobody has voted for it")?;
                approval.resolve(Approved, Some(*by), step);
            }
            "rejected" => {
                check(!ended, "the run has ended")?;
                approval.resolve(Rejected, Some(*by), step);
            }
            "expired" => approval.resolve(Expired, None, step),
            _ => approval.resolve(Cancelled, (!ended).then_some(*by), step),
        }
        if let Some(version) = version {
            call.edit(version, digest);
        }
        Ok(())
    }

    /// What happens to an execution. Says whether it is a new one.
    fn executed(&mut self, step: &Step<'_>) -> Result<bool, Wrong> {
        use ExecutionStatus::{Abandoned, Executing, Failed, Ready, Succeeded, Unknown};
        let Step { line, said, by, at_ms } = step;
        let (digest, id) = (step.digest()?, need(line.execution_id, "execution")?);
        let (status, ended) = (self.status, self.has_ended());
        let call = self.known(step)?;
        let found = call.executions.iter().rposition(|execution| &*execution.id == id);
        let Some(found) = found else {
            let made = call.make(step, id, digest)?;
            if line.action == "executing" {
                check(status == RunStatus::Running, "nobody drives the run")?;
            } else {
                check(!ended, "the run has ended")?;
            }
            call.executions.push(made);
            return Ok(true);
        };
        let gate_is_open = call.gate_is_open(&call.executions[found]);
        let execution = &mut call.executions[found];
        check(execution.digest == digest, "it is about another version than the one that was decided on")?;
        let to = match line.action {
            "executing" => Executing,
            "succeeded" => Succeeded,
            "failed" => Failed,
            "unknown" => Unknown,
            "retry" => Ready,
            "abandoned" | "run_again" => Abandoned,
            "settled" => match said.settled_as {
                Some("succeeded") => Succeeded,
                Some("failed") => Failed,
                Some("abandoned") => Abandoned,
                _ => return Err("it does not say how the call ended".into()),
            },
            _ => return Err("the execution is made for a second time".into()),
        };
        let fits = match (line.action, execution.status) {
            ("executing", Ready) => gate_is_open && status == RunStatus::Running,
            // From READY only the result of another system.
            ("succeeded", Ready) => execution.attempt == 0 && said.fence.is_none() && gate_is_open,
            ("succeeded" | "failed", Executing) => said.fence == Some(execution.fence),
            ("unknown", Executing) | ("settled" | "run_again", Unknown) => true,
            ("retry", Executing) => !ended,
            ("unknown", Ready) => execution.attempt > 0,
            ("abandoned", Ready) => execution.attempt == 0,
            _ => false,
        };
        check(fits, format!("`{}`, and the execution is {}", line.action, execution.status))?;
        (execution.status, execution.seq) = (to, line.seq);
        match line.action {
            "executing" => {
                check(said.attempt == execution.attempt.checked_add(1), "its attempts do not follow")?;
                check(said.fence == execution.fence.checked_add(1), "its fence does not follow")?;
                (execution.attempt, execution.fence) = (execution.attempt + 1, execution.fence + 1);
                (execution.started_ms, execution.why) = (Some(*at_ms), None);
            }
            "succeeded" | "failed" => {
                execution.result = Some(sha(said.digest).ok_or("it has no digest of the outcome")?);
                execution.ended_ms = Some(*at_ms);
            }
            "unknown" | "retry" => execution.why = said.why.as_deref().map(Box::from),
            "abandoned" => {
                execution.why = said.why.as_deref().map(Box::from);
                execution.ended_ms = Some(*at_ms);
            }
            _ => {
                execution.settled = Some((*by, step.note()));
                (execution.result, execution.why) = (sha(said.digest), None);
                execution.ended_ms = Some(*at_ms);
            }
        }
        if line.action == "run_again" {
            call.next_generation(digest, said);
        }
        Ok(false)
    }

    fn erased(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        let Step { line, said, .. } = step;
        check(self.has_ended(), "only what has ended is erased")?;
        self.snapshot = Some(sha(said.snapshot_digest).ok_or("its snapshot has no digest")?);
        self.seq = line.seq;
        Ok(())
    }
}

impl Call {
    fn has_outcome(&self) -> bool {
        let open = self.approvals.iter().any(|approval| approval.status == ApprovalStatus::Pending)
            || self.executions.iter().any(|execution| {
                matches!(
                    execution.status,
                    ExecutionStatus::Ready | ExecutionStatus::Executing | ExecutionStatus::Unknown
                )
            });
        !open
    }

    fn edit(&mut self, version: u32, digest: Sha) {
        self.earlier.get_or_insert_default().push(self.digest);
        (self.version, self.digest) = (version, digest);
        self.unfilled = Some(Vec::new());
    }

    fn next_generation(&mut self, digest: Sha, said: &Said<'_>) {
        self.generation += 1;
        self.version = 0;
        self.digest = digest;
        self.earlier = Some(Vec::new());
        self.answer = None;
        self.policy = sha(said.policy_digest);
        self.rest = sha(said.rest);
        self.unfilled = said.rest.map(|_| said.unfilled.clone());
    }

    /// Whether what allows an execution still does.
    fn gate_is_open(&self, execution: &Execution) -> bool {
        let said_no = self.answer.as_ref().is_some_and(|answer| !answer.confirmed);
        let allowed = match execution.authority {
            Authority::Approval => self.approvals.iter().rev().any(|approval| {
                approval.id == execution.id
                    && approval.required
                    && approval.status == ApprovalStatus::Approved
                    && approval.hidden_ms.is_none()
                    && approval.digest == execution.digest
            }),
            Authority::Answer => {
                self.answer.as_ref().is_some_and(|answer| answer.confirmed && answer.digest == execution.digest)
            }
            Authority::Policy => true,
        };
        allowed && !said_no
    }

    /// X1 and X2.
    fn make(&self, step: &Step<'_>, id: &str, digest: Sha) -> Result<Execution, Wrong> {
        let Step { line, said, at_ms, .. } = step;
        let generation = self.generation;
        check(self.executions.iter().all(|other| other.generation < generation), "the call has an execution already")?;
        let starts = match line.action {
            "ready" => false,
            "executing" => true,
            _ => return Err("nothing has allowed this execution".into()),
        };
        let authority = if starts { Authority::Policy } else { need(said.authority, "authority")? };
        let mut execution = Execution {
            id: id.into(),
            seq: line.seq,
            generation,
            authority,
            status: ExecutionStatus::Ready,
            attempt: 0,
            fence: 0,
            digest,
            valid_until_ms: said.valid_until_ms,
            result: None,
            why: None,
            settled: None,
            made_ms: *at_ms,
            started_ms: None,
            ended_ms: None,
        };
        if starts {
            let recorded = self.approvals.iter().any(|row| {
                *row.id == *id && !row.required && row.digest == digest && row.status == ApprovalStatus::Approved
            });
            check(recorded, "a call starts without a `ready` only where its record was made before")?;
            check(said.attempt == Some(1) && said.fence == Some(1), "the first start is not the first")?;
            execution.status = ExecutionStatus::Executing;
            (execution.attempt, execution.fence, execution.started_ms) = (1, 1, Some(*at_ms));
        }
        check(self.gate_is_open(&execution), "nothing has allowed this execution")?;
        Ok(execution)
    }
}

impl Approval {
    fn resolve(&mut self, status: ApprovalStatus, by: Option<u32>, step: &Step<'_>) {
        self.status = status;
        self.resolver = by;
        self.note = step.note();
        self.data = sha(step.said.data);
        self.resolved_ms = Some(step.at_ms);
    }
}
