//! What a worker looks for: paused runs that wait for nobody, and that something has changed.

use std::time::Duration;

use kern_db::{Candidates, NewAnswer, Resumable, RunId, Settlement};
use kern_tests::steps::{APPROVER, Store, audit, required, two_stage, user, wait_until};

async fn these(store: &Store, run_ids: &[&RunId]) -> Resumable {
    let candidates = Candidates::These(run_ids.iter().map(|run_id| (*run_id).clone()).collect());
    store.resumable_runs("agent".to_owned(), candidates).await.unwrap()
}

async fn i17_a_run_can_be_resumed_when_every_call_of_it_is_decided(store: &Store) {
    let waits = store.paused(&[required(), required()]).await;
    let refused = store.paused(&[required()]).await;
    let answered = store.paused(&[user()]).await;
    let both = store.paused(&[two_stage()]).await;
    let due = store.paused(&[required().expires_in_ms(1)]).await;
    wait_until(store.approval(&due).await.expires_at.unwrap() * 1000).await;
    let all = [&waits, &refused, &answered, &both, &due];
    assert_eq!(these(store, &all).await.decided, std::slice::from_ref(&due));
    store.approve(&waits, 0).await.unwrap();
    store.refuse(&refused, 0).await.unwrap();
    store.answer(&answered, 0, NewAnswer::Confirm).await.unwrap();
    store.approve(&both, 0).await.unwrap();
    assert_eq!(these(store, &all).await.decided, [refused.clone(), answered.clone(), due.clone()]);
    store.approve(&waits, 1).await.unwrap();
    // Going on implies no confirmation for a worker.
    store.answer(&both, 0, NewAnswer::Confirm).await.unwrap();
    let found = these(store, &all).await;
    assert_eq!(found.decided.len(), all.len());
    assert_eq!((found.unknown, found.next), (Vec::new(), None));

    let other = store.resumable_runs("other".to_owned(), Candidates::These(vec![refused.clone()])).await.unwrap();
    assert_eq!(other, Resumable::default());
    store.resumed(&refused).await;
    assert_eq!(these(store, &[&refused]).await, Resumable::default());
}

async fn i8_a_run_with_an_unknown_call_waits_for_whoever_can_say(store: &Store) {
    let (claim, call) = store.unknown().await;
    assert_eq!(these(store, &[&claim.run_id]).await, Resumable::default(), "it is running");
    store.pause_run(claim.clone(), "{}".to_owned(), true).await.unwrap();
    let found = these(store, &[&claim.run_id]).await;
    assert_eq!((found.decided, found.unknown), (Vec::new(), vec![claim.run_id.clone()]));
    let settlement = Settlement::succeeded("done").by(APPROVER).note("seen");
    store.settle_execution(call.ticket().execution_id(), settlement).await.unwrap();
    assert_eq!(these(store, &[&claim.run_id]).await.decided, std::slice::from_ref(&claim.run_id));
}

async fn i18_paused_runs_are_looked_at_page_by_page(store: &Store) {
    let mut decided = Vec::new();
    for number in 0..7 {
        let run_id = store.paused(&[required()]).await;
        if number % 2 == 0 {
            store.approve(&run_id, 0).await.unwrap();
            decided.push(run_id);
        }
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = Candidates::Page { after: after.clone(), limit: 3 };
        let page = store.resumable_runs("agent".to_owned(), page).await.unwrap();
        found.extend(page.decided);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, decided);
}

async fn a_change_is_noticed_by_whoever_waits_for_it(store: &Store) {
    let second = store.second().await;
    let quiet = async || tokio::time::timeout(Duration::from_millis(150), second.changed()).await.is_err();
    // Whoever begins to listen is told once for nothing: it may have missed something.
    assert!(quiet().await || quiet().await || quiet().await, "nothing has changed");
    for handle in [store.shared(), second] {
        let before = handle.audit_head().await.unwrap();
        let waiting = tokio::spawn(async move {
            loop {
                let change = handle.changed();
                if handle.audit_head().await.unwrap() > before {
                    return;
                }
                change.await.unwrap();
            }
        });
        // It has to have looked once before.
        tokio::time::sleep(Duration::from_millis(100)).await;
        store.paused(&[audit()]).await;
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    }
}

on_each_store! {
    a_change_is_noticed_by_whoever_waits_for_it,
    i17_a_run_can_be_resumed_when_every_call_of_it_is_decided,
    i18_paused_runs_are_looked_at_page_by_page,
    i8_a_run_with_an_unknown_call_waits_for_whoever_can_say,
}
