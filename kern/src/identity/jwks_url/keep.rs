//! Which of the keys that were fetched count, and when they are fetched again.
//!
//! What is done is told by [`Known`] alone, without I/O. A fetch is a task of its own: it goes on when the request that needed
//! it first is gone, because others wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::fetch::Source;
use super::{JwksUrl, Times};
use crate::Result;
use crate::identity::AuthError;
use crate::identity::jwks::Signer;

/// The keys that an address has, as far as is known.
pub(in crate::identity) struct PublishedKeys(Arc<Published>);

struct Published {
    source: Source,
    times: Times,
    known: watch::Sender<Known>,
}

/// Keys that came in one answer.
pub(in crate::identity) struct Keys {
    pub(in crate::identity) signers: Vec<Signer>,
    /// When they were asked for: they may have been others any time after.
    asked_at: Moment,
}

/// What is known of the keys, and of the fetches.
#[derive(Default)]
struct Known {
    keys: Option<Arc<Keys>>,
    is_fetching: bool,
    last: Option<Ended>,
}

/// The last fetch that has ended.
struct Ended {
    at: Moment,
    failed: bool,
}

/// A time, by the clock that never goes back and by the one that goes on while the machine sleeps.
#[derive(Clone, Copy)]
struct Moment {
    steady: Instant,
    clock: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { steady: Instant::now(), clock: SystemTime::now() }
    }

    /// How long ago `earlier` was: the longer of the two, so that no key counts for longer than it may.
    fn since(self, earlier: Self) -> Duration {
        let by_clock = self.clock.duration_since(earlier.clock).unwrap_or_default();
        self.steady.saturating_duration_since(earlier.steady).max(by_clock)
    }
}

impl Known {
    fn age(&self, now: Moment) -> Option<Duration> {
        self.keys.as_ref().map(|keys| now.since(keys.asked_at))
    }

    /// Whether keys are to be fetched for a token, whichever it is.
    fn is_due(&self, times: &Times, now: Moment) -> bool {
        self.age(now).is_none_or(|age| age >= times.refresh)
    }

    /// Whether a fetch may begin: one at a time, and none for some time after the last one.
    fn may_fetch(&self, times: &Times, now: Moment) -> bool {
        !self.is_fetching && self.last.as_ref().is_none_or(|last| now.since(last.at) >= times.pause)
    }

    /// Whether a token waits for the fetch that is under way. It does not where one has failed lately and the keys that there
    /// are still count: else an address that answers nothing would keep everybody waiting all the time. A failure of long ago
    /// says nothing of now: a key that was taken out since would count once more.
    fn is_waited_for(&self, times: &Times, now: Moment) -> bool {
        let failed_lately = self.last.as_ref().is_some_and(|last| last.failed && now.since(last.at) < times.refresh);
        self.is_fetching && self.is_due(times, now) && (self.counting(times, now).is_none() || !failed_lately)
    }

    /// The keys that count.
    fn counting(&self, times: &Times, now: Moment) -> Option<&Arc<Keys>> {
        self.keys.as_ref().filter(|keys| now.since(keys.asked_at) < times.keep)
    }

    /// Whether the last fetch failed, so that nobody knows which keys there are now.
    fn has_failed(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.failed)
    }

    /// Whether they are still the newest.
    fn are_newest(&self, keys: &Arc<Keys>) -> bool {
        self.keys.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, keys))
    }

    /// Why there are none, with the time after which they may be fetched.
    fn missing(&self, times: &Times, now: Moment) -> AuthError {
        let since = self.last.as_ref().map_or(times.pause, |last| now.since(last.at));
        AuthError::NoKeys { retry_after: times.pause.saturating_sub(since) }
    }
}

impl PublishedKeys {
    /// # Errors
    ///
    /// [`Error::Setup`](crate::Error::Setup): the address may not be asked, the times do not fit together, or there is no
    /// client.
    pub(in crate::identity) fn new(url: JwksUrl) -> Result<Self> {
        let (url, times) = url.checked()?;
        let source = Source::new(url, times.timeout)?;
        Ok(Self(Arc::new(Published { source, times, known: watch::Sender::default() })))
    }

