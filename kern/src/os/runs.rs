//! Runs: started, watched, continued, cancelled and read. A client that goes away takes no run with it.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kern_db::{RunFilter, RunId, RunStatus};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Os;
use super::access::{Lasts, Who, shows};
use super::events::{of_feed, response, send};
use super::feeds::{Feed, Frame};
use super::fields::Fields;
use super::idempotency::Keyed;
use super::json::{metadata, run_schema, shown};
use super::openapi::{
    BodyProblems, ContinueForm, ProblemAnswer, QueryProblems, Refusals, ResumeForm, RunForm, SessionForm,
};
use super::pages::RunsPage;
use super::places::Place;
use super::problem::Problem;
use crate::agent::Agent;
use crate::error::Error;
use crate::run::{EventBase, RunEvent, RunOutput, RunRequirement, RunStream, ToolExecution};

pub(super) const STATUSES: &[&str] =
    &["PENDING", "RUNNING", "COMPLETED", "PAUSED", "CANCELLED", "ERROR", "REGENERATED"];

pub(super) fn routes() -> OpenApiRouter<Arc<Os>> {
    OpenApiRouter::new()
        .routes(routes!(start, list))
        .routes(routes!(get))
        .routes(routes!(go_on))
        .routes(routes!(cancel))
        .routes(routes!(resume))
}

fn found<'a>(os: &'a Os, id: &str) -> Result<&'a Agent, Problem> {
    os.agent(id).ok_or_else(|| Problem::not_found("Agent"))
}

/// A run of this agent and this session, if it is shown to whoever asks. Another's is as good as none, and so is one of a
/// session that was deleted.
async fn run_of(agent: &Agent, who: &Who, run_id: &str, session_id: Option<&str>) -> Result<RunOutput, Problem> {
    let run = agent.get_run(run_id).await?;
    let is_meant = session_id.is_none_or(|session_id| run.session_id.as_str() == session_id);
    if !is_meant || run.is_deleted || !shows(who.only(), run.requester.as_ref()) {
        return Err(Error::RunNotFound { run_id: run.run_id }.into());
    }
    Ok(run)
}

fn session_of(fields: &mut Fields) -> Result<String, Problem> {
    fields.text("session_id").ok_or_else(|| {
        let what = "session_id is required for this action";
        Problem::new(StatusCode::BAD_REQUEST, "session_required", what)
    })
}

/// Starts a run.
#[utoipa::path(post, path = "/agents/{agent_id}/runs", tag = "runs",
    params(("agent_id" = String, Path, description = "The agent")),
    request_body(content((RunForm = "application/x-www-form-urlencoded"), (RunForm = "multipart/form-data"))),
    responses(
        (status = 200, description = "The run, complete or paused; or, with `stream`, its events", content((Value = "application/json"), (String = "text/event-stream"))),
        (status = 202, description = "With `background`: it has started", body = Value),
        (status = 404, response = ProblemAnswer), BodyProblems
    ))]
async fn start(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(agent_id): Path<String>,
    keyed: Option<Extension<Keyed>>,
    request: Request,
) -> Result<Response, Problem> {
    let agent = found(&os, &agent_id)?;
    let mut fields = Fields::of_form(request, &os.limits).await?;
    let message = fields.needed("message");
    let streamed = fields.flag("stream", true);
    let background = fields.flag("background", false);
    let (session_id, user_id) = (fields.short("session_id", 255), fields.short("user_id", 255));
    fields.unsupported(&[
        ("files", ""),
        ("images", ""),
        ("audio", ""),
        ("videos", ""),
        ("input_files", ""),
        ("output_schema", ""),
    ]);
    fields.done()?;
    let place = streamed.then(|| os.place(&who)).transpose()?;
    let mut run = agent.run(message).served(who.principal(user_id), os.stop());
    if let Some(session_id) = session_id {
        os.joins(&who, &session_id).await?;
        run = run.session_id(session_id);
    }
    if let Some(Extension(keyed)) = keyed {
        if keyed.again {
            match run_of(agent, &who, keyed.run_id.as_str(), None).await {
                Ok(run) => return as_it_stands(&os, agent, run, Wanted { place, background }, &who).await,
                Err(problem) if problem.status() != StatusCode::NOT_FOUND => return Err(problem),
                // A run that this caller may not see, or whose session was deleted, is there: no other one is started.
                Err(problem) => match os.db.run_owner(keyed.run_id.clone()).await {
                    Err(kern_db::Error::NotFound { .. }) => {}
                    Ok(_) => return Err(problem),
                    Err(error) => return Err(error.into()),
                },
            }
        }
        run = run.named(keyed.run_id);
    }
    let run_id = run.run_id().clone();
    if let Some(place) = place {
        let feed = watched(&os, agent, run.stream(), Kind::Started).await?;
        return Ok(of_feed(feed, 0, place, who.lasts(&os)));
    }
    if background {
        // Whoever is told of it finds it in the store.
        watched(&os, agent, run.stream(), Kind::Started).await?;
        return Ok(accepted(&agent.get_run(&run_id).await?));
    }
    let run = match run.await {
        Ok(run) => run,
        Err(error) => failed(agent, &run_id, error).await?,
    };
    Ok(Json(shown(&os, &run).await?).into_response())
}

