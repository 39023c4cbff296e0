//! What happens to a run and to what its calls are asked.

use std::sync::atomic::AtomicBool;

use super::state::{Answered, Asked, Call, Run, Sha, Turn};
use super::{Said, Step, Wrong, check, need, sha};
use crate::audit::line::Line;
use crate::{ApprovalStatus, ExecutionStatus, RunStatus};

impl Run {
    pub(super) fn started(line: &Line<'_>, said: &Said<'_>, by: u32, at_ms: i64) -> Result<Self, Wrong> {
        Ok(Self {
            met: AtomicBool::new(false),
            seq: line.seq,
            requester: by,
            agent_id: need(said.agent_id.as_deref(), "agent")?.into(),
            agent_name: said.agent_name.as_ref().map(|name| name.as_deref().map(Box::from)),
            session_id: need(said.session_id.as_deref(), "session")?.into(),
            status: RunStatus::Running,
            turn: 0,
            recoveries: 0,
            attention: false,
            fence: 1,
            snapshot: sha(said.snapshot_digest),
            input: sha(said.input_digest),
            erased_ms: None,
            hidden_ms: None,
            started_ms: at_ms,
            changed_ms: at_ms,
            epoch: need(said.epoch, "epoch")?.into(),
            turns: Vec::new(),
            calls: Vec::new(),
        })
    }

    pub(in crate::audit) fn has_ended(&self) -> bool {
        matches!(self.status, RunStatus::Completed | RunStatus::Error | RunStatus::Cancelled)
    }

    pub(super) fn step(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        use RunStatus::{Cancelled, Completed, Error, Paused, Running};
        let Step { line, said, at_ms, .. } = step;
        let (from, to): (&[RunStatus], RunStatus) = match line.action {
            "turn_committed" => (&[Running], Running),
            "run_paused" | "run_recovered" => (&[Running], Paused),
            "run_claimed" => (&[Paused], Running),
            "run_restored" => (&[Running, Paused], Paused),
            "run_completed" => (&[Running], Completed),
            "run_failed" => (&[Running], Error),
            _ => (&[Paused, Running], Cancelled),
        };
        if !from.contains(&self.status) {
            return Err(format!("`{}`, and the run is {}", line.action, self.status).into());
        }
        let turn = need(line.turn, "turn")?;
        match said.calls {
            // R8 of a run that starts with it has no turn; R2 makes one.
            Some(calls) if matches!(line.action, "turn_committed" | "run_paused") => {
                check(turn > self.turn, "the turn is over")?;
                self.turns.push(Turn { turn, calls, at_ms: *at_ms });
                self.turn = turn;
                self.recoveries = 0;
                for asked in &said.asked {
                    let digest = Sha::parse(asked.digest).ok_or("it names no digest of a call")?;
                    let named = Asked {
                        shard: line.shard,
                        seq: line.seq,
                        policy: Sha::parse(asked.policy_digest).ok_or("it names no digest of a policy")?,
                        view: Sha::parse(asked.view_digest).ok_or("it names no digest of what was shown")?,
                    };
                    let call = self.ask(turn, asked.index, digest, named, step);
                    call.earlier = Some(Vec::new());
                    call.unfilled = Some(asked.unfilled.clone());
                }
            }
            _ => check(turn == self.turn, "it is about another turn than the run's")?,
        }
        match line.action {
            "run_claimed" => {
                check(said.fence == self.fence.checked_add(1), "its fence does not follow")?;
                self.fence += 1;
            }
            "run_recovered" => {
                check(self.input.is_some(), "a run whose input is not stored cannot be recovered")?;
                self.fence = self.fence.saturating_add(1);
            }
            "run_cancelled" | "run_restored" => self.fence = self.fence.saturating_add(1),
            "run_failed" if said.recoveries.is_some() => self.fence = self.fence.saturating_add(1),
            _ => {}
        }
        if matches!(line.action, "run_recovered" | "run_failed")
            && let Some(recoveries) = said.recoveries
        {
            check(recoveries == self.recoveries + 1, "the run was recovered another number of times")?;
            self.recoveries = recoveries;
        }
        match line.action {
            "run_paused" => self.attention = said.attention || (self.attention && said.calls.is_some()),
            "run_claimed" => self.attention = false,
            "run_completed" => {
                check(self.calls.iter().all(Call::has_outcome), "the run is complete, and a call has no outcome")?;
            }
            _ => {}
        }
        if let Some(snapshot) = said.snapshot_digest {
            self.snapshot = Some(Sha::parse(snapshot).ok_or("its snapshot has no digest")?);
        }
        (self.status, self.seq, self.changed_ms) = (to, line.seq, *at_ms);
        Ok(())
    }

