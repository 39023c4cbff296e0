//! The invariants of the approval specification, asked of one step: the state before it, the event, the state after it.
//!
//! None of them reads what the guard of the same name reads: they are about what people really said and which bodies were
//! really entered.

use super::restore::{expected_words, is_restore};
use super::state::{
    Answer, Approval, ApprovalState, Call, Effect, Execution, ExecutionState, Person, RunState, State, Tier, Waits,
};
use super::step::{Ending, Event, Rules, Says, Step, Word};
use super::{ATTEMPTS, LONGEST, RECOVERIES, restore};

/// Gives the invariant that a state breaks, however it came about.
#[must_use]
pub fn broken_state(rules: &Rules, state: &State) -> Option<String> {
    in_every_state(state).or_else(|| lost(rules, state)).map(str::to_owned)
}

/// Gives the invariant that a step breaks, and how.
#[must_use]
pub fn broken_step(before: &State, event: Event, step: &Step) -> Option<String> {
    if matches!(event, Event::Reach(..)) {
        // It is no step of the table. What it leads to is asked.
        return None;
    }
    if let Some(what) = restore::broken(before, event, step) {
        return Some(what);
    }
    if is_restore(event) {
        return None;
    }
    let after = &step.state;
    let state = |what: Option<&'static str>| what.map(str::to_owned);
    state(run(before, event, after)).or_else(|| state(settled(before, event, after))).or_else(|| {
        after.all().find_map(|(place, now)| {
            let was = before.call(place);
            let was = was.filter(|was| was.generation == now.generation);
            approval(before, event, was, now)
                .or_else(|| execution(before, event, usize::from(place), was, now))
                .map(|what| format!("call {place}: {what}"))
        })
    })
}

/// Who drives the run, and where it may go.
fn run(before: &State, event: Event, after: &State) -> Option<&'static str> {
    let (was, now) = (&before.run, &after.run);
    if was.state.is_terminal() && was.state != now.state {
        return Some("I7: a run that has ended goes on");
    }
    if now.recoveries > RECOVERIES + 1 || (now.recoveries > RECOVERIES && now.state != RunState::Error) {
        return Some("schedule 15: a run is recovered more often than three times");
    }
    if now.state == RunState::Completed && after.all().any(|(_, call)| !call.has_outcome()) {
        return Some("R8: completed without an outcome for every call");
    }
    // Schedule 3: the owner of now is the only one who does anything for the run.
    let actor = match event {
        Event::Commit(process, _)
        | Event::Pause(process)
        | Event::Attention(process)
        | Event::End(process, _)
        | Event::Input(process)
        | Event::ClaimCall(process, _) => Some(process),
        _ => None,
    };
    if let Some(process) = actor
        && before != after
        && (before.run, before.calls) != (after.run, after.calls)
    {
        let claim = before.procs[usize::from(process)].claim;
        let own = claim.is_some_and(|claim| (was.owner, was.fence) == (Some(claim.owner), claim.fence));
        if !own || was.state != RunState::Running {
            return Some("schedule 3: somebody who lost the run goes on with it");
        }
    }
    if let Event::ClaimRun(process, _) = event
        && now.fence != was.fence
    {
        let loaded = before.procs[usize::from(process)].loaded;
        if loaded.is_none_or(|loaded| (loaded.fence, loaded.turn) != (was.fence, was.turn)) {
            return Some("schedule 2: a run is claimed by somebody who has not seen where it stands");
        }
        if was.state == RunState::Running {
            return Some("I17: a run is taken from a living owner");
        }
        let open = after.all().filter(|(_, call)| call.turn == now.turn).any(|(_, call)| !call.is_decided());
        if open {
            return Some("I9: a run goes on before every call is decided");
        }
        let unknown = [Some(ExecutionState::Unknown), Some(ExecutionState::Executing)];
        if after.all().any(|(_, call)| unknown.contains(&call.state())) {
            return Some("I8: a run goes on past a call that nobody knows the end of");
        }
    }
    if event == Event::Recover && was.state == RunState::Running && now.state == RunState::Paused && !was.input {
        return Some("R6: a run goes on without the input that its hooks have passed");
    }
    let given_up = event == Event::Recover && was.state == RunState::Running && now.state == RunState::Error;
    if given_up && was.input && before.lost < RECOVERIES {
        return Some("I7: a run ends in an error that nothing but lost owners has caused");
    }
    if event == Event::Recover && was.state == RunState::Running && now.state != RunState::Running {
        let live = before.all().any(|(_, call)| {
            call.execution.is_some_and(|row| row.state == ExecutionState::Executing && before.now < row.lease_until)
        });
        if before.now < was.lease_until || live {
            return Some("I7: a run is taken from a living owner");
        }
    }
    None
}

