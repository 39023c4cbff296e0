//! The transition table of the approval specification, written once for every store.
//!
//! One function is one line of the table (or the lines that share its transaction): it reads, asks
//! [`rules`](crate::rules), makes each change with one statement that names the state it expects, and records exactly
//! one audit entry for each change. The numbers in the comments are the table's.

pub(crate) mod answer;
pub(crate) mod approval;
pub(crate) mod ask;
pub(crate) mod clock;
pub(crate) mod delivery;
mod edit;
pub(crate) mod erase;
pub(crate) mod execution;
#[cfg(test)]
mod fixture;
pub(crate) mod host;
pub(crate) mod key;
mod late;
pub(crate) mod pool;
pub(crate) mod read;
pub(crate) mod read_back;
pub(crate) mod recovery;
pub(crate) mod request;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod session;
pub(crate) mod settle;
pub(crate) mod sweep;

use serde_json::{Value, json};

use crate::audit::Entry;
use crate::audit::is_whole;
use crate::cell::Json;
use crate::digest::{canonical, shown_digest};
use crate::records::approval::ApprovalRow;
use crate::records::audit::AuditRow;
use crate::records::call::{CallPolicy, CallRow, Tier};
use crate::records::execution::ExecutionRow;
use crate::records::principal::{Actor, Caller, Principal};
use crate::records::run::RunRow;
use crate::rules::{
    CallRows, SOURCE_TYPE, check_asked, check_binding, check_retry, is_exposed, may_retry, not_on_record,
    view_digest_of,
};
use crate::tx::{Query, Refused, Step, Tx};
use crate::{
    ApprovalId, ApprovalStatus, ApprovalType, Authority, Error, ExecutionId, ExecutionStatus, PauseType, Result, RunId,
};

/// Why an execution that was not used in time is given up.
const NOT_IN_TIME: &str = "the approval was not used in time";

/// The run, locked, or an error that names it.
async fn run<T: Tx>(tx: &mut T, run_id: &RunId) -> Result<RunRow> {
    let run = tx.one(vec![RunRow::C.run_id.is(run_id.clone())]).await?;
    run.ok_or_else(|| Error::NotFound { entity: "run", id: run_id.to_string() })
}

/// The protected calls of one turn with their rows, in order: approvals before executions, as everywhere.
async fn calls<T: Tx>(tx: &mut T, run_id: &RunId, turn: u32) -> Result<Vec<CallRows>> {
    let filter = vec![CallRow::C.run_id.is(run_id.clone()), CallRow::C.turn.is(turn)];
    let calls = tx.select::<CallRow>(Query::of(filter).oldest(CallRow::C.idx.order()).lock()).await?;
    with_rows(tx, calls).await
}

/// The protected calls of all turns of a run.
async fn all_calls<T: Tx>(tx: &mut T, run_id: &RunId) -> Result<Vec<CallRows>> {
    let query = Query::of(vec![CallRow::C.run_id.is(run_id.clone())])
        .oldest(CallRow::C.turn.order())
        .oldest(CallRow::C.idx.order())
        .lock();
    let calls = tx.select::<CallRow>(query).await?;
    with_rows(tx, calls).await
}

/// One call with its rows.
async fn call<T: Tx>(tx: &mut T, run_id: &RunId, turn: u32, idx: u32) -> Result<CallRows> {
    let filter = vec![CallRow::C.run_id.is(run_id.clone()), CallRow::C.turn.is(turn), CallRow::C.idx.is(idx)];
    let found = tx.select::<CallRow>(Query::of(filter).lock()).await?;
    let mut rows = with_rows(tx, found).await?;
    rows.pop().ok_or_else(|| Error::NotFound { entity: "call", id: format!("{run_id}/{turn}/{idx}") })
}

