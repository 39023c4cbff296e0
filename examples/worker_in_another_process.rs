//! Runs go on by themselves in a second process, as soon as somebody has decided.
//!
//! This process asks and decides, and never continues a run. `cargo run --example worker_in_another_process` starts itself
//! once more, as the worker.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Duration;

use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;
use kern::worker::Worker;

/// Send an invoice to a customer.
#[approval]
#[tool]
async fn send_invoice(
    /// Id of the customer, for example `c_7`.
    customer: String,
) -> String {
    format!("Process {} has sent the invoice to {customer}.", std::process::id())
}

/// Both processes build the agent with the same id and the same tools.
fn agent(db: &SqliteDb) -> kern::Result<Agent> {
    let model = ScriptedModel::new([
        turn().tool_call("send_invoice", json!({ "customer": "c_7" })),
        turn().text("The invoice is on its way."),
    ]);
    Agent::builder().id("billing").model(model).tools(tools![send_invoice]).db(db.clone()).build()
}

/// The second process: goes on with whatever is decided, until it is told to end.
async fn work(db: SqliteDb) -> Result<(), Box<dyn Error>> {
    let worker = Worker::new(agent(&db)?).concurrency(4).await?;
    // Its standard input is closed when the first process has seen enough. A service would wait for a signal.
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    // Bodies under way are waited for; what has not started is left to others.
    worker.shutdown().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(path) = std::env::args_os().nth(1) {
        return work(SqliteDb::open(path).await?).await;
    }
    let folder = std::env::temp_dir().join(format!("kern-worker-in-another-process-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("app.db");
    let db = SqliteDb::open(&path).await?;
    let mut worker = Command::new(std::env::current_exe()?).arg(&path).stdin(Stdio::piped()).spawn()?;

    let agent = agent(&db)?;
    for _ in 0..3 {
        let run = agent.run("Send the invoice to c_7").user_id("alice").await?;
        assert!(run.is_paused());
        let waiting = ApprovalFilter::new().status(ApprovalStatus::Pending).run_id(&run.run_id);
        let approval = &db.list_approvals(waiting).await?.data[0];
        db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await?;
        while agent.get_run(&run.run_id).await?.status != RunStatus::Completed {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let run = agent.get_run(&run.run_id).await?;
        let result = run.tool_calls()[0].result.clone().unwrap_or_default();
        println!("{result} {}", run.content());
        assert!(result.starts_with(&format!("Process {} ", worker.id())), "the worker ran it: {result}");
    }

    drop(worker.stdin.take());
    assert!(worker.wait()?.success());
    let claims = db.audit().entries(0, 100).await?;
    let claims: Vec<_> = claims.iter().filter(|entry| entry.action == "run_claimed").collect();
    println!("claimed by: {}", claims[0].actor);
    assert_eq!(claims.len(), 3);

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
