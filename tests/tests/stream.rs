//! Watching a run: what its stream gives, and that no reader holds it up.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use futures_core::Stream;
use kern::db::Db as _;
use kern::models::{DeltaSink, Model, ModelDelta, ModelError, ModelFuture, ModelRequest, ScriptedModel, Turn, turn};
use kern::prelude::*;
use kern::run::{RunId, RunStream};
use kern::tools::ToolHandle;
use kern_tests::folder::unique;
use kern_tests::gates::{SlowModel, gate};
use kern_tests::ledger;
use kern_tests::store::{Store, one_call};
use kern_tests::tools::{delete_user, explode_plain, fail, lookup, wait_plain};

fn agent(tools: Vec<ToolHandle>, turns: impl IntoIterator<Item = Turn>) -> Agent {
    Agent::builder().model(ScriptedModel::new(turns)).tools(tools).build().expect("the agent is right")
}

/// Reads a stream to its end: the events, and the error that it ended with.
async fn watch(mut events: RunStream) -> (Vec<RunEvent>, Option<kern::Error>) {
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => seen.push(event),
            Err(error) => {
                assert!(events.next().await.is_none(), "an error ends the stream");
                return (seen, Some(error));
            }
        }
    }
    assert!(events.next().await.is_none(), "a stream that has ended stays so");
    (seen, None)
}

fn names(events: &[RunEvent]) -> Vec<&'static str> {
    events.iter().map(RunEvent::name).collect()
}

fn run_id(events: &[RunEvent]) -> RunId {
    events[0].base().run_id.clone()
}

/// Waits until a run has ended by itself.
async fn ended(agent: &Agent, run_id: &RunId) -> RunOutput {
    for _ in 0..3000 {
        let run = agent.get_run(run_id).await.expect("the run is there");
        if run.status != RunStatus::Running {
            return run;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the run does not end");
}

#[tokio::test]
async fn a_stream_is_a_stream_that_may_be_sent_and_polled_anywhere() {
    fn is_sendable<S: Stream<Item = kern::Result<RunEvent>> + Send + Unpin + 'static>(stream: S) -> S {
        stream
    }
    let mut events = is_sendable(agent(vec![], [turn().text("hello")]).run("go").stream());
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(event) = poll_fn(|context| Pin::new(&mut events).poll_next(context)).await {
            seen.push(event.unwrap().name());
        }
        seen
    });
    let expected = [
        "RunStarted",
        "ModelRequestStarted",
        "RunContent",
        "ModelRequestCompleted",
        "RunContentCompleted",
        "RunCompleted",
    ];
    assert_eq!(seen.await.unwrap(), expected);
}

#[tokio::test]
async fn the_events_of_each_call_come_in_the_order_things_happen() {
    let turns = [
        turn().tool_call("lookup", json!({ "key": "a" })).tool_call("nothing", json!({})),
        turn().tool_call("explode_plain", json!({ "why": "boom" })),
        turn().text("ok"),
    ];
    let (seen, error) = watch(agent(tools![lookup, explode_plain], turns).run("go").stream()).await;
    assert!(error.is_none());
    let calls: Vec<_> = seen
        .iter()
        .filter_map(|event| match event {
            RunEvent::ToolCallStarted { tool, .. } => Some(("started", tool.name(), tool.result.clone())),
            RunEvent::ToolCallCompleted { tool, .. } => Some(("completed", tool.name(), tool.result.clone())),
            RunEvent::ToolCallError { tool, content, .. } => Some(("error", tool.name(), Some(content.clone()))),
            _ => None,
        })
        .collect();
    let value = |text: &str| Some(text.to_owned());
    assert_eq!(
        calls,
        [
            ("error", "nothing", value("There is no tool `nothing`. The tools are: lookup, explode_plain")),
            ("started", "lookup", None),
            ("completed", "lookup", value("value of a")),
            ("started", "explode_plain", None),
            ("completed", "explode_plain", value("the tool panicked")),
            ("error", "explode_plain", value("the tool panicked")),
        ]
    );
}

#[tokio::test]
async fn a_failure_of_an_approved_call_is_told_after_it_is_on_record() {
    let store = Store::new().await;
    let agent = store.agent(tools![fail], one_call("fail", json!({ "why": "no" }))).build().unwrap();
    let (seen, _) = watch(agent.run("go").stream()).await;
    assert_eq!(seen.last().map(RunEvent::name), Some("RunPaused"));
    let run_id = run_id(&seen);
    store.approve_all(&run_id).await;
    let mut events = agent.continue_run(&run_id).stream();
    let mut states = Vec::new();
    while let Some(event) = events.next().await {
        if let RunEvent::ToolCallStarted { .. } | RunEvent::ToolCallCompleted { .. } | RunEvent::ToolCallError { .. } =
            event.unwrap()
        {
            states.push(store.states(&run_id).await[0]);
        }
    }
    assert_eq!(states.len(), 3);
    assert_eq!(states[1..], ["failed", "failed"]);
    assert_ne!(states[0], "ready", "a call is told of after its claim");
}

