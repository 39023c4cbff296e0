//! Walks every state that a configuration can reach.
//!
//! A breadth-first search of our own and not `stateright`: most of the invariants are about a step (who did it, what was
//! written into the log), which its properties cannot see, and a map of fingerprints is all that it would have saved.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::LEASE;
use super::invariants::{broken_log, broken_state, broken_step};
use super::restore::{Stage, restore_events};
use super::state::{ExecutionState, Person, RunState, Spec, State, Tamper, Tier, Unheard, Waits};
use super::step::{Ending, Event, Rules, Says, Who};

/// Who does what in one search.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What it is about.
    pub name: &'static str,
    /// The policies of each turn's calls.
    pub script: &'static [&'static [Spec]],
    /// Who decides.
    pub voters: &'static [Person],
    /// Who is in the pool at first.
    pub pool: &'static [Person],
    /// What the pool may become.
    pub pools: &'static [u8],
    /// Whose tokens say that they are in the pool, and the tick from which on each has expired.
    pub tokens: &'static [(Person, u8)],
    /// Who continues the run and answers.
    pub callers: &'static [Who],
    /// Other arguments that people may write.
    pub edits: &'static [u8],
    /// Who settles.
    pub settlers: &'static [Person],
    /// How often they may order a call again.
    pub again: u8,
    /// How far the clock goes.
    pub ticks: u8,
    /// How many processes die.
    pub crashes: u8,
    /// How high the fence may get by claims.
    pub fence: u8,
    /// Whether rows are deleted.
    pub delete: bool,
    /// Whether the run is cancelled.
    pub cancel: bool,
    /// Whether somebody reaches into the rows, once.
    pub reach: &'static [Tamper],
    /// Decisions without a note, too.
    pub silent: bool,
    /// Whether processes also look at a run that somebody drives.
    pub eager: bool,
    /// Whether hooks look at the input first.
    pub hooks: bool,
    /// Whether bodies fail, too: the table makes no difference between that and a result.
    pub failing: bool,
    /// Whether an operator sets the store's time back.
    pub reset: bool,
    /// Processes.
    pub processes: u8,
    /// Whether an older copy of the store is put back, once.
    pub restore: bool,
    /// Whether processes live on then, too.
    pub alive: bool,
    /// Whether the operator accepts without a proof, too.
    pub force: bool,
    /// Whether claims are not acknowledged, committed or not.
    pub unheard: bool,
}

