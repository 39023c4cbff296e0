//! Talking to an agent.

use serde_json::{Value, json};

use kern_tests::obedient::asking;

use super::chromium::{Browser, key};
use super::{Served, ran};

/// Sends a message, as a person does.
async fn say(browser: &Browser, message: &str) {
    browser.write("#message", message).await;
    browser.press(key::ENTER).await;
    browser.until("document.querySelector('#message').value === ''").await;
}

/// The session that a browser talks in: it is the only one.
async fn session(os: &Served) -> String {
    let sessions = os.client.get("/sessions").await;
    let [session] = sessions.body["data"].as_array().unwrap().as_slice() else { panic!("one session: {sessions:?}") };
    session["session_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_waits_for_an_approval_goes_on_in_the_chat_by_itself() {
    let os = Served::new().await;
    let alice = os.browser_of("alice").await;
    alice.go("/panel/chat").await;
    say(&alice, "good morning").await;
    alice.shows("#log .agent", "heard").await;
    say(&alice, &asking(&[("delete_user", json!({ "user_id": "u_7" }))])).await;
    alice.shows("#log form.ask", "Awaiting approval").await;
    let asked = alice.text("#log form.ask").await;
    assert!(asked.contains("delete_user") && asked.contains("u_7"), "{asked}");
    assert_eq!(alice.count("#log form.ask button").await, 0, "it is not hers to decide");
    let approval = &os.approvals("pending").await[0];
    assert_eq!(approval["user_id"], "alice");
    let yes = json!({ "status": "approved", "resolved_by": "bob", "digest": approval["digest"] });
    let path = format!("/approvals/{}/resolve", approval["id"].as_str().unwrap());
    assert_eq!(os.client.json(&path, &yes).await.status, 200);
    alice.shows("#log", "so: deleted u_7").await;
    let session = session(&os).await;
    assert_eq!(ran(&session), ["delete u_7"]);
    let runs = os.client.get(&format!("/sessions/{session}/runs")).await.body;
    let statuses: Vec<&Value> = runs.as_array().unwrap().iter().map(|run| &run["status"]).collect();
    assert_eq!(statuses, ["COMPLETED", "COMPLETED"], "both in one session");
    alice.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_confirms_and_refuses_their_own_calls_in_the_chat() {
    let os = Served::new().await;
    let alice = os.browser_of("alice").await;
    alice.go("/panel/chat").await;
    say(&alice, &asking(&[("restart", json!({ "service": "web" }))])).await;
    alice.shows("#log form.ask", "restart").await;
    alice.click("#log form.ask button.yes").await;
    alice.shows("#log", "so: restarted web").await;
    let session = session(&os).await;
    assert_eq!(ran(&session), ["restart web"]);
    say(&alice, &asking(&[("restart", json!({ "service": "mail" })), ("restart", json!({ "service": "dns" }))])).await;
    alice.until("document.querySelectorAll('#log form.ask').length === 3").await;
    let asked = |service: &str, button: &str| {
        let forms = "[...document.querySelectorAll('#log form.ask')]";
        format!("{forms}.find((form) => form.innerText.includes('{service}')).querySelector('{button}').click()")
    };
    alice.value(&asked("mail", "button.no")).await;
    alice.value(&asked("dns", "button.yes")).await;
    alice.until("document.querySelector('#log').innerText.includes('restarted dns')").await;
    alice.until("document.querySelectorAll('#log .agent').length === 2").await;
    assert!(!alice.text("#log").await.contains("restarted mail"));
    assert_eq!(ran(&session), ["restart web", "restart dns"], "in the same session");
    alice.close().await;
}
