//! Sessions over HTTP: made, named and deleted.

use std::time::Duration;

use kern_tests::gates::gate;
use kern_tests::ledger;
use kern_tests::tools::wait;
use serde_json::{Value, json};

use super::{Served, ids, text};
use kern::os::AgentOS;
use kern::prelude::*;
use kern_tests::http::{Answer, Client};
use kern_tests::store::Store;

async fn sent(client: &Client, method: &str, path: &str, body: &Value) -> Answer {
    client.send(client.request(method, path).json(body)).await
}

fn one() -> Vec<(&'static str, Value)> {
    vec![("delete_user", json!({ "user_id": "u1" }))]
}

async fn listed(client: &Client) -> Vec<(String, Value)> {
    let page = client.get("/sessions?type=agent").await;
    assert_eq!(page.status, 200, "{page:?}");
    let data = page.body["data"].as_array().unwrap();
    assert_eq!(page.body["meta"]["total_count"], json!(data.len()));
    data.iter().map(|session| (text(&session["session_id"]), session["session_name"].clone())).collect()
}

#[tokio::test]
async fn a_session_is_made_named_used_and_deleted() {
    let os = Served::new(&one()).await;
    let body = json!({ "session_id": "os-made", "session_name": "Refunds", "user_id": "alice", "agent_id": "a",
        "metadata": { "theme": "dark" }, "session_state": null, "team_id": null, "workflow_id": null });
    let made = sent(&os.client, "POST", "/sessions?type=agent", &body).await;
    assert_eq!(made.status, 201, "{made:?}");
    let agent = json!({ "name": "A", "agent_id": "a",
        "model": { "provider": "Scripted", "name": "Scripted", "id": "scripted" } });
    for (field, value) in [
        ("session_id", json!("os-made")),
        ("agent_session_id", json!("os-made")),
        ("session_name", json!("Refunds")),
        ("user_id", json!("alice")),
        ("agent_id", json!("a")),
        ("agent_data", agent),
        ("session_state", json!({})),
        ("metadata", json!({ "theme": "dark" })),
        ("chat_history", json!([])),
    ] {
        assert_eq!(made.body[field], value, "{field}: {made:?}");
    }
    assert!(made.body["created_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{made:?}");
    assert_eq!(os.client.get("/sessions/os-made?type=agent").await.body, made.body);
    // As in the reference: one without runs has no runs to list.
    assert_eq!(os.client.get("/sessions/os-made/runs").await.status, 404);
    let again = sent(&os.client, "POST", "/sessions", &body).await;
    assert_eq!((again.status, again.code()), (409, "session_exists"), "{again:?}");

    let (run, _) = ids(&os.run("os-made").await);
    os.run("os-other").await;
    let names = |os: &Served| {
        let client = os.client.clone();
        async move { listed(&client).await }
    };
    assert_eq!(names(&os).await, [("os-other".to_owned(), json!("go")), ("os-made".to_owned(), json!("Refunds"))]);
    let found = os.client.get("/sessions/os-made").await.body;
    assert_eq!((&found["session_name"], &found["chat_history"][0]["content"]), (&json!("Refunds"), &json!("go")));

    let renamed =
        sent(&os.client, "POST", "/sessions/os-other/rename?type=agent", &json!({ "session_name": "Other" })).await;
    assert_eq!((renamed.status, &renamed.body["session_name"]), (200, &json!("Other")), "{renamed:?}");
    assert_eq!((&renamed.body["agent_id"], &renamed.body["user_id"]), (&json!("a"), &json!("alice")));
    assert_eq!(renamed.body["chat_history"][0]["content"], json!("go"));
    let change = json!({ "metadata": { "a": 1 } });
    let changed = sent(&os.client, "PATCH", "/sessions/os-other?user_id=alice", &change).await;
    assert_eq!((changed.status, &changed.body["metadata"]), (200, &json!({ "a": 1 })), "{changed:?}");
    assert_eq!(changed.body["session_name"], json!("Other"), "what is not named stays");
    // A name is what a client shows: whatever it holds, it is a text.
    let hostile = "<script>alert(1)</script>\u{202e}";
    let renamed = sent(&os.client, "PATCH", "/sessions/os-other", &json!({ "session_name": hostile })).await;
    assert_eq!(renamed.body["session_name"], json!(hostile));
    let page = text(&os.client.get("/panel/sessions").await.body);
    assert!(!page.contains("<script>alert") && !page.contains('\u{202e}') && page.contains("&#60;script"), "{page}");

    let deleted = os.client.send(os.client.request("DELETE", "/sessions/os-made")).await;
    assert_eq!((deleted.status, &deleted.body), (204, &json!("")), "{deleted:?}");
    assert_eq!(names(&os).await.len(), 1);
    for path in [
        "/sessions/os-made",
        "/sessions/os-made/runs",
        &format!("/sessions/os-made/runs/{run}"),
        &format!("/agents/a/runs/{run}?session_id=os-made"),
    ] {
        let gone = os.client.get(path).await;
        assert_eq!(gone.status, 404, "{path}: {gone:?}");
    }
    let none = os.client.get("/agents/a/runs?session_id=os-made").await;
    assert_eq!((none.status, none.body), (200, json!([])));
    let again = os.client.send(os.client.request("DELETE", "/sessions/os-made")).await;
    assert_eq!((again.status, again.code(), &again.body["detail"]), (404, "not_found", &json!("Session not found")));
}

/// The waiting call is over with its session, whatever anybody sends afterwards.
#[tokio::test]
async fn i9_a_call_that_waits_in_a_deleted_session_never_runs() {
    let os = Served::new(&one()).await;
    let waiting = os.run("os-deleted").await;
    let (run, approval) = ids(&waiting);
    let theirs = os.client.send(os.client.request("DELETE", "/sessions/os-deleted?user_id=bob")).await;
    assert_eq!(theirs.status, 404, "it is alice's");
    assert_eq!(os.client.send(os.client.request("DELETE", "/sessions/os-deleted?user_id=alice")).await.status, 204);

    let late = os.resolve(&approval, &json!({ "status": "approved", "resolved_by": "bob" })).await;
    assert_eq!(
        (late.status, late.code(), &late.body["approval_status"]),
        (409, "conflict", &json!("cancelled")),
        "{late:?}"
    );
    assert_eq!(os.client.get(&format!("/approvals/{approval}")).await.body["status"], json!("cancelled"));
    let mut tools = waiting.body["tools"].clone();
    tools[0]["confirmed"] = json!(true);
    for tools in ["", &tools.to_string()] {
        let late = os.go_on(&run, "os-deleted", &[("tools", tools)]).await;
        assert_eq!((late.status, late.code()), (404, "run_not_found"), "{late:?}");
    }
    let late = os.client.form(&format!("/agents/a/runs/{run}/resume"), &[("session_id", "os-deleted")]).await;
    assert_eq!(late.status, 404, "{late:?}");
    let late = os.client.form(&format!("/agents/a/runs/{run}/cancel"), &[("session_id", "os-deleted")]).await;
    assert_eq!(late.status, 404, "{late:?}");
    assert_eq!(ledger::of("os-deleted"), [] as [&str; 0]);
    // The log says who, and the next run with this id remembers nothing.
    let log = os.client.get("/audit").await.body["data"].clone();
    let said: Vec<_> = log.as_array().unwrap().iter().filter(|entry| entry["run_id"] == json!(run)).collect();
    let hidden = said.last().unwrap();
    assert_eq!((&hidden["action"], &hidden["actor"]["subject"]), (&json!("run_hidden"), &json!("alice")));
    let anew = os.run("os-deleted").await;
    assert_eq!((anew.status, &anew.body["status"]), (200, &json!("PAUSED")), "{anew:?}");
    let session = os.client.get("/sessions/os-deleted").await;
    assert_eq!(session.body["chat_history"].as_array().unwrap().iter().filter(|it| it["role"] == "user").count(), 1);
    assert_eq!(os.client.get("/audit/verify").await.body["intact"], json!(true));
}

/// A body under way ends by itself, and whoever watches its run is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i7_a_body_that_runs_in_a_deleted_session_is_recorded() {
    let store = Store::new().await;
    let model = super::script(&[("wait", json!({ "key": "k" }))]);
    let agent = Agent::builder().id("a").model(model).tools(tools![wait]).db(store.db.clone()).build().unwrap();
    let os = AgentOS::builder().agent(agent).without_worker().build().unwrap();
    let server = os.start("127.0.0.1:0").await.unwrap();
    let client = Client::of(server.address());
    let gate = gate("os-under-way");
    let form = [("message", "go"), ("stream", "false"), ("session_id", "os-under-way")];
    let (run, approval) = ids(&client.form("/agents/a/runs", &form).await);
    let yes = json!({ "status": "approved", "resolved_by": "bob" });
    assert_eq!(client.json(&format!("/approvals/{approval}/resolve"), &yes).await.status, 200);
    let form = [("stream", "true"), ("session_id", "os-under-way")];
    let watched = client.stream(&format!("/agents/a/runs/{run}/continue"), &form).await;
    gate.arrival().await;
    assert_eq!(client.send(client.request("DELETE", "/sessions/os-under-way")).await.status, 204);
    gate.open();
    let events = tokio::time::timeout(Duration::from_secs(30), watched.rest()).await.expect("it ends");
    assert_eq!(events.last().map(|event| event.name.as_str()), Some("RunCancelled"), "{events:?}");
    let executions = store.db.list_executions(kern::db::ExecutionFilter::new()).await.unwrap();
    assert_eq!(executions.len(), 1);
    assert_eq!(executions[0].status, kern::db::ExecutionStatus::Succeeded, "{executions:?}");
    assert_eq!(client.get("/audit/verify").await.body["intact"], json!(true));
}