/// How a run is to be told of.
struct Wanted {
    /// As a stream, which has its place.
    place: Option<Place>,
    background: bool,
}

/// The run of a request that was worked on before: nothing is done for it again.
async fn as_it_stands(
    os: &Arc<Os>,
    agent: &Agent,
    run: RunOutput,
    wanted: Wanted,
    who: &Who,
) -> Result<Response, Problem> {
    match wanted {
        Wanted { place: Some(place), .. } => Ok(events_after(os, agent, run, 0, place, who)),
        Wanted { background: true, .. } => Ok(accepted(&run)),
        _ => Ok(Json(shown(os, &run).await?).into_response()),
    }
}

/// Says of a run that it goes on without whoever asked.
fn accepted(run: &RunOutput) -> Response {
    let started = json!({ "run_id": run.run_id, "session_id": run.session_id, "status": "PENDING" });
    (StatusCode::ACCEPTED, Json(started)).into_response()
}

/// A run that ended with an error is an answer, as in the reference, where it is stored as that.
async fn failed(agent: &Agent, run_id: &RunId, error: Error) -> Result<RunOutput, Problem> {
    if !matches!(error, Error::Model(_) | Error::TurnLimit { .. }) {
        return Err(error.into());
    }
    match agent.get_run(run_id).await {
        Ok(run) if run.status == RunStatus::Error => Ok(run),
        _ => Err(error.into()),
    }
}

/// Lists the runs of a session, oldest first.
#[utoipa::path(get, path = "/agents/{agent_id}/runs", tag = "runs",
    params(("agent_id" = String, Path, description = "The agent"),
        ("session_id" = String, Query, description = "The session"),
        ("status" = Option<String>, Query, description = "Only in this state"),
        ("limit" = Option<u32>, Query, description = "Runs a page, 1 to 1000, 1000 by default", minimum = 1, maximum = 1000),
        ("page" = Option<u32>, Query, description = "The page, from 1", minimum = 1),
        ("cursor" = Option<String>, Query, description = "Only runs after this one, as the `Link` of a page names it; not together with `page`", max_length = 255)),
    responses((status = 200, description = "The runs. Where there are more of them, the header `Link` leads to the next page", body = Vec<Value>),
        (status = 400, response = ProblemAnswer), (status = 404, response = ProblemAnswer), QueryProblems))]
async fn list(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(agent_id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let agent = found(&os, &agent_id)?;
    let mut fields = Fields::of_query(query.as_deref());
    let session_id = session_of(&mut fields)?;
    let status = fields.one_of::<RunStatus>("status", STATUSES);
    let page = RunsPage::of(&mut fields);
    fields.done()?;
    let mut filter = RunFilter::new().agent_id(agent.id()).session_id(session_id);
    if let Some(status) = status {
        filter = filter.status(status);
    }
    if let Some(only) = who.only() {
        filter = filter.user_id(only);
    }
    let show = |id| {
        let (os, agent) = (Arc::clone(&os), agent.clone());
        async move { Ok(Some(run_schema(&os, &agent.get_run(id).await?).await?)) }
    };
    let listed = page.listed(&os, filter, query, show).await?;
    Ok(listed.unwrap_or_else(|| Json([(); 0]).into_response()))
}

/// Reads a run.
#[utoipa::path(get, path = "/agents/{agent_id}/runs/{run_id}", tag = "runs",
    params(("agent_id" = String, Path, description = "The agent"),
        ("run_id" = String, Path, description = "The run"),
        ("session_id" = String, Query, description = "Its session")),
    responses((status = 200, description = "The run as it stands", body = Value),
        (status = 400, response = ProblemAnswer), (status = 404, response = ProblemAnswer),
        Refusals))]
