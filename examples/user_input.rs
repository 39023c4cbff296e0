//! A tool leaves one argument to the user: the model cannot make up the address that mail goes to.
//!
//! `cargo run --example user_input`
#![allow(clippy::print_stdout)]

use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Send an e-mail.
#[tool(user_input_fields("to_address"))]
async fn send_email(
    /// What it is about.
    subject: String,
    /// Who gets it.
    to_address: String,
) -> String {
    format!("\"{subject}\" has been sent to {to_address}.")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The model is not asked for the address, and a call that brings one is refused.
    let model = ScriptedModel::new([
        turn().tool_call("send_email", json!({ "subject": "Offer", "to_address": "somebody@example.com" })),
        turn().tool_call("send_email", json!({ "subject": "Offer" })),
        turn().text("The offer is on its way."),
    ]);
    let agent = Agent::builder().id("mail").model(model).tools(tools![send_email]).build()?;

    let run = agent.run("Send our offer").user_id("alice").await?;
    assert!(run.is_paused());
    let [refused, _] = run.tool_calls() else { panic!("the model called twice") };
    println!("the model was told: {}", refused.result.as_deref().unwrap_or("-"));

    // The form holds every argument, filled where the model has filled it.
    let open = run.active_requirements().next().expect("one call waits");
    for field in open.user_input_schema.iter().flatten() {
        let value = field.value.as_ref().map_or("?".to_owned(), ToString::to_string);
        println!("{} ({}): {value}", field.name, field.field_type);
    }

    // A value has to fit the tool's types. Nothing is stored of one that does not, and nothing runs.
    let mut wrong = open.clone();
    wrong.provide_user_input([("to_address", json!(42))])?;
    let error = agent.continue_run(&run.run_id).requirements([wrong]).user_id("alice").await;
    let error = error.expect_err("42 is no address");
    println!("refused: {error}");
    assert_eq!(error.code(), "invalid_answer");

    let mut answered = open.clone();
    answered.provide_user_input([("to_address", json!("bob@example.com"))])?;
    assert!(answered.is_resolved());
    let run = agent.continue_run(&run.run_id).requirements([answered]).user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);
    let [_, sent] = run.tool_calls() else { panic!("the model called twice") };
    println!("{} {}: {}", sent.name(), json!(sent.tool_args), sent.result.as_deref().unwrap_or("-"));
    assert_eq!(sent.result.as_deref(), Some("\"Offer\" has been sent to bob@example.com."));
    println!("model: {}", run.content());
    Ok(())
}
