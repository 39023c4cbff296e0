//! `/livez` and `/readyz`, for the system that starts and watches the server.
//!
//! Neither asks for a credential, is counted by a rate limit, or reads what identifies a caller. `/livez` reads nothing at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use kern_db::Quarantine;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Os;
use crate::run::stop::Phase;

/// How long the result of a look at the store is used for.
const KNOWN: Duration = Duration::from_secs(2);
/// How long a look at the store may take. A store that is slower is not ready.
const PATIENCE: Duration = Duration::from_millis(2500);

pub(super) fn routes() -> OpenApiRouter<Arc<Os>> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz))
}

/// Answers as long as the process serves requests.
#[utoipa::path(get, path = "/livez", tag = "server", responses((status = 200, description = "The process serves requests", body = Value)))]
async fn livez() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// Reports whether the server can do its work: a code for each check, `ok` where nothing is wrong.
#[utoipa::path(get, path = "/readyz", tag = "server",
    responses((status = 200, description = "It can. `clock_jumped`: the store's time is more than 30 seconds ahead of its clock", body = Value),
        (status = 503, description = "It cannot: `store_unavailable`, `store_corrupt` or another code of the store, `store_restored`, `shutting_down`", body = Value)))]
async fn readyz(State(os): State<Arc<Os>>) -> Response {
    let phase = match *os.phase.borrow() {
        Phase::Working => Check::ok("server"),
        _ => Check::failed("server", "shutting_down"),
    };
    let mut checks = vec![phase];
    checks.extend(os.health.look(&os).await);
    let failed = checks.iter().find(|check| check.fails).map(|check| check.code);
    let reported = checks.iter().find(|check| check.code != OK).map(|check| check.code);
    let body = json!({
        "status": if failed.is_some() { "unavailable" } else { "ready" },
        "code": failed.or(reported).unwrap_or(OK),
        "checks": checks.iter().map(Check::shown).collect::<Vec<_>>(),
    });
    let status = if failed.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(body)).into_response()
}

const OK: &str = "ok";

/// The result of one check.
#[derive(Clone, Debug, PartialEq)]
struct Check {
    name: &'static str,
    code: &'static str,
    /// Whether the server is not ready because of it.
    fails: bool,
    ahead_ms: Option<i64>,
}

impl Check {
    fn ok(name: &'static str) -> Self {
        Self { name, code: OK, fails: false, ahead_ms: None }
    }

    fn failed(name: &'static str, code: &'static str) -> Self {
        Self { name, code, fails: true, ahead_ms: None }
    }

    fn shown(&self) -> Value {
        let mut shown = json!({ "name": self.name, "code": self.code });
        if let Some(ahead_ms) = self.ahead_ms {
            shown["store_ahead_ms"] = ahead_ms.into();
        }
        shown
    }
}

/// The last look at the store. One look at a time serves all who ask.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<(Instant, Vec<Check>)>>);

impl Health {
    async fn look(&self, os: &Os) -> Vec<Check> {
        let mut last = self.0.lock().await;
        if let Some((at, checks)) = &*last
            && at.elapsed() < KNOWN
        {
            return checks.clone();
        }
        let checks = match tokio::time::timeout(PATIENCE, looked(os)).await {
            Ok(checks) => checks,
            Err(_) => {
                tracing::warn!("the store has not answered within {} ms", PATIENCE.as_millis());
                vec![Check::failed("store", "store_unavailable")]
            }
        };
        *last = Some((Instant::now(), checks.clone()));
        checks
    }
}

async fn looked(os: &Os) -> Vec<Check> {
    let clock = match os.db.clock().await {
        Ok(clock) => clock,
        Err(error) => return vec![failed_store(&error)],
    };
    let code = if clock.has_jumped() { "clock_jumped" } else { OK };
    let clock = Check { code, ahead_ms: Some(clock.ahead_ms()), ..Check::ok("clock") };
    let quarantine = match os.db.quarantine().await {
        Ok(Quarantine::Open) => Check::ok("quarantine"),
        Ok(_) => Check::failed("quarantine", "store_restored"),
        Err(error) => return vec![failed_store(&error), clock],
    };
    vec![Check::ok("store"), clock, quarantine]
}

fn failed_store(error: &kern_db::Error) -> Check {
    tracing::warn!(error = error as &(dyn std::error::Error + 'static), "the store is not ready");
    let code = match error {
        kern_db::Error::Busy { .. } | kern_db::Error::Unavailable { .. } => "store_unavailable",
        error => error.code(),
    };
    Check::failed("store", code)
}