async fn get(
    State(os): State<Arc<Os>>,
    who: Who,
    Path((agent_id, run_id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let agent = found(&os, &agent_id)?;
    let mut fields = Fields::of_query(query.as_deref());
    let session_id = session_of(&mut fields)?;
    fields.done()?;
    let run = run_of(agent, &who, &run_id, Some(&session_id)).await?;
    Ok(Json(shown(&os, &run).await?))
}

/// Continues a paused run, with the answers of the person who asked. It gives no power over approvals.
#[utoipa::path(post, path = "/agents/{agent_id}/runs/{run_id}/continue", tag = "runs",
    params(("agent_id" = String, Path, description = "The agent"), ("run_id" = String, Path, description = "The run")),
    request_body(content((ContinueForm = "application/x-www-form-urlencoded"), (ContinueForm = "multipart/form-data"))),
    responses(
        (status = 200, description = "The run, complete or paused again; or, with `stream`, its events", content((Value = "application/json"), (String = "text/event-stream"))),
        (status = 202, description = "With `background`: it goes on", body = Value),
        (status = 404, response = ProblemAnswer), (status = 409, response = ProblemAnswer), BodyProblems
    ))]
async fn go_on(
    State(os): State<Arc<Os>>,
    who: Who,
    Path((agent_id, run_id)): Path<(String, String)>,
    keyed: Option<Extension<Keyed>>,
    request: Request,
) -> Result<Response, Problem> {
    let agent = found(&os, &agent_id)?;
    let mut fields = Fields::of_form(request, &os.limits).await?;
    let tools: Vec<ToolExecution> = listed(&mut fields, "tools")?;
    let mut requirements: Vec<RunRequirement> = listed(&mut fields, "requirements")?;
    let session_id = session_of(&mut fields)?;
    let user_id = fields.short("user_id", 255);
    let streamed = fields.flag("stream", true);
    let background = fields.flag("background", false);
    fields.unsupported(&[
        ("input", ""),
        ("continue_from", "end"),
        ("fork", "false"),
        ("regenerate", "false"),
        ("replace_original", "false"),
        ("additional_instructions", ""),
    ]);
    fields.done()?;
    let run = run_of(agent, &who, &run_id, Some(&session_id)).await?;
    let place = streamed.then(|| os.place(&who)).transpose()?;
    if keyed.is_some_and(|Extension(keyed)| keyed.again) {
        // Continuing confirms what the run waits for, which may be something else by now.
        return as_it_stands(&os, agent, run, Wanted { place, background }, &who).await;
    }
    requirements.extend(tools.into_iter().filter_map(|tool| answered(&run, tool)));
    let resumed = agent.continue_run(&run.run_id).requirements(requirements).served(who.caller(user_id), os.stop());
    if let Some(place) = place {
        return match watched(&os, agent, resumed.stream(), Kind::Continued).await {
            Ok(feed) => Ok(of_feed(feed, 0, place, who.lasts(&os))),
            // As recorded: the stream has started when the reference looks.
            Err(error @ (Error::ApprovalPending { .. } | Error::RequirementsUnresolved { .. })) if !who.is_known() => {
                Ok(told(error.into()))
            }
            Err(error) => Err(undecided(error, &who)),
        };
    }
    if background {
        watched(&os, agent, resumed.stream(), Kind::Continued).await.map_err(|error| undecided(error, &who))?;
        return Ok(accepted(&run));
    }
    let run = match resumed.await {
        Ok(run) => run,
        Err(error @ Error::ApprovalPending { .. }) => return Err(undecided(error, &who)),
        Err(error) => failed(agent, &run.run_id, error).await?,
    };
    Ok(Json(shown(&os, &run).await?).into_response())
}

/// Why a run does not go on. As in the reference, whoever has proved who they are is told that they may not let it.
fn undecided(error: Error, who: &Who) -> Problem {
    let is_refused = who.is_known() && matches!(error, Error::ApprovalPending { .. });
    let problem = Problem::from(error);
    if is_refused { problem.refused() } else { problem }
}

