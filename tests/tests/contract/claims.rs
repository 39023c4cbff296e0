//! Claims that are read back after their acknowledgement was lost: by their own token and fence, and by nothing else.

use kern_db::{Caller, ClaimCall, Error, OwnerToken, Principal, RestoreAcceptance, RunClaim, RunClaimed, Settlement};
use kern_tests::steps::{APPROVER, LONG, Store, audit, required, turn};

fn request(claim: &RunClaim, index: u32, lease_ms: i64) -> ClaimCall {
    ClaimCall { claim: claim.clone(), turn: 1, index, lease_ms, owner: OwnerToken::fresh() }
}

async fn i6_a_claim_of_a_run_is_read_back_by_its_token_and_fence(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let (first, second) = (store.load(&run_id, Caller::Worker).await, store.load(&run_id, Caller::Worker).await);
    assert_eq!(store.read_run_claim(first.clone()).await.unwrap().map(drop), None, "it was not sent");
    let RunClaimed::Claimed(claim) = store.claim_run(first.clone()).await.unwrap() else { panic!("it is free") };
    let (found, started) = store.read_run_claim(first.clone()).await.unwrap().expect("it is stored");
    assert!(found == claim && started.is_none(), "{found:?} {started:?}");
    assert_eq!(store.read_run_claim(second).await.unwrap().map(drop), None, "another attempt");
    let mut later = first.clone();
    later.fence += 1;
    assert_eq!(store.read_run_claim(later).await.unwrap().map(drop), None, "another fence");
    assert_eq!(store.count(&run_id, "[claim_read_back]").await, 1);
    store.pause_run(claim, "{}".to_owned(), false).await.unwrap();
    assert_eq!(store.read_run_claim(first).await.unwrap().map(drop), None, "it was given back");
    assert_eq!(store.starts(&run_id).await, 0);
}

async fn i6_a_start_is_read_back_with_the_run_that_it_was_claimed_with(store: &Store) {
    let run_id = store.paused(&[required(), required()]).await;
    for index in 0..2 {
        store.approve(&run_id, index).await.unwrap();
    }
    let digest = store.call_at(&run_id, 1).await.digest;
    let request = store.load(&run_id, Caller::Worker).await;
    let (claimed, started) = store.claim_run_and_call(request.clone(), digest).await.unwrap();
    let (found, again) = store.read_run_claim(request).await.unwrap().expect("it is stored");
    assert_eq!(claimed, RunClaimed::Claimed(found));
    let (started, again) = (started.unwrap(), again.unwrap());
    assert_eq!((again.ticket(), again.arguments(), again.attempt()), (started.ticket(), started.arguments(), 1));
    assert_eq!((again.index(), again.idempotency_key()), (1, started.idempotency_key()));
    assert_eq!(store.starts(&run_id).await, 1, "reading starts nothing");
    store.succeed(&again).await;
}

async fn i6_a_start_is_read_back_by_its_token_while_it_is_executing(store: &Store) {
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[required(), audit()], false)).await.unwrap();
    store.approve(&claim.run_id, 0).await.unwrap();
    for index in 0..2 {
        let sent = request(&claim, index, LONG);
        assert!(store.read_call_claim(sent.clone()).await.unwrap().is_none(), "it was not sent");
        let kern_db::CallClaimed::Claimed(started) = store.claim_call(sent.clone()).await.unwrap() else {
            panic!("it may start")
        };
        let found = store.read_call_claim(sent.clone()).await.unwrap().expect("it is stored");
        assert_eq!((found.ticket(), found.arguments()), (started.ticket(), started.arguments()));
        assert!(store.read_call_claim(request(&claim, index, LONG)).await.unwrap().is_none(), "another attempt");
        let mut borrowed = sent.clone();
        borrowed.claim.fence += 1;
        assert!(store.read_call_claim(borrowed).await.unwrap().is_none(), "another process owns the run");
        store.succeed(&found).await;
        assert!(store.read_call_claim(sent).await.unwrap().is_none(), "it has its outcome");
    }
    assert_eq!(store.starts(&claim.run_id).await, 2);
}

/// X5 keeps the owner of a start that it gives up: the state decides.
async fn i8_a_start_that_was_given_up_is_not_read_back(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let sent = request(&claim, 0, 0);
    let _lost = store.claim_call(sent.clone()).await.unwrap();
    // The lease of the run still runs, that of the call is over.
    store.recover_run(run_id.clone()).await.unwrap();
    let execution = store.call(&run_id).await.execution.unwrap();
    assert_eq!(execution.status, kern_db::ExecutionStatus::Unknown);
    assert!(store.read_call_claim(sent.clone()).await.unwrap().is_none(), "it is unknown");
    let settled = Settlement::abandoned().by(APPROVER).note("it did not run");
    store.settle_execution(&execution.id, settled).await.unwrap();
    assert!(store.read_call_claim(sent).await.unwrap().is_none(), "a person has settled it");
}

async fn i9_a_start_is_not_read_back_after_a_cancel(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let loaded = store.load(&run_id, Caller::Worker).await;
    let RunClaimed::Claimed(claim) = store.claim_run(loaded.clone()).await.unwrap() else { panic!("it is free") };
    let sent = request(&claim, 0, LONG);
    let _started = store.claim_call(sent.clone()).await.unwrap();
    store.cancel_run(run_id, Caller::Anonymous).await.unwrap();
    assert_eq!(store.read_run_claim(loaded).await.unwrap().map(drop), None);
    assert!(store.read_call_claim(sent).await.unwrap().is_none());
}

async fn a_quarantined_store_reads_no_claim_back(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let loaded = store.load(&run_id, Caller::Worker).await;
    let RunClaimed::Claimed(claim) = store.claim_run(loaded.clone()).await.unwrap() else { panic!("it is free") };
    let sent = request(&claim, 0, LONG);
    let _started = store.claim_call(sent.clone()).await.unwrap();
    store.accept_restore(RestoreAcceptance::new(Principal::unverified("root"), "gone").force()).await.unwrap();
    assert!(matches!(store.read_run_claim(loaded).await, Err(Error::StoreRestored { .. })));
    assert!(matches!(store.read_call_claim(sent).await, Err(Error::StoreRestored { .. })));
}

on_each_store! {
    i6_a_claim_of_a_run_is_read_back_by_its_token_and_fence,
    i6_a_start_is_read_back_with_the_run_that_it_was_claimed_with,
    i6_a_start_is_read_back_by_its_token_while_it_is_executing,
    i8_a_start_that_was_given_up_is_not_read_back,
    i9_a_start_is_not_read_back_after_a_cancel,
    a_quarantined_store_reads_no_claim_back,
}

/// What is read back is held against its digests and the log once more.
async fn i5_a_start_whose_rows_were_changed_is_not_read_back(store: &Store) {
    for change in
        ["arguments = '{\"amount\":1,\"to\":\"x\"}'", "attempt = attempt + 1", "started_at_ms = 1, attempt = 3"]
    {
        let run_id = store.paused(&[required()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let claim = store.resumed(&run_id).await;
        let sent = request(&claim, 0, LONG);
        let _started = store.claim_call(sent.clone()).await.unwrap();
        store.tamper(&format!("UPDATE kern_executions SET {change} WHERE run_id = '{run_id}'"));
        let refused = store.read_call_claim(sent).await;
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{change}: {refused:?}");
    }
}

on_a_file!(i5_a_start_whose_rows_were_changed_is_not_read_back);
