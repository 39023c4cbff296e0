//! Executions: what became of calls, and a human's word on those that nobody knows the end of.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use kern_db::{Execution, ExecutionFilter, ExecutionId, ExecutionStatus, RunId, Settlement};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Os;
use super::access::Who;
use super::fields::Fields;
use super::openapi::{AcknowledgeBody, BodyProblems, ProblemAnswer, QueryProblems, SettleBody};
use super::pages::whole;
use super::problem::Problem;

const STATUSES: &[&str] = &["ready", "executing", "succeeded", "failed", "unknown", "abandoned"];
const OUTCOMES: &[&str] = &["succeeded", "failed", "abandoned", "run_again", "adopt"];

pub(super) fn routes() -> OpenApiRouter<Arc<Os>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(settle)).routes(routes!(acknowledge))
}

/// Lists executions, oldest first: by default those that nobody knows the end of.
#[utoipa::path(get, path = "/executions", tag = "executions",
    params(("status" = Option<String>, Query, description = "Only in this state; `unknown` by default, `all` for every one"),
        ("run_id" = Option<String>, Query, description = "Only of this run"),
        ("approval_id" = Option<String>, Query, description = "Only allowed by this approval"),
        ("limit" = Option<u32>, Query, description = "At most this many, 1 to 1000, 100 by default", minimum = 1, maximum = 1000)),
    responses((status = 200, description = "The executions", body = Value), QueryProblems))]
async fn list(State(os): State<Arc<Os>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(query.as_deref());
    let mut filter = ExecutionFilter::new().limit(fields.number("limit", 1..=1000).unwrap_or(100));
    if fields.text("status").as_deref() != Some("all") {
        let status = fields.one_of::<ExecutionStatus>("status", STATUSES);
        filter = filter.status(status.unwrap_or(ExecutionStatus::Unknown));
    }
    if let Some(run_id) = fields.text("run_id") {
        filter = filter.run_id(run_id);
    }
    if let Some(approval_id) = fields.text("approval_id") {
        filter = filter.approval_id(approval_id);
    }
    fields.done()?;
    let executions = os.db.list_executions(filter).await?;
    whole(&os, &json!({ "data": executions }))
}

/// Says how an execution ended that nobody knows the end of, or has its call asked for again.
#[utoipa::path(post, path = "/executions/{execution_id}/settle", tag = "executions",
    params(("execution_id" = String, Path, description = "The execution")),
    request_body = SettleBody,
    responses((status = 200, description = "The execution, settled", body = Value),
        (status = 404, response = ProblemAnswer), (status = 409, response = ProblemAnswer), BodyProblems))]
async fn settle(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Execution>, Problem> {
    let mut fields = Fields::of_json(request, &os.limits).await?;
    fields.nothing_but(&["as", "result", "digest", "note", "settled_by"]);
    let settlement = settlement(&mut fields, &who);
    fields.done()?;
    Ok(Json(os.db.settle_execution(&ExecutionId::from(id), settlement).await?))
}

/// Lets a run go on after an accepted restore. What it waits for may have been decided and executed in the lost history.
#[utoipa::path(post, path = "/runs/{run_id}/acknowledge", tag = "runs",
    params(("run_id" = String, Path, description = "The run")),
    request_body = AcknowledgeBody,
    responses((status = 204, description = "It may go on"),
        (status = 404, response = ProblemAnswer), (status = 409, response = ProblemAnswer), BodyProblems))]
async fn acknowledge(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let mut fields = Fields::of_json(request, &os.limits).await?;
    fields.nothing_but(&["note", "acknowledged_by"]);
    let (note, by) = (fields.needed("note"), fields.short("acknowledged_by", 255));
    fields.done()?;
    os.db.acknowledge_restore(&RunId::from(id), who.principal(by), Some(note)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What somebody says of how a call ended, as a body or a form has it.
pub(super) fn settlement(fields: &mut Fields, who: &Who) -> Settlement {
    let outcome = fields.word("as", OUTCOMES);
    // What the model is told of it has to be said by the person who knows.
    let settlement = match outcome.as_str() {
        "succeeded" => Settlement::succeeded(fields.needed("result")),
        "failed" => Settlement::failed(fields.needed("result")),
        // By the digest of the result that was shown.
        "adopt" => Settlement::adopt(fields.needed("digest")),
        "run_again" => Settlement::run_again(),
        // What is none of these is refused with the rest.
        _ => Settlement::abandoned(),
    };
    let settlement = settlement.note(fields.needed("note"));
    settlement.by_person(who.principal(fields.short("settled_by", 255)))
}
