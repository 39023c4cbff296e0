//! Sessions and runs, from the first message to the last.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use kern_db::{Run, RunFilter, RunId, SessionFilter};

use super::{Failure, Frame, When, arguments, page as made, prose, safe};
use crate::agent::Agent;
use crate::display::Argument;
use crate::os::Os;
use crate::os::access::{Who, shows};
use crate::os::fields::Fields;
use crate::os::problem::Problem;
use crate::run::{Role, RunOutput, ToolExecution};

/// Sessions on one page.
const PAGE: u32 = 50;
/// Runs of a session that are shown.
const RUNS: u32 = 200;

struct SessionRow {
    /// What it is called, else its id.
    title: String,
    path: String,
    agent: Option<String>,
    asked_by: Option<String>,
    runs: u64,
    changed: When,
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct Sessions {
    frame: Frame,
    rows: Vec<SessionRow>,
    number: u32,
    has_more: bool,
}

/// A part of a path: whatever an id holds, it stays one.
pub(super) fn part(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

pub(super) async fn sessions(
    State(os): State<Arc<Os>>,
    who: Who,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let mut fields = Fields::of_query(query.as_deref());
    let number = fields.number("page", 1..=u32::MAX).unwrap_or(1);
    fields.done()?;
    let mut filter = SessionFilter::new().limit(PAGE).page(number);
    if let Some(only) = who.only() {
        filter = filter.user_id(only);
    }
    let found = os.db.list_sessions(filter).await?;
    let row = |session: &kern_db::Session| SessionRow {
        title: safe(session.name.as_deref().unwrap_or(session.session_id.as_str())),
        path: part(session.session_id.as_str()),
        agent: session.agent_name.as_deref().or(session.agent_id.as_deref()).map(safe),
        asked_by: session.requester.as_ref().map(|asked| safe(&asked.subject)),
        runs: session.runs,
        changed: When::of(session.updated_at_ms / 1000),
    };
    let frame = Frame::new(&os, &who, "/panel/sessions", "Sessions");
    let rows = found.data.iter().map(row).collect();
    Ok(made(&Sessions { frame, rows, number, has_more: u64::from(number) < found.meta.total_pages }))
}

/// One message of a run, or a call with what became of it.
struct Said {
    role: &'static str,
    text: String,
    call: Option<Call>,
}

struct Call {
    tool: String,
    arguments: Vec<Argument>,
    outcome: &'static str,
    result: Option<String>,
    approval_id: Option<String>,
}

struct RunRow {
    id: String,
    status: &'static str,
    asked: When,
    said: Vec<Said>,
    attention: bool,
    deleted: Option<When>,
}

#[derive(Template)]
#[template(path = "run.html")]
struct Page {
    frame: Frame,
    session: String,
    session_path: String,
    runs: Vec<RunRow>,
}

fn call(os: &Os, agent_id: &str, tool: &ToolExecution, asked: &[kern_db::Call]) -> Call {
    let name = tool.tool_name.as_deref().unwrap_or_default();
    let approval =
        asked.iter().filter_map(|call| call.approval.as_ref()).find(|row| Some(&row.id) == tool.approval_id.as_ref());
    let outcome = match (&tool.result, tool.tool_call_error) {
        (Some(_), Some(true)) => "failed",
        (Some(_), _) => "done",
        (None, _) if tool.approval_id.is_some() => "waits for a decision",
        (None, _) => "waits",
    };
    Call {
        tool: safe(name),
        arguments: arguments(os, agent_id, name, &tool.tool_args.clone().unwrap_or_default(), approval),
        outcome,
        result: tool.result.as_deref().map(prose),
        approval_id: tool.approval_id.as_ref().map(ToString::to_string),
    }
}

fn row(os: &Os, run: &RunOutput, calls: &[kern_db::Call]) -> RunRow {
    let mut said = Vec::new();
    for message in &run.messages {
        let role = match message.role {
            Role::User => "user",
            Role::Assistant => "agent",
            // What a tool gave stands with its call; the instructions are the agent's.
            _ => continue,
        };
        let text = message.content.as_deref().unwrap_or_default();
        if !text.is_empty() {
            said.push(Said { role, text: prose(text), call: None });
        }
        for asked in &message.tool_calls {
            let tool = run.tools.iter().find(|tool| tool.tool_call_id.as_deref() == Some(asked.id.as_str()));
            said.extend(tool.map(|tool| Said {
                role: "call",
                text: String::new(),
                call: Some(call(os, &run.agent_id, tool, calls)),
            }));
        }
    }
    RunRow {
        id: run.run_id.to_string(),
        status: run.status.as_str(),
        asked: When::of(run.created_at),
        said,
        attention: run.attention,
        deleted: None,
    }
}

/// The agent whose run it is, where whoever asks is shown it. Of a run of an agent that this server does not have, the
/// conversation cannot be read. Of a session that was deleted, only those see it who see everybody's: what was decided has to
/// be understood years later.
fn shown_by<'a>(os: &'a Os, who: &Who, run: &Run) -> Option<&'a Agent> {
    let is_deleted = run.deleted_at_ms.is_some() && who.only().is_some();
    let is_shown = shows(who.only(), run.requester.as_ref().map(|asked| &*asked.subject)) && !is_deleted;
    os.agent(&run.agent_id).filter(|_| is_shown)
}

pub(super) async fn session(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(session_id): Path<String>,
) -> Result<Response, Failure> {
    let found = os.db.list_runs(RunFilter::new().session_id(&*session_id).limit(RUNS)).await?;
    let mut runs = Vec::new();
    for run in found {
        if let Some(agent) = shown_by(&os, &who, &run) {
            // A list has them without their calls.
            let run = os.db.get_run(&run.run_id).await?;
            runs.push(row(&os, &agent.shown(&run)?, &run.calls));
        }
    }
    if runs.is_empty() {
        return Err(Problem::not_found("Session").into());
    }
    let frame = Frame::new(&os, &who, "/panel/sessions", "Session");
    let (session, session_path) = (safe(&session_id), part(&session_id));
    Ok(made(&Page { frame, session, session_path, runs }))
}

pub(super) async fn run(State(os): State<Arc<Os>>, who: Who, Path(run_id): Path<String>) -> Result<Response, Failure> {
    let found = os.db.get_run(&RunId::from(run_id)).await?;
    let Some(agent) = shown_by(&os, &who, &found) else { return Err(Problem::not_found("Run").into()) };
    let deleted = found.deleted_at_ms.map(|at_ms| When::of(at_ms / 1000));
    let runs = vec![RunRow { deleted, ..row(&os, &agent.shown(&found)?, &found.calls) }];
    let frame = Frame::new(&os, &who, "/panel/sessions", "Run");
    let (session, session_path) = (safe(found.session_id.as_str()), part(found.session_id.as_str()));
    Ok(made(&Page { frame, session, session_path, runs }))
}
