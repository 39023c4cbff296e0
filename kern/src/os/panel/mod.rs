//! The control panel: pages for whoever decides, made on the server, that work with a keyboard and without a script.
//!
//! Everything that a model or a person wrote goes through [`display`](crate::display), so that nothing in it is interpreted.

mod approval;
mod audit;
mod chat;
mod executions;
mod inbox;
mod runs;
pub(super) mod session;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use kern_db::{Approval, Quarantine};
use serde_json::{Map, Value};

use super::Os;
use super::access::Who;
use super::problem::Problem;
use crate::display::{self, Argument};
use crate::identity::Scope;

/// What the pages may load: what this server has, and nothing that stands in them.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

pub(super) fn router() -> Router<Arc<Os>> {
    let asset = |kind: &'static str, text: &'static str| get(async move || ([(header::CONTENT_TYPE, kind)], text));
    Router::new()
        .route("/panel", get(inbox::page))
        .route("/panel/decide", axum::routing::post(inbox::decide))
        .route("/panel/approvals/{approval_id}", get(approval::show).post(approval::decide))
        .route("/panel/chat", get(chat::page))
        .route("/panel/sessions", get(runs::sessions))
        .route("/panel/sessions/{session_id}", get(runs::session))
        .route("/panel/runs/{run_id}", get(runs::run).post(runs::acknowledge))
        .route("/panel/executions", get(executions::page))
        .route("/panel/executions/{execution_id}", axum::routing::post(executions::settle))
        .route("/panel/audit", get(audit::page).post(audit::verify))
        .route("/panel/signin", get(session::form).post(session::sign_in))
        .route("/panel/signout", axum::routing::post(session::sign_out))
        .route("/panel/panel.css", asset("text/css; charset=utf-8", include_str!("../../../assets/panel.css")))
        .route("/panel/panel.js", asset("text/javascript; charset=utf-8", include_str!("../../../assets/panel.js")))
        .route("/panel/icon.svg", asset("image/svg+xml", include_str!("../../../assets/icon.svg")))
        .layer(middleware::from_fn(guarded))
}

/// What browsers are told of every page.
async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

const RESTORED: &str = "The store was set back to an older copy. Nothing is asked for, approved or started until an operator has accepted \
                        the loss with `kern restore --accept`. Rejections are still taken.";

/// What stands around every page.
pub(super) struct Frame {
    title: String,
    server: String,
    /// Whom the pages are for. `None`: nobody is asked.
    who: Option<String>,
    /// Whether names are only what people say.
    has_names: bool,
    links: Vec<Link>,
    /// Why the store takes nothing new.
    quarantine: Option<String>,
}

struct Link {
    path: &'static str,
    name: &'static str,
    is_here: bool,
}

impl Frame {
    async fn new(os: &Os, who: &Who, here: &'static str, title: impl Into<String>) -> Result<Self, Failure> {
        let quarantine = match os.db.quarantine().await? {
            Quarantine::Open => None,
            // The proof is for operators: `kern restore` shows it.
            Quarantine::Restored { .. } => Some(RESTORED.to_owned()),
            other => Some(safe(&other.to_string())),
        };
        let links = [
            ("/panel", "Inbox", Scope::ApprovalsRead),
            ("/panel/chat", "Chat", Scope::AgentsRead),
            ("/panel/sessions", "Sessions", Scope::SessionsRead),
            ("/panel/executions", "Unknown", Scope::ExecutionsRead),
            ("/panel/audit", "Audit log", Scope::AuditRead),
        ];
        let links = links
            .into_iter()
            .filter(|(_, _, scope)| who.may(scope))
            .map(|(path, name, _)| Link { path, name, is_here: path == here })
            .collect();
        let known = who.principal(None);
        Ok(Self {
            quarantine,
            title: title.into(),
            server: os.name.clone(),
            has_names: known.is_none(),
            who: known.map(|person| safe(&person.subject)),
            links,
        })
    }

    /// Of a page for nobody in particular.
    fn bare(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            server: "kern".to_owned(),
            who: None,
            has_names: false,
            links: Vec::new(),
            quarantine: None,
        }
    }
}

/// The arguments of a call, without those that displays leave out: by the tool, and by the approval that was asked for.
fn arguments(
    os: &Os,
    agent_id: &str,
    tool: &str,
    given: &Map<String, Value>,
    approval: Option<&Approval>,
) -> Vec<Argument> {
    let here = os.agent(agent_id).and_then(|agent| {
        agent.0.tools.all().iter().map(|handle| handle.descriptor()).find(|descriptor| descriptor.name == tool)
    });
    let mut hidden: Vec<&str> = approval.iter().flat_map(|asked| &asked.sensitive).map(String::as_str).collect();
    match here {
        Some(descriptor) => hidden.extend(descriptor.sensitive.iter().map(String::as_str)),
        // Nobody here knows what the tool keeps to itself.
        None if approval.is_none() => hidden.extend(given.keys().map(String::as_str)),
        None => {}
    }
    display::arguments(given, &hidden)
}

/// A name, or anything else of one line, that somebody else wrote.
fn safe(text: &str) -> String {
    display::text(text).to_string()
}

/// What somebody else wrote in lines.
fn prose(text: &str) -> String {
    text.lines().map(safe).collect::<Vec<_>>().join("\n")
}

/// A page as a response.
fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "failed.html")]
struct Failed {
    frame: Frame,
    what: String,
    code: &'static str,
    next: &'static str,
}

/// Why there is no page.
pub(super) struct Failure(Problem);

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<kern_db::Error> for Failure {
    fn from(error: kern_db::Error) -> Self {
        Self(error.into())
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Self(error.into())
    }
}

impl axum::response::IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let next = match problem.code() {
            "conflict" => "Somebody decided it before you. Its page says who.",
            "stale_view" => "Its arguments were changed after they were shown to you. Look at it again.",
            "expired" => "Its time was over. The agent is told so.",
            "not_permitted" => "Somebody else has to decide this one.",
            "missing_scope" => "Sign in with another credential, or ask whoever makes them for this scope.",
            "not_found" => "It may have been removed, or it is not yours.",
            "busy" | "unavailable" | "full" => "Try again in a moment.",
            _ => "Go back, and look at what you sent.",
        };
        let what = safe(&problem.text());
        let mut response = page(&Failed { frame: Frame::bare("Not done"), what, code: problem.code(), next });
        *response.status_mut() = problem.status();
        response
    }
}

/// How long ago, or how long from now, in one word.
fn span(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A time, for people and for programs.
struct When {
    iso: String,
    ago: String,
}

impl When {
    fn of(second: i64) -> Self {
        let now = jiff::Timestamp::now().as_second();
        let iso = jiff::Timestamp::from_second(second).map(|time| time.to_string()).unwrap_or_default();
        let ago =
            if second > now { format!("in {}", span(second - now)) } else { format!("{} ago", span(now - second)) };
        Self { iso, ago }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_one_word() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (-3599, "59 min"),
            (3600, "1 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(seconds), words);
        }
    }
}
