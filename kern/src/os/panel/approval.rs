//! One approval: everything about it, and the decision.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use kern_db::{Approval, ApprovalFilter, ApprovalId, ApprovalStatus, Resolution};
use serde_json::{Map, Value, json};

use super::inbox::Row;
use super::{Failure, Frame, When, page, prose, safe};
use crate::identity::Scope;
use crate::os::Os;
use crate::os::access::Who;
use crate::os::approvals::{blocked, found};
use crate::os::fields::Fields;
use crate::os::problem::Problem;

/// What is being asked on the page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Approve,
    Reject,
    Edit,
}

/// A field of the form that changes an argument.
struct Input {
    name: String,
    label: String,
    value: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
    Json,
}

struct Vote {
    voter: Option<String>,
    is_verified: bool,
    is_current: bool,
    when: When,
    /// Until when the voter is in the pool by a token, where only that let them vote.
    member_until: Option<When>,
}

#[derive(Template)]
#[template(path = "approval.html")]
struct Page {
    frame: Frame,
    row: Row,
    asked: Asked,
    decides: bool,
    run_id: String,
    session_id: String,
    version: u32,
    edited_by: Option<String>,
    pool: Option<String>,
    votes: Vec<Vote>,
    inputs: Vec<Input>,
    result: Option<String>,
    /// The last call of the same tool that was decided.
    similar: Option<Row>,
    /// Why the run cannot continue.
    blocked: Option<String>,
    /// Whether the run began before the store was set back, and a person still has to acknowledge the restore.
    restored: bool,
}

pub(super) async fn show(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let mut fields = Fields::of_query(query.as_deref());
    let approval = found(&os, &who, &ApprovalId::from(id)).await?;
    let decides = who.may(&Scope::ApprovalsWrite) && approval.status == ApprovalStatus::Pending;
    let asked = match fields.text("do").as_deref() {
        Some("approve") if decides => Asked::Approve,
        Some("reject") if decides => Asked::Reject,
        Some("edit") if decides => Asked::Edit,
        _ => Asked::Nothing,
    };
    let votes = approval.votes.iter().map(|vote| Vote {
        voter: vote.voter.as_deref().map(safe),
        is_verified: vote.verified,
        is_current: vote.version == approval.version,
        when: When::of(vote.created_at_ms / 1000),
        member_until: vote.member_until_ms.map(|until_ms| When::of(until_ms / 1000)),
    });
    let result =
        approval.execution.as_ref().and_then(|execution| execution.result.as_ref().or(execution.error.as_ref()));
    Ok(page(&Page {
        frame: Frame::new(&os, &who, "/panel", "Approval").await?,
        asked,
        decides,
        run_id: approval.run_id.to_string(),
        session_id: safe(approval.session_id.as_str()),
        version: approval.version,
        edited_by: approval.edited_by.as_ref().map(|editor| safe(&editor.subject)),
        pool: approval.pool.as_deref().map(safe),
        votes: votes.collect(),
        inputs: if asked == Asked::Edit { inputs(&os, &approval) } else { Vec::new() },
        result: result.map(|text| prose(text)),
        similar: similar(&os, &who, &approval).await?,
        restored: is_restored(&os, &approval).await?,
        blocked: blocked(&os, &approval).await.map(|blocked| prose(&blocked.sentence())),
        row: Row::of(&approval),
    }))
}

/// Whether an approval may have been decided, and its call executed, in a history that was lost.
async fn is_restored(os: &Os, approval: &Approval) -> Result<bool, Failure> {
    if approval.status != ApprovalStatus::Pending {
        return Ok(false);
    }
    let store = os.db.store_status().await?;
    Ok(store.restored_runs > 0 && os.db.get_run(&approval.run_id).await?.epoch != store.epoch)
}

