//! Events on their way to webhooks: each is handed over once, somebody is at it at a time, and none is lost.

use std::collections::BTreeSet;

use kern_db::{
    Db, Delivery, DeliveryClaim, DeliveryEnd, DeliveryFilter, DeliveryStatus, Error, ExecutionStatus, TOPICS,
};
use kern_tests::steps::{Store, required};

const LEASE: i64 = 600_000;

fn all() -> Vec<String> {
    TOPICS.map(str::to_owned).to_vec()
}

async fn registered(store: &Store, name: &str, topics: &[&str]) {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    store.register_webhook(name.to_owned(), topics).await.unwrap();
}

async fn handed_over(store: &Store) -> u32 {
    let mut events = 0;
    loop {
        match store.hand_over_events(7).await.unwrap() {
            0 => break,
            some => events += some,
        }
    }
    assert!(!store.events_wait().await.unwrap());
    events
}

async fn claim(store: &dyn Db, webhook: &str, lease_ms: i64) -> Vec<DeliveryClaim> {
    store.claim_deliveries(webhook.to_owned(), 100, lease_ms).await.unwrap()
}

async fn end(store: &dyn Db, claim: &DeliveryClaim, end: DeliveryEnd) -> bool {
    let Delivery { event_id, webhook, attempts, .. } = claim.delivery.clone();
    store.end_delivery(event_id, webhook, attempts, end).await.unwrap()
}

fn delivered() -> DeliveryEnd {
    DeliveryEnd::Delivered { outcome: "204".to_owned() }
}

fn topics(claims: &[DeliveryClaim]) -> Vec<String> {
    let mut topics: Vec<_> = claims.iter().map(|claim| claim.delivery.topic.clone()).collect();
    topics.sort();
    topics
}

