//! Recorded conversations with tool calls, through `OpenAIChat` and the wire, streamed where they were recorded so. Each
//! tool is under `#[approval]`: one agent asks and pauses, its store is decided on by another handle on the same file, and
//! an agent of a third handle goes on.

use kern::db::{ApprovalStatus, Db as _, SqliteDb};
use kern::models::OpenAIChat;
use kern::prelude::*;
use kern::run::{RunId, RunStream};
use kern::tools::ToolHandle;
use kern_tests::folder::unique;
use kern_tests::ledger::{self, enter};
use kern_tests::replay::{Exchange, ReplayServer, exchanges};
use kern_tests::store::Store;
use serde_json::Value;

/// Return the alpha signal marker.
#[approval]
#[tool]
async fn lookup_harbor_label(ctx: &RunContext) -> String {
    enter(ctx, "harbor");
    "crimson-harbor".to_owned()
}

/// Return the beta signal marker.
#[approval]
#[tool]
async fn lookup_orchard_label(ctx: &RunContext) -> String {
    enter(ctx, "orchard");
    "silver-orchard".to_owned()
}

/// Get the current weather for a city. Must be called for weather questions.
#[approval]
#[tool]
async fn get_weather(
    /// City name to get weather for
    city: String,
    ctx: &RunContext,
) -> String {
    enter(ctx, format!("weather {city}"));
    format!("Weather in {city}: 72F (22C), sunny with light clouds, humidity 45%, wind 8 mph NW")
}

/// Get the weather in a city.
#[approval]
#[tool(strict)]
async fn get_weather_in_city(city: String, ctx: &RunContext) -> String {
    enter(ctx, format!("weather {city}"));
    match city.as_str() {
        "Mexico City" => "sunny".to_owned(),
        _ => "Did you mean Mexico City?\n\nFix the errors and try again.".to_owned(),
    }
}

/// Read the first line of test.txt using the head command
#[approval]
#[tool]
async fn read_file_head(ctx: &RunContext) -> String {
    enter(ctx, "head");
    "hello world".to_owned()
}

/// Read the last line of test.txt using the tail command
#[approval]
#[tool]
async fn read_file_tail(ctx: &RunContext) -> String {
    enter(ctx, "tail");
    "hello world".to_owned()
}

/// A recorded conversation that is played again.
struct Conversation {
    server: ReplayServer,
    group: &'static str,
    recorded: Vec<Exchange>,
    tools: Vec<ToolHandle>,
    store: Store,
    session: String,
}

/// What a run left when it paused or ended.
struct Left {
    run_id: RunId,
    /// What was said on the way, as it was streamed or else as the run gives it.
    said: String,
}

impl Conversation {
    async fn of(group: &'static str, tools: Vec<ToolHandle>) -> Self {
        let mut recorded = exchanges(|exchange| exchange.group == group);
        recorded.sort_by_key(|exchange| exchange.index);
        let store = Store::new().await;
        Self { server: ReplayServer::start(), group, recorded, tools, store, session: unique("conversation") }
    }

    fn is_streamed(&self) -> bool {
        self.recorded.iter().all(|exchange| exchange.stream)
    }

    fn body(&self) -> &Value {
        &self.recorded[0].request["body"]
    }

    /// Gives what was said first by a role.
    fn said_by(&self, role: &str) -> Option<String> {
        let messages = self.body()["messages"].as_array().expect("a request has messages");
        let message = messages.iter().find(|message| message["role"] == role)?;
        text(&message["content"]).as_str().map(str::to_owned)
    }

    /// Gives the text that the conversation ended with.
    fn last_words(&self) -> &str {
        self.recorded.last().and_then(|exchange| exchange.expect["text"].as_str()).expect("it ended with a text")
    }

    fn agent(&self, db: SqliteDb) -> Agent {
        let base_url = format!("{}/v1", self.server.base_url_group(self.group));
        let model = OpenAIChat::new(self.body()["model"].as_str().expect("a model was recorded"));
        let model = model.base_url(base_url).api_key("sk-not-a-real-key");
        let mut agent = Agent::builder().id("agent").model(model).tools(self.tools.clone()).db(db);
        if let Some(instructions) = self.said_by("system") {
            agent = agent.instructions(instructions);
        }
        agent.build().expect("the agent is right")
    }

    fn effects(&self) -> Vec<String> {
        ledger::of(&self.session)
    }