async fn with_rows<T: Tx>(tx: &mut T, calls: Vec<CallRow>) -> Result<Vec<CallRows>> {
    let Some(first) = calls.first() else {
        return Ok(Vec::new());
    };
    let run_id = first.run_id.clone();
    // In the order of the index that they are found by.
    let approvals = Query::of(vec![ApprovalRow::C.run_id.is(run_id.clone())])
        .oldest(ApprovalRow::C.turn.order())
        .oldest(ApprovalRow::C.idx.order())
        .oldest(ApprovalRow::C.generation.order())
        .lock();
    let approvals = tx.select::<ApprovalRow>(approvals).await?;
    let executions = Query::of(vec![ExecutionRow::C.run_id.is(run_id)])
        .oldest(ExecutionRow::C.turn.order())
        .oldest(ExecutionRow::C.idx.order())
        .oldest(ExecutionRow::C.generation.order())
        .lock();
    let executions = tx.select::<ExecutionRow>(executions).await?;
    calls
        .into_iter()
        .map(|call| {
            let policy = serde_json::from_str::<CallPolicy>(&call.policy)
                .map_err(|error| Error::corrupt("calls.policy", error))?;
            let approval = approvals.iter().find(|approval| Some(&approval.id) == call.approval_id.as_ref()).cloned();
            let execution = executions
                .iter()
                .filter(|execution| (execution.turn, execution.idx) == (call.turn, call.idx))
                // What an older generation left is over. One of a later is nothing that kern wrote, and has to be seen.
                .filter(|execution| execution.generation >= call.generation)
                .max_by_key(|execution| execution.generation)
                .cloned();
            let has_started = executions
                .iter()
                .any(|execution| (execution.turn, execution.idx) == (call.turn, call.idx) && execution.attempt > 0);
            Ok(CallRows { call, policy, approval, execution, has_started })
        })
        .collect()
}

/// What the audit log says about one call, oldest first, after the entry of the turn that asked for it.
async fn entries<T: Tx>(tx: &mut T, call: &CallRow) -> Result<Vec<AuditRow>> {
    let about = |idx: Option<u32>| {
        let filter = vec![
            AuditRow::C.run_id.is(Some(call.run_id.clone())),
            AuditRow::C.turn.is(Some(call.turn)),
            AuditRow::C.idx.is(idx),
        ];
        Query::of(filter).oldest(AuditRow::C.seq.order())
    };
    let mut entries = tx.select(about(None).limit(1)).await?;
    entries.extend(tx.select(about(Some(call.idx))).await?);
    Ok(entries)
}

/// What the audit log says about one turn of a run and its calls, oldest first.
async fn entries_of_turn<T: Tx>(tx: &mut T, run_id: &RunId, turn: u32) -> Result<Vec<AuditRow>> {
    let filter = vec![AuditRow::C.run_id.is(Some(run_id.clone())), AuditRow::C.turn.is(Some(turn))];
    tx.select(Query::of(filter).oldest(AuditRow::C.seq.order())).await
}

/// Of those, what [`entries`] gives for one call.
fn of_call(entries: &[AuditRow], call: &CallRow) -> Vec<AuditRow> {
    let turn = entries.iter().find(|entry| entry.idx.is_none());
    let about = entries.iter().filter(|entry| entry.idx == Some(call.idx));
    turn.into_iter().chain(about).cloned().collect()
}

/// I5: every stored copy of a call, everything that is shown with it and its run's agent, session and requester agree with each
/// other, with their digests, and with the entry in which the call was asked for. Gives what the log says about the call.
async fn check_bound<T: Tx>(tx: &mut T, run: &RunRow, rows: &CallRows) -> Result<Vec<AuditRow>> {
    check_binding(run, rows)?;
    let entries = entries(tx, &rows.call).await?;
    let asked = check_asked(rows, &entries)?;
    if !is_whole(asked, &tx.store().await?.store_id) {
        return Err(not_on_record(&rows.call, "the entry in which it was asked for and its hash"));
    }
    Ok(entries)
}

/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Puts on record that something stored is not as kern wrote it, once for each row, finding and day: a caller who asks again and
/// again does not fill the log. The record stays, and nothing else happens.
///
/// Only for a transaction that has changed nothing that must not stay.
async fn evidence<T: Tx>(tx: &mut T, run_id: &RunId, actor: Actor, error: Error) -> Refused {
    let (action, place, payload) = match &error {
        Error::DigestMismatch { turn, index, what, .. } => {
            ("digest_mismatch", Some((*turn, *index)), json!({ "what": what }))
        }
        Error::Corrupt { place, detail } => ("unreadable", None, json!({ "place": place, "detail": detail })),
        _ => return Refused::Undo(error),
    };
    match is_on_record(tx, run_id, (action, place, &payload)).await {
        Ok(true) => {}
        Ok(false) => {
            let entry = Entry::new(action, actor, run_id).evidence().payload(payload);
            let entry = place.into_iter().fold(entry, |entry, (turn, idx)| entry.at(turn, idx));
            tx.journal().record(entry);
        }
        Err(failed) => return Refused::Undo(failed),
    }
    Refused::Keep(error)
}

