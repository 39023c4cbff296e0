//! What kern's server is held against: axum and rusqlite with nothing between them. It checks nothing, and it knows nothing of
//! who asks.
//!
//! Its list reads the same rows and columns of the same file in one transaction, and gives the same bytes; stored JSON goes
//! through as it is. Its decision is one conditional update, committed by itself as durably as kern's.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::extract::{self, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use rusqlite::{Connection, OpenFlags, Row};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Reads that run at the same time, as many as kern's.
const READERS: usize = 4;

struct Bare {
    places: Semaphore,
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Connection>,
}

#[derive(Serialize)]
struct Page {
    data: Vec<Approval>,
    meta: Meta,
}

#[derive(Serialize)]
struct Meta {
    page: u32,
    limit: u32,
    total_pages: u64,
    total_count: u64,
    search_time_ms: f64,
}

#[derive(Serialize)]
struct Approval {
    id: String,
    run_id: String,
    session_id: String,
    status: String,
    source_type: String,
    approval_type: String,
    pause_type: String,
    tool_name: String,
    tool_args: Option<Box<RawValue>>,
    expires_at: Option<i64>,
    agent_id: Option<String>,
    team_id: Option<String>,
    workflow_id: Option<String>,
    user_id: Option<String>,
    schedule_id: Option<String>,
    schedule_run_id: Option<String>,
    source_name: Option<String>,
    requirements: Option<Box<RawValue>>,
    context: Option<Box<RawValue>>,
    resolution_data: Option<Box<RawValue>>,
    resolved_by: Option<String>,
    resolved_at: Option<i64>,
    created_at: i64,
    updated_at: Option<i64>,
    run_status: Option<String>,
    resolved_by_verified: bool,
    tool_call_id: String,
    version: u32,
    digest: String,
    pool: Option<String>,
    quorum: u32,
    votes: Vec<Vote>,
    edited_by: Option<Box<RawValue>>,
    sensitive: Box<RawValue>,
    execution: Option<Execution>,
}

#[derive(Serialize)]
struct Vote {
    voter: Option<String>,
    verified: bool,
    version: u32,
    digest: String,
    created_at_ms: i64,
    resolution_data: Option<Box<RawValue>>,
    member_until_ms: Option<i64>,
}

#[derive(Serialize)]
struct Execution {
    id: String,
    run_id: String,
    turn: u32,
    index: u32,
    generation: u32,
    approval_id: Option<String>,
    authority: String,
    tool_name: String,
    arguments: String,
    decided_digest: String,
    status: String,
    attempt: u32,
    fence: i64,
    result: Option<String>,
    error: Option<String>,
    settled_by: Option<String>,
    note: Option<String>,
    created_at_ms: i64,
    started_at_ms: Option<i64>,
    finished_at_ms: Option<i64>,
}

#[derive(Deserialize)]
struct Policy {
    pool: Option<String>,
    #[serde(default = "one")]
    quorum: u32,
}

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
struct Person {
    subject: String,
    verified: bool,
}

const PAGE: &str = "
    SELECT a.id, a.run_id, a.session_id, a.status, a.source_type, a.approval_type, a.pause_type, a.tool_name, a.tool_args,
      a.expires_at, a.agent_id, a.team_id, a.workflow_id, a.user_id, a.schedule_id, a.schedule_run_id, a.source_name,
      a.requirements, a.context, a.resolution_data, a.resolved_by, a.resolved_at, a.created_at, r.updated_at_ms / 1000,
      r.status, a.resolver, a.tool_call_id, a.version, a.digest, a.policy, a.edited_by, a.sensitive,
      e.id, e.run_id, e.turn, e.idx, e.generation, e.approval_id, e.authority, e.tool_name, e.arguments, e.decided_digest,
      e.status, e.attempt, e.fence, e.result, e.error, e.settled_by, e.note, e.created_at_ms, e.started_at_ms,
      e.finished_at_ms
    FROM kern_approvals a
    LEFT JOIN kern_runs r ON r.run_id = a.run_id
    LEFT JOIN kern_executions e
      ON e.run_id = a.run_id AND e.turn = a.turn AND e.idx = a.idx AND e.generation = a.generation
    WHERE a.deleted_at IS NULL ORDER BY a.created_at DESC, a.id DESC LIMIT ?";
