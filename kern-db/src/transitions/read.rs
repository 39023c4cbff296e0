//! What can be looked at. Nothing here changes anything.

use std::collections::HashMap;

use super::all_calls;
use crate::cell::Cond;
use crate::records::approval::{
    Approval, ApprovalFilter, ApprovalJson, ApprovalRow, CursorMeta, Page, PageMeta, VoteRow, cursor_after,
};
use crate::records::call::{Call, Standing};
use crate::records::execution::{Execution, ExecutionFilter, ExecutionRow};
use crate::records::principal::{Owner, Principal};
use crate::records::run::{Run, RunFilter, RunRow};
use crate::records::session::{Session, SessionFilter, SessionOwner, SessionRow, SessionSum};
use crate::requests::{Candidates, Resumable};
use crate::rules::{CallRows, is_confirmed, is_due, standing};
use crate::tx::{Query, Tx};
use crate::{ApprovalId, ApprovalStatus, Error, Result, RunId, RunStatus, SessionId};

use ApprovalRow as A;
use ExecutionRow as E;
use RunRow as R;
use SessionRow as N;
use VoteRow as V;

/// Rows a page where the caller names no number.
const PAGE: u32 = 100;
/// Sessions a page where the caller names no number.
const SESSIONS: u32 = 20;
/// Rows a list holds at the most where the caller names no number.
const LIST: u32 = 1000;
/// Rows that are read before it is known how large they are.
const FIRST_ROWS: u32 = 32;

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
        loaded: row.loaded(),
        epoch: row.epoch,
        lapsed: row.status == RunStatus::Running && row.lease_until_ms.is_none_or(|lease| now >= lease),
        has_input: row.input.is_some(),
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
        erased_at_ms: row.erased_at_ms,
        deleted_at_ms: row.deleted_at_ms,
    }
}

async fn call<T: Tx>(tx: &mut T, run: &RunRow, rows: CallRows) -> Result<Call> {
    let standing = standing(&rows);
    let answer_is_current = is_confirmed(&rows.call, rows.call.version, Some(&rows.call.digest));
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
        answer_is_current,
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
    let query = Query::of(vec![V::C.approval_id.is(id.clone())]).oldest(V::C.created_at_ms.order());
    tx.select(query).await
}

/// Runs, in the order of their ids, without their calls.
pub(crate) async fn runs<T: Tx>(tx: &mut T, filter: RunFilter) -> Result<Vec<Run>> {
    let now = tx.now().await?;
    Ok(tx.select(found_runs(filter)).await?.into_iter().map(|row| assemble(row, Vec::new(), now)).collect())
}

/// The ids of the runs that [`runs`] returns, from row `skip` on. No snapshot is read.
pub(crate) async fn run_ids<T: Tx>(tx: &mut T, filter: RunFilter, skip: u64) -> Result<Vec<RunId>> {
    tx.pluck(R::C.run_id, found_runs(filter).offset(skip)).await
}

fn found_runs(filter: RunFilter) -> Query<RunRow> {
    let mut conds = vec![R::C.deleted_at_ms.is(None)];
    conds.extend(filter.agent_id.map(|agent_id| R::C.agent_id.is(agent_id)));
    conds.extend(filter.session_id.map(|session_id| R::C.session_id.is(session_id)));
    if let Some((user_id, issuer)) = filter.owner.map(Owner::columns) {
        conds.push(R::C.user_id.is(Some(user_id)));
        conds.extend(issuer.map(|issuer| R::C.issuer.is(issuer)));
    }
    conds.extend(filter.status.map(|status| R::C.status.is(status)));
    // Ids are UUIDs of version 7: their order is that of their time, and no two share a place.
    let query = match filter.newest_first {
        true => Query::of(conds).newest(R::C.run_id.order()),
        false => Query::of(conds).oldest(R::C.run_id.order()),
    };
    let query = match filter.after {
        Some(run_id) => query.after(R::C.run_id, run_id),
        None => query,
    };
    query.limit(u64::from(filter.limit.unwrap_or(LIST)))
}

