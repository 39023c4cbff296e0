//! What can be looked at. Nothing here changes anything.

use super::all_calls;
use crate::cell::{Cond, Json};
use crate::digest::sha256;
use crate::records::approval::{Approval, ApprovalFilter, ApprovalRow, Page, PageMeta, VoteRow};
use crate::records::call::{Call, Standing};
use crate::records::execution::{Execution, ExecutionFilter, ExecutionRow};
use crate::records::principal::Principal;
use crate::records::run::{Run, RunFilter, RunRow};
use crate::requests::{Candidates, Resumable};
use crate::rules::{CallRows, is_due, standing};
use crate::tx::{Query, Tx};
use crate::{Answer, ApprovalId, ApprovalStatus, ApprovalType, Error, Result, RunId, RunStatus, SessionId};

use ApprovalRow as A;
use ExecutionRow as E;
use RunRow as R;

/// Rows a page where the caller names no number.
const PAGE: u32 = 100;
/// Rows a list holds at the most where the caller names no number.
const LIST: u32 = 1000;

pub(crate) async fn run<T: Tx>(tx: &mut T, run_id: RunId) -> Result<Run> {
    let row = super::run(tx, &run_id).await?;
    let calls = all_calls(tx, &run_id).await?;
    run_of(tx, row, calls).await
}

/// A run of rows that this very transaction has read or written.
pub(crate) async fn run_of<T: Tx>(tx: &mut T, row: RunRow, rows: Vec<CallRows>) -> Result<Run> {
    let now = tx.now().await?;
    let mut calls = Vec::with_capacity(rows.len());
    for rows in rows {
        calls.push(call(tx, &row, rows).await?);
    }
    Ok(assemble(row, calls, now))
}

fn assemble(row: RunRow, calls: Vec<Call>, now: i64) -> Run {
    Run {
        lapsed: row.status == RunStatus::Running && row.lease_until_ms.is_none_or(|lease| now >= lease),
        run_id: row.run_id,
        session_id: row.session_id,
        agent_id: row.agent_id,
        agent_name: row.agent_name,
        requester: row.requester.map(|requester| requester.0),
        status: row.status,
        fence: row.fence,
        turn: row.turn,
        recoveries: row.recoveries,
        attention: row.attention,
        snapshot: row.snapshot,
        calls,
        created_at_ms: row.created_at_ms,
        updated_at_ms: row.updated_at_ms,
    }
}

async fn call<T: Tx>(tx: &mut T, run: &RunRow, rows: CallRows) -> Result<Call> {
    let standing = standing(&rows);
    let CallRows { call, policy, approval, execution, .. } = rows;
    let execution = execution.map(Execution::from);
    let approval = match approval {
        Some(row) => {
            let votes = votes(tx, &row.id).await?;
            Some(Approval::assemble(row, Some((run.status, run.updated_at_ms)), votes, execution.clone())?)
        }
        None => None,
    };
    Ok(Call {
        turn: call.turn,
        index: call.idx,
        requirement_id: call.requirement_id,
        tool_call_id: call.tool_call_id,
        tool_name: call.tool_name,
        tool_version: call.tool_version,
        schema_hash: call.schema_hash,
        arguments: call.arguments,
        version: call.version,
        generation: call.generation,
        earlier_requirement_ids: call.earlier_requirements.map(|ids| ids.0).unwrap_or_default(),
        answer_is_current: call.answer == Some(Answer::Confirmed)
            && call.answer_digest.as_deref() == Some(call.digest.as_str()),
        digest: call.digest,
        unfilled: call.unfilled.0,
        policy,
        answer: call.answer,
        answer_note: call.answer_note,
        approval,
        execution,
        standing,
    })
}

async fn votes<T: Tx>(tx: &mut T, id: &ApprovalId) -> Result<Vec<VoteRow>> {
    let query = Query::of(vec![VoteRow::C.approval_id.is(id.clone())]).oldest(VoteRow::C.created_at_ms.order());
    tx.select(query).await
}

/// Runs, oldest first, without their calls.
pub(crate) async fn runs<T: Tx>(tx: &mut T, filter: RunFilter) -> Result<Vec<Run>> {
    let now = tx.now().await?;
    let mut conds = Vec::new();
    conds.extend(filter.agent_id.map(|agent_id| R::C.agent_id.is(agent_id)));
    conds.extend(filter.session_id.map(|session_id| R::C.session_id.is(session_id)));
    conds.extend(filter.status.map(|status| R::C.status.is(status)));
    conds.extend(filter.after.map(|run_id| R::C.run_id.above(run_id)));
    let query = Query::of(conds)
        // Ids are UUIDs of version 7: their order is that of their time, and no two share a place.
        .oldest(R::C.run_id.order())
        .limit(u64::from(filter.limit.unwrap_or(LIST)));
    Ok(tx.select(query).await?.into_iter().map(|row| assemble(row, Vec::new(), now)).collect())
}

