//! `ask_user`: the model lets the user choose between options.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::form::{Form, indistinct, spaced};
use super::{
    ArgumentError, Arguments, PauseType, Tool, ToolCall, ToolDescriptor, ToolError, ToolFuture, ToolHandle, ToolOutput,
    ToolPolicy, Toolkit,
};
use crate::run::{UserFeedbackOption, UserFeedbackQuestion};

const FORM: Form = Form::Questions;
/// Questions of one form, and options of one question: more than anybody looks through at once.
const MOST_QUESTIONS: usize = 10;
const MOST_OPTIONS: usize = 20;
/// Characters of a header.
const LONGEST_HEADER: usize = 12;

const INSTRUCTIONS: &str = "\
The tool `ask_user` shows the user questions with options and gives you what they chose.
- Call it when the user has to choose and you can name what there is to choose from.
- A question has a header of at most 12 characters, a text that is clear by itself and ends with a question mark, and \
options, best two to four.
- An option has a label; add a description where the label does not say it all.
- Set `multi_select` only where several options can be right at the same time.";

/// A tool with which the model lets the user choose between options: `ask_user`.
///
/// The run pauses with the questions ([`RunRequirement::needs_user_feedback`](crate::run::RunRequirement)), the user
/// answers them with `provide_user_feedback`, and the model is told the labels. It is the user's own decision, as with
/// `requires_user_input`: stored, bound to what was shown, and taken once.
///
/// # Examples
///
/// ```
/// use kern::models::{ScriptedModel, turn};
/// use kern::prelude::*;
/// use kern::tools::UserFeedbackTools;
///
/// # #[tokio::main]
/// # async fn main() -> kern::Result<()> {
/// let region = json!({
///     "question": "Which region?",
///     "header": "Region",
///     "options": [{ "label": "eu", "description": "Frankfurt" }, { "label": "us" }],
/// });
/// let model = ScriptedModel::new([
///     turn().tool_call("ask_user", json!({ "questions": [region] })),
///     turn().text("Europe it is."),
/// ]);
/// let agent = Agent::builder().model(model).toolkit(UserFeedbackTools::new()).build()?;
/// let mut run = agent.run("Set up a server").await?;
/// for requirement in run.active_requirements_mut() {
///     requirement.provide_user_feedback([("Which region?", ["eu"])])?;
/// }
/// let run = agent.continue_run(&run.run_id).requirements(run.requirements).await?;
/// assert_eq!(run.content(), "Europe it is.");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "a toolkit is given to an agent with `.toolkit(…)`"]
pub struct UserFeedbackTools {
    add_instructions: bool,
}

impl Default for UserFeedbackTools {
    fn default() -> Self {
        Self::new()
    }
}

impl UserFeedbackTools {
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

impl Toolkit for UserFeedbackTools {
    fn tools(self: Arc<Self>) -> Vec<ToolHandle> {
        vec![ToolHandle::new(AskUser(descriptor()))]
    }

    fn instructions(&self) -> Option<&str> {
        self.add_instructions.then_some(INSTRUCTIONS)
    }
}

struct AskUser(ToolDescriptor);

fn descriptor() -> ToolDescriptor {
    let option = json!({
        "type": "object",
        "properties": {
            "label": { "type": "string", "description": "What the user chooses. No other option has it." },
            "description": { "type": "string", "description": "What choosing it means." },
        },
        "required": ["label"],
        "additionalProperties": false,
    });
    let question = json!({
        "type": "object",
        "properties": {
            "question": { "type": "string", "description": "The question in full. No other has the same text." },
            "header": {
                "type": "string",
                "description": "One or two words to find it by.",
                "maxLength": LONGEST_HEADER,
            },
            "options": { "type": "array", "minItems": 1, "maxItems": MOST_OPTIONS, "items": option },
            "multi_select": { "type": "boolean", "description": "Whether several options may be chosen.", "default": false },
        },
        "required": ["question", "header", "options"],
        "additionalProperties": false,
    });
    let parameters = json!({
        "type": "object",
        "properties": {
            FORM.argument(): {
                "type": "array",
                "description": "The questions to show.",
                "minItems": 1,
                "maxItems": MOST_QUESTIONS,
                "items": question,
            },
        },
        "required": [FORM.argument()],
        "additionalProperties": false,
    });
    ToolDescriptor::new("ask_user", "Let the user choose between options that you name.", parameters)
        .policy(ToolPolicy::new(Some(PauseType::UserInput), None))
        .form(FORM)
}

impl Tool for AskUser {
    fn descriptor(&self) -> &ToolDescriptor {
        &self.0
    }

