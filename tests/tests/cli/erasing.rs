//! `kern audit erase`: a secret goes through kern, and afterwards it is nowhere in the file.

use kern::db::SqliteDb;
use kern::prelude::*;
use kern_tests::command::Kern;
use kern_tests::steps::{REQUESTER, Store as Steps, required};
use kern_tests::store::{Store, one_call};
use serde_json::json;

const SECRET: &str = "sk-live-0451-zz";

/// Sets a key.
#[tool]
#[approval]
fn set_key(id: String, #[arg(sensitive)] key: String) -> Result<String, std::io::Error> {
    Ok(format!("key of {id} set, {} characters", key.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i21_an_erased_secret_is_nowhere_in_the_file_once_it_is_vacuumed() {
    let store = Store::new().await;
    let agent =
        store.agent(tools![set_key], one_call("set_key", json!({ "id": "u1", "key": SECRET }))).build().unwrap();
    let paused = agent.run("set the key").user_id(REQUESTER).await.unwrap();
    assert_eq!(paused.tools[0].tool_args.as_ref().unwrap()["key"], SECRET);
    store.approve_all(&paused.run_id).await;
    let run = agent.continue_run(&paused.run_id).user_id(REQUESTER).await.unwrap();
    assert_eq!(kern_tests::store::told(&run), ["key of u1 set, 15 characters"]);
    assert!(store.folder.occurrences(SECRET) > 0);

    let kern = Kern::on(store.path());
    let id = run.run_id.as_str();
    let unasked = kern.json(&["audit", "erase", id, "--note", "ticket 42"]);
    assert_eq!((unasked.code, unasked.error_code().as_str()), (2, "no_terminal"));
    let erased = kern.json(&["audit", "erase", id, "--note", "ticket 42", "--by", "dpo", "--yes"]).json();
    assert_eq!((&erased["names"], &erased["calls"]), (&json!(["set_key.key"]), &json!(1)));
    let again = kern.run(&["audit", "erase", id, "--note", "ticket 42", "--by", "dpo", "--yes"]);
    assert_eq!(
        (again.code, again.out.as_str()),
        (0, format!("run {id} was erased before, nothing was changed\n").as_str())
    );
    assert_eq!(kern.run(&["audit", "verify"]).code, 0);
    let raw = store.raw();
    raw.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert_eq!(store.folder.occurrences(SECRET), 0);

    // The session goes on: a later run sees what is left of this one.
    let next = store.agent(tools![set_key], one_call("set_key", json!({ "id": "u2", "key": "k" }))).build().unwrap();
    let next = next.run("and another").session_id(run.session_id.clone()).user_id(REQUESTER).await.unwrap();
    assert!(next.is_paused());
    let shown = agent.get_run(&run.run_id).await.unwrap();
    assert!(shown.tools[0].tool_args.as_ref().unwrap()["key"]["$commitment"].is_string());
    assert!(!serde_json::to_string(&shown).unwrap().contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_erased_says_why() {
    let store = Steps::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let claim = store.started().await;
    store.complete(&claim).await.unwrap();
    let kern = Kern::on(store.file());
    let erase = |id: &str, note: &str| kern.json(&["audit", "erase", id, "--note", note, "--by", "dpo", "--yes"]);
    let open = erase(run_id.as_str(), "ticket 42");
    assert_eq!((open.code, open.error_code().as_str()), (1, "not_ended"), "{open:?}");
    let none = erase("none", "ticket 42");
    assert_eq!((none.code, none.error_code().as_str()), (1, "run_not_found"), "{none:?}");
    let mute = erase(run_id.as_str(), " ");
    assert_eq!((mute.code, mute.error_code().as_str()), (2, "invalid"), "{mute:?}");
    let said = kern.run(&["audit", "erase", claim.run_id.as_str(), "--note", "x", "--by", "dpo", "--yes"]);
    let nothing = format!("run {} has no sensitive arguments, nothing was changed\n", claim.run_id);
    assert_eq!((said.code, said.out), (0, nothing));
    drop(SqliteDb::builder(store.file()).existing().open().await.unwrap());
}
