//! What a paused run asks for, and the answers: `RunRequirement`, with the JSON of the reference.
//!
//! It travels: a client may keep it and send it back. Nothing in it is believed but the requester's own answer, and that
//! only for the version that was shown.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::feedback::{UserFeedbackQuestion, fill_questions};
use super::tool_execution::fill_fields;
use crate::error::{Error, Result};

pub use super::tool_execution::{Consent, ToolExecution, UserInputField};

/// What a requirement asks its user for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequirementType {
    /// To choose between options.
    UserFeedback,
    /// To bring another system's result.
    ExternalExecution,
    /// To fill in values.
    UserInput,
    /// A yes or a no.
    Confirmation,
}

impl RequirementType {
    /// The word: `user_feedback`, `external_execution`, `user_input` or `confirmation`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserFeedback => "user_feedback",
            Self::ExternalExecution => "external_execution",
            Self::UserInput => "user_input",
            Self::Confirmation => "confirmation",
        }
    }
}

impl fmt::Display for RequirementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a paused run asks for about one call. In JSON, absent values are left out.
///
/// Each answer stands beside the call and on it. Where a client sends only one of the two, reading the JSON completes
/// the other: what stands on the call counts, and what stands beside it fills what is open there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Sent")]
#[non_exhaustive]
pub struct RunRequirement {
    /// A UUID.
    pub id: String,
    /// ISO 8601, UTC.
    pub created_at: String,
    /// The requester's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Consent>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation_note: Option<String>,
    /// What another system gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_execution_result: Option<String>,
    /// In a team: the member that asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_agent_id: Option<String>,
    /// In a team: its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_agent_name: Option<String>,
    /// In a team: its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_run_id: Option<String>,
    /// The call.
    pub tool_execution: ToolExecution,
    /// The values it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_input_schema: Option<Vec<UserInputField>>,
    /// The questions it asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_feedback_schema: Option<Vec<UserFeedbackQuestion>>,
}

/// A requirement as it comes back, before its two places agree.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Sent {
    id: String,
    created_at: String,
    confirmation: Option<Consent>,
    confirmation_note: Option<String>,
    external_execution_result: Option<String>,
    member_agent_id: Option<String>,
    member_agent_name: Option<String>,
    member_run_id: Option<String>,
    tool_execution: ToolExecution,
    user_input_schema: Option<Vec<UserInputField>>,
    user_feedback_schema: Option<Vec<UserFeedbackQuestion>>,
}

impl From<Sent> for RunRequirement {
    fn from(sent: Sent) -> Self {
        let mut requirement = Self {
            id: sent.id,
            created_at: sent.created_at,
            confirmation: sent.confirmation,
            confirmation_note: sent.confirmation_note,
            external_execution_result: sent.external_execution_result,
            member_agent_id: sent.member_agent_id,
            member_agent_name: sent.member_agent_name,
            member_run_id: sent.member_run_id,
            tool_execution: sent.tool_execution,
            user_input_schema: sent.user_input_schema,
            user_feedback_schema: sent.user_feedback_schema,
        };
        requirement.complete();
        requirement
    }
}

impl RunRequirement {
    /// The tool's name.
    pub fn tool_name(&self) -> &str {
        self.tool_execution.name()
    }

    /// The arguments, as they were shown.
    pub fn tool_args(&self) -> Value {
        Value::Object(self.tool_execution.tool_args.clone().unwrap_or_default())
    }

    /// The answer so far: what stands on the call itself counts before what stands beside it.
    pub(crate) fn consent(&self) -> Option<Consent> {
        self.tool_execution.confirmed.or(self.confirmation)
    }

    pub(crate) fn note(&self) -> Option<&str> {
        self.tool_execution.confirmation_note.as_deref().or(self.confirmation_note.as_deref())
    }

    pub(crate) fn external_result(&self) -> Option<&str> {
        self.tool_execution.result.as_deref().or(self.external_execution_result.as_deref())
    }

    /// The fields with the values given for them: those on the call, else those beside it.
    pub(crate) fn fields(&self) -> Vec<UserInputField> {
        let beside = self.user_input_schema.as_deref().unwrap_or_default();
        let on_call = self.tool_execution.user_input_schema.as_deref().unwrap_or_default();
        let mut fields = if on_call.is_empty() { beside } else { on_call }.to_vec();
        fill_fields(&mut fields, beside);
        fields
    }

    /// The questions with the answers given to them: those on the call, else those beside it.
    pub(crate) fn questions(&self) -> Vec<UserFeedbackQuestion> {
        let beside = self.user_feedback_schema.as_deref().unwrap_or_default();
        let on_call = self.tool_execution.user_feedback_schema.as_deref().unwrap_or_default();
        let mut questions = if on_call.is_empty() { beside } else { on_call }.to_vec();
        fill_questions(&mut questions, beside);
        questions
    }

