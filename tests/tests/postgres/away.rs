//! Schedule 18 on PostgreSQL: the server is away for more than ten leases while a body ends.

use std::time::{Duration, Instant};

use kern::db::{ExecutionFilter, IntoDb as _};
use kern::models::ScriptedModel;
use kern::prelude::*;
use kern_tests::folder::unique;
use kern_tests::gates::gate;
use kern_tests::ledger;
use kern_tests::postgres::Server;
use kern_tests::store::{BUSY, SHORT_LEASE, one_call};
use kern_tests::tools::wait;

#[tokio::test(flavor = "multi_thread")]
async fn schedule_18_a_server_that_is_away_for_ten_leases_makes_nothing_unknown() {
    // Its own: nobody else may miss it.
    let server: &'static Server = Box::leak(Box::new(Server::start(&[])));
    let place = server.database().await;
    let db = place.open_with(BUSY, 4).await.into_db();
    let builder = Agent::builder().id("away").tools(tools![wait]).lease(SHORT_LEASE).db(db.clone());
    let agent = builder.model(ScriptedModel::new(one_call("wait", json!({ "key": "k" })))).build().unwrap();
    let session = unique("session");
    let run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
    let waiting = ApprovalFilter::new().run_id(&run.run_id);
    let id = db.list_approvals(waiting).await.unwrap().data.remove(0).id;
    db.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("admin")).await.unwrap();
    let worker = kern::worker::Worker::new(agent.clone()).poll_interval(BUSY / 4).await.unwrap();
    gate(&session).arrival().await;
    server.stop("immediate");
    gate(&session).open();
    tokio::time::sleep(SHORT_LEASE * 12).await;
    server.go_on();
    let since = Instant::now();
    while agent.get_run(&run.run_id).await.map_or(true, |run| run.status != RunStatus::Completed) {
        assert!(since.elapsed() < Duration::from_secs(60), "it does not end");
        tokio::time::sleep(BUSY).await;
    }
    worker.shutdown().await;
    let executions = db.list_executions(ExecutionFilter::new().run_id(&run.run_id)).await.unwrap();
    assert_eq!(executions[0].status.as_str(), "succeeded");
    let entries = db.audit().entries(0, 1_000).await.unwrap();
    assert!(!entries.iter().any(|entry| ["unknown", "run_recovered"].contains(&entry.action.as_str())));
    assert_eq!(ledger::of(&session), ["wait k"]);
}
