//! One call of a run, as clients see it: `ToolExecution`, with the JSON of the reference.

use kern_db::{ApprovalId, ApprovalType, CallPolicy, PauseType, Tier};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::feedback::UserFeedbackQuestion;

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

/// Fills open fields with the values that stand beside them. Says whether it filled any.
pub(super) fn fill_fields(fields: &mut [UserInputField], beside: &[UserInputField]) -> bool {
    let mut filled = false;
    for field in fields.iter_mut().filter(|field| field.value.is_none()) {
        field.value = beside.iter().find(|other| other.name == field.name).and_then(|other| other.value.clone());
        filled |= field.value.is_some();
    }
    filled
}
