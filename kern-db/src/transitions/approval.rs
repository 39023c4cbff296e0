//! A2, A4 to A8: deciding and hiding an approval.

use serde_json::{Value, json};

use super::{abandon, call, close_pending, entries, evidence, make_ready, read, run};
use crate::audit::Entry;
use crate::cell::Json;
use crate::records::approval::{Approval, ApprovalRow, Decision, Resolution, VoteRow};
use crate::records::principal::{Actor, Principal};
use crate::rules::{CallRows, check_asked, check_binding, is_due};
use crate::tx::{Query, Refused, Step, Tx};
use crate::{ApprovalId, ApprovalStatus, Error, ExecutionStatus, Result};

use ApprovalRow as A;

/// The row, unless it is hidden.
async fn visible<T: Tx>(tx: &mut T, id: &ApprovalId) -> Result<ApprovalRow> {
    let found = tx.select::<ApprovalRow>(Query::of(vec![A::C.id.is(id.clone()), A::C.deleted_at.is(None)])).await?;
    found.into_iter().next().ok_or_else(|| not_found(id))
}

fn not_found(id: &ApprovalId) -> Error {
    Error::NotFound { entity: "approval", id: id.to_string() }
}

/// A2 with A4 and X1, or A5, or A6 where the row is past its time.
pub(crate) async fn resolve<T: Tx>(
    tx: &mut T,
    id: ApprovalId,
    expected: ApprovalStatus,
    resolution: Resolution,
) -> Step<Approval> {
    let found = visible(tx, &id).await?;
    if expected != ApprovalStatus::Pending && expected != found.status {
        return Err(conflict(&found, expected).into());
    }
    if expected != ApprovalStatus::Pending {
        let reason = format!("expected_status is `{expected}`: only a pending approval can be decided");
        return Err(Error::Invalid(reason).into());
    }
    check_data(resolution.data.as_ref())?;
    // Locked in the order of all transactions: run, approvals, executions.
    let actor = Actor::of(resolution.by.as_ref());
    let stray = || Error::DigestMismatch {
        run_id: found.run_id.clone(),
        turn: found.turn,
        index: found.idx,
        what: "the approval and the call it is about",
    };
    let read = match run(tx, &found.run_id).await {
        Ok(run) => call(tx, &found.run_id, found.turn, found.idx).await.map(|rows| (run, rows)),
        Err(error) => Err(error),
    };
    let (run, rows) = match read {
        Ok(read) => read,
        Err(Error::NotFound { entity: "call", .. }) => return Err(evidence(tx, &found.run_id, actor, stray())),
        Err(error) => return Err(evidence(tx, &found.run_id, actor, error)),
    };
    let Some(approval) = rows.approval.clone().filter(|approval| approval.id == id) else {
        return Err(evidence(tx, &found.run_id, actor, stray()));
    };
    let now = tx.now().await?;
    if is_due(&approval, now)
        && close_pending(tx, &approval, ApprovalStatus::Expired, Actor::Recovery, None, now).await?
    {
        return Err(Refused::Keep(Error::Expired { id }));
    }
    let bound = match check_binding(&run, &rows) {
        Ok(()) => check_asked(&rows, &entries(tx, &rows.call).await?),
        mismatch => mismatch,
    };
    if let Err(error) = bound {
        return Err(evidence(tx, &run.run_id, actor, error));
    }
    if let Err(error) = may_decide(&rows, &approval, &resolution) {
        let entry = Entry::new("vote_refused", actor, &run.run_id).evidence().call(&rows.call).approval(&id);
        tx.journal().record(entry.payload(json!({ "why": error.to_string() })));
        return Err(Refused::Keep(error));
    }
    if resolution.approve == Decision::Approve && !rows.call.unfilled.0.is_empty() {
        let fields = rows.call.unfilled.0.join("`, `");
        return Err(Error::Invalid(format!(
            "approval `{id}` cannot be approved yet: the person who asked still has to fill `{fields}`"
        ))
        .into());
    }
    let status = match resolution.approve {
        Decision::Approve => ApprovalStatus::Approved,
        Decision::Reject => ApprovalStatus::Rejected,
    };
    let decided = tx
        .update(
            vec![
                A::C.status.to(status),
                A::C.decided_digest.to((status == ApprovalStatus::Approved).then(|| approval.digest.clone())),
                A::C.resolved_by.to(resolution.by.as_ref().map(|by| by.subject.clone())),
                A::C.resolver.to(resolution.by.clone().map(Json)),
                A::C.resolved_at.to(Some(now / 1000)),
                A::C.resolution_data.to(resolution_data(&resolution)),
            ],
            vec![
                A::C.id.is(id.clone()),
                A::C.status.is(ApprovalStatus::Pending),
                A::C.version.is(approval.version),
                A::C.deleted_at.is(None),
            ],
        )
        .await?;
    if decided != 1 {
        return Err(conflict(&approval, expected).into());
    }
    let entry = |action| Entry::new(action, actor.clone(), &run.run_id).call(&rows.call).approval(&id);
    if status == ApprovalStatus::Approved {
        tx.insert(&vote(&approval, resolution.by.as_ref(), now)).await?;
        tx.journal().record(entry("voted").payload(json!({ "version": approval.version })));
        tx.journal().record(entry("approved").payload(json!({ "note": resolution.note })));
        make_ready(tx, &rows.call, &rows.policy, Some(&id), actor.clone(), now).await?;
    } else {
        tx.journal().record(entry("rejected").payload(json!({ "note": resolution.note })));
    }
    tx.journal().tell("approval.resolved", &run.run_id, Some(&id), None);
    // Read here, and not after the commit: nobody can have changed it in between.
    let decided = read::approval(tx, id.clone()).await?;
    decided.ok_or_else(|| not_found(&id).into())
}

