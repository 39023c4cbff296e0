//! The rules of approval as functions without I/O: whether a gate is open, where a call stands, whether its stored
//! copies agree. The stores ask them inside the transaction that depends on the answer.

use crate::digest::{CallFields, ViewFields, call_digest, canonical, policy_digest, sha256, view_digest};
use crate::records::approval::{ApprovalRow, VoteRow};
use crate::records::audit::AuditRow;
use crate::records::call::{ATTEMPTS, CallPolicy, CallRow, Effect, Outcome, Standing, Tier};
use crate::records::execution::ExecutionRow;
use crate::records::principal::{Actor, Principal};
use crate::records::run::RunRow;
use crate::{Answer, ApprovalStatus, ApprovalType, Authority, Error, ExecutionStatus, PauseType, Result, RunStatus};

/// A call with its rows, as one transaction read them.
#[derive(Clone, Debug)]
pub(crate) struct CallRows {
    pub(crate) call: CallRow,
    pub(crate) policy: CallPolicy,
    pub(crate) approval: Option<ApprovalRow>,
    /// The latest generation.
    pub(crate) execution: Option<ExecutionRow>,
    /// Whether it was started in this generation or an earlier one: it may have happened.
    pub(crate) has_started: bool,
}

/// Whether a call may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    AwaitsApproval,
    AwaitsRequester,
    Closed(Outcome),
    /// The row that decides is not there.
    Missing,
}

/// Says whether a call may start: required: approved; two-stage: approved, and confirmed by the requester for the very
/// version that was approved; user: confirmed for the current version; audit: always.
pub(crate) fn gate(rows: &CallRows) -> Gate {
    let CallRows { call, policy, approval, .. } = rows;
    if call.answer == Some(Answer::Rejected) {
        return Gate::Closed(Outcome::UserRejected(call.answer_note.clone()));
    }
    match policy.tier {
        Tier::Audit => Gate::Open,
        Tier::User if is_confirmed(call, call.version, Some(&call.digest)) => Gate::Open,
        Tier::User => Gate::AwaitsRequester,
        Tier::Required | Tier::TwoStage => {
            let Some(approval) = approval else { return Gate::Missing };
            match approval.status {
                ApprovalStatus::Pending => Gate::AwaitsApproval,
                ApprovalStatus::Rejected => Gate::Closed(Outcome::Rejected(note(approval))),
                ApprovalStatus::Expired => Gate::Closed(Outcome::Expired),
                ApprovalStatus::Cancelled => Gate::Closed(Outcome::Cancelled),
                ApprovalStatus::Approved if approval.deleted_at.is_some() => Gate::Closed(Outcome::Cancelled),
                ApprovalStatus::Approved
                    if policy.tier == Tier::TwoStage
                        && !is_confirmed(call, approval.version, approval.decided_digest.as_deref()) =>
                {
                    Gate::AwaitsRequester
                }
                ApprovalStatus::Approved => Gate::Open,
            }
        }
    }
}

/// Whether the requester has confirmed this version. An edit back to the old arguments has the old digest and is still another
/// version: without the number, approving it would run what the requester was never shown as current.
pub(crate) fn is_confirmed(call: &CallRow, version: u32, digest: Option<&str>) -> bool {
    call.answer == Some(Answer::Confirmed)
        && call.confirmed_version == Some(version)
        && digest.is_some()
        && call.answer_digest.as_deref() == digest
}

/// Says where a call stands. Its execution speaks first: what has started cannot be undone by a later answer.
pub(crate) fn standing(rows: &CallRows) -> Standing {
    if let Some(execution) = &rows.execution {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match execution.status {
            ExecutionStatus::Executing => return Standing::Executing,
            ExecutionStatus::Unknown => return Standing::Unknown,
            ExecutionStatus::Succeeded => return Standing::Outcome(Outcome::Succeeded(text(&execution.result))),
            ExecutionStatus::Failed => return Standing::Outcome(Outcome::Failed(text(&execution.error))),
            ExecutionStatus::Abandoned => {
                return Standing::Outcome(match gate(rows) {
                    // Why the gate closed says more than that the execution was given up for it.
                    Gate::Closed(outcome) => outcome,
                    _ => Outcome::Abandoned(text(&execution.error)),
                });
            }
            ExecutionStatus::Ready => {}
        }
    }
    match gate(rows) {
        Gate::Closed(outcome) => Standing::Outcome(outcome),
        Gate::AwaitsApproval => Standing::AwaitsApproval,
        Gate::AwaitsRequester => Standing::AwaitsRequester,
        Gate::Missing => Standing::Missing,
        // A call that another system executes is never started here: its result is what is still missing.
        Gate::Open if rows.policy.pause == Some(PauseType::ExternalExecution) => Standing::AwaitsRequester,
        Gate::Open if rows.execution.is_none() && rows.policy.tier != Tier::Audit => Standing::Missing,
        Gate::Open => Standing::Open,
    }
}

