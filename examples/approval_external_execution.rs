//! Another system executes a call after an administrator approved it: the body never runs here, and the result is brought by
//! the administrator with the yes, or later by the person who asked.
//!
//! `cargo run --example approval_external_execution`
#![allow(clippy::print_stdout)]

use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Open a port of the firewall. The network team does it.
#[approval]
#[tool(external_execution)]
async fn open_port(
    /// The port.
    port: u16,
) -> String {
    unreachable!("port {port} is opened by another system")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("kern-approval-external-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = SqliteDb::open(folder.join("app.db")).await?;
    let model = ScriptedModel::new([
        turn().tool_call("open_port", json!({ "port": 8443 })),
        turn().text("The port is taken care of."),
    ]);
    let agent = Agent::builder().id("network").model(model).tools(tools![open_port]).db(db.clone()).build()?;

    // Bob approves, and has done it himself: his yes and the result are one decision.
    let run = agent.run("Open port 8443").user_id("alice").await?;
    let waiting = db.list_approvals(ApprovalFilter::new().run_id(&run.run_id)).await?;
    let yes = Resolution::approved().by("bob").data(json!({ "result": "open since 14:05, ticket 17" }));
    let decided = db.update_approval(&waiting.data[0].id, ApprovalStatus::Pending, yes).await?;
    println!("{} by {}", decided.status, decided.resolved_by.as_deref().unwrap_or("-"));
    let run = agent.continue_run(&run.run_id).user_id("alice").await?;
    assert_eq!(run.tool_calls()[0].result.as_deref(), Some("open since 14:05, ticket 17"));
    println!("the model was told: {}", run.tool_calls()[0].result.as_deref().unwrap_or("-"));

    // Or Bob only approves, and Alice brings the result. Before his yes, none is taken.
    let mut run = agent.run("Open port 8443").user_id("alice").await?;
    for requirement in run.active_requirements_mut() {
        requirement.set_external_execution_result("open since 15:40")?;
    }
    let early = agent.continue_run(&run.run_id).requirements(run.requirements.clone()).user_id("alice").await;
    assert_eq!(early.expect_err("nobody has approved").code(), "approval_pending");
    let waiting = db.list_approvals(ApprovalFilter::new().run_id(&run.run_id)).await?;
    db.update_approval(&waiting.data[0].id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await?;
    let run = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);
    println!("the model was told: {}", run.tool_calls()[0].result.as_deref().unwrap_or("-"));

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
