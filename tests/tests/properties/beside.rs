//! Drives two handles of one store beside the oracle, and compares.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kern_db::{
    Answer as StoredAnswer, AnswerCall, Answered, ApprovalId, ApprovalStatus, AuditEntry, BeginRun, Call as StoredCall,
    CallClaimed, CallPolicy, Caller, ClaimCall, ClaimRun, CommitTurn, Db, Effect as StoredEffect, EndRun, Ended, Error,
    ExecutionId, ExecutionStatus, Finished, NewAnswer, NewCall, Outcome, PauseType, Principal, Recovered, Resolution,
    Run, RunClaim, RunClaimed, RunId, RunStatus, SessionId, Settlement, Shown, Standing, StoreInput, Ticket,
    Tier as StoredTier, clock,
};
use kern_oracle::state::{
    Answer, ApprovalState, CALLS, Call, Effect, ExecutionState, Person, RunState, Spec, State, Tier, Waits,
};
use kern_oracle::step::{Ending, Event, Rules, Said, Says, Step, Who, Word};
use kern_oracle::{LEASE, LONGEST, broken_log, broken_state, broken_step};
use kern_tests::folder::Folder;
use kern_tests::steps::{SCHEMA, SCHEMA_HASH, verified};
use serde_json::{Value, json};

use crate::schedule::{Schedule, chosen, first};

/// One tick of the oracle's clock. What really passes during a schedule is small beside it.
const TICK_MS: i64 = 1_000_000;

/// Two handles that share nothing but what is stored.
pub(crate) struct Replicas {
    /// The handles.
    pub(crate) handles: [Arc<dyn Db>; 2],
    /// Where it is stored. Removed after the handles have closed.
    pub(crate) _folder: Option<Folder>,
}

/// What a schedule came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walked {
    /// Steps.
    pub(crate) steps: usize,
    /// Bodies entered.
    pub(crate) bodies: usize,
}

/// What one process holds.
#[derive(Default)]
struct Held {
    loaded: Option<(i64, u32)>,
    claim: Option<RunClaim>,
    ticket: Option<Ticket>,
}

struct Real<'a> {
    replicas: &'a Replicas,
    rules: &'a Rules,
    run_id: RunId,
    /// When the oracle's clock was at 0.
    started_ms: i64,
    held: [Held; 2],
    /// Where each call stands in the run: turn and index.
    places: Vec<(u32, u32)>,
    /// Digests by call and arguments.
    digests: HashMap<(u8, u8), String>,
    /// The approval and the execution of each call.
    approvals: [Option<ApprovalId>; CALLS],
    executions: [Option<ExecutionId>; CALLS],
    /// Entries of the audit log that were compared.
    seq: i64,
    /// How many bodies of each call were entered.
    bodies: [u8; CALLS],
    turns: usize,
    count: usize,
}

/// Due half a tick before the oracle's, so that what passes between two calls makes no difference.
fn ms(ticks: u8) -> i64 {
    i64::from(ticks) * TICK_MS - TICK_MS / 2
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    i64::try_from(now.as_millis()).expect("the clock is sane")
}

fn name(person: Person) -> &'static str {
    match person {
        Person::Ana => "ana",
        Person::Bob => "bob",
        Person::Carol => "carol",
        Person::Eve => "eve",
        Person::AnaAlias => "Ana",
        Person::BobAlias => "BOB\u{200b}",
    }
}

fn caller(who: Who) -> Caller {
    match who {
        Who::Ana => Caller::Person(Principal::unverified("ana")),
        Who::Nobody => Caller::Anonymous,
        Who::Eve => Caller::Person(Principal::unverified("eve")),
        Who::Worker => Caller::Worker,
    }
}

/// What a number of arguments stands for: canonical JSON.
fn arguments(spec: &Spec, number: u8) -> &'static str {
    match number {
        0 if spec.waits == Waits::Input => r#"{"amount":100}"#,
        0 => r#"{"amount":100,"to":"x"}"#,
        1 => r#"{"amount":100,"to":"y"}"#,
        2 => r#"{"amount":7,"to":"y"}"#,
        _ => r#"{"amount":100,"to":"z"}"#,
    }
}

