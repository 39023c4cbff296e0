//! Puts a run together for those who look: the snapshot, and over it what the store's rows say.

use kern_db::{Answer, Call, Outcome, PauseType, Run, RunStatus, Standing};

use super::output::RunOutput;
use super::requirement::{Consent, RunRequirement, ToolExecution, UserInputField};
use super::state::RunState;
use crate::agent::Inner;

/// Shows a run.
pub(crate) fn view(agent: &Inner, run: &Run, mut state: RunState) -> RunOutput {
    for call in &run.calls {
        let requirement = state.requirements.iter_mut().find(|requirement| requirement.id == call.requirement_id);
        if let Some(requirement) = requirement {
            overlay(&mut requirement.tool_execution, call);
            answer(requirement, call);
        }
        if let Some(tool) = state.tool_mut(call.turn, call.index) {
            overlay(tool, call);
        }
    }
    for (place, call) in (0..).zip(state.open.iter().flat_map(|open| open.calls.clone()).collect::<Vec<_>>()) {
        // Calls without a row have their outcome in the snapshot alone.
        if let (Some(result), Some(tool)) = (call.result, state.tool_mut(state.turn(), place)) {
            tool.tool_call_error = Some(result.error);
            tool.result = Some(result.content);
        }
    }
    let said = state.said();
    let RunState { tools, requirements, .. } = state;
    let content = match run.status {
        RunStatus::Paused => {
            let said = state.messages.last().and_then(|message| message.content.clone());
            said.filter(|text| !text.is_empty()).or_else(|| Some(waiting(&requirements)))
        }
        RunStatus::Completed => said,
        RunStatus::Error => {
            state.error.or_else(|| Some("interrupted: the process that drove the run is gone".to_owned()))
        }
        _ => None,
    };
    RunOutput {
        run_id: run.run_id.clone(),
        agent_id: run.agent_id.clone(),
        agent_name: run.agent_name.clone(),
        session_id: run.session_id.clone(),
        user_id: run.requester.as_ref().map(|requester| requester.subject.clone()),
        content,
        content_type: "str".to_owned(),
        model: agent.model.id().to_owned(),
        model_provider: agent.model.provider().to_owned(),
        session_state: serde_json::Map::new(),
        created_at: run.created_at_ms / 1000,
        status: run.status,
        metrics: state.metrics,
        messages: state.messages,
        tools,
        requirements,
        attention: run.attention,
        input: state.input,
    }
}

/// What the store knows of a call by now.
pub(crate) fn overlay(tool: &mut ToolExecution, call: &Call) {
    tool.tool_args = serde_json::from_str(&call.arguments).ok();
    if let Some(approval) = &call.approval {
        tool.approval_id = Some(approval.id.clone());
    }
    if let Some(fields) = &mut tool.user_input_schema {
        fill(fields, tool.tool_args.as_ref());
        if call.unfilled.is_empty() && (call.version > 0 || call.answer == Some(Answer::Confirmed)) {
            tool.answered = Some(true);
        }
    }
    if call.answer_is_current && call.policy.pause == Some(PauseType::Confirmation) {
        tool.confirmed = Some(Consent::Confirmed);
    }
    match &call.standing {
        Standing::Outcome(Outcome::Succeeded(result)) => {
            tool.result = Some(result.clone());
            tool.tool_call_error = Some(false);
            if tool.requires_confirmation == Some(true) {
                tool.confirmed = Some(Consent::Confirmed);
            }
        }
        Standing::Outcome(Outcome::Failed(error)) => {
            tool.result = Some(error.clone());
            tool.tool_call_error = Some(true);
        }
        Standing::Outcome(outcome) => {
            tool.confirmed = Some(Consent::Rejected);
            tool.tool_call_error = Some(true);
            tool.confirmation_note = match outcome {
                Outcome::Rejected(note) | Outcome::UserRejected(note) => note.clone(),
                _ => None,
            };
            if tool.confirmation_note.is_none() {
                tool.confirmation_note = Some("Tool call was rejected".to_owned());
            }
        }
        _ => {}
    }
}

fn fill(fields: &mut [UserInputField], arguments: Option<&serde_json::Map<String, serde_json::Value>>) {
    for field in fields {
        field.value = arguments.and_then(|arguments| arguments.get(&field.name)).cloned();
    }
}

fn answer(requirement: &mut RunRequirement, call: &Call) {
    requirement.confirmation = requirement.tool_execution.confirmed;
    requirement.confirmation_note.clone_from(&requirement.tool_execution.confirmation_note);
    if call.policy.pause == Some(PauseType::ExternalExecution) {
        requirement.external_execution_result.clone_from(&requirement.tool_execution.result);
    }
    requirement.user_input_schema.clone_from(&requirement.tool_execution.user_input_schema);
}

/// The reference's sentence for what a run waits for; the last call's wins.
fn waiting(requirements: &[RunRequirement]) -> String {
    let open = requirements.iter().rev().find(|requirement| !requirement.is_resolved());
    let what = match open.map(RunRequirement::pause_type) {
        Some(PauseType::UserInput) => "I have tools to execute, but I need user input.",
        Some(PauseType::ExternalExecution) => "I have tools to execute, but it needs external execution.",
        _ => "I have tools to execute, but I need confirmation.",
    };
    what.to_owned()
}
