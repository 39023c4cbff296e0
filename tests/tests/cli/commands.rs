//! Every command: what it does, what it says as JSON, and how it ends.

use std::process::Command;

use kern::db::{ApprovalStatus, Resolution, SqliteDb};
use kern_db::{CallPolicy, CommitTurn, NewAnswer, NewCall, PauseType, Tier};
use kern_tests::command::{Kern, Said};
use kern_tests::folder::Folder;
use kern_tests::steps::{APPROVER, REQUESTER, Store, call, required, turn, two_stage, wait_until};
use kern_tests::{history, ledger};
use serde_json::{Value, json};

/// One process pauses, the command approves in a second, a third resumes.
#[tokio::test]
async fn a_run_paused_in_one_process_is_approved_by_the_command_and_resumed_in_a_third() {
    let folder = Folder::new();
    let path = folder.file("app.db");
    let lines = folder.file("ledger");
    drop(SqliteDb::builder(&path).approvals_table("approvals").open().await.unwrap());
    let worker = |what: &str, words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kern-path-worker"));
        command.args([what, "delete", "5000"]).arg(&path).args(words).env(ledger::FILE, &lines);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let run_id = worker("pause", &[]);
    assert_eq!(worker("resume", &[&run_id]), "approval_pending");

    let kern = Kern::on(format!("sqlite:{}", path.display()));
    let listed = kern.json(&["approvals", "list"]).json();
    let id = listed["data"][0]["id"].as_str().unwrap();
    let said = kern.run(&["approvals", "approve", "--yes", "--by", "ann", id]);
    assert_eq!((said.code, said.error.as_str()), (0, ""));
    assert_eq!(said.out, format!("approved delete_user {id}, by ann (unverified)\n"));
    assert_eq!(ledger::read(&lines), [] as [&str; 0], "to approve runs nothing");

    assert_eq!(worker("resume", &[&run_id]), "COMPLETED");
    assert_eq!(ledger::read(&lines), ["delete u1"]);
    let shown = kern.json(&["approvals", "show", id]).json();
    assert_eq!((&shown["resolved_by"], &shown["resolved_by_verified"]), (&json!("ann"), &json!(false)));
    assert_eq!(shown["execution"]["status"], "succeeded");
    assert_eq!(kern.run(&["audit", "verify"]).code, 0);
}

async fn one() -> (Store, Kern, String) {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let id = store.approval(&run_id).await.id.to_string();
    let kern = Kern::on(store.file());
    (store, kern, id)
}

fn no(said: &Said, code: &str) {
    assert_eq!((said.code, said.error_code().as_str(), said.out.as_str()), (1, code, ""), "{said:?}");
}

#[tokio::test]
async fn list_and_show_give_the_librarys_own_json() {
    let (store, kern, id) = one().await;
    let approval = store.get_approval(&id.as_str().into()).await.unwrap().unwrap();
    let approval = serde_json::to_value(&approval).unwrap();
    assert_eq!(kern.json(&["approvals", "show", &id]).json(), approval);
    let page = kern.json(&["approvals", "list"]).json();
    let meta = json!({ "page": 1, "limit": 100, "total_pages": 1, "total_count": 1, "search_time_ms": 0.0 });
    assert_eq!(page, json!({ "data": [approval], "meta": meta }));
    assert_eq!(kern.json(&["executions", "list", "--status", "any"]).json(), json!({ "data": [], "more": false }));
    let entries = store.audit().entries(0, 100).await.unwrap();
    let exported: Vec<Value> =
        kern.run(&["audit", "export"]).out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(exported, entries.iter().map(|entry| serde_json::to_value(entry).unwrap()).collect::<Vec<_>>());
    let report = store.audit().verify().await.unwrap();
    assert_eq!(kern.json(&["audit", "verify"]).json(), serde_json::to_value(&report).unwrap());
}

