//! The model loop: the only file that knows the order of a run's steps.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use kern_db::{
    BeginRun, Call, CallClaim, CallClaimed, ClaimCall, CommitTurn, Effect, EndRun, Ended, Finished, NewCall,
    OwnerToken, Run, RunClaim, RunStatus, SessionId, Standing, StoreInput, Ticket, Tier, Write, fault,
};

use super::ask::Conversation;
use super::body::{Body, Entered, enter};
use super::call::Preparing;
use super::claim::claim_call;
use super::driven::Registration;
use super::event::{EventBase, RunEvent};
use super::history::History;
use super::lease::{Lease, Left, Started, while_mine};
use super::message::{Message, ToolCallRequest};
use super::output::RunOutput;
use super::retry::Pauses;
use super::state::{CallKind, CallResult, Closed, OpenCall, OpenTurn, RunState};
use super::stop::{Stop, shut_down};
use super::stream::Events;
use super::view;
use crate::agent::Inner;
use crate::approval::outcome::result_of;
use crate::error::{Error, Result, causes};
use crate::models::ModelReply;
use crate::tools::call::Place;
use crate::tools::transaction::Writes;
use crate::tools::{Arguments, RunContext, ToolCall, ToolHandle};

/// How long a body of a protected call may take where its tool has no timeout: its lease is not renewed for longer.
const LONGEST_BODY: Duration = Duration::from_secs(60 * 60);

/// How often a call that is allowed is started while one owner drives its run, and how long the first pause between two
/// starts is. The store counts attempts, too; this keeps a body that always panics from starting for ever.
const STARTS: u32 = 4;
const AGAIN: Duration = Duration::from_millis(100);

/// A longer id of a call is as good as none: kern makes one.
const LONGEST_ID: usize = 256;
/// Characters of a tool's name.
const LONGEST_NAME: usize = 64;

/// A run in the hands of its owner.
pub(crate) struct Drive {
    pub(crate) agent: Arc<Inner>,
    pub(crate) claim: RunClaim,
    /// The run's own start, as long as nobody was told of the run: it is stored with the first step.
    pub(crate) unbegun: Option<BeginRun>,
    /// The call that was claimed together with the run.
    pub(crate) first: Option<StartedCall>,
    /// Kept while the run is stored and driven here.
    pub(crate) lease: Option<Lease>,
    pub(crate) state: RunState,
    /// What the model is sent. `None` in a resumed run, until the model is asked.
    pub(crate) conversation: Option<Conversation>,
    pub(crate) session_id: SessionId,
    pub(crate) user_id: Option<String>,
    /// Whether the run was paused and claimed since: only then are protected calls decided.
    pub(crate) resumed: bool,
    pub(crate) started: Instant,
    pub(crate) events: Events,
    /// Whether the worker that drives the run is told to end.
    pub(crate) stop: Stop,
}

/// A call that is claimed, and not entered yet.
pub(crate) struct StartedCall {
    pub(crate) call: Call,
    pub(crate) claim: CallClaim,
    /// Before it was claimed, by the monotonic clock.
    pub(crate) since: Instant,
}

/// How a run left its owner's hands, and how the store has it since.
enum Stopped {
    Paused(Run),
    /// Completed, or stopped by a hook.
    Ended(Run),
}

/// How working off a turn's calls ended.
enum Worked {
    /// Every call has an outcome.
    Done,
    /// Calls are left that somebody has to decide.
    Waiting,
    /// A call is left that somebody has to look at.
    Attention,
}

/// What came of one call.
enum Handled {
    Result(CallResult),
    Waiting,
    Attention,
}

