//! Webhooks: other systems are told what happens to approvals, calls and runs, by signed requests.
//!
//! The signatures are those of Standard Webhooks. A change that is told of writes an event in its own transaction; all that
//! is here comes after its commit, so that no decision waits for a receiver. An event comes at least once: whoever sends it
//! notes it after the receiver has said that it has it, and where that note is lost, it is sent again under the same id.

mod address;
mod body;
mod deliver;
mod request;
mod secret;

use std::fmt;
use std::time::Duration;

use kern_db::TOPICS;
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::identity::hex;
use address::Reach;
use secret::Secret;

pub(super) use deliver::{Deliveries, start};

/// How long a request may take, its answer's head included.
const TIMEOUT: Duration = Duration::from_secs(15);
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// How long is waited after each attempt that failed, in seconds.
const RETRIES: [u64; 9] = [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
/// What a name or a prefix of topics may be followed by.
const ANY: &str = ".*";

/// An address that is told what happens, and how.
///
/// ```
/// # use kern::os::Webhook;
/// # fn main() -> kern::Result<()> {
/// # let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// let webhook = Webhook::new("https://example.com/kern", secret)?.name("ops").topics(["approval.*", "execution.unknown"]);
/// # let _ = webhook;
/// # Ok(())
/// # }
/// ```
///
/// What a request holds, and how its signature is verified, stands in `docs/webhooks.md`.
#[derive(Clone)]
#[must_use = "a webhook is told when it is given to `AgentOSBuilder::webhook`"]
pub struct Webhook {
    name: String,
    url: Url,
    /// The first one is the newest.
    secrets: Vec<Secret>,
    topics: Vec<String>,
    private: bool,
    timeout: Duration,
    retries: Vec<Duration>,
}

impl Webhook {
    /// Tells this address of all topics, signed with a secret that its receiver knows: `whsec_` and the Base64 of 24 to 64
    /// random bytes. The secret is stored nowhere and shown by nothing.
    ///
    /// The address is one of HTTPS, and leads to nothing private, unless
    /// [`allow_private_addresses`](Self::allow_private_addresses) says otherwise.
    ///
    /// # Errors
    ///
    /// - [`Error::Setup`]: it is no address, one with a user's name or a password in it, or the secret is none.
    pub fn new(url: &str, secret: &str) -> Result<Self> {
        // The address is not repeated: people put keys into addresses.
        let refused = |what: &str| Error::Setup(format!("the address of a webhook {what}"));
        let mut url = Url::parse(url.trim()).map_err(|error| refused(&format!("is no URL ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(refused("starts with `https://` and names a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("holds a user name or a password: the signature says who asks"));
        }
        url.set_fragment(None);
        // It tells webhooks apart in the store, and must not show what of the address is secret.
        let digest = Sha256::digest(url.as_str().as_bytes());
        let digest = hex(&digest[..8]);
        Ok(Self {
            name: format!("{}-{digest}", url.host_str().unwrap_or_default()),
            url,
            secrets: vec![Secret::new(secret)?],
            topics: TOPICS.map(str::to_owned).to_vec(),
            private: false,
            timeout: TIMEOUT,
            retries: RETRIES.map(Duration::from_secs).to_vec(),
        })
    }

    /// Sets the name that it has in the store, in lists and in logs: by default the host, and a digest of the address. Under
    /// another name it is another webhook, which is told from then on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Has it told of these topics only, each a name as `approval.requested` or a kind as `approval.*`.
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Signs with an older secret, too, until the receiver knows the new one.
    ///
    /// # Errors
    ///
    /// - [`Error::Setup`]: the secret is none.
    pub fn older_secret(mut self, secret: &str) -> Result<Self> {
        self.secrets.push(Secret::new(secret)?);
        Ok(self)
    }

    /// Lets it lead to this machine and to networks that are not public, and there over plain HTTP, too.
    pub fn allow_private_addresses(mut self) -> Self {
        self.private = true;
        self
    }

    /// Sets how long a request may take before it has failed. 15 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long is waited after each attempt that failed; after one more it is given up. Each time, up to a fifth is
    /// added. By default 5 seconds, 5 and 30 minutes, and 2, 5, 10, 14, 20 and 24 hours: ten attempts in about three days.
    pub fn retries(mut self, waits: impl IntoIterator<Item = Duration>) -> Self {
        self.retries = waits.into_iter().collect();
        self
    }

    fn reach(&self) -> Reach {
        match (self.private, self.url.scheme()) {
            (false, _) => Reach::Public,
            (true, "https") => Reach::Any,
            // What is not encrypted leaves no private network.
            (true, _) => Reach::Private,
        }
    }

    /// What of it is used, once it is all there.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`]: its address may not be asked, its name is none, it has no topics or unknown ones, or no time.
    pub(super) fn checked(mut self) -> Result<Self> {
        let name = self.name.escape_debug().to_string();
        let refused = |what: String| Error::Setup(format!("the webhook `{name}` {what}"));
        if self.name.trim().is_empty() || self.name.len() > 300 || self.name.chars().any(char::is_control) {
            return Err(refused("has no name that can be told: give it another `.name(…)`".to_owned()));
        }
        if self.url.scheme() != "https" && !self.private {
            let what =
                "is no address of HTTPS: plain HTTP is for private addresses, after `.allow_private_addresses()`";
            return Err(refused(what.to_owned()));
        }
        if let Some(why) = self.reach().refuses_host(&self.url) {
            return Err(refused(why.to_owned()));
        }
        if self.timeout < Duration::from_millis(1) {
            return Err(refused("has no time for a request: leave `.timeout(…)` out".to_owned()));
        }
        let mut topics = Vec::new();
        for wanted in &self.topics {
            let kind = wanted.strip_suffix(ANY);
            let of_kind =
                |topic: &str| kind.is_some_and(|kind| topic.split_once('.').is_some_and(|(of, _)| of == kind));
            let named: Vec<_> = TOPICS.into_iter().filter(|topic| topic == wanted || of_kind(topic)).collect();
            if named.is_empty() {
                let there_are = TOPICS.join(", ");
                return Err(refused(format!("has the topic `{}`: there are {there_are}", wanted.escape_debug())));
            }
            topics.extend(named);
        }
        if topics.is_empty() {
            return Err(refused("is told of nothing: give it `.topics(…)`, or leave them out for all".to_owned()));
        }
        topics.sort_unstable();
        topics.dedup();
        self.topics = topics.into_iter().map(str::to_owned).collect();
        Ok(self)
    }

    /// What it is called, where it is told apart.
    pub(super) fn id(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the address: people put keys into addresses.
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("host", &self.url.host_str().unwrap_or_default())
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn webhook(url: &str) -> Webhook {
        Webhook::new(url, SECRET).unwrap()
    }

    fn refused(webhook: Webhook) -> String {
        webhook.checked().unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_one_of_https_without_a_password() {
        for url in
            ["", "example.com/hook", "ftp://example.com", "mailto:a@example.com", "https://me:hunter2@example.com"]
        {
            let refused = Webhook::new(url, SECRET).unwrap_err().to_string();
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        assert!(webhook("https://example.com/hook?key=k").checked().is_ok());
        assert!(refused(webhook("http://example.com/hook")).contains("HTTPS"));
    }

    #[test]
    fn what_is_private_needs_a_permission() {
        for host in [
            "127.0.0.1",
            "10.1.2.3",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "169.254.169.254",
            "0.0.0.0",
            "localhost",
            "LOCALHOST.",
            "api.localhost",
        ] {
            for scheme in ["http", "https"] {
                let webhook = webhook(&format!("{scheme}://{host}/hook"));
                assert!(webhook.clone().checked().is_err(), "{host}");
                assert!(webhook.allow_private_addresses().checked().is_ok(), "{host}");
            }
        }
        let plain = webhook("http://93.184.216.34/hook").allow_private_addresses();
        assert!(refused(plain).contains("plain HTTP"), "what is not encrypted leaves no private network");
    }

    #[test]
    fn topics_are_names_or_kinds_of_those_there_are() {
        let topics = |topics: &[&str]| webhook("https://example.com").topics(topics.iter().copied()).checked();
        assert_eq!(webhook("https://example.com").checked().unwrap().topics.len(), TOPICS.len());
        let some = topics(&["run.ended", "call.*", "call.asked"]).unwrap();
        assert_eq!(some.topics, ["call.answered", "call.asked", "run.ended"]);
        for wrong in [&["approval.resolved"][..], &["approval"], &["*"], &[".*"], &[""], &["approval.*.x"], &[]] {
            assert!(topics(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_name_says_the_host_and_tells_addresses_apart() {
        let (one, other) = (webhook("https://example.com/s3cret"), webhook("https://example.com/other"));
        assert!(one.name.starts_with("example.com-") && one.name != other.name, "{} {}", one.name, other.name);
        assert_eq!(one.name, webhook("https://example.com/s3cret#part").name);
        let shown = format!("{one:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("C2FV"), "{shown}");
        assert!(refused(one.name("\n")).contains("name"));
    }
}
