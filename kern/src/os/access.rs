//! Who asks, and whether they may: of every request in one place, before anything else of it is read.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use kern_db::{Caller, Owner, Principal, Resolution, Session};

use super::Os;
use super::addresses::Address;
use super::panel::session::{self, is_own_page};
use super::problem::Problem;
use super::proxy::Peer;
use super::serve::refusal;
use crate::identity::{AuthError, Identity, Scope};

/// How often it is looked whether the credential of a stream was revoked.
const LOOK: Duration = Duration::from_secs(5);

/// Who a request is from.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// Nobody is asked who they are: a name is what a request says, and proves nothing.
    Unasked,
    /// They have proved it. A name in a request counts for nothing.
    Known(Arc<Identity>),
}

impl Who {
    /// Who does something: whoever the credential names, else whoever the request does.
    pub(super) fn principal(&self, named: Option<String>) -> Option<Principal> {
        match self {
            Self::Unasked => named.map(Principal::unverified),
            Self::Known(identity) => Some(identity.principal.clone()),
        }
    }

    /// A decision as theirs. In which pools they are by their token, and until when, is said here and nowhere else: by the
    /// credential, and by nothing that a request holds.
    pub(super) fn decides(&self, resolution: Resolution, named: Option<String>) -> Resolution {
        match self {
            Self::Known(identity) => match (&identity.pools, identity.expires_at_ms) {
                (Some(pools), Some(until_ms)) => resolution.by_member(identity.principal.clone(), pools, until_ms),
                // What has no end vouches for nothing.
                _ => resolution.by_person(Some(identity.principal.clone())),
            },
            Self::Unasked => resolution.by_person(self.principal(named)),
        }
    }

    /// The principal whose streams are counted together. `None` without credentials, where a name proves nothing.
    pub(super) fn person(&self) -> Option<String> {
        match self {
            Self::Unasked => None,
            Self::Known(identity) => {
                let issuer = identity.principal.issuer.as_deref().unwrap_or_default();
                Some(format!("{issuer}\n{}", identity.principal.subject))
            }
        }
    }

    /// The same, as whoever continues a run.
    pub(super) fn caller(&self, named: Option<String>) -> Caller {
        self.principal(named).map_or(Caller::Anonymous, Caller::Person)
    }

    /// Whose runs and sessions are shown, where they are not everybody's: their own, to all but administrators.
    pub(super) fn only(&self) -> Option<Owner> {
        self.unless(&[Scope::Admin])
    }

    /// Whose approvals are shown, where they are not everybody's: their own, to all but those who decide them, and those who
    /// may read the log, in which they all are.
    pub(super) fn only_approvals(&self) -> Option<Owner> {
        self.unless(&[Scope::ApprovalsWrite, Scope::AuditRead])
    }

    fn unless(&self, scopes: &[Scope]) -> Option<Owner> {
        match self {
            Self::Known(identity) if !scopes.iter().any(|scope| identity.allows(scope)) => {
                Some(Owner::from(&identity.principal))
            }
            _ => None,
        }
    }

    /// Whether they may do what asks for `scope`.
    pub(super) fn may(&self, scope: &Scope) -> bool {
        match self {
            Self::Unasked => true,
            Self::Known(identity) => identity.allows(scope),
        }
    }

    /// Whether somebody has proved who they are.
    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }

    /// For how long a stream goes on that they have asked for.
    pub(super) fn lasts(&self, os: &Arc<Os>) -> Lasts {
        match self {
            Self::Unasked => Lasts(None),
            Self::Known(identity) => Lasts(Some((Arc::clone(os), Arc::clone(identity)))),
        }
    }
}

/// How long what somebody watches goes on: as long as their credential counts.
pub(super) struct Lasts(Option<(Arc<Os>, Arc<Identity>)>);

impl Lasts {
    /// For what is told at once.
    pub(super) fn for_now() -> Self {
        Self(None)
    }

    /// Returns when the credential does not count any more: it has expired, or was revoked, or nobody can say.
    pub(super) async fn over(self) {
        let Some((os, identity)) = self.0 else { return std::future::pending().await };
        loop {
            let end = identity.expires_at_ms.map(|at| u64::try_from(at).unwrap_or(0));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let left = end.map_or(Duration::MAX, |end| Duration::from_millis(end).saturating_sub(now));
            tokio::time::sleep(left.min(LOOK)).await;
            if left <= LOOK || !os.auth.counts(&identity).await {
                return;
            }
        }
    }
}

