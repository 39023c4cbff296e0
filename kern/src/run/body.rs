//! The bodies of tools: entered in tasks of their own, for as long as they may take, and told of to whoever watches.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use kern_db::{Call, Ended};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use super::event::{RunEvent, ended_line};
use super::requirement::{Consent, ToolExecution};
use super::state::{CallKind, CallResult, OpenCall};
use super::stop::Stop;
use super::turn::Drive;
use super::view::overlay;
use crate::approval::policy::policy_of;
use crate::error::Result;
use crate::tools::call::Waiting;
use crate::tools::output::Blocks;
use crate::tools::{Arguments, ToolCall, ToolError, ToolHandle, ToolOutput};

/// Enters a body in a task of its own, so that its panic stays its own, and stops waiting for it when its time is up. A
/// body that is not waited for is cancelled where it waits itself; a blocking one goes on. Either may have had its effect.
/// The same goes for one whose worker is closed.
///
/// The call's permit is closed before its outcome is known to anybody: a body that was not entered until then stays so.
pub(super) async fn enter(
    tool: &ToolHandle,
    (call, waiting): (ToolCall, Waiting),
    limit: Option<Duration>,
    stop: &Stop,
) -> Entered {
    let entered = wait(tool, call, &waiting, limit, stop).await;
    waiting.close().await;
    entered
}

async fn wait(tool: &ToolHandle, call: ToolCall, waiting: &Waiting, limit: Option<Duration>, stop: &Stop) -> Entered {
    let (tool, blocks) = (tool.clone(), Blocks::default());
    let body = blocks.clone().scope(async move { tool.tool().call(call).await });
    let mut body = tokio::spawn(waiting.run(body));
    let ended = {
        let (mut closed, mut over) = (pin!(stop.closed()), pin!(over(limit)));
        poll_fn(|context| {
            // What has ended in time has ended, however late it is looked at.
            if let Poll::Ready(ended) = Pin::new(&mut body).poll(context) {
                return Poll::Ready(Ok(ended));
            }
            if let Poll::Ready(limit) = over.as_mut().poll(context) {
                return Poll::Ready(Err(format!("the tool did not end within {limit:?}")));
            }
            closed.as_mut().poll(context).map(|()| Err("the worker was shut down while the tool ran".to_owned()))
        })
        .await
    };
    match ended {
        Ok(ended) => Entered { ended: of(ended), body: None },
        Err(why) => {
            // What blocks cannot be cancelled: it goes on, and so does the task that waits for what it gives.
            if !blocks.is_true() {
                body.abort();
            }
            Entered { ended: Ended::Lost(why), body: Some(Body(body)) }
        }
    }
}

/// How a body ended, as far as it was waited for.
pub(super) struct Entered {
    pub(super) ended: Ended,
    /// The body, where it may go on.
    pub(super) body: Option<Body>,
}

/// A body that is not waited for any more, and may still say how it ended.
pub(super) struct Body(JoinHandle<std::result::Result<ToolOutput, ToolError>>);

impl Body {
    /// Waits for it all the same.
    pub(super) async fn end(self) -> Ended {
        of(self.0.await)
    }
}

fn of(ended: std::result::Result<std::result::Result<ToolOutput, ToolError>, tokio::task::JoinError>) -> Ended {
    match ended {
        Ok(Ok(ToolOutput { content, .. })) => Ended::Succeeded(content),
        Ok(Err(ToolError { message, .. })) => Ended::Failed(message),
        Err(error) if error.is_panic() => Ended::Lost("the tool panicked".to_owned()),
        Err(_) => Ended::Lost("the runtime was shut down while the tool ran".to_owned()),
    }
}

/// Resolves when the time of a body is up, and gives it.
async fn over(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => pending().await,
    }
}

/// A body that nobody was asked about, when it has ended.
struct Plain {
    index: u32,
    tool: ToolHandle,
    since: jiff::Timestamp,
    took: Duration,
    ended: Ended,
}

impl Drive {
    /// Runs the calls of the open turn that nobody is asked about: all of them start before any is waited for.
    ///
    /// # Errors
    ///
    /// The run is not this owner's any more, or its worker is closed. The bodies end by themselves, and nobody waits for what they give.
    pub(super) async fn run_plain_calls(&mut self) -> Result<()> {
        let mut bodies = JoinSet::new();
        for (index, call) in self.open_calls() {
            let OpenCall { tool_call_id, tool_name, kind: CallKind::Plain { arguments }, .. } = call else { continue };
            let tool = match self.free_to_run(&tool_name, &arguments) {
                Ok(tool) => tool,
                Err(why) => {
                    self.tell_refused(index, &why);
                    self.set_result(index, CallResult { content: why, error: true });
                    continue;
                }
            };
            // Nothing was decided about it, so its own place is all that its key can name.
            let key = format!("kern:{}:{}:{tool_call_id}", self.claim.run_id, self.state.turn());
            let context = self.context(&tool_call_id, &tool_name, key);
            let place = self.place(self.state.turn(), index);
            let entry = ToolCall::plain(arguments, context, tool.descriptor(), place);
            self.tell_entered(self.watched_tool(self.state.turn(), index).as_ref());
            bodies.spawn(async move {
                let (since, entered) = (jiff::Timestamp::now(), Instant::now());
                let limit = tool.descriptor().options.timeout;
                let Entered { ended, .. } = enter(&tool, entry, limit, &Stop::never()).await;
                Plain { index, tool, since, took: entered.elapsed(), ended }
            });
        }
        while !bodies.is_empty() {
            match self.while_wanted(bodies.join_next()).await {
                Ok(Some(Ok(plain))) => self.end_plain(plain),
                Ok(_) => {}
                Err(left) => {
                    bodies.detach_all();
                    return Err(left);
                }
            }
        }
        // The tasks above only wait for bodies. One that is gone was ended with the runtime.
        for (index, call) in self.open_calls() {
            if let CallKind::Plain { .. } = call.kind {
                let content = "the runtime was shut down while the tool ran".to_owned();
                self.set_result(index, CallResult { content, error: true });
            }
        }
        Ok(())
    }