/// Whether an approval is past its time. At the very moment it is.
pub(crate) fn is_due(approval: &ApprovalRow, now: i64) -> bool {
    let due = approval.expires_at.map(|expires_at| expires_at.saturating_mul(1000));
    due.is_some_and(|due| now >= due)
}

/// Whether an execution that has not started is past the time it may be used in. At the very moment it is.
pub(crate) fn is_void(execution: &ExecutionRow, now: i64) -> bool {
    execution.status == ExecutionStatus::Ready && execution.valid_until_ms.is_some_and(|valid_until| now >= valid_until)
}

/// Whether another system may have acted on a call: it executes it, and was allowed to.
pub(crate) fn is_exposed(rows: &CallRows) -> bool {
    rows.policy.pause == Some(PauseType::ExternalExecution) && gate(rows) == Gate::Open
}

fn note(approval: &ApprovalRow) -> Option<String> {
    let data: serde_json::Value = serde_json::from_str(approval.resolution_data.as_deref()?).ok()?;
    data.get("note")?.as_str().map(str::to_owned)
}

/// Shown = approved = executed: every stored copy of a call agrees with every other and with its digests.
///
/// # Errors
///
/// [`Error::DigestMismatch`] names the copies that do not.
pub(crate) fn check_binding(run: &RunRow, rows: &CallRows) -> Result<()> {
    let CallRows { call, policy, approval, execution, .. } = rows;
    let check = |agrees: bool, what: &'static str| {
        if agrees {
            return Ok(());
        }
        Err(Error::DigestMismatch { run_id: call.run_id.clone(), turn: call.turn, index: call.idx, what })
    };
    let erased = call.erased_at_ms.is_some() || call.salts.as_ref().is_some_and(|salts| salts.0.is_erased());
    // Of a run that has ended nothing starts, whatever its rows say.
    let has_ended = matches!(run.status, RunStatus::Completed | RunStatus::Error | RunStatus::Cancelled);
    check(has_ended || (!erased && run.erased_at_ms.is_none()), "the call and its arguments, which were erased")?;
    check(digest_of(call, &call.arguments) == call.digest, "the call and its digest")?;
    let schema_fits = call.parameters.as_deref().is_none_or(|schema| sha256(schema) == call.schema_hash);
    check(schema_fits, "the call's schema and its hash")?;
    let subject = run.requester.as_ref().map(|requester| &requester.0.subject);
    let issuer = run.requester.as_ref().and_then(|requester| requester.0.issuer.as_ref());
    check(run.user_id.as_ref() == subject && run.issuer.as_ref() == issuer, "the run's user and its requester")?;
    let view = view_digest_of(run, call, approval.as_ref().filter(|_| policy.is_decided_by_row()));
    check(
        policy_digest_of(call, run, approval.as_ref().filter(|_| policy.is_decided_by_row()), &view)
            == call.policy_digest,
        "the policy, or what was shown, and its digest",
    )?;
    check(
        approval.as_ref().map(|approval| &approval.id) == call.approval_id.as_ref(),
        "the call and the approval it names",
    )?;
    if let Some(approval) = approval {
        check(
            approval.tool_args == call.arguments
                && approval.tool_name == call.tool_name
                && approval.tool_call_id == call.tool_call_id
                && (approval.turn, approval.idx, approval.generation) == (call.turn, call.idx, call.generation)
                && approval.run_id == call.run_id,
            "the approval and the call",
        )?;
        check(
            approval.digest == call.digest && approval.version == call.version,
            "the approval's digest and the call's",
        )?;
        check(
            approval.policy == call.policy
                && approval.policy_digest == call.policy_digest
                && approval.requester == run.requester
                && approval.user_id.as_ref() == subject
                && approval.issuer.as_ref() == issuer,
            "the approval's policy and the call's",
        )?;
        // Whose run it is, as the approver is shown it.
        check(
            approval.agent_id.as_ref() == Some(&run.agent_id)
                && approval.source_name == run.agent_name
                && approval.session_id == run.session_id,
            "the approval and the run",
        )?;
        let approval_type = if policy.is_decided_by_row() { ApprovalType::Required } else { ApprovalType::Audit };
        check(
            approval.approval_type == approval_type
                && approval.pause_type == policy.pause.unwrap_or(PauseType::Confirmation)
                && approval.source_type == SOURCE_TYPE,
            "what kind of approval it is and the policy",
        )?;
        // kern asks for runs of agents alone, and writes none of these.
        let others = [&approval.team_id, &approval.workflow_id, &approval.schedule_id, &approval.schedule_run_id];
        check(others.into_iter().all(Option::is_none), "the approval and who asked for it")?;
        check(
            approval.view_digest == view_digest_of(run, call, Some(approval)),
            "what the approval shows and its digest",
        )?;
        // A record is born decided: one that was made pending would be decided by people who were never asked.
        let decided = matches!(approval.status, ApprovalStatus::Approved | ApprovalStatus::Rejected);
        check(policy.is_decided_by_row() || decided, "the record and what was decided")?;
        check(
            approval.status != ApprovalStatus::Approved
                || approval.decided_digest.as_deref() == Some(approval.digest.as_str()),
            "what was decided on and what is there now",
        )?;
    }
    if let Some(execution) = execution {
        check(
            digest_of(call, &execution.arguments) == execution.decided_digest,
            "the execution's arguments and their digest",
        )?;
        check(execution.decided_digest == call.digest, "the execution's digest and the call's")?;
        check(
            execution.tool_name == call.tool_name && execution.generation == call.generation,
            "the execution and the call",
        )?;
        // An execution that an approval allows has the approval's id: one approval, one execution.
        let (authority, named) = match policy.tier {
            Tier::Required | Tier::TwoStage => (Authority::Approval, call.approval_id.as_ref()),
            Tier::User => (Authority::Answer, None),
            Tier::Audit => (Authority::Policy, call.approval_id.as_ref()),
        };
        check(
            execution.authority == authority
                && execution.approval_id.as_ref() == named
                && named.is_none_or(|id| id.as_str() == execution.id.as_str()),
            "the execution and what allows it",
        )?;
        let valid_for = policy.valid_for_ms.filter(|_| policy.tier != Tier::Audit);
        check(
            execution.valid_until_ms == valid_for.map(|valid_for| execution.created_at_ms.saturating_add(valid_for)),
            "how long the approval counts",
        )?;
    }
    Ok(())
}

