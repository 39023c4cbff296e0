//! The command `kern` on a database of a server: by its address, with the password in no message.

use kern_tests::command::{Kern, Said};
use kern_tests::postgres::server;
use kern_tests::steps::{Store, required};
use serde_json::json;

fn could_not(said: &Said, code: &str, contains: &str) {
    assert_eq!((said.code, said.out.as_str(), said.error_code().as_str()), (2, "", code), "{said:?}");
    assert!(said.error.contains(contains) && !said.error.contains("secret"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_looked_at_decided_settled_and_proved() {
    let store = Store::on_postgres().await;
    let kern = Kern::on(store.database().address());
    let run_id = store.paused(&[required()]).await;
    let approval = store.approval(&run_id).await;
    let id = approval.id.as_str();

    let listed = kern.json(&["approvals", "list"]).json();
    assert_eq!((&listed["data"][0]["id"], &listed["data"][0]["status"]), (&json!(id), &json!("pending")));
    let shown = kern.run(&["approvals", "show", id]).out;
    assert!(shown.contains(&approval.digest) && shown.contains("100"), "{shown}");
    let approved = kern.json(&["approvals", "approve", id, "--yes", "--by", "bob", "--note", "asked Ann"]).json();
    assert_eq!((&approved["status"], &approved["resolved_by"]), (&json!("approved"), &json!("bob")));
    let again = kern.json(&["approvals", "reject", id, "--yes", "--by", "carl"]);
    assert_eq!((again.code, again.error_code().as_str()), (1, "conflict"), "{again:?}");

    // Its process is gone: nobody knows how the call ended, and a person says it.
    let _ = store.unknown().await;
    let listed = kern.json(&["executions", "list", "--status", "unknown"]).json();
    let execution = listed["data"][0]["id"].as_str().unwrap();
    let settle = ["executions", "settle", execution, "--as", "failed", "--note", "not in the bank's list"];
    let settled = kern.json(&[&settle[..], &["--by", "carl"]].concat()).json();
    assert_eq!(settled["status"], "failed", "{settled}");

    assert_eq!(kern.run(&["pools", "set", "finance", "ann", "--by", "root"]).code, 0);
    assert_eq!(kern.json(&["pools", "list"]).json()["data"][0]["members"], json!(["ann"]));
    let verified = kern.run(&["audit", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let exported = kern.run(&["audit", "export"]);
    assert_eq!(exported.code, 0, "{exported:?}");
    assert!(exported.out.lines().any(|line| line.contains("\"approved\"") && line.contains("bob")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_store_is_refused_and_stays_as_it_was() {
    let empty = server().database().await;
    could_not(&Kern::on(empty.address()).json(&["approvals", "list"]), "store_missing", "the application uses");
    let raw = empty.raw().await;
    let made = "SELECT 1 FROM pg_class WHERE relname LIKE 'kern%' AND relnamespace = current_schema()::regnamespace";
    assert!(raw.query(made, &[]).await.unwrap().is_empty(), "a command makes no tables");

    let nowhere = server().address_as("kern:secret", "no_such_database");
    could_not(&Kern::on(nowhere).json(&["audit", "verify"]), "store_missing", "there is no such database");
    let nobody = "postgres://me:secret@127.0.0.1:1/app";
    could_not(&Kern::on(nobody).json(&["approvals", "list"]), "store_unavailable", "check the address");
    let torn = "postgres://me:se/cret@host/app";
    could_not(&Kern::on(torn).json(&["approvals", "list"]), "invalid", "%2F");
}
