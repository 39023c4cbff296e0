//! Runs that did not go on as they should: left alone for a while, so that none of them is tried without an end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kern_db::RunId;

/// Runs that are remembered. One that is forgotten is tried sooner than it would be.
const MOST: usize = 4096;
/// The first pause, and the longest.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Runs to be left alone.
#[derive(Debug, Default)]
pub(super) struct Troubles(HashMap<RunId, Trouble>);

#[derive(Clone, Copy, Debug)]
struct Trouble {
    pause: Duration,
    until: Instant,
}

impl Troubles {
    /// Whether a run is to be left alone for now.
    pub(super) fn rests(&self, run_id: &RunId, now: Instant) -> bool {
        self.0.get(run_id).is_some_and(|trouble| now < trouble.until)
    }

    /// Leaves a run alone, twice as long as the last time; as long as the last time, where it is not the run's own fault.
    pub(super) fn note(&mut self, run_id: RunId, own_fault: bool, now: Instant) {
        let factor = if own_fault { 2 } else { 1 };
        let pause = self.0.get(&run_id).map_or(SHORTEST, |trouble| LONGEST.min(trouble.pause * factor));
        if self.0.len() >= MOST && !self.0.contains_key(&run_id) {
            let next = self.0.iter().min_by_key(|(_, trouble)| trouble.until).map(|(run_id, _)| run_id.clone());
            next.and_then(|next| self.0.remove(&next));
        }
        self.0.insert(run_id, Trouble { pause, until: now + pause });
    }

    /// A run went on.
    pub(super) fn forget(&mut self, run_id: &RunId) {
        self.0.remove(run_id);
    }

    /// When the next run may be tried again.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.0.values().map(|trouble| trouble.until).filter(|until| *until > now).min()
    }

    /// Runs whose time has come, at most so many.
    pub(super) fn rested(&self, now: Instant, most: usize) -> Vec<RunId> {
        self.0.iter().filter(|(_, trouble)| trouble.until <= now).map(|(run_id, _)| run_id.clone()).take(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_trouble_rests_twice_as_long_each_time_and_at_most_five_minutes() {
        let (mut troubles, run_id, mut now) = (Troubles::default(), RunId::from("r"), Instant::now());
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            troubles.note(run_id.clone(), true, now);
            let rest = Duration::from_secs(seconds);
            assert!(troubles.rests(&run_id, now + rest - Duration::from_millis(1)), "{seconds}");
            now += rest;
            assert!(!troubles.rests(&run_id, now), "{seconds}");
            assert_eq!(troubles.rested(now, 9), std::slice::from_ref(&run_id));
        }
        troubles.forget(&run_id);
        assert_eq!(troubles.next(now), None);
        for _ in 0..3 {
            troubles.note(run_id.clone(), false, now);
            assert!(
                !troubles.rests(&run_id, now + Duration::from_secs(1)),
                "a store that is busy says nothing about it"
            );
        }
    }

    #[test]
    fn the_memory_of_troubles_is_bounded() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        for number in 0..(MOST as u64 + 10) {
            troubles.note(RunId::from(number.to_string()), true, now + Duration::from_millis(number));
        }
        assert_eq!(troubles.0.len(), MOST);
        assert!(!troubles.rests(&RunId::from("3"), now), "the one whose time comes first was forgotten");
    }
}
