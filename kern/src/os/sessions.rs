//! Sessions: what runs with the same `session_id` have in common. No row is a session; it is there as long as its runs are.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use kern_db::{Run, RunFilter, RunStatus, Session, SessionFilter};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Os;
use super::access::Who;
use super::fields::Fields;
use super::json::{page, run_schema, time, without_nulls};
use super::openapi::{ProblemAnswer, QueryProblems};
use super::problem::Problem;
use crate::run::{Role, RunOutput};

/// Runs of a session that are shown.
const RUNS: u32 = 1000;
/// Sessions a page.
const PAGE: u32 = 20;

pub(super) fn routes() -> OpenApiRouter<Arc<Os>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(runs)).routes(routes!(run))
}

/// What is asked for is of agents: of teams and workflows there is nothing yet.
fn is_of_agents(fields: &mut Fields) -> bool {
    fields.one_of::<String>("type", &["agent", "team", "workflow"]).is_none_or(|kind| kind == "agent")
}

/// Whose runs are shown: those of whoever sees no others, else what is asked for.
fn whose(fields: &mut Fields, who: &Who) -> Option<String> {
    let asked = fields.text("user_id");
    who.only().map(str::to_owned).or(asked)
}

/// Lists the sessions, the last changed first.
#[utoipa::path(get, path = "/sessions", tag = "sessions",
    params(("type" = Option<String>, Query, description = "`agent`, `team` or `workflow`"),
        ("component_id" = Option<String>, Query, description = "Only of this agent"),
        ("user_id" = Option<String>, Query, description = "Only runs that this person asked for"),
        ("limit" = Option<u32>, Query, description = "Sessions a page, 1 to 1000, 20 by default", minimum = 1, maximum = 1000),
        ("page" = Option<u32>, Query, description = "The page, from 1", minimum = 1)),
    responses((status = 200, description = "A page of sessions", body = Value), QueryProblems))]
async fn list(State(os): State<Arc<Os>>, who: Who, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::of_query(query.as_deref());
    let of_agents = is_of_agents(&mut fields);
    let limit = fields.number("limit", 1..=1000_u32).unwrap_or(PAGE);
    let number = fields.number("page", 1..=u32::MAX).unwrap_or(1);
    let mut filter = SessionFilter::new().limit(limit).page(number);
    if let Some(agent_id) = fields.text("component_id") {
        filter = filter.agent_id(agent_id);
    }
    if let Some(user_id) = whose(&mut fields, &who) {
        filter = filter.user_id(user_id);
    }
    fields.done()?;
    if !of_agents {
        return Ok(Json(page(Vec::new(), number, limit, 0)));
    }
    let sessions = os.db.list_sessions(filter).await?;
    let mut data = Vec::new();
    for session in sessions.data {
        data.push(summary(&os, &session).await?);
    }
    Ok(Json(page(data, number, limit, sessions.meta.total_count)))
}

async fn summary(os: &Os, session: &Session) -> Result<Value, Problem> {
    let first = os.db.get_run(&session.first_run).await?;
    Ok(json!({
        "session_id": session.session_id,
        "session_name": shown(os, &first).await?.map(|run| run.input.input_content),
        "session_state": {},
        "created_at": time(session.created_at_ms / 1000),
        "updated_at": time(session.updated_at_ms / 1000),
        "session_type": "agent",
        "user_id": session.requester.as_ref().map(|requester| &requester.subject),
        "agent_id": session.agent_id,
        "metrics": {},
    }))
}

/// A run as its agent shows it. `None`: this server does not have the agent.
async fn shown(os: &Os, run: &Run) -> Result<Option<RunOutput>, Problem> {
    match os.agent(&run.agent_id) {
        Some(agent) => Ok(Some(agent.get_run(&run.run_id).await?)),
        None => Ok(None),
    }
}

