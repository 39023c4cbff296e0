//! A run's hooks, in the hands of its owner: whatever does not end well stops the run.

use std::sync::Arc;

use kern_db::RunStatus;
use serde_json::Map;

use super::error::Stop;
use super::{HookContext, HookResult, RunFailure};
use crate::agent::Inner;
use crate::error::Result;
use crate::run::turn::{Drive, without_panic};
use crate::run::{RunOutput, view};

/// What is stored in the place of an input that a pre-hook stopped.
const INPUT_BLOCKED: &str = "[blocked by a pre-hook, not stored]";

/// How a run ends, after the post-hooks it waits for.
pub(crate) struct Ending {
    pub(crate) status: RunStatus,
    pub(crate) error: Option<String>,
    /// Who is told once the end is stored.
    background: Option<Told>,
}

struct Told {
    agent: Arc<Inner>,
    output: Arc<RunOutput>,
    context: HookContext,
}

impl Drive {
    /// What is stored of a run when it starts: nothing that the pre-hooks have not passed.
    pub(crate) fn first_snapshot(&self) -> String {
        if self.agent.hooks.pre.is_empty() {
            return self.state.snapshot();
        }
        let mut state = self.state.clone();
        state.withhold_input("");
        state.snapshot()
    }

    /// Runs the pre-hooks on the input of a run that starts. Gives why it has to end, where it has to.
    ///
    /// The input is out of the run's state while they look at it, so that no snapshot can hold what they have not passed.
    ///
    /// # Errors
    ///
    /// The run is not this owner's any more: it was cancelled, and nobody waits for the hook.
    pub(crate) async fn check_input(&mut self) -> Result<Option<String>> {
        let agent = Arc::clone(&self.agent);
        if agent.hooks.pre.is_empty() {
            return Ok(None);
        }
        let context = self.hook_context();
        let mut input = self.state.withhold_input(INPUT_BLOCKED);
        for hook in &agent.hooks.pre {
            let run = without_panic(async { hook.run(&mut input, &context).await });
            let outcome = self.while_mine(run).await?;
            if let Some(stop) = stopped("pre-hook", &hook.name, outcome, &context) {
                self.state.failure = Some(stop.failure);
                return Ok(Some(stop.message));
            }
        }
        self.state.set_input(input);
        Ok(None)
    }

    /// Runs the post-hooks of a run that is about to be completed. An output that one of them stops is taken out of the
    /// run's state.
    ///
    /// # Errors
    ///
    /// The run cannot be read, or it is not this owner's any more: nobody is told of an output that will not be stored.
    pub(crate) async fn ending(&mut self, status: RunStatus, error: Option<String>) -> Result<Ending> {
        let agent = Arc::clone(&self.agent);
        if status != RunStatus::Completed || agent.hooks.post.is_empty() {
            return Ok(Ending { status, error, background: None });
        }
        let mut run = agent.db.get_run(&self.claim.run_id).await?;
        if run.status != RunStatus::Running || run.fence != self.claim.fence {
            return Err(kern_db::Error::NotMine { run_id: run.run_id }.into());
        }
        run.status = status;
        let output = view(&agent, &run, self.state.clone());
        let context = self.hook_context();
        for hook in agent.hooks.post.iter().filter(|hook| !hook.in_background) {
            let run = without_panic(async { hook.run(&output, &context).await });
            let outcome = self.while_mine(run).await?;
            if let Some(stop) = stopped("post-hook", &hook.name, outcome, &context) {
                self.state.withhold_output();
                self.state.failure = Some(stop.failure);
                return Ok(Ending { status: RunStatus::Error, error: Some(stop.message), background: None });
            }
        }
        let background = Some(Told { agent, output: Arc::new(output), context });
        Ok(Ending { status, error, background })
    }

    fn hook_context(&self) -> HookContext {
        HookContext {
            run_id: self.claim.run_id.clone(),
            session_id: self.session_id.clone(),
            agent_id: self.agent.id.clone(),
            user_id: self.user_id.clone(),
        }
    }
}

impl Ending {
    /// Starts the hooks in the background. The run's end is stored.
    pub(crate) fn tell(self) {
        let Some(Told { agent, output, context }) = self.background else { return };
        for place in 0..agent.hooks.post.len() {
            if !agent.hooks.post[place].in_background {
                continue;
            }
            let (agent, output, context) = (Arc::clone(&agent), Arc::clone(&output), context.clone());
            tokio::spawn(async move {
                let hook = &agent.hooks.post[place];
                let (run_id, hook_name) = (&context.run_id, &hook.name);
                match without_panic(async { hook.run(&output, &context).await }).await {
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        tracing::warn!(%run_id, hook = hook_name, %error, "a hook in the background failed");
                    }
                    None => tracing::warn!(%run_id, hook = hook_name, "a hook in the background panicked"),
                }
            });
        }
    }
}

/// Whether the run stops here. A check that did not pass says why in its own words; those of any other failure go to the
/// log alone, because they may quote what the hook was given.
fn stopped(kind: &'static str, name: &str, outcome: Option<HookResult>, context: &HookContext) -> Option<Stop> {
    let run_id = &context.run_id;
    let how = match outcome {
        Some(Ok(())) => return None,
        Some(Err(error)) => {
            if let Some(stop) = error.stop() {
                return Some(stop);
            }
            tracing::error!(%run_id, hook = name, %error, "a {kind} failed, its run is stopped");
            "failed"
        }
        None => {
            tracing::error!(%run_id, hook = name, "a {kind} panicked, its run is stopped");
            "panicked"
        }
    };
    Some(Stop {
        message: format!("{kind} `{name}` {how}: the run was stopped"),
        failure: RunFailure {
            error_type: "hook_error".to_owned(),
            error_id: format!("hook_{how}"),
            additional_data: Map::new(),
        },
    })
}
