//! Requests with an idempotency key: one is worked on, the others get its answer, and a claim that is over says nothing.

use kern_db::{KeptAnswer, OpenRequest, OpenedRequest, RequestClaim};
use kern_tests::steps::Store;

fn asked(owner: &str, key: &str, digest: &str) -> OpenRequest {
    OpenRequest { owner: owner.to_owned(), key: key.to_owned(), digest: digest.to_owned(), lease_ms: 60_000 }
}

fn answer(body: &str) -> KeptAnswer {
    KeptAnswer { status: 200, content_type: "application/json".to_owned(), body: body.to_owned() }
}

async fn claim(store: &Store, asked: OpenRequest) -> RequestClaim {
    match store.open_request(asked).await.unwrap() {
        OpenedRequest::Claimed(claim) => claim,
        other => panic!("{other:?}"),
    }
}

async fn answered(store: &Store, asked: OpenRequest) -> KeptAnswer {
    match store.open_request(asked).await.unwrap() {
        OpenedRequest::Answered(answer) => answer,
        other => panic!("{other:?}"),
    }
}

async fn one_of_many_is_claimed_and_the_others_get_its_answer(store: &Store) {
    let mut claims = Vec::new();
    for _ in 0..8 {
        match store.open_request(asked("ann", "k", "d")).await.unwrap() {
            OpenedRequest::Claimed(claim) => claims.push(claim),
            OpenedRequest::Busy => {}
            other => panic!("{other:?}"),
        }
    }
    let [first] = &claims[..] else { panic!("{claims:?}") };
    assert_eq!(first.attempt, 1);
    store.close_request(first.clone(), Some(answer("{}"))).await.unwrap();
    assert_eq!(answered(store, asked("ann", "k", "d")).await, answer("{}"));
    // Whoever is late changes nothing of it.
    store.close_request(first.clone(), Some(answer("other"))).await.unwrap();
    store.close_request(first.clone(), None).await.unwrap();
    assert_eq!(answered(store, asked("ann", "k", "d")).await, answer("{}"));
}

async fn a_key_is_its_owners_and_for_one_request(store: &Store) {
    let first = claim(store, asked("ann", "k", "d")).await;
    let other = store.open_request(asked("ann", "k", "another")).await.unwrap();
    assert!(matches!(other, OpenedRequest::Other), "{other:?}");
    for another in [asked("bob", "k", "another"), asked("", "k", "d"), asked("ann", "K", "d")] {
        let another = claim(store, another).await;
        assert_ne!(another.run_id, first.run_id);
    }
}

async fn what_was_not_answered_is_claimed_again_for_the_same_run(store: &Store) {
    let gone = claim(store, OpenRequest { lease_ms: 0, ..asked("ann", "k", "d") }).await;
    let second = claim(store, asked("ann", "k", "d")).await;
    assert_eq!((second.attempt, &second.run_id), (2, &gone.run_id));
    // The first one comes back, and is nobody any more.
    store.close_request(gone.clone(), Some(answer("late"))).await.unwrap();
    store.renew_request(gone, 0).await.unwrap();
    let busy = store.open_request(asked("ann", "k", "d")).await.unwrap();
    assert!(matches!(busy, OpenedRequest::Busy), "{busy:?}");
    store.close_request(second.clone(), None).await.unwrap();
    let third = claim(store, OpenRequest { lease_ms: 0, ..asked("ann", "k", "d") }).await;
    assert_eq!((third.attempt, &third.run_id), (3, &second.run_id));
    store.renew_request(third.clone(), 60_000).await.unwrap();
    let busy = store.open_request(asked("ann", "k", "d")).await.unwrap();
    assert!(matches!(busy, OpenedRequest::Busy), "{busy:?}");
    store.close_request(third, Some(answer("third"))).await.unwrap();
    assert_eq!(answered(store, asked("ann", "k", "d")).await, answer("third"));
}

async fn texts_come_back_as_they_were(store: &Store) {
    let odd = "{\"a\":\"\\u0000 \u{0} \u{feff}ä\"}";
    let claim = claim(store, asked("ann", "k", "d")).await;
    store.close_request(claim, Some(answer(odd))).await.unwrap();
    assert_eq!(answered(store, asked("ann", "k", "d")).await, answer(odd));
}

async fn a_key_is_known_for_a_day(store: &Store) {
    let first = claim(store, asked("ann", "old", "d")).await;
    store.close_request(first.clone(), Some(answer("{}"))).await.unwrap();
    claim(store, asked("ann", "new", "d")).await;
    store
        .raw()
        .execute("UPDATE kern_requests SET created_at_ms = created_at_ms - 86400001 WHERE request_key = 'old'", ())
        .unwrap();
    let again = claim(store, asked("ann", "old", "another")).await;
    assert_eq!(again.attempt, 1);
    assert_ne!(again.run_id, first.run_id);
    let busy = store.open_request(asked("ann", "new", "d")).await.unwrap();
    assert!(matches!(busy, OpenedRequest::Busy), "the other one is still known: {busy:?}");
}

async fn an_answer_that_is_none_is_corrupt(store: &Store) {
    let first = claim(store, asked("ann", "k", "d")).await;
    store.close_request(first, Some(answer("{}"))).await.unwrap();
    store.raw().execute("UPDATE kern_requests SET status = 70000", ()).unwrap();
    let refused = store.open_request(asked("ann", "k", "d")).await;
    assert!(matches!(refused, Err(kern_db::Error::Corrupt { .. })), "{refused:?}");
}

on_each_store!(
    one_of_many_is_claimed_and_the_others_get_its_answer,
    a_key_is_its_owners_and_for_one_request,
    what_was_not_answered_is_claimed_again_for_the_same_run,
    texts_come_back_as_they_were,
);

on_a_file!(a_key_is_known_for_a_day, an_answer_that_is_none_is_corrupt);