impl Drive {
    /// Drives the run until it pauses or ends.
    pub(crate) async fn run(mut self) -> Result<RunOutput> {
        // From the claim on, and until this task has ended.
        let _driven = Registration::of_run(&self.claim);
        // Whoever watches is told of the run before its first step, and so are hooks.
        if self.events.are_watched() || self.agent.hooks.are_any() {
            self.begin().await?;
        }
        self.keep_lease();
        self.tell_start();
        let outcome = self.turns().await;
        self.lease = None;
        match outcome {
            Ok(Stopped::Paused(run)) => {
                let seen = view(&self.agent, &run, self.state.clone());
                self.tell_stop(&seen, RunEvent::paused);
                Ok(seen)
            }
            Ok(Stopped::Ended(run)) => {
                let seen = view(&self.agent, &run, self.state.clone());
                if seen.status == RunStatus::Completed {
                    self.tell_held(seen.content.clone(), None);
                    self.tell_stop(&seen, RunEvent::completed);
                } else {
                    self.tell(|base| RunEvent::stopped(base, &seen, self.state.failure.as_ref()));
                }
                Ok(seen)
            }
            // Somebody raised the fence: cancelled, or recovered and driven elsewhere. Stop, touch nothing.
            Err(Error::Store(kern_db::Error::NotMine { run_id })) => {
                let seen = self.look().await?;
                if seen.status != RunStatus::Cancelled {
                    return Err(Error::AlreadyRunning { run_id });
                }
                self.tell(|base| RunEvent::RunCancelled { base });
                Ok(seen)
            }
            Err(Error::Interrupted(_)) if self.stop.is_closed() => match self.pause(false).await? {
                Stopped::Paused(run) | Stopped::Ended(run) => Ok(view(&self.agent, &run, self.state.clone())),
            },
            Err(error) => Err(error),
        }
    }

    /// R1 by itself: from here on others may know of the run.
    async fn begin(&mut self) -> Result<()> {
        if let Some(begin) = self.unbegun.take() {
            let begin = BeginRun { snapshot: self.first_snapshot(), ..begin };
            self.claim = self.agent.db.begin_run(begin).await?;
            self.keep_lease();
        }
        Ok(())
    }

    /// Keeps the lease of a run that is stored.
    fn keep_lease(&mut self) {
        if self.unbegun.is_none() && self.lease.is_none() {
            self.lease = Some(Lease::keep(&self.agent, &self.claim));
        }
    }

    /// Tells whoever watches. Never waits, and costs nothing where nobody does.
    pub(super) fn tell(&self, event: impl FnOnce(EventBase) -> RunEvent) {
        let base = || EventBase {
            created_at: jiff::Timestamp::now().as_second(),
            agent_id: self.agent.id.clone(),
            agent_name: self.agent.name.clone(),
            run_id: self.claim.run_id.clone(),
            parent_run_id: None,
            session_id: self.session_id.clone(),
            nested_depth: 0,
            event_index: None,
        };
        self.events.tell(base, event);
    }

    fn tell_start(&self) {
        let model = &self.agent.model;
        self.tell(|base| match self.resumed {
            true => RunEvent::RunContinued { base },
            false => {
                let (model, model_provider) = (model.id().to_owned(), model.provider().to_owned());
                RunEvent::RunStarted { base, model, model_provider }
            }
        });
    }

    /// Tells how the run stopped: the rows are durable by now.
    fn tell_stop(&self, seen: &RunOutput, stop: fn(EventBase, &RunOutput) -> RunEvent) {
        self.tell(|base| RunEvent::RunContentCompleted { base });
        self.tell(|base| stop(base, seen));
    }

    async fn look(&self) -> Result<RunOutput> {
        let run = self.agent.db.get_run(&self.claim.run_id).await?;
        let state = RunState::read(&run.snapshot)?;
        Ok(view(&self.agent, &run, state))
    }

    /// Whether the run is still in this owner's hands. Calls with a row ask in the statement that starts them; this is
    /// for those without.
    async fn still_mine(&self) -> Result<()> {
        if self.unbegun.is_some() {
            return Ok(());
        }
        let RunClaim { run_id, fence, .. } = &self.claim;
        let run = self.agent.db.get_run(run_id).await?;
        if run.status == RunStatus::Running && run.fence == *fence {
            return Ok(());
        }
        Err(self.not_mine())
    }