#[tokio::test]
async fn several_are_deleted_or_none() {
    let os = Served::new(&one()).await;
    for session in ["os-1", "os-2", "os-3"] {
        os.run(session).await;
    }
    let delete = async |body: Value| sent(&os.client, "DELETE", "/sessions", &body).await;
    let missing = delete(json!({ "session_ids": ["os-1", "os-none"], "session_types": ["agent", "agent"] })).await;
    assert_eq!((missing.status, &missing.body["session_id"]), (404, &json!("os-none")), "{missing:?}");
    assert_eq!(listed(&os.client).await.len(), 3, "nothing was deleted");
    let both =
        delete(json!({ "session_ids": ["os-1", "os-2", "os-1"], "session_types": ["agent", "agent", "agent"] })).await;
    assert_eq!(both.status, 204, "{both:?}");
    assert_eq!(listed(&os.client).await, [("os-3".to_owned(), json!("go"))]);
    assert_eq!(delete(json!({ "session_ids": ["os-3"] })).await.status, 204);
    assert!(listed(&os.client).await.is_empty());
    let pending = os.client.get("/approvals/count").await.body;
    assert_eq!(pending["count"], json!(0), "{pending}");
}

#[tokio::test]
async fn what_is_wrong_with_a_session_is_said_and_nothing_is_done() {
    let os = Served::new(&one()).await;
    os.run("os-s").await;
    let long = "x".repeat(256);
    let large = json!({ "a": "x".repeat(64 << 10) });
    let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    for (method, path, body, code, field) in [
        ("POST", "/sessions?type=team", json!({}), 422, "type"),
        ("POST", "/sessions", json!({ "else": 1 }), 422, "else"),
        ("POST", "/sessions", json!({ "session_id": long }), 422, "session_id"),
        ("POST", "/sessions", json!({ "session_id": "  " }), 422, ""),
        ("POST", "/sessions", json!({ "session_name": 7 }), 422, "session_name"),
        ("POST", "/sessions", json!({ "metadata": [] }), 422, "metadata"),
        ("POST", "/sessions", json!({ "metadata": large }), 422, ""),
        // kern keeps none, and does not say that it did.
        ("POST", "/sessions", json!({ "session_state": { "step": 1 } }), 422, "session_state"),
        ("POST", "/sessions", json!({ "team_id": "t" }), 422, "team_id"),
        ("POST", "/sessions", json!({ "agent_id": "nobody" }), 404, ""),
        ("PATCH", "/sessions/os-s", json!({ "summary": { "text": "short" } }), 422, "summary"),
        ("PATCH", "/sessions/os-s", json!({ "session_name": long }), 422, "session_name"),
        ("PATCH", "/sessions/os-s", json!({ "session_name": " " }), 422, ""),
        ("PATCH", "/sessions/os-s?type=workflow", json!({ "session_name": "n" }), 422, "type"),
        ("PATCH", "/sessions/os-none", json!({ "session_name": "n" }), 404, ""),
        ("PATCH", "/sessions/os-s?user_id=bob", json!({ "session_name": "n" }), 404, ""),
        ("POST", "/sessions/os-s/rename", json!({}), 422, "session_name"),
        ("POST", "/sessions/os-s/rename", json!({ "session_name": "" }), 422, "session_name"),
        ("POST", "/sessions/os-none/rename", json!({ "session_name": "n" }), 404, ""),
        ("DELETE", "/sessions", json!({}), 422, "session_ids"),
        ("DELETE", "/sessions", json!({ "session_ids": [] }), 422, "session_ids"),
        ("DELETE", "/sessions", json!({ "session_ids": "os-s" }), 422, "session_ids"),
        ("DELETE", "/sessions", json!({ "session_ids": ["os-s", 7] }), 422, "session_ids"),
        ("DELETE", "/sessions", json!({ "session_ids": many }), 422, "session_ids"),
        ("DELETE", "/sessions", json!({ "session_ids": ["os-s"], "session_types": [] }), 422, "session_types"),
        ("DELETE", "/sessions", json!({ "session_ids": ["os-s"], "session_types": ["team"] }), 422, "session_types"),
        (
            "DELETE",
            "/sessions",
            json!({ "session_ids": ["os-s"], "session_types": ["agent", "agent"] }),
            422,
            "session_types",
        ),
    ] {
        let answer = sent(&os.client, method, path, &body).await;
        assert_eq!(answer.status, code, "{method} {path} {body}: {answer:?}");
        assert_eq!(answer.kind, "application/problem+json");
        if !field.is_empty() {
            let place = answer.body["detail"][0]["loc"].as_array().and_then(|loc| loc.last()).cloned();
            assert_eq!(place, Some(json!(field)), "{method} {path} {body}: {answer:?}");
        }
    }
    for query in ["session_name=go", "sort_order=asc", "sort_by=name", "type=else"] {
        let answer = os.client.get(&format!("/sessions?{query}")).await;
        assert_eq!(answer.status, 422, "{query}: {answer:?}");
    }
    assert_eq!(os.client.get("/sessions?sort_by=created_at&sort_order=desc&session_name=").await.status, 200);
    assert_eq!(listed(&os.client).await, [("os-s".to_owned(), json!("go"))]);
    assert_eq!(os.client.get("/approvals/count").await.body["count"], json!(1));
    let plain = os.client.request("POST", "/sessions").body("session_name=x");
    assert_eq!(os.client.send(plain.header("content-type", "text/plain")).await.status, 415);
}

