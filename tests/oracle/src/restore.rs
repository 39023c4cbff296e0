//! One restore: an older copy of the store is put back, and the lines Z1, Z2, R12, R13 and X12 answer it.
//!
//! A log is its history's name and the number of its entries: history 0 is the first one, history 1 grows from the copy that
//! was put back, and history 2 from the accepted loss. Only starts and answered noes are counted as entries; further entries
//! would only make a mark stronger. Where a configuration has no restore, nothing here changes a state.

use super::LEASE;
use super::read_back::broken_read_back;
use super::state::{CALLS, Call, ExecutionState, Person, Proc, RunRow, RunState, State, Ticket, Tier, Unheard};
use super::step::{Answers, Event, Guard, Said, Step, Tx, Word};

/// The log as a process last knew it, kept outside the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Mark {
    /// 0, and 1 after an accepted restore.
    pub epoch: u8,
    /// Whose entry its head is.
    pub history: u8,
    /// Entries up to its head.
    pub size: u8,
}

/// The rows that a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Kept {
    pub run: RunRow,
    pub calls: [Option<Call>; CALLS],
    pub script: u8,
    pub size: u8,
}

/// What happened to a call over all histories. No restore takes it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Real {
    /// Bodies entered.
    pub bodies: u8,
    /// Decisions of people to let it run, the policy of a bare audit call and each R13 for one included.
    pub decisions: u8,
    /// A no was answered, and nobody decided again.
    pub no: bool,
}

/// Where the store stands, and its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Store {
    /// Whether the configuration has a restore.
    pub watched: bool,
    /// 0, 1 after the copy was put back, 2 after that was accepted.
    pub history: u8,
    /// 0, and 1 after an accepted restore.
    pub epoch: u8,
    /// Entries of the log.
    pub size: u8,
    /// Entries of the copy: what history 1 has in common with history 0.
    pub common: u8,
    /// Since when it is quarantined.
    pub quarantined: Option<u8>,
    /// What is known outside of it.
    pub mark: Mark,
    /// The copy, until it is put back.
    pub copy: Option<Kept>,
    /// What really happened.
    pub real: [Real; CALLS],
}

/// How far a start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Stage {
    /// The body is entered. Where a configuration has no restore, with the commit of the claim.
    #[default]
    Entered,
    /// The claim is committed.
    Claimed,
    /// The mark is synced.
    Marked,
}

impl Store {
    /// Whether an entry of one history is an entry of another one.
    fn lies(&self, mark: Mark, history: u8) -> bool {
        let common = match (mark.history.min(history), mark.history.max(history)) {
            (0, 0) | (1, 1 | 2) | (2, 2) => true,
            _ => mark.size <= self.common,
        };
        // History 2 goes on from history 1; no entry of its own is one of history 1.
        common && !(mark.history == 2 && history < 2 && mark.epoch > 0)
    }
}

