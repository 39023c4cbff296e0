//! U1, U2, X10, and A3 by the requester's input: what the requester says to a call.

use serde_json::json;

use super::edit::{Edit, Edited, edit};
use super::{
    Decider, NOT_IN_TIME, call, check_bound, close_pending, drop_ready, entries, evidence, late, make_ready, record,
    restore, run,
};
use crate::audit::{Entry, Gathered};
use crate::cell::{Cond, Json};
use crate::digest::sha256;
use crate::records::call::{CallRow, Tier};
use crate::records::execution::ExecutionRow;
use crate::records::principal::Actor;
use crate::records::run::RunRow;
use crate::requests::{AnswerCall, Answered, NewAnswer};
use crate::rules::{
    CallRows, Gate, check_arguments, check_record, check_unstarted, digest_of, gate, is_confirmed, is_due, is_void,
};
use crate::tx::{Refused, Step, Tx};
use crate::{Answer, ApprovalStatus, Error, ExecutionId, ExecutionStatus, PauseType, RunStatus};

use CallRow as C;

/// Stores one answer of the requester. It is never asked whether anybody else has decided: the answer and the look at
/// the approval are not one transaction.
pub(crate) async fn answer<T: Tx>(tx: &mut T, request: AnswerCall) -> Step<Answered> {
    request.caller.check()?;
    let run = run(tx, &request.run_id).await?;
    let requester = run.requester.as_ref().map(|requester| &requester.0);
    if !request.caller.is_requester(requester) {
        return Err(Refused::Undo(Error::NotPermitted {
            reason: "only the person who asked may answer for themselves".to_owned(),
        }));
    }
    if run.status != RunStatus::Paused || run.turn != request.turn {
        if let NewAnswer::ExternalResult(result) = &request.answer {
            let rows = call(tx, &request.run_id, request.turn, request.index).await?;
            keep_result(tx, &run, &rows, &request, result).await?;
        }
        let needs = "answers are taken while it is paused at the call";
        return Err(Refused::Keep(Error::RunConflict { run_id: run.run_id, found: run.status, needs }));
    }
    let rows = match call(tx, &request.run_id, request.turn, request.index).await {
        Ok(rows) => rows,
        Err(error) => return Err(evidence(tx, &run.run_id, Actor::from(&request.caller), error).await),
    };
    if rows
        .execution
        .as_ref()
        .is_some_and(|execution| execution.attempt > 0 || !matches!(execution.status, ExecutionStatus::Ready))
    {
        if let NewAnswer::ExternalResult(result) = &request.answer
            && let Some(lapsed) = keep_result(tx, &run, &rows, &request, result).await?
        {
            return Err(lapsed);
        }
        return Ok(Answered::NotAsked);
    }
    // A no is taken whatever is there.
    let is_yes = matches!(request.answer, NewAnswer::Confirm | NewAnswer::Input(_) | NewAnswer::ExternalResult(_));
    if is_yes {
        restore::open_to(tx, &run, &Actor::from(&request.caller)).await?;
    }
    if is_yes && let Err(error) = check_bound(tx, &run, &rows).await {
        return Err(evidence(tx, &run.run_id, Actor::from(&request.caller), error).await);
    }
    match check_shown(tx, &run, &rows, &request) {
        None => {}
        // A no to what somebody has edited since is a no to the edit, too.
        Some(Answered::Outdated) if matches!(request.answer, NewAnswer::Reject(_)) => {}
        Some(answered) => return Ok(answered),
    }
    let now = tx.now().await?;
    match request.answer.clone() {
        NewAnswer::Unanswered => Ok(Answered::NotAsked),
        NewAnswer::Confirm => confirm(tx, &run, &rows, &request, now).await,
        NewAnswer::Reject(note) => reject(tx, &run, &rows, &request, note, now).await,
        NewAnswer::Input(arguments) => input(tx, &run, &rows, &request, arguments, now).await,
        NewAnswer::ExternalResult(result) => external(tx, &run, &rows, &request, result, now).await,
    }
}

/// Records what one request has left as evidence.
pub(crate) async fn record_gathered<T: Tx>(tx: &mut T, gathered: Gathered) -> Step<()> {
    if let Some(entry) = gathered.take() {
        tx.journal().record(entry);
    }
    Ok(())
}

