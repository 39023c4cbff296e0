//! A3: a new version of a call's arguments.

use serde_json::json;

use super::answer::{lost_race, unchanged};
use super::approval::with_member;
use super::next;
use crate::ApprovalStatus;
use crate::audit::Entry;
use crate::cell::Json;
use crate::records::approval::ApprovalRow;
use crate::records::call::CallRow;
use crate::records::principal::{Actor, Principal};
use crate::records::run::RunRow;
use crate::rules::{digest_of, policy_digest_of, view_digest_of};
use crate::tx::{Step, Tx};

use ApprovalRow as A;
use CallRow as C;

/// Who writes what.
#[derive(Debug)]
pub(super) struct Edit<'a> {
    /// Canonical JSON, checked.
    pub(super) arguments: String,
    /// The author on record, where there is a name.
    pub(super) author: Option<&'a Principal>,
    /// `requester` or `approver`.
    pub(super) role: &'static str,
    pub(super) actor: Actor,
    pub(super) note: Option<&'a str>,
    /// Until when they may, where only a credential says that they are in the pool.
    pub(super) member_until_ms: Option<i64>,
}

/// A call as it is after an edit.
#[derive(Debug)]
pub(super) struct Edited {
    pub(super) call: CallRow,
    /// Of its new version.
    pub(super) view_digest: String,
}

/// Gives a call new arguments, and its pending approval with it. Votes for older versions no longer count, nor does a
/// confirmation of one: they name another version.
pub(super) async fn edit<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    call: &CallRow,
    pending: Option<&ApprovalRow>,
    edit: Edit<'_>,
) -> Step<Edited> {
    let mut after = call.clone();
    after.earlier_digests.0.push(call.digest.clone());
    after.version = next(call.version, "calls.version")?;
    after.arguments = edit.arguments;
    after.unfilled = Json(Vec::new());
    after.digest = digest_of(&after, &after.arguments);
    let view = view_digest_of(run, &after, pending);
    after.policy_digest = policy_digest_of(&after, run, pending, &view);
    let set = vec![
        C::C.arguments.to(after.arguments.clone()),
        C::C.version.to(after.version),
        C::C.digest.to(after.digest.clone()),
        C::C.policy_digest.to(after.policy_digest.clone()),
        C::C.earlier_digests.to(after.earlier_digests.clone()),
        C::C.unfilled.to(after.unfilled.clone()),
    ];
    if tx.update(set, unchanged(call)).await? != 1 {
        return Err(lost_race(call));
    }
    let Some(approval) = pending else { return Ok(Edited { call: after, view_digest: view }) };
    let set = vec![
        A::C.tool_args.to(after.arguments.clone()),
        A::C.version.to(after.version),
        A::C.digest.to(after.digest.clone()),
        A::C.policy_digest.to(after.policy_digest.clone()),
        A::C.view_digest.to(view.clone()),
        A::C.edited_by.to(edit.author.cloned().map(Json)),
    ];
    let expect = vec![
        A::C.id.is(approval.id.clone()),
        A::C.status.is(ApprovalStatus::Pending),
        A::C.version.is(call.version),
        A::C.deleted_at.is(None),
    ];
    if tx.update(set, expect).await? != 1 {
        return Err(lost_race(call));
    }
    let entry = Entry::new("edited", edit.actor, &run.run_id).call(&after).approval(&approval.id).asks(&after);
    let payload = json!({
        "version": after.version,
        "by": edit.role,
        "edited_by": edit.author,
        "note": edit.note,
        "policy_digest": after.policy_digest,
        "view_digest": view,
    });
    tx.journal().record(entry.payload(with_member(payload, edit.member_until_ms)));
    tx.journal().tell("approval.edited", &run.run_id, Some(&approval.id), None);
    Ok(Edited { call: after, view_digest: view })
}
