//! The agents and their tools.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use kern_db::{ApprovalType, PauseType};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Os;
use super::home::{DB, SESSIONS};
use super::json::without_nulls;
use super::openapi::{ProblemAnswer, Refusals};
use super::problem::Problem;
use crate::agent::Agent;
use crate::tools::{ApprovalPolicy, ToolDescriptor};

pub(super) fn routes() -> OpenApiRouter<Arc<Os>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// Lists the agents.
#[utoipa::path(get, path = "/agents", tag = "agents", responses((status = 200, description = "The agents", body = Vec<Value>), Refusals))]
async fn list(State(os): State<Arc<Os>>) -> Json<Vec<Value>> {
    Json(os.agents.iter().map(shown).collect())
}

/// Shows an agent.
#[utoipa::path(get, path = "/agents/{agent_id}", tag = "agents",
    params(("agent_id" = String, Path, description = "The agent")),
    responses((status = 200, description = "The agent", body = Value), (status = 404, response = ProblemAnswer), Refusals))]
async fn get(State(os): State<Arc<Os>>, Path(agent_id): Path<String>) -> Result<Json<Value>, Problem> {
    os.agent(&agent_id).map(|agent| Json(shown(agent))).ok_or_else(|| Problem::not_found("Agent"))
}

fn shown(agent: &Agent) -> Value {
    let inner = &agent.0;
    let tools: Vec<Value> = inner.tools.all().iter().map(|handle| tool(handle.descriptor())).collect();
    without_nulls(json!({
        "id": inner.id,
        "name": inner.name,
        "db_id": DB,
        "filesystem": false,
        "is_factory": false,
        "model": { "name": inner.model.provider(), "model": inner.model.id(), "provider": inner.model.provider() },
        "tools": if tools.is_empty() { Value::Null } else { json!({ "tools": tools }) },
        "sessions": { "session_table": SESSIONS },
        "reasoning": { "reasoning": false },
        "is_component": false,
        "sandboxed": false,
    }))
}

/// A tool as the model sees it, and who is asked about its calls.
fn tool(descriptor: &ToolDescriptor) -> Value {
    let mut parameters = descriptor.parameters.clone();
    // What the user fills is not asked of the model.
    if let Some(properties) = parameters.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !descriptor.user_input_fields.contains(name));
    }
    if let Some(Value::Array(required)) = parameters.get_mut("required") {
        required.retain(|name| {
            name.as_str().is_none_or(|name| !descriptor.user_input_fields.iter().any(|field| field == name))
        });
    }
    let approval = match descriptor.policy.approval {
        Some(ApprovalPolicy::Required) => Some(ApprovalType::Required),
        Some(ApprovalPolicy::Audit) => Some(ApprovalType::Audit),
        None => None,
    };
    let confirms = match (descriptor.policy.pause, approval) {
        (Some(PauseType::Confirmation), _) | (None, Some(ApprovalType::Required)) => Some(true),
        _ => None,
    };
    let mut shown = Map::new();
    shown.insert("name".to_owned(), json!(descriptor.name));
    shown.insert("description".to_owned(), json!(descriptor.description));
    shown.insert("parameters".to_owned(), parameters);
    if descriptor.options.strict {
        shown.insert("strict".to_owned(), json!(true));
    }
    if let Some(confirms) = confirms {
        shown.insert("requires_confirmation".to_owned(), json!(confirms));
    }
    if descriptor.policy.pause == Some(PauseType::ExternalExecution) {
        shown.insert("external_execution".to_owned(), json!(true));
    }
    if let Some(approval) = approval {
        shown.insert("approval_type".to_owned(), json!(approval));
    }
    Value::Object(shown)
}
