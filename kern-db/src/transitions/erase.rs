//! Taking the secrets out of a run that has ended: no line of the table, for no state changes, and nothing of the run can
//! start any more.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{evidence, request, run};
use crate::audit::Entry;
use crate::cell::Json;
use crate::digest::sha256;
use crate::records::approval::ApprovalRow;
use crate::records::audit::{AuditRow, Erased};
use crate::records::call::CallRow;
use crate::records::execution::ExecutionRow;
use crate::records::principal::{Actor, Principal, check_named};
use crate::records::run::RunRow;
use crate::rules::{digest_of, not_on_record};
use crate::sensitive::{Secrets, add_secrets, erase_snapshot};
use crate::tx::{Query, Refused, Step, Tx};
use crate::{Error, Result, RunId, RunStatus};

use ApprovalRow as A;
use CallRow as C;
use ExecutionRow as E;
use RunRow as R;

/// Puts the commitments of sensitive arguments in their place, everywhere, and forgets the salts. What the log says stays
/// true: the digests are over the commitments.
///
/// # Errors
///
/// [`Error::RunConflict`]: the run has not ended. [`Error::DigestMismatch`]: something is not as it was stored, and erasing
/// it would hide that.
pub(crate) async fn erase<T: Tx>(tx: &mut T, run_id: RunId, by: Option<Principal>, note: String) -> Step<Erased> {
    check_named(by.as_ref())?;
    if note.trim().is_empty() {
        return Err(Error::Invalid("what is erased is gone: a note has to say why".to_owned()).into());
    }
    let run = run(tx, &run_id).await?;
    if !matches!(run.status, RunStatus::Completed | RunStatus::Error | RunStatus::Cancelled) {
        let needs = "only a run that has ended is erased: cancel it first";
        return Err(Error::RunConflict { run_id, found: run.status, needs }.into());
    }
    let mut erased =
        Erased { run_id, erased_at_ms: run.erased_at_ms, before: false, names: Vec::new(), calls: 0, kept: 0 };
    if run.erased_at_ms.is_some() {
        erased.before = true;
        return Ok(erased);
    }
    let query = Query::of(vec![C::C.run_id.is(run.run_id.clone())]).oldest(C::C.turn.order()).oldest(C::C.idx.order());
    let calls = tx.select::<CallRow>(query.lock()).await?;
    let query = Query::of(vec![A::C.run_id.is(run.run_id.clone())]).oldest(A::C.id.order());
    let approvals = tx.select::<ApprovalRow>(query.lock()).await?;
    let query = Query::of(vec![E::C.run_id.is(run.run_id.clone())]).oldest(E::C.id.order());
    let executions = tx.select::<ExecutionRow>(query.lock()).await?;
    let (mut secrets, mut names) = (Secrets::new(), BTreeSet::new());
    for call in &calls {
        let Some(salts) = &call.salts else {
            let sensitive = call.parameters.as_deref().map(super::sensitive).transpose()?;
            erased.kept += u64::from(sensitive.is_some_and(|names| !names.is_empty()));
            continue;
        };
        let (_, found) = salts.0.erase("calls.arguments", &call.arguments)?;
        erased.calls += u64::from(!found.is_empty());
        names.extend(found.iter().map(|name| format!("{}.{name}", call.tool_name)));
        add_secrets(&mut secrets, &call.tool_name, &salts.0);
    }
    if secrets.is_empty() && executions.iter().all(|row| row.late_result.is_none()) {
        return Ok(erased);
    }
    let actor = Actor::of(by.as_ref());
    if let Err(error) = as_stored(tx, &run, &calls, &approvals, &executions).await {
        return Err(evidence(tx, &run.run_id, actor, error).await);
    }
    let now = tx.now().await?;
    let snapshot = erase_snapshot(&run.snapshot, &secrets)?;
    let digest = sha256(&snapshot);
    let set = vec![
        R::C.snapshot.to(snapshot),
        R::C.snapshot_digest.to(digest.clone()),
        R::C.snapshot_salt.to(None),
        // A run that has ended is not started again from it.
        R::C.input.to(None),
        R::C.erased_at_ms.to(Some(now)),
    ];
    let expect = vec![
        R::C.run_id.is(run.run_id.clone()),
        R::C.status.is(run.status),
        R::C.fence.is(run.fence),
        R::C.snapshot_digest.is(run.snapshot_digest.clone()),
        R::C.erased_at_ms.is(None),
    ];
    one(&run, tx.update(set, expect).await?)?;
    for call in &calls {
        erase_call(tx, &run, call, &approvals, &executions, now).await?;
    }
    for execution in executions.iter().filter(|row| row.late_result.is_some()) {
        erase_late(tx, &run, execution).await?;
    }
    request::forget_answers(tx).await?;
    erased.erased_at_ms = Some(now);
    erased.names = names.into_iter().collect();
    let entry = Entry::new("erased", actor, &run.run_id).payload(json!({
        "names": erased.names,
        "erased_calls": erased.calls,
        "kept_calls": erased.kept,
        "snapshot_digest": digest,
        "note": note,
    }));
    tx.journal().record(entry);
    Ok(erased)
}

fn one(run: &RunRow, rows: u64) -> Step<()> {
    if rows == 1 { Ok(()) } else { Err(Refused::Undo(Error::NotMine { run_id: run.run_id.clone() })) }
}

