//! `kern restore --accept` and `kern runs acknowledge`: a store that was set back to an older copy.

use std::time::Duration;

use kern::db::{
    Db, ExecutionFilter, ExecutionStatus, Principal, RestoreAcceptance, RestoreAccepted, RunFilter, RunId, RunStatus,
    StoreState,
};
use serde_json::json;

use crate::approvals::checked;
use crate::arguments::{Acknowledge, Restore};
use crate::call::{name, safe};
use crate::database::Database;
use crate::decide::{check_name, system_user};
use crate::failure::{Answer, Failure, Outcome};
use crate::output::{Output, to_people};

/// What a listing reads at once.
const PAGE: u32 = 1000;

pub(crate) async fn restore(output: &mut Output, database: &Database, restore: Restore, json: bool) -> Outcome {
    let db = database.open().await?;
    let status = db.store_status().await?;
    if !restore.accept {
        if json {
            output.json(&status)?;
        } else {
            output.line(format!("the store is {}", status.state))?;
            if let Some(proof) = &status.proof {
                output.line(format!("its log lacks {}", safe(&proof.to_string())))?;
            }
            output.line(format!("{} runs wait for a person to acknowledge a restore", status.restored_runs))?;
        }
        return Ok(if status.state == StoreState::Open { Answer::Done } else { Answer::No });
    }
    let (Some(by), Some(note)) = (restore.by, restore.note) else {
        return Err(Failure::could_not("usage", "--accept needs --by and --note: who accepts the loss, and why"));
    };
    check_name(&by)?;
    if note.trim().is_empty() {
        return Err(Failure::could_not("invalid", "--note is empty: say why"));
    }
    if status.state == StoreState::Open && !restore.force {
        let message = "nothing proves that the store was set back; where it was set back together with its mark, --force accepts \
                       that";
        return Err(Failure::no("not_quarantined", message));
    }
    let plan = plan(&*db).await?;
    let keys = if restore.keys == "revoke" { "every API key is revoked" } else { "the API keys are kept" };
    if !json {
        to_people(&format!(
            "{} open runs are paused until a person acknowledges the restore, the end of {} calls becomes unknown, and {keys}",
            plan.0, plan.1
        ));
    }
    let mut acceptance = RestoreAcceptance::new(Principal::unverified(&by), note);
    if restore.force {
        acceptance = acceptance.force();
    }
    if restore.keys == "revoke" {
        acceptance = acceptance.revoke_keys();
    }
    loop {
        match db.accept_restore(acceptance.clone()).await? {
            RestoreAccepted::Waits { for_ms } => {
                let wait = Duration::from_millis(for_ms.unsigned_abs().max(1));
                to_people(&format!("waiting {} s until every lease is over", wait.as_secs() + 1));
                tokio::time::sleep(wait).await;
            }
            RestoreAccepted::Accepted { runs, calls, keys } => {
                let said = if json {
                    output.json(&json!({ "accepted": true, "runs": runs, "calls": calls, "keys_revoked": keys }))
                } else {
                    output.line(format!(
                        "accepted by {}: {runs} runs wait for `kern runs acknowledge`, {calls} calls are unknown, {keys} keys \
                         revoked",
                        name(&by, false)
                    ))
                };
                said.map_err(|failure| failure.after("the restore is accepted"))?;
                return Ok(Answer::Done);
            }
            _ => {
                return Err(Failure::could_not("internal", "the store gave an answer that this command does not know"));
            }
        }
    }
}

/// How many runs are open, and how many calls are ready or executing.
async fn plan(db: &dyn Db) -> Outcome<(u64, u64)> {
    let (mut runs, mut calls) = (0, 0);
    for status in [RunStatus::Running, RunStatus::Paused] {
        let mut after: Option<RunId> = None;
        loop {
            let mut filter = RunFilter::new().status(status).limit(PAGE);
            if let Some(after) = &after {
                filter = filter.after(after.clone());
            }
            let page = db.list_runs(filter).await?;
            runs += page.len() as u64;
            match page.last() {
                Some(last) if page.len() >= PAGE as usize => after = Some(last.run_id.clone()),
                _ => break,
            }
        }
    }
    for status in [ExecutionStatus::Ready, ExecutionStatus::Executing] {
        calls += db.count_executions(ExecutionFilter::new().status(status)).await?;
    }
    Ok((runs, calls))
}

pub(crate) async fn acknowledge(output: &mut Output, db: &dyn Db, request: Acknowledge, json: bool) -> Outcome {
    if request.note.trim().is_empty() {
        return Err(Failure::could_not("invalid", "--note is empty: say how you know"));
    }
    let by = match request.by {
        Some(by) => by,
        None => system_user()?,
    };
    check_name(&by)?;
    let run_id = RunId::from(checked(&request.run)?);
    db.acknowledge_restore(&run_id, Some(Principal::unverified(&by)), Some(request.note)).await?;
    let shown = safe(run_id.as_str());
    let said = if json {
        output.json(&json!({ "run_id": run_id, "acknowledged": true }))
    } else {
        output.line(format!("run {shown} may go on, by {}", name(&by, false)))
    };
    said.map_err(|failure| failure.after(&format!("run `{shown}` is acknowledged")))?;
    Ok(Answer::Done)
}
