//! Toolkits and states: methods as tools, what the application brings for them, and their calls through an agent.
//!
//! With clippy's pedantic lints on, to show that they say nothing of generated code.
#![warn(clippy::pedantic)]

use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kern::db::{CallPolicy, Effect, Tier};
use kern::models::{Model, ModelFuture, ModelRequest, ScriptedModel, ToolDefinition, turn};
use kern::prelude::*;
use kern::tools::{ApprovalPolicy, PauseType, ToolHandle, Toolkit};
use kern_tests::ledger;
use kern_tests::store::{Store, one_call, told};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What the application brings.
#[derive(Debug)]
struct Pool(&'static str);

/// Pays, and counts what it paid.
#[derive(Debug, Default)]
struct Billing {
    paid: AtomicU64,
    fee: u64,
}

#[toolkit]
impl Billing {
    const LIMIT: u64 = 100;

    /// Refund a payment.
    #[approval(when = *cents > Self::LIMIT)]
    #[tool]
    async fn refund(&self, ctx: &RunContext, #[state] pool: &Pool, cents: u64) -> Result<String, String> {
        ledger::enter(ctx, format!("refund {cents}"));
        if cents == 13 {
            return Err("not this one".to_owned());
        }
        let all = self.add(cents);
        tokio::task::yield_now().await;
        Ok(format!("{} {all} {}", pool.0, ctx.tool_name))
    }

    /// How much was paid.
    #[tool]
    fn total(&self, #[arg(default = 1)] factor: u64) -> u64 {
        self.paid.load(Ordering::Relaxed) * factor
    }

    /// Which thread this runs on.
    #[tool(inline, name = "where")]
    fn inline(&self) -> String {
        thread()
    }

    /// Which thread this runs on.
    #[tool(external_execution, version = "3")]
    #[approval]
    fn elsewhere(&self) {}

    /// Without the toolkit's value.
    #[tool]
    fn version() -> &'static str {
        "7"
    }

    fn add(&self, cents: u64) -> u64 {
        let added = cents + self.fee;
        self.paid.fetch_add(added, Ordering::Relaxed) + added
    }
}

fn thread() -> String {
    format!("{:?}", std::thread::current().id())
}

fn tools(kit: impl Toolkit) -> Vec<ToolHandle> {
    Arc::new(kit).tools()
}

fn billing() -> Billing {
    Billing { paid: AtomicU64::new(0), fee: 1 }
}

#[test]
fn a_toolkits_tools_are_its_methods_with_the_attribute() {
    let tools = tools(billing());
    let names: Vec<&str> = tools.iter().map(|tool| tool.descriptor().name.as_str()).collect();
    assert_eq!(names, ["refund", "total", "where", "elsewhere", "version"]);
    let refund = tools[0].descriptor();
    assert_eq!(refund.description, "Refund a payment.");
    assert_eq!(refund.policy.approval, Some(ApprovalPolicy::Required));
    assert_eq!(refund.parameters["required"], json!(["cents"]));
    assert_eq!(
        refund.parameters["properties"],
        json!({ "cents": { "type": "integer", "format": "uint64", "minimum": 0 } }),
        "neither the context nor a state is in the schema"
    );
    let states: Vec<&str> = refund.states.iter().map(kern::tools::StateType::name).collect();
    assert_eq!(states, [std::any::type_name::<Pool>()]);
    assert_eq!(tools[1].descriptor().parameters["properties"]["factor"]["default"], 1);
    assert_eq!(tools[3].descriptor().policy.pause, Some(PauseType::ExternalExecution));
    assert_eq!(tools[3].descriptor().version, "3");
}

#[tokio::test]
async fn a_method_stays_a_method() {
    let billing = billing();
    assert_eq!(billing.refund(&RunContext::for_test(), &Pool("p"), 2).await.as_deref(), Ok("p 3 test-tool"));
    assert_eq!(billing.total(2), 6);
    assert_eq!(Billing::version(), "7");
}