/// Whether the log has this very evidence of today.
async fn is_on_record<T: Tx>(
    tx: &mut T,
    run_id: &RunId,
    (action, place, payload): (&str, Option<(u32, u32)>, &Value),
) -> Result<bool> {
    use AuditRow as L;
    let filter = vec![
        L::C.run_id.is(Some(run_id.clone())),
        L::C.turn.is(place.map(|(turn, _)| turn)),
        L::C.idx.is(place.map(|(_, idx)| idx)),
        L::C.evidence.is(true),
        L::C.action.is(action.to_owned()),
        L::C.payload.is(canonical(payload)),
    ];
    let last = tx.pluck(L::C.now_ms, Query::of(filter).newest(L::C.seq.order()).limit(1)).await?.pop();
    let today = tx.now().await?.div_euclid(DAY_MS);
    Ok(last.is_some_and(|at_ms| at_ms.div_euclid(DAY_MS) == today))
}

/// One more. A number that has no next one was never counted by kern.
fn next<N: Copy + TryFrom<i64>>(number: N, place: &str) -> Result<N>
where
    i64: From<N>,
{
    let next = i64::from(number).checked_add(1).and_then(|next| N::try_from(next).ok());
    next.ok_or_else(|| Error::corrupt(place, "there is no next number"))
}

/// X1: an execution (none) → READY. The gate opened in this very transaction. Gives it as it was written.
async fn make_ready<T: Tx>(
    tx: &mut T,
    call: &CallRow,
    policy: &CallPolicy,
    approval_id: Option<&ApprovalId>,
    actor: Actor,
    now: i64,
) -> Result<ExecutionRow> {
    let id = approval_id.map_or_else(ExecutionId::generate, |id| ExecutionId::from(id.as_str()));
    let authority = match policy.tier {
        Tier::Required | Tier::TwoStage => Authority::Approval,
        Tier::User => Authority::Answer,
        Tier::Audit => Authority::Policy,
    };
    // A bare audit call waits for nobody, and so for no time.
    let valid_for = policy.valid_for_ms.filter(|_| policy.tier != Tier::Audit);
    let execution = ExecutionRow {
        valid_until_ms: valid_for.map(|valid_for| now.saturating_add(valid_for)),
        ..execution_row(id.clone(), call, authority, approval_id.cloned(), now)
    };
    tx.insert(&execution).await?;
    let entry = Entry::new("ready", actor, &call.run_id).call(call).execution(&id);
    let entry = match approval_id {
        Some(approval_id) => entry.approval(approval_id),
        None => entry,
    };
    tx.journal().record(entry.payload(json!({
        "authority": authority,
        "valid_until_ms": execution.valid_until_ms,
        "effect": policy.effect,
    })));
    Ok(execution)
}

/// A fresh execution of a call, READY and bound to the call's current version.
fn execution_row(
    id: ExecutionId,
    call: &CallRow,
    authority: Authority,
    approval_id: Option<ApprovalId>,
    now: i64,
) -> ExecutionRow {
    ExecutionRow {
        id,
        run_id: call.run_id.clone(),
        turn: call.turn,
        idx: call.idx,
        generation: call.generation,
        approval_id,
        authority,
        tool_name: call.tool_name.clone(),
        arguments: call.arguments.clone(),
        decided_digest: call.digest.clone(),
        status: ExecutionStatus::Ready,
        attempt: 0,
        fence: 0,
        owner: None,
        lease_until_ms: None,
        valid_until_ms: None,
        result: None,
        error: None,
        settled_by: None,
        note: None,
        created_at_ms: now,
        started_at_ms: None,
        finished_at_ms: None,
        erased_at_ms: None,
        late_status: None,
        late_result: None,
    }
}

