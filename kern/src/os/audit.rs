//! The audit log: its entries, whether it is whole, and its signed heads. And what an operator watches.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use kern_db::{ApprovalFilter, ApprovalStatus, AuditReport, ExecutionFilter, ExecutionStatus};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Os;
use super::fields::Fields;
use super::openapi::{ProblemAnswer, QueryProblems, Refusals};
use super::problem::Problem;

pub(super) fn routes() -> OpenApiRouter<Arc<Os>> {
    OpenApiRouter::new()
        .routes(routes!(entries))
        .routes(routes!(verify))
        .routes(routes!(checkpoint))
        .routes(routes!(metrics))
}

/// Reads entries of the audit log, oldest first.
#[utoipa::path(get, path = "/audit", tag = "audit",
    params(("after" = Option<i64>, Query, description = "Only entries after this number; `next` of an answer gives the next ones", minimum = 0),
        ("limit" = Option<u32>, Query, description = "At most this many, 1 to 1000, 100 by default", minimum = 1, maximum = 1000)),
    responses((status = 200, description = "The entries", body = Value), QueryProblems))]
async fn entries(State(os): State<Arc<Os>>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(query.as_deref());
    let after = fields.number("after", 0..=i64::MAX).unwrap_or(0);
    let limit = fields.number("limit", 1..=1000).unwrap_or(100);
    fields.done()?;
    let entries = os.db.audit().entries(after, limit).await?;
    let (mut json, mut next) = (br#"{"data":["#.to_vec(), None);
    for entry in entries {
        let end = json.len();
        if next.is_some() {
            json.push(b',');
        }
        serde_json::to_writer(&mut json, &entry).expect("an entry is JSON");
        if json.len() > os.limits.list && next.is_some() {
            // The next answer begins with it.
            json.truncate(end);
            break;
        }
        next = Some(entry.seq);
    }
    json.extend_from_slice(format!(r#"],"next":{}}}"#, json!(next)).as_bytes());
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

/// Reads the whole log and every row, and says what is not as kern wrote it.
#[utoipa::path(get, path = "/audit/verify", tag = "audit",
    responses((status = 200, description = "What was found", body = Value), Refusals))]
async fn verify(State(os): State<Arc<Os>>) -> Result<Json<Value>, Problem> {
    let report: AuditReport = os.db.audit().verify().await?;
    let intact = report.is_intact();
    let mut body = serde_json::to_value(report).expect("a report is JSON");
    body["intact"] = json!(intact);
    Ok(Json(body))
}

/// Gives the newest signed head of the log. Kept elsewhere, it shows a log that was cut off or replaced.
#[utoipa::path(get, path = "/audit/checkpoint", tag = "audit",
    responses((status = 200, description = "The checkpoint", body = Value), (status = 404, response = ProblemAnswer), Refusals))]
async fn checkpoint(State(os): State<Arc<Os>>) -> Result<Json<Value>, Problem> {
    let audit = os.db.audit();
    let (mut after, mut newest) = (0, None);
    loop {
        let page = audit.checkpoints(after, 1000).await?;
        let Some(last) = page.into_iter().next_back() else { break };
        after = last.size;
        newest = Some(last);
    }
    newest.map(|checkpoint| Json(json!(checkpoint))).ok_or_else(|| Problem::not_found("Checkpoint"))
}

/// Says how things stand, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "server",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"),
        Refusals))]
async fn metrics(State(os): State<Arc<Os>>) -> Result<Response, Problem> {
    let started = Instant::now();
    let pending = os.db.count_pending_approvals().await?;
    let latency = started.elapsed().as_secs_f64();
    let mut text = String::new();
    // A string takes everything.
    let mut line = |line: std::fmt::Arguments<'_>| _ = text.write_fmt(line);
    line(format_args!("# HELP kern_approvals Approvals by status.\n# TYPE kern_approvals gauge\n"));
    for status in ["pending", "approved", "rejected", "expired", "cancelled"] {
        let parsed: ApprovalStatus = status.parse().expect("it is one of the states");
        let count = os.db.count_approvals(ApprovalFilter::new().status(parsed)).await?;
        line(format_args!("kern_approvals{{status=\"{status}\"}} {count}\n"));
    }
    line(format_args!(
        "# HELP kern_approvals_waiting Approvals that somebody has to decide.\n# TYPE kern_approvals_waiting gauge\n\
         kern_approvals_waiting {pending}\n"
    ));
    let clock = os.db.clock().await?;
    let ahead = clock.ahead_ms();
    line(format_args!(
        "# HELP kern_clock_ahead_seconds How far the store's time is ahead of its clock.\n\
         # TYPE kern_clock_ahead_seconds gauge\nkern_clock_ahead_seconds {}.{:03}\n",
        ahead / 1000,
        ahead % 1000
    ));
    line(format_args!("# HELP kern_executions Executions by status.\n# TYPE kern_executions gauge\n"));
    for status in ["ready", "executing", "succeeded", "failed", "unknown", "abandoned"] {
        let parsed: ExecutionStatus = status.parse().expect("it is one of the states");
        let count = os.db.count_executions(ExecutionFilter::new().status(parsed)).await?;
        line(format_args!("kern_executions{{status=\"{status}\"}} {count}\n"));
    }
    #[cfg(feature = "webhooks")]
    if !os.webhooks.is_empty() {
        line(format_args!(
            "# HELP kern_webhook_deliveries Events that a webhook is to be told, or was not told in the end.\n\
             # TYPE kern_webhook_deliveries gauge\n"
        ));
        for webhook in &os.webhooks {
            let name = webhook.id().replace('\\', r"\\").replace('"', r#"\""#);
            for status in [kern_db::DeliveryStatus::Pending, kern_db::DeliveryStatus::GivenUp] {
                let count = os.db.count_deliveries(webhook.id().to_owned(), status).await?;
                line(format_args!("kern_webhook_deliveries{{webhook=\"{name}\",status=\"{status}\"}} {count}\n"));
            }
        }
    }
    line(format_args!(
        "# HELP kern_store_read_seconds How long the store took to count what waits.\n# TYPE kern_store_read_seconds gauge\n\
         kern_store_read_seconds {latency:.6}\n"
    ));
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
