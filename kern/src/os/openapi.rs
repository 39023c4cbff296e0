//! All routes, and their description. `GET /openapi.json` is made from the handlers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Response};
use utoipa::{IntoResponses, OpenApi, ToResponse, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::problem::Problem;
use super::{Os, access, agents, approvals, audit, cors, executions, home, idempotency, panel, probes, runs, sessions};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "AgentOS",
        description = "Agents whose tools need a human's consent: runs, approvals, the audit log."
    ),
    components(responses(ProblemAnswer), schemas(ProblemBody))
)]
struct Described;

/// A problem (RFC 9457).
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it describes what `Problem` writes")]
pub(super) struct ProblemBody {
    /// Always `about:blank`.
    r#type: String,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// Stable.
    code: String,
    /// For people; of a body or a query that is not valid, a list of what is wrong where.
    detail: Value,
}

/// Why it was not done.
#[derive(ToResponse)]
#[response(description = "Why it was not done", content_type = "application/problem+json")]
#[allow(dead_code, reason = "it describes what `Problem` writes")]
pub(super) struct ProblemAnswer(ProblemBody);

/// What every route but the open ones may answer: who asks is nobody, may not, or the store does not answer.
pub(super) struct Refusals;

/// These, and what is wrong with a query.
pub(super) struct QueryProblems;

/// These, and what is wrong with a body, be it that it does not come to its end.
pub(super) struct BodyProblems;

fn problems(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let (name, _) = ProblemAnswer::response();
    statuses.iter().map(|status| (status.to_string(), Ref::from_response_name(name).into())).collect()
}

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[401, 403, 429, 503])
    }
}

impl IntoResponses for QueryProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[401, 403, 422, 429, 503])
    }
}

impl IntoResponses for BodyProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems(&[400, 401, 403, 408, 413, 415, 422, 429, 503])
    }
}

/// Starts a run.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct RunForm {
    /// What the agent is asked.
    message: String,
    /// Whether the answer is the stream of its events. By default it is.
    stream: Option<bool>,
    /// The session. A new one by default.
    session_id: Option<String>,
    /// Who asks.
    user_id: Option<String>,
    /// Whether the answer comes at once, while the run goes on.
    background: Option<bool>,
}

/// Continues a run.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct ContinueForm {
    /// The session of the run.
    session_id: String,
    /// Who continues it.
    user_id: Option<String>,
    /// A JSON list: the calls as the run gave them, with the answers in them.
    tools: Option<String>,
    /// A JSON list: the requirements as the run gave them, with the answers in them.
    requirements: Option<String>,
    /// Whether the answer is the stream of its events. By default it is.
    stream: Option<bool>,
    /// Whether the answer comes at once, while the run goes on.
    background: Option<bool>,
}

/// Names the session of a run.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct SessionForm {
    /// The session.
    session_id: Option<String>,
    /// Who asks.
    user_id: Option<String>,
}

/// Comes back to a stream.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct ResumeForm {
    /// The session of the run.
    session_id: String,
    /// The number of the last event that was seen, from 0. Without it, from the first.
    last_event_index: Option<u64>,
}

/// A decision.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct ResolveBody {
    /// `approved` or `rejected`.
    #[schema(pattern = "^(approved|rejected)$")]
    status: String,
    /// Who decides.
    #[schema(max_length = 255)]
    resolved_by: Option<String>,
    /// What goes with the decision: `values`, `result`, `edited_args`, or anything to be kept.
    #[schema(value_type = Option<Object>)]
    resolution_data: Option<Value>,
    /// Why. The model is told.
    note: Option<String>,
    /// The digest of the version that was seen. Another one is refused.
    digest: Option<String>,
    /// Whether the run goes on after an accepted restore: the call may have been decided and executed in the lost history.
    acknowledge_restore: Option<bool>,
}

/// Several decisions.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct ResolveManyBody {
    /// Who decides.
    #[schema(max_length = 255)]
    resolved_by: Option<String>,
    /// The decisions, at most 100.
    #[schema(min_items = 1, max_items = 100)]
    approvals: Vec<ResolveOne>,
}

/// One of several decisions.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct ResolveOne {
    /// The approval.
    id: String,
    /// The digest of the version that was seen.
    digest: String,
    /// `approved` or `rejected`.
    #[schema(pattern = "^(approved|rejected)$")]
    status: String,
    /// Why.
    note: Option<String>,
}

/// Makes a session.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct NewSessionBody {
    /// Its id. Made where there is none.
    #[schema(max_length = 255)]
    session_id: Option<String>,
    /// What it is called.
    #[schema(max_length = 255)]
    session_name: Option<String>,
    /// What to keep with it, at most 64 KiB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    /// Whose it is, where nobody is asked who they are.
    #[schema(max_length = 255)]
    user_id: Option<String>,
    /// The agent it is for.
    agent_id: Option<String>,
}