/// Sessions, the last changed first. What is said of a session's start is read from its row and its first run.
pub(crate) async fn sessions<T: Tx>(tx: &mut T, filter: SessionFilter) -> Result<Page<Session>> {
    let (limit, page) = paged(filter.limit, SESSIONS, filter.page)?;
    // Runs of another person are not seen at all: no count and no time of theirs shows.
    let runs = || {
        let mut conds = vec![R::C.deleted_at_ms.is(None)];
        conds.extend(filter.agent_id.clone().map(|agent_id| R::C.agent_id.is(agent_id)));
        if let Some((user_id, issuer)) = filter.owner.clone().map(Owner::columns) {
            conds.push(R::C.user_id.is(Some(user_id)));
            conds.extend(issuer.map(|issuer| R::C.issuer.is(issuer)));
        }
        conds
    };
    let rows = || {
        let mut conds = Vec::new();
        conds.extend(filter.agent_id.clone().map(|agent_id| N::C.agent_id.is(Some(agent_id))));
        if let Some((user_id, issuer)) = filter.owner.clone().map(Owner::columns) {
            conds.push(N::C.user_id.is(Some(user_id)));
            conds.extend(issuer.map(|issuer| N::C.issuer.is(issuer)));
        }
        conds
    };
    let total_count = tx.count_sessions(runs(), rows()).await?;
    let query = Query::of(runs()).limit(u64::from(limit)).offset(u64::from(page - 1) * u64::from(limit));
    let sums = tx.sessions(query, rows()).await?;
    Ok(page_of(with_starts(tx, sums, rows()).await?, (limit, page), total_count))
}

/// Whose a session is. `None`: nobody has made it, and no run of it is there, or it was deleted. Asked before each run that
/// joins one, so that it reads no more than one row, and no snapshot.
pub(crate) async fn session_owner<T: Tx>(tx: &mut T, session_id: SessionId) -> Result<Option<SessionOwner>> {
    let row = Query::of(vec![N::C.session_id.is(session_id.clone())]).limit(1);
    let mut found = tx.pluck(N::C.requester, row).await?;
    if found.is_empty() {
        let runs = vec![R::C.session_id.is(session_id), R::C.deleted_at_ms.is(None)];
        found = tx.pluck(R::C.requester, Query::of(runs).oldest(R::C.run_id.order()).limit(1)).await?;
    }
    Ok(found.pop().map(|requester| SessionOwner { requester: requester.map(|requester| requester.0) }))
}

/// Who asked for a run. Asked for each run that listeners are told of, so that no snapshot is read.
pub(crate) async fn run_owner<T: Tx>(tx: &mut T, run_id: RunId) -> Result<Option<Principal>> {
    let found = tx.pluck(R::C.requester, Query::of(vec![R::C.run_id.is(run_id.clone())])).await?.pop();
    let requester = found.ok_or_else(|| Error::NotFound { entity: "run", id: run_id.to_string() })?;
    Ok(requester.map(|requester| requester.0))
}

/// One session, with all of its runs. `None`: nobody has made it, and no run of it is there, or it was deleted.
pub(crate) async fn session<T: Tx>(tx: &mut T, session_id: SessionId) -> Result<Option<Session>> {
    let runs = vec![R::C.session_id.is(session_id.clone()), R::C.deleted_at_ms.is(None)];
    let sums = tx.sessions(Query::of(runs), vec![N::C.session_id.is(session_id)]).await?;
    Ok(with_starts(tx, sums, Vec::new()).await?.pop())
}

