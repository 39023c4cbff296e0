//! `Idempotency-Key`: a client that does not know whether its request arrived sends it again, and it is done once.
//!
//! The first request with a key is claimed in the store, worked on, and its answer kept for a day; the same request then
//! gets that answer, by whatever server of this store. What an answer is not kept of (a stream, a failure of the server's,
//! a server that was killed) may be worked on again, which is harmless: each change names the state that it expects, a run
//! that the request starts has an id that stands in the claim, and to continue a run is not tried twice.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use kern_db::{KeptAnswer, OpenRequest, OpenedRequest, RequestClaim, RunId};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Os;
use super::access::Who;
use super::fields::{BOUNDARY, read};
use super::problem::Problem;
use crate::identity::hex;
use crate::milliseconds::milliseconds;

pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says of an answer that it was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Characters of a key at the most.
pub(super) const LONGEST: usize = 255;
/// For how long a server is waited for that has claimed a request and says nothing more of it.
const LEASE: Duration = Duration::from_secs(30);

/// What a handler is told of a request with a key.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    /// The id of the run that it starts.
    pub(super) run_id: RunId,
    /// Whether somebody has worked on it before, and it is not known how far they got.
    pub(super) again: bool,
}

/// Does what has a key once.
pub(super) async fn once(State(os): State<Arc<Os>>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let key = match key_of(request.headers()) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    match claimed(&os, key, request).await {
        Ok((claim, request)) => {
            // Not by the client's connection: the answer is kept though it goes away.
            let work = tokio::spawn(async move {
                let response = renewed(&os, &claim, next.run(request)).await;
                kept(&os, claim, response).await
            });
            work.await.unwrap_or_else(|error| {
                tracing::error!(%error, "a request was not answered");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the request was not answered")
                    .into_response()
            })
        }
        Err(answer) => answer,
    }
}

/// The key that a request has.
fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(KEY).iter();
    let Some(key) = given.next() else { return Ok(None) };
    let key = key.to_str().unwrap_or_default();
    let plain = key.bytes().all(|byte| byte.is_ascii_graphic());
    if given.next().is_some() || key.is_empty() || key.len() > LONGEST || !plain {
        let what = format!("one key of 1 to {LONGEST} visible ASCII characters");
        let wrong = json!({ "type": "idempotency_key", "loc": ["header", "Idempotency-Key"], "msg": what });
        return Err(Problem::invalid(vec![wrong]));
    }
    Ok(Some(key.to_owned()))
}

/// A request that is to be worked on; or what is answered instead.
async fn claimed(os: &Os, key: String, request: Request) -> Result<(RequestClaim, Request), Response> {
    let (mut parts, body) = request.into_parts();
    let body = read(body, &os.limits).await.map_err(Problem::into_response)?;
    let owner = match parts.extensions.get::<Who>() {
        Some(Who::Known(identity)) => identity.owner(),
        Some(Who::Unasked) | None => String::new(),
    };
    let digest = digest_of(parts.uri.path_and_query().map_or("", |asked| asked.as_str()), &parts.headers, &body);
    let asked = OpenRequest { owner, key, digest, lease_ms: milliseconds(LEASE) };
    let refused = |status, code, what: &str| Problem::new(status, code, what);
    match os.db.open_request(asked).await.map_err(|error| Problem::from(error).into_response())? {
        OpenedRequest::Claimed(claim) => {
            parts.extensions.insert(Keyed { run_id: claim.run_id.clone(), again: claim.attempt > 1 });
            Ok((claim, Request::from_parts(parts, Body::from(body))))
        }
        OpenedRequest::Busy => {
            let what = "the first request with this Idempotency-Key is still being worked on";
            Err(refused(StatusCode::CONFLICT, "idempotency_key_in_use", what).later(1).into_response())
        }
        OpenedRequest::Other => {
            let what = "this Idempotency-Key was sent with another request: a new request needs a new key";
            Err(refused(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", what).into_response())
        }
        OpenedRequest::Answered(answer) => Err(again(answer)),
    }
}

/// The digest of all that a request says.
fn digest_of(asked: &str, headers: &HeaderMap, body: &[u8]) -> String {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(asked.as_bytes());
    // Every time that a client sends the same form, it puts another line between the parts.
    match boundary_of(kind) {
        Some((kind, boundary)) => {
            part(kind);
            let mut rest = body;
            while let Some(place) = rest.windows(boundary.len()).position(|window| window == boundary) {
                part(&rest[..place]);
                rest = &rest[place + boundary.len()..];
            }
            part(rest);
        }
        None => {
            part(kind);
            part(body);
        }
    }
    hex(&digest.finalize())
}

/// What stands between the parts of a multipart form, and the type without it.
fn boundary_of(kind: &[u8]) -> Option<(&[u8], &[u8])> {
    const NAME: &[u8] = b"boundary=";
    let place = kind.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME))?;
    let value = &kind[place + NAME.len()..];
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let end = value.iter().position(|byte| matches!(byte, b'"' | b';' | b' ')).unwrap_or(value.len());
    // The form's reader refuses a longer one. A search for it would take its length times that of the body.
    Some((&kind[..place], &value[..end])).filter(|(_, boundary)| (1..=BOUNDARY).contains(&boundary.len()))
}

