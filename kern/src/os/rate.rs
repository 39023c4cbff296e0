//! The request rate of each principal, with a burst.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use super::problem::Problem;

/// After so many requests, those are forgotten who have not asked for long enough.
const FORGET_AFTER: u64 = 4096;

/// Who has asked how often.
#[derive(Debug)]
pub(super) struct Rate {
    limiter: DefaultKeyedRateLimiter<String>,
    asked: AtomicU64,
}

impl Rate {
    pub(super) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self { limiter: DefaultKeyedRateLimiter::keyed(quota), asked: AtomicU64::new(0) }
    }

    /// Counts a request of a principal, or refuses it. By the name alone, one issuer's user could use up another's share.
    pub(super) fn admit(&self, owner: &str) -> Result<(), Problem> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_AFTER == FORGET_AFTER - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&owner.to_owned()).map_err(|early| {
            let wait: Duration = early.wait_time_from(DefaultClock::default().now());
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            let what = "you have asked too often: wait for as long as `Retry-After` says";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", what).later(seconds)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_share_of_their_own() {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        let rate = Rate::new(number(1), number(3));
        let admitted = |owner| (0..5).filter(|_| rate.admit(owner).is_ok()).count();
        assert_eq!((admitted("ann"), admitted("bob")), (3, 3));
        let refused = rate.admit("ann").expect_err("she has had hers");
        assert_eq!((refused.status(), refused.code()), (StatusCode::TOO_MANY_REQUESTS, "rate_limited"));
    }
}
