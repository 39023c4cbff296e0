//! One line of the table is one arm: what an event changes, what its caller is told, and what is written into the log.

use std::fmt;

use super::restore::{Mark, Stage};
use super::state::{
    Answer, Approval, ApprovalState, Authority, CALLS, Call, Claim, Effect, Execution, ExecutionState, Facts, Loaded,
    Person, Proc, RunState, Spec, State, Tamper, Ticket, Tier, Waits,
};
use super::{ATTEMPTS, LEASE, LONGEST, RECOVERIES};

/// Who continues a run or answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// The requester, by name.
    Ana,
    /// A caller without a name: acts as the requester.
    Nobody,
    /// Another user.
    Eve,
    /// The worker: never acts as the requester.
    Worker,
}

impl Who {
    pub(super) fn is_requester(self) -> bool {
        matches!(self, Self::Ana | Self::Nobody)
    }
}

/// What a requester says to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Says {
    /// Yes.
    Yes,
    /// No.
    No,
    /// These arguments, with all fields filled.
    Input(u8),
    /// What the other system gave.
    Result,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Ending {
    Succeeded,
    Failed,
    Lost,
    /// Its time is up, and the body goes on.
    Late,
}

/// What may happen next. Processes and calls by their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Event {
    /// R1, by a process; whether the input is stored with it, because no hook has to look at it first.
    Begin(u8, bool),
    /// R1b: the hooks have passed.
    Input(u8),
    /// R2, by a process: the next turn of the script; whether the run pauses with it.
    Commit(u8, bool),
    /// R3.
    Pause(u8),
    /// R5.
    Attention(u8),
    /// A process reads the run.
    Load(u8),
    /// R4, of the run as the process has loaded it.
    ClaimRun(u8, Who),
    /// R6 and R7, and X5 and X6 with them.
    Recover,
    /// R8: completed, or an error.
    End(u8, bool),
    /// R9.
    Cancel,
    /// R10a.
    Renew(u8),
    /// R10b, of the body that the process is in.
    RenewCall(u8),
    /// A2 to A5: who, about which call, yes or no, the digest of what they saw, other arguments, a note.
    Vote { by: Person, call: u8, yes: bool, seen: Option<u8>, edit: Option<u8>, note: bool },
    /// A8.
    Delete(u8),
    /// U1, U2, A3 by the requester, X10: who, about which call, the arguments they were shown.
    Answer { by: Who, call: u8, says: Says, shown: u8 },
    /// X2 and X3.
    ClaimCall(u8, u8),
    /// X4, X4b; X5 and X6 by the owner.
    Finish(u8, Ending),
    /// X9.
    Settle { by: Person, call: u8, to: ExecutionState, note: bool },
    /// X9, with the late result.
    Adopt { by: Person, call: u8, note: bool },
    /// X11.
    RunAgain { by: Person, call: u8, note: bool },
    /// A6, X7 and X8 by the sweeper.
    Sweep,
    /// Z3.
    ResetClock,
    /// Time passes.
    Tick,
    /// A process dies; what it held in its memory is gone.
    Crash(u8),
    /// Somebody says who is in the pool.
    Pool(u8),
    /// A hand reaches into the rows of a call.
    Reach(u8, Tamper),
    /// An operator copies the store.
    Copy,
    /// The copy is put back; whether processes live on.
    SetBack(bool),
    /// Z1: a process opens the store; with force, the operator asks for it without a proof.
    Compare(bool),
    /// Z2, the new epoch in the mark.
    AcceptMark,
    /// Z2, R12 and X12.
    Accept,
    /// R13.
    Acknowledge(Person),
    /// The mark of a process's start is synced.
    Mark(u8),
    /// The body of that start is entered.
    Enter(u8),
    /// The claim of a run or a call that a process has committed is not acknowledged.
    Unanswered(u8),
    /// The claim of a run that a process has sent is neither committed nor answered.
    Lost(u8),
    /// The same for the claim of a call.
    LostCall(u8, u8),
    /// A process reads back a claim that was not answered.
    ReadBack(u8),
}

/// What a caller is told. Where several guards fail, the table does not say which of them is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Said {
    Done,
    Claimed,
    Over,
    NotStartable,
    AlreadyRunning,
    NotPaused,
    Blocked,
    Stored,
    Already,
    NotAsked,
    Outdated,
    Mismatch,
    Recorded,
    Retried,
    Late,
    RecoveredPaused,
    RecoveredFailed,
    NotNeeded,
    NotFound,
    Conflict,
    StaleView,
    ReasonRequired,
    Expired,
    ExecutionConflict,
    NotPermitted,
    DigestMismatch,
    NotMine,
    RunConflict,
    Invalid,
    NotEditable,
    Restored,
    Lapsed,
}

/// All of them.
const SAID: &[Said] = &[
    Said::Done,
    Said::Claimed,
    Said::Over,
    Said::NotStartable,
    Said::AlreadyRunning,
    Said::NotPaused,
    Said::Blocked,
    Said::Stored,
    Said::Already,
    Said::NotAsked,
    Said::Outdated,
    Said::Mismatch,
    Said::Recorded,
    Said::Retried,
    Said::Late,
    Said::RecoveredPaused,
    Said::RecoveredFailed,
    Said::NotNeeded,
    Said::NotFound,
    Said::Conflict,
    Said::StaleView,
    Said::ReasonRequired,
    Said::Expired,
    Said::ExecutionConflict,
    Said::NotPermitted,
    Said::DigestMismatch,
    Said::NotMine,
    Said::RunConflict,
    Said::Invalid,
    Said::NotEditable,
    Said::Restored,
    Said::Lapsed,
];

/// The answers that the table allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Answers(u64);

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(SAID.iter().filter(|said| self.has(**said))).finish()
    }
}

impl Answers {
    /// Adds one.
    #[must_use]
    pub fn or(self, said: Said) -> Self {
        Self(self.0 | 1 << said as u64)
    }