/// Whether what a requester asked for is shown where only `only`'s is: issuer and subject are compared exactly.
pub(super) fn shows(only: Option<Owner>, requester: Option<&Principal>) -> bool {
    only.is_none_or(|only| only.owns(requester))
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            // A route that was never asked for is not open.
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "nobody was asked who they are")
        })
    }
}

/// What a route asks for.
#[derive(Debug, PartialEq, Eq)]
enum Needed {
    /// Anybody may.
    Nothing,
    Scope(Scope),
}

/// What each route asks for. One that does not stand here is for administrators.
fn needed(method: &Method, path: &str, agent_id: Option<&str>) -> Needed {
    let read = method == Method::GET || method == Method::HEAD;
    let scope = match path {
        "/" | "/health" | "/info" if read => return Needed::Nothing,
        // Whoever signs in is nobody yet.
        "/panel/signin" | "/panel/signout" | "/panel/panel.css" | "/panel/panel.js" | "/panel/icon.svg" => {
            return Needed::Nothing;
        }
        "/panel" | "/panel/approvals/{approval_id}" if read => Scope::ApprovalsRead,
        "/panel/decide" | "/panel/approvals/{approval_id}" => Scope::ApprovalsWrite,
        "/panel/chat" if read => Scope::AgentsRead,
        "/panel/executions" if read => Scope::ExecutionsRead,
        "/panel/executions/{execution_id}" => Scope::ExecutionsSettle,
        "/panel/runs/{run_id}" if !read => Scope::ExecutionsSettle,
        // Verifying it changes nothing.
        "/panel/audit" => Scope::AuditRead,
        path if read && (is_below("/panel/sessions", path) || is_below("/panel/runs", path)) => Scope::SessionsRead,
        "/config" if read => Scope::ConfigRead,
        "/metrics" if read => Scope::MetricsRead,
        "/teams" if read => Scope::TeamsRead,
        "/agents" | "/agents/{agent_id}" | "/workflows" if read => Scope::AgentsRead,
        "/approvals/resolve" | "/approvals/{approval_id}/resolve" => Scope::ApprovalsWrite,
        "/approvals/{approval_id}" if method == Method::DELETE => Scope::ApprovalsDelete,
        "/executions/{execution_id}/settle" | "/runs/{run_id}/acknowledge" => Scope::ExecutionsSettle,
        "/executions" if read => Scope::ExecutionsRead,
        path if path.starts_with("/agents/{agent_id}/runs") => match agent_id {
            Some(id) => Scope::run_agent(id),
            None => Scope::Admin,
        },
        path if read && is_below("/approvals", path) => Scope::ApprovalsRead,
        path if read && is_below("/sessions", path) => Scope::SessionsRead,
        "/sessions" | "/sessions/{session_id}" if method == Method::DELETE => Scope::SessionsDelete,
        "/sessions" | "/sessions/{session_id}/rename" if method == Method::POST => Scope::SessionsWrite,
        "/sessions/{session_id}" if method == Method::PATCH => Scope::SessionsWrite,
        path if read && is_below("/audit", path) => Scope::AuditRead,
        _ => Scope::Admin,
    };
    Needed::Scope(scope)
}

