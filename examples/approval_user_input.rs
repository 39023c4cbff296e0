//! A call that lacks a value which only people have, and that an administrator decides: whoever of the two fills it in, it is
//! checked, and it is what runs.
//!
//! `cargo run --example approval_user_input`
#![allow(clippy::print_stdout)]

use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Send a contract to somebody.
#[approval]
#[tool(user_input_fields("to_address"))]
async fn send_contract(
    /// Which one.
    contract: String,
    /// The model is not asked for it.
    to_address: String,
) -> String {
    format!("Sent {contract} to {to_address}.")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("kern-approval-user-input-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = SqliteDb::open(folder.join("app.db")).await?;
    let model = ScriptedModel::new([
        turn().tool_call("send_contract", json!({ "contract": "nda" })),
        turn().text("The contract is on its way."),
    ]);
    let agent = Agent::builder().id("legal").model(model).tools(tools![send_contract]).db(db.clone()).build()?;

    // Alice knows the address: she fills it in, and Bob approves what is complete now. He says which version he has seen.
    let mut run = agent.run("Send the NDA").user_id("alice").await?;
    let waiting = db.list_approvals(ApprovalFilter::new().run_id(&run.run_id)).await?;
    let id = waiting.data[0].id.clone();
    let early = db.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await;
    println!("too early: {}", early.expect_err("a value is missing"));
    for requirement in run.active_requirements_mut() {
        requirement.provide_user_input([("to_address", json!("carol@example.org"))])?;
    }
    let waits = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await;
    assert_eq!(waits.expect_err("nobody has approved").code(), "approval_pending");
    let seen = db.get_approval(&id).await?.ok_or("the approval is there")?;
    let yes = Resolution::approved().by("bob").digest(&seen.digest);
    db.update_approval(&id, ApprovalStatus::Pending, yes).await?;
    let run = agent.continue_run(&run.run_id).user_id("alice").await?;
    assert_eq!(run.tool_calls()[0].result.as_deref(), Some("Sent nda to carol@example.org."));
    println!("filled in by alice: {}", run.tool_calls()[0].result.as_deref().unwrap_or("-"));

    // Or Bob knows it: the value goes with his yes.
    let run = agent.run("Send the NDA").user_id("alice").await?;
    let waiting = db.list_approvals(ApprovalFilter::new().run_id(&run.run_id)).await?;
    let values = json!({ "values": { "to_address": "dan@example.org" } });
    let yes = Resolution::approved().by("bob").data(values);
    let decided = db.update_approval(&waiting.data[0].id, ApprovalStatus::Pending, yes).await?;
    assert_eq!((decided.status, decided.version), (ApprovalStatus::Approved, 1));
    let run = agent.continue_run(&run.run_id).user_id("alice").await?;
    assert_eq!(run.tool_calls()[0].result.as_deref(), Some("Sent nda to dan@example.org."));
    println!("filled in by bob: {}", run.tool_calls()[0].result.as_deref().unwrap_or("-"));

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
