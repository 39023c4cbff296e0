//! Every state that small configurations of the transition table can reach keeps every invariant, and each guard of the
//! table is needed for that. Some of them put an older copy of the store back.

use std::time::Instant;

use kern_oracle::state::{Effect, Person, Spec, Tamper, Tier, Waits};
use kern_oracle::step::{Guard, Who};
use kern_oracle::{Config, explore};
use kern_tests::scale;

use Person::{Ana, AnaAlias, Bob, BobAlias, Carol, Eve};

const REQUIRED: Spec = Spec::new(Tier::Required);
const TWO_STAGE: Spec = Spec::new(Tier::TwoStage);
const USER: Spec = Spec::new(Tier::User);
const AUDIT: Spec = Spec::new(Tier::Audit);

const BOB_ALONE: u8 = 1 << 1;
const BOTH: u8 = 1 << 1 | 1 << 2;

/// Two calls, two processes, a crash, leases that end.
const TWO_CALLS: Config = Config {
    ticks: 1,
    crashes: 1,
    callers: &[Who::Worker],
    voters: &[Bob],
    settlers: &[Bob],
    eager: true,
    ..Config::of("two required calls, two processes, a crash", &[&[REQUIRED, REQUIRED]])
};

/// One call through a crash, with people who settle, delete and cancel.
const CRASHES: Config = Config {
    ticks: 2,
    crashes: 1,
    callers: &[Who::Worker],
    voters: &[Bob],
    settlers: &[Ana, AnaAlias, Bob],
    silent: true,
    delete: true,
    cancel: true,
    again: 1,
    ..Config::of("a required call, crashes, delete, cancel, settle, run again", &[&[REQUIRED]])
};

/// Two approvers of a pool that changes, edits, silence.
const QUORUM: Config = Config {
    voters: &[Ana, Bob, Carol, Eve],
    pool: &[Bob, Carol],
    pools: &[BOB_ALONE, BOTH],
    edits: &[1, 0],
    silent: true,
    callers: &[Who::Ana, Who::Worker],
    processes: 1,
    ..Config::of(
        "quorum 2 of a pool, edits, reasons",
        &[&[Spec { quorum: 2, pool: true, require_reason: true, ..REQUIRED }]],
    )
};

/// Two of a pool that changes, whose tokens expire one after the other.
const TOKENS: Config = Config {
    ticks: 2,
    voters: &[Ana, Bob, Carol, Eve],
    pool: &[Bob],
    pools: &[BOB_ALONE, BOTH],
    tokens: &[(Ana, 2), (Carol, 1), (Eve, 2)],
    edits: &[1],
    callers: &[Who::Ana],
    processes: 1,
    ..Config::of("quorum 2 of a pool, by tokens that expire", &[&[Spec { quorum: 2, pool: true, ..REQUIRED }]])
};

/// The requester among those who vote, with a quorum.
const SEPARATION: Config = Config {
    voters: &[Ana, Bob, Carol, Eve],
    edits: &[1, 0],
    callers: &[Who::Ana, Who::Nobody, Who::Eve],
    processes: 1,
    ..Config::of("quorum 2, edits, separation", &[&[Spec { quorum: 2, ..REQUIRED }]])
};

/// One person under two principals, on either side.
const PERSON_KEYS: Config = Config {
    voters: &[Ana, AnaAlias, Bob, BobAlias],
    edits: &[1],
    callers: &[Who::Ana],
    processes: 1,
    ..Config::of("quorum 2, two principals of one person", &[&[Spec { quorum: 2, ..REQUIRED }]])
};

/// An approver and the requester, with edits by the approver.
const BOTH_STAGES: Config = Config {
    ticks: 1,
    crashes: 1,
    voters: &[Bob],
    edits: &[1],
    callers: &[Who::Ana, Who::Eve, Who::Worker],
    cancel: true,
    ..Config::of("two-stage, edits, a crash", &[&[TWO_STAGE]])
};

