//! X2 to X6: the only way into a protected body, and the ways out of it.

use serde_json::json;

use super::run::own;
use super::{
    Decider, GivenUp, NOT_IN_TIME, call, check_bound, drop_ready, entries, evidence, execution_row, late, lose,
    lose_start, next, record, restore, run,
};
use crate::audit::Entry;
use crate::digest::{idempotency_key, sha256};
use crate::records::call::{CallRow, Effect, Tier};
use crate::records::execution::ExecutionRow;
use crate::records::principal::Actor;
use crate::records::run::RunRow;
use crate::requests::{CallClaim, CallClaimed, ClaimCall, Ended, Finished, Ticket, Write, WrongTool};
use crate::rules::{CallRows, Gate, check_record, check_retry, gate};
use crate::tx::{Refused, Step, Tx};
use crate::{ApprovalStatus, Authority, Error, ExecutionId, ExecutionStatus, PauseType, StoreState};

use ExecutionRow as E;

/// X3, or X2 for a bare audit call that has no execution yet. This is the promise: nothing else makes a [`CallClaim`].
pub(crate) async fn claim<T: Tx>(tx: &mut T, request: ClaimCall) -> Step<CallClaimed> {
    let store = restore::open(tx).await?;
    restore::granted(&store, request.lease_ms)?;
    let read = match own(tx, &request.claim).await {
        Ok(run) => {
            let rows = call(tx, &request.claim.run_id, request.turn, request.index).await;
            rows.map(|rows| (run, rows))
        }
        Err(error) => Err(error),
    };
    let (run, rows) = match read {
        Ok(read) => read,
        Err(error) => return Err(evidence(tx, &request.claim.run_id, Actor::Runtime, error).await),
    };
    let now = tx.now().await?;
    match readiness(tx, &run, rows, now).await? {
        Readiness::Ready(call) => start(tx, &run, *call, (request.owner.0, request.lease_ms), now).await,
        Readiness::Recorded(rows) => start_recorded(tx, &run, &rows, &request, now).await,
        Readiness::Over => Ok(CallClaimed::Over),
        Readiness::NotStartable => Ok(CallClaimed::NotStartable),
    }
}

/// A call of which [`readiness`] was asked in this very transaction. Only [`start`] takes it.
#[derive(Debug)]
pub(crate) struct ReadyCall {
    rows: CallRows,
    execution: ExecutionRow,
}

/// Whether a call may start, by everything but the one statement that starts it.
#[derive(Debug)]
pub(crate) enum Readiness {
    /// Its execution may be tried; the statement decides.
    Ready(Box<ReadyCall>),
    /// A bare audit call that has no execution yet.
    Recorded(Box<CallRows>),
    /// It has its outcome.
    Over,
    NotStartable,
}

/// Asks everything that X3 asks: digests, gate, the log's own words, validity.
///
/// # Errors
///
/// What is stored does not agree, and that is on record.
pub(crate) async fn readiness<T: Tx>(tx: &mut T, run: &RunRow, rows: CallRows, now: i64) -> Step<Readiness> {
    let entries = match check_bound(tx, run, &rows).await {
        Ok(entries) => entries,
        Err(error) => return Err(evidence(tx, &run.run_id, Actor::Runtime, error).await),
    };
    // What has its outcome is over, also where the requester never said anything to it.
    let ended = [ExecutionStatus::Succeeded, ExecutionStatus::Failed, ExecutionStatus::Abandoned];
    if rows.execution.as_ref().is_some_and(|execution| ended.contains(&execution.status)) {
        return Ok(Readiness::Over);
    }
    match gate(&rows) {
        Gate::Open => {}
        Gate::Closed(_) => return Ok(Readiness::Over),
        Gate::AwaitsApproval | Gate::AwaitsRequester | Gate::Missing => return Ok(Readiness::NotStartable),
    }
    let startable = match &rows.execution {
        Some(execution) => execution.status == ExecutionStatus::Ready,
        None => rows.policy.tier == Tier::Audit,
    };
    // A call that another system executes has no body here.
    if startable && rows.policy.pause == Some(PauseType::ExternalExecution) {
        return Ok(Readiness::NotStartable);
    }
    if startable && let Err(error) = check_record(&rows, &entries) {
        return Err(evidence(tx, &run.run_id, Actor::Runtime, error).await);
    }
    let Some(execution) = rows.execution.clone() else {
        return Ok(if startable { Readiness::Recorded(Box::new(rows)) } else { Readiness::NotStartable });
    };
    match execution.status {
        ExecutionStatus::Ready => {}
        _ => return Ok(Readiness::NotStartable),
    }
    if execution.valid_until_ms.is_some_and(|valid_until| now >= valid_until) {
        match drop_ready(tx, &rows, &execution, NOT_IN_TIME, Actor::Runtime, now).await? {
            GivenUp::Abandoned => return Ok(Readiness::Over),
            GivenUp::Unknown | GivenUp::Not | GivenUp::Retry => return Ok(Readiness::NotStartable),
        }
    }
    Ok(Readiness::Ready(Box::new(ReadyCall { rows, execution })))
}

