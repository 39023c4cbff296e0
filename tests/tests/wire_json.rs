//! The JSON of runs and approvals against what the reference really answered: same keys, same nulls, same types, same
//! values but for ids and times.

use kern::db::Db as _;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;
use kern::tools::{ToolHandle, UserControlFlowTools, UserFeedbackTools};
use kern_tests::recorded::{
    BEYOND, FRESH, delete_user_data, exchange, export_data, lookup, restart_service, run_external, send_email,
};
use kern_tests::recording;
use kern_tests::store::Store;
use serde_json::Value;

fn recording(name: &str) -> Value {
    exchange(name)["body"].take()
}

fn request(name: &str) -> String {
    exchange(name)["request"]["body"].as_str().expect("the request has a body").to_owned()
}

/// A recorded run. Intended: the instructions are the agent's and not in its runs, so that another build may word them
/// anew while a run is paused.
fn recorded_run(name: &str) -> Value {
    let mut run = recording(name);
    run["messages"].as_array_mut().expect("a run has messages").retain(|message| message["role"] != "system");
    run
}

fn differences(place: &str, recorded: &Value, found: &Value) -> Vec<String> {
    recording::differences(place, recorded, found, &|key, _, _| FRESH.contains(&key))
}

/// A recorded agent: its tool, the arguments' text as the recorded model wrote it, and the session of the recording.
struct Recorded {
    id: &'static str,
    tools: Vec<ToolHandle>,
    calls: Vec<(&'static str, &'static str)>,
    session: &'static str,
}

struct Played {
    store: Store,
    agent: Agent,
    run: RunOutput,
}

