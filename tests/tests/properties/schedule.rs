//! What a schedule is: policies, and choices. Which event a choice means is said by what may happen next.

use std::fmt;

use kern_oracle::state::{Effect, Person, RunState, Spec, State, Tier, Waits};
use kern_oracle::step::{Event, Rules, Said, Says, Who};
use kern_oracle::{Config, events};
use proptest::prelude::*;

/// One schedule.
#[derive(Clone)]
pub(crate) struct Schedule {
    /// The policies of each turn's calls.
    pub(crate) script: Vec<Vec<Spec>>,
    /// What happens, as choices among what may.
    pub(crate) choices: Vec<(u8, u16)>,
}

impl fmt::Debug for Schedule {
    // What the choices mean is told where they fail.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.script)
    }
}

/// Any policy that a build accepts.
fn spec() -> impl Strategy<Value = Spec> {
    let tier = prop_oneof![
        1 => Just(Tier::Audit),
        2 => Just(Tier::User),
        4 => Just(Tier::Required),
        3 => Just(Tier::TwoStage),
    ];
    let effect = prop_oneof![
        2 => Just(Effect::Once),
        2 => Just(Effect::Idempotent),
        1 => Just(Effect::Transactional),
    ];
    let waits = prop_oneof![
        4 => Just(Waits::Confirmation),
        1 => Just(Waits::Input),
        1 => Just(Waits::External),
    ];
    let time = || prop_oneof![3 => Just(None), 1 => (1..4_u8).prop_map(Some)];
    let flags = (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.2), any::<bool>());
    (tier, effect, waits, prop_oneof![2 => Just(1_u8), 1 => Just(2)], flags, time(), time()).prop_map(
        |(tier, effect, waits, quorum, (pool, allow_self, require_reason, record), expires_in, valid_for)| {
            let decided = tier.needs_approver();
            // Bare audit calls wait for nothing, and a result from outside is no start that could be repeated.
            let waits = match tier {
                Tier::Audit => Waits::Confirmation,
                Tier::TwoStage if waits == Waits::External => Waits::Confirmation,
                _ => waits,
            };
            let outside = waits == Waits::External;
            Spec {
                tier,
                waits,
                effect: if outside { Effect::Once } else { effect },
                quorum: if decided { quorum } else { 1 },
                pool: decided && pool,
                allow_self,
                require_reason: decided && require_reason,
                record: tier == Tier::User && record,
                expires_in: expires_in.filter(|_| decided),
                valid_for: valid_for.filter(|_| decided),
            }
        },
    )
}

/// Any schedule: one turn of one to three calls, or two turns of one or two.
pub(crate) fn schedules() -> impl Strategy<Value = Schedule> {
    let one = prop::collection::vec(spec(), 1..=3).prop_map(|turn| vec![turn]);
    let two = (prop::collection::vec(spec(), 1..=2), spec()).prop_map(|(first, second)| vec![first, vec![second]]);
    let script = prop_oneof![2 => one, 1 => two];
    (script, prop::collection::vec((0..10_u8, any::<u16>()), 10..80))
        .prop_map(|(script, choices)| Schedule { script, choices })
}

/// Everything may happen.
const ANYTHING: Config = Config {
    voters: &Person::ALL,
    pool: &[Person::Bob, Person::Carol],
    pools: &[0b0010, 0b0110, 0b1100, 0b0111],
    tokens: &[(Person::Ana, 1), (Person::Carol, 2), (Person::Eve, 4)],
    callers: &[Who::Ana, Who::Nobody, Who::Eve, Who::Worker],
    edits: &[0, 1, 2],
    settlers: &[Person::Ana, Person::AnaAlias, Person::Bob],
    again: 2,
    ticks: 100,
    crashes: 100,
    fence: 100,
    delete: true,
    cancel: true,
    silent: true,
    eager: true,
    hooks: true,
    failing: true,
    reset: true,
    ..Config::of("anything", &[])
};

/// The state that every schedule starts from.
pub(crate) fn first() -> State {
    State::new(ANYTHING.pool, ANYTHING.tokens)
}

/// The event that a choice means here.
pub(crate) fn chosen(rules: &Rules, state: &State, (kind, number): (u8, u16)) -> Event {
    let mut possible = Vec::new();
    events(&ANYTHING, rules, state, &mut possible);
    // Most of what may happen is that people say something, and most of that is refused. A schedule that goes somewhere
    // needs what changes something, as often of processes as of people, and less often what ends a call or the run.
    let changes = |event: &Event| {
        let step = &rules.step(state, *event)[0];
        // A run that is not claimed changes nothing but what the process knows.
        step.state != *state && (!matches!(event, Event::ClaimRun(..)) || step.said.has(Said::Claimed))
    };
    let wanted = |of: fn(&State, &Event) -> bool| -> Vec<Event> {
        possible.iter().copied().filter(|event| of(state, event) && changes(event)).collect()
    };
    let mut narrow = match kind {
        0..=3 => wanted(drives),
        4 | 5 => wanted(agrees),
        6 => wanted(ends),
        7 => wanted(passes),
        8 => wanted(|_, _| true),
        _ => Vec::new(),
    };
    if kind < 9 && narrow.is_empty() {
        narrow = wanted(if kind < 4 { agrees } else { drives });
    }
    let from = if narrow.is_empty() { possible } else { narrow };
    from[usize::from(number) % from.len()]
}

/// What nobody decides on.
fn passes(_: &State, event: &Event) -> bool {
    matches!(
        event,
        Event::Tick
            | Event::Recover
            | Event::Sweep
            | Event::ResetClock
            | Event::Crash(_)
            | Event::Pool(_)
            | Event::Renew(_)
            | Event::RenewCall(_)
    )
}

/// What processes do to get on.
fn drives(state: &State, event: &Event) -> bool {
    match event {
        Event::Load(_) => state.run.state == RunState::Paused,
        Event::Begin(..)
        | Event::Input(_)
        | Event::Commit(..)
        | Event::ClaimRun(..)
        | Event::ClaimCall(..)
        | Event::Finish(..) => true,
        _ => false,
    }
}

/// What people do to let them.
fn agrees(_: &State, event: &Event) -> bool {
    match event {
        Event::Vote { yes, .. } => *yes,
        Event::Answer { says, .. } => *says != Says::No,
        Event::Settle { .. } | Event::Adopt { .. } | Event::RunAgain { .. } => true,
        _ => false,
    }
}

/// What ends a call or the run, or sets it aside.
fn ends(_: &State, event: &Event) -> bool {
    match event {
        Event::Vote { yes, .. } => !yes,
        Event::Answer { says, .. } => *says == Says::No,
        Event::Delete(_) | Event::Cancel | Event::End(..) | Event::Pause(_) => true,
        _ => false,
    }
}
