//! The story: an agent is asked for two dangerous things, somebody decides, the run goes on.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;

use kern::approval::Approval;
use kern::db::{ExecutionFilter, ExecutionStatus, RunFilter, RunId, SqliteDb};
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

use crate::log;
use crate::page::{Ink, Page, calls, visible};

/// How the calls are decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    Ask,
    Yes,
    No,
}

const AGENT: &str = "data-manager";
pub(crate) const REQUESTER: &str = "alice";
const ADMINISTRATOR: &str = "bob";
pub(crate) const REQUEST: &str = "Delete everything about user u_42, and refund ACME-123 500 dollars.";

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

pub(crate) fn agent(db: &SqliteDb) -> kern::Result<Agent> {
    let model = ScriptedModel::new([
        turn()
            .tool_call("delete_user_data", json!({ "user_id": "u_42" }))
            .tool_call("refund", json!({ "customer_id": "ACME-123", "amount": 500 })),
        turn().text("Both requests are closed. What became of each is above."),
    ]);
    agent_with(db, model)
}

/// The same agent with another model.
pub(crate) fn agent_with(db: &SqliteDb, model: impl kern::models::Model) -> kern::Result<Agent> {
    Agent::builder()
        .id(AGENT)
        .name("Data manager")
        .model(model)
        .tools(tools![delete_user_data, refund])
        .instructions("You help users manage data operations.")
        .db(db.clone())
        .build()
}

/// Opens the store, and says whether it was there.
pub(crate) async fn open(page: &mut Page, path: &Path) -> Result<SqliteDb, String> {
    let shown = visible(&path.display().to_string());
    let found = path.exists();
    let db = SqliteDb::open(path)
        .await
        .map_err(|error| format!("`{shown}` cannot be used: {}\nname another file with `--db PATH`", told(&error)))?;
    page.label("store", format!("{shown} ({})", if found { "found" } else { "new" }));
    Ok(db)
}

/// Plays the story. Says whether the audit log is intact.
pub(crate) async fn play(page: &mut Page, answers: Answers, path: &Path) -> Result<bool, String> {
    let db = open(page, path).await?;
    perform(page, answers, &db).await.map_err(|error| told(&error))
}

async fn perform(page: &mut Page, answers: Answers, db: &SqliteDb) -> kern::Result<bool> {
    let agent = agent(db)?;
    let seen = log::length(db).await?;
    let went_on = finish_decided(page, &agent).await?;
    match waiting_run(page, db).await? {
        Some(run_id) => decide_and_go_on(page, answers, db, &agent, &run_id).await?,
        None if went_on => {}
        None => {
            page.label("request", format!("{REQUESTER}: {REQUEST}"));
            let run = agent.run(REQUEST).user_id(REQUESTER).session_id("demo").await?;
            page.label("run", format!("{} {}", run.run_id, page.ink(Ink::Waiting, run.status.as_str())));
            decide_and_go_on(page, answers, db, &agent, &run.run_id).await?;
        }
    }
    log::show(page, db, seen).await
}

/// Finishes the runs of an earlier start that was stopped after its calls were decided. Says whether there were any.
async fn finish_decided(page: &mut Page, agent: &Agent) -> kern::Result<bool> {
    let outcomes = agent.resume_decided_runs().await?;
    for outcome in &outcomes {
        page.heading("A run of an earlier start was decided and had not gone on. It goes on now.");
        match outcome {
            Ok(run) => show_outcome(page, run),
            Err(error) => page.line(format!("  {}", page.ink(Ink::Bad, &told(error)))),
        }
    }
    Ok(!outcomes.is_empty())
}

/// The oldest run of an earlier start that waits for an administrator. Runs that wait for something else are named.
async fn waiting_run(page: &mut Page, db: &SqliteDb) -> kern::Result<Option<RunId>> {
    for run in db.list_runs(RunFilter::new().agent_id(AGENT).status(RunStatus::Running)).await? {
        let what = "is in the hands of another start; if that one is gone, its lease ends within 30 seconds";
        page.label("run", format!("{} {what}", run.run_id));
    }
    for run in db.list_runs(RunFilter::new().agent_id(AGENT).status(RunStatus::Paused)).await? {
        let pending = pending(db, &run.run_id).await?;
        if !pending.is_empty() {
            let (calls, left) = calls(pending.len(), "waits", "wait");
            page.label("waiting", format!("{calls} left by an earlier start still {left}"));
            page.label("run", format!("{} {}", run.run_id, page.ink(Ink::Waiting, run.status.as_str())));
            return Ok(Some(run.run_id));
        }
        let unknown = ExecutionFilter::new().run_id(&run.run_id).status(ExecutionStatus::Unknown);
        let lost: Vec<String> =
            db.list_executions(unknown).await?.iter().map(|execution| visible(&execution.tool_name)).collect();
        let what = if lost.is_empty() {
            "waits for something that the demonstration does not decide".to_owned()
        } else {
            format!("was lost in {}: nobody knows how it ended, and nothing runs it again", lost.join(", "))
        };
        page.label("run", format!("{} {what}", run.run_id));
    }
    Ok(None)
}

