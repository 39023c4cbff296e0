//! A process that is killed, or that goes on after one: `kern-fault-worker ADDRESS BUSY_MS COMMAND …`.

use std::future::IntoFuture as _;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kern::db::{
    ApprovalFilter, ApprovalStatus, CheckpointKey, ExecutionFilter, ExecutionStatus, RunFilter, Settlement,
};
use kern::prelude::*;
use kern_tests::faults::{MADE_TO, agent, hooked, say};
use kern_tests::place::{FAIL, HERE, STOP, open};

/// Stops where the test says so, and stays there until it is killed.
fn stop() {
    let Ok(place) = std::env::var(STOP) else { return };
    let stopped = fail::cfg_callback(place, || {
        say(HERE);
        loop {
            std::thread::park();
        }
    });
    stopped.expect("a place can be given something to do");
}

/// Says nothing of the panic that is a part of the test.
fn quietly() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&MADE_TO) {
            loud(panic);
        }
    }));
}

/// Fails where the test says so, or counts how often it could.
fn fail() {
    let Ok(fails) = std::env::var(FAIL) else { return };
    for fails in fails.split(';') {
        let (place, actions) = fails.split_once('=').expect("PLACE=ACTIONS");
        fail::cfg(place, actions).expect("a place can be given something to do");
    }
}

fn outcome(outcome: &kern::Result<RunOutput>) -> String {
    match outcome {
        Ok(run) => format!("{} {}", run.run_id, run.status),
        Err(error) => error.code().to_owned(),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut words = std::env::args().skip(1);
    let mut word = || words.next().expect("kern-fault-worker ADDRESS BUSY_MS COMMAND …");
    let address = word();
    let busy = Duration::from_millis(word().parse().expect("milliseconds"));
    let command = word();
    stop();
    quietly();
    let db = open(&address, busy).await;
    let build = if command.ends_with(" hooked") { hooked } else { agent };
    let agent = build(db.clone(), busy * 3);
    fail();
    match command.as_str() {
        // Does nothing but open the store.
        "open" => say("open"),
        "run" | "run hooked" => say(&outcome(&agent.run(word()).user_id("alice").await)),
        "resume" => say(&outcome(&agent.continue_run(word()).user_id("bob").await)),
        // Whoever asked for it confirms by going on.
        "go on" => say(&outcome(&agent.continue_run(word()).user_id("alice").await)),
        "answer" => say(&outcome(&answer(&agent, &word()).await)),
        // As the requester of every run that waits.
        "answer-all" => {
            let waiting = RunFilter::new().status(RunStatus::Paused).limit(1_000_000);
            for run in db.list_runs(waiting).await.expect("runs are listed") {
                say(&outcome(&answer(&agent, run.run_id.as_str()).await));
            }
        }
        "cancel" => say(&outcome(&agent.cancel_run(word()).await)),
        "approve" => {
            let pending = ApprovalFilter::new().run_id(word()).status(ApprovalStatus::Pending);
            for approval in db.list_approvals(pending).await.expect("approvals are listed").data {
                let yes = Resolution::approved().by("admin").digest(approval.digest);
                let decided = db.update_approval(&approval.id, ApprovalStatus::Pending, yes).await;
                say(decided.expect("it is approved").status.as_str());
            }
        }
        "delete" => {
            let pending = ApprovalFilter::new().run_id(word());
            for approval in db.list_approvals(pending).await.expect("approvals are listed").data {
                db.delete_approval(&approval.id).await.expect("it is deleted");
            }
        }
        "settle" => {
            let settlement = Settlement::succeeded("seen to").by("admin").note("looked");
            db.settle_execution(&word().into(), settlement).await.expect("it is settled");
        }
        // Passes of the worker, until one of them finds nothing to do.
        "work" | "work hooked" => loop {
            let resumed = agent.resume_decided_runs().await.expect("runs are listed");
            resumed.iter().for_each(|resumed| say(&outcome(resumed)));
            if resumed.is_empty() {
                break;
            }
        },
        "cycle" => {
            let counted = Arc::new(AtomicUsize::new(0));
            if let Some(place) = words.next() {
                let counted = Arc::clone(&counted);
                let count = move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                };
                fail::cfg_callback(place, count).expect("a place can be given something to do");
            }
            match cycle(&agent, &*db).await {
                Ok(()) => say("whole"),
                Err(error) => say(&format!("error {}", error.code())),
            }
            say(&counted.load(Ordering::Relaxed).to_string());
        }
        // For each run that it is told of: many tasks that go on with it at once.
        "race" => {
            let tasks: usize = word().parse().expect("a number of tasks");
            for line in std::io::stdin().lock().lines() {
                let run_id = line.expect("the test speaks UTF-8");
                let runners: Vec<_> = (0..tasks)
                    .map(|_| tokio::spawn(agent.continue_run(&run_id).user_id("bob").into_future()))
                    .collect();
                let mut outcomes = Vec::new();
                for runner in runners {
                    outcomes.push(match runner.await.expect("a runner does not panic") {
                        Ok(run) => run.status.to_string(),
                        Err(error) => error.code().to_owned(),
                    });
                }
                say(&outcomes.join(" "));
            }
        }
        "checkpoint" => say(&checkpoint(&*db, &key(&word())).await),
        // One for each line that it is told.
        "checkpoints" => {
            let key = key(&word());
            for line in std::io::stdin().lock().lines() {
                line.expect("the test speaks UTF-8");
                say(&checkpoint(&*db, &key).await);
            }
        }
        // Until its input ends.
        "serve" => {
            let os = kern::os::AgentOS::builder().agent(agent).build().expect("it is right");
            let server = os.start("127.0.0.1:0").await.expect("it starts");
            say(&server.address().to_string());
            let told = || std::io::stdin().lock().read_line(&mut String::new());
            tokio::task::spawn_blocking(told).await.expect("a line is waited for").expect("the test says when to end");
            server.shutdown().await;
        }
        "load" => load(&agent, word().parse().expect("a number of tasks")).await,
        "decide" => decide(&*db).await,
        other => panic!("no command `{other}`"),
    }
}