impl Tx<'_> {
    fn store(&mut self) -> &mut Store {
        &mut self.state.store
    }

    /// Whether the log lacks what the mark holds. A mark of a closed epoch proves nothing any more.
    fn proof(&self) -> bool {
        let store = &self.state.store;
        let lies = match self.on(Guard::MarkHash) {
            true => store.lies(store.mark, store.history),
            false => store.mark.size <= store.size,
        };
        self.on(Guard::MarkKept) && (store.mark.epoch > store.epoch || store.mark.epoch == store.epoch && !lies)
    }

    /// Z1.
    fn quarantine(&mut self) {
        let now = self.state.now;
        self.store().quarantined = Some(now);
        self.say("quarantined");
    }

    /// The comparison in each transaction that asks, allows, claims or starts: whether it is refused.
    pub(super) fn is_set_back(&mut self) -> bool {
        let store = &self.state.store;
        if !store.watched {
            return false;
        }
        if store.quarantined.is_none() && self.on(Guard::Compare) && self.proof() {
            self.quarantine();
        }
        self.state.store.quarantined.is_some() && self.on(Guard::QuarantineRefuses)
    }

    /// Whether the run waits for R13.
    pub(super) fn is_unacknowledged(&self) -> bool {
        let run = self.state.run;
        !self.holds(Guard::Acknowledged, run.epoch == self.state.store.epoch)
    }

    /// A decision to let a call run.
    pub(super) fn allowed(&mut self, place: u8) {
        if self.state.store.watched {
            let real = &mut self.store().real[usize::from(place)];
            real.decisions += 1;
            real.no = false;
        }
    }

    /// The policy of a bare audit call: once, however often its turn is committed.
    pub(super) fn allowed_by_policy(&mut self, place: u8) {
        if self.state.store.real[usize::from(place)].decisions == 0 {
            self.allowed(place);
        }
    }

    /// A person's no: the mark is synced before it is answered. What is executing goes on.
    pub(super) fn refused(&mut self, places: impl IntoIterator<Item = u8>) {
        if !self.state.store.watched {
            return;
        }
        self.store().size += 1;
        if self.on(Guard::MarkNo) {
            let (epoch, history, size) = (self.state.store.epoch, self.state.store.history, self.state.store.size);
            self.sync(Mark { epoch, history, size });
        }
        for place in places {
            if self.call(place).and_then(|call| call.state()) != Some(ExecutionState::Executing) {
                self.store().real[usize::from(place)].no = true;
            }
        }
    }

    /// Rule 2: by compare-and-set. Whether the mark is synced.
    fn sync(&mut self, to: Mark) -> bool {
        let store = self.state.store;
        let lies = match self.on(Guard::MarkHash) {
            true => store.lies(store.mark, to.history),
            false => store.mark.size <= to.size,
        };
        let epoch = self.holds(Guard::MarkEpoch, store.mark.epoch == to.epoch);
        if !epoch || !self.holds(Guard::MarkCompareAndSet, lies) {
            return false;
        }
        let size = if store.mark.history == to.history { to.size.max(store.mark.size) } else { to.size };
        self.store().mark = Mark { size, ..to };
        true
    }

    /// A claim is committed.
    pub(super) fn claimed(&mut self, ticket: Ticket) -> Ticket {
        if !self.state.store.watched {
            return ticket;
        }
        self.store().size += 1;
        let store = &self.state.store;
        let at = Mark { epoch: store.epoch, history: store.history, size: store.size };
        Ticket { stage: Stage::Claimed, at, until: self.state.now + LEASE, ..ticket }
    }

    /// The mark of a start is synced, or the body is not entered.
    pub(super) fn mark(&mut self, process: u8) -> Answers {
        let Some(mut ticket) = self.proc(process).ticket.filter(|ticket| ticket.stage == Stage::Claimed) else {
            return Said::Invalid.into();
        };
        let kept = self.on(Guard::MarkKept) && self.on(Guard::MarkBefore);
        if kept && !self.sync(ticket.at) {
            let proc = self.proc(process);
            (proc.ticket, proc.claim) = (None, None);
            return Said::NotMine.into();
        }
        ticket.stage = Stage::Marked;
        self.proc(process).ticket = Some(ticket);
        Said::Done.into()
    }

    /// The body is entered, if the lease of its claim holds by the monotonic clock.
    pub(super) fn enter_body(&mut self, process: u8) -> Answers {
        let Some(mut ticket) = self.proc(process).ticket.filter(|ticket| ticket.stage == Stage::Marked) else {
            return Said::Invalid.into();
        };
        if !self.holds(Guard::EnterLease, self.state.now < ticket.until) {
            self.proc(process).ticket = None;
            return Said::NotMine.into();
        }
        ticket.stage = Stage::Entered;
        self.proc(process).ticket = Some(ticket);
        self.store().real[usize::from(ticket.call)].bodies += 1;
        Said::Done.into()
    }

    /// A person says how a start ended: whose claim is not yet a body is not to become one.
    pub(super) fn said_to_be_over(&mut self, place: u8) {
        let Some(call) = self.call(place) else { return };
        let ended = (place, call.generation, call.execution.map(|row| row.fence));
        for proc in &mut self.state.procs {
            let same = |ticket: &&mut Ticket| (ticket.call, ticket.generation, Some(ticket.fence)) == ended;
            let unheard = proc.unheard.iter_mut().filter_map(|unheard| match unheard {
                Unheard::Call(ticket) => Some(ticket),
                Unheard::Run(..) => None,
            });
            proc.ticket.iter_mut().chain(unheard).filter(same).for_each(|ticket| {
                ticket.settled = ticket.stage != Stage::Entered;
            });
        }
    }

    pub(super) fn copy(&mut self) -> Answers {
        let (run, calls, script, size) = (self.state.run, self.state.calls, self.state.script, self.state.store.size);
        self.store().copy = Some(Kept { run, calls, script, size });
        Said::Done.into()
    }

    /// The copy is put back.
    pub(super) fn set_back(&mut self, alive: bool) -> Answers {
        let Some(kept) = self.store().copy.take() else { return Said::Invalid.into() };
        let state = &mut self.state;
        (state.run, state.calls, state.script) = (kept.run, kept.calls, kept.script);
        (state.store.history, state.store.size, state.store.common) = (1, kept.size, kept.size);
        if !alive {
            state.procs = [Proc::default(); 2];
        }
        Said::Done.into()
    }

    /// Z1, by a process that opens the store; with force, by the operator.
    pub(super) fn compare(&mut self, force: bool) -> Answers {
        if self.state.store.quarantined.is_none() && (force || self.proof()) {
            self.quarantine();
        }
        Said::Done.into()
    }

    /// The first half of Z2: the new epoch is in the mark before the commit.
    pub(super) fn accept_mark(&mut self) -> Answers {
        let size = self.state.store.size;
        let epoch = u8::from(self.on(Guard::AcceptEpoch));
        self.store().mark = Mark { epoch, history: 2, size };
        Said::Done.into()
    }

    /// Z2, R12, X12.
    pub(super) fn accept(&mut self) -> Answers {
        let (store, now) = (self.state.store, self.state.now);
        let Some(since) = store.quarantined else { return Said::Invalid.into() };
        let first = store.mark.history == 2;
        if !self.holds(Guard::AcceptLease, now >= since + LEASE) || !self.holds(Guard::AcceptMarkFirst, first) {
            return Said::Invalid.into();
        }
        let store = self.store();
        (store.history, store.quarantined) = (2, None);
        if self.on(Guard::AcceptEpoch) {
            self.store().epoch = 1;
        }
        for place in self.places() {
            let mut call = self.call(place).expect("it is there");
            let Some(row) = &mut call.execution else { continue };
            if matches!(row.state, ExecutionState::Ready | ExecutionState::Executing)
                && self.rules.holds(Guard::AcceptUnknown, false)
            {
                continue;
            }
            if matches!(row.state, ExecutionState::Ready | ExecutionState::Executing) {
                (row.state, row.owner) = (ExecutionState::Unknown, None);
                call.facts.given_up |= 1 << row.fence;
                self.put(place, call);
                self.tell("restored", place);
            }
        }
        let run = self.state.run;
        if run.state != RunState::None && !run.state.is_terminal() && self.on(Guard::AcceptPauses) {
            let run = &mut self.state.run;
            run.owner = None;
            if self.rules.on(Guard::AcceptFence) {
                run.fence += 1;
            }
            if run.input {
                run.state = RunState::Paused;
                self.say("run_restored");
            } else {
                run.state = RunState::Error;
                self.close();
                self.say("run_failed");
            }
        }
        self.say("restore_accepted");
        Said::Done.into()
    }

    /// R13. It lets a bare audit call without a row, and an open turn, be repeated.
    pub(super) fn acknowledge(&mut self, by: Person) -> Answers {
        let run = self.state.run;
        let asked = self.state.all().any(|(_, call)| !call.spec.allow_self);
        if run.state != RunState::Paused
            || !self.holds(Guard::AcknowledgeOpen, self.state.store.quarantined.is_none())
            || !self.holds(Guard::AcknowledgeSeparation, by != Person::Ana || !asked)
        {
            return Said::NotPermitted.into();
        }
        self.state.run.epoch = self.state.store.epoch;
        let specs = self.rules.script.iter().flatten();
        let bare: Vec<u8> = (0..).zip(specs).filter(|(_, spec)| spec.tier == Tier::Audit).map(|(at, _)| at).collect();
        for place in bare {
            if self.call(place).is_none_or(|call| call.execution.is_none()) {
                self.allowed(place);
            }
        }
        self.say("restore_acknowledged");
        Said::Done.into()
    }
}