#[tokio::test]
async fn a_toolkits_tool_runs_after_its_approval_and_shares_its_value() {
    let store = Store::new().await;
    let script = [
        turn()
            .tool_call("refund", json!({ "cents": 5 }))
            .tool_call("refund", json!({ "cents": 500 }))
            .tool_call("refund", json!({ "cents": 13 })),
        turn().tool_call("total", json!({})).tool_call("total", json!({ "factor": 2 })).tool_call("version", json!({})),
        turn().text("done"),
    ];
    let kit = Arc::new(billing());
    let session = kern_tests::folder::unique("session");
    let build = |kit: &Arc<Billing>| {
        store.agent(Arc::clone(kit).tools(), script.clone()).state(Pool("main")).build().expect("the agent is right")
    };
    let run = build(&kit).run("go").user_id("alice").session_id(&session).await.expect("the run starts");
    assert!(run.is_paused());
    let mut entered = ledger::of(&session);
    entered.sort_unstable();
    assert_eq!(entered, ["refund 13", "refund 5"], "only the large refund waits");
    let waiting = store.approvals(&run.run_id).await;
    assert_eq!(waiting.len(), 1);
    assert_eq!(json!(waiting[0].tool_args), json!({ "cents": 500 }));

    store.approve_all(&run.run_id).await;
    // Another agent, with the same value: as many agents as an application likes may share a toolkit.
    let run = build(&kit).continue_run(&run.run_id).user_id("alice").await.expect("it goes on");
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(ledger::of(&session).len(), 3);
    assert_eq!(store.states(&run.run_id).await, ["succeeded"]);
    let told = told(&run);
    assert_eq!(told[0], "main 6 refund");
    assert_eq!(told[1], "main 507 refund");
    assert!(told[2].contains("not this one"), "{}", told[2]);
    assert_eq!(told[3..], ["507", "1014", "7"]);
    assert_eq!(kit.total(1), 507);
}

#[tokio::test]
async fn a_toolkit_is_given_to_the_builder_as_a_value() {
    let store = Store::new().await;
    let agent = store.agent(Vec::new(), one_call("total", json!({ "factor": 3 })));
    let agent = agent.toolkit(billing()).state(Pool("main")).build().expect("the agent is right");
    let run = agent.run("go").user_id("alice").await.expect("it runs");
    assert_eq!(told(&run), ["0"]);
}

/// The thread of a tool that is no method.
#[tool(inline)]
fn inline() -> String {
    thread()
}

/// The thread of a tool on the pool.
#[tool]
fn pooled() -> String {
    thread()
}

#[tokio::test(flavor = "current_thread")]
async fn inline_runs_on_the_task_itself() {
    let store = Store::new().await;
    let script = [
        turn().tool_call("inline", json!({})).tool_call("pooled", json!({})).tool_call("where", json!({})),
        turn().text("done"),
    ];
    let agent = store.agent(tools![inline, pooled], script).toolkit(billing()).state(Pool("main"));
    let run = agent.build().expect("the agent is right").run("go").user_id("alice").await.expect("it runs");
    let told = told(&run);
    assert_eq!(told[0], thread());
    assert_ne!(told[1], thread());
    assert_eq!(told[2], thread());
}

/// Keeps values of any type.
struct Shelf<T> {
    values: Vec<T>,
}

#[toolkit]
impl<T> Shelf<T>
where
    T: Clone
        + Debug
        + Display
        + PartialEq
        + PartialOrd
        + Default
        + Send
        + Sync
        + DeserializeOwned
        + JsonSchema
        + Serialize,
{
    /// Find a value.
    #[approval(when = value > other)]
    #[tool]
    fn find(&self, value: T, #[arg(default = T::default())] other: T, ctx: &RunContext) -> Option<usize> {
        ledger::enter(ctx, format!("find {value} {other}"));
        self.values.iter().position(|known| *known == value)
    }
}

