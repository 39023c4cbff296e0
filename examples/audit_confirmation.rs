//! The user confirms, nobody else has to approve, and a record says who answered what: a yes as well as a no.
//!
//! `cargo run --example audit_confirmation`
#![allow(clippy::print_stdout)]

use kern::approval::ApprovalType;
use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Export everything we know about a customer.
#[approval(type = "audit")]
#[tool(requires_confirmation)]
async fn export_customer_data(
    /// Id of the customer.
    customer_id: String,
) -> String {
    format!("{customer_id}.zip")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("kern-audit-confirmation-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = SqliteDb::open(folder.join("app.db")).await?;
    let model = ScriptedModel::new([
        turn()
            .tool_call("export_customer_data", json!({ "customer_id": "ACME-123" }))
            .tool_call("export_customer_data", json!({ "customer_id": "ACME-456" })),
        turn().text("ACME-123.zip is ready, ACME-456 was not exported."),
    ]);
    let agent =
        Agent::builder().id("exports").model(model).tools(tools![export_customer_data]).db(db.clone()).build()?;

    let mut run = agent.run("Export ACME-123 and ACME-456").user_id("alice").await?;
    assert!(run.is_paused());
    // Nothing waits for an administrator: there is no row before the user has answered.
    let records = ApprovalFilter::new().approval_type(ApprovalType::Audit).run_id(&run.run_id);
    assert_eq!(db.list_approvals(records.clone()).await?.meta.total_count, 0);

    for requirement in run.active_requirements_mut() {
        if requirement.tool_args()["customer_id"] == "ACME-123" {
            requirement.confirm()?;
        } else {
            requirement.reject("they have left us")?;
        }
    }
    let run = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);
    println!("model: {}", run.content());

    // One record for each answer, written together with it, before the tool ran.
    let records = db.list_approvals(records).await?.data;
    for record in &records {
        let (arguments, by) = (json!(record.tool_args), record.resolved_by.as_deref().unwrap_or("-"));
        println!("{} {arguments}: {} by {by}", record.tool_name.as_deref().unwrap_or("-"), record.status);
    }
    let found = |status| records.iter().filter(|record| record.status == status).count();
    assert_eq!((found(ApprovalStatus::Approved), found(ApprovalStatus::Rejected)), (1, 1));
    assert!(records.iter().all(|record| record.resolved_by.as_deref() == Some("alice")));

    // What stands there is in the log as well, each entry chained to the one before it.
    let report = db.audit().verify().await?;
    assert!(report.is_intact());
    println!("{} entries in the log, intact", report.entries);

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
