//! The story: an agent is asked for two dangerous things, somebody decides, the run goes on.

use std::io::BufRead as _;
use std::path::Path;

use kern::approval::Approval;
use kern::db::{AuditEntry, SqliteDb};
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

use crate::page::{Ink, Page, visible};

/// How the calls are decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    Ask,
    Yes,
    No,
}

const REQUESTER: &str = "alice";
const ADMINISTRATOR: &str = "bob";

/// Permanently delete all data of a user.
#[approval]
#[tool]
async fn delete_user_data(
    /// Id of the user, for example `u_42`.
    user_id: String,
) -> String {
    format!("All data of user {user_id} has been deleted.")
}

/// Pay money back to a customer.
#[approval]
#[tool]
async fn refund(
    /// Id of the customer.
    customer_id: String,
    /// How much, in dollars.
    amount: u32,
) -> String {
    format!("{amount} dollars have been paid back to {customer_id}.")
}

fn model() -> ScriptedModel {
    ScriptedModel::new([
        turn()
            .tool_call("delete_user_data", json!({ "user_id": "u_42" }))
            .tool_call("refund", json!({ "customer_id": "ACME-123", "amount": 500 })),
        turn().text("That is all I could do about user u_42 and ACME-123; the results are above."),
    ])
}

/// Plays the story. Says whether the audit log is intact.
pub(crate) async fn play(page: &mut Page, answers: Answers, path: &Path) -> Result<bool, String> {
    let told = |error: kern::Error| format!("{error} ({})", error.code());
    let found = path.exists();
    let db = SqliteDb::open(path).await.map_err(|error| {
        let code = error.code();
        format!("`{}` cannot be used: {error} ({code}). Name another file with `--db PATH`", path.display())
    })?;
    let agent = Agent::builder()
        .id("data-manager")
        .name("Data manager")
        .model(model())
        .tools(tools![delete_user_data, refund])
        .instructions("You help users manage data operations.")
        .db(db.clone())
        .build()
        .map_err(told)?;

    let seen = last_seq(&db).await.map_err(told)?;
    let waiting = pending(&db).await.map_err(told)?;
    let file = format!("{} ({})", path.display(), if found { "found" } else { "new" });
    page.line(format!("{} {file}", page.ink(Ink::Dim, "store  ")));
    let run_id = if let Some(first) = waiting.last() {
        page.line(format!(
            "{} {} calls left by an earlier start still wait",
            page.ink(Ink::Dim, "waiting"),
            waiting.len()
        ));
        first.run_id.clone()
    } else {
        let request = "Delete everything about user u_42, and refund ACME-123 500 dollars.";
        page.line(format!("{} {REQUESTER}: {request}", page.ink(Ink::Dim, "request")));
        let run = agent.run(request).user_id(REQUESTER).session_id("demo").await.map_err(told)?;
        page.line(format!(
            "{} {} {}",
            page.ink(Ink::Dim, "run    "),
            run.run_id,
            page.ink(Ink::Waiting, run.status.as_str())
        ));
        run.run_id
    };

    let waiting = pending(&db).await.map_err(told)?;
    let calls: Vec<&Approval> = waiting.iter().rev().filter(|approval| approval.run_id == run_id).collect();
    page.heading(&format!("{} calls wait for an administrator. Nothing has run.", calls.len()));
    for (place, approval) in calls.iter().enumerate() {
        show(page, place + 1, calls.len(), approval);
        let Some(yes) = decide(page, answers) else {
            page.line("\nNothing was decided. Start again to go on: the calls keep waiting in the store.");
            return verified(page, &db, seen).await.map_err(told);
        };
        let resolution = if yes { Resolution::approved() } else { Resolution::rejected().note("not today") };
        let decided = db
            .update_approval(&approval.id, ApprovalStatus::Pending, resolution.by(ADMINISTRATOR))
            .await
            .map_err(|error| told(error.into()))?;
        let ink = if yes { Ink::Good } else { Ink::Bad };
        page.line(format!("  {} by {ADMINISTRATOR} (unverified)", page.ink(ink, decided.status.as_str())));
    }

    page.heading("The run goes on.");
    let run = agent.continue_run(&run_id).await.map_err(told)?;
    for call in run.tool_calls() {
        let ran = call.tool_call_error == Some(false);
        let mark = if ran { page.ink(Ink::Good, "ran    ") } else { page.ink(Ink::Bad, "not run") };
        page.line(format!("  {mark}  {}: {}", call.name(), visible(call.result.as_deref().unwrap_or("-"))));
    }
    page.line(format!("  {}  {}", page.ink(Ink::Dim, "model  "), visible(run.content())));
    page.line(format!("  {}  {}", page.ink(Ink::Dim, "status "), run.status));
    verified(page, &db, seen).await.map_err(told)
}

