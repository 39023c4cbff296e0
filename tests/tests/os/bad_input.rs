//! The table of bad input, over HTTP: each answer has its status and its stable code, nothing is half done, and nothing that
//! an operator alone may see is said.

use serde_json::{Value, json};

use kern::os::AgentOS;
use kern::prelude::*;
use kern_tests::gates::{SlowModel, gate};
use kern_tests::http::Client;
use kern_tests::ledger;
use kern_tests::store::Store;

use super::{Served, ids, script, text};

/// A problem is one, whatever it is about.
fn problem(answer: &kern_tests::http::Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    assert_eq!(answer.kind, "application/problem+json");
    assert_eq!(answer.body["status"], json!(status));
    assert!(!answer.body["detail"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_is_none_is_refused_with_every_field_that_is_wrong() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let (_, approval_id) = ids(&os.run("fields").await);
    let wrong = |answer: &kern_tests::http::Answer| {
        let details = answer.body["detail"].as_array().expect("a list of what is wrong").clone();
        let mut fields: Vec<String> = details.iter().map(|wrong| text(&wrong["loc"][1])).collect();
        fields.sort();
        fields
    };
    for (body, fields) in [
        (json!({}), vec!["status"]),
        (json!({ "status": "maybe" }), vec!["status"]),
        (json!({ "status": true }), vec!["status"]),
        (
            json!({ "status": "approved", "resolved_by": 7, "resolution_data": "x" }),
            vec!["resolution_data", "resolved_by"],
        ),
        (json!({ "status": "approved", "aproved_by": "x", "quorum": 0 }), vec!["aproved_by", "quorum"]),
        (json!({ "status": "approved", "resolved_by": "x".repeat(256) }), vec!["resolved_by"]),
    ] {
        let answer = os.resolve(&approval_id, &body).await;
        problem(&answer, 422, "invalid");
        assert_eq!(wrong(&answer), fields, "{body}");
    }
    let pending = os.client.get(&format!("/approvals/{approval_id}/status")).await;
    assert_eq!(pending.body["status"], "pending");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_none_are_refused() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let (run_id, approval_id) = ids(&os.run("bodies").await);
    let path = format!("/approvals/{approval_id}/resolve");
    let send = |kind: Option<&str>, body: String| {
        let request = os.client.request("POST", &path).body(body);
        let request = if let Some(kind) = kind { request.header("content-type", kind) } else { request };
        let client = os.client.clone();
        async move { client.send(request).await }
    };
    let yes = json!({ "status": "approved" }).to_string();
    problem(&send(Some("text/plain"), yes.clone()).await, 415, "unsupported_media_type");
    problem(&send(None, yes.clone()).await, 415, "unsupported_media_type");
    for body in
        ["", "{", "[]", "null", "7", "{\"status\":\"approved\",\"status\":\"rejected\"}", "{\"status\":\"\\ud800\"}"]
    {
        problem(&send(Some("application/json"), body.to_owned()).await, 422, "invalid");
    }
    let deep = format!("{{\"status\":\"approved\",\"resolution_data\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    problem(&send(Some("application/json"), deep).await, 422, "invalid");
    let large = json!({ "status": "approved", "note": "x".repeat(2 << 20) }).to_string();
    problem(&send(Some("application/json"), large).await, 413, "too_large");
    let form = os.client.request("POST", "/agents/a/runs").json(&json!({ "message": "go" }));
    problem(&os.client.send(form).await, 415, "unsupported_media_type");
    let large = "x".repeat(2 << 20);
    problem(&os.client.form("/agents/a/runs", &[("message", &large)]).await, 413, "too_large");
    let bad = os.go_on(&run_id, "bodies", &[("tools", "[{\"tool_call_id\": 7}]")]).await;
    problem(&bad, 400, "bad_json");
    let list = os.go_on(&run_id, "bodies", &[("requirements", "{}")]).await;
    problem(&list, 400, "bad_json");
    let fork = os.go_on(&run_id, "bodies", &[("fork", "true"), ("continue_from", "last_user")]).await;
    problem(&fork, 422, "invalid");
    assert_eq!(os.client.get(&format!("/approvals/{approval_id}/status")).await.body["status"], "pending");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_too_late_says_who_was_faster() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let (_, approval_id) = ids(&os.run("late").await);
    let stale = os.resolve(&approval_id, &json!({ "status": "approved", "digest": "0".repeat(64) })).await;
    problem(&stale, 409, "stale_view");
    let yes = json!({ "status": "approved", "resolved_by": "bob" });
    assert_eq!(os.resolve(&approval_id, &yes).await.status, 200);
    let again = os.resolve(&approval_id, &yes).await;
    problem(&again, 409, "conflict");
    assert_eq!(again.body["by"], "bob");
    assert!(again.body["at"].is_i64());
    assert_eq!(again.body["approval_status"], "approved");
    problem(&os.resolve("no-such-approval", &yes).await, 404, "not_found");
    let hidden = os.client.send(os.client.request("DELETE", &format!("/approvals/{approval_id}"))).await;
    assert_eq!(hidden.status, 204);
    let gone = os.resolve(&approval_id, &yes).await;
    assert_eq!(
        gone.body,
        os.resolve("no-such-approval", &yes).await.body,
        "what is hidden and what never was look the same"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_decisions_each_has_its_own_outcome_and_all_are_understood_first() {
    let calls = [("delete_user", json!({ "user_id": "u1" })), ("erase_user", json!({ "user_id": "u2" }))];
    let os = Served::new(&calls).await;
    let run = os.run("at-once").await;
    let (run_id, _) = ids(&run);
    let rows = os.client.get(&format!("/approvals?run_id={run_id}")).await.body["data"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 2);
    let decide = |status: &str, row: &Value| json!({ "id": row["id"], "digest": row["digest"], "status": status });
    let unread = json!({ "approvals": [decide("approved", &rows[0]), { "id": rows[1]["id"], "status": "approved" }] });
    let refused = os.client.json("/approvals/resolve", &unread).await;
    problem(&refused, 422, "invalid");
    assert_eq!((&refused.body["item"], &refused.body["detail"][0]["loc"][1]), (&json!(1), &json!("digest")));
    let mut stale = decide("approved", &rows[1]);
    stale["digest"] = json!("0".repeat(64));
    let both = json!({ "resolved_by": "bob", "approvals": [decide("approved", &rows[0]), stale, decide("rejected", &rows[1])] });
    let answer = os.client.json("/approvals/resolve", &both).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let outcomes: Vec<_> = answer.body["data"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(outcomes, [json!(200), json!(409), json!(200)]);
    assert_eq!(answer.body["data"][1]["problem"]["code"], "stale_view");
    assert_eq!(answer.body["data"][2]["approval"]["status"], "rejected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_and_paths_that_are_none_are_refused() {
    let os = Served::new(&[]).await;
    for (path, status, code) in [
        ("/approvals?limit=0", 422, "invalid"),
        ("/approvals?limit=1001", 422, "invalid"),
        ("/approvals?limit=-1", 422, "invalid"),
        ("/approvals?limit=99999999999999999999", 422, "invalid"),
        ("/approvals?page=x", 422, "invalid"),
        ("/approvals?pause_type=nap", 422, "invalid"),
        ("/executions?status=lost", 422, "invalid"),
        ("/audit?after=-1", 422, "invalid"),
        ("/audit/checkpoint", 404, "not_found"),
        ("/agents/nobody", 404, "not_found"),
        ("/agents/a/runs", 400, "session_required"),
        ("/agents/a/runs/x?session_id=s", 404, "run_not_found"),
        ("/no/such/page", 404, "not_found"),
        ("/sessions/%ff", 404, "not_found"),
        ("/agents/%ff/runs?session_id=s", 404, "not_found"),
        ("/approvals/%c3%28/status", 404, "not_found"),
    ] {
        problem(&os.client.get(path).await, status, code);
    }
    let page = os.client.get("/panel/runs/%ff").await;
    assert!(page.status == 404 && page.kind.starts_with("text/html"), "{page:?}");
    let other = os.client.send(os.client.request("PUT", "/approvals")).await;
    problem(&other, 405, "method_not_allowed");
    let unknown = os.client.json("/executions/x/settle", &json!({ "as": "abandoned", "note": "n" })).await;
    problem(&unknown, 404, "not_found");
    let without = os.client.json("/executions/x/settle", &json!({ "as": "succeeded" })).await;
    problem(&without, 422, "invalid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_not_what_kern_wrote_is_said_so_and_nothing_of_it() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let (_, approval_id) = ids(&os.run("broken").await);
    let raw = os.store.raw();
    let guards = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'kern_approvals'";
    let mut statement = raw.prepare(guards).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<Vec<String>, _>>().unwrap();
    names.iter().for_each(|name| raw.execute_batch(&format!("DROP TRIGGER {name}")).unwrap());
    raw.execute_batch("UPDATE kern_approvals SET policy = '{nonsense'").unwrap();
    let answer = os.client.get(&format!("/approvals/{approval_id}")).await;
    problem(&answer, 500, "store_corrupt");
    let said = answer.body.to_string();
    assert!(!said.contains("policy") && !said.contains("nonsense") && !said.contains(".db"), "{said}");
    let verified = os.client.get("/audit/verify").await;
    assert_eq!((verified.status, &verified.body["intact"]), (200, &json!(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_model_asks_for_wrongly_is_told_to_the_model_and_to_nobody_else() {
    let deep = format!("{{\"user_id\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let large = format!("{{\"user_id\":\"{}\"}}", "x".repeat(10_000_000));
    for (session, name, arguments) in [
        ("none", "no_such_tool", "{}"),
        ("type", "delete_user", "{\"user_id\":7}"),
        ("missing", "delete_user", "{}"),
        ("extra", "delete_user", "{\"user_id\":\"u1\",\"quietly\":true}"),
        ("twice", "delete_user", "{\"user_id\":\"u1\",\"user_id\":\"u2\"}"),
        ("text", "delete_user", "delete u1"),
        ("deep", "delete_user", &*deep),
        ("large", "delete_user", &*large),
    ] {
        let turn = kern::models::turn;
        let call = turn().raw_tool_call(Some("call_0"), name, arguments);
        let os = Served::with(kern::models::ScriptedModel::new([call, turn().text("done")]), false).await;
        let run = os.run(session).await;
        assert_eq!((run.status, &run.body["status"]), (200, &json!("COMPLETED")), "{session}");
        let told = run.body["messages"].as_array().unwrap().iter().find(|message| message["role"] == "tool");
        assert_eq!(told.unwrap_or_else(|| panic!("{session}"))["tool_call_error"], json!(true), "{session}");
        assert_eq!(os.client.get("/approvals/count").await.body["count"], json!(0), "{session}");
        assert_eq!(ledger::of(session), [] as [&str; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_not_paused_or_goes_on_elsewhere_is_not_continued() {
    let gate = gate("elsewhere");
    let model = SlowModel::new(script(&[("delete_user", json!({ "user_id": "u1" }))]), 1, gate.clone());
    let os = Served::with(model, false).await;
    let (run_id, approval_id) = ids(&os.run("elsewhere").await);
    let yes = json!({ "status": "approved", "resolved_by": "bob" });
    assert_eq!(os.resolve(&approval_id, &yes).await.status, 200);
    let client = os.client.clone();
    let path = format!("/agents/a/runs/{run_id}/continue");
    let first = tokio::spawn(async move {
        client.form(&path, &[("stream", "false"), ("session_id", "elsewhere"), ("user_id", "alice")]).await
    });
    gate.arrival().await;
    problem(&os.go_on(&run_id, "elsewhere", &[]).await, 409, "already_running");
    gate.open();
    assert_eq!(first.await.unwrap().body["status"], json!("COMPLETED"));
    problem(&os.go_on(&run_id, "elsewhere", &[]).await, 409, "not_paused");
    assert_eq!(ledger::of("elsewhere"), ["delete u1"]);
}

/// Pays, if that is decided within a second.
#[approval(expires_in = "1s")]
#[tool]
async fn pay_soon(to: String, ctx: &RunContext) -> String {
    ledger::enter(ctx, format!("pay {to}"));
    to
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_past_its_time_is_gone() {
    let store = Store::new().await;
    let model = script(&[("pay_soon", json!({ "to": "bert" }))]);
    let agent = Agent::builder().id("a").model(model).tools(tools![pay_soon]).db(store.db.clone()).build().unwrap();
    let os = AgentOS::builder().agent(agent).without_worker().build().unwrap();
    let server = os.start("127.0.0.1:0").await.unwrap();
    let client = Client::of(server.address());
    let form = [("message", "go"), ("stream", "false"), ("session_id", "past"), ("user_id", "alice")];
    let (run_id, approval_id) = ids(&client.form("/agents/a/runs", &form).await);
    // A row has whole seconds, and the one that it ends in is over, too.
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    let yes = json!({ "status": "approved", "resolved_by": "bob" });
    let late = client.json(&format!("/approvals/{approval_id}/resolve"), &yes).await;
    problem(&late, 410, "expired");
    let status = client.get(&format!("/approvals/{approval_id}/status")).await;
    assert_eq!(status.body["status"], json!("expired"));
    let run = client.form(&format!("/agents/a/runs/{run_id}/continue"), &form).await;
    assert_eq!((run.status, &run.body["status"]), (200, &json!("COMPLETED")), "{run:?}");
    assert_eq!(ledger::of("past"), [] as [&str; 0]);
}