/// X3: the statement that starts a call. It alone decides.
pub(crate) async fn start<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    ReadyCall { rows, execution }: ReadyCall,
    (owner, lease_ms): (String, i64),
    now: i64,
) -> Step<CallClaimed> {
    let fence = next(execution.fence, "executions.fence")?;
    let attempt = next(execution.attempt, "executions.attempt")?;
    let claimed = tx
        .update(
            vec![
                E::C.status.to(ExecutionStatus::Executing),
                E::C.attempt.to(attempt),
                E::C.fence.to(fence),
                E::C.owner.to(Some(owner.clone())),
                E::C.lease_until_ms.to(Some(now.saturating_add(lease_ms))),
                E::C.started_at_ms.to(Some(now)),
            ],
            vec![
                E::C.id.is(execution.id.clone()),
                E::C.status.is(ExecutionStatus::Ready),
                E::C.fence.is(execution.fence),
                E::C.attempt.is(match rows.policy.effect {
                    // A start that was ever committed is the only one.
                    Effect::Once => 0,
                    Effect::Idempotent | Effect::Transactional => execution.attempt,
                }),
            ],
        )
        .await?;
    if claimed != 1 {
        return Ok(match execution.status {
            ExecutionStatus::Succeeded | ExecutionStatus::Failed | ExecutionStatus::Abandoned => CallClaimed::Over,
            _ => CallClaimed::NotStartable,
        });
    }
    let entry = Entry::new("executing", Actor::Runtime, &run.run_id).call(&rows.call).execution(&execution.id);
    tx.journal().record(entry.payload(json!({ "attempt": attempt, "fence": fence })));
    tx.journal().tell("execution.executing", &run.run_id, execution.approval_id.as_ref(), Some(&execution.id));
    Ok(CallClaimed::Claimed(call_claim(&execution, &rows.call, owner, fence, attempt)))
}

/// X2 with A9: the record is durable before the body starts.
async fn start_recorded<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: &CallRows,
    request: &ClaimCall,
    now: i64,
) -> Step<CallClaimed> {
    let approval_id = record(tx, run, &rows.call, &rows.policy, ApprovalStatus::Approved, Decider::Policy, now).await?;
    let named = tx
        .update(
            vec![CallRow::C.approval_id.to(Some(approval_id.clone()))],
            vec![
                CallRow::C.run_id.is(rows.call.run_id.clone()),
                CallRow::C.turn.is(rows.call.turn),
                CallRow::C.idx.is(rows.call.idx),
                CallRow::C.approval_id.is(None),
            ],
        )
        .await?;
    if named != 1 {
        return Err(Refused::Undo(Error::NotMine { run_id: run.run_id.clone() }));
    }
    let owner = request.owner.0.clone();
    let id = ExecutionId::from(approval_id.as_str());
    let execution = ExecutionRow {
        status: ExecutionStatus::Executing,
        attempt: 1,
        fence: 1,
        owner: Some(owner.clone()),
        lease_until_ms: Some(now.saturating_add(request.lease_ms)),
        started_at_ms: Some(now),
        ..execution_row(id, &rows.call, Authority::Policy, Some(approval_id.clone()), now)
    };
    tx.insert(&execution).await?;
    let entry = Entry::new("executing", Actor::Runtime, &run.run_id).call(&rows.call).execution(&execution.id);
    let payload = json!({ "attempt": 1, "fence": 1, "effect": rows.policy.effect });
    tx.journal().record(entry.approval(&approval_id).payload(payload));
    Ok(CallClaimed::Claimed(call_claim(&execution, &rows.call, owner, 1, 1)))
}

