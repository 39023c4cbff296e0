//! Sessions: what a run sees of the earlier ones, and that two runs at once keep to themselves.

use std::future::IntoFuture as _;
use std::sync::{Arc, Mutex, PoisonError};

use kern::agent::AgentBuilder;
use kern::db::Db as _;
use kern::models::{Model, ModelError, ModelFuture, ModelReply, ModelRequest, ScriptedModel, Turn, turn};
use kern::prelude::*;
use kern::run::{Message, Role};
use kern_tests::gates::gate;
use kern_tests::ledger;
use kern_tests::store::{Store, code, one_call};
use kern_tests::tools::{delete_user, lookup, wait_plain};

/// A scripted model that keeps what it was asked with.
#[derive(Clone)]
struct Heard {
    script: ScriptedModel,
    asked: Arc<Mutex<Vec<Vec<Message>>>>,
}

impl Heard {
    fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { script: ScriptedModel::new(turns), asked: Arc::default() }
    }

    /// The last question: who says what, and whether it is history.
    fn last(&self) -> Vec<(&'static str, String, bool)> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let role = |role| match role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            _ => "tool",
        };
        let shown = |message: &Message| {
            let calls: Vec<&str> = message.tool_calls.iter().map(|call| call.id.as_str()).collect();
            let text = message.content.clone().unwrap_or_else(|| calls.join(" "));
            (role(message.role), text, message.from_history)
        };
        asked.last().expect("the model was asked").iter().map(shown).collect()
    }
}

impl Model for Heard {
    fn id(&self) -> &str {
        "heard"
    }

    fn provider(&self) -> &str {
        "Test"
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(request.messages.to_vec());
        self.script.respond(request)
    }
}

fn said(role: &'static str, text: &str, from_history: bool) -> (&'static str, String, bool) {
    (role, text.to_owned(), from_history)
}

fn agent(store: &Store, model: &Heard) -> AgentBuilder {
    store.agent(tools![lookup, delete_user, wait_plain], []).model(model.clone())
}

#[tokio::test]
async fn a_run_sees_the_earlier_runs_of_its_session_before_its_own_words() {
    let store = Store::new().await;
    let model = Heard::new(one_call("lookup", json!({ "key": "k" })));
    let agent = agent(&store, &model).instructions("Be brief.").build().unwrap();
    let first = agent.run("one").user_id("alice").session_id("s").await.unwrap();
    let second = agent.run("two").user_id("alice").session_id("s").await.unwrap();
    let expected = [
        said("system", "Be brief.", false),
        said("user", "one", true),
        said("assistant", "call_0_0", true),
        said("tool", "value of k", true),
        said("assistant", "ok", true),
        said("user", "two", false),
        said("assistant", "call_0_0", false),
        said("tool", "value of k", false),
    ];
    assert_eq!(model.last(), expected);
    // The run's own messages are all that it keeps and gives.
    assert_eq!(first.messages.len(), 4);
    assert_eq!(second.messages.len(), 4);
    assert!(second.messages.iter().all(|message| !message.from_history));
    let stored = store.db.get_run(&second.run_id).await.unwrap().snapshot;
    assert!(!stored.contains("\"one\""), "{stored}");
}