/// An answer counts for the version it was given to, and only if that version was really shown.
fn check_shown<T: Tx>(tx: &mut T, run: &RunRow, rows: &CallRows, request: &AnswerCall) -> Option<Answered> {
    let call = &rows.call;
    let shown = digest_of(call, &request.shown.arguments);
    let same_tool = request.shown.tool_name == call.tool_name;
    if same_tool && request.generation != call.generation {
        // It was asked again since, with another tool: whatever the arguments are, this is not what was shown.
        return Some(Answered::Outdated);
    }
    if same_tool && shown == call.digest {
        return None;
    }
    if same_tool && (shown == call.shown_digest || call.earlier_digests.0.contains(&shown)) {
        return Some(Answered::Outdated);
    }
    let entry = Entry::new("requirement_mismatch", Actor::from(&request.caller), &run.run_id).evidence().call(call);
    let entry = entry.payload(json!({ "answered": shown, "tool_name": request.shown.tool_name }));
    match &request.gathered {
        Some(gathered) => gathered.add(&call.requirement_id, entry),
        None => tx.journal().record(entry),
    }
    Some(Answered::Mismatch)
}

/// The call, as this transaction read it.
pub(super) fn unchanged(call: &CallRow) -> Vec<Cond<CallRow>> {
    vec![
        C::C.run_id.is(call.run_id.clone()),
        C::C.turn.is(call.turn),
        C::C.idx.is(call.idx),
        C::C.version.is(call.version),
        C::C.answer.is(call.answer),
        C::C.answer_digest.is(call.answer_digest.clone()),
    ]
}

pub(super) fn lost_race(call: &CallRow) -> Refused {
    Refused::Undo(Error::NotMine { run_id: call.run_id.clone() })
}

/// Sets the answer of a call, and gives the call as it is afterwards.
async fn set_answer<T: Tx>(
    tx: &mut T,
    call: &CallRow,
    request: &AnswerCall,
    answer: Answer,
    note: Option<String>,
    now: i64,
) -> Step<CallRow> {
    let after = CallRow {
        answer: Some(answer),
        answer_digest: Some(call.digest.clone()),
        answer_note: note,
        answered_by: request.caller.person().cloned().map(Json),
        answered_at_ms: Some(now),
        confirmed_version: (answer == Answer::Confirmed).then_some(call.version),
        ..call.clone()
    };
    let set = vec![
        C::C.answer.to(after.answer),
        C::C.answer_digest.to(after.answer_digest.clone()),
        C::C.answer_note.to(after.answer_note.clone()),
        C::C.answered_by.to(after.answered_by.clone()),
        C::C.answered_at_ms.to(after.answered_at_ms),
        C::C.confirmed_version.to(after.confirmed_version),
    ];
    if tx.update(set, unchanged(call)).await? != 1 {
        return Err(lost_race(call));
    }
    Ok(after)
}

/// The entry of U1, which names the version.
fn confirmed(run: &RunRow, call: &CallRow, actor: Actor) -> Entry {
    Entry::new("confirmed", actor, &run.run_id).call(call).payload(json!({ "version": call.version }))
}

/// U1.
async fn confirm<T: Tx>(tx: &mut T, run: &RunRow, rows: &CallRows, request: &AnswerCall, now: i64) -> Step<Answered> {
    let CallRows { call, policy, .. } = rows;
    // In two stages a complete call is confirmed whatever it paused for: an edit needs an explicit word.
    let asked = match policy.tier {
        // What is run again is complete, and asks for nothing but a yes.
        Tier::User => {
            policy.pause == Some(PauseType::Confirmation)
                || policy.pause == Some(PauseType::UserInput) && rows.has_started && call.unfilled.0.is_empty()
        }
        Tier::TwoStage => call.unfilled.0.is_empty(),
        Tier::Audit | Tier::Required => false,
    };
    if !asked {
        return Ok(Answered::NotAsked);
    }
    match call.answer {
        // A no is final.
        Some(Answer::Rejected) => return Ok(Answered::NotAsked),
        Some(Answer::Confirmed) if is_confirmed(call, call.version, Some(&call.digest)) => {
            return Ok(Answered::Already);
        }
        Some(Answer::Confirmed) | None => {}
    }
    let call = set_answer(tx, call, request, Answer::Confirmed, None, now).await?;
    tx.journal().record(confirmed(run, &call, Actor::from(&request.caller)));
    if policy.tier == Tier::User {
        make_ready(tx, &call, policy, None, Actor::from(&request.caller), now).await?;
        record_answer(tx, run, rows, &call, request, ApprovalStatus::Approved, now).await?;
    }
    tx.journal().tell("call.answered", &run.run_id, None, None);
    Ok(Answered::Stored)
}

