//! The rows of approvals, and of the votes on them.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::call::{context, digest_of, is_erased, place_of, view_of};
use super::cells::{Wrong, check, is_int, is_sha, is_text, is_time, is_until, text, wrong};
use super::{KnownCall, Rows};
use crate::audit::replay::{Approval, Call, Run, Vote};
use crate::cell::Table;
use crate::digest::{policy_digest, sha256, shown_digest};
use crate::page::{Page, RowRef};
use crate::records::approval::{ApprovalRow, VoteRow};
use crate::records::call::{CallPolicy, CallRow};
use crate::records::run::RunRow;
use crate::rules::is_same_voter;
use crate::{ApprovalStatus, PauseType, Principal};

impl Rows<'_> {
    /// Compares the approvals of a run, and gives their rows by id.
    pub(super) fn approvals<'r>(
        &mut self,
        run: &RowRef<'_>,
        state: &Run,
        calls: &[KnownCall<'_>],
        rows: impl Iterator<Item = RowRef<'r>>,
    ) -> HashMap<&'r str, RowRef<'r>> {
        let mut found = HashMap::new();
        for row in rows {
            let Some(id) = row.text(ApprovalRow::C.id.order()) else { continue };
            found.insert(id, row);
            let place = (row.int(ApprovalRow::C.turn.order()), row.int(ApprovalRow::C.idx.order()));
            let known = |call: &&Call| (Some(call.turn.into()), Some(call.idx.into())) == place;
            let said = state.calls.iter().find(known);
            let said = said.and_then(|call| Some((call, call.approvals.iter().find(|said| *said.id == *id)?)));
            let call = calls.iter().find(|call| place == (Some(place_of(&call.row).0), Some(place_of(&call.row).1)));
            let Some((_, said)) = said else {
                self.report(
                    state.seq,
                    Table::Approvals,
                    id,
                    wrong("no entry of the audit log says that it was asked for"),
                );
                continue;
            };
            let Some(call) = call else {
                self.report(said.seq, Table::Approvals, id, wrong("the call that it is about is not there"));
                continue;
            };
            let policy = text(&row, ApprovalRow::C.policy.order()).and_then(|text| self.policy(text));
            let sensitive = self.sensitive(call);
            let outcome =
                policy.and_then(|policy| self.approval(run, &row, said, call, (&policy, sensitive.as_deref())));
            let outcome = outcome.and_then(|()| is_erased(&row, ApprovalRow::C.erased_at_ms.order(), &call.row, state));
            if let Err(what) = outcome {
                self.report(said.seq, Table::Approvals, id, what);
            }
        }
        for said in state.calls.iter().flat_map(|call| &call.approvals) {
            if !found.contains_key(&*said.id) {
                self.report(
                    said.seq,
                    Table::Approvals,
                    &said.id,
                    wrong("the audit log has it, and its row is not there"),
                );
            }
        }
        found
    }

    pub(super) fn approval(
        &self,
        run: &RowRef<'_>,
        row: &RowRef<'_>,
        said: &Approval,
        call: &KnownCall<'_>,
        (policy, sensitive): (&CallPolicy, Option<&str>),
    ) -> Result<(), Wrong> {
        let c = ApprovalRow::C;
        let who = |by: u32| &self.replay.who[by as usize];
        check(!row.is_odd(), "a column holds what kern does not store")?;
        is_text(row, c.status.order(), Some(said.status.as_str()))?;
        is_text(row, c.approval_type.order(), Some(if said.required { "required" } else { "audit" }))?;
        is_int(row, c.generation.order(), Some(said.generation.into()))?;
        is_int(row, c.version.order(), Some(said.version.into()))?;
        is_sha(row, c.digest.order(), &said.digest)?;
        let approved = said.status == ApprovalStatus::Approved;
        let digest = text(row, c.digest.order())?;
        is_text(row, c.decided_digest.order(), Some(digest).filter(|_| approved))?;
        for (one, other) in [(c.tool_name, CallRow::C.tool_name), (c.tool_call_id, CallRow::C.tool_call_id)] {
            is_text(row, one.order(), call.row.text(other.order()))
                .map_err(|_| format!("`{}` is not that of its call", one.order().0))?;
        }
        let current = call.row.int(CallRow::C.generation.order()) == Some(said.generation.into());
        let tool = if current {
            Some((text(&call.row, CallRow::C.tool_version.order())?, text(&call.row, CallRow::C.schema_hash.order())?))
        } else {
            None
        };
        if let (Some(said), Some((version, schema))) = (&said.tool, tool) {
            check(version == &*said.version && said.schema.is(schema), "its tool is another than it was asked with")?;
        }
        if let Some((tool_version, schema_hash)) = tool {
            let arguments = text(row, c.tool_args.order())?;
            let recomputed = digest_of(&call.row, tool_version, schema_hash, arguments)?;
            check(recomputed == digest, "its arguments and their digest do not agree")?;
        }
        if current {
            is_text(row, c.sensitive.order(), sensitive)?;
        }
        let requester = run.text(RunRow::C.requester.order());
        is_text(row, c.requester.order(), requester).map_err(|_| wrong("`requester` is not that of its run"))?;
        // Of what was asked anew since, its call cannot be asked any more: the log says what it showed.
        let view =
            if current { view_of(&call.row, run, Some(row))? } else { text(row, c.view_digest.order())?.to_owned() };
        is_text(row, c.view_digest.order(), Some(&view))
            .map_err(|_| wrong("what it shows and the digest of it do not agree"))?;
        check(said.view.is(&view), "what it shows is not what the audit log says")?;
        let shown = shown_digest(
            row.text(c.requirements.order()),
            row.text(c.context.order()),
            row.text(c.sensitive.order()),
            text(row, c.policy.order())?,
        );
        check(said.shown.is(&shown), "what it shows is not what the audit log says")?;
        is_sha(row, c.policy_digest.order(), &said.policy)?;
        if said.required || current {
            // A record is of a call whose digests name no row.
            let view = if said.required { view } else { view_of(&call.row, run, None)? };
            let id = said.required.then_some(&*said.id);
            let recomputed = policy_digest(id, digest, requester, text(row, c.policy.order())?, &view);
            is_text(row, c.policy_digest.order(), Some(&recomputed))
                .map_err(|_| wrong("its policy, or what was shown, and the digest of them do not agree"))?;
        }
        is_until(row, c.expires_at.order(), said.expires_at)?;
        is_text(row, c.edited_by.order(), said.edited_by.as_deref())?;
        // What falls with its run, or with its call, names somebody or nobody.
        let resolver = said.resolver.map(who);
        let named = row.text(c.resolver.order());
        if said.status == ApprovalStatus::Cancelled && named.is_none() {
            is_text(row, c.resolved_by.order(), None)?;
        } else {
            is_text(row, c.resolver.order(), resolver.and_then(|who| who.principal.as_deref()))?;
            let subject = resolver.and_then(|who| who.person.as_ref()).map(|person| person.subject.as_str());
            is_text(row, c.resolved_by.order(), subject)?;
        }
        is_time(row, c.created_at.order(), Some(said.asked_ms), 1000)?;
        is_time(row, c.resolved_at.order(), said.resolved_ms, 1000)?;
        is_time(row, c.deleted_at.order(), said.hidden_ms, 1000)?;
        check_note(row.text(c.resolution_data.order()), said)?;
        is_text(row, c.session_id.order(), run.text(RunRow::C.session_id.order()))?;
        is_text(row, c.agent_id.order(), run.text(RunRow::C.agent_id.order()))?;
        is_text(row, c.source_name.order(), run.text(RunRow::C.agent_name.order()))?;
        is_text(row, c.source_type.order(), Some("agent"))?;
        is_text(row, c.pause_type.order(), Some(policy.pause.unwrap_or(PauseType::Confirmation).as_str()))?;
        let asker = self.replay.who.get(self.requester_of(run) as usize).and_then(|who| who.person.as_ref());
        is_text(row, c.user_id.order(), asker.map(|person| person.subject.as_str()))?;
        is_text(row, c.issuer.order(), asker.and_then(|person| person.issuer.as_deref()))?;
        for column in [c.team_id, c.workflow_id, c.schedule_id, c.schedule_run_id] {
            is_text(row, column.order(), None)?;
        }
        if !said.required {
            is_text(row, c.requirements.order(), None)?;
            is_text(row, c.context.order(), Some(&context(&call.row, run)))?;
            return Ok(());
        }
        if said.status == ApprovalStatus::Approved {
            let votes = || said.votes.iter().filter(|vote| vote.version == said.version);
            let mut voters: Vec<Option<&Principal>> = Vec::new();
            for voter in votes().map(|vote| who(vote.by).person.as_ref()) {
                if !voters.iter().any(|other| is_same_voter(*other, voter)) {
                    voters.push(voter);
                }
            }
            check(
                voters.len() as u64 >= u64::from(policy.quorum),
                "it is approved by fewer people than its policy asks",
            )?;
            let own = |by: u32| match (&who(by).person, asker) {
                (Some(voter), Some(asker)) => voter.is_same_person(asker),
                _ => false,
            };
            check(policy.allow_self || !votes().any(|vote| own(vote.by)), "it was approved by whoever asked for it")?;
            let acts = |by: u32| who(by).person.as_ref().is_some_and(|voter| !voter.on_behalf_of.is_empty());
            check(!votes().any(|vote| acts(vote.by)), "it was approved by a principal that acts on behalf of others")?;
            let members = votes().filter(|vote| self.was_member(policy, said, vote)).count();
            check(
                members as u64 >= u64::from(policy.quorum),
                "it is approved by fewer people of its pool than its policy asks",
            )?;
        }
        Ok(())
    }

    /// Whether a voter was one of those who decide when the last vote was given.
    fn was_member(&self, policy: &CallPolicy, said: &Approval, vote: &Vote) -> bool {
        let Some(name) = &policy.pool else { return true };
        let (Some(seq), Some(at_ms)) = (said.approved_seq, said.resolved_ms) else { return false };
        let person = self.replay.who[vote.by as usize].person.as_ref();
        vote.member_until_ms.is_some_and(|until_ms| at_ms < until_ms)
            || person
                .is_some_and(|person| self.replay.pools.get(name.as_str()).is_some_and(|pool| pool.held(person, seq)))
    }

    pub(super) fn requester_of(&self, run: &RowRef<'_>) -> u32 {
        let id = run.text(RunRow::C.run_id.order()).unwrap_or_default();
        self.replay.runs.get(id).map_or(u32::MAX, |run| run.requester)
    }

    /// Every row of a page of votes.
    pub(in crate::audit) fn votes(&mut self, votes: &Page) {
        for row in votes.rows() {
            let Some(id) = row.text(VoteRow::C.approval_id.order()) else { continue };
            if let Err((seq, what)) = self.vote(&row, id) {
                self.report(seq, Table::Votes, id, what);
            }
        }
    }

    pub(super) fn vote(&self, row: &RowRef<'_>, id: &str) -> Result<(), (i64, Wrong)> {
        let c = VoteRow::C;
        let approval = self.replay.approvals.get(id).and_then(|place| {
            let run = self.replay.runs.get(&place.run)?;
            let call = run.calls.iter().find(|call| (call.turn, call.idx) == (place.turn, place.idx))?;
            call.approvals.iter().find(|approval| *approval.id == *id)
        });
        let approval =
            approval.ok_or_else(|| (0, wrong("it is about an approval that the audit log does not have")))?;
        let at = |outcome: Result<(), Wrong>| outcome.map_err(|what| (approval.seq, what));
        at(check(!row.is_odd(), "a column holds what kern does not store"))?;
        let key = row.text(c.voter_key.order()).unwrap_or_default();
        let version = row.int(c.version.order());
        let who = |by: u32| &self.replay.who[by as usize];
        let vote =
            approval.votes.iter().find(|vote| Some(vote.version.into()) == version && who(vote.by).voter_key == key);
        let vote =
            vote.ok_or_else(|| (approval.seq, wrong("no entry of the audit log says that this vote was given")))?;
        at(is_sha(row, c.digest.order(), &vote.digest))?;
        at(is_text(row, c.voter.order(), who(vote.by).principal.as_deref()))?;
        at(is_time(row, c.created_at_ms.order(), Some(vote.at_ms), 1))?;
        at(is_int(row, c.member_until_ms.order(), vote.member_until_ms))?;
        let data = row.text(c.resolution_data.order());
        let same = match (data, &vote.data) {
            (None, None) => true,
            (Some(data), Some(sha)) => sha.is(&sha256(data)),
            _ => false,
        };
        at(check(same, "`resolution_data` is not what the audit log says"))?;
        approval.voted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The note of a decision is the one on record.
fn check_note(data: Option<&str>, said: &Approval) -> Result<(), Wrong> {
    let unsaid = matches!(said.status, ApprovalStatus::Pending | ApprovalStatus::Expired | ApprovalStatus::Cancelled);
    if unsaid {
        return check(data.is_none(), "`resolution_data` is not what the audit log says");
    }
    if said.required {
        let same = (data.is_none() && said.data.is_none()) || is_data(data, said);
        return check(same, "`resolution_data` is not what the audit log says");
    }
    let value: Option<Value> = match data {
        None => None,
        Some(data) => Some(serde_json::from_str(data).map_err(|error| format!("`resolution_data`: {error}"))?),
    };
    let note = value.as_ref().and_then(|value| value.get("note")).and_then(Value::as_str);
    let only_note = value.as_ref().and_then(Value::as_object).is_none_or(|data| data.len() == 1);
    check(only_note && note == said.note.as_deref(), "its note is not what the audit log says")
}

/// Whether what was sent along is what the entry of the decision has the digest of.
fn is_data(data: Option<&str>, said: &Approval) -> bool {
    match (data, &said.data) {
        (Some(data), Some(sha)) => sha.is(&sha256(data)),
        _ => false,
    }
}
