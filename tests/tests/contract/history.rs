//! What a later run of a session sees of the earlier ones.

use std::sync::Arc;

use kern_db::{BeginRun, Caller, Db, EndRun, Error, Principal, RunId, RunStatus, SessionId};
use kern_tests::steps::{REQUESTER, Store, begin, verified};

fn asked(name: Option<Principal>) -> BeginRun {
    BeginRun { requester: name, ..begin(&RunId::generate()) }
}

fn ana() -> Option<Principal> {
    Some(Principal::unverified(REQUESTER))
}

/// A run that has ended, with this snapshot.
async fn ended(db: &dyn Db, request: BeginRun, snapshot: &str, status: RunStatus) -> RunId {
    let claim = db.begin_run(request).await.unwrap();
    let error = (status == RunStatus::Error).then(|| "the model is gone".to_owned());
    let end = EndRun { claim: claim.clone(), snapshot: snapshot.to_owned(), status, error };
    db.end_run(end).await.unwrap();
    claim.run_id
}

async fn history(db: &dyn Db, requester: Option<Principal>, limit: u32) -> Vec<String> {
    db.history(SessionId::from("session"), "agent".to_owned(), requester, limit).await.unwrap()
}

async fn a_later_run_sees_only_runs_that_have_ended_oldest_first(store: &Store) {
    ended(&**store, asked(ana()), "one", RunStatus::Completed).await;
    store.started().await;
    ended(&**store, asked(ana()), "two", RunStatus::Error).await;
    let paused = store.paused(&[kern_tests::steps::required()]).await;
    let cancelled = store.begin_run(BeginRun { snapshot: "three".to_owned(), ..asked(ana()) }).await.unwrap();
    store.cancel_run(cancelled.run_id, Caller::Anonymous).await.unwrap();
    ended(&**store, asked(ana()), "four", RunStatus::Completed).await;
    assert_eq!(history(&**store, ana(), 10).await, ["one", "two", "three", "four"]);
    assert_eq!(history(&**store, ana(), 2).await, ["three", "four"], "the newest");
    assert_eq!(history(&**store, ana(), 0).await, [] as [&str; 0]);
    assert_eq!(history(&*store.second().await, ana(), 10).await.len(), 4, "any process reads it");
    store.cancel_run(paused, Caller::Anonymous).await.unwrap();
    let seen = ["one", "two", r#"{"turn":1}"#, "three", "four"];
    assert_eq!(history(&**store, ana(), 10).await, seen, "in the order they started");
}

async fn i11_nobody_sees_the_runs_of_somebody_else(store: &Store) {
    let people = [ana(), Some(Principal::unverified("eve")), Some(verified(REQUESTER)), None];
    for (place, person) in people.iter().enumerate() {
        ended(&**store, asked(person.clone()), &format!("of {place}"), RunStatus::Completed).await;
    }
    // Who proved who they are is not the one whose name is the same, nor the other way round; and nobody is nobody.
    for (place, person) in people.iter().enumerate() {
        assert_eq!(history(&**store, person.clone(), 10).await, [format!("of {place}")]);
    }
    let other_agent = BeginRun { agent_id: "other".to_owned(), ..asked(ana()) };
    ended(&**store, other_agent, "of another agent", RunStatus::Completed).await;
    let other_session = BeginRun { session_id: SessionId::from("other"), ..asked(ana()) };
    ended(&**store, other_session, "of another session", RunStatus::Completed).await;
    assert_eq!(history(&**store, ana(), 10).await, ["of 0"]);
}

async fn i5_a_snapshot_that_was_changed_is_no_history(store: &Store) {
    let run_id = ended(&**store, asked(ana()), "one", RunStatus::Completed).await;
    ended(&**store, asked(ana()), "two", RunStatus::Completed).await;
    store.tamper(&format!("UPDATE kern_runs SET snapshot = 'lies' WHERE run_id = '{run_id}'"));
    let read = |limit| {
        let db: Arc<dyn Db> = store.shared();
        async move { db.history(SessionId::from("session"), "agent".to_owned(), ana(), limit).await }
    };
    let refused = read(10).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { run_id: ref found, .. }) if *found == run_id), "{refused:?}");
    assert_eq!(read(1).await.unwrap(), ["two"], "what is not shown is not in the way");
}

on_each_store! {
    a_later_run_sees_only_runs_that_have_ended_oldest_first,
    i11_nobody_sees_the_runs_of_somebody_else,
}

on_a_file! {
    i5_a_snapshot_that_was_changed_is_no_history,
}