#[tokio::test]
async fn what_the_stream_says_is_durable_when_it_says_it() {
    let store = Store::new().await;
    let agent = store.agent(tools![delete_user], one_call("delete_user", json!({ "user_id": "u1" }))).build().unwrap();
    let mut events = agent.run("go").stream();
    while let Some(event) = events.next().await {
        let event = event.unwrap();
        let run = store.db.get_run(&event.base().run_id).await.expect("a run that was told of is in the store");
        if let RunEvent::RunPaused { requirements, .. } = &event {
            assert_eq!((run.status, run.calls.len(), requirements.len()), (RunStatus::Paused, 1, 1));
            let shown = requirements[0].tool_execution.approval_id.clone();
            assert_eq!(shown, Some(store.approvals(&run.run_id).await[0].id.clone()));
        }
    }
}

#[tokio::test]
async fn a_run_that_fails_tells_so_and_gives_the_error() {
    let (seen, error) = watch(agent(vec![], []).run("go").stream()).await;
    assert_eq!(names(&seen), ["RunStarted", "ModelRequestStarted", "RunError"]);
    assert_eq!(error.map(|error| error.code()), Some("model_script_ended"));
    let Some(RunEvent::RunError { content, error_id, .. }) = seen.last() else { panic!("the last event is the error") };
    assert_eq!(content, "the scripted model has no turn 0: it has 0");
    assert_eq!(error_id.as_deref(), Some("model_script_ended"));
}

#[tokio::test]
async fn a_run_that_cannot_go_on_gives_the_error_alone() {
    let store = Store::new().await;
    let agent = store.agent(tools![delete_user], one_call("delete_user", json!({ "user_id": "u1" }))).build().unwrap();
    let run = agent.run("go").await.unwrap();
    let (seen, error) = watch(agent.continue_run(&run.run_id).stream()).await;
    assert_eq!((seen.len(), error.map(|error| error.code())), (0, Some("approval_pending")));
    let (seen, error) = watch(agent.continue_run("nothing").stream()).await;
    assert_eq!((seen.len(), error.map(|error| error.code())), (0, Some("run_not_found")));
}

#[tokio::test]
async fn a_run_starts_with_the_first_question_for_an_event() {
    let session = unique("session");
    let agent = agent(tools![lookup], one_call("lookup", json!({ "key": "a" })));
    drop(agent.run("go").session_id(&session).stream());
    let (seen, _) = watch(agent.run("go").session_id(&session).stream()).await;
    assert_eq!(seen.last().map(RunEvent::name), Some("RunCompleted"));
    assert_eq!(ledger::of(&session), ["lookup a"]);
}

#[tokio::test]
async fn a_reader_that_goes_away_loses_no_run() {
    let session = unique("session");
    let agent = agent(tools![wait_plain], one_call("wait_plain", json!({ "key": "a" })));
    let mut events = agent.run("go").session_id(&session).stream();
    let started = events.next().await.unwrap().unwrap();
    drop(events);
    gate(&session).arrival().await;
    gate(&session).open();
    let run = ended(&agent, &started.base().run_id).await;
    assert_eq!((run.status, run.content()), (RunStatus::Completed, "ok"));
}

/// A model that says many short things in one answer.
struct Chatty(usize);

impl Model for Chatty {
    fn id(&self) -> &str {
        "chatty"
    }

    fn provider(&self) -> &str {
        "Test"
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        self.respond_streamed(request, &|_| {})
    }

    fn respond_streamed<'a>(&'a self, _: ModelRequest<'a>, deltas: DeltaSink<'a>) -> ModelFuture<'a> {
        let mut reply = kern::models::ModelReply::default();
        for _ in 0..self.0 {
            let mut delta = ModelDelta::default();
            delta.content = Some("x".to_owned());
            deltas(delta);
        }
        reply.content = Some("x".repeat(self.0));
        Box::pin(async move { Ok::<_, ModelError>(reply) })
    }
}

#[tokio::test]
async fn a_reader_that_is_too_far_behind_gets_what_was_queued_and_a_typed_error() {
    let chatty = |parts| Agent::builder().model(Chatty(parts)).build().unwrap();
    // Two events come before the text. What fits, fits.
    let agent = chatty(1000);
    let mut events = agent.run("go").stream();
    let started = events.next().await.unwrap().unwrap();
    assert_eq!(ended(&agent, &started.base().run_id).await.status, RunStatus::Completed);
    let (seen, error) = watch(events).await;
    assert!(error.is_none());
    assert_eq!(seen.last().map(RunEvent::name), Some("RunCompleted"));

    let agent = chatty(100_000);
    let mut events = agent.run("go").stream();
    let started = events.next().await.unwrap().unwrap();
    let run = ended(&agent, &started.base().run_id).await;
    assert_eq!((run.status, run.content().len()), (RunStatus::Completed, 100_000));
    let (seen, error) = watch(events).await;
    let error = error.expect("what is missing is said");
    assert_eq!(error.code(), "events_lost");
    assert!(error.to_string().contains("get_run"), "{error}");
    // The first event may have left the queue, or not, when the last one found it full.
    assert!((1023..=1024).contains(&seen.len()), "all that was queued is there: {}", seen.len());
    assert!(seen.iter().skip(1).all(|event| event.name() == "RunContent"));
}