    async fn turns(&mut self) -> Result<Stopped> {
        if !self.resumed
            && let Some(why) = self.check_input().await?
        {
            return Ok(Stopped::Ended(self.end(RunStatus::Error, Some(why)).await?));
        }
        if !self.resumed && !self.agent.hooks.pre.is_empty() {
            self.store_input().await?;
        }
        // What the model said with calls that may end the run: then it is the run's output, and held back with it.
        let mut unsaid = (None, None);
        loop {
            if self.state.open.is_some() {
                let worked = self.work_off().await?;
                let (content, reasoning) = std::mem::take(&mut unsaid);
                match worked {
                    Worked::Done => {
                        let Closed { stops, shown } = self.state.close_turn();
                        if !stops {
                            self.tell_held(content, reasoning);
                        }
                        for result in shown {
                            self.say(Some(result), None);
                        }
                        if stops {
                            return self.complete().await;
                        }
                    }
                    waits @ (Worked::Waiting | Worked::Attention) => {
                        self.tell_held(content, reasoning);
                        return self.pause(matches!(waits, Worked::Attention)).await;
                    }
                }
            }
            self.resumed = false;
            if self.stop.is_closing() {
                return self.pause(false).await;
            }
            let turns = self.state.turn();
            if turns >= self.agent.max_turns {
                let error = Error::TurnLimit { run_id: self.claim.run_id.clone(), turns };
                return self.fail(error).await;
            }
            if self.conversation.is_none() {
                let history = History::again(&self.agent, &self.state.history).await?;
                self.conversation = Some(Conversation::new(&self.agent, history));
            }
            let reply = match self.ask().await {
                Ok(reply) => reply,
                // Neither says anything about the run: it is somebody else's, or is left to somebody else.
                Err(left @ (Error::Store(kern_db::Error::NotMine { .. }) | Error::Interrupted(_))) => return Err(left),
                Err(error) => return self.fail(error).await,
            };
            if reply.tool_calls.is_empty() {
                self.state.turns.push(self.state.tools.len());
                self.state.messages.push(message(reply, Vec::new()));
                return self.complete().await;
            }
            let said = (reply.content.clone(), reply.reasoning.clone());
            let calls = self.open_turn(reply);
            if self.state.may_stop() {
                unsaid = said;
            } else {
                self.tell_held(said.0, said.1);
            }
            if calls.is_empty() {
                // Nothing of this turn is committed, so nothing else would notice that the run was cancelled meanwhile.
                self.still_mine().await?;
                continue;
            }
            let waits_for_all = calls.iter().all(|call| call.policy.tier != Tier::Audit) && self.nothing_to_run();
            let run = self.commit_turn(calls, waits_for_all).await?;
            if waits_for_all {
                self.tell_held(unsaid.0, unsaid.1);
                return Ok(Stopped::Paused(run));
            }
        }
    }

    /// Waits for something that needs nothing of the run, as long as the run is in this owner's hands.
    ///
    /// # Errors
    ///
    /// It is not any more.
    pub(crate) async fn while_mine<F: Future>(&mut self, future: F) -> Result<F::Output> {
        while_mine(self.lease.as_mut(), &Stop::never(), future).await.map_err(|left| self.left(left))
    }

    /// The same for what may be left undone and done again: a worker that is closed does not wait for it.
    ///
    /// # Errors
    ///
    /// The run is not in this owner's hands any more, or its worker is closed.
    pub(super) async fn while_wanted<F: Future>(&mut self, future: F) -> Result<F::Output> {
        while_mine(self.lease.as_mut(), &self.stop, future).await.map_err(|left| self.left(left))
    }

    pub(super) fn left(&self, left: Left) -> Error {
        match left {
            Left::NotMine => self.not_mine(),
            Left::ShutDown => shut_down(),
        }
    }

    pub(super) fn not_mine(&self) -> Error {
        kern_db::Error::NotMine { run_id: self.claim.run_id.clone() }.into()
    }