/// The runs of a session, oldest first. Of one without runs it is said that it is not there.
async fn runs_of(os: &Os, who: &Who, session_id: &str, query: Option<&str>) -> Result<Vec<RunOutput>, Problem> {
    let mut fields = Fields::of_query(query);
    let of_agents = is_of_agents(&mut fields);
    let user_id = whose(&mut fields, who);
    let status = fields.one_of::<RunStatus>("status", super::runs::STATUSES);
    fields.done()?;
    let mut filter = RunFilter::new().session_id(session_id).limit(RUNS);
    if let Some(user_id) = user_id {
        filter = filter.user_id(user_id);
    }
    if let Some(status) = status {
        filter = filter.status(status);
    }
    let mut runs = Vec::new();
    if of_agents {
        for run in os.db.list_runs(filter).await? {
            runs.extend(shown(os, &run).await?);
        }
    }
    if runs.is_empty() { Err(Problem::not_found("Session")) } else { Ok(runs) }
}

/// Shows a session with what was said in it.
#[utoipa::path(get, path = "/sessions/{session_id}", tag = "sessions",
    params(("session_id" = String, Path, description = "The session"),
        ("type" = Option<String>, Query, description = "`agent`, `team` or `workflow`"),
        ("user_id" = Option<String>, Query, description = "Only runs that this person asked for")),
    responses((status = 200, description = "The session", body = Value), (status = 404, response = ProblemAnswer),
        QueryProblems))]
async fn get(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(session_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let runs = runs_of(&os, &who, &session_id, query.as_deref()).await?;
    let first = runs.first().ok_or_else(|| Problem::not_found("Session"))?;
    let updated_at = runs.iter().map(|run| run.created_at).max();
    // What tools gave is in the runs.
    let history: Vec<_> =
        runs.iter().flat_map(|run| &run.messages).filter(|message| message.role != Role::Tool).collect();
    Ok(Json(json!({
        "user_id": first.user_id,
        "agent_session_id": first.session_id,
        "session_id": first.session_id,
        "session_name": first.input.input_content,
        "session_state": first.session_state,
        "agent_id": first.agent_id,
        "agent_data": {
            "name": first.agent_name,
            "agent_id": first.agent_id,
            "model": { "provider": first.model_provider, "name": first.model_provider, "id": first.model },
        },
        "metrics": {},
        "chat_history": history,
        "created_at": time(first.created_at),
        "updated_at": updated_at.and_then(time),
    })))
}

/// Lists the runs of a session, oldest first.
#[utoipa::path(get, path = "/sessions/{session_id}/runs", tag = "sessions",
    params(("session_id" = String, Path, description = "The session"),
        ("type" = Option<String>, Query, description = "`agent`, `team` or `workflow`"),
        ("user_id" = Option<String>, Query, description = "Only runs that this person asked for"),
        ("status" = Option<String>, Query, description = "Only in this state")),
    responses((status = 200, description = "The runs", body = Vec<Value>), (status = 404, response = ProblemAnswer),
        QueryProblems))]
async fn runs(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(session_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Value>>, Problem> {
    let mut listed = Vec::new();
    for run in runs_of(&os, &who, &session_id, query.as_deref()).await? {
        listed.push(without_nulls(run_schema(&os, &run).await?));
    }
    Ok(Json(listed))
}

/// Shows a run of a session.
#[utoipa::path(get, path = "/sessions/{session_id}/runs/{run_id}", tag = "sessions",
    params(("session_id" = String, Path, description = "The session"), ("run_id" = String, Path, description = "The run"),
        ("type" = Option<String>, Query, description = "`agent`, `team` or `workflow`"),
        ("user_id" = Option<String>, Query, description = "Only a run that this person asked for")),
    responses((status = 200, description = "The run", body = Value), (status = 404, response = ProblemAnswer),
        QueryProblems))]
async fn run(
    State(os): State<Arc<Os>>,
    who: Who,
    Path((session_id, run_id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::of_query(query.as_deref());
    let (of_agents, user_id) = (is_of_agents(&mut fields), whose(&mut fields, &who));
    fields.done()?;
    let stored = os.db.get_run(&run_id.into()).await?;
    let found = if of_agents { shown(&os, &stored).await? } else { None };
    let found =
        found.filter(|run| run.session_id.as_str() == session_id && (user_id.is_none() || run.user_id == user_id));
    let found = found.ok_or_else(|| Problem::from(crate::Error::RunNotFound { run_id: stored.run_id }))?;
    Ok(Json(run_schema(&os, &found).await?))
}
