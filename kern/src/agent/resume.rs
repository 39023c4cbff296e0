//! Continuing a run, in the order of the approval specification: recover, store the caller's answers, check the tools,
//! claim, drive.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use kern_db::{
    AnswerCall, Answered, AskAgain, Blocker, Call, Caller, ClaimRun, Gathered, OwnerToken, Run, RunClaimed, RunId,
    RunStatus, Standing,
};

use super::{Agent, Inner, Requirements, caller, driven, probe};
use crate::approval::answers::{answer_of, call_of};
use crate::error::{Error, Result};
use crate::run::call::Preparing;
use crate::run::claim::claim_run;
use crate::run::driven;
use crate::run::state::RunState;
use crate::run::stop::Stop;
use crate::run::stream::{Events, RunStream};
use crate::run::turn::{Drive, StartedCall};
use crate::run::{EventBase, RunEvent, RunOutput, RunRequirement, view};

/// A paused run about to go on. Await it, or [watch](ContinueRun::stream) it.
#[derive(Debug)]
#[must_use = "a run goes on when this is awaited"]
pub struct ContinueRun {
    agent: Agent,
    run_id: RunId,
    requirements: Requirements,
    caller: Caller,
    ask_again: bool,
    stop: Stop,
}

impl ContinueRun {
    pub(super) fn new(agent: Agent, run_id: RunId) -> Self {
        let (requirements, stop) = (Vec::new(), Stop::never());
        Self { agent, run_id, requirements, caller: Caller::Anonymous, ask_again: false, stop }
    }

    /// Goes on as a worker does: it answers for nobody, and ends when it is told to.
    pub(crate) async fn as_worker(agent: &Agent, run_id: RunId, stop: Stop) -> Result<RunOutput> {
        let resume = Self { caller: Caller::Worker, stop, ..Self::new(agent.clone(), run_id) };
        resume.go_on(Events::unwatched()).await
    }

    /// Sends back the run's requirements. Only the caller's own answers in them are read.
    pub fn requirements(mut self, requirements: impl IntoIterator<Item = RunRequirement>) -> Self {
        self.requirements.extend(requirements);
        self
    }

    /// Names who continues the run. Somebody who gives no name acts as the requester, recorded as unverified; somebody
    /// who names another user is another user.
    pub fn user_id(mut self, user_id: impl Into<String>) -> Self {
        self.caller = caller(Some(user_id.into()));
        self
    }

    /// Goes on as a server does, which knows who asks, and ends when it is told to.
    #[cfg(feature = "os")]
    pub(crate) fn served(mut self, caller: Caller, stop: Stop) -> Self {
        (self.caller, self.stop) = (caller, stop);
        self
    }

    /// Asks again where a tool has changed since its call was shown, instead of failing with
    /// [`Error::ToolChanged`].
    ///
    /// Every call of the open turn that waits, or is allowed and has not started, and whose tool in this agent has another
    /// version, other arguments or stricter rules, is asked again with the tool of now: the same arguments, a new
    /// requirement, and a new pending approval where one decides. What was said and decided about it before no longer
    /// counts, a no excepted. The call then gives the run as it stands, paused, with the new requirements: show them, and
    /// continue once they are decided. Where no tool has changed, the run goes on as ever.
    ///
    /// What has started, has an outcome or is unknown is never asked again. The build that showed the calls first cannot run
    /// them any more.
    ///
    /// # Errors
    ///
    /// Beside those of [`Agent::continue_run`], and nothing has changed in any of them:
    ///
    /// - [`Error::ToolChanged`]: this agent does not have the tool.
    /// - [`Error::CannotAskAgain`]: the arguments do not fit the tool of now, or nobody would be asked.
    /// - [`Error::Store`]: fewer people would be asked than before.
    pub fn ask_again(mut self) -> Self {
        self.ask_again = true;
        self
    }

    /// Watches the run while it goes on: the stream of its events, instead of its output.
    ///
    /// Where the run cannot go on, the only item is the error that awaiting it would give.
    pub fn stream(self) -> RunStream {
        RunStream::new(true, |events| self.go_on(events))
    }