    /// Gives the tool of a call that nobody is asked about.
    ///
    /// # Errors
    ///
    /// Why it must not run, for the model.
    fn free_to_run(&self, tool_name: &str, arguments: &Arguments) -> std::result::Result<ToolHandle, String> {
        let Some(tool) = self.agent.tools.get(tool_name) else {
            return Err(format!("There is no tool `{tool_name}` in this build"));
        };
        // Asked again: another build may have resumed the run, and may protect what this snapshot holds for free.
        if policy_of(tool, arguments).is_some() {
            return Err(format!("The tool `{tool_name}` needs a decision by now: ask for it again"));
        }
        Ok(tool.clone())
    }

    fn end_plain(&mut self, plain: Plain) {
        let Plain { index, tool, since, took, ended } = plain;
        let ended = match ended {
            // There is no row that could be unknown: what nobody is asked about may be repeated.
            Ended::Lost(why) => Ended::Failed(why),
            ended => ended,
        };
        let turn = self.state.turn();
        if let Some(kept) = self.state.tool_mut(turn, index) {
            kept.metrics = Some(metrics(since, took));
        }
        self.tell_ended(self.watched_tool(turn, index), &tool, &ended, Some(took));
        let result = match ended {
            Ended::Succeeded(content) => CallResult { content, error: false },
            Ended::Failed(content) => CallResult { content, error: true },
            _ => CallResult { content: "the call ended in an unknown way".to_owned(), error: true },
        };
        self.set_result(index, result);
    }

    /// A call of the run, where somebody watches.
    fn watched_tool(&self, turn: u32, index: u32) -> Option<ToolExecution> {
        if !self.events.are_watched() {
            return None;
        }
        self.state.tool(turn, index).cloned()
    }

    /// A protected call that is claimed, where somebody watches.
    pub(super) fn about_to_start(&self, call: &Call) -> Option<ToolExecution> {
        let mut tool = self.watched_tool(call.turn, call.index)?;
        overlay(&self.agent, &mut tool, call);
        if tool.requires_confirmation == Some(true) {
            tool.confirmed = Some(Consent::Confirmed);
        }
        Some(tool)
    }

    pub(super) fn tell_entered(&self, tool: Option<&ToolExecution>) {
        let Some(tool) = tool.cloned() else { return };
        self.tell(|base| RunEvent::ToolCallStarted { base, tool });
    }

    fn tell_refused(&self, index: u32, why: &str) {
        let Some(mut tool) = self.watched_tool(self.state.turn(), index) else { return };
        tool.tool_call_error = Some(true);
        tool.result = Some(why.to_owned());
        self.tell(|base| RunEvent::ToolCallError { base, content: why.to_owned(), tool });
    }

    /// `took`: how long the body ran. `None`: it was not entered.
    pub(super) fn tell_ended(
        &self,
        shown: Option<ToolExecution>,
        tool: &ToolHandle,
        ended: &Ended,
        took: Option<Duration>,
    ) {
        let Some(mut shown) = shown else { return };
        let (result, error) = match ended {
            Ended::Succeeded(result) => (result, false),
            Ended::Failed(why) | Ended::Lost(why) => (why, true),
            _ => return,
        };
        shown.tool_call_error = Some(error);
        // Post-hooks see what is a part of the output before anybody else.
        let held = !error && tool.descriptor().options.show_result && self.agent.hooks.hold_output();
        shown.result = (!held).then(|| result.clone());
        if let Some(took) = took.filter(|_| !matches!(ended, Ended::Lost(_))) {
            let content = ended_line(&shown, &tool.descriptor().sensitive, took.as_secs_f64());
            let tool = shown.clone();
            self.tell(|base| RunEvent::ToolCallCompleted { base, content, tool });
        }
        if error {
            let content = result.clone();
            self.tell(|base| RunEvent::ToolCallError { base, content, tool: shown });
        }
    }
}

/// When a body ran, in epoch seconds, and for how long.
fn metrics(since: jiff::Timestamp, took: Duration) -> Value {
    let (start, duration) = (since.as_duration().as_secs_f64(), took.as_secs_f64());
    json!({ "start_time": start, "end_time": start + duration, "duration": duration })
}
