//! Questions on a pseudo terminal: nothing is decided but by a yes to what was shown.

use kern::db::{ApprovalFilter, ApprovalStatus, Db as _, RunId, SqliteDb, Transitions as _};
use kern_db::NewAnswer;
use kern_tests::command::{Kern, Said, program};
use kern_tests::folder::Folder;
use kern_tests::steps::{Store, begin, call, required, turn};
use serde_json::json;

const QUESTION: &str = "[y/N] ";

async fn one() -> (Store, Kern, String) {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let id = store.approval(&run_id).await.id.to_string();
    let kern = Kern::on(store.file());
    (store, kern, id)
}

async fn status(store: &Store, id: &str) -> ApprovalStatus {
    store.get_approval(&id.into()).await.unwrap().unwrap().status
}

/// The same without colours.
fn plain(said: &Said) -> String {
    let mut text = String::new();
    let mut parts = said.out.split('\u{1b}');
    text.push_str(parts.next().unwrap());
    for part in parts {
        text.push_str(part.split_once('m').unwrap().1);
    }
    text
}

#[tokio::test]
async fn a_call_is_shown_in_full_before_the_question_and_a_yes_decides_it() {
    let (store, kern, id) = one().await;
    let said = kern.on_a_terminal(&["approvals", "approve", &id, "--by", "bob"], QUESTION, &[], "y\n");
    let text = plain(&said);
    let (shown, rest) = text.split_once("Approve this call as bob (unverified)? [y/N] ").unwrap();
    for part in
        [&id, "pending for ", "pay (version 1)", "amount  100", "to      \"x\"", "ana (unverified)", "Agent (agent)"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert_eq!((said.code, rest), (0, format!("y\napproved pay {id}, by bob (unverified)\n").as_str()));
    assert_eq!(status(&store, &id).await, ApprovalStatus::Approved);
}

#[tokio::test]
async fn anything_but_a_yes_decides_nothing() {
    let (store, kern, id) = one().await;
    for way in ["approve", "reject"] {
        // No, only Enter, another word, the end of the input, and a word that begins as yes does.
        for keys in ["n\n", "\n", "maybe\n", "\u{4}", "yesno\n", "y\u{4}\u{4}x\n"] {
            let said = kern.on_a_terminal(&["approvals", way, &id, "--by", "bob"], QUESTION, &[], keys);
            assert_eq!(said.code, 1, "{keys:?}: {said:?}");
            assert!(said.out.contains("nothing was decided"), "{keys:?}: {said:?}");
        }
        // Ctrl-C is a signal.
        let said = kern.on_a_terminal(&["approvals", way, &id, "--by", "bob"], QUESTION, &[], "\u{3}");
        assert_eq!(said.code, -2, "{said:?}");
    }
    assert_eq!(status(&store, &id).await, ApprovalStatus::Pending);
    let said = kern.on_a_terminal(&["approvals", "reject", &id, "--by", "bob"], QUESTION, &[], "yes\n");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(status(&store, &id).await, ApprovalStatus::Rejected);
}

#[tokio::test]
async fn a_decision_of_somebody_elses_while_the_question_waits_wins() {
    let (store, kern, id) = one().await;
    let path = store.file();
    let program = program().to_str().unwrap();
    let first = [program, "approvals", "reject", &id, "--yes", "--by", "eve", "--db", path.to_str().unwrap()];
    let said = kern.on_a_terminal(&["approvals", "approve", &id, "--by", "bob"], QUESTION, &first, "y\n");
    assert!(said.code == 1 && said.out.contains("is already rejected, by eve"), "{said:?}");
    assert_eq!(status(&store, &id).await, ApprovalStatus::Rejected);
    // What is decided is not asked about.
    let said = kern.on_a_terminal(&["approvals", "approve", &id, "--by", "bob"], QUESTION, &[], "y\n");
    assert!(said.code == 1 && !said.out.contains("[y/N]"), "{said:?}");
}

/// The digest of what was shown goes with the answer.
#[tokio::test]
async fn an_edit_while_the_question_waits_makes_the_view_stale() {
    let store = Store::on_a_file().await;
    let claim = store.started().await;
    let mut asked = turn(&claim, 1, &[], true);
    let policy = kern_db::CallPolicy::new(kern_db::Tier::Required, Some(kern_db::PauseType::UserInput));
    asked.calls = vec![call(0, policy)];
    store.commit_turn(asked).await.unwrap();
    let input = |to: &str| NewAnswer::Input(json!({ "amount": 100, "to": to }).to_string());
    store.answer(&claim.run_id, 0, input("y")).await.unwrap();
    let id = store.approval_id(&claim.run_id, 0).await.to_string();
    let kern = Kern::on(store.file());
    let seen = store.approval(&claim.run_id).await.digest;
    store.answer(&claim.run_id, 0, input("z")).await.unwrap();
    let words = ["approvals", "approve", &id, "--by", "bob", "--digest", &seen];
    let said = kern.on_a_terminal(&words, QUESTION, &[], "y\n");
    assert!(said.code == 1 && !said.out.contains("[y/N]") && said.out.contains("add --digest"), "{said:?}");

    // The terminal waits at the question until the edit is there.
    let (waiting, edited) = (store.file().with_file_name("waiting"), store.file().with_file_name("edited"));
    let script = "touch \"$1\"; while [ ! -e \"$2\" ]; do sleep 0.05; done";
    let first = ["sh", "-c", script, "sh", waiting.to_str().unwrap(), edited.to_str().unwrap()].map(str::to_owned);
    let (asking, asked_id) = (kern.clone(), id.clone());
    let question = tokio::task::spawn_blocking(move || {
        let first: Vec<&str> = first.iter().map(String::as_str).collect();
        asking.on_a_terminal(&["approvals", "approve", &asked_id, "--by", "bob"], QUESTION, &first, "y\n")
    });
    while !waiting.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    store.answer(&claim.run_id, 0, input("mallory")).await.unwrap();
    std::fs::write(edited, "").unwrap();
    let said = question.await.unwrap();
    assert!(said.code == 1 && said.out.contains("is at version 3 by now"), "{said:?}");
    assert_eq!(status(&store, &id).await, ApprovalStatus::Pending);
}

#[tokio::test]
async fn with_json_the_question_is_asked_beside_it() {
    let (_store, kern, id) = one().await;
    let words = ["approvals", "approve", &id, "--by", "bob", "--json"];
    let said = kern.on_a_terminal(&words, QUESTION, &[], "y\n");
    assert_eq!(said.code, 0, "{said:?}");
    let json: serde_json::Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
    assert_eq!(json["status"], "approved");
}

#[tokio::test]
async fn ctrl_c_at_the_question_leaves_nothing_beside_the_store() {
    let folder = Folder::new();
    let path = folder.file("app.db");
    let db = SqliteDb::open(&path).await.unwrap();
    let claim = db.begin_run(begin(&RunId::generate())).await.unwrap();
    db.commit_turn(turn(&claim, 1, &[required()], true)).await.unwrap();
    let id = db.list_approvals(ApprovalFilter::new()).await.unwrap().data[0].id.to_string();
    drop(db);
    let listed = || std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(listed(), 2, "the store and its mark");
    let kern = Kern::on(&path);
    let said = kern.on_a_terminal(&["approvals", "approve", &id, "--by", "bob"], QUESTION, &[], "\u{3}");
    assert_eq!((said.code, listed()), (-2, 2), "{said:?}");
    let said = kern.on_a_terminal(&["approvals", "approve", &id, "--by", "bob"], QUESTION, &[], "y\n");
    assert_eq!((said.code, listed()), (0, 2), "{said:?}");
}
