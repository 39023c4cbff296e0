//! Puts a run together for those who look: the snapshot, and over it what the store's rows say.

use kern_db::{Answer, Call, Outcome, PauseType, Run, RunStatus, Standing};

use super::blocked::{RunBlocked, blocked};
use super::call::show;
use super::message::Role;
use super::output::RunOutput;
use super::requirement::{RequirementType, RunRequirement};
use super::state::{OUTPUT_BLOCKED, RunState};
use super::tool_execution::{Consent, ToolExecution};
use crate::agent::Inner;
use crate::approval::outcome::result_of;
use crate::tools::ToolDescriptor;

/// Shows a run.
pub(crate) fn view(agent: &Inner, run: &Run, mut state: RunState) -> RunOutput {
    for call in &run.calls {
        // The row keeps what the call gave. A post-hook stopped that, so it is not given with the run.
        let blocked = state.tool(call.turn, call.index).and_then(|tool| tool.result.clone());
        let blocked = blocked.filter(|result| result == OUTPUT_BLOCKED);
        if let Some(requirement) = of_call(&mut state.requirements, call) {
            let tool = &mut requirement.tool_execution;
            overlay(agent, tool, call);
            tool.result = blocked.clone().or(tool.result.take());
            answer(requirement, call);
        }
        if let Some(tool) = state.tool_mut(call.turn, call.index) {
            overlay(agent, tool, call);
            tool.result = blocked.or(tool.result.take());
        }
    }
    // What ran is what the conversation says: values of the user came after the model's own.
    let results = state.messages.iter_mut().filter(|message| message.role == Role::Tool && !message.from_history);
    for (message, tool) in results.zip(&state.tools).filter(|(message, tool)| message.tool_call_id == tool.tool_call_id)
    {
        message.tool_args.clone_from(&tool.tool_args);
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
    let blocked = blocked(agent, run);
    let content = match run.status {
        // Whatever the model said before: nothing that people decide lets the run go on here.
        RunStatus::Paused if blocked.is_some() => blocked.as_ref().map(RunBlocked::sentence),
        RunStatus::Paused => {
            // A run that was recovered before its first turn has only what it was asked.
            let last = state.messages.last().filter(|message| message.role != Role::User);
            let said = last.and_then(|message| message.content.clone());
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
        requester: run.requester.clone(),
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
        blocked,
        input: state.input,
        is_deleted: run.deleted_at_ms.is_some(),
    }
}

/// The requirement of a call. The store asks for a call that is run again under another id, which the snapshot does not know:
/// it is shown as that one, so that an answer to it counts.
fn of_call<'a>(requirements: &'a mut [RunRequirement], call: &Call) -> Option<&'a mut RunRequirement> {
    let of_it = |id: &String| *id == call.requirement_id || call.earlier_requirement_ids.contains(id);
    let requirement = requirements.iter_mut().find(|requirement| of_it(&requirement.id))?;
    requirement.id.clone_from(&call.requirement_id);
    Some(requirement)
}

/// The tool that a call was shown with, where this build has it.
fn shown_with<'a>(agent: &'a Inner, call: &Call) -> Option<&'a ToolDescriptor> {
    let descriptor = agent.tools.get(&call.tool_name)?.descriptor();
    (descriptor.version == call.tool_version && descriptor.schema_hash == call.schema_hash).then_some(descriptor)
}

/// What the store knows of a call by now: what it asks for, too, since it may have been asked again.
pub(crate) fn overlay(agent: &Inner, tool: &mut ToolExecution, call: &Call) {
    tool.asks(&call.policy, !matches!(call.standing, Standing::Outcome(_)));
    tool.approval_id = call.approval.as_ref().map(|approval| approval.id.clone());
    match serde_json::from_str(&call.arguments) {
        Ok(arguments) => show(tool, shown_with(agent, call), &call.policy, &arguments),
        // Not what was stored: nothing runs with it, and nothing is shown for it.
        Err(_) => tool.tool_args = None,
    }
    let complete = call.unfilled.is_empty() && (call.version > 0 || call.answer == Some(Answer::Confirmed));
    if complete && call.policy.pause == Some(PauseType::UserInput) {
        tool.answered = Some(true);
    }
    if call.answer_is_current && call.policy.pause == Some(PauseType::Confirmation) {
        tool.confirmed = Some(Consent::Confirmed);
    }
    match &call.standing {
        Standing::Outcome(Outcome::Succeeded(result)) => {
            tool.result = Some(result.clone());
            tool.tool_call_error = Some(false);
            if call.policy.pause == Some(PauseType::Confirmation) {
                tool.confirmed = Some(Consent::Confirmed);
            }
        }
        Standing::Outcome(Outcome::Failed(error)) => {
            tool.result = Some(error.clone());
            tool.tool_call_error = Some(true);
        }
        Standing::Outcome(outcome @ Outcome::Abandoned(_)) => {
            // It was allowed, and nobody rejected it.
            tool.result = Some(result_of(outcome.clone()).content);
            tool.tool_call_error = Some(true);
        }
        Standing::Outcome(outcome) => {
            tool.confirmed = Some(Consent::Rejected);
            tool.tool_call_error = Some(true);
            tool.confirmation_note = match outcome {
                Outcome::Rejected(note) | Outcome::UserRejected(note) => note.clone(),
                Outcome::Expired => Some(result_of(outcome.clone()).content),
                _ => None,
            };
            if tool.confirmation_note.is_none() {
                tool.confirmation_note = Some("Tool call was rejected".to_owned());
            }
        }
        _ => {}
    }
}

fn answer(requirement: &mut RunRequirement, call: &Call) {
    requirement.confirmation = requirement.tool_execution.confirmed;
    requirement.confirmation_note.clone_from(&requirement.tool_execution.confirmation_note);
    if call.policy.pause == Some(PauseType::ExternalExecution) {
        requirement.external_execution_result.clone_from(&requirement.tool_execution.result);
    }
    requirement.user_input_schema.clone_from(&requirement.tool_execution.user_input_schema);
    requirement.user_feedback_schema.clone_from(&requirement.tool_execution.user_feedback_schema);
}

/// The reference's sentence for what a run waits for; the last call's wins.
fn waiting(requirements: &[RunRequirement]) -> String {
    let open = requirements.iter().rev().find(|requirement| !requirement.is_resolved());
    let what = match open.map(RunRequirement::pause_type) {
        Some(RequirementType::UserInput | RequirementType::UserFeedback) => {
            "I have tools to execute, but I need user input."
        }
        Some(RequirementType::ExternalExecution) => "I have tools to execute, but it needs external execution.",
        _ => "I have tools to execute, but I need confirmation.",
    };
    what.to_owned()
}
