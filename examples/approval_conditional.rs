//! Only large refunds need an approval: the small one runs at once, the large one waits and is rejected.
//!
//! `cargo run --example approval_conditional`
#![allow(clippy::print_stdout)]

use kern::db::{ExecutionFilter, InMemoryDb};
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Pay money back to a customer. More than 100 dollars need an approval.
#[approval(when = *dollars > 100)]
#[tool]
async fn refund(
    /// Id of the customer.
    customer_id: String,
    /// How much to pay back.
    dollars: u32,
) -> String {
    format!("{dollars} dollars have been paid back to {customer_id}.")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One turn with two calls. The rule is asked for each of them.
    let model = ScriptedModel::new([
        turn()
            .tool_call("refund", json!({ "customer_id": "ACME-123", "dollars": 20 }))
            .tool_call("refund", json!({ "customer_id": "ACME-123", "dollars": 500 })),
        turn().text("20 dollars are on their way, 500 dollars were refused."),
    ]);
    // Everything in it ends with the process. For approvals that outlive it, open a `SqliteDb`.
    let db = InMemoryDb::new();
    let agent = Agent::builder().id("support").model(model).tools(tools![refund]).db(db.clone()).build()?;

    let run = agent.run("Refund ACME-123 20 dollars for the delay and 500 for the loss").user_id("alice").await?;
    assert!(run.is_paused());

    // Only the large refund waits. The small one ran at once, like a tool without `#[approval]`.
    let waiting = db.list_approvals(ApprovalFilter::new().run_id(&run.run_id)).await?;
    assert_eq!(waiting.data.len(), 1);
    let approval = &waiting.data[0];
    assert_eq!(json!(approval.tool_args), json!({ "customer_id": "ACME-123", "dollars": 500 }));
    println!("waiting: {}", json!(approval.tool_args));

    let no = Resolution::rejected().by("bob").note("the parcel was insured");
    db.update_approval(&approval.id, ApprovalStatus::Pending, no).await?;

    // A rejection is an outcome, not an error: the run goes on, and the model is told why.
    let run = agent.continue_run(&run.run_id).user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);
    for call in run.tool_calls() {
        println!("{} {}: {}", call.name(), json!(call.tool_args), call.result.as_deref().unwrap_or("-"));
    }
    println!("model: {}", run.content());

    let [small, large] = run.tool_calls() else { panic!("the model made two calls") };
    assert_eq!(small.result.as_deref(), Some("20 dollars have been paid back to ACME-123."));
    assert!(large.result.as_deref().is_some_and(|told| told.contains("the parcel was insured")));
    // What was rejected was never even allowed to start.
    assert!(db.list_executions(ExecutionFilter::new().run_id(&run.run_id)).await?.is_empty());
    Ok(())
}
