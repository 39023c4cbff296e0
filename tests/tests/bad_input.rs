//! What a model, a tool or a client may send: an answer each, never a panic, never a row for a call that cannot run.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kern::db::Db as _;
use kern::models::{Model, ModelError, ModelFuture, ModelReply, ModelRequest, ModelToolCall, ScriptedModel, turn};
use kern::prelude::*;
use kern::tools::{ArgumentError, Arguments, Tool, ToolCall, ToolDescriptor, ToolFuture, ToolOutput, ToolPolicy};
use kern_tests::folder::unique;
use kern_tests::gates::gate;
use kern_tests::ledger;
use kern_tests::store::{Store, code, one_call, told};
use kern_tests::tools::{delete_user, erase_user, lookup, mail, refund, restart, wait_plain};
use serde_json::Value;

const NOTHING: [&str; 0] = [];

/// Lets a model ask for one call as it likes, then stop; gives what it was told and the store.
async fn asked(name: &str, arguments: &str) -> (Store, RunOutput) {
    let store = Store::new().await;
    let turns = [turn().raw_tool_call(Some("c"), name, arguments), turn().text("sorry")];
    let agent =
        store.agent(tools![erase_user, delete_user, restart, mail, refund], turns).build().expect("the agent is right");
    let run = agent.run("go").user_id("alice").await.expect("it starts");
    (store, run)
}

/// I14: no human was shown anything, and nothing ran.
async fn refused(name: &str, arguments: &str, expected: &str) {
    let (store, run) = asked(name, arguments).await;
    let shown: String = arguments.chars().take(60).collect();
    assert_eq!(run.status, RunStatus::Completed, "{name} {shown}");
    assert_eq!(run.content(), "sorry");
    assert!(told(&run)[0].contains(expected), "{name} {shown}: {:.300}", told(&run)[0]);
    assert_eq!(run.tools[0].tool_call_error, Some(true));
    assert!(run.requirements.is_empty());
    for table in ["calls", "approvals", "executions", "votes"] {
        assert_eq!(store.count(table), 0, "{table} after {name} {shown}");
    }
}

#[tokio::test]
async fn arguments_that_stand_for_no_call_are_an_error_for_the_model() {
    for (arguments, expected) in [
        ("{", "not usable JSON"),
        ("{\"user_id\": \"u1\"", "not usable JSON"),
        ("{'user_id': 'u1'}", "not usable JSON"),
        ("{\"user_id\": \"u1\"} and more", "not usable JSON"),
        ("user u1", "not usable JSON"),
        ("\"u1\"", "not a JSON object"),
        ("[\"u1\"]", "not a JSON object"),
        ("17", "not a JSON object"),
        ("", "/user_id: missing"),
        ("null", "/user_id: missing"),
        ("{}", "/user_id: missing"),
        ("{\"user_id\": null}", "/user_id: invalid type: null"),
        ("{\"user_id\": 7}", "/user_id: invalid type: integer"),
        ("{\"user_id\": [\"u1\"]}", "/user_id: invalid type: sequence"),
        ("{\"user\": \"u1\"}", "/user: unknown argument"),
        ("{\"user_id\": \"u1\", \"force\": true}", "/force: unknown argument"),
        ("{\"user_id\": \"u1\", \"user_id\": \"u2\"}", "given twice"),
        ("{\"user_id\": \"u1\", \"\\u0075ser_id\": \"u2\"}", "given twice"),
        ("{\"user_id\": NaN}", "not usable JSON"),
        ("{\"user_id\": Infinity}", "not usable JSON"),
        ("{\"user_id\": 1e999}", "not usable JSON"),
        ("{\"user_id\": 9007199254740993}", "send it as a string"),
        ("{\"user_id\": -9007199254740993}", "send it as a string"),
        ("{\"user_id\": 99999999999999999999}", "send it as a string"),
        ("{\"user_id\": \"\\ud800\"}", "not usable JSON"),
        ("{\"user_id\": \"\\udc00\\ud800\"}", "not usable JSON"),
        ("{\"user_id\": \"a\nb\"}", "not usable JSON"),
        ("\u{feff}{\"user_id\": \"u1\"}", "not usable JSON"),
    ] {
        for tool in ["delete_user", "erase_user"] {
            refused(tool, arguments, expected).await;
        }
    }
    for (tool, arguments, expected) in [
        ("refund", "{\"cents\": 200.5}", "/cents: invalid type: floating point"),
        ("refund", "{\"cents\": -1}", "/cents: invalid value"),
        ("refund", "{\"cents\": \"200\"}", "/cents: invalid type: string"),
        ("refund", "{\"cents\": 18446744073709551615}", "send it as a string"),
        ("mail", "{\"subject\": \"s\", \"to\": \"a@b\"}", "/to: the user fills this in"),
        ("mail", "{\"subject\": \"s\", \"copies\": 256}", "/copies: invalid value"),
        ("nobody", "{}", "There is no tool `nobody`"),
        ("", "{}", "There is no tool ``"),
        ("delete_user ", "{\"user_id\": \"u1\"}", "There is no tool `delete_user `"),
        ("DELETE_USER", "{\"user_id\": \"u1\"}", "There is no tool `DELETE_USER`"),
    ] {
        refused(tool, arguments, expected).await;
    }
}