    async fn watch(&self, mut events: RunStream) -> Left {
        let (mut said, mut last) = (String::new(), None);
        while let Some(event) = events.next().await {
            let event = event.expect("the run goes well");
            if let RunEvent::RunContent { content, .. } = &event {
                said.push_str(content);
            }
            last = Some(event);
        }
        let last = last.expect("a stream has events");
        assert!(matches!(last.name(), "RunPaused" | "RunCompleted"), "{last:?}");
        Left { run_id: last.base().run_id.clone(), said }
    }

    /// Asks, and pauses.
    async fn ask(&self) -> RunId {
        let agent = self.agent(self.store.again().await);
        let run = agent.run(self.said_by("user").expect("the user spoke")).user_id("alice").session_id(&*self.session);
        let run_id = if self.is_streamed() {
            self.watch(run.stream()).await.run_id
        } else {
            run.await.expect("it pauses").run_id
        };
        assert_eq!(self.status(&run_id).await, RunStatus::Paused);
        run_id
    }

    /// Goes on, as another process would.
    async fn go_on(&self, run_id: &RunId) -> Left {
        let agent = self.agent(self.store.again().await);
        let run = agent.continue_run(run_id).user_id("bob");
        if self.is_streamed() {
            return self.watch(run.stream()).await;
        }
        let run = run.await.expect("it goes on");
        Left { said: run.content().to_owned(), run_id: run.run_id }
    }

    async fn status(&self, run_id: &RunId) -> RunStatus {
        self.store.db.get_run(run_id).await.expect("the run is there").status
    }

    /// Gives the calls that wait, as an approver sees them.
    async fn waiting(&self, run_id: &RunId) -> Vec<kern::approval::Approval> {
        let rows = self.store.approvals(run_id).await.into_iter();
        rows.filter(|row| row.status == ApprovalStatus::Pending).collect()
    }

    /// Decides one call on a handle of its own, and checks that nothing runs by that, nor by going on too early.
    async fn decide(&self, row: &kern::approval::Approval, decision: Resolution) {
        let before = self.effects();
        let run_id = row.run_id.clone();
        let agent = self.agent(self.store.again().await);
        let early = agent.continue_run(&run_id).user_id("alice").await;
        assert_eq!(early.expect_err("it waits").code(), "approval_pending");
        let db = self.store.again().await;
        let decision = decision.by("admin").digest(row.digest.clone());
        db.update_approval(&row.id, ApprovalStatus::Pending, decision).await.expect("it is decided");
        assert_eq!(self.effects(), before);
    }

    /// Checks that each request said what the recorded one said, but for the messages with these ids of calls.
    fn assert_sent_as_recorded(&self, other_results: &[&str]) {
        let log = self.server.log();
        assert_eq!(log.len(), self.recorded.len(), "the model was asked as often");
        for (sent, recorded) in log.iter().zip(&self.recorded) {
            let (sent, recorded) = (&sent["body"], &recorded.request["body"]);
            for same in ["model", "stream", "stream_options"] {
                assert_eq!(sent[same], recorded[same], "{same}");
            }
            let names = |body: &Value| -> Vec<Value> {
                let tools = body["tools"].as_array().expect("tools were offered").iter();
                tools.map(|tool| tool["function"]["name"].clone()).collect()
            };
            assert_eq!(names(sent), names(recorded));
            assert_eq!(said(sent, other_results), said(recorded, other_results));
        }
    }
}

/// Gives a content as a text, however it is written.
fn text(content: &Value) -> Value {
    match content {
        Value::Array(parts) if parts.len() == 1 => parts[0]["text"].clone(),
        Value::String(text) if text.is_empty() => Value::Null,
        content => content.clone(),
    }
}

