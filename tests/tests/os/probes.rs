//! `/livez` and `/readyz`: without a credential, uncounted, and whatever else happens.

use kern::os::{AgentOS, Limits};
use kern::prelude::*;
use kern_tests::http::{Answer, Client};
use serde_json::{Value, json};

use super::{script, served};

fn check(answer: &Answer, name: &str) -> Value {
    let checks = answer.body["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap_or(&Value::Null).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_ask_nobody_who_they_are_and_count_in_no_limit() {
    let (_server, client, store) = served(Limits::new().rate(1, 1)).await;
    let scopes = kern::identity::ScopeSet::parse(["agents:read"]).unwrap();
    kern::identity::KeyRequest::new("ann", scopes).make(&store.db).await.unwrap();
    for _ in 0..20 {
        assert_eq!(client.get("/livez").await.status, 200);
        let ready = client.get("/readyz").await;
        assert_eq!((ready.status, &ready.body["code"]), (200, &json!("ok")), "{ready:?}");
        for name in ["server", "store", "clock", "quarantine"] {
            assert_eq!(check(&ready, name)["code"], "ok", "{name}");
        }
    }
    assert_eq!(client.get("/agents").await.status, 401);
    // Under whatever name the system that watches the server asks.
    let elsewhere = client.request("GET", "/livez").header("host", "10.1.2.3:80");
    assert_eq!(client.send(elsewhere).await.status, 200);
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_store_that_fails_is_not_ready_and_a_clock_that_jumped_is_reported() {
    let (_server, client, _store) = served(Limits::new()).await;
    // On one thread, the server's calls have the clock of this test. It is ahead while a run is stored.
    kern_db::clock::set_ahead_ms(60_000);
    let run = client.form("/agents/a/runs", &[("message", "go"), ("stream", "false")]).await;
    kern_db::clock::set_ahead_ms(0);
    assert_eq!(run.status, 200, "{run:?}");
    let ready = client.get("/readyz").await;
    assert_eq!((ready.status, &ready.body["code"]), (200, &json!("clock_jumped")), "{ready:?}");
    let ahead = check(&ready, "clock")["store_ahead_ms"].as_i64().unwrap();
    assert!((50_000..=60_000).contains(&ahead), "{ahead}");
    // Another server, since what one knows is used for two seconds.
    let (_server, client, _store) = served(Limits::new()).await;
    fail::cfg("read: read the clock", "return(io)").unwrap();
    let broken = client.get("/readyz").await;
    fail::remove("read: read the clock");
    assert_eq!((broken.status, &broken.body["code"]), (503, &json!("store_unavailable")), "{broken:?}");
    assert_eq!(client.get("/livez").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_and_decisions_are_answered_while_every_stream_has_its_place() {
    let os = super::Served::new(&[("delete_user", json!({ "user_id": "streams" }))]).await;
    let agent = Agent::builder().id("b").model(script(&[])).db(os.store.db.clone()).build().unwrap();
    let limits = Limits::new().connections(64).connections_each(1000).head_time(std::time::Duration::from_secs(60));
    let full = AgentOS::builder().agent(agent).without_worker().limits(limits).build().unwrap();
    let server = full.start("127.0.0.1:0").await.unwrap();
    let (_, approval_id) = super::ids(&os.run("places").await);
    let mut streams = Vec::new();
    let mut refused = 0;
    for _ in 0..64 {
        // A client of its own, so that each has a connection.
        let client = Client::of(server.address());
        let answer = client.request("GET", "/approvals/events").send().await.unwrap();
        match answer.status().as_u16() {
            200 => streams.push((client, answer)),
            503 => {
                assert_eq!(answer.headers()["connection"], "close");
                let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
                assert_eq!(problem["code"], json!("too_many_streams"));
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!((streams.len(), refused), (32, 32));
    let client = Client::of(server.address());
    assert_eq!(client.get("/livez").await.status, 200);
    assert_eq!(client.get("/readyz").await.status, 200);
    let yes = json!({ "status": "approved", "resolved_by": "bob" });
    assert_eq!(client.json(&format!("/approvals/{approval_id}/resolve"), &yes).await.status, 200);
    drop(streams);
    for _ in 0..100 {
        if client.request("GET", "/approvals/events").send().await.unwrap().status() == 200 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the places of streams that have ended are not free");
}
