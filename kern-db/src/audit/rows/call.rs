//! The rows of calls.

use std::collections::HashMap;

use super::cells::{Column, Wrong, check, is_int, is_sha, is_text, is_time, number, text, wrong};
use super::{KnownCall, Rows};
use crate::Authority;
use crate::audit::replay::{Execution, Replay, Run};
use crate::cell::Table;
use crate::digest::{CallFields, ViewFields, call_digest, canonical, policy_digest, sha256, view_digest};
use crate::page::RowRef;
use crate::records::approval::ApprovalRow;
use crate::records::call::{CallRow, Effect, Tier};
use crate::records::run::RunRow;
use crate::rules::SOURCE_TYPE;
use crate::sensitive::Salts;

/// The digest of what is shown of a call: in the row that decides about it or records it, or without one.
pub(super) fn view_of(call: &RowRef<'_>, run: &RowRef<'_>, row: Option<&RowRef<'_>>) -> Result<String, Wrong> {
    let (c, r, a) = (CallRow::C, RunRow::C, ApprovalRow::C);
    let of_row = |column: Column| row.and_then(|row| row.text(column));
    Ok(view_digest(ViewFields {
        approval_id: of_row(a.id.order()),
        version: number(call, c.version.order())?,
        call_digest: text(call, c.digest.order())?,
        tool_identity: text(call, c.tool_identity.order())?,
        agent_id: text(run, r.agent_id.order())?,
        agent_name: run.text(r.agent_name.order()),
        session_id: text(run, r.session_id.order())?,
        requester: run.text(r.requester.order()),
        shown: of_row(a.requirements.order()),
        sensitive: of_row(a.sensitive.order()),
        context: of_row(a.context.order()),
        source_type: match row {
            Some(row) => text(row, a.source_type.order())?,
            None => SOURCE_TYPE,
        },
        source_name: match row {
            Some(row) => row.text(a.source_name.order()),
            None => run.text(r.agent_name.order()),
        },
        pause_type: of_row(a.pause_type.order()),
        approval_type: of_row(a.approval_type.order()),
        requirement_id: text(call, c.requirement_id.order())?,
        user_fields: call.text(c.user_fields.order()),
        unfilled: text(call, c.unfilled.order())?,
        argument_limit: call.int(c.argument_limit.order()),
        place: None,
        created_at: match row {
            Some(row) => row.int(a.created_at.order()).ok_or("`created_at` holds no time")?,
            None => call.int(c.created_at_ms.order()).ok_or("`created_at_ms` holds no time")?,
        },
        expires_at: row.and_then(|row| row.int(a.expires_at.order())),
    }))
}

/// What the record of a call was made with.
pub(super) fn context(call: &RowRef<'_>, run: &RowRef<'_>) -> String {
    let tool_name = call.text(CallRow::C.tool_name.order());
    serde_json::json!({ "tool_names": [tool_name], "source_name": run.text(RunRow::C.agent_name.order()) }).to_string()
}

impl Rows<'_> {
    pub(super) fn calls<'r>(
        &mut self,
        run: &RowRef<'_>,
        state: &'r Run,
        rows: impl Iterator<Item = RowRef<'r>>,
    ) -> Vec<KnownCall<'r>> {
        let id = run.text(RunRow::C.run_id.order()).unwrap_or_default();
        let mut calls = Vec::new();
        let mut counts: HashMap<i64, u32> = HashMap::new();
        for row in rows {
            let (turn, idx) = place_of(&row);
            *counts.entry(turn).or_default() += 1;
            let known = state.calls.binary_search_by_key(&(turn, idx), |call| (call.turn.into(), call.idx.into()));
            let said = known.ok().map(|place| &state.calls[place]);
            let policy = text(&row, CallRow::C.policy.order()).and_then(|text| self.policy(text));
            match policy {
                Ok(policy) => calls.push(KnownCall { row, state: said, policy }),
                Err(what) => {
                    self.report(
                        said.map_or(state.seq, |call| call.seq),
                        Table::Calls,
                        &format!("{id}/{turn}/{idx}"),
                        what,
                    );
                }
            }
        }
        for turn in &state.turns {
            let found = counts.remove(&turn.turn.into()).unwrap_or(0);
            if found != turn.calls {
                let what = format!("turn {} has {} calls by the audit log, and {found} rows", turn.turn, turn.calls);
                self.report(state.seq, Table::Calls, id, what);
            }
        }
        if let Some((turn, _)) = counts.into_iter().next() {
            self.report(state.seq, Table::Calls, id, format!("it has calls of turn {turn}, which was never committed"));
        }
        calls
    }
}