/// Two-stage and required in one turn: nothing is implied while something waits.
const MIXED: Config = Config {
    voters: &[Bob],
    callers: &[Who::Ana, Who::Worker],
    delete: true,
    ..Config::of("two-stage and required in one turn", &[&[TWO_STAGE, REQUIRED]])
};

/// The requester's own calls.
const USERS: Config = Config {
    ticks: 1,
    crashes: 1,
    callers: &[Who::Ana, Who::Eve],
    cancel: true,
    delete: true,
    processes: 1,
    ..Config::of(
        "user tier with records: confirmation that may be repeated, input",
        &[&[
            Spec { record: true, effect: Effect::Idempotent, ..USER },
            Spec { record: true, waits: Waits::Input, ..USER },
        ]],
    )
};

/// Values and results from people.
const INPUT: Config = Config {
    voters: &[Bob],
    edits: &[2],
    callers: &[Who::Ana, Who::Worker],
    ..Config::of(
        "input for a required call, an external call",
        &[&[Spec { waits: Waits::Input, ..REQUIRED }, Spec { waits: Waits::External, ..USER }]],
    )
};

/// Started again, bounded, for a time.
const IDEMPOTENT: Config = Config {
    ticks: 3,
    crashes: 1,
    fence: 3,
    voters: &[Bob],
    callers: &[Who::Ana],
    settlers: &[Bob],
    cancel: true,
    delete: true,
    ..Config::of(
        "idempotent, valid for a time",
        &[&[Spec { effect: Effect::Idempotent, valid_for: Some(2), ..REQUIRED }]],
    )
};

/// Two processes start it one after the other, and the first one is still there.
const ZOMBIE: Config = Config {
    ticks: 2,
    fence: 4,
    voters: &[Bob],
    callers: &[Who::Worker],
    ..Config::of("idempotent, two owners", &[&[Spec { effect: Effect::Idempotent, ..REQUIRED }]])
};

/// Started again.
const TRANSACTIONAL: Config = Config {
    ticks: 2,
    crashes: 1,
    voters: &[Bob],
    callers: &[Who::Worker],
    settlers: &[Bob],
    cancel: true,
    ..Config::of("transactional", &[&[Spec { effect: Effect::Transactional, ..REQUIRED }]])
};

/// Schedule 13: a bare audit call in a turn of its own, in a run that was resumed.
const AUDITED: Config = Config {
    ticks: 2,
    crashes: 1,
    callers: &[Who::Ana],
    settlers: &[Bob],
    again: 1,
    fence: 4,
    processes: 1,
    ..Config::of("a user's call, then a bare audit call", &[&[USER], &[AUDIT]])
};

/// Bare audit calls run while others wait: the run has an owner, and only the gate is in the way of the others.
const RUNNING: Config = Config {
    voters: &[Bob],
    callers: &[Who::Ana],
    reach: &[Tamper::Approved, Tamper::Arguments, Tamper::Execution],
    processes: 1,
    ..Config::of("a bare audit call beside a two-stage call, rows reached into", &[&[AUDIT, TWO_STAGE]])
};

/// Another system acts as soon as it is allowed to, in time and too late.
const OUTSIDE: Config = Config {
    ticks: 2,
    voters: &[Bob],
    callers: &[Who::Ana, Who::Worker],
    settlers: &[Ana, Bob],
    failing: true,
    again: 1,
    cancel: true,
    delete: true,
    processes: 1,
    ..Config::of(
        "another system's call, valid for a time",
        &[&[Spec { waits: Waits::External, valid_for: Some(1), ..REQUIRED }]],
    )
};

/// Nobody decides in time, nobody starts in time.
const EXPIRY: Config = Config {
    ticks: 3,
    voters: &[Bob],
    callers: &[Who::Ana],
    processes: 1,
    ..Config::of(
        "expiry and validity",
        &[&[Spec { expires_in: Some(1), valid_for: Some(1), ..TWO_STAGE }, Spec { expires_in: Some(2), ..REQUIRED }]],
    )
};