#[tokio::test]
async fn a_list_is_narrowed_and_paged() {
    let store = Store::on_a_file().await;
    let first = store.paused(&[required(), required(), required()]).await;
    let other = store.paused(&[required()]).await;
    store.refuse(&other, 0).await.unwrap();
    let kern = Kern::on(store.file());
    let count = |words: &[&str]| {
        let page = kern.json(&[&["approvals", "list"], words].concat()).json();
        (page["data"].as_array().unwrap().len(), page["meta"]["total_count"].as_u64().unwrap())
    };
    assert_eq!(count(&[]), (3, 3), "what waits, if nothing else is asked for");
    assert_eq!(count(&["--status", "any"]), (4, 4));
    assert_eq!(count(&["--status", "rejected"]), (1, 1));
    assert_eq!(count(&["--status", "any", "--run", first.as_str()]), (3, 3));
    assert_eq!(count(&["--user", REQUESTER]), (3, 3));
    assert_eq!(count(&["--user", "nobody"]), (0, 0));
    assert_eq!(count(&["--limit", "2"]), (2, 3));
    assert_eq!(count(&["--limit", "2", "--page", "2"]), (1, 3));
    let text = kern.run(&["approvals", "list", "--limit", "2"]);
    assert!(text.out.contains("3 approvals, page 1 of 2, --page 2 shows the next"), "{}", text.out);
    let text = kern.run(&["approvals", "list", "--limit", "2", "--page", "9"]);
    assert_eq!((text.code, text.out.as_str()), (0, "page 9 is empty: the last one is --page 2\n"));
    for (words, said) in [(["--status", "expired"], "no approval is expired"), (["--user", "nobody"], "nothing fits")] {
        let text = kern.run(&[&["approvals", "list"], &words[..]].concat());
        assert!(text.code == 0 && text.out.starts_with(said), "{text:?}");
    }
}

#[tokio::test]
async fn a_decision_is_made_once_and_the_second_is_told_by_whom() {
    let (store, kern, id) = one().await;
    let approved = kern.json(&["approvals", "approve", &id, "--yes", "--by", "bob", "--note", "ticket 42"]).json();
    assert_eq!((&approved["status"], &approved["resolved_by"]), (&json!("approved"), &json!("bob")));
    assert_eq!(approved["resolution_data"], json!({ "note": "ticket 42" }));
    for way in ["approve", "reject"] {
        no(&kern.json(&["approvals", way, &id, "--yes", "--by", "eve"]), "conflict");
    }
    let said = kern.run(&["approvals", "reject", &id, "--yes", "--by", "eve"]);
    assert!(said.error.contains("is already approved, by bob, ") && said.error.lines().count() == 1, "{said:?}");

    let run_id = store.paused(&[required()]).await;
    let id = store.approval(&run_id).await.id.to_string();
    let said = kern.run(&["approvals", "reject", &id, "--yes", "--by", "bob", "--note", "too much"]);
    assert_eq!((said.code, said.out), (0, format!("rejected pay {id}, by bob (unverified)\n")));
    let shown = kern.run(&["approvals", "show", &id]).out;
    assert!(shown.contains("rejected by bob (unverified), ") && shown.contains("\"too much\""), "{shown}");
    history::check(&*store).await;
}

#[tokio::test]
async fn the_store_says_who_may_not_and_what_came_too_late() {
    let (store, kern, id) = one().await;
    no(&kern.json(&["approvals", "approve", &id, "--yes", "--by", REQUESTER]), "not_permitted");
    assert_eq!(store.get_approval(&id.as_str().into()).await.unwrap().unwrap().status, ApprovalStatus::Pending);
    no(&kern.json(&["approvals", "show", "01a2"]), "not_found");
    no(&kern.json(&["approvals", "approve", &id[..id.len() - 1], "--yes", "--by", "bob"]), "not_found");
    no(&kern.json(&["executions", "settle", "01a2", "--as", "failed", "--note", "x", "--by", "bob"]), "not_found");

    let run_id = store.paused(&[required().expires_in_ms(1)]).await;
    let due = store.approval(&run_id).await;
    wait_until((due.expires_at.unwrap() + 1) * 1000).await;
    no(&kern.json(&["approvals", "approve", due.id.as_str(), "--yes", "--by", "bob"]), "expired");

    // Somebody with SQL changes what is shown: nothing is decided.
    let run_id = store.paused(&[required()]).await;
    let tampered = store.approval(&run_id).await.id;
    store.tamper(&format!("UPDATE kern_approvals SET tool_args = '{{\"amount\":1}}' WHERE id = '{tampered}'"));
    no(&kern.json(&["approvals", "approve", tampered.as_str(), "--yes", "--by", "bob"]), "digest_mismatch");
    assert_eq!(store.get_approval(&tampered).await.unwrap().unwrap().status, ApprovalStatus::Pending);
}

