//! A1: asking for a call, and asking again for one whose tool has changed.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::answer::{lost_race, unchanged};
use super::run::{expire_due, open_turn};
use super::{
    Decider, NewApproval, abandon, approval_row, check_bound, close_pending, evidence, make_ready, next, pool, record,
    restore, sensitive, with_view,
};
use crate::audit::Entry;
use crate::cell::Json;
use crate::digest::{canonical, sha256};
use crate::ids::fresh_id;
use crate::records::approval::ApprovalRow;
use crate::records::call::{CallPolicy, CallRow, Standing, Tier};
use crate::records::execution::ExecutionRow;
use crate::records::principal::{Actor, Principal};
use crate::records::run::RunRow;
use crate::requests::{AskAgain, NewCall};
use crate::rules::{
    CallRows, check_arguments, check_unstarted, digest_of, is_due, is_void, policy_digest_of, standing, view_digest_of,
};
use crate::sensitive::{Salts, salt, snapshot_digest};
use crate::tx::{Refused, Step, Tx};
use crate::{ApprovalId, ApprovalStatus, ApprovalType, Error, ExecutionStatus, Result, RunStatus};

use CallRow as C;
use RunRow as R;

/// What makes no row: arguments that nobody could be shown, a schema that is not the one that was hashed, times that do not
/// survive canonical JSON, a quorum of nobody.
pub(super) fn check_new(new: &NewCall) -> Result<()> {
    const LONGEST: i64 = (1 << 53) - 1;
    check_arguments(&new.arguments)?;
    let schema: Option<Value> = serde_json::from_str(&new.parameters).ok();
    if !schema.is_some_and(|schema| schema.is_object()) || sha256(&new.parameters) != new.schema_hash {
        let what = "its schema is not the one that its `schema_hash` is of: make the descriptor anew, with the schema";
        return Err(Error::Invalid(format!("tool `{}` cannot be asked for: {what}", new.tool_name)));
    }
    if !is_digest(&new.tool_identity) {
        return Err(Error::Invalid(format!("tool `{}` cannot be asked for: it has no identity", new.tool_name)));
    }
    for time in [new.policy.expires_in_ms, new.policy.valid_for_ms].into_iter().flatten() {
        if !(0..=LONGEST).contains(&time) {
            return Err(Error::Invalid(format!("{time} milliseconds are no time that an approval can have")));
        }
    }
    if new.policy.quorum == 0 {
        return Err(Error::Invalid("a quorum is one person or more".to_owned()));
    }
    match &new.policy.pool {
        Some(_) if !new.policy.is_decided_by_row() => {
            let what = "a pool decides about approvals, and nobody is asked for one";
            Err(Error::Invalid(format!("tool `{}` cannot be asked for: {what}", new.tool_name)))
        }
        Some(pool) => pool::check_name(pool),
        None => Ok(()),
    }
}

/// Whether a text is a SHA-256.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// One protected call, and A1 where an approval row decides about it. Gives what the turn's entry says of it, where it has
/// none of its own.
pub(super) async fn add_call<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    turn: u32,
    new: NewCall,
    now: i64,
) -> Step<Option<(CallRow, Value)>> {
    let salts = Salts::fresh(sensitive(&new.parameters)?, None).map(Json);
    let call = CallRow {
        run_id: run.run_id.clone(),
        turn,
        idx: new.index,
        requirement_id: new.requirement_id,
        tool_call_id: new.tool_call_id,
        tool_name: new.tool_name,
        tool_version: new.tool_version,
        schema_hash: new.schema_hash,
        arguments: new.arguments,
        version: 0,
        digest: String::new(),
        shown_digest: String::new(),
        earlier_digests: Json(Vec::new()),
        unfilled: Json(new.unfilled),
        policy: canonical(&new.policy),
        policy_digest: String::new(),
        approval_id: None,
        generation: 0,
        answer: None,
        answer_digest: None,
        answer_note: None,
        answered_by: None,
        answered_at_ms: None,
        created_at_ms: now,
        parameters: Some(new.parameters),
        user_fields: Some(Json(new.user_fields)),
        argument_limit: Some(new.argument_limit),
        earlier_requirements: None,
        salts,
        erased_at_ms: None,
        tool_identity: new.tool_identity,
        asked_shard: None,
        asked_seq: None,
        confirmed_version: None,
    };
    let asking = Asking {
        policy: &new.policy,
        id: new.approval_id,
        requirements: &new.requirements,
        context: &new.context,
        author: None,
    };
    let (call, approval) = bound(tx, run, call, asking, now).await?;
    tx.insert(&call).await?;
    let Some(approval) = approval else {
        let said = without_row(run, &call, json!({ "index": call.idx, "digest": call.digest }));
        return Ok(Some((call, said)));
    };
    request(tx, run, &call, &approval).await?;
    Ok(None)
}

