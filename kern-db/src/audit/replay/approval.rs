//! What happens to an approval.

use std::sync::atomic::AtomicUsize;

use super::state::{Approval, Run, Tool, Vote};
use super::{Step, Wrong, check, need, sha};
use crate::ApprovalStatus;

impl Run {
    /// A1 and A9.
    pub(super) fn asked(&mut self, step: &Step<'_>, id: &str) -> Result<(), Wrong> {
        let Step { line, said, by, at_ms } = step;
        let (digest, (turn, idx)) = (step.digest()?, step.place()?);
        let required = line.action == "requested";
        check(!self.has_ended(), "the run has ended")?;
        check(turn == self.turn, "it is about another turn than the run's")?;
        let (asked, shown) = (step.asked()?, need(sha(said.shown), "digest of what was shown")?);
        let call = match required {
            true => self.ask(turn, idx, digest, asked, step),
            false => self.known(step)?,
        };
        check(call.digest == digest, "it is about another version than the current one")?;
        let generation = call.generation;
        check(call.approvals.iter().all(|row| row.generation < generation), "the call was asked for already")?;
        let status = match (required, said.status) {
            (true, _) => ApprovalStatus::Pending,
            (false, Some("approved")) => ApprovalStatus::Approved,
            (false, Some("rejected")) => ApprovalStatus::Rejected,
            (false, _) => return Err("a record is born decided".into()),
        };
        let tool = match (&said.tool_version, sha(said.schema_hash)) {
            (Some(version), Some(schema)) => Some(Tool { version: (&**version).into(), schema }),
            _ => None,
        };
        if required {
            call.earlier = Some(Vec::new());
            call.earlier_requirements = sha(said.earlier);
            call.unfilled = Some(said.unfilled.clone());
        }
        call.approvals.push(Approval {
            id: id.into(),
            seq: line.seq,
            generation,
            required,
            status,
            version: said.version.unwrap_or(0),
            digest,
            tool,
            policy: asked.policy,
            view: asked.view,
            shown,
            expires_at: said.expires_at,
            edited_by: said.edited_by.as_ref().map(crate::digest::canonical),
            resolver: (!required).then_some(*by),
            note: call.answer.as_ref().filter(|_| !required).and_then(|answer| answer.note.clone()),
            data: None,
            asked_ms: *at_ms,
            resolved_ms: (!required).then_some(*at_ms),
            hidden_ms: None,
            approved_seq: None,
            votes: Vec::new(),
            voted: AtomicUsize::new(0),
        });
        Ok(())
    }

    /// What happens to an approval.
    pub(super) fn decided(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        use ApprovalStatus::{Approved, Cancelled, Expired, Pending, Rejected};
        let Step { line, said, by, at_ms } = step;
        let (digest, id) = (step.digest()?, need(line.approval_id, "approval")?);
        // T: nobody takes back what falls with its run.
        let ended = self.has_ended();
        let call = self.known(step)?;
        let (generation, mut version) = (call.generation, None);
        let approval = call.approvals.iter_mut().rfind(|approval| &*approval.id == id);
        let approval = approval.ok_or("nobody has asked for this approval")?;
        approval.seq = line.seq;
        check(approval.hidden_ms.is_none(), "nothing follows on hiding")?;
        if line.action == "hidden" {
            check(approval.status != Pending, "what is pending is cancelled before it is hidden")?;
            check(approval.digest == digest, "it is about another version than the current one")?;
            approval.hidden_ms = Some(*at_ms);
            return Ok(());
        }
        if approval.status != Pending {
            return Err(format!("`{}`, and the approval is {}", line.action, approval.status).into());
        }
        if line.action == "edited" {
            check(!ended && approval.generation == generation, "it is over")?;
            check(said.version == approval.version.checked_add(1), "versions follow each other")?;
            approval.version += 1;
            approval.digest = digest;
            approval.edited_by = said.edited_by.as_ref().map(crate::digest::canonical);
            let asked = step.asked()?;
            (approval.policy, approval.view) = (asked.policy, asked.view);
            version = Some((approval.version, asked));
        }
        check(approval.digest == digest, "it is about another version than the current one")?;
        let now_at = approval.version;
        match line.action {
            "voted" => {
                check(!ended, "the run has ended")?;
                check(said.version == Some(now_at), "it is a vote for another version")?;
                let again = |vote: &Vote| vote.version == now_at && vote.by == *by;
                check(!approval.votes.iter().any(again), "one person votes once")?;
                let data = sha(said.data);
                approval.votes.push(Vote {
                    version: now_at,
                    digest,
                    by: *by,
                    at_ms: *at_ms,
                    data,
                    member_until_ms: said.member_until_ms,
                });
                return Ok(());
            }
            "edited" => {}
            "approved" => {
                check(!ended, "the run has ended")?;
                check(approval.votes.iter().any(|vote| vote.version == now_at), "nobody has voted for it")?;
                approval.approved_seq = Some(line.seq);
                approval.resolve(Approved, Some(*by), step);
            }
            "rejected" => {
                check(!ended, "the run has ended")?;
                approval.resolve(Rejected, Some(*by), step);
            }
            "expired" => approval.resolve(Expired, None, step),
            _ => approval.resolve(Cancelled, (!ended).then_some(*by), step),
        }
        if let Some((version, asked)) = version {
            call.asked = asked;
            call.edit(version, digest);
        }
        Ok(())
    }
}

impl Approval {
    pub(super) fn resolve(&mut self, status: ApprovalStatus, by: Option<u32>, step: &Step<'_>) {
        self.status = status;
        self.resolver = by;
        self.note = step.note();
        self.data = sha(step.said.data);
        self.resolved_ms = Some(step.at_ms);
    }
}
