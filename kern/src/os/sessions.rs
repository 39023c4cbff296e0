//! Sessions: what runs with the same `session_id` have in common. One that nobody has made is there with its first run.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use kern_db::{
    NewSession, Owner, RunFilter, RunId, RunStatus, Session, SessionChange, SessionDeletion, SessionFilter, SessionId,
};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Os;
use super::access::{Who, is_of, shows};
use super::fields::Fields;
use super::json::{page, run_schema, time, without_nulls};
use super::openapi::{
    BodyProblems, DeleteSessionsBody, NewSessionBody, ProblemAnswer, QueryProblems, RenameBody, SessionBody,
};
use super::pages::{RunsPage, whole};
use super::problem::Problem;
use crate::run::{Role, RunOutput};

/// Runs of a session that are shown.
const RUNS: u32 = 1000;
/// Sessions a page.
const PAGE: u32 = 20;
/// Sessions that are deleted at once.
const MANY: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<Os>> {
    OpenApiRouter::new()
        .routes(routes!(list, create, delete_many))
        .routes(routes!(get, update, delete))
        .routes(routes!(rename))
        .routes(routes!(runs))
        .routes(routes!(run))
}

/// What is asked for is of agents: of teams and workflows there is nothing yet.
fn is_of_agents(fields: &mut Fields) -> bool {
    fields.one_of::<String>("type", &["agent", "team", "workflow"]).is_none_or(|kind| kind == "agent")
}

/// Whose runs are shown: those of whoever sees no others, else what is asked for.
fn whose(fields: &mut Fields, who: &Who) -> Option<Owner> {
    let asked = fields.text("user_id");
    who.only().or(asked.map(Owner::from))
}

/// Lists the sessions, the last changed first.
#[utoipa::path(get, path = "/sessions", tag = "sessions",
    params(("type" = Option<String>, Query, description = "`agent`, `team` or `workflow`"),
        ("component_id" = Option<String>, Query, description = "Only of this agent"),
        ("user_id" = Option<String>, Query, description = "Only runs that this person asked for"),
        ("sort_by" = Option<String>, Query, description = "`created_at` or `updated_at`: by either, the last changed come first"),
        ("sort_order" = Option<String>, Query, description = "`desc`"),
        ("limit" = Option<u32>, Query, description = "Sessions a page, 1 to 1000, 20 by default", minimum = 1, maximum = 1000),
        ("page" = Option<u32>, Query, description = "The page, from 1", minimum = 1)),
    responses((status = 200, description = "A page of sessions", body = Value), QueryProblems))]
async fn list(State(os): State<Arc<Os>>, who: Who, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(query.as_deref());
    let of_agents = is_of_agents(&mut fields);
    let limit = fields.number("limit", 1..=1000_u32).unwrap_or(PAGE);
    let number = fields.number("page", 1..=u32::MAX).unwrap_or(1);
    // What would be another list is refused. The reference's client always asks for `created_at`.
    fields.one_of::<String>("sort_by", &["created_at", "updated_at"]);
    fields.unsupported(&[("session_name", ""), ("sort_order", "desc")]);
    let mut filter = SessionFilter::new().limit(limit).page(number);
    if let Some(agent_id) = fields.text("component_id") {
        filter = filter.agent_id(agent_id);
    }
    if let Some(user_id) = whose(&mut fields, &who) {
        filter = filter.user_id(user_id);
    }
    fields.done()?;
    if !of_agents {
        return whole(&os, &page(Vec::new(), number, limit, 0));
    }
    let sessions = os.db.list_sessions(filter).await?;
    let mut data = Vec::new();
    for session in sessions.data {
        data.push(summary(&os, &session).await?);
    }
    whole(&os, &page(data, number, limit, sessions.meta.total_count))
}

