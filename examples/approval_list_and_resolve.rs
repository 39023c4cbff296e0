//! An administrator's inbox: what waits is listed in pages, filtered, and decided, each row once.
//!
//! `cargo run --example approval_list_and_resolve`
#![allow(clippy::print_stdout)]

use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Pay money back to a customer.
#[approval]
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
    let folder = std::env::temp_dir().join(format!("kern-approval-list-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let db = SqliteDb::open(folder.join("app.db")).await?;
    let model = ScriptedModel::new([
        turn()
            .tool_call("refund", json!({ "customer_id": "ACME-123", "dollars": 20 }))
            .tool_call("refund", json!({ "customer_id": "ACME-123", "dollars": 500 }))
            .tool_call("refund", json!({ "customer_id": "ACME-456", "dollars": 30 })),
        turn().text("Two refunds are on their way, one was refused."),
    ]);
    let agent = Agent::builder().id("support").model(model).tools(tools![refund]).db(db.clone()).build()?;
    let run = agent.run("Refund what is open").user_id("alice").await?;
    assert!(run.is_paused());

    // Each call has a row of its own. A filter has every field that people look by, and gives the newest first.
    let pending = ApprovalFilter::new().status(ApprovalStatus::Pending).agent_id("support").user_id("alice");
    println!("{} wait", db.count_pending_approvals().await?);
    let mut inbox = Vec::new();
    let mut number = 1_u32;
    loop {
        let page = db.list_approvals(pending.clone().limit(2_u32).page(number)).await?;
        println!("page {} of {}:", page.meta.page, page.meta.total_pages);
        for approval in &page.data {
            println!("  {} {}", approval.tool_name.as_deref().unwrap_or("-"), json!(approval.tool_args));
        }
        inbox.extend(page.data);
        if u64::from(number) >= page.meta.total_pages {
            break;
        }
        number += 1;
    }
    assert_eq!((inbox.len(), number), (3, 2));

    // Bob decides. He names the status he saw, so that nobody overwrites what somebody else has decided.
    for approval in &inbox {
        let dollars =
            approval.tool_args.as_ref().and_then(|arguments| arguments["dollars"].as_u64()).unwrap_or(u64::MAX);
        let decision = if dollars > 100 {
            Resolution::rejected().by("bob").note("the parcel was insured")
        } else {
            Resolution::approved().by("bob")
        };
        let decided = db.update_approval(&approval.id, ApprovalStatus::Pending, decision).await?;
        println!("{dollars} dollars: {} by {}", decided.status, decided.resolved_by.as_deref().unwrap_or("-"));
    }

    // Carol has the same page open, and is too late. What stands there stays.
    let late = Resolution::approved().by("carol");
    let conflict = db.update_approval(&inbox[1].id, ApprovalStatus::Pending, late).await.expect_err("bob was first");
    println!("too late: {conflict}");
    assert_eq!(conflict.code(), "conflict");
    let rejected = db.list_approvals(ApprovalFilter::new().status(ApprovalStatus::Rejected)).await?;
    assert_eq!(rejected.meta.total_count, 1);
    assert_eq!(db.count_pending_approvals().await?, 0);

    let run = agent.continue_run(&run.run_id).user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);
    for call in run.tool_calls() {
        println!("{}", call.result.as_deref().unwrap_or("-"));
    }
    assert_eq!(run.tool_calls().iter().filter(|call| call.tool_call_error == Some(true)).count(), 1);

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