    /// Begins to fetch keys where that is due, and waits for nothing.
    pub(in crate::identity) fn fetch_ahead(&self) {
        let now = Moment::now();
        self.begin(now, |known| known.is_due(&self.0.times, now));
    }

    /// The keys that count, fetched if they have to be.
    ///
    /// # Errors
    ///
    /// [`AuthError::NoKeys`]: there are none.
    pub(in crate::identity) async fn current(&self) -> Result<Arc<Keys>, AuthError> {
        let times = &self.0.times;
        let now = Moment::now();
        self.begin(now, |known| known.is_due(times, now));
        let mut known = self.0.known.subscribe();
        let known = known.wait_for(|known| !known.is_waited_for(times, now)).await.expect("its sender is in `self`");
        let now = Moment::now();
        known.counting(times, now).cloned().ok_or_else(|| known.missing(times, now))
    }

    /// The keys that there are by now, fetched if they may be. `None`: these are still the newest, and the issuer was asked
    /// a moment ago.
    ///
    /// # Errors
    ///
    /// [`AuthError::NoKeys`]: it could not be asked, so that nobody knows whether there are newer ones.
    pub(in crate::identity) async fn newer_than(&self, keys: &Arc<Keys>) -> Result<Option<Arc<Keys>>, AuthError> {
        let times = &self.0.times;
        let now = Moment::now();
        self.begin(now, |known| known.are_newest(keys));
        let mut known = self.0.known.subscribe();
        let is_over = |known: &Known| !known.is_fetching || !known.are_newest(keys);
        let known = known.wait_for(is_over).await.expect("its sender is in `self`");
        let now = Moment::now();
        match known.counting(times, now) {
            Some(newest) if !Arc::ptr_eq(newest, keys) => Ok(Some(Arc::clone(newest))),
            Some(_) if !known.has_failed() => Ok(None),
            _ => Err(known.missing(times, now)),
        }
    }

    /// Begins a fetch, if it is wanted as things stand and may begin.
    fn begin(&self, now: Moment, is_wanted: impl FnOnce(&Known) -> bool) {
        let begins = self.0.known.send_if_modified(|known| {
            let begins = is_wanted(known) && known.may_fetch(&self.0.times, now);
            known.is_fetching |= begins;
            begins
        });
        if begins {
            // Made before the task, which may never run.
            let mut fetching = Fetching { published: Arc::clone(&self.0), found: None };
            tokio::spawn(async move { fetching.fetch().await });
        }
    }
}

/// A fetch that is under way. However it ends, those who wait are told when this is dropped: also where its task was aborted.
struct Fetching {
    published: Arc<Published>,
    found: Option<Keys>,
}