async fn an_event_is_handed_to_each_webhook_that_is_told_of_it_and_leaves_the_outbox(store: &Store) {
    // The clock is in milliseconds: what is before and after has others.
    let a_moment = || tokio::time::sleep(std::time::Duration::from_millis(5));
    let before = store.paused(&[required()]).await;
    a_moment().await;
    registered(store, "all", &TOPICS).await;
    registered(store, "some", &["approval.requested", "approval.approved"]).await;
    a_moment().await;
    let run_id = store.paused(&[required(), required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    store.refuse(&run_id, 1).await.unwrap();

    assert!(store.events_wait().await.unwrap());
    assert!(handed_over(store).await > 5);
    assert_eq!(handed_over(store).await, 0);
    let some = claim(&**store, "some", LEASE).await;
    assert_eq!(topics(&some), ["approval.approved", "approval.requested", "approval.requested"]);
    let all = claim(&**store, "all", LEASE).await;
    let expected = ["approval.approved", "approval.rejected", "approval.requested", "approval.requested", "run.paused"];
    assert_eq!(topics(&all), expected);
    for claim in &all {
        let Delivery { run_id: of, attempts, status, topic, .. } = &claim.delivery;
        assert_eq!((of.as_ref(), *attempts, *status), (Some(&run_id), 1, DeliveryStatus::Pending));
        assert_ne!(of.as_ref(), Some(&before), "what was before it was registered is none of its business");
        let state = match topic.as_str() {
            "approval.approved" => "approved",
            "approval.rejected" => "rejected",
            "approval.requested" => "pending",
            _ => "PAUSED",
        };
        assert_eq!(claim.status.as_deref(), Some(state), "{topic}: as it was then, whatever it is by now");
        let call = store.call_at(&run_id, 0).await;
        assert_eq!(claim.tool_name.is_some(), topic != "run.paused");
        assert!(claim.tool_name.iter().all(|name| *name == call.tool_name));
        let run = store.get_run(&run_id).await.unwrap();
        assert_eq!((claim.agent_id.as_ref(), claim.session_id.as_ref()), (Some(&run.agent_id), Some(&run.session_id)));
    }
    let ids: BTreeSet<_> = all.iter().map(|claim| &claim.delivery.event_id).collect();
    assert_eq!(ids.len(), all.len());
    assert!(some.iter().all(|claim| ids.contains(&claim.delivery.event_id)), "an event has one id for all");
}

async fn every_way_that_a_call_can_go_is_told(store: &Store) {
    registered(store, "all", &TOPICS).await;
    let (run, call) = store.unknown().await;
    let note = kern_db::Settlement::succeeded("it is there").note("looked").by("zoe");
    store.settle_execution(call.ticket().execution_id(), note).await.unwrap();
    store.complete(&run).await.unwrap();
    handed_over(store).await;
    let claims = claim(&**store, "all", LEASE).await;
    for (topic, state) in [
        ("execution.executing", "executing"),
        ("execution.unknown", "unknown"),
        ("execution.settled", ExecutionStatus::Succeeded.as_str()),
        ("run.ended", "COMPLETED"),
    ] {
        let told = claims.iter().find(|claim| claim.delivery.topic == topic);
        let told = told.unwrap_or_else(|| panic!("{topic}: {:?}", topics(&claims)));
        assert_eq!(told.status.as_deref(), Some(state), "{topic}");
    }
}

async fn one_is_at_a_delivery_at_a_time_and_who_is_late_changes_nothing(store: &Store) {
    registered(store, "w", &["approval.requested"]).await;
    store.paused(&[required()]).await;
    handed_over(store).await;
    assert_eq!(store.next_delivery("w".to_owned()).await.unwrap(), Some(0));
    assert_eq!(store.next_delivery("other".to_owned()).await.unwrap(), None);

    let lost = claim(&**store, "w", 0).await.pop().unwrap();
    // Its lease is over at once.
    let other = store.second().await;
    let again = claim(&*other, "w", LEASE).await.pop().unwrap();
    assert_eq!((&again.delivery.event_id, again.delivery.attempts), (&lost.delivery.event_id, 2));
    assert!(claim(&**store, "w", LEASE).await.is_empty(), "a lease is held");
    let wait = store.next_delivery("w".to_owned()).await.unwrap().unwrap();
    assert!((LEASE - 60_000..=LEASE).contains(&wait), "{wait}");
    assert!(!end(&**store, &lost, delivered()).await, "the one before has nothing to say any more");

    let later = DeliveryEnd::Again { outcome: "500".to_owned(), in_ms: 0 };
    assert!(end(&*other, &again, later).await);
    let third = claim(&**store, "w", LEASE).await.pop().unwrap();
    assert_eq!((third.delivery.attempts, third.delivery.outcome.as_deref()), (3, Some("500")));
    assert!(end(&**store, &third, delivered()).await);
    assert!(!end(&**store, &third, delivered()).await);
    assert!(!end(&**store, &third, DeliveryEnd::GivenUp { outcome: "410".to_owned() }).await);
    assert_eq!(store.next_delivery("w".to_owned()).await.unwrap(), None);
    let kept = store.list_deliveries(DeliveryFilter::new().webhook("w")).await.unwrap();
    assert_eq!((kept.len(), kept[0].status, kept[0].attempts), (1, DeliveryStatus::Delivered, 3));
    assert_eq!((kept[0].outcome.as_deref(), kept[0].ended_at_ms.is_some()), (Some("204"), true));
    assert!(store.list_deliveries(DeliveryFilter::new().webhook("v")).await.unwrap().is_empty());
}

async fn what_is_given_up_is_on_record(store: &Store) {
    registered(store, "w", &["approval.requested"]).await;
    store.paused(&[required(), required()]).await;
    handed_over(store).await;
    let claims = claim(&**store, "w", LEASE).await;
    assert!(end(&**store, &claims[0], DeliveryEnd::GivenUp { outcome: "410".to_owned() }).await);
    let filter = || DeliveryFilter::new().status(DeliveryStatus::GivenUp);
    let given_up = store.list_deliveries(filter()).await.unwrap();
    assert_eq!((given_up.len(), given_up[0].outcome.as_deref()), (1, Some("410")));
    assert_eq!(store.count_deliveries("w".to_owned(), DeliveryStatus::GivenUp).await.unwrap(), 1);
    assert_eq!(store.count_deliveries("w".to_owned(), DeliveryStatus::Pending).await.unwrap(), 1);
    assert_eq!(store.list_deliveries(DeliveryFilter::new().limit(1)).await.unwrap().len(), 1);
}

async fn of_many_who_hand_over_and_claim_each_event_has_one(store: &Store) {
    registered(store, "w", &["approval.requested", "run.paused"]).await;
    for _ in 0..6 {
        store.paused(&[required(), required()]).await;
    }
    let mut tasks = Vec::new();
    for place in 0..4 {
        let store = if place % 2 == 0 { store.shared() } else { store.second().await };
        tasks.push(tokio::spawn(async move {
            let (mut handed, mut claims) = (0, Vec::new());
            // Nothing is left over where all of them look until nothing is found.
            for _ in 0..40 {
                // A store that is busy is asked again.
                handed += store.hand_over_events(3).await.unwrap_or(0);
                claims.extend(store.claim_deliveries("w".to_owned(), 2, LEASE).await.unwrap_or_default());
            }
            (handed, claims)
        }));
    }
    let (mut handed, mut claims) = (0, Vec::new());
    for task in tasks {
        let (some, more) = task.await.unwrap();
        handed += some;
        claims.extend(more);
    }
    // Each run: it started and paused, and asked for two calls.
    assert_eq!((claims.len(), handed), (18, 18));
    let ids: BTreeSet<_> = claims.iter().map(|claim| &claim.delivery.event_id).collect();
    assert_eq!(ids.len(), 18, "nobody has one that somebody else has");
    assert!(claims.iter().all(|claim| claim.delivery.attempts == 1));
}

async fn registering_again_keeps_since_when_it_is_told(store: &Store) {
    registered(store, "w", &["run.paused"]).await;
    store.paused(&[required()]).await;
    registered(store, "w", &["approval.requested"]).await;
    handed_over(store).await;
    assert_eq!(topics(&claim(&**store, "w", LEASE).await), ["approval.requested"], "what it asks for by now");
    let unknown = store.register_webhook("w".to_owned(), vec!["approval.resolved".to_owned()]).await;
    assert!(matches!(unknown, Err(Error::Invalid(_))), "{unknown:?}");
    store.register_webhook("v".to_owned(), all()).await.unwrap();
}

async fn of_two_who_register_at_once_both_are_told_or_asked_to_try_again(store: &Store) {
    for round in 0..6 {
        let name = format!("w{round}");
        let (one, other) = (store.shared(), store.second().await);
        let (first, second) = (name.clone(), name.clone());
        let first = tokio::spawn(async move { one.register_webhook(first, all()).await });
        let second = tokio::spawn(async move { other.register_webhook(second, all()).await });
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
        store.register_webhook(name, all()).await.unwrap();
    }
}

on_each_store! {
    an_event_is_handed_to_each_webhook_that_is_told_of_it_and_leaves_the_outbox,
    every_way_that_a_call_can_go_is_told,
    of_many_who_hand_over_and_claim_each_event_has_one,
    of_two_who_register_at_once_both_are_told_or_asked_to_try_again,
    one_is_at_a_delivery_at_a_time_and_who_is_late_changes_nothing,
    registering_again_keeps_since_when_it_is_told,
    what_is_given_up_is_on_record,
}

async fn triggers_keep_what_waits_and_what_has_ended(store: &Store) {
    registered(store, "w", &["approval.requested"]).await;
    store.paused(&[required(), required()]).await;
    handed_over(store).await;
    let claims = claim(&**store, "w", LEASE).await;
    end(&**store, &claims[0], delivered()).await;
    let raw = store.raw();
    let id = |place: usize| &claims[place].delivery.event_id;
    for (sql, why) in [
        (format!("DELETE FROM kern_deliveries WHERE event_id = '{}'", id(1)), "not deleted"),
        (format!("UPDATE kern_deliveries SET topic = 'x' WHERE event_id = '{}'", id(1)), "does not change"),
        (format!("UPDATE kern_deliveries SET attempts = 0 WHERE event_id = '{}'", id(1)), "does not change"),
        (format!("UPDATE kern_deliveries SET status = 'pending' WHERE event_id = '{}'", id(0)), "has ended"),
        ("INSERT OR REPLACE INTO kern_deliveries SELECT * FROM kern_deliveries".to_owned(), "never replaced"),
        ("INSERT OR REPLACE INTO kern_webhooks SELECT * FROM kern_webhooks".to_owned(), "never replaced"),
        ("UPDATE kern_webhooks SET since_ms = 0".to_owned(), "does not change"),
    ] {
        let refused = raw.execute_batch(&sql).unwrap_err().to_string();
        assert!(refused.contains(why), "{sql}: {refused}");
    }
    raw.execute_batch(&format!("DELETE FROM kern_deliveries WHERE event_id = '{}'", id(0))).unwrap();
    assert!(store.audit().verify().await.unwrap().is_intact());
}

on_a_file! {
    triggers_keep_what_waits_and_what_has_ended,
}

/// What is removed after days: the clock is moved.
#[cfg(feature = "failpoints")]
mod later {
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    async fn swept(store: &Store, in_days: i64) {
        kern_db::clock::set_ahead_ms(in_days * DAY_MS);
        while store.sweep_events(3).await.unwrap() {}
        kern_db::clock::set_ahead_ms(0);
    }

    async fn what_nobody_is_told_of_is_kept_for_a_week(store: &Store) {
        for _ in 0..4 {
            store.paused(&[required()]).await;
        }
        swept(store, 6).await;
        assert!(store.events_wait().await.unwrap());
        swept(store, 8).await;
        assert!(!store.events_wait().await.unwrap());
    }

    async fn what_has_ended_is_kept_for_a_week_and_what_waits_as_long_as_somebody_sends(store: &Store) {
        registered(store, "w", &["approval.requested"]).await;
        store.paused(&[required(), required(), required(), required(), required()]).await;
        handed_over(store).await;
        let claims = claim(&**store, "w", LEASE).await;
        for claim in &claims[..4] {
            end(&**store, claim, delivered()).await;
        }
        store.paused(&[required()]).await;
        let left = async || store.list_deliveries(DeliveryFilter::new()).await.unwrap();
        swept(store, 6).await;
        assert_eq!(left().await.len(), 5);
        swept(store, 8).await;
        let waits = left().await;
        assert_eq!((waits.len(), waits[0].status), (1, DeliveryStatus::Pending));
        assert!(store.events_wait().await.unwrap(), "what the outbox holds is waited for, too");

        // Nobody has sent to it for a month: what waits for it is given up, and then it is none.
        swept(store, 31).await;
        let given_up = left().await;
        assert_eq!((given_up.len(), given_up[0].status), (1, DeliveryStatus::GivenUp));
        assert_eq!(given_up[0].outcome.as_deref(), Some("forgotten"));
        assert!(!store.events_wait().await.unwrap());
        swept(store, 40).await;
        assert!(left().await.is_empty());
    }

    on_each_store! {
        what_has_ended_is_kept_for_a_week_and_what_waits_as_long_as_somebody_sends,
        what_nobody_is_told_of_is_kept_for_a_week,
    }
}