/// What the rows say happened is what the audit log says happened. Somebody who only changes rows, with whatever digests,
/// starts nothing. `entries` are those about the call.
///
/// # Errors
///
/// [`Error::DigestMismatch`]: an entry is missing, or there is one that the rows hide.
pub(crate) fn check_record(rows: &CallRows, entries: &[AuditRow]) -> Result<()> {
    let CallRows { call, policy, execution, .. } = rows;
    check_asked(rows, entries)?;
    let Some(entries) = of_generation(call, entries) else {
        return Err(not_on_record(call, "the rows and the audit log"));
    };
    // What happens to a row of an older generation says nothing about this one.
    let entries =
        || entries.iter().filter(|entry| entry.approval_id.is_none() || entry.approval_id == call.approval_id);
    let said = |actions: &[&str]| {
        entries().any(|entry| {
            actions.contains(&entry.action.as_str()) && entry.call_digest.as_deref() == Some(call.digest.as_str())
        })
    };
    let confirmed = || {
        entries().any(|entry| {
            matches!(entry.action.as_str(), "confirmed" | "confirmed_implied")
                && entry.call_digest.as_deref() == Some(call.digest.as_str())
                && payload(entry).get("version").and_then(serde_json::Value::as_u64) == Some(u64::from(call.version))
        })
    };
    let approved = || said(&["approved"]) && voters(call, entries()).len() as u64 >= u64::from(policy.quorum);
    let allowed = match policy.tier {
        Tier::Required => approved(),
        Tier::TwoStage => approved() && confirmed(),
        Tier::User => confirmed(),
        Tier::Audit => true,
    };
    let closed = entries().any(|entry| CLOSES.contains(&entry.action.as_str()));
    let startable = match execution {
        Some(execution) => way(policy, execution, entries()).is_some_and(|way| match policy.effect {
            // Made ready, and nothing since then.
            Effect::Once => way == Way { word: Word::Ready, attempts: 0 },
            // Made ready, and since then started and given up, as often as may be.
            Effect::Idempotent => way.waits() && way.attempts < ATTEMPTS,
            Effect::Transactional => way.waits(),
        }),
        // A bare audit call: this is the first that is heard of it.
        None => entries().next().is_none(),
    };
    if allowed && !closed && startable { Ok(()) } else { Err(not_on_record(call, "the rows and the audit log")) }
}

