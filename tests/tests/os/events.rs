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
