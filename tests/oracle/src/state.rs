//! What is stored, what processes hold in their memory, and what really happened.

use super::restore::{Mark, Stage, Store};

/// Most calls of one run.
pub const CALLS: usize = 3;

/// People as bits of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Person {
    /// Who asked.
    Ana,
    /// May decide.
    Bob,
    /// May decide.
    Carol,
    /// Is in no pool, unless somebody puts her there.
    Eve,
    /// Ana under another principal with the same person key, or a link of her chain.
    AnaAlias,
    /// Bob under another principal with the same person key.
    BobAlias,
}

impl Person {
    /// Every principal.
    pub const ALL: [Self; 6] = [Self::Ana, Self::Bob, Self::Carol, Self::Eve, Self::AnaAlias, Self::BobAlias];

    /// The person behind a principal.
    #[must_use]
    pub fn human(self) -> Self {
        match self {
            Self::AnaAlias => Self::Ana,
            Self::BobAlias => Self::Bob,
            other => other,
        }
    }

    /// All principals of the same person, as a mask.
    #[must_use]
    pub fn alike(self) -> u8 {
        Self::ALL.iter().filter(|other| other.human() == self.human()).fold(0, |mask, other| mask | other.bit())
    }

    /// The number of people behind a mask of principals.
    #[must_use]
    pub fn count(mask: u8) -> u32 {
        let mut people: Vec<_> = Self::ALL.iter().filter(|one| mask & one.bit() != 0).map(|one| one.human()).collect();
        people.sort_unstable();
        people.dedup();
        u32::try_from(people.len()).expect("a mask holds few people")
    }

    /// As a bit.
    #[must_use]
    pub fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Nobody.
    Audit,
    /// The requester.
    User,
    /// An approver.
    Required,
    /// Both.
    TwoStage,
}

impl Tier {
    /// Whether an approver is asked.
    #[must_use]
    pub fn needs_approver(self) -> bool {
        matches!(self, Self::Required | Self::TwoStage)
    }

    /// Whether the requester is asked.
    #[must_use]
    pub fn needs_requester(self) -> bool {
        matches!(self, Self::User | Self::TwoStage)
    }
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Waits {
    /// A yes.
    Confirmation,
    /// Values that people fill in.
    Input,
    /// A result from another system.
    External,
}

/// What may happen after a lost start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing but a human's word.
    Once,
    /// Started again, bounded.
    Idempotent,
    /// Started again.
    Transactional,
}

/// The stored policy of a call. Durations are in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Spec {
    pub tier: Tier,
    pub waits: Waits,
    pub effect: Effect,
    pub quorum: u8,
    pub pool: bool,
    pub allow_self: bool,
    pub require_reason: bool,
    pub record: bool,
    pub expires_in: Option<u8>,
    pub valid_for: Option<u8>,
}

impl Spec {
    /// A policy that asks this tier for a yes.
    #[must_use]
    pub const fn new(tier: Tier) -> Self {
        Self {
            tier,
            waits: Waits::Confirmation,
            effect: Effect::Once,
            quorum: 1,
            pool: false,
            allow_self: false,
            require_reason: false,
            record: false,
            expires_in: None,
            valid_for: None,
        }
    }
}

/// Where the run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum RunState {
    None,
    Running,
    Paused,
    Completed,
    Error,
    Cancelled,
}

impl RunState {
    /// Whether it has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Error | Self::Cancelled)
    }
}

/// The run's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct RunRow {
    pub state: RunState,
    pub owner: Option<u8>,
    pub fence: u8,
    pub lease_until: u8,
    pub turn: u8,
    /// Since the last turn was committed.
    pub recoveries: u8,
    pub attention: bool,
    /// The epoch in which a person last let it go on.
    pub epoch: u8,
    /// Whether the input is stored that the hooks have passed.
    pub input: bool,
}

/// Where an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ApprovalState {
    Pending,
    Approved,
    Rejected,
    Expired,
    Cancelled,
}

/// An approval's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Approval {
    /// Of type `audit`: it records and decides nothing.
    pub record: bool,
    /// Its state.
    pub state: ApprovalState,
    /// Whether it was deleted.
    pub hidden: bool,
    /// The tick from which on it is expired.
    pub expires_at: Option<u8>,
    /// Who said yes to the current version.
    pub votes: u8,
    /// How many yeses there were to it, whoever they came from.
    pub ballots: u8,
    /// Those of them whom only a token lets: their yes counts as long as it does.
    pub lapsing: u8,
    /// Who wrote the current version.
    pub editor: Option<Person>,
    /// The digest that was approved.
    pub decided: Option<u8>,
}

/// Where an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ExecutionState {
    Ready,
    Executing,
    Succeeded,
    Failed,
    Unknown,
    Abandoned,
}