/// How far an execution has come by the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    word: Word,
    attempts: u32,
}

/// The last that the log says of an execution that has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Ready,
    Executing,
    Retry,
    Unknown,
}

impl Way {
    fn waits(self) -> bool {
        matches!(self.word, Word::Ready | Word::Retry)
    }
}

/// Reads an execution's way out of what the log says about it: made ready, then started and given up in turns, and
/// perhaps lost in the end; every word for this very digest, every start counted, and with the effect that was promised when
/// it was first allowed. `None`: it went another way, or has an outcome, or the row counts other starts.
fn way<'a>(
    policy: &CallPolicy,
    execution: &ExecutionRow,
    entries: impl Iterator<Item = &'a &'a AuditRow>,
) -> Option<Way> {
    let mut way: Option<Way> = None;
    for entry in entries.filter(|entry| entry.execution_id.as_ref() == Some(&execution.id)) {
        if entry.call_digest.as_deref() != Some(execution.decided_digest.as_str()) {
            return None;
        }
        let payload = payload(entry);
        if way.is_none() && effect_of(&payload)? != policy.effect {
            return None;
        }
        let attempts = way.map_or(0, |way| way.attempts);
        way = Some(match (way.map(|way| way.word), entry.action.as_str()) {
            // How long it may be used is on record, too: both of its columns could be moved together. Compared as it is
            // written there, where the far end of time is not exact.
            (None, "ready")
                if payload.get("valid_until_ms").map(canonical) != Some(canonical(&execution.valid_until_ms)) =>
            {
                return None;
            }
            (None, "ready") => Way { word: Word::Ready, attempts },
            // Only a bare audit call starts without having been made ready.
            (None, "executing") if policy.tier != Tier::Audit => return None,
            (None | Some(Word::Ready | Word::Retry), "executing") => {
                let attempts = attempts.checked_add(1)?;
                if payload.get("attempt").and_then(serde_json::Value::as_u64) != Some(u64::from(attempts)) {
                    return None;
                }
                Way { word: Word::Executing, attempts }
            }
            (Some(Word::Executing), "retry") => Way { word: Word::Retry, attempts },
            // X12: of a store that was set back, also what never started.
            (Some(Word::Ready | Word::Executing | Word::Retry), "restored") => Way { word: Word::Unknown, attempts },
            (Some(Word::Executing | Word::Retry), "unknown") => Way { word: Word::Unknown, attempts },
            // Another system may have acted on it.
            (Some(Word::Ready), "unknown") if policy.pause == Some(PauseType::ExternalExecution) => {
                Way { word: Word::Unknown, attempts }
            }
            _ => return None,
        });
    }
    way.filter(|way| way.attempts == execution.attempt)
}

/// The effect that an execution was first put on record with.
fn effect_of(payload: &serde_json::Value) -> Option<Effect> {
    serde_json::from_value(payload.get("effect")?.clone()).ok()
}

/// Whether a start that is lost may be given up for another one (X6), by the rows.
pub(crate) fn may_retry(run: &RunRow, policy: &CallPolicy, execution: &ExecutionRow, now: i64) -> bool {
    let open = matches!(run.status, RunStatus::Running | RunStatus::Paused);
    open && match policy.effect {
        Effect::Once => false,
        Effect::Idempotent => {
            execution.attempt < ATTEMPTS && execution.valid_until_ms.is_none_or(|valid_until| now < valid_until)
        }
        Effect::Transactional => true,
    }
}

/// Whether the log has the start that is lost, and the promise that lets it be made again. A policy that was loosened in the
/// rows retries nothing.
///
/// # Errors
///
/// [`Error::DigestMismatch`]: it has not.
pub(crate) fn check_retry(rows: &CallRows, entries: &[AuditRow]) -> Result<()> {
    check_way(rows, entries, Word::Executing)
}

/// Whether the log says, too, that nobody knows how a call ended. Running it again must not be a way to forget its end.
///
/// # Errors
///
/// [`Error::DigestMismatch`]: the log says otherwise.
pub(crate) fn check_unknown(rows: &CallRows, entries: &[AuditRow]) -> Result<()> {
    check_way(rows, entries, Word::Unknown)
}

