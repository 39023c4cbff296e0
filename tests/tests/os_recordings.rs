//! Every recording of the reference's server that is about agents, runs, approvals and sessions, replayed against AgentOS:
//! the same request gives the same status, the same keys, nulls and types, the same events in the same order. Ids, times
//! and wordings aside, and the intended differences below.

use std::collections::{BTreeMap, BTreeSet};

use kern::os::{AgentOS, OsServer};
use kern_tests::recorded::{AGENTS, BEYOND, FRESH, agent, exchange};
use kern_tests::recording::differences;
use kern_tests::store::Store;
use serde_json::{Value, json};

/// What is meant to differ: the recordings, what their differences contain, and why.
const INTENDED: &[(&[&str], &[&str], &str)] = &[
    // The server.
    (
        &["config"],
        &["evals.dbs", "learning.dbs", "memory.dbs", "metrics.dbs", "traces.dbs"],
        "kern keeps none of these",
    ),
    (&["config"], &["body.session.dbs[0].tables[0]"], "the table has kern's name"),
    (&["config"], &["body.queue.durable: false became true"], "what waits is on the disk"),
    (
        &["config", "info", "teams_list"],
        &["body.teams: [", "body.team_count: 1 became 0", "body: [{"],
        "teams come later",
    ),
    (
        &["agent_get", "agents_list"],
        &["parameters.additionalProperties: not in the recording"],
        "arguments that a tool does not have are refused",
    ),
    (
        &["agents_list"],
        &[
            "body[6].tools.tools[0].description: not in the recording",
            "body[6].tools.tools[0].parameters",
            "body[6].tools.tools[0].requires_confirmation: missing",
            "body[6].tools.tools[0].external_execution: missing",
            "body[7].tools.tools[0].description: not in the recording",
            "body[7].tools.tools[0].parameters",
            "body[7].tools.tools[0].requires_confirmation: missing",
            "body[7].tools.tools[0].external_execution: missing",
        ],
        "the reference lists its own pausing tools before it has read their arguments",
    ),
    // Approvals.
    (&["delete_approval_missing"], &["status: 500 became 404, not_found"], "what is not there is not found"),
    (
        &["approval_after_cancel"],
        &[
            "status: \"pending\" became \"cancelled\"",
            "run_status: \"PAUSED\" became \"CANCELLED\"",
            "resolved_at: null became",
        ],
        "cancelling a run cancels what it waits for",
    ),
    (
        &["approvals_list_audit"],
        &["resolved_by: null became \"alice\"", "user_id: null became \"alice\""],
        "a record says who asked and who answered",
    ),
    (&["approvals_multi"], &["body.data: [", "body.meta.total_count: 1 became 2"], "each call has a row of its own"),
    (&["approvals_page"], &["body.data[", "body.meta.total_"], "so there are other rows"),
    (
        &["resolve_user_input", "continue_user_input"],
        &["tool_args.to_address: not in the recording"],
        "a row shows what is going to run, and not what the model asked for",
    ),
    // Runs.
    (
        &["continue_again_after_completed"],
        &["status: 200 became 409, not_paused"],
        "a run that is over is not continued: the reference makes another of it",
    ),
    (&["continue_after_cancel"], &["status: 400 became 409, not_paused"], "it is over, whatever it waited for"),
    (
        &["multi_continue_after_admin_only"],
        &["status: 200 became 400, requirements_unresolved"],
        "the reference refuses the calls that only the person who asked can confirm, without asking",
    ),
    (&["run_paused_multi"], &["body.messages: ["], "results become messages when every call of the turn has one"),
    (&[], &[".metrics: missing"], "the reference measures each answer of the model, kern the run"),
    (
        &[],
        &["metadata.approval.run_status: \"PAUSED\" became \"COMPLETED\""],
        "the approval is the row as it is, the reference's is a copy of before",
    ),
    (
        &[],
        &[
            "tool_execution.requires_confirmation: true became false",
            "tool_execution.requires_user_input: true became false",
            "tool_execution.external_execution_required: true became false",
            "tool_execution.result: null became",
            "tool_execution.tool_call_error: null became",
        ],
        "the recorded requirement is a copy of before, kern shows the same call in both places",
    ),
    (
        &["continue_external", "continue_get_user_input", "continue_ask_user"],
        &["tools[0].tool_call_error: null became false", "messages[2].tool_call_error: not in the recording"],
        "kern says of every outcome whether it is the normal one",
    ),
    (
        &["continue_get_user_input", "continue_ask_user"],
        &["tools[0].result: null became \"User"],
        "what the user filled in is the result of the call, as of any other",
    ),
    (&["continue_ask_user"], &[".options[0].selected: false became true"], "an option that was chosen says so"),
    (
        &["continue_confirm_true", "continue_confirm_false", "continue_audit", "continue_after_rejected"],
        &[
            "requirements[0].confirmation: not in the recording",
            "requirements[0].confirmation_note: not in the recording",
        ],
        "the recorded client answered on the call alone, kern shows the answer in both places",
    ),
    (
        &["continue_confirm_false", "continue_after_rejected"],
        &[
            "content: \"",
            "tools[0].result: null became",
            "confirmation_note: \"Tool call was rejected\" became",
            "confirmation_note: null became",
        ],
        "the model is told who said no, and the reason marked as data; what it is told is the result",
    ),
    (&["continue_audit"], &[".approval_id: null became"], "a call names its record"),
    // Sessions.
    (
        &["session_get"],
        &["body.chat_history: ["],
        "a run that is over is not continued: the reference tells what was said twice",
    ),
    (
        &["sessions_list"],
        &["data[0].session_id: \"s3\" became \"s4\"", "data[1].session_id: \"s4\" became \"s3\""],
        "of two that changed in the same second, the later one comes first",
    ),
    (&["sessions_list"], &["body.meta.total_"], "there were more when the reference was asked"),
    (&["sse_continue_pending"], &["RunError.error_id: not in the recording"], "the error has a code"),
];

