//! How far a test has moved the clock for the calls of one thread. A build without the feature `failpoints` has none of it.
//!
//! A schedule that waits for its deadlines takes seconds; one that moves the clock takes none, and hits each of them on
//! purpose. It is the caller's thread that counts, so that tests side by side do not move each other's clock.

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
