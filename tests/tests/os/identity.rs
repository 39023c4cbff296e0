//! Nothing is open by accident: who is asked for a credential, what it is good for, and what is somebody else's.

use std::time::Duration;

use kern::identity::{KeyRequest, ScopeSet};
use kern::os::AgentOS;
use kern::prelude::*;
use kern_tests::http::{Answer, Client};
use kern_tests::ledger;
use kern_tests::store::Store;
use serde_json::{Value, json};

use super::{Served, ids, script, text};

/// What somebody needs who asks agents for something.
const USER: &[&str] = &["agents:run", "agents:read", "approvals:read", "sessions:read"];

async fn key(store: &Store, subject: &str, scopes: &[&str]) -> String {
    let made = KeyRequest::new(subject, ScopeSet::parse(scopes).unwrap()).make(&store.db).await.unwrap();
    made.secret.reveal().to_owned()
}

impl Served {
    pub(crate) async fn known(&self, subject: &str, scopes: &[&str]) -> Client {
        self.client.with(key(&self.store, subject, scopes).await)
    }
}

async fn run(client: &Client, session: &str) -> Answer {
    client.form("/agents/a/runs", &[("message", "go"), ("stream", "false"), ("session_id", session)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_asks_for_a_credential_and_for_its_scope() {
    let os = Served::new(&[]).await;
    let (nobody, useless) = (os.client.clone(), os.known("ann", &["traces:read"]).await);
    let administrator = os.known("root", &["agent_os:admin"]).await;
    let description = nobody.get("/openapi.json").await.body;
    let mut asked = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        let place = path.replace("{agent_id}", "a").replace(['{', '}'], "");
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase();
            let ask = async |client: &Client| client.send(client.request(&method, &place)).await;
            let refused = ask(&nobody).await;
            if ["/", "/health", "/info", "/livez", "/readyz"].contains(&path.as_str()) {
                assert_eq!(refused.status, 200, "{method} {path}");
                continue;
            }
            asked += 1;
            assert_eq!((refused.status, refused.code()), (401, "missing_credential"), "{method} {path}");
            let refused = ask(&useless).await;
            assert_eq!((refused.status, refused.code()), (403, "missing_scope"), "{method} {path}: {refused:?}");
            let said = refused.body["detail"].as_str().unwrap();
            // Only what nobody has thought of asks for that.
            assert!(!said.contains("agent_os:admin"), "{method} {path}: {said}");
            let documented = &methods[method.to_lowercase()]["responses"];
            assert!(documented["401"].is_object() && documented["403"].is_object(), "{method} {path}: {documented}");
            if path == "/approvals/events" {
                continue;
            }
            let answer = ask(&administrator).await;
            assert!(![401, 403].contains(&answer.status) && answer.status < 500, "{method} {path}: {answer:?}");
        }
    }
    assert!(asked > 25, "{asked} routes are described");
    let refused = nobody.request("GET", "/agents").send().await.unwrap();
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    for wrong in ["nonsense", "kern_0123456789abcdef_00", &format!("kern_0123456789abcdef_{}", "0".repeat(64))] {
        let refused = os.client.with(wrong).get("/agents").await;
        assert_eq!((refused.status, refused.code()), (401, "invalid_credential"), "{wrong}");
    }
    // No page of another server has a credential: what it is called under says nothing any more.
    let elsewhere = administrator.request("GET", "/agents").header("host", "kern.example");
    assert_eq!(administrator.send(elsewhere).await.status, 200);
    assert_eq!(nobody.get("/info").await.body["auth_mode"], json!("jwt"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_key_closes_a_server_that_runs_and_the_last_one_does_not_open_it() {
    let os = Served::new(&[]).await;
    assert_eq!(os.client.get("/agents").await.status, 200);
    assert_eq!(os.client.get("/info").await.body["auth_mode"], json!("none"));
    let made = KeyRequest::new("ann", ScopeSet::parse(["agents:read"]).unwrap()).make(&os.store.db).await.unwrap();
    assert_eq!(os.client.get("/agents").await.code(), "missing_credential");
    let ann = os.client.with(made.secret.reveal());
    assert_eq!(ann.get("/agents").await.status, 200);
    os.store.db.revoke_key(&made.key.id, None).await.unwrap();
    assert_eq!(ann.get("/agents").await.code(), "invalid_credential");
    assert_eq!(os.client.get("/agents").await.code(), "missing_credential");
}

#[tokio::test]
async fn what_asks_who_somebody_is_may_be_served_to_others() {
    let store = Store::new().await;
    let agent = Agent::builder().id("a").model(script(&[])).db(store.db.clone()).build().unwrap();
    let os = AgentOS::builder().agent(agent).build().unwrap();
    // An address of nobody (RFC 5737): it is never bound.
    let refused = os.clone().start("192.0.2.1:0").await.unwrap_err().to_string();
    assert!(refused.contains("no loopback address") && refused.contains("kern keys create"), "{refused}");
    key(&store, "ann", &["agents:read"]).await;
    let refused = os.start("192.0.2.1:0").await.unwrap_err().to_string();
    assert!(!refused.contains("no loopback address"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_acts_is_whom_the_credential_names_whatever_the_request_says() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let alice = os.known("alice", &[USER, &["approvals:write"]].concat()).await;
    let bob = os.known("bob", &["approvals:write", "approvals:read", "executions:settle"]).await;
    let fields = [("message", "go"), ("stream", "false"), ("session_id", "named"), ("user_id", "mallory")];
    let run = alice.form("/agents/a/runs", &fields).await;
    let (run_id, approval_id) = ids(&run);
    assert_eq!(run.body["user_id"], json!("alice"));
    let approve = json!({ "status": "approved", "resolved_by": "bob" });
    let own = alice.json(&format!("/approvals/{approval_id}/resolve"), &approve).await;
    assert_eq!((own.status, own.code()), (403, "not_permitted"), "{own:?}");
    // As recorded of the reference, where somebody has proved who they are.
    let pending = alice.form(&format!("/agents/a/runs/{run_id}/continue"), &fields[1..3]).await;
    assert_eq!((pending.status, pending.code()), (403, "approval_pending"), "{pending:?}");
    let streamed = alice.form(&format!("/agents/a/runs/{run_id}/continue"), &fields[2..3]).await;
    assert_eq!((streamed.status, streamed.code()), (403, "approval_pending"), "{streamed:?}");
    assert_eq!(ledger::of("named"), [] as [&str; 0]);
    let said = json!({ "status": "approved", "resolved_by": "the boss" });
    let approved = bob.json(&format!("/approvals/{approval_id}/resolve"), &said).await;
    assert_eq!((approved.status, &approved.body["resolved_by"]), (200, &json!("bob")), "{approved:?}");
    assert_eq!(approved.body["resolved_by_verified"], json!(true));
    let done = alice.form(&format!("/agents/a/runs/{run_id}/continue"), &fields[1..3]).await;
    assert_eq!((done.status, &done.body["status"]), (200, &json!("COMPLETED")), "{done:?}");
    assert_eq!(ledger::of("named"), ["delete u1"]);
    let stored = os.store.db.get_run(&run_id.as_str().into()).await.unwrap();
    assert!(stored.requester.is_some_and(|asked| asked.verified && asked.subject == "alice"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_somebody_elses_looks_like_what_is_not_there() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let (alice, carol) =
        (os.known("alice", USER).await, os.known("carol", &[USER, &["approvals:delete"]].concat()).await);
    let approver = os.known("bob", &["approvals:read", "approvals:write"]).await;
    let root = os.known("root", &["agent_os:admin"]).await;
    let (run_id, approval_id) = ids(&run(&alice, "hers").await);
    for (method, path, none) in [
        ("GET", format!("/agents/a/runs/{run_id}?session_id=hers"), "/agents/a/runs/none?session_id=hers".to_owned()),
        ("POST", format!("/agents/a/runs/{run_id}/continue"), "/agents/a/runs/none/continue".to_owned()),
        ("POST", format!("/agents/a/runs/{run_id}/cancel"), "/agents/a/runs/none/cancel".to_owned()),
        ("POST", format!("/agents/a/runs/{run_id}/resume"), "/agents/a/runs/none/resume".to_owned()),
        ("GET", format!("/approvals/{approval_id}"), "/approvals/none".to_owned()),
        ("GET", format!("/approvals/{approval_id}/status"), "/approvals/none/status".to_owned()),
        ("DELETE", format!("/approvals/{approval_id}"), "/approvals/none".to_owned()),
        ("GET", "/sessions/hers".to_owned(), "/sessions/none".to_owned()),
        ("GET", "/sessions/hers/runs".to_owned(), "/sessions/none/runs".to_owned()),
        ("GET", format!("/sessions/hers/runs/{run_id}"), "/sessions/hers/runs/none".to_owned()),
    ] {
        let ask = async |path: &str| {
            let request = carol.request(method, path);
            carol.send(if method == "POST" { request.form(&[("session_id", "hers")]) } else { request }).await
        };
        let (hers, none) = (ask(&path).await, ask(&none).await);
        assert_eq!((hers.status, none.status), (404, 404), "{method} {path}: {hers:?}");
        assert_eq!(hers.body, none.body, "{method} {path}");
    }
    // A run in her session would read what was said there.
    assert_eq!(run(&carol, "hers").await.status, 404);
    assert_eq!(run(&alice, "hers").await.status, 200);
    let listed = async |client: &Client, path: &str| client.get(path).await.body["data"].as_array().unwrap().len();
    for path in ["/approvals", "/approvals?user_id=alice", "/sessions", "/sessions?user_id=alice"] {
        assert_eq!(listed(&carol, path).await, 0, "{path}");
        assert_ne!(listed(&alice, path).await, 0, "{path}");
    }
    assert_eq!(carol.get("/agents/a/runs?session_id=hers").await.body, json!([]));
    assert_eq!(carol.get("/approvals/count?user_id=alice").await.body, json!({ "count": 0 }));
    assert_eq!(alice.get("/approvals/count").await.body, json!({ "count": 2 }));
    // Whoever decides sees what there is to decide, and no more; an administrator sees everything.
    assert_eq!(listed(&approver, "/approvals").await, 2);
    assert_eq!(approver.get("/sessions/hers").await.code(), "missing_scope");
    assert_eq!(root.get("/sessions/hers").await.status, 200);
    assert_eq!(root.get(&format!("/agents/a/runs/{run_id}?session_id=hers")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_those_of_ones_own_and_last_no_longer_than_the_credential() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let (alice, carol) = (os.known("alice", USER).await, os.known("carol", USER).await);
    let bob = os.known("bob", &["approvals:read", "approvals:write"]).await;
    let brief = KeyRequest::new("dan", ScopeSet::parse(["approvals:read"]).unwrap()).expires_in(Duration::from_secs(2));
    let brief = brief.make(&os.store.db).await.unwrap();
    let dan = os.client.with(brief.secret.reveal());
    let dan = dan.read(dan.request("GET", "/approvals/events")).await;
    let gone = KeyRequest::new("eve", ScopeSet::parse(["approvals:read"]).unwrap()).make(&os.store.db).await.unwrap();
    let eve = os.client.with(gone.secret.reveal());
    let eve = eve.read(eve.request("GET", "/approvals/events")).await;
    os.store.db.revoke_key(&gone.key.id, None).await.unwrap();
    let from_start = |client: &Client| client.request("GET", "/approvals/events").header("last-event-id", "0");
    let mut hers = carol.read(from_start(&carol)).await;
    let mut all = bob.read(from_start(&bob)).await;
    run(&alice, "events-alice").await;
    let (_, own) = ids(&run(&carol, "events-carol").await);
    let told = hers.next().await.unwrap();
    assert_eq!((told.name.as_str(), text(&told.data["approval_id"])), ("requested", own.clone()));
    let first: Value = all.next().await.unwrap().data["approval_id"].clone();
    assert_ne!(first, json!(own));
    assert_eq!(all.next().await.unwrap().data["approval_id"], json!(own));
    assert_eq!(dan.rest().await.len(), 0, "it has ended with the credential");
    assert_eq!(eve.rest().await.len(), 0, "it has ended with its key");
}