/// Separation: whoever asked does not decide; and a vote is for the version that was looked at.
fn may_decide(rows: &CallRows, approval: &ApprovalRow, resolution: &Resolution) -> Result<()> {
    let requester = approval.requester.as_ref().map(|requester| &requester.0);
    if let (Some(by), Some(requester)) = (&resolution.by, requester)
        && !rows.policy.allow_self
        && by.is_same_person(requester)
    {
        let reason = format!("`{}` asked for this call and cannot decide about it: somebody else has to", by.subject);
        return Err(Error::NotPermitted { reason });
    }
    // Whoever says yes to something that was edited says to what: it may have been edited again since they looked.
    let seen = match &resolution.digest {
        Some(seen) => seen == &approval.digest,
        None => approval.version == 0 || resolution.approve == Decision::Reject,
    };
    // A row that is decided says so itself.
    if !seen && approval.status == ApprovalStatus::Pending {
        return Err(Error::StaleView { id: approval.id.clone(), version: approval.version });
    }
    Ok(())
}

/// Values that change what would run are refused until they can be enforced: nothing is accepted and then ignored.
fn check_data(data: Option<&Value>) -> Result<()> {
    let Some(data) = data else { return Ok(()) };
    let Some(fields) = data.as_object() else {
        return Err(Error::Invalid("resolution_data is a JSON object".into()));
    };
    for field in ["edited_args", "values", "result"] {
        if fields.contains_key(field) {
            return Err(Error::Invalid(format!(
                "resolution_data.{field} is not yet supported: the person who asked answers this on the requirement"
            )));
        }
    }
    Ok(())
}

/// What the approver sent along, with the note where the reference keeps it.
fn resolution_data(resolution: &Resolution) -> Option<String> {
    let mut data = resolution.data.clone();
    if let Some(note) = &resolution.note {
        data.get_or_insert_with(|| json!({}))["note"] = json!(note);
    }
    data.as_ref().map(crate::digest::canonical)
}

fn vote(approval: &ApprovalRow, by: Option<&Principal>, now: i64) -> VoteRow {
    VoteRow {
        approval_id: approval.id.clone(),
        version: approval.version,
        voter_key: by.map_or_else(|| "-".to_owned(), |by| crate::digest::canonical(&(&by.issuer, &by.subject))),
        voter: by.cloned().map(Json),
        digest: approval.digest.clone(),
        created_at_ms: now,
    }
}

fn conflict(approval: &ApprovalRow, expected: ApprovalStatus) -> Error {
    Error::Conflict {
        id: approval.id.clone(),
        expected,
        found: approval.status,
        by: approval.resolved_by.clone(),
        at: approval.resolved_at,
    }
}

/// A8: hides a row. It leaves every list; it and the log stay.
pub(crate) async fn delete<T: Tx>(tx: &mut T, id: ApprovalId, by: Option<Principal>) -> Step<()> {
    let found = visible(tx, &id).await?;
    let run = run(tx, &found.run_id).await?;
    let rows = call(tx, &found.run_id, found.turn, found.idx).await?;
    let now = tx.now().await?;
    let actor = Actor::of(by.as_ref());
    let Some(approval) = rows.approval.as_ref().filter(|approval| approval.id == id) else {
        return Err(not_found(&id).into());
    };
    close_pending(tx, approval, ApprovalStatus::Cancelled, actor.clone(), by.as_ref(), now).await?;
    // The call's execution, whether the row allows it or only records what the requester allowed.
    if let Some(execution) = &rows.execution {
        let abandoned = abandon(tx, execution, "the approval was deleted", actor.clone(), now).await?;
        let open =
            matches!(execution.status, ExecutionStatus::Ready | ExecutionStatus::Executing | ExecutionStatus::Unknown);
        if open && !abandoned {
            let needs = "an approval cannot be deleted while nobody knows how its call ends";
            let (id, found) = (execution.id.clone(), execution.status);
            return Err(Refused::Undo(Error::ExecutionConflict { id, found, needs }));
        }
    }
    let hidden = tx
        .update(vec![A::C.deleted_at.to(Some(now / 1000))], vec![A::C.id.is(id.clone()), A::C.deleted_at.is(None)])
        .await?;
    if hidden != 1 {
        return Err(not_found(&id).into());
    }
    tx.journal().record(Entry::new("hidden", actor, &run.run_id).call(&rows.call).approval(&id));
    Ok(())
}