    /// Whether somebody says something with it.
    pub(crate) fn holds_an_answer(&self) -> bool {
        let call = &self.tool_execution;
        let brought = call.external_execution_required == Some(true) && self.external_result().is_some();
        self.consent().is_some() || call.answered == Some(true) || brought
    }

    /// Completes the call with what stands beside it, as the reference does when it reads a requirement. A form that was
    /// complete before is not answered by it: it may only have been loaded and sent back.
    fn complete(&mut self) {
        let call = &mut self.tool_execution;
        if call.confirmed.is_none() {
            call.confirmed = self.confirmation;
        }
        if call.confirmed == Some(Consent::Rejected) && call.confirmation_note.is_none() {
            call.confirmation_note.clone_from(&self.confirmation_note);
        }
        if call.result.is_none() {
            call.result.clone_from(&self.external_execution_result);
        }
        let (mut closed, mut open) = (false, false);
        if let (Some(fields), Some(beside)) = (&mut call.user_input_schema, &self.user_input_schema) {
            closed |= fill_fields(fields, beside);
            open |= fields.iter().any(|field| field.value.is_none());
        }
        if let (Some(questions), Some(beside)) = (&mut call.user_feedback_schema, &self.user_feedback_schema) {
            closed |= fill_questions(questions, beside);
            open |= questions.iter().any(|question| question.selected_options.is_none());
        }
        if closed && !open {
            call.answered = Some(true);
        }
    }

    /// Whether a yes or a no is asked for and not given.
    pub fn needs_confirmation(&self) -> bool {
        self.tool_execution.requires_confirmation == Some(true) && self.consent().is_none()
    }

    /// Whether values are asked for and not given. A call that asks questions does not ask for values:
    /// [`needs_user_feedback`](Self::needs_user_feedback) says whether it waits.
    pub fn needs_user_input(&self) -> bool {
        let form = self.tool_execution.requires_user_input == Some(true) && self.questions().is_empty();
        self.takes_answers() && (form || self.fields().iter().any(|field| field.value.is_none()))
    }

    /// Whether questions are asked and not answered.
    pub fn needs_user_feedback(&self) -> bool {
        self.takes_answers() && self.questions().iter().any(|question| question.selected_options.is_none())
    }

    fn takes_answers(&self) -> bool {
        self.tool_execution.answered != Some(true) && self.consent() != Some(Consent::Rejected)
    }

    /// Whether another system's result is asked for and not given.
    pub fn needs_external_execution(&self) -> bool {
        self.tool_execution.external_execution_required == Some(true)
            && self.external_result().is_none()
            && self.consent() != Some(Consent::Rejected)
    }

    /// Whether nothing is asked for any more.
    pub fn is_resolved(&self) -> bool {
        !(self.needs_confirmation()
            || self.needs_user_input()
            || self.needs_user_feedback()
            || self.needs_external_execution())
    }

    /// What the call waits for. Where it waits for several things, the first of: feedback, external execution, input,
    /// confirmation.
    pub fn pause_type(&self) -> RequirementType {
        let call = &self.tool_execution;
        if !self.questions().is_empty() {
            RequirementType::UserFeedback
        } else if call.external_execution_required == Some(true) {
            RequirementType::ExternalExecution
        } else if call.requires_user_input == Some(true) {
            RequirementType::UserInput
        } else {
            RequirementType::Confirmation
        }
    }

    /// Says yes, as the requester. It takes effect when the run is continued with it, and decides nothing that an
    /// approver has to decide.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAnswer`]: no yes or no is asked for, or one is given already.
    pub fn confirm(&mut self) -> Result<()> {
        self.open_for_consent("confirm")?;
        self.confirmation = Some(Consent::Confirmed);
        self.tool_execution.confirmed = Some(Consent::Confirmed);
        Ok(())
    }

    /// Says no, as the requester. Final, also where an approver has said yes. The reason reaches the model, marked as
    /// the word of a human.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAnswer`]: the call is answered already.
    pub fn reject(&mut self, reason: impl Into<String>) -> Result<()> {
        let reason = Some(reason.into()).filter(|reason| !reason.is_empty());
        if self.consent().is_some() || self.is_resolved() {
            return Err(self.not_asked("reject"));
        }
        self.confirmation = Some(Consent::Rejected);
        self.confirmation_note.clone_from(&reason);
        self.tool_execution.confirmed = Some(Consent::Rejected);
        self.tool_execution.confirmation_note = reason;
        Ok(())
    }

