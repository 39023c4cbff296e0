//! Sessions and runs, from the first message to the last.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use kern_db::{Outcome, Run, RunFilter, RunId, RunStatus, SessionFilter, SessionId, Standing};

use super::{Failure, Frame, When, arguments, page as made, prose, safe};
use crate::agent::Agent;
use crate::display::Argument;
use crate::identity::Scope;
use crate::os::Os;
use crate::os::access::{Who, is_of, shows};
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
    let frame = Frame::new(&os, &who, "/panel/sessions", "Sessions").await?;
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
    /// Why it cannot continue.
    blocked: Option<String>,
    /// It waits for a person since the store was set back.
    restored: bool,
    /// Its part of the path, where the reader may acknowledge that.
    acknowledges: Option<String>,
    deleted: Option<When>,
}

#[derive(Template)]
#[template(path = "run.html")]
struct Page {
    frame: Frame,
    /// What it is called, else its id.
    session: String,
    /// `None`: there is no page of it.
    session_path: Option<String>,
    runs: Vec<RunRow>,
}

/// What became of a call, in a run that is over or may go on.
fn outcome(tool: &ToolExecution, stored: Option<&kern_db::Call>, is_over: bool) -> &'static str {
    match (stored.map(|call| &call.standing), &tool.result) {
        (Some(Standing::Outcome(outcome)), _) => match outcome {
            Outcome::Succeeded(_) => "done",
            Outcome::Failed(_) => "failed",
            Outcome::Rejected(_) => "rejected",
            Outcome::UserRejected(_) => "refused by its user",
            Outcome::Expired => "expired",
            Outcome::Cancelled => "cancelled",
            _ => "never ran",
        },
        (Some(Standing::Unknown), _) => "nobody knows how it ended",
        (Some(Standing::Executing), _) => "is running",
        (None, Some(_)) if tool.tool_call_error == Some(true) => "failed",
        (None, Some(_)) => "done",
        _ if is_over => "never ran",
        (Some(Standing::AwaitsApproval), _) => "waits for a decision",
        (Some(Standing::AwaitsRequester), _) => "waits for its user",
        (Some(Standing::Missing), _) => "its approval is gone",
        _ => "waits",
    }
}

fn call(os: &Os, run: &RunOutput, tool: &ToolExecution, stored: Option<&kern_db::Call>) -> Call {
    let name = tool.tool_name.as_deref().unwrap_or_default();
    let approval = stored.and_then(|call| call.approval.as_ref());
    let is_over = !matches!(run.status, RunStatus::Running | RunStatus::Paused);
    let outcome = outcome(tool, stored, is_over);
    Call {
        tool: safe(name),
        arguments: arguments(os, &run.agent_id, name, &tool.tool_args.clone().unwrap_or_default(), approval),
        outcome,
        result: tool.result.as_deref().map(prose),
        approval_id: tool.approval_id.as_ref().map(ToString::to_string),
    }
}

/// The first one of these with the model's id for it, which is taken out: a later turn may have the same id again.
fn next<'a, T>(left: &mut Vec<&'a T>, is_it: impl Fn(&T) -> bool) -> Option<&'a T> {
    let place = left.iter().position(|it| is_it(it))?;
    Some(left.remove(place))
}

fn row(os: &Os, run: &RunOutput, calls: &[kern_db::Call]) -> RunRow {
    let mut said = Vec::new();
    let (mut tools, mut calls): (Vec<_>, Vec<_>) = (run.tools.iter().collect(), calls.iter().collect());
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
            let Some(tool) = next(&mut tools, |tool| tool.tool_call_id.as_deref() == Some(asked.id.as_str())) else {
                continue;
            };
            let stored = next(&mut calls, |call| {
                Some(call.tool_call_id.as_str()) == tool.tool_call_id.as_deref()
                    && Some(call.tool_name.as_str()) == tool.tool_name.as_deref()
            });
            said.push(Said { role: "call", text: String::new(), call: Some(call(os, run, tool, stored)) });
        }
    }
    RunRow {
        id: run.run_id.to_string(),
        status: run.status.as_str(),
        asked: When::of(run.created_at),
        said,
        attention: run.attention,
        blocked: run.blocked.as_ref().map(|blocked| prose(&blocked.sentence())),
        restored: false,
        acknowledges: None,
        deleted: None,
    }
}

/// The agent whose run it is, where whoever asks is shown it. Of a run of an agent that this server does not have, the
/// conversation cannot be read. Of a session that was deleted, only those see it who see everybody's: what was decided has to
/// be understood years later.
fn shown_by<'a>(os: &'a Os, who: &Who, run: &Run) -> Option<&'a Agent> {
    let is_deleted = run.deleted_at_ms.is_some() && who.only().is_some();
    let is_shown = shows(who.only(), run.requester.as_ref()) && !is_deleted;
    os.agent(&run.agent_id).filter(|_| is_shown)
}

pub(super) async fn session(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(session_id): Path<String>,
) -> Result<Response, Failure> {
    let found = os.db.run_ids(RunFilter::new().session_id(&*session_id).limit(RUNS), 0).await?;
    let mut runs = Vec::new();
    for id in found {
        let run = os.db.get_run(&id).await?;
        if let Some(agent) = shown_by(&os, &who, &run) {
            runs.push(row(&os, &agent.shown(&run)?, &run.calls));
        }
    }
    let found = os.db.get_session(&SessionId::from(&session_id)).await?.filter(|session| is_of(session, who.only()));
    if runs.is_empty() && found.is_none() {
        return Err(Problem::not_found("Session").into());
    }
    let frame = Frame::new(&os, &who, "/panel/sessions", "Session").await?;
    let session = safe(found.and_then(|session| session.name).as_ref().unwrap_or(&session_id));
    Ok(made(&Page { frame, session, session_path: Some(part(&session_id)), runs }))
}

pub(super) async fn run(State(os): State<Arc<Os>>, who: Who, Path(run_id): Path<String>) -> Result<Response, Failure> {
    let found = os.db.get_run(&RunId::from(run_id)).await?;
    let Some(agent) = shown_by(&os, &who, &found) else { return Err(Problem::not_found("Run").into()) };
    let deleted = found.deleted_at_ms.map(|at_ms| When::of(at_ms / 1000));
    let epoch = os.db.store_status().await?.epoch;
    let restored = found.status == RunStatus::Paused && found.epoch != epoch;
    let may = restored && who.may(&Scope::ExecutionsSettle);
    let acknowledges = may.then(|| part(found.run_id.as_str()));
    let runs = vec![RunRow { deleted, restored, acknowledges, ..row(&os, &agent.shown(&found)?, &found.calls) }];
    let frame = Frame::new(&os, &who, "/panel/sessions", "Run").await?;
    let session = safe(found.session_id.as_str());
    let session_path = found.deleted_at_ms.is_none().then(|| part(found.session_id.as_str()));
    Ok(made(&Page { frame, session, session_path, runs }))
}

/// R13: a person lets a run go on after the store was set back.
pub(super) async fn acknowledge(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(run_id): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let mut fields = Fields::of_form(request, &os.limits).await?;
    let (note, by) = (fields.needed("note"), fields.short("acknowledged_by", 255));
    fields.done()?;
    let path = format!("/panel/runs/{}", part(&run_id));
    os.db.acknowledge_restore(&RunId::from(run_id), who.principal(by), Some(note)).await?;
    Ok(Redirect::to(&path).into_response())
}
