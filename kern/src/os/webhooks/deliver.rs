//! From the outbox to the receivers. The store says what waits and who is at it: any number of processes may do all of this
//! on one store, and a process that dies leaves nothing behind but leases.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kern_db::{Db, DeliveryClaim, DeliveryEnd};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::request::{Means, Sender, Sent};
use super::{Webhook, body};
use crate::error::{Error, Result, causes};
use crate::milliseconds::milliseconds;
use crate::run::stop::Stop;
use crate::worker::tidy;

/// How often the store is looked at where nothing says that it has changed.
const POLL: Duration = Duration::from_secs(1);
/// What happens within this time is handed over together.
const GATHER: Duration = Duration::from_millis(10);
/// Events handed over in one transaction.
const PAGE: u32 = 100;
/// Requests to one webhook at a time. Each is begun when it is claimed, so that a lease covers one request and its note.
const AT_ONCE: usize = 8;
/// How often the store is told that somebody sends to the webhooks.
const SEEN: Duration = Duration::from_secs(60 * 60);
/// Tries to write what has to be written, with growing pauses between them.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);
/// How long requests that are under way are waited for at the end, beside their own time.
const GRACE: Duration = Duration::from_secs(10);

/// What sends to webhooks. Dropping it ends it at once: what is under way is sent again by whoever comes next.
#[derive(Debug)]
pub(crate) struct Deliveries {
    tasks: JoinSet<()>,
    /// The longest time that a request may take.
    timeout: Duration,
}

impl Deliveries {
    /// Waits for the requests that are under way, after the phase has been set to closing.
    pub(crate) async fn end(mut self) {
        let ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(error = causes(&error), "a part of what sends to webhooks ended early");
                }
            }
        };
        // What is still under way then is aborted, and sent again after its lease.
        let _ = tokio::time::timeout(self.timeout.saturating_add(GRACE), ended).await;
    }
}

/// Starts to send to webhooks. `None`: there are none.
///
/// # Errors
///
/// - [`Error::Setup`]: there is no HTTP client for one of them.
/// - [`Error::Store`]: the store does not take them. It has to: they are told of what is committed from then on.
pub(crate) async fn start(db: &Arc<dyn Db>, webhooks: &[Webhook], stop: Stop) -> Result<Option<Deliveries>> {
    if webhooks.is_empty() {
        return Ok(None);
    }
    let senders = webhooks.iter().cloned().map(Sender::new).collect::<Result<Vec<_>>>()?;
    for webhook in webhooks {
        register(&**db, webhook).await?;
    }
    let hints: Vec<_> = senders.iter().map(|_| Arc::new(Notify::new())).collect();
    let mut tasks = JoinSet::new();
    for (sender, hint) in senders.iter().zip(&hints) {
        tasks.spawn(deliver(Arc::clone(db), sender.clone(), Arc::clone(hint), stop.clone()));
    }
    tasks.spawn(hand_over(Arc::clone(db), hints, stop.clone()));
    tasks.spawn(stay_known(Arc::clone(db), webhooks.to_vec(), stop.clone()));
    tasks.spawn(tidy(Arc::clone(db), stop));
    let timeout = webhooks.iter().map(|webhook| webhook.timeout).max().unwrap_or_default();
    Ok(Some(Deliveries { tasks, timeout }))
}

async fn register(db: &dyn Db, webhook: &Webhook) -> Result<()> {
    let registered = again(|| db.register_webhook(webhook.name.clone(), webhook.topics.clone())).await;
    registered.map_err(Error::from)
}

/// Asks the store once more where it was busy, or somebody else wrote the same row.
async fn again<T, F: Future<Output = kern_db::Result<T>>>(ask: impl Fn() -> F) -> kern_db::Result<T> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match ask().await {
            Err(error) if error.is_passing() => {}
            other => return other,
        }
        tokio::time::sleep(pause).await;
        pause *= 3;
    }
    ask().await
}

/// Says now and then that somebody sends to the webhooks: what waits for one that nobody sends to is given up in the end.
async fn stay_known(db: Arc<dyn Db>, webhooks: Vec<Webhook>, stop: Stop) {
    while stop.unless_closing(tokio::time::sleep(SEEN)).await.is_some() {
        for webhook in &webhooks {
            if let Err(error) = register(&*db, webhook).await {
                tracing::warn!(
                    error = causes(&error),
                    webhook = webhook.id(),
                    "the store was not told that a webhook is sent to"
                );
            }
        }
    }
}

/// Makes deliveries of what the outbox holds, as soon as it holds something.
async fn hand_over(db: Arc<dyn Db>, hints: Vec<Arc<Notify>>, stop: Stop) {
    while !stop.is_closing() {
        // Asked for before the look: what is committed during it is told, too.
        let change = db.changed();
        match hand_over_all(&*db, &stop).await {
            Ok(0) => {}
            Ok(_) => hints.iter().for_each(|hint| hint.notify_one()),
            Err(error) => {
                tracing::warn!(error = causes(&error), "events could not be handed over to webhooks, it is tried again")
            }
        }
        match stop.unless_closing(tokio::time::timeout(POLL, change)).await {
            Some(Ok(Ok(()))) => stop.unless_closing(tokio::time::sleep(GATHER)).await,
            Some(Ok(Err(error))) => {
                tracing::debug!(error = causes(&error), "the store does not say whether it has changed: webhooks poll");
                stop.unless_closing(tokio::time::sleep(POLL)).await
            }
            Some(Err(_)) | None => None,
        };
    }
}