/// What holds whatever has happened.
fn in_every_state(state: &State) -> Option<&'static str> {
    let run = &state.run;
    if (run.state == RunState::Running) != run.owner.is_some() {
        return Some("I7: a run is running without an owner, or owned without running");
    }
    for (_, call) in state.all() {
        if call.spec.tier.needs_approver() != call.approval.is_some_and(|row| !row.record) {
            return Some("I20: a call that needs an approval has none of its own");
        }
        if run.state.is_terminal() {
            if call.approval.is_some_and(|row| row.state == ApprovalState::Pending) {
                return Some("I7: a run that has ended has something pending");
            }
            if call.state() == Some(ExecutionState::Ready) {
                return Some("I7: a run that has ended has something ready");
            }
        }
        if call.approval.is_some_and(|row| row.hidden && row.state == ApprovalState::Pending)
            || call.approval.is_some_and(|row| row.hidden) && call.state() == Some(ExecutionState::Ready)
        {
            return Some("I9: what is deleted is open");
        }
        if call.execution.is_some_and(|row| row.state == ExecutionState::Abandoned && row.attempt > 0)
            && call.facts.starts > 0
            && !call.facts.settled
        {
            return Some("schedule 11: what has started is abandoned");
        }
        if call.facts.exposed && call.state() == Some(ExecutionState::Abandoned) && !call.facts.settled {
            return Some("X7: what another system may have done is abandoned");
        }
        if call.facts.results > 1 {
            return Some("X4, X10: two results for one execution");
        }
    }
    None
}

/// I4, I10, I14, I15: how an approval is decided.
fn approval(before: &State, event: Event, was: Option<&Call>, now: &Call) -> Option<&'static str> {
    let row = now.approval?;
    let old: Option<Approval> = was.and_then(|was| was.approval);
    if let Some(old) = old
        && old.state != ApprovalState::Pending
    {
        let same = (old.state, old.decided, old.votes) == (row.state, row.decided, row.votes);
        if !same || was.is_some_and(|was| (was.arguments, was.version) != (now.arguments, now.version)) {
            return Some("I4: what was decided is decided again");
        }
    }
    if old.is_some_and(|old| old.hidden && !row.hidden) {
        return Some("I16: what was deleted comes back");
    }
    if row.hidden && !old.is_some_and(|old| old.hidden) {
        let started = was.and_then(|was| was.execution).is_some_and(|row| {
            let known = row.state.is_outcome() || row.state == ExecutionState::Ready && row.attempt == 0;
            !known
        });
        if started {
            return Some("I7: what runs, or ended nobody knows how, is deleted");
        }
    }
    if let Event::Vote { by, note, .. } = event
        && old != Some(row)
        && row.state != ApprovalState::Expired
    {
        let members = before.pool | before.vouched();
        let permitted =
            (by.human() != Person::Ana || now.spec.allow_self) && (!now.spec.pool || members & by.bit() != 0);
        if !permitted {
            return Some("I10: somebody decides who may not");
        }
        if !note && now.spec.require_reason {
            return Some("A2: decided without a reason");
        }
    }
    let decided = old.is_none_or(|old| old.state == ApprovalState::Pending);
    if let Event::Vote { yes: false, .. } = event
        && old != Some(row)
        && row.state == ApprovalState::Pending
    {
        return Some("I10: a no did not end it");
    }
    if !decided || row.record || row.state != ApprovalState::Approved {
        return None;
    }
    let spec = &now.spec;
    if !matches!(event, Event::Vote { .. }) {
        return Some("I10: approved by something that is no vote");
    }
    if row.expires_at.is_some_and(|at| before.now >= at) {
        return Some("I15: approved after its time");
    }
    if was.is_some_and(|was| was.unfilled) && now.unfilled {
        return Some("I14: approved with fields that nobody filled");
    }
    if now.facts.no {
        return Some("I9: approved after a no");
    }
    let version = usize::from(now.version);
    let mut people = now.facts.yes[version];
    if !spec.allow_self {
        people &= !Person::Ana.alike();
    }
    if spec.quorum > 1 {
        let wrote = |one: &&Person| now.facts.authors[version] & one.alike() != 0;
        people &= !Person::ALL.iter().filter(wrote).fold(0, |mask, one| mask | one.bit());
    }
    if spec.pool {
        people &= before.pool | before.vouched();
    }
    if Person::count(people) < u32::from(spec.quorum) {
        return Some("I10: approved by fewer people than the policy asks for");
    }
    None
}

