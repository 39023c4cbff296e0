//! The time of a store: its clock, but never before the largest time that this process has seen in the store, plus what has passed
//! since by the monotonic clock. Nothing is revived by a clock that is set back, and nothing freezes after an entry that was written
//! ahead of time.
//!
//! Also how far a test has moved the clock for the calls of one thread (feature `failpoints`). A schedule that waits for its deadlines takes seconds; one that moves the clock takes none, and hits each of them on
//! purpose. It is the caller's thread that counts, so that tests side by side do not move each other's clock.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The time of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    /// The store's time, epoch milliseconds.
    pub(crate) now_ms: i64,
    /// What the store's clock said.
    pub(crate) clock_ms: i64,
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
pub(crate) struct Floor(Mutex<Option<Known>>);

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
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        Time { now_ms: next.now_ms(), clock_ms }
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
