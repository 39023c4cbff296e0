//! What a person sees of what others wrote: nothing of it steers the terminal or passes for something else.

use kern_db::RunId;
use kern_db::{ApprovalStatus, NewCall, Principal, Resolution};
use kern_tests::command::Kern;
use kern_tests::steps::{Store, begin, call, required, turn};
use serde_json::{Value, json};

/// A terminal is cleared, a line is turned around, a word is not what it seems.
const NASTY: &str = "a\u{1b}[2J\u{9b}31m\u{202e}b\u{200b}c\u{430}d\r\n  asked by     root\u{7}";

fn inert(text: &str) {
    for character in text.chars() {
        let harmless = character == '\n' || !character.is_control();
        let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}');
        assert!(harmless && !turns, "{character:?} in {text:?}");
    }
}

/// A run whose every text is nasty, paused for an approval.
async fn nasty(store: &Store, arguments: &Value) -> String {
    let mut request = begin(&RunId::generate());
    request.agent_id = NASTY.to_owned();
    request.agent_name = Some(NASTY.to_owned());
    request.requester = Some(Principal::unverified(NASTY));
    request.session_id = NASTY.into();
    let claim = store.begin_run(request).await.unwrap();
    let mut asked = turn(&claim, 1, &[], true);
    let arguments = kern_db::canonical_json(arguments);
    let tool = || NASTY.to_owned();
    asked.calls = vec![NewCall { tool_name: tool(), tool_version: tool(), arguments, ..call(0, required()) }];
    store.commit_turn(asked).await.unwrap();
    store.approval_id(&claim.run_id, 0).await.to_string()
}

#[tokio::test]
async fn no_text_from_the_store_reaches_the_terminal_as_it_is() {
    let store = Store::on_a_file().await;
    let id = nasty(&store, &json!({ NASTY: NASTY, "nested": [{ NASTY: [NASTY] }] })).await;
    let kern = Kern::on(store.file());
    let commands: [&[&str]; 6] = [
        &["approvals", "list", "--status", "any"],
        &["approvals", "show", &id],
        &["approvals", "list", "--status", "any", "--json"],
        &["audit", "export"],
        &["executions", "list", "--status", "any"],
        &["approvals", "reject", &id, "--yes", "--by", "bob"],
    ];
    let check = || {
        for words in &commands[..5] {
            let said = kern.run(words);
            assert_eq!(said.code, 0, "{said:?}");
            inert(&said.out);
            if words.contains(&"--json") {
                let page: Value = serde_json::from_str(&said.out).unwrap();
                assert_eq!(page["data"][0]["tool_args"][NASTY], NASTY, "it stands for the same value");
            }
        }
    };
    check();
    let yes = Resolution::rejected().by(format!("{NASTY}!")).note(NASTY);
    store.update_approval(&id.as_str().into(), ApprovalStatus::Pending, yes).await.unwrap();
    check();
    let late = kern.run(commands[5]);
    assert_eq!((late.code, late.error.lines().count()), (1, 1), "{late:?}");
    inert(&late.error);
    store.tamper("UPDATE kern_audit SET payload = 'a\u{1b}[2J' WHERE seq = 2");
    let broken = kern.run(&["audit", "verify"]);
    assert_eq!(broken.code, 1);
    inert(&broken.out);
}

#[tokio::test]
async fn every_argument_is_shown_in_full_with_its_length_and_its_warnings() {
    let store = Store::on_a_file().await;
    let long = "x".repeat(40_000);
    let arguments = json!({
        "body": "Dear Ann,\n\nplease pay.\nuser_id  \"admin\"",
        "long": long,
        "nested": { "list": [1, { "deep": "u\u{202e}24" }] },
        "user_id": "\u{430}dmin",
    });
    let id = nasty(&store, &arguments).await;
    let shown = Kern::on(store.file()).run(&["approvals", "show", &id]).out;
    assert!(shown.contains(&long), "nothing is cut off");
    for part in [
        "    long     \"xxx",
        "(40,000 characters)",
        "    body     \"Dear Ann,\\n\n             │ \\n\n             │ please pay.\\n\n             │ user_id  \\\"admin\\\"\"\n             (39 characters)\n",
        "\"deep\": \"u\\u202e24\"",
        "    user_id  \"\\u0430dmin\"\n             (5 characters)\n",
        "! user_id: 1 character that looks like another one",
        "! nested/list/1/deep: 1 character that changes the direction of the text",
        "! body: 3 line breaks or tabs",
    ] {
        assert!(shown.contains(part), "{part:?} in\n{shown}");
    }
    for name in ["tool", "asked by", "agent"] {
        assert!(shown.contains(&format!("! {name}: ")), "what stands around the arguments is warned of, too:\n{shown}");
    }
    let line = shown.lines().filter(|line| line.trim_start().starts_with("user_id")).count();
    assert_eq!(line, 1, "no line of a value passes for an argument:\n{shown}");
    // What a list leaves out it counts.
    let listed = Kern::on(store.file()).run(&["approvals", "list"]).out;
    assert!(listed.contains("… +40,") || listed.contains("… +40"), "{listed}");
}

