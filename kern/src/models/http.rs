//! What the model clients share of HTTP: keys that are never shown, one bounded request, its answer whole or in parts,
//! `Retry-After`.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::{Url, Version};

use super::ModelError;
use crate::http::{is_loopback, with_causes};

/// An answer is read whole before it is parsed, so its size needs a bound.
pub(super) const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// A streamed answer comes in a frame of its own for each word, some hundred bytes around it, and is not kept as it
/// came.
const STREAM_LIMIT: usize = 256 * 1024 * 1024;

/// How long an answer that is whole is waited for to end.
const LINGER: Duration = Duration::from_secs(1);

/// A host that does not answer at all is told apart from a model that thinks for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A provider's key. It is shown by nothing.
#[derive(Clone)]
pub(super) struct ApiKey(String);

impl ApiKey {
    /// A shorter key is a placeholder for a server that wants none. To cut it out would only garble words.
    const SHORTEST_SECRET: usize = 6;

    /// Makes a key of what a person or a file gave, without the line end a file brings. `None` when nothing is left.
    pub(super) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Cuts the key out of a text that a provider wrote.
    pub(super) fn cut_from(&self, text: String) -> String {
        if self.0.len() >= Self::SHORTEST_SECRET && text.contains(&self.0) {
            text.replace(&self.0, "[key]")
        } else {
            text
        }
    }

    fn header(&self) -> Result<HeaderValue, ModelError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0))
            .map_err(|_| ModelError::Setup("the API key holds characters that no HTTP header can carry".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

/// Makes the address of an endpoint. A query of the base address stays.
///
/// The address is not repeated in the error: people put keys into addresses.
pub(super) fn endpoint(base: &str, path: &[&str]) -> Result<Url, ModelError> {
    let wrong = |what: &str| ModelError::Setup(format!("the base address {what}"));
    let mut url = Url::parse(base.trim())
        .map_err(|error| wrong(&format!("is no URL ({error}): write it like `https://api.example.com/v1`")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("starts with neither `http://` nor `https://`: write it like `http://localhost:8080/v1`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("holds a user name or a password: give the key with `api_key`"));
    }
    url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend(path);
    Ok(url)
}

/// Shows an address without the parts that may hold a secret.
pub(super) fn shown_address(base: &str) -> String {
    match Url::parse(base.trim()) {
        Ok(mut url) if url.has_host() => {
            // Both fail only for addresses without a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.set_fragment(None);
            url.into()
        }
        _ => "[no URL]".to_owned(),
    }
}

/// The HTTP client of one model, built at its first request. Clones share it and its connections.
#[derive(Clone, Default)]
pub(super) struct HttpClient {
    built: Arc<OnceLock<reqwest::Client>>,
}

/// What one request carries.
pub(super) struct Post<'a> {
    pub(super) provider: &'a str,
    pub(super) url: Url,
    pub(super) key: Option<&'a ApiKey>,
    /// How long the whole answer may take.
    pub(super) timeout: Duration,
    pub(super) body: Vec<u8>,
}

/// An answer whose head has come.
pub(super) struct Incoming<'a> {
    provider: &'a str,
    timeout: Duration,
    response: reqwest::Response,
    received: usize,
}

/// An answer as it came, whatever its status.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl HttpClient {
    /// Sends JSON and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// - [`ModelError::Setup`]: no client can be built, or the key fits into no header.
    /// - [`ModelError::Connection`]: no connection, or no answer in time.
    pub(super) async fn send<'a>(&self, post: Post<'a>) -> Result<Incoming<'a>, ModelError> {
        let address = shown_address(post.url.as_str());
        let mut request = self
            .client(&post.url)?
            .post(post.url)
            .timeout(post.timeout)
            .header(CONTENT_TYPE, "application/json")
            .body(post.body);
        if let Some(key) = post.key {
            request = request.header(AUTHORIZATION, key.header()?);
        }
        let response = request.send().await.map_err(|error| {
            if error.is_timeout() && !error.is_connect() {
                late(post.provider, post.timeout, error)
            } else {
                let message =
                    format!("{address} cannot be reached: check `base_url`, the network, and that the server runs");
                // The address is cut out of the client's errors, since a query may hold a key.
                unanswered(post.provider, message, error.without_url())
            }
        })?;
        Ok(Incoming { provider: post.provider, timeout: post.timeout, response, received: 0 })
    }

    fn client(&self, url: &Url) -> Result<&reqwest::Client, ModelError> {
        if let Some(client) = self.built.get() {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("kern/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the conversation to a host that nobody named.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(url) {
            // A proxy's loopback is another machine's.
            builder = builder.no_proxy();
            if url.scheme() == "http" {
                // To load the system's certificates is most of what a client costs. Here nothing leads to TLS.
                builder = builder.tls_certs_only([]);
            }
        }
        let client =
            builder.build().map_err(|error| ModelError::Setup(format!("no HTTP client: {}", with_causes(&error))))?;
        Ok(self.built.get_or_init(|| client))
    }
}

fn unanswered(provider: &str, message: String, source: impl std::error::Error + Send + Sync + 'static) -> ModelError {
    ModelError::Connection { provider: provider.to_owned(), message, source: Box::new(source) }
}

fn late(provider: &str, timeout: Duration, error: reqwest::Error) -> ModelError {
    let message = format!("it took longer than {timeout:?}: set a longer `timeout` if the model needs it");
    unanswered(provider, message, error.without_url())
}