/// Whether the log has the start that a row shows, as its last word about the call.
///
/// # Errors
///
/// [`Error::DigestMismatch`]: it has not.
pub(crate) fn check_started(rows: &CallRows, entries: &[AuditRow]) -> Result<()> {
    check_way(rows, entries, Word::Executing)
}

fn check_way(rows: &CallRows, entries: &[AuditRow], word: Word) -> Result<()> {
    let CallRows { call, policy, execution, .. } = rows;
    let wrong = || not_on_record(call, "the rows and the audit log");
    check_asked(rows, entries)?;
    let of_generation = of_generation(call, entries).ok_or_else(wrong)?;
    let execution = execution.as_ref().ok_or_else(wrong)?;
    let agrees = way(policy, execution, of_generation.iter()).is_some_and(|way| way.word == word);
    if agrees { Ok(()) } else { Err(wrong()) }
}

/// What is on record of a call that nothing may follow on.
const CLOSES: &[&str] = &["rejected", "expired", "cancelled", "hidden", "user_rejected"];
/// What is on record of a call that has started, or of an execution that is over.
const STARTS: &[&str] = &[
    "executing",
    "retry",
    "succeeded",
    "failed",
    "unknown",
    "restored",
    "late_succeeded",
    "late_failed",
    "settled",
    "abandoned",
];
/// What is on record of a call that is another one from then on: the next generation.
const AGAIN: &[&str] = &["asked_again", "run_again"];

/// Whether a call that its rows show as one that waits, or may start, is one by the audit log, too: it is as it was asked
/// and written, nobody has said no to it, and it has not started. Asking again must not be a way to forget any of that.
/// `entries` are those about the call.
///
/// # Errors
///
/// [`Error::DigestMismatch`]: the log says otherwise.
pub(crate) fn check_unstarted(rows: &CallRows, entries: &[AuditRow]) -> Result<()> {
    let call = &rows.call;
    check_asked(rows, entries)?;
    let wrong = || not_on_record(call, "the rows and the audit log");
    let over = of_generation(call, entries).ok_or_else(wrong)?.into_iter().any(|entry| {
        // What happens to a row of an older generation says nothing about this one.
        (entry.approval_id.is_none() || entry.approval_id == call.approval_id)
            && (CLOSES.contains(&entry.action.as_str()) || STARTS.contains(&entry.action.as_str()))
    });
    if over { Err(wrong()) } else { Ok(()) }
}

pub(crate) fn not_on_record(call: &CallRow, what: &'static str) -> Error {
    Error::DigestMismatch { run_id: call.run_id.clone(), turn: call.turn, index: call.idx, what }
}

/// What the log says about a call since it was last asked, without evidence. `None`: it was asked again another number of
/// times than the call says.
fn of_generation<'a>(call: &CallRow, entries: &'a [AuditRow]) -> Option<Vec<&'a AuditRow>> {
    let of_call = |entry: &&AuditRow| !entry.evidence && entry.idx.is_some();
    let entries: Vec<&AuditRow> = entries.iter().filter(of_call).collect();
    let again = |entry: &&AuditRow| AGAIN.contains(&entry.action.as_str());
    if entries.iter().filter(|entry| again(entry)).count() as u64 != u64::from(call.generation) {
        return None;
    }
    let since = entries.iter().rposition(again).map_or(0, |place| place + 1);
    Some(entries[since..].to_vec())
}

/// A vote as the log has it. What is not there is null.
#[derive(PartialEq)]
struct Said {
    voter: Option<Principal>,
    member_until_ms: serde_json::Value,
    /// The digest of what was sent along.
    data: serde_json::Value,
    at_ms: i64,
}

/// The key of a voter's row.
pub(crate) fn voter_key(voter: Option<&Principal>) -> String {
    voter.map_or_else(|| "-".to_owned(), |voter| canonical(&(&voter.issuer, &voter.subject)))
}

/// Whoever the log says has voted for the current version, each person once. All who gave no name are one.
fn voters<'a>(call: &CallRow, entries: impl Iterator<Item = &'a &'a AuditRow>) -> Vec<Said> {
    let mut voters: Vec<Said> = Vec::new();
    for entry in entries.filter(|entry| entry.action == "voted") {
        let payload = payload(entry);
        let version = payload.get("version").and_then(serde_json::Value::as_u64);
        if entry.call_digest.as_deref() != Some(call.digest.as_str()) || version != Some(u64::from(call.version)) {
            continue;
        }
        let voter = match &entry.actor.0 {
            Actor::Person { principal } => Some(Principal::from(principal)),
            _ => None,
        };
        if !voters.iter().any(|other| is_same_voter(other.voter.as_ref(), voter.as_ref())) {
            let said = |key: &str| payload.get(key).cloned().unwrap_or_default();
            let (member_until_ms, data) = (said("member_until_ms"), said("data"));
            voters.push(Said { voter, member_until_ms, data, at_ms: entry.now_ms });
        }
    }
    voters
}

