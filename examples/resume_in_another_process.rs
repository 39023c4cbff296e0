//! A run is paused in one process, approved in a second, and resumed in a third. Only the SQLite file connects them.
//!
//! `cargo run --example resume_in_another_process` starts itself three times.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::process::Command;

use kern::db::{ExecutionFilter, ExecutionStatus, RunFilter, SqliteDb};
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// Deploy a version to production.
#[approval]
#[tool]
async fn deploy(
    /// The version, for example `1.4.2`.
    version: String,
) -> String {
    format!("{version} has been deployed by process {}.", std::process::id())
}

/// Every process that starts or resumes runs builds the agent with the same id and the same tools.
fn agent(db: &SqliteDb) -> kern::Result<Agent> {
    let model = ScriptedModel::new([
        turn().tool_call("deploy", json!({ "version": "1.4.2" })),
        turn().text("Version 1.4.2 is in production."),
    ]);
    Agent::builder().id("deployer").model(model).tools(tools![deploy]).db(db.clone()).build()
}

/// First process: the run starts, pauses, and the process ends.
async fn ask(db: SqliteDb) -> Result<(), Box<dyn Error>> {
    let run = agent(&db)?.run("Deploy 1.4.2").user_id("alice").await?;
    assert!(run.is_paused());
    println!("process {}: run {} is {}", std::process::id(), run.run_id, run.status);
    Ok(())
}

/// Second process: an inbox. It needs the store, and neither the agent nor its tools.
async fn approve(db: SqliteDb) -> Result<(), Box<dyn Error>> {
    let waiting = db.list_approvals(ApprovalFilter::new().status(ApprovalStatus::Pending)).await?;
    for approval in &waiting.data {
        let yes = Resolution::approved().by("bob");
        let decided = db.update_approval(&approval.id, ApprovalStatus::Pending, yes).await?;
        let (tool, arguments) = (decided.tool_name.as_deref().unwrap_or("-"), json!(decided.tool_args));
        println!("process {}: {tool} {arguments} is {}", std::process::id(), decided.status);
    }
    Ok(())
}

/// Third process: looks for paused runs of its agent, and continues them.
async fn resume(db: SqliteDb) -> Result<(), Box<dyn Error>> {
    let paused = RunFilter::new().agent_id("deployer").status(RunStatus::Paused);
    for run in db.list_runs(paused).await? {
        let run = agent(&db)?.continue_run(&run.run_id).user_id("alice").await?;
        println!("process {}: run {} is {}: {}", std::process::id(), run.run_id, run.status, run.content());
    }
    Ok(())
}

/// Starts this program again in another role, and gives the process's id.
fn start(role: &str, path: &Path) -> Result<u32, Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?).arg(role).arg(path).spawn()?;
    let id = child.id();
    let status = child.wait()?;
    assert!(status.success(), "process {id} ({role}) ended with {status}");
    Ok(id)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    if let (Some(role), Some(path)) = (arguments.next(), arguments.next()) {
        let db = SqliteDb::open(path).await?;
        return match role.to_str() {
            Some("ask") => ask(db).await,
            Some("approve") => approve(db).await,
            Some("resume") => resume(db).await,
            _ => Err(format!("no such role: {}", role.display()).into()),
        };
    }

    let folder = std::env::temp_dir().join(format!("kern-resume-in-another-process-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("app.db");
    start("ask", &path)?;
    start("approve", &path)?;
    let third = start("resume", &path)?;

    // The tool ran once, in the third process.
    let db = SqliteDb::open(&path).await?;
    let executions = db.list_executions(ExecutionFilter::new()).await?;
    let [execution] = executions.as_slice() else { panic!("one call, one execution: {executions:?}") };
    assert_eq!((execution.status, execution.attempt), (ExecutionStatus::Succeeded, 1));
    let result = execution.result.as_deref().unwrap_or("-");
    assert_eq!(result, format!("1.4.2 has been deployed by process {third}."));
    println!("result: {result}");

    // And the log names everybody.
    for entry in db.audit().entries(0, 100).await? {
        println!("{:>3}  {:<14}  {}", entry.seq, entry.action, entry.actor);
    }
    let report = db.audit().verify().await?;
    assert!(report.is_intact());
    println!("{} entries, intact", report.entries);

    drop(db);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
