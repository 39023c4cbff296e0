//! The person who asked confirms each call before it runs, or rejects it with a reason.
//!
//! `cargo run --example user_confirmation`
#![allow(clippy::print_stdout)]

use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Restart a service.
#[tool(requires_confirmation)]
async fn restart_service(
    /// Name of the service.
    name: String,
) -> String {
    format!("{name} has been restarted.")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = ScriptedModel::new([
        turn()
            .tool_call("restart_service", json!({ "name": "web-1" }))
            .tool_call("restart_service", json!({ "name": "db-1" })),
        turn().text("web-1 is up again. I left db-1 alone."),
    ]);
    // Without `.db()` the agent keeps its runs in memory. That is enough where nobody else has to decide.
    let agent = Agent::builder().id("ops").model(model).tools(tools![restart_service]).build()?;

    let mut run = agent.run("Restart web-1 and db-1").user_id("alice").await?;
    assert!(run.is_paused());

    // A chat would ask here. This user wants web-1 restarted, and not db-1.
    for requirement in run.active_requirements_mut() {
        assert!(requirement.needs_confirmation());
        let arguments = requirement.tool_args();
        if arguments["name"] == "web-1" {
            requirement.confirm()?;
            println!("{} {arguments}: confirmed", requirement.tool_name());
        } else {
            requirement.reject("a backup is running")?;
            println!("{} {arguments}: rejected", requirement.tool_name());
        }
    }

    // The answers go back with the run. They are stored before anything starts.
    let run = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);
    for call in run.tool_calls() {
        println!("{} {}: {}", call.name(), json!(call.tool_args), call.result.as_deref().unwrap_or("-"));
    }
    println!("model: {}", run.content());

    let [web, database] = run.tool_calls() else { panic!("the model made two calls") };
    assert_eq!(web.result.as_deref(), Some("web-1 has been restarted."));
    assert_eq!(database.tool_call_error, Some(true));
    assert!(database.result.as_deref().is_some_and(|told| told.contains("a backup is running")));
    Ok(())
}