/// I1, I5, I6, I8, I9, I15: how a body is entered, and what becomes of it.
fn execution(before: &State, event: Event, place: usize, was: Option<&Call>, now: &Call) -> Option<&'static str> {
    let old: Option<Execution> = was.and_then(|was| was.execution);
    let row = now.execution;
    let from = old.map(|old| old.state);
    let to = row.map(|row| row.state);
    if was.is_some() && old.is_some() && row.is_none() {
        return Some("I16: an execution is gone");
    }
    if old.is_some_and(|old| old.state.is_outcome()) && from != to {
        return Some("I6: an outcome changes");
    }
    let ticket = match event {
        Event::Finish(process, _) | Event::RenewCall(process) => before.procs[usize::from(process)].ticket,
        _ => None,
    };
    let ticket = ticket.filter(|ticket| ticket.generation == now.generation);
    let of_row =
        |row: &Execution| ticket.is_some_and(|ticket| Some(ticket.owner) == row.owner && ticket.fence == row.fence);
    if from == Some(ExecutionState::Unknown)
        && from != to
        && !matches!(event, Event::Settle { .. } | Event::Adopt { .. })
    {
        if !old.is_some_and(|old| of_row(&old)) {
            return Some("I8: unknown goes on without a human's word");
        }
        if now.spec.effect == Effect::Transactional {
            return Some("X4b: an outcome is recorded without what was to be written with it");
        }
    }
    if let (Some(old), Some(row)) = (old, row)
        && old.lease_until < row.lease_until
        && matches!(event, Event::RenewCall(_))
        && (!of_row(&old) || before.now >= old.started_at + LONGEST)
    {
        return Some("R10b: the lease of a start is held by somebody else, or for ever");
    }
    if let (Event::Finish(_, Ending::Succeeded | Ending::Failed), Some(ticket), Some(old), Some(row)) =
        (event, ticket, old, row)
        && usize::from(ticket.call) == place
    {
        let given_up = now.facts.given_up & 1 << ticket.fence != 0;
        let decides = old.fence == ticket.fence && !given_up && now.spec.effect != Effect::Transactional;
        // A quarantined store takes no such result.
        let open = !before.store.watched;
        if from == Some(ExecutionState::Unknown) && open && decides && !row.state.is_outcome() {
            return Some("I7: unknown hides the result that its own body has reported");
        }
        if from == to && row.late.is_none() {
            return Some("I7: a result that came too late is lost");
        }
    }
    if let Event::Answer { says: Says::Result, call, shown, by } = event
        && usize::from(call) == place
        && now.facts.exposed
        && by.is_requester()
        && shown == now.arguments
        && to == Some(ExecutionState::Unknown)
        && row.is_some_and(|row| row.late.is_none())
    {
        return Some("I7: a result that came too late is lost");
    }
    if from == Some(ExecutionState::Ready)
        && to == Some(ExecutionState::Succeeded)
        && old.is_some_and(|old| old.is_void(before.now))
    {
        return Some("I15: a result is taken after its time");
    }
    if from == Some(ExecutionState::Executing) && from != to {
        let old = old.expect("it was executing");
        let own = matches!(event, Event::Finish(process, _)
        if before.procs[usize::from(process)].ticket.is_some_and(|ticket| {
            ticket.generation == now.generation && Some(ticket.owner) == old.owner && ticket.fence == old.fence
        }));
        let lapsed = before.now >= old.lease_until;
        let recovered = lapsed && event == Event::Recover;
        if !own && !recovered {
            return Some("X5: a start is ended by somebody else while its lease runs");
        }
    }
    if to == Some(ExecutionState::Abandoned) && from == Some(ExecutionState::Ready) && event == Event::Sweep {
        let due = old.is_some_and(|old| old.valid_until.is_some_and(|until| before.now >= until));
        if !due {
            return Some("X8: the sweeper abandons what is valid");
        }
    }
    if from == Some(ExecutionState::Executing) && to == Some(ExecutionState::Ready) {
        match now.spec.effect {
            Effect::Once => return Some("I8: a lost start of `once` is startable again"),
            Effect::Idempotent if row.is_some_and(|row| row.attempt >= ATTEMPTS || row.is_void(before.now)) => {
                return Some("X6: retried without attempts or time left");
            }
            _ => {}
        }
    }
    let entered = now.facts.starts > was.map_or(0, |was| was.facts.starts);
    if !entered {
        return None;
    }
    let row = row?;
    let allowed = match now.spec.effect {
        Effect::Once => 1,
        Effect::Idempotent => ATTEMPTS,
        Effect::Transactional => u8::MAX,
    };
    if now.facts.starts > allowed {
        return Some("I6: started more often than its effect allows");
    }
    if now.facts.fences.count_ones() != u32::from(now.facts.starts) {
        return Some("I6: two starts with one fence");
    }
    if now.spec.effect == Effect::Once && now.starts > 1 + now.ordered_again {
        return Some("I6: started more often than people ordered it");
    }
    if from.is_some_and(|from| from != ExecutionState::Ready) {
        return Some("I1: a body is entered that is not ready");
    }
    if now.facts.no || now.answer == Answer::Rejected {
        return Some("I9: a body is entered after a no");
    }
    if row.arguments != now.arguments {
        return Some("I5: what runs is not what was shown");
    }
    let ready_at = row.ready_at;
    if now.spec.valid_for.is_some_and(|ticks| before.now >= ready_at + ticks) {
        return Some("I15: started after its time");
    }
    if now.spec.waits == Waits::External || now.unfilled {
        return Some("I14: a body is entered that cannot run here");
    }
    if now.spec.tier.needs_approver() {
        let approved = now.approval.is_some_and(|approval| {
            !approval.record
                && approval.state == ApprovalState::Approved
                && !approval.hidden
                && approval.decided == Some(row.arguments)
        });
        if !approved {
            return Some("I1: a body is entered without an approval of its arguments");
        }
        if now.facts.yes[usize::from(now.version)] == 0 {
            return Some("I1: a body is entered with the approval of another generation or version");
        }
    }
    if now.spec.tier.needs_requester() && now.facts.confirmed & 1 << row.arguments == 0 {
        return Some("I1: a body is entered that the requester did not confirm");
    }
    if now.spec.tier == Tier::Audit && now.approval.is_none() {
        return Some("I1: a bare audit call starts without a record");
    }
    None
}

