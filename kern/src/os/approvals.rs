//! Approvals: listed, looked at, decided, and hidden.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use kern_db::{
    Approval, ApprovalFilter, ApprovalId, ApprovalStatus, ApprovalType, Gathered, Owner, PauseType, Resolution,
};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Os;
use super::access::{Who, shows};
use super::fields::Fields;
use super::openapi::{BodyProblems, ProblemAnswer, QueryProblems, Refusals, ResolveBody, ResolveManyBody};
use super::problem::Problem;
use super::watch;
use crate::run::{self, RunBlocked};

const STATUSES: &[&str] = &["pending", "approved", "rejected", "expired", "cancelled"];
const TYPES: &[&str] = &["required", "audit"];
const PAUSES: &[&str] = &["confirmation", "user_input", "external_execution"];
/// Decisions in one request.
const MANY: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<Os>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(count))
        .routes(routes!(resolve_many))
        .routes(routes!(events))
        .routes(routes!(get, delete))
        .routes(routes!(status))
        .routes(routes!(resolve))
}

fn id_of(id: String) -> ApprovalId {
    ApprovalId::from(id)
}

/// An approval that is shown to whoever asks. Another's is as good as none.
pub(super) async fn found(os: &Os, who: &Who, id: &ApprovalId) -> Result<Approval, Problem> {
    let approval = os.db.get_approval(id).await?;
    let shown = approval.filter(|approval| shows(who.only_approvals(), approval.requester.as_ref()));
    shown.ok_or_else(|| Problem::not_found("Approval"))
}

/// Whose approvals are listed: those of whoever sees no others, else what is asked for.
fn whose(fields: &mut Fields, who: &Who) -> Option<Owner> {
    let asked = fields.text("user_id");
    who.only_approvals().or(asked.map(Owner::from))
}

/// Lists approvals, newest first.
#[utoipa::path(get, path = "/approvals", tag = "approvals",
    params(
        ("status" = Option<String>, Query, description = "Only in this state"),
        ("source_type" = Option<String>, Query, description = "`agent`, `team` or `workflow`"),
        ("approval_type" = Option<String>, Query, description = "`required` or `audit`"),
        ("pause_type" = Option<String>, Query, description = "`confirmation`, `user_input` or `external_execution`"),
        ("agent_id" = Option<String>, Query, description = "Only of this agent"),
        ("team_id" = Option<String>, Query, description = "Only of this team"),
        ("workflow_id" = Option<String>, Query, description = "Only of this workflow"),
        ("user_id" = Option<String>, Query, description = "Only asked for by this person"),
        ("schedule_id" = Option<String>, Query, description = "Only of this schedule"),
        ("run_id" = Option<String>, Query, description = "Only of this run"),
        ("limit" = Option<u32>, Query, description = "Rows a page, 1 to 1000, 100 by default", minimum = 1, maximum = 1000),
        ("page" = Option<u32>, Query, description = "The page, from 1. Rows that change their state move to other pages: a client that decides what it has read asks with `cursor`", minimum = 1),
        ("cursor" = Option<String>, Query, description = "Only rows after those of the page whose `meta.next_cursor` this is; not together with `page`", max_length = 255)),
    responses((status = 200, description = "A page of approvals; `meta.next_cursor` leads to the next one and is null on the last", body = Value),
        QueryProblems))]
async fn list(State(os): State<Arc<Os>>, who: Who, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(query.as_deref());
    let mut filter = ApprovalFilter::new();
    if let Some(status) = fields.one_of::<ApprovalStatus>("status", STATUSES) {
        filter = filter.status(status);
    }
    if let Some(approval_type) = fields.one_of::<ApprovalType>("approval_type", TYPES) {
        filter = filter.approval_type(approval_type);
    }
    if let Some(pause_type) = fields.one_of::<PauseType>("pause_type", PAUSES) {
        filter = filter.pause_type(pause_type);
    }
    if let Some(source_type) = fields.text("source_type") {
        filter = filter.source_type(source_type);
    }
    if let Some(agent_id) = fields.text("agent_id") {
        filter = filter.agent_id(agent_id);
    }
    if let Some(team_id) = fields.text("team_id") {
        filter = filter.team_id(team_id);
    }
    if let Some(user_id) = whose(&mut fields, &who) {
        filter = filter.user_id(user_id);
    }
    if let Some(workflow_id) = fields.text("workflow_id") {
        filter = filter.workflow_id(workflow_id);
    }
    if let Some(schedule_id) = fields.text("schedule_id") {
        filter = filter.schedule_id(schedule_id);
    }
    if let Some(run_id) = fields.text("run_id") {
        filter = filter.run_id(run_id);
    }
    if let Some(limit) = fields.number("limit", 1..=1000_u32) {
        filter = filter.limit(limit);
    }
    if let Some(page) = fields.number("page", 1..=u32::MAX) {
        filter = filter.page(page);
    }
    fields.page_or_cursor();
    if let Some(cursor) = fields.short("cursor", 255) {
        match filter.clone().cursor(&cursor) {
            Some(after) => filter = after,
            None => fields.refuse("cursor", "Input should be the `next_cursor` of a page"),
        }
    }
    fields.done()?;
    let page = os.db.approvals_json(filter, os.limits.list).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], page).into_response())
}