/// Whether an event belongs to a restore, and is asked here only.
#[must_use]
pub fn is_restore(event: Event) -> bool {
    matches!(
        event,
        Event::Copy
            | Event::SetBack(_)
            | Event::Compare(_)
            | Event::AcceptMark
            | Event::Accept
            | Event::Acknowledge(_)
            | Event::Mark(_)
            | Event::Enter(_)
            | Event::Unanswered(_)
            | Event::Lost(_)
            | Event::LostCall(..)
            | Event::ReadBack(_)
    )
}

/// I6 and I9 over all histories, and what Z2 leaves.
#[must_use]
pub fn broken_restore(before: &State, event: Event, after: &State) -> Option<&'static str> {
    if let Event::Enter(process) = event
        && let Some(ticket) = after.procs[usize::from(process)].ticket
    {
        let real = after.store.real[usize::from(ticket.call)];
        if real.bodies > real.decisions {
            return Some("I6: more bodies than people's decisions, over all histories");
        }
        if ticket.settled {
            return Some("X9: a body is entered after a person said how it ended");
        }
    }
    // A start is committed with its claim: a no that comes later does not end it.
    if let Event::ClaimCall(process, _) = event
        && before.procs[usize::from(process)].ticket.is_none()
        && let Some(ticket) = after.procs[usize::from(process)].ticket
        && before.store.real[usize::from(ticket.call)].no
    {
        return Some("I9: a call is started after a no that was answered");
    }
    if let Event::ClaimRun(process, _) = event
        && before.run.fence != after.run.fence
        && before.procs[usize::from(process)].loaded.is_some_and(|loaded| loaded.history != before.store.history)
    {
        return Some("R4: a run is claimed with what was read in a lost history");
    }
    if event == Event::Accept && before.store != after.store {
        let open = [Some(ExecutionState::Ready), Some(ExecutionState::Executing)];
        if after.all().any(|(_, call)| open.contains(&call.state())) {
            return Some("X12: something may start, or runs, after an accepted restore");
        }
        if after.run.state == RunState::Running {
            return Some("R12: a run goes on after an accepted restore");
        }
        if before.now < before.store.quarantined? + LEASE {
            return Some("Z2: accepted while a start may still be entered");
        }
    }
    if let Event::Acknowledge(by) = event
        && before != after
    {
        if before.store.quarantined.is_some() {
            return Some("R13: a run of a quarantined store is let go on");
        }
        if by == Person::Ana && before.all().any(|(_, call)| !call.spec.allow_self) {
            return Some("I10: who asked acknowledges");
        }
    }
    if after.store.watched && after.store.quarantined.is_none() && after.store.mark.epoch != after.store.epoch {
        return Some("Z2: the store is open, and its mark is of another epoch");
    }
    None
}