#[tokio::test]
async fn nobody_sees_the_runs_of_another_person_session_or_agent_or_more_than_asked_for() {
    let store = Store::new().await;
    let model = Heard::new([turn().text("ok")]);
    let agent = |id: &str| agent(&store, &model).id(id);
    let a = agent("a").build().unwrap();
    a.run("of alice").user_id("alice").session_id("s").await.unwrap();
    a.run("of bob").user_id("bob").session_id("s").await.unwrap();
    a.run("of nobody").session_id("s").await.unwrap();
    a.run("elsewhere").user_id("alice").session_id("t").await.unwrap();
    agent("b").build().unwrap().run("of another agent").user_id("alice").session_id("s").await.unwrap();
    a.run("in no session").user_id("alice").await.unwrap();
    let users = || {
        let users = model.last().into_iter().filter(|(role, ..)| *role == "user");
        users.map(|(_, text, _)| text).collect::<Vec<_>>()
    };
    a.run("again").user_id("alice").session_id("s").await.unwrap();
    assert_eq!(users(), ["of alice", "again"]);
    a.run("again").session_id("s").await.unwrap();
    assert_eq!(users(), ["of nobody", "again"]);
    let two = agent("a").num_history_runs(2).build().unwrap();
    two.run("and again").user_id("alice").session_id("s").await.unwrap();
    assert_eq!(users(), ["of alice", "again", "and again"]);
    two.run("at last").user_id("alice").session_id("s").await.unwrap();
    assert_eq!(users(), ["again", "and again", "at last"]);
    let none = agent("a").num_history_runs(0).build().unwrap();
    none.run("alone").user_id("alice").session_id("s").await.unwrap();
    assert_eq!(users(), ["alone"]);
}

#[tokio::test]
async fn a_session_without_a_name_is_nobodys() {
    let store = Store::new().await;
    let model = Heard::new([turn().text("noted")]);
    let agent = agent(&store, &model).build().unwrap();
    let first = agent.run("my secret").session_id("").await.unwrap();
    let second = agent.run("what was it?").session_id("").await.unwrap();
    assert_eq!(model.last(), [said("user", "what was it?", false)]);
    assert!(!first.session_id.as_str().is_empty() && first.session_id != second.session_id);
}

#[tokio::test]
async fn of_runs_that_were_stopped_only_what_was_finished_is_seen() {
    let store = Store::new().await;
    let model = Heard::new([turn().tool_call("delete_user", json!({ "user_id": "u1" })), turn().text("ok")]);
    let agent = agent(&store, &model).build().unwrap();
    let session = |text: &str| agent.run(text).user_id("alice").session_id("s");
    let cancelled = session("cancelled").await.unwrap();
    agent.cancel_run(&cancelled.run_id).await.unwrap();
    let paused = session("paused").await.unwrap();
    assert!(paused.is_paused());
    session("last").await.unwrap();
    assert_eq!(model.last(), [said("user", "cancelled", true), said("user", "last", false)]);
}

#[tokio::test]
async fn a_run_that_goes_on_elsewhere_sees_what_it_saw_when_it_started() {
    let store = Store::new().await;
    let model = Heard::new([turn().tool_call("delete_user", json!({ "user_id": "u1" })), turn().text("ok")]);
    let quick = Heard::new([turn().text("quick")]);
    let quick = |db| Agent::builder().id("agent").model(quick.clone()).db(db).build().unwrap();
    quick(store.db.clone()).run("before").user_id("alice").session_id("s").await.unwrap();
    let run = agent(&store, &model).build().unwrap().run("go").user_id("alice").session_id("s").await.unwrap();
    assert!(run.is_paused());
    quick(store.db.clone()).run("meanwhile").user_id("alice").session_id("s").await.unwrap();
    store.approve_all(&run.run_id).await;
    // Another process, whose agent would show no history to a run of its own.
    let elsewhere = Agent::builder().id("agent").model(model.clone()).tools(tools![delete_user]).num_history_runs(0);
    let elsewhere = elsewhere.db(store.again().await).build().unwrap();
    let run = elsewhere.continue_run(&run.run_id).user_id("alice").await.unwrap();
    assert_eq!(run.content(), "ok");
    let expected = [
        said("user", "before", true),
        said("assistant", "quick", true),
        said("user", "go", false),
        said("assistant", "call_0_0", false),
        said("tool", "deleted u1", false),
    ];
    assert_eq!(model.last(), expected);
    quick(store.db.clone()).run("after").user_id("alice").session_id("s").await.unwrap();
}

