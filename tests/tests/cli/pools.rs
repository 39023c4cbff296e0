//! Pools, quorums, expiry and running again: what a policy asks for, on the command line.
use kern_db::{ExecutionFilter, RunId};
use kern_tests::command::Kern;
use kern_tests::steps::{Store, required, user};
use serde_json::json;

async fn states(store: &Store, run_id: &RunId) -> Vec<&'static str> {
    let executions = store.list_executions(ExecutionFilter::new().run_id(run_id)).await.unwrap();
    executions.iter().map(|execution| execution.status.as_str()).collect()
}

#[tokio::test]
async fn a_pool_is_set_and_listed_and_it_is_on_record_who_did() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    let empty = kern.run(&["pools", "list"]);
    assert_eq!((empty.code, empty.out.as_str()), (0, "there is no pool. `kern pools set NAME SUBJECT…` makes one.\n"));
    let said = kern.run(&["pools", "set", "finance", "ann", "bob", "--by", "root"]);
    assert_eq!((said.code, said.error.as_str()), (0, ""));
    assert_eq!(said.out, "pool finance: ann, bob, by root (unverified)\n");
    let set = kern.json(&["pools", "set", "legal", "--nobody", "--by", "root"]).json();
    assert_eq!((&set["name"], &set["members"]), (&json!("legal"), &json!([])));
    let listed = kern.json(&["pools", "list"]).json();
    assert_eq!(listed["data"][0]["members"], json!(["ann", "bob"]));
    assert_eq!(listed["data"][0]["set_by"]["subject"], "root");
    let shown = kern.run(&["pools", "list"]).out;
    for word in ["NAME", "finance", "ann, bob", "root (unverified)", "legal", "(nobody)"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    let entries = store.audit().entries(0, 10).await.unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["shard_opened", "pool_set", "pool_set"]);
    assert!(entries[1..].iter().all(|entry| entry.actor.to_string() == "root (unverified)"), "{entries:?}");
}

#[tokio::test]
async fn a_pool_that_cannot_be_is_refused_and_nothing_is_set() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    for words in [&["pools", "set", "finance"][..], &["pools", "set", "finance", "ann", "--nobody"], &["pools", "set"]]
    {
        let said = kern.json(words);
        assert_eq!((said.code, said.error_code().as_str()), (2, "usage"), "{words:?}");
    }
    for words in [
        &["pools", "set", "no name", "ann"][..],
        &["pools", "set", "", "ann"],
        &["pools", "set", "finance", "ann", "ann"],
        &["pools", "set", "finance", " "],
        &["pools", "set", "finance", "ann", "--by", ""],
    ] {
        let said = kern.json(words);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{words:?}: {said:?}");
    }
    assert_eq!(store.list_pools().await.unwrap(), []);
}

#[tokio::test]
async fn what_a_policy_asks_for_is_shown_before_anybody_decides() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    assert_eq!(kern.run(&["pools", "set", "finance", "ann", "bob", "--by", "root"]).code, 0);
    let policy = required().pool("finance").quorum(2).expires_in_ms(7_000_000).valid_for_ms(3_600_000);
    let run_id = store.paused(&[policy]).await;
    let id = store.approval(&run_id).await.id.to_string();
    let plain = store.paused(&[required()]).await;

    let listed = kern.run(&["approvals", "list"]).out;
    for word in ["POOL", "VOTES", "EXPIRES", "finance", "0 of 2", "0 of 1", "in 1 hour"] {
        assert!(listed.contains(word), "{word} in {listed}");
    }
    let shown = kern.run(&["approvals", "show", &id]).out;
    for word in ["somebody of the pool `finance`", "0 of 2", "expires"] {
        assert!(shown.contains(word), "{word} in {shown}");
    }
    let refused = kern.json(&["approvals", "approve", &id, "--yes", "--by", "mallory"]);
    assert_eq!((refused.code, refused.error_code().as_str()), (1, "not_permitted"));
    assert_eq!(kern.run(&["approvals", "approve", &id, "--yes", "--by", "ann"]).code, 0);
    assert!(kern.run(&["approvals", "list"]).out.contains("1 of 2"));
    assert_eq!(kern.run(&["approvals", "approve", &id, "--yes", "--by", "bob"]).code, 0);
    let shown = kern.run(&["approvals", "show", &id]).out;
    assert!(shown.contains("use until"), "{shown}");

    // Where no call on the page asks for any of that, nothing of it is in the way.
    let listed = kern.run(&["approvals", "list", "--run", plain.as_str()]).out;
    assert!(!listed.contains("POOL") && !listed.contains("VOTES") && !listed.contains("EXPIRES"), "{listed}");
}

#[tokio::test]
async fn an_unknown_call_is_run_again_only_under_a_new_approval() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    let (claim, call) = store.unknown().await;
    store.pause_run(claim.clone(), "{}".to_owned(), true).await.unwrap();
    let id = call.ticket().execution_id().to_string();
    let settle = |words: &[&str]| {
        let words = [&["executions", "settle", &id, "--as", "run-again"], words].concat();
        kern.run(&words)
    };
    let without = settle(&["--by", "bob"]);
    assert_eq!(without.code, 2, "a note is required: {without:?}");
    assert_eq!(settle(&["--by", "bob", "--note", " "]).code, 2);
    assert_eq!(settle(&["--by", "bob", "--note", "x", "--result", "y"]).code, 2);
    let requester = settle(&["--by", kern_tests::steps::REQUESTER, "--note", "I want it"]);
    assert_eq!(requester.code, 1, "{requester:?}");
    assert_eq!(states(&store, &claim.run_id).await, ["unknown"]);

    let said = settle(&["--by", "bob", "--note", "the bank never heard of it"]);
    assert_eq!((said.code, said.error.as_str()), (0, ""));
    let new = store.approval(&claim.run_id).await;
    assert_eq!(new.status.as_str(), "pending");
    let expected = format!("to be run again: pay {id}, by bob (unverified); it waits for approval {}\n", new.id);
    assert_eq!(said.out, expected);
    assert_eq!(states(&store, &claim.run_id).await, ["abandoned"]);
    let twice = settle(&["--by", "bob", "--note", "once more"]);
    assert_eq!(twice.code, 1, "{twice:?}");
}

#[tokio::test]
async fn as_json_an_unknown_call_that_is_run_again_names_its_new_approval_or_none() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    let (claim, call) = store.unknown().await;
    store.pause_run(claim.clone(), "{}".to_owned(), true).await.unwrap();
    let id = call.ticket().execution_id().to_string();
    let words = ["executions", "settle", &id, "--as", "run-again", "--note", "asked", "--by", "bob"];
    let said = kern.json(&words).json();
    assert_eq!(said["status"], "abandoned");
    assert_eq!(said["asked_again"]["approval_id"], store.approval(&claim.run_id).await.id.as_str());

    // The requester alone allows this one, and is asked again.
    let run_id = store.paused(&[user()]).await;
    store.answer(&run_id, 0, kern_db::NewAnswer::Confirm).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    store.finish_call(call.ticket(), kern_db::Ended::Lost("gone".to_owned()), Vec::new()).await.unwrap();
    store.pause_run(claim, "{}".to_owned(), true).await.unwrap();
    let id = call.ticket().execution_id().to_string();
    let words = ["executions", "settle", &id, "--as", "run-again", "--note", "asked", "--by", "bob"];
    let said = kern.run(&words);
    assert!(said.out.ends_with("it waits for the person who asked\n"), "{said:?}");
}