/// The approval row of a call: pending for A1, born decided for A9.
#[derive(Debug)]
struct NewApproval<'a> {
    id: ApprovalId,
    approval_type: ApprovalType,
    status: ApprovalStatus,
    requirements: Option<String>,
    context: Option<String>,
    resolver: Option<&'a Principal>,
    note: Option<&'a str>,
    expires_at: Option<i64>,
    edited_by: Option<Json<Principal>>,
}

/// The secret properties of a stored schema.
fn sensitive(schema: &str) -> Result<Vec<String>> {
    let schema = serde_json::from_str(schema).map_err(|error| Error::corrupt("calls.parameters", error))?;
    Ok(crate::schema::sensitive(&schema))
}

fn approval_row(
    run: &RunRow,
    call: &CallRow,
    policy: &CallPolicy,
    new: NewApproval<'_>,
    now: i64,
) -> Result<ApprovalRow> {
    let decided = new.status != ApprovalStatus::Pending;
    let mut row = ApprovalRow {
        id: new.id,
        run_id: run.run_id.clone(),
        session_id: run.session_id.clone(),
        status: new.status,
        source_type: SOURCE_TYPE.to_owned(),
        approval_type: new.approval_type,
        pause_type: policy.pause.unwrap_or(PauseType::Confirmation),
        tool_name: call.tool_name.clone(),
        tool_args: call.arguments.clone(),
        expires_at: new.expires_at,
        agent_id: Some(run.agent_id.clone()),
        team_id: None,
        workflow_id: None,
        user_id: run.requester.as_ref().map(|requester| requester.0.subject.clone()),
        issuer: run.requester.as_ref().and_then(|requester| requester.0.issuer.clone()),
        schedule_id: None,
        schedule_run_id: None,
        source_name: run.agent_name.clone(),
        requirements: new.requirements,
        context: new.context,
        resolution_data: new.note.map(|note| json!({ "note": note }).to_string()),
        resolved_by: new.resolver.map(|resolver| resolver.subject.clone()),
        resolved_at: decided.then_some(now / 1000),
        created_at: now / 1000,
        turn: call.turn,
        idx: call.idx,
        generation: call.generation,
        tool_call_id: call.tool_call_id.clone(),
        version: call.version,
        digest: call.digest.clone(),
        decided_digest: (new.status == ApprovalStatus::Approved).then(|| call.digest.clone()),
        policy: call.policy.clone(),
        policy_digest: call.policy_digest.clone(),
        requester: run.requester.clone(),
        resolver: new.resolver.cloned().map(Json),
        deleted_at: None,
        edited_by: new.edited_by,
        sensitive: call.parameters.as_deref().map(sensitive).transpose()?.map(Json),
        erased_at_ms: None,
        view_digest: String::new(),
    };
    row.view_digest = view_digest_of(run, call, Some(&row));
    Ok(row)
}

/// A payload, with the digests of what a row shows.
fn with_view(mut payload: Value, row: &ApprovalRow) -> Value {
    let sensitive = row.sensitive.as_ref().map(|names| canonical(&names.0));
    payload["view_digest"] = json!(row.view_digest);
    let (requirements, context) = (row.requirements.as_deref(), row.context.as_deref());
    payload["shown"] = shown_digest(requirements, context, sensitive.as_deref(), &row.policy).into();
    payload
}

/// Who decided about a call that only leaves a record.
#[derive(Clone, Copy, Debug)]
enum Decider<'a> {
    Policy,
    Requester(&'a Caller),
}

/// A9: the record of a call that nobody else has to approve, decided from birth: by the requester, or, for a bare audit
/// call, by the policy, which is kern itself.
async fn record<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    call: &CallRow,
    policy: &CallPolicy,
    status: ApprovalStatus,
    decider: Decider<'_>,
    now: i64,
) -> Result<ApprovalId> {
    let id = ApprovalId::generate();
    let (actor, resolver) = match decider {
        Decider::Policy => (Actor::Runtime, None),
        Decider::Requester(caller) => (Actor::from(caller), caller.person()),
    };
    let row = approval_row(
        run,
        call,
        policy,
        NewApproval {
            id: id.clone(),
            approval_type: ApprovalType::Audit,
            status,
            requirements: None,
            context: Some(json!({ "tool_names": [call.tool_name], "source_name": run.agent_name }).to_string()),
            resolver,
            note: call.answer_note.as_deref(),
            expires_at: None,
            edited_by: None,
        },
        now,
    )?;
    tx.insert(&row).await?;
    let entry = Entry::new("recorded", actor, &run.run_id).call(call).approval(&id);
    let payload = json!({
        "status": status,
        "tool_name": call.tool_name,
        "version": call.version,
        "policy_digest": call.policy_digest,
    });
    tx.journal().record(entry.payload(with_view(payload, &row)));
    Ok(id)
}

