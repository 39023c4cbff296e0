//! What a client is told instead of what it asked for: a problem (RFC 9457) with a stable `code`, and with the `detail` that
//! the reference answers. No SQL, no path and no secret stands in one: what only an operator may see goes to the log.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::identity::AuthError;

/// What the reference says of a run that somebody still has to decide about.
pub(super) const UNDECIDED: &str =
    "Run has unresolved HITL requirements. Provide the `requirements` parameter (or resolve an admin approval first).";

/// The code of a stream that there is no place for.
pub(super) const TOO_MANY_STREAMS: &str = "too_many_streams";

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Value,
    more: Map<String, Value>,
    /// Seconds.
    retry_after: Option<u32>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<Value>) -> Self {
        Self { status, code, detail: detail.into(), more: Map::new(), retry_after: None }
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("{what} not found"))
    }

    /// What of the input is wrong, in the shape of the reference.
    pub(super) fn invalid(wrong: Vec<Value>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", wrong)
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// The same, as something that whoever asks may not do.
    pub(super) fn refused(mut self) -> Self {
        self.status = StatusCode::FORBIDDEN;
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// For people, as one text.
    pub(super) fn text(&self) -> String {
        self.detail.as_str().map_or_else(|| self.detail.to_string(), str::to_owned)
    }

    /// With the seconds after which to ask again.
    pub(super) fn later(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// As one of several outcomes in a body.
    pub(super) fn into_value(self) -> Value {
        let mut body = self.more;
        body.insert("type".to_owned(), "about:blank".into());
        body.insert("title".to_owned(), self.status.canonical_reason().unwrap_or("Error").into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.insert("code".to_owned(), self.code.into());
        body.insert("detail".to_owned(), self.detail);
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, retry_after) = (self.status, self.code, self.retry_after);
        let mut response = (status, self.into_value().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if code == TOO_MANY_STREAMS {
            // A connection that waits for its next request would keep others from their decisions.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<kern_db::Error> for Problem {
    fn from(error: kern_db::Error) -> Self {
        use kern_db::Error as Db;
        let (code, text) = (error.code(), error.to_string());
        let said = |status| Self::new(status, code, text.clone());
        let hidden = |status, detail: &str| {
            tracing::error!(
                error = &error as &(dyn std::error::Error + 'static),
                "the store did not do what a request asked for"
            );
            Self::new(status, code, detail)
        };
        match &error {
            Db::NotFound { entity, .. } => {
                let mut name = (*entity).to_owned();
                name[..1].make_ascii_uppercase();
                Self { code, ..Self::not_found(&name) }
            }
            Db::Conflict { found, by, at, .. } => {
                let detail = format!("Approval is already '{found}' and cannot be resolved");
                let problem = Self::new(StatusCode::CONFLICT, code, detail).with("approval_status", found.as_str());
                problem.with("by", by.clone()).with("at", *at)
            }
            Db::StaleView { version, .. } => said(StatusCode::CONFLICT).with("version", *version),
            Db::ExecutionConflict { found, .. } => said(StatusCode::CONFLICT).with("execution_status", found.as_str()),
            Db::RunConflict { found, .. } => said(StatusCode::CONFLICT).with("run_status", found.as_str()),
            Db::DigestMismatch { .. } | Db::NotMine { .. } | Db::SessionExists { .. } => said(StatusCode::CONFLICT),
            Db::Expired { .. } => said(StatusCode::GONE),
            Db::Lapsed { .. } => said(StatusCode::CONFLICT),
            Db::NotPermitted { .. } => said(StatusCode::FORBIDDEN),
            Db::ReasonRequired { .. }
            | Db::NoteRequired { .. }
            | Db::NotEditable { .. }
            | Db::InvalidPrincipal { .. }
            | Db::Invalid(_) => said(StatusCode::UNPROCESSABLE_ENTITY),
            Db::StoreRestored { .. } => said(StatusCode::SERVICE_UNAVAILABLE),
            Db::NotMarked { .. } => {
                hidden(StatusCode::SERVICE_UNAVAILABLE, "the mark of the store cannot be written").later(5)
            }
            Db::Busy { .. } => said(StatusCode::SERVICE_UNAVAILABLE).later(1),
            Db::Full { .. } => hidden(StatusCode::SERVICE_UNAVAILABLE, "the store is full").later(60),
            Db::CommitUnknown { .. } => hidden(
                StatusCode::SERVICE_UNAVAILABLE,
                "it is not known whether this was stored: send the same request again, a change that was stored is found then",
            )
            .later(5),
            Db::Unavailable { .. } => hidden(StatusCode::SERVICE_UNAVAILABLE, "the store cannot be reached").later(5),
            Db::Refused { .. } => hidden(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the store refused this, a permission or a constraint stands against it: the server's log says which",
            ),
            Db::Corrupt { .. } => hidden(
                StatusCode::INTERNAL_SERVER_ERROR,
                "something stored is not what kern wrote: `kern audit verify` says what",
            ),
            _ => hidden(StatusCode::INTERNAL_SERVER_ERROR, "the store cannot be used by this build of kern"),
        }
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Denied(why) => {
                let what = "send `Authorization: Bearer …` with an API key, or a token, that counts here";
                Self::new(StatusCode::UNAUTHORIZED, why.code(), what)
            }
            AuthError::Store(error) => error.into(),
            // Not 401: whoever has a good token would throw it away.
            AuthError::NoKeys { retry_after } => {
                let what = "tokens cannot be checked now: the keys of their issuer cannot be had";
                let seconds = u32::try_from(retry_after.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_keys", what).later(seconds.max(1))
            }
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let code = error.code();
        let said = |status| Self::new(status, code, error.to_string());
        match &error {
            Error::RunNotFound { .. } => Self { code, ..Self::not_found("Run") },
            Error::ApprovalPending { approval_ids, .. } => {
                let ids: Vec<&str> = approval_ids.iter().map(kern_db::ApprovalId::as_str).collect();
                Self::new(StatusCode::BAD_REQUEST, code, UNDECIDED).with("approval_ids", json!(ids))
            }
            Error::RequirementsUnresolved { tool_call_ids, .. } => {
                Self::new(StatusCode::BAD_REQUEST, code, UNDECIDED).with("tool_call_ids", json!(tool_call_ids))
            }
            Error::RequirementMismatch { .. } | Error::InvalidAnswer(_) => said(StatusCode::UNPROCESSABLE_ENTITY),
            Error::AlreadyRunning { .. }
            | Error::NotPaused { .. }
            | Error::ApprovalMissing { .. }
            | Error::ToolChanged { .. }
            | Error::CannotAskAgain { .. }
            | Error::ExecutionUnknown { .. } => said(StatusCode::CONFLICT),
            Error::Store(_) => match error {
                Error::Store(error) => error.into(),
                _ => said(StatusCode::INTERNAL_SERVER_ERROR),
            },
            _ => {
                tracing::error!(error = &error as &(dyn std::error::Error + 'static), "a run did not go on");
                said(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}