/// A9 for a call of the user tier that keeps a record.
async fn record_answer<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: &CallRows,
    call: &CallRow,
    request: &AnswerCall,
    status: ApprovalStatus,
    now: i64,
) -> Step<()> {
    if !rows.policy.record || call.approval_id.is_some() {
        return Ok(());
    }
    let id = record(tx, run, call, &rows.policy, status, Decider::Requester(&request.caller), now).await?;
    if tx.update(vec![C::C.approval_id.to(Some(id))], unchanged(call)).await? != 1 {
        return Err(lost_race(call));
    }
    Ok(())
}

/// U2: final, also where an approver has said yes.
async fn reject<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: &CallRows,
    request: &AnswerCall,
    note: Option<String>,
    now: i64,
) -> Step<Answered> {
    let CallRows { call, policy, approval, execution, .. } = rows;
    if policy.tier == Tier::Audit {
        return Ok(Answered::NotAsked);
    }
    if call.answer == Some(Answer::Rejected) {
        return Ok(Answered::Already);
    }
    let actor = Actor::from(&request.caller);
    let call = set_answer(tx, call, request, Answer::Rejected, note.clone(), now).await?;
    let entry = Entry::new("user_rejected", actor.clone(), &run.run_id).call(&call);
    tx.journal().record(entry.payload(json!({ "note": note })));
    if let Some(approval) = approval {
        let person = request.caller.person();
        close_pending(tx, approval, ApprovalStatus::Cancelled, actor.clone(), person, now).await?;
    }
    if let Some(execution) = execution {
        // The rows are as they were before the no: whether the gate was open then is what counts.
        drop_ready(tx, rows, execution, "the person who asked took it back", actor, now).await?;
    }
    record_answer(tx, run, rows, &call, request, ApprovalStatus::Rejected, now).await?;
    tx.journal().tell("call.answered", &run.run_id, None, None);
    Ok(Answered::Stored)
}

/// The values a user was asked for: U1 on the completed version, or A3 while an approver has not decided.
async fn input<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: &CallRows,
    request: &AnswerCall,
    arguments: String,
    now: i64,
) -> Step<Answered> {
    let CallRows { call, policy, approval, .. } = rows;
    if policy.pause != Some(PauseType::UserInput) || call.answer.is_some() {
        return Ok(Answered::NotAsked);
    }
    if arguments == call.arguments && call.unfilled.0.is_empty() && policy.tier != Tier::User {
        return Ok(Answered::Already);
    }
    check_arguments(&arguments)?;
    if rows.has_started {
        if arguments == call.arguments {
            return confirm(tx, run, rows, request, now).await;
        }
        let what = "what may have run already is only run again as it was: confirm it, or reject it";
        return Err(Error::Invalid(what.to_owned()).into());
    }
    let pending = approval.as_ref().filter(|approval| approval.status == ApprovalStatus::Pending);
    if let Some(approval) = pending
        && is_due(approval, now)
    {
        close_pending(tx, approval, ApprovalStatus::Expired, Actor::Recovery, None, now).await?;
        return Ok(Answered::NotAsked);
    }
    if policy.tier != Tier::User && pending.is_none() {
        return Ok(Answered::NotAsked);
    }
    let actor = Actor::from(&request.caller);
    let requester = run.requester.as_ref().map(|requester| &requester.0);
    let author = Edit {
        arguments,
        // Who gave no name acts as the requester.
        author: request.caller.person().or(requester),
        role: "requester",
        actor: actor.clone(),
        note: None,
        // The requester needs no pool for it.
        member_until_ms: None,
    };
    let Edited { call, view_digest } = edit(tx, run, call, pending, author).await?;
    if pending.is_some() {
        return Ok(Answered::Stored);
    }
    let call = set_answer(tx, &call, request, Answer::Confirmed, None, now).await?;
    // No other person is asked about these values, so this is the entry in which it was asked for.
    let payload = json!({ "version": call.version, "policy_digest": call.policy_digest, "view_digest": view_digest });
    tx.journal().record(confirmed(run, &call, actor.clone()).payload(payload).asks(&call));
    make_ready(tx, &call, policy, None, actor, now).await?;
    record_answer(tx, run, rows, &call, request, ApprovalStatus::Approved, now).await?;
    tx.journal().tell("call.answered", &run.run_id, None, None);
    Ok(Answered::Stored)
}