/// The open calls of a run, in their order.
async fn pending(db: &SqliteDb, run_id: &RunId) -> kern::Result<Vec<Approval>> {
    let page = db.list_approvals(ApprovalFilter::new().status(ApprovalStatus::Pending).run_id(run_id)).await?;
    Ok(page.data.into_iter().rev().collect())
}

/// Has every open call of a run decided, then continues the run.
async fn decide_and_go_on(
    page: &mut Page,
    answers: Answers,
    db: &SqliteDb,
    agent: &Agent,
    run_id: &RunId,
) -> kern::Result<()> {
    let open = pending(db, run_id).await?;
    let (counted, wait) = calls(open.len(), "waits", "wait");
    page.heading(&format!("{counted} {wait} for an administrator. Nothing has run. You decide, as {ADMINISTRATOR}."));
    for (place, approval) in open.iter().enumerate() {
        show_call(page, &format!("{}/{}", place + 1, open.len()), approval);
        let Some(yes) = decide(page, answers) else {
            let (left, wait) = calls(open.len() - place, "keeps", "keep");
            page.line(format!(
                "\n{left} {wait} waiting in the store. Start again to go on, or add `-- --yes` or `-- --no`."
            ));
            return Ok(());
        };
        let resolution = if yes { Resolution::approved() } else { Resolution::rejected().note("not today") };
        match db.update_approval(&approval.id, ApprovalStatus::Pending, resolution.by(ADMINISTRATOR)).await {
            Ok(decided) => {
                let ink = if yes { Ink::Good } else { Ink::Bad };
                page.line(format!("       {} by {ADMINISTRATOR}", page.ink(ink, decided.status.as_str())));
            }
            // Somebody else was faster, in another terminal. Their decision counts.
            Err(conflict @ kern::db::Error::Conflict { .. }) => page.line(format!("       {conflict}")),
            Err(error) => return Err(error.into()),
        }
    }
    page.heading("Every call is decided. The run goes on.");
    match agent.continue_run(run_id).user_id(REQUESTER).await {
        Ok(run) => show_outcome(page, &run),
        Err(elsewhere @ (kern::Error::AlreadyRunning { .. } | kern::Error::NotPaused { .. })) => {
            page.line(format!("  {elsewhere}"));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The administrator's yes or no. `None`: nobody is there to ask.
fn decide(page: &mut Page, answers: Answers) -> Option<bool> {
    match answers {
        Answers::Yes => return Some(true),
        Answers::No => return Some(false),
        Answers::Ask => {}
    }
    let stdin = std::io::stdin();
    loop {
        page.ask("       Approve? [y/n] ");
        let mut line = String::new();
        let read = stdin.lock().read_line(&mut line).unwrap_or(0);
        // A terminal has shown what was typed, with its end of line.
        if read == 0 || !stdin.is_terminal() {
            page.line(visible(line.trim()));
        }
        match line.trim().to_ascii_lowercase().as_str() {
            _ if read == 0 => return None,
            "y" | "yes" => return Some(true),
            "n" | "no" => return Some(false),
            _ => page.line("       Please answer y or n. Ctrl-C leaves everything waiting."),
        }
    }
}

/// What the administrator is asked about: which tool, with which arguments, for whom.
fn show_call(page: &mut Page, place: &str, approval: &Approval) {
    let name = visible(approval.tool_name.as_deref().unwrap_or("unknown"));
    page.line(format!("\n  {}  {}", page.ink(Ink::Waiting, place), page.ink(Ink::Bold, &name)));
    let arguments = kern::display::arguments(&approval.tool_args.clone().unwrap_or_default(), &approval.sensitive);
    let mut rows: Vec<(String, String)> = Vec::new();
    for argument in arguments {
        rows.push((argument.name.to_string(), argument.value.to_string()));
        rows.extend(argument.value.warnings.iter().map(|warning| ("warning".to_owned(), warning.to_string())));
    }
    rows.push(("asked for by".to_owned(), visible(approval.user_id.as_deref().unwrap_or("nobody named"))));
    rows.push(("digest".to_owned(), format!("{:.16}…", approval.digest)));
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in rows {
        page.line(format!("       {}  {value}", page.ink(Ink::Dim, &format!("{name:<width$}"))));
    }
}

fn show_outcome(page: &mut Page, run: &RunOutput) {
    for call in run.tool_calls() {
        let ran = call.tool_call_error == Some(false);
        let mark = if ran { page.ink(Ink::Good, "ran    ") } else { page.ink(Ink::Bad, "not run") };
        let result = visible(call.result.as_deref().unwrap_or("-"));
        page.line(format!("  {mark}  {}", page.ink(Ink::Bold, &visible(call.name()))));
        page.line(format!("           {result}"));
    }
    page.line(format!("  {}  {}", page.ink(Ink::Dim, "model  "), visible(run.content())));
    page.line(format!("  {}  {}", page.ink(Ink::Dim, "status "), run.status));
}

/// An error with its causes, and its stable code where it has one.
pub(crate) trait Coded: std::error::Error {
    fn stable_code(&self) -> &'static str;
}

impl Coded for kern::Error {
    fn stable_code(&self) -> &'static str {
        self.code()
    }
}

impl Coded for kern::db::Error {
    fn stable_code(&self) -> &'static str {
        self.code()
    }
}

pub(crate) fn told(error: &impl Coded) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    format!("{} ({})", visible(&text), error.stable_code())
}
