//! What clients of HTTP share: which addresses are this machine's own, and everything that an error says.

use std::error::Error;

/// Whether an address leads to this machine and nowhere else.
#[cfg(any(feature = "openai", feature = "jwks-url"))]
pub(crate) fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error with its causes, as one text. The address of a request is cut out before (`without_url`), since it may hold a key.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(all(test, any(feature = "openai", feature = "jwks-url")))]
mod tests {
    use reqwest::Url;

    use super::*;

    #[test]
    fn a_loopback_address_is_told_from_those_that_look_like_one() {
        for (url, local) in [
            ("http://localhost:1", true),
            ("http://LOCALHOST", true),
            ("http://127.3.0.1", true),
            ("http://2130706433", true),
            ("http://[::1]:8080", true),
            ("http://10.0.0.1", false),
            ("http://0.0.0.0", false),
            ("http://[::ffff:127.0.0.1]", false),
            ("http://localhost.example", false),
            ("http://127.0.0.1@example.com", false),
            ("https://127.0.0.1.example", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(url).unwrap()), local, "{url}");
        }
    }
}