/// Counts the approvals that wait for somebody.
#[utoipa::path(get, path = "/approvals/count", tag = "approvals",
    params(("user_id" = Option<String>, Query, description = "Only asked for by this person")),
    responses((status = 200, description = "How many", body = Value), QueryProblems))]
async fn count(State(os): State<Arc<Os>>, who: Who, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::of_query(query.as_deref());
    let user_id = whose(&mut fields, &who);
    fields.done()?;
    let count = match user_id {
        None => os.db.count_pending_approvals().await?,
        Some(user_id) => {
            os.db.count_approvals(ApprovalFilter::new().status(ApprovalStatus::Pending).user_id(user_id)).await?
        }
    };
    Ok(Json(json!({ "count": count })))
}

/// Shows an approval.
#[utoipa::path(get, path = "/approvals/{approval_id}", tag = "approvals",
    params(("approval_id" = String, Path, description = "The approval")),
    responses((status = 200, description = "The approval", body = Value), (status = 404, response = ProblemAnswer), Refusals))]
async fn get(State(os): State<Arc<Os>>, who: Who, Path(id): Path<String>) -> Result<Json<Approval>, Problem> {
    found(&os, &who, &id_of(id)).await.map(Json)
}

/// Says whether an approval is decided.
#[utoipa::path(get, path = "/approvals/{approval_id}/status", tag = "approvals",
    params(("approval_id" = String, Path, description = "The approval")),
    responses((status = 200, description = "Its state", body = Value), (status = 404, response = ProblemAnswer), Refusals))]
async fn status(State(os): State<Arc<Os>>, who: Who, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let approval = found(&os, &who, &id_of(id)).await?;
    Ok(Json(json!({
        "approval_id": approval.id,
        "status": approval.status,
        "run_id": approval.run_id,
        "resolved_at": approval.resolved_at,
        "resolved_by": approval.resolved_by,
    })))
}

/// Hides an approval. A pending one is cancelled with it; the row and the audit log stay.
#[utoipa::path(delete, path = "/approvals/{approval_id}", tag = "approvals",
    params(("approval_id" = String, Path, description = "The approval")),
    responses((status = 204, description = "It is hidden"), (status = 404, response = ProblemAnswer), (status = 409, response = ProblemAnswer), Refusals))]
async fn delete(State(os): State<Arc<Os>>, who: Who, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let id = id_of(id);
    if who.only_approvals().is_some() {
        found(&os, &who, &id).await?;
    }
    os.db.hide_approval(id, who.principal(None)).await?;
    Ok(StatusCode::NO_CONTENT)
}

const RESOLVE: &[&str] = &["status", "resolved_by", "resolution_data", "note", "digest", "acknowledge_restore"];

/// A decision as a body says it.
fn decision(fields: &mut Fields, who: &Who) -> Resolution {
    let status = fields.word("status", &["approved", "rejected"]);
    let named = fields.short("resolved_by", 255);
    let data = fields.object("resolution_data");
    // Clients of Agno 3.1.10 have no field for it. A note of another type is refused: its author would believe that the model
    // was told.
    let inner = fields.text_in("resolution_data", "note");
    let note = fields.text("note").or(inner);
    let digest = fields.text("digest");
    let acknowledged = fields.flag("acknowledge_restore", false);
    let mut resolution = match status.as_str() {
        "approved" => Resolution::approved(),
        // What is neither is refused with the rest of the body.
        _ => Resolution::rejected(),
    };
    resolution = who.decides(resolution, named);
    if let Some(note) = note {
        resolution = resolution.note(note);
    }
    if let Some(data) = data {
        resolution = resolution.data(data);
    }
    if let Some(digest) = digest {
        resolution = resolution.digest(digest);
    }
    if acknowledged {
        resolution = resolution.acknowledge_restore();
    }
    resolution
}

/// An approval as it was decided, with why its run cannot continue here, if it cannot.
async fn decided(os: &Os, approval: Approval) -> Value {
    let blocked = blocked(os, &approval).await;
    let mut decided = serde_json::to_value(approval).expect("an approval is JSON");
    if let (Some(blocked), Value::Object(fields)) = (blocked, &mut decided) {
        fields.insert("run_blocked".to_owned(), json!(blocked));
    }
    decided
}