    /// Fills values that the call asks for. Not all of them have to be given at once; names it does not ask for are
    /// ignored.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAnswer`]: no values are asked for, or all are given already.
    pub fn provide_user_input<K: AsRef<str>>(&mut self, values: impl IntoIterator<Item = (K, Value)>) -> Result<()> {
        if !self.needs_user_input() {
            return Err(self.not_asked("provide_user_input"));
        }
        let mut fields = self.fields();
        for (name, value) in values {
            if let Some(field) = fields.iter_mut().find(|field| field.name == name.as_ref()) {
                field.value = Some(value);
            }
        }
        if fields.iter().all(|field| field.value.is_some()) {
            self.tool_execution.answered = Some(true);
        }
        self.user_input_schema = Some(fields.clone());
        self.tool_execution.user_input_schema = Some(fields);
        Ok(())
    }

    /// Answers questions that the call asks: for each the labels that were chosen. Not all of them have to be answered at
    /// once.
    ///
    /// ```no_run
    /// # fn answer(requirement: &mut kern::run::RunRequirement) -> kern::Result<()> {
    /// requirement.provide_user_feedback([("Which region?", ["eu"])])?;
    /// // Answers of different lengths:
    /// requirement.provide_user_feedback([("Which extras?", vec!["backup", "monitoring"]), ("Which size?", vec!["small"])])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAnswer`], and nothing is answered: no questions are asked, or all are answered already; a question
    /// is not one of them; a label is not one of its options, or given twice; not exactly one is chosen where only one
    /// can be.
    pub fn provide_user_feedback<K, L>(&mut self, answers: impl IntoIterator<Item = (K, L)>) -> Result<()>
    where
        K: AsRef<str>,
        L: IntoIterator,
        L::Item: Into<String>,
    {
        if !self.needs_user_feedback() {
            return Err(self.not_asked("provide_user_feedback"));
        }
        let mut questions = self.questions();
        for (asked, labels) in answers {
            let asked = asked.as_ref();
            let Some(question) = questions.iter_mut().find(|question| question.question == asked) else {
                return Err(Error::InvalidAnswer(format!("tool `{}` does not ask `{asked}`", self.tool_name())));
            };
            let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
            if let Some(wrong) = question.wrong_selection(&labels) {
                return Err(Error::InvalidAnswer(wrong));
            }
            question.select(labels);
        }
        if questions.iter().all(|question| question.selected_options.is_some()) {
            self.tool_execution.answered = Some(true);
        }
        self.user_feedback_schema = Some(questions.clone());
        self.tool_execution.user_feedback_schema = Some(questions);
        Ok(())
    }

    /// Gives what another system made of the call.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidAnswer`]: no result is asked for, or one is given already.
    pub fn set_external_execution_result(&mut self, result: impl Into<String>) -> Result<()> {
        if !self.needs_external_execution() {
            return Err(self.not_asked("set_external_execution_result"));
        }
        let result = result.into();
        self.external_execution_result = Some(result.clone());
        self.tool_execution.result = Some(result);
        Ok(())
    }

    fn open_for_consent(&self, method: &str) -> Result<()> {
        if self.needs_confirmation() { Ok(()) } else { Err(self.not_asked(method)) }
    }