#[tokio::test]
async fn who_decides_is_the_system_user_where_nobody_is_named() {
    let (_store, kern, id) = one().await;
    let user = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    let approved = kern.json(&["approvals", "approve", &id, "--yes"]).json();
    assert_eq!((&approved["resolved_by"], &approved["resolved_by_verified"]), (&json!(user.trim()), &json!(false)));
}

#[tokio::test]
async fn what_was_edited_is_approved_only_with_the_digest_of_what_was_seen() {
    let store = Store::on_a_file().await;
    let claim = store.started().await;
    let mut asked = turn(&claim, 1, &[], true);
    let policy = kern_db::CallPolicy::new(kern_db::Tier::Required, Some(kern_db::PauseType::UserInput));
    asked.calls = vec![kern_db::NewCall { unfilled: vec!["to".to_owned()], ..call(0, policy) }];
    store.commit_turn(asked).await.unwrap();
    let kern = Kern::on(store.file());
    let id = store.approval_id(&claim.run_id, 0).await.to_string();
    let approve = |more: &[&str]| kern.json(&[&["approvals", "approve", &id, "--yes", "--by", "bob"], more].concat());

    let shown = kern.run(&["approvals", "show", &id]).out;
    assert!(shown.contains("to be filled to, before it can be approved"), "{shown}");
    let early = approve(&[]);
    assert_eq!((early.code, early.error_code().as_str()), (2, "invalid"), "fields are still to be filled");
    let before = store.approval(&claim.run_id).await.digest;
    let input = NewAnswer::Input(r#"{"amount":100,"to":"y"}"#.to_owned());
    store.answer(&claim.run_id, 0, input).await.unwrap();

    no(&approve(&[]), "stale_view");
    no(&approve(&["--digest", &before]), "stale_view");
    let said = kern.run(&["approvals", "approve", &id, "--yes", "--by", "bob"]);
    assert!(said.error.contains(&format!("`kern approvals show {id}`")) && said.error.contains("--digest"), "{said:?}");
    let shown = kern.json(&["approvals", "show", &id]).json();
    assert_eq!((&shown["version"], &shown["tool_args"]["to"]), (&json!(1), &json!("y")));
    assert!(kern.run(&["approvals", "show", &id]).out.contains("edited       once, since it was asked for"));
    assert_eq!(approve(&["--digest", shown["digest"].as_str().unwrap()]).json()["status"], "approved");
}

#[tokio::test]
async fn what_the_requester_still_has_to_say_is_shown() {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[two_stage()]).await;
    let id = store.approval(&run_id).await.id;
    let kern = Kern::on(store.file());
    let show = || kern.run(&["approvals", "show", id.as_str()]).out;
    assert!(show().contains("the person who asked has to confirm it, too"));
    store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by(APPROVER)).await.unwrap();
    assert!(show().contains("the person who asked has to confirm it, too"));
}

/// A run that waits for one call of this policy, and its approval.
async fn waiting(store: &Store, asked: NewCall) -> String {
    let claim = store.started().await;
    store.commit_turn(CommitTurn { calls: vec![asked], ..turn(&claim, 1, &[], true) }).await.unwrap();
    store.approval_id(&claim.run_id, 0).await.to_string()
}