fn policy(spec: &Spec) -> CallPolicy {
    let tier = match spec.tier {
        Tier::Audit => StoredTier::Audit,
        Tier::User => StoredTier::User,
        Tier::Required => StoredTier::Required,
        Tier::TwoStage => StoredTier::TwoStage,
    };
    let pause = match spec.waits {
        _ if spec.tier == Tier::Audit => None,
        Waits::Confirmation => Some(PauseType::Confirmation),
        Waits::Input => Some(PauseType::UserInput),
        Waits::External => Some(PauseType::ExternalExecution),
    };
    let effect = match spec.effect {
        Effect::Once => StoredEffect::Once,
        Effect::Idempotent => StoredEffect::Idempotent,
        Effect::Transactional => StoredEffect::Transactional,
    };
    let mut policy = CallPolicy::new(tier, pause)
        .effect(effect)
        .allow_self(spec.allow_self)
        .quorum(spec.quorum.into())
        .require_reason(spec.require_reason)
        .record(spec.record);
    if spec.pool {
        policy = policy.pool("finance");
    }
    policy.expires_in_ms = spec.expires_in.map(ms);
    policy.valid_for_ms = spec.valid_for.map(ms);
    policy
}

fn digest_of(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn refused(error: &Error) -> Said {
    match error {
        Error::NotFound { .. } => Said::NotFound,
        Error::Conflict { .. } => Said::Conflict,
        Error::StaleView { .. } => Said::StaleView,
        Error::ReasonRequired { .. } | Error::NoteRequired { .. } => Said::ReasonRequired,
        Error::Expired { .. } => Said::Expired,
        Error::ExecutionConflict { .. } => Said::ExecutionConflict,
        Error::NotPermitted { .. } => Said::NotPermitted,
        Error::DigestMismatch { .. } => Said::DigestMismatch,
        Error::NotMine { .. } => Said::NotMine,
        Error::RunConflict { .. } => Said::RunConflict,
        Error::Invalid(_) => Said::Invalid,
        Error::NotEditable { .. } => Said::NotEditable,
        Error::Lapsed { .. } => Said::Lapsed,
        other => panic!("the store failed: {other:?}"),
    }
}

fn said<T>(outcome: kern_db::Result<T>, said: impl FnOnce(T) -> Said) -> Said {
    match outcome {
        Ok(value) => said(value),
        Err(error) => refused(&error),
    }
}

fn done<T>(outcome: kern_db::Result<T>) -> Said {
    said(outcome, |_| Said::Done)
}

/// What went wrong, and what led there.
fn told(what: &str, trail: &[Event]) -> String {
    let events: Vec<String> = trail.iter().map(|event| format!("\n  {event:?}")).collect();
    format!("{what}\nby{}\n", events.concat())
}

/// Walks one schedule.
pub(crate) async fn walk(replicas: &Replicas, schedule: &Schedule) -> Result<Walked, String> {
    let rules = Rules { script: schedule.script.clone(), off: Vec::new() };
    let mut real = Real {
        replicas,
        rules: &rules,
        run_id: RunId::generate(),
        started_ms: now_ms(),
        held: Default::default(),
        places: Vec::new(),
        digests: HashMap::new(),
        approvals: Default::default(),
        executions: Default::default(),
        seq: 0,
        bodies: [0; CALLS],
        turns: 0,
        count: 0,
    };
    clock::set_ahead_ms(0);
    let mut state = first();
    real.set_pool(state.pool).await;
    let mut trail = Vec::new();
    for choice in &schedule.choices {
        let event = chosen(&rules, &state, *choice);
        trail.push(event);
        state = real.step(&state, event).await.map_err(|what| told(&what, &trail))?;
    }
    // I7: time, a recovery and a sweep find everything that was left behind.
    for event in [Event::Tick, Event::Tick, Event::Tick, Event::Tick, Event::Recover, Event::Sweep] {
        trail.push(event);
        state = real.step(&state, event).await.map_err(|what| told(&what, &trail))?;
    }
    if state.run.state != RunState::None {
        kern_tests::history::check(&*replicas.handles[0]).await;
    }
    Ok(Walked { steps: trail.len(), bodies: real.bodies.iter().map(|bodies| usize::from(*bodies)).sum() })
}

impl Real<'_> {
    /// The replica of the next call: each in turn, also within one process, which may have restarted elsewhere.
    fn db(&mut self) -> Arc<dyn Db> {
        self.count += 1;
        Arc::clone(&self.replicas.handles[self.count % 2])
    }

    async fn set_pool(&mut self, members: u8) {
        let members =
            Person::ALL.iter().filter(|person| members & person.bit() != 0).map(|person| name(*person).to_owned());
        self.db().write_pool("finance".to_owned(), members.collect(), None).await.expect("a pool is set");
    }

    async fn run(&self) -> Run {
        self.replicas.handles[self.count % 2].get_run(&self.run_id).await.expect("the run is there")
    }

    /// One step on both sides, compared.
    async fn step(&mut self, before: &State, event: Event) -> Result<State, String> {
        let steps = self.rules.step(before, event);
        let told = self.act(before, event).await;
        let entries = self.entries().await;
        let words = self.words(&entries);
        let mut differences = Vec::new();
        for step in &steps {
            match self.compare(event, step, told, &words).await {
                Ok(()) => {
                    check_evidence(event, told, &entries)?;
                    if let Some(what) = broken_step(before, event, step)
                        .or_else(|| broken_log(before, event, step))
                        .or_else(|| broken_state(self.rules, &step.state))
                    {
                        return Err(format!("the oracle: {what}"));
                    }
                    return Ok(step.state);
                }
                Err(what) => differences.push(what),
            }
        }
        Err(format!("{event:?} told {told:?}, wrote {words:?}; {}", differences.join("; or ")))
    }

    /// Does it, and says what was told.
    async fn act(&mut self, before: &State, event: Event) -> Said {
        let db = self.db();
        match event {
            Event::Begin(process, input) => {
                let begin = BeginRun {
                    run_id: self.run_id.clone(),
                    session_id: SessionId::from("session"),
                    agent_id: "agent".to_owned(),
                    agent_name: None,
                    requester: Some(Principal::unverified("ana")),
                    snapshot: "{}".to_owned(),
                    input: input.then(|| "{}".to_owned()),
                    lease_ms: ms(LEASE),
                };
                said(db.begin_run(begin).await, |claim| {
                    self.held[usize::from(process)].claim = Some(claim);
                    Said::Done
                })
            }
            Event::Input(process) => {
                let (claim, text) = (self.claim(process), "{}".to_owned());
                done(db.store_input(StoreInput { claim, snapshot: text.clone(), input: text }).await)
            }
            Event::Commit(process, pause) => self.commit(&*db, before, process, pause).await,
            Event::Pause(process) | Event::Attention(process) => {
                let claim = self.claim(process);
                let attention = matches!(event, Event::Attention(_));
                let told = done(db.pause_run(claim, "{}".to_owned(), attention).await);
                self.held[usize::from(process)].claim = None;
                told
            }
            Event::Load(process) => {
                let run = self.run().await;
                self.held[usize::from(process)].loaded = Some((run.fence, run.turn));
                Said::Done
            }
            Event::ClaimRun(process, who) => {
                let (fence, turn) = self.held[usize::from(process)].loaded.take().expect("it was loaded");
                // Within one history a snapshot changes only with the fence, the turn or the state.
                let (run_id, loaded) = (self.run_id.clone(), self.run().await.loaded);
                let request = ClaimRun {
                    run_id,
                    fence,
                    turn,
                    loaded,
                    caller: caller(who),
                    lease_ms: ms(LEASE),
                    owner: kern_db::OwnerToken::fresh(),
                };
                said(db.claim_run(request).await, |claimed| match claimed {
                    RunClaimed::Claimed(claim) => {
                        self.held[usize::from(process)].claim = Some(claim);
                        Said::Claimed
                    }
                    RunClaimed::AlreadyRunning => Said::AlreadyRunning,
                    RunClaimed::NotPaused(_) => Said::NotPaused,
                    RunClaimed::Blocked(_) => Said::Blocked,
                    other => panic!("{other:?}"),
                })
            }
            Event::Recover => said(db.recover_run(self.run_id.clone()).await, |recovered| match recovered {
                Recovered::NotNeeded => Said::NotNeeded,
                Recovered::Paused => Said::RecoveredPaused,
                Recovered::Failed => Said::RecoveredFailed,
                other => panic!("{other:?}"),
            }),
            Event::End(process, completed) => {
                let request = EndRun {
                    claim: self.claim(process),
                    snapshot: "{}".to_owned(),
                    status: if completed { RunStatus::Completed } else { RunStatus::Error },
                    error: (!completed).then(|| "the model is gone".to_owned()),
                };
                done(db.end_run(request).await)
            }
            Event::Cancel => done(db.cancel_run(self.run_id.clone(), Caller::Anonymous).await),
            Event::Renew(process) => done(db.renew_run(self.claim(process), ms(LEASE)).await),
            Event::RenewCall(process) => {
                let ticket = self.held[usize::from(process)].ticket.clone().expect("it is in a body");
                done(db.renew_call(ticket, ms(LEASE), ms(LONGEST)).await)
            }
            Event::Vote { by, call, yes, seen, edit, note } => {
                let row = before.call(call).expect("it is there");
                let id = self.approval(call);
                let resolution = if yes { Resolution::approved() } else { Resolution::rejected() };
                let mut resolution = match before.tokens[by as usize] {
                    0 => resolution.by(name(by)),
                    ticks => {
                        resolution.by_member(verified(name(by)), ["legal", "finance"], self.started_ms + ms(ticks))
                    }
                };
                if let Some(seen) = seen {
                    resolution = resolution.digest(self.digests[&(call, seen)].clone());
                }
                if note {
                    resolution = resolution.note("seen");
                }
                if let Some(edit) = edit {
                    let edited: Value = serde_json::from_str(arguments(&row.spec, edit)).expect("it is JSON");
                    resolution = resolution.data(json!({ "edited_args": edited }));
                }
                done(db.update_approval(&id, ApprovalStatus::Pending, resolution).await)
            }
            Event::Delete(call) => {
                let id = self.approval(call);
                done(db.hide_approval(id, Some(Principal::unverified("bob"))).await)
            }
            Event::Answer { by, call, says, shown } => {
                let row = before.call(call).expect("it is there");
                let (turn, index) = self.places[usize::from(call)];
                let answer = match says {
                    Says::Yes => NewAnswer::Confirm,
                    Says::No => NewAnswer::Reject(Some("not today".to_owned())),
                    Says::Input(filled) => NewAnswer::Input(arguments(&row.spec, filled).to_owned()),
                    Says::Result => NewAnswer::ExternalResult("done elsewhere".to_owned()),
                };
                let request = AnswerCall {
                    run_id: self.run_id.clone(),
                    turn,
                    index,
                    generation: row.generation.into(),
                    caller: caller(by),
                    answer,
                    shown: Shown { tool_name: "pay".to_owned(), arguments: arguments(&row.spec, shown).to_owned() },
                    gathered: None,
                };
                said(db.answer_call(request).await, |answered| match answered {
                    Answered::Stored => Said::Stored,
                    Answered::Already => Said::Already,
                    Answered::NotAsked => Said::NotAsked,
                    Answered::Outdated => Said::Outdated,
                    Answered::Mismatch => Said::Mismatch,
                    other => panic!("{other:?}"),
                })
            }
            Event::ClaimCall(process, call) => self.claim_call(&*db, before, process, call).await,
            Event::Finish(process, ending) => {
                let held = &mut self.held[usize::from(process)].ticket;
                // What blocks goes on after its time is up.
                let ticket = if ending == Ending::Late { held.clone() } else { held.take() };
                let ticket = ticket.expect("it is in a body");
                let ended = match ending {
                    Ending::Succeeded => Ended::Succeeded("done".to_owned()),
                    Ending::Failed => Ended::Failed("no such account".to_owned()),
                    Ending::Lost | Ending::Late => Ended::Lost("it panicked".to_owned()),
                };
                said(db.finish_call(ticket, ended, Vec::new()).await, |finished| match finished {
                    Finished::Recorded => Said::Recorded,
                    Finished::Retry => Said::Retried,
                    Finished::Late => Said::Late,
                    other => panic!("{other:?}"),
                })
            }
            Event::Settle { by, call, to, note } => {
                let settlement = match to {
                    ExecutionState::Succeeded => Settlement::succeeded("seen at the bank"),
                    ExecutionState::Failed => Settlement::failed("no trace of it"),
                    _ => Settlement::abandoned(),
                };
                self.settle(&*db, call, settlement, by, note).await
            }
            Event::Adopt { by, call, note } => {
                let late = before.call(call).and_then(|call| call.execution).and_then(|row| row.late);
                let external = before.call(call).is_some_and(|call| call.spec.waits == Waits::External);
                let text = match late {
                    Some(ExecutionState::Failed) => "no such account",
                    _ if external => "done elsewhere",
                    _ => "done",
                };
                self.settle(&*db, call, Settlement::adopt(digest_of(text)), by, note).await
            }
            Event::RunAgain { by, call, note } => self.settle(&*db, call, Settlement::run_again(), by, note).await,
            Event::Sweep => done(db.sweep_run(self.run_id.clone()).await),
            Event::ResetClock => done(db.reset_clock(Principal::unverified("root"), "a wrong clock".to_owned()).await),
            Event::Tick => {
                clock::set_ahead_ms(i64::from(before.now + 1) * TICK_MS);
                Said::Done
            }
            Event::Crash(process) => {
                self.held[usize::from(process)] = Held::default();
                Said::Done
            }
            Event::Pool(members) => {
                self.set_pool(members).await;
                Said::Done
            }
            Event::Reach(..) => unreachable!("nobody reaches into the rows here"),
            Event::Copy
            | Event::SetBack(_)
            | Event::Compare(_)
            | Event::AcceptMark
            | Event::Accept
            | Event::Acknowledge(_)
            | Event::Mark(_)
            | Event::Enter(_) => unreachable!("no store is set back here"),
            Event::Unanswered(_) | Event::Lost(_) | Event::LostCall(..) | Event::ReadBack(_) => {
                unreachable!("every claim is answered here")
            }
        }
    }

    fn claim(&self, process: u8) -> RunClaim {
        self.held[usize::from(process)].claim.clone().expect("it has claimed the run")
    }

    fn approval(&self, place: u8) -> ApprovalId {
        self.approvals[usize::from(place)].clone().expect("the call has an approval")
    }

    async fn settle(&mut self, db: &dyn Db, place: u8, settlement: Settlement, by: Person, note: bool) -> Said {
        let Some(id) = &self.executions[usize::from(place)] else { return Said::NotFound };
        let settlement = settlement.by(name(by));
        let settlement = if note { settlement.note("asked them") } else { settlement };
        done(db.settle_execution(id, settlement).await)
    }

    async fn commit(&mut self, db: &dyn Db, before: &State, process: u8, pause: bool) -> Said {
        let turn = u32::from(before.run.turn) + 1;
        let specs = &self.rules.script[self.turns];
        let calls = specs.iter().zip(0..).map(|(spec, index)| {
            let input = spec.waits == Waits::Input;
            NewCall {
                index,
                requirement_id: RunId::generate().to_string(),
                tool_call_id: format!("call_{index}"),
                tool_name: "pay".to_owned(),
                tool_identity: "1d".repeat(32),
                tool_version: "1".to_owned(),
                schema_hash: SCHEMA_HASH.to_owned(),
                parameters: SCHEMA.to_owned(),
                argument_limit: 1000,
                user_fields: if input { vec!["to".to_owned()] } else { Vec::new() },
                arguments: arguments(spec, 0).to_owned(),
                unfilled: if input { vec!["to".to_owned()] } else { Vec::new() },
                policy: policy(spec),
                approval_id: spec.tier.needs_approver().then(ApprovalId::generate),
                requirements: json!([{ "tool_name": "pay" }]),
                context: json!({ "tool_names": ["pay"] }),
            }
        });
        let request =
            CommitTurn { claim: self.claim(process), turn, snapshot: "{}".to_owned(), calls: calls.collect(), pause };
        let told = done(db.commit_turn(request).await);
        if told == Said::Done {
            self.places.extend((0..specs.len()).map(|index| (turn, index as u32)));
            self.turns += 1;
            if pause {
                self.held[usize::from(process)].claim = None;
            }
        }
        told
    }

    async fn claim_call(&mut self, db: &dyn Db, before: &State, process: u8, place: u8) -> Said {
        let (turn, index) = self.places[usize::from(place)];
        let request = ClaimCall {
            claim: self.claim(process),
            turn,
            index,
            lease_ms: ms(LEASE),
            owner: kern_db::OwnerToken::fresh(),
        };
        let claimed = match db.claim_call(request).await {
            Ok(CallClaimed::Claimed(claimed)) => claimed,
            Ok(CallClaimed::Over) => return Said::Over,
            Ok(CallClaimed::NotStartable) => return Said::NotStartable,
            Ok(other) => panic!("{other:?}"),
            Err(error) => return refused(&error),
        };
        let call = before.call(place).expect("it is there");
        assert_eq!(claimed.arguments(), arguments(&call.spec, call.arguments), "I5: what runs is what was decided on");
        assert_eq!((claimed.turn(), claimed.index()), (turn, index));
        self.bodies[usize::from(place)] += 1;
        self.held[usize::from(process)].ticket = Some(claimed.ticket());
        Said::Claimed
    }

    /// The entries about this run that were not read yet.
    async fn entries(&mut self) -> Vec<AuditEntry> {
        let mut entries = Vec::new();
        loop {
            let db = &self.replicas.handles[self.count % 2];
            let page = db.audit().entries(self.seq, 500).await.expect("the log can be read");
            let Some(last) = page.last() else { break };
            self.seq = last.seq;
            let whole = page.len() < 500;
            entries.extend(page.into_iter().filter(|entry| entry.run_id.as_ref() == Some(&self.run_id)));
            if whole {
                break;
            }
        }
        entries
    }

    /// What was written into the log, evidence aside.
    fn words(&self, entries: &[AuditEntry]) -> Vec<(String, Option<u8>)> {
        let place = |entry: &AuditEntry| {
            let at = (entry.turn?, entry.index?);
            self.places.iter().position(|place| *place == at).map(|place| place as u8)
        };
        let changes = entries.iter().filter(|entry| !entry.evidence);
        let mut words: Vec<_> = changes.map(|entry| (entry.action.clone(), place(entry))).collect();
        words.sort();
        words
    }

    async fn compare(
        &mut self,
        event: Event,
        step: &Step,
        told: Said,
        words: &[(String, Option<u8>)],
    ) -> Result<(), String> {
        if !step.said.has(told) {
            return Err(format!("the table says {:?}", step.said));
        }
        let mut expected: Vec<_> = step.words.iter().map(|(word, place): &Word| ((*word).to_owned(), *place)).collect();
        expected.sort();
        if expected != words {
            return Err(format!("the table writes {expected:?}"));
        }
        let state = &step.state;
        for (process, proc) in state.procs.iter().enumerate() {
            if proc.claim.is_none() {
                self.held[process].claim = None;
            }
        }
        if state.run.state == RunState::None {
            return Ok(());
        }
        let run = self.run().await;
        let status = match state.run.state {
            RunState::None => unreachable!("it has started"),
            RunState::Running => RunStatus::Running,
            RunState::Paused => RunStatus::Paused,
            RunState::Completed => RunStatus::Completed,
            RunState::Error => RunStatus::Error,
            RunState::Cancelled => RunStatus::Cancelled,
        };
        same("the run's state", status, run.status)?;
        same("the run's fence", i64::from(state.run.fence), run.fence)?;
        same("the run's turn", u32::from(state.run.turn), run.turn)?;
        same("the run's recoveries", u32::from(state.run.recoveries), run.recoveries)?;
        if state.run.state == RunState::Running {
            same("whether it is lapsed", state.now >= state.run.lease_until, run.lapsed)?;
        }
        same("the number of calls", state.all().count(), run.calls.len())?;
        for (place, call) in state.all() {
            let at = self.places[usize::from(place)];
            let stored = run.calls.iter().find(|stored| (stored.turn, stored.index) == at).expect("it is there");
            self.compare_call(event, place, call, stored).await.map_err(|what| format!("call {place}: {what}"))?;
        }
        Ok(())
    }

    async fn compare_call(&mut self, event: Event, place: u8, call: &Call, stored: &StoredCall) -> Result<(), String> {
        same("its arguments", arguments(&call.spec, call.arguments), stored.arguments.as_str())?;
        same("its version", u32::from(call.version), stored.version)?;
        same("its generation", u32::from(call.generation), stored.generation)?;
        same("whether it is to be filled", call.unfilled, !stored.unfilled.is_empty())?;
        same("bodies entered", call.starts, self.bodies[usize::from(place)])?;
        let digest = self.digests.entry((place, call.arguments)).or_insert_with(|| stored.digest.clone());
        same("its digest", digest.as_str(), stored.digest.as_str())?;
        let answer = match call.answer {
            Answer::None => None,
            Answer::Confirmed(..) => Some(StoredAnswer::Confirmed),
            Answer::Rejected => Some(StoredAnswer::Rejected),
        };
        same("its answer", answer, stored.answer)?;
        if let Answer::Confirmed(of, version) = call.answer {
            let current = (of, version) == (call.arguments, call.version);
            same("whether the answer is current", current, stored.answer_is_current)?;
        }
        same("whether it has an approval", call.approval.is_some(), stored.approval.is_some())?;
        if let (Some(row), Some(approval)) = (&call.approval, &stored.approval) {
            let status = match row.state {
                ApprovalState::Pending => ApprovalStatus::Pending,
                ApprovalState::Approved => ApprovalStatus::Approved,
                ApprovalState::Rejected => ApprovalStatus::Rejected,
                ApprovalState::Expired => ApprovalStatus::Expired,
                ApprovalState::Cancelled => ApprovalStatus::Cancelled,
            };
            same("its approval", status, approval.status)?;
            let votes = approval.votes.iter().filter(|vote| vote.version == approval.version);
            let mut voters: Vec<_> = votes.clone().filter_map(|vote| vote.voter.as_deref()).collect();
            voters.sort_unstable();
            let mut expected: Vec<_> =
                Person::ALL.iter().filter(|person| row.votes & person.bit() != 0).map(|person| name(*person)).collect();
            expected.sort_unstable();
            same("its votes", expected, voters)?;
            let lapsing = votes.filter(|vote| vote.member_until_ms.is_some()).filter_map(|vote| vote.voter.as_deref());
            let lapsing = Person::ALL.iter().filter(|person| lapsing.clone().any(|voter| voter == name(**person)));
            same("its votes by tokens", row.lapsing, lapsing.fold(0, |mask, person| mask | person.bit()))?;
            if self.approvals[usize::from(place)].as_ref() != Some(&approval.id) || event == Event::Delete(place) {
                let visible = self.replicas.handles[self.count % 2].get_approval(&approval.id).await;
                same("whether it is hidden", row.hidden, visible.expect("it can be read").is_none())?;
            }
        }
        self.approvals[usize::from(place)] = stored.approval.as_ref().map(|approval| approval.id.clone());
        // What was ordered again has no execution before it is allowed again; the one before is abandoned.
        let latest = stored.execution.as_ref().filter(|execution| execution.generation == stored.generation);
        same("whether it has an execution", call.execution.is_some(), latest.is_some())?;
        self.executions[usize::from(place)] = latest.map(|execution| execution.id.clone());
        if let (Some(row), Some(execution)) = (&call.execution, latest) {
            let status = match row.state {
                ExecutionState::Ready => ExecutionStatus::Ready,
                ExecutionState::Executing => ExecutionStatus::Executing,
                ExecutionState::Succeeded => ExecutionStatus::Succeeded,
                ExecutionState::Failed => ExecutionStatus::Failed,
                ExecutionState::Unknown => ExecutionStatus::Unknown,
                ExecutionState::Abandoned => ExecutionStatus::Abandoned,
            };
            same("its execution", status, execution.status)?;
            same("its attempts", u32::from(row.attempt), execution.attempt)?;
            same("its fence", i64::from(row.fence), execution.fence)?;
            let late = execution.late_status.map(|status| match status {
                ExecutionStatus::Failed => ExecutionState::Failed,
                _ => ExecutionState::Succeeded,
            });
            same("its late result", row.late, late)?;
            same("what was decided", &self.digests[&(place, row.decided)], &execution.decided_digest)?;
        }
        compare_standing(call, &stored.standing)
    }
}