async fn summary(os: &Os, session: &Session) -> Result<Value, Problem> {
    let name = match (&session.name, &session.first_run) {
        (Some(name), _) => Some(name.clone()),
        (None, Some(first)) => shown(os, first).await?.map(|run| run.input.input_content),
        (None, None) => Some(String::new()),
    };
    Ok(json!({
        "session_id": session.session_id,
        "session_name": name,
        "session_state": {},
        "created_at": time(session.created_at_ms / 1000),
        "updated_at": time(session.updated_at_ms / 1000),
        "session_type": "agent",
        "user_id": session.requester.as_ref().map(|requester| &requester.subject),
        "agent_id": session.agent_id,
        "metrics": {},
    }))
}

/// A run as its agent shows it. `None`: this server does not have the agent, or its session was deleted.
async fn shown(os: &Os, run_id: &RunId) -> Result<Option<RunOutput>, Problem> {
    let run = os.db.get_run(run_id).await?;
    match os.agent(&run.agent_id).filter(|_| run.deleted_at_ms.is_none()) {
        Some(agent) => Ok(Some(agent.shown(&run)?)),
        None => Ok(None),
    }
}

/// Which runs of a session are meant.
struct Asked {
    of_agents: bool,
    user_id: Option<Owner>,
    status: Option<RunStatus>,
}

impl Asked {
    fn by(who: &Who, query: Option<&str>) -> Result<Self, Problem> {
        let mut fields = Fields::of_query(query);
        let asked = Self::of(who, &mut fields);
        fields.done()?;
        Ok(asked)
    }

    fn of(who: &Who, fields: &mut Fields) -> Self {
        let (of_agents, user_id) = (is_of_agents(fields), whose(fields, who));
        Self { of_agents, user_id, status: fields.one_of::<RunStatus>("status", super::runs::STATUSES) }
    }

    fn runs(&self, session_id: &str) -> RunFilter {
        let mut filter = RunFilter::new().session_id(session_id);
        if let Some(user_id) = &self.user_id {
            filter = filter.user_id(user_id);
        }
        if let Some(status) = self.status {
            filter = filter.status(status);
        }
        filter
    }
}

/// What the runs of a session say of it.
#[derive(Default)]
struct Story {
    /// Without its messages, which are in the history.
    first: Option<RunOutput>,
    updated_at: Option<i64>,
    /// Oldest first.
    history: Vec<Value>,
    /// Whether older messages were left out, because the others fill what an answer may have.
    is_cut: bool,
}

/// What was said in a session, read one run after the other from its end, as far as an answer has room for it.
async fn story(os: &Os, session_id: &str, asked: &Asked) -> Result<Story, Problem> {
    let mut story = Story::default();
    if !asked.of_agents {
        return Ok(story);
    }
    let mut ids = os.db.run_ids(asked.runs(session_id).limit(RUNS), 0).await?;
    let mut bytes = 0;
    while let Some(id) = ids.pop() {
        let Some(mut run) = shown(os, &id).await? else { continue };
        story.updated_at = story.updated_at.max(Some(run.created_at));
        // What tools gave is in the runs.
        let messages = std::mem::take(&mut run.messages);
        for message in messages.iter().filter(|message| message.role != Role::Tool).rev() {
            let message = serde_json::to_value(message).expect("a message is JSON");
            bytes += message.to_string().len();
            if bytes > os.limits.list && !story.history.is_empty() {
                story.is_cut = true;
                break;
            }
            story.history.push(message);
        }
        story.first = Some(run);
        if story.is_cut {
            // Of the runs in between, nothing is shown.
            ids.truncate(1);
        }
    }
    story.history.reverse();
    Ok(story)
}

