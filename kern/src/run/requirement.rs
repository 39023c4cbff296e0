//! What a paused run asks for, and the answers: `RunRequirement` and `ToolExecution`, with the JSON of the reference.
//!
//! Both travel: a client may keep them and send them back. Nothing in them is believed but the requester's own answer,
//! and that only for the version that was shown.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use kern_db::{ApprovalId, ApprovalType, PauseType};

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
    /// When the body of a call that nobody was asked about ran: `start_time` and `end_time` (epoch seconds) and `duration`
    /// (seconds).
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
    pub user_feedback_schema: Option<Value>,
    /// Whether all values are there.
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

/// What a paused run asks for about one call. In JSON, absent values are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunRequirement {
    /// A UUID.
    #[serde(default)]
    pub id: String,
    /// ISO 8601, UTC.
    #[serde(default)]
    pub created_at: String,
    /// The requester's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Consent>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation_note: Option<String>,
    /// What another system gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_execution_result: Option<String>,
    /// In a team: the member that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_agent_id: Option<String>,
    /// In a team: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_agent_name: Option<String>,
    /// In a team: its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_run_id: Option<String>,
    /// The call.
    #[serde(default)]
    pub tool_execution: ToolExecution,
    /// The values it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_input_schema: Option<Vec<UserInputField>>,
    /// The questions it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_feedback_schema: Option<Value>,
}

impl ToolExecution {
    /// The tool's name.
    pub fn name(&self) -> &str {
        self.tool_name.as_deref().unwrap_or("unknown")
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
        self.external_execution_result.as_deref().or(self.tool_execution.result.as_deref())
    }

    /// The fields with the values given for them: those on the call, else those beside it.
    pub(crate) fn fields(&self) -> Vec<UserInputField> {
        let beside = self.user_input_schema.as_deref().unwrap_or_default();
        let on_call = self.tool_execution.user_input_schema.as_deref().unwrap_or_default();
        let fields = if on_call.is_empty() { beside } else { on_call };
        fields
            .iter()
            .map(|field| {
                let mut field = field.clone();
                if field.value.is_none() {
                    field.value =
                        beside.iter().find(|other| other.name == field.name).and_then(|other| other.value.clone());
                }
                field
            })
            .collect()
    }

    /// Whether a yes or a no is asked for and not given.
    pub fn needs_confirmation(&self) -> bool {
        self.tool_execution.requires_confirmation == Some(true) && self.consent().is_none()
    }

    /// Whether values are asked for and not given.
    pub fn needs_user_input(&self) -> bool {
        self.tool_execution.answered != Some(true)
            && self.consent() != Some(Consent::Rejected)
            && (self.tool_execution.requires_user_input == Some(true)
                || self.fields().iter().any(|field| field.value.is_none()))
    }

    /// Whether questions are asked and not answered.
    pub fn needs_user_feedback(&self) -> bool {
        self.user_feedback_schema.is_some() && self.tool_execution.answered != Some(true)
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

    /// What the call waits for.
    pub fn pause_type(&self) -> PauseType {
        let call = &self.tool_execution;
        if call.external_execution_required == Some(true) {
            PauseType::ExternalExecution
        } else if call.requires_user_input == Some(true) {
            PauseType::UserInput
        } else {
            PauseType::Confirmation
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
        } else if self.needs_user_input() {
            "it waits for `provide_user_input` or `reject`"
        } else {
            "it is answered already"
        };
        Error::InvalidAnswer(format!("`{method}` does not fit the requirement of tool `{}`: {asks}", self.tool_name()))
    }
}
