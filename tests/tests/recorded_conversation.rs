//! A recorded conversation, through `OpenAIChat` and the wire: two tools in one turn, both under `#[approval]`, in three
//! processes.

use std::path::PathBuf;

use kern::db::Db as _;
use kern::prelude::*;
use kern::run::RunId;
use kern_tests::children::Worker;
use kern_tests::ledger;
use kern_tests::replay::ReplayServer;
use kern_tests::store::Store;
use serde_json::Value;

const GROUP: &str = "pyd-test_prefect-test_prefect_agent_with_hitl_tool";

/// One process of the conversation.
fn process(store: &Store, base_url: &str, command: &str, words: &[&str]) -> Vec<String> {
    let path: PathBuf = store.path();
    let script = format!("recorded:{base_url}");
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&command, &script, &"5000", &path];
    arguments.extend(words.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
    Worker::start(env!("CARGO_BIN_EXE_kern-path-worker"), &store.folder.file("ledger"), &arguments).rest()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_conversation_is_paused_decided_call_by_call_and_resumed_in_three_processes() {
    let server = ReplayServer::start();
    let base_url = format!("{}/v1", server.base_url_group(GROUP));
    let store = Store::new().await;
    let effects = || ledger::read(&store.folder.file("ledger"));

    // The first process asks the model and pauses.
    let run_id = RunId::from(process(&store, &base_url, "pause", &[]).remove(0));
    let rows = store.approvals(&run_id).await;
    let shown: Vec<_> = rows.iter().map(|row| (row.tool_name.as_deref(), row.tool_args.clone().unwrap())).collect();
    assert_eq!(shown.len(), 2);
    assert_eq!((shown[0].0, &shown[0].1["path"]), (Some("delete_file"), &json!(".env")));
    assert_eq!((shown[1].0, &shown[1].1["path"]), (Some("create_file"), &json!("test.txt")));

    // The second decides, one call after the other.
    let resume = || process(&store, &base_url, "resume", &[run_id.as_str()]);
    assert_eq!(resume(), ["approval_pending"]);
    for row in &rows {
        assert_eq!(effects(), [] as [&str; 0]);
        assert_eq!(process(&store, &base_url, "approve-one", &[row.id.as_str()]), ["approved"]);
        if row.id == rows[0].id {
            assert_eq!(resume(), ["approval_pending"]);
        }
    }

    // The third resumes: both run, in order, and the model has the last word.
    assert_eq!(resume(), ["COMPLETED"]);
    assert_eq!(effects(), ["delete .env", "create test.txt"]);
    assert_eq!(process(&store, &base_url, "work", &[]), [] as [&str; 0]);
    let run = store.db.get_run(&run_id).await.unwrap();
    let snapshot: Value = serde_json::from_str(&run.snapshot).unwrap();
    let last = snapshot["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(last["content"], "The file `.env` has been deleted, and `test.txt` has been successfully created.");
    assert_eq!(run.status, RunStatus::Completed);

    // What was sent is what the recorded client sent.
    let log = server.log();
    assert_eq!(log.len(), 2, "the model was asked twice");
    let recorded = kern_tests::replay::exchanges(|exchange| exchange.group == GROUP);
    for (sent, recorded) in log.iter().zip(&recorded) {
        let (sent, recorded) = (&sent["body"]["messages"], &recorded.request["body"]["messages"]);
        assert_eq!(texts(sent), texts(recorded));
    }
}

/// Who says what in a request, and the calls in it. Absent and null texts are one.
fn texts(messages: &Value) -> Vec<Value> {
    let messages = messages.as_array().expect("a request has messages");
    let of =
        |message: &Value| json!([message["role"], message["content"], message["tool_call_id"], message["tool_calls"]]);
    messages.iter().map(of).collect()
}
