//! The model asks the user: first to choose between options, then for values that only the user knows.
//!
//! `cargo run --example user_feedback`
#![allow(clippy::print_stdout)]

use kern::models::{ScriptedModel, turn};
use kern::prelude::*;
use kern::tools::{UserControlFlowTools, UserFeedbackTools};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = ScriptedModel::new([
        turn().tool_call(
            "ask_user",
            json!({ "questions": [
                {
                    "question": "Which region?",
                    "header": "Region",
                    "options": [{ "label": "eu", "description": "Frankfurt" }, { "label": "us", "description": "Ohio" }],
                },
                {
                    "question": "Which extras?",
                    "header": "Extras",
                    "options": [{ "label": "backup" }, { "label": "monitoring" }, { "label": "support" }],
                    "multi_select": true,
                },
            ] }),
        ),
        turn().tool_call(
            "get_user_input",
            json!({ "user_input_fields": [
                { "field_name": "name", "field_type": "str", "field_description": "What the server is called" },
                { "field_name": "disk", "field_type": "int", "field_description": "Size of its disk in GB" },
            ] }),
        ),
        turn().text("web-1 will run in Frankfurt, with 40 GB, backup and monitoring."),
    ]);
    // Each toolkit brings one tool, and tells the model when to use it.
    let agent = Agent::builder()
        .id("hosting")
        .model(model)
        .toolkit(UserFeedbackTools::new())
        .toolkit(UserControlFlowTools::new())
        .build()?;

    let mut run = agent.run("I need a server").user_id("alice").await?;
    while run.is_paused() {
        for requirement in run.active_requirements_mut() {
            // A chat would show the questions here. This user knows what she wants.
            for question in requirement.user_feedback_schema.iter().flatten() {
                let labels: Vec<&str> = question.options.iter().map(|option| option.label.as_str()).collect();
                println!("{} {}", question.question, labels.join(" | "));
            }
            for field in requirement.user_input_schema.iter().flatten() {
                println!("{} ({}): {}?", field.name, field.field_type, field.description.as_deref().unwrap_or("-"));
            }
            if requirement.needs_user_feedback() {
                // What was not offered cannot be chosen.
                let wrong = requirement.provide_user_feedback([("Which region?", ["mars"])]);
                println!("refused: {}", wrong.expect_err("mars is no option"));
                let answers = [("Which region?", vec!["eu"]), ("Which extras?", vec!["backup", "monitoring"])];
                requirement.provide_user_feedback(answers)?;
            } else if requirement.needs_user_input() {
                requirement.provide_user_input([("name", json!("web-1")), ("disk", json!(40))])?;
            }
            assert!(requirement.is_resolved());
        }
        run = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await?;
    }

    for call in run.tool_calls() {
        println!("{}: {}", call.name(), call.result.as_deref().unwrap_or("-"));
    }
    println!("model: {}", run.content());
    assert_eq!(run.status, RunStatus::Completed);
    let [choice, form] = run.tool_calls() else { panic!("the model asked twice") };
    assert!(choice.result.as_deref().is_some_and(|told| told.contains(r#""selected": ["backup", "monitoring"]"#)));
    assert!(form.result.as_deref().is_some_and(|told| told.contains(r#"{"name": "disk", "value": 40}"#)));
    Ok(())
}
