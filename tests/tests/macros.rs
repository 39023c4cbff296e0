//! What the attributes make of a function: its descriptor, its check of arguments, its policy, its `when`.
//!
//! With clippy's pedantic lints on, to show that they say nothing of generated code.
#![warn(clippy::pedantic)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kern::db::InMemoryDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;
use kern::tools::{
    ApprovalPolicy, ApprovalRules, Arguments, Effect, PauseType, ToolDescriptor, ToolHandle, ToolOptions, ToolPolicy,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Gives a tool as the trait's methods need it.
macro_rules! one {
    ($tool:path) => {
        <$tool as Default>::default()
    };
}

fn arguments(value: Value) -> Arguments {
    match value {
        Value::Object(arguments) => arguments,
        other => panic!("not an object: {other}"),
    }
}

fn descriptor(tools: Vec<ToolHandle>) -> ToolDescriptor {
    let [tool] = tools.try_into().expect("one tool");
    tool.descriptor().clone()
}

fn problems(tool: &impl kern::tools::Tool, value: Value, unfilled: &[&str]) -> Vec<(String, String)> {
    let unfilled: Vec<String> = unfilled.iter().map(|&name| name.to_owned()).collect();
    let errors = tool.check(&arguments(value), &unfilled).err().unwrap_or_default();
    errors.into_iter().map(|error| (error.pointer, error.message)).collect()
}

/// Money in cents.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Money {
    cents: i64,
    currency: Currency,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
enum Currency {
    Eur,
    Usd,
}

/// Refund a payment.
///
///     Indented text stays indented.
#[tool]
async fn refund(
    /// Id of the payment.
    payment: String,
    amount: Money,
    /// What the customer
    /// is told.
    note: Option<String>,
    r#type: u8,
    ctx: &RunContext,
) -> String {
    let _ = (payment, amount.cents, amount.currency, note, r#type);
    ctx.tool_name.clone()
}

/// Says nothing.
#[tool(name = "say-nothing", version = "7")]
fn nothing() {}

#[test]
fn the_schema_says_everything_and_closes_the_object() {
    let descriptor = descriptor(tools![refund]);
    assert_eq!(descriptor.name, "refund");
    assert_eq!(descriptor.description, "Refund a payment.\n\n    Indented text stays indented.");
    assert_eq!(
        descriptor.parameters,
        json!({
            "type": "object",
            "properties": {
                "payment": { "type": "string", "description": "Id of the payment." },
                "amount": { "$ref": "#/$defs/Money" },
                "note": { "type": ["string", "null"], "description": "What the customer\nis told." },
                "type": { "type": "integer", "format": "uint8", "minimum": 0, "maximum": 255 },
            },
            "required": ["payment", "amount", "type"],
            "additionalProperties": false,
            "$defs": {
                "Money": {
                    "type": "object",
                    "description": "Money in cents.",
                    "properties": {
                        "cents": { "type": "integer", "format": "int64" },
                        "currency": { "$ref": "#/$defs/Currency" },
                    },
                    "required": ["cents", "currency"],
                },
                "Currency": { "type": "string", "enum": ["Eur", "Usd"] },
            },
        })
    );
}

#[test]
fn a_tool_without_parameters_has_a_closed_empty_object() {
    let descriptor = descriptor(tools![nothing]);
    assert_eq!(descriptor.name, "say-nothing");
    assert_eq!(descriptor.description, "Says nothing.");
    let empty = json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": false });
    assert_eq!(descriptor.parameters, empty);
}

#[test]
fn the_version_is_the_written_one_or_one() {
    assert_eq!(descriptor(tools![nothing]).version, "7");
    assert_eq!(descriptor(tools![refund]).version, "1");
}

#[test]
fn a_check_accepts_what_the_body_can_take() {
    let money = json!({ "cents": 1, "currency": "Eur" });
    let refund = one!(refund);
    assert_eq!(problems(&refund, json!({ "payment": "p", "amount": money, "type": 1 }), &[]), []);
    assert_eq!(problems(&refund, json!({ "payment": "p", "amount": money, "type": 1, "note": null }), &[]), []);
    assert_eq!(problems(&one!(nothing), json!({}), &[]), []);
}

#[test]
fn a_check_names_every_problem_at_once() {
    let value = json!({ "payment": 3, "amount": { "cents": "1" }, "note": false, "no/such~one": 1 });
    let problems = problems(&one!(refund), value, &[]);
    let pointers: Vec<&str> = problems.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(pointers, ["/payment", "/amount/cents", "/note", "/type", "/no~1such~0one"]);
    assert_eq!(problems[0].1, "invalid type: integer `3`, expected a string");
    assert_eq!(problems[1].1, "invalid type: string \"1\", expected i64");
    assert_eq!(problems[2].1, "invalid type: boolean `false`, expected a string");
    assert_eq!(problems[3].1, "missing, the argument is required");
    assert_eq!(problems[4].1, "unknown argument, the tool has no such parameter");
}

#[test]
fn what_the_user_still_fills_may_be_absent_but_not_wrong() {
    let send = one!(send);
    assert_eq!(problems(&send, json!({ "subject": "s" }), &["to"]), []);
    assert_eq!(problems(&send, json!({ "subject": "s" }), &[]).len(), 1);
    assert_eq!(problems(&send, json!({ "subject": "s", "to": 1 }), &["to"])[0].0, "/to");
}

/// Send a letter.
#[tool(user_input_fields("to"))]
fn send(to: String, subject: String) -> String {
    format!("{subject} to {to}")
}

/// Confirmed.
#[tool(requires_confirmation)]
fn confirmed() {}

/// Asked.
#[tool(requires_user_input)]
fn asked() {}

/// External.
#[tool(external_execution = true, requires_confirmation = false)]
fn external() {}

/// Approved.
#[approval]
#[tool]
fn approved() {}

/// Approved.
#[tool]
#[approval(type = "required")]
fn approved_inside() {}

/// Both.
#[approval]
#[tool(requires_confirmation)]
fn two_stage() {}

/// Both.
#[tool(requires_confirmation)]
#[approval]
fn two_stage_inside() {}

/// Audited.
#[approval(type = "audit")]
#[tool]
fn audited() {}

/// Audited.
#[tool(external_execution)]
#[approval(type = "audit")]
fn audited_inside() {}

/// Logged.
#[tool(log_approval)]
fn logged() {}

/// Not logged.
#[tool(log_approval = false)]
fn not_logged() {}

#[test]
fn the_policy_is_what_was_written() {
    use ApprovalPolicy::{Audit, Required};
    use PauseType::{Confirmation, ExternalExecution, UserInput};
    let cases: [(Vec<ToolHandle>, Option<PauseType>, Option<ApprovalPolicy>); 13] = [
        (tools![nothing], None, None),
        (tools![confirmed], Some(Confirmation), None),
        (tools![asked], Some(UserInput), None),
        (tools![send], Some(UserInput), None),
        (tools![external], Some(ExternalExecution), None),
        (tools![approved], None, Some(Required)),
        (tools![approved_inside], None, Some(Required)),
        (tools![two_stage], Some(Confirmation), Some(Required)),
        (tools![two_stage_inside], Some(Confirmation), Some(Required)),
        (tools![audited], None, Some(Audit)),
        (tools![audited_inside], Some(ExternalExecution), Some(Audit)),
        (tools![logged], None, Some(Audit)),
        (tools![not_logged], None, None),
    ];
    for (tool, pause, approval) in cases {
        let descriptor = descriptor(tool);
        assert_eq!(descriptor.policy, ToolPolicy::new(pause, approval), "{}", descriptor.name);
    }
    assert_eq!(descriptor(tools![send]).user_input_fields, ["to"]);
    assert_eq!(descriptor(tools![asked]).user_input_fields, [""; 0]);
}

#[test]
fn the_users_own_fields_stay_in_the_schema() {
    assert!(descriptor(tools![send]).parameters["properties"]["to"].is_object());
}

/// Pay.
#[approval(when = *cents > 10_000 || currency == "usd" || list.iter().any(|item| item == "gift"))]
#[tool]
fn pay(cents: u64, currency: String, list: Vec<String>) -> String {
    format!("{cents} {currency} {}", list.len())
}

/// Pay, with the attributes the other way round.
#[tool]
#[approval(when = *cents > 10_000)]
fn pay_inside(cents: u64) {
    let _ = cents;
}

/// Divide.
#[approval(when = 10 / *by > 4)]
#[tool]
fn divide(by: u64) {
    let _ = by;
}

/// Only what the model fills is in scope.
#[approval(when = *cents > 100)]
#[tool(user_input_fields("account"))]
fn transfer(cents: u64, account: String) {
    let _ = (cents, account);
}

fn needed(tool: &impl kern::tools::Tool, value: Value) -> bool {
    tool.approval_needed(&arguments(value))
}

#[test]
fn when_decides_on_the_decoded_arguments() {
    let pay = one!(pay);
    for (value, expected) in [
        (json!({ "cents": 10_000, "currency": "eur", "list": [] }), false),
        (json!({ "cents": 10_001, "currency": "eur", "list": [] }), true),
        (json!({ "cents": 1, "currency": "usd", "list": [] }), true),
        (json!({ "cents": 1, "currency": "eur", "list": ["gift"] }), true),
        // In doubt it is needed.
        (json!({ "cents": "1", "currency": "eur", "list": [] }), true),
        (json!({ "cents": 1, "list": [] }), true),
        (json!({}), true),
    ] {
        assert_eq!(needed(&pay, value.clone()), expected, "{value}");
    }
    assert!(!needed(&one!(pay_inside), json!({ "cents": 1 })));
    assert!(needed(&one!(pay_inside), json!({ "cents": 10_001 })));
}

#[test]
fn when_does_not_wait_for_what_the_user_fills() {
    assert!(!needed(&one!(transfer), json!({ "cents": 1 })));
    assert!(needed(&one!(transfer), json!({ "cents": 101 })));
}

#[test]
fn approval_without_when_is_always_needed() {
    assert!(needed(&one!(approved), json!({})));
}

#[test]
fn a_panic_in_when_reaches_the_caller_who_takes_it_for_needed() {
    let panic = std::panic::catch_unwind(|| needed(&one!(divide), json!({ "by": 0 })));
    assert!(panic.is_err());
    assert!(needed(&one!(divide), json!({ "by": 2 })));
    assert!(!needed(&one!(divide), json!({ "by": 5 })));
}

/// Maybe.
#[tool]
fn maybe(value: Maybe) {
    let _ = value;
}

/// An alias is seen through: `Option` is found by its type and not by its name.
type Maybe = Option<Money>;

#[test]
fn an_alias_of_option_is_optional() {
    let parameters = descriptor(tools![maybe]).parameters;
    assert_eq!(parameters["required"], json!([]));
    assert_eq!(problems(&one!(maybe), json!({}), &[]), []);
}

/** Block comment.
 *
 * - with a list
 */
#[tool]
fn block() {}

/// From a macro,
#[doc = concat!("in ", "parts.")]
#[tool]
fn parts() {}

#[test]
fn every_kind_of_documentation_is_a_description() {
    assert_eq!(descriptor(tools![block]).description, "Block comment.\n\n- with a list");
    assert_eq!(descriptor(tools![parts]).description, "From a macro,\nin parts.");
}

#[tokio::test]
async fn the_function_stays_a_function() {
    let amount = Money { cents: 1, currency: Currency::Usd };
    assert_eq!(refund("p".to_owned(), amount, None, 1, &RunContext::for_test()).await, "test-tool");
    assert_eq!(send("a".to_owned(), "b".to_owned()), "b to a");
}

#[test]
fn tools_of_several_paths_make_one_list() {
    mod billing {
        /// Audit.
        #[kern::tools::tool]
        pub(super) fn audit() {}
    }
    let names: Vec<String> =
        tools![refund, billing::audit, self::send,].iter().map(|tool| tool.descriptor().name.clone()).collect();
    assert_eq!(names, ["refund", "audit", "send"]);
    assert!(tools![].is_empty());
}

/// Report.
#[tool(stop_after_tool_call, strict, timeout = "90s")]
fn report() {}

/// Report quietly.
#[tool(stop_after_tool_call = true, show_result = false, timeout = "250ms")]
fn report_quietly() {}

/// Report and go on.
#[tool(show_result, strict = false, timeout = "2h")]
fn report_and_go_on() {}

#[test]
fn the_options_are_what_was_written() {
    let options = |tool| descriptor(tool).options;
    assert_eq!(options(tools![nothing]), ToolOptions::new());
    let stopped = ToolOptions::new().stop_after_tool_call(true).strict(true).timeout(Duration::from_secs(90));
    assert!(stopped.show_result, "a run that ends with a tool says what it gave");
    assert_eq!(options(tools![report]), stopped);
    let quiet = ToolOptions::new().stop_after_tool_call(true).show_result(false).timeout(Duration::from_millis(250));
    assert_eq!(options(tools![report_quietly]), quiet);
    let shown = ToolOptions::new().show_result(true).timeout(Duration::from_hours(2));
    assert_eq!(options(tools![report_and_go_on]), shown);
}

/// Ruled.
#[approval(pool = "finance", quorum = 2, expires_in = "1d", valid_for = "30m", require_reason, allow_self = true)]
#[tool(effect = "idempotent")]
fn ruled() {}

/// Ruled, with the attributes the other way round.
#[tool(effect = "transactional")]
#[approval(require_reason = false, allow_self = false, quorum = 1)]
fn ruled_inside() {}

#[test]
fn the_rules_of_an_approval_are_what_was_written() {
    let rules = ApprovalRules::new()
        .pool("finance")
        .quorum(2)
        .expires_in(Duration::from_hours(24))
        .valid_for(Duration::from_mins(30))
        .require_reason(true)
        .allow_self(true);
    let policy = ToolPolicy::new(None, Some(ApprovalPolicy::Required));
    assert_eq!(descriptor(tools![ruled]).policy, policy.clone().rules(rules).effect(Effect::Idempotent));
    assert_eq!(descriptor(tools![ruled_inside]).policy, policy.effect(Effect::Transactional));
}

/// Search.
#[approval(when = *limit > 50 || order.0 == "down")]
#[tool]
fn search(
    /// What to look for.
    #[arg(sensitive)]
    text: String,
    /// How many.
    #[arg(default = DEFAULT_LIMIT)]
    limit: u8,
    #[arg(default = "eur")] currency: String,
    #[arg(sensitive, default = "up")] order: Order,
    #[arg(default = Vec::new())] tags: Vec<String>,
    #[arg(default = Opaque(7))] opaque: Opaque,
) -> String {
    format!("{text} {limit} {currency} {} {} {}", order.0, tags.len(), opaque.0)
}

const DEFAULT_LIMIT: u8 = 10;

/// Made of a string, and written as one.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
struct Order(String);

impl From<&str> for Order {
    fn from(order: &str) -> Self {
        Self(order.to_owned())
    }
}

/// Read, but not written: its default is not in the schema.
#[derive(Debug, Deserialize, JsonSchema)]
struct Opaque(u8);

#[test]
fn a_default_is_in_the_schema_and_what_is_sensitive_is_marked() {
    let descriptor = descriptor(tools![search]);
    assert_eq!(descriptor.sensitive, ["text", "order"]);
    let parameters = &descriptor.parameters;
    assert_eq!(parameters["required"], json!(["text"]));
    let property = |name: &str| parameters["properties"][name].clone();
    assert_eq!(property("text"), json!({ "type": "string", "description": "What to look for.", "writeOnly": true }));
    assert_eq!(property("limit")["default"], 10);
    assert_eq!(property("limit")["description"], "How many.");
    assert_eq!(property("limit")["writeOnly"], Value::Null);
    assert_eq!(property("currency")["default"], "eur");
    assert_eq!(property("order"), json!({ "$ref": "#/$defs/Order", "default": "up", "writeOnly": true }));
    assert_eq!(property("tags")["default"], json!([]));
    assert_eq!(property("opaque"), json!({ "$ref": "#/$defs/Opaque" }));
}

#[test]
fn an_absent_argument_is_its_default_and_a_wrong_one_is_not() {
    let search = one!(search);
    assert_eq!(problems(&search, json!({ "text": "t" }), &[]), []);
    assert_eq!(problems(&search, json!({ "text": "t", "limit": 3, "order": "down", "opaque": 1 }), &[]), []);
    let value = json!({ "limit": null, "currency": 1, "opaque": null, "tags": {} });
    let pointers: Vec<String> = problems(&search, value, &[]).into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(pointers, ["/text", "/limit", "/currency", "/tags", "/opaque"], "null is no absence");
}

#[test]
fn when_sees_the_default() {
    assert!(!needed(&one!(search), json!({ "text": "t" })));
    assert!(needed(&one!(search), json!({ "text": "t", "limit": 51 })));
    assert!(needed(&one!(search), json!({ "text": "t", "order": "down" })));
    assert!(needed(&one!(search), json!({ "text": "t", "order": null })), "in doubt it is needed");
}

static NEXT: AtomicU64 = AtomicU64::new(100);

/// Withdraw.
#[approval(when = *cents > 100)]
#[tool]
fn withdraw(#[arg(default = NEXT.fetch_add(1, Ordering::Relaxed))] cents: u64) -> u64 {
    cents
}

#[tokio::test]
async fn a_default_that_changes_is_asked_for_once() {
    let shown = descriptor(tools![withdraw]).parameters["properties"]["cents"]["default"].clone();
    assert_eq!(shown, 100);
    for _ in 0..3 {
        assert!(!needed(&one!(withdraw), json!({})), "the condition sees the value that the schema shows");
    }
    assert_eq!(problems(&one!(withdraw), json!({}), &[]), []);
    let model = ScriptedModel::new([turn().tool_call("withdraw", json!({})), turn().text("ok")]);
    let agent = Agent::builder().model(model).tools(tools![withdraw]).db(InMemoryDb::new());
    let run = agent.build().expect("the agent is right").run("go").await.expect("it runs");
    assert_eq!(run.tool_calls()[0].result.as_deref(), Some("100"), "and so does the body");
}

/// Withdraw a sum that cannot be written down.
#[approval(when = cents.0 > 100)]
#[tool]
fn withdraw_hidden(#[arg(default = Hidden(HIDDEN.fetch_add(100, Ordering::Relaxed)))] cents: Hidden) -> u64 {
    cents.0
}

static HIDDEN: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Deserialize, JsonSchema)]
struct Hidden(u64);

#[test]
fn when_does_not_judge_a_default_that_is_made_anew_for_the_body() {
    assert!(needed(&one!(withdraw_hidden), json!({})), "the body would get another value than the one that was judged");
    assert!(!needed(&one!(withdraw_hidden), json!({ "cents": 100 })));
}

/// A value that is written in another way than it is read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Odd(u8);

impl Serialize for Odd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("odd")
    }
}

/// Odd.
#[tool]
fn odd(#[arg(default = Odd(3))] value: Odd) -> u8 {
    value.0
}

#[test]
fn a_default_that_could_not_be_read_back_is_not_shown() {
    assert_eq!(descriptor(tools![odd]).parameters["properties"]["value"]["default"], Value::Null);
    assert_eq!(descriptor(tools![odd]).parameters["required"], json!([]));
    assert_eq!(problems(&one!(odd), json!({}), &[]), []);
}
