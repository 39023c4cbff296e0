//! Claims that are not acknowledged: committed or not, and read back by the process that sent them.

use super::LEASE;
use super::restore::{Mark, Stage};
use super::state::{Claim, ExecutionState, RunState, State, Ticket, Unheard};
use super::step::{Answers, Event, Guard, Said, Tx};

impl Tx<'_> {
    /// R4, X2 or X3 is committed, and the process does not know it.
    pub(super) fn unanswered(&mut self, process: u8) -> Answers {
        let now = self.state.now;
        let proc = self.proc(process);
        proc.unheard = match proc.ticket.take_if(|ticket| ticket.stage == Stage::Claimed) {
            Some(ticket) => Some(Unheard::Call(ticket)),
            None => proc.claim.take().map(|claim| Unheard::Run(claim, now + LEASE)),
        };
        Said::Done.into()
    }

    /// R4 is sent and not committed, and the process does not know that.
    pub(super) fn lost_run(&mut self, process: u8) -> Answers {
        let until = self.state.now + LEASE;
        let proc = self.proc(process);
        let Some(loaded) = proc.loaded.take() else { return Said::Invalid.into() };
        proc.unheard = Some(Unheard::Run(Claim { fence: loaded.fence + 1, owner: process }, until));
        Said::Done.into()
    }

    /// The same for X3.
    pub(super) fn lost_call(&mut self, process: u8, place: u8) -> Answers {
        let Some(call) = self.call(place) else { return Said::Invalid.into() };
        let (generation, fence) = (call.generation, call.execution.map_or(0, |row| row.fence) + 1);
        let (stage, at, until) = (Stage::Claimed, Mark::default(), self.state.now + LEASE);
        let ticket = Ticket { call: place, generation, fence, owner: process, stage, at, until, settled: false };
        self.proc(process).unheard = Some(Unheard::Call(ticket));
        Said::Done.into()
    }

    /// The process reads the row, in a transaction of its own. What that adds to the log is not counted: a further entry only makes
    /// a mark stronger.
    pub(super) fn read_back(&mut self, process: u8) -> Answers {
        let Some(unheard) = self.proc(process).unheard.take() else { return Said::Invalid.into() };
        if self.is_set_back() {
            return Said::Restored.into();
        }
        let now = self.state.now;
        match unheard {
            Unheard::Run(claim, until) => {
                let run = self.state.run;
                let own = run.owner == Some(claim.owner) && run.fence == claim.fence;
                let Some(owner) = run.owner.filter(|_| run.state == RunState::Running && now < until) else {
                    return Said::NotMine.into();
                };
                if !self.holds(Guard::ReadBackOwn, own) {
                    return Said::NotMine.into();
                }
                self.proc(process).claim = Some(Claim { fence: run.fence, owner });
            }
            Unheard::Call(ticket) => {
                let call = self.call(ticket.call);
                let row = call.and_then(|call| Some((call.generation, call.execution?)));
                let Some((generation, row)) = row.filter(|_| self.mine(process)) else { return Said::NotMine.into() };
                let same = generation == ticket.generation && row.fence == ticket.fence;
                let own = self.holds(Guard::ReadBackOwn, same && row.owner == Some(ticket.owner));
                let executing = self.holds(Guard::ReadBackExecuting, row.state == ExecutionState::Executing);
                let holds = self.holds(Guard::EnterLease, now < ticket.until);
                let Some(owner) = row.owner.filter(|_| own && executing && holds) else { return Said::NotMine.into() };
                let store = &self.state.store;
                let at = Mark { epoch: store.epoch, history: store.history, size: store.size };
                self.proc(process).ticket = Some(Ticket { generation, fence: row.fence, owner, at, ..ticket });
            }
        }
        Said::Claimed.into()
    }
}

/// I6, I17: whose claim it is that a process has read back.
pub(super) fn broken_read_back(event: Event, after: &State) -> Option<&'static str> {
    let Event::ReadBack(process) = event else { return None };
    let proc = &after.procs[usize::from(process)];
    if proc.claim.is_some_and(|claim| claim.owner != process) {
        return Some("I17: a process takes the run of another one for its own");
    }
    if proc.ticket.is_some_and(|ticket| ticket.owner != process) {
        return Some("I6: a process takes the start of another one for its own");
    }
    None
}