/// Changes a session. What is left out, or null, stays.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct SessionBody {
    /// What it is called from now on.
    #[schema(max_length = 255)]
    session_name: Option<String>,
    /// What is kept with it from now on, at most 64 KiB.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
}

/// Names a session.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct RenameBody {
    /// What it is called from now on.
    #[schema(max_length = 255)]
    session_name: String,
}

/// Deletes sessions.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct DeleteSessionsBody {
    /// The sessions, at most 100.
    #[schema(min_items = 1, max_items = 100)]
    session_ids: Vec<String>,
    /// `agent` for each of them; may be left out.
    session_types: Option<Vec<String>>,
}

/// A word on how a call ended.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct SettleBody {
    /// `succeeded`, `failed`, `abandoned`, `run_again`, or `adopt`: it ended as its late result says.
    #[schema(pattern = "^(succeeded|failed|abandoned|run_again|adopt)$")]
    r#as: String,
    /// What the model is told of a call that succeeded or failed.
    result: Option<String>,
    /// SHA-256 of the late result that was shown, where that is adopted.
    digest: Option<String>,
    /// How they know.
    note: String,
    /// Who says so.
    #[schema(max_length = 255)]
    settled_by: Option<String>,
}

/// A person's word that a run goes on after an accepted restore.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "it describes what the handler reads")]
pub(super) struct AcknowledgeBody {
    /// How they know.
    note: String,
    /// Who says so.
    #[schema(max_length = 255)]
    acknowledged_by: Option<String>,
}

fn described() -> OpenApiRouter<Arc<Os>> {
    OpenApiRouter::with_openapi(Described::openapi())
        .merge(home::routes())
        .merge(agents::routes())
        .merge(runs::routes())
        .merge(sessions::routes())
        .merge(approvals::routes())
        .merge(executions::routes())
        .merge(audit::routes())
}

/// Calls each operation by what it is about, too: `list` is the name of several.
fn named(description: &mut utoipa::openapi::OpenApi) {
    for path in description.paths.paths.values_mut() {
        for operation in [&mut path.get, &mut path.post, &mut path.patch, &mut path.delete].into_iter().flatten() {
            let tag = operation.tags.iter().flatten().next();
            let name = tag.into_iter().chain(&operation.operation_id).cloned().collect::<Vec<_>>();
            operation.operation_id = Some(name.join("_"));
        }
    }
}

/// Says of every operation that changes something that it can be sent twice and is done once.
fn keyed(description: &mut utoipa::openapi::OpenApi) {
    for operation in description.paths.paths.values_mut().filter_map(|path| path.post.as_mut()) {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(idempotency::LONGEST))
            .pattern(Some("^[!-~]+$"));
        let key = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .description(Some(
                "A text of the client's own. The same request with the same key, within a day, is done once and gets the \
                 first answer; another request with it is refused with 422, and one that comes while the first is being \
                 worked on with 409.",
            ))
            .schema(Some(text));
        operation.parameters.get_or_insert_default().push(key.build().into());
        operation.responses.responses.entry("409".to_owned()).or_insert_with(|| {
            let (name, _) = ProblemAnswer::response();
            Ref::from_response_name(name).into()
        });
    }
}

pub(super) fn router(os: Arc<Os>) -> Router {
    let (router, mut description) = described().split_for_parts();
    // Outside of the guard: a probe is answered without a look at the stored credentials, which the store may not give.
    let (probes, described) = probes::routes().split_for_parts();
    description.merge(described);
    named(&mut description);
    keyed(&mut description);
    env!("CARGO_PKG_VERSION").clone_into(&mut description.info.version);
    let description: Arc<str> = description.to_json().expect("a description is JSON").into();
    let router = router.route_layer(middleware::from_fn_with_state(Arc::clone(&os), idempotency::once));
    let router = if os.has_panel { router.merge(panel::router()) } else { router };
    let router = router
        .route_layer(middleware::from_fn_with_state(Arc::clone(&os), access::guard))
        .route(
            "/openapi.json",
            axum::routing::get(async move || ([(header::CONTENT_TYPE, "application/json")], description.to_string())),
        )
        .merge(probes)
        .fallback(async || Problem::not_found("Page"))
        .method_not_allowed_fallback(async || {
            let what = "this path does not take this method: see /openapi.json";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", what)
        });
    let router = if os.origins.is_empty() { router } else { router.layer(cors::layer(&os.origins)) };
    router.with_state(os)
}