impl Fetching {
    async fn fetch(&mut self) {
        let Published { source, times, known } = &*self.published;
        let address = source.shown();
        let asked_at = Moment::now();
        match source.fetch().await {
            Ok(signers) => {
                match signers.len() {
                    0 => tracing::warn!(address, "the issuer publishes no key that tokens can be checked with"),
                    keys if known.borrow().has_failed() => {
                        tracing::info!(address, keys, "the keys for tokens were fetched again");
                    }
                    keys => tracing::debug!(address, keys, "the keys for tokens were fetched"),
                }
                self.found = Some(Keys { signers, asked_at });
            }
            Err(why) => {
                let known = known.borrow();
                let now = Moment::now();
                let left = known.counting(times, now).and(known.age(now)).map(|age| times.keep.saturating_sub(age));
                match left {
                    Some(left) => {
                        let left = left.as_secs();
                        tracing::warn!(
                            address,
                            why,
                            left,
                            "the keys for tokens cannot be fetched: those of before count for `left` seconds"
                        );
                    }
                    None => {
                        tracing::error!(address, why, "the keys for tokens cannot be fetched: no token counts");
                    }
                }
            }
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let found = self.found.take().map(Arc::new);
        self.published.known.send_modify(|known| {
            known.is_fetching = false;
            known.last = Some(Ended { at: Moment::now(), failed: found.is_none() });
            if found.is_some() {
                known.keys = found;
            }
        });
    }
}

impl std::fmt::Debug for PublishedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishedKeys")
            .field("address", &self.0.source.shown())
            .field("times", &self.0.times)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        refresh: Duration::from_secs(600),
        keep: Duration::from_secs(3600),
        pause: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
    };

    /// So many seconds after a beginning, by both clocks.
    struct Clock(Moment);

    impl Clock {
        fn at(&self, seconds: u64) -> Moment {
            let passed = Duration::from_secs(seconds);
            Moment { steady: self.0.steady + passed, clock: self.0.clock + passed }
        }

        /// Keys that were asked for then, and the last fetch, which ended then and failed or not.
        fn known(&self, keys: Option<u64>, last: Option<(u64, bool)>) -> Known {
            Known {
                keys: keys.map(|at| Arc::new(Keys { signers: Vec::new(), asked_at: self.at(at) })),
                is_fetching: false,
                last: last.map(|(at, failed)| Ended { at: self.at(at), failed }),
            }
        }
    }

    #[test]
    fn keys_are_due_after_a_while_and_count_for_a_longer_one() {
        let clock = Clock(Moment::now());
        for (keys, last, now, is_due, count, may_fetch) in [
            (None, None, 0, true, false, true),
            (None, Some((0, true)), 9, true, false, false),
            (None, Some((0, true)), 10, true, false, true),
            (Some(0), Some((1, false)), 1, false, true, false),
            (Some(0), Some((1, false)), 10, false, true, false),
            (Some(0), Some((1, false)), 11, false, true, true),
            (Some(0), Some((1, false)), 599, false, true, true),
            (Some(0), Some((1, false)), 600, true, true, true),
            (Some(0), Some((605, true)), 606, true, true, false),
            (Some(0), Some((3595, true)), 3599, true, true, false),
            (Some(0), Some((3595, true)), 3600, true, false, false),
            (Some(0), Some((3595, true)), 3605, true, false, true),
        ] {
            let (known, at) = (clock.known(keys, last), clock.at(now));
            let found = (known.is_due(&TIMES, at), known.counting(&TIMES, at).is_some(), known.may_fetch(&TIMES, at));
            assert_eq!(found, (is_due, count, may_fetch), "{keys:?} {last:?} {now}");
            assert!(!Known { is_fetching: true, ..known }.may_fetch(&TIMES, at), "one at a time");
        }
    }

    #[test]
    fn a_token_waits_for_a_fetch_that_it_needs_and_for_none_where_one_failed_lately_and_keys_count() {
        let clock = Clock(Moment::now());
        for (keys, last, now, waits) in [
            (None, None, 0, true),
            (None, Some((0, true)), 10, true),
            (Some(0), Some((1, false)), 599, false),
            (Some(0), Some((1, false)), 600, true),
            (Some(0), Some((605, true)), 620, false),
            (Some(0), Some((605, true)), 1204, false),
            (Some(0), Some((605, true)), 1205, true),
            (Some(0), Some((3595, true)), 3599, false),
            (Some(0), Some((3595, true)), 3600, true),
        ] {
            let known = clock.known(keys, last);
            assert!(!known.is_waited_for(&TIMES, clock.at(now)), "none is under way: {keys:?} {last:?} {now}");
            let known = Known { is_fetching: true, ..known };
            assert_eq!(known.is_waited_for(&TIMES, clock.at(now)), waits, "{keys:?} {last:?} {now}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_or_a_machine_that_slept_makes_no_key_younger() {
        let then = Moment::now();
        let hour = Duration::from_secs(3600);
        let set_back = Moment { steady: then.steady + hour, clock: then.clock - hour };
        let slept = Moment { steady: then.steady, clock: then.clock + hour };
        assert_eq!((set_back.since(then), slept.since(then)), (hour, hour));
        assert_eq!(then.since(slept), Duration::ZERO);
    }

    #[test]
    fn whoever_gets_no_keys_is_told_when_they_may_be_there() {
        let clock = Clock(Moment::now());
        for (last, now, expected) in
            [(None, 5, 0), (Some((0, true)), 0, 10), (Some((0, true)), 4, 6), (Some((0, true)), 60, 0)]
        {
            let AuthError::NoKeys { retry_after } = clock.known(None, last).missing(&TIMES, clock.at(now)) else {
                panic!("another error")
            };
            assert_eq!(retry_after, Duration::from_secs(expected), "{last:?} {now}");
        }
    }
}