    async fn go_on(self, events: Events) -> Result<RunOutput> {
        let agent = Arc::clone(&self.agent.0);
        let mut run = recovered(&agent, &self.run_id).await?;
        if run.status == RunStatus::Paused && !self.requirements.is_empty() {
            store_answers(&agent, &run, &self.requirements, &self.caller).await?;
            // Read again: the answers may have opened gates, or made new versions.
            run = load(&agent, &self.run_id).await?;
        }
        if run.status == RunStatus::Paused && probe::look_up(&agent, &run, &self.stop).await? {
            run = load(&agent, &self.run_id).await?;
        }
        match run.status {
            RunStatus::Paused => {}
            RunStatus::Running => return Err(Error::AlreadyRunning { run_id: run.run_id }),
            status => {
                return Err(Error::NotPaused { run_id: run.run_id, status });
            }
        }
        if self.ask_again && ask_again(&agent, &run, &self.caller).await? {
            let seen = look(&agent, &run.run_id).await?;
            let base = || EventBase {
                created_at: jiff::Timestamp::now().as_second(),
                agent_id: agent.id.clone(),
                agent_name: agent.name.clone(),
                run_id: run.run_id.clone(),
                parent_run_id: None,
                session_id: run.session_id.clone(),
                nested_depth: 0,
                event_index: None,
            };
            // Nothing was driven, so that this is all there is to tell.
            events.tell(base, |base| RunEvent::paused(base, &seen));
            return Ok(seen);
        }
        if let Err(changed) = check_tools(&agent, &run) {
            // Rows that do not agree with their digests say more than that, and have to be on record.
            agent.db.check_run(run.run_id.clone(), self.caller.clone()).await?;
            if matches!(self.caller, Caller::Worker) {
                record_changed(&agent, &run, &changed).await;
            }
            return Err(changed);
        }
        let claim = ClaimRun {
            run_id: run.run_id.clone(),
            fence: run.fence,
            turn: run.turn,
            loaded: run.loaded.clone(),
            caller: self.caller,
            lease_ms: agent.lease_ms(),
            owner: OwnerToken::fresh(),
        };
        let state = RunState::read(&run.snapshot)?;
        let first = state.next_protected().and_then(|index| {
            let next = run.calls.iter().find(|call| (call.turn, call.index) == (run.turn, index));
            next.filter(|call| agent.tools.shown_with(call).is_ok()).cloned()
        });
        let since = Instant::now();
        // By its digest: what was answered or asked for anew since was not looked at here.
        let digest = first.as_ref().map(|call| call.digest.clone());
        let (claimed, started) = claim_run(&agent, claim, digest, since, &self.stop).await?;
        let claim = match claimed {
            RunClaimed::Claimed(claim) => claim,
            RunClaimed::Blocked(blockers) => return Err(blocked(&run, &blockers)),
            RunClaimed::NotPaused(status) => {
                return Err(Error::NotPaused { run_id: run.run_id, status });
            }
            _ => return Err(Error::AlreadyRunning { run_id: run.run_id }),
        };
        let drive = Drive {
            agent,
            claim,
            unbegun: None,
            first: first.zip(started).map(|(call, claim)| StartedCall { call, claim, since }),
            lease: None,
            state,
            conversation: None,
            session_id: run.session_id,
            user_id: run.requester.map(|requester| requester.subject),
            resumed: true,
            started: Instant::now(),
            events,
            stop: self.stop,
        };
        drive.run().await
    }
}

impl IntoFuture for ContinueRun {
    type Output = Result<RunOutput>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<RunOutput>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { driven(tokio::spawn(self.go_on(Events::unwatched()))).await })
    }
}

/// Loads a run of this agent.
pub(super) async fn load(agent: &Inner, run_id: &RunId) -> Result<Run> {
    let run = match agent.db.get_run(run_id).await {
        Ok(run) => run,
        Err(kern_db::Error::NotFound { .. }) => return Err(Error::RunNotFound { run_id: run_id.clone() }),
        Err(error) => return Err(error.into()),
    };
    if run.agent_id != agent.id {
        return Err(Error::RunNotFound { run_id: run_id.clone() });
    }
    Ok(run)
}

/// Loads a run, after taking it from a process that is gone.
async fn recovered(agent: &Inner, run_id: &RunId) -> Result<Run> {
    let run = load(agent, run_id).await?;
    if !run.lapsed || driven::drives(&run) {
        return Ok(run);
    }
    recover(agent, run_id).await?;
    load(agent, run_id).await
}