fn is_below(folder: &str, path: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Lets a request through that may be made, with who makes it.
pub(super) async fn guard(
    State(os): State<Arc<Os>>,
    path: MatchedPath,
    ids: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let client = os.client(&request);
    let admitted = match &ids {
        Ok(ids) => {
            let agent_id = ids.iter().find(|(name, _)| *name == "agent_id").map(|(_, id)| id);
            let needed = needed(request.method(), path.as_str(), agent_id);
            let address = client.map(Address::of);
            admitted(&os, request.method(), request.headers(), address, needed).await
        }
        // Bytes that are no text are the id of nothing.
        Err(_) => Err(Problem::not_found("Page")),
    };
    match admitted {
        Ok(who) => {
            if let Some(who) = who {
                request.extensions_mut().insert(who);
            }
            next.run(request).await
        }
        Err(problem) if is_below("/panel", path.as_str()) => {
            let asked = request.uri().path_and_query().map_or("/panel", |asked| asked.as_str());
            session::refused(asked, problem)
        }
        Err(problem) => {
            let is_unknown = problem.status() == StatusCode::UNAUTHORIZED;
            if is_unknown && let Some(client) = client {
                tracing::info!(%client, code = problem.code(), "a request was refused");
            }
            let mut refused = problem.into_response();
            if is_unknown {
                refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            refused
        }
    }
}

/// Who may go on. `None`: anybody, as nobody in particular.
async fn admitted(
    os: &Os,
    method: &Method,
    headers: &HeaderMap,
    address: Option<Address>,
    needed: Needed,
) -> Result<Option<Who>, Problem> {
    if !os.asks().await? {
        return refusal(headers, &os.origins).map_or(Ok(Some(Who::Unasked)), Err);
    }
    let Needed::Scope(scope) = needed else { return Ok(None) };
    let identity = match os.sessions.credential(headers) {
        // A browser sends its cookie with whatever a page asks for.
        Some(_) if !headers.contains_key(header::AUTHORIZATION) && !method.is_safe() && !is_own_page(headers) => {
            let what = "pages of other servers may not ask this one";
            return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden_origin", what));
        }
        Some(credential) if !headers.contains_key(header::AUTHORIZATION) => {
            os.authenticated(address, &[format!("Bearer {credential}").as_bytes()]).await
        }
        _ => {
            let brought: Vec<_> = headers.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect();
            os.authenticated(address, &brought).await
        }
    };
    let identity = identity?.map_err(Problem::from)?;
    if let Some(rate) = &os.rate {
        rate.admit(&identity.owner())?;
    }
    if !identity.allows(&scope) {
        let what = format!("this credential is not good for `{scope}`");
        return Err(Problem::new(StatusCode::FORBIDDEN, "missing_scope", what));
    }
    Ok(Some(Who::Known(Arc::new(identity))))
}

impl Os {
    /// The address of a request's client. `None`: another server than kern's own took the connection.
    pub(super) fn client(&self, request: &Request) -> Option<IpAddr> {
        let peer = request.extensions().get::<Peer>()?;
        Some(self.proxies.client(*peer, request.headers()))
    }

    /// Looks at a credential, unless too many of its address did not count.
    ///
    /// # Errors
    ///
    /// It was not looked at.
    pub(super) async fn authenticated(
        &self,
        address: Option<Address>,
        brought: &[&[u8]],
    ) -> Result<Result<Identity, AuthError>, Problem> {
        let credential = brought.concat();
        // A request that brings nothing guesses nothing.
        if !brought.is_empty() {
            self.failures.admit(address, &credential)?;
        }
        let identity = self.auth.authenticate(brought.iter().copied()).await;
        match &identity {
            Ok(_) => self.failures.counted(&credential),
            Err(AuthError::Denied(_)) if !brought.is_empty() => self.failures.failed_now(address),
            Err(_) => {}
        }
        Ok(identity)
    }

    /// Whether anybody is asked who they are. Once they are, they are for good, whatever becomes of the keys.
    pub(super) async fn asks(&self) -> kern_db::Result<bool> {
        if self.asks.load(Ordering::Acquire) {
            return Ok(true);
        }
        let asks = self.auth.has_credentials().await?;
        if asks {
            self.asks.store(true, Ordering::Release);
        }
        Ok(asks)
    }

    /// Refuses a session that is somebody else's: a run in it would read what was said there.
    pub(super) async fn joins(&self, who: &Who, session_id: &str) -> Result<(), Problem> {
        let Some(only) = who.only() else { return Ok(()) };
        let found = self.db.session_owner(session_id.into()).await?;
        let is_theirs = found.is_none_or(|found| only.owns(found.requester.as_ref()));
        if is_theirs { Ok(()) } else { Err(Problem::not_found("Session")) }
    }
}

/// Whether a session is this person's, where only theirs are meant.
pub(super) fn is_of(session: &Session, only: Option<Owner>) -> bool {
    shows(only, session.requester.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_nobody_has_thought_of_is_for_administrators() {
        let asked = |method, path| needed(&method, path, Some("a"));
        for (method, path) in [
            (Method::GET, "/approvalsandmore"),
            (Method::PUT, "/approvals"),
            (Method::POST, "/approvals/{approval_id}"),
            (Method::PUT, "/sessions/{session_id}"),
            (Method::PATCH, "/sessions"),
            (Method::DELETE, "/sessions/{session_id}/runs"),
            (Method::POST, "/config"),
            (Method::GET, "/else"),
        ] {
            assert_eq!(asked(method.clone(), path), Needed::Scope(Scope::Admin), "{method} {path}");
        }
        assert_eq!(needed(&Method::GET, "/agents/{agent_id}/runs", None), Needed::Scope(Scope::Admin));
        assert_eq!(asked(Method::HEAD, "/audit/verify"), Needed::Scope(Scope::AuditRead));
        assert_eq!(asked(Method::GET, "/health"), Needed::Nothing);
    }
}
