//! What the server is and what it has.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Os;
use super::json::without_nulls;
use super::openapi::{ProblemAnswer, Refusals};
use super::problem::Problem;

/// The name of the one store.
pub(super) const DB: &str = "main-db";
/// The table that the reference keeps sessions in.
pub(super) const SESSIONS: &str = "kern_runs";

pub(super) fn routes() -> OpenApiRouter<Arc<Os>> {
    OpenApiRouter::new()
        .routes(routes!(root))
        .routes(routes!(health))
        .routes(routes!(info))
        .routes(routes!(config))
        .routes(routes!(teams))
        .routes(routes!(workflows))
}

/// Says where to go on.
#[utoipa::path(get, path = "/", tag = "server", responses((status = 200, description = "Where to go on", body = Value)))]
async fn root(State(os): State<Arc<Os>>) -> Json<Value> {
    Json(json!({ "name": os.name, "health": "/health", "info": "/info", "docs": "/openapi.json" }))
}

/// Says that the server answers.
#[utoipa::path(get, path = "/health", tag = "server", responses((status = 200, description = "It answers", body = Value)))]
async fn health(State(os): State<Arc<Os>>) -> Json<Value> {
    Json(json!({ "status": "ok", "instantiated_at": os.started_at.to_string() }))
}

/// Says what the server is.
#[utoipa::path(get, path = "/info", tag = "server", responses((status = 200, description = "What it is", body = Value), (status = 503, response = ProblemAnswer)))]
async fn info(State(os): State<Arc<Os>>) -> Result<Json<Value>, Problem> {
    let asks = os.asks().await?;
    Ok(Json(json!({
        "os_id": os.id,
        "name": os.name,
        "os_version": env!("CARGO_PKG_VERSION"),
        // The version of the reference whose clients this answers.
        "agno_version": "3.1.10",
        "kern_version": env!("CARGO_PKG_VERSION"),
        "agent_count": os.agents.len(),
        "team_count": 0,
        "workflow_count": 0,
        "mcp": { "enabled": false, "path": null, "oauth": null, "tool_run_endpoint": false },
        "auth_mode": if asks { "jwt" } else { "none" },
        // Whoever is asked who they are sees what is theirs.
        "user_isolation": asks,
    })))
}

/// Says what the server has.
#[utoipa::path(get, path = "/config", tag = "server", responses((status = 200, description = "What it has", body = Value), Refusals))]
async fn config(State(os): State<Arc<Os>>) -> Json<Value> {
    let tables =
        |table: &str| json!({ "dbs": [{ "db_id": DB, "domain_config": { "display_name": DB }, "tables": [table] }] });
    let none = json!({ "dbs": [] });
    let mut models: Vec<Value> = Vec::new();
    for agent in &os.agents {
        let model = json!({ "id": agent.0.model.id(), "provider": agent.0.model.provider() });
        if !models.contains(&model) {
            models.push(model);
        }
    }
    let agents: Vec<Value> = os
        .agents
        .iter()
        .map(|agent| {
            without_nulls(json!({
                "id": agent.id(),
                "name": agent.0.name,
                "db_id": DB,
                "model": { "id": agent.0.model.id(), "provider": agent.0.model.provider() },
                "sandboxed": false,
            }))
        })
        .collect();
    Json(json!({
        "os_id": os.id,
        "description": os.description,
        "available_models": models,
        "os_database": DB,
        "databases": [DB],
        "session": tables(SESSIONS),
        "metrics": none,
        "memory": none,
        "learning": none,
        "filesystem": { "namespaces": [] },
        "knowledge": { "dbs": [], "knowledge_instances": [] },
        "evals": none,
        "traces": none,
        // Every run is on the disk before anybody is told of it; those of a session do not wait for each other.
        "queue": { "durable": true, "queue_per_session": false },
        "agents": agents,
        "teams": [],
        "workflows": [],
        "interfaces": [],
        "company": null,
    }))
}

/// Lists the teams. There are none yet.
#[utoipa::path(get, path = "/teams", tag = "server", responses((status = 200, description = "No teams", body = Vec<Value>), Refusals))]
async fn teams() -> Json<Vec<Value>> {
    Json(Vec::new())
}

/// Lists the workflows. There are none yet.
#[utoipa::path(get, path = "/workflows", tag = "server", responses((status = 200, description = "No workflows", body = Vec<Value>), Refusals))]
async fn workflows() -> Json<Vec<Value>> {
    Json(Vec::new())
}