/// The answer that was given before.
fn again(answer: KeptAnswer) -> Response {
    let (status, kind) = (StatusCode::from_u16(answer.status), HeaderValue::from_str(&answer.content_type));
    let (Ok(status), Ok(kind)) = (status, kind) else {
        let what = "the answer that is kept is no answer of HTTP";
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "store_corrupt", what).into_response();
    };
    let mut response = (status, answer.body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// Works on a request, and says in between that it is being worked on.
async fn renewed(os: &Os, claim: &RequestClaim, work: impl Future<Output = Response>) -> Response {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            response = &mut work => return response,
            () = tokio::time::sleep(LEASE / 3) => {
                if let Err(error) = os.db.renew_request(claim.clone(), milliseconds(LEASE)).await {
                    tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "the claim of a request was not renewed");
                }
            }
        }
    }
}

/// Keeps an answer that is whole and the request's own, and gives it.
async fn kept(os: &Os, claim: RequestClaim, response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (status, kind) = (response.status(), kind.to_owned());
    // Who has asked too often may ask again.
    let is_refused_for_now = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let is_kept = !is_refused_for_now && !kind.starts_with("text/event-stream");
    let (answer, response) = match is_kept {
        true => {
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.expect("a handler has made it whole: nothing of it is to come");
            let text = String::from_utf8_lossy(&body).into_owned();
            let answer = KeptAnswer { status: status.as_u16(), content_type: kind, body: text };
            (Some(answer), Response::from_parts(parts, Body::from(body)))
        }
        false => (None, response),
    };
    if let Err(error) = os.db.close_request(claim, answer).await {
        // It may be worked on again then, once nobody is waited for any longer.
        tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "an answer was not kept");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))])
    }

    #[test]
    fn a_key_is_one_short_word() {
        let given = |keys: &[&str]| {
            let keys = keys.iter().map(|key| (KEY, HeaderValue::from_bytes(key.as_bytes()).expect("it fits a header")));
            key_of(&keys.fold(HeaderMap::new(), |mut headers, (name, key)| {
                headers.append(name, key);
                headers
            }))
        };
        assert_eq!(given(&[]).expect("none is fine"), None);
        assert_eq!(given(&["a-1"]).expect("it is a key").as_deref(), Some("a-1"));
        let long = "k".repeat(LONGEST + 1);
        for wrong in [&[""][..], &["a b"], &["ä"], &["a", "a"], &[&long]] {
            assert_eq!(given(wrong).expect_err("it is none").status(), StatusCode::UNPROCESSABLE_ENTITY, "{wrong:?}");
        }
    }

    #[test]
    fn the_digest_is_over_all_that_is_asked_for() {
        let json = headers("application/json");
        let first = digest_of("/a", &json, b"{}");
        assert_eq!(digest_of("/a", &json, b"{}"), first);
        for other in [
            digest_of("/b", &json, b"{}"),
            digest_of("/a?x", &json, b"{}"),
            digest_of("/a", &headers("text/json"), b"{}"),
            digest_of("/a", &json, b"{ }"),
        ] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn the_line_between_the_parts_of_a_form_does_not_count() {
        let form = |kind, line: &str, value: &str| {
            let body =
                format!("--{line}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{value}\r\n--{line}--\r\n");
            digest_of("/a", &headers(kind), body.as_bytes())
        };
        let first = form("multipart/form-data; boundary=one", "one", "1");
        assert_eq!(form("multipart/form-data; boundary=\"another\"", "another", "1"), first);
        assert_ne!(form("multipart/form-data; boundary=one", "one", "2"), first);
    }
}