impl ExecutionState {
    /// Whether that is an outcome. Executing and unknown are none.
    #[must_use]
    pub fn is_outcome(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Abandoned)
    }
}

/// What names the execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Authority {
    Approval,
    Answer,
    Policy,
}

/// An execution's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Execution {
    pub state: ExecutionState,
    pub authority: Authority,
    pub attempt: u8,
    pub fence: u8,
    pub owner: Option<u8>,
    pub lease_until: u8,
    pub started_at: u8,
    pub valid_until: Option<u8>,
    /// The digest that was decided on.
    pub decided: u8,
    /// The arguments as they are stored: their digest is `decided`, unless somebody reached into the file.
    pub arguments: u8,
    /// The tick at which it became ready. A fact, no column.
    pub ready_at: u8,
    /// The first result that came too late to be the outcome.
    pub late: Option<ExecutionState>,
}

/// What the requester said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Nothing.
    None,
    /// Yes, to these arguments in this version: an edit back to them is another version, which was not confirmed.
    Confirmed(u8, u8),
    /// No.
    Rejected,
}

/// What really happened to one generation of a call, whatever the rows say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Facts {
    /// Who said yes, by version. Taken down before any guard is asked.
    pub yes: [u8; 4],
    /// Who wrote each version, the model aside.
    pub authors: [u8; 4],
    /// Arguments that the requester confirmed, by word or by going on, as a mask.
    pub confirmed: u8,
    /// Somebody who may say no said no, the time was over, or the row was deleted.
    pub no: bool,
    /// Bodies entered.
    pub starts: u8,
    /// Fences with which they were entered, as a mask.
    pub fences: u8,
    /// Results that were recorded.
    pub results: u8,
    /// Whether a human said how it ended.
    pub settled: bool,
    /// Whether another system may have acted on it: its gate was open while it was ready.
    pub exposed: bool,
    /// Fences that were given up for another start, as a mask.
    pub given_up: u8,
}

/// A call's row, with the approval and the execution of its latest generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// Its policy.
    pub spec: Spec,
    /// Its turn, from 1.
    pub turn: u8,
    /// The arguments of the current version: a number that stands for them, and for their digest.
    pub arguments: u8,
    /// 0, one more with each edit.
    pub version: u8,
    /// 0, one more each time it was ordered again.
    pub generation: u8,
    /// Whether people still have to fill something in.
    pub unfilled: bool,
    /// The arguments as they were first shown.
    pub first: u8,
    /// All arguments that were ever shown, as a mask.
    pub shown: u8,
    /// What the requester said.
    pub answer: Answer,
    /// Whether going on implies a yes: not where the call was ordered again.
    pub may_imply: bool,
    /// Its approval.
    pub approval: Option<Approval>,
    /// Its execution.
    pub execution: Option<Execution>,
    /// What really happened.
    pub facts: Facts,
    /// How often somebody ordered it again.
    pub ordered_again: u8,
    /// Bodies entered, of all generations.
    pub starts: u8,
}

/// What a process has read of a run that it is about to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Loaded {
    pub fence: u8,
    pub turn: u8,
    /// Its snapshot's digest and the store's epoch: the history in which it was read.
    pub history: u8,
}

/// The proof of owning the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Claim {
    pub fence: u8,
    pub owner: u8,
}

/// The proof of one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Ticket {
    pub call: u8,
    pub generation: u8,
    pub fence: u8,
    pub owner: u8,
    /// How far it has come.
    pub stage: Stage,
    /// The log in which it was claimed.
    pub at: Mark,
    /// Until when the body may be entered, by the monotonic clock.
    pub until: u8,
    /// A person has said how it ended, before the body was entered. A fact, no memory.
    pub settled: bool,
}

/// A claim that was sent and not answered: committed, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unheard {
    /// R4, and until when it may be used, by the monotonic clock.
    Run(Claim, u8),
    /// X2 or X3.
    Call(Ticket),
}

/// One process's memory. A crash empties it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Proc {
    /// The run as it was loaded.
    pub loaded: Option<Loaded>,
    /// The run as it was claimed.
    pub claim: Option<Claim>,
    /// The body that it is in.
    pub ticket: Option<Ticket>,
    /// The claim of which it does not know what became.
    pub unheard: Option<Unheard>,
}

/// A hand that reaches into the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tamper {
    /// Other arguments in the execution, with the old digest.
    Arguments,
    /// Other arguments in the execution, with their digest.
    Execution,
    /// Approved, without anybody's yes: only the status.
    Approved,
}

/// Everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct State {
    pub now: u8,
    pub run: RunRow,
    pub calls: [Option<Call>; CALLS],
    pub procs: [Proc; 2],
    /// Who is in the pool, as a mask.
    pub pool: u8,
    /// The tick from which on the token of each person, which says that they are in the pool, has expired. 0: they have none.
    pub tokens: [u8; Person::ALL.len()],
    /// Crashes so far.
    pub crashes: u8,
    /// Rows that a hand reached into, so far.
    pub tampered: u8,
    /// Turns of the script that are committed.
    pub script: u8,
    /// Where the store stands, and its mark.
    pub store: Store,
    /// How often the run was recovered since its last turn was committed. A fact, no column.
    pub lost: u8,
}

impl State {
    /// Before anything happened.
    #[must_use]
    pub fn new(pool: &[Person], tokens: &[(Person, u8)]) -> Self {
        let mut until = [0; Person::ALL.len()];
        for (person, expires_at) in tokens {
            until[*person as usize] = *expires_at;
        }
        Self {
            now: 0,
            run: RunRow {
                state: RunState::None,
                owner: None,
                fence: 0,
                lease_until: 0,
                turn: 0,
                recoveries: 0,
                attention: false,
                epoch: 0,
                input: false,
            },
            calls: [None; CALLS],
            procs: [Proc::default(); 2],
            pool: pool.iter().fold(0, |mask, person| mask | person.bit()),
            tokens: until,
            crashes: 0,
            tampered: 0,
            script: 0,
            store: Store::default(),
            lost: 0,
        }
    }

    /// Whose token says that they are in the pool, and has not expired, as a mask.
    #[must_use]
    pub fn vouched(&self) -> u8 {
        let counts = |person: &&Person| self.now < self.tokens[**person as usize];
        Person::ALL.iter().filter(counts).fold(0, |mask, person| mask | person.bit())
    }

    /// The calls there are, with their places.
    pub fn all(&self) -> impl Iterator<Item = (u8, &Call)> {
        self.calls.iter().zip(0..).filter_map(|(call, place)| call.as_ref().map(|call| (place, call)))
    }

    /// One call.
    #[must_use]
    pub fn call(&self, place: u8) -> Option<&Call> {
        self.calls.get(usize::from(place)).and_then(Option::as_ref)
    }
}

impl Approval {
    /// Whether nobody decided in time.
    #[must_use]
    pub fn is_due(&self, now: u8) -> bool {
        self.state == ApprovalState::Pending && self.expires_at.is_some_and(|at| now >= at)
    }
}

impl Execution {
    /// Whether it was allowed for a time that is over.
    #[must_use]
    pub fn is_void(&self, now: u8) -> bool {
        self.valid_until.is_some_and(|until| now >= until)
    }
}

impl Call {
    /// *Gate open*, in the words of the table.
    #[must_use]
    pub fn gate_open(&self) -> bool {
        let approved = self.approval.is_some_and(|row| {
            !row.record && !row.hidden && row.state == ApprovalState::Approved && row.decided == Some(self.arguments)
        });
        let confirmed = self.answer == Answer::Confirmed(self.arguments, self.version);
        match self.spec.tier {
            Tier::Audit => true,
            Tier::User => confirmed,
            Tier::Required => approved && self.answer != Answer::Rejected,
            Tier::TwoStage => approved && confirmed,
        }
    }

    /// Whether another system may have acted on it, though no result is here.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.spec.waits == Waits::External && self.gate_open()
    }

    /// *Gate closed*, in the words of the table.
    #[must_use]
    pub fn gate_closed(&self) -> bool {
        let refused = self.approval.is_some_and(|row| {
            let over = matches!(row.state, ApprovalState::Rejected | ApprovalState::Expired | ApprovalState::Cancelled);
            // Of a record's states only hiding says something about the call, and that abandons what it allowed.
            !row.record && (over || row.hidden)
        });
        refused || self.answer == Answer::Rejected
    }

    /// *Outcome*, in the words of the table.
    #[must_use]
    pub fn has_outcome(&self) -> bool {
        match self.execution.map(|execution| execution.state) {
            Some(ExecutionState::Succeeded | ExecutionState::Failed | ExecutionState::Abandoned) => true,
            // What has started has its outcome only when it has ended.
            Some(ExecutionState::Executing | ExecutionState::Unknown) => false,
            Some(ExecutionState::Ready) | None => self.gate_closed(),
        }
    }

    /// *Decided*, in the words of the table: UNKNOWN and EXECUTING are neither an outcome nor startable, and are asked for
    /// apart. ARCHITECTURE, decisions: an external call is decided only with its result.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.has_outcome() || (self.gate_open() && self.spec.waits != Waits::External)
    }

    /// The execution's state.
    #[must_use]
    pub fn state(&self) -> Option<ExecutionState> {
        self.execution.map(|execution| execution.state)
    }
}
