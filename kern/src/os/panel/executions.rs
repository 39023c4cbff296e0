//! Calls whose end nobody knows, and a human's word on each.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use kern_db::{Call, Effect, Execution, ExecutionFilter, ExecutionId, ExecutionStatus, Run, RunId};

use super::{Failure, Frame, When, arguments, page as made, safe};
use crate::display::Argument;
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
    late: Option<Late>,
}

/// A result that was reported too late.
struct Late {
    /// Whether it says that the call was done.
    done: bool,
    result: String,
    /// Of the result as it is stored. `None`: it is not for adoption.
    digest: Option<String>,
}

impl Row {
    fn of(os: &Os, run: &Run, execution: &Execution) -> Self {
        let is_of_it = |call: &&Call| call.turn == execution.turn && call.index == execution.index;
        let call = run.calls.iter().find(is_of_it);
        let approval = call.and_then(|call| call.approval.as_ref());
        // The writes of a transactional call are not there.
        let adoptable = call.is_some_and(|call| call.policy.effect != Effect::Transactional);
        let given = serde_json::from_str(&execution.arguments).map_err(|error| error.to_string());
        let unreadable = given.as_ref().err().map(|error| format!("its arguments cannot be read: {error}"));
        let given = given.unwrap_or_default();
        Self {
            id: execution.id.to_string(),
            tool: safe(&execution.tool_name),
            run_id: execution.run_id.to_string(),
            arguments: arguments(os, &run.agent_id, &execution.tool_name, &given, approval),
            started: execution.started_at_ms.map(|at| When::of(at / 1000)),
            error: unreadable.or(execution.error.clone()).as_deref().map(safe),
            late: execution.late_result.as_deref().map(|result| Late {
                done: execution.late_status == Some(ExecutionStatus::Succeeded),
                result: safe(result),
                digest: execution.late_digest().filter(|_| adoptable),
            }),
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
    let mut runs: HashMap<&RunId, Run> = HashMap::new();
    let mut rows = Vec::new();
    for execution in &unknown {
        let run = match runs.entry(&execution.run_id) {
            Entry::Occupied(run) => run.into_mut(),
            Entry::Vacant(place) => place.insert(os.db.get_run(&execution.run_id).await?),
        };
        rows.push(Row::of(&os, run, execution));
    }
    Ok(made(&Page { frame: Frame::new(&os, &who, "/panel/executions", "Unknown").await?, rows, settles }))
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