#[tokio::test]
async fn large_and_deep_arguments_are_an_error_for_the_model() {
    let large = format!("{{\"user_id\": \"{}\"}}", "u".repeat(10 << 20));
    refused("delete_user", &large, "65536 are allowed").await;
    let deep = format!("{{\"user_id\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    refused("delete_user", &deep, "nested deeper than 64").await;
    let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    refused("delete_user", &objects, "nested deeper than 64").await;
}

#[tokio::test]
async fn what_was_refused_for_its_size_is_not_kept_and_not_sent_again() {
    let large = format!("{{\"user_id\": \"{}\"}}", "u".repeat(10 << 20));
    let (store, run) = asked("delete_user", &large).await;
    let kept = serde_json::to_string(&run).unwrap();
    assert!(kept.len() < 64 * 1024, "{} bytes are kept", kept.len());
    let snapshot: i64 = store.raw().query_row("SELECT length(snapshot) FROM kern_runs", (), |row| row.get(0)).unwrap();
    assert!(snapshot < 64 * 1024, "{snapshot} bytes are stored");
    // So is a name as long as a book.
    let (store, run) = asked(&"x".repeat(10 << 20), "{}").await;
    assert!(told(&run)[0].contains("There is no tool"), "{:.100}", told(&run)[0]);
    let snapshot: i64 = store.raw().query_row("SELECT length(snapshot) FROM kern_runs", (), |row| row.get(0)).unwrap();
    assert!(snapshot < 64 * 1024, "{snapshot} bytes are stored");
}

#[tokio::test]
async fn the_limit_of_arguments_is_the_agents() {
    let store = Store::new().await;
    let agent = store.agent(tools![delete_user], one_call("delete_user", json!({ "user_id": "u".repeat(100) })));
    let run = agent.argument_limit(64).build().unwrap().run("go").await.unwrap();
    assert!(told(&run)[0].contains("64 are allowed"), "{:?}", told(&run));
    let agent = store.agent(tools![delete_user], one_call("delete_user", json!({ "user_id": "u".repeat(100) })));
    assert!(agent.argument_limit(128).build().unwrap().run("go").await.unwrap().is_paused());
}

#[tokio::test]
async fn the_ids_of_calls_are_kerns_where_the_models_are_no_use() {
    let store = Store::new().await;
    let arguments = r#"{"user_id":"u1"}"#;
    let first = turn()
        .raw_tool_call(None, "delete_user", arguments)
        .raw_tool_call(Some(""), "delete_user", arguments)
        .raw_tool_call(Some("same"), "delete_user", arguments)
        .raw_tool_call(Some("same"), "delete_user", r#"{"user_id":"u2"}"#)
        .raw_tool_call(Some("kern_0_0"), "delete_user", arguments);
    let agent = store.agent(tools![delete_user], [first, turn().text("ok")]).build().unwrap();
    let session = unique("session");
    let run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
    let rows = store.approvals(&run.run_id).await;
    assert_eq!(rows.iter().map(|row| row.tool_call_id.as_str()).collect::<Vec<_>>(), ["kern_0_0", "kern_0_1", "same"]);
    store.approve_all(&run.run_id).await;
    let run = agent.continue_run(&run.run_id).await.unwrap();
    assert_eq!(ledger::of(&session), ["delete u1"; 3]);
    let twice = |id: &str| format!("The tool call id `{id}` is given twice in this turn: give each call its own");
    assert_eq!(told(&run)[3..], [twice("same"), twice("kern_0_0")]);
}

#[tokio::test]
async fn a_turn_with_refused_and_good_calls_pauses_for_the_good_ones() {
    let store = Store::new().await;
    let first = turn()
        .raw_tool_call(Some("a"), "delete_user", "{")
        .raw_tool_call(Some("b"), "delete_user", r#"{"user_id":"u1"}"#)
        .raw_tool_call(Some("c"), "nobody", "{}");
    let agent = store.agent(tools![delete_user], [first, turn().text("ok")]).build().unwrap();
    let run = agent.run("go").user_id("alice").await.unwrap();
    assert_eq!((run.requirements.len(), store.count("approvals")), (1, 1));
    store.approve_all(&run.run_id).await;
    let run = agent.continue_run(&run.run_id).await.unwrap();
    let told = told(&run);
    assert!(told[0].contains("not usable JSON") && told[1] == "deleted u1" && told[2].contains("no tool"), "{told:?}");
}

/// A number that is read in one of two ways.
#[derive(Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(untagged)]
enum Sum {
    Whole(u64),
    Part(f64),
}

/// Pay a sum. Whole sums need an administrator.
#[approval(when = matches!(sum, Sum::Whole(_)))]
#[tool(requires_user_input)]
async fn pay(sum: Sum, ctx: &RunContext) -> String {
    ledger::enter(ctx, json!(sum).to_string());
    json!(sum).to_string()
}

#[tokio::test]
async fn the_condition_is_asked_about_the_very_value_that_runs() {
    // `1000.0` and `1000` are one number in canonical JSON, and so they are for the condition.
    for text in ["1000", "1000.0", "1e3", "1000.00"] {
        let store = Store::new().await;
        let turns = [turn().raw_tool_call(Some("c"), "pay", format!("{{\"sum\": {text}}}")), turn().text("ok")];
        let agent = store.agent(tools![pay], turns).build().unwrap();
        let session = unique("session");
        let mut run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
        run.active_requirements_mut().for_each(|form| form.provide_user_input([] as [(&str, Value); 0]).unwrap());
        let outcome = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await;
        assert_eq!(code(outcome), "approval_pending", "{text}");
        assert_eq!(ledger::of(&session), NOTHING, "{text}");
    }
    // A user who writes it so gets past nothing either.
    let store = Store::new().await;
    let turns = [turn().tool_call("pay", json!({ "sum": 0.5 })), turn().text("ok")];
    let agent = store.agent(tools![pay], turns).build().unwrap();
    let mut run = agent.run("go").user_id("alice").await.unwrap();
    run.active_requirements_mut().for_each(|form| form.provide_user_input([("sum", json!(1000.0))]).unwrap());
    let outcome = agent.continue_run(&run.run_id).requirements(run.requirements).user_id("alice").await;
    assert_eq!(code(outcome), "invalid_answer");
}

#[tokio::test]
async fn a_users_values_are_bounded_as_the_models_are() {
    let store = Store::new().await;
    let agent = store.agent(tools![mail], one_call("mail", json!({ "subject": "s" }))).build().unwrap();
    let run = agent.run("go").user_id("alice").await.unwrap();
    for (to, expected) in [("a".repeat(70_000), Err("invalid_answer")), ("a".repeat(60_000), Ok(RunStatus::Completed))]
    {
        let mut requirements = run.requirements.clone();
        requirements[0].provide_user_input([("to", json!(to))]).unwrap();
        let outcome = agent.continue_run(&run.run_id).requirements(requirements).user_id("alice").await;
        assert_eq!(outcome.map(|run| run.status).map_err(|error| error.code()), expected);
    }
}

/// What a model answers.
type Answer = fn() -> Result<ModelReply, ModelError>;

/// A model that does one of the things a client can do wrong.
struct Misbehaving {
    script: ScriptedModel,
    at: usize,
    how: Answer,
}

impl Model for Misbehaving {
    fn id(&self) -> &str {
        "misbehaving"
    }

    fn provider(&self) -> &str {
        "Nobody"
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        let played = request.messages.iter().filter(|message| message.role == kern::run::Role::Assistant).count();
        if played == self.at {
            return Box::pin(async { (self.how)() });
        }
        self.script.respond(request)
    }
}

const MISTAKES: [(&str, Answer); 3] = [
    ("model_rate_limited", || {
        let (provider, message) = ("Nobody".to_owned(), "slow down".to_owned());
        Err(ModelError::Status { provider, status: 429, message, provider_code: None, retry_after: None })
    }),
    ("model_invalid_reply", || {
        let (provider, message) = ("Nobody".to_owned(), "cut short".to_owned());
        Err(ModelError::InvalidReply { provider, message })
    }),
    ("model_invalid_reply", || panic!("a bug in the client")),
];

#[tokio::test]
async fn a_model_that_fails_in_the_first_turn_ends_the_run_with_an_error() {
    for (expected, how) in MISTAKES {
        let store = Store::new().await;
        let model = Misbehaving { script: ScriptedModel::new([]), at: 0, how };
        let agent = store.agent(tools![delete_user], []).model(model).build().unwrap();
        assert_eq!(code(agent.run("go").await), expected);
        let run = agent.get_run(store.only_run().await).await.unwrap();
        assert_eq!(run.status, RunStatus::Error);
        assert!(!run.content().is_empty());
        assert_eq!(code(agent.continue_run(run.run_id).await), "not_paused");
        assert_eq!(store.count("approvals"), 0);
    }
}

#[tokio::test]
async fn a_model_that_fails_after_an_approved_call_loses_no_result() {
    for (expected, how) in MISTAKES {
        let store = Store::new().await;
        let script = ScriptedModel::new(one_call("delete_user", json!({ "user_id": "u1" })));
        let agent = store.agent(tools![delete_user], []).model(Misbehaving { script, at: 1, how }).build().unwrap();
        let session = unique("session");
        let run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
        store.approve_all(&run.run_id).await;
        assert_eq!(code(agent.continue_run(&run.run_id).await), expected);
        let run = agent.get_run(&run.run_id).await.unwrap();
        assert_eq!(run.status, RunStatus::Error);
        assert_eq!((told(&run), run.tools[0].result.as_deref()), (vec!["deleted u1".to_owned()], Some("deleted u1")));
        assert_eq!(store.states(&run.run_id).await, ["succeeded"]);
        assert_eq!(code(agent.continue_run(&run.run_id).await), "not_paused");
        assert!(agent.resume_decided_runs().await.unwrap().is_empty());
        assert_eq!(ledger::of(&session), ["delete u1"]);
    }
}

#[tokio::test]
async fn a_model_that_answers_with_nothing_ends_the_run() {
    let store = Store::new().await;
    let model = Misbehaving { script: ScriptedModel::new([]), at: 0, how: || Ok(ModelReply::default()) };
    let run = store.agent(tools![delete_user], []).model(model).build().unwrap().run("go").await.unwrap();
    assert_eq!((run.status, run.content()), (RunStatus::Completed, ""));
}

#[tokio::test]
async fn a_thousand_calls_in_one_turn_are_a_thousand_questions_at_the_most() {
    let store = Store::new().await;
    fn many() -> Result<ModelReply, ModelError> {
        let call = |place: u32| {
            ModelToolCall::new(Some(format!("c{place}")), "delete_user", format!("{{\"user_id\":\"u{place}\"}}"))
        };
        let mut reply = ModelReply::default();
        reply.tool_calls = (0..1000).map(call).collect();
        Ok(reply)
    }
    let model = Misbehaving { script: ScriptedModel::new([turn(), turn().text("ok")]), at: 0, how: many };
    let agent = store.agent(tools![delete_user], []).model(model).build().unwrap();
    let run = agent.run("go").user_id("alice").await.unwrap();
    assert_eq!((run.requirements.len(), store.count("approvals")), (1000, 1000));
    assert_eq!(code(agent.continue_run(&run.run_id).await), "approval_pending");
    let run = agent.cancel_run(&run.run_id).await.unwrap();
    assert_eq!(run.status, RunStatus::Cancelled);
    assert_eq!(store.db.count_pending_approvals().await.unwrap(), 0);
}

/// A tool by hand, which fails in one of its own methods.
struct Handmade {
    descriptor: ToolDescriptor,
    panics_in: &'static str,
    entered: Arc<AtomicUsize>,
}

impl Handmade {
    fn new(panics_in: &'static str) -> (Self, Arc<AtomicUsize>) {
        let policy = ToolPolicy::new(None, Some(kern::tools::ApprovalPolicy::Required));
        let schema = json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": false });
        let descriptor = ToolDescriptor::new("handmade", "By hand.", schema).policy(policy);
        let entered = Arc::new(AtomicUsize::new(0));
        (Self { descriptor, panics_in, entered: Arc::clone(&entered) }, entered)
    }
}

impl Tool for Handmade {
    fn descriptor(&self) -> &ToolDescriptor {
        &self.descriptor
    }

    fn check(&self, _: &Arguments, _: &[String]) -> Result<(), Vec<ArgumentError>> {
        assert!(self.panics_in != "check", "the check panics");
        Ok(())
    }

    fn approval_needed(&self, _: &Arguments) -> bool {
        assert!(self.panics_in != "approval_needed", "the condition panics");
        self.panics_in != "nothing needed"
    }

    fn call(&self, _: ToolCall) -> ToolFuture {
        self.entered.fetch_add(1, Ordering::SeqCst);
        assert!(self.panics_in != "call", "making the future panics");
        Box::pin(async { Ok(ToolOutput::new("done")) })
    }
}

/// An answer of a few megabytes has room for a hundred thousand calls.
#[tokio::test]
async fn more_calls_in_one_answer_than_anybody_means_are_no_answer() {
    let session = unique("session");
    let store = Store::new().await;
    let script = |calls: usize| {
        let all = (0..calls).fold(turn(), |turn, _| turn.tool_call("lookup", json!({ "key": "k" })));
        [all, turn().text("ok")]
    };
    let agent = store.agent(tools![lookup], script(1025)).build().unwrap();
    let error = agent.run("go").session_id(&session).await.map(drop).expect_err("it is refused");
    assert_eq!(error.code(), "model_invalid_reply");
    assert!(error.to_string().contains("1025 calls"), "{error}");
    assert_eq!(ledger::of(&session), NOTHING);
    let agent = store.agent(tools![lookup], script(100_000)).build().unwrap();
    assert_eq!(code(agent.run("go").session_id(&session).await.map(drop)), "model_invalid_reply");

    let agent = store.agent(tools![lookup], script(1024)).build().unwrap();
    let run = agent.run("go").session_id(&session).await.unwrap();
    assert_eq!((run.status, ledger::of(&session).len()), (RunStatus::Completed, 1024));
}

#[tokio::test]
async fn a_tool_by_hand_is_held_to_its_policy_and_its_panics_are_its_own() {
    for (panics_in, pauses) in [("check", false), ("approval_needed", true), ("call", true), ("nowhere", true)] {
        let store = Store::new().await;
        let (tool, entered) = Handmade::new(panics_in);
        let agent = store.agent(vec![], one_call("handmade", json!({}))).tool(tool).build().unwrap();
        let run = agent.run("go").user_id("alice").await.unwrap();
        assert_eq!(run.is_paused(), pauses, "{panics_in}");
        assert_eq!(entered.load(Ordering::SeqCst), 0, "{panics_in}");
        if !pauses {
            assert!(told(&run)[0].contains("could not be checked"), "{:?}", told(&run));
            assert_eq!(store.count("approvals"), 0);
            continue;
        }
        assert_eq!(code(agent.continue_run(&run.run_id).await), "approval_pending", "{panics_in}");
        store.approve_all(&run.run_id).await;
        let run = agent.continue_run(&run.run_id).await.unwrap();
        assert_eq!(entered.load(Ordering::SeqCst), 1, "{panics_in}");
        let expected = if panics_in == "call" { RunStatus::Paused } else { RunStatus::Completed };
        assert_eq!(run.status, expected, "{panics_in}");
    }
}

/// Rows that another program has spoilt.
#[tokio::test]
async fn a_spoilt_row_is_refused_with_a_code() {
    for (spoil, expected) in [
        ("UPDATE kern_runs SET snapshot = '{}'", "store_corrupt"),
        ("UPDATE kern_runs SET snapshot = 'nothing'", "store_corrupt"),
        ("UPDATE kern_runs SET snapshot = replace(snapshot, '\"format\":1', '\"format\":2')", "store_corrupt"),
        ("UPDATE kern_runs SET snapshot = snapshot || ' '", "digest_mismatch"),
        ("UPDATE kern_calls SET policy = 'nothing'", "store_corrupt"),
        ("UPDATE kern_calls SET unfilled = 'nothing'", "store_corrupt"),
        ("UPDATE kern_approvals SET tool_args = 'nothing'", "store_corrupt"),
        ("UPDATE kern_approvals SET requester = 'nothing'", "store_corrupt"),
        ("UPDATE kern_executions SET status = 'readyy'", "store_corrupt"),
        // Ready by its row and started by its row, and the audit log knows of no start.
        ("UPDATE kern_executions SET owner = 17, attempt = 1", "digest_mismatch"),
    ] {
        let store = Store::new().await;
        let agent =
            store.agent(tools![delete_user], one_call("delete_user", json!({ "user_id": "u1" }))).build().unwrap();
        let session = unique("session");
        let run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
        store.approve_all(&run.run_id).await;
        let raw = store.raw();
        raw.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
        let triggers: Vec<String> = raw
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            .and_then(|mut names| names.query_map((), |row| row.get(0))?.collect())
            .unwrap();
        triggers.iter().for_each(|name| raw.execute_batch(&format!("DROP TRIGGER {name}")).unwrap());
        raw.execute_batch(spoil).unwrap();
        assert_eq!(code(agent.continue_run(&run.run_id).await), expected, "{spoil}");
        let worker = agent.resume_decided_runs().await;
        assert!(worker.is_err() || worker.unwrap().into_iter().all(|run| run.is_err() || run.unwrap().attention));
        assert_eq!(ledger::of(&session), NOTHING, "{spoil}");
    }
}

#[tokio::test]
async fn no_text_is_too_strange_for_a_run() {
    let strange = ["", "\0", "\u{202e}abc\u{200b}", "'; DROP TABLE kern_runs; --", "\u{10ffff}", "{\"a\":1}"];
    for text in strange {
        let store = Store::new().await;
        let agent = store.agent(tools![erase_user, lookup], one_call("erase_user", json!({ "user_id": text })));
        let agent = agent.name(text).instructions(text).build().unwrap();
        let session = unique("session");
        if text.is_empty() {
            assert_eq!(code(agent.run(text).user_id(text).session_id(&session).await), "invalid_principal");
        }
        let user = if text.is_empty() { "ann" } else { text };
        let run = agent.run(text).user_id(user).session_id(&session).await.unwrap();
        assert!(run.is_paused(), "{text:?}");
        assert_eq!(run.input.input_content, text);
        let row = store.approvals(&run.run_id).await.remove(0);
        assert_eq!(row.tool_args.unwrap()["user_id"], text);
        let yes = Resolution::approved().by("admin").note(text);
        store.db.update_approval(&row.id, ApprovalStatus::Pending, yes).await.unwrap();
        let run = agent.continue_run(&run.run_id).user_id(user).await.unwrap();
        assert_eq!(told(&run), [format!("erased {text}")]);
        store.actions(&run.run_id).await;
    }
}

#[tokio::test]
async fn answers_that_come_after_the_run_went_on_run_nothing_and_lose_nothing() {
    let store = Store::new().await;
    let agent = store.agent(tools![restart], one_call("restart", json!({ "service": "web" }))).build().unwrap();
    let session = unique("session");
    let mut run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
    run.requirements[0].confirm().unwrap();
    let answer = || agent.continue_run(&run.run_id).requirements(run.requirements.clone()).user_id("alice");
    let done = answer().await.unwrap();
    assert_eq!((done.status, told(&done)), (RunStatus::Completed, vec!["restarted web".to_owned()]));
    // The same answer, another one, and one for what was never asked: the run is over.
    assert_eq!(code(answer().await), "not_paused");
    let mut other = run.requirements.clone();
    other[0] = serde_json::from_value(json!({
        "id": other[0].id,
        "confirmation": false,
        "tool_execution": { "tool_call_id": "call_0_0", "tool_name": "restart", "confirmed": false },
    }))
    .unwrap();
    assert_eq!(code(agent.continue_run(&run.run_id).requirements(other).user_id("alice").await), "not_paused");
    assert_eq!(agent.get_run(&run.run_id).await.unwrap(), done);
    assert_eq!(
        (ledger::of(&session), store.states(&run.run_id).await),
        (vec!["restart web".to_owned()], vec!["succeeded"])
    );
}

#[tokio::test]
async fn answers_to_a_run_that_is_being_driven_are_told_so() {
    let store = Store::new().await;
    let script = [
        turn().tool_call("restart", json!({ "service": "web" })),
        turn().tool_call("wait_plain", json!({ "key": "k" })),
        turn().text("ok"),
    ];
    let agent = store.agent(tools![restart, wait_plain], script).build().unwrap();
    let session = unique("session");
    let mut run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
    run.requirements[0].confirm().unwrap();
    let answer = || agent.continue_run(&run.run_id).requirements(run.requirements.clone()).user_id("alice");
    let running = tokio::spawn(answer().into_future());
    gate(&session).arrival().await;
    assert_eq!(code(answer().await), "already_running");
    gate(&session).open();
    assert_eq!(running.await.unwrap().unwrap().status, RunStatus::Completed);
    assert_eq!(ledger::of(&session), ["restart web", "wait_plain k"]);
}

#[tokio::test]
async fn an_answer_given_twice_at_once_counts_once() {
    let store = Store::new().await;
    let agent = store.agent(tools![restart], one_call("restart", json!({ "service": "web" }))).build().unwrap();
    let session = unique("session");
    let mut run = agent.run("go").user_id("alice").session_id(&session).await.unwrap();
    run.requirements[0].confirm().unwrap();
    let twice = [run.requirements.clone(), run.requirements.clone()].concat();
    let run = agent.continue_run(&run.run_id).requirements(twice).user_id("alice").await.unwrap();
    assert_eq!((run.status, ledger::of(&session)), (RunStatus::Completed, vec!["restart web".to_owned()]));
    assert_eq!(store.count_actions(&run.run_id, "confirmed").await, 1);
}

#[tokio::test]
async fn a_reader_of_events_that_stops_reading_keeps_no_pause_from_being_durable() {
    let store = Store::new().await;
    let agent = store.agent(tools![delete_user], one_call("delete_user", json!({ "user_id": "u1" }))).build().unwrap();
    let mut events = agent.run("go").user_id("alice").stream();
    let started = events.next().await.unwrap().unwrap();
    let run_id = started.base().run_id.clone();
    for _ in 0..2000 {
        if store.db.get_run(&run_id).await.unwrap().status == RunStatus::Paused {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // Never read again, and still open: the run waits for people, not for the reader.
    store.approve_all(&run_id).await;
    let run = agent.continue_run(&run_id).user_id("alice").await.unwrap();
    assert_eq!((run.status, store.states(&run_id).await), (RunStatus::Completed, vec!["succeeded"]));
    drop(events);
}

#[tokio::test]
async fn two_runs_of_a_session_that_wait_at_once_are_decided_each_by_itself() {
    let store = Store::new().await;
    let agent = store.agent(tools![delete_user], one_call("delete_user", json!({ "user_id": "u1" }))).build().unwrap();
    let session = unique("session");
    let start = || agent.run("go").user_id("alice").session_id(&session).into_future();
    let (one, two) = (tokio::spawn(start()), tokio::spawn(start()));
    let (one, two) = (one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    // The requirement of one sent to the other decides nothing there.
    store.approve_all(&one.run_id).await;
    let swapped = agent.continue_run(&two.run_id).requirements(one.requirements.clone()).user_id("alice").await;
    assert!(["approval_pending", "requirement_mismatch", "invalid_answer"].contains(&code(swapped)));
    assert_eq!(ledger::of(&session), NOTHING);
    let one = agent.continue_run(&one.run_id).user_id("alice").await.unwrap();
    assert_eq!((one.status, ledger::of(&session)), (RunStatus::Completed, vec!["delete u1".to_owned()]));
    assert_eq!(code(agent.continue_run(&two.run_id).user_id("alice").await), "approval_pending");
    agent.cancel_run(&two.run_id).await.unwrap();
    assert_eq!(ledger::of(&session), ["delete u1"]);
}

#[tokio::test]
async fn no_number_of_tokens_is_too_large() {
    let store = Store::new().await;
    let script = [
        turn().tool_call("lookup", json!({ "key": "k" })).usage(u64::MAX, u64::MAX),
        turn().text("ok").usage(1, u64::MAX),
    ];
    let run = store.agent(tools![lookup], script).build().unwrap().run("go").await.unwrap();
    assert_eq!((run.status, run.metrics.input_tokens), (RunStatus::Completed, u64::MAX));
}

#[tokio::test]
async fn an_agent_whose_model_may_not_answer_is_refused() {
    let refused = Agent::builder().model(kern::models::ScriptedModel::new([])).max_turns(0).build().unwrap_err();
    assert_eq!(refused.code(), "setup");
    assert!(refused.to_string().contains("max_turns(0)"), "{refused}");
}