/// A field that holds a JSON list.
fn listed<T: serde::de::DeserializeOwned>(fields: &mut Fields, name: &str) -> Result<Vec<T>, Problem> {
    let Some(text) = fields.text(name) else { return Ok(Vec::new()) };
    let refused = |what: String| Problem::new(StatusCode::BAD_REQUEST, "bad_json", what);
    let value: Value = serde_json::from_str(&text).map_err(|_| refused(format!("Invalid JSON in {name} field")))?;
    serde_json::from_value(value).map_err(|_| refused(format!("Invalid structure or content for {name}")))
}

/// The requirement that a call which was sent back belongs to, with what the client says of it.
fn answered(run: &RunOutput, tool: ToolExecution) -> Option<RunRequirement> {
    // The model's ids may come again in a later turn: the last one is what the run waits for.
    let asked = run.requirements.iter().rev().find(|asked| asked.tool_execution.tool_call_id == tool.tool_call_id)?;
    let sent = json!({ "id": asked.id, "created_at": asked.created_at, "tool_execution": tool });
    serde_json::from_value(sent).ok()
}

/// Cancels a run. One that was cancelled before stays as it is.
#[utoipa::path(post, path = "/agents/{agent_id}/runs/{run_id}/cancel", tag = "runs",
    params(("agent_id" = String, Path, description = "The agent"), ("run_id" = String, Path, description = "The run")),
    request_body(content((SessionForm = "application/x-www-form-urlencoded"), (SessionForm = "multipart/form-data"))),
    responses((status = 200, description = "It is cancelled", body = Value),
        (status = 404, response = ProblemAnswer), (status = 409, response = ProblemAnswer), BodyProblems))]
async fn cancel(
    State(os): State<Arc<Os>>,
    who: Who,
    Path((agent_id, run_id)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let agent = found(&os, &agent_id)?;
    let mut fields = Fields::of_form(request, &os.limits).await?;
    let (session_id, user_id) = (fields.text("session_id"), fields.short("user_id", 255));
    fields.done()?;
    let run = run_of(agent, &who, &run_id, session_id.as_deref()).await?;
    if run.status == RunStatus::Cancelled {
        return Ok(Json(json!({})));
    }
    agent.cancel_run(&run.run_id).served(who.caller(user_id)).await?;
    Ok(Json(json!({})))
}

/// Comes back to the events of a run, after the last one that was seen.
#[utoipa::path(post, path = "/agents/{agent_id}/runs/{run_id}/resume", tag = "runs",
    params(("agent_id" = String, Path, description = "The agent"), ("run_id" = String, Path, description = "The run")),
    request_body(content((ResumeForm = "application/x-www-form-urlencoded"), (ResumeForm = "multipart/form-data"))),
    responses((status = 200, description = "Its events", body = String, content_type = "text/event-stream"),
        (status = 404, response = ProblemAnswer), BodyProblems))]