#[tokio::test]
async fn a_session_that_is_asked_for_twice_is_made_once() {
    let os = Served::new(&one()).await;
    let body = json!({ "session_name": "Once" });
    let make = || {
        let request = os.client.request("POST", "/sessions").header("Idempotency-Key", "os-key").json(&body);
        os.client.send(request)
    };
    let (one, two) = (make().await, make().await);
    assert_eq!((one.status, two.status), (201, 201));
    assert_eq!(one.body, two.body);
    assert_eq!(listed(&os.client).await.len(), 1);
}

/// What the panel shows of it: its name, and to those who see everything, its runs.
#[tokio::test]
async fn the_panel_calls_a_session_by_its_name() {
    let os = Served::new(&one()).await;
    let made = sent(&os.client, "POST", "/sessions", &json!({ "session_name": "Not begun" })).await;
    assert_eq!(made.status, 201);
    let page = text(&os.client.get("/panel/sessions").await.body);
    assert!(page.contains("<strong>Not begun</strong>") && page.contains("no run yet"), "{page}");
    let page = os.client.get(&format!("/panel/sessions/{}", text(&made.body["session_id"]))).await;
    assert_eq!(page.status, 200);
    assert!(text(&page.body).contains("Nobody has asked for anything in this session yet"), "{page:?}");
    let (run, _) = ids(&os.run("os-panel").await);
    assert_eq!(os.client.send(os.client.request("DELETE", "/sessions/os-panel")).await.status, 204);
    let page = os.client.get(&format!("/panel/runs/{run}")).await;
    assert_eq!(page.status, 200);
    let page = text(&page.body);
    assert!(page.contains("Its session was deleted") && page.contains(">cancelled<"), "{page}");
    assert!(!page.contains("/panel/sessions/os-panel"), "a page that is not there: {page}");
    assert_eq!(os.client.get("/panel/sessions/os-panel").await.status, 404);
}