async fn hand_over_all(db: &dyn Db, stop: &Stop) -> kern_db::Result<u64> {
    let mut events = 0;
    // Only looked at first: nothing is written where nothing waits.
    while !stop.is_closing() && db.events_wait().await? {
        match db.hand_over_events(PAGE).await? {
            // Somebody else is at them.
            0 => break,
            handed => events += u64::from(handed),
        }
    }
    Ok(events)
}

/// Sends to one webhook, for as long as the server does.
async fn deliver(db: Arc<dyn Db>, sender: Sender, hint: Arc<Notify>, stop: Stop) {
    let mut requests = JoinSet::new();
    while !stop.is_closing() {
        while requests.try_join_next().is_some() {}
        let rest = match claim(&*db, &sender, AT_ONCE - requests.len()).await {
            Ok(Claimed { claims, next }) => {
                for claim in claims {
                    requests.spawn(attempt(Arc::clone(&db), sender.clone(), claim));
                }
                next.map_or(POLL, |next| next.min(POLL))
            }
            Err(error) => {
                let webhook = sender.webhook().id();
                tracing::warn!(
                    error = causes(&error),
                    webhook,
                    "the store cannot be asked what a webhook is told, it is tried again"
                );
                POLL
            }
        };
        tokio::select! {
            () = hint.notified() => {}
            () = tokio::time::sleep(rest) => {}
            Some(_) = requests.join_next() => {}
            () = stop.closing() => {}
        }
    }
    while requests.join_next().await.is_some() {}
}

struct Claimed {
    claims: Vec<DeliveryClaim>,
    /// When the next one is due, where that is known.
    next: Option<Duration>,
}

/// Takes as many deliveries as there are places for, if any is due.
async fn claim(db: &dyn Db, sender: &Sender, places: usize) -> kern_db::Result<Claimed> {
    let nothing = |next| Ok(Claimed { claims: Vec::new(), next });
    if places == 0 {
        return nothing(None);
    }
    let webhook = sender.webhook();
    // Only looked at first: nothing is written where nothing is due.
    match db.next_delivery(webhook.name.clone()).await? {
        Some(0) => {}
        Some(next) => return nothing(Some(Duration::from_millis(next.unsigned_abs()))),
        None => return nothing(None),
    }
    let lease = milliseconds(lease(webhook, db.busy_timeout()));
    let claims = db.claim_deliveries(webhook.name.clone(), u32::try_from(places).unwrap_or(1), lease).await?;
    let next = (claims.len() == places).then_some(Duration::ZERO);
    Ok(Claimed { claims, next })
}

/// How long a delivery is its claimer's: a request, and the note of what came of it in a store that others write to.
fn lease(webhook: &Webhook, busy_timeout: Duration) -> Duration {
    webhook.timeout + busy_timeout * 3 + Duration::from_secs(1)
}

/// Sends an event once, and notes what came of it.
async fn attempt(db: Arc<dyn Db>, sender: Sender, claim: DeliveryClaim) {
    let (event_id, attempts) = (&claim.delivery.event_id, claim.delivery.attempts);
    let Sent { outcome, means } = sender.send(event_id, body::of(&claim)).await;
    let webhook = sender.webhook();
    // Those that nobody has heard the end of are counted, too.
    let place = usize::try_from(attempts).unwrap_or(usize::MAX).saturating_sub(1);
    let end = match (means, webhook.retries.get(place)) {
        (Means::Taken, _) => DeliveryEnd::Delivered { outcome: outcome.clone() },
        (Means::NotTaken(after), Some(wait)) => {
            let wait = spread(*wait).max(after.unwrap_or_default());
            DeliveryEnd::Again { outcome: outcome.clone(), in_ms: milliseconds(wait) }
        }
        (Means::Gone, _) | (Means::NotTaken(_), None) => DeliveryEnd::GivenUp { outcome: outcome.clone() },
    };
    let noted = again(|| db.end_delivery(event_id.clone(), webhook.name.clone(), attempts, end.clone())).await;
    let (webhook, topic) = (webhook.id(), &claim.delivery.topic);
    match (noted, end) {
        (Ok(true), DeliveryEnd::Delivered { .. }) => {
            tracing::debug!(webhook, %event_id, topic, attempts, "a webhook was told");
        }
        (Ok(true), DeliveryEnd::Again { in_ms, .. }) => {
            tracing::info!(webhook, %event_id, topic, attempts, outcome, in_ms, "a webhook was not told, and is asked again");
        }
        (Ok(true), DeliveryEnd::GivenUp { .. }) => {
            tracing::warn!(webhook, %event_id, topic, attempts, outcome, "a webhook was not told, and is not asked again");
        }
        (Ok(false), _) => {
            tracing::debug!(webhook, %event_id, attempts, "somebody else is at the delivery by now");
        }
        (Err(error), _) => {
            tracing::warn!(error = causes(&error), webhook, %event_id, outcome, "what came of a delivery was not noted: it is sent again");
        }
    }
}

/// Up to a fifth longer, so that what failed together does not come again together.
fn spread(wait: Duration) -> Duration {
    let part = u32::try_from(RandomState::new().hash_one(Instant::now()) % 201).unwrap_or(0);
    wait.saturating_add(wait / 1000 * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_and_never_shorter() {
        let waits: Vec<_> = (0..200).map(|_| spread(Duration::from_secs(100))).collect();
        assert!(waits.iter().all(|wait| (100_000..=120_000).contains(&wait.as_millis())), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]));
        assert_eq!(spread(Duration::ZERO), Duration::ZERO);
        assert_eq!(spread(Duration::MAX), Duration::MAX);
    }
}
