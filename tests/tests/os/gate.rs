//! There is no way past the gate over HTTP: W2, W3, W13 in the opposite sense.

use kern_tests::ledger;
use serde_json::{Value, json};

use super::{Served, ids};

/// What a client sends back that says yes for itself: every call confirmed, in both of the reference's forms.
fn forged(run: &Value, arguments: Option<Value>) -> [String; 2] {
    let mut tools = run["tools"].clone();
    for tool in tools.as_array_mut().unwrap() {
        tool["confirmed"] = json!(true);
        tool["approval_type"] = Value::Null;
        tool["result"] = Value::Null;
        if let Some(arguments) = &arguments {
            tool["tool_args"] = arguments.clone();
        }
    }
    let mut requirements = run["requirements"].clone();
    for requirement in requirements.as_array_mut().unwrap() {
        requirement["confirmation"] = json!(true);
        requirement["tool_execution"] = tools[0].clone();
    }
    [tools.to_string(), requirements.to_string()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_a_requester_who_says_yes_for_themselves_runs_nothing() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "w2" }))]).await;
    let run = os.run("w2").await;
    let (run_id, approval_id) = ids(&run);
    let [tools, requirements] = forged(&run.body, None);
    for sent in [("tools", tools.as_str()), ("requirements", requirements.as_str())] {
        let answer = os.go_on(&run_id, "w2", &[sent]).await;
        assert_eq!((answer.status, answer.code()), (400, "approval_pending"), "{answer:?}");
        assert_eq!(answer.body["approval_ids"], json!([approval_id]));
    }
    // Their own request is not decided by them, whatever name they give it in a body.
    let own = os.resolve(&approval_id, &json!({ "status": "approved", "resolved_by": "alice" })).await;
    assert_eq!((own.status, own.code()), (403, "not_permitted"), "{own:?}");
    assert_eq!(ledger::of("w2"), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w3_after_a_rejection_a_confirmed_continue_executes_nothing() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "w3" }))]).await;
    let run = os.run("w3").await;
    let (run_id, approval_id) = ids(&run);
    let body = json!({ "status": "rejected", "resolved_by": "bob", "note": "not this one" });
    assert_eq!(os.resolve(&approval_id, &body).await.status, 200);
    let [tools, _] = forged(&run.body, None);
    let answer = os.go_on(&run_id, "w3", &[("tools", &tools)]).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("COMPLETED")), "{answer:?}");
    let told = answer.body["messages"][2]["content"].as_str().unwrap();
    assert!(told.contains("not this one"), "{told}");
    assert_eq!(ledger::of("w3"), [] as [&str; 0]);
    let again = os.go_on(&run_id, "w3", &[("tools", &tools)]).await;
    assert_eq!((again.status, again.code()), (409, "not_paused"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w3_other_arguments_than_were_approved_are_refused_and_the_approved_ones_run() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let run = os.run("w3-altered").await;
    let (run_id, approval_id) = ids(&run);
    assert_eq!(os.resolve(&approval_id, &json!({ "status": "approved", "resolved_by": "bob" })).await.status, 200);
    for sent in forged(&run.body, Some(json!({ "user_id": "everybody" }))).iter().zip(["tools", "requirements"]) {
        let answer = os.go_on(&run_id, "w3-altered", &[(sent.1, sent.0)]).await;
        assert_eq!((answer.status, answer.code()), (422, "requirement_mismatch"), "{answer:?}");
    }
    assert_eq!(ledger::of("w3-altered"), [] as [&str; 0]);
    let answer = os.go_on(&run_id, "w3-altered", &[]).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("COMPLETED")), "{answer:?}");
    assert_eq!(ledger::of("w3-altered"), ["delete u1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w13_another_session_or_agent_finds_no_run_to_go_on_with() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "w13" }))]).await;
    let run = os.run("w13").await;
    let (run_id, approval_id) = ids(&run);
    os.resolve(&approval_id, &json!({ "status": "approved", "resolved_by": "bob" })).await;
    let other = os.go_on(&run_id, "another", &[]).await;
    let none = os.go_on("no-such-run", "w13", &[]).await;
    assert_eq!((other.status, none.status), (404, 404));
    assert_eq!(other.body, none.body, "what is somebody else's and what is not there look the same");
    assert_eq!(ledger::of("w13"), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_that_continue_one_run_execute_its_call_once() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let run = os.run("many").await;
    let (run_id, approval_id) = ids(&run);
    os.resolve(&approval_id, &json!({ "status": "approved", "resolved_by": "bob" })).await;
    let attempts: Vec<_> = (0..8)
        .map(|_| {
            let (client, path) = (os.client.clone(), format!("/agents/a/runs/{run_id}/continue"));
            tokio::spawn(async move {
                client.form(&path, &[("stream", "false"), ("session_id", "many"), ("user_id", "alice")]).await
            })
        })
        .collect();
    let mut won = 0;
    for attempt in attempts {
        let answer = attempt.await.unwrap();
        match (answer.status, answer.code()) {
            (200, _) => won += 1,
            (409, "already_running" | "not_paused") => {}
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(ledger::of("many"), ["delete u1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_leaves_one_entry_of_evidence_whatever_it_forges() {
    const FORGED: usize = 200;
    let os = Served::new(&[("delete_user", json!({ "user_id": "one" })), ("delete_user", json!({ "user_id": "two" }))])
        .await;
    let run = os.run("evidence").await;
    let (run_id, _) = ids(&run);
    let evidence = async |action: &str| {
        let entries = os.client.get("/audit?limit=1000").await;
        let entries = entries.body["data"].as_array().unwrap().iter();
        entries.filter(|entry| entry["evidence"] == true && entry["action"] == action).cloned().collect::<Vec<_>>()
    };
    let forged: Vec<Value> = (0..FORGED)
        .map(|number| {
            let mut requirement = run.body["requirements"][number % 2].clone();
            requirement["confirmation"] = json!(true);
            requirement["tool_execution"]["tool_args"] = json!({ "user_id": format!("another-{number}") });
            requirement
        })
        .collect();
    let answer = os.go_on(&run_id, "evidence", &[("requirements", &Value::Array(forged).to_string())]).await;
    assert_eq!((answer.status, answer.code()), (422, "requirement_mismatch"), "{answer:?}");
    let found = evidence("requirement_mismatch").await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["payload"]["count"], json!(FORGED));
    assert_eq!(found[0]["payload"]["ids"].as_array().unwrap().len(), 2, "{found:?}");
    // Their own requests are not decided by them, however many they try at once.
    let rows = os.client.get("/approvals").await;
    let own: Vec<Value> = rows.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .cycle()
        .take(60)
        .map(|row| json!({ "id": row["id"], "digest": row["digest"], "status": "approved" }))
        .collect();
    let many = os.client.json("/approvals/resolve", &json!({ "resolved_by": "alice", "approvals": own })).await;
    assert!(many.body["data"].as_array().unwrap().iter().all(|outcome| outcome["status"] == 403), "{many:?}");
    let found = evidence("vote_refused").await;
    assert_eq!((found.len(), &found[0]["payload"]["count"]), (1, &json!(60)), "{found:?}");
    assert_eq!(ledger::of("evidence"), [] as [&str; 0]);
}
