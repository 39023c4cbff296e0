//! Asking the tools' probes what became of calls whose end is unknown. What they say is recorded, and starts nothing.

use std::sync::Arc;
use std::time::Duration;

use kern_db::{Call, Execution, Run, Standing};

use super::Inner;
use crate::error::Result;
use crate::run::stop::Stop;
use crate::tools::wire_json::read_arguments;
use crate::tools::{Probe, Probed, RunContext, ToolHandle};

/// How long a probe of a tool without a `timeout` may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Asks the probes about the unknown calls of a run's open turn. Says whether any of them is settled.
///
/// # Errors
///
/// The store failed. A probe that fails leaves its call as it is.
pub(super) async fn look_up(agent: &Inner, run: &Run, stop: &Stop) -> Result<bool> {
    let mut settled = false;
    for call in run.calls.iter().filter(|call| call.turn == run.turn && call.standing == Standing::Unknown) {
        // Only by the tool that the call was shown with: another one may look in another place.
        let Ok(tool) = agent.tools.shown_with(call) else { continue };
        let (Some(probe), Some(execution)) = (tool.tool().probe(), &call.execution) else { continue };
        let Some(found) = ask(agent, run, call, execution, tool, probe, stop).await else { continue };
        let Some(settlement) = found.settlement() else { continue };
        match agent.db.settle_probed(execution.id.clone(), settlement).await {
            Ok(_) => settled = true,
            // Somebody else has settled it: that is as good.
            Err(kern_db::Error::ExecutionConflict { .. }) => settled = true,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(settled)
}

/// What a probe says. `None`: it failed, and the log says how.
async fn ask(
    agent: &Inner,
    run: &Run,
    call: &Call,
    execution: &Execution,
    tool: &ToolHandle,
    probe: Probe,
    stop: &Stop,
) -> Option<Probed> {
    let context = RunContext {
        run_id: run.run_id.clone(),
        session_id: run.session_id.clone(),
        agent_id: agent.id.clone(),
        user_id: run.requester.as_ref().map(|requester| requester.subject.clone()),
        tool_call_id: call.tool_call_id.clone(),
        tool_name: call.tool_name.clone(),
        idempotency_key: execution.idempotency_key(),
        attempt: execution.attempt,
        arguments: read_arguments(&execution.arguments, usize::MAX).ok()?,
        writes: None,
        states: Arc::clone(&agent.states),
    };
    // In a task of its own, so that its panic stays its own.
    let mut asked = tokio::spawn(async move { probe(context).await });
    let limit = tool.descriptor().options.timeout.unwrap_or(LIMIT);
    let answer = stop.unless_closing(tokio::time::timeout(limit, &mut asked)).await;
    let why = match answer {
        Some(Ok(Ok(Ok(found)))) => return Some(found),
        Some(Ok(Ok(Err(error)))) => error,
        Some(Ok(Err(_))) => "it panicked".to_owned(),
        Some(Err(_)) => format!("it did not end within {limit:?}"),
        None => "the worker is shutting down".to_owned(),
    };
    asked.abort();
    tracing::warn!(execution_id = %execution.id, tool = call.tool_name, why, "a probe could not say how a call ended");
    None
}