/// A terminal goes on at the start of the next line where a line is too long for it.
#[tokio::test]
async fn no_value_reaches_the_place_of_the_next_line_on_a_terminal() {
    let store = Store::on_a_file().await;
    let spaces = " ".repeat(500);
    let mut request = begin(&RunId::generate());
    request.requester = Some(Principal::unverified(format!("eve{spaces}  asked by     root")));
    let claim = store.begin_run(request).await.unwrap();
    let mut asked = turn(&claim, 1, &[], true);
    let to = format!("x{spaces}  asked by     root");
    let arguments = kern_db::canonical_json(&json!({ "to": to, "wide": "語".repeat(200) }));
    asked.calls = vec![NewCall { arguments, ..call(0, required()) }];
    store.commit_turn(asked).await.unwrap();
    let id = store.approval_id(&claim.run_id, 0).await.to_string();
    let kern = Kern::on(store.file()).env("NO_COLOR", "1");
    let shown = kern.on_a_terminal(&["approvals", "show", &id], "never", &[], "").out;
    let columns = |line: &str| line.chars().map(|character| if character.is_ascii() { 1 } else { 2 }).sum::<usize>();
    for line in shown.lines() {
        // The marks of kern's own are not ASCII and one column wide.
        assert!(columns(&line.replace('│', "|")) <= 80 || line.contains("digest"), "{line:?}");
    }
    assert_eq!(shown.lines().filter(|line| line.trim_start().starts_with("asked by")).count(), 1, "{shown}");
    let together: String = shown.lines().map(|line| line.trim_start().trim_start_matches("│ ")).collect();
    assert!(together.contains(&"語".repeat(200)), "folded, not cut");
    let piped = Kern::on(store.file()).run(&["approvals", "show", &id]).out;
    assert!(piped.contains(&to), "what is piped stays on its line");
}

/// Who wrote it, who has said yes to it, and whose yes was to something else.
#[tokio::test]
async fn who_edited_and_who_voted_is_shown() {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[required().quorum(2)]).await;
    let id = store.approval_id(&run_id, 0).await;
    let kern = Kern::on(store.file());
    let show = || kern.run(&["approvals", "show", id.as_str()]).out;
    assert!(show().contains("  votes        0 of 2\n"), "{}", show());
    let yes = |by: &str| Resolution::approved().by(by);
    store.update_approval(&id, ApprovalStatus::Pending, yes("bob")).await.unwrap();
    let data = json!({ "edited_args": { "amount": 7, "to": "y" } });
    store.update_approval(&id, ApprovalStatus::Pending, yes("carol").data(data)).await.unwrap();
    let shown = show();
    for line in [
        "  edited       once, since it was asked for\n  edited by    carol (unverified)\n",
        "  votes        0 of 2, and 1 to an older version, which does not count\n",
    ] {
        assert!(shown.contains(line), "{line:?} in\n{shown}");
    }
    let digest = store.approval(&run_id).await.digest;
    store.update_approval(&id, ApprovalStatus::Pending, yes("dan").digest(digest)).await.unwrap();
    assert!(show().contains("  votes        1 of 2: dan (unverified), and 1 to an older version"), "{}", show());
}