#[tokio::test]
async fn a_long_text_of_a_script_is_streamed_without_loss() {
    let text = "a word of many. ".repeat(1000);
    let (seen, error) = watch(agent(vec![], [turn().text(&text)]).run("go").stream()).await;
    assert!(error.is_none(), "{error:?}");
    let parts = seen.iter().filter_map(|event| match event {
        RunEvent::RunContent { content, .. } => Some(content.as_str()),
        _ => None,
    });
    let parts: Vec<&str> = parts.collect();
    assert_eq!((parts.len(), parts.concat()), (4000, text));
}

#[tokio::test]
async fn a_cancelled_run_tells_so() {
    let store = Store::new().await;
    let thinking = gate(&unique("model"));
    let model = SlowModel::new(ScriptedModel::new([turn().text("late")]), 0, Arc::clone(&thinking));
    let agent = store.agent(vec![], []).model(model).build().unwrap();
    let mut events = agent.run("go").stream();
    let started = events.next().await.unwrap().unwrap();
    thinking.arrival().await;
    let cancelled = agent.cancel_run(&started.base().run_id).await.unwrap();
    assert_eq!(cancelled.status, RunStatus::Cancelled);
    thinking.open();
    let (seen, error) = watch(events).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(seen.last().map(RunEvent::name), Some("RunCancelled"));
    assert!(!names(&seen).contains(&"RunContentCompleted"));
}

/// A model that hands nothing on while it answers.
struct Silent(kern::models::ModelReply);

impl Model for Silent {
    fn id(&self) -> &str {
        "silent"
    }

    fn provider(&self) -> &str {
        "Test"
    }

    fn respond<'a>(&'a self, _: ModelRequest<'a>) -> ModelFuture<'a> {
        let reply = self.0.clone();
        Box::pin(async move { Ok::<_, ModelError>(reply) })
    }

    fn respond_streamed<'a>(&'a self, request: ModelRequest<'a>, deltas: DeltaSink<'a>) -> ModelFuture<'a> {
        let mut thought = ModelDelta::default();
        thought.reasoning = Some("hm".to_owned());
        deltas(thought);
        self.respond(request)
    }
}

#[tokio::test]
async fn what_a_run_says_is_told_also_where_the_models_client_hands_nothing_on() {
    let mut refusal = kern::models::ModelReply::default();
    refusal.refusal = Some("I will not.".to_owned());
    let mut text = kern::models::ModelReply::default();
    text.content = Some("Here you are.".to_owned());
    for (reply, expected) in [(refusal, "I will not."), (text, "Here you are.")] {
        let agent = Agent::builder().model(Silent(reply)).build().unwrap();
        let (seen, _) = watch(agent.run("go").stream()).await;
        let mut said = Vec::new();
        for event in &seen {
            if let RunEvent::RunContent { content, reasoning_content, .. } = event {
                said.push((content.as_str(), reasoning_content.as_str()));
            }
        }
        assert_eq!(said, [("", "hm"), (expected, "")]);
        let Some(RunEvent::RunCompleted { content, .. }) = seen.last() else { panic!("the run is completed") };
        assert_eq!(content.as_deref(), Some(expected));
    }
}

/// Reads some events, then goes away. Gives the run's id where one came.
async fn peek(mut events: RunStream, count: usize) -> Option<RunId> {
    let mut run_id = None;
    for _ in 0..count {
        let Some(event) = events.next().await else { break };
        run_id = Some(event.expect("nothing goes wrong").base().run_id.clone());
    }
    run_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_a_reader_that_goes_away_at_any_event_loses_and_doubles_no_call() {
    let store = Store::new().await;
    let script = || {
        let call = |turn: Turn, id: &str| turn.tool_call("delete_user", json!({ "user_id": id }));
        [call(call(turn().text("now"), "u1"), "u2").tool_call("lookup", json!({ "key": "k" })), turn().text("done")]
    };
    for count in 1..24 {
        let session = unique("session");
        let agent = store.agent(tools![delete_user, lookup], script()).build().unwrap();
        let run_id = peek(agent.run("go").user_id("alice").session_id(&session).stream(), count).await.unwrap();
        let paused = ended(&agent, &run_id).await;
        assert!(paused.is_paused(), "after {count} events: {:?}", paused.status);
        assert_eq!(store.approvals(&run_id).await.len(), 2);
        store.approve_all(&run_id).await;
        drop(agent.continue_run(&run_id).stream());
        assert_eq!(ledger::of(&session), ["lookup k"], "a stream that nobody reads starts nothing");
        assert_eq!(peek(agent.continue_run(&run_id).user_id("alice").stream(), count).await, Some(run_id.clone()));
        let run = ended(&agent, &run_id).await;
        assert_eq!((run.status, run.content()), (RunStatus::Completed, "done"), "after {count} events");
        assert_eq!(ledger::of(&session), ["lookup k", "delete u1", "delete u2"], "after {count} events");
        assert_eq!(store.states(&run_id).await, ["succeeded", "succeeded"]);
    }
}