pub(super) fn call_claim(
    execution: &ExecutionRow,
    call: &CallRow,
    owner: String,
    fence: i64,
    attempt: u32,
) -> CallClaim {
    CallClaim {
        ticket: Ticket { execution_id: execution.id.clone(), run_id: execution.run_id.clone(), owner, fence },
        turn: call.turn,
        index: call.idx,
        tool_name: call.tool_name.clone(),
        arguments: execution.arguments.clone(),
        decided_digest: execution.decided_digest.clone(),
        idempotency_key: idempotency_key(call.run_id.as_str(), call.turn, call.idx, &execution.decided_digest),
        attempt,
    }
}

/// R10b: renews the lease of a start. No transition, no entry.
///
/// It asks nothing of the run: a body outlives a cancel of its run, and recovery elsewhere would make `unknown` of a call
/// whose process is about to report its result. It ends after `longest_ms`: else a body that hangs would keep its run from
/// everybody for ever.
pub(crate) async fn renew<T: Tx>(tx: &mut T, ticket: Ticket, lease_ms: i64, longest_ms: i64) -> Step<()> {
    let mine = || {
        vec![
            E::C.id.is(ticket.execution_id.clone()),
            E::C.status.is(ExecutionStatus::Executing),
            // Another start has another owner, and another fence: a body that was given up keeps no lease of it.
            E::C.owner.is(Some(ticket.owner.clone())),
            E::C.fence.is(ticket.fence),
        ]
    };
    let not_mine = || Refused::Undo(Error::NotMine { run_id: ticket.run_id.clone() });
    // Locked before the time is read.
    let execution = tx.one(mine()).await?.ok_or_else(not_mine)?;
    let now = tx.now().await?;
    if execution.started_at_ms.is_none_or(|started| now >= started.saturating_add(longest_ms)) {
        return Err(not_mine());
    }
    if tx.update(vec![E::C.lease_until_ms.to(Some(now.saturating_add(lease_ms)))], mine()).await? != 1 {
        return Err(not_mine());
    }
    Ok(())
}