/// Whether two votes are of one person.
pub(crate) fn is_same_voter(one: Option<&Principal>, other: Option<&Principal>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same_person(other),
        (None, None) => true,
        _ => false,
    }
}

fn payload(entry: &AuditRow) -> serde_json::Value {
    // What cannot be read says nothing, and so allows nothing.
    serde_json::from_str(&entry.payload).unwrap_or_default()
}

/// What is asked, of whom, what they are shown with it and who wrote it is what the log says in the entry in which the current
/// version was asked for. No digest has a key: a person who changes rows can recompute them all, but cannot change that entry.
/// `entries` are those about the call. Gives that entry.
///
/// # Errors
///
/// [`Error::DigestMismatch`]: the log says otherwise, or has another entry for it.
pub(crate) fn check_asked<'a>(rows: &CallRows, entries: &'a [AuditRow]) -> Result<&'a AuditRow> {
    let CallRows { call, policy, approval, .. } = rows;
    let wrong = || not_on_record(call, "what was asked and the audit log");
    let of_this = of_generation(call, entries).ok_or_else(wrong)?;
    let of_row = |entry: &&AuditRow| matches!(entry.action.as_str(), "requested" | "edited");
    // One entry for each version: of the row that decides; or the turn, or the order to ask anew, and then what the requester has
    // filled in where no other person decides.
    let mut versions: Vec<&AuditRow> = of_this.iter().copied().filter(|entry| of_row(entry)).collect();
    // A tier that no approver decides about, written to the row of a call that waits for one, would open the gate.
    if versions.is_empty() == policy.is_decided_by_row() {
        return Err(wrong());
    }
    if versions.is_empty() {
        let again = entries.iter().rfind(|entry| !entry.evidence && AGAIN.contains(&entry.action.as_str()));
        versions.extend(again.or_else(|| entries.iter().find(|entry| entry.idx.is_none() && !entry.evidence)));
        versions.extend(of_this.iter().copied().filter(|entry| entry.action == "confirmed" && names_view(entry)));
    }
    let digests: Vec<Option<String>> = versions.iter().map(|entry| digest_asked(entry, call.idx)).collect();
    let rows: Vec<Option<String>> =
        call.earlier_digests.0.iter().chain([&call.digest]).map(|digest| Some(digest.clone())).collect();
    let first = rows.first().cloned().flatten();
    if digests != rows
        || first.as_ref() != Some(&call.shown_digest)
        || versions.len() as u64 != u64::from(call.version) + 1
    {
        return Err(wrong());
    }
    let asked = *versions.last().ok_or_else(wrong)?;
    // Rows of an earlier version, put back together with the number of its entry, would bring back a decision that an edit has
    // made void: only the last entry that asks counts.
    if call.asked_shard != Some(asked.shard) || call.asked_seq != Some(asked.seq) {
        return Err(wrong());
    }
    let whole = payload(asked);
    let said = match asked.idx {
        Some(_) => Some(&whole),
        None => said_of(&whole, call.idx),
    };
    let said = said.ok_or_else(wrong)?;
    let text = |key: &str| said.get(key).and_then(serde_json::Value::as_str);
    let view = match approval.as_ref().filter(|_| policy.is_decided_by_row()) {
        Some(approval) if asked.approval_id.as_ref() == Some(&approval.id) => {
            let on_row = serde_json::to_value(approval.edited_by.as_ref().map(|editor| &editor.0)).unwrap_or_default();
            if said.get("edited_by").cloned().unwrap_or_default() != on_row {
                return Err(wrong());
            }
            Some(approval.view_digest.as_str())
        }
        Some(_) => return Err(wrong()),
        // Nothing stores it: its policy digest covers it.
        None if policy.is_decided_by_row() => return Err(wrong()),
        None => text("view_digest"),
    };
    let agrees =
        text("policy_digest") == Some(call.policy_digest.as_str()) && view.is_some() && text("view_digest") == view;
    if !agrees {
        return Err(wrong());
    }
    // A record is shown as well, and has an entry of its own.
    match approval.as_ref().filter(|_| !policy.is_decided_by_row()) {
        None => Ok(asked),
        Some(record) => {
            let is_this =
                |entry: &&&AuditRow| entry.action == "recorded" && entry.approval_id.as_ref() == Some(&record.id);
            let said = of_this.iter().find(is_this).map(|entry| payload(entry)).ok_or_else(wrong)?;
            let view = said.get("view_digest").and_then(serde_json::Value::as_str);
            if view == Some(record.view_digest.as_str()) { Ok(asked) } else { Err(wrong()) }
        }
    }
}

