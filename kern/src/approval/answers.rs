//! Which answers a caller's requirements hold, and to which calls. No I/O.

use kern_db::{Call, NewAnswer, PauseType, Run, Shown, Standing, canonical_json};
use serde_json::Value;

use super::policy::approval_needed;
use crate::error::{Error, Result};
use crate::run::{Consent, RunRequirement, ToolExecution};
use crate::tools::wire_json::read_value;
use crate::tools::{self, ApprovalPolicy, Arguments, Tool};

/// One answer, matched to its call.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) call: &'a Call,
    pub(crate) answer: NewAnswer,
    pub(crate) shown: Shown,
}

/// Finds the call of the open turn that a requirement is about.
///
/// Requirements of earlier turns come back with the rest; the model's `tool_call_id` may be the same in each turn, so a
/// requirement that names a known one is only ever about that one.
pub(crate) fn call_of<'a>(run: &'a Run, requirement: &RunRequirement) -> Option<&'a Call> {
    let open = || run.calls.iter().filter(|call| call.turn == run.turn);
    let of_it = |call: &&Call| call.requirement_id == requirement.id || is_outdated(call, requirement);
    if let Some(known) = run.calls.iter().find(of_it) {
        return (known.turn == run.turn).then_some(known);
    }
    let tool_call_id = requirement.tool_execution.tool_call_id.as_deref()?;
    open().find(|call| call.tool_call_id == tool_call_id)
}

/// Whether a requirement is of a call that was asked again since, with another tool.
fn is_outdated(call: &Call, requirement: &RunRequirement) -> bool {
    call.earlier_requirement_ids.contains(&requirement.id)
}

/// Reads the requester's answer out of a requirement. `None`: it holds none, or only what the store already knows.
///
/// # Errors
///
/// [`Error::InvalidAnswer`]: values that do not fit the tool's types, or that would need an approval the call was not
/// asked for.
pub(crate) fn answer_of<'a>(
    call: &'a Call,
    requirement: &RunRequirement,
    tool: Option<&dyn Tool>,
    argument_limit: usize,
) -> Result<Option<Answer<'a>>> {
    // What came from the store and is sent back is no answer of the one who sends it.
    if matches!(call.standing, Standing::Outcome(_) | Standing::Executing | Standing::Unknown) {
        return Ok(None);
    }
    if is_outdated(call, requirement) {
        // Whatever was said to the other tool is asked again. A no is a no to this one, too.
        let rejected = requirement.consent() == Some(Consent::Rejected);
        let shown = Shown { tool_name: call.tool_name.clone(), arguments: call.arguments.clone() };
        let answer = NewAnswer::Reject(requirement.note().map(str::to_owned));
        return Ok(rejected.then_some(Answer { call, answer, shown }));
    }
    let arguments = requirement.tool_execution.tool_args.clone().unwrap_or_default();
    let shown = Shown {
        tool_name: requirement.tool_name().to_owned(),
        arguments: canonical_json(&Value::Object(arguments.clone())),
    };
    let answer = match (requirement.consent(), call.policy.pause) {
        (Some(Consent::Rejected), _) => Some(NewAnswer::Reject(requirement.note().map(str::to_owned))),
        (_, Some(PauseType::ExternalExecution)) => {
            requirement.external_result().map(|result| NewAnswer::ExternalResult(result.to_owned()))
        }
        (_, Some(PauseType::UserInput)) => {
            filled(call, requirement, arguments, tool, argument_limit)?.map(NewAnswer::Input)
        }
        (Some(Consent::Confirmed), _) if call.answer_is_current => None,
        (Some(Consent::Confirmed), _) => Some(NewAnswer::Confirm),
        (None, _) => None,
    };
    let answer = answer.or_else(|| names_another_call(call, requirement, &shown).then_some(NewAnswer::Unanswered));
    Ok(answer.map(|answer| Answer { call, answer, shown }))
}

/// Whether a requirement, answered or not, comes back with another tool or other arguments than the call has now. To
/// continue with it may imply a confirmation, and that must not be one of something else.
fn names_another_call(call: &Call, requirement: &RunRequirement, shown: &Shown) -> bool {
    let ToolExecution { tool_name, tool_args, .. } = &requirement.tool_execution;
    (tool_name.is_some() && shown.tool_name != call.tool_name)
        || (tool_args.is_some() && shown.arguments != call.arguments)
}

/// The arguments with the values given for them: canonical JSON, checked against the tool's types.
fn filled(
    call: &Call,
    requirement: &RunRequirement,
    mut arguments: Arguments,
    tool: Option<&dyn Tool>,
    argument_limit: usize,
) -> Result<Option<String>> {
    let fields = requirement.fields();
    let given = |name: &String| fields.iter().any(|field| &field.name == name && field.value.is_some());
    // A requirement that was only loaded and sent back is no answer, however much of it the model has filled.
    let closes_the_last = !call.unfilled.is_empty() && call.unfilled.iter().all(given);
    if requirement.tool_execution.answered != Some(true) && !closes_the_last {
        return Ok(None);
    }
    for field in fields {
        if let Some(value) = field.value {
            arguments.insert(field.name, read_value(value).map_err(Error::InvalidAnswer)?);
        }
    }
    let name = &call.tool_name;
    let Some(tool) = tool else {
        return Err(Error::InvalidAnswer(format!("this agent has no tool `{name}` to check the values against")));
    };
    if let Err(errors) = tools::check(tool, &arguments, &[]) {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(Error::InvalidAnswer(format!("the values for tool `{name}` do not fit: {}", errors.join("; "))));
    }
    // `when` was asked about other values. It may only tighten: what would now need an approval is not run without.
    let asked = matches!(call.policy.tier, kern_db::Tier::Required | kern_db::Tier::TwoStage);
    let protected = tool.descriptor().policy.approval == Some(ApprovalPolicy::Required);
    if protected && !asked && approval_needed(tool, &arguments) {
        return Err(Error::InvalidAnswer(format!(
            "with these values tool `{name}` needs an approval that was not asked for: reject the call, and ask for it \
             with the values in the request"
        )));
    }
    let arguments = canonical_json(&Value::Object(arguments));
    if arguments.len() > argument_limit {
        let length = arguments.len();
        let what = format!("the values for tool `{name}` have {length} bytes, {argument_limit} are allowed");
        return Err(Error::InvalidAnswer(what));
    }
    let known = call.version > 0 && arguments == call.arguments;
    Ok(Some(arguments).filter(|_| !known))
}