pub(super) fn place_of(call: &RowRef<'_>) -> (i64, i64) {
    let number = |column: Column| call.int(column).unwrap_or(-1);
    (number(CallRow::C.turn.order()), number(CallRow::C.idx.order()))
}

/// The digest that these arguments have in a call's place.
pub(super) fn digest_of(
    call: &RowRef<'_>,
    tool_version: &str,
    schema_hash: &str,
    arguments: &str,
) -> Result<String, Wrong> {
    let c = CallRow::C;
    let salts = salts_of(call)?;
    let fields = CallFields {
        run_id: text(call, c.run_id.order())?,
        turn: number(call, c.turn.order())?,
        index: number(call, c.idx.order())?,
        tool_call_id: text(call, c.tool_call_id.order())?,
        tool_name: text(call, c.tool_name.order())?,
        tool_version,
        schema_hash,
        arguments,
    };
    Ok(call_digest(fields, salts.as_ref()))
}

pub(super) fn salts_of(call: &RowRef<'_>) -> Result<Option<Salts>, Wrong> {
    let salts = call.text(CallRow::C.salts.order()).map(serde_json::from_str).transpose();
    salts.map_err(|error| format!("`salts` cannot be read: {error}"))
}

/// A row says that it was erased where the log says it of the run, and nowhere else.
pub(super) fn is_erased(row: &RowRef<'_>, column: Column, call: &RowRef<'_>, run: &Run) -> Result<(), Wrong> {
    is_time(row, column, run.erased_ms.filter(|_| call.text(CallRow::C.salts.order()).is_some()), 1)
}