/// What the entry of a turn says of one of its calls.
fn said_of(turn: &serde_json::Value, idx: u32) -> Option<&serde_json::Value> {
    let asked = turn.get("asked")?.as_array()?;
    asked.iter().find(|said| number(said, "index") == Some(u64::from(idx)))
}

/// The digest of the version that an entry asks for.
fn digest_asked(entry: &AuditRow, idx: u32) -> Option<String> {
    match entry.idx {
        Some(_) => entry.call_digest.clone(),
        None => Some(said_of(&payload(entry), idx)?.get("digest")?.as_str()?.to_owned()),
    }
}

/// Whether an entry says with what a version is asked from then on.
fn names_view(entry: &AuditRow) -> bool {
    payload(entry).get("view_digest").is_some()
}

fn number(value: &serde_json::Value, key: &str) -> Option<u64> {
    value.get(key).and_then(serde_json::Value::as_u64)
}

/// The run is the one that the log says has started, in the turn, with the snapshot and with as many `calls` as the log says.
/// `started` is its first entry, `entries` are those of its turn, and `last` is the last turn that the log has an entry of.
///
/// Without it, a run whose calls are all over, or that has none, could be moved to another agent or session.
///
/// # Errors
///
/// [`Error::DigestMismatch`]: the log says otherwise.
pub(crate) fn check_run(
    run: &RunRow,
    started: Option<&AuditRow>,
    entries: &[AuditRow],
    last: Option<u32>,
    calls: usize,
) -> Result<()> {
    let wrong = |what| Error::DigestMismatch { run_id: run.run_id.clone(), turn: run.turn, index: 0, what };
    let started = started.filter(|entry| entry.action == "run_started");
    let started = started.ok_or_else(|| wrong("the run and the audit log"))?;
    let said = payload(started);
    let same = |key: &str, value: Option<&str>| said.get(key).and_then(serde_json::Value::as_str) == value;
    let requester = Actor::of(run.requester.as_ref().map(|requester| &requester.0));
    if !(same("agent_id", Some(&run.agent_id))
        && same("agent_name", run.agent_name.as_deref())
        && same("session_id", Some(run.session_id.as_str()))
        && started.actor.0 == requester)
    {
        return Err(wrong("the run and the audit log"));
    }
    // A run that has ended and whose row was set back would go on as if it had not been cancelled.
    let ends = |entry: &AuditRow| matches!(entry.action.as_str(), "run_completed" | "run_failed" | "run_cancelled");
    if last.unwrap_or(0) != run.turn || entries.iter().any(ends) {
        return Err(wrong("the run's turn and the audit log"));
    }
    // A call whose row was moved elsewhere would hold up no run.
    let committed = entries
        .iter()
        .find(|entry| entry.idx.is_none() && !entry.evidence)
        .map(|entry| number(&payload(entry), "calls"));
    if run.turn > 0 && committed.flatten() != Some(calls as u64) {
        return Err(wrong("the run's calls and the audit log"));
    }
    let digest = |payload: &serde_json::Value| {
        payload.get("snapshot_digest").and_then(serde_json::Value::as_str).map(str::to_owned)
    };
    let stepped = entries.iter().rev().filter(|entry| !entry.evidence).find_map(|entry| digest(&payload(entry)));
    // A run that was recovered before its first turn has the snapshot with which it started (R1), or that of its checked input
    // (R1b): a changed one would put other words into the mouth of its requester.
    let recorded = if run.turn == 0 { stepped.or_else(|| digest(&said)) } else { stepped };
    if recorded.as_ref() != Some(&run.snapshot_digest) {
        return Err(wrong("the run's snapshot and the audit log"));
    }
    Ok(())
}

