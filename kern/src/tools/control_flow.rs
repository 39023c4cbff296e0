//! `get_user_input`: the model asks the user for values it does not have.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::form::{Form, spaced};
use super::{
    ArgumentError, Arguments, PauseType, Tool, ToolCall, ToolDescriptor, ToolError, ToolFuture, ToolHandle, ToolOutput,
    ToolPolicy, Toolkit,
};
use crate::run::UserInputField;

const FORM: Form = Form::Fields;
/// Fields of one form: more than anybody fills at once.
const MOST_FIELDS: usize = 20;

const INSTRUCTIONS: &str = "\
The tool `get_user_input` shows the user a form and gives you what they filled in.
- When a value is missing that only the user knows, call it. Do not ask in a reply, do not guess, and do not give up.
- Ask for what is missing and for nothing that you know already, all of it in one form.
- Give each field a name of its own, a short description that says what to fill in, and its type: str, int, float, \
bool, list or dict.
- Take the values as they are and go on with them. Do not ask for the same field a second time, and do not ask whether \
the values are right.";

/// A tool with which the model asks the user for values: `get_user_input`.
///
/// The run pauses with the fields as a form ([`RunRequirement::needs_user_input`](crate::run::RunRequirement)), the
/// user fills it with `provide_user_input`, and the model is told the values. It is the user's own decision, as with
/// `requires_user_input`: stored, bound to what was shown, and taken once.
///
/// # Examples
///
/// ```
/// use kern::models::{ScriptedModel, turn};
/// use kern::prelude::*;
/// use kern::tools::UserControlFlowTools;
///
/// # #[tokio::main]
/// # async fn main() -> kern::Result<()> {
/// let fields = json!([{ "field_name": "city", "field_type": "str", "field_description": "Where to" }]);
/// let model = ScriptedModel::new([
///     turn().tool_call("get_user_input", json!({ "user_input_fields": fields })),
///     turn().text("Paris it is."),
/// ]);
/// let agent = Agent::builder().model(model).toolkit(UserControlFlowTools::new()).build()?;
/// let mut run = agent.run("Book a trip").await?;
/// for requirement in run.active_requirements_mut() {
///     requirement.provide_user_input([("city", json!("Paris"))])?;
/// }
/// let run = agent.continue_run(&run.run_id).requirements(run.requirements).await?;
/// assert_eq!(run.content(), "Paris it is.");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a toolkit is given to an agent with `.toolkit(…)`"]
pub struct UserControlFlowTools {
    add_instructions: bool,
}

impl Default for UserControlFlowTools {
    fn default() -> Self {
        Self::new()
    }
}

impl UserControlFlowTools {
    /// Makes the toolkit. The model is told when to use the tool.
    pub const fn new() -> Self {
        Self { add_instructions: true }
    }

    /// Sets whether the model is told when to use the tool. On by default.
    pub const fn add_instructions(mut self, add: bool) -> Self {
        self.add_instructions = add;
        self
    }
}

impl Toolkit for UserControlFlowTools {
    fn tools(self: Arc<Self>) -> Vec<ToolHandle> {
        vec![ToolHandle::new(GetUserInput(descriptor()))]
    }

    fn instructions(&self) -> Option<&str> {
        self.add_instructions.then_some(INSTRUCTIONS)
    }
}

struct GetUserInput(ToolDescriptor);

fn descriptor() -> ToolDescriptor {
    let parameters = json!({
        "type": "object",
        "properties": {
            FORM.argument(): {
                "type": "array",
                "description": "The fields that the user has to fill.",
                "minItems": 1,
                "maxItems": MOST_FIELDS,
                "items": {
                    "type": "object",
                    "properties": {
                        "field_name": { "type": "string", "description": "A name that no other field has." },
                        "field_type": {
                            "type": "string",
                            "description": "What the value is.",
                            "enum": ["str", "int", "float", "bool", "list", "dict"],
                        },
                        "field_description": { "type": "string", "description": "What the user should fill in." },
                    },
                    "required": ["field_name", "field_type", "field_description"],
                    "additionalProperties": false,
                },
            },
        },
        "required": [FORM.argument()],
        "additionalProperties": false,
    });
    ToolDescriptor::new("get_user_input", "Ask the user to fill in values that you need and do not have.", parameters)
        .policy(ToolPolicy::new(Some(PauseType::UserInput), None))
        .form(FORM)
}

impl Tool for GetUserInput {
    fn descriptor(&self) -> &ToolDescriptor {
        &self.0
    }

    fn check(&self, arguments: &Arguments, unfilled: &[String]) -> Result<(), Vec<ArgumentError>> {
        FORM.check(arguments, unfilled, &read(arguments)?, wrong_value)
    }

    fn call(&self, call: ToolCall) -> ToolFuture {
        let (arguments, _) = match call.enter(self) {
            Ok(parts) => parts,
            Err(refused) => return Box::pin(async { Err(refused) }),
        };
        let told = read(&arguments).map(|fields| {
            let values: Vec<Value> =
                fields.into_iter().map(|field| json!({ "name": field.name, "value": field.value })).collect();
            ToolOutput::new(format!("User inputs retrieved: {}", spaced(&Value::Array(values))))
        });
        Box::pin(async { told.map_err(|_| ToolError::new("the form that was answered cannot be read")) })
    }
}

/// One field, as the model asks for it, with the user's value where there is one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    field_name: String,
    field_type: String,
    field_description: Option<String>,
    value: Option<Value>,
}

/// Reads the form.
///
/// # Errors
///
/// Everything that is wrong with what is asked: there is nothing, or too much, or it cannot be told apart.
pub(super) fn read(arguments: &Arguments) -> Result<Vec<UserInputField>, Vec<ArgumentError>> {
    let asked: Vec<Asked> = FORM.read(arguments, MOST_FIELDS)?;
    let names: Vec<&str> = asked.iter().map(|asked| asked.field_name.as_str()).collect();
    FORM.distinct(&names)?;
    let fields = asked.into_iter().map(|asked| UserInputField {
        name: asked.field_name,
        field_type: known_type(&asked.field_type).to_owned(),
        description: asked.field_description,
        value: asked.value,
    });
    Ok(fields.collect())
}

/// A type by its word. One that nobody knows is a text, as in the reference.
fn known_type(word: &str) -> &'static str {
    match word {
        "int" => "int",
        "float" => "float",
        "bool" => "bool",
        "list" => "list",
        "dict" => "dict",
        _ => "str",
    }
}

fn wrong_value(field: &UserInputField) -> Option<String> {
    let UserInputField { name, field_type, value, .. } = field;
    let Some(value) = value else {
        return Some(format!("`{name}` is not filled"));
    };
    let fits = match field_type.as_str() {
        "int" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        "bool" => value.is_boolean(),
        "list" => value.is_array(),
        "dict" => value.is_object(),
        _ => value.is_string(),
    };
    (!fits).then(|| format!("`{name}` is to be of type `{field_type}`"))
}