/// What the reference has beside what was asked for: a run that was made of one that was over.
fn without_forks(mut body: Value) -> Value {
    if let Value::Array(runs) = &mut body {
        runs.retain(|run| run.get("forked_from_run_id").is_none_or(Value::is_null));
    }
    body
}

/// What stands for wordings and for ids of this machine.
fn same(key: &str, _: &Value, _: &Value) -> bool {
    const WORDED: &[&str] = &["detail", "msg", "docs", "os_version", "agno_version", "instantiated_at"];
    FRESH.contains(&key) || WORDED.contains(&key) || key == "session_table"
}

struct Played {
    server: OsServer,
    client: reqwest::Client,
    /// Ids of the recordings, and what they are here.
    ids: BTreeMap<String, String>,
    /// What differed, by recording.
    found: BTreeMap<String, Vec<String>>,
}

impl Played {
    async fn start(store: &Store) -> Self {
        let agents = AGENTS.iter().map(|id| agent(id).db(store.db.clone()).build().expect("the agent is right"));
        let os =
            AgentOS::builder().id("kern-spec-os").name("Spec OS").description("d").agents(agents).db(store.db.clone());
        // As in the reference, a run goes on when a client says so.
        let os = os.without_worker();
        let server = os.build().expect("it is right").start("127.0.0.1:0").await.expect("it is served");
        Self { server, client: reqwest::Client::new(), ids: BTreeMap::new(), found: BTreeMap::new() }
    }