#[tokio::test]
async fn a_generic_toolkit_has_tools_of_each_type() {
    let [numbers] = tools(Shelf { values: vec![1_i32, -2] }).try_into().expect("one tool");
    let [words] = tools(Shelf { values: vec!["a".to_owned()] }).try_into().expect("one tool");
    assert_eq!(numbers.descriptor().parameters["properties"]["value"]["type"], "integer");
    assert_eq!(numbers.descriptor().parameters["properties"]["other"]["default"], 0);
    assert_eq!(words.descriptor().parameters["properties"]["value"]["type"], "string");
    assert_eq!(words.descriptor().parameters["properties"]["other"]["default"], "");
    assert_ne!(numbers.descriptor().schema_hash, words.descriptor().schema_hash);

    let store = Store::new().await;
    let script =
        [turn().tool_call("find", json!({ "value": -2 })).tool_call("find", json!({ "value": 7 })), turn().text("ok")];
    let agent = store.agent(vec![numbers], script).build().expect("the agent is right");
    let session = kern_tests::folder::unique("session");
    let run = agent.run("go").user_id("alice").session_id(&session).await.expect("it runs");
    assert!(run.is_paused());
    assert_eq!(ledger::of(&session), ["find -2 0"]);
    store.approve_all(&run.run_id).await;
    let run = agent.continue_run(&run.run_id).user_id("alice").await.expect("it goes on");
    assert_eq!(ledger::of(&session), ["find -2 0", "find 7 0"]);
    assert_eq!(told(&run), ["1", "null"]);
}

/// Ask the pool.
#[tool]
async fn ask(#[state] pool: &Pool, key: String, #[state] limit: &u8, ctx: &RunContext) -> String {
    format!("{} {key} {limit} {}", pool.0, ctx.tool_name)
}

/// Ask the pool, on the pool for blocking work.
#[tool]
fn ask_blocking(#[state] pool: &Pool) -> String {
    pool.0.to_owned()
}

#[tokio::test]
async fn a_state_is_injected() {
    let store = Store::new().await;
    let script = [
        turn().tool_call("ask", json!({ "key": "k" })).tool_call("ask_blocking", json!({})),
        turn().tool_call("ask", json!({ "key": "k", "pool": "the model's own" })),
        turn().text("ok"),
    ];
    let agent =
        store.agent(tools![ask, ask_blocking], script).state(Pool("main")).state(3_u8).state("unused".to_owned());
    let run = agent.build().expect("the agent is right").run("go").await.expect("it runs");
    let told = told(&run);
    assert_eq!(told[..2], ["main k 3 ask", "main"]);
    assert!(told[2].contains("/pool: unknown argument"), "{}", told[2]);
}

#[tokio::test]
async fn a_state_that_is_missing_or_given_twice_is_said_by_build() {
    let store = Store::new().await;
    let agent = || store.agent(tools![ask], []);
    let error = agent().state(Pool("main")).build().expect_err("the limit is missing").to_string();
    assert!(error.contains("`ask`") && error.contains("`u8`") && error.contains(".state("), "{error}");
    let error = agent().state(3_u8).build().expect_err("the pool is missing").to_string();
    assert!(error.contains("Pool`"), "{error}");
    let twice = agent().state(Pool("a")).state(3_u8).state(Pool("b")).build().expect_err("two pools").to_string();
    assert!(twice.contains("two values") && twice.contains("Pool`"), "{twice}");
    let kit = store.agent(Vec::new(), []).toolkit(billing()).build().expect_err("the pool is missing").to_string();
    assert!(kit.contains("`refund`") && kit.contains("Pool`"), "{kit}");
}