/// The result of a call that another system executes: U1 and X1 where nobody else decides, then X10.
async fn external<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: &CallRows,
    request: &AnswerCall,
    result: String,
    now: i64,
) -> Step<Answered> {
    let CallRows { call, policy, execution, .. } = rows;
    if policy.pause != Some(PauseType::ExternalExecution) || call.answer == Some(Answer::Rejected) {
        return Ok(Answered::NotAsked);
    }
    let actor = Actor::from(&request.caller);
    let id = if policy.tier == Tier::User {
        // Nobody else is asked, and that is on record: the result of a call that an approver decides is not taken so.
        if let Err(error) = check_unstarted(rows, &entries(tx, call).await?) {
            return Err(evidence(tx, &run.run_id, actor, error).await);
        }
        let call = set_answer(tx, call, request, Answer::Confirmed, None, now).await?;
        tx.journal().record(confirmed(run, &call, actor.clone()));
        record_answer(tx, run, rows, &call, request, ApprovalStatus::Approved, now).await?;
        make_ready(tx, &call, policy, None, actor.clone(), now).await?.id
    } else {
        match (gate(rows), execution) {
            (Gate::Open, Some(execution)) => {
                if let Err(error) = check_record(rows, &entries(tx, call).await?) {
                    return Err(evidence(tx, &run.run_id, actor, error).await);
                }
                // X10 asks for the time itself: a result that comes too late is for a person to look at.
                if is_void(execution, now) {
                    drop_ready(tx, rows, execution, NOT_IN_TIME, actor.clone(), now).await?;
                    late::keep(tx, run, execution, ExecutionStatus::Succeeded, &result, execution.fence, actor).await?;
                    return Err(Refused::Keep(Error::Lapsed { id: execution.id.clone() }));
                }
                execution.id.clone()
            }
            // Nobody has allowed it yet: a result of something that must not happen is not taken.
            _ => return Ok(Answered::NotAsked),
        }
    };
    bring_result(tx, run, call, &id, result, actor, now).await?;
    Ok(Answered::Stored)
}

/// Keeps the result of a call that another system was allowed to execute, and that takes none any more. Gives the refusal, where it has not its
/// result already.
///
/// Of such a call that never started here, UNKNOWN and what was settled say that it was allowed.
async fn keep_result<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: &CallRows,
    request: &AnswerCall,
    result: &str,
) -> Step<Option<Refused>> {
    let Some(execution) = &rows.execution else { return Ok(None) };
    let was_allowed = execution.status == ExecutionStatus::Unknown
        || execution.settled_by.is_some()
        || execution.status == ExecutionStatus::Succeeded && execution.result.as_deref() != Some(result);
    let is_shown = request.generation == rows.call.generation
        && request.shown.tool_name == rows.call.tool_name
        && digest_of(&rows.call, &request.shown.arguments) == rows.call.digest;
    if rows.policy.pause != Some(PauseType::ExternalExecution) || !was_allowed || !is_shown {
        return Ok(None);
    }
    let actor = Actor::from(&request.caller);
    late::keep(tx, run, execution, ExecutionStatus::Succeeded, result, execution.fence, actor).await?;
    // One that has its result already did not lapse: it asks for none.
    let answered = execution.status == ExecutionStatus::Succeeded && execution.settled_by.is_none();
    Ok((!answered).then(|| Refused::Keep(Error::Lapsed { id: execution.id.clone() })))
}

/// X10: a READY execution of another system has its result. One result: nothing that is not READY any more takes another.
pub(super) async fn bring_result<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    call: &CallRow,
    id: &ExecutionId,
    result: String,
    actor: Actor,
    now: i64,
) -> Step<()> {
    use ExecutionRow as E;
    let done = tx
        .update(
            vec![
                E::C.status.to(ExecutionStatus::Succeeded),
                E::C.result.to(Some(result.clone())),
                E::C.finished_at_ms.to(Some(now)),
            ],
            vec![E::C.id.is(id.clone()), E::C.status.is(ExecutionStatus::Ready), E::C.attempt.is(0)],
        )
        .await?;
    if done != 1 {
        return Err(lost_race(call));
    }
    let entry = Entry::new("succeeded", actor, &run.run_id).call(call).execution(id);
    tx.journal().record(entry.payload(json!({ "digest": sha256(&result) })));
    tx.journal().tell("call.answered", &run.run_id, None, Some(id));
    Ok(())
}
