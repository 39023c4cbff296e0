//! One process of several on one store: `kern-path-worker COMMAND FILE [RUN] …`. It says what it does, line by line.

use std::future::IntoFuture as _;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use kern::db::{ApprovalFilter, ApprovalStatus, SqliteDb, Transitions};
use kern::models::{ScriptedModel, turn};
use kern::os::{AgentOS, Webhook};
use kern::prelude::*;
use kern::tools::ToolError;
use kern::worker::Worker;
use kern_db::{Caller, ClaimRun, Principal};
use kern_tests::ledger::enter;

/// What every process of a test has to agree on.
const AGENT: &str = "paths";
const SESSION: &str = "paths";

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("the test reads");
}

async fn forever() {
    std::future::pending::<()>().await;
}

/// Delete a user. An administrator decides.
#[approval]
#[tool]
async fn delete_user(user_id: String, ctx: &RunContext) -> String {
    enter(ctx, format!("delete {user_id}"));
    format!("deleted {user_id}")
}

/// Delete a user. An administrator decides, and the user confirms.
#[approval]
#[tool(requires_confirmation)]
async fn erase_user(user_id: String, ctx: &RunContext) -> String {
    enter(ctx, format!("erase {user_id}"));
    format!("erased {user_id}")
}

/// Delete a user and never come back. An administrator decides.
#[approval]
#[tool]
async fn hang(user_id: String, ctx: &RunContext) -> String {
    enter(ctx, format!("hang {user_id}"));
    say("in the body");
    forever().await;
    user_id
}

/// Pay somebody, and never come back from the first start. An administrator decides.
#[approval]
#[tool(effect = "idempotent")]
async fn pay_again(to: String, ctx: &RunContext) -> String {
    enter(ctx, format!("pay {to} {} {}", ctx.attempt(), ctx.idempotency_key()));
    if ctx.attempt() == 1 {
        say("in the body");
        forever().await;
    }
    format!("paid {to}")
}

/// Take a chair out of the stock, and never come back from the first start. An administrator decides.
#[approval]
#[tool(effect = "transactional")]
async fn take_chair(ctx: &RunContext) -> Result<String, ToolError> {
    enter(ctx, format!("take {}", ctx.attempt()));
    ctx.transaction().execute("UPDATE stock SET chairs = chairs - 1", ())?;
    if ctx.attempt() == 1 {
        say("in the body");
        forever().await;
    }
    Ok("taken".to_owned())
}

/// Delete a user, and come back when the test says so. An administrator decides.
#[approval]
#[tool]
fn linger(user_id: String, ctx: &RunContext) -> String {
    enter(ctx, format!("linger {user_id}"));
    say("in the body");
    std::io::stdin().lock().read_line(&mut String::new()).expect("the test lets it go on");
    user_id
}

/// Export data and never come back. A record is kept.
#[approval(type = "audit")]
#[tool]
async fn hang_recorded(customer: String, ctx: &RunContext) -> String {
    enter(ctx, format!("hang_recorded {customer}"));
    say("in the body");
    forever().await;
    customer
}

/// Delete a file.
#[approval]
#[tool]
async fn delete_file(path: String, ctx: &RunContext) -> bool {
    enter(ctx, format!("delete {path}"));
    true
}

/// Create a file.
#[approval]
#[tool]
async fn create_file(path: String, ctx: &RunContext) -> String {
    enter(ctx, format!("create {path}"));
    "Success".to_owned()
}

/// The agent of the recorded conversation.
#[cfg(feature = "shared")]
fn recorded(db: SqliteDb, base_url: &str) -> Agent {
    let model = kern::models::OpenAIChat::new("gpt-4o").base_url(base_url).api_key("sk-not-a-real-key");
    let agent = Agent::builder().id(AGENT).model(model).tools(tools![delete_file, create_file]).db(db);
    let agent = agent.instructions("Just call tools without asking for confirmation.");
    agent.build().expect("the agent is right")
}

#[cfg(not(feature = "shared"))]
fn recorded(_: SqliteDb, _: &str) -> Agent {
    panic!("recorded conversations need the feature `shared`")
}

/// The scripts, by name.
fn script(name: &str) -> ScriptedModel {
    let user = json!({ "user_id": "u1" });
    let call = match name {
        "erase" => turn().tool_call("erase_user", user),
        "hang" => turn().tool_call("hang", user),
        "pay-again" => turn().tool_call("pay_again", json!({ "to": "ann" })),
        "take-chair" => turn().tool_call("take_chair", json!({})),
        "linger" => turn().tool_call("linger", user),
        "linger-two" => turn().tool_call("linger", user.clone()).tool_call("delete_user", json!({ "user_id": "u2" })),
        "linger-again" => {
            let turns = [turn().tool_call("linger", user.clone()), turn().tool_call("delete_user", user)];
            return ScriptedModel::new(turns);
        }
        "hang-second" => {
            let second = turn().tool_call("hang_recorded", json!({ "customer": "c1" }));
            return ScriptedModel::new([turn().tool_call("delete_user", user), second, turn().text("ok")]);
        }
        _ => turn().tool_call("delete_user", user),
    };
    ScriptedModel::new([call, turn().text("ok")])
}