/// A payload, with the digests of what is asked of whom and of what is shown with it, where no row has them: the log alone does.
fn without_row(run: &RunRow, call: &CallRow, mut payload: Value) -> Value {
    payload["policy_digest"] = json!(call.policy_digest);
    payload["view_digest"] = view_digest_of(run, call, None).into();
    with_rest(payload, call)
}

/// A payload, with what a call still lacks, and with the digest of the requirements that it had before.
fn with_rest(mut payload: Value, call: &CallRow) -> Value {
    if let Some(earlier) = &call.earlier_requirements {
        payload["earlier"] = sha256(&canonical(&earlier.0)).into();
    }
    if !call.unfilled.0.is_empty() {
        payload["unfilled"] = json!(call.unfilled.0);
    }
    payload
}

/// What a call is asked with.
struct Asking<'a> {
    policy: &'a CallPolicy,
    id: Option<ApprovalId>,
    requirements: &'a Value,
    context: &'a Value,
    /// Who wrote the arguments, where it was not the model.
    author: Option<Json<Principal>>,
}

/// What an approver is shown beside the arguments, without the secrets that it may repeat: the policy's digest is in the log
/// and covers it, and it never changes.
fn shown(call: &CallRow, requirements: &Value) -> Value {
    let mut requirements = requirements.clone();
    if let Some(salts) = &call.salts {
        salts.0.cover_shown(&call.tool_name, &mut requirements);
    }
    requirements
}

/// The call with its digests, and the row that decides about it, where one does.
async fn bound<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    mut call: CallRow,
    asking: Asking<'_>,
    now: i64,
) -> Step<(CallRow, Option<ApprovalRow>)> {
    let Asking { policy, id, requirements, context, author } = asking;
    call.digest = digest_of(&call, &call.arguments);
    call.shown_digest.clone_from(&call.digest);
    if !policy.is_decided_by_row() {
        let view = view_digest_of(run, &call, None);
        call.policy_digest = policy_digest_of(&call, run, None, &view);
        return Ok((call, None));
    }
    let id = id.ok_or_else(|| Error::Invalid("a call that needs an approval has no id for it".into()))?;
    if tx.count(vec![ApprovalRow::C.id.is(id.clone())]).await? > 0 {
        return Err(Error::Invalid(format!("there is an approval `{id}` already")).into());
    }
    call.approval_id = Some(id.clone());
    let new = NewApproval {
        id,
        approval_type: ApprovalType::Required,
        status: ApprovalStatus::Pending,
        requirements: Some(canonical(&shown(&call, requirements))),
        context: Some(canonical(context)),
        resolver: None,
        note: None,
        // Rounded up: a row never expires before its time.
        expires_at: policy.expires_in_ms.map(|expires_in| now.saturating_add(expires_in).saturating_add(999) / 1000),
        edited_by: author,
    };
    let mut approval = approval_row(run, &call, policy, new, now)?;
    call.policy_digest = policy_digest_of(&call, run, Some(&approval), &approval.view_digest);
    approval.policy_digest.clone_from(&call.policy_digest);
    Ok((call, Some(approval)))
}