/// Which paused runs of an agent wait for nobody, by their rows.
pub(crate) async fn resumable<T: Tx>(tx: &mut T, agent_id: String, candidates: Candidates) -> Result<Resumable> {
    let now = tx.now().await?;
    let paused = || vec![R::C.agent_id.is(agent_id.clone()), R::C.status.is(RunStatus::Paused)];
    let mut found = Resumable::default();
    let run_ids = match candidates {
        Candidates::Page { after, limit } => {
            let conds = paused().into_iter().chain(after.map(|run_id| R::C.run_id.above(run_id))).collect();
            let query = Query::of(conds).oldest(R::C.run_id.order()).limit(u64::from(limit));
            let run_ids = tx.pluck(R::C.run_id, query).await?;
            if run_ids.len() as u64 == u64::from(limit) {
                found.next = run_ids.last().cloned();
            }
            run_ids
        }
        Candidates::These(run_ids) => run_ids,
    };
    for run_id in run_ids {
        let conds = paused().into_iter().chain([R::C.run_id.is(run_id.clone())]).collect();
        match wait(tx, &run_id, conds, now).await {
            Ok(Some(Wait::Nobody)) => found.decided.push(run_id),
            Ok(Some(Wait::Settler)) => found.unknown.push(run_id),
            Ok(Some(Wait::Somebody) | None) => {}
            // Of this run alone: it keeps no other from going on.
            Err(Error::Corrupt { .. }) => found.decided.push(run_id),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Whom a paused run waits for.
enum Wait {
    Nobody,
    /// Whoever can say how a call ended.
    Settler,
    Somebody,
}

/// Whom a run waits for, if it meets the conditions still.
async fn wait<T: Tx>(tx: &mut T, run_id: &RunId, paused: Vec<Cond<RunRow>>, now: i64) -> Result<Option<Wait>> {
    let Some(turn) = tx.pluck(R::C.turn, Query::of(paused)).await?.pop() else { return Ok(None) };
    let mut wait = Wait::Nobody;
    for rows in super::calls(tx, run_id, turn).await? {
        match standing(&rows) {
            Standing::Outcome(_) | Standing::Open | Standing::Missing => {}
            // The claim expires it, and goes on.
            Standing::AwaitsApproval if rows.approval.as_ref().is_some_and(|approval| is_due(approval, now)) => {}
            Standing::Unknown => wait = Wait::Settler,
            Standing::AwaitsApproval | Standing::AwaitsRequester | Standing::Executing => {
                return Ok(Some(Wait::Somebody));
            }
        }
    }
    Ok(Some(wait))
}

/// Snapshots of the newest runs of a session that have ended, oldest first: of this agent, and asked for by this very
/// person. A run of somebody else is never shown, nor one of a person who proved who they are to a mere name; who gave no
/// name sees what was asked without one.
///
/// # Errors
///
/// [`Error::DigestMismatch`]: a snapshot is not the one that was stored. What is left out in silence would be another
/// conversation.
pub(crate) async fn history<T: Tx>(
    tx: &mut T,
    session_id: SessionId,
    agent_id: String,
    requester: Option<Principal>,
    limit: u32,
) -> Result<Vec<String>> {
    let mut ended = Vec::new();
    for status in [RunStatus::Completed, RunStatus::Error, RunStatus::Cancelled] {
        let query = Query::of(vec![
            R::C.session_id.is(session_id.clone()),
            R::C.agent_id.is(agent_id.clone()),
            R::C.requester.is(requester.clone().map(Json)),
            R::C.status.is(status),
        ])
        .newest(R::C.created_at_ms.order())
        .newest(R::C.run_id.order())
        .limit(u64::from(limit));
        ended.extend(tx.select(query).await?);
    }
    ended.sort_by(|one, other| (other.created_at_ms, &other.run_id).cmp(&(one.created_at_ms, &one.run_id)));
    ended.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    ended.into_iter().rev().map(snapshot).collect()
}

/// The snapshot, if it is the one that was stored.
fn snapshot(run: RunRow) -> Result<String> {
    if run.snapshot_digest == sha256(&run.snapshot) {
        return Ok(run.snapshot);
    }
    let what = "the run's snapshot and its digest";
    Err(Error::DigestMismatch { run_id: run.run_id, turn: run.turn, index: 0, what })
}

pub(crate) async fn approval<T: Tx>(tx: &mut T, id: ApprovalId) -> Result<Option<Approval>> {
    let found = tx.select::<ApprovalRow>(Query::of(vec![A::C.id.is(id), A::C.deleted_at.is(None)])).await?;
    match found.into_iter().next() {
        Some(row) => with_rest(tx, row).await.map(Some),
        None => Ok(None),
    }
}

async fn with_rest<T: Tx>(tx: &mut T, row: ApprovalRow) -> Result<Approval> {
    let run = tx.select::<RunRow>(Query::of(vec![R::C.run_id.is(row.run_id.clone())])).await?;
    let run = run.first().map(|run| (run.status, run.updated_at_ms));
    let votes = votes(tx, &row.id).await?;
    // By the call, not by what allows it: what the requester allowed and a row only records is shown with the row, too.
    let query = Query::of(vec![
        E::C.run_id.is(row.run_id.clone()),
        E::C.turn.is(row.turn),
        E::C.idx.is(row.idx),
        E::C.generation.is(row.generation),
    ])
    .limit(1);
    let execution = tx.select::<ExecutionRow>(query).await?.pop().map(Execution::from);
    Approval::assemble(row, run, votes, execution)
}

fn narrowed(filter: &ApprovalFilter) -> Vec<Cond<ApprovalRow>> {
    let mut conds = vec![A::C.deleted_at.is(None)];
    conds.extend(filter.status.map(|status| A::C.status.is(status)));
    conds.extend(filter.source_type.clone().map(|source_type| A::C.source_type.is(source_type)));
    conds.extend(filter.approval_type.map(|approval_type| A::C.approval_type.is(approval_type)));
    conds.extend(filter.pause_type.map(|pause_type| A::C.pause_type.is(pause_type)));
    conds.extend(filter.run_id.clone().map(|run_id| A::C.run_id.is(run_id)));
    conds.extend(filter.session_id.clone().map(|session_id| A::C.session_id.is(session_id)));
    conds.extend(filter.agent_id.clone().map(|agent_id| A::C.agent_id.is(Some(agent_id))));
    conds.extend(filter.team_id.clone().map(|team_id| A::C.team_id.is(Some(team_id))));
    conds.extend(filter.user_id.clone().map(|user_id| A::C.user_id.is(Some(user_id))));
    conds
}

pub(crate) async fn approvals<T: Tx>(tx: &mut T, filter: ApprovalFilter) -> Result<Page<Approval>> {
    let (limit, page) = (filter.limit.unwrap_or(PAGE), filter.page.unwrap_or(1));
    if !(1..=1000).contains(&limit) || page == 0 {
        return Err(Error::Invalid("limit is 1 to 1000, page is 1 or more".to_owned()));
    }
    let total_count = tx.count(narrowed(&filter)).await?;
    let query = Query::of(narrowed(&filter))
        .newest(A::C.created_at.order())
        .newest(A::C.id.order())
        .limit(u64::from(limit))
        .offset(u64::from(page - 1) * u64::from(limit));
    let mut data = Vec::new();
    for row in tx.select::<ApprovalRow>(query).await? {
        data.push(with_rest(tx, row).await?);
    }
    let total_pages = total_count.div_ceil(u64::from(limit));
    Ok(Page { data, meta: PageMeta { page, limit, total_pages, total_count, search_time_ms: 0.0 } })
}

pub(crate) async fn pending_count<T: Tx>(tx: &mut T) -> Result<u64> {
    tx.count(vec![
        A::C.deleted_at.is(None),
        A::C.status.is(ApprovalStatus::Pending),
        A::C.approval_type.is(ApprovalType::Required),
    ])
    .await
}

pub(crate) async fn executions<T: Tx>(tx: &mut T, filter: ExecutionFilter) -> Result<Vec<Execution>> {
    let mut conds = Vec::new();
    conds.extend(filter.run_id.map(|run_id| E::C.run_id.is(run_id)));
    conds.extend(filter.approval_id.map(|approval_id| E::C.approval_id.is(Some(approval_id))));
    conds.extend(filter.status.map(|status| E::C.status.is(status)));
    let query = Query::of(conds)
        .oldest(E::C.created_at_ms.order())
        .oldest(E::C.id.order())
        .limit(u64::from(filter.limit.unwrap_or(LIST)));
    Ok(tx.select(query).await?.into_iter().map(Execution::from).collect())
}