/// X4, X4b, or X5 or X6 by the owner. No condition on the run: a body that ends after its run was cancelled is recorded too.
///
/// What a transactional call wrote is written here, before its outcome and in the same transaction, and only for a start
/// that still counts. Of what the store refuses nothing stays, and the outcome is that refusal.
pub(crate) async fn finish<T: Tx>(tx: &mut T, ticket: Ticket, ended: Ended, writes: Vec<Write>) -> Step<Finished> {
    let run = run(tx, &ticket.run_id).await?;
    let execution = tx.one(vec![E::C.id.is(ticket.execution_id.clone())]).await?;
    let Some(execution) = execution else {
        return Err(Error::NotFound { entity: "execution", id: ticket.execution_id.to_string() }.into());
    };
    let now = tx.now().await?;
    let entry = |action| {
        Entry::new(action, Actor::Runtime, &run.run_id)
            .at(execution.turn, execution.idx)
            .execution(&execution.id)
            .digest(&execution.decided_digest)
    };
    let own = execution.owner.as_deref() == Some(ticket.owner.as_str()) && execution.fence == ticket.fence;
    if own && has_ended(&execution, &ended) {
        return Ok(Finished::Recorded);
    }
    let mine = own && execution.status == ExecutionStatus::Executing;
    let given_up = own && execution.status == ExecutionStatus::Unknown;
    let (status, text, result, error) = match ended {
        Ended::Succeeded(result) => (ExecutionStatus::Succeeded, result.clone(), Some(result), None),
        Ended::Failed(error) => (ExecutionStatus::Failed, error.clone(), None, Some(error)),
        Ended::Lost(why) => {
            let lost = if mine { lost(tx, &run, &execution, &why, now).await? } else { GivenUp::Not };
            return Ok(match lost {
                GivenUp::Unknown => Finished::Recorded,
                GivenUp::Retry => Finished::Retry,
                GivenUp::Not | GivenUp::Abandoned => {
                    // It reports no result: there is nothing to keep.
                    let payload = json!({ "as": "unknown", "fence": ticket.fence, "digest": sha256(&why) });
                    tx.journal().record(late::entry(&execution, Actor::Runtime).payload(payload));
                    Finished::Late
                }
            });
        }
    };
    // A body that failed takes back what it wanted to write.
    let written = writes.len();
    let refused = if writes.is_empty() || status != ExecutionStatus::Succeeded || !mine {
        None
    } else {
        may_write(tx, &execution).await?;
        tx.write(writes).await?.err()
    };
    let (status, text, result, error) = match &refused {
        None => (status, text, result, error),
        Some(why) => (ExecutionStatus::Failed, why.clone(), None, Some(why.clone())),
    };
    let finished = tx
        .update(
            vec![
                E::C.status.to(status),
                E::C.result.to(result),
                E::C.error.to(error),
                E::C.lease_until_ms.to(None),
                E::C.finished_at_ms.to(Some(now)),
            ],
            vec![
                E::C.id.is(ticket.execution_id.clone()),
                E::C.status.is(ExecutionStatus::Executing),
                E::C.owner.is(Some(ticket.owner.clone())),
                E::C.fence.is(ticket.fence),
            ],
        )
        .await?;
    if finished != 1 {
        if given_up
            && may_end_late(tx, &execution).await?
            && end_late(tx, &execution, &ticket, (status, &text), now).await?
        {
            let word = if status == ExecutionStatus::Succeeded { "late_succeeded" } else { "late_failed" };
            tx.journal().record(entry(word).payload(json!({ "digest": sha256(&text), "fence": ticket.fence })));
            tx.journal().tell("execution.finished", &run.run_id, execution.approval_id.as_ref(), Some(&execution.id));
            return Ok(Finished::Recorded);
        }
        late::keep(tx, &run, &execution, status, &text, ticket.fence, Actor::Runtime).await?;
        return Ok(Finished::Late);
    }
    let mut payload = json!({ "digest": sha256(&text), "fence": ticket.fence });
    if written > 0 && status == ExecutionStatus::Succeeded {
        payload["writes"] = written.into();
    }
    tx.journal().record(entry(status.as_str()).payload(payload));
    tx.journal().tell("execution.finished", &run.run_id, execution.approval_id.as_ref(), Some(&execution.id));
    Ok(refused.map_or(Finished::Recorded, Finished::WritesRefused))
}

/// Evidence: a body refused a call that was allowed for another tool, or that has ended. It changes nothing.
pub(crate) async fn wrong_tool<T: Tx>(tx: &mut T, refused: WrongTool) -> Step<()> {
    let run = run(tx, &refused.run_id).await?;
    let WrongTool { allowed, entered, why, .. } = &refused;
    let mut entry = Entry::new("wrong_tool", Actor::Runtime, &run.run_id)
        .at(refused.turn, refused.index)
        .payload(json!({ "allowed": allowed, "entered": entered, "why": why }));
    if let Some(execution_id) = &refused.execution_id {
        entry = entry.execution(execution_id);
    }
    tx.journal().record(entry.evidence());
    Ok(())
}

