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