/// What an approver sent along is theirs, and passes for nothing that kern says.
#[tokio::test]
async fn the_names_of_what_was_sent_along_are_no_facts() {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let id = store.approval_id(&run_id, 0).await;
    let data = json!({ "decided": 1, "execution    succeeded": null, "why": "so" });
    let yes = Resolution::rejected().by("bob").note("no").data(data);
    store.update_approval(&id, ApprovalStatus::Pending, yes).await.unwrap();
    let shown = Kern::on(store.file()).run(&["approvals", "show", id.as_str()]).out;
    for forged in ["decided      1", "execution    succeeded", "why          "] {
        assert!(!shown.lines().any(|line| line.trim_start().starts_with(forged)), "{forged:?} in\n{shown}");
    }
    assert!(shown.contains("  note         \"no\"\n"), "{shown}");
    assert!(shown.contains("  sent along   \"decided\": (holds sensitive values, not shown)\n"), "{shown}");
}

/// A secret argument is in no display, whoever wrote it, and wherever else the row holds it.
#[tokio::test]
async fn no_display_shows_a_sensitive_argument() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file()).env("NO_COLOR", "1");
    let claim = store.started().await;
    let mut asked = turn(&claim, 1, &[], true);
    let arguments = kern_db::canonical_json(&json!({ "amount": 1, "key": "hunter2", "to": "x" }));
    asked.calls = vec![NewCall { arguments, ..call(0, required().quorum(2)) }];
    store.commit_turn(asked).await.unwrap();
    let id = store.approval_id(&claim.run_id, 0).await;
    let check = |edited: &str| {
        let words: [&[&str]; 3] = [
            &["approvals", "list", "--status", "any"],
            &["approvals", "show", id.as_str()],
            &["executions", "list", "--status", "any"],
        ];
        for words in words {
            let said = kern.run(words);
            assert!(said.code == 0 && !said.out.contains("hunter") && !said.error.contains("hunter"), "{said:?}");
        }
        let words = ["approvals", "approve", id.as_str(), "--by", "eve", "--edited-args", edited];
        let said = kern.on_a_terminal(&words, "[y/N]", &[], "n\r");
        assert!(said.out.contains("not shown") && !said.out.contains("hunter"), "{said:?}");
    };
    let edited = r#"{"amount":2,"key":"hunter3","to":"x"}"#;
    check(edited);
    let data = json!({ "edited_args": serde_json::from_str::<Value>(edited).unwrap() });
    store.update_approval(&id, ApprovalStatus::Pending, Resolution::approved().by("carol").data(data)).await.unwrap();
    check(edited);
    let no = Resolution::rejected().by("dan").data(json!({ "instead": { "key": "hunter4" } }));
    store.update_approval(&id, ApprovalStatus::Pending, no).await.unwrap();
    let shown = kern.run(&["approvals", "show", id.as_str()]);
    assert!(!shown.out.contains("hunter"), "{shown:?}");
}

/// A narrow terminal goes on earlier: nothing of somebody else's begins a line of it.
#[tokio::test]
async fn on_a_narrow_terminal_no_value_begins_a_line() {
    let store = Store::on_a_file().await;
    let mut request = begin(&RunId::generate());
    let forged = |columns: usize| format!("eve{}asked by     root", " ".repeat(columns));
    request.requester = Some(Principal::unverified(forged(15)));
    let claim = store.begin_run(request).await.unwrap();
    let mut asked = turn(&claim, 1, &[], true);
    let arguments = kern_db::canonical_json(&json!({ "to": forged(21), "other": forged(60) }));
    asked.calls = vec![NewCall { arguments, ..call(0, required()) }];
    store.commit_turn(asked).await.unwrap();
    let id = store.approval_id(&claim.run_id, 0).await.to_string();
    for columns in ["40", "60", "100"] {
        let kern = Kern::on(store.file()).env("NO_COLOR", "1").env("TEST_COLUMNS", columns);
        let width: usize = columns.parse().unwrap();
        for words in [&["approvals", "show", &id][..], &["approvals", "list"], &["executions", "list"]] {
            let said = kern.on_a_terminal(words, "never", &[], "").out;
            for line in said.lines().filter(|line| line.chars().count() > width) {
                // What is kern's own may be long: no letter of it is somebody else's.
                assert!(!line.contains("eve ") && !line.contains("root"), "{columns}: {line:?}\n{said}");
            }
            let begins = said.lines().filter(|line| line.trim_start().starts_with("asked by")).count();
            assert!(begins <= 1, "{columns}:\n{said}");
        }
    }
}
