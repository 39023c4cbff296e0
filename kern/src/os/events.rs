//! Server-sent events: from a feed to a client, at the client's pace and never beyond it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::access::Lasts;
use super::feeds::{Feed, Frame, Next};
use super::places::Place;

/// Events between the feed and the connection.
const QUEUE: usize = 16;
/// How long a client may take nothing before its connection is dropped. It resumes where it was.
const STALLED: Duration = Duration::from_secs(30);
/// How often a quiet stream says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What a handler puts into a stream.
pub(super) type Queue = Sender<Event>;

/// The events of one response, with the place that they take as long as the connection has them.
struct Events {
    queue: Receiver<Event>,
    _place: Option<Place>,
}

impl Stream for Events {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.poll_recv(context).map(|event| event.map(Ok))
    }
}

/// A response of server-sent events. `tell` is given the queue, in a task of its own, and ends the stream when it returns, or
/// when the credential that it was asked for with counts no more. What is told at once takes no place.
pub(super) fn response<F>(place: Option<Place>, lasts: Lasts, tell: impl FnOnce(Queue) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (queue, events) = channel(QUEUE);
    let told = tell(queue);
    tokio::spawn(async move {
        // Either way the stream has ended.
        tokio::select! {
            () = told => {}
            () = lasts.over() => {}
        }
    });
    Sse::new(Events { queue: events, _place: place }).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// Puts an event into the queue. `false`: the client is gone, or takes nothing.
pub(super) async fn send(queue: &Queue, event: Event) -> bool {
    queue.send_timeout(event, STALLED).await.is_ok()
}

pub(super) fn event(frame: &Frame) -> Event {
    Event::default().event(frame.name).data(&*frame.data)
}

/// A run's events from number `from` on, until it pauses or ends.
pub(super) fn of_feed(feed: Arc<Feed>, from: u64, place: Place, lasts: Lasts) -> Response {
    response(Some(place), lasts, move |queue| async move {
        let mut changes = feed.changes();
        let mut at = from;
        loop {
            match feed.at(at) {
                Next::Frame(frame) => {
                    at += 1;
                    if !send(&queue, event(&frame)).await {
                        return;
                    }
                }
                Next::Later => tokio::select! {
                    changed = changes.changed() => {
                        if changed.is_err() {
                            return;
                        }
                    }
                    () = queue.closed() => return,
                },
                // Whoever is too far behind comes back, and is shown how the run stands.
                Next::Over | Next::Lost => return,
            }
        }
    })
}