/// A run that nobody survives.
const POISON: Config = Config {
    ticks: 5,
    hooks: true,
    crashes: 1,
    fence: 10,
    voters: &[Bob],
    callers: &[Who::Worker],
    processes: 1,
    ..Config::of("a run whose every owner dies", &[&[REQUIRED]])
};

/// An operator sets the store's time back, at any moment.
const RESET: Config = Config {
    ticks: 1,
    crashes: 1,
    reset: true,
    voters: &[Bob],
    callers: &[Who::Worker],
    cancel: true,
    ..Config::of("idempotent, the time set back", &[&[Spec { effect: Effect::Idempotent, ..REQUIRED }]])
};

/// What was ordered again by a human, in every tier.
const AGAIN: Config = Config {
    voters: &[Bob],
    callers: &[Who::Ana, Who::Worker],
    settlers: &[Ana, Bob],
    again: 1,
    silent: true,
    cancel: true,
    fence: 4,
    processes: 1,
    ..Config::of("unknown, run again, two-stage", &[&[TWO_STAGE]])
};

/// What the configurations with a restore have in common.
const SET_BACK: Config = Config {
    voters: &[Bob],
    callers: &[Who::Worker],
    settlers: &[Bob],
    fence: 4,
    restore: true,
    alive: true,
    ..Config::of("a required call, a restore", &[&[REQUIRED]])
};

/// A required call: processes die or live on, and a no may be answered.
const RESTORED: Config = Config { ticks: 1, cancel: true, ..SET_BACK };

/// What is unknown after the restore is ordered again.
const RESTORED_AGAIN: Config =
    Config { name: "a required call, a restore, run again", ticks: 1, again: 1, processes: 1, ..SET_BACK };

/// A crash, and a lease that ends.
const RESTORED_CRASH: Config =
    Config { name: "a required call, a restore, a crash", ticks: 1, crashes: 1, alive: false, ..SET_BACK };

/// Two required calls: the log that was set back grows to the size of the mark.
const RESTORED_TWO: Config = Config {
    name: "two required calls, a restore",
    script: &[&[REQUIRED, REQUIRED]],
    processes: 1,
    ticks: 1,
    ..SET_BACK
};

/// A bare audit call, which nobody decides on.
const RESTORED_AUDIT: Config = Config {
    name: "a bare audit call, a restore",
    script: &[&[AUDIT]],
    settlers: &[Ana, Bob],
    ticks: 1,
    cancel: true,
    ..SET_BACK
};

/// An operator who accepts without a proof while a start is on its way.
const RESTORED_FORCE: Config =
    Config { name: "a required call, a restore, accepted without a proof", ticks: 1, force: true, ..SET_BACK };

/// A call of the requester.
const RESTORED_USER: Config = Config {
    name: "a call of the user tier, a restore",
    script: &[&[USER]],
    callers: &[Who::Ana],
    ticks: 1,
    ..SET_BACK
};

/// An approver and the requester.
const RESTORED_BOTH: Config = Config {
    name: "a two-stage call, a restore",
    script: &[&[TWO_STAGE]],
    callers: &[Who::Ana],
    processes: 1,
    ticks: 1,
    ..SET_BACK
};

/// A turn after the one that is set back.
const RESTORED_TURNS: Config = Config {
    name: "a required call, then a bare audit call, a restore",
    script: &[&[REQUIRED], &[AUDIT]],
    processes: 1,
    ticks: 1,
    ..SET_BACK
};

/// Claims that are not acknowledged, committed or not, and read back; what becomes unknown is ordered again.
const UNHEARD: Config = Config {
    voters: &[Bob],
    callers: &[Who::Worker],
    settlers: &[Bob],
    ticks: 1,
    unheard: true,
    ..Config::of("claims that are not acknowledged", &[&[REQUIRED]])
};

