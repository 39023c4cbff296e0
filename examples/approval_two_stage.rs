//! Two decisions for one call: the administrator approves it, and the person who asked confirms it.
//!
//! `cargo run --example approval_two_stage`
#![allow(clippy::print_stdout)]

use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Permanently delete all data of a user.
#[approval]
#[tool(requires_confirmation)]
async fn delete_user_data(
    /// Id of the user, for example `u_42`.
    user_id: String,
) -> String {
    format!("All data of user {user_id} has been deleted.")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("kern-approval-two-stage-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = SqliteDb::open(folder.join("app.db")).await?;
    let model = ScriptedModel::new([
        turn().tool_call("delete_user_data", json!({ "user_id": "u_42" })),
        turn().text("The data of user u_42 is gone."),
    ]);
    let agent =
        Agent::builder().id("data-manager").model(model).tools(tools![delete_user_data]).db(db.clone()).build()?;

    let mut run = agent.run("Delete everything about user u_42").user_id("alice").await?;
    assert!(run.is_paused());

    // Alice confirms at once. That is stored, and it is not enough.
    for requirement in run.active_requirements_mut() {
        println!("alice confirms {} {}", requirement.tool_name(), requirement.tool_args());
        requirement.confirm()?;
    }
    let early = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await;
    let early = early.expect_err("the administrator has not decided");
    println!("continued too early: {early}");
    assert_eq!(early.code(), "approval_pending");

    // The administrator approves. Alice could not have: she asked.
    let waiting = db.list_approvals(ApprovalFilter::new().run_id(&run.run_id)).await?;
    let approval = &waiting.data[0];
    let own = db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("alice")).await;
    assert_eq!(own.expect_err("alice asked").code(), "not_permitted");
    db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await?;
    println!("bob approves it");

    // Both have decided, so anybody may resume the run: here a worker that looks for such runs, perhaps by night.
    let mut resumed = agent.resume_decided_runs().await?;
    let run = resumed.remove(0)?;
    assert_eq!(run.status, RunStatus::Completed);
    println!("{}", run.tool_calls()[0].result.as_deref().unwrap_or("-"));

    // Both decisions are in the log, each with who made it.
    let entries = db.audit().entries(0, 100).await?;
    for entry in entries.iter().filter(|entry| ["confirmed", "approved"].contains(&entry.action.as_str())) {
        println!("{:<9}  {}", entry.action, entry.actor);
    }
    let count = |action: &str| entries.iter().filter(|entry| entry.action == action).count();
    assert_eq!((count("confirmed"), count("approved"), count("executing")), (1, 1, 1));

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
