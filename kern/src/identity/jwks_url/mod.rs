//! The keys of an issuer, from the address where it publishes them.

mod fetch;
mod keep;

use std::time::Duration;

use reqwest::Url;

use crate::http::is_loopback;
use crate::{Error, Result};

pub(super) use keep::PublishedKeys;

/// How long keys count before they are fetched again.
const REFRESH: Duration = Duration::from_secs(10 * 60);
/// How long they count at the most.
const KEEP: Duration = Duration::from_secs(60 * 60);
/// How long nothing is asked for after an answer, or after there was none.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(5);

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// Where an issuer publishes its keys, and how they are fetched. A text becomes one with the times below.
///
/// ```
/// # use std::time::Duration;
/// # use kern::identity::{JwksUrl, TokenVerifier};
/// let keys = JwksUrl::new("https://id.example/.well-known/jwks.json").refresh(Duration::from_secs(300));
/// let tokens = TokenVerifier::builder("https://id.example", "my-os").jwks_url(keys).build()?;
/// # Ok::<(), kern::Error>(())
/// ```
///
/// The address is one of HTTPS, or of this machine. A redirect is not followed, an answer is read up to 256 KiB, and what it
/// holds has to be what [`Jwks::from_json`](super::Jwks::from_json) takes; a set without any key that can be used is taken,
/// too: no token counts then.
///
/// Keys are fetched when the first token needs them (a server of kern fetches them at its start), when a token needs them and
/// they are older than [`refresh`](Self::refresh), and when a token is signed with a key that is not among them. There is one
/// fetch at a time, which all tokens that need it wait for, and none for some time after the last one
/// ([`pause`](Self::pause)), whatever tokens come. A fetch that fails leaves the keys that there are, up to
/// [`keep`](Self::keep), and is in the log; without keys no token counts, and nobody is told that theirs is bad
/// ([`AuthError::NoKeys`](super::AuthError::NoKeys)).
#[derive(Clone)]
#[must_use = "keys are fetched from it when it is given to `TokenVerifierBuilder::jwks_url`"]
pub struct JwksUrl {
    url: String,
    times: Times,
}

/// How often keys are fetched, and how long they count.
#[derive(Clone, Copy, Debug)]
struct Times {
    refresh: Duration,
    keep: Duration,
    pause: Duration,
    timeout: Duration,
}

impl JwksUrl {
    /// Starts from the default times.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), times: Times { refresh: REFRESH, keep: KEEP, pause: PAUSE, timeout: TIMEOUT } }
    }

    /// Sets for how long keys are not fetched again: a key that the issuer has taken out counts for so long, as long as the
    /// address can be reached. 10 minutes by default.
    pub fn refresh(mut self, refresh: Duration) -> Self {
        self.times.refresh = refresh;
        self
    }

    /// Sets for how long keys count at the most, where they cannot be fetched again. An hour by default, a day at the most.
    pub fn keep(mut self, keep: Duration) -> Self {
        self.times.keep = keep;
        self
    }

    /// Sets for how long nothing is fetched after the last fetch. 10 seconds by default, one second at the least.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.times.pause = pause;
        self
    }

    /// Sets how long a fetch may take, its answer included: so long may a token wait. 5 seconds by default, 30 at the most.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.times.timeout = timeout;
        self
    }

    /// # Errors
    ///
    /// [`Error::Setup`]: the address is none, or may not be asked; the times do not fit together.
    fn checked(&self) -> Result<(Url, Times)> {
        // The address is not repeated: people put keys into addresses.
        let refused = |what: &str| Error::Setup(format!("the address of the keys for tokens {what}"));
        let mut url = Url::parse(self.url.trim()).map_err(|error| refused(&format!("is no URL ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(refused("starts with `https://` and names a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("holds a user name or a password: keys are published for everybody"));
        }
        if url.scheme() == "http" && !is_loopback(&url) {
            return Err(refused("is not one of HTTPS: whoever is on the way could send keys of their own"));
        }
        url.set_fragment(None);
        let Times { refresh, keep, pause, timeout } = self.times;
        let refused = |what: &str| Error::Setup(format!("the keys for tokens cannot be fetched: {what}"));
        if timeout < Duration::from_millis(1) || timeout > LONGEST_TIMEOUT {
            return Err(refused("a fetch takes up to 30 seconds, and some time"));
        }
        if pause < SHORTEST_PAUSE {
            return Err(refused("between two fetches is a second at the least"));
        }
        if refresh < pause || keep < refresh || keep > LONGEST_KEEP {
            return Err(refused(
                "`pause` is no longer than `refresh`, that no longer than `keep`, and that no longer than a day",
            ));
        }
        Ok((url, self.times))
    }
}

impl From<&str> for JwksUrl {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for JwksUrl {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

impl std::fmt::Debug for JwksUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the address: people put keys into addresses.
        f.debug_struct("JwksUrl").field("times", &self.times).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: JwksUrl) -> String {
        url.checked().unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_one_of_https_or_of_this_machine() {
        for url in [
            "https://id.example/jwks.json",
            " https://id.example:8443/jwks?policy=p#part ",
            "https://10.0.0.1/jwks.json",
            "http://localhost:8080/jwks.json",
            "http://127.0.0.1:8080/jwks.json",
            "http://[::1]/jwks.json",
        ] {
            assert!(JwksUrl::from(url).checked().is_ok(), "{url}");
        }
        for url in [
            "",
            "id.example/jwks.json",
            "/etc/jwks.json",
            "file:///etc/jwks.json",
            "ftp://id.example/jwks.json",
            "data:application/json,{}",
            "http://id.example/jwks.json",
            "http://10.0.0.1/jwks.json",
            "http://0.0.0.0/jwks.json",
            "http://localhost.example/jwks.json",
            "http://127.0.0.1.example/jwks.json",
            "http://127.0.0.1@id.example/jwks.json",
            "https://me:hunter2@id.example/jwks.json",
            "https://hunter2@id.example/jwks.json",
        ] {
            let refused = refused(JwksUrl::from(url.to_owned()));
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        assert!(refused(JwksUrl::new("http://id.example")).contains("HTTPS"));
        let shown = format!("{:?}", JwksUrl::new("https://id.example/jwks.json?code=hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn times_that_do_not_fit_together_are_refused() {
        let url = || JwksUrl::new("https://id.example");
        let seconds = Duration::from_secs;
        for wrong in [
            url().timeout(Duration::ZERO),
            url().timeout(seconds(31)),
            url().pause(Duration::ZERO),
            url().pause(Duration::from_millis(999)),
            url().pause(seconds(601)),
            url().refresh(seconds(9)),
            url().refresh(seconds(3601)),
            url().keep(seconds(599)),
            url().keep(seconds(86_401)),
            url().keep(Duration::MAX),
        ] {
            assert!(wrong.checked().is_err(), "{wrong:?}");
        }
        let shortest = url().pause(seconds(1)).refresh(seconds(1)).keep(seconds(1)).timeout(Duration::from_millis(1));
        assert!(shortest.checked().is_ok());
        assert!(url().keep(seconds(86_400)).refresh(seconds(86_400)).timeout(seconds(30)).checked().is_ok());
    }
}
