//! Signing in to the panel: an API key, or a token, is exchanged for a cookie that no script and no other site can use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use askama::Template;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};

use super::{Failure, Frame, page};
use crate::identity::{AuthError, Denied, Identity, hex};
use crate::os::Os;
use crate::os::addresses::Address;
use crate::os::fields::Fields;
use crate::os::problem::Problem;
use crate::os::serve::is_name_of_this_machine;

/// The cookie.
const COOKIE: &str = "kern_session";
/// How long somebody stays signed in.
const LASTS: Duration = Duration::from_secs(12 * 3600);
/// Sessions at the most: the oldest ends for a new one.
const MOST: usize = 1000;

/// Who is signed in. Kept in memory: whoever restarts the server signs everybody out.
#[derive(Default)]
pub(in crate::os) struct Sessions(Mutex<HashMap<String, Session>>);

struct Session {
    /// The credential, which is looked at again with each request: one that was revoked ends its sessions.
    credential: String,
    since: Instant,
    /// Also when the credential expires, whatever its clocks may be apart.
    ends: Instant,
}

impl Sessions {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, credential: String, lasts: Duration) -> Result<String, Problem> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| {
            tracing::error!(%error, "the system gives no randomness");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "nobody can sign in now")
        })?;
        let id = hex(&random);
        let mut all = self.all();
        let now = Instant::now();
        all.retain(|_, session| now < session.ends);
        if all.len() >= MOST
            && let Some(oldest) = all.iter().min_by_key(|(_, session)| session.since).map(|(id, _)| id.clone())
        {
            all.remove(&oldest);
        }
        all.insert(id.clone(), Session { credential, since: now, ends: now + lasts });
        Ok(id)
    }

    /// The credential of a request's session.
    pub(in crate::os) fn credential(&self, headers: &HeaderMap) -> Option<String> {
        let id = cookie(headers)?;
        let all = self.all();
        let session = all.get(id)?;
        (Instant::now() < session.ends).then(|| session.credential.clone())
    }

    fn close(&self, headers: &HeaderMap) {
        if let Some(id) = cookie(headers) {
            self.all().remove(id);
        }
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value);
    // Somebody who can set a second one may not choose between them.
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Whether a page of this server sent a request that changes something. Browsers say so of every one that does.
pub(in crate::os) fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")) == Some(host)
}

fn set(headers: &HeaderMap, value: &str, seconds: u64) -> HeaderValue {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let secure = if is_name_of_this_machine(host) { "" } else { "; Secure" };
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&cookie).expect("it is made of plain characters")
}

/// How long somebody stays signed in: no longer than what they have brought counts.
fn lasts(identity: &Identity) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let end = identity.expires_at_ms.map(|at| Duration::from_millis(u64::try_from(at).unwrap_or(0)));
    end.map_or(LASTS, |end| end.saturating_sub(now).min(LASTS))
}

/// Where somebody wanted to go. Only pages of the panel.
fn next_of(text: Option<String>) -> String {
    let plain =
        |text: &String| text.starts_with("/panel") && !text.contains(['\\', '\r', '\n']) && !text.contains("//");
    text.filter(plain).unwrap_or_else(|| "/panel".to_owned())
}

#[derive(Template)]
#[template(path = "signin.html")]
struct SignIn {
    frame: Frame,
    next: String,
    wrong: Option<&'static str>,
}

pub(super) async fn form(RawQuery(query): RawQuery) -> Response {
    let next = next_of(Fields::of_query(query.as_deref()).text("next"));
    page(&SignIn { frame: Frame::bare("Sign in"), next, wrong: None })
}

pub(super) async fn sign_in(State(os): State<Arc<Os>>, request: Request) -> Result<Response, Failure> {
    let (headers, address) = (request.headers().clone(), os.client(&request).map(Address::of));
    if !is_own_page(&headers) {
        let what = "sign in on the page of this server";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden_origin", what).into());
    }
    let mut fields = Fields::of_form(request, &os.limits).await?;
    let (credential, next) = (fields.text("credential").unwrap_or_default(), next_of(fields.text("next")));
    let credential = credential.trim().to_owned();
    let value = format!("Bearer {credential}");
    let brought = [value.as_bytes()];
    // A form without a credential is no attempt.
    let brought = if credential.is_empty() { &[][..] } else { &brought[..] };
    let wrong = match os.authenticated(address, brought).await? {
        Ok(identity) => {
            let lasts = lasts(&identity);
            let id = os.sessions.open(credential, lasts)?;
            let mut response = Redirect::to(&next).into_response();
            response.headers_mut().insert(header::SET_COOKIE, set(&headers, &id, lasts.as_secs()));
            return Ok(response);
        }
        Err(AuthError::Denied(Denied::Missing | Denied::Malformed(_))) if credential.is_empty() => {
            "Enter an API key or a token."
        }
        Err(AuthError::Denied(_)) => "This credential does not count here. The server's log says why.",
        Err(error) => return Err(Problem::from(error).into()),
    };
    let frame = Frame::bare("Sign in");
    let mut response = page(&SignIn { frame, next, wrong: Some(wrong) });
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    Ok(response)
}

pub(super) async fn sign_out(State(os): State<Arc<Os>>, request: Request) -> Response {
    let headers = request.headers();
    if is_own_page(headers) {
        os.sessions.close(headers);
    }
    let mut response = Redirect::to("/panel/signin").into_response();
    response.headers_mut().insert(header::SET_COOKIE, set(headers, "", 0));
    response
}

/// What stands in the place of a page that somebody may not see: the way to sign in, or why not.
pub(in crate::os) fn refused(path: &str, problem: Problem) -> Response {
    if problem.status() != StatusCode::UNAUTHORIZED {
        return Failure::from(problem).into_response();
    }
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", path).finish();
    Redirect::to(&format!("/panel/signin?{query}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_signs_in_stays_on_this_server() {
        for (asked, next) in [
            ("/panel/audit?x=1", "/panel/audit?x=1"),
            ("https://evil.example", "/panel"),
            ("//evil.example", "/panel"),
            ("/panel//evil.example", "/panel"),
            ("/panel\\evil", "/panel"),
            ("", "/panel"),
        ] {
            assert_eq!(next_of(Some(asked.to_owned())), next, "{asked}");
        }
    }

    #[test]
    fn a_request_that_changes_something_comes_from_a_page_of_this_server() {
        let headers = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("kern.example:1"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect("a header"));
            }
            headers
        };
        assert!(is_own_page(&headers(Some("https://kern.example:1"))));
        assert!(is_own_page(&headers(Some("http://kern.example:1"))));
        for other in [None, Some("null"), Some("https://kern.example"), Some("https://evil.example")] {
            assert!(!is_own_page(&headers(other)), "{other:?}");
        }
    }

    #[test]
    fn two_cookies_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; kern_session=x"));
        assert_eq!(cookie(&headers), Some("x"));
        headers.append(header::COOKIE, HeaderValue::from_static("kern_session=y"));
        assert_eq!(cookie(&headers), None);
    }
}