/// Where a call stands, as those who look are told.
fn compare_standing(call: &Call, standing: &Standing) -> Result<(), String> {
    let state = call.state();
    match standing {
        Standing::Executing => same("that it executes", Some(ExecutionState::Executing), state),
        Standing::Unknown => same("that it is unknown", Some(ExecutionState::Unknown), state),
        Standing::Outcome(outcome) => {
            same("that it has an outcome", true, call.has_outcome())?;
            let ended = match outcome {
                Outcome::Succeeded(_) => Some(ExecutionState::Succeeded),
                Outcome::Failed(_) => Some(ExecutionState::Failed),
                _ => return same("that it never gave anything", false, gave(state)),
            };
            same("how it ended", ended, state)
        }
        Standing::Open => same("that it may start", (true, false), (call.gate_open(), call.has_outcome())),
        Standing::AwaitsApproval | Standing::AwaitsRequester => {
            same("that it waits", (false, false), (call.has_outcome(), gave(state)))
        }
        other => Err(format!("it stands at {other:?}")),
    }
}

fn gave(state: Option<ExecutionState>) -> bool {
    matches!(state, Some(ExecutionState::Succeeded | ExecutionState::Failed))
}

fn same<T: PartialEq + Debug>(what: &str, expected: T, found: T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: the table has {expected:?}, the store {found:?}")) }
}

/// Evidence is written where somebody was refused, and where the table asks for it.
fn check_evidence(event: Event, told: Said, entries: &[AuditEntry]) -> Result<(), String> {
    let found: Vec<&str> = entries.iter().filter(|entry| entry.evidence).map(|entry| entry.action.as_str()).collect();
    let asked: Option<&str> = match (event, told) {
        // The same report once more leaves nothing.
        (_, Said::Late) if found.is_empty() => None,
        (_, Said::Late) => Some("late_result"),
        (Event::Answer { says: Says::Result, .. }, _) if found == ["late_result"] => Some("late_result"),
        (_, Said::Mismatch) => Some("requirement_mismatch"),
        (Event::Vote { .. }, Said::NotPermitted | Said::StaleView | Said::ReasonRequired) => Some("vote_refused"),
        _ => None,
    };
    let fits = match asked {
        Some(word) => found == [word],
        None => found.is_empty() || found == ["settle_refused"],
    };
    if fits { Ok(()) } else { Err(format!("{event:?} told {told:?} and left {found:?} as evidence")) }
}
