//! An administrator changes a call before approving it: what is approved is what runs, and everybody sees who wrote it.
//!
//! `cargo run --example approval_edited`
#![allow(clippy::print_stdout)]

use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Refund a payment.
#[approval]
#[tool(requires_confirmation)]
async fn refund(
    /// Id of the payment, for example `p_17`.
    payment: String,
    /// How much, in cents.
    cents: u32,
) -> String {
    format!("Refunded {cents} cents of {payment}.")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("kern-approval-edited-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = SqliteDb::open(folder.join("app.db")).await?;
    let model = ScriptedModel::new([
        turn().tool_call("refund", json!({ "payment": "p_17", "cents": 50_000 })),
        turn().text("The refund is on its way."),
    ]);
    let agent = Agent::builder().id("billing").model(model).tools(tools![refund]).db(db.clone()).build()?;

    // Alice asks, and says yes to what she is shown.
    let mut run = agent.run("Refund p_17").user_id("alice").await?;
    for requirement in run.active_requirements_mut() {
        println!("alice confirms {} {}", requirement.tool_name(), requirement.tool_args());
        requirement.confirm()?;
    }
    let run_id = run.run_id.clone();
    let early = agent.continue_run(&run_id).requirements(run.requirements.clone()).user_id("alice").await;
    assert_eq!(early.expect_err("nobody has approved").code(), "approval_pending");

    // Bob allows less. The arguments are checked against the tool's schema: what does not fit is named, and changes nothing.
    let waiting = db.list_approvals(ApprovalFilter::new().run_id(&run_id)).await?;
    let approval = &waiting.data[0];
    let wrong = json!({ "edited_args": { "payment": "p_17", "cents": "half", "currency": "EUR" } });
    let refused =
        db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("bob").data(wrong));
    println!("refused: {}", refused.await.expect_err("it does not fit"));
    let less = json!({ "edited_args": { "payment": "p_17", "cents": 20_000 } });
    let resolution = Resolution::approved().by("bob").note("half of it").data(less);
    let decided = db.update_approval(&approval.id, ApprovalStatus::Pending, resolution).await?;
    let author = decided.edited_by.as_ref().map_or("-", |author| author.subject.as_str());
    println!("{} at version {}, written by {author}: {}", decided.status, decided.version, json!(decided.tool_args));

    // What Alice confirmed is not what would run now. Her old yes does not count; she is asked about the new version.
    let stale = agent.continue_run(&run_id).requirements(run.requirements).user_id("alice").await;
    assert_eq!(stale.expect_err("she has seen another call").code(), "requirements_unresolved");
    let mut run = agent.get_run(&run_id).await?;
    for requirement in run.active_requirements_mut() {
        println!("alice confirms {} {}", requirement.tool_name(), requirement.tool_args());
        requirement.confirm()?;
    }
    let run = agent.continue_run(&run_id).requirements(run.requirements).user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(run.tool_calls()[0].result.as_deref(), Some("Refunded 20000 cents of p_17."));
    println!("run {} is {}: {}", run.run_id, run.status, run.content());

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
