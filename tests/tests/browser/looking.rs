//! What nobody knows the end of, and the audit log.

use serde_json::{Value, json};

use super::{Served, ran};

/// Has a call of the session end without anybody knowing how, and gives its run.
pub(super) async fn lost(os: &Served, session: &str) -> String {
    let run_id = os.asks(session, &[("explode", json!({ "why": "the other side hangs" }))]).await;
    let pending = os.approvals("pending").await;
    let approval = pending.iter().find(|row| row["tool_name"] == "explode").unwrap();
    let yes = json!({ "status": "approved", "resolved_by": "bob" });
    let path = format!("/approvals/{}/resolve", approval["id"].as_str().unwrap());
    assert_eq!(os.client.json(&path, &yes).await.status, 200);
    let begun = std::time::Instant::now();
    while os.client.get("/executions").await.body["data"].as_array().is_none_or(Vec::is_empty) {
        assert!(begun.elapsed() < super::PATIENCE, "it is never unknown");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    run_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_end_nobody_knows_is_settled_with_a_reason() {
    let os = Served::new().await;
    let bob = os.browser_of("bob").await;
    bob.go("/panel/executions").await;
    bob.shows("main", "There is none.").await;
    let run_id = lost(&os, "lost").await;
    bob.go(&format!("/panel/runs/{run_id}")).await;
    bob.shows("main", "A call of it needs attention").await;
    bob.click("main .warning a").await;
    bob.arrives("/panel/executions").await;
    let card = bob.text("main .card").await;
    assert!(card.contains("explode") && card.contains("the other side hangs"), "{card}");
    // Without a reason nothing is sent.
    bob.click("[name=as][value=failed]").await;
    bob.click("form.ask button").await;
    assert_eq!(bob.value("return document.querySelector('[name=note]').matches(':invalid')").await, json!(true));
    assert_eq!(os.client.get("/executions").await.body["data"].as_array().map(Vec::len), Some(1));
    bob.write("[name=result]", "their log has no trace of it").await;
    bob.write("[name=note]", "I have asked them").await;
    bob.click("form.ask button").await;
    bob.shows("main", "There is none.").await;
    let run = os.completed(&run_id, "lost").await;
    assert!(run["content"].as_str().unwrap().contains("their log has no trace of it"), "{run}");
    assert_eq!(ran("lost"), ["explode the other side hangs"], "once, and never again");
    let entries = os.client.get("/audit?limit=100").await;
    let settled: Vec<&Value> =
        entries.body["data"].as_array().unwrap().iter().filter(|entry| entry["action"] == "settled").collect();
    assert_eq!(settled.len(), 1, "{entries:?}");
    let said = settled[0].to_string();
    assert!(said.contains("I have asked them") && said.contains("bob"), "{said}");
    bob.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_is_verified_with_one_button() {
    let os = Served::new().await;
    os.asks("audited", &[("delete_user", json!({ "user_id": "u_1" }))]).await;
    let bob = os.browser_of("bob").await;
    bob.go("/panel/audit").await;
    bob.shows("tbody", "requested").await;
    bob.click("#verify").await;
    bob.shows("#verified", "Intact").await;
    let head = os.client.get("/audit/verify").await.body;
    let said = bob.text("#verified").await;
    assert!(said.contains(head["head"].as_str().unwrap_or_else(|| panic!("a head: {head}"))), "{said}");
    // Somebody who has the file.
    let raw = os.store.raw();
    let guards = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'kern_approvals'";
    let mut statement = raw.prepare(guards).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<Vec<String>, _>>().unwrap();
    names.iter().for_each(|name| raw.execute_batch(&format!("DROP TRIGGER {name}")).unwrap());
    raw.execute_batch("UPDATE kern_approvals SET status = 'approved'").unwrap();
    bob.click("#verify").await;
    bob.shows("#verified", "Not intact").await;
    assert!(bob.count("#verified li").await > 0);
    bob.close().await;
}