/// A1.
async fn request<T: Tx>(tx: &mut T, run: &RunRow, call: &CallRow, approval: &ApprovalRow) -> Step<()> {
    tx.insert(approval).await?;
    let requester = run.requester.as_ref().map(|requester| &requester.0);
    let entry = Entry::new("requested", Actor::of(requester), &run.run_id).call(call).approval(&approval.id).asks(call);
    let payload = json!({
        "tool_name": call.tool_name,
        "tool_version": call.tool_version,
        "schema_hash": call.schema_hash,
        "policy_digest": call.policy_digest,
        "expires_at": approval.expires_at,
        "edited_by": approval.edited_by.as_ref().map(|author| &author.0),
    });
    tx.journal().record(entry.payload(with_view(with_rest(payload, call), approval)));
    tx.journal().tell("approval.requested", &run.run_id, Some(&approval.id), None);
    Ok(())
}

/// Asks again for calls whose tool has changed: A7 or X8 for what was asked and allowed before, then A1 for the next
/// generation. What has started, has an outcome or is unknown is never asked again. The run stays PAUSED, and its fence
/// moves: who loaded it before claims nothing any more.
pub(crate) async fn ask_again<T: Tx>(tx: &mut T, again: AskAgain) -> Step<()> {
    again.caller.check()?;
    let actor = Actor::from(&again.caller);
    let (run, open) = open_turn(tx, &again.run_id, &actor).await?;
    if run.status != RunStatus::Paused || run.fence != again.fence || run.turn != again.turn {
        return Err(Refused::Undo(Error::NotMine { run_id: again.run_id }));
    }
    restore::open_to(tx, &run, &actor).await?;
    let mut places = HashSet::new();
    let mut asked = Vec::new();
    for new in again.calls {
        check_new(&new)?;
        let rows = open.iter().find(|rows| rows.call.idx == new.index && places.insert(new.index));
        let Some(rows) = rows else {
            let what = format!("there is no call {} to ask for again, or it is asked for twice", new.index);
            return Err(Error::Invalid(what).into());
        };
        let bound = match check_bound(tx, &run, rows).await {
            Ok(entries) if waits(rows) => check_unstarted(rows, &entries),
            bound => bound.map(drop),
        };
        if let Err(error) = bound {
            return Err(evidence(tx, &run.run_id, actor, error).await);
        }
        asked.push((rows, new));
    }
    if asked.is_empty() {
        return Err(Error::Invalid("there is no call to ask for again".to_owned()).into());
    }
    let now = tx.now().await?;
    let over = |rows: &CallRows| {
        rows.approval
            .as_ref()
            .is_some_and(|approval| approval.status == ApprovalStatus::Pending && is_due(approval, now))
            || rows.execution.as_ref().is_some_and(|execution| is_void(execution, now))
    };
    if asked.iter().any(|(rows, _)| over(rows)) {
        expire_due(tx, &open, now).await?;
        let needs = "a call that is past its time is not asked again: look at the run once more";
        return Err(Refused::Keep(Error::RunConflict { run_id: run.run_id, found: run.status, needs }));
    }
    for (rows, new) in &asked {
        may_ask_again(&run, rows, new)?;
    }
    let fence = next(run.fence, "runs.fence")?;
    let salt = snapshot_salt(&run, asked.iter().map(|(_, new)| new))?;
    let snapshot_digest = snapshot_digest(&again.snapshot, salt.as_deref());
    let stored = tx
        .update(
            vec![
                R::C.fence.to(fence),
                R::C.snapshot_digest.to(snapshot_digest.clone()),
                R::C.snapshot.to(again.snapshot),
                R::C.snapshot_salt.to(salt),
                R::C.updated_at_ms.to(now),
            ],
            vec![
                R::C.run_id.is(run.run_id.clone()),
                R::C.status.is(RunStatus::Paused),
                R::C.fence.is(run.fence),
                R::C.turn.is(run.turn),
            ],
        )
        .await?;
    if stored != 1 {
        return Err(Refused::Undo(Error::NotMine { run_id: run.run_id }));
    }
    for (rows, _) in &asked {
        if let Some(approval) = &rows.approval {
            let person = again.caller.person();
            close_pending(tx, approval, ApprovalStatus::Cancelled, actor.clone(), person, now).await?;
        }
    }
    for (rows, _) in &asked {
        if let Some(execution) = &rows.execution {
            let why = "the tool has changed, and the call was asked for again";
            if !abandon(tx, execution, why, actor.clone(), now).await? {
                return Err(lost_race(&rows.call));
            }
        }
    }
    for (rows, new) in asked {
        let stored = Stored { snapshot_digest: &snapshot_digest, fence };
        with_another_tool(tx, &run, rows, new, actor.clone(), stored, now).await?;
    }
    Ok(())
}