const VOTES: &str = "
    SELECT voter, version, digest, created_at_ms, resolution_data, member_until_ms FROM kern_votes
    WHERE approval_id = ? ORDER BY created_at_ms";
const COUNT: &str = "
    SELECT pending + approved + rejected + expired + cancelled FROM kern_approvals_counts WHERE whose = '*'";

fn raw(row: &Row<'_>, place: usize) -> rusqlite::Result<Option<Box<RawValue>>> {
    let text: Option<String> = row.get(place)?;
    Ok(text.map(|text| RawValue::from_string(text).expect("it is JSON")))
}

fn person(text: Option<&str>) -> Option<Person> {
    text.map(|text| serde_json::from_str(text).expect("it is JSON"))
}

fn approval(row: &Row<'_>) -> rusqlite::Result<Approval> {
    let resolver = person(row.get_ref(25)?.as_str_or_null()?);
    let policy: Policy = serde_json::from_str(row.get_ref(29)?.as_str()?).expect("it is JSON");
    let execution = match row.get::<_, Option<String>>(32)? {
        None => None,
        Some(id) => Some(Execution {
            id,
            run_id: row.get(33)?,
            turn: row.get(34)?,
            index: row.get(35)?,
            generation: row.get(36)?,
            approval_id: row.get(37)?,
            authority: row.get(38)?,
            tool_name: row.get(39)?,
            arguments: row.get(40)?,
            decided_digest: row.get(41)?,
            status: row.get(42)?,
            attempt: row.get(43)?,
            fence: row.get(44)?,
            result: row.get(45)?,
            error: row.get(46)?,
            settled_by: row.get(47)?,
            note: row.get(48)?,
            created_at_ms: row.get(49)?,
            started_at_ms: row.get(50)?,
            finished_at_ms: row.get(51)?,
        }),
    };
    Ok(Approval {
        id: row.get(0)?,
        run_id: row.get(1)?,
        session_id: row.get(2)?,
        status: row.get(3)?,
        source_type: row.get(4)?,
        approval_type: row.get(5)?,
        pause_type: row.get(6)?,
        tool_name: row.get(7)?,
        tool_args: raw(row, 8)?,
        expires_at: row.get(9)?,
        agent_id: row.get(10)?,
        team_id: row.get(11)?,
        workflow_id: row.get(12)?,
        user_id: row.get(13)?,
        schedule_id: row.get(14)?,
        schedule_run_id: row.get(15)?,
        source_name: row.get(16)?,
        requirements: raw(row, 17)?,
        context: raw(row, 18)?,
        resolution_data: raw(row, 19)?,
        resolved_by: row.get(20)?,
        resolved_at: row.get(21)?,
        created_at: row.get(22)?,
        updated_at: row.get(23)?,
        run_status: row.get(24)?,
        resolved_by_verified: resolver.is_some_and(|resolver| resolver.verified),
        tool_call_id: row.get(26)?,
        version: row.get(27)?,
        digest: row.get(28)?,
        pool: policy.pool,
        quorum: policy.quorum,
        votes: Vec::new(),
        edited_by: raw(row, 30)?,
        sensitive: match raw(row, 31)? {
            Some(names) => names,
            None => RawValue::from_string("[]".to_owned()).expect("it is JSON"),
        },
        execution,
    })
}

fn vote(row: &Row<'_>) -> rusqlite::Result<Vote> {
    let voter = person(row.get_ref(0)?.as_str_or_null()?);
    Ok(Vote {
        verified: voter.as_ref().is_some_and(|voter| voter.verified),
        voter: voter.map(|voter| voter.subject),
        version: row.get(1)?,
        digest: row.get(2)?,
        created_at_ms: row.get(3)?,
        resolution_data: raw(row, 4)?,
        member_until_ms: row.get(5)?,
    })
}