fn agent(db: SqliteDb, lease: Duration, name: &str) -> Agent {
    let tools =
        tools![delete_user, erase_user, hang, linger, hang_recorded, pay_again, take_chair, delete_file, create_file];
    let agent = Agent::builder().id(AGENT).model(script(name)).tools(tools).lease(lease).db(db);
    agent.build().expect("the agent is right")
}

fn outcome(outcome: &kern::Result<RunOutput>) -> String {
    match outcome {
        Ok(run) => run.status.to_string(),
        Err(error) => error.code().to_owned(),
    }
}

#[tokio::main]
async fn main() {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().expect("kern-path-worker COMMAND SCRIPT BUSY_MS FILE [RUN]");
    let (command, name) = (word(), word());
    let busy = Duration::from_millis(word().parse().expect("milliseconds"));
    let path = PathBuf::from(word());
    let db = SqliteDb::builder(path).busy_timeout(busy).open().await.expect("the store opens");
    let (agent, request) = match name.strip_prefix("recorded:") {
        Some(base_url) => (recorded(db.clone(), base_url), "Delete the file `.env` and create `test.txt`"),
        None => (agent(db.clone(), busy * 3, &name), "Delete u1"),
    };
    match command.as_str() {
        "pause" => {
            let run = agent.run(request).user_id("alice").session_id(SESSION).await.expect("it pauses");
            say(run.run_id.as_str());
        }
        "approve" => {
            let pending = ApprovalFilter::new().run_id(word()).status(ApprovalStatus::Pending);
            for approval in db.list_approvals(pending).await.expect("approvals are listed").data {
                let yes = Resolution::approved().by("admin").digest(approval.digest);
                let approved = db.update_approval(&approval.id, ApprovalStatus::Pending, yes).await;
                say(approved.expect("it is approved").status.as_str());
            }
        }
        "approve-one" => {
            let yes = Resolution::approved().by("admin");
            let approved = db.update_approval(&word().into(), ApprovalStatus::Pending, yes).await;
            say(approved.expect("it is approved").status.as_str());
        }
        "resume" => say(&outcome(&agent.continue_run(word()).user_id("bob").await)),
        "resume-as-requester" => say(&outcome(&agent.continue_run(word()).user_id("alice").await)),
        "work" => {
            for resumed in agent.resume_decided_runs().await.expect("runs are listed") {
                say(&outcome(&resumed));
            }
        }
        "keep-working" => {
            let worker = Worker::new(agent).poll_interval(Duration::from_millis(100)).await.expect("it starts");
            say("working");
            let told = || std::io::stdin().lock().read_line(&mut String::new());
            tokio::task::spawn_blocking(told).await.expect("a line is waited for").expect("the test says when to end");
            worker.shutdown().await;
            say("ended");
        }
        "serve" => {
            let os = kern::os::AgentOS::builder().agent(agent).without_worker().build().expect("it is right");
            let server = os.start("127.0.0.1:0").await.expect("it starts");
            say(&server.address().to_string());
            let told = || std::io::stdin().lock().read_line(&mut String::new());
            tokio::task::spawn_blocking(told).await.expect("a line is waited for").expect("the test says when to end");
            server.shutdown().await;
        }
        "tell" => {
            let (url, secret) = (word(), word());
            let webhook = Webhook::new(&url, &secret).expect("it is one").allow_private_addresses().name("w");
            let webhook = webhook.topics(["approval.requested"]).timeout(Duration::from_secs(2));
            let os = AgentOS::builder().agent(agent).without_worker().webhook(webhook).build().expect("it is right");
            let _server = os.start("127.0.0.1:0").await.expect("it starts");
            say("serving");
            forever().await;
        }
        "race" => {
            let run_id = word();
            let tasks: usize = word().parse().expect("a number of tasks");
            say("ready");
            std::io::stdin().lock().read_line(&mut String::new()).expect("the test gives the start");
            let runners = (0..tasks).map(|_| tokio::spawn(agent.continue_run(&run_id).user_id("bob").into_future()));
            for runner in runners.collect::<Vec<_>>() {
                say(&outcome(&runner.await.expect("a runner does not panic")));
            }
        }
        "claim" => {
            // What `continue_run` does before it looks at the first call, by the requester.
            let run = db.get_run(&word().into()).await.expect("the run is there");
            let caller = Caller::Person(Principal::unverified("alice"));
            let lease_ms = i64::try_from(busy.as_millis() * 3).expect("a lease");
            let (run_id, fence, turn, loaded) = (run.run_id, run.fence, run.turn, run.loaded);
            let claimed = db
                .claim_run(ClaimRun {
                    run_id,
                    fence,
                    turn,
                    loaded,
                    caller,
                    lease_ms,
                    owner: kern_db::OwnerToken::fresh(),
                })
                .await;
            say(if matches!(claimed, Ok(kern_db::RunClaimed::Claimed(_))) { "claimed" } else { "not claimed" });
            forever().await;
        }
        other => panic!("no command `{other}`"),
    }
}
