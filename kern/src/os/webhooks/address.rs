//! Where a webhook may lead. What is asked for inside of the network that a server stands in is asked with the server's own
//! rights (server-side request forgery), so that it is refused unless somebody has allowed it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Which addresses a webhook may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Public,
    Private,
    Any,
}

impl Reach {
    fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::Public => is_public(ip),
            Self::Private => !is_public(ip),
            Self::Any => true,
        }
    }

    /// Why the host of an address is refused as it is written. One that is written as an IP address is never looked up.
    pub(super) fn refuses_host(self, url: &Url) -> Option<&'static str> {
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        match (self, literal) {
            (Self::Public, Some(ip)) if !self.has(ip) => Some(PRIVATE),
            (Self::Public, None) if is_local => Some(PRIVATE),
            (Self::Private, Some(ip)) if !self.has(ip) => Some("leads to a public address over plain HTTP"),
            _ => None,
        }
    }
}

const PRIVATE: &str = "leads to no public address: `.allow_private_addresses()` lets it";

/// Looks names up, and gives only what may be connected to: what is checked is what is connected to, whatever the name
/// means a moment later.
impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let reached: Vec<_> = found.iter().copied().filter(|address| reach.has(address.ip())).collect();
            if reached.is_empty() && !found.is_empty() {
                return Err(NotReached.into());
            }
            Ok(Box::new(reached.into_iter()) as Addrs)
        })
    }
}

/// A name stands for nothing but addresses that a webhook may not be connected to.
#[derive(Debug)]
pub(super) struct NotReached;

impl fmt::Display for NotReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name stands for addresses that a webhook may not be connected to")
    }
}

impl std::error::Error for NotReached {}

/// Whether an address is anybody's to reach: one that the registries of special-purpose addresses (RFC 6890 and later) do not
/// keep for something else.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !V4_SPECIAL.iter().any(|(net, bits)| same_net_v4(ip, *net, *bits)),
        // Only global unicast is. What embeds an IPv4 address (mapped, compatible, NAT64) lies outside of it, but for 6to4 and
        // Teredo, which the list has.
        IpAddr::V6(ip) => {
            same_net_v6(ip, V6_GLOBAL.0, V6_GLOBAL.1)
                && !V6_SPECIAL.iter().any(|(net, bits)| same_net_v6(ip, *net, *bits))
        }
    }
}

const V4_SPECIAL: [(Ipv4Addr, u32); 15] = [
    // This network.
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    // Private use.
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Behind carriers' NAT.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // Loopback, link-local.
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Protocol assignments, relays of 6to4.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // Documentation.
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Benchmarks.
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Multicast; reserved, and broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

const V6_GLOBAL: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

const V6_SPECIAL: [(Ipv6Addr, u32); 4] = [
    // Protocol assignments, Teredo among them.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // 6to4.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn same_net_v4(ip: Ipv4Addr, net: Ipv4Addr, bits: u32) -> bool {
    (ip.to_bits() ^ net.to_bits()) >> (32 - bits) == 0
}

fn same_net_v6(ip: Ipv6Addr, net: Ipv6Addr, bits: u32) -> bool {
    (ip.to_bits() ^ net.to_bits()) >> (128 - bits) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_something_else_is_not_public() {
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.251",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:93.184.216.34",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:2::1",
            "2001:10::1",
            "2001:1ff:ffff::",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(!is_public(ip), "{ip}");
            assert!(!Reach::Public.has(ip) && Reach::Private.has(ip) && Reach::Any.has(ip), "{ip}");
        }
    }

    #[test]
    fn what_is_not_is() {
        for ip in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "93.184.216.34",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "3fff:1000::1",
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(is_public(ip), "{ip}");
            assert!(Reach::Public.has(ip) && !Reach::Private.has(ip) && Reach::Any.has(ip), "{ip}");
        }
    }

    #[tokio::test]
    async fn a_name_gives_only_what_may_be_connected_to() {
        let localhost = || "localhost".parse::<Name>().unwrap();
        let refused = Reach::Public.resolve(localhost()).await.err().unwrap();
        assert!(refused.is::<NotReached>(), "{refused}");
        assert!(Reach::Private.resolve(localhost()).await.unwrap().all(|address| address.ip().is_loopback()));
        assert!(Reach::Any.resolve(localhost()).await.unwrap().next().is_some());
    }
}
