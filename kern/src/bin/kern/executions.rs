//! `kern executions list` and `settle`.

use kern::db::{ApprovalStatus, Db, Execution, ExecutionFilter, ExecutionId, ExecutionStatus, Settlement, Standing};
use serde_json::json;

use crate::approvals::checked;
use crate::arguments::{ListExecutions, Settle};
use crate::call::{name, safe};
use crate::decide::{check_name, system_user};
use crate::failure::{Answer, Failure, Outcome};
use crate::output::Output;
use crate::words::{cell, now, span, table};

pub(crate) async fn list(output: &mut Output, db: &dyn Db, list: ListExecutions, json: bool) -> Outcome {
    // One more than is shown says whether there are more.
    let mut filter = ExecutionFilter::new().limit(list.limit + 1);
    if list.status != "any" {
        let status: ExecutionStatus =
            list.status.parse().map_err(|error| Failure::could_not("usage", format!("{error}")))?;
        filter = filter.status(status);
    }
    if let Some(run) = &list.run {
        filter = filter.run_id(run);
    }
    let mut found = db.list_executions(filter).await?;
    let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    if json {
        output.json(&json!({ "data": found, "more": more }))?;
        return Ok(Answer::Done);
    }
    if found.is_empty() {
        output.line(nothing(&list))?;
        return Ok(Answer::Done);
    }
    let rows = found.iter().map(|execution| row(execution, now())).collect();
    let head = ["ID", "STATUS", "TOOL", "ATTEMPT", "RUN", "AGE", "OUTCOME"];
    output.line(table(output.ink(), &head, rows))?;
    output.line("")?;
    for execution in &found {
        if let (Some(status), Some(result), Some(digest)) =
            (execution.late_status, &execution.late_result, execution.late_digest())
        {
            let (id, result) = (safe(execution.id.as_str()), cell(&safe(result), 60));
            output.line(format!("{id} was reported too late as {status}: {result}"))?;
            output.line(format!("  --as adopt --digest {digest}"))?;
        }
    }
    let count = if found.len() == 1 { "1 execution".to_owned() } else { format!("{} executions", found.len()) };
    let rest = if more { ", and there are more: give a higher --limit, or --run" } else { "" };
    let next = if list.status == "unknown" {
        ". Look what became of each, then `kern executions settle ID --as … --note …`."
    } else {
        ""
    };
    output.line(format!("{count}{rest}{next}"))?;
    Ok(Answer::Done)
}

fn row(execution: &Execution, now: i64) -> Vec<String> {
    let outcome = execution.result.as_deref().or(execution.error.as_deref());
    vec![
        safe(execution.id.as_str()),
        execution.status.to_string(),
        cell(&safe(&execution.tool_name), 40),
        execution.attempt.to_string(),
        safe(execution.run_id.as_str()),
        span(now - execution.created_at_ms / 1000),
        outcome.map_or_else(|| "-".to_owned(), |outcome| cell(&safe(outcome), 60)),
    ]
}

fn nothing(list: &ListExecutions) -> String {
    match (list.status.as_str(), &list.run) {
        ("unknown", None) => {
            "every execution's end is known, nothing has to be settled. `kern executions list --status \
                              any` shows all."
                .to_owned()
        }
        ("any", None) => "nothing that needs a record has been started yet".to_owned(),
        (status, None) => format!("no execution is {status}. `kern executions list --status any` shows all."),
        (_, Some(_)) => "nothing fits: leave out --run, or give --status any".to_owned(),
    }
}

/// What can be refused before the store is opened.
pub(crate) fn check(settle: &Settle) -> Outcome<()> {
    let without_result = match settle.end.as_str() {
        "abandoned" => Some("what was abandoned has no result"),
        "run-again" => Some("what is to be run again has no result"),
        "adopt" => Some("what is adopted is the result that was reported"),
        _ => None,
    };
    if let Some(why) = without_result.filter(|_| settle.result.is_some()) {
        return Err(Failure::could_not("invalid", format!("{why}: leave out --result, --note says why")));
    }
    if settle.end == "adopt" && settle.digest.is_none() {
        let message = "--as adopt takes --digest, which `kern executions list` shows with the result that was reported";
        return Err(Failure::could_not("invalid", message));
    }
    if settle.end != "adopt" && settle.digest.is_some() {
        return Err(Failure::could_not("invalid", "--digest goes with --as adopt"));
    }
    if settle.note.trim().is_empty() {
        return Err(Failure::could_not("invalid", "--note is empty: say how you know"));
    }
    checked(&settle.id).map(drop)
}

pub(crate) async fn settle(output: &mut Output, db: &dyn Db, settle: Settle, json: bool) -> Outcome {
    let by = match settle.by {
        Some(by) => by,
        None => system_user()?,
    };
    check_name(&by)?;
    let told = settle.result.unwrap_or_else(|| settle.note.clone());
    let settlement = match settle.end.as_str() {
        "succeeded" => Settlement::succeeded(told),
        "failed" => Settlement::failed(told),
        "abandoned" => Settlement::abandoned(),
        "run-again" => Settlement::run_again(),
        "adopt" => Settlement::adopt(settle.digest.unwrap_or_default()),
        other => return Err(Failure::could_not("usage", format!("`{other}` is no end of an execution"))),
    };
    let id = ExecutionId::from(settle.id);
    let settled = db.settle_execution(&id, settlement.by(&by).note(settle.note)).await?;
    let said = if settle.end == "run-again" {
        say_again(output, db, &settled, &by, json).await
    } else if json {
        output.json(&settled)
    } else {
        let (tool, by) = (safe(&settled.tool_name), name(&by, false));
        let status = output.ink().bold(settled.status.as_str());
        output.line(format!("settled as {status}: {tool} {}, by {by}", safe(settled.id.as_str())))
    };
    said.map_err(|failure| failure.after(&format!("execution `{}` is settled as {}", settled.id, settled.status)))?;
    Ok(Answer::Done)
}

/// Says who has to allow a call now that is to be run again.
async fn say_again(output: &mut Output, db: &dyn Db, settled: &Execution, by: &str, json: bool) -> Outcome<()> {
    let run = db.get_run(&settled.run_id).await?;
    let call = run.calls.iter().find(|call| (call.turn, call.index) == (settled.turn, settled.index));
    let approval = call.and_then(|call| call.approval.as_ref());
    let approval = approval.filter(|approval| approval.status == ApprovalStatus::Pending);
    if json {
        let mut said = serde_json::to_value(settled).unwrap_or_default();
        said["asked_again"] = json!({ "approval_id": approval.map(|approval| &approval.id) });
        return output.json(&said);
    }
    let (tool, by) = (safe(&settled.tool_name), name(by, false));
    let waits = match (approval, call.map(|call| &call.standing)) {
        (Some(approval), _) => format!("it waits for approval {}", safe(approval.id.as_str())),
        (None, Some(Standing::AwaitsRequester)) => "it waits for the person who asked".to_owned(),
        _ => "it may be started again".to_owned(),
    };
    let again = output.ink().bold("run again");
    output.line(format!("to be {again}: {tool} {}, by {by}; {waits}", safe(settled.id.as_str())))
}
