//! How much a client may take, and for how long, before it is told that it is too much.

use std::time::Duration;

/// What clients may take, per request, per connection, or per person.
///
/// ```
/// # use kern::os::Limits;
/// # use std::time::Duration;
/// let limits = Limits::new().body(64 << 10).body_time(Duration::from_secs(5));
/// # let _ = limits;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    pub(super) head: usize,
    pub(super) head_time: Duration,
    pub(super) body: usize,
    pub(super) body_time: Duration,
    pub(super) answer_time: Duration,
    pub(super) connections: usize,
    pub(super) list: usize,
    /// Of each address.
    pub(super) connections_each: usize,
    /// Of each person.
    pub(super) streams: usize,
    /// Credentials that do not count, of each address in a minute.
    pub(super) failures: usize,
    /// Requests a second, and at once. `None`: any number.
    pub(super) rate: Option<(u32, u32)>,
}

impl Limits {
    /// The default ones: a head of 16 KiB within 10 seconds, a body of 1 MiB within 30 seconds, an answer of which something
    /// is taken every 30 seconds, 8 MiB of a list, 4,096 connections, 64 of them for each address, 100 requests a second for each
    /// person, 1,000 of them at once, 8 streams of events for each person, and 10 credentials a minute that do not count for
    /// each address.
    pub fn new() -> Self {
        Self {
            head: 16 << 10,
            head_time: Duration::from_secs(10),
            body: 1 << 20,
            body_time: Duration::from_secs(30),
            answer_time: Duration::from_secs(30),
            connections: 4096,
            list: 8 << 20,
            connections_each: 64,
            streams: 8,
            failures: 10,
            rate: Some((100, 1000)),
        }
    }

    /// Sets the bytes of a request's head: its first line and its headers. More is answered with 431.
    pub fn head(mut self, bytes: usize) -> Self {
        self.head = bytes;
        self
    }

    /// Sets how long a request's head may take to come, from when the connection is there or has answered the request before
    /// it. Then the connection is closed.
    pub fn head_time(mut self, time: Duration) -> Self {
        self.head_time = time;
        self
    }

    /// Sets the bytes of a body. More is answered with 413.
    pub fn body(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }

    /// Sets how long a body may take to come. Then it is answered with 408.
    pub fn body_time(mut self, time: Duration) -> Self {
        self.body_time = time;
        self
    }

    /// Sets for how long a client may take nothing of an answer, or of a stream of events. Then the connection is closed; a
    /// stream is gone on with after its last event.
    pub fn answer_time(mut self, time: Duration) -> Self {
        self.answer_time = time;
        self
    }

    /// Sets the bytes of a list in one answer. A longer list ends before the row that does not fit, and says where it goes on:
    /// in `meta.next_cursor`, in `next`, or in the header `Link`. A page that was asked for by its number is refused instead.
    /// One row is always there.
    pub fn list(mut self, bytes: usize) -> Self {
        self.list = bytes;
        self
    }

    /// Sets how many requests each person may make a second, and how many at once after a while without any. More is answered
    /// with 429. Without credentials nobody is counted: then all of them come from this machine.
    pub fn rate(mut self, per_second: u32, at_once: u32) -> Self {
        self.rate = Some((per_second, at_once));
        self
    }

    /// Lets everybody make any number of requests.
    pub fn without_rate(mut self) -> Self {
        self.rate = None;
        self
    }

    /// Sets how many connections each address may have at once. One more is closed at once, with 429. The connections
    /// of a [trusted proxy](crate::os::AgentOSBuilder::trusted_proxy) are those of many clients, and are not counted.
    pub fn connections_each(mut self, count: usize) -> Self {
        self.connections_each = count;
        self
    }

    /// Sets how many streams of events each person may have open at once. One more is answered with 429. All streams together
    /// take at most half of the connections, so that there is always one for a decision; then one more is answered with 503.
    pub fn streams(mut self, count: usize) -> Self {
        self.streams = count;
        self
    }

    /// Sets how many credentials of one address may fail within a minute, in a header or on the panel's page for signing in.
    /// After that, the address gets 429 for every credential that has not counted before.
    pub fn failures(mut self, count: usize) -> Self {
        self.failures = count;
        self
    }

    /// Sets how many connections there are at once. More wait until one is closed. At most half of them are streams of events.
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
