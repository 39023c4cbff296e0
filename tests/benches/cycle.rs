//! What kern costs: building an agent, a run with one tool call in memory, and an approval cycle on a SQLite file beside
//! five bare durable commits of the same rows, in the same run on the same disk.
//!
//! ```text
//! cargo bench -p kern-tests
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group};
use kern::db::SqliteDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;
use kern_tests::bare::Bare;
use kern_tests::folder::Folder;
use tokio::runtime::{Builder, Runtime};

/// Look up a key.
#[tool]
async fn lookup(key: String) -> String {
    format!("value of {key}")
}

/// Delete a user. An administrator decides.
#[approval]
#[tool]
async fn delete_user(user_id: String) -> String {
    format!("deleted {user_id}")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

fn in_memory(criterion: &mut Criterion) {
    let runtime = runtime();
    let model = ScriptedModel::new([turn().tool_call("lookup", json!({ "key": "k" })), turn().text("done")]);
    let agent = || {
        let model = model.clone();
        Agent::builder().id("bench").model(model).tools(tools![lookup]).instructions("Be brief.").build()
    };
    criterion.bench_function("agent/build", |bench| bench.iter(|| agent().expect("the agent is whole")));
    criterion.bench_function("agent/build and run with one tool call", |bench| {
        bench.iter(|| {
            let agent = agent().expect("the agent is whole");
            let run = runtime.block_on(async { agent.run("look it up").await }).expect("the run completes");
            assert_eq!(run.content(), "done");
        });
    });
}

/// One cycle: paused, approved, resumed, complete.
async fn cycle(agent: &Agent, db: &SqliteDb) -> RunOutput {
    let run = agent.run("delete u1").user_id("alice").await.expect("the run pauses");
    let approval = run.requirements[0].tool_execution.approval_id.clone().expect("an approval is asked for");
    let yes = Resolution::approved().by("bob");
    db.update_approval(&approval, ApprovalStatus::Pending, yes).await.expect("the approval is decided");
    let run = agent.continue_run(&run.run_id).user_id("alice").await.expect("the run completes");
    assert_eq!(run.status, RunStatus::Completed);
    run
}

fn on_sqlite(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = Folder::new();
    let model = ScriptedModel::new([turn().tool_call("delete_user", json!({ "user_id": "u1" })), turn().text("done")]);
    let (db, agent) = runtime.block_on(async {
        let db = SqliteDb::open(folder.file("kern.db")).await.expect("the file can be made");
        let agent = Agent::builder().id("bench").model(model).tools(tools![delete_user]).db(db.clone());
        (db, agent.build().expect("the agent is whole"))
    });
    let first = runtime.block_on(cycle(&agent, &db));
    let mut bare = Bare::of(&folder.file("kern.db"), first.run_id.as_str(), &folder.file("bare.db"));

    let mut group = criterion.benchmark_group("approval cycle on SQLite");
    group.measurement_time(Duration::from_secs(8));
    group.bench_function("five bare durable commits", |bench| bench.iter(|| bare.five_commits()));
    group.bench_function("kern", |bench| bench.iter(|| runtime.block_on(cycle(&agent, &db))));
    group.finish();

    // The ratio needs both from the same moments: in turns, and the medians of the pairs.
    let mut ratios: Vec<(f64, f64)> = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        bare.five_commits();
        let limit = started.elapsed().as_secs_f64();
        let started = Instant::now();
        runtime.block_on(cycle(&agent, &db));
        ratios.push((started.elapsed().as_secs_f64(), limit));
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = ratios.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!(
        "approval cycle: {:.2} ms, five bare commits of the same rows: {:.2} ms, {:.2} times (medians of 200 pairs)",
        median(|(kern, _)| *kern) * 1e3,
        median(|(_, bare)| *bare) * 1e3,
        median(|(kern, bare)| kern / bare),
    );
}

criterion_group!(benches, in_memory, on_sqlite);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