/// What changes a call goes with its approval, and the call is approved with it.
#[tokio::test]
async fn edited_arguments_values_and_results_reach_the_store() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    let approve = |id: &str, more: &[&str]| {
        kern.json(&[&["approvals", "approve", id, "--yes", "--by", "bob"], more].concat()).json()
    };
    let id = waiting(&store, call(0, required())).await;
    let edited = approve(&id, &["--edited-args", r#"{"to":"y","amount":7.0}"#]);
    assert_eq!((&edited["status"], &edited["version"]), (&json!("approved"), &json!(1)));
    assert_eq!(edited["tool_args"], json!({ "amount": 7, "to": "y" }));
    assert_eq!((&edited["edited_by"]["subject"], &edited["execution"]["status"]), (&json!("bob"), &json!("ready")));

    let form = NewCall {
        arguments: r#"{"amount":100}"#.to_owned(),
        unfilled: vec!["to".to_owned()],
        user_fields: vec!["to".to_owned()],
        ..call(0, CallPolicy::new(Tier::Required, Some(PauseType::UserInput)))
    };
    let id = waiting(&store, form).await;
    let filled = approve(&id, &["--values", r#"{"to":"z"}"#]);
    assert_eq!((&filled["status"], &filled["tool_args"]), (&json!("approved"), &json!({ "amount": 100, "to": "z" })));

    let outside = call(0, CallPolicy::new(Tier::Required, Some(PauseType::ExternalExecution)));
    let id = waiting(&store, outside).await;
    let done = approve(&id, &["--result", "refund 4711"]);
    assert_eq!((&done["status"], &done["execution"]["status"]), (&json!("approved"), &json!("succeeded")));
    assert_eq!(done["execution"]["result"], "refund 4711");
    history::check(&*store).await;
}

/// What is not one value for everybody who reads it decides nothing.
#[tokio::test]
async fn edited_arguments_are_read_as_strictly_as_a_models() {
    let (store, kern, id) = one().await;
    for json in [
        r#"{"amount":1,"to":"x","amount":900}"#,
        r#"{"amount":1,"to":"x","\u0061mount":900}"#,
        r#"{"amount":1e400,"to":"x"}"#,
        r#"{"amount":9007199254740993,"to":"x"}"#,
        r#"{"amount":9007199254740993.0,"to":"x"}"#,
        r#"{"amount":-1,"to":"x"}"#,
        r#"{"amount":1.5,"to":"x"}"#,
        r#"{"amount":NaN,"to":"x"}"#,
        r#"{"amount":"1","to":"x"}"#,
        r#"{"amount":1,"to":"\ud800"}"#,
        r#"{"amount":1,"to":"x","more":{"a":1,"a":2}}"#,
        r#"{"amount":1}"#,
        r#"{"amount":1,"to":"x"} "#.trim_end_matches("} "),
        r#"[{"amount":1,"to":"x"}]"#,
        "null",
        "",
        &format!(r#"{{"amount":1,"to":{}1{}}}"#, "[".repeat(200), "]".repeat(200)),
        &format!(r#"{{"amount":1,"to":"{}"}}"#, "x".repeat(100_000)),
    ] {
        let said = kern.json(&["approvals", "approve", &id, "--yes", "--by", "bob", "--edited-args", json]);
        assert_eq!((said.code, said.error_code().as_str(), said.out.as_str()), (2, "invalid", ""), "{json}: {said:?}");
        let stored = store.get_approval(&id.as_str().into()).await.unwrap().unwrap();
        assert_eq!((stored.status, stored.version), (ApprovalStatus::Pending, 0), "{json}");
    }
    for both in [["--edited-args", "{}", "--values", "{}"], ["--values", "{}", "--result", "x"]] {
        let said = kern.json(&[&["approvals", "approve", &id, "--yes", "--by", "bob"], &both[..]].concat());
        assert_eq!((said.code, said.error_code().as_str()), (2, "invalid"), "{said:?}");
    }
    let zero =
        kern.json(&["approvals", "approve", &id, "--yes", "--by", "bob", "--edited-args", r#"{"amount":-0,"to":"x"}"#]);
    assert_eq!(zero.json()["tool_args"], json!({ "amount": 0, "to": "x" }));
    history::check(&*store).await;
}

#[tokio::test]
async fn an_execution_whose_end_is_unknown_is_listed_and_settled_once() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    assert!(kern.run(&["executions", "list"]).out.starts_with("every execution's end is known"));
    for (end, result, told) in [
        ("succeeded", Some("refund 4711"), json!("refund 4711")),
        ("succeeded", None, json!("seen in the bank log")),
        ("failed", Some("no such account"), json!("no such account")),
        ("abandoned", None, json!("seen in the bank log")),
    ] {
        let (_, lost) = store.unknown().await;
        let id = lost.ticket().execution_id().to_string();
        let listed = kern.json(&["executions", "list"]).json();
        assert_eq!((&listed["data"][0]["id"], listed["data"].as_array().unwrap().len()), (&json!(id), 1));
        let mut words = vec!["executions", "settle", &id, "--as", end, "--note", "seen in the bank log", "--by", "bob"];
        if let Some(result) = result {
            words.extend(["--result", result]);
        }
        let refused = [&words[..words.iter().position(|word| *word == "--by").unwrap()], &["--by", REQUESTER]].concat();
        no(&kern.json(&refused), "not_permitted");
        let settled = kern.json(&words).json();
        assert_eq!(settled["status"], end);
        assert_eq!(if end == "succeeded" { &settled["result"] } else { &settled["error"] }, &told);
        assert_eq!(
            (&settled["settled_by"], &settled["note"]),
            (&json!("bob (unverified)"), &json!("seen in the bank log"))
        );
        no(&kern.json(&words), "conflict");
    }
    let listed = kern.json(&["executions", "list", "--status", "any", "--limit", "3"]).json();
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["more"]), (3, &json!(true)));
    assert!(kern.run(&["executions", "list", "--status", "any", "--limit", "3"]).out.contains("there are more"));
    history::check(&*store).await;
}

#[tokio::test]
async fn a_broken_log_is_found_with_its_place_and_exit_code_1() {
    let (store, kern, _) = one().await;
    let intact = kern.run(&["audit", "verify"]);
    assert!(intact.code == 0 && intact.out.starts_with("intact: 4 entries"), "{intact:?}");
    let exported = kern.run(&["audit", "export"]).out.lines().count();
    assert_eq!(exported, 4);
    store.tamper("UPDATE kern_audit SET payload = '{}' WHERE seq = 2");
    let broken = kern.run(&["audit", "verify"]);
    assert!(broken.code == 1 && broken.out.starts_with("BROKEN at entry 2: "), "{broken:?}");
    let broken = kern.json(&["audit", "verify"]);
    let report: Value = serde_json::from_str(&broken.out).unwrap();
    assert_eq!((broken.code, &report["broken"]["seq"], broken.error.as_str()), (1, &json!(2), ""));
}

#[tokio::test]
async fn a_checkpoint_that_was_kept_elsewhere_shows_what_was_cut_off() {
    let (store, kern, _) = one().await;
    let folder = Folder::new();
    let path = |name: &str| folder.file(name).to_str().unwrap().to_owned();
    let (key, kept, log) = (path("kern.key"), path("kept.jsonl"), path("log.jsonl"));
    let public = format!("{key}.pub");
    assert_eq!(kern.run(&["audit", "keygen", "--key", &key]).code, 0);
    assert_eq!(kern.run(&["audit", "keygen", "--key", &key]).code, 2, "a key is never written over");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let signed = kern.run(&["audit", "checkpoint", "--key", &key, "--output", &kept]);
    assert!(signed.code == 0 && signed.out.starts_with("4 entries signed"), "{signed:?}");
    // What is for programs is said to them, too.
    let again = kern.json(&["audit", "checkpoint", "--key", &key, "--output", &kept]).json();
    let last = std::fs::read_to_string(&kept).unwrap().lines().last().unwrap().to_owned();
    assert_eq!(again, serde_json::from_str::<Value>(&last).unwrap());
    assert_eq!(kern.run(&["audit", "export", "--output", &log]).code, 0);
    let against = ["--checkpoint", &kept, "--pubkey", &public];
    let whole = kern.run(&[&["audit", "verify"][..], &against].concat());
    assert!(whole.code == 0 && whole.out.contains("every checkpoint"), "{whole:?}");
    let whole = kern.run(&[&["audit", "verify", "--file", &log][..], &against].concat());
    assert_eq!(whole.code, 0, "{whole:?}");

    store.tamper("DELETE FROM kern_audit WHERE seq = 4");
    let cut = kern.run(&[&["audit", "verify"][..], &against].concat());
    assert!(cut.code == 1 && cut.out.starts_with("BROKEN at entry 4: "), "{cut:?}");
    let lines = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, lines.lines().next().unwrap()).unwrap();
    assert_eq!(kern.run(&["audit", "verify", "--file", &log]).code, 0, "it is whole by itself");
    assert_eq!(kern.run(&[&["audit", "verify", "--file", &log][..], &against].concat()).code, 1);
    let other = path("other.key");
    assert_eq!(kern.run(&["audit", "keygen", "--key", &other]).code, 0);
    let other = format!("{other}.pub");
    let forged = kern.run(&["audit", "verify", "--file", &log, "--checkpoint", &kept, "--pubkey", &other]);
    assert!(forged.code == 1 && forged.out.contains("not signed by this key"), "{forged:?}");
    for words in [["--checkpoint", "none"], ["--pubkey", "none"], ["--file", "none"]] {
        assert_eq!(kern.run(&[&["audit", "verify"][..], &words].concat()).code, 2);
    }
}

#[tokio::test]
async fn the_log_is_exported_to_a_new_file_and_to_no_other() {
    let (store, kern, _) = one().await;
    for _ in 0..30 {
        store.paused(&vec![required(); 40]).await;
    }
    let entries = store.audit().verify().await.unwrap().entries;
    assert!(entries > 1000, "more than one page: {entries}");
    let folder = Folder::new();
    let file = folder.file("audit.jsonl");
    let file = file.to_str().unwrap();
    let said = kern.run(&["audit", "export", "--output", file]);
    assert_eq!((said.code, said.out), (0, format!("{entries} entries written to {file}\n")));
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text, kern.run(&["audit", "export"]).out);
    for (line, seq) in text.lines().zip(1..) {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["seq"], json!(seq));
    }
    let again = kern.json(&["audit", "export", "--output", file]);
    assert_eq!((again.code, again.error_code().as_str()), (2, "output"));
    assert_eq!(std::fs::read_to_string(file).unwrap(), text, "it stays as it is");
    let own = store.file();
    assert_eq!(kern.run(&["audit", "export", "--output", own.to_str().unwrap()]).code, 2);
    // A log that cannot be read to its end leaves no half file.
    store.tamper("UPDATE kern_audit SET payload = 'no JSON' WHERE seq = 1100");
    let half = folder.file("half.jsonl");
    assert_eq!(kern.run(&["audit", "export", "--output", half.to_str().unwrap()]).code, 2);
    assert!(!half.exists());
    let said = kern.json(&["audit", "export", "--output", folder.file("none/x").to_str().unwrap()]);
    assert_eq!((said.code, said.error_code().as_str()), (2, "output"));
}

#[tokio::test]
async fn help_says_how_and_ends_well() {
    let kern = Kern::on_nothing();
    for words in
        [&["--help"][..], &["approvals", "--help"], &["approvals", "approve", "--help"], &["audit", "export", "-h"]]
    {
        let said = kern.run(words);
        assert!(said.code == 0 && said.out.contains("Usage: kern") && said.error.is_empty(), "{said:?}");
    }
    assert_eq!(kern.run(&["--version"]).out, format!("kern {}\n", env!("CARGO_PKG_VERSION")));
}

/// Z3: only with a name and a reason, only where the time is ahead, and then everything that waits is over.
#[tokio::test]
async fn the_stores_time_is_shown_and_set_back() {
    let (store, kern, id) = one().await;
    let said = kern.run(&["clock"]);
    assert!(said.code == 0 && said.out.starts_with("the store's time agrees with its clock"), "{said:?}");
    assert_eq!(kern.run(&["clock", "--reset", "--by", "ann"]).code, 2, "a reason is needed");
    no(&kern.json(&["clock", "--reset", "--by", "ann", "--note", "x"]), "clock_not_ahead");
    kern_db::clock::set_ahead_ms(3_600_000);
    let claim = store.started().await;
    kern_db::clock::set_ahead_ms(0);
    let shown = kern.json(&["clock"]).json();
    assert!(shown["ahead_ms"].as_i64().unwrap() > 3_500_000 && shown["has_jumped"] == json!(true), "{shown}");
    let reset = ["clock", "--reset", "--by", "ann", "--note", "a wrong clock"];
    no(&kern.json(&reset), "not_paused");
    store.complete(&claim).await.unwrap();
    let said = kern.json(&reset).json();
    assert_eq!((&said["ahead_ms"], &said["has_jumped"]), (&json!(0), &json!(false)));
    assert_eq!(kern.json(&["approvals", "show", &id]).json()["status"], "expired");
    assert_eq!(kern.run(&["audit", "verify"]).code, 0);
    history::check(&*store).await;
}