async fn resume(
    State(os): State<Arc<Os>>,
    who: Who,
    Path((agent_id, run_id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let agent = found(&os, &agent_id)?;
    let mut fields = Fields::of_form(request, &os.limits).await?;
    let session_id = session_of(&mut fields)?;
    let seen = fields.number("last_event_index", 0..=u64::MAX - 1);
    fields.done()?;
    let run = run_of(agent, &who, &run_id, Some(&session_id)).await?;
    let place = os.place(&who)?;
    Ok(events_after(&os, agent, run, seen.map_or(0, |seen| seen + 1), place, &who))
}

/// The events of a run from this one on; where they are not here, how it ends.
fn events_after(os: &Arc<Os>, agent: &Agent, run: RunOutput, from: u64, place: Place, who: &Who) -> Response {
    if let Some(feed) = os.feeds.get(&run.run_id)
        && !matches!(feed.at(from), super::feeds::Next::Lost)
    {
        return of_feed(feed, from, place, who.lasts(os));
    }
    as_it_ends(Arc::clone(os), agent.clone(), run, place, who.lasts(os))
}

/// How a run stands that nobody here has the events of: once it is driven no more, the event that it stopped with.
fn as_it_ends(os: Arc<Os>, agent: Agent, run: RunOutput, place: Place, lasts: Lasts) -> Response {
    let mut run = Arc::new(run);
    response(Some(place), lasts, move |queue| async move {
        let stop = os.stop();
        loop {
            if let Some(event) = last_event(&run) {
                send(&queue, super::events::event(&frame(&os, &event, Kind::Continued).await)).await;
                return;
            }
            let change = os.db.changed();
            tokio::select! {
                // A hint that does not come is no reason not to look.
                _ = tokio::time::timeout(super::watch::POLL, change) => {}
                () = queue.closed() => return,
                () = stop.closing() => return,
            }
            // Once for all who watch it: a change wakes them together.
            let look = || async { agent.get_run(&run.run_id).await.map(Arc::new).map_err(Problem::from) };
            match os.looks.read(run.run_id.clone(), look).await {
                Ok(now) => run = now,
                Err(problem) => {
                    send(&queue, refusal(&problem)).await;
                    return;
                }
            }
        }
    })
}

/// What the stream of a run that stands like this ended with. `None`: it is being driven.
fn last_event(run: &RunOutput) -> Option<RunEvent> {
    let base = EventBase::of(run);
    match run.status {
        RunStatus::Paused => Some(RunEvent::paused(base, run)),
        RunStatus::Completed => Some(RunEvent::completed(base, run)),
        RunStatus::Cancelled => Some(RunEvent::RunCancelled { base }),
        RunStatus::Error => Some(RunEvent::stopped(base, run, None)),
        _ => None,
    }
}

/// Whether a stream is that of a run's start or of its continuation: the reference's differ in what they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Started,
    Continued,
}

/// Drives a run and keeps its events, whoever listens.
///
/// # Errors
///
/// What kept it from starting: nothing is driven then.
async fn watched(os: &Arc<Os>, agent: &Agent, stream: RunStream, kind: Kind) -> Result<Arc<Feed>, Error> {
    let (begun, begins) = oneshot::channel();
    tokio::spawn(drive(Arc::clone(os), agent.clone(), stream, kind, begun));
    begins.await.map_err(|error| Error::Interrupted(Box::new(error)))?
}

async fn drive(
    os: Arc<Os>,
    agent: Agent,
    mut stream: RunStream,
    kind: Kind,
    begun: oneshot::Sender<Result<Arc<Feed>, Error>>,
) {
    // Where nobody waits for the beginning any more, the run goes on all the same.
    let first = match stream.next().await {
        Some(Ok(event)) => event,
        Some(Err(error)) => {
            let _ = begun.send(Err(error));
            return;
        }
        None => {
            let _ = begun.send(Err(Error::Interrupted("the run told nothing".into())));
            return;
        }
    };
    let base = first.base().clone();
    let feed = os.feeds.open(&base.run_id);
    feed.push(frame(&os, &first, kind).await);
    let _ = begun.send(Ok(Arc::clone(&feed)));
    let mut last = first.name();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                last = event.name();
                feed.push(frame(&os, &event, kind).await);
            }
            // Its events did not fit in between: whoever watches is shown how it stands.
            Err(Error::EventsLost { run_id }) => {
                tracing::warn!(%run_id, agent = agent.id(), "events of a run were lost");
            }
            Err(_) if last == "RunError" => {}
            Err(error) => {
                let problem = Problem::from(error);
                let event = RunEvent::refused(base.clone(), problem.text(), problem.code());
                feed.push(frame(&os, &event, kind).await);
            }
        }
    }
    os.feeds.close(&base.run_id, feed);
}

async fn frame(os: &Os, event: &RunEvent, kind: Kind) -> Frame {
    let mut data = serde_json::to_value(event).expect("kern's own events are JSON");
    if let (RunEvent::RunCompleted { base, .. }, Kind::Continued, Value::Object(fields)) = (event, kind, &mut data) {
        match metadata(os, &base.run_id).await {
            Ok(Some(metadata)) => _ = fields.insert("metadata".to_owned(), metadata),
            Ok(None) => {}
            // The run is complete, and its approvals are listed elsewhere.
            Err(problem) => {
                tracing::error!(code = problem.code(), run_id = %base.run_id, "an event is sent without its approvals");
            }
        }
    }
    Frame { name: event.name(), data: data.to_string().into() }
}

/// A stream of one event: why there is nothing to watch.
fn told(problem: Problem) -> Response {
    response(None, Lasts::for_now(), move |queue| async move {
        send(&queue, refusal(&problem)).await;
    })
}

fn refusal(problem: &Problem) -> Event {
    let now = jiff::Timestamp::now().as_second();
    let data = json!({
        "created_at": now, "event": "RunError", "agent_id": "", "agent_name": "", "nested_depth": 0,
        "content": problem.text(), "error_id": problem.code(),
    });
    Event::default().event("RunError").data(data.to_string())
}