fn key(hex: &str) -> CheckpointKey {
    CheckpointKey::from_hex(hex).expect("the test gives a key")
}

/// Makes a checkpoint, and gives how many entries it covers.
async fn checkpoint(db: &dyn Db, key: &CheckpointKey) -> String {
    match db.audit().checkpoint(key).await {
        Ok(Some(made)) => made.size.to_string(),
        Ok(None) => "nothing new".to_owned(),
        Err(error) => error.code().to_owned(),
    }
}

/// Everything that people and runs do, until something of it fails: pause, decide, go on, settle, go on, cancel.
async fn cycle(agent: &Agent, db: &dyn Db) -> kern::Result<()> {
    let approve = async |run: &RunOutput| {
        let pending = ApprovalFilter::new().run_id(&run.run_id).status(ApprovalStatus::Pending);
        for approval in db.list_approvals(pending).await?.data {
            let yes = Resolution::approved().by("admin").digest(approval.digest);
            db.update_approval(&approval.id, ApprovalStatus::Pending, yes).await?;
        }
        Ok::<(), kern::Error>(())
    };
    let run = agent.run("all").user_id("alice").await?;
    say(&outcome(&Ok(run.clone())));
    approve(&run).await?;
    let run = answer(agent, run.run_id.as_str()).await?;
    say(&outcome(&Ok(run.clone())));
    approve(&run).await?;
    let run = agent.continue_run(&run.run_id).user_id("bob").await?;
    say(&outcome(&Ok(run.clone())));
    for lost in db.list_executions(ExecutionFilter::new().run_id(&run.run_id).status(ExecutionStatus::Unknown)).await? {
        let settlement = Settlement::succeeded("seen to").by("admin").note("looked");
        db.settle_execution(&lost.id, settlement).await?;
    }
    let run = agent.continue_run(&run.run_id).user_id("bob").await?;
    say(&outcome(&Ok(run)));
    let run = agent.run("delete").user_id("alice").await?;
    say(&outcome(&Ok(run.clone())));
    say(&outcome(&Ok(agent.cancel_run(&run.run_id).await?)));
    Ok(())
}

/// Says yes to what the requester is asked, and goes on.
async fn answer(agent: &Agent, run_id: &str) -> kern::Result<RunOutput> {
    let mut run = agent.get_run(run_id).await?;
    for requirement in run.active_requirements_mut().filter(|wanted| wanted.needs_confirmation()) {
        requirement.confirm()?;
    }
    agent.continue_run(run_id).requirements(run.requirements).user_id("alice").await
}

/// Starts runs and goes on with them, in many tasks at once, and takes over what others have left, for as long as it
/// lives. Says which pauses it was told of.
async fn load(agent: &Agent, tasks: usize) {
    for _ in 0..tasks {
        let agent = agent.clone();
        tokio::spawn(async move {
            loop {
                let Ok(run) = agent.run("mixed").user_id("alice").await else { continue };
                say(&outcome(&Ok(run.clone())));
                // The administrator may be slower: the answer is kept, and somebody goes on later.
                let _ = answer(&agent, run.run_id.as_str()).await;
            }
        });
    }
    loop {
        let _ = agent.resume_decided_runs().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Decides what waits, three out of four with a yes, until its input ends. Says what it was told.
async fn decide(db: &dyn Db) {
    let (ended, mut is_over) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().for_each(drop);
        let _ = ended.send(());
    });
    let mut number = 0_usize;
    while is_over.try_recv().is_err() {
        let pending = ApprovalFilter::new().status(ApprovalStatus::Pending);
        for approval in db.list_approvals(pending).await.expect("approvals are listed").data {
            number += 1;
            let said = if number.is_multiple_of(4) { Resolution::rejected() } else { Resolution::approved() };
            let said = said.by("admin").digest(approval.digest);
            if let Ok(decided) = db.update_approval(&approval.id, ApprovalStatus::Pending, said).await {
                say(&format!("{} {}", decided.id, decided.status));
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::io::stdout().flush().expect("the test reads");
}
