//! Track, but do not gate: the tool runs at once, and leaves a record that was durable before its body started.
//!
//! `cargo run --example audit_without_pause`
#![allow(clippy::print_stdout)]

use kern::db::{ExecutionFilter, ExecutionStatus, SqliteDb};
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Export everything we know about a customer.
#[approval(type = "audit")]
#[tool]
async fn export_customer_data(
    /// Id of the customer.
    customer_id: String,
) -> String {
    format!("{customer_id}.zip")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("kern-audit-without-pause-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = SqliteDb::open(folder.join("app.db")).await?;

    let model = ScriptedModel::new([
        turn().tool_call("export_customer_data", json!({ "customer_id": "ACME-123" })),
        turn().text("The export is in ACME-123.zip."),
    ]);
    let agent =
        Agent::builder().id("exports").model(model).tools(tools![export_customer_data]).db(db.clone()).build()?;

    // Nobody is asked, and nothing pauses.
    let run = agent.run("Export the data of ACME-123").user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);
    println!("run {} is {}: {}", run.run_id, run.status, run.content());

    // The record: which call, who asked, and what became of it. Nobody decided it, so nobody is named.
    let records = db.list_approvals(ApprovalFilter::new().run_id(&run.run_id)).await?;
    let record = &records.data[0];
    assert_eq!((record.status, &record.resolved_by), (ApprovalStatus::Approved, &None));
    let executions = db.list_executions(ExecutionFilter::new().run_id(&run.run_id)).await?;
    assert_eq!(executions[0].status, ExecutionStatus::Succeeded);
    assert_eq!(executions[0].result.as_deref(), Some("ACME-123.zip"));
    println!(
        "record: {} {}, asked for by {}, {}",
        record.tool_name.as_deref().unwrap_or("-"),
        json!(record.tool_args),
        record.user_id.as_deref().unwrap_or("-"),
        executions[0].status,
    );

    // Every step is in the log, each entry chained to the one before it.
    let entries = db.audit().entries(0, 100).await?;
    for entry in &entries {
        println!("{:>3}  {:<14}  {:.16}…  {}", entry.seq, entry.action, entry.hash, entry.actor);
    }
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        ["shard_opened", "run_started", "turn_committed", "recorded", "executing", "succeeded", "run_completed"],
        "the record comes before the start"
    );
    let report = db.audit().verify().await?;
    assert!(report.is_intact());
    println!("{} entries, intact", report.entries);

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