/// The administrator's yes or no. `None`: nobody is there to ask.
fn decide(page: &mut Page, answers: Answers) -> Option<bool> {
    match answers {
        Answers::Yes => Some(true),
        Answers::No => Some(false),
        Answers::Ask => loop {
            page.ask("  Approve? [y/n] ");
            let mut line = String::new();
            if std::io::stdin().lock().read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            match line.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" => return Some(true),
                "n" | "no" => return Some(false),
                _ => page.line("  Please answer y or n; Ctrl-C leaves everything waiting."),
            }
        },
    }
}

fn show(page: &mut Page, place: usize, calls: usize, approval: &Approval) {
    let name = approval.tool_name.as_deref().unwrap_or("unknown");
    page.line(format!("\n  {} {}", page.ink(Ink::Waiting, &format!("[{place}/{calls}]")), page.ink(Ink::Bold, name)));
    for (argument, value) in approval.tool_args.iter().flatten() {
        page.line(format!("        {argument} = {}", visible(&value.to_string())));
    }
    let asked = approval.user_id.as_deref().unwrap_or("somebody without a name");
    page.line(format!(
        "  {}",
        page.ink(Ink::Dim, &format!("asked for by {}, digest {:.16}…", visible(asked), approval.digest))
    ));
}

async fn pending(db: &SqliteDb) -> kern::Result<Vec<Approval>> {
    let filter = ApprovalFilter::new().status(ApprovalStatus::Pending).agent_id("data-manager");
    Ok(db.list_approvals(filter).await?.data)
}

async fn last_seq(db: &SqliteDb) -> kern::Result<i64> {
    let report = db.audit().verify().await?;
    Ok(i64::try_from(report.entries).unwrap_or(i64::MAX))
}

/// Shows the audit entries of this start, and whether the whole log is as kern wrote it.
async fn verified(page: &mut Page, db: &SqliteDb, seen: i64) -> kern::Result<bool> {
    page.heading("Audit log");
    for entry in db.audit().entries(seen, 1000).await? {
        page.line(format!("  {}", row(page, &entry)));
    }
    let report = db.audit().verify().await?;
    match &report.broken {
        None => {
            let intact = page.ink(Ink::Good, "intact");
            page.line(format!("  {} entries, {intact}, head {:.16}…", report.entries, report.head));
        }
        Some(broken) => {
            let words = page.ink(Ink::Bad, "BROKEN");
            page.line(format!("  {words} at entry {}: {}", broken.seq, broken.what));
        }
    }
    Ok(report.is_intact())
}

fn row(page: &Page, entry: &AuditEntry) -> String {
    let call = match (entry.turn, entry.index) {
        (Some(turn), Some(index)) => format!("turn {turn} call {index}"),
        (Some(turn), None) => format!("turn {turn}"),
        _ => String::new(),
    };
    let hash = page.ink(Ink::Dim, &format!("{:.12}", entry.hash));
    format!("{:>4}  {:<14} {:<16} {:<18} {hash}", entry.seq, entry.action, call, visible(&entry.actor.to_string()))
}