    fn check(&self, arguments: &Arguments, unfilled: &[String]) -> Result<(), Vec<ArgumentError>> {
        FORM.check(arguments, unfilled, &read(arguments)?, |question| match &question.selected_options {
            None => Some(format!("`{}` is not answered", question.question)),
            Some(labels) => question.wrong_selection(labels),
        })
    }

    fn call(&self, call: ToolCall) -> ToolFuture {
        let (arguments, _) = match call.enter(self) {
            Ok(parts) => parts,
            Err(refused) => return Box::pin(async { Err(refused) }),
        };
        let told = read(&arguments).map(|questions| {
            let answer =
                |asked: UserFeedbackQuestion| json!({ "question": asked.question, "selected": asked.selected_options });
            let answers: Vec<Value> = questions.into_iter().map(answer).collect();
            ToolOutput::new(format!("User feedback received: {}", spaced(&Value::Array(answers))))
        });
        Box::pin(async { told.map_err(|_| ToolError::new("the questions that were answered cannot be read")) })
    }
}

/// One question, as the model asks it, with the user's choice where there is one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    question: String,
    header: String,
    options: Vec<AskedOption>,
    #[serde(default)]
    multi_select: bool,
    selected_options: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedOption {
    label: String,
    description: Option<String>,
}

/// Reads the questions.
///
/// # Errors
///
/// Everything that is wrong with what is asked: there is nothing, or too much, or it cannot be told apart.
pub(super) fn read(arguments: &Arguments) -> Result<Vec<UserFeedbackQuestion>, Vec<ArgumentError>> {
    let asked: Vec<Asked> = FORM.read(arguments, MOST_QUESTIONS)?;
    let texts: Vec<&str> = asked.iter().map(|asked| asked.question.as_str()).collect();
    FORM.distinct(&texts)?;
    let errors: Vec<ArgumentError> = asked
        .iter()
        .enumerate()
        .flat_map(|(place, asked)| wrong_question(asked).into_iter().map(move |what| FORM.error(place, what)))
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(asked.into_iter().map(shown).collect())
}

fn wrong_question(asked: &Asked) -> Vec<String> {
    let mut wrong = Vec::new();
    if asked.header.trim().is_empty() {
        wrong.push("`header` is empty".to_owned());
    }
    if asked.header.chars().count() > LONGEST_HEADER {
        wrong.push(format!("`header` has more than {LONGEST_HEADER} characters"));
    }
    if asked.options.is_empty() {
        wrong.push("`options` is empty: there is nothing to choose from".to_owned());
    }
    if asked.options.len() > MOST_OPTIONS {
        wrong.push(format!("`options` has {} entries, {MOST_OPTIONS} are allowed", asked.options.len()));
    }
    let labels: Vec<&str> = asked.options.iter().map(|option| option.label.as_str()).collect();
    wrong.extend(indistinct(&labels, "label").map(|(place, what)| format!("/options/{place}: {what}")));
    wrong
}

fn shown(asked: Asked) -> UserFeedbackQuestion {
    let mut question = UserFeedbackQuestion {
        question: asked.question,
        header: Some(asked.header),
        multi_select: asked.multi_select,
        selected_options: None,
        options: asked
            .options
            .into_iter()
            .map(|option| UserFeedbackOption { label: option.label, description: option.description, selected: false })
            .collect(),
    };
    if let Some(labels) = asked.selected_options {
        question.select(labels);
    }
    question
}