pub(super) fn check_call(
    replay: &Replay,
    run: (&RowRef<'_>, &Run),
    call: &KnownCall<'_>,
    approvals: &HashMap<&str, RowRef<'_>>,
) -> Result<(), Wrong> {
    let (run, said) = run;
    let who = |by: u32| &replay.who[by as usize];
    let c = CallRow::C;
    let KnownCall { row, state, policy } = call;
    check(!row.is_odd(), "a column holds what kern does not store")?;
    is_erased(row, c.erased_at_ms.order(), row, said)?;
    let salts = salts_of(row)?;
    let salts_fit = salts.is_none_or(|salts| match said.erased_ms {
        None => !salts.is_erased(),
        Some(_) => salts.is_all_erased(),
    });
    check(salts_fit, "its salts are gone and it was not erased, or they are there and it was")?;
    let digest = text(row, c.digest.order())?;
    let (version, schema) = (text(row, c.tool_version.order())?, text(row, c.schema_hash.order())?);
    let recomputed = digest_of(row, version, schema, text(row, c.arguments.order())?)?;
    check(recomputed == digest, "its arguments, or its tool, and their digest do not agree")?;
    let schema_fits = row.text(c.parameters.order()).is_none_or(|parameters| sha256(parameters) == schema);
    check(schema_fits, "its schema and the hash of it do not agree")?;
    let approval = row.text(c.approval_id.order());
    let deciding = match (policy.is_decided_by_row(), approval) {
        (false, _) => None,
        (true, None) => return Err(wrong("no approval decides about it, and its policy asks for one")),
        (true, Some(id)) => Some((id, approvals.get(id).ok_or("the approval that decides about it is not there")?)),
    };
    let view = view_of(row, run, deciding.map(|(_, approval)| approval))?;
    let recomputed = policy_digest(
        deciding.map(|(id, _)| id),
        digest,
        run.text(RunRow::C.requester.order()),
        text(row, c.policy.order())?,
        &view,
    );
    is_text(row, c.policy_digest.order(), Some(&recomputed))
        .map_err(|_| wrong("its policy, or what was shown, and the digest of them do not agree"))?;
    if let Some((_, approval)) = &deciding {
        let a = ApprovalRow::C;
        for (one, other) in [
            (c.arguments.order(), a.tool_args.order()),
            (c.policy.order(), a.policy.order()),
            (c.digest.order(), a.digest.order()),
        ] {
            check(row.text(one) == approval.text(other), "it and its approval are about different calls")?;
        }
    }
    let turn = said.turns.iter().find(|turn| Some(turn.turn.into()) == row.int(c.turn.order()));
    is_time(row, c.created_at_ms.order(), turn.map(|turn| turn.at_ms), 1)?;
    let Some(state) = state else { return Err(wrong("no entry of the audit log says that it was asked for")) };
    is_int(row, c.asked_shard.order(), Some(state.asked.shard.into()))?;
    is_int(row, c.asked_seq.order(), Some(state.asked.seq))?;
    check(state.asked.view.is(&view), "what it was shown with is not what the audit log says")?;
    check(state.asked.policy.is(&recomputed), "its policy is not what the audit log says")?;
    is_sha(row, c.digest.order(), &state.digest)?;
    is_int(row, c.generation.order(), Some(state.generation.into()))?;
    is_int(row, c.version.order(), Some(state.version.into()))?;
    let current = state.approvals.iter().rfind(|approval| approval.generation == state.generation);
    is_text(row, c.approval_id.order(), current.map(|approval| &*approval.id))?;
    if let Some(earlier) = &state.earlier {
        let found: Vec<String> =
            serde_json::from_str(text(row, c.earlier_digests.order())?).map_err(|error| error.to_string())?;
        let same = found.len() == earlier.len() && found.iter().zip(earlier).all(|(found, said)| said.is(found));
        check(same, "`earlier_digests` is not what the audit log says")?;
        let shown = earlier.first().unwrap_or(&state.digest);
        is_sha(row, c.shown_digest.order(), shown)?;
    }
    let earlier = match (row.text(c.earlier_requirements.order()), &state.earlier_requirements) {
        (None, None) => true,
        (Some(found), Some(said)) => said.is(&sha256(found)),
        _ => false,
    };
    check(earlier, "`earlier_requirements` is not what the audit log says")?;
    if let Some(said) = &state.unfilled {
        is_text(row, c.unfilled.order(), Some(&canonical(said)))?;
    }
    let required = current.is_some_and(|approval| approval.required);
    check(required == policy.is_decided_by_row(), "its policy asks for another approval than the audit log says")?;
    let authority = match policy.tier {
        Tier::Required | Tier::TwoStage => Authority::Approval,
        Tier::User => Authority::Answer,
        Tier::Audit => Authority::Policy,
    };
    let other = |execution: &Execution| execution.generation == state.generation && execution.authority != authority;
    check(!state.executions.iter().any(other), "its policy is another than the one its execution was allowed by")?;
    let again = |execution: &Execution| execution.generation == state.generation && execution.attempt > 1;
    check(
        policy.effect != Effect::Once || !state.executions.iter().any(again),
        "its policy lets it start once, and it was started again",
    )?;
    match &state.answer {
        None => {
            let unsaid = [c.answer.order(), c.answer_digest.order(), c.answer_note.order(), c.answered_by.order()];
            unsaid.into_iter().try_for_each(|column| is_text(row, column, None))?;
            is_int(row, c.confirmed_version.order(), None)?;
            is_time(row, c.answered_at_ms.order(), None, 1)
        }
        Some(answer) => {
            is_text(row, c.answer.order(), Some(if answer.confirmed { "confirmed" } else { "rejected" }))?;
            is_sha(row, c.answer_digest.order(), &answer.digest)?;
            is_int(row, c.confirmed_version.order(), answer.confirmed.then_some(answer.version.into()))?;
            is_text(row, c.answer_note.order(), answer.note.as_deref())?;
            is_text(row, c.answered_by.order(), who(answer.by).principal.as_deref())?;
            is_time(row, c.answered_at_ms.order(), Some(answer.at_ms), 1)
        }
    }
}