/// The last decided call of the same tool, among the newest ones.
async fn similar(os: &Os, who: &Who, approval: &Approval) -> Result<Option<Row>, Problem> {
    let mut filter = ApprovalFilter::new().limit(100_u32);
    if let Some(agent_id) = &approval.agent_id {
        filter = filter.agent_id(agent_id);
    }
    if let Some(only) = who.only_approvals() {
        filter = filter.user_id(only);
    }
    let newest = os.db.list_approvals(filter).await?.data;
    let is_like = |other: &&Approval| {
        other.id != approval.id && other.tool_name == approval.tool_name && other.status != ApprovalStatus::Pending
    };
    Ok(newest.iter().find(is_like).map(Row::of))
}

/// The schema of an argument, where this server has the tool.
fn schema<'a>(os: &'a Os, approval: &Approval, name: &str) -> Option<&'a Value> {
    let agent = os.agent(approval.agent_id.as_deref()?)?;
    let tool = approval.tool_name.as_deref()?;
    let tool = agent.0.tools.all().iter().find(|handle| handle.descriptor().name == tool)?;
    tool.descriptor().parameters.get("properties")?.get(name)
}

fn kind(schema: Option<&Value>, value: &Value) -> Kind {
    match (schema.and_then(|schema| schema.get("type")).and_then(Value::as_str), value) {
        (Some("string"), Value::String(_)) | (None, Value::String(_)) => Kind::Text,
        (Some("integer" | "number"), Value::Number(_)) | (None, Value::Number(_)) => Kind::Number,
        (Some("boolean"), Value::Bool(_)) | (None, Value::Bool(_)) => Kind::Flag,
        _ => Kind::Json,
    }
}

/// One field for each argument that is shown.
fn inputs(os: &Os, approval: &Approval) -> Vec<Input> {
    let shown = approval.tool_args.iter().flatten().filter(|(name, _)| !approval.sensitive.contains(name));
    shown
        .map(|(name, value)| {
            let kind = kind(schema(os, approval, name), value);
            let value = match value {
                Value::String(text) if kind == Kind::Text => text.clone(),
                value => format!("{value:#}"),
            };
            Input { name: name.clone(), label: safe(name), value, kind }
        })
        .collect()
}

/// The arguments as somebody has changed them. What was not shown stays as it is.
fn edited(os: &Os, approval: &Approval, sent: Vec<(String, String)>) -> Result<Map<String, Value>, Problem> {
    let mut arguments = approval.tool_args.clone().unwrap_or_default();
    for (name, text) in sent {
        let Some(before) = arguments.get(&name).filter(|_| !approval.sensitive.contains(&name)) else {
            let what = format!("the call has no argument `{name}` that can be changed here");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", what));
        };
        let value = match kind(schema(os, approval, &name), before) {
            // Browsers send a line's end as two characters.
            Kind::Text => Value::String(text.replace("\r\n", "\n")),
            _ => serde_json::from_str(&text).map_err(|error| {
                let what = format!("`{name}` is not valid JSON: {error}");
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", what)
            })?,
        };
        arguments.insert(name, value);
    }
    Ok(arguments)
}

pub(super) async fn decide(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let mut fields = Fields::of_form(request, &os.limits).await?;
    let decision = fields.word("decision", &["approved", "rejected", "edited"]);
    let (digest, note) = (fields.needed("digest"), fields.text("note"));
    let named = fields.short("resolved_by", 255);
    let sent = fields.starting_with("argument.");
    fields.done()?;
    let id = ApprovalId::from(id);
    let mut resolution = match decision.as_str() {
        "approved" => Resolution::approved(),
        "edited" => {
            let approval = found(&os, &who, &id).await?;
            let arguments = edited(&os, &approval, sent)?;
            Resolution::approved().data(json!({ "edited_args": arguments }))
        }
        _ => Resolution::rejected(),
    };
    resolution = who.decides(resolution.digest(digest), named);
    if let Some(note) = note {
        resolution = resolution.note(note);
    }
    os.db.update_approval(&id, ApprovalStatus::Pending, resolution).await?;
    Ok(Redirect::to(&format!("/panel/approvals/{id}")).into_response())
}