/// PENDING → CANCELLED (A7) or → EXPIRED (A6). Says whether the row was still pending.
async fn close_pending<T: Tx>(
    tx: &mut T,
    approval: &ApprovalRow,
    to: ApprovalStatus,
    actor: Actor,
    resolver: Option<&Principal>,
    now: i64,
) -> Result<bool> {
    use ApprovalRow as A;
    let closed = tx
        .update(
            vec![
                A::C.status.to(to),
                A::C.resolved_at.to(Some(now / 1000)),
                A::C.resolved_by.to(resolver.map(|resolver| resolver.subject.clone())),
                A::C.resolver.to(resolver.cloned().map(Json)),
            ],
            vec![A::C.id.is(approval.id.clone()), A::C.status.is(ApprovalStatus::Pending)],
        )
        .await?;
    if closed == 1 {
        let action = if to == ApprovalStatus::Expired { "expired" } else { "cancelled" };
        let entry = Entry::new(action, actor, &approval.run_id).at(approval.turn, approval.idx);
        tx.journal().record(entry.approval(&approval.id).digest(&approval.digest));
        let topic = if to == ApprovalStatus::Expired { "approval.expired" } else { "approval.cancelled" };
        tx.journal().tell(topic, &approval.run_id, Some(&approval.id), None);
    }
    Ok(closed == 1)
}

/// X8: READY, never started → ABANDONED. Says whether it was.
async fn abandon<T: Tx>(tx: &mut T, execution: &ExecutionRow, why: &str, actor: Actor, now: i64) -> Result<bool> {
    use ExecutionRow as E;
    let abandoned = tx
        .update(
            vec![
                E::C.status.to(ExecutionStatus::Abandoned),
                E::C.error.to(Some(why.to_owned())),
                E::C.finished_at_ms.to(Some(now)),
            ],
            vec![E::C.id.is(execution.id.clone()), E::C.status.is(ExecutionStatus::Ready), E::C.attempt.is(0)],
        )
        .await?;
    if abandoned == 1 {
        let entry = Entry::new("abandoned", actor, &execution.run_id).at(execution.turn, execution.idx);
        let entry = entry.execution(&execution.id).digest(&execution.decided_digest);
        tx.journal().record(entry.payload(json!({ "why": why })));
        tx.journal().tell("execution.settled", &execution.run_id, execution.approval_id.as_ref(), Some(&execution.id));
    }
    Ok(abandoned == 1)
}

/// X5: EXECUTING → UNKNOWN for this very start, or X7: READY → UNKNOWN. Says whether it was still so.
///
/// Owner and fence stay: a body that was given up while it went on reports its result by them (X4b), and `unknown` hides
/// nothing that is known.
async fn lose<T: Tx>(tx: &mut T, execution: &ExecutionRow, why: &str, actor: Actor) -> Result<bool> {
    use ExecutionRow as E;
    let mut expect =
        vec![E::C.id.is(execution.id.clone()), E::C.status.is(execution.status), E::C.fence.is(execution.fence)];
    match execution.status {
        ExecutionStatus::Executing => {}
        ExecutionStatus::Ready => expect.push(E::C.attempt.is(execution.attempt)),
        _ => return Ok(false),
    }
    let lost = tx
        .update(
            vec![
                E::C.status.to(ExecutionStatus::Unknown),
                E::C.error.to(Some(why.to_owned())),
                E::C.lease_until_ms.to(None),
            ],
            expect,
        )
        .await?;
    if lost == 1 {
        let entry = Entry::new("unknown", actor, &execution.run_id).at(execution.turn, execution.idx);
        let entry = entry.execution(&execution.id).digest(&execution.decided_digest);
        let mut payload = json!({ "why": why });
        if execution.status == ExecutionStatus::Ready && execution.attempt == 0 {
            payload["outside"] = true.into();
        }
        tx.journal().record(entry.payload(payload));
        tx.journal().tell("execution.unknown", &execution.run_id, execution.approval_id.as_ref(), Some(&execution.id));
    }
    Ok(lost == 1)
}