/// A session with what was said in it: of runs and names of other people nothing, where only somebody's own are shown.
fn detail(os: &Os, session: Option<&Session>, story: Story) -> Result<Value, Problem> {
    let first = story.first.as_ref();
    let (Some(session_id), Some(created_at)) = (
        session.map(|session| &session.session_id).or(first.map(|run| &run.session_id)),
        session.map(|session| session.created_at_ms / 1000).or(first.map(|run| run.created_at)),
    ) else {
        return Err(Problem::not_found("Session"));
    };
    let named = session.and_then(|session| session.name.as_deref());
    let agent_id = session.and_then(|session| session.agent_id.as_deref()).or(first.map(|run| run.agent_id.as_str()));
    let requester = session.and_then(|session| session.requester.as_ref()).map(|requester| requester.subject.as_str());
    let updated_at = story.updated_at.into_iter().chain(session.map(|it| it.updated_at_ms / 1000)).max();
    let mut detail = json!({
        "user_id": requester.or(first.and_then(|run| run.user_id.as_deref())),
        "agent_session_id": session_id,
        "session_id": session_id,
        "session_name": named.or(first.map(|run| run.input.input_content.as_str())).unwrap_or_default(),
        "session_state": first.map(|run| run.session_state.clone()).unwrap_or_default(),
        "agent_id": agent_id,
        "metrics": {},
        "chat_history": story.history,
        "created_at": time(created_at),
        "updated_at": updated_at.and_then(time),
    });
    if story.is_cut {
        detail["chat_history_is_cut"] = json!(true);
    }
    if let Some(agent) = agent_id.and_then(|id| os.agent(id)).map(|agent| &agent.0) {
        let model =
            json!({ "provider": agent.model.provider(), "name": agent.model.provider(), "id": agent.model.id() });
        detail["agent_data"] = json!({ "name": agent.name, "agent_id": agent.id, "model": model });
    }
    if let Some(metadata) = session.and_then(|session| session.metadata.clone()) {
        detail["metadata"] = Value::Object(metadata);
    }
    Ok(without_nulls(detail))
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
    let asked = Asked::by(&who, query.as_deref())?;
    let story = story(&os, &session_id, &asked).await?;
    let session = os.db.get_session(&SessionId::from(session_id)).await?;
    let session = session.filter(|session| asked.of_agents && is_of(session, asked.user_id.clone()));
    Ok(Json(detail(&os, session.as_ref(), story)?))
}

/// A session that somebody has just made or changed, as they see it.
async fn changed(os: &Os, who: &Who, session: &Session) -> Result<Json<Value>, Problem> {
    let story = story(os, session.session_id.as_str(), &Asked::by(who, None)?).await?;
    Ok(Json(detail(os, Some(session), story)?))
}

/// What the reference keeps with a session, and kern does not.
const NOT_KEPT: &[(&str, &str)] = &[("session_state", "{}"), ("summary", "{}"), ("team_id", ""), ("workflow_id", "")];

fn metadata(fields: &mut Fields) -> Option<Map<String, Value>> {
    match fields.object("metadata") {
        Some(Value::Object(metadata)) => Some(metadata),
        _ => None,
    }
}

/// Only agents have sessions here.
fn of_agents_only(fields: &mut Fields) {
    fields.unsupported(&[("type", "agent")]);
}

/// Makes a session before its first run.
#[utoipa::path(post, path = "/sessions", tag = "sessions",
    params(("type" = Option<String>, Query, description = "`agent`")),
    request_body = NewSessionBody,
    responses((status = 201, description = "The session", body = Value), (status = 404, response = ProblemAnswer),
        (status = 409, response = ProblemAnswer), BodyProblems))]
async fn create(
    State(os): State<Arc<Os>>,
    who: Who,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut asked = Fields::of_query(query.as_deref());
    of_agents_only(&mut asked);
    asked.done()?;
    let mut fields = Fields::of_json(request, &os.limits).await?;
    let known =
        ["session_id", "session_name", "session_state", "metadata", "user_id", "agent_id", "team_id", "workflow_id"];
    fields.nothing_but(&known);
    fields.unsupported(NOT_KEPT);
    let (session_id, name) = (fields.short("session_id", 255), fields.short("session_name", 255));
    let (user_id, agent_id) = (fields.short("user_id", 255), fields.text("agent_id"));
    let metadata = metadata(&mut fields);
    fields.done()?;
    let mut new = NewSession::new();
    if let Some(agent_id) = agent_id {
        let agent = os.agent(&agent_id).ok_or_else(|| Problem::not_found("Agent"))?;
        new = new.agent_id(agent.id());
    }
    if let Some(session_id) = session_id {
        new = new.session_id(session_id);
    }
    if let Some(requester) = who.principal(user_id) {
        new = new.requester(requester);
    }
    if let Some(name) = name {
        new = new.name(name);
    }
    if let Some(metadata) = metadata {
        new = new.metadata(metadata);
    }
    let made = os.db.create_session(new).await?;
    Ok((StatusCode::CREATED, changed(&os, &who, &made).await?))
}