/// What else is said of sessions: by their first runs, and by those of their rows that meet the conditions.
async fn with_starts<T: Tx>(tx: &mut T, sums: Vec<SessionSum>, of_rows: Vec<Cond<SessionRow>>) -> Result<Vec<Session>> {
    let columns = (R::C.run_id, (R::C.agent_id, R::C.agent_name, R::C.requester, R::C.created_at_ms));
    let query = Query::of(Vec::new()).among(R::C.run_id, sums.iter().filter_map(|sum| sum.first_run.clone()));
    let mut firsts: HashMap<_, _> = tx.pluck(columns, query).await?.into_iter().collect();
    let query = Query::of(of_rows).among(N::C.session_id, sums.iter().map(|sum| sum.session_id.clone()));
    let rows = tx.select(query).await?.into_iter().map(|row: SessionRow| (row.session_id.clone(), row));
    let mut rows: HashMap<_, _> = rows.collect();
    let session = |sum: SessionSum| {
        let SessionSum { session_id, runs, first_run, updated_at_ms } = sum;
        let missing = |id: &RunId| Error::corrupt("runs.run_id", format!("`{id}` is there and is not found"));
        let first = first_run.as_ref().map(|id| firsts.remove(id).ok_or_else(|| missing(id))).transpose()?;
        let row = rows.remove(&session_id);
        let (agent_id, agent_name, requester, started_at_ms) = match first {
            Some((agent_id, agent_name, requester, at_ms)) => (Some(agent_id), agent_name, requester, Some(at_ms)),
            None => (None, None, None, None),
        };
        let made_at_ms = row.as_ref().map(|row| row.created_at_ms);
        let nothing = || Error::corrupt("sessions.session_id", format!("`{session_id}` is there and is not found"));
        let created_at_ms = made_at_ms.into_iter().chain(started_at_ms).min().ok_or_else(nothing)?;
        let (made_for, made_by, name, metadata) = match row {
            Some(row) => (row.agent_id, row.requester, row.name, row.metadata),
            None => (None, requester.clone(), None, None),
        };
        Ok(Session {
            agent_id: made_for.or(agent_id),
            agent_name,
            requester: made_by.map(|requester| requester.0),
            name,
            metadata: metadata.map(|metadata| metadata.0),
            first_run,
            runs,
            created_at_ms,
            updated_at_ms,
            session_id,
        })
    };
    sums.into_iter().map(session).collect()
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
    let (subject, issuer) = requester.map_or((None, None), |requester| (Some(requester.subject), requester.issuer));
    let mut ended = Vec::new();
    for status in [RunStatus::Completed, RunStatus::Error, RunStatus::Cancelled] {
        let query = Query::of(vec![
            R::C.session_id.is(session_id.clone()),
            R::C.agent_id.is(agent_id.clone()),
            R::C.user_id.is(subject.clone()),
            R::C.issuer.is(issuer.clone()),
            R::C.status.is(status),
            R::C.deleted_at_ms.is(None),
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
    if run.snapshot_digest == run.digest_of_snapshot() {
        return Ok(run.snapshot);
    }
    let what = "the run's snapshot and its digest";
    Err(Error::DigestMismatch { run_id: run.run_id, turn: run.turn, index: 0, what })
}

pub(crate) async fn approval<T: Tx>(tx: &mut T, id: ApprovalId) -> Result<Option<Approval>> {
    let found = tx.select::<ApprovalRow>(Query::of(vec![A::C.id.is(id), A::C.deleted_at.is(None)])).await?;
    match found.into_iter().next() {
        Some(row) => Ok(with_rest(tx, vec![row]).await?.pop()),
        None => Ok(None),
    }
}

/// What is read beside approvals: by one query for each table, however many they are.
#[derive(Default)]
struct Rest {
    runs: HashMap<RunId, (RunStatus, i64)>,
    votes: HashMap<ApprovalId, Vec<VoteRow>>,
    executions: HashMap<(RunId, u32, u32, u32), Execution>,
}

impl Rest {
    async fn of<T: Tx>(tx: &mut T, rows: &[ApprovalRow]) -> Result<Self> {
        let mut rest = Self::default();
        if rows.is_empty() {
            return Ok(rest);
        }
        let columns = (R::C.run_id, R::C.status, R::C.updated_at_ms);
        let query = Query::of(Vec::new()).among(R::C.run_id, rows.iter().map(|row| row.run_id.clone()));
        rest.runs =
            tx.pluck(columns, query).await?.into_iter().map(|(id, status, updated)| (id, (status, updated))).collect();
        let query = Query::of(Vec::new())
            .among(V::C.approval_id, rows.iter().map(|row| row.id.clone()))
            .oldest(V::C.created_at_ms.order());
        for vote in tx.select::<VoteRow>(query).await? {
            rest.votes.entry(vote.approval_id.clone()).or_default().push(vote);
        }
        // By the call, not by what allows it: what the requester allowed and a row only records is shown with the row, too.
        let query = Query::of(Vec::new())
            .among((E::C.run_id, E::C.turn, E::C.idx, E::C.generation), rows.iter().map(Self::call_of));
        for row in tx.select::<ExecutionRow>(query).await? {
            rest.executions.insert((row.run_id.clone(), row.turn, row.idx, row.generation), Execution::from(row));
        }
        Ok(rest)
    }

    fn call_of(row: &ApprovalRow) -> (RunId, u32, u32, u32) {
        (row.run_id.clone(), row.turn, row.idx, row.generation)
    }
}

/// Approvals with what is read beside their rows.
async fn with_rest<T: Tx>(tx: &mut T, rows: Vec<ApprovalRow>) -> Result<Vec<Approval>> {
    let mut rest = Rest::of(tx, &rows).await?;
    rows.into_iter()
        .map(|row| {
            let run = rest.runs.get(&row.run_id).copied();
            let votes = rest.votes.remove(&row.id).unwrap_or_default();
            let execution = rest.executions.remove(&Rest::call_of(&row));
            Approval::assemble(row, run, votes, execution)
        })
        .collect()
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
    conds.extend(filter.workflow_id.clone().map(|workflow_id| A::C.workflow_id.is(Some(workflow_id))));
    conds.extend(filter.schedule_id.clone().map(|schedule_id| A::C.schedule_id.is(Some(schedule_id))));
    if let Some((user_id, issuer)) = filter.owner.clone().map(Owner::columns) {
        conds.push(A::C.user_id.is(Some(user_id)));
        conds.extend(issuer.map(|issuer| A::C.issuer.is(issuer)));
    }
    conds
}

/// How many rows a page has, and which page it is.
fn paged(limit: Option<u32>, otherwise: u32, page: Option<u32>) -> Result<(u32, u32)> {
    let (limit, page) = (limit.unwrap_or(otherwise), page.unwrap_or(1));
    if !(1..=1000).contains(&limit) || page == 0 {
        return Err(Error::Invalid("limit is 1 to 1000, page is 1 or more".to_owned()));
    }
    Ok((limit, page))
}

fn page_of<V>(data: Vec<V>, (limit, page): (u32, u32), total_count: u64) -> Page<V> {
    let total_pages = total_count.div_ceil(u64::from(limit));
    Page { data, meta: PageMeta { page, limit, total_pages, total_count, search_time_ms: 0.0 } }
}

/// How many approvals a page has, and which page it is.
fn approvals_paged(filter: &ApprovalFilter) -> Result<(u32, u32)> {
    let (limit, page) = paged(filter.limit, PAGE, filter.page)?;
    if filter.after.is_some() && page > 1 {
        return Err(Error::Invalid("a page is found by its number or by what comes before it, not by both".to_owned()));
    }
    Ok((limit, page))
}

/// The rows of a page of approvals, and where it stands.
async fn listed<T: Tx>(tx: &mut T, filter: ApprovalFilter) -> Result<Page<ApprovalRow>> {
    let (limit, page) = approvals_paged(&filter)?;
    let total_count = tx.count(narrowed(&filter)).await?;
    let mut query = Query::of(narrowed(&filter))
        .newest(A::C.created_at.order())
        .newest(A::C.id.order())
        .limit(u64::from(limit))
        .offset(u64::from(page - 1) * u64::from(limit));
    if let Some(last) = filter.after {
        query = query.after((A::C.created_at, A::C.id), last);
    }
    let rows = tx.select::<ApprovalRow>(query).await?;
    Ok(page_of(rows, (limit, page), total_count))
}

pub(crate) async fn approvals<T: Tx>(tx: &mut T, filter: ApprovalFilter) -> Result<Page<Approval>> {
    let Page { data, meta } = listed(tx, filter).await?;
    Ok(Page { data: with_rest(tx, data).await?, meta })
}

/// The page that [`approvals`] returns, as JSON with `meta.next_cursor`. Made of the rows: most of what a page costs would be
/// values that are made only to be written again.
///
/// A page of more than `most_bytes` ends before the row that does not fit, and its cursor leads to that row; one row is always
/// there. Rows are read a few at a time, so that no page takes much more memory than that.
///
/// # Errors
///
/// [`Error::Invalid`]: a page that was asked for by its number has more bytes. Cut short, it would hide rows: the next number
/// names the rows after those that were left out.
pub(crate) async fn approvals_json<T: Tx>(tx: &mut T, filter: ApprovalFilter, most_bytes: usize) -> Result<Vec<u8>> {
    let (limit, page) = approvals_paged(&filter)?;
    let total_count = tx.count(narrowed(&filter)).await?;
    let mut json = br#"{"data":["#.to_vec();
    let mut last = filter.after.clone();
    let mut offset = u64::from(page - 1) * u64::from(limit);
    let (mut listed, mut has_more, mut rows_at_once) = (0, false, FIRST_ROWS);
    'page: loop {
        // One row more than the page has shows whether there is a next one.
        let wanted = (limit - listed + 1).min(rows_at_once);
        let mut query = Query::of(narrowed(&filter))
            .newest(A::C.created_at.order())
            .newest(A::C.id.order())
            .limit(u64::from(wanted))
            .offset(offset);
        if let Some(last) = last.clone() {
            query = query.after((A::C.created_at, A::C.id), last);
        }
        let rows = tx.select::<ApprovalRow>(query).await?;
        let rest = Rest::of(tx, &rows).await?;
        for row in &rows {
            if listed == limit {
                has_more = true;
                break 'page;
            }
            let start = json.len();
            if listed > 0 {
                json.push(b',');
            }
            let votes = rest.votes.get(&row.id).map_or(&[][..], Vec::as_slice);
            let (run, execution) = (rest.runs.get(&row.run_id).copied(), rest.executions.get(&Rest::call_of(row)));
            serde_json::to_writer(&mut json, &ApprovalJson::assemble(row, run, votes, execution)?)
                .expect("a row is JSON");
            if json.len() > most_bytes && listed > 0 {
                if filter.page.is_some() {
                    let what = "ask for fewer rows with `limit`, or go on with `cursor` instead of `page`";
                    return Err(Error::Invalid(format!("this page has more than {most_bytes} bytes: {what}")));
                }
                json.truncate(start);
                has_more = true;
                break 'page;
            }
            listed += 1;
            last = Some((row.created_at, row.id.clone()));
        }
        if rows.len() < usize::try_from(wanted).unwrap_or(usize::MAX) {
            break;
        }
        offset = 0;
        let bytes_a_row = json.len() / usize::try_from(listed.max(1)).unwrap_or(1) + 1;
        let fitting = most_bytes.saturating_sub(json.len()) / bytes_a_row + 1;
        rows_at_once = u32::try_from(fitting).unwrap_or(u32::MAX);
    }
    let Page { meta, .. } = page_of(Vec::<()>::new(), (limit, page), total_count);
    let next_cursor = last.as_ref().filter(|_| has_more).map(cursor_after);
    json.extend_from_slice(br#"],"meta":"#);
    serde_json::to_writer(&mut json, &CursorMeta { meta, next_cursor }).expect("a page is JSON");
    json.push(b'}');
    Ok(json)
}

pub(crate) async fn approval_count<T: Tx>(tx: &mut T, filter: ApprovalFilter) -> Result<u64> {
    tx.count(narrowed(&filter)).await
}

/// What waits for somebody. A record never does, so that the status says it all.
pub(crate) async fn pending_count<T: Tx>(tx: &mut T) -> Result<u64> {
    approval_count(tx, ApprovalFilter::new().status(ApprovalStatus::Pending)).await
}

pub(crate) async fn executions<T: Tx>(tx: &mut T, filter: ExecutionFilter) -> Result<Vec<Execution>> {
    let limit = u64::from(filter.limit.unwrap_or(LIST));
    let query = Query::of(narrowed_executions(filter)).oldest(E::C.created_at_ms.order()).oldest(E::C.id.order());
    Ok(tx.select(query.limit(limit)).await?.into_iter().map(Execution::from).collect())
}

pub(crate) async fn execution_count<T: Tx>(tx: &mut T, filter: ExecutionFilter) -> Result<u64> {
    tx.count(narrowed_executions(filter)).await
}

fn narrowed_executions(filter: ExecutionFilter) -> Vec<Cond<ExecutionRow>> {
    let mut conds = Vec::new();
    conds.extend(filter.run_id.map(|run_id| E::C.run_id.is(run_id)));
    conds.extend(filter.approval_id.map(|approval_id| E::C.approval_id.is(Some(approval_id))));
    conds.extend(filter.status.map(|status| E::C.status.is(status)));
    conds
}
