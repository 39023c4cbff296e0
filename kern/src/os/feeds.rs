//! The events of the runs that are driven here, kept for whoever watches, comes late, or comes back.
//!
//! A run never waits for a reader, and a reader has no queue of its own: everybody reads the one feed of a run at their own
//! place. Whoever is further behind than what is kept is told to look at the run itself.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kern_db::RunId;
use tokio::sync::watch;

/// Events of one run that are kept.
const EVENTS: usize = 4096;
/// Bytes of them.
const BYTES: usize = 4 << 20;
/// How long they are kept after the run has paused or ended.
const KEPT: Duration = Duration::from_secs(300);
/// Feeds of runs that have paused or ended.
const OVER: usize = 256;

/// An event as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) name: &'static str,
    pub(super) data: Arc<str>,
}

/// What there is at a reader's place.
#[derive(Debug)]
pub(super) enum Next {
    Frame(Frame),
    /// Not yet.
    Later,
    /// The run has paused or ended, and everything was read.
    Over,
    /// It is not kept any more.
    Lost,
}

/// The events of one run.
#[derive(Debug)]
pub(super) struct Feed {
    kept: Mutex<Kept>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The number of the first one that is kept.
    first: u64,
    frames: VecDeque<Frame>,
    bytes: usize,
    is_over: bool,
}

impl Feed {
    fn new() -> Self {
        Self { kept: Mutex::default(), changed: watch::Sender::new(()) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, frame: Frame) {
        let mut kept = self.kept();
        kept.bytes += frame.data.len();
        kept.frames.push_back(frame);
        while kept.frames.len() > EVENTS || (kept.bytes > BYTES && kept.frames.len() > 1) {
            if let Some(oldest) = kept.frames.pop_front() {
                kept.bytes -= oldest.data.len();
                kept.first += 1;
            }
        }
        drop(kept);
        self.changed.send_replace(());
    }

    fn close(&self) {
        self.kept().is_over = true;
        self.changed.send_replace(());
    }

    /// What stands at place `at`, from 0.
    pub(super) fn at(&self, at: u64) -> Next {
        let kept = self.kept();
        if at < kept.first {
            return Next::Lost;
        }
        let place = usize::try_from(at - kept.first).unwrap_or(usize::MAX);
        match kept.frames.get(place) {
            Some(frame) => Next::Frame(frame.clone()),
            None if kept.is_over => Next::Over,
            None => Next::Later,
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// All feeds of this process.
#[derive(Debug, Default)]
pub(super) struct Feeds(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    feeds: HashMap<RunId, Arc<Feed>>,
    /// Those that are over, the oldest first.
    over: VecDeque<(Instant, RunId, Arc<Feed>)>,
}

impl Feeds {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the feed of a run. A run that goes on has a new one.
    pub(super) fn open(&self, run_id: &RunId) -> Arc<Feed> {
        let feed = Arc::new(Feed::new());
        self.all().feeds.insert(run_id.clone(), Arc::clone(&feed));
        feed
    }

    pub(super) fn get(&self, run_id: &RunId) -> Option<Arc<Feed>> {
        self.all().feeds.get(run_id).cloned()
    }

    /// The run has paused or ended. Its feed is kept for a while.
    pub(super) fn close(&self, run_id: &RunId, feed: Arc<Feed>) {
        feed.close();
        let mut all = self.all();
        all.over.push_back((Instant::now(), run_id.clone(), feed));
        while all.over.len() > OVER || all.over.front().is_some_and(|(since, ..)| since.elapsed() > KEPT) {
            let Some((_, run_id, feed)) = all.over.pop_front() else { break };
            if all.feeds.get(&run_id).is_some_and(|current| Arc::ptr_eq(current, &feed)) {
                all.feeds.remove(&run_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &str) -> Frame {
        Frame { name: "RunContent", data: data.into() }
    }

    #[test]
    fn a_reader_finds_everything_at_its_own_place() {
        let feeds = Feeds::default();
        let run_id = RunId::from("r1");
        let feed = feeds.open(&run_id);
        feed.push(frame("0"));
        assert!(matches!(feed.at(0), Next::Frame(frame) if &*frame.data == "0"));
        assert!(matches!(feed.at(1), Next::Later));
        feeds.close(&run_id, Arc::clone(&feed));
        assert!(matches!(feed.at(1), Next::Over));
        assert!(matches!(feeds.get(&run_id).expect("it is kept").at(0), Next::Frame(_)));
    }

    #[test]
    fn what_is_kept_is_bounded_and_whoever_is_behind_it_is_told() {
        let feed = Feed::new();
        for _ in 0..EVENTS + 10 {
            feed.push(frame("x"));
        }
        assert!(matches!(feed.at(9), Next::Lost));
        assert!(matches!(feed.at(10), Next::Frame(_)));
        feed.push(frame(&"y".repeat(BYTES)));
        assert!(matches!(feed.at(10), Next::Lost));
        assert!(matches!(feed.at(EVENTS as u64 + 10), Next::Frame(_)));
        assert!(matches!(feed.at(EVENTS as u64 + 11), Next::Later));
    }

    #[test]
    fn feeds_that_are_over_do_not_pile_up() {
        let feeds = Feeds::default();
        for number in 0..OVER + 10 {
            let run_id = RunId::from(format!("r{number}"));
            let feed = feeds.open(&run_id);
            feeds.close(&run_id, feed);
        }
        assert_eq!(feeds.all().feeds.len(), OVER);
        assert!(feeds.get(&RunId::from("r0")).is_none());
    }

    #[test]
    fn a_run_that_goes_on_keeps_its_new_feed_when_the_old_one_is_forgotten() {
        let feeds = Feeds::default();
        let run_id = RunId::from("again");
        let old = feeds.open(&run_id);
        feeds.close(&run_id, old);
        let new = feeds.open(&run_id);
        for number in 0..=OVER {
            let other = RunId::from(format!("r{number}"));
            let feed = feeds.open(&other);
            feeds.close(&other, feed);
        }
        assert!(Arc::ptr_eq(&feeds.get(&run_id).expect("it goes on"), &new));
    }
}
