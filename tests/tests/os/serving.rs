//! What may be served, where, and how it ends.

use kern::os::AgentOS;
use kern::prelude::*;
use kern_tests::store::Store;
use serde_json::{Value, json};

use super::{Served, script};

#[tokio::test]
async fn what_others_could_reach_is_not_served_while_nobody_is_asked_who_they_are() {
    let store = Store::new().await;
    let agent = Agent::builder().id("a").model(script(&[])).db(store.db.clone()).build().unwrap();
    let os = AgentOS::builder().agent(agent).build().unwrap();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let refused = os.clone().start(address).await.unwrap_err();
        assert_eq!(refused.code(), "setup");
        assert!(refused.to_string().contains("no loopback address"), "{refused}");
    }
    for address in ["127.0.0.1", "nonsense"] {
        assert_eq!(os.clone().start(address).await.unwrap_err().code(), "setup");
    }
    let taken = os.clone().start("127.0.0.1:0").await.unwrap();
    let refused = os.start(&taken.address().to_string()).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be served"), "{refused}");
}

#[tokio::test]
async fn what_could_not_be_told_apart_is_not_built() {
    let (one, other) = (Store::new().await, Store::new().await);
    let agent =
        |id: &str, store: &Store| Agent::builder().id(id).model(script(&[])).db(store.db.clone()).build().unwrap();
    let said = |os: kern::os::AgentOSBuilder| os.build().unwrap_err().to_string();
    assert!(said(AgentOS::builder()).contains("without agents"));
    assert!(
        said(AgentOS::builder().agents([agent("a", &one), agent("a", &one)])).contains("two agents have the id `a`")
    );
    assert!(said(AgentOS::builder().agents([agent("a", &one), agent("b", &other)])).contains("has another store"));
    assert!(said(AgentOS::builder().agent(agent("a", &one)).db(other.db.clone())).contains("has another store"));
    AgentOS::builder().agents([agent("a", &one), agent("b", &one)]).db(one.db.clone()).build().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_has_every_route_and_the_log_and_the_metrics_say_what_happened() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    os.run("described").await;
    let description = os.client.get("/openapi.json").await;
    assert_eq!((description.status, &description.body["openapi"]), (200, &json!("3.1.0")));
    let paths: Vec<&String> = description.body["paths"].as_object().unwrap().keys().collect();
    for path in [
        "/",
        "/health",
        "/livez",
        "/readyz",
        "/info",
        "/config",
        "/agents",
        "/agents/{agent_id}",
        "/agents/{agent_id}/runs",
        "/agents/{agent_id}/runs/{run_id}",
        "/agents/{agent_id}/runs/{run_id}/continue",
        "/agents/{agent_id}/runs/{run_id}/cancel",
        "/agents/{agent_id}/runs/{run_id}/resume",
        "/teams",
        "/approvals",
        "/approvals/count",
        "/approvals/events",
        "/approvals/resolve",
        "/approvals/{approval_id}",
        "/approvals/{approval_id}/status",
        "/approvals/{approval_id}/resolve",
        "/executions",
        "/executions/{execution_id}/settle",
        "/audit",
        "/audit/verify",
        "/audit/checkpoint",
        "/metrics",
    ] {
        assert!(paths.iter().any(|found| *found == path), "{path} is not described");
    }
    let operations = description.body["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    let mut names: Vec<&Value> = operations.map(|(_, operation)| &operation["operationId"]).collect();
    let all = names.len();
    names.sort_by_key(|name| name.to_string());
    names.dedup();
    assert_eq!((names.len(), names.iter().all(|name| name.is_string())), (all, true), "each has a name of its own");
    let log = os.client.get("/audit?limit=2").await;
    assert_eq!(log.body["data"].as_array().unwrap().len(), 2);
    let more = os.client.get("/audit?after=2").await;
    assert_eq!(more.body["data"][0]["seq"], json!(3));
    assert_eq!(os.client.get("/audit/verify").await.body["intact"], json!(true));
    let metrics = os.client.get("/metrics").await;
    let text = metrics.body.as_str().unwrap();
    assert!(
        text.contains("kern_approvals{status=\"pending\"} 1\n")
            && text.contains("kern_approvals_waiting 1\n")
            && text.contains("kern_clock_ahead_seconds 0.00"),
        "{text}"
    );
    assert_eq!(os.client.get("/executions").await.body, json!({ "data": [] }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_shut_down_answers_what_it_has_begun_and_then_nobody() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let run = os.run("end").await;
    assert_eq!(run.status, 200);
    let client = os.client.clone();
    let listener = client.read(client.request("GET", "/approvals/events")).await;
    os.server.shutdown().await;
    // Whoever only listens keeps no server from its end.
    let told: Vec<String> = listener.rest().await.into_iter().map(|event| event.name).collect();
    assert_eq!(told, [] as [&str; 0]);
    assert!(client.request("GET", "/health").send().await.is_err(), "nobody answers any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_servers_ask_for_nothing_whatever_name_they_use() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let ask = |name: &str, value: &str| {
        let request = os.client.request("POST", "/agents/a/runs").form(&[("message", "go"), ("stream", "false")]);
        os.client.send(request.header(name, value))
    };
    for (name, value, code) in [
        ("host", "evil.example", "forbidden_host"),
        ("host", "evil.example:80", "forbidden_host"),
        ("origin", "http://evil.example", "forbidden_origin"),
        ("origin", "null", "forbidden_origin"),
        ("origin", "https://localhost", "forbidden_origin"),
    ] {
        let refused = ask(name, value).await;
        assert_eq!((refused.status, refused.code()), (403, code), "{name}: {value}");
    }
    assert_eq!(os.client.get("/approvals/count").await.body, json!({ "count": 0 }));
    let own = ask("origin", &format!("http://{}", os.server.address())).await;
    assert_eq!((own.status, &own.body["status"]), (200, &json!("PAUSED")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_credentials_answers_nothing_that_a_proxy_forwards() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let forwarded = [
        ("forwarded", "for=192.0.2.1"),
        ("via", "1.1 proxy"),
        ("x-forwarded-for", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("x-forwarded-host", ""),
        ("X-Forwarded-Anything", "1"),
        ("x-real-ip", "192.0.2.1"),
    ];
    for (name, value) in forwarded {
        for (method, path) in [("GET", "/approvals"), ("GET", "/health"), ("POST", "/agents/a/runs")] {
            let refused = os.client.send(os.client.request(method, path).header(name, value)).await;
            assert_eq!(
                (refused.status, refused.code()),
                (403, "forwarded_without_credentials"),
                "{name}: {method} {path}"
            );
            let said = refused.body["detail"].as_str().unwrap();
            assert!(said.contains("kern keys create"), "{said}");
        }
        let page = os.client.request("GET", "/panel").header(name, value).send().await.unwrap();
        assert_eq!(page.status(), 403, "{name}");
        assert!(page.text().await.unwrap().contains("kern keys create"), "{name}");
    }
    assert_eq!(os.client.get("/approvals/count").await.body, json!({ "count": 0 }));
    // With a key, who somebody is stands in the credential, and the way does not matter.
    let ann = os.known("ann", &["approvals:read"]).await;
    for (name, value) in forwarded {
        let answer = ann.send(ann.request("GET", "/approvals").header(name, value)).await;
        assert_eq!(answer.status, 200, "{name}");
        let refused = os.client.send(os.client.request("GET", "/approvals").header(name, value)).await;
        assert_eq!((refused.status, refused.code()), (401, "missing_credential"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_opens_no_server_without_credentials() {
    let store = Store::new().await;
    let agent = Agent::builder().id("a").model(script(&[])).db(store.db.clone()).build().unwrap();
    let os = AgentOS::builder().agent(agent).without_worker().trusted_proxy([127, 0, 0, 1]).build().unwrap();
    let server = os.start("127.0.0.1:0").await.unwrap();
    let client = kern_tests::http::Client::of(server.address());
    let refused = client.send(client.request("GET", "/approvals").header("x-forwarded-for", "192.0.2.1")).await;
    assert_eq!((refused.status, refused.code()), (403, "forwarded_without_credentials"));
    assert_eq!(client.get("/approvals").await.status, 200);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pools_of_a_server_are_in_the_store_once_it_has_started() {
    let store = Store::new().await;
    store.db.set_pool("finance", ["ann", "bob"]).await.unwrap();
    let agent = || Agent::builder().id("a").model(script(&[])).db(store.db.clone()).build().unwrap();
    let written = async || {
        kern_tests::history::entries(&store.db).await.iter().filter(|entry| entry.action == "pool_set").count()
    };
    for (members, count) in [(&["bob", "ann"][..], 1), (&["bob"], 2), (&["bob"], 2)] {
        let os = AgentOS::builder().agent(agent()).without_worker().pool("finance", members.to_vec()).build().unwrap();
        os.start("127.0.0.1:0").await.unwrap().shutdown().await;
        let pools = store.db.list_pools().await.unwrap();
        assert_eq!(pools.len(), 1);
        assert_eq!(pools[0].members.len(), members.len(), "{pools:?}");
        assert_eq!(written().await, count, "only what is new is written");
    }
    let wrong = AgentOS::builder().agent(agent()).pool("", ["ann"]).build().unwrap().start("127.0.0.1:0").await;
    assert!(wrong.is_err(), "a pool has a name");
}