    /// Turns the model's answer into an open turn, and gives its protected calls.
    fn open_turn(&mut self, reply: ModelReply) -> Vec<NewCall> {
        let preparing = Preparing {
            registry: &self.agent.tools,
            agent_name: self.agent.name.as_deref(),
            argument_limit: self.agent.argument_limit,
            now: jiff::Timestamp::now().as_second(),
        };
        let turn = self.state.turn();
        let (mut open, mut new, mut requests, mut shows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut ids: Vec<String> = Vec::new();
        self.state.turns.push(self.state.tools.len());
        for (index, asked) in (0_u32..).zip(&reply.tool_calls) {
            let given = asked.id.clone().filter(|id| (1..=LONGEST_ID).contains(&id.len()));
            let id = given.unwrap_or_else(|| format!("kern_{turn}_{index}"));
            let name = kept_name(&asked.name);
            let prepared = preparing.prepare(index, &id, &name, &asked.arguments, &ids);
            // What is too large to be looked at is not kept either, nor sent to the model with every later turn.
            let kept = asked.arguments.len() <= self.agent.argument_limit;
            requests.push(ToolCallRequest::new(&id, name, if kept { &asked.arguments } else { "{}" }));
            ids.push(id);
            if let Some(refused) = &prepared.open.result {
                let (content, tool) = (refused.content.clone(), prepared.tool.clone());
                self.tell(|base| RunEvent::ToolCallError { base, content, tool });
            }
            let shown = |tool: &ToolHandle| tool.descriptor().options.show_result;
            if self.agent.tools.get(&prepared.open.tool_name).is_some_and(shown) {
                shows.push(open.len());
            }
            open.push(prepared.open);
            self.state.tools.push(prepared.tool);
            if let Some((call, requirement)) = prepared.protected {
                new.push(call);
                self.state.requirements.push(requirement);
            }
        }
        self.state.messages.push(message(reply, requests));
        self.state.open = Some(OpenTurn { calls: open, shows });
        new
    }

    fn nothing_to_run(&self) -> bool {
        let open = self.state.open.as_ref();
        open.is_none_or(|open| open.calls.iter().all(|call| !matches!(call.kind, CallKind::Plain { .. })))
    }

    /// R1b: from here on the run is not lost with this process, and no hook is asked again.
    async fn store_input(&mut self) -> Result<()> {
        self.clock();
        let (claim, snapshot, input) = (self.claim.clone(), self.state.snapshot(), self.state.input_json());
        let request = StoreInput { claim, snapshot, input };
        self.step(false, || self.agent.db.store_input(request.clone()), |run| run.has_input).await.map(drop)
    }

    /// R2: from here on the calls are durable, and so is that they wait.
    async fn commit_turn(&mut self, calls: Vec<NewCall>, pause: bool) -> Result<Run> {
        self.clock();
        let turn = CommitTurn {
            claim: self.claim.clone(),
            turn: self.state.turn(),
            snapshot: self.state.snapshot(),
            calls,
            pause,
        };
        let (begin, number) = (self.unbegun.take(), turn.turn);
        let commit = || match &begin {
            Some(begin) => self.agent.db.begin_with_turn(begin.clone(), turn.clone()),
            None => self.agent.db.commit_turn(turn.clone()),
        };
        let run = self.step(begin.is_some(), commit, |run| run.turn >= number).await?;
        if !pause {
            self.keep_lease();
        }
        Ok(run)
    }

    /// R3, R5.
    async fn pause(&mut self, attention: bool) -> Result<Stopped> {
        self.begin().await?;
        self.clock();
        let snapshot = self.state.snapshot();
        let pause = || self.agent.db.pause_run(self.claim.clone(), snapshot.clone(), attention);
        Ok(Stopped::Paused(self.step(false, pause, |run| run.status == RunStatus::Paused).await?))
    }

    async fn complete(&mut self) -> Result<Stopped> {
        Ok(Stopped::Ended(self.end(RunStatus::Completed, None).await?))
    }

    /// R8, after the post-hooks.
    async fn end(&mut self, status: RunStatus, error: Option<String>) -> Result<Run> {
        self.clock();
        let ending = self.ending(status, error).await?;
        let (status, error) = (ending.status, ending.error.clone());
        self.state.error.clone_from(&error);
        let end = EndRun { claim: self.claim.clone(), snapshot: self.state.snapshot(), status, error };
        let begin = self.unbegun.take();
        let store = || match &begin {
            Some(begin) => self.agent.db.begin_and_end(begin.clone(), end.clone()),
            None => self.agent.db.end_run(end.clone()),
        };
        let run = self.step(begin.is_some(), store, |run| run.status == status).await?;
        ending.tell();
        Ok(run)
    }

    /// Ends the run with an error, and gives that error. If even that cannot be stored, the lease runs out and somebody
    /// else recovers the run.
    async fn fail(&mut self, error: Error) -> Result<Stopped> {
        match self.end(RunStatus::Error, Some(error.to_string())).await {
            Err(Error::Store(lost @ kern_db::Error::NotMine { .. })) => Err(lost.into()),
            Err(store) => {
                tracing::error!(run_id = %self.claim.run_id, %store, "a failed run could not be ended");
                Err(error)
            }
            Ok(_) => {
                self.tell(|base| RunEvent::error(base, &error));
                Err(error)
            }
        }
    }

    fn clock(&mut self) {
        let so_far = self.state.metrics.duration.unwrap_or_default();
        self.state.metrics.duration = Some(so_far + self.started.elapsed().as_secs_f64());
        self.started = Instant::now();
    }

    /// Works off the open turn's calls: those that nobody is asked about at once, then the others in order. The first call
    /// that somebody has to look at stops it.
    async fn work_off(&mut self) -> Result<Worked> {
        // A body is told of its run.
        if !self.open_calls().is_empty() {
            self.begin().await?;
        }
        self.run_plain_calls().await?;
        let mut first = self.first.take();
        let mut waiting = false;
        for (index, call) in self.open_calls() {
            let handled = match call.kind {
                CallKind::Protected => {
                    let claimed = first.take_if(|first| first.call.index == index);
                    self.handle(index, claimed).await?
                }
                // Both have had their results before.
                CallKind::Plain { .. } | CallKind::Refused => Handled::Attention,
            };
            match handled {
                Handled::Result(result) => self.set_result(index, result),
                Handled::Waiting => waiting = true,
                Handled::Attention => return Ok(Worked::Attention),
            }
        }
        Ok(if waiting { Worked::Waiting } else { Worked::Done })
    }

    /// The calls of the open turn that have no outcome yet, with their places.
    pub(super) fn open_calls(&self) -> Vec<(u32, OpenCall)> {
        let calls = self.state.open.iter().flat_map(|open| open.calls.iter());
        (0_u32..).zip(calls.cloned()).filter(|(_, call)| call.result.is_none()).collect()
    }

    pub(super) fn set_result(&mut self, index: u32, result: CallResult) {
        let place = usize::try_from(index).expect("a turn's calls were counted in memory");
        let open = self.state.open.as_mut().expect("the turn whose calls are worked off is open");
        open.calls[place].result = Some(result);
    }

    /// One protected call. Its rows are read afresh: what stands there counts, whoever put it there.
    async fn handle(&mut self, index: u32, claimed: Option<StartedCall>) -> Result<Handled> {
        // How often it was started here.
        let mut starts = 0_u32;
        if let Some(StartedCall { call, claim, since }) = claimed {
            starts += 1;
            if let Some(handled) = self.execute(&call, claim, since).await? {
                return Ok(handled);
            }
        }
        loop {
            let run = match self.read_run().await {
                Ok(run) => run,
                Err(error) => return Err(self.let_go(error).await),
            };
            let place = (self.state.turn(), index);
            // Where its row is gone, nothing allows the call and nothing may end it.
            let Some(call) = run.calls.iter().find(|call| (call.turn, call.index) == place) else {
                return Ok(Handled::Attention);
            };
            // Before the pause, only what nobody is asked about may start.
            if !self.resumed && call.policy.tier != Tier::Audit {
                return Ok(Handled::Waiting);
            }
            return match &call.standing {
                Standing::Outcome(outcome) => Ok(Handled::Result(result_of(outcome.clone()))),
                // Allowed, and whoever goes on with the run may start it.
                Standing::Open if self.stop.is_closing() => Ok(Handled::Waiting),
                // Its effect lets the store have it started again, and something in it ends it each time.
                Standing::Open if starts == STARTS => Ok(Handled::Attention),
                Standing::Open => {
                    if let Some(pause) = starts.checked_sub(1) {
                        self.while_wanted(tokio::time::sleep(AGAIN * 2_u32.pow(pause))).await?;
                    }
                    starts += 1;
                    match self.start(call).await? {
                        Some(handled) => Ok(handled),
                        None => continue,
                    }
                }
                _ => Ok(Handled::Attention),
            };
        }
    }

    /// Claims a call and enters its body: the promise, in order. `None`: its rows changed, look at them again.
    async fn start(&self, call: &Call) -> Result<Option<Handled>> {
        // Decided after this build looked at the run's tools, and shown with another one: a build that has it may go on.
        if self.agent.tools.shown_with(call).is_err() {
            return Ok(Some(Handled::Attention));
        }
        let claim = ClaimCall {
            claim: self.claim.clone(),
            turn: call.turn,
            index: call.index,
            lease_ms: self.agent.lease_ms(),
            owner: OwnerToken::fresh(),
        };
        let since = Instant::now();
        let claimed = match claim_call(&self.agent, claim, since, &self.stop).await {
            Ok(CallClaimed::Claimed(claimed)) => claimed,
            Ok(CallClaimed::Over) => return Ok(None),
            Ok(_) => return Ok(Some(Handled::Attention)),
            Err(error @ kern_db::Error::DigestMismatch { .. }) => {
                // Refused and on record. The run waits for somebody to look, and the caller is told why.
                let snapshot = self.state.snapshot();
                self.agent.db.pause_run(self.claim.clone(), snapshot, true).await?;
                return Err(error.into());
            }
            Err(error) => return Err(self.let_go(error).await),
        };
        self.execute(call, claimed, since).await
    }

    /// Gives a run back that the store would not let go on: whoever continues it next need not wait until its lease is over.
    /// If not even that is possible, the lease decides. Only for a run whose open turn is committed.
    async fn let_go(&self, error: kern_db::Error) -> Error {
        if !matches!(error, kern_db::Error::NotMine { .. })
            && let Err(again) = self.agent.db.pause_run(self.claim.clone(), self.state.snapshot(), false).await
        {
            tracing::warn!(run_id = %self.claim.run_id, error = causes(&again), "a run is kept until its lease is over");
        }
        error.into()
    }

    /// Enters the body of a call that is claimed, and records what came of it. `None`: this start was lost, or somebody
    /// gave it up for lost; what stands in the rows counts.
    async fn execute(&self, call: &Call, claimed: CallClaim, since: Instant) -> Result<Option<Handled>> {
        // A process that stood still after its claim: a restore may have been accepted meanwhile, and a person may have said how this
        // call ended. The row is left to recovery.
        if since.elapsed() >= self.agent.lease {
            return Err(Error::AlreadyRunning { run_id: self.claim.run_id.clone() });
        }
        let tool = self.agent.tools.get(&call.tool_name).expect("a call is claimed only for a tool that is there");
        // By what was stored when it was asked: the store asks that, too, before it commits anything.
        let writes = (call.policy.effect == Effect::Transactional).then(Writes::new);
        let context = |claim: &CallClaim| RunContext {
            attempt: claim.attempt(),
            writes: writes.clone(),
            ..self.context(&call.tool_call_id, &call.tool_name, claim.idempotency_key().to_owned())
        };
        let (shown, place) = (self.about_to_start(call), self.place(call.turn, call.index));
        let limit = tool.descriptor().options.timeout.unwrap_or(LONGEST_BODY);
        let started = Started::keep(&self.agent, &claimed.ticket(), limit);
        let (ticket, ended, took, body) =
            match ToolCall::claimed(claimed, tool.descriptor(), call.policy.tier, place, context) {
                Ok((entry, waiting, ticket)) => {
                    self.tell_entered(shown.as_ref());
                    let entered = Instant::now();
                    fault::point(fault::ENTER, "run a tool")?;
                    let Entered { ended, body } = enter(tool, (entry, waiting), Some(limit), &self.stop).await;
                    fault::point(fault::LEFT, "run a tool")?;
                    (ticket, ended, Some(entered.elapsed()), body)
                }
                Err((ticket, why)) => (ticket, Ended::Failed(why), None, None),
            };
        // Whatever became of the body, it adds nothing to them from here on.
        let written = writes.map(|writes| writes.take()).unwrap_or_default();
        let written = if matches!(ended, Ended::Succeeded(_)) { written } else { Vec::new() };
        let recorded = record(&self.agent, ticket.clone(), ended.clone(), written).await;
        if let Some(body) = body {
            tokio::spawn(wait_on(Arc::clone(&self.agent), started, ticket, body));
        }
        let ended = match recorded? {
            Finished::Recorded | Finished::Retry => ended,
            Finished::WritesRefused(why) => Ended::Failed(why),
            _ => return Ok(None),
        };
        self.tell_ended(shown, tool, &ended, took);
        Ok(match ended {
            Ended::Succeeded(content) => Some(Handled::Result(CallResult { content, error: false })),
            Ended::Failed(content) => Some(Handled::Result(CallResult { content, error: true })),
            // Unknown, or to be started again: what the store made of it is what its row says.
            _ => None,
        })
    }

    /// Where a call belongs, for its permit.
    pub(super) fn place(&self, turn: u32, index: u32) -> Place {
        Place { db: Arc::clone(&self.agent.db), run_id: self.claim.run_id.clone(), turn, index }
    }

    pub(super) fn context(&self, tool_call_id: &str, tool_name: &str, idempotency_key: String) -> RunContext {
        RunContext {
            run_id: self.claim.run_id.clone(),
            session_id: self.session_id.clone(),
            agent_id: self.agent.id.clone(),
            user_id: self.user_id.clone(),
            tool_call_id: tool_call_id.to_owned(),
            tool_name: tool_name.to_owned(),
            idempotency_key,
            attempt: 1,
            arguments: Arguments::new(),
            writes: None,
            states: Arc::clone(&self.agent.states),
        }
    }
}

/// X4, X4b, X5, X6. The body has run: a store that is away must not lose what came of it, however long it is.
async fn record(agent: &Inner, ticket: Ticket, ended: Ended, writes: Vec<Write>) -> Result<Finished> {
    let mut pauses = Pauses::new();
    loop {
        // It reads the row first: an outcome that was recorded, and not acknowledged, is found by the ticket.
        match agent.db.finish_call(ticket.clone(), ended.clone(), writes.clone()).await {
            Err(error) if error.is_passing() => {
                tracing::warn!(execution_id = %ticket.execution_id(), error = causes(&error), "an outcome is not recorded yet");
                pauses.rest().await;
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Waits for a body that was given up, and records what it says: by then it is a late result.
async fn wait_on(agent: Arc<Inner>, started: Started, ticket: Ticket, body: Body) {
    let ended = body.end().await;
    if matches!(ended, Ended::Lost(_)) {
        // It was cancelled, as far as it could be: it says nothing.
        return;
    }
    let execution_id = ticket.execution_id().clone();
    if let Err(error) = record(&agent, ticket, ended, Vec::new()).await {
        tracing::error!(%execution_id, %error, "a late result could not be recorded");
    }
    drop(started);
}

/// The name of a call. Longer than a tool's can be, it is cut, and ends with a character that no tool's has.
fn kept_name(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(LONGEST_NAME) {
        None => Cow::Borrowed(name),
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
    }
}

/// The message that a model's answer becomes.
fn message(reply: ModelReply, calls: Vec<ToolCallRequest>) -> Message {
    let mut message = Message::assistant(reply.content.or(reply.refusal), calls);
    message.model_provider_data = reply.provider_data;
    message
}

/// Runs a future that is not kern's own. `None`: it panicked.
pub(crate) async fn without_panic<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}