/// Recovers a run whose process is gone, unless this process drives it. Another process may recover it first.
pub(crate) async fn recover(agent: &Inner, run_id: &RunId) -> Result<()> {
    if driven::is_known(run_id) && driven::drives(&agent.db.get_run(run_id).await?) {
        return Ok(());
    }
    match agent.db.recover_run(run_id.clone()).await {
        Ok(_) | Err(kern_db::Error::NotMine { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Shows a run.
pub(super) async fn look(agent: &Inner, run_id: &RunId) -> Result<RunOutput> {
    shown(agent, &load(agent, run_id).await?)
}

/// A run that was read with its calls, as it is shown.
pub(super) fn shown(agent: &Inner, run: &Run) -> Result<RunOutput> {
    Ok(view(agent, run, RunState::read(&run.snapshot)?))
}

/// Stores every valid answer, each in a transaction of its own, then says what was wrong with the others.
async fn store_answers(agent: &Inner, run: &Run, requirements: &[RunRequirement], caller: &Caller) -> Result<()> {
    let gathered = Gathered::default();
    let stored = store_each(agent, run, requirements, caller, &gathered).await;
    if !gathered.is_empty() {
        // Also where it failed in between: what was forged is on record, as one entry.
        agent.db.record_gathered(gathered).await?;
    }
    stored
}

async fn store_each(
    agent: &Inner,
    run: &Run,
    requirements: &[RunRequirement],
    caller: &Caller,
    gathered: &Gathered,
) -> Result<()> {
    let mut wrong = None;
    for requirement in requirements {
        let call = match call_of(run, requirement) {
            Ok(Some(call)) => call,
            Ok(None) => continue,
            Err(error) => {
                wrong = wrong.or(Some(error));
                continue;
            }
        };
        let tool = agent.tools.get(&call.tool_name).map(|handle| handle.tool());
        let answer = match answer_of(call, requirement, tool, agent.argument_limit) {
            Ok(Some(answer)) => answer,
            Ok(None) => continue,
            Err(error) => {
                wrong = wrong.or(Some(error));
                continue;
            }
        };
        let unheard = answer.unheard();
        let request = AnswerCall {
            run_id: run.run_id.clone(),
            turn: answer.call.turn,
            index: answer.call.index,
            generation: answer.call.generation,
            caller: caller.clone(),
            answer: answer.answer,
            shown: answer.shown,
            gathered: Some(gathered.clone()),
        };
        match agent.db.answer_call(request).await {
            Ok(Answered::Mismatch) => {
                let (run_id, tool_call_id) = (run.run_id.clone(), call.tool_call_id.clone());
                wrong = wrong.or(Some(Error::RequirementMismatch { run_id, tool_call_id }));
            }
            Ok(Answered::NotAsked | Answered::Outdated) => wrong = wrong.or(unheard),
            Ok(_) => {}
            Err(kern_db::Error::RunConflict { .. }) => {
                return Err(Error::AlreadyRunning { run_id: run.run_id.clone() });
            }
            Err(error) => wrong = wrong.or(Some(error.into())),
        }
    }
    wrong.map_or(Ok(()), Err)
}

/// No call runs on another tool than it was shown with. Checked before the run is claimed, so that an older build may
/// still run it; and once more where the call starts, since an approval may come in between.
fn check_tools(agent: &Inner, run: &Run) -> Result<()> {
    let open = run.calls.iter().filter(|call| call.turn == run.turn && will_start(call));
    for call in open {
        let changed = |what| Error::ToolChanged {
            run_id: run.run_id.clone(),
            tool_call_id: call.tool_call_id.clone(),
            tool_name: call.tool_name.clone(),
            what,
        };
        agent.tools.shown_with(call).map_err(changed)?;
    }
    Ok(())
}

/// Records that the worker leaves a run alone, so that it is seen where the run is not driven: no caller receives the worker's
/// own errors. That it cannot be recorded does not change why the run stays.
async fn record_changed(agent: &Inner, run: &Run, changed: &Error) {
    let Error::ToolChanged { tool_call_id, what, .. } = changed else { return };
    let call = run.calls.iter().find(|call| call.turn == run.turn && call.tool_call_id == *tool_call_id);
    let Some(call) = call else { return };
    let run_id = run.run_id.clone();
    let recorded = agent.db.record_tool_changed(run_id, call.turn, call.index, (*what).to_owned()).await;
    if let Err(error) = recorded {
        tracing::warn!(run_id = %run.run_id, %error, "it is not in the audit log that a tool changed");
    }
}

/// Asks again for every call that waits and was shown with another tool, in one transaction. `false`: there is none.
async fn ask_again(agent: &Inner, run: &Run, caller: &Caller) -> Result<bool> {
    let waits = |call: &&Call| {
        let standing = matches!(call.standing, Standing::AwaitsApproval | Standing::AwaitsRequester | Standing::Open);
        call.turn == run.turn && standing
    };
    let changed: Vec<&Call> =
        run.calls.iter().filter(waits).filter(|call| agent.tools.shown_with(call).is_err()).collect();
    if changed.is_empty() {
        return Ok(false);
    }
    let preparing = Preparing {
        registry: &agent.tools,
        agent_name: agent.name.as_deref(),
        argument_limit: agent.argument_limit,
        now: jiff::Timestamp::now().as_second(),
    };
    let mut state = RunState::read(&run.snapshot)?;
    let mut calls = Vec::new();
    for call in changed {
        let (run_id, tool_call_id) = (run.run_id.clone(), call.tool_call_id.clone());
        let tool_name = call.tool_name.clone();
        let Some(tool) = agent.tools.get(&tool_name) else {
            let what = "this agent does not have it";
            return Err(Error::ToolChanged { run_id, tool_call_id, tool_name, what });
        };
        let prepared = match preparing.prepare_again(call, tool) {
            Ok(prepared) => prepared,
            Err(why) => return Err(Error::CannotAskAgain { run_id, tool_call_id, tool_name, why }),
        };
        let shown = state.requirements.iter_mut().find(|requirement| requirement.id == call.requirement_id);
        let (Some((new, requirement)), Some(shown)) = (prepared.protected, shown) else {
            let place = "runs.snapshot".to_owned();
            let detail = format!("it has no requirement for call `{tool_call_id}`");
            return Err(kern_db::Error::Corrupt { place, detail }.into());
        };
        *shown = requirement;
        if let Some(tool) = state.tool_mut(call.turn, call.index) {
            *tool = prepared.tool;
        }
        calls.push(new);
    }
    let request = AskAgain {
        run_id: run.run_id.clone(),
        fence: run.fence,
        turn: run.turn,
        caller: caller.clone(),
        snapshot: state.snapshot(),
        calls,
    };
    match agent.db.ask_again(request).await {
        Ok(()) => Ok(true),
        // Somebody has decided, claimed or asked since the run was loaded.
        Err(kern_db::Error::NotMine { run_id } | kern_db::Error::RunConflict { run_id, .. }) => {
            Err(Error::AlreadyRunning { run_id })
        }
        Err(error) => Err(error.into()),
    }
}

fn will_start(call: &Call) -> bool {
    matches!(call.standing, Standing::Open | Standing::AwaitsRequester)
        && call.policy.pause != Some(kern_db::PauseType::ExternalExecution)
}

/// The first thing that keeps a run from going on, the most serious first.
fn blocked(run: &Run, blockers: &[Blocker]) -> Error {
    let run_id = run.run_id.clone();
    let id_at = |index: u32| {
        let call = run.calls.iter().find(|call| (call.turn, call.index) == (run.turn, index));
        call.map(|call| call.tool_call_id.clone()).unwrap_or_default()
    };
    let mut pending = Vec::new();
    let mut unresolved = Vec::new();
    let mut missing = None;
    let mut running = false;
    for blocker in blockers {
        match blocker {
            Blocker::Unknown { execution_id, .. } => {
                return Error::ExecutionUnknown { run_id, execution_id: execution_id.clone() };
            }
            Blocker::ApprovalMissing { index } => missing = missing.or(Some(*index)),
            Blocker::AwaitsApproval { approval_id, .. } => pending.push(approval_id.clone()),
            Blocker::AwaitsRequester { index } => unresolved.push(id_at(*index)),
            _ => running = true,
        }
    }
    if let Some(index) = missing {
        return Error::ApprovalMissing { run_id, tool_call_id: id_at(index) };
    }
    if let Some(approval_id) = pending.first().cloned() {
        return Error::ApprovalPending { run_id, approval_id, approval_ids: pending };
    }
    if running || unresolved.is_empty() {
        return Error::AlreadyRunning { run_id };
    }
    Error::RequirementsUnresolved { run_id, tool_call_ids: unresolved }
}