    /// Adds one if something is so.
    #[must_use]
    pub fn or_if(self, so: bool, said: Said) -> Self {
        if so { self.or(said) } else { self }
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn has(self, said: Said) -> bool {
        self.0 & 1 << said as u64 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl From<Said> for Answers {
    fn from(said: Said) -> Self {
        Self::default().or(said)
    }
}

/// A word of the audit log, and the call that it is about.
pub type Word = (&'static str, Option<u8>);

/// What an event does.
#[derive(Clone, Debug)]
pub struct Step {
    /// The state after it.
    pub state: State,
    /// What the caller may be told.
    pub said: Answers,
    /// What is written into the log, evidence aside.
    pub words: Vec<Word>,
}

macro_rules! guards {
    ($($(#[$doc:meta])* $Guard:ident),+ $(,)?) => {
        /// One condition of the table. A test takes each away, and an invariant has to notice.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Guard { $($(#[$doc])* $Guard),+ }

        impl Guard {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$Guard),+];
        }
    };
}

guards! {
    /// `mine`: the run's owner and fence are the caller's.
    Mine,
    /// R4: the run is PAUSED.
    RunPaused,
    /// R4: fence and turn are those that were loaded.
    RunFence,
    /// R4: every call is decided.
    RunDecided,
    /// R4: none is UNKNOWN or EXECUTING.
    RunUnknown,
    /// R6: the run's lease is over.
    RecoverLease,
    /// R6: no executing call has a live lease.
    RecoverLive,
    /// R6: at most three times since the last turn was committed.
    RecoverBound,
    /// R6: the input is stored.
    RecoverInput,
    /// R2: a committed turn resets the count of recoveries.
    CommitResets,
    /// R10b: own owner and fence.
    RenewOwn,
    /// R10b: not for ever.
    RenewBound,
    /// R8: completed only with an outcome for every call.
    CompleteOutcomes,
    /// T: PENDING is cancelled.
    ClosePending,
    /// T: READY is abandoned.
    CloseReady,
    /// T, X7: what has started is not abandoned, but unknown.
    CloseStarted,
    /// A2: the row is PENDING.
    VotePending,
    /// A2: not expired.
    VoteExpiry,
    /// A2: who asked does not decide.
    VoteSeparation,
    /// A2: nor does another principal of the same person, or a link of the requester's chain.
    VotePersonKey,
    /// A2: in the pool.
    VotePool,
    /// A2: a token lets somebody vote until it expires.
    VoteToken,
    /// A2: the digest of the version that was shown.
    VoteDigest,
    /// A2: not voted on it.
    VoteTwice,
    /// A2: nor has another principal of the same person.
    VoteTwiceKey,
    /// A4: distinct people.
    QuorumDistinct,
    /// A4: as many as the policy says.
    Quorum,
    /// A4: still in the pool.
    QuorumPool,
    /// A4: the token that let somebody vote has not expired.
    QuorumToken,
    /// A3: votes of older versions are void.
    EditVoids,
    /// A3: who wrote a version has no vote on it, with a quorum.
    EditorVotes,
    /// A2: a note, where the policy asks for one.
    VoteReason,
    /// A4: nothing is left to be filled in.
    VoteFilled,
    /// A5: a no ends it.
    RejectEnds,
    /// A8: what was started stays.
    DeleteStarted,
    /// A8: hiding closes what was open.
    DeleteCloses,
    /// U1, U2: only the requester.
    AnswerRequester,
    /// U1: what was shown.
    AnswerShown,
    /// A requester's answer is not an approver's decision.
    AnswerDecides,
    /// U2: a no is final.
    AnswerFinal,
    /// U2: only what was not started is taken back.
    AnswerStarted,
    /// A3 by the requester: only before the approval.
    InputPending,
    /// U3: only by the requester.
    ImpliedRequester,
    /// U3: only for what was first shown.
    ImpliedFirst,
    /// X3: the execution is READY.
    ClaimReady,
    /// X3: the approval is APPROVED.
    ClaimApproved,
    /// X3: the requester has confirmed this version.
    ClaimConfirmed,
    /// X3: the digest that was decided on.
    ClaimDigest,
    /// X3: the digest, recomputed.
    ClaimRecomputed,
    /// X3: valid_until.
    ClaimValid,
    /// X3: `once` starts at attempt 0.
    ClaimOnce,
    /// X4: own owner and fence.
    FinishOwn,
    /// X4: the execution is EXECUTING.
    FinishExecuting,
    /// X4b: own owner and fence.
    LateOwn,
    /// X4b: the execution is UNKNOWN, or the result is only kept.
    LateUnknown,
    /// X4b: not what was to be written with its outcome.
    LateEffect,
    /// X5 keeps owner and fence.
    LostKeeps,
    /// What came too late is kept.
    LateKept,
    /// X6: only an effect that allows it.
    RetryEffect,
    /// X6: attempts left.
    RetryAttempts,
    /// X6: valid still.
    RetryValid,
    /// X6: the run has not ended.
    RetryLive,
    /// X5: the lease is over.
    LostLease,
    /// X8: what has started is not abandoned by the sweeper.
    SweepStarted,
    /// X8: only what is past its time.
    SweepVoid,
    /// X7: what another system may have acted on is not abandoned, but unknown.
    ExternalUnknown,
    /// A8: what another system may have acted on is not deleted.
    DeleteExternal,
    /// X9: the execution is UNKNOWN.
    SettleUnknown,
    /// X9: who asked does not settle.
    SettleSeparation,
    /// X9: nor does another principal of the same person, or a link of the requester's chain.
    SettlePersonKey,
    /// X9: a note.
    SettleReason,
    /// X9: what is adopted is stored.
    AdoptStored,
    /// X9: of a transactional call nothing is adopted: its writes are not there.
    AdoptEffect,
    /// X10: one result.
    ResultOnce,
    /// X10: valid_until.
    ResultValid,
    /// X11: the run goes on.
    AgainLive,
    /// X11: asked again.
    AgainAsked,
    /// There is a mark.
    MarkKept,
    /// It is synced before the body.
    MarkBefore,
    /// It is synced before a no is answered.
    MarkNo,
    /// It is compared by hash, and not by size.
    MarkHash,
    /// It is written only over a mark that lies in the log of the claim.
    MarkCompareAndSet,
    /// It is written only over a mark of the epoch of the claim.
    MarkEpoch,
    /// A body is entered only while the lease of its claim holds, also where the claim was read back.
    EnterLease,
    /// R4, X2, X3: a claim is read back by its owner token and fence.
    ReadBackOwn,
    /// X2, X3: what is read back is EXECUTING still.
    ReadBackExecuting,
    /// Z1: the comparison in each transaction that asks, allows, claims or starts.
    Compare,
    /// Z1: a quarantined store refuses them.
    QuarantineRefuses,
    /// Z2: every lease that was granted before Z1 is over.
    AcceptLease,
    /// Z2: a new epoch.
    AcceptEpoch,
    /// Z2: it is set in the mark before the commit.
    AcceptMarkFirst,
    /// Z2, R12: each open run is paused, without an owner.
    AcceptPauses,
    /// R12: its fence is raised.
    AcceptFence,
    /// Z2, X12: what is ready or executing is unknown.
    AcceptUnknown,
    /// R4, U1, A2, A4: the run's epoch is the store's.
    Acknowledged,
    /// R4: the snapshot's digest and the epoch are those that were loaded.
    RunSnapshot,
    /// R13: the store is open.
    AcknowledgeOpen,
    /// R13: who asked does not acknowledge.
    AcknowledgeSeparation,
}

/// The table, with the turns that the model is going to ask for.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The policies of each turn's calls.
    pub script: Vec<Vec<Spec>>,
    /// Guards that a test has taken away.
    pub off: Vec<Guard>,
}

impl Rules {
    /// The table as it is written.
    #[must_use]
    pub fn of(script: &[&[Spec]]) -> Self {
        Self { script: script.iter().map(|turn| turn.to_vec()).collect(), off: Vec::new() }
    }

    /// The table without some of its guards.
    #[must_use]
    pub fn without(mut self, off: &[Guard]) -> Self {
        self.off = off.to_vec();
        self
    }

    pub(super) fn on(&self, guard: Guard) -> bool {
        !self.off.contains(&guard)
    }

    pub(super) fn holds(&self, guard: Guard, condition: bool) -> bool {
        condition || !self.on(guard)
    }

    /// What may follow on an event: the first is what the table says; the others differ only in whether somebody who was
    /// refused, or who found the run blocked, wrote down what had run out on the way.
    #[must_use]
    pub fn step(&self, before: &State, event: Event) -> Vec<Step> {
        let mut tx = Tx { rules: self, state: *before, words: Vec::new(), or: None };
        let said = tx.run(event);
        let or = tx.or.filter(|(state, _)| *state != tx.state);
        let mut steps = vec![Step { state: tx.state, said, words: tx.words }];
        steps.extend(or.map(|(state, words)| Step { state, said, words }));
        steps
    }
}

pub(super) struct Tx<'a> {
    pub(super) rules: &'a Rules,
    pub(super) state: State,
    words: Vec<Word>,
    /// What may happen as well, where the table leaves it open who writes down what is met on the way.
    or: Option<(State, Vec<Word>)>,
}

impl Tx<'_> {
    pub(super) fn holds(&self, guard: Guard, condition: bool) -> bool {
        self.rules.holds(guard, condition)
    }

    pub(super) fn on(&self, guard: Guard) -> bool {
        self.rules.on(guard)
    }

    pub(super) fn say(&mut self, word: &'static str) {
        self.words.push((word, None));
    }

    pub(super) fn tell(&mut self, word: &'static str, call: u8) {
        self.words.push((word, Some(call)));
    }

    pub(super) fn proc(&mut self, process: u8) -> &mut Proc {
        &mut self.state.procs[usize::from(process)]
    }

    pub(super) fn call(&self, place: u8) -> Option<Call> {
        self.state.call(place).copied()
    }

    pub(super) fn put(&mut self, place: u8, call: Call) {
        self.state.calls[usize::from(place)] = Some(call);
    }

    pub(super) fn places(&self) -> impl Iterator<Item = u8> + use<> {
        let calls = self.state.calls;
        (0..CALLS as u8).filter(move |place| calls[usize::from(*place)].is_some())
    }

    fn open_turn(&self) -> impl Iterator<Item = u8> + use<> {
        let (calls, turn) = (self.state.calls, self.state.run.turn);
        (0..CALLS as u8).filter(move |place| calls[usize::from(*place)].is_some_and(|call| call.turn == turn))
    }

    /// `mine`.
    pub(super) fn mine(&self, process: u8) -> bool {
        let run = &self.state.run;
        let Some(claim) = self.state.procs[usize::from(process)].claim else { return false };
        let own = run.state == RunState::Running && run.owner == Some(claim.owner) && run.fence == claim.fence;
        self.holds(Guard::Mine, own) && !run.state.is_terminal()
    }

    fn run(&mut self, event: Event) -> Answers {
        match event {
            Event::Begin(process, input) => self.begin(process, input),
            Event::Input(process) => self.input_stored(process),
            Event::Commit(process, pause) => self.commit(process, pause),
            Event::Pause(process) => self.pause(process, false),
            Event::Attention(process) => self.pause(process, true),
            Event::Load(process) => self.load(process),
            Event::ClaimRun(process, who) => self.claim_run(process, who),
            Event::Recover => self.recover(),
            Event::End(process, completed) => self.end(process, completed),
            Event::Cancel => self.cancel(),
            Event::Renew(process) => self.renew(process),
            Event::RenewCall(process) => self.renew_call(process),
            Event::Vote { by, call, yes, seen, edit, note } => self.vote(by, call, yes, seen, edit, note),
            Event::Delete(call) => self.delete(call),
            Event::Answer { by, call, says, shown } => self.answer(by, call, says, shown),
            Event::ClaimCall(process, call) => self.claim_call(process, call),
            Event::Finish(process, ending) => self.finish(process, ending),
            Event::Settle { by, call, to, note } => self.settle(by, call, Some(to), note),
            Event::Adopt { by, call, note } => self.adopt(by, call, note),
            Event::RunAgain { by, call, note } => self.settle(by, call, None, note),
            Event::Sweep => self.sweep(),
            Event::ResetClock => self.reset_clock(),
            Event::Tick => {
                self.state.now += 1;
                Said::Done.into()
            }
            Event::Crash(process) => {
                *self.proc(process) = Proc::default();
                self.state.crashes += 1;
                Said::Done.into()
            }
            Event::Pool(members) => {
                self.state.pool = members;
                Said::Done.into()
            }
            Event::Reach(place, how) => self.reach(place, how),
            Event::Copy => self.copy(),
            Event::SetBack(alive) => self.set_back(alive),
            Event::Compare(force) => self.compare(force),
            Event::AcceptMark => self.accept_mark(),
            Event::Accept => self.accept(),
            Event::Acknowledge(by) => self.acknowledge(by),
            Event::Mark(process) => self.mark(process),
            Event::Enter(process) => self.enter_body(process),
            Event::Unanswered(process) => self.unanswered(process),
            Event::Lost(process) => self.lost_run(process),
            Event::LostCall(process, place) => self.lost_call(process, place),
            Event::ReadBack(process) => self.read_back(process),
        }
    }

    /// R1.
    fn begin(&mut self, process: u8, input: bool) -> Answers {
        if self.state.run.state != RunState::None {
            return Said::Invalid.into();
        }
        let run = &mut self.state.run;
        (run.state, run.owner, run.fence) = (RunState::Running, Some(process), 1);
        run.lease_until = self.state.now + LEASE;
        run.input = input;
        self.proc(process).claim = Some(Claim { fence: 1, owner: process });
        self.say("run_started");
        Said::Done.into()
    }

    /// R1b.
    fn input_stored(&mut self, process: u8) -> Answers {
        if !self.mine(process) {
            self.proc(process).claim = None;
            return Said::NotMine.into();
        }
        if self.state.run.turn > 0 || self.state.run.input {
            return Said::Invalid.into();
        }
        self.state.run.input = true;
        self.say("input_stored");
        Said::Done.into()
    }

    /// R2, A1.
    fn commit(&mut self, process: u8, pause: bool) -> Answers {
        let Some(turn) = self.rules.script.get(usize::from(self.state.script)) else { return Said::Invalid.into() };
        if self.is_set_back() {
            self.proc(process).claim = None;
            return Said::Restored.into();
        }
        if !self.mine(process) {
            return Said::NotMine.into();
        }
        self.state.run.turn += 1;
        self.state.script += 1;
        if self.on(Guard::CommitResets) {
            self.state.run.recoveries = 0;
        }
        self.state.lost = 0;
        let first = self.places().count() as u8;
        for (spec, place) in turn.iter().zip(first..) {
            let mut call = Call {
                spec: *spec,
                turn: self.state.run.turn,
                arguments: 0,
                version: 0,
                generation: 0,
                unfilled: spec.waits == Waits::Input,
                first: 0,
                shown: 1,
                answer: Answer::None,
                may_imply: true,
                approval: None,
                execution: None,
                facts: Facts::default(),
                ordered_again: 0,
                starts: 0,
            };
            if spec.tier.needs_approver() {
                call.approval = Some(self.requested(spec));
                self.tell("requested", place);
            }
            self.put(place, call);
            if spec.tier == Tier::Audit {
                self.allowed_by_policy(place);
            }
        }
        if pause {
            self.leave(process, false);
            self.say("run_paused");
        } else {
            self.say("turn_committed");
        }
        Said::Done.into()
    }

    fn requested(&self, spec: &Spec) -> Approval {
        Approval {
            record: false,
            state: ApprovalState::Pending,
            hidden: false,
            expires_at: spec.expires_in.map(|ticks| self.state.now + ticks),
            votes: 0,
            ballots: 0,
            lapsing: 0,
            editor: None,
            decided: None,
        }
    }

    fn leave(&mut self, process: u8, attention: bool) {
        let run = &mut self.state.run;
        (run.state, run.owner, run.attention) = (RunState::Paused, None, attention);
        self.proc(process).claim = None;
    }

    /// R3, R5.
    fn pause(&mut self, process: u8, attention: bool) -> Answers {
        if self.is_set_back() || !self.mine(process) {
            self.proc(process).claim = None;
            return Said::NotMine.into();
        }
        self.leave(process, attention);
        self.say("run_paused");
        Said::Done.into()
    }

    fn load(&mut self, process: u8) -> Answers {
        let (run, history) = (self.state.run, self.state.store.history);
        let loaded = Loaded { fence: run.fence, turn: run.turn, history };
        self.proc(process).loaded = Some(loaded);
        Said::Done.into()
    }

    /// R4, with A6, X8 and U3.
    fn claim_run(&mut self, process: u8, who: Who) -> Answers {
        let Some(loaded) = self.state.procs[usize::from(process)].loaded else { return Said::Invalid.into() };
        self.proc(process).loaded = None;
        let run = self.state.run;
        if run.state.is_terminal() || run.state == RunState::None {
            return Said::NotPaused.into();
        }
        if self.is_set_back() || self.is_unacknowledged() {
            return Said::Restored.into();
        }
        let paused = self.holds(Guard::RunPaused, run.state == RunState::Paused);
        let as_loaded = run.fence == loaded.fence && run.turn == loaded.turn;
        let same = self.holds(Guard::RunSnapshot, loaded.history == self.state.store.history);
        if !paused || !same || !self.holds(Guard::RunFence, as_loaded) {
            // The answer about a paused run may also name what the run waits for, before or after its calls were swept.
            let waited = self.waits();
            let before = self.state;
            self.open_turn().for_each(|place| self.meet(place));
            let waits = self.waits();
            self.or = Some((std::mem::replace(&mut self.state, before), std::mem::take(&mut self.words)));
            return Answers::from(Said::AlreadyRunning).or_if(paused && (waited || waits), Said::Blocked);
        }
        self.or = Some((self.state, Vec::new()));
        for place in self.open_turn() {
            self.meet(place);
        }
        let implied: Vec<u8> = self.open_turn().filter(|place| self.is_implied(*place, who)).collect();
        let open = self.open_turn().any(|place| {
            let call = self.call(place).expect("it is in the turn");
            let decided = call.is_decided() || implied.contains(&place);
            let started = matches!(call.state(), Some(ExecutionState::Executing | ExecutionState::Unknown));
            !self.holds(Guard::RunDecided, decided) || !self.holds(Guard::RunUnknown, !started)
        });
        if open {
            return Said::Blocked.into();
        }
        self.or = None;
        for place in implied {
            let mut call = self.call(place).expect("it is in the turn");
            call.answer = Answer::Confirmed(call.arguments, call.version);
            // A requester who goes on says yes to what they have seen: this turn, as it was first shown.
            if who.is_requester() && as_loaded && call.arguments == call.first {
                call.facts.confirmed |= 1 << call.arguments;
            }
            self.put(place, call);
            self.tell("confirmed_implied", place);
        }
        let run = &mut self.state.run;
        run.fence += 1;
        (run.state, run.owner, run.attention) = (RunState::Running, Some(process), false);
        run.lease_until = self.state.now + LEASE;
        let claim = Claim { fence: run.fence, owner: process };
        self.proc(process).claim = Some(claim);
        self.say("run_claimed");
        Said::Claimed.into()
    }

    /// Returns whether a call of the open turn is undecided, executing or unknown.
    fn waits(&self) -> bool {
        self.open_turn().any(|place| {
            let call = self.call(place).expect("it is in the turn");
            let started = matches!(call.state(), Some(ExecutionState::Executing | ExecutionState::Unknown));
            !call.is_decided() || started
        })
    }

    /// U3: whether going on says yes to this call.
    fn is_implied(&self, place: u8, who: Who) -> bool {
        let call = self.call(place).expect("it is there");
        let Some(approval) = call.approval else { return false };
        call.spec.tier == Tier::TwoStage
            && call.answer == Answer::None
            && call.may_imply
            && !approval.hidden
            && approval.state == ApprovalState::Approved
            && call.state() == Some(ExecutionState::Ready)
            && call.spec.waits != Waits::External
            && self.holds(Guard::ImpliedFirst, approval.decided == Some(call.first) && call.version == 0)
            && self.holds(Guard::ImpliedRequester, who.is_requester())
    }

    /// A6 and X8, by whoever meets it; and X7, which is the sweeper's: whoever goes on with a turn sweeps it first, which no
    /// order of the two forbids.
    fn meet(&mut self, place: u8) {
        let mut call = self.call(place).expect("it is there");
        let exposed = call.is_exposed();
        if let Some(approval) = &mut call.approval
            && approval.is_due(self.state.now)
        {
            approval.state = ApprovalState::Expired;
            call.facts.no = true;
            self.tell("expired", place);
        }
        if let Some(execution) = &mut call.execution
            && execution.state == ExecutionState::Ready
            && execution.is_void(self.state.now)
        {
            let lost = execution.attempt > 0 || exposed && self.rules.on(Guard::ExternalUnknown);
            execution.state = if lost { ExecutionState::Unknown } else { ExecutionState::Abandoned };
            self.tell(if lost { "unknown" } else { "abandoned" }, place);
        }
        self.put(place, call);
    }

    /// R6, R7; X5 and X6.
    fn recover(&mut self) -> Answers {
        let run = self.state.run;
        let now = self.state.now;
        if run.state == RunState::None {
            return Said::NotFound.into();
        }
        if self.state.store.quarantined.is_some() {
            return Said::NotNeeded.into();
        }
        if run.state != RunState::Running {
            self.lose_lapsed();
            return Said::NotNeeded.into();
        }
        let live = self.state.all().any(|(_, call)| {
            call.execution.is_some_and(|row| row.state == ExecutionState::Executing && now < row.lease_until)
        });
        if !self.holds(Guard::RecoverLease, now >= run.lease_until) || !self.holds(Guard::RecoverLive, !live) {
            return Said::NotNeeded.into();
        }
        let run = &mut self.state.run;
        run.fence += 1;
        run.owner = None;
        let again = (run.input || self.rules.off.contains(&Guard::RecoverInput))
            && (run.recoveries < RECOVERIES || self.rules.off.contains(&Guard::RecoverBound));
        run.recoveries += 1;
        self.state.lost += 1;
        if again {
            run.state = RunState::Paused;
            self.lose_lapsed();
            self.say("run_recovered");
            Said::RecoveredPaused.into()
        } else {
            run.state = RunState::Error;
            self.lose_lapsed();
            self.close();
            self.say("run_failed");
            Said::RecoveredFailed.into()
        }
    }

    /// X5 and X6 for every start whose lease is over.
    fn lose_lapsed(&mut self) {
        for place in self.places() {
            let call = self.call(place).expect("it is there");
            let Some(row) = call.execution else { continue };
            let over = self.holds(Guard::LostLease, self.state.now >= row.lease_until);
            if row.state == ExecutionState::Executing && over {
                self.lose(place);
            }
        }
    }

    /// X6, or X5. Whether it is to be started again.
    fn lose(&mut self, place: u8) -> bool {
        let mut call = self.call(place).expect("it is there");
        let row = call.execution.as_mut().expect("it has started");
        let live = self.holds(Guard::RetryLive, !self.state.run.state.is_terminal());
        let retried = live
            && match call.spec.effect {
                Effect::Once => self.rules.off.contains(&Guard::RetryEffect),
                Effect::Idempotent => {
                    self.holds(Guard::RetryAttempts, row.attempt < ATTEMPTS)
                        && self.holds(Guard::RetryValid, !row.is_void(self.state.now))
                }
                Effect::Transactional => true,
            };
        // X5 keeps them, so that the body that was given up may say how it ended. X6 does not: it is another start by then.
        if retried || !self.rules.on(Guard::LostKeeps) {
            row.owner = None;
        }
        if retried {
            call.facts.given_up |= 1 << row.fence;
        }
        row.state = if retried { ExecutionState::Ready } else { ExecutionState::Unknown };
        self.put(place, call);
        self.tell(if retried { "retry" } else { "unknown" }, place);
        retried
    }

    /// T.
    pub(super) fn close(&mut self) {
        for place in self.places() {
            let mut call = self.call(place).expect("it is there");
            let exposed = call.is_exposed();
            if let Some(approval) = &mut call.approval
                && approval.state == ApprovalState::Pending
                && self.on(Guard::ClosePending)
            {
                approval.state = ApprovalState::Cancelled;
                call.facts.no = true;
                self.tell("cancelled", place);
            }
            if let Some(execution) = &mut call.execution
                && execution.state == ExecutionState::Ready
                && self.on(Guard::CloseReady)
            {
                let exposed = exposed && self.rules.on(Guard::ExternalUnknown);
                let started = execution.attempt > 0 && self.rules.on(Guard::CloseStarted);
                if !exposed && !started {
                    execution.state = ExecutionState::Abandoned;
                    self.tell("abandoned", place);
                } else {
                    execution.state = ExecutionState::Unknown;
                    self.tell("unknown", place);
                }
            }
            self.put(place, call);
        }
    }

    /// R8, T.
    fn end(&mut self, process: u8, completed: bool) -> Answers {
        if self.is_set_back() || !self.mine(process) {
            self.proc(process).claim = None;
            return Said::NotMine.into();
        }
        let all = self.state.all().all(|(_, call)| call.has_outcome());
        if completed && !self.holds(Guard::CompleteOutcomes, all) {
            return Said::RunConflict.into();
        }
        self.state.run.state = if completed { RunState::Completed } else { RunState::Error };
        self.state.run.owner = None;
        self.proc(process).claim = None;
        self.close();
        self.say(if completed { "run_completed" } else { "run_failed" });
        Said::Done.into()
    }

    /// R9, T.
    fn cancel(&mut self) -> Answers {
        if self.state.run.state == RunState::None {
            return Said::NotFound.into();
        }
        if self.state.run.state.is_terminal() {
            return Answers::from(Said::RunConflict).or(Said::Done);
        }
        let run = &mut self.state.run;
        (run.state, run.owner) = (RunState::Cancelled, None);
        run.fence += 1;
        self.close();
        self.refused(self.places());
        self.say("run_cancelled");
        Said::Done.into()
    }

    /// R10a.
    fn renew(&mut self, process: u8) -> Answers {
        if !self.mine(process) {
            return Said::NotMine.into();
        }
        self.state.run.lease_until = self.state.now + LEASE;
        Said::Done.into()
    }

    /// R10b: whatever became of the run.
    fn renew_call(&mut self, process: u8) -> Answers {
        let Some(ticket) = self.proc(process).ticket else { return Said::Invalid.into() };
        let Some(mut call) = self.call(ticket.call) else { return Said::NotMine.into() };
        let now = self.state.now;
        let Some(row) = &mut call.execution else { return Said::NotMine.into() };
        let own = call.generation == ticket.generation && row.owner == Some(ticket.owner) && row.fence == ticket.fence;
        if row.state != ExecutionState::Executing
            || !self.rules.holds(Guard::RenewOwn, own)
            || !self.rules.holds(Guard::RenewBound, now < row.started_at + LONGEST)
        {
            return Said::NotMine.into();
        }
        row.lease_until = now + LEASE;
        self.put(ticket.call, call);
        Said::Done.into()
    }

    /// A2 to A5.
    fn vote(&mut self, by: Person, place: u8, yes: bool, seen: Option<u8>, edit: Option<u8>, note: bool) -> Answers {
        let Some(mut call) = self.call(place) else { return Said::NotFound.into() };
        let Some(mut approval) = call.approval.filter(|row| !row.hidden) else { return Said::NotFound.into() };
        let spec = call.spec;
        let due = approval.is_due(self.state.now);
        let pending = !approval.record && approval.state == ApprovalState::Pending;
        let edit = edit.filter(|arguments| *arguments != call.arguments || call.unfilled);
        let quorum = spec.quorum > 1;
        let voted = approval.votes & by.bit() != 0;
        let voted_alike = approval.votes & by.alike() & !by.bit() != 0;
        let saw = match seen {
            Some(arguments) => arguments == call.arguments,
            // ARCHITECTURE, decisions: version 0 needs no digest.
            None => call.version == 0,
        };
        let owns_token = self.state.tokens[by as usize] > 0;
        let vouched = match self.on(Guard::VoteToken) {
            true => self.state.vouched(),
            false => {
                if owns_token {
                    by.bit()
                } else {
                    0
                }
            }
        };
        let permitted = self.holds(Guard::VoteSeparation, by != Person::Ana || spec.allow_self)
            && self.holds(Guard::VotePersonKey, by != Person::AnaAlias || spec.allow_self)
            && self.holds(Guard::VotePool, !spec.pool || (self.state.pool | vouched) & by.bit() != 0);
        let mut refused = Answers::default()
            .or_if(!self.holds(Guard::VotePending, pending), Said::Conflict)
            .or_if(!self.holds(Guard::VoteExpiry, !due), Said::Expired)
            .or_if(!permitted, Said::NotPermitted)
            .or_if(!self.holds(Guard::VoteReason, note || !spec.require_reason), Said::ReasonRequired);
        if yes {
            // ARCHITECTURE, decisions: a no counts whatever version it was given to; a yes only for the current one.
            // With a quorum whoever voted on a version does not edit it, nor votes on what they wrote.
            let wrote = edit.is_none() && approval.editor.is_some_and(|editor| editor.human() == by.human()) && quorum;
            refused = refused
                .or_if(!self.holds(Guard::VoteDigest, saw), Said::StaleView)
                .or_if(quorum && !self.holds(Guard::VoteTwice, !voted), Said::NotPermitted)
                .or_if(quorum && !self.holds(Guard::VoteTwiceKey, !voted_alike), Said::NotPermitted)
                .or_if(!self.holds(Guard::EditorVotes, !wrote), Said::NotPermitted)
                .or_if(edit.is_none() && !self.holds(Guard::VoteFilled, !call.unfilled), Said::Invalid);
            // X11: the same digest and the same idempotency key. What may have run is only run again as it was.
            refused = refused.or_if(edit.is_some() && call.ordered_again > 0, Said::NotEditable);
        } else {
            refused = refused.or_if(edit.is_some(), Said::Invalid);
        }
        if refused.is_empty() && yes && (self.is_set_back() || self.is_unacknowledged()) {
            return Said::Restored.into();
        }
        if !refused.is_empty() {
            if due && pending {
                self.or = Some((self.state, Vec::new()));
                self.meet(place);
            }
            return refused;
        }
        if !yes {
            if self.on(Guard::RejectEnds) {
                approval.state = ApprovalState::Rejected;
            }
            call.facts.no = true;
            call.approval = Some(approval);
            self.put(place, call);
            self.refused([place]);
            self.tell("rejected", place);
            return Said::Done.into();
        }
        if let Some(arguments) = edit {
            self.edit(&mut call, &mut approval, by, arguments);
            self.tell("edited", place);
            if quorum {
                call.approval = Some(approval);
                self.put(place, call);
                return Said::Done.into();
            }
        }
        approval.votes |= by.bit();
        approval.ballots += 1;
        if spec.pool && self.state.pool & by.bit() == 0 && owns_token {
            approval.lapsing |= by.bit();
        }
        if saw {
            call.facts.yes[usize::from(call.version)] |= by.bit();
        }
        self.tell("voted", place);
        // Whoever votes now was asked a moment ago. What is written with a vote is until when it counts.
        let lasting = if self.on(Guard::QuorumToken) { self.state.vouched() } else { u8::MAX };
        let members = match spec.pool && self.on(Guard::QuorumPool) {
            true => self.state.pool | approval.lapsing & lasting | by.bit(),
            false => u8::MAX,
        };
        let counted = if self.on(Guard::QuorumDistinct) {
            (approval.votes & members).count_ones()
        } else {
            u32::from(approval.ballots)
        };
        if self.holds(Guard::Quorum, counted >= u32::from(spec.quorum)) {
            approval.state = ApprovalState::Approved;
            approval.decided = Some(call.arguments);
            self.tell("approved", place);
            self.allowed(place);
            if call.execution.is_none() {
                call.execution = Some(self.ready(&call, Authority::Approval));
                self.tell("ready", place);
            }
            call.facts.exposed = call.spec.waits == Waits::External;
        }
        call.approval = Some(approval);
        self.put(place, call);
        Said::Done.into()
    }

    /// A3.
    fn edit(&self, call: &mut Call, approval: &mut Approval, by: Person, arguments: u8) {
        call.arguments = arguments;
        call.version += 1;
        call.unfilled = false;
        call.shown |= 1 << arguments;
        call.facts.authors[usize::from(call.version)] |= by.bit();
        approval.editor = Some(by);
        if self.on(Guard::EditVoids) {
            (approval.votes, approval.ballots, approval.lapsing) = (0, 0, 0);
        }
    }

    /// X1.
    fn ready(&self, call: &Call, authority: Authority) -> Execution {
        Execution {
            state: ExecutionState::Ready,
            authority,
            attempt: 0,
            fence: 0,
            owner: None,
            lease_until: 0,
            started_at: 0,
            valid_until: call.spec.valid_for.map(|ticks| self.state.now + ticks),
            decided: call.arguments,
            arguments: call.arguments,
            ready_at: self.state.now,
            late: None,
        }
    }

    /// A9.
    fn record(&mut self, call: &mut Call, place: u8, state: ApprovalState) {
        if call.approval.is_none() {
            call.approval = Some(Approval {
                record: true,
                state,
                hidden: false,
                expires_at: None,
                votes: 0,
                ballots: 0,
                lapsing: 0,
                editor: None,
                decided: Some(call.arguments),
            });
            self.tell("recorded", place);
        }
    }

    /// A8.
    fn delete(&mut self, place: u8) -> Answers {
        let Some(mut call) = self.call(place) else { return Said::NotFound.into() };
        let Some(mut approval) = call.approval.filter(|row| !row.hidden) else { return Said::NotFound.into() };
        let started = call.execution.is_some_and(|row| match row.state {
            ExecutionState::Executing | ExecutionState::Unknown => true,
            ExecutionState::Ready => row.attempt > 0,
            _ => false,
        });
        let exposed = call.is_exposed() && call.state() == Some(ExecutionState::Ready);
        if !self.holds(Guard::DeleteStarted, !started) || !self.holds(Guard::DeleteExternal, !exposed) {
            return Said::ExecutionConflict.into();
        }
        if self.on(Guard::DeleteCloses) {
            if approval.state == ApprovalState::Pending {
                approval.state = ApprovalState::Cancelled;
                self.tell("cancelled", place);
            }
            if let Some(row) = &mut call.execution
                && row.state == ExecutionState::Ready
            {
                row.state = ExecutionState::Abandoned;
                self.tell("abandoned", place);
            }
        }
        // What is deleted does not run, whatever else the rows say.
        call.facts.no = true;
        approval.hidden = true;
        call.approval = Some(approval);
        self.put(place, call);
        self.refused([place]);
        self.tell("hidden", place);
        Said::Done.into()
    }

    /// U1, U2, A3 by the requester, X10.
    fn answer(&mut self, by: Who, place: u8, says: Says, shown: u8) -> Answers {
        let Some(call) = self.call(place) else { return Said::NotFound.into() };
        let run = self.state.run;
        let refused = Answers::default()
            .or_if(!self.holds(Guard::AnswerRequester, by.is_requester()), Said::NotPermitted)
            .or_if(run.state != RunState::Paused || call.turn != run.turn, Said::RunConflict);
        if !refused.is_empty() {
            if says == Says::Result && by.is_requester() {
                self.keep_result(place);
            }
            return refused;
        }
        if says != Says::No && (self.is_set_back() || self.is_unacknowledged()) {
            return Said::Restored.into();
        }
        let known = call.shown & 1 << shown != 0;
        if !self.holds(Guard::AnswerShown, known) {
            return Said::Mismatch.into();
        }
        // ARCHITECTURE, decisions: a no counts whatever version it was given to.
        let current = says == Says::No || self.holds(Guard::AnswerShown, shown == call.arguments);
        let outdated = |said: Answers| if current { said } else { said.or(Said::Outdated) };
        let not_asked = outdated(Answers::default().or_if(current, Said::NotAsked).or(Said::NotAsked));
        let unstarted = call.execution.is_none_or(|row| row.attempt == 0 && row.state == ExecutionState::Ready);
        let no = call.answer == Answer::Rejected && self.on(Guard::AnswerFinal);
        match says {
            // Whether a no that was said before is called that depends on what it met: the table does not say.
            Says::No if no => Answers::from(Said::Already).or(Said::NotAsked),
            Says::No => self.take_back(place),
            _ if no && says != Says::Result => not_asked,
            Says::Yes => {
                if call.answer == Answer::Confirmed(call.arguments, call.version) && current {
                    let said = if unstarted { Said::Already } else { Said::NotAsked };
                    // The same answer again: what it is called when the call went on since then is nowhere said.
                    return Answers::from(said).or(Said::Already).or(Said::NotAsked);
                }
                let asked = call.spec.tier.needs_requester()
                    && call.spec.waits != Waits::External
                    && !call.unfilled
                    && unstarted;
                let decides = !self.on(Guard::AnswerDecides) && call.spec.tier == Tier::Required && unstarted;
                if !asked && !decides {
                    return not_asked;
                }
                if !current {
                    return outdated(Answers::default());
                }
                self.confirm(place, by, shown, call.spec.tier == Tier::User || decides)
            }
            Says::Input(arguments) => self.input(place, by, arguments, current, unstarted, not_asked),
            Says::Result => self.result(place, by, shown, current, not_asked),
        }
    }

    /// U1.
    fn confirm(&mut self, place: u8, by: Who, shown: u8, opens: bool) -> Answers {
        let mut call = self.call(place).expect("it is there");
        call.answer = Answer::Confirmed(call.arguments, call.version);
        if by.is_requester() {
            call.facts.confirmed |= 1 << shown;
        }
        self.tell("confirmed", place);
        if opens {
            if call.spec.record {
                self.record(&mut call, place, ApprovalState::Approved);
            }
            if let Some(approval) = &mut call.approval
                && !approval.record
            {
                approval.state = ApprovalState::Approved;
                approval.decided = Some(call.arguments);
            }
            call.execution = Some(self.ready(&call, Authority::Answer));
            self.allowed(place);
            self.tell("ready", place);
        }
        self.put(place, call);
        Said::Stored.into()
    }

    /// U2.
    fn take_back(&mut self, place: u8) -> Answers {
        let mut call = self.call(place).expect("it is there");
        let started = call.execution.is_some_and(|row| row.attempt > 0);
        // Also after somebody else's no, or a time that is over: the table asks for attempt 0 and nothing else. Only what
        // has ended, with a result from outside or abandoned, is not taken back any more.
        let ended = call.state().is_some_and(|state| state.is_outcome() || state == ExecutionState::Unknown);
        let over = ended && self.on(Guard::AnswerStarted) || started && self.on(Guard::AnswerStarted);
        if call.spec.tier == Tier::Audit || over {
            return Said::NotAsked.into();
        }
        let exposed = call.is_exposed() && self.on(Guard::ExternalUnknown);
        call.answer = Answer::Rejected;
        call.facts.no = true;
        self.tell("user_rejected", place);
        if let Some(approval) = &mut call.approval
            && approval.state == ApprovalState::Pending
        {
            approval.state = ApprovalState::Cancelled;
            self.tell("cancelled", place);
        }
        if let Some(row) = &mut call.execution
            && row.state == ExecutionState::Ready
        {
            row.state = if exposed { ExecutionState::Unknown } else { ExecutionState::Abandoned };
            self.tell(if exposed { "unknown" } else { "abandoned" }, place);
        }
        if call.spec.tier == Tier::User && call.spec.record {
            self.record(&mut call, place, ApprovalState::Rejected);
        }
        self.put(place, call);
        self.refused([place]);
        Said::Stored.into()
    }

    /// A3 by the requester; U1 with values.
    fn input(
        &mut self,
        place: u8,
        by: Who,
        arguments: u8,
        current: bool,
        unstarted: bool,
        not_asked: Answers,
    ) -> Answers {
        let mut call = self.call(place).expect("it is there");
        // The store takes no values after a word: stricter than A3, which would let the requester edit what they confirmed.
        if call.spec.waits != Waits::Input || call.answer != Answer::None {
            return not_asked.or_if(call.arguments == arguments, Said::Already);
        }
        let filled_so = !call.unfilled && call.arguments == arguments;
        if call.ordered_again > 0 && call.spec.tier == Tier::User && unstarted {
            // X11: the same digest. The same values again are the yes that was cleared.
            return match (filled_so, current) {
                (true, true) => self.confirm(place, by, arguments, true),
                (true, false) => Said::Outdated.into(),
                (false, _) => not_asked.or(Said::Invalid).or(Said::NotEditable),
            };
        }
        if call.ordered_again > 0 && !filled_so {
            return not_asked.or(Said::Invalid).or(Said::NotEditable);
        }
        match call.approval.filter(|row| !row.record) {
            Some(mut approval) => {
                let pending = approval.state == ApprovalState::Pending && !approval.hidden;
                if filled_so {
                    return not_asked.or(Said::Already);
                }
                if pending && approval.is_due(self.state.now) {
                    self.or = Some((self.state, Vec::new()));
                    self.meet(place);
                    return not_asked;
                }
                if !self.holds(Guard::InputPending, pending) {
                    return not_asked;
                }
                if !current {
                    return Said::Outdated.into();
                }
                self.edit(&mut call, &mut approval, Person::Ana, arguments);
                call.approval = Some(approval);
                self.put(place, call);
                self.tell("edited", place);
                Said::Stored.into()
            }
            None if call.unfilled && unstarted && call.spec.tier == Tier::User => {
                if !current {
                    return Said::Outdated.into();
                }
                call.arguments = arguments;
                call.version += 1;
                call.unfilled = false;
                call.shown |= 1 << arguments;
                self.put(place, call);
                self.confirm(place, by, arguments, true)
            }
            None => not_asked.or_if(filled_so, Said::Already),
        }
    }

    /// X10.
    fn result(&mut self, place: u8, by: Who, shown: u8, current: bool, not_asked: Answers) -> Answers {
        let mut call = self.call(place).expect("it is there");
        if call.spec.waits != Waits::External {
            return not_asked;
        }
        if call.state() == Some(ExecutionState::Succeeded) && !call.facts.settled && self.on(Guard::ResultOnce) {
            return not_asked.or(Said::Already);
        }
        // After the requester's no, the other system may still report what it did: the result is kept, and not taken.
        let no = call.answer == Answer::Rejected && self.on(Guard::AnswerFinal);
        let open = match call.spec.tier {
            _ if no => false,
            Tier::User => call.answer == Answer::None && call.execution.is_none(),
            _ => call.gate_open() && call.state() == Some(ExecutionState::Ready),
        };
        let again = !self.on(Guard::ResultOnce) && call.state() == Some(ExecutionState::Succeeded);
        let lapsed =
            call.execution.is_some_and(|row| row.state == ExecutionState::Ready && row.is_void(self.state.now));
        if current && !again && (lapsed && open && self.on(Guard::ResultValid) || !open && call.facts.exposed) {
            // The other system has acted, and nobody may lose what it says.
            if lapsed {
                self.meet(place);
            }
            self.keep_result(place);
            return not_asked.or(Said::Lapsed);
        }
        if !open && !again {
            return not_asked;
        }
        if !current {
            return Said::Outdated.into();
        }
        if call.spec.tier == Tier::User && !again {
            self.confirm(place, by, shown, true);
            call = self.call(place).expect("it is there");
        }
        let row = call.execution.as_mut().expect("the gate is open");
        row.state = ExecutionState::Succeeded;
        call.facts.results += 1;
        self.put(place, call);
        self.tell("succeeded", place);
        Said::Stored.into()
    }

    /// What another system says of a call that it was allowed to execute, and that takes no result any more.
    fn keep_result(&mut self, place: u8) {
        let mut call = self.call(place).expect("it is there");
        let given = call.state() == Some(ExecutionState::Succeeded) && !call.facts.settled;
        let Some(row) = &mut call.execution else { return };
        let over = row.state != ExecutionState::Ready && !given;
        if call.facts.exposed && over && row.late.is_none() && self.rules.on(Guard::LateKept) {
            row.late = Some(ExecutionState::Succeeded);
            self.put(place, call);
        }
    }

    /// X2, X3.
    fn claim_call(&mut self, process: u8, place: u8) -> Answers {
        if self.is_set_back() || !self.mine(process) {
            self.proc(process).claim = None;
            return Said::NotMine.into();
        }
        let Some(mut call) = self.call(place).filter(|call| call.turn == self.state.run.turn) else {
            return Said::Invalid.into();
        };
        if call.spec.tier == Tier::Audit && call.execution.is_none() {
            self.record(&mut call, place, ApprovalState::Approved);
            call.execution = Some(self.ready(&call, Authority::Policy));
            self.enter(call, process, place);
            return Said::Claimed.into();
        }
        let Some(row) = call.execution else {
            return if call.has_outcome() { Said::Over.into() } else { Said::NotStartable.into() };
        };
        if row.state.is_outcome() && self.on(Guard::ClaimReady) {
            return Said::Over.into();
        }
        if !self.holds(Guard::ClaimReady, row.state == ExecutionState::Ready) || call.spec.waits == Waits::External {
            return Said::NotStartable.into();
        }
        let approval = call.approval.filter(|row| !row.record);
        let decided = approval.map_or(row.decided, |approval| approval.decided.unwrap_or(row.decided));
        let digest = row.decided == decided && row.decided == call.arguments;
        if !self.holds(Guard::ClaimDigest, digest) || !self.holds(Guard::ClaimRecomputed, row.arguments == row.decided)
        {
            return Said::DigestMismatch.into();
        }
        let approved = approval.is_some_and(|row| row.state == ApprovalState::Approved && !row.hidden);
        let confirmed = call.answer == Answer::Confirmed(call.arguments, call.version);
        let open = (!call.spec.tier.needs_approver() || self.holds(Guard::ClaimApproved, approved))
            && (!call.spec.tier.needs_requester() || self.holds(Guard::ClaimConfirmed, confirmed));
        if !open {
            return if call.has_outcome() { Said::Over.into() } else { Said::NotStartable.into() };
        }
        if !self.holds(Guard::ClaimValid, !row.is_void(self.state.now)) {
            self.meet(place);
            return if row.attempt > 0 { Said::NotStartable.into() } else { Said::Over.into() };
        }
        let first = call.spec.effect != Effect::Once || row.attempt == 0;
        if !self.holds(Guard::ClaimOnce, first) {
            return Said::NotStartable.into();
        }
        self.enter(call, process, place);
        Said::Claimed.into()
    }

    /// The body is entered: with the commit of its claim, as far as anybody can promise.
    fn enter(&mut self, mut call: Call, process: u8, place: u8) {
        let row = call.execution.as_mut().expect("it is ready");
        row.state = ExecutionState::Executing;
        row.attempt += 1;
        row.fence += 1;
        row.owner = Some(process);
        row.lease_until = self.state.now + LEASE;
        row.started_at = self.state.now;
        let (generation, fence, owner) = (call.generation, row.fence, process);
        let (stage, at) = (Stage::Entered, Mark::default());
        let ticket = Ticket { call: place, generation, fence, owner, stage, at, until: 0, settled: false };
        call.facts.starts += 1;
        call.facts.fences |= 1 << row.fence;
        call.starts += 1;
        self.put(place, call);
        let ticket = self.claimed(ticket);
        self.proc(process).ticket = Some(ticket);
        self.tell("executing", place);
    }

    /// X4, X4b, X5, X6.
    fn finish(&mut self, process: u8, ending: Ending) -> Answers {
        let Some(ticket) = self.proc(process).ticket else { return Said::Invalid.into() };
        if ending != Ending::Late {
            self.proc(process).ticket = None;
        }
        // A copy that was put back may lack the call.
        let Some(mut call) = self.call(ticket.call) else { return Said::Late.into() };
        let same = call.generation == ticket.generation;
        let Some(row) = &mut call.execution else { return Said::Late.into() };
        let own = same && row.owner == Some(ticket.owner) && row.fence == ticket.fence;
        let lost = matches!(ending, Ending::Lost | Ending::Late);
        let executing = row.state == ExecutionState::Executing;
        if self.rules.holds(Guard::FinishOwn, own) && self.rules.holds(Guard::FinishExecuting, executing) {
            if lost {
                let retried = self.lose(ticket.call);
                return if retried { Said::Retried.into() } else { Said::Recorded.into() };
            }
            let (state, word) = match ending {
                Ending::Succeeded => (ExecutionState::Succeeded, "succeeded"),
                _ => (ExecutionState::Failed, "failed"),
            };
            row.state = state;
            call.facts.results += 1;
            self.put(ticket.call, call);
            self.tell(word, ticket.call);
            return Said::Recorded.into();
        }
        if lost {
            // Nothing is known that the row does not say.
            return Answers::from(Said::Late).or_if(own && row.state == ExecutionState::Unknown, Said::Recorded);
        }
        let (state, word) = match ending {
            Ending::Succeeded => (ExecutionState::Succeeded, "late_succeeded"),
            _ => (ExecutionState::Failed, "late_failed"),
        };
        let transactional = call.spec.effect == Effect::Transactional;
        if self.rules.holds(Guard::LateOwn, own)
            && self.rules.holds(Guard::LateUnknown, row.state == ExecutionState::Unknown)
            && self.rules.holds(Guard::LateEffect, !transactional)
            && !self.is_set_back()
        {
            row.state = state;
            call.facts.results += 1;
            self.put(ticket.call, call);
            self.tell(word, ticket.call);
            return Said::Recorded.into();
        }
        if same && row.late.is_none() && self.rules.on(Guard::LateKept) {
            row.late = Some(state);
            self.put(ticket.call, call);
        }
        Said::Late.into()
    }

    /// X9, with what was reported too late.
    fn adopt(&mut self, by: Person, place: u8, note: bool) -> Answers {
        let late = self.call(place).and_then(|call| call.execution).and_then(|row| row.late);
        let Some(call) = self.call(place) else { return Said::NotFound.into() };
        if call.execution.is_none() {
            return Said::NotFound.into();
        }
        let transactional = call.spec.effect == Effect::Transactional;
        if !self.holds(Guard::AdoptStored, late.is_some()) || !self.holds(Guard::AdoptEffect, !transactional) {
            return Answers::from(Said::ExecutionConflict).or(Said::NotPermitted).or_if(!note, Said::ReasonRequired);
        }
        self.settle(by, place, Some(late.unwrap_or(ExecutionState::Succeeded)), note)
    }

    /// X9, and X11 where it is ordered again.
    fn settle(&mut self, by: Person, place: u8, to: Option<ExecutionState>, note: bool) -> Answers {
        let Some(mut call) = self.call(place) else { return Said::NotFound.into() };
        let Some(mut row) = call.execution else { return Said::NotFound.into() };
        let unknown = row.state == ExecutionState::Unknown;
        let live = matches!(self.state.run.state, RunState::Paused | RunState::Running);
        let refused = Answers::default()
            .or_if(!self.holds(Guard::SettleUnknown, unknown), Said::ExecutionConflict)
            .or_if(!self.holds(Guard::SettleSeparation, by != Person::Ana || call.spec.allow_self), Said::NotPermitted)
            .or_if(
                !self.holds(Guard::SettlePersonKey, by != Person::AnaAlias || call.spec.allow_self),
                Said::NotPermitted,
            )
            .or_if(!self.holds(Guard::SettleReason, note), Said::ReasonRequired)
            .or_if(to.is_none() && !self.holds(Guard::AgainLive, live), Said::RunConflict)
            // I9: the requester's no is final, also where another system may have acted on the call before it.
            .or_if(to.is_none() && call.answer == Answer::Rejected, Said::ExecutionConflict);
        if !refused.is_empty() {
            return refused;
        }
        if let Some(to) = to {
            (row.state, row.owner) = (to, None);
            call.execution = Some(row);
            call.facts.settled = true;
            self.put(place, call);
            self.said_to_be_over(place);
            self.tell("settled", place);
            return Said::Done.into();
        }
        if self.is_set_back() {
            return Said::Restored.into();
        }
        self.said_to_be_over(place);
        self.tell("run_again", place);
        call.generation += 1;
        call.ordered_again += 1;
        // A new row: version 0 of the same arguments, and whoever wrote them is their author still.
        let author = call.facts.authors[usize::from(call.version)];
        let editor = call.approval.and_then(|approval| approval.editor);
        call.facts = Facts { authors: [author, 0, 0, 0], ..Facts::default() };
        (call.version, call.first) = (0, call.arguments);
        call.may_imply = false;
        if self.on(Guard::AgainAsked) {
            call.answer = Answer::None;
            call.execution = None;
            call.approval = None;
        } else {
            row.state = ExecutionState::Ready;
            row.attempt = 0;
            call.execution = Some(row);
        }
        match call.spec.tier {
            Tier::Audit => {
                // Its record is durable before it starts, as X2 has it.
                self.record(&mut call, place, ApprovalState::Approved);
                call.execution = Some(self.ready(&call, Authority::Policy));
                self.allowed(place);
                self.tell("ready", place);
            }
            Tier::User => {}
            Tier::Required | Tier::TwoStage if self.on(Guard::AgainAsked) => {
                call.approval = Some(Approval { editor, ..self.requested(&call.spec) });
                self.tell("requested", place);
            }
            Tier::Required | Tier::TwoStage => {}
        }
        self.put(place, call);
        Said::Done.into()
    }

    /// A6, X7, X8.
    fn sweep(&mut self) -> Answers {
        for place in self.places() {
            let due = self.call(place).and_then(|call| call.approval).is_some_and(|row| row.is_due(self.state.now));
            if due {
                self.meet(place);
            }
            let mut call = self.call(place).expect("it is there");
            let exposed = call.is_exposed() && self.on(Guard::ExternalUnknown);
            let Some(row) = call.execution.as_mut().filter(|row| row.state == ExecutionState::Ready) else { continue };
            let void = self.rules.holds(Guard::SweepVoid, row.is_void(self.state.now));
            let over = void || row.attempt > 0 && self.state.run.state.is_terminal();
            if over {
                let started = exposed || row.attempt > 0 && self.rules.on(Guard::SweepStarted);
                row.state = if started { ExecutionState::Unknown } else { ExecutionState::Abandoned };
                self.put(place, call);
                self.tell(if started { "unknown" } else { "abandoned" }, place);
            }
        }
        Said::Done.into()
    }

    /// Z3. How far the clock was ahead makes no difference to what it closes, so that time itself stays here.
    fn reset_clock(&mut self) -> Answers {
        let now = self.state.now;
        if self.state.run.state == RunState::Running && now < self.state.run.lease_until {
            return Said::RunConflict.into();
        }
        let lives = |row: Execution| row.state == ExecutionState::Executing && now < row.lease_until;
        if self.places().into_iter().any(|place| self.call(place).and_then(|call| call.execution).is_some_and(lives)) {
            return Said::ExecutionConflict.into();
        }
        for place in self.places() {
            let mut call = self.call(place).expect("it is there");
            let exposed = call.is_exposed() && self.on(Guard::ExternalUnknown);
            if let Some(approval) = call.approval.as_mut().filter(|row| row.state == ApprovalState::Pending) {
                approval.state = ApprovalState::Expired;
                call.facts.no = true;
                self.tell("expired", place);
            }
            if let Some(row) = call.execution.as_mut().filter(|row| row.state == ExecutionState::Ready) {
                let lost = row.attempt > 0 || exposed;
                row.state = if lost { ExecutionState::Unknown } else { ExecutionState::Abandoned };
                self.tell(if lost { "unknown" } else { "abandoned" }, place);
            }
            self.put(place, call);
        }
        Said::Done.into()
    }

    fn reach(&mut self, place: u8, how: Tamper) -> Answers {
        let Some(mut call) = self.call(place) else { return Said::Invalid.into() };
        self.state.tampered += 1;
        match (how, &mut call.execution, &mut call.approval) {
            (Tamper::Arguments, Some(row), _) => row.arguments = 3,
            (Tamper::Execution, Some(row), _) => (row.arguments, row.decided) = (3, 3),
            (Tamper::Approved, None, Some(approval)) => {
                approval.decided = Some(call.arguments);
                call.execution = Some(self.ready(&call, Authority::Approval));
            }
            _ => return Said::Invalid.into(),
        }
        self.put(place, call);
        Said::Done.into()
    }
}
