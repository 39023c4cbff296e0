//! A client that goes away takes no run with it, and finds it again.

use std::sync::Arc;
use std::time::Duration;

use kern_tests::gates::{Gate, SlowModel, gate};
use kern_tests::http::Event;
use serde_json::json;

use super::{Served, ids, script, text};

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

async fn slow(name: &str, turn: usize, calls: &[(&str, serde_json::Value)]) -> (Served, Arc<Gate>) {
    let gate = gate(name);
    let model = SlowModel::new(script(calls), turn, Arc::clone(&gate));
    (Served::with(model, false).await, gate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_ends_when_its_only_client_is_gone_and_its_events_are_found_again() {
    let (os, gate) = slow("gone", 0, &[]).await;
    let form = [("message", "go"), ("session_id", "gone"), ("user_id", "alice")];
    let mut stream = os.client.stream("/agents/a/runs", &form).await;
    let first = stream.next().await.unwrap();
    assert_eq!(first.name, "RunStarted");
    let run_id = text(&first.data["run_id"]);
    drop(stream);
    gate.arrival().await;
    let path = format!("/agents/a/runs/{run_id}/resume");
    let resumed = os.client.stream(&path, &[("session_id", "gone"), ("last_event_index", "0")]).await;
    gate.open();
    let events = resumed.rest().await;
    assert_eq!(names(&events)[0], "ModelRequestStarted", "the first one was seen");
    assert_eq!(*names(&events).last().unwrap(), "RunCompleted");
    // Whoever comes later still finds them, from wherever they were.
    let whole = os.client.stream(&path, &[("session_id", "gone")]).await.rest().await;
    assert_eq!(names(&whole)[1..], names(&events));
    let past = os.client.stream(&path, &[("session_id", "gone"), ("last_event_index", "1000")]).await.rest().await;
    assert_eq!(names(&past), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_in_the_background_is_told_of_at_once_and_found_in_the_store() {
    let (os, gate) = slow("background", 0, &[]).await;
    let form = [("message", "go"), ("session_id", "back"), ("background", "true"), ("stream", "false")];
    let answer = os.client.form("/agents/a/runs", &form).await;
    assert_eq!((answer.status, &answer.body["status"]), (202, &json!("PENDING")), "{answer:?}");
    let run_id = text(&answer.body["run_id"]);
    let found = os.client.get(&format!("/agents/a/runs/{run_id}?session_id=back")).await;
    assert_eq!((found.status, &found.body["status"]), (200, &json!("RUNNING")), "{found:?}");
    gate.open();
    let path = format!("/agents/a/runs/{run_id}/resume");
    let events = os.client.stream(&path, &[("session_id", "back")]).await.rest().await;
    assert_eq!(*names(&events).last().unwrap(), "RunCompleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_another_process_is_shown_as_it_ends() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    // Started beside the server, so that it has no events of it.
    let agent = kern::Agent::builder().id("a").model(script(&[("delete_user", json!({ "user_id": "u1" }))]));
    let agent =
        agent.tools(kern::prelude::tools![kern_tests::tools::delete_user]).db(os.store.db.clone()).build().unwrap();
    let run = agent.run("go").user_id("alice").session_id("beside").await.unwrap();
    let path = format!("/agents/a/runs/{}/resume", run.run_id);
    let events = os.client.stream(&path, &[("session_id", "beside"), ("last_event_index", "3")]).await.rest().await;
    assert_eq!(names(&events), ["RunPaused"]);
    assert_eq!(events[0].data["tools"][0]["tool_args"], json!({ "user_id": "u1" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decided_run_goes_on_by_itself() {
    let os = Served::with(script(&[("delete_user", json!({ "user_id": "u1" }))]), true).await;
    let (run_id, approval_id) = ids(&os.run("itself").await);
    let yes = os.resolve(&approval_id, &json!({ "status": "approved", "resolved_by": "bob" })).await;
    assert_eq!(yes.status, 200);
    let path = format!("/agents/a/runs/{run_id}?session_id=itself");
    for _ in 0..600 {
        if os.client.get(&path).await.body["status"] == "COMPLETED" {
            assert_eq!(kern_tests::ledger::of("itself"), ["delete u1"]);
            os.server.shutdown().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody has continued it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_is_over_for_everybody() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let (run_id, approval_id) = ids(&os.run("cancelled").await);
    for _ in 0..2 {
        let answer = os.client.form(&format!("/agents/a/runs/{run_id}/cancel"), &[("session_id", "cancelled")]).await;
        assert_eq!((answer.status, answer.body), (200, json!({})));
    }
    let late = os.resolve(&approval_id, &json!({ "status": "approved", "resolved_by": "bob" })).await;
    assert_eq!((late.status, late.code(), &late.body["approval_status"]), (409, "conflict", &json!("cancelled")));
    let none = os.client.form("/agents/a/runs/no-such-run/cancel", &[("session_id", "cancelled")]).await;
    assert_eq!((none.status, none.code()), (404, "run_not_found"));
}