/// The salt of the digest of a run's snapshot: it needs one from the first call with secrets on.
pub(super) fn snapshot_salt<'a>(run: &RunRow, calls: impl Iterator<Item = &'a NewCall>) -> Result<Option<String>> {
    if run.snapshot_salt.is_some() {
        return Ok(run.snapshot_salt.clone());
    }
    for call in calls {
        if !sensitive(&call.parameters)?.is_empty() {
            return Ok(Some(salt()));
        }
    }
    Ok(None)
}

/// What is stored of the run in the same transaction.
#[derive(Clone, Copy)]
struct Stored<'a> {
    snapshot_digest: &'a str,
    fence: i64,
}

/// The same call of another tool, and nobody has said anything to it.
async fn with_another_tool<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: &CallRows,
    new: NewCall,
    actor: Actor,
    stored: Stored<'_>,
    now: i64,
) -> Step<()> {
    let known = rows.call.salts.as_ref().map(|salts| &salts.0);
    let call = CallRow {
        salts: Salts::fresh(sensitive(&new.parameters)?, known).map(Json),
        requirement_id: new.requirement_id,
        tool_version: new.tool_version,
        tool_identity: new.tool_identity,
        schema_hash: new.schema_hash,
        unfilled: Json(new.unfilled),
        policy: canonical(&new.policy),
        parameters: Some(new.parameters),
        user_fields: Some(Json(new.user_fields)),
        argument_limit: Some(new.argument_limit),
        ..rows.call.clone()
    };
    let asking = Asking {
        policy: &new.policy,
        id: new.approval_id,
        requirements: &new.requirements,
        context: &new.context,
        // Whose words they are does not change with the tool.
        author: rows.approval.as_ref().and_then(|approval| approval.edited_by.clone()),
    };
    let (call, approval) = next_generation(tx, run, rows, call, asking, now).await?;
    let entry = Entry::new("asked_again", actor, &run.run_id).call(&call);
    let entry = match &approval {
        Some(approval) => entry.approval(&approval.id),
        None => entry,
    };
    let mut payload = json!({
        "generation": call.generation,
        "tool_version": call.tool_version,
        "policy": sha256(&call.policy),
        "before": {
            "digest": rows.call.digest,
            "approval_id": rows.call.approval_id,
            "execution_id": rows.execution.as_ref().map(|execution| &execution.id),
        },
        "snapshot_digest": stored.snapshot_digest,
        "fence": stored.fence,
    });
    let mut entry = entry;
    if approval.is_none() {
        payload = without_row(run, &call, payload);
        entry = entry.asks(&call);
    }
    tx.journal().record(entry.payload(payload));
    match approval {
        Some(approval) => request(tx, run, &call, &approval).await,
        None => Ok(()),
    }
}

