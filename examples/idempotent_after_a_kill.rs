//! A process is killed in the middle of a payment. Another one starts it again, with the same idempotency key, and the bank
//! pays once.
//!
//! `cargo run --example idempotent_after_a_kill` starts itself twice, and kills the first.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kern::db::{ExecutionFilter, ExecutionStatus, SqliteDb};
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;
use kern::worker::Worker;

/// A bank that knows each key once. It keeps its payments in a file of its own.
struct Bank(PathBuf);

impl Bank {
    fn payments(&self) -> Vec<String> {
        std::fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn pay(&self, key: &str) -> std::io::Result<String> {
        let again = self.payments().iter().any(|payment| payment == key);
        if !again {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.0)?;
            writeln!(file, "{key}")?;
            file.sync_all()?;
        }
        Ok(if again { "The bank knows this payment already." } else { "The bank has paid." }.to_owned())
    }
}

/// Pay a supplier. It may be started again: the bank sorts out what comes twice by the key.
#[approval]
#[tool(effect = "idempotent")]
async fn pay(
    /// Who gets the money.
    to: String,
    ctx: &RunContext,
    #[state] bank: &Bank,
) -> std::io::Result<String> {
    let said = bank.pay(ctx.idempotency_key())?;
    println!("process {}: attempt {} to pay {to}: {said}", std::process::id(), ctx.attempt());
    if ctx.attempt() == 1 {
        // The bank has paid, and this process will not live to tell.
        std::future::pending::<()>().await;
    }
    Ok(said)
}

fn agent(db: &SqliteDb, path: &Path) -> kern::Result<Agent> {
    let model =
        ScriptedModel::new([turn().tool_call("pay", json!({ "to": "ACME" })), turn().text("ACME has its money.")]);
    let agent =
        Agent::builder().id("payments").model(model).tools(tools![pay]).state(Bank(path.with_extension("bank")));
    // Short, so that nobody has to wait long for a process that is gone. At least three times the busy timeout.
    agent.db(db.clone()).lease(Duration::from_millis(900)).build()
}

async fn open(path: &Path) -> kern::Result<SqliteDb> {
    Ok(SqliteDb::builder(path).busy_timeout(Duration::from_millis(300)).open().await?)
}

fn start(path: &Path) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
}

/// Waits until a worker has said that it was in the body.
fn heard(child: &mut Child) -> Result<String, Box<dyn Error>> {
    let output = child.stdout.as_mut().ok_or("its output is piped")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    print!("{line}");
    Ok(line)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) {
        let worker = Worker::new(agent(&open(&path).await?, &path)?).poll_interval(Duration::from_millis(100)).await?;
        tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
        worker.shutdown().await;
        return Ok(());
    }
    let folder = std::env::temp_dir().join(format!("kern-idempotent-after-a-kill-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("app.db");
    let db = open(&path).await?;
    let agent = agent(&db, &path)?;
    let run = agent.run("Pay ACME").user_id("alice").await?;
    let waiting = ApprovalFilter::new().status(ApprovalStatus::Pending).run_id(&run.run_id);
    let approval = &db.list_approvals(waiting).await?.data[0];
    db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await?;

    let mut first = start(&path)?;
    assert!(heard(&mut first)?.contains("attempt 1"));
    first.kill()?;
    first.wait()?;
    println!("process {} has been killed", first.id());

    let mut second = start(&path)?;
    assert!(heard(&mut second)?.contains("attempt 2"));
    while agent.get_run(&run.run_id).await?.status != RunStatus::Completed {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(second.stdin.take());
    second.wait()?;

    let execution = &db.list_executions(ExecutionFilter::new()).await?[0];
    assert_eq!((execution.status, execution.attempt), (ExecutionStatus::Succeeded, 2));
    let payments = Bank(path.with_extension("bank")).payments();
    assert_eq!(payments, [execution.idempotency_key()], "two attempts, one payment");
    println!("{} Payments at the bank: {}", agent.get_run(&run.run_id).await?.content(), payments.len());

    drop((agent, db));
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