    fn translated(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (recorded, here)| text.replace(recorded, here))
    }

    async fn send(&self, method: &str, url: &str, body: &str) -> (u16, String, String) {
        let url = format!("http://{}{}", self.server.address(), self.translated(url));
        let mut request = self.client.request(method.parse().expect("a method"), url);
        if !body.is_empty() {
            let kind = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
            request = request.header("content-type", kind).body(self.translated(body));
        }
        let response = request.send().await.expect("the server answers");
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().expect("it is text").to_owned());
        (response.status().as_u16(), kind.unwrap_or_default(), response.text().await.expect("the body is text"))
    }

    /// Learns which ids stand for which.
    fn learn(&mut self, recorded: &Value, here: &Value) {
        match (recorded, here) {
            (Value::Object(recorded), Value::Object(here)) => {
                for (name, value) in recorded {
                    let Some(other) = here.get(name) else { continue };
                    if let ("id" | "run_id" | "approval_id", Some(one), Some(other)) =
                        (name.as_str(), value.as_str(), other.as_str())
                        && one.len() == 36
                    {
                        self.ids.insert(one.to_owned(), other.to_owned());
                    }
                    self.learn(value, other);
                }
            }
            (Value::Array(recorded), Value::Array(here)) => {
                for (one, other) in recorded.iter().zip(here) {
                    self.learn(one, other);
                }
            }
            _ => {}
        }
    }

    /// Replays a recording of one answer.
    async fn replay(&mut self, name: &str) {
        let recorded = exchange(name);
        let request = &recorded["request"];
        let text = |key: &str| request[key].as_str().unwrap_or_default();
        let (status, _, body) = self.send(text("method"), text("url"), text("body")).await;
        let mut here: Value =
            if body.is_empty() { json!("") } else { serde_json::from_str(&body).expect("the body is JSON") };
        let mut found = Vec::new();
        if recorded["status"] == status {
            let mut body = without_forks(recorded["body"].clone());
            self.learn(&body, &here);
            prepare(&mut body);
            prepare(&mut here);
            found.extend(differences("body", &body, &here, &same));
        } else {
            // Another answer has another body.
            let code = here["code"].as_str().unwrap_or("none");
            found.push(format!("status: {} became {status}, {code}", recorded["status"]));
        }
        self.found.insert(name.to_owned(), found);
    }

    /// Replays a recording of a stream.
    async fn replay_stream(&mut self, name: &str, url: &str, body: &str) {
        let recorded =
            std::fs::read_to_string(kern_tests::recorded::path(&format!("{name}.sse.txt"))).expect("it is there");
        let (status, kind, here) = self.send("POST", url, body).await;
        assert_eq!(status, 200, "{name}: {here}");
        assert!(kind.starts_with("text/event-stream"), "{name}: {kind}");
        let (recorded, here) = (frames(&recorded), frames(&here));
        let names = |frames: &[(String, Value)]| frames.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let mut found = Vec::new();
        if names(&recorded) != names(&here) {
            found.push(format!("events: {:?} became {:?}", names(&recorded), names(&here)));
        }
        for ((event, mut one), (_, mut other)) in recorded.into_iter().zip(here) {
            self.learn(&one, &other);
            prepare(&mut one);
            prepare(&mut other);
            found.extend(differences(&event, &one, &other, &same));
        }
        self.found.insert(name.to_owned(), found);
    }

    /// Starts what a recording goes on with and nobody recorded the start of.
    async fn begin(&mut self, agent: &str, session: &str, run_id: &str, approval_id: Option<&str>) {
        let body = format!("message=go&stream=false&session_id={session}&user_id=alice");
        let (status, _, body) = self.send("POST", &format!("/agents/{agent}/runs"), &body).await;
        assert_eq!(status, 200, "{body}");
        let run: Value = serde_json::from_str(&body).expect("a run is JSON");
        self.ids.insert(run_id.to_owned(), run["run_id"].as_str().expect("it has an id").to_owned());
        if let Some(approval_id) = approval_id {
            let here = run["tools"][0]["approval_id"].as_str().expect("it waits for an approval");
            self.ids.insert(approval_id.to_owned(), here.to_owned());
        }
    }

    async fn approve(&self, approval_id: &str) {
        let body = json!({ "status": "approved" }).to_string();
        let (status, _, body) = self.send("POST", &format!("/approvals/{approval_id}/resolve"), &body).await;
        assert_eq!(status, 200, "{body}");
    }
}

/// The frames of a stream.
fn frames(text: &str) -> Vec<(String, Value)> {
    let mut frames = Vec::new();
    let mut name = None;
    for line in text.lines() {
        if let Some(event) = line.strip_prefix("event: ") {
            name = Some(event.to_owned());
        } else if let Some(data) = line.strip_prefix("data: ") {
            let data = serde_json::from_str(data).expect("an event is JSON");
            frames.push((name.take().expect("an event has its name first"), data));
        }
    }
    frames
}

