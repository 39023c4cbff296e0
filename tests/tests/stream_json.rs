//! The events of streamed runs against the streams that the reference really sent: the same events in the same order, with
//! the same keys, nulls and types, and the same values but for ids, times and wordings.

use std::path::{Path, PathBuf};

use kern::db::Db as _;
use kern::models::{Model, ModelFuture, ModelRequest, ScriptedModel, turn};
use kern::prelude::*;
use kern::run::{RunId, RunStream};
use kern_tests::recording;
use kern_tests::store::Store;
use serde_json::Value;

/// Delete the data of a user.
#[approval]
#[tool(requires_confirmation)]
async fn delete_user_data(user_id: String) -> String {
    format!("deleted {user_id}")
}

/// Look up a key.
#[tool]
async fn lookup(key: String) -> String {
    format!("value of {key}")
}

/// Keys whose values are ids, times or measured: only their types are compared.
const FRESH: &[&str] =
    &["id", "run_id", "approval_id", "created_at", "time_to_first_token", "duration", "start_time", "end_time"];

fn recording(name: &str) -> Vec<Value> {
    let shared = match std::env::var_os("KERN_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
    };
    let path = shared.join("contract").join(format!("{name}.sse.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("a recorded event is JSON")).collect()
}

async fn watch(mut events: RunStream) -> Vec<RunEvent> {
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push(event.expect("the run goes well"));
    }
    seen
}

fn differences(place: &str, recorded: &Value, found: &Value) -> Vec<String> {
    recording::differences(place, recorded, found, &|key, recorded, found| {
        // The line that a call has ended: its time is in it.
        let call = recorded.as_str().and_then(|line| line.split_once(" completed in "));
        let ended = call.zip(found.as_str()).is_some_and(|((call, _), found)| found.starts_with(call));
        FRESH.contains(&key) || ended
    })
}

/// Compares a stream with a recording: first the names, then each event, which is also read again.
fn compare(name: &str, recorded: &[Value], seen: &[RunEvent]) {
    let names: Vec<&str> = recorded.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(seen.iter().map(RunEvent::name).collect::<Vec<_>>(), names, "{name}");
    for (recorded, event) in recorded.iter().zip(seen) {
        let found = serde_json::to_value(event).expect("an event is JSON");
        assert_eq!(differences(event.name(), recorded, &found), [] as [&str; 0], "{name}");
        assert_eq!(&serde_json::from_value::<RunEvent>(found).expect("an event is read again"), event);
        assert!(serde_json::from_value::<RunEvent>(recorded.clone()).is_ok(), "a recorded event is read");
    }
}

/// A script that says its text at once, as the model of the recordings did.
struct AtOnce(ScriptedModel);

impl Model for AtOnce {
    fn id(&self) -> &str {
        Model::id(&self.0)
    }

    fn provider(&self) -> &str {
        Model::provider(&self.0)
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        self.0.respond(request)
    }
}

fn model(name: &str, arguments: Value, said: &str) -> AtOnce {
    let script = ScriptedModel::new([turn().tool_call(name, arguments), turn().text(said)]);
    AtOnce(script.id("fake-model").provider("Fake"))
}

#[tokio::test]
async fn a_plain_run_is_streamed_as_recorded() {
    let agent = Agent::builder()
        .id("plain")
        .name("PLAIN")
        .model(model("lookup", json!({ "key": "k" }), "ok | tool results: value of k"))
        .tools(tools![lookup])
        .build()
        .unwrap();
    let seen = watch(agent.run("go").session_id("s17").stream()).await;
    compare("sse_plain", &recording("sse_plain"), &seen);
}

#[tokio::test]
async fn a_paused_run_and_its_continuation_are_streamed_as_recorded() {
    let store = Store::new().await;
    let agent = store
        .agent(tools![delete_user_data], [])
        .model(model("delete_user_data", json!({ "user_id": "u1" }), "ok | tool results: deleted u1"))
        .id("dm")
        .name("DM")
        .build()
        .unwrap();
    let seen = watch(agent.run("go").user_id("alice").session_id("s16").stream()).await;
    compare("sse_run_paused", &recording("sse_run_paused"), &seen);
    let run_id: RunId = seen[0].base().run_id.clone();
    assert_eq!(store.db.get_run(&run_id).await.unwrap().status, RunStatus::Paused);

    store.approve_all(&run_id).await;
    let seen = watch(agent.continue_run(&run_id).user_id("alice").stream()).await;
    let mut recorded = recording("sse_continue_approved");
    // Intended: `RunOutput` has no copy of an approval row either. The row is in the store, and says how it stands now.
    let completed = recorded.last_mut().and_then(Value::as_object_mut).expect("the stream ends with an event");
    assert!(completed.remove("metadata").is_some());
    compare("sse_continue_approved", &recorded, &seen);
}
