//! Calls whose end nobody knows, and a human's word on each.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use kern_db::{Execution, ExecutionFilter, ExecutionId, ExecutionStatus};
use serde_json::{Map, Value};

use super::{Failure, Frame, NONE, When, page as made, safe};
use crate::display::{self, Argument};
use crate::identity::Scope;
use crate::os::Os;
use crate::os::access::Who;
use crate::os::executions::settlement;
use crate::os::fields::Fields;

struct Row {
    id: String,
    tool: String,
    run_id: String,
    arguments: Vec<Argument>,
    started: Option<When>,
    error: Option<String>,
}

impl Row {
    fn of(execution: &Execution) -> Self {
        let arguments: Map<String, Value> = serde_json::from_str(&execution.arguments).unwrap_or_default();
        Self {
            id: execution.id.to_string(),
            tool: safe(&execution.tool_name),
            run_id: execution.run_id.to_string(),
            arguments: display::arguments(&arguments, NONE),
            started: execution.started_at_ms.map(|at| When::of(at / 1000)),
            error: execution.error.as_deref().map(safe),
        }
    }
}

#[derive(Template)]
#[template(path = "executions.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    settles: bool,
}

pub(super) async fn page(State(os): State<Arc<Os>>, who: Who) -> Result<Response, Failure> {
    let unknown = os.db.list_executions(ExecutionFilter::new().status(ExecutionStatus::Unknown).limit(200)).await?;
    let settles = who.may(&Scope::ExecutionsSettle);
    let rows = unknown.iter().map(Row::of).collect();
    Ok(made(&Page { frame: Frame::new(&os, &who, "/panel/executions", "Unknown"), rows, settles }))
}

pub(super) async fn settle(
    State(os): State<Arc<Os>>,
    who: Who,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let mut fields = Fields::of_form(request, &os.limits).await?;
    let settlement = settlement(&mut fields, &who);
    fields.done()?;
    os.db.settle_execution(&ExecutionId::from(id), settlement).await?;
    Ok(Redirect::to("/panel/executions").into_response())
}
