//! One request for the keys of an issuer, and what of its answer is taken.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use crate::http::{is_loopback, with_causes};
use crate::identity::jwks::{Signer, signers};
use crate::{Error, Result};

/// Bytes of an answer at the most. A set of ten keys with their certificates has a tenth of it.
const LARGEST_ANSWER: usize = 256 * 1024;

/// Whoever fetches from one address.
pub(super) struct Source {
    url: Url,
    client: Client,
}

impl Source {
    /// # Errors
    ///
    /// [`Error::Setup`]: no client can be made.
    pub(super) fn new(url: Url, timeout: Duration) -> Result<Self> {
        let mut builder = Client::builder()
            // A redirect leads to keys of whoever answers there.
            .redirect(Policy::none())
            .https_only(url.scheme() == "https")
            .retry(reqwest::retry::never())
            .referer(false)
            .timeout(timeout)
            // The next request is minutes away, and may be made in another runtime.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("kern/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            // A proxy's loopback is another machine's, and so may be what a name server calls so.
            let here = [(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()];
            builder = builder.no_proxy().resolve_to_addrs("localhost", &here);
            if url.scheme() == "http" {
                // To load the system's certificates is most of what a client costs. Here nothing leads to TLS.
                builder = builder.tls_certs_only([]);
            }
        }
        let client = builder.build().map_err(|error| {
            Error::Setup(format!("there is no HTTP client for the keys of tokens: {}", with_causes(&error)))
        })?;
        Ok(Self { url, client })
    }

    /// The address without what may be secret in it, for the log.
    pub(super) fn shown(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.into()
    }

    /// Asks once. The error says what is wrong, in words that are kern's own or the client's, never the answer's.
    pub(super) async fn fetch(&self) -> Result<Vec<Signer>, String> {
        // The address is cut out: people put keys into addresses.
        let failed = |error: reqwest::Error| match error.is_timeout() {
            true => "it took too long".to_owned(),
            false => with_causes(&error.without_url()),
        };
        let mut response = self.client.get(self.url.clone()).send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => {
                return Err(format!("it leads elsewhere ({}), and is not followed", status.as_u16()));
            }
            status => return Err(format!("it was answered with {}", status.as_u16())),
        }
        let mut answer = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(failed)? {
            if answer.len() + bytes.len() > LARGEST_ANSWER {
                return Err(format!("the answer is larger than {} KiB", LARGEST_ANSWER / 1024));
            }
            answer.extend_from_slice(&bytes);
        }
        let text = std::str::from_utf8(&answer).map_err(|_| "the answer is no text")?;
        signers(text).map_err(|what| format!("the set cannot be used: {what}"))
    }
}
