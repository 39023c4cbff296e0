//! Which answers a caller's requirements hold, and to which calls. No I/O.

use kern_db::{Call, NewAnswer, Outcome, PauseType, Run, Shown, Standing, Tier, canonical_json};
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

impl Answer<'_> {
    /// What to say where the store did not take it: somebody was faster, and theirs counts. Only for what is lost by
    /// that; a yes or a no that came too late is seen in how the run goes on.
    pub(crate) fn unheard(&self) -> Option<Error> {
        let lost = matches!(self.answer, NewAnswer::Input(_) | NewAnswer::ExternalResult(_));
        (lost && self.call.policy.tier == Tier::User).then(|| answered_already(self.call))
    }
}

fn answered_already(call: &Call) -> Error {
    let name = &call.tool_name;
    Error::InvalidAnswer(format!(
        "the call of tool `{name}` is answered already, in another way: continue the run without this requirement"
    ))
}

/// Finds the call of the open turn that a requirement is about. `None`: it is about an earlier turn, or about a call that
/// asks nobody and holds no answer.
///
/// Requirements of earlier turns come back with the rest; the model's `tool_call_id` may be the same in each turn, so a
/// requirement that names a known one is only ever about that one.
///
/// # Errors
///
/// [`Error::InvalidAnswer`]: it answers what this run has not asked.
pub(crate) fn call_of<'a>(run: &'a Run, requirement: &RunRequirement) -> Result<Option<&'a Call>> {
    let is_open = |call: &&Call| call.turn == run.turn;
    let of_it = |call: &&Call| call.requirement_id == requirement.id || is_outdated(call, requirement);
    if let Some(known) = run.calls.iter().find(of_it) {
        return Ok(Some(known).filter(is_open));
    }
    let tool_call_id = requirement.tool_execution.tool_call_id.as_deref();
    let mut named = run.calls.iter().filter(|call| Some(call.tool_call_id.as_str()) == tool_call_id).peekable();
    if named.peek().is_none() && requirement.holds_an_answer() {
        let (tool, call) = (requirement.tool_name(), tool_call_id.unwrap_or("without an id"));
        return Err(Error::InvalidAnswer(format!(
            "the answer for tool `{tool}`, call `{call}`, belongs to nothing that run `{}` asks: answer the requirements \
             that the run gave",
            run.run_id
        )));
    }
    Ok(named.find(is_open))
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
/// asked for; other values, or another result, than the call has already.
pub(crate) fn answer_of<'a>(
    call: &'a Call,
    requirement: &RunRequirement,
    tool: Option<&dyn Tool>,
    argument_limit: usize,
) -> Result<Option<Answer<'a>>> {
    // One result, and whoever brings another has to hear that it does not count.
    if let (Some(PauseType::ExternalExecution), Standing::Outcome(Outcome::Succeeded(stored))) =
        (call.policy.pause, &call.standing)
        && requirement.external_result().is_some_and(|result| result != stored)
    {
        return Err(answered_already(call));
    }
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
    arguments: Arguments,
    tool: Option<&dyn Tool>,
    argument_limit: usize,
) -> Result<Option<String>> {
    let name = &call.tool_name;
    let invalid = |what: String| Error::InvalidAnswer(format!("the values for tool `{name}` do not fit: {what}"));
    let form = tool.and_then(|tool| tool.descriptor().form);
    // Stored, an answer is final: another tool's types say nothing about it.
    let shown_with = |tool: &dyn Tool| {
        tool.descriptor().version == call.tool_version && tool.descriptor().schema_hash == call.schema_hash
    };
    let with_values = match form {
        Some(form) => form.answered(arguments, requirement),
        None => with_fields(call, arguments, requirement),
    };
    let Some(arguments) = with_values.map_err(invalid)? else {
        return Ok(None);
    };
    let Some(tool) = tool else {
        return Err(Error::InvalidAnswer(format!("this agent has no tool `{name}` to check the values against")));
    };
    if !shown_with(tool) {
        let what = "here it is another: answer where the run was paused";
        return Err(Error::InvalidAnswer(format!("the values were asked for with tool `{name}`, and {what}")));
    }
    if let Err(errors) = tools::check(tool, &arguments, &[]) {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(invalid(errors.join("; ")));
    }
    // `when` was asked about other values. It may only tighten: what would now need an approval is not run without.
    let asked = matches!(call.policy.tier, Tier::Required | Tier::TwoStage);
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
    if call.version > 0 && arguments == call.arguments {
        return Ok(None);
    }
    // Stored answers are final. Whoever gives others has to hear that they do not count.
    if call.policy.tier == Tier::User && call.answer.is_some() {
        return Err(answered_already(call));
    }
    Ok(Some(arguments))
}

/// The arguments with the fields that came back. `None`: not all that were open are filled, and nothing says that they
/// are.
fn with_fields(
    call: &Call,
    mut arguments: Arguments,
    requirement: &RunRequirement,
) -> Result<Option<Arguments>, String> {
    let fields = requirement.fields();
    let given = |name: &String| fields.iter().any(|field| &field.name == name && field.value.is_some());
    // A requirement that was only loaded and sent back is no answer, however much of it the model has filled.
    let closes_the_last = !call.unfilled.is_empty() && call.unfilled.iter().all(given);
    if requirement.tool_execution.answered != Some(true) && !closes_the_last {
        return Ok(None);
    }
    for field in fields {
        if let Some(value) = field.value {
            arguments.insert(field.name, read_value(value)?);
        }
    }
    Ok(Some(arguments))
}