/// The votes for the current version are those that the audit log has, and so is until when their voters are in a pool by a
/// credential: who changes a row prolongs nothing.
///
/// # Errors
///
/// [`Error::DigestMismatch`]: one was added, or is gone, or says something else.
pub(crate) fn check_votes(rows: &CallRows, votes: &[VoteRow], entries: &[AuditRow]) -> Result<()> {
    let wrong = || not_on_record(&rows.call, "the votes and the audit log");
    let entries = of_generation(&rows.call, entries).ok_or_else(wrong)?;
    let of_this = entries.iter().filter(|entry| entry.approval_id == rows.call.approval_id);
    let said = voters(&rows.call, of_this);
    let agree = said.len() == votes.len()
        && votes.iter().all(|vote| {
            let voter = vote.voter.as_ref().map(|voter| &voter.0);
            let as_said = Said {
                voter: voter.cloned(),
                member_until_ms: vote.member_until_ms.into(),
                data: vote.resolution_data.as_deref().map(sha256).into(),
                at_ms: vote.created_at_ms,
            };
            vote.digest == rows.call.digest && vote.voter_key == voter_key(voter) && said.contains(&as_said)
        });
    if agree { Ok(()) } else { Err(wrong()) }
}

/// Whether text is what arguments are kept as: canonical JSON of one object.
///
/// # Errors
///
/// [`Error::Invalid`]: it is not. Nobody is shown a call that cannot run.
pub(crate) fn check_arguments(text: &str) -> Result<()> {
    let object = serde_json::from_str::<serde_json::Value>(text).ok();
    match object.filter(serde_json::Value::is_object) {
        Some(object) if canonical(&object) == text => Ok(()),
        _ => Err(Error::Invalid("the arguments of a call are an object in canonical JSON".to_owned())),
    }
}

/// The digest a call would have with these arguments.
pub(crate) fn digest_of(call: &CallRow, arguments: &str) -> String {
    let fields = CallFields {
        run_id: call.run_id.as_str(),
        turn: call.turn,
        index: call.idx,
        tool_call_id: &call.tool_call_id,
        tool_name: &call.tool_name,
        tool_version: &call.tool_version,
        schema_hash: &call.schema_hash,
        arguments,
    };
    call_digest(fields, call.salts.as_ref().map(|salts| &salts.0))
}

/// What kind of source asks. A run of an agent is the only one.
pub(crate) const SOURCE_TYPE: &str = "agent";

/// The view digest of what a row shows of a call; for a call without an approvals row, without an id.
pub(crate) fn view_digest_of(run: &RunRow, call: &CallRow, row: Option<&ApprovalRow>) -> String {
    let requester = run.requester.as_ref().map(|requester| canonical(&requester.0));
    let sensitive = row.and_then(|row| row.sensitive.as_ref()).map(|names| canonical(&names.0));
    let user_fields = call.user_fields.as_ref().map(|fields| canonical(&fields.0));
    view_digest(ViewFields {
        approval_id: row.map(|row| row.id.as_str()),
        version: call.version,
        call_digest: &call.digest,
        tool_identity: &call.tool_identity,
        agent_id: &run.agent_id,
        agent_name: run.agent_name.as_deref(),
        session_id: run.session_id.as_str(),
        requester: requester.as_deref(),
        shown: row.and_then(|row| row.requirements.as_deref()),
        sensitive: sensitive.as_deref(),
        context: row.and_then(|row| row.context.as_deref()),
        source_type: row.map_or(SOURCE_TYPE, |row| &row.source_type),
        source_name: row.map_or(run.agent_name.as_deref(), |row| row.source_name.as_deref()),
        pause_type: row.map(|row| row.pause_type.as_str()),
        approval_type: row.map(|row| row.approval_type.as_str()),
        requirement_id: &call.requirement_id,
        user_fields: user_fields.as_deref(),
        unfilled: &canonical(&call.unfilled.0),
        argument_limit: call.argument_limit.map(i64::from),
        place: None,
        created_at: row.map_or(call.created_at_ms, |row| row.created_at),
        expires_at: row.and_then(|row| row.expires_at),
    })
}

/// The policy digest a call has to have. `deciding` is its approval row, where that row decides.
pub(crate) fn policy_digest_of(
    call: &CallRow,
    run: &RunRow,
    deciding: Option<&ApprovalRow>,
    view_digest: &str,
) -> String {
    policy_digest(
        deciding.map(|approval| approval.id.as_str()),
        &call.digest,
        run.requester.as_ref().map(|requester| canonical(&requester.0)).as_deref(),
        &call.policy,
        view_digest,
    )
}

impl CallPolicy {
    /// Whether an approval row decides about the call. Other rows are records.
    pub(crate) fn is_decided_by_row(&self) -> bool {
        matches!(self.tier, Tier::Required | Tier::TwoStage)
    }
}
