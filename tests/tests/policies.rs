//! The arguments of `#[approval]` from a tool to its end: who decides, how many, for how long.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

use std::time::{Duration, Instant};

use kern::db::ExecutionStatus;
use kern::prelude::*;
use kern::run::RunId;
use kern::tools::ToolHandle;
use kern::worker::Worker;
use kern_tests::ledger::{self, enter};
use kern_tests::store::{SHORT_LEASE, Store, code, one_call, told};

macro_rules! paying {
    ($($name:ident: #[$approval:meta];)*) => {
        $(
            /// Pay. An administrator decides.
            #[$approval]
            #[tool]
            async fn $name(ctx: &RunContext) -> String {
                enter(ctx, stringify!($name));
                "paid".to_owned()
            }
        )*
    };
}

paying! {
    by_two_of_finance: #[approval(pool = "finance", quorum = 2)];
    with_a_reason: #[approval(require_reason)];
    by_anybody: #[approval(allow_self)];
    within_a_second: #[approval(expires_in = "1s")];
    used_within_a_second: #[approval(valid_for = "300ms")];
}

async fn asked(store: &Store, tool: Vec<ToolHandle>, session: &str) -> (Agent, RunId) {
    let name = tool[0].descriptor().name.clone();
    let agent = store.agent(tool, one_call(&name, json!({}))).lease(SHORT_LEASE).build().unwrap();
    let run = agent.run("Pay").user_id("alice").session_id(session).await.unwrap();
    (agent, run.run_id)
}

async fn decides(store: &Store, run_id: &RunId, resolution: Resolution) -> Result<ApprovalStatus, &'static str> {
    let approval = store.approvals(run_id).await.remove(0);
    let decided = store.db.update_approval(&approval.id, ApprovalStatus::Pending, resolution).await;
    decided.map(|approval| approval.status).map_err(|error| error.code())
}

fn yes(name: &str) -> Resolution {
    Resolution::approved().by(name)
}

async fn completed(agent: &Agent, run_id: &RunId) -> RunOutput {
    let begun = Instant::now();
    loop {
        let run = agent.get_run(run_id).await.unwrap();
        if run.status == RunStatus::Completed {
            return run;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{run_id} is {}", run.status);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn i10_two_of_the_pool_decide_and_nobody_else() {
    let store = Store::new().await;
    store.db.set_pool("finance", ["ann", "bob", "alice"]).await.unwrap();
    let (agent, run_id) = asked(&store, tools![by_two_of_finance], "finance").await;
    let approval = store.approvals(&run_id).await.remove(0);
    assert_eq!((approval.pool.as_deref(), approval.quorum), (Some("finance"), 2));
    assert_eq!(decides(&store, &run_id, yes("mallory")).await, Err("not_permitted"));
    assert_eq!(decides(&store, &run_id, yes("alice")).await, Err("not_permitted"), "she asked");
    assert_eq!(decides(&store, &run_id, Resolution::approved()).await, Err("not_permitted"), "nobody");
    assert_eq!(decides(&store, &run_id, yes("ann")).await, Ok(ApprovalStatus::Pending));
    assert_eq!(code(agent.continue_run(&run_id).await), "approval_pending");
    assert_eq!(decides(&store, &run_id, yes("ann")).await, Err("not_permitted"), "she has voted");
    // Who is in the pool at the last vote counts.
    store.db.set_pool("finance", ["ann", "carl"]).await.unwrap();
    assert_eq!(decides(&store, &run_id, yes("bob")).await, Err("not_permitted"));
    assert_eq!(ledger::of("finance"), [] as [&str; 0]);
    assert_eq!(decides(&store, &run_id, yes("carl")).await, Ok(ApprovalStatus::Approved));
    assert_eq!(told(&agent.continue_run(&run_id).await.unwrap()), ["paid"]);
    assert_eq!(ledger::of("finance"), ["by_two_of_finance"]);
}

#[tokio::test]
async fn a_pool_that_is_too_small_is_refused_before_anybody_asks() {
    let store = Store::new().await;
    let build = || store.agent(tools![by_two_of_finance], []).build();
    for members in [&[][..], &["ann"]] {
        store.db.set_pool("finance", members.to_vec()).await.unwrap();
        let refused = build().unwrap_err();
        assert_eq!(refused.code(), "policy_unsatisfiable");
        assert!(refused.to_string().contains("2 of them have to say yes"), "{refused}");
    }
    store.db.set_pool("finance", ["ann", "bob"]).await.unwrap();
    build().unwrap();
}

#[tokio::test]
async fn a_reason_is_asked_for_and_the_requester_may_decide_where_the_tool_says_so() {
    let store = Store::new().await;
    let (_, run_id) = asked(&store, tools![with_a_reason], "a reason").await;
    assert_eq!(decides(&store, &run_id, yes("bob")).await, Err("reason_required"));
    assert_eq!(decides(&store, &run_id, yes("bob").note("it is due")).await, Ok(ApprovalStatus::Approved));

    let (agent, run_id) = asked(&store, tools![by_anybody], "by anybody").await;
    assert_eq!(decides(&store, &run_id, yes("alice")).await, Ok(ApprovalStatus::Approved));
    assert_eq!(told(&agent.continue_run(&run_id).await.unwrap()), ["paid"]);
}

#[tokio::test]
async fn i15_what_nobody_decides_in_time_expires_by_itself_and_the_model_is_told() {
    let store = Store::new().await;
    let (agent, run_id) = asked(&store, tools![within_a_second], "in time").await;
    let worker = Worker::new(agent.clone()).poll_interval(Duration::from_millis(100)).await.unwrap();
    let run = completed(&agent, &run_id).await;
    worker.shutdown().await;
    assert_eq!(told(&run), ["Function call was not approved in time"]);
    assert_eq!(run.tools[0].confirmation_note.as_deref(), Some("Function call was not approved in time"));
    assert_eq!(decides(&store, &run_id, yes("bob")).await, Err("conflict"));
    assert_eq!(ledger::of("in time"), [] as [&str; 0]);
}

#[tokio::test]
async fn schedule_5_an_approval_that_is_not_used_in_time_is_void() {
    let store = Store::new().await;
    let (agent, run_id) = asked(&store, tools![used_within_a_second], "void").await;
    assert_eq!(decides(&store, &run_id, yes("bob")).await, Ok(ApprovalStatus::Approved));
    tokio::time::sleep(Duration::from_millis(400)).await;
    let run = agent.continue_run(&run_id).await.unwrap();
    assert_eq!(ledger::of("void"), [] as [&str; 0]);
    assert_eq!(store.executions(&run_id).await[0].status, ExecutionStatus::Abandoned);
    assert!(told(&run)[0].starts_with("The function was not called"), "{:?}", told(&run));
    // Approved it was, and rejected by nobody.
    assert_ne!(run.tools[0].confirmation_note.as_deref(), Some("Tool call was rejected"));
}
