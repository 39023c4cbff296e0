//! Proxies before the server: the headers that they leave, and the client's address behind one that is trusted.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

/// The address of the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer(pub(super) IpAddr);

/// The header that a trusted proxy names its client in. No other one counts.
const CLIENT: &str = "x-forwarded-for";

/// The name of a header that shows that a proxy forwarded a request.
pub(super) fn forwarded_by(headers: &HeaderMap) -> Option<&str> {
    let is_left = |name: &&str| ["forwarded", "via", "x-real-ip"].contains(name) || name.starts_with("x-forwarded-");
    headers.keys().map(|name| name.as_str()).find(is_left)
}

/// The proxies whose `X-Forwarded-For` counts.
#[derive(Debug, Default)]
pub(super) struct Proxies(Vec<IpAddr>);

impl Proxies {
    pub(super) fn new(trusted: impl IntoIterator<Item = IpAddr>) -> Self {
        Self(trusted.into_iter().map(|address| address.to_canonical()).collect())
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// The client's address: that of the peer, unless the peer is a trusted proxy. Then `X-Forwarded-For` is read from its end,
    /// where each proxy adds the address that it was asked from, up to the first address that is not trusted: what stands before
    /// it was written by the client, which could otherwise take any address. What is not an address ends the search, too.
    pub(super) fn client(&self, Peer(peer): Peer, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines = headers.get_all(CLIENT).iter().rev();
        let mut hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        while self.trusts(client) {
            let Some(next) = hops.next().and_then(address) else { break };
            client = next;
        }
        client
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let parsed = text.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let line = |line: &&str| (CLIENT.parse().expect("a name"), line.parse().expect("a value"));
        lines.iter().map(line).collect()
    }

    #[test]
    fn only_what_a_trusted_proxy_has_added_names_the_client() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let proxies = Proxies::new([ip("10.0.0.1"), ip("10.0.0.2")]);
        for (peer, lines, client) in [
            ("192.0.2.9", &["203.0.113.5"][..], "192.0.2.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.5"], "203.0.113.5"),
            ("::ffff:10.0.0.1", &["203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", &["198.51.100.7, 203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", &["198.51.100.7", "203.0.113.5"], "203.0.113.5"),
            ("10.0.0.1", &["203.0.113.5, 10.0.0.2"], "203.0.113.5"),
            ("10.0.0.1", &["198.51.100.7, 203.0.113.5 ,10.0.0.2"], "203.0.113.5"),
            ("10.0.0.1", &["203.0.113.5:4711"], "203.0.113.5"),
            ("10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["203.0.113.5, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.5, "], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
        ] {
            assert_eq!(proxies.client(Peer(ip(peer)), &headers(lines)), ip(client), "{peer} {lines:?}");
        }
        assert_eq!(Proxies::default().client(Peer(ip("10.0.0.1")), &headers(&["203.0.113.5"])), ip("10.0.0.1"));
    }
}