/// Takes kern's own fields away, and what only words or measures something.
fn prepare(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.contains_key("approval_type") && fields.contains_key("source_type") {
                fields.retain(|name, _| !BEYOND.contains(&name.as_str()));
            }
            if fields.contains_key("detail") {
                // kern's own fields of a problem.
                fields.retain(|name, _| name == "detail");
            }
            fields.remove("kern_version");
            // Beside the pages of a list.
            fields.remove("next_cursor");
            if let Some(Value::Array(tools)) = fields.get_mut("tools") {
                // kern keeps the calls in the order in which the model asked for them, the reference puts plain ones last.
                tools.sort_by_key(|tool| tool["tool_call_id"].to_string());
            }
            if fields.get("event").is_some_and(|event| event == "ToolCallCompleted") {
                // It says how long the call took.
                fields.remove("content");
            }
            if let Some(Value::Array(messages)) = fields.get_mut("messages") {
                // The instructions are the agent's, and not in its runs.
                messages.retain(|message| message["role"] != "system");
            }
            fields.values_mut().for_each(prepare);
        }
        Value::Array(items) => items.iter_mut().for_each(prepare),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recording_is_answered_as_it_was() {
    let store = Store::new().await;
    let mut os = Played::start(&store).await;
    for name in
        ["root", "health", "info", "config", "agents_list", "agent_get", "agent_get_404", "run_404", "run_no_message"]
    {
        os.replay(name).await;
    }
    for name in [
        "approvals_list_empty",
        "approvals_count_empty",
        "run_paused_required",
        "approvals_list_pending",
        "approvals_count_1",
        "approval_get",
        "approval_get_404",
        "approval_status",
        "approval_status_404",
        "approvals_bad_status_query",
        "approvals_limit_0",
        "continue_while_pending_no_tools",
        "continue_no_session",
        "continue_bad_json",
        "resolve_404",
        "resolve_bad_status",
        "resolve_missing_body",
        "resolve_approved",
        "approval_status_approved",
        "resolve_conflict",
    ] {
        os.replay(name).await;
    }
    for name in
        ["continue_after_approved", "approval_after_continue", "continue_again_after_completed", "agent_run_get"]
    {
        os.replay(name).await;
    }
    for name in ["agent_runs_list", "session_get", "session_runs", "session_run_get"] {
        os.replay(name).await;
    }
    let id = |name: &str, field: &str| {
        let url = exchange(name)["request"]["url"].as_str().expect("it has an address").to_owned();
        let after = url.split(field).nth(1).expect("the id stands in it").to_owned();
        after.trim_start_matches('/').split(['/', '?']).next().expect("an id").to_owned()
    };
    os.begin("dm", "s2", &id("continue_after_rejected", "runs"), Some(&id("resolve_rejected", "approvals"))).await;
    for name in ["resolve_rejected", "continue_after_rejected", "delete_approval", "delete_approval_missing"] {
        os.replay(name).await;
    }
    for name in ["run_paused_confirm", "continue_confirm_true"] {
        os.replay(name).await;
    }
    os.begin("confirm", "s4", &id("continue_confirm_false", "runs"), None).await;
    os.replay("continue_confirm_false").await;
    os.replay("sessions_list").await;
    for name in [
        "run_paused_audit",
        "continue_audit",
        "approvals_list_audit",
        "run_paused_user_input_required",
        "resolve_user_input",
        "continue_user_input",
        "run_paused_external_required",
        "resolve_external",
        "continue_external",
    ] {
        os.replay(name).await;
    }
    os.begin(
        "ext",
        "s7b",
        &id("continue_external_approved_no_result", "runs"),
        Some("no-result-00000000-0000-0000-0000-00"),
    )
    .await;
    os.approve("no-result-00000000-0000-0000-0000-00").await;
    for name in [
        "continue_external_approved_no_result",
        "run_paused_get_user_input",
        "continue_get_user_input",
        "run_paused_ask_user",
        "continue_ask_user",
        "run_paused_multi",
        "approvals_multi",
        "multi_continue_pending",
    ] {
        os.replay(name).await;
    }
    let run = os.translated(&id("multi_continue_pending", "runs"));
    for row in store.approvals(&run.as_str().into()).await {
        os.approve(row.id.as_str()).await;
    }
    os.replay("multi_continue_after_admin_only").await;
    os.begin("dm", "s15", &id("cancel_run", "runs"), Some("cancelled-00000000-0000-0000-0000-00")).await;
    for name in ["cancel_run", "continue_after_cancel", "approval_after_cancel", "approvals_page", "teams_list"] {
        os.replay(name).await;
    }
    let form = |session: &str| format!("message=go&stream=true&session_id={session}&user_id=alice");
    os.replay_stream("sse_plain", "/agents/plain/runs", &form("s17")).await;
    os.replay_stream("sse_run_paused", "/agents/dm/runs", &form("s16")).await;
    let recorded = std::fs::read_to_string(kern_tests::recorded::path("sse_run_paused.sse.txt")).expect("it is there");
    let paused = frames(&recorded).pop().expect("it pauses").1;
    let run_id = paused["run_id"].as_str().expect("it has an id").to_owned();
    let url = format!("/agents/dm/runs/{run_id}/continue");
    os.replay_stream("sse_continue_pending", &url, "session_id=s16&user_id=alice&stream=true").await;
    let row = store.approvals(&os.translated(&run_id).as_str().into()).await.remove(0);
    os.approve(row.id.as_str()).await;
    os.replay_stream("sse_continue_approved", &url, "session_id=s16&user_id=alice&stream=true").await;

    let mut used: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut unexpected = Vec::new();
    for (name, found) in &os.found {
        for line in found {
            let mut meant = false;
            for (at, (recordings, differences, _)) in INTENDED.iter().enumerate() {
                for (place, difference) in differences.iter().enumerate() {
                    if (recordings.is_empty() || recordings.contains(&name.as_str())) && line.contains(difference) {
                        used.insert((at, place));
                        meant = true;
                    }
                }
            }
            if !meant {
                unexpected.push(format!("{name}: {line}"));
            }
        }
    }
    assert!(unexpected.is_empty(), "{} differences that nobody means:\n{}", unexpected.len(), unexpected.join("\n"));
    for (at, (recordings, differences, why)) in INTENDED.iter().enumerate() {
        for (place, difference) in differences.iter().enumerate() {
            assert!(used.contains(&(at, place)), "nothing differs so any more: {difference} in {recordings:?} ({why})");
        }
    }
    let replayed: BTreeSet<String> = os.found.keys().cloned().collect();
    let missing: Vec<String> =
        kern_tests::recorded::names().into_iter().filter(|name| !replayed.contains(name)).collect();
    assert_eq!(missing, [] as [&str; 0], "recordings that nobody replays");
    os.server.shutdown().await;
}
