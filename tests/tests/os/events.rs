//! What happens to approvals, told to whoever listens, and told again to whoever comes back.

use kern_tests::http::{Event, Stream};
use serde_json::json;

use super::{Served, ids};

async fn until(stream: &mut Stream, name: &str) -> Vec<Event> {
    let mut events = Vec::new();
    loop {
        let event = stream.next().await.expect("the stream goes on");
        let found = event.name == name;
        events.push(event);
        if found {
            return events;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_listener_is_told_and_goes_on_where_it_was() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(os.client.read(os.client.request("GET", "/approvals/events")).await);
    }
    let (run_id, approval_id) = ids(&os.run("told").await);
    let mut last = String::new();
    for listener in &mut listeners {
        let requested = until(listener, "requested").await.pop().unwrap();
        assert_eq!(requested.data["approval_id"], json!(approval_id));
        last = requested.id.expect("an event has its number");
    }
    drop(listeners);
    // Nobody listens; what happens meanwhile is in the log.
    os.resolve(&approval_id, &json!({ "status": "approved", "resolved_by": "bob" })).await;
    os.go_on(&run_id, "told", &[]).await;
    let request = os.client.request("GET", "/approvals/events").header("Last-Event-ID", &last);
    let events = until(&mut os.client.read(request).await, "executed").await;
    let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["voted", "resolved", "executing", "executed"]);
    assert!(events.iter().all(|event| event.data["run_id"] == json!(run_id)));
    assert_eq!(events[1].data["actor"]["subject"], "bob");
    let bad = os.client.send(os.client.request("GET", "/approvals/events").header("Last-Event-ID", "soon")).await;
    assert_eq!(bad.status, 422);
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_to_hundreds_is_read_once() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use kern::os::{AgentOS, Limits};
    use kern::prelude::*;

    const LISTENERS: usize = 300;
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let agent = Agent::builder().id("b").model(super::script(&[])).db(os.store.db.clone()).build().unwrap();
    let limits = Limits::new().connections(2000).connections_each(2000).streams(2000).without_rate();
    let server = AgentOS::builder().agent(agent).without_worker().limits(limits).build().unwrap();
    let server = server.start("127.0.0.1:0").await.unwrap();
    // Each is told only what is theirs.
    let alice = os.known("alice", &["approvals:read", "agents:run"]).await;
    let mine = kern::identity::KeyRequest::new("alice", kern::identity::ScopeSet::parse(["approvals:read"]).unwrap());
    let mine = mine.make(&os.store.db).await.unwrap();
    let client = kern_tests::http::Client::of(server.address()).with(mine.secret.reveal());
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS {
        listeners.push(client.read(client.request("GET", "/approvals/events")).await);
    }
    let reads = Arc::new(AtomicUsize::new(0));
    for place in ["read: read who asked for a run", "read: read a run"] {
        let reads = Arc::clone(&reads);
        fail::cfg_callback(place, move || _ = reads.fetch_add(1, Ordering::SeqCst)).unwrap();
    }
    let form = [("message", "go"), ("stream", "false"), ("session_id", "fan-out")];
    let run = alice.form("/agents/a/runs", &form).await;
    assert_eq!(run.status, 200, "{run:?}");
    for listener in &mut listeners {
        until(listener, "requested").await;
    }
    for place in ["read: read who asked for a run", "read: read a run"] {
        fail::remove(place);
    }
    // Other tests of this program read runs, too, and not hundreds of them.
    let reads = reads.load(Ordering::SeqCst);
    println!("{LISTENERS} listeners: {reads} reads");
    assert!((1..LISTENERS / 4).contains(&reads), "{reads}");
}