    fn not_asked(&self, method: &str) -> Error {
        let asks = if self.needs_confirmation() {
            "it waits for `confirm` or `reject`"
        } else if self.needs_external_execution() {
            "it waits for `set_external_execution_result` or `reject`"
        } else if self.needs_user_feedback() {
            "it waits for `provide_user_feedback` or `reject`"
        } else if self.needs_user_input() {
            "it waits for `provide_user_input` or `reject`"
        } else {
            "it is answered already"
        };
        Error::InvalidAnswer(format!("`{method}` does not fit the requirement of tool `{}`: {asks}", self.tool_name()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(requirement: Value) -> RunRequirement {
        serde_json::from_value(requirement).expect("a requirement is read")
    }

    fn field(value: Value) -> Value {
        json!({ "name": "city", "field_type": "str", "description": "Where to", "value": value })
    }

    fn question(selected: Value) -> Value {
        let options = json!([{ "label": "eu", "description": null, "selected": false }, { "label": "us" }]);
        json!({ "question": "Where?", "header": "Where", "multi_select": false, "selected_options": selected,
                "options": options })
    }

    #[test]
    fn a_confirmation_beside_the_call_counts_where_the_call_has_none() {
        let consent = |beside: Value, on_call: Value| {
            let call = json!({ "requires_confirmation": true, "confirmed": on_call });
            read(json!({ "confirmation": beside, "tool_execution": call })).tool_execution.confirmed
        };
        let (yes, no) = (Some(Consent::Confirmed), Some(Consent::Rejected));
        assert_eq!(consent(json!(true), Value::Null), yes);
        assert_eq!(consent(json!(false), Value::Null), no);
        assert_eq!(consent(Value::Null, json!(true)), yes);
        assert_eq!(consent(json!(true), json!(false)), no);
        assert_eq!(consent(json!(false), json!(true)), yes);
        assert_eq!(consent(Value::Null, Value::Null), None);
    }

    #[test]
    fn a_reason_beside_the_call_counts_where_the_call_has_none() {
        let note = |beside: &str, on_call: Value| {
            let call = json!({ "requires_confirmation": true, "confirmed": false, "confirmation_note": on_call });
            let read = read(json!({ "confirmation": false, "confirmation_note": beside, "tool_execution": call }));
            read.note().map(str::to_owned)
        };
        assert_eq!(note("beside", Value::Null).as_deref(), Some("beside"));
        assert_eq!(note("beside", json!("on the call")).as_deref(), Some("on the call"));
    }

    #[test]
    fn a_result_beside_the_call_counts_where_the_call_has_none() {
        let result = |on_call: Value| {
            let call = json!({ "external_execution_required": true, "result": on_call });
            let read = read(json!({ "external_execution_result": "beside", "tool_execution": call }));
            assert!(!read.needs_external_execution());
            read.external_result().map(str::to_owned)
        };
        assert_eq!(result(Value::Null).as_deref(), Some("beside"));
        assert_eq!(result(json!("on the call")).as_deref(), Some("on the call"));
    }

    #[test]
    fn values_beside_the_call_fill_only_what_is_open_and_answer_only_what_they_close() {
        let both = |beside: Value, on_call: Value| {
            let call = json!({ "requires_user_input": true, "user_input_schema": on_call });
            let read = read(json!({ "user_input_schema": beside, "tool_execution": call }));
            (read.fields().remove(0).value, read.tool_execution.answered, read.needs_user_input())
        };
        let (open, paris) = (json!([field(Value::Null)]), json!([field(json!("Paris"))]));
        assert_eq!(both(paris.clone(), open.clone()), (Some(json!("Paris")), Some(true), false));
        assert_eq!(both(open.clone(), open.clone()), (None, None, true));
        assert_eq!(both(json!([field(json!("Rome"))]), paris.clone()).0, Some(json!("Paris")));
        // What the model has filled, loaded and sent back, is no answer.
        assert_eq!(both(paris.clone(), paris.clone()), (Some(json!("Paris")), None, true));
        // A part is no answer either.
        let two =
            json!([field(Value::Null), { "name": "day", "field_type": "str", "description": null, "value": null }]);
        assert_eq!(both(paris, two), (Some(json!("Paris")), None, true));
    }

    #[test]
    fn choices_beside_the_call_answer_only_what_they_close() {
        let both = |beside: Value, on_call: Value| {
            let call = json!({ "requires_user_input": true, "user_feedback_schema": [on_call] });
            let read = read(json!({ "user_feedback_schema": [beside], "tool_execution": call }));
            assert!(!read.needs_user_input());
            let open = read.needs_user_feedback();
            (read.questions().remove(0).selected_options, read.tool_execution.answered, open)
        };
        let eu = Some(vec!["eu".to_owned()]);
        assert_eq!(both(question(json!(["eu"])), question(Value::Null)), (eu.clone(), Some(true), false));
        assert_eq!(both(question(Value::Null), question(Value::Null)), (None, None, true));
        assert_eq!(both(question(json!(["us"])), question(json!(["eu"]))), (eu, None, false));
    }

    #[test]
    fn what_is_left_out_or_unknown_is_read_as_nothing() {
        let nothing = read(json!({ "more": 1 }));
        assert_eq!((nothing.tool_name(), nothing.is_resolved()), ("unknown", true));
        let waits = |call: Value| read(json!({ "tool_execution": call })).pause_type().as_str();
        let all = json!({ "external_execution_required": true, "requires_user_input": true,
                          "requires_confirmation": true, "user_feedback_schema": [question(Value::Null)] });
        let mut call = all.as_object().unwrap().clone();
        let mut waited = Vec::new();
        for taken in ["user_feedback_schema", "external_execution_required", "requires_user_input", "more"] {
            waited.push(waits(Value::Object(call.clone())));
            call.remove(taken);
        }
        assert_eq!(waited, ["user_feedback", "external_execution", "user_input", "confirmation"]);
    }
}