/// Each call is shown with what became of it, whichever id the model gave it.
#[tokio::test]
async fn the_panel_says_of_each_call_what_became_of_it() {
    let turn = kern::models::turn;
    let call = |name, arguments: Value| turn().raw_tool_call(Some("call_0"), name, arguments.to_string());
    let user = |id| json!({ "user_id": id });
    let model = kern::models::ScriptedModel::new([
        call("lookup", json!({ "key": "k" })),
        call("delete_user", user("u1")),
        call("delete_user", user("u2")),
        call("erase_user", user("u3")),
        turn().text("done"),
    ]);
    let os = Served::with(model, false).await;
    let (run, _) = ids(&os.run("os-each").await);
    let outcomes = async || {
        let page = text(&os.client.get(&format!("/panel/runs/{run}")).await.body);
        let calls = page.split("<div class=\"said call\">").skip(1);
        let word = |call: &str| call.split("<span class=\"state\">").nth(1)?.split('<').next().map(str::to_owned);
        calls.map(|call| word(call).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(outcomes().await, ["done", "waits for a decision"]);
    let mut decided = Vec::new();
    for status in ["approved", "rejected"] {
        let waiting = os.client.get("/approvals?status=pending").await.body["data"][0].clone();
        let body = json!({ "status": status, "resolved_by": "bob" });
        assert_eq!(os.resolve(&text(&waiting["id"]), &body).await.status, 200);
        assert_eq!(os.go_on(&run, "os-each", &[]).await.status, 200);
        decided.push(if status == "approved" { "done" } else { "rejected" });
        assert_eq!(outcomes().await[1..=decided.len()], decided);
    }
    assert_eq!(outcomes().await, ["done", "done", "rejected", "waits for a decision"]);
    let cancelled = os.client.form(&format!("/agents/a/runs/{run}/cancel"), &[("session_id", "os-each")]).await;
    assert_eq!(cancelled.status, 200);
    assert_eq!(outcomes().await, ["done", "done", "rejected", "cancelled"]);
    assert_eq!(ledger::of("os-each"), ["lookup k", "delete u1"]);
}
