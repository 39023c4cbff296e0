//! The reason why a paused run cannot continue with the tools of this build.

use kern_db::{Call, PauseType, Run, RunStatus, Standing};
use serde::{Deserialize, Serialize};

use crate::agent::Inner;

/// The ways out. They are the same whatever changed.
pub(crate) const TO_DO: &str = "continue the run where the tool is as it was shown, ask for the call again with \
                                `continue_run(…).ask_again()`, or cancel the run";

/// Why a paused run cannot continue here, and what to do.
///
/// It is derived from the run's calls and the tools of this process: a build that has the tool as it was shown still runs the
/// call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunBlocked {
    /// A stable code: `tool_changed`.
    pub code: String,
    /// The tool.
    pub tool_name: String,
    /// The model's id of the call.
    pub tool_call_id: String,
    /// What changed since the call was shown.
    pub reason: String,
    /// The ways out.
    pub to_do: String,
}

impl RunBlocked {
    /// The same as a sentence.
    pub(crate) fn sentence(&self) -> String {
        let Self { tool_name, reason, to_do, .. } = self;
        format!(
            "This run cannot continue: tool `{tool_name}` is not the one that its call was shown with ({reason}). To go on, {to_do}."
        )
    }
}

/// Whether a call's body is still to run here: it waits for a decision or an answer, or may start.
fn waits(call: &Call) -> bool {
    matches!(call.standing, Standing::Open | Standing::AwaitsRequester | Standing::AwaitsApproval)
        && call.policy.pause != Some(PauseType::ExternalExecution)
}

/// The first call of a paused run that keeps it from continuing with this agent's tools, and why.
pub(crate) fn blocked(agent: &Inner, run: &Run) -> Option<RunBlocked> {
    if run.status != RunStatus::Paused {
        return None;
    }
    let mut open = run.calls.iter().filter(|call| call.turn == run.turn && waits(call));
    open.find_map(|call| {
        let reason = agent.tools.shown_with(call).err()?;
        Some(RunBlocked {
            code: "tool_changed".to_owned(),
            tool_name: call.tool_name.clone(),
            tool_call_id: call.tool_call_id.clone(),
            reason: reason.to_owned(),
            to_do: TO_DO.to_owned(),
        })
    })
}