    /// R1b.
    pub(super) fn input_stored(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        let Step { line, said, at_ms, .. } = step;
        check(self.status == RunStatus::Running, "nobody drives the run")?;
        check(self.turn == 0 && line.turn == Some(0), "a turn is committed already")?;
        check(self.input.is_none(), "the input was stored before")?;
        self.input = Some(sha(said.input_digest).ok_or("it has no digest of the input")?);
        self.snapshot = Some(sha(said.snapshot_digest).ok_or("its snapshot has no digest")?);
        (self.seq, self.changed_ms) = (line.seq, *at_ms);
        Ok(())
    }

    /// The call in a place, as it is asked from now on; a new one, where nothing has been said of it.
    pub(super) fn ask(&mut self, turn: u32, idx: u32, digest: Sha, asked: Asked, step: &Step<'_>) -> &mut Call {
        let found = self.calls.binary_search_by_key(&(turn, idx), |call| (call.turn, call.idx));
        let place = found.unwrap_or_else(|place| {
            let call = Call {
                turn,
                idx,
                generation: 0,
                version: 0,
                digest,
                earlier: None,
                asked,
                earlier_requirements: None,
                unfilled: None,
                answer: None,
                approvals: Vec::new(),
                executions: Vec::new(),
                seq: step.line.seq,
            };
            self.calls.insert(place, call);
            place
        });
        let call = &mut self.calls[place];
        (call.seq, call.asked) = (step.line.seq, asked);
        call
    }

    pub(super) fn known(&mut self, step: &Step<'_>) -> Result<&mut Call, Wrong> {
        let place = step.place()?;
        let found = self.calls.binary_search_by_key(&place, |call| (call.turn, call.idx));
        let call = &mut self.calls[found.map_err(|_| "nobody has asked for this call")?];
        call.seq = step.line.seq;
        Ok(call)
    }

    pub(super) fn asked_again(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        let Step { line, said, at_ms, .. } = step;
        check(self.status == RunStatus::Paused, "only calls of a paused run are asked again")?;
        let (digest, (turn, _)) = (step.digest()?, step.place()?);
        let fence = need(said.fence, "fence")?;
        check(fence == self.fence || Some(fence) == self.fence.checked_add(1), "its fence does not follow")?;
        self.fence = fence;
        if let Some(snapshot) = said.snapshot_digest {
            self.snapshot = Some(Sha::parse(snapshot).ok_or("its snapshot has no digest")?);
        }
        (self.seq, self.changed_ms) = (line.seq, *at_ms);
        check(turn == self.turn, "it is about another turn than the run's")?;
        let call = self.known(step)?;
        check(said.generation == call.generation.checked_add(1), "the call was asked another number of times")?;
        if let Some(id) = said.before.execution_id.as_deref() {
            let execution = call.executions.iter().find(|execution| &*execution.id == id);
            let over = execution.is_some_and(|it| it.status == ExecutionStatus::Abandoned && it.attempt == 0);
            check(over, "what has started is not asked again")?;
        }
        if let Some(id) = said.before.approval_id.as_deref() {
            let approval = call.approvals.iter().find(|approval| &*approval.id == id);
            let over = approval.is_some_and(|approval| approval.status != ApprovalStatus::Pending);
            check(over, "what was asked before is still open")?;
        }
        check(call.answer.as_ref().is_none_or(|answer| answer.confirmed), "a no is final")?;
        call.next_generation(digest, step)
    }