/// X4b: UNKNOWN → SUCCEEDED, FAILED, by the body that was given up. Says whether it was.
///
/// By its owner and its fence: X6 clears the owner, so that the result of one start is not taken for that of the next, and
/// so does a settlement, so that nothing overwrites a person's word.
async fn end_late<T: Tx>(
    tx: &mut T,
    execution: &ExecutionRow,
    ticket: &Ticket,
    (status, text): (ExecutionStatus, &str),
    now: i64,
) -> Step<bool> {
    let text = Some(text.to_owned());
    let (result, error) = if status == ExecutionStatus::Succeeded { (text, None) } else { (None, text) };
    let ended = tx
        .update(
            vec![
                E::C.status.to(status),
                E::C.result.to(result),
                E::C.error.to(error),
                E::C.finished_at_ms.to(Some(now)),
            ],
            vec![
                E::C.id.is(execution.id.clone()),
                E::C.status.is(ExecutionStatus::Unknown),
                E::C.owner.is(Some(ticket.owner.clone())),
                E::C.fence.is(ticket.fence),
            ],
        )
        .await?;
    Ok(ended == 1)
}

/// Whether an outcome may be recorded after its start was given up. Not of a transactional call: what it wanted to write
/// with its outcome is not written any more, and SUCCEEDED would say that it was.
async fn may_end_late<T: Tx>(tx: &mut T, execution: &ExecutionRow) -> Result<bool, Error> {
    // A result that turns UNKNOWN into an outcome hides that the history which was lost may hold another start: while the store
    // is quarantined, it is only kept. X12 then clears the owner, so that a person settles the call.
    if tx.store().await?.state == StoreState::Quarantined {
        return Ok(false);
    }
    match call(tx, &execution.run_id, execution.turn, execution.idx).await {
        Ok(rows) => Ok(rows.policy.effect != Effect::Transactional && rows.execution.as_ref() == Some(execution)),
        // What cannot be read decides nothing. The result is kept.
        Err(Error::Corrupt { .. } | Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether this start, which is the caller's by its token, has this very end already: then the commit of it was not
/// acknowledged, and the caller asks again.
fn has_ended(execution: &ExecutionRow, ended: &Ended) -> bool {
    let (status, result, error) = match ended {
        Ended::Succeeded(result) => (ExecutionStatus::Succeeded, Some(result), None),
        Ended::Failed(error) => (ExecutionStatus::Failed, None, Some(error)),
        // Another process gave it up, and no more is known.
        Ended::Lost(_) => return execution.status == ExecutionStatus::Unknown,
    };
    let said = (execution.status, execution.result.as_ref(), execution.error.as_ref());
    execution.settled_by.is_none() && said == (status, result, error)
}

/// X6 or X5 by the owner of the start.
async fn lost<T: Tx>(tx: &mut T, run: &RunRow, execution: &ExecutionRow, why: &str, now: i64) -> Step<GivenUp> {
    match call(tx, &run.run_id, execution.turn, execution.idx).await {
        Ok(rows) if rows.execution.as_ref() == Some(execution) => {
            Ok(lose_start(tx, run, &rows, execution, why, Actor::Runtime, now).await?)
        }
        // What cannot be read lets nothing be started again, and a start that is lost is on record all the same.
        Ok(_) | Err(Error::Corrupt { .. } | Error::NotFound { .. }) => {
            let lost = lose(tx, execution, why, Actor::Runtime).await?;
            Ok(if lost { GivenUp::Unknown } else { GivenUp::Not })
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a call may write with its outcome: its policy says so, by the rows and by the log, and the store can.
async fn may_write<T: Tx>(tx: &mut T, execution: &ExecutionRow) -> Step<()> {
    if !T::TAKES_WRITES {
        let what = "this store takes no writes with an outcome: a transactional tool needs a database";
        return Err(Error::Invalid(what.to_owned()).into());
    }
    let rows = call(tx, &execution.run_id, execution.turn, execution.idx).await?;
    if rows.policy.effect != Effect::Transactional || rows.execution.as_ref() != Some(execution) {
        let what =
            format!("execution `{}` writes nothing with its outcome: its tool is not transactional", execution.id);
        return Err(Error::Invalid(what).into());
    }
    match check_retry(&rows, &entries(tx, &rows.call).await?) {
        Ok(()) => Ok(()),
        Err(error) => Err(evidence(tx, &execution.run_id, Actor::Runtime, error).await),
    }
}

#[cfg(test)]
mod tests;