impl Recorded {
    fn new(id: &'static str, session: &'static str) -> Self {
        let (tools, calls) = match id {
            "dm" => (tools![delete_user_data], vec![("delete_user_data", r#"{"user_id": "u1"}"#)]),
            "aud" => (tools![export_data], vec![("export_data", r#"{"customer_id": "c1"}"#)]),
            "confirm" => (tools![restart_service], vec![("restart_service", r#"{"service_name": "web"}"#)]),
            "mail" => (tools![send_email], vec![("send_email", r#"{"subject": "hi"}"#)]),
            "ext" => (tools![run_external], vec![("run_external", r#"{"cmd": "ls"}"#)]),
            "multi" => (
                tools![delete_user_data, restart_service, export_data, lookup],
                vec![
                    ("lookup", r#"{"key": "k"}"#),
                    ("delete_user_data", r#"{"user_id": "u1"}"#),
                    ("restart_service", r#"{"service_name": "web"}"#),
                    ("delete_user_data", r#"{"user_id": "u2"}"#),
                    ("export_data", r#"{"customer_id": "c1"}"#),
                ],
            ),
            "feedback" => (
                vec![],
                vec![(
                    "ask_user",
                    r#"{"questions": [{"question": "Which?", "header": "Pick", "options": [{"label": "A", "description": "opt a"}, {"label": "B"}], "multi_select": false}]}"#,
                )],
            ),
            "form" => (
                vec![],
                vec![(
                    "get_user_input",
                    r#"{"user_input_fields": [{"field_name": "city", "field_type": "str", "field_description": "The city"}]}"#,
                )],
            ),
            other => panic!("no agent {other}"),
        };
        Self { id, tools, calls, session }
    }

    /// Plays the recorded model, which says what it was told of its calls.
    fn saying(self, told: &str) -> Saying {
        Saying { recorded: self, last: format!("ok | tool results: {told}") }
    }

    async fn play(self) -> Played {
        Saying { recorded: self, last: "ok".to_owned() }.play().await
    }
}

struct Saying {
    recorded: Recorded,
    last: String,
}

impl Saying {
    async fn play(self) -> Played {
        let Self { recorded: Recorded { id, tools, calls, session }, last } = self;
        let store = Store::new().await;
        let mut first = turn();
        for (place, (name, arguments)) in calls.iter().enumerate() {
            first = first.raw_tool_call(Some(&format!("call_0_{place}")), *name, *arguments);
        }
        let model = ScriptedModel::new([first, turn().text(last)]).id("fake-model").provider("Fake");
        let agent = Agent::builder().id(id).name(id.to_uppercase()).model(model).tools(tools);
        let agent = match id {
            "feedback" => agent.toolkit(UserFeedbackTools::new()),
            "form" => agent.toolkit(UserControlFlowTools::new()),
            _ => agent,
        };
        let agent = agent.db(store.db.clone()).build().expect("the agent is right");
        let run = agent.run("go").user_id("alice").session_id(session).await.expect("it pauses");
        assert!(run.is_paused());
        Played { store, agent, run }
    }
}

/// Takes kern's own fields away; each of them has to be there.
fn without_beyond(row: &impl serde::Serialize) -> Value {
    let mut row = serde_json::to_value(row).expect("a row is JSON");
    let fields = row.as_object_mut().expect("a row is an object");
    for name in BEYOND {
        assert!(fields.remove(*name).is_some(), "the row has no {name}");
    }
    row
}

async fn same_run(recorded: &str, agent: Recorded) {
    let played = agent.play().await;
    let found = serde_json::to_value(&played.run).expect("a run is JSON");
    assert_eq!(differences("run", &recorded_run(recorded), &found), [] as [&str; 0], "{recorded}");
    // What a client keeps and sends back is read as it was written, the recording's own bytes too.
    let read: RunOutput = serde_json::from_value(recorded_run(recorded)).expect("a recorded run is read");
    assert_eq!(
        differences("run", &recorded_run(recorded), &serde_json::to_value(&read).expect("a run is JSON")),
        [] as [&str; 0]
    );
    assert_eq!(read.active_requirements().count(), 1);
}

#[tokio::test]
async fn a_run_paused_for_a_confirmation_looks_as_recorded() {
    same_run("run_paused_confirm", Recorded::new("confirm", "s3")).await;
}

#[tokio::test]
async fn a_run_paused_for_an_approval_looks_as_recorded() {
    same_run("run_paused_required", Recorded::new("dm", "s1")).await;
}

#[tokio::test]
async fn a_run_paused_for_a_recorded_confirmation_looks_as_recorded() {
    same_run("run_paused_audit", Recorded::new("aud", "s5")).await;
}

#[tokio::test]
async fn a_run_paused_for_user_input_looks_as_recorded() {
    same_run("run_paused_user_input_required", Recorded::new("mail", "s6")).await;
}

#[tokio::test]
async fn a_run_paused_for_an_external_call_looks_as_recorded() {
    same_run("run_paused_external_required", Recorded::new("ext", "s7")).await;
}

#[tokio::test]
async fn a_run_paused_for_questions_looks_as_recorded() {
    same_run("run_paused_ask_user", Recorded::new("feedback", "s9")).await;
}

#[tokio::test]
async fn a_run_paused_for_a_form_of_the_model_looks_as_recorded() {
    same_run("run_paused_get_user_input", Recorded::new("form", "s8")).await;
}

#[tokio::test]
async fn an_approval_looks_as_recorded_before_and_after_its_decision() {
    let Played { store, run, .. } = Recorded::new("dm", "s1").play().await;
    let row = store.approvals(&run.run_id).await.remove(0);
    let none: [&str; 0] = [];
    assert_eq!(differences("row", &recording("approval_get"), &without_beyond(&row)), none);
    let listed = recording("approvals_list_pending");
    assert_eq!(differences("row", &listed["data"][0], &without_beyond(&row)), none);
    let yes = Resolution::approved().by("admin");
    let resolved = store.db.update_approval(&row.id, ApprovalStatus::Pending, yes).await.unwrap();
    assert_eq!(differences("row", &recording("resolve_approved"), &without_beyond(&resolved)), none);
}

#[tokio::test]
async fn approvals_of_forms_and_external_calls_look_as_the_resolved_ones_recorded() {
    // Intended: kern's row shows what is going to run, the reference's what the model asked for.
    let filled = r#"row.tool_args.to_address: not in the recording"#;
    for (agent, session, recorded, intended) in
        [("mail", "s6", "resolve_user_input", vec![filled]), ("ext", "s7", "resolve_external", vec![])]
    {
        let Played { store, agent, run } = Recorded::new(agent, session).play().await;
        let recorded = recording(recorded);
        let row = store.approvals(&run.run_id).await.remove(0);
        let yes = Resolution::approved().by("admin").data(recorded["resolution_data"].clone());
        let resolved = store.db.update_approval(&row.id, ApprovalStatus::Pending, yes).await.unwrap();
        assert_eq!(differences("row", &recorded, &without_beyond(&resolved)), intended);
        let run = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await.unwrap();
        assert_eq!(run.status, RunStatus::Completed);
    }
}

#[tokio::test]
async fn the_list_of_records_looks_as_recorded_but_names_who_asked_and_who_answered() {
    let Played { store, agent, run } = Recorded::new("aud", "s5").play().await;
    let mut run = run;
    run.active_requirements_mut().for_each(|requirement| requirement.confirm().unwrap());
    let run = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await.unwrap();
    assert_eq!(run.status, RunStatus::Completed);
    let page = store.db.list_approvals(ApprovalFilter::new().approval_type(kern::approval::ApprovalType::Audit));
    let page = page.await.unwrap();
    let recorded = recording("approvals_list_audit");
    let meta = serde_json::to_value(page.meta).unwrap();
    assert_eq!(differences("meta", &recorded["meta"], &meta), [] as [&str; 0]);
    // Intended: the reference's records do not say who asked and who answered.
    let intended = [r#"row.resolved_by: null became "alice""#, r#"row.user_id: null became "alice""#];
    assert_eq!(differences("row", &recorded["data"][0], &without_beyond(&page.data[0])), intended);
}

#[tokio::test]
async fn a_run_with_several_calls_looks_as_recorded_but_has_a_row_for_each_call() {
    let Played { store, run, .. } = Recorded::new("multi", "s10").play().await;
    let mut recorded = recording("run_paused_multi");
    // Intended: kern keeps the calls in the order the model asked for them, the reference puts plain ones last.
    let tools = recorded["tools"].as_array_mut().expect("the recording has calls");
    tools.sort_by_key(|tool| tool["tool_call_id"].to_string());
    // Intended: results become messages when every call of the turn has one, in call order. The reference says the plain
    // ones first.
    let message = recorded["messages"].as_array_mut().and_then(Vec::pop).expect("the recording has messages");
    assert_eq!((&message["role"], &message["content"]), (&json!("tool"), &json!("value of k")));
    let found = serde_json::to_value(&run).unwrap();
    assert_eq!(differences("run", &recorded, &found), [] as [&str; 0]);
    let rows = store.approvals(&run.run_id).await;
    let shown: Vec<_> = rows.iter().map(|row| row.tool_args.clone().unwrap()["user_id"].clone()).collect();
    assert_eq!(shown, ["u1", "u2"]);
    let ids: Vec<_> = run.tools.iter().map(|tool| tool.approval_id.clone()).collect();
    assert_eq!(ids, [None, Some(rows[0].id.clone()), None, Some(rows[1].id.clone()), None]);
}

/// What is meant to differ in runs that went on: the recordings, the end of the place and what became of it, and why.
const INTENDED: &[(&[&str], &[&str], &str)] = &[
    (ALL, &["run.events: missing"], "events are streamed"),
    (ALL, &[".metrics: missing"], "the reference measures each answer of the model, kern the run"),
    (GATED, &["run.metadata: missing"], "the approval is a row of the store, which the run names"),
    (
        GATED,
        &[
            "tool_execution.requires_confirmation: true became false",
            "tool_execution.requires_user_input: true became false",
            "tool_execution.external_execution_required: true became false",
            "tool_execution.tool_args.to_address: not in the recording",
            "tool_execution.result: null became",
            "tool_execution.tool_call_error: null became false",
        ],
        "the recorded requirement is a stale copy of the call, kern shows the same call in both places",
    ),
    (
        &["continue_external", "continue_get_user_input", "continue_ask_user"],
        &["tools[0].tool_call_error: null became false", "messages[2].tool_call_error: not in the recording"],
        "kern says of every outcome whether it is the normal one",
    ),
    (
        &["continue_get_user_input", "continue_ask_user"],
        &[
            "tools[0].result: null became \"User",
            "tool_execution.result: null became \"User",
            "tool_execution.tool_call_error: null became false",
        ],
        "what the user filled in is the result of the call, as of any other",
    ),
    (&["continue_ask_user"], &[".options[0].selected: false became true"], "an option that was chosen says so"),
    (
        &["continue_confirm_true", "continue_confirm_false", "continue_audit"],
        &[
            "requirements[0].confirmation: not in the recording",
            "requirements[0].confirmation_note: not in the recording",
        ],
        "the recorded client answered on the call alone, kern shows the answer in both places",
    ),
    (
        &["continue_confirm_false"],
        &["messages[2].content: \"not now\" became", "tools[0].result: null became"],
        "the model is told who said no, and the reason marked as data; what it is told is the result",
    ),
    (&["continue_audit"], &[".approval_id: null became"], "a call names its record"),
];

const GATED: &[&str] = &["continue_user_input", "continue_external", "continue_after_approved"];
const ALL: &[&str] = &[
    "continue_confirm_true",
    "continue_confirm_false",
    "continue_audit",
    "continue_user_input",
    "continue_external",
    "continue_get_user_input",
    "continue_ask_user",
    "continue_after_approved",
];

/// A run that waits, as in a recording of how it went on.
async fn before(recorded: &str) -> Played {
    let (agent, session, told) = match recorded {
        "continue_confirm_true" => ("confirm", "s3", "restarted web"),
        "continue_confirm_false" => ("confirm", "s4", "not now"),
        "continue_audit" => ("aud", "s5", "exported c1"),
        "continue_user_input" => ("mail", "s6", "sent hi to x@y.z"),
        "continue_external" => ("ext", "s7", "file1"),
        "continue_get_user_input" => ("form", "s8", r#"User inputs retrieved: [{"name": "city", "value": "Paris"}]"#),
        "continue_ask_user" => {
            ("feedback", "s9", r#"User feedback received: [{"question": "Which?", "selected": ["A"]}]"#)
        }
        "continue_after_approved" => ("dm", "s1", "deleted u1"),
        other => panic!("no recording {other}"),
    };
    Recorded::new(agent, session).saying(told).play().await
}

/// Holds a run that went on against its recording: what differs is meant to. Gives what does.
fn went_on_as_recorded(name: &str, run: &RunOutput) -> Vec<String> {
    let found = differences("run", &recorded_run(name), &serde_json::to_value(run).expect("a run is JSON"));
    let intended: Vec<&str> = INTENDED
        .iter()
        .filter(|(recordings, ..)| recordings.contains(&name))
        .flat_map(|(_, differences, _)| differences.iter().copied())
        .collect();
    let unexpected: Vec<&String> =
        found.iter().filter(|line| !intended.iter().any(|difference| line.contains(difference))).collect();
    assert!(unexpected.is_empty(), "{name}: {unexpected:#?}");
    found
}

#[tokio::test]
async fn runs_that_went_on_look_as_recorded_but_for_what_is_meant_to_differ() {
    let mut seen = Vec::new();
    for name in ALL {
        let Played { store, agent, mut run } = before(name).await;
        for requirement in run.active_requirements_mut() {
            if requirement.needs_user_feedback() {
                requirement.provide_user_feedback([("Which?", ["A"])]).unwrap();
            } else if requirement.needs_user_input() {
                let values = [("to_address", json!("x@y.z")), ("city", json!("Paris"))];
                requirement.provide_user_input(values).unwrap();
            } else if requirement.needs_external_execution() {
                requirement.set_external_execution_result("file1").unwrap();
            } else if *name == "continue_confirm_false" {
                requirement.reject("not now").unwrap();
            } else {
                requirement.confirm().unwrap();
            }
        }
        let go_on = || agent.continue_run(&run.run_id).requirements(run.requirements.clone()).user_id("alice");
        let run = match go_on().await {
            Err(error) if error.code() == "approval_pending" => {
                store.approve_all(&run.run_id).await;
                go_on().await.unwrap()
            }
            outcome => outcome.unwrap(),
        };
        assert_eq!(run.active_requirements().count(), 0, "{name}");
        went_on_as_recorded(name, &run);
        let stored = agent.get_run(&run.run_id).await.unwrap();
        seen.extend(went_on_as_recorded(name, &stored).into_iter().map(|line| (*name, line)));
    }
    for (recordings, differences, why) in INTENDED {
        for difference in *differences {
            let there = seen.iter().any(|(name, line)| recordings.contains(name) && line.contains(difference));
            assert!(there, "nothing differs any more in `{difference}` ({why})");
        }
    }
}

/// The calls that the recorded client sent back, as it sent them: a form field of a URL.
fn sent_back(name: &str) -> Value {
    let body = request(name);
    let field = body.split('&').find_map(|field| field.strip_prefix("tools=")).expect("the client sent calls");
    let mut bytes = Vec::new();
    let mut rest = field.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                let digits = std::str::from_utf8(&digits).expect("digits are ASCII");
                bytes.push(u8::from_str_radix(digits, 16).expect("it is a number"));
            }
            byte => bytes.push(byte),
        }
    }
    serde_json::from_slice(&bytes).expect("the client sent JSON")
}

#[tokio::test]
async fn what_the_recorded_clients_sent_back_is_understood() {
    let answered_on_the_call = [
        "continue_confirm_true",
        "continue_confirm_false",
        "continue_audit",
        "continue_get_user_input",
        "continue_ask_user",
    ];
    for name in answered_on_the_call {
        let Played { store: _store, agent, run } = before(name).await;
        let sent = sent_back(name);
        let [call] = sent.as_array().map(Vec::as_slice).expect("the client sent a list") else {
            panic!("{name}: one call")
        };
        let requirement: RunRequirement = serde_json::from_value(json!({ "tool_execution": call })).unwrap();
        let run = agent.continue_run(&run.run_id).requirements([requirement]).user_id("alice").await.unwrap();
        went_on_as_recorded(name, &run);
    }
}