/// Why the run of an approved call cannot continue with the tools of this server. `None` also where the server does not have
/// the agent, so that others drive its runs. The decision is stored whether or not the run can be read: then it says nothing.
pub(super) async fn blocked(os: &Os, approval: &Approval) -> Option<RunBlocked> {
    if !matches!(approval.status, ApprovalStatus::Approved | ApprovalStatus::Pending) {
        return None;
    }
    let agent = os.agent(approval.agent_id.as_deref()?)?;
    match os.db.get_run(&approval.run_id).await {
        Ok(run) => run::blocked::blocked(&agent.0, &run),
        Err(error) => {
            tracing::warn!(run_id = %approval.run_id, %error, "the run of an approval cannot be read");
            None
        }
    }
}

/// Decides an approval, if it is still pending. Of any number of callers, one wins.
#[utoipa::path(post, path = "/approvals/{approval_id}/resolve", tag = "approvals",
    params(("approval_id" = String, Path, description = "The approval")),
    request_body = ResolveBody,
    responses((status = 200, description = "The approval, decided; or still pending, where more people have to say yes", body = Value),
        (status = 404, response = ProblemAnswer), (status = 409, response = ProblemAnswer), (status = 410, response = ProblemAnswer), BodyProblems))]
async fn resolve(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::of_json(request, &os.limits).await?;
    fields.nothing_but(RESOLVE);
    let resolution = decision(&mut fields, &who);
    fields.done()?;
    let approval = os.db.update_approval(&id_of(id), ApprovalStatus::Pending, resolution).await?;
    Ok(Json(decided(&os, approval).await))
}

/// Decides several approvals, each with the digest that was seen. Each has its own outcome.
#[utoipa::path(post, path = "/approvals/resolve", tag = "approvals", request_body = ResolveManyBody,
    responses((status = 200, description = "The outcome of each, in order", body = Value),
        BodyProblems))]
async fn resolve_many(State(os): State<Arc<Os>>, who: Who, request: Request) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::of_json(request, &os.limits).await?;
    fields.nothing_but(&["approvals", "resolved_by"]);
    let named = fields.short("resolved_by", 255);
    let items = fields.list("approvals", MANY);
    fields.done()?;
    let mut decisions = Vec::new();
    for (place, item) in items.into_iter().enumerate() {
        // Whatever is wrong with one of them, nothing is decided that was not understood as a whole.
        let Value::Object(item) = item else {
            let wrong = json!({ "type": "dict_type", "loc": ["body", "approvals", place], "msg": "Input should be a valid dictionary" });
            return Err(Problem::invalid(vec![wrong]));
        };
        let mut fields = Fields::of_object(item);
        fields.nothing_but(&["id", "status", "digest", "note"]);
        let (id, digest) = (fields.needed("id"), fields.needed("digest"));
        let resolution = decision(&mut fields, &who);
        fields.done().map_err(|problem| problem.with("item", place))?;
        decisions.push((ApprovalId::from(id), who.decides(resolution.digest(digest), named.clone())));
    }
    let (mut outcomes, gathered) = (Vec::new(), Gathered::default());
    for (id, resolution) in decisions {
        let resolution = resolution.gathered(&gathered);
        let outcome = match os.db.update_approval(&id, ApprovalStatus::Pending, resolution).await {
            Ok(approval) => json!({ "id": id, "status": 200, "approval": decided(&os, approval).await }),
            Err(error) => {
                let problem = Problem::from(error).into_value();
                json!({ "id": id, "status": problem["status"], "problem": problem })
            }
        };
        outcomes.push(outcome);
    }
    if !gathered.is_empty() {
        os.db.record_gathered(gathered).await?;
    }
    Ok(Json(json!({ "data": outcomes })))
}

/// Tells what happens to approvals and to their calls, from now on or from after `Last-Event-ID`.
#[utoipa::path(get, path = "/approvals/events", tag = "approvals",
    params(("Last-Event-ID" = Option<String>, Header, description = "The last event that was seen")),
    responses((status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        QueryProblems))]
async fn events(State(os): State<Arc<Os>>, who: Who, headers: HeaderMap) -> Result<Response, Problem> {
    let seen = match headers.get("last-event-id").map(|value| value.to_str().ok().and_then(|text| text.parse().ok())) {
        None => None,
        Some(Some(seen)) if seen >= 0 => Some(seen),
        Some(_) => {
            let wrong = json!({ "type": "int_parsing", "loc": ["header", "last-event-id"], "msg": "Input should be a valid integer" });
            return Err(Problem::invalid(vec![wrong]));
        }
    };
    let place = os.place(&who)?;
    let from = match seen.or_else(|| os.log.followed_to()) {
        Some(seen) => seen,
        None => os.db.audit_head().await?,
    };
    Ok(watch::response(os, who, from, place))
}
