//! An administrator approves a tool call: the run pauses, somebody other than the requester decides, the run goes on.
//!
//! `cargo run --example approval_basic`
#![allow(clippy::print_stdout)]

use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Permanently delete all data of a user.
#[approval]
#[tool]
async fn delete_user_data(
    /// Id of the user, for example `u_42`.
    user_id: String,
) -> String {
    format!("All data of user {user_id} has been deleted.")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("kern-approval-basic-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = SqliteDb::open(folder.join("app.db")).await?;

    // A model that plays a script, so that the example needs no key and no network. With kern's feature `openai`, write
    // `.model("openai:gpt-4o-mini")` instead.
    let model = ScriptedModel::new([
        turn().tool_call("delete_user_data", json!({ "user_id": "u_42" })),
        turn().text("The data of user u_42 is gone."),
    ]);
    let agent = Agent::builder()
        .id("data-manager")
        .model(model)
        .tools(tools![delete_user_data])
        .instructions("You help users manage data operations.")
        .db(db.clone())
        .build()?;

    // Alice asks. The model calls the tool, and the run pauses before it.
    let run = agent.run("Delete everything about user u_42").user_id("alice").await?;
    assert!(run.is_paused());
    println!("run {} is {}", run.run_id, run.status);

    // What waits for an administrator is a row in the store.
    let filter = ApprovalFilter::new().status(ApprovalStatus::Pending).run_id(&run.run_id);
    let waiting = db.list_approvals(filter).await?;
    let approval = &waiting.data[0];
    let (tool, arguments) = (approval.tool_name.as_deref().unwrap_or("-"), json!(approval.tool_args));
    println!("waiting: {tool} {arguments}, asked for by {}", approval.user_id.as_deref().unwrap_or("-"));

    // Until somebody decides, the run does not go on. Alice cannot decide about her own request.
    let early = agent.continue_run(&run.run_id).await.expect_err("nobody has decided");
    println!("continued too early: {early}");
    assert_eq!(early.code(), "approval_pending");
    let own = db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("alice")).await;
    assert_eq!(own.expect_err("alice asked").code(), "not_permitted");

    // Bob decides. The second argument is the status he expects: whoever comes second gets a conflict.
    let decided = db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await?;
    println!("{} by {}", decided.status, decided.resolved_by.as_deref().unwrap_or("-"));
    let late = db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::rejected().by("carol")).await;
    assert_eq!(late.expect_err("bob was first").code(), "conflict");

    let run = agent.continue_run(&run.run_id).user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(run.tool_calls()[0].result.as_deref(), Some("All data of user u_42 has been deleted."));
    println!("run {} is {}: {}", run.run_id, run.status, run.content());

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