/// The same, where leases end, and a person says how a call ended whose claim is read back later.
const UNHEARD_LATE: Config =
    Config { name: "claims that are not acknowledged, leases that end", ticks: 2, again: 1, processes: 1, ..UNHEARD };

/// What the long mode adds: a tick, a crash and a claim.
fn larger(config: Config) -> Config {
    Config { ticks: config.ticks + 1, crashes: config.crashes + 1, fence: config.fence + 1, ..config }
}

fn is_long() -> bool {
    scale::of(10) == 10
}

/// Walks one configuration.
fn walk(config: Config) {
    let started = Instant::now();
    let found = explore(&config, &config.rules());
    if let Some((what, path)) = found.broken {
        panic!("{}: {what} by {path:#?}", config.name);
    }
    let seconds = started.elapsed().as_secs_f32();
    scale::figure(config.name, format!("{} states, {} steps, {seconds:.1} s", found.states, found.steps));
}

macro_rules! walked {
    ($($(#[$doc:meta])* $name:ident: $CONFIG:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                walk($CONFIG);
                if is_long() {
                    walk(larger($CONFIG));
                }
            }
        )+

        /// All of them.
        const WALKED: &[Config] = &[$($CONFIG),+];
    };
}

walked! {
    a_bare_audit_call_beside_others: RUNNING,
    a_run_whose_every_owner_dies: POISON,
    an_approver_and_the_requester: BOTH_STAGES,
    calls_that_may_be_started_again: IDEMPOTENT,
    calls_that_write_with_their_outcome: TRANSACTIONAL,
    calls_of_another_system: OUTSIDE,
    claims_that_are_not_acknowledged: UNHEARD,
    claims_that_are_not_acknowledged_in_time: UNHEARD_LATE,
    calls_that_were_ordered_again: AGAIN,
    a_restore_of_a_required_call: RESTORED,
    a_restore_and_a_crash: RESTORED_CRASH,
    a_restore_and_a_call_that_is_ordered_again: RESTORED_AGAIN,
    a_restore_of_two_required_calls: RESTORED_TWO,
    a_restore_of_a_bare_audit_call: RESTORED_AUDIT,
    a_restore_that_is_accepted_without_a_proof: RESTORED_FORCE,
    a_restore_of_a_users_call: RESTORED_USER,
    a_restore_of_a_two_stage_call: RESTORED_BOTH,
    a_restore_of_two_turns: RESTORED_TURNS,
    crashes_and_people_who_clean_up: CRASHES,
    decisions_that_come_too_late: EXPIRY,
    the_requesters_own_calls: USERS,
    the_time_set_back: RESET,
    turns_of_different_tiers: AUDITED,
    two_approvers_of_a_pool: QUORUM,
    two_approvers_by_their_tokens: TOKENS,
    two_approvers_without_a_pool: SEPARATION,
    two_principals_of_one_person: PERSON_KEYS,
    two_owners_one_after_the_other: ZOMBIE,
    two_calls_of_different_tiers: MIXED,
    two_calls_two_processes_one_crash: TWO_CALLS,
    values_and_results_from_people: INPUT,
}

