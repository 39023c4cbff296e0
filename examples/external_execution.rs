//! Another system runs the tool: the run pauses, and goes on with the result that is brought back.
//!
//! `cargo run --example external_execution`
#![allow(clippy::print_stdout)]

use kern::db::{ExecutionFilter, SqliteDb};
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Open a ticket in the workshop's own system.
#[tool(external_execution)]
async fn open_ticket(
    /// What is broken.
    what: String,
) -> String {
    unreachable!("the workshop opens the ticket for `{what}`, this body never runs")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("kern-external-execution-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = SqliteDb::open(folder.join("app.db")).await?;
    let model = ScriptedModel::new([
        turn().tool_call("open_ticket", json!({ "what": "door 3" })),
        turn().text("Ticket 17 is open."),
    ]);
    let agent = Agent::builder().id("desk").model(model).tools(tools![open_ticket]).db(db.clone()).build()?;

    let mut run = agent.run("Door 3 does not close").user_id("alice").await?;
    assert!(run.is_paused());

    // Without the result the run does not go on.
    let early = agent.continue_run(&run.run_id).user_id("alice").await.expect_err("there is no result");
    println!("continued too early: {early}");
    assert_eq!(early.code(), "requirements_unresolved");

    // The workshop gets the tool's name and its arguments, and gives a text.
    for requirement in run.active_requirements_mut() {
        assert!(requirement.needs_external_execution());
        println!("to the workshop: {} {}", requirement.tool_name(), requirement.tool_args());
        requirement.set_external_execution_result("ticket 17, 2 days")?;
        // One result, and no second.
        let twice = requirement.set_external_execution_result("ticket 18").expect_err("there is one already");
        println!("refused: {twice}");
    }
    let run = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(run.tool_calls()[0].result.as_deref(), Some("ticket 17, 2 days"));
    println!("model: {}", run.content());

    // It is recorded as every call: allowed by the user's answer, with its result.
    let executions = db.list_executions(ExecutionFilter::new().run_id(&run.run_id)).await?;
    assert_eq!(executions[0].result.as_deref(), Some("ticket 17, 2 days"));
    println!("execution {} {}", executions[0].status, executions[0].result.as_deref().unwrap_or("-"));

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