/// X6: EXECUTING → READY for this very start, which is given up for another one. Says whether it was still executing.
async fn retry<T: Tx>(tx: &mut T, execution: &ExecutionRow, why: &str, actor: Actor) -> Result<bool> {
    use ExecutionRow as E;
    let given_up = tx
        .update(
            vec![
                E::C.status.to(ExecutionStatus::Ready),
                E::C.error.to(Some(why.to_owned())),
                E::C.owner.to(None),
                E::C.lease_until_ms.to(None),
            ],
            vec![
                E::C.id.is(execution.id.clone()),
                E::C.status.is(ExecutionStatus::Executing),
                E::C.fence.is(execution.fence),
                E::C.attempt.is(execution.attempt),
            ],
        )
        .await?;
    if given_up == 1 {
        let entry = Entry::new("retry", actor, &execution.run_id).at(execution.turn, execution.idx);
        let entry = entry.execution(&execution.id).digest(&execution.decided_digest);
        tx.journal()
            .record(entry.payload(json!({ "why": why, "attempt": execution.attempt, "fence": execution.fence })));
        tx.journal().tell("execution.ready", &execution.run_id, execution.approval_id.as_ref(), Some(&execution.id));
    }
    Ok(given_up == 1)
}

/// What became of an execution that does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GivenUp {
    /// Nothing: it was in another state by then.
    Not,
    Unknown,
    Retry,
    Abandoned,
}

/// X6 for a start that is lost, where its policy lets it be made again, by the rows and by the log; else X5.
async fn lose_start<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: &CallRows,
    execution: &ExecutionRow,
    why: &str,
    actor: Actor,
    now: i64,
) -> Result<GivenUp> {
    let again = may_retry(run, &rows.policy, execution, now)
        && check_binding(run, rows).is_ok()
        && check_retry(rows, &entries(tx, &rows.call).await?).is_ok();
    if again && retry(tx, execution, why, actor.clone()).await? {
        return Ok(GivenUp::Retry);
    }
    Ok(if lose(tx, execution, why, actor).await? { GivenUp::Unknown } else { GivenUp::Not })
}

/// X8 for what never started, X7 for what has, and for what another system may have acted on: as soon as the gate of an
/// external call is open, kern cannot know that nothing has happened.
async fn drop_ready<T: Tx>(
    tx: &mut T,
    rows: &CallRows,
    execution: &ExecutionRow,
    why: &str,
    actor: Actor,
    now: i64,
) -> Result<GivenUp> {
    if execution.attempt == 0 && !is_exposed(rows) {
        return Ok(if abandon(tx, execution, why, actor, now).await? { GivenUp::Abandoned } else { GivenUp::Not });
    }
    Ok(if lose(tx, execution, why, actor).await? { GivenUp::Unknown } else { GivenUp::Not })
}

/// T: what every run that ends does with its open rows, approvals first. Says whether there were any.
async fn close_rows<T: Tx>(tx: &mut T, calls: &[CallRows], actor: &Actor, now: i64) -> Step<bool> {
    let mut any = false;
    let pending = |approval: &&ApprovalRow| approval.status == ApprovalStatus::Pending;
    for approval in calls.iter().filter_map(|rows| rows.approval.as_ref()).filter(pending) {
        any |= close_pending(tx, approval, ApprovalStatus::Cancelled, actor.clone(), None, now).await?;
    }
    let ready = |(_, execution): &(&CallRows, &ExecutionRow)| execution.status == ExecutionStatus::Ready;
    let executions = calls.iter().filter_map(|rows| Some((rows, rows.execution.as_ref()?)));
    for (rows, execution) in executions.filter(ready) {
        let why = match execution.attempt {
            0 if is_exposed(rows) => "the run ended before the other system had reported a result",
            0 => "the run ended before the call was started",
            _ => "the run ended before the call was started again",
        };
        any |= drop_ready(tx, rows, execution, why, actor.clone(), now).await? != GivenUp::Not;
    }
    Ok(any)
}