/// Guards that are taken away, where that shows, and what breaks. Where there are several, each of them alone is enough
/// there: they are each other's second line.
const NEEDED: &[(&[Guard], &Config, &str)] = &[
    (&[Guard::Mine], &TWO_CALLS, "schedule 3"),
    (&[Guard::RunPaused], &TWO_CALLS, "I17"),
    (&[Guard::RunFence], &TWO_CALLS, "schedule 2"),
    (&[Guard::RunDecided], &TWO_CALLS, "I9"),
    (&[Guard::RunUnknown], &TWO_CALLS, "I8"),
    (&[Guard::RecoverLease], &TWO_CALLS, "I7"),
    (&[Guard::RecoverLive], &TWO_CALLS, "I7"),
    (&[Guard::RecoverBound], &POISON, "schedule 15"),
    (&[Guard::RecoverInput], &POISON, "R6"),
    (&[Guard::CommitResets], &POISON, "I7"),
    (&[Guard::RenewOwn], &ZOMBIE, "R10b"),
    (&[Guard::RenewBound], &CRASHES, "R10b"),
    (&[Guard::CompleteOutcomes], &TWO_CALLS, "R8"),
    (&[Guard::ClosePending], &CRASHES, "I7"),
    (&[Guard::CloseReady], &CRASHES, "I7"),
    (&[Guard::CloseStarted], &IDEMPOTENT, "schedule 11"),
    (&[Guard::VotePending], &CRASHES, "I4"),
    (&[Guard::VoteExpiry], &EXPIRY, "I15"),
    (&[Guard::VoteSeparation], &SEPARATION, "I10"),
    (&[Guard::VotePersonKey], &PERSON_KEYS, "I10"),
    (&[Guard::VoteTwiceKey], &PERSON_KEYS, "I10"),
    (&[Guard::VotePool], &QUORUM, "I10"),
    (&[Guard::VoteToken], &TOKENS, "I10"),
    (&[Guard::VoteDigest], &SEPARATION, "I10"),
    (&[Guard::VoteTwice, Guard::QuorumDistinct], &SEPARATION, "I10"),
    (&[Guard::Quorum], &SEPARATION, "I10"),
    (&[Guard::QuorumPool], &QUORUM, "I10"),
    (&[Guard::QuorumToken], &TOKENS, "I10"),
    (&[Guard::EditVoids], &SEPARATION, "I10"),
    (&[Guard::EditorVotes], &SEPARATION, "I10"),
    (&[Guard::VoteReason], &QUORUM, "A2"),
    (&[Guard::VoteFilled], &INPUT, "I14"),
    (&[Guard::RejectEnds], &CRASHES, "I9"),
    (&[Guard::DeleteStarted], &CRASHES, "I7"),
    (&[Guard::DeleteCloses], &CRASHES, "I9"),
    (&[Guard::AnswerRequester], &BOTH_STAGES, "I1"),
    (&[Guard::AnswerShown], &BOTH_STAGES, "I1"),
    (&[Guard::AnswerDecides], &SEPARATION, "I10"),
    (&[Guard::AnswerFinal], &USERS, "I9"),
    (&[Guard::AnswerStarted], &USERS, "schedule 11"),
    (&[Guard::InputPending], &INPUT, "I4"),
    (&[Guard::ImpliedRequester], &BOTH_STAGES, "I1"),
    (&[Guard::ImpliedFirst], &BOTH_STAGES, "I1"),
    (&[Guard::ClaimReady], &IDEMPOTENT, "I6"),
    (&[Guard::ClaimApproved], &RUNNING, "I9"),
    (&[Guard::ClaimConfirmed], &RUNNING, "I1"),
    (&[Guard::ClaimDigest], &RUNNING, "I5"),
    (&[Guard::ClaimRecomputed], &RUNNING, "I5"),
    (&[Guard::ClaimValid], &EXPIRY, "I15"),
    (&[Guard::ClaimOnce, Guard::ClaimReady], &TWO_CALLS, "I6"),
    (&[Guard::FinishOwn], &ZOMBIE, "X5"),
    (&[Guard::FinishOwn, Guard::FinishExecuting], &TWO_CALLS, "I7"),
    (&[Guard::LateOwn], &IDEMPOTENT, "I8"),
    (&[Guard::LateOwn, Guard::LateUnknown], &CRASHES, "I7"),
    (&[Guard::LateEffect], &TRANSACTIONAL, "X4b"),
    (&[Guard::LostKeeps], &CRASHES, "I7"),
    (&[Guard::LateKept], &CRASHES, "I7"),
    (&[Guard::RetryEffect], &TWO_CALLS, "I8"),
    (&[Guard::RetryAttempts], &IDEMPOTENT, "X6"),
    (&[Guard::RetryValid], &IDEMPOTENT, "X6"),
    (&[Guard::RetryLive], &IDEMPOTENT, "I7"),
    (&[Guard::LostLease], &CRASHES, "X5"),
    (&[Guard::SweepStarted], &IDEMPOTENT, "schedule 11"),
    (&[Guard::SweepVoid], &CRASHES, "X8"),
    (&[Guard::ExternalUnknown], &OUTSIDE, "X7"),
    (&[Guard::DeleteExternal], &OUTSIDE, "X7"),
    (&[Guard::ResultValid], &OUTSIDE, "I15"),
    (&[Guard::AdoptStored], &OUTSIDE, "X9"),
    (&[Guard::AdoptEffect], &TRANSACTIONAL, "X9"),
    (&[Guard::SettleUnknown], &CRASHES, "X9"),
    (&[Guard::SettleSeparation], &CRASHES, "I10"),
    (&[Guard::SettlePersonKey], &CRASHES, "I10"),
    (&[Guard::SettleReason], &CRASHES, "X9"),
    (&[Guard::ResultOnce], &INPUT, "X4, X10"),
    (&[Guard::AgainLive], &CRASHES, "I7"),
    (&[Guard::AgainAsked], &AGAIN, "I1"),
    (&[Guard::MarkKept], &RESTORED_CRASH, "I6"),
    (&[Guard::MarkBefore], &RESTORED_CRASH, "I6"),
    (&[Guard::MarkNo], &RESTORED, "I9"),
    (&[Guard::MarkHash], &RESTORED_TWO, "I6"),
    (&[Guard::MarkCompareAndSet], &RESTORED, "I6"),
    (&[Guard::MarkEpoch, Guard::EnterLease], &RESTORED_FORCE, "X9"),
    (&[Guard::EnterLease], &RESTORED_FORCE, "X9"),
    (&[Guard::ReadBackOwn], &UNHEARD, "I17"),
    (&[Guard::ReadBackExecuting, Guard::EnterLease], &UNHEARD_LATE, "X9"),
    (&[Guard::Compare], &RESTORED, "I9"),
    (&[Guard::QuarantineRefuses], &RESTORED, "I9"),
    (&[Guard::AcceptLease], &RESTORED_FORCE, "Z2"),
    (&[Guard::AcceptEpoch], &RESTORED_AUDIT, "I9"),
    (&[Guard::AcceptMarkFirst], &RESTORED, "Z2"),
    (&[Guard::AcceptPauses], &RESTORED_AUDIT, "R12"),
    (&[Guard::AcceptFence, Guard::RunSnapshot, Guard::Acknowledged], &RESTORED, "R4"),
    (&[Guard::AcceptUnknown], &RESTORED, "X12"),
    (&[Guard::Acknowledged], &RESTORED_AUDIT, "I9"),
    (&[Guard::RunSnapshot], &RESTORED, "R4"),
    (&[Guard::AcknowledgeOpen], &RESTORED_AUDIT, "R13"),
    (&[Guard::AcknowledgeSeparation], &RESTORED_AUDIT, "I10"),
];

#[test]
fn every_guard_of_the_table_is_needed() {
    let mut wrong = Vec::new();
    for (off, config, expected) in NEEDED {
        match explore(config, &config.rules().without(off)).broken {
            Some((what, _)) if what.contains(expected) => {}
            found => wrong.push(format!("without {off:?} in `{}`: {found:?}", config.name)),
        }
    }
    for guard in Guard::ALL {
        if !NEEDED.iter().any(|(off, ..)| off.contains(guard)) {
            wrong.push(format!("nobody takes {guard:?} away"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    scale::figure("guards of the table, each taken away and missed", Guard::ALL.len());
    if !is_long() {
        let left_out = "each with one tick, one crash and one claim more; KERN_FAULTS=full walks them";
        scale::figure("configurations left out", format!("{}, {left_out}", WALKED.len()));
    }
}