/// Makes a function and a method that ask for one thing, and the policy that is stored with their calls.
macro_rules! asks_for {
    ($($name:ident: #[$approval:meta] #[$tool:meta] => $policy:expr;)*) => {
        $(
            /// It asks for something.
            #[$approval]
            #[$tool]
            fn $name() {}
        )*

        struct Asking;

        #[toolkit]
        impl Asking {
            $(
                /// It asks for something.
                #[$approval]
                #[$tool]
                fn $name(&self) {}
            )*
        }

        fn asking() -> Vec<(ToolHandle, CallPolicy)> {
            let functions = tools![$($name),*].into_iter().zip([$($policy),*]);
            functions.chain(tools(Asking).into_iter().zip([$($policy),*])).collect()
        }
    };
}

fn required() -> CallPolicy {
    CallPolicy::new(Tier::Required, Some(PauseType::Confirmation))
}

asks_for! {
    with_pool: #[approval(pool = "finance")] #[tool] => required().pool("finance");
    with_quorum: #[approval(quorum = 2)] #[tool] => required().quorum(2);
    with_expires_in: #[approval(expires_in = "24h")] #[tool] => required().expires_in_ms(86_400_000);
    with_valid_for: #[approval(valid_for = "1h")] #[tool] => required().valid_for_ms(3_600_000);
    with_require_reason: #[approval(require_reason)] #[tool] => required().require_reason(true);
    with_allow_self: #[approval(allow_self)] #[tool] => required().allow_self(true);
    with_effect: #[approval] #[tool(effect = "idempotent")] => required().effect(Effect::Idempotent);
    with_transaction: #[approval] #[tool(effect = "transactional")] => required().effect(Effect::Transactional);
}

#[tokio::test]
async fn what_an_attribute_asks_for_is_stored_with_the_call() {
    let store = Store::new().await;
    store.db.set_pool("finance", ["ann", "bob"]).await.unwrap();
    let asking = asking();
    assert_eq!(asking.len(), 16);
    for (tool, policy) in asking {
        let name = tool.descriptor().name.clone();
        let agent = store.agent(vec![tool], one_call(&name, json!({}))).build().unwrap();
        let run = agent.run("Ask").await.unwrap();
        let stored = store.db.get_run(&run.run_id).await.unwrap().calls.remove(0).policy;
        assert_eq!(stored, policy, "{name}");
    }
}

#[tokio::test]
async fn a_pool_that_nobody_has_set_is_refused_by_build() {
    let store = Store::new().await;
    for tool in [tools![with_pool].remove(0), tools(Asking).remove(0)] {
        let error = store.agent(vec![tool], []).build().expect_err("there is no pool");
        assert_eq!(error.code(), "policy_unsatisfiable");
        assert!(error.to_string().contains("`kern pools set finance ann bob`"), "{error}");
    }
}

/// Keeps what the model was told of its tools.
#[derive(Clone)]
struct Listening {
    script: Arc<ScriptedModel>,
    heard: Arc<Mutex<Vec<ToolDefinition>>>,
}

impl Model for Listening {
    fn id(&self) -> &str {
        Model::id(&*self.script)
    }

    fn provider(&self) -> &str {
        Model::provider(&*self.script)
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        *self.heard.lock().expect("nobody panicked") = request.tools.to_vec();
        self.script.respond(request)
    }
}

/// Log in.
#[tool(strict)]
fn log_in(
    name: String,
    /// Never shown.
    #[arg(sensitive)]
    password: String,
) -> String {
    format!("{name} {}", password.len())
}

#[tokio::test]
async fn the_model_is_not_told_what_is_sensitive_but_what_is_strict() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let model = Listening { script: Arc::new(ScriptedModel::new([turn().text("ok")])), heard: Arc::clone(&heard) };
    let agent = Agent::builder().model(model).tools(tools![log_in]).build().expect("the agent is right");
    agent.run("go").await.expect("it runs");
    let heard = heard.lock().expect("nobody panicked");
    assert_eq!(
        heard[0].parameters["properties"]["password"],
        json!({ "type": "string", "description": "Never shown." })
    );
    assert!(heard[0].strict);
}