    pub(super) fn answered(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        let Step { line, said, by, at_ms } = step;
        check(self.status == RunStatus::Paused, "answers are taken while the run is paused")?;
        let (digest, (turn, _)) = (step.digest()?, step.place()?);
        check(turn == self.turn, "it is about another turn than the run's")?;
        let call = self.known(step)?;
        let implied = line.action == "confirmed_implied";
        let legal = match &call.answer {
            None => true,
            Some(answer) => answer.confirmed && !implied,
        };
        check(legal, "the requester has said something else before")?;
        let confirmed = line.action != "user_rejected";
        // A version without another decider: what the requester filled in.
        if said.view_digest.is_some() {
            let version = need(said.version, "version")?;
            check(confirmed && !implied, "only a yes fills something in")?;
            check(Some(version) == call.version.checked_add(1), "versions follow each other")?;
            (call.asked, call.seq) = (step.asked()?, line.seq);
            call.edit(version, digest);
        }
        check(!confirmed || said.version == Some(call.version), "it is to another version than the current one")?;
        check(call.digest == digest, "it is to another version than the current one")?;
        let version = call.version;
        call.answer = Some(Answered { confirmed, version, digest, by: *by, note: step.note(), at_ms: *at_ms });
        Ok(())
    }

    /// R13.
    pub(super) fn acknowledged(&mut self, step: &Step<'_>, epoch: Option<&str>) -> Result<(), Wrong> {
        check(self.status == RunStatus::Paused, "only a paused run is acknowledged")?;
        let said = need(step.said.epoch, "epoch")?;
        check(epoch == Some(said), "it is in another epoch than the store")?;
        check(*self.epoch != *said, "the run is in this epoch already")?;
        (self.epoch, self.seq, self.changed_ms) = (said.into(), step.line.seq, step.at_ms);
        Ok(())
    }

    pub(super) fn erased(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        let Step { line, said, at_ms, .. } = step;
        check(self.has_ended(), "only what has ended is erased")?;
        check(self.erased_ms.is_none(), "what was erased is not erased again")?;
        self.erased_ms = Some(*at_ms);
        self.snapshot = Some(sha(said.snapshot_digest).ok_or("its snapshot has no digest")?);
        self.seq = line.seq;
        Ok(())
    }

    pub(super) fn hidden(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        check(self.has_ended(), "only what has ended is hidden")?;
        check(self.hidden_ms.is_none(), "what was hidden is not hidden again")?;
        (self.hidden_ms, self.seq) = (Some(step.at_ms), step.line.seq);
        Ok(())
    }
}

impl Call {
    pub(super) fn has_outcome(&self) -> bool {
        let open = self.approvals.iter().any(|approval| approval.status == ApprovalStatus::Pending)
            || self.executions.iter().any(|execution| {
                matches!(
                    execution.status,
                    ExecutionStatus::Ready | ExecutionStatus::Executing | ExecutionStatus::Unknown
                )
            });
        !open
    }

    pub(super) fn edit(&mut self, version: u32, digest: Sha) {
        self.earlier.get_or_insert_default().push(self.digest);
        (self.version, self.digest) = (version, digest);
        self.unfilled = Some(Vec::new());
    }

    /// The call as it is asked anew. A row that decides about it has an entry of its own, which follows.
    pub(super) fn next_generation(&mut self, digest: Sha, step: &Step<'_>) -> Result<(), Wrong> {
        self.generation += 1;
        self.version = 0;
        self.digest = digest;
        self.earlier = Some(Vec::new());
        self.answer = None;
        if step.line.approval_id.is_none() {
            self.asked = step.asked()?;
            self.earlier_requirements = sha(step.said.earlier);
            self.unfilled = Some(step.said.unfilled.clone());
        }
        Ok(())
    }
}