impl Incoming<'_> {
    pub(super) fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    pub(super) fn retry_after(&self) -> Option<u64> {
        retry_after(self.response.headers())
    }

    /// Whether the server says that this is JSON, and so no stream.
    pub(super) fn is_json(&self) -> bool {
        let kind = self.response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        kind.to_ascii_lowercase().contains("json")
    }

    /// Whether HTTP itself tells the end of this answer from a connection that was lost.
    pub(super) fn has_an_end(&self) -> bool {
        let headers = self.response.headers();
        self.response.version() >= Version::HTTP_2
            || headers.contains_key(CONTENT_LENGTH)
            || headers.contains_key(TRANSFER_ENCODING)
    }

    /// Reads the rest at once.
    ///
    /// # Errors
    ///
    /// - [`ModelError::Connection`]: the connection broke in mid-answer, or the answer took too long.
    /// - [`ModelError::InvalidReply`]: the answer is larger than kern reads.
    pub(super) async fn whole(mut self) -> Result<Answer, ModelError> {
        let mut answer = Answer { status: self.response.status().as_u16(), body: Vec::new() };
        loop {
            match self.response.chunk().await {
                Ok(None) => return Ok(answer),
                Ok(Some(bytes)) if answer.body.len() + bytes.len() <= ANSWER_LIMIT => {
                    answer.body.extend_from_slice(&bytes);
                }
                // An error status says enough by itself.
                _ if !answer.is_success() => return Ok(answer),
                Ok(Some(_)) => return Err(self.too_large(ANSWER_LIMIT)),
                Err(error) => return Err(self.cut(error)),
            }
        }
    }

    /// Reads the next part. `None`: the answer has ended.
    ///
    /// # Errors
    ///
    /// As [`whole`](Self::whole), and [`ModelError::Connection`] when nothing comes for `idle_timeout`.
    pub(super) async fn next(
        &mut self,
        idle_timeout: Duration,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, ModelError> {
        match tokio::time::timeout(idle_timeout, self.response.chunk()).await {
            Err(elapsed) => {
                let message = format!(
                    "nothing came for {idle_timeout:?}: set a longer `idle_timeout` if the model thinks that long"
                );
                Err(unanswered(self.provider, message, elapsed))
            }
            Ok(Err(error)) => Err(self.cut(error)),
            Ok(Ok(None)) => Ok(None),
            Ok(Ok(Some(bytes))) => {
                self.received += bytes.len();
                if self.received > STREAM_LIMIT { Err(self.too_large(STREAM_LIMIT)) } else { Ok(Some(bytes)) }
            }
        }
    }

    /// Lets go of an answer that has said that it is whole, before HTTP has. Its connection can be used again only when
    /// that has come as well, and nobody has to wait for it.
    pub(super) fn let_go(self) {
        let Self { mut response, .. } = self;
        // Whatever comes of it, the answer is there. More of a body than its end is not waited for.
        tokio::spawn(async move { drop(tokio::time::timeout(LINGER, response.chunk()).await) });
    }

    fn cut(&self, error: reqwest::Error) -> ModelError {
        if error.is_timeout() {
            return late(self.provider, self.timeout, error);
        }
        unanswered(self.provider, "the connection broke before its end".to_owned(), error.without_url())
    }

    fn too_large(&self, limit: usize) -> ModelError {
        ModelError::InvalidReply {
            provider: self.provider.to_owned(),
            message: format!("it is larger than {} MiB", limit / (1024 * 1024)),
        }
    }
}

/// Reads `Retry-After`: seconds (some providers send fractions; they are rounded up) or a date.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        // The cast saturates, and a negative number or NaN becomes 0.
        return Some(seconds.ceil() as u64);
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    let seconds = date.timestamp().as_second() - jiff::Timestamp::now().as_second();
    Some(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        assert_eq!(retry_after(&HeaderMap::new()), None);
        for (value, seconds) in [
            ("7", Some(7)),
            ("0.2", Some(1)),
            ("-3", Some(0)),
            ("soon", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(0)),
        ] {
            assert_eq!(retry_after(&headers(value)), seconds, "{value}");
        }
        let date = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(90);
        let date = jiff::fmt::rfc2822::to_string(&date.to_zoned(jiff::tz::TimeZone::UTC)).unwrap();
        let seconds = retry_after(&headers(&date)).unwrap();
        assert!((85..=90).contains(&seconds), "{date}: {seconds}");
    }

    #[test]
    fn an_endpoint_keeps_the_path_and_the_query_of_its_base() {
        for (base, wanted) in [
            ("https://a.example/v1", "https://a.example/v1/chat/completions"),
            ("https://a.example/v1/", "https://a.example/v1/chat/completions"),
            ("http://127.0.0.1:1", "http://127.0.0.1:1/chat/completions"),
            ("https://a.example/o/d?api-version=2", "https://a.example/o/d/chat/completions?api-version=2"),
        ] {
            assert_eq!(endpoint(base, &["chat", "completions"]).unwrap().as_str(), wanted);
        }
        for base in ["", "api.openai.com/v1", "ftp://a.example", "https://me:hunter2@a.example", "data:,x"] {
            let error = endpoint(base, &[]).unwrap_err();
            assert!(matches!(error, ModelError::Setup(_)), "{error:?}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