/// The last part of X11: the same call, word for word, and nobody has said anything to it. What it was shown with is shown
/// again, under a requirement of its own: an answer to the older one is none to this.
pub(super) async fn run_again<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: &CallRows,
    actor: Actor,
    note: Option<&str>,
    said: Option<&str>,
    now: i64,
) -> Step<()> {
    let CallRows { call: before, policy, approval: old, .. } = rows;
    let requirement_id = fresh_id();
    let shown = |text: Option<&String>, place| match text {
        Some(text) => serde_json::from_str(text).map_err(|error| Error::corrupt(place, error)),
        None => Ok(Value::Null),
    };
    let old = old.as_ref().filter(|_| policy.is_decided_by_row());
    let mut requirements = shown(old.and_then(|old| old.requirements.as_ref()), "approvals.requirements")?;
    let context = shown(old.and_then(|old| old.context.as_ref()), "approvals.context")?;
    for requirement in requirements.as_array_mut().into_iter().flatten() {
        if requirement.get("id").and_then(Value::as_str) == Some(before.requirement_id.as_str()) {
            requirement["id"] = json!(requirement_id);
        }
    }
    let call = CallRow { requirement_id, ..before.clone() };
    let asking = Asking {
        policy,
        id: policy.is_decided_by_row().then(ApprovalId::generate),
        requirements: &requirements,
        context: &context,
        author: old.and_then(|old| old.edited_by.clone()),
    };
    let (call, approval) = next_generation(tx, run, rows, call, asking, now).await?;
    let lost = rows.execution.as_ref().map(|execution| &execution.id);
    let mut entry = Entry::new("run_again", actor.clone(), &run.run_id).call(&call);
    if let Some(lost) = lost {
        entry = entry.execution(lost);
    }
    if let Some(approval) = &approval {
        entry = entry.approval(&approval.id);
    }
    let mut payload = json!({
        "generation": call.generation,
        "note": note,
        "policy": sha256(&call.policy),
        "before": { "approval_id": before.approval_id, "execution_id": lost },
        "digest": said.map(sha256),
    });
    if approval.is_none() {
        payload = without_row(run, &call, payload);
        entry = entry.asks(&call);
    }
    tx.journal().record(entry.payload(payload));
    tx.journal().tell("execution.settled", &run.run_id, before.approval_id.as_ref(), lost);
    match (&approval, policy.tier) {
        (Some(approval), _) => request(tx, run, &call, approval).await,
        (None, Tier::Audit) => {
            // Nobody is asked: whoever ordered it is on record, and a start is all that it waits for.
            let id = record(tx, run, &call, policy, ApprovalStatus::Approved, Decider::Policy, now).await?;
            if tx.update(vec![C::C.approval_id.to(Some(id.clone()))], unchanged(&call)).await? != 1 {
                return Err(lost_race(&call));
            }
            make_ready(tx, &call, policy, Some(&id), actor, now).await?;
            Ok(())
        }
        (None, _) => {
            tx.journal().tell("call.asked", &run.run_id, None, None);
            Ok(())
        }
    }
}

/// Makes a call the next generation of itself, to which nobody has said anything. Gives it as it is then, and the row that
/// decides about it, where one does, for [`request`].
async fn next_generation<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: &CallRows,
    call: CallRow,
    asking: Asking<'_>,
    now: i64,
) -> Step<(CallRow, Option<ApprovalRow>)> {
    let before = &rows.call;
    let mut earlier = before.earlier_requirements.clone().unwrap_or(Json(Vec::new()));
    earlier.0.push(before.requirement_id.clone());
    let call = CallRow {
        version: 0,
        earlier_digests: Json(Vec::new()),
        approval_id: None,
        generation: next(before.generation, "calls.generation")?,
        answer: None,
        answer_digest: None,
        answer_note: None,
        answered_by: None,
        answered_at_ms: None,
        confirmed_version: None,
        earlier_requirements: Some(earlier),
        ..call
    };
    let (call, approval) = bound(tx, run, call, asking, now).await?;
    let set = vec![
        C::C.requirement_id.to(call.requirement_id.clone()),
        C::C.tool_version.to(call.tool_version.clone()),
        C::C.schema_hash.to(call.schema_hash.clone()),
        C::C.version.to(call.version),
        C::C.digest.to(call.digest.clone()),
        C::C.shown_digest.to(call.shown_digest.clone()),
        C::C.earlier_digests.to(call.earlier_digests.clone()),
        C::C.unfilled.to(call.unfilled.clone()),
        C::C.policy.to(call.policy.clone()),
        C::C.policy_digest.to(call.policy_digest.clone()),
        C::C.approval_id.to(call.approval_id.clone()),
        C::C.generation.to(call.generation),
        C::C.answer.to(None),
        C::C.answer_digest.to(None),
        C::C.answer_note.to(None),
        C::C.answered_by.to(None),
        C::C.answered_at_ms.to(None),
        C::C.confirmed_version.to(None),
        C::C.tool_identity.to(call.tool_identity.clone()),
        C::C.parameters.to(call.parameters.clone()),
        C::C.user_fields.to(call.user_fields.clone()),
        C::C.argument_limit.to(call.argument_limit),
        C::C.earlier_requirements.to(call.earlier_requirements.clone()),
        C::C.salts.to(call.salts.clone()),
    ];
    let mut expect = unchanged(before);
    expect.push(C::C.generation.is(before.generation));
    if tx.update(set, expect).await? != 1 {
        return Err(lost_race(before));
    }
    Ok((call, approval))
}