/// I8, I10, X9, X11: who says how something ended that nobody knows, and what that may do.
fn settled(before: &State, event: Event, after: &State) -> Option<&'static str> {
    let (Event::Settle { by, call, note, .. } | Event::RunAgain { by, call, note } | Event::Adopt { by, call, note }) =
        event
    else {
        return None;
    };
    let (was, now) = (before.call(call)?, after.call(call)?);
    if was == now {
        return None;
    }
    if was.state() != Some(ExecutionState::Unknown) {
        return Some("X9: something else than unknown is settled");
    }
    if matches!(event, Event::Adopt { .. }) {
        let late = was.execution.and_then(|row| row.late);
        if late.is_none() || now.state() != late {
            return Some("X9: what is adopted was never reported");
        }
        if now.spec.effect == Effect::Transactional {
            return Some("X9: a result is adopted without what was to be written with it");
        }
    }
    if by.human() == Person::Ana && !now.spec.allow_self {
        return Some("I10: who asked settles");
    }
    if !note {
        return Some("X9: settled without a reason");
    }
    if matches!(event, Event::RunAgain { .. }) && before.run.state.is_terminal() {
        return Some("I7: a run that has ended asks again");
    }
    None
}

/// I12: every change of a state has exactly one entry, and every entry is a change.
#[must_use]
pub fn broken_log(before: &State, event: Event, step: &Step) -> Option<String> {
    if matches!(event, Event::Reach(..)) {
        return None;
    }
    let (after, words) = (&step.state, &step.words[..]);
    if matches!(event, Event::SetBack(_)) {
        return None;
    }
    let mut expected: Vec<Word> = Vec::new();
    expected_words(before, event, after, &mut expected);
    let accepted = event == Event::Accept;
    let (was, now) = (&before.run, &after.run);
    match (was.state, now.state) {
        (RunState::None, RunState::Running) => expected.push(("run_started", None)),
        (RunState::Running, RunState::Running) if was.turn != now.turn => expected.push(("turn_committed", None)),
        (RunState::Running, RunState::Paused) if was.recoveries < now.recoveries => {
            expected.push(("run_recovered", None));
        }
        (RunState::Running, RunState::Paused) if accepted => {}
        (RunState::Running, RunState::Paused) => expected.push(("run_paused", None)),
        (RunState::Paused, RunState::Running) => expected.push(("run_claimed", None)),
        (RunState::Running, RunState::Completed) => expected.push(("run_completed", None)),
        (RunState::Running, RunState::Error) => expected.push(("run_failed", None)),
        (from, RunState::Cancelled) if from != RunState::Cancelled => expected.push(("run_cancelled", None)),
        _ => {}
    }
    if was.state == RunState::Running && !was.input && now.input {
        expected.push(("input_stored", None));
    }
    for (place, call) in after.all() {
        let was = before.call(place);
        let same = was.filter(|was| was.generation == call.generation);
        if was.is_some() && same.is_none() {
            expected.push(("run_again", Some(place)));
        }
        let old = same.and_then(|was| was.approval);
        if let Some(row) = call.approval {
            let version = same.map_or(0, |was| was.version);
            match old {
                None if row.record => expected.push(("recorded", Some(place))),
                None => expected.push(("requested", Some(place))),
                Some(_) => {}
            }
            if old.is_some() && !row.record && version != call.version {
                expected.push(("edited", Some(place)));
            }
            let base = if version == call.version { old.map_or(0, |old| old.ballots) } else { 0 };
            for _ in base..row.ballots {
                expected.push(("voted", Some(place)));
            }
            if let Some(old) = old
                && old.state != row.state
            {
                let word = match row.state {
                    ApprovalState::Approved => "approved",
                    ApprovalState::Rejected => "rejected",
                    ApprovalState::Expired => "expired",
                    ApprovalState::Cancelled => "cancelled",
                    ApprovalState::Pending => "pending",
                };
                expected.push((word, Some(place)));
            }
            if row.hidden && !old.is_some_and(|old| old.hidden) {
                expected.push(("hidden", Some(place)));
            }
        }
        let said = same.map_or(Answer::None, |was| was.answer);
        if said != call.answer {
            let implied = words.contains(&("confirmed_implied", Some(place)));
            match call.answer {
                Answer::Confirmed(..) if implied => expected.push(("confirmed_implied", Some(place))),
                Answer::Confirmed(..) => expected.push(("confirmed", Some(place))),
                Answer::Rejected => expected.push(("user_rejected", Some(place))),
                Answer::None => {}
            }
        }
        let from = same.and_then(|was| was.execution).map(|row| row.state);
        let to = call.execution.map(|row| row.state);
        match (from, to) {
            (from, to) if from == to => {}
            (None, Some(ExecutionState::Ready)) => expected.push(("ready", Some(place))),
            (None, Some(ExecutionState::Succeeded)) => {
                expected.extend([("ready", Some(place)), ("succeeded", Some(place))]);
            }
            (_, Some(ExecutionState::Executing)) => expected.push(("executing", Some(place))),
            (_, Some(ExecutionState::Unknown)) if accepted => expected.push(("restored", Some(place))),
            (Some(ExecutionState::Unknown), Some(to)) => {
                let word = match (event, to) {
                    (Event::Finish(..), ExecutionState::Succeeded) => "late_succeeded",
                    (Event::Finish(..), _) => "late_failed",
                    _ => "settled",
                };
                expected.push((word, Some(place)));
            }
            (Some(ExecutionState::Executing), Some(ExecutionState::Ready)) => expected.push(("retry", Some(place))),
            (_, Some(ExecutionState::Succeeded)) => expected.push(("succeeded", Some(place))),
            (_, Some(ExecutionState::Failed)) => expected.push(("failed", Some(place))),
            (_, Some(ExecutionState::Unknown)) => expected.push(("unknown", Some(place))),
            (_, Some(ExecutionState::Abandoned)) => expected.push(("abandoned", Some(place))),
            _ => expected.push(("gone", Some(place))),
        }
    }
    let sorted = |words: &[Word]| {
        let mut words = words.to_vec();
        words.sort_unstable();
        words
    };
    let (expected, found) = (sorted(&expected), sorted(words));
    (expected != found).then(|| format!("I12: changes {expected:?}, entries {found:?}"))
}

/// I7: whatever has happened, time, a recovery and a sweep leave nothing behind that nobody would find.
fn lost(rules: &Rules, state: &State) -> Option<&'static str> {
    if state.run.state == RunState::None || state.store.quarantined.is_some() {
        return None;
    }
    let mut later = *state;
    later.now = u8::MAX / 2;
    for event in [Event::Recover, Event::Sweep] {
        later = rules.step(&later, event).swap_remove(0).state;
    }
    if later.run.state == RunState::Running {
        return Some("I7: a run whose owner is gone stays running");
    }
    for (_, call) in later.all() {
        if call.state() == Some(ExecutionState::Executing) {
            return Some("I7: a start whose process is gone is never found");
        }
        if call.approval.is_some_and(|row| row.is_due(later.now)) {
            return Some("I7: what is past its time is never found");
        }
        let waiting = call.approval.is_some_and(|row| row.state == ApprovalState::Pending);
        let stuck = call.state().is_none()
            && !waiting
            && !call.has_outcome()
            && call.spec.tier == Tier::Required
            && later.run.state == RunState::Paused;
        if stuck {
            return Some("I7: a call is in a state that nobody can end");
        }
    }
    None
}