/// What came too late may say anything, as a result may, and nothing needs it any more.
async fn erase_late<T: Tx>(tx: &mut T, run: &RunRow, execution: &ExecutionRow) -> Step<()> {
    let expect = vec![
        E::C.id.is(execution.id.clone()),
        E::C.status.is(execution.status),
        E::C.late_result.is(execution.late_result.clone()),
    ];
    one(run, tx.update(vec![E::C.late_result.to(None)], expect).await?)
}

/// One call with its rows, of all generations.
async fn erase_call<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    call: &CallRow,
    approvals: &[ApprovalRow],
    executions: &[ExecutionRow],
    now: i64,
) -> Step<()> {
    let Some(salts) = &call.salts else { return Ok(()) };
    let (arguments, _) = salts.0.erase("calls.arguments", &call.arguments)?;
    let set = vec![
        C::C.arguments.to(arguments),
        C::C.salts.to(Some(Json(salts.0.erased()))),
        C::C.erased_at_ms.to(Some(now)),
    ];
    let mut expect = super::answer::unchanged(call);
    expect.extend([C::C.erased_at_ms.is(None), C::C.arguments.is(call.arguments.clone())]);
    one(run, tx.update(set, expect).await?)?;
    for approval in approvals.iter().filter(|row| (row.turn, row.idx) == (call.turn, call.idx)) {
        let (arguments, _) = salts.0.erase("approvals.tool_args", &approval.tool_args)?;
        let set = vec![A::C.tool_args.to(arguments), A::C.erased_at_ms.to(Some(now))];
        let expect = vec![
            A::C.id.is(approval.id.clone()),
            A::C.status.is(approval.status),
            A::C.tool_args.is(approval.tool_args.clone()),
            A::C.erased_at_ms.is(None),
        ];
        one(run, tx.update(set, expect).await?)?;
    }
    for execution in executions.iter().filter(|row| (row.turn, row.idx) == (call.turn, call.idx)) {
        let (arguments, _) = salts.0.erase("executions.arguments", &execution.arguments)?;
        let set = vec![E::C.arguments.to(arguments), E::C.erased_at_ms.to(Some(now))];
        let expect = vec![
            E::C.id.is(execution.id.clone()),
            E::C.status.is(execution.status),
            E::C.arguments.is(execution.arguments.clone()),
            E::C.erased_at_ms.is(None),
        ];
        one(run, tx.update(set, expect).await?)?;
    }
    Ok(())
}

/// Everything that is about to be overwritten is what the log says, so that nobody gets rid of the traces of a change by having
/// it erased.
async fn as_stored<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    calls: &[CallRow],
    approvals: &[ApprovalRow],
    executions: &[ExecutionRow],
) -> Result<()> {
    let query = Query::of(vec![AuditRow::C.run_id.is(Some(run.run_id.clone())), AuditRow::C.evidence.is(false)])
        .oldest(AuditRow::C.seq.order());
    let entries = tx.select::<AuditRow>(query).await?;
    let said = entries.iter().rev().find_map(|entry| {
        let payload: Value = serde_json::from_str(&entry.payload).ok()?;
        payload.get("snapshot_digest")?.as_str().map(str::to_owned)
    });
    if said.as_ref() != Some(&run.snapshot_digest) || run.digest_of_snapshot() != run.snapshot_digest {
        let what = "the run's snapshot and the audit log";
        return Err(Error::DigestMismatch { run_id: run.run_id.clone(), turn: run.turn, index: 0, what });
    }
    let input = entries.iter().rev().find_map(|entry| {
        let payload: Value = serde_json::from_str(&entry.payload).ok()?;
        payload.get("input_digest")?.as_str().map(str::to_owned)
    });
    if input != run.input.as_deref().map(sha256) {
        let what = "the run's input and the audit log";
        return Err(Error::DigestMismatch { run_id: run.run_id.clone(), turn: run.turn, index: 0, what });
    }
    for call in calls {
        let of_call = |turn, idx, generation| (turn, idx, generation) == (call.turn, call.idx, call.generation);
        // What nobody has said anything to has no entry of its own, and the turn's names its digest.
        let on_record = entries.iter().any(|entry| {
            (entry.turn == Some(call.turn)
                && entry.idx == Some(call.idx)
                && entry.call_digest.as_deref() == Some(call.digest.as_str()))
                || (entry.turn == Some(call.turn) && entry.idx.is_none() && entry.payload.contains(&call.digest))
        });
        let erased = call.erased_at_ms.is_some() || call.salts.as_ref().is_some_and(|salts| salts.0.is_erased());
        if erased || !on_record || digest_of(call, &call.arguments) != call.digest {
            return Err(not_on_record(call, "the call and the audit log"));
        }
        let approvals = approvals.iter().filter(|row| of_call(row.turn, row.idx, row.generation));
        if !approvals.into_iter().all(|row| row.tool_args == call.arguments && row.digest == call.digest) {
            return Err(not_on_record(call, "the approval and the call"));
        }
        let executions = executions.iter().filter(|row| of_call(row.turn, row.idx, row.generation));
        if !executions.into_iter().all(|row| digest_of(call, &row.arguments) == row.decided_digest) {
            return Err(not_on_record(call, "the execution's arguments and their digest"));
        }
    }
    Ok(())
}