fn page(connection: &Connection, limit: u32) -> rusqlite::Result<Page> {
    let read = connection.unchecked_transaction()?;
    let total_count: i64 = read.prepare_cached(COUNT)?.query_row((), |row| row.get(0))?;
    let mut data: Vec<Approval> = Vec::with_capacity(limit as usize);
    let mut found = read.prepare_cached(PAGE)?;
    for row in found.query_map([limit], approval)? {
        data.push(row?);
    }
    let mut votes = read.prepare_cached(VOTES)?;
    for approval in &mut data {
        approval.votes = votes.query_map([&approval.id], vote)?.collect::<Result<_, _>>()?;
    }
    let total_count = total_count.unsigned_abs();
    let total_pages = total_count.div_ceil(limit.into());
    Ok(Page { data, meta: Meta { page: 1, limit, total_pages, total_count, search_time_ms: 0.0 } })
}

#[derive(Deserialize)]
struct Asked {
    limit: u32,
}

async fn list(State(bare): State<Arc<Bare>>, Query(asked): Query<Asked>) -> Json<Page> {
    let _place = bare.places.acquire().await.expect("it is never closed");
    let readers = Arc::clone(&bare);
    let read = move || {
        let connection = readers.readers.lock().expect("nobody panics").pop().expect("a place is a connection");
        let page = page(&connection, asked.limit).expect("it is read");
        readers.readers.lock().expect("nobody panics").push(connection);
        page
    };
    Json(tokio::task::spawn_blocking(read).await.expect("it does not panic"))
}

#[derive(Deserialize)]
struct Decision {
    status: String,
    resolved_by: String,
}

#[derive(Serialize)]
struct Decided {
    id: String,
    status: String,
}

const RESOLVE: &str = "
    UPDATE kern_approvals SET status = ?2, resolved_by = ?3, resolved_at = unixepoch(), decided_digest = digest
    WHERE id = ?1 AND status = 'pending'";

async fn resolve(
    State(bare): State<Arc<Bare>>,
    extract::Path(id): extract::Path<String>,
    Json(decision): Json<Decision>,
) -> Result<Json<Decided>, StatusCode> {
    let write = move || {
        let writer = bare.writer.lock().expect("nobody panics");
        let mut statement = writer.prepare_cached(RESOLVE)?;
        let changed = statement.execute((&id, &decision.status, &decision.resolved_by))?;
        Ok::<_, rusqlite::Error>((changed == 1).then_some(Decided { id, status: decision.status }))
    };
    let decided = tokio::task::spawn_blocking(write).await.expect("it does not panic").expect("it is written");
    decided.map(Json).ok_or(StatusCode::CONFLICT)
}

/// Serves the lists of one file and the decisions of another.
pub(crate) async fn serve(listener: TcpListener, lists: &Path, decisions: &Path) {
    let reader = || {
        let connection = Connection::open_with_flags(lists, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the file opens");
        connection.set_prepared_statement_cache_capacity(64);
        connection
    };
    let writer = Connection::open(decisions).expect("the file opens");
    writer.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").expect("the file takes the settings");
    let bare = Bare {
        places: Semaphore::new(READERS),
        readers: Mutex::new((0..READERS).map(|_| reader()).collect()),
        writer: Mutex::new(writer),
    };
    let router = Router::new()
        .route("/health", get(async || "{}"))
        .route("/approvals", get(list))
        .route("/approvals/{id}/resolve", post(resolve))
        .with_state(Arc::new(bare));
    axum::serve(listener, router).await.expect("it serves until it is killed");
}

/// Makes the file of the decisions: the approvals of another one with their indexes, and without triggers.
pub(crate) fn copy(lists: &Path, decisions: &Path) {
    let connection = Connection::open(decisions).expect("a file can be made");
    connection.execute("ATTACH ? AS kern", [lists.to_str().expect("a path of letters")]).expect("the file is there");
    let mut schema = connection
        .prepare("SELECT sql FROM kern.sqlite_schema WHERE tbl_name = 'kern_approvals' AND type IN ('table', 'index') AND sql IS NOT NULL ORDER BY type DESC")
        .expect("the schema can be read");
    let schema: Vec<String> =
        schema.query_map((), |row| row.get(0)).and_then(Iterator::collect).expect("the schema can be read");
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; {};
             INSERT INTO main.kern_approvals SELECT * FROM kern.kern_approvals; PRAGMA wal_checkpoint(TRUNCATE)",
            schema.join(";")
        ))
        .expect("the rows are copied");
}
