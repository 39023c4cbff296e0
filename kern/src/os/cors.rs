//! Which pages of other servers may ask this one, from browsers: none, but those of the origins that were named.

use axum::http::uri::Uri;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::idempotency;

/// An origin as browsers send it, or nothing where it is none.
pub(super) fn origin(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let is_exact = text == format!("{scheme}://{authority}") && text == text.to_ascii_lowercase();
    let is_default_port = matches!((scheme, authority.port_u16()), ("https", Some(443)) | ("http", Some(80)));
    let is_web = matches!(scheme, "http" | "https");
    if !is_exact || is_default_port || !is_web || authority.as_str().contains(['@', '*']) {
        return None;
    }
    HeaderValue::from_str(text).ok()
}

/// What browsers are told of it. Without origins they are told nothing, and let no page of another server read anything.
pub(super) fn layer(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            idempotency::KEY,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::RETRY_AFTER, idempotency::REPLAYED])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for good in ["https://app.example", "http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:1"] {
            assert!(origin(good).is_some(), "{good}");
        }
        for wrong in [
            "",
            "*",
            "null",
            "app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://*.example",
            "https://App.example",
            "https://app.example:443",
            "http://app.example:80",
            "https://user@app.example",
            "file:///etc",
            "ftp://app.example",
        ] {
            assert!(origin(wrong).is_none(), "{wrong}");
        }
    }
}
