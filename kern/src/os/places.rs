//! The places of event streams: some for each person, and for all of them together half of the connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;

use super::Os;
use super::access::Who;
use super::problem::{Problem, TOO_MANY_STREAMS};

/// After so many seconds a client may ask for a stream again.
const RETRY_AFTER: u32 = 5;

/// The streams that are open.
#[derive(Debug)]
pub(super) struct Streams {
    /// Of all people together.
    most: usize,
    each: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_person: HashMap<String, usize>,
}

/// The place of one stream, held until its connection is done with it.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    person: Option<String>,
}

fn locked(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Streams {
    pub(super) fn new(connections: usize, each: usize) -> Self {
        Self { most: connections / 2, each, open: Arc::default() }
    }

    /// Takes a place. A person who is not known shares the places of all: their name proves nothing.
    pub(super) fn take(&self, person: Option<String>) -> Result<Place, Problem> {
        let mut open = locked(&self.open);
        if let Some(person) = &person
            && open.by_person.get(person).is_some_and(|count| *count >= self.each)
        {
            let what =
                format!("you have {} streams of events open: close one, or watch several runs with one", self.each);
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, TOO_MANY_STREAMS, what).later(RETRY_AFTER));
        }
        // Other requests need connections, too: a decision must not wait for a stream to end.
        if open.all >= self.most {
            let what = "the server has as many streams of events open as it may: try again later";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, TOO_MANY_STREAMS, what).later(RETRY_AFTER));
        }
        open.all += 1;
        if let Some(person) = &person {
            *open.by_person.entry(person.clone()).or_default() += 1;
        }
        Ok(Place { open: Arc::clone(&self.open), person })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = locked(&self.open);
        open.all -= 1;
        if let Some(person) = &self.person
            && let Some(count) = open.by_person.get_mut(person)
        {
            *count -= 1;
            if *count == 0 {
                open.by_person.remove(person);
            }
        }
    }
}

impl Os {
    /// Takes a place for a stream to this caller. It is taken before anything is done for the request: a client that is refused
    /// has changed nothing.
    pub(super) fn place(&self, who: &Who) -> Result<Place, Problem> {
        self.streams.take(who.person())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_person_has_some_and_all_have_half_of_the_connections() {
        let streams = Streams::new(8, 2);
        let take = |person: &str| streams.take(Some(person.to_owned()));
        let (first, second) = (take("ann").expect("a place"), take("ann").expect("a place"));
        let refused = take("ann").expect_err("she has two");
        assert_eq!((refused.status(), refused.code()), (StatusCode::TOO_MANY_REQUESTS, TOO_MANY_STREAMS));
        let (third, _fourth) = (take("bob").expect("a place"), streams.take(None).expect("a place"));
        assert_eq!(take("cid").expect_err("there are four").status(), StatusCode::SERVICE_UNAVAILABLE);
        drop((first, second, third));
        assert!(take("ann").is_ok());
        assert_eq!(locked(&streams.open).by_person.len(), 0);
    }
}
