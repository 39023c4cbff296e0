//! What a paused run asks for, and the answers: `RunRequirement` and `ToolExecution`, with the JSON of the reference.
//!
//! Both travel: a client may keep them and send them back. Nothing in them is believed but the requester's own answer,
//! and that only for the version that was shown.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use kern_db::{ApprovalId, ApprovalType, CallPolicy, PauseType, Tier};

use crate::error::{Error, Result};

/// A yes or a no to a confirmation. In JSON `true` or `false`; unanswered is null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum Consent {
    /// Yes.
    Confirmed,
    /// No.
    Rejected,
}

impl From<bool> for Consent {
    fn from(confirmed: bool) -> Self {
        if confirmed { Self::Confirmed } else { Self::Rejected }
    }
}

impl From<Consent> for bool {
    fn from(consent: Consent) -> Self {
        consent == Consent::Confirmed
    }
}

/// One tool call of a run, as the reference shows it: 21 keys, nulls kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ToolExecution {
    /// The model's id of the call.
    pub tool_call_id: Option<String>,
    /// The tool.
    pub tool_name: Option<String>,
    /// The arguments.
    pub tool_args: Option<Map<String, Value>>,
    /// Whether the call did not give its normal result.
    pub tool_call_error: Option<bool>,
    /// What it gave.
    pub result: Option<String>,
    /// Not used.
    pub metrics: Option<Value>,
    /// Not used.
    pub child_run_id: Option<String>,
    /// Whether the run ends after this call.
    pub stop_after_tool_call: bool,
    /// Epoch seconds.
    pub created_at: Option<i64>,
    /// Whether the call waits for a yes.
    pub requires_confirmation: Option<bool>,
    /// The answer to that.
    pub confirmed: Option<Consent>,
    /// Why.
    pub confirmation_note: Option<String>,
    /// Whether the call waits for values.
    pub requires_user_input: Option<bool>,
    /// The values it waits for.
    pub user_input_schema: Option<Vec<UserInputField>>,
    /// The questions it waits for.
    pub user_feedback_schema: Option<Vec<UserFeedbackQuestion>>,
    /// Whether all values are there, or all questions answered.
    pub answered: Option<bool>,
    /// Whether the call waits for another system's result.
    pub external_execution_required: Option<bool>,
    /// Not used.
    pub external_execution_silent: Option<bool>,
    /// `required` or `audit`.
    pub approval_type: Option<ApprovalType>,
    /// The approval row.
    pub approval_id: Option<ApprovalId>,
    /// Not used.
    pub parent_tool_call_id: Option<String>,
}

/// One value that a call asks the user for, or that the model has filled and the user may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserInputField {
    /// The argument.
    pub name: String,
    /// `str`, `int`, `float`, `bool`, `list` or `dict`, in the reference's words.
    pub field_type: String,
    /// The argument's documentation.
    pub description: Option<String>,
    /// The value, where there is one.
    pub value: Option<Value>,
}

/// One question that a call asks the user, with the options to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserFeedbackQuestion {
    /// The question in full. It names the question: no other of the call has the same.
    pub question: String,
    /// One or two words, at most 12 characters.
    #[serde(default)]
    pub header: Option<String>,
    /// Whether several options may be chosen.
    #[serde(default)]
    pub multi_select: bool,
    /// The labels that were chosen, where the question is answered.
    #[serde(default)]
    pub selected_options: Option<Vec<String>>,
    /// What there is to choose from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<UserFeedbackOption>,
}

/// One option of a [`UserFeedbackQuestion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UserFeedbackOption {
    /// Its label. No other option of the question has the same.
    pub label: String,
    /// What choosing it means.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether it was chosen. Only shown: what counts is `selected_options` of the question.
    #[serde(default)]
    pub selected: bool,
}

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

impl ToolExecution {
    /// The tool's name.
    pub fn name(&self) -> &str {
        self.tool_name.as_deref().unwrap_or("unknown")
    }

    /// Shows what the stored policy of the call asks for, and whether it still waits for that.
    pub(crate) fn asks(&mut self, policy: &CallPolicy, waits: bool) {
        let asks = |pause| (policy.pause == Some(pause)).then_some(waits);
        self.requires_confirmation = asks(PauseType::Confirmation);
        self.requires_user_input = asks(PauseType::UserInput);
        self.external_execution_required = asks(PauseType::ExternalExecution);
        self.approval_type = match policy.tier {
            Tier::Required | Tier::TwoStage => Some(ApprovalType::Required),
            _ if policy.record || policy.tier == Tier::Audit => Some(ApprovalType::Audit),
            _ => None,
        };
    }
}

impl UserFeedbackQuestion {
    /// What is wrong with choosing these labels.
    pub(crate) fn wrong_selection(&self, labels: &[String]) -> Option<String> {
        let asked = &self.question;
        if let Some(unknown) = labels.iter().find(|label| !self.options.iter().any(|option| option.label == **label)) {
            return Some(format!("`{unknown}` is no option of `{asked}`"));
        }
        if let Some((_, twice)) = labels.iter().enumerate().find(|(place, label)| labels[..*place].contains(label)) {
            return Some(format!("`{twice}` is chosen twice for `{asked}`"));
        }
        (!self.multi_select && labels.len() != 1)
            .then(|| format!("`{asked}` takes one option, {} are chosen", labels.len()))
    }

    /// Marks the labels as chosen.
    pub(crate) fn select(&mut self, labels: Vec<String>) {
        for option in &mut self.options {
            option.selected = labels.contains(&option.label);
        }
        self.selected_options = Some(labels);
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

/// Fills open fields with the values that stand beside them. Says whether it filled any.
fn fill_fields(fields: &mut [UserInputField], beside: &[UserInputField]) -> bool {
    let mut filled = false;
    for field in fields.iter_mut().filter(|field| field.value.is_none()) {
        field.value = beside.iter().find(|other| other.name == field.name).and_then(|other| other.value.clone());
        filled |= field.value.is_some();
    }
    filled
}

/// Fills open questions with the answers that stand beside them. Says whether it filled any.
fn fill_questions(questions: &mut [UserFeedbackQuestion], beside: &[UserFeedbackQuestion]) -> bool {
    let mut filled = false;
    for question in questions.iter_mut().filter(|question| question.selected_options.is_none()) {
        let other = beside.iter().find(|other| other.question == question.question);
        if let Some(labels) = other.and_then(|other| other.selected_options.clone()) {
            question.select(labels);
            filled = true;
        }
    }
    filled
}