/// Gives who says what in a request, with reasoning, calls and what they answer. The recorded clients write the arguments
/// anew, where kern sends the model's own text.
fn said(body: &Value, other_results: &[&str]) -> Vec<Value> {
    let call = |call: &Value| {
        let arguments = call["function"]["arguments"].as_str().expect("arguments are a text");
        let arguments: Value = serde_json::from_str(arguments).expect("of JSON");
        json!([call["id"], call["type"], call["function"]["name"], arguments])
    };
    let message = |message: &Value| {
        let id = &message["tool_call_id"];
        let other = other_results.iter().any(|other| id == other);
        let content = if other { Value::Null } else { text(&message["content"]) };
        let calls: Vec<_> = message["tool_calls"].as_array().into_iter().flatten().map(call).collect();
        json!([message["role"], content, message["reasoning_content"], id, calls])
    };
    body["messages"].as_array().expect("a request has messages").iter().map(message).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_streamed_calls_of_one_turn_wait_for_both_decisions() {
    let group = "rig-copilot-streaming_tools-streaming_tools_surface_two_distinct_tool_calls_before_final_answer";
    let conversation = Conversation::of(group, tools![lookup_harbor_label, lookup_orchard_label]).await;
    assert!(conversation.is_streamed());
    let run_id = conversation.ask().await;
    let rows = conversation.waiting(&run_id).await;
    let names: Vec<_> = rows.iter().map(|row| row.tool_name.as_deref().unwrap()).collect();
    assert_eq!(names, ["lookup_harbor_label", "lookup_orchard_label"]);
    for row in &rows {
        conversation.decide(row, Resolution::approved()).await;
    }
    let left = conversation.go_on(&run_id).await;
    assert_eq!(conversation.status(&run_id).await, RunStatus::Completed);
    assert_eq!(left.said, conversation.last_words());
    assert_eq!(conversation.effects(), ["harbor", "orchard"]);
    conversation.assert_sent_as_recorded(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_model_thought_goes_back_to_it_after_the_pause() {
    let group = "rig-deepseek-reasoning_tool_roundtrip-streaming";
    let conversation = Conversation::of(group, tools![get_weather]).await;
    assert!(conversation.is_streamed());
    let run_id = conversation.ask().await;
    let rows = conversation.waiting(&run_id).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(json!(rows[0].tool_args), json!({ "city": "Tokyo, Japan" }));
    conversation.decide(&rows[0], Resolution::approved()).await;
    let left = conversation.go_on(&run_id).await;
    assert_eq!((left.said.as_str(), left.run_id), (conversation.last_words(), run_id));
    assert_eq!(conversation.effects(), ["weather Tokyo, Japan"]);
    conversation.assert_sent_as_recorded(&[]);
    let log = conversation.server.log();
    let thought = &conversation.recorded[0].expect["reasoning"];
    assert!(thought.is_string());
    assert_eq!(log[1]["body"]["messages"][2]["reasoning_content"], *thought);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_turn_of_a_conversation_waits_for_a_decision_of_its_own() {
    let group = "pyd-test_prefect-test_prefect_agent_with_model_retry";
    let conversation = Conversation::of(group, tools![get_weather_in_city]).await;
    assert!(!conversation.is_streamed());
    let run_id = conversation.ask().await;
    for (turn, city) in ["CDMX", "Mexico City"].into_iter().enumerate() {
        assert_eq!(conversation.status(&run_id).await, RunStatus::Paused);
        let rows = conversation.waiting(&run_id).await;
        assert_eq!(rows.len(), 1, "an approval counts for its own call");
        assert_eq!(json!(rows[0].tool_args), json!({ "city": city }));
        conversation.decide(&rows[0], Resolution::approved()).await;
        assert_eq!(conversation.effects().len(), turn);
        conversation.go_on(&run_id).await;
        assert_eq!(conversation.effects().len(), turn + 1);
    }
    assert_eq!(conversation.status(&run_id).await, RunStatus::Completed);
    let run = conversation.agent(conversation.store.again().await).get_run(&run_id).await.unwrap();
    assert_eq!(run.content(), conversation.last_words());
    assert_eq!(conversation.effects(), ["weather CDMX", "weather Mexico City"]);
    conversation.assert_sent_as_recorded(&[]);
    // `#[tool(strict)]` reaches the provider as it was recorded; the description alone is another.
    let mut sent = conversation.server.log()[0]["body"]["tools"].clone();
    sent[0]["function"]["description"] = json!("");
    let function = json!({ "name": "get_weather_in_city", "description": "", "strict": true, "parameters": {
        "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"],
        "additionalProperties": false } });
    assert_eq!(sent, json!([{ "type": "function", "function": function }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_does_not_run_and_its_model_goes_on_with_the_other() {
    let group = "rig-llamacpp-permission_control-permission_control_streaming_example";
    let conversation = Conversation::of(group, tools![read_file_head, read_file_tail]).await;
    assert!(conversation.is_streamed());
    let run_id = conversation.ask().await;
    let rows = conversation.waiting(&run_id).await;
    assert_eq!(rows.len(), 2);
    conversation.decide(&rows[0], Resolution::rejected().note("use the other one")).await;
    conversation.decide(&rows[1], Resolution::approved()).await;
    let left = conversation.go_on(&run_id).await;
    assert_eq!(conversation.status(&run_id).await, RunStatus::Completed);
    assert_eq!(left.said, conversation.last_words());
    assert_eq!(conversation.effects(), ["tail"]);
    conversation.assert_sent_as_recorded(&["call_REDACTED_1"]);
    let log = conversation.server.log();
    let told = log[1]["body"]["messages"][3]["content"].as_str().unwrap();
    assert!(told.contains("rejected by an administrator") && told.contains("use the other one"), "{told}");
}