/// Whether a call has neither an outcome nor a start, by its rows.
fn waits(rows: &CallRows) -> bool {
    let unstarted = |execution: &ExecutionRow| execution.status == ExecutionStatus::Ready && execution.attempt == 0;
    rows.execution.as_ref().is_none_or(unstarted)
        && matches!(standing(rows), Standing::AwaitsApproval | Standing::AwaitsRequester | Standing::Open)
}

/// Whether a call is one that may be asked again, and is the one that is asked.
fn may_ask_again(run: &RunRow, rows: &CallRows, new: &NewCall) -> Result<()> {
    let CallRows { call, policy, .. } = rows;
    if !waits(rows) {
        let needs = "a call that has started, or has an outcome, is not asked again";
        return Err(Error::RunConflict { run_id: run.run_id.clone(), found: run.status, needs });
    }
    if rows.has_started {
        let needs =
            "a call that may have run already is only run again as it was: another tool would give it another key";
        return Err(Error::RunConflict { run_id: run.run_id.clone(), found: run.status, needs });
    }
    let refused = |what: &str| Err(Error::Invalid(format!("call {} cannot be asked again: {what}", call.idx)));
    if new.tool_name != call.tool_name || new.tool_call_id != call.tool_call_id || new.arguments != call.arguments {
        return refused("it is another one");
    }
    if new.tool_version == call.tool_version && new.schema_hash == call.schema_hash && new.policy == *policy {
        return refused("its tool has not changed");
    }
    if !asks_no_fewer(policy, &new.policy) {
        return refused("fewer people would be asked than before");
    }
    Ok(())
}

/// Asking again is no way around somebody who was asked: not fewer are, and no others.
fn asks_no_fewer(before: &CallPolicy, after: &CallPolicy) -> bool {
    let tier = match before.tier {
        Tier::Audit => true,
        Tier::User => after.tier != Tier::Audit,
        Tier::Required => matches!(after.tier, Tier::Required | Tier::TwoStage),
        Tier::TwoStage => after.tier == Tier::TwoStage,
    };
    let loosened = after.allow_self && !before.allow_self || before.require_reason && !after.require_reason;
    let others = before.pool.is_some() && after.pool != before.pool;
    tier && (!before.is_decided_by_row() || after.quorum >= before.quorum && !loosened && !others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_again_is_no_way_around_anybody() {
        let policy = |tier| CallPolicy::new(tier, None);
        let tiers = [Tier::Audit, Tier::User, Tier::Required, Tier::TwoStage];
        let allowed: Vec<Vec<bool>> = tiers
            .iter()
            .map(|before| tiers.iter().map(|after| asks_no_fewer(&policy(*before), &policy(*after))).collect())
            .collect();
        assert_eq!(
            allowed,
            [
                [true, true, true, true],
                [false, true, true, true],
                [false, false, true, true],
                [false, false, false, true]
            ]
        );
        let required = policy(Tier::Required);
        assert!(!asks_no_fewer(&required.clone().quorum(2), &required));
        assert!(asks_no_fewer(&required, &required.clone().quorum(2)));
        assert!(!asks_no_fewer(&required.clone().require_reason(true), &required));
        let mut own = required.clone();
        own.allow_self = true;
        assert!(!asks_no_fewer(&required, &own));
        let finance = required.clone().pool("finance");
        assert!(asks_no_fewer(&required, &finance));
        assert!(asks_no_fewer(&finance, &finance.clone().quorum(2)));
        assert!(!asks_no_fewer(&finance, &required));
        assert!(!asks_no_fewer(&finance, &required.clone().pool("friends")));
    }
}