/// I12, of the events of a restore.
pub fn expected_words(before: &State, event: Event, after: &State, expected: &mut Vec<Word>) {
    if before.store.quarantined.is_none() && after.store.quarantined.is_some() {
        expected.push(("quarantined", None));
    }
    match event {
        Event::Accept if before.store != after.store => {
            expected.push(("restore_accepted", None));
            if after.run.state == RunState::Paused {
                expected.push(("run_restored", None));
            }
        }
        Event::Acknowledge(_) if before.run.epoch != after.run.epoch => expected.push(("restore_acknowledged", None)),
        _ => {}
    }
}

/// What belongs to a restore and may happen next.
pub fn restore_events(alive: bool, force: bool, settlers: &[Person], state: &State, events: &mut Vec<Event>) {
    let store = &state.store;
    if !store.watched {
        return;
    }
    match &store.copy {
        None if store.history == 0 => events.push(Event::Copy),
        Some(kept) if (kept.run, kept.calls) != (state.run, state.calls) => {
            events.push(Event::SetBack(false));
            if alive && state.procs != [Proc::default(); 2] {
                events.push(Event::SetBack(true));
            }
        }
        _ => {}
    }
    if store.history == 1 {
        events.push(Event::Compare(false));
        if force {
            events.push(Event::Compare(true));
        }
        if store.quarantined.is_some() {
            events.extend([Event::AcceptMark, Event::Accept]);
        }
    }
    if store.quarantined.is_some() || state.run.epoch != store.epoch {
        events.extend(settlers.iter().map(|by| Event::Acknowledge(*by)));
    }
}

/// A step that belongs to a restore, or none, is asked what it breaks.
pub(super) fn broken(before: &State, event: Event, step: &Step) -> Option<String> {
    let broken = broken_restore(before, event, &step.state).or_else(|| broken_read_back(event, &step.state));
    broken.map(str::to_owned)
}