impl Config {
    /// Two processes, two approvers, the requester and the worker; nothing goes wrong.
    #[must_use]
    pub const fn of(name: &'static str, script: &'static [&'static [Spec]]) -> Self {
        Self {
            name,
            script,
            voters: &[Person::Bob, Person::Carol],
            pool: &[],
            pools: &[],
            tokens: &[],
            callers: &[Who::Ana, Who::Worker],
            edits: &[],
            settlers: &[],
            again: 0,
            ticks: 0,
            crashes: 0,
            fence: 3,
            delete: false,
            cancel: false,
            reach: &[],
            silent: false,
            eager: false,
            hooks: false,
            failing: false,
            reset: false,
            processes: 2,
            restore: false,
            alive: false,
            force: false,
            unheard: false,
        }
    }

    /// The table for it.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules::of(self.script)
    }
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Explored {
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// The first broken invariant, and the events that lead there.
    pub broken: Option<(String, Vec<Event>)>,
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// The same state with the processes in a fixed order: they are alike, and which of them did something is told apart only
/// by what they hold.
fn canonical(mut state: State) -> State {
    let key = |process: usize| {
        let proc = &state.procs[process];
        let claim = proc.claim.map(|claim| claim.fence);
        let ticket = proc.ticket.map(|ticket| (ticket.call, ticket.generation, ticket.fence));
        let stage = proc.ticket.map(|ticket| (ticket.at.history, ticket.stage as u8));
        let unheard = proc.unheard.map(|unheard| match unheard {
            Unheard::Run(claim, until) => (claim.fence, until, 0),
            Unheard::Call(ticket) => (ticket.fence, ticket.until, ticket.generation + 1),
        });
        (proc.loaded.map(|loaded| (loaded.fence, loaded.turn, loaded.history)), claim, ticket, stage, unheard)
    };
    if key(0) >= key(1) {
        return state;
    }
    state.procs.swap(0, 1);
    let other = |owner: &mut u8| *owner = 1 - *owner;
    for proc in &mut state.procs {
        proc.claim.iter_mut().for_each(|claim| other(&mut claim.owner));
        proc.ticket.iter_mut().for_each(|ticket| other(&mut ticket.owner));
        proc.unheard.iter_mut().for_each(|unheard| match unheard {
            Unheard::Run(claim, _) => other(&mut claim.owner),
            Unheard::Call(ticket) => other(&mut ticket.owner),
        });
    }
    state.run.owner.iter_mut().for_each(other);
    let calls = state.calls.iter_mut().flatten();
    let kept = state.store.copy.iter_mut().flat_map(|kept| kept.calls.iter_mut().flatten());
    for call in calls.chain(kept) {
        call.execution.iter_mut().flat_map(|row| &mut row.owner).for_each(other);
    }
    state.store.copy.iter_mut().flat_map(|kept| &mut kept.run.owner).for_each(other);
    state
}

/// Walks every state, and stops where an invariant breaks.
#[must_use]
pub fn explore(config: &Config, rules: &Rules) -> Explored {
    let mut first = State::new(config.pool, config.tokens);
    // Between the commit of a claim and its body there is a moment of its own.
    first.store.watched = config.restore || config.unheard;
    // Of a state its fingerprint is kept, with the one before it and the event between them: what leads to a broken
    // invariant is walked again.
    let mut seen: HashMap<u64, Option<(u64, Event)>> = HashMap::from([(fingerprint(&first), None)]);
    let mut waiting = VecDeque::from([first]);
    let mut steps = 0;
    let mut possible = Vec::new();
    while let Some(state) = waiting.pop_front() {
        let from = fingerprint(&state);
        possible.clear();
        events(config, rules, &state, &mut possible);
        for event in possible.iter().copied() {
            for step in rules.step(&state, event) {
                steps += 1;
                if step.state == state {
                    continue;
                }
                let next = canonical(step.state);
                let to = fingerprint(&next);
                let new = !seen.contains_key(&to);
                let broken = broken_step(&state, event, &step);
                // A table without one of its guards is asked what it breaks, and not what it writes down about that.
                let log = rules.off.is_empty();
                let broken = broken.or_else(|| log.then(|| broken_log(&state, event, &step)).flatten());
                let ask = new && step.state.tampered == 0;
                let broken = broken.or_else(|| ask.then(|| broken_state(rules, &step.state)).flatten());
                if let Some(what) = broken {
                    let mut path = vec![event];
                    let mut at = from;
                    while let Some((before, event)) = seen[&at] {
                        path.push(event);
                        at = before;
                    }
                    path.reverse();
                    return Explored { states: seen.len(), steps, broken: Some((what, path)) };
                }
                if new {
                    seen.insert(to, Some((from, event)));
                    waiting.push_back(next);
                }
            }
        }
    }
    Explored { states: seen.len(), steps, broken: None }
}

/// What honest processes and people may do next; what they may not is refused to them.
pub fn events(config: &Config, rules: &Rules, state: &State, events: &mut Vec<Event>) {
    let run = &state.run;
    if run.state == RunState::None {
        // The processes are alike until one of them starts the run.
        events.push(Event::Begin(0, true));
        if config.hooks {
            events.push(Event::Begin(0, false));
        }
        return;
    }
    if state.now < config.ticks {
        events.push(Event::Tick);
    }
    if config.cancel && !run.state.is_terminal() {
        events.push(Event::Cancel);
    }
    if config.ticks > 0 {
        events.extend([Event::Recover, Event::Sweep]);
    }
    if config.reset {
        events.push(Event::ResetClock);
    }
    events.extend(config.pools.iter().filter(|pool| **pool != state.pool).map(|pool| Event::Pool(*pool)));
    if config.restore {
        restore_events(config.alive, config.force, config.settlers, state, events);
    }
    for process in 0..config.processes {
        process_events(config, rules, state, process, events);
    }
    for (place, call) in state.all() {
        people(config, state, place, events);
        if config.delete && call.approval.is_some() {
            events.push(Event::Delete(place));
        }
        if state.tampered == 0 {
            events.extend(config.reach.iter().map(|how| Event::Reach(place, *how)));
        }
        for by in config.settlers.iter().copied() {
            for note in [true, false].into_iter().take(1 + usize::from(config.silent)) {
                for to in [ExecutionState::Succeeded, ExecutionState::Abandoned] {
                    events.push(Event::Settle { by, call: place, to, note });
                }
                if config.failing {
                    events.push(Event::Settle { by, call: place, to: ExecutionState::Failed, note });
                }
                if call.execution.is_some_and(|row| row.late.is_some()) || config.failing {
                    events.push(Event::Adopt { by, call: place, note });
                }
                if call.generation < config.again {
                    events.push(Event::RunAgain { by, call: place, note });
                }
            }
        }
    }
}

fn process_events(config: &Config, rules: &Rules, state: &State, process: u8, events: &mut Vec<Event>) {
    let proc = &state.procs[usize::from(process)];
    let holds = proc.claim.is_some() || proc.ticket.is_some() || proc.loaded.is_some() || proc.unheard.is_some();
    if holds && state.crashes < config.crashes {
        events.push(Event::Crash(process));
    }
    if proc.unheard.is_some() {
        events.push(Event::ReadBack(process));
        if config.ticks > 0 && proc.claim.is_some() {
            events.push(Event::Renew(process));
        }
        return;
    }
    if config.unheard {
        // Of a claim of this very moment only.
        let claimed =
            proc.ticket.is_some_and(|ticket| ticket.stage == Stage::Claimed && state.now + LEASE == ticket.until);
        let run = &state.run;
        let fresh = proc.claim.is_some_and(|claim| claim.fence == run.fence) && run.lease_until == state.now + LEASE;
        if claimed || proc.ticket.is_none() && fresh {
            events.push(Event::Unanswered(process));
        }
    }
    if let Some(ticket) = proc.ticket.filter(|ticket| ticket.stage != Stage::Entered) {
        events.push(if ticket.stage == Stage::Claimed { Event::Mark(process) } else { Event::Enter(process) });
        return;
    }
    if proc.ticket.is_some() {
        // A process is in one body at a time, and waits for it.
        events.extend([Ending::Succeeded, Ending::Lost, Ending::Late].map(|ending| Event::Finish(process, ending)));
        if config.failing {
            events.push(Event::Finish(process, Ending::Failed));
        }
        if config.ticks > 0 {
            events.push(Event::RenewCall(process));
            if proc.claim.is_some() {
                events.push(Event::Renew(process));
            }
        }
        return;
    }
    if proc.claim.is_some() {
        let all = state.all().all(|(_, call)| call.has_outcome());
        let more = usize::from(state.script) < rules.script.len();
        // Nobody asks a model about an input that hooks have not passed.
        if !state.run.input && state.run.turn == 0 {
            events.push(Event::Input(process));
        }
        if more && all && state.run.input {
            let plain = rules.script[usize::from(state.script)].iter().all(|spec| spec.tier != Tier::Audit);
            events.push(Event::Commit(process, plain));
        }
        if state.run.turn > 0 {
            events.extend([Event::Pause(process), Event::End(process, true)]);
        }
        events.push(Event::End(process, false));
        if config.ticks > 0 {
            events.push(Event::Renew(process));
        }
        for (place, call) in state.all() {
            // What may be started again without end is started four times.
            if call.turn == state.run.turn && call.execution.is_none_or(|row| row.attempt < 4) {
                events.push(Event::ClaimCall(process, place));
                if config.unheard {
                    events.push(Event::LostCall(process, place));
                }
            }
        }
        return;
    }
    let there = state.run.state == RunState::Paused || config.eager && state.run.state == RunState::Running;
    if proc.loaded.is_none() && there {
        events.push(Event::Load(process));
    }
    if proc.loaded.is_some() && state.run.fence < config.fence {
        events.extend(config.callers.iter().map(|who| Event::ClaimRun(process, *who)));
        if config.unheard {
            events.push(Event::Lost(process));
        }
    }
}

fn people(config: &Config, state: &State, place: u8, events: &mut Vec<Event>) {
    let call = state.call(place).expect("it is there");
    if call.spec.tier.needs_approver() {
        let notes = [true, false].into_iter().take(1 + usize::from(config.silent));
        for note in notes {
            for by in config.voters.iter().copied() {
                let vote = |yes, seen, edit| Event::Vote { by, call: place, yes, seen, edit, note };
                events.extend([vote(true, Some(call.arguments), None), vote(false, None, None)]);
                if call.version > 0 {
                    events.extend([vote(true, None, None), vote(true, Some(call.first), None)]);
                    // There are two edits, so that the same arguments can come back.
                    let back = call.spec.waits != Waits::Input && config.edits.contains(&call.first);
                    if call.version < 2 && back {
                        events.push(vote(true, Some(call.arguments), Some(call.first)));
                    }
                } else {
                    let fits = |edit: &&u8| call.spec.waits != Waits::Input || **edit > 0;
                    events.extend(config.edits.iter().filter(fits).map(|edit| vote(true, Some(0), Some(*edit))));
                }
            }
        }
    }
    for by in config.callers.iter().copied() {
        let answer = |says, shown| Event::Answer { by, call: place, says, shown };
        events.push(answer(Says::No, call.arguments));
        match call.spec.waits {
            Waits::External => events.push(answer(Says::Result, call.arguments)),
            // Nobody fills in what an approver wrote.
            Waits::Input if call.version < 2 && call.arguments != 2 => {
                events.extend([1, 3].map(|filled| answer(Says::Input(filled), call.arguments)));
            }
            _ => {}
        }
        events.push(answer(Says::Yes, call.arguments));
        if call.version > 0 {
            events.push(answer(Says::Yes, call.first));
        }
    }
}
