//! One request to a receiver, and what its answer means.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};

use super::Webhook;
use super::address::NotReached;
use crate::error::{Error, Result};
use crate::http::with_causes;

/// How long a receiver can have an event waited for at the most.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What came of a request, in a word or a status.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) outcome: String,
    pub(super) means: Means,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// The receiver has it.
    Taken,
    /// It does not, and may take it later: not before so long, where it says so.
    NotTaken(Option<Duration>),
    /// It wants it no more.
    Gone,
}

/// Whoever sends to one webhook.
#[derive(Clone)]
pub(super) struct Sender {
    webhook: Arc<Webhook>,
    client: Client,
}

impl Sender {
    /// # Errors
    ///
    /// [`Error::Setup`]: no client can be made.
    pub(super) fn new(webhook: Webhook) -> Result<Self> {
        let client = Client::builder()
            // A proxy would connect to what is not checked here, and a redirect leads elsewhere.
            .no_proxy()
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .timeout(webhook.timeout)
            .dns_resolver(webhook.reach())
            .user_agent(concat!("kern/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client.map_err(|error| {
            Error::Setup(format!("the webhook `{}` has no HTTP client: {}", webhook.id(), with_causes(&error)))
        })?;
        Ok(Self { webhook: Arc::new(webhook), client })
    }

    pub(super) fn webhook(&self) -> &Webhook {
        &self.webhook
    }

    /// Sends an event once. What of the answer comes after its head is not read.
    pub(super) async fn send(&self, id: &str, body: Vec<u8>) -> Sent {
        // Of the attempt: a receiver refuses what is old.
        let timestamp = jiff::Timestamp::now().as_second();
        let signatures: Vec<_> = self.webhook.secrets.iter().map(|secret| secret.sign(id, timestamp, &body)).collect();
        let request = self
            .client
            .post(self.webhook.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures.join(" "))
            .body(body);
        match request.send().await {
            Ok(response) => {
                let status = response.status();
                Sent { outcome: status.as_u16().to_string(), means: means(status, response.headers()) }
            }
            Err(error) => {
                let outcome = outcome(&error).to_owned();
                // The address is cut out: people put keys into addresses.
                let error = with_causes(&error.without_url());
                tracing::debug!(webhook = self.webhook.id(), event_id = id, error, "a webhook could not be asked");
                Sent { outcome, means: Means::NotTaken(None) }
            }
        }
    }
}

fn means(status: StatusCode, headers: &HeaderMap) -> Means {
    match status {
        status if status.is_success() => Means::Taken,
        StatusCode::GONE => Means::Gone,
        _ => Means::NotTaken(retry_after(headers)),
    }
}

/// Why there is no answer.
fn outcome(error: &reqwest::Error) -> &'static str {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<NotReached>() {
            return "private_address";
        }
        cause = error.source();
    }
    match error {
        error if error.is_timeout() => "timeout",
        error if error.is_connect() => "no_connection",
        _ => "no_answer",
    }
}

/// Reads `Retry-After`: seconds, or a date. What is further away than a day is a day away.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = match value.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value).ok()?;
            let seconds = date.timestamp().as_second().saturating_sub(jiff::Timestamp::now().as_second());
            u64::try_from(seconds).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[tokio::test]
    async fn a_name_that_stands_for_what_is_private_is_not_connected_to() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        for scheme in ["https", "http"] {
            // Past the checks of an address as it is written: as if the name had been another one then.
            let webhook = Webhook::new(&format!("{scheme}://localhost:{port}/hook"), secret).unwrap();
            let sent = Sender::new(webhook).unwrap().send("id", b"{}".to_vec()).await;
            assert_eq!((sent.outcome.as_str(), sent.means), ("private_address", Means::NotTaken(None)));
        }
        assert!(listener.accept().is_err(), "nobody has come");
    }

    #[test]
    fn an_answer_means_what_its_status_says_and_retry_after_has_an_end() {
        let of = |status: u16, after: Option<&str>| {
            let header = after.map(|after| (RETRY_AFTER, HeaderValue::from_str(after).unwrap()));
            means(StatusCode::from_u16(status).unwrap(), &HeaderMap::from_iter(header))
        };
        for status in [200, 201, 202, 204] {
            assert_eq!(of(status, None), Means::Taken, "{status}");
        }
        for status in [301, 302, 304, 307, 308, 400, 401, 404, 429, 500, 503] {
            assert_eq!(of(status, None), Means::NotTaken(None), "{status}");
        }
        assert_eq!(of(410, Some("7")), Means::Gone);
        let seconds = |seconds| Means::NotTaken(Some(Duration::from_secs(seconds)));
        assert_eq!(of(503, Some("7")), seconds(7));
        assert_eq!(of(429, Some("99999999999999999999")), Means::NotTaken(None));
        assert_eq!(of(429, Some("9999999999999")), seconds(86_400));
        assert_eq!(of(429, Some("-1")), Means::NotTaken(None));
        assert_eq!(of(429, Some("Wed, 21 Oct 2015 07:28:00 GMT")), seconds(0));
        assert_eq!(of(429, Some("Sat, 21 Oct 2215 07:28:00 GMT")), seconds(86_400));
        assert_eq!(of(429, Some("soon")), Means::NotTaken(None));
    }
}