#[tokio::test]
async fn two_runs_of_a_session_at_once_both_work_and_see_nothing_of_each_other() {
    let store = Store::new().await;
    let session = kern_tests::folder::unique("session");
    let models = [1, 2].map(|_| Heard::new(one_call("wait_plain", json!({ "key": "k" }))));
    let start = |place: usize| {
        let agent = agent(&store, &models[place]).build().unwrap();
        tokio::spawn(agent.run(format!("run {place}")).user_id("alice").session_id(&session).into_future())
    };
    let running = [start(0), start(1)];
    for _ in 0..2 {
        gate(&session).arrival().await;
    }
    // Both are in a body of their first turn, and then both go on.
    for _ in 0..2 {
        gate(&session).open();
    }
    for (place, run) in running.into_iter().enumerate() {
        let run = run.await.unwrap().unwrap();
        assert_eq!((run.status, run.content()), (RunStatus::Completed, "ok"));
        let own = format!("run {place}");
        let expected =
            [said("user", &own, false), said("assistant", "call_0_0", false), said("tool", "waited k", false)];
        assert_eq!(models[place].last(), expected);
    }
    assert_eq!(ledger::of(&session).len(), 2);
    // The next one sees both.
    let model = Heard::new([turn().text("three")]);
    agent(&store, &model).build().unwrap().run("run 2").user_id("alice").session_id(&session).await.unwrap();
    let seen = model.last();
    assert_eq!(seen.len(), 9);
    assert_eq!(seen.iter().filter(|(role, ..)| *role == "user").count(), 3);
}

#[tokio::test]
async fn a_history_that_cannot_be_read_starts_no_run() {
    let store = Store::new().await;
    let model = Heard::new([turn().text("ok")]);
    let agent = agent(&store, &model).build().unwrap();
    agent.run("one").user_id("alice").session_id("s").await.unwrap();
    // Past the trigger that keeps ended runs as they were.
    let lies = "DROP TRIGGER kern_runs_ended; UPDATE kern_runs SET snapshot = replace(snapshot, 'one', 'two')";
    store.raw().execute_batch(lies).unwrap();
    let outcome = agent.run("two").user_id("alice").session_id("s").await;
    assert_eq!(code(outcome), "digest_mismatch");
    assert_eq!(store.count("runs"), 1);
}

/// A model that fails after its first answer.
struct Breaks(Heard);

impl Model for Breaks {
    fn id(&self) -> &str {
        "breaks"
    }

    fn provider(&self) -> &str {
        "Test"
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        if request.messages.last().is_some_and(|message| message.role == Role::Tool) {
            let (provider, message) = ("Test".to_owned(), "half an answer".to_owned());
            return Box::pin(async move { Err::<ModelReply, _>(ModelError::InvalidReply { provider, message }) });
        }
        self.0.respond(request)
    }
}

#[tokio::test]
async fn w14_a_tools_message_outlives_the_model_and_is_seen_by_the_next_run() {
    let store = Store::new().await;
    let heard = Heard::new([turn().tool_call("delete_user", json!({ "user_id": "u1" })), turn().text("ok")]);
    let builder = store.agent(tools![delete_user], []).model(Breaks(heard));
    let failing = builder.build().unwrap();
    let run = failing.run("delete u1").user_id("alice").session_id("s").await.unwrap();
    store.approve_all(&run.run_id).await;
    assert_eq!(code(failing.continue_run(&run.run_id).user_id("alice").await), "model_invalid_reply");
    let run = failing.get_run(&run.run_id).await.unwrap();
    assert_eq!(run.status, RunStatus::Error);
    assert_eq!(run.messages.last().and_then(|message| message.content.as_deref()), Some("deleted u1"));
    // The next run knows that it was done.
    let next = Heard::new([turn().text("It is done already.")]);
    let agent = agent(&store, &next).build().unwrap();
    agent.run("delete u1").user_id("alice").session_id("s").await.unwrap();
    let expected = [
        said("user", "delete u1", true),
        said("assistant", "call_0_0", true),
        said("tool", "deleted u1", true),
        said("user", "delete u1", false),
    ];
    assert_eq!(next.last(), expected);
}
