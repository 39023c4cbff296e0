//! What happens to an execution.

use super::state::{Call, Execution, Run, Sha};
use super::{Step, Wrong, check, need, sha};
use crate::{ApprovalStatus, Authority, ExecutionStatus, RunStatus};

impl Run {
    /// What happens to an execution. Says whether it is a new one.
    pub(super) fn executed(&mut self, step: &Step<'_>) -> Result<bool, Wrong> {
        use ExecutionStatus::{Abandoned, Executing, Failed, Ready, Succeeded, Unknown};
        let Step { line, said, by, at_ms } = step;
        let (digest, id) = (step.digest()?, need(line.execution_id, "execution")?);
        let (status, ended) = (self.status, self.has_ended());
        let call = self.known(step)?;
        let found = call.executions.iter().rposition(|execution| &*execution.id == id);
        let Some(found) = found else {
            let made = call.make(step, id, digest)?;
            if line.action == "executing" {
                check(status == RunStatus::Running, "nobody drives the run")?;
            } else {
                check(!ended, "the run has ended")?;
            }
            call.executions.push(made);
            return Ok(true);
        };
        let gate_is_open = call.gate_is_open(&call.executions[found]);
        let was_allowed = call.was_allowed(&call.executions[found]);
        let execution = &mut call.executions[found];
        check(execution.digest == digest, "it is about another version than the one that was decided on")?;
        let to = match line.action {
            "executing" => Executing,
            "succeeded" | "late_succeeded" => Succeeded,
            "failed" | "late_failed" => Failed,
            "unknown" | "restored" => Unknown,
            "retry" => Ready,
            "abandoned" | "run_again" => Abandoned,
            "settled" => match said.settled_as {
                Some("succeeded") => Succeeded,
                Some("failed") => Failed,
                Some("abandoned") => Abandoned,
                _ => return Err("it does not say how the call ended".into()),
            },
            _ => return Err("the execution is made for a second time".into()),
        };
        let fits = match (line.action, execution.status) {
            ("executing", Ready) => gate_is_open && status == RunStatus::Running,
            // From READY only the result of another system.
            ("succeeded", Ready) => execution.attempt == 0 && said.fence.is_none() && gate_is_open,
            ("succeeded" | "failed", Executing) => said.fence == Some(execution.fence),
            ("restored", Ready | Executing) | ("unknown", Executing) | ("settled" | "run_again", Unknown) => true,
            ("retry", Executing) => !ended,
            // A body that was given up may still say how it ended, until another start or a person has said more.
            ("late_succeeded" | "late_failed", Unknown) => execution.owned && said.fence == Some(execution.fence),
            ("unknown", Ready) => execution.attempt > 0 || said.outside && was_allowed,
            ("abandoned", Ready) => execution.attempt == 0,
            _ => false,
        };
        if !fits {
            return Err(format!("`{}`, and the execution is {}", line.action, execution.status).into());
        }
        let waited = execution.status == Ready;
        (execution.status, execution.seq) = (to, line.seq);
        match line.action {
            "executing" => {
                check(said.attempt == execution.attempt.checked_add(1), "its attempts do not follow")?;
                check(said.fence == execution.fence.checked_add(1), "its fence does not follow")?;
                (execution.attempt, execution.fence) = (execution.attempt + 1, execution.fence + 1);
                (execution.started_ms, execution.why) = (Some(*at_ms), None);
                execution.owned = true;
            }
            "succeeded" | "failed" | "late_succeeded" | "late_failed" => {
                execution.why = None;
                execution.result = Some(sha(said.digest).ok_or("it has no digest of the outcome")?);
                execution.ended_ms = Some(*at_ms);
            }
            "unknown" | "restored" | "retry" => {
                execution.why = said.why.as_deref().map(Box::from);
                execution.owned &= line.action == "unknown";
                execution.outside = line.action == "unknown" && waited && execution.attempt == 0;
            }
            "abandoned" => {
                execution.why = said.why.as_deref().map(Box::from);
                execution.ended_ms = Some(*at_ms);
            }
            _ => {
                execution.owned = false;
                execution.settled = Some((*by, step.note()));
                (execution.result, execution.why) = (sha(said.digest), None);
                execution.ended_ms = Some(*at_ms);
            }
        }
        if line.action == "run_again" {
            call.next_generation(digest, step)?;
        }
        Ok(false)
    }
}

impl Run {
    /// What came too late: it changes nothing but what is kept of it.
    pub(super) fn reported_late(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        let Some(kept) = step.said.kept else { return Ok(()) };
        let kept = Sha::parse(kept).ok_or("it has no digest of what is kept")?;
        let id = need(step.line.execution_id, "execution")?;
        let status = match step.said.settled_as {
            Some("succeeded") => ExecutionStatus::Succeeded,
            Some("failed") => ExecutionStatus::Failed,
            _ => return Err("it does not say how the call ended".into()),
        };
        let call = self.known(step)?;
        let execution = call.executions.iter_mut().find(|execution| &*execution.id == id);
        let execution = execution.ok_or("nothing has allowed this execution")?;
        check(execution.late.is_none(), "only the first late result is kept")?;
        execution.late = Some((status, kept));
        Ok(())
    }
}

impl Call {
    /// Whether what allows an execution still does.
    pub(super) fn gate_is_open(&self, execution: &Execution) -> bool {
        let said_no = self.answer.as_ref().is_some_and(|answer| !answer.confirmed);
        !said_no && self.was_allowed(execution)
    }

    /// Whether it was allowed before the person who asked took it back.
    fn was_allowed(&self, execution: &Execution) -> bool {
        match execution.authority {
            Authority::Approval => self.approvals.iter().rev().any(|approval| {
                approval.id == execution.id
                    && approval.required
                    && approval.status == ApprovalStatus::Approved
                    && approval.hidden_ms.is_none()
                    && approval.digest == execution.digest
            }),
            Authority::Answer => {
                self.answer.as_ref().is_some_and(|answer| answer.confirmed && answer.digest == execution.digest)
            }
            Authority::Policy => true,
        }
    }

    /// X1 and X2.
    pub(super) fn make(&self, step: &Step<'_>, id: &str, digest: Sha) -> Result<Execution, Wrong> {
        let Step { line, said, at_ms, .. } = step;
        let generation = self.generation;
        check(self.executions.iter().all(|other| other.generation < generation), "the call has an execution already")?;
        let starts = match line.action {
            "ready" => false,
            "executing" => true,
            _ => return Err("nothing has allowed this execution".into()),
        };
        let authority = if starts { Authority::Policy } else { need(said.authority, "authority")? };
        let mut execution = Execution {
            id: id.into(),
            seq: line.seq,
            generation,
            authority,
            status: ExecutionStatus::Ready,
            attempt: 0,
            fence: 0,
            digest,
            valid_until_ms: said.valid_until_ms,
            result: None,
            why: None,
            settled: None,
            made_ms: *at_ms,
            started_ms: None,
            ended_ms: None,
            owned: false,
            outside: false,
            late: None,
        };
        if starts {
            let recorded = self.approvals.iter().any(|row| {
                *row.id == *id && !row.required && row.digest == digest && row.status == ApprovalStatus::Approved
            });
            check(recorded, "a call starts without a `ready` only where its record was made before")?;
            check(said.attempt == Some(1) && said.fence == Some(1), "the first start is not the first")?;
            execution.status = ExecutionStatus::Executing;
            (execution.attempt, execution.fence, execution.started_ms) = (1, 1, Some(*at_ms));
            execution.owned = true;
        }
        check(self.gate_is_open(&execution), "nothing has allowed this execution")?;
        Ok(execution)
    }
}