/// A change of a session of whoever asks, or of anybody's where they see them all.
async fn change(
    os: &Os,
    who: &Who,
    session_id: String,
    query: Option<&str>,
    change: SessionChange,
) -> Result<Json<Value>, Problem> {
    let mut asked = Fields::of_query(query);
    of_agents_only(&mut asked);
    let owner = whose(&mut asked, who);
    asked.done()?;
    let change = match owner {
        Some(owner) => change.of_user(owner),
        None => change,
    };
    let session = os.db.update_session(&SessionId::from(session_id), change).await?;
    changed(os, who, &session).await
}

/// Changes what a session is called, and what is kept with it.
#[utoipa::path(patch, path = "/sessions/{session_id}", tag = "sessions",
    params(("session_id" = String, Path, description = "The session"),
        ("type" = Option<String>, Query, description = "`agent`"),
        ("user_id" = Option<String>, Query, description = "Only if it is this person's")),
    request_body = SessionBody,
    responses((status = 200, description = "The session", body = Value), (status = 404, response = ProblemAnswer),
        BodyProblems))]
async fn update(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(session_id): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::of_json(request, &os.limits).await?;
    fields.nothing_but(&["session_name", "session_state", "metadata", "summary"]);
    fields.unsupported(NOT_KEPT);
    let (name, metadata) = (fields.short("session_name", 255), metadata(&mut fields));
    fields.done()?;
    let mut wanted = SessionChange::new();
    if let Some(name) = name {
        wanted = wanted.name(name);
    }
    if let Some(metadata) = metadata {
        wanted = wanted.metadata(metadata);
    }
    change(&os, &who, session_id, query.as_deref(), wanted).await
}

/// Changes what a session is called.
#[utoipa::path(post, path = "/sessions/{session_id}/rename", tag = "sessions",
    params(("session_id" = String, Path, description = "The session"),
        ("type" = Option<String>, Query, description = "`agent`"),
        ("user_id" = Option<String>, Query, description = "Only if it is this person's")),
    request_body = RenameBody,
    responses((status = 200, description = "The session", body = Value), (status = 404, response = ProblemAnswer),
        BodyProblems))]
async fn rename(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(session_id): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::of_json(request, &os.limits).await?;
    fields.nothing_but(&["session_name"]);
    fields.needed("session_name");
    let name = fields.short("session_name", 255).unwrap_or_default();
    fields.done()?;
    change(&os, &who, session_id, query.as_deref(), SessionChange::new().name(name)).await
}

/// Deletes sessions of whoever asks, or of anybody's where they see them all, and lets those who drive their runs in this
/// process know.
async fn delete_these(os: &Os, who: &Who, query: Option<&str>, ids: Vec<SessionId>) -> Result<StatusCode, Problem> {
    let mut asked = Fields::of_query(query);
    let owner = whose(&mut asked, who);
    asked.done()?;
    let mut deletion =
        SessionDeletion::new().by_person(who.principal(owner.as_ref().map(|owner| owner.subject().to_owned())));
    if let Some(owner) = owner {
        deletion = deletion.of_user(owner);
    }
    let deleted = os.db.delete_sessions(ids, deletion).await.map_err(|error| match &error {
        kern_db::Error::NotFound { id, .. } => {
            let id = id.clone();
            Problem::from(error).with("session_id", id)
        }
        _ => Problem::from(error),
    })?;
    for run_id in deleted.iter().flat_map(|session| &session.cancelled) {
        os.agents.iter().for_each(|agent| agent.0.hints.look_at(run_id));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes a session: its runs are cancelled, and no list has them any more. Approvals and the audit log keep what was decided.
#[utoipa::path(delete, path = "/sessions/{session_id}", tag = "sessions",
    params(("session_id" = String, Path, description = "The session"),
        ("user_id" = Option<String>, Query, description = "Only if it is this person's")),
    responses((status = 204, description = "It is deleted"), (status = 404, response = ProblemAnswer), QueryProblems))]
