//! The machine's clock, and the time of a store: its clock, but never before the largest time that this process has seen in the
//! store, plus what has passed since by the monotonic clock. Nothing is revived by a clock that is set back, and nothing freezes
//! after an entry that was written ahead of time.
//!
//! With the feature `failpoints`, a test moves the clock for the calls of its own thread. A schedule that waits for its deadlines
//! takes seconds; one that moves the clock takes none, and hits each of them on purpose. Tests that run side by side do not move
//! each other's clock.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// How far the store's time may be ahead of its clock before that is reported.
pub const JUMP_MS: i64 = 30_000;
/// How often it is reported in the log.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// How far the stored time may lag behind the store's time, on a store that does not keep it with every transaction.
#[cfg(feature = "postgres")]
const LAG_MS: i64 = 1_000;

/// Epoch milliseconds of the machine. A clock before 1970 counts as 1970.
pub(crate) fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How a store's time stands to its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoreClock {
    /// The store's time, by which approvals expire and leases end. Epoch milliseconds.
    pub now_ms: i64,
    /// The store's clock: the machine's, or the database server's. Epoch milliseconds.
    pub clock_ms: i64,
}

impl StoreClock {
    /// How far the store's time is ahead of its clock: never less than nothing.
    #[must_use]
    pub fn ahead_ms(&self) -> i64 {
        self.now_ms.saturating_sub(self.clock_ms).max(0)
    }

    /// Whether that is so far that it is reported: an entry was written ahead of time, or the clock was set back.
    #[must_use]
    pub fn has_jumped(&self) -> bool {
        self.ahead_ms() > JUMP_MS
    }
}

/// The time of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    /// The store's time, epoch milliseconds.
    pub(crate) now_ms: i64,
    /// What the store's clock said.
    pub(crate) clock_ms: i64,
    /// How often an operator had set the store's time back.
    pub(crate) resets: i64,
    /// What the stored time alone would have said.
    stored_ms: i64,
}

impl Time {
    /// The time of the transaction that sets the store's time back to its clock.
    pub(crate) fn reset(self) -> Self {
        Self { now_ms: self.clock_ms, stored_ms: self.clock_ms, resets: self.resets + 1, ..self }
    }

    /// Whether the stored time lags behind, so that processes that live for a moment would see time stand still.
    #[cfg(feature = "postgres")]
    pub(crate) fn lags(self) -> bool {
        self.now_ms.saturating_sub(self.stored_ms) > LAG_MS
    }
}

impl From<Time> for StoreClock {
    fn from(time: Time) -> Self {
        Self { now_ms: time.now_ms, clock_ms: time.clock_ms }
    }
}

/// What a transaction has found about the store's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The time that the guards of the last entry compared. Not its place in time: once an operator has set the time back, that
    /// stands still until the clock has caught up.
    pub(crate) head_ms: i64,
    /// The store's time was `at_ms` when its clock said `wall_ms`.
    pub(crate) at_ms: i64,
    pub(crate) wall_ms: i64,
    /// How often an operator has set the time back.
    pub(crate) resets: i64,
}

/// The largest time that a process has seen in a store, and when that was by the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Floor {
    known: Mutex<Option<Known>>,
    /// When it was last said that the time is ahead.
    warned: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    at_ms: i64,
    since: Instant,
    resets: i64,
}

impl Known {
    fn now_ms(self) -> i64 {
        let passed = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.at_ms.saturating_add(passed)
    }
}

impl Floor {
    /// The store's time, where its clock says `clock_ms`. Within a process it never falls, but for an operator's reset.
    pub(crate) fn time(&self, clock_ms: i64, seen: Seen) -> Time {
        let stored = seen.at_ms.saturating_add(clock_ms.saturating_sub(seen.wall_ms).max(0));
        let seen_ms = clock_ms.max(seen.head_ms).max(stored);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let seen_at = |at_ms, resets| Known { at_ms, since: Instant::now(), resets };
        let next = match *known {
            // Set back since: what this process remembers is of the time before.
            Some(known) if known.resets < seen.resets => seen_at(seen_ms, seen.resets),
            Some(before) => {
                // A reader may still see the store as it was before it was set back.
                let seen_ms = if before.resets == seen.resets { seen_ms } else { clock_ms };
                // Counted from where it began, so that no part of a millisecond is lost at each look.
                if before.now_ms() < seen_ms { seen_at(seen_ms, before.resets) } else { before }
            }
            None => seen_at(seen_ms, seen.resets),
        };
        *known = Some(next);
        drop(known);
        let time = Time { now_ms: next.now_ms(), clock_ms, resets: next.resets, stored_ms: stored };
        self.warn(time.into());
        time
    }
}

impl Floor {
    fn warn(&self, clock: StoreClock) {
        if !clock.has_jumped() {
            return;
        }
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            tracing::warn!(
                ahead_ms = clock.ahead_ms(),
                "the store's time is ahead of its clock: approvals expire early; see `kern clock`"
            );
        }
    }
}

#[cfg(feature = "failpoints")]
thread_local! {
    static AHEAD_MS: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

/// Sets how far every store's clock is ahead of its own for what this thread asks of it from now on.
#[cfg(feature = "failpoints")]
pub fn set_ahead_ms(ahead_ms: i64) {
    AHEAD_MS.set(ahead_ms);
}

/// How far it is ahead, and with it the clock of the whole process where a failpoint has moved that.
#[cfg(feature = "failpoints")]
pub(crate) fn ahead_ms() -> i64 {
    AHEAD_MS.get().saturating_add(crate::fault::shift_ms())
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn ahead_ms() -> i64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn seen(head_ms: i64, at_ms: i64, wall_ms: i64, resets: i64) -> Seen {
        Seen { head_ms, at_ms, wall_ms, resets }
    }

    #[test]
    fn time_does_not_fall_and_does_not_stand_still() {
        let floor = Floor::default();
        let ahead = HOUR + 10_000;
        assert_eq!(floor.time(10_000, seen(ahead, 0, 0, 0)).now_ms, ahead);
        std::thread::sleep(Duration::from_millis(20));
        // Asked more often than once in a millisecond, it passes all the same.
        let mut last = ahead;
        for _ in 0..10_000 {
            let now = floor.time(10_000 - HOUR, seen(0, 0, 0, 0)).now_ms;
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
        assert!(last >= ahead + 20, "{last}");
    }

    #[test]
    fn a_new_process_goes_on_from_the_stored_time() {
        let stored = seen(0, HOUR, 1_000, 0);
        assert_eq!(Floor::default().time(6_000, stored).now_ms, HOUR + 5_000);
        // The clock was set back meanwhile.
        assert_eq!(Floor::default().time(0, stored).now_ms, HOUR);
    }

    #[test]
    fn only_a_reset_sets_it_back() {
        let floor = Floor::default();
        floor.time(0, seen(HOUR, 0, 0, 0));
        let reset = floor.time(5_000, seen(5_000, 5_000, 5_000, 1));
        assert!((5_000..6_000).contains(&reset.now_ms), "{reset:?}");
        // A reader that still sees the store as it was before.
        let late = floor.time(5_000, seen(HOUR, 0, 0, 0));
        assert!((5_000..6_000).contains(&late.now_ms), "{late:?}");
    }
}
