//! The limits of one address: its open connections, and the credentials that it brings and that do not count.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;

/// The span in which failures are counted.
const SPAN: Duration = Duration::from_secs(60);
/// Addresses with failures; with more of them, those whose failures are older than the span are forgotten.
const SWEPT_FROM: usize = 1024;
/// Credentials that are remembered as good.
const GOOD: usize = 4096;

/// The other end of a connection. Of IPv6, a whole /64: one host has as many addresses of it as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address(IpAddr);

impl Address {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(ip) => Self(Ipv6Addr::from(u128::from(ip) >> 64 << 64).into()),
            ip => Self(ip),
        }
    }
}

/// The open connections of each address.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<HashMap<Address, usize>>>);

/// An open connection. It is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    all: Connections,
    address: Address,
}

impl Connections {
    fn all(&self) -> MutexGuard<'_, HashMap<Address, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection. `None`: the address has `most` already.
    pub(super) fn open(&self, address: Address, most: usize) -> Option<Open> {
        let mut all = self.all();
        let open = all.entry(address).or_default();
        if *open >= most {
            return None;
        }
        *open += 1;
        Some(Open { all: self.clone(), address })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut all = self.all.all();
        if let Some(open) = all.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                all.remove(&self.address);
            }
        }
    }
}

/// Credentials that did not count, by the address that brought them.
///
/// An address with too many of them is refused without a look at what it brings: guessing costs the store nothing. Credentials
/// that have counted before are still looked at, so that the failures of one client do not shut out the others behind the same
/// proxy.
#[derive(Debug)]
pub(super) struct Failures {
    most: usize,
    failed: Mutex<HashMap<Address, VecDeque<Instant>>>,
    good: Mutex<HashSet<[u8; 32]>>,
}

impl Failures {
    pub(super) fn new(most: usize) -> Self {
        Self { most, failed: Mutex::default(), good: Mutex::default() }
    }

    fn failed(&self) -> MutexGuard<'_, HashMap<Address, VecDeque<Instant>>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn good(&self) -> MutexGuard<'_, HashSet<[u8; 32]>> {
        self.good.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a credential that has never counted, from an address with too many failures. Without an address, as behind
    /// [`into_router`](crate::os::AgentOS::into_router), nothing is counted.
    pub(super) fn admit(&self, address: Option<Address>, credential: &[u8]) -> Result<(), Problem> {
        let Some(address) = address else { return Ok(()) };
        let wait = {
            let failed = self.failed();
            let Some(times) = failed.get(&address) else { return Ok(()) };
            let recent = times.iter().filter(|at| at.elapsed() < SPAN);
            if recent.clone().count() < self.most {
                return Ok(());
            }
            recent.map(|at| SPAN.saturating_sub(at.elapsed())).min().unwrap_or_default()
        };
        if self.good().contains(&digest(credential)) {
            return Ok(());
        }
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let what = "too many credentials from this address did not count: wait for as long as `Retry-After` says";
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", what).later(seconds))
    }

    pub(super) fn failed_now(&self, address: Option<Address>) {
        let Some(address) = address else { return };
        let mut failed = self.failed();
        if failed.len() >= SWEPT_FROM {
            failed.retain(|_, times| times.back().is_some_and(|at| at.elapsed() < SPAN));
        }
        let times = failed.entry(address).or_default();
        times.push_back(Instant::now());
        while times.len() > self.most {
            times.pop_front();
        }
    }

    pub(super) fn counted(&self, credential: &[u8]) {
        let digest = digest(credential);
        let mut good = self.good();
        if good.len() >= GOOD && !good.contains(&digest) {
            good.clear();
        }
        good.insert(digest);
    }
}

fn digest(credential: &[u8]) -> [u8; 32] {
    Sha256::digest(credential).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::of(text.parse().expect("an address"))
    }

    #[test]
    fn an_address_is_a_host_of_ipv4_and_a_network_of_ipv6() {
        assert_eq!(address("10.0.0.1"), address("::ffff:10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
    }

    #[test]
    fn connections_are_counted_until_they_are_closed() {
        let (all, one, other) = (Connections::default(), address("10.0.0.1"), address("10.0.0.2"));
        let open: Vec<_> = (0..3).map(|_| all.open(one, 3).expect("there is room")).collect();
        assert!(all.open(one, 3).is_none() && all.open(other, 3).is_some());
        drop(open);
        assert!(all.open(one, 3).is_some());
        assert!(all.all().is_empty(), "nothing is kept of closed ones");
    }

    #[test]
    fn failures_shut_out_what_has_never_counted() {
        let (failures, one, other) = (Failures::new(3), Some(address("10.0.0.1")), Some(address("10.0.0.2")));
        failures.counted(b"good");
        for _ in 0..3 {
            failures.admit(one, b"guess").expect("it may try");
            failures.failed_now(one);
        }
        let refused = failures.admit(one, b"guess").expect_err("it has failed too often");
        assert_eq!((refused.status(), refused.code()), (StatusCode::TOO_MANY_REQUESTS, "too_many_failures"));
        failures.admit(one, b"good").expect("it has counted before");
        failures.admit(other, b"guess").expect("another address has not failed");
        failures.admit(None, b"guess").expect("nothing is counted without an address");
    }
}