async fn delete(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(session_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<StatusCode, Problem> {
    delete_these(&os, &who, query.as_deref(), vec![session_id.into()]).await
}

/// Deletes several sessions, or none where one of them is not there.
#[utoipa::path(delete, path = "/sessions", tag = "sessions",
    params(("user_id" = Option<String>, Query, description = "Only if they are this person's")),
    request_body = DeleteSessionsBody,
    responses((status = 204, description = "They are deleted"), (status = 404, response = ProblemAnswer), BodyProblems))]
async fn delete_many(
    State(os): State<Arc<Os>>,
    who: Who,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<StatusCode, Problem> {
    let mut fields = Fields::of_json(request, &os.limits).await?;
    fields.nothing_but(&["session_ids", "session_types"]);
    let ids = fields.texts("session_ids", MANY);
    let types = fields.has("session_types").then(|| fields.texts("session_types", MANY));
    fields.done()?;
    if types.is_some_and(|types| types.len() != ids.len() || types.iter().any(|kind| kind != "agent")) {
        let wrong = json!({ "type": "value_error", "loc": ["body", "session_types"], "msg": "Input should be 'agent', once for each session" });
        return Err(Problem::invalid(vec![wrong]));
    }
    delete_these(&os, &who, query.as_deref(), ids.into_iter().map(SessionId::from).collect()).await
}

/// Lists the runs of a session, oldest first.
#[utoipa::path(get, path = "/sessions/{session_id}/runs", tag = "sessions",
    params(("session_id" = String, Path, description = "The session"),
        ("type" = Option<String>, Query, description = "`agent`, `team` or `workflow`"),
        ("user_id" = Option<String>, Query, description = "Only runs that this person asked for"),
        ("status" = Option<String>, Query, description = "Only in this state"),
        ("limit" = Option<u32>, Query, description = "Runs a page, 1 to 1000, 1000 by default", minimum = 1, maximum = 1000),
        ("page" = Option<u32>, Query, description = "The page, from 1", minimum = 1),
        ("cursor" = Option<String>, Query, description = "Only runs after this one, as the `Link` of a page names it; not together with `page`", max_length = 255)),
    responses((status = 200, description = "The runs. Where there are more of them, the header `Link` leads to the next page", body = Vec<Value>), (status = 404, response = ProblemAnswer),
        QueryProblems))]
async fn runs(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(session_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(query.as_deref());
    let (asked, page) = (Asked::of(&who, &mut fields), RunsPage::of(&mut fields));
    fields.done()?;
    let not_found = || Problem::not_found("Session");
    if !asked.of_agents {
        return Err(not_found());
    }
    let is_later = page.is_later();
    let show = |id| {
        let os = Arc::clone(&os);
        async move {
            match shown(&os, &id).await? {
                Some(run) => Ok(Some(without_nulls(run_schema(&os, &run).await?))),
                None => Ok(None),
            }
        }
    };
    if let Some(listed) = page.listed(&os, asked.runs(&session_id), query, show).await? {
        return Ok(listed);
    }
    // Past the end of a session that has runs there is nothing; of any other session there is none.
    if !is_later || os.db.run_ids(asked.runs(&session_id).limit(1), 0).await?.is_empty() {
        return Err(not_found());
    }
    Ok(Json([(); 0]).into_response())
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
    let Asked { of_agents, user_id, .. } = Asked::by(&who, query.as_deref())?;
    let run_id = RunId::from(run_id);
    let found = if of_agents { shown(&os, &run_id).await? } else { None };
    let found =
        found.filter(|run| run.session_id.as_str() == session_id && shows(user_id.clone(), run.requester.as_ref()));
    let found = found.ok_or_else(|| Problem::from(crate::Error::RunNotFound { run_id }))?;
    Ok(Json(run_schema(&os, &found).await?))
}
