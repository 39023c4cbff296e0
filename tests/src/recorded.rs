//! The agents behind the recordings of the reference, and the recordings themselves: they lie beside a checkout.

use std::path::{Path, PathBuf};

use kern::agent::AgentBuilder;
use kern::guardrails::{PIIDetectionGuardrail, PromptInjectionGuardrail};
use kern::models::{Model, ModelFuture, ModelRequest, ScriptedModel, turn};
use kern::prelude::*;
use kern::run::Role;
use kern::tools::{UserControlFlowTools, UserFeedbackTools};
use serde_json::Value;

/// Permanently delete all data for a user.
#[approval]
#[tool(requires_confirmation)]
pub async fn delete_user_data(user_id: String) -> String {
    format!("deleted {user_id}")
}

/// Export.
#[approval(type = "audit")]
#[tool(requires_confirmation)]
pub async fn export_data(customer_id: String) -> String {
    format!("exported {customer_id}")
}

/// Restart.
#[tool(requires_confirmation)]
pub async fn restart_service(service_name: String) -> String {
    format!("restarted {service_name}")
}

/// Look up.
#[tool]
pub async fn lookup(key: String) -> String {
    format!("value of {key}")
}

/// Send email.
#[approval]
#[tool(user_input_fields("to_address"))]
pub async fn send_email(
    /// the subject
    subject: String,
    /// the recipient
    to_address: String,
) -> String {
    format!("sent {subject} to {to_address}")
}

/// Run.
#[approval]
#[tool(external_execution)]
pub async fn run_external(cmd: String) -> String {
    cmd
}

/// Keys whose values are ids, times or measured: only their types are compared.
pub const FRESH: &[&str] = &[
    "id",
    "run_id",
    "approval_id",
    "created_at",
    "updated_at",
    "resolved_at",
    "time_to_first_token",
    "duration",
    "start_time",
    "end_time",
    "search_time_ms",
];

/// What an approval row of kern has beyond the reference's.
pub const BEYOND: &[&str] = &[
    "digest",
    "edited_by",
    "requester",
    "execution",
    "pool",
    "quorum",
    "resolved_by_verified",
    "sensitive",
    "tool_call_id",
    "version",
    "votes",
];

/// Where a recording is.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    let shared = match std::env::var_os("KERN_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
    };
    shared.join("contract").join(name)
}

/// The names of the recordings that AgentOS answers: all but those of teams, workflows, guardrails and traces.
///
/// # Panics
///
/// When they cannot be listed.
#[must_use]
pub fn names() -> Vec<String> {
    const LATER: &[&str] = &["team_", "sse_team", "workflow", "guard", "sse_guard", "mask", "trace", "openapi"];
    let listed = std::fs::read_dir(path("")).expect("the recordings are there");
    let files = listed.map(|file| file.expect("it can be listed").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = files
        .filter_map(|file| file.strip_suffix(".json").or_else(|| file.strip_suffix(".sse.txt")).map(str::to_owned))
        .filter(|name| !LATER.iter().any(|later| name.starts_with(later)))
        .collect();
    names.sort();
    names
}

/// A recording.
///
/// # Panics
///
/// When there is none of this name.
#[must_use]
pub fn exchange(name: &str) -> Value {
    let path = path(&format!("{name}.json"));
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("a recording is JSON")
}

/// The recorded model: the calls of an agent first, then what it was told of them.
struct Recorded {
    calls: &'static [(&'static str, &'static str)],
}

impl Model for Recorded {
    fn id(&self) -> &str {
        "fake-model"
    }

    fn provider(&self) -> &str {
        "Fake"
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        let mut first = turn();
        for (place, (name, arguments)) in self.calls.iter().enumerate() {
            first = first.raw_tool_call(Some(&format!("call_0_{place}")), *name, *arguments);
        }
        let own = request.messages.iter().filter(|message| !message.from_history && message.role == Role::Tool);
        let told: Vec<String> = own.filter_map(|message| message.content.clone()).collect();
        let last = turn().text(format!("ok | tool results: {}", told.join("; ")));
        Box::pin(async move { ScriptedModel::new([first, last]).respond(request).await })
    }
}

/// The agents of the recordings, by their ids.
pub const AGENTS: &[&str] =
    &["dm", "aud", "confirm", "multi", "mail", "ext", "form", "feedback", "guard", "mask", "plain"];

/// An agent of the recordings.
///
/// # Panics
///
/// When there is none of this name.
pub fn agent(id: &str) -> AgentBuilder {
    let calls: &'static [(&str, &str)] = match id {
        "dm" => &[("delete_user_data", r#"{"user_id": "u1"}"#)],
        "aud" => &[("export_data", r#"{"customer_id": "c1"}"#)],
        "confirm" => &[("restart_service", r#"{"service_name": "web"}"#)],
        "mail" => &[("send_email", r#"{"subject": "hi"}"#)],
        "ext" => &[("run_external", r#"{"cmd": "ls"}"#)],
        "plain" => &[("lookup", r#"{"key": "k"}"#)],
        "guard" | "mask" => &[],
        "multi" => &[
            ("lookup", r#"{"key": "k"}"#),
            ("delete_user_data", r#"{"user_id": "u1"}"#),
            ("restart_service", r#"{"service_name": "web"}"#),
            ("delete_user_data", r#"{"user_id": "u2"}"#),
            ("export_data", r#"{"customer_id": "c1"}"#),
        ],
        "feedback" => &[(
            "ask_user",
            r#"{"questions": [{"question": "Which?", "header": "Pick", "options": [{"label": "A", "description": "opt a"}, {"label": "B"}], "multi_select": false}]}"#,
        )],
        "form" => &[(
            "get_user_input",
            r#"{"user_input_fields": [{"field_name": "city", "field_type": "str", "field_description": "The city"}]}"#,
        )],
        other => panic!("no agent {other}"),
    };
    let agent = Agent::builder().id(id).name(id.to_uppercase()).model(Recorded { calls });
    match id {
        "dm" => agent.tools(tools![delete_user_data]),
        "aud" => agent.tools(tools![export_data]),
        "confirm" => agent.tools(tools![restart_service]),
        "mail" => agent.tools(tools![send_email]),
        "ext" => agent.tools(tools![run_external]),
        "plain" => agent.tools(tools![lookup]),
        "multi" => agent.tools(tools![delete_user_data, restart_service, lookup, export_data]),
        "feedback" => agent.toolkit(UserFeedbackTools::new()),
        "guard" => agent.pre_hook(PIIDetectionGuardrail::new()).pre_hook(PromptInjectionGuardrail::new()),
        "mask" => agent.pre_hook(PIIDetectionGuardrail::new().mask_pii(true)),
        _ => agent.toolkit(UserControlFlowTools::new()),
    }
}
