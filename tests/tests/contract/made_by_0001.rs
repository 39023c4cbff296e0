//! A file that schema version 1 wrote goes on in this one: what it asked is decided, what it allowed runs, and nothing of it
//! is edited, for want of a schema.

use kern_db::{
    Answered, ApprovalStatus, AskAgain, CallClaimed, Caller, ClaimCall, Error, NewAnswer, NewCall, Resolution, Run,
    RunClaimed, RunFilter, Standing,
};
use kern_tests::history;
use kern_tests::steps::{LONG, SCHEMA, Store, answer_to, call, person};
use serde_json::json;

/// Its runs, in the order they started: pending, two-stage, approved, filled in by its user and pending.
async fn runs(store: &Store) -> Vec<Run> {
    let runs = store.list_runs(RunFilter::new()).await.unwrap();
    assert_eq!(runs.len(), 4);
    let mut full = Vec::new();
    for run in runs {
        full.push(store.get_run(&run.run_id).await.unwrap());
    }
    full
}

async fn approve(store: &Store, run: &Run) {
    let row = run.calls[0].approval.as_ref().expect("it has one");
    let yes = Resolution::approved().by("admin").digest(&row.digest);
    store.update_approval(&row.id, ApprovalStatus::Pending, yes).await.unwrap();
}

/// Resumes and starts the only call of a run.
async fn runs_once(store: &Store, run: &Run) -> String {
    let claimed = store.claim_run(store.load(&run.run_id, Caller::Worker).await).await.unwrap();
    let RunClaimed::Claimed(claim) = claimed else { panic!("{claimed:?}") };
    let request = || ClaimCall { claim: claim.clone(), turn: 1, index: 0, lease_ms: LONG };
    let started = store.claim_call(request()).await.unwrap();
    let CallClaimed::Claimed(started) = started else { panic!("{started:?}") };
    store.succeed(&started).await;
    assert!(matches!(store.claim_call(request()).await.unwrap(), CallClaimed::Over));
    store.complete(&claim).await.unwrap();
    started.arguments().to_owned()
}

#[tokio::test]
async fn what_waits_is_decided_and_what_is_allowed_runs() {
    let store = Store::made_by_0001().await;
    history::check(&*store).await;
    let runs = runs(&store).await;
    for run in &runs {
        let row = run.calls[0].approval.as_ref().expect("it has one");
        assert_eq!((row.quorum, &row.edited_by, row.sensitive.len()), (1, &None, 0));
    }
    approve(&store, &runs[0]).await;
    assert_eq!(runs_once(&store, &runs[0]).await, r#"{"user_id":"u1"}"#);

    let mut confirm = answer_to(&runs[1].run_id, 0, person("alice"), NewAnswer::Confirm, r#"{"user_id":"u1"}"#);
    confirm.shown.tool_name = "erase_user".to_owned();
    assert_eq!(store.answer_call(confirm).await.unwrap(), Answered::Stored);
    approve(&store, &runs[1]).await;
    runs_once(&store, &runs[1]).await;

    assert_eq!(runs[2].calls[0].standing, Standing::Open);
    runs_once(&store, &runs[2]).await;

    assert_eq!(runs[3].calls[0].version, 1);
    approve(&store, &runs[3]).await;
    assert_eq!(runs_once(&store, &runs[3]).await, r#"{"copies":2,"subject":"hi","to":"a@b.example"}"#);
    history::check(&*store).await;
}

#[tokio::test]
async fn what_it_asked_is_not_edited_for_want_of_a_schema() {
    let store = Store::made_by_0001().await;
    let runs = runs(&store).await;
    for (run, data) in [
        (&runs[0], json!({ "edited_args": { "user_id": "u2" } })),
        (&runs[3], json!({ "values": { "to": "b@b.example", "copies": 2 } })),
        (&runs[3], json!({ "edited_args": { "to": "b@b.example", "copies": 2, "subject": "hi" } })),
    ] {
        let row = run.calls[0].approval.as_ref().expect("it has one");
        let edit = Resolution::approved().by("admin").digest(&row.digest).data(data);
        let refused = store.update_approval(&row.id, ApprovalStatus::Pending, edit).await;
        let Err(Error::NotEditable { why, .. }) = &refused else { panic!("{refused:?}") };
        assert!(why.contains("stored no schema"), "{why}");
    }
    let row = runs[0].calls[0].approval.as_ref().expect("it has one");
    let no = Resolution::rejected().by("admin");
    assert_eq!(
        store.update_approval(&row.id, ApprovalStatus::Pending, no).await.unwrap().status,
        ApprovalStatus::Rejected
    );
    history::check(&*store).await;
}

#[tokio::test]
async fn what_it_asked_is_asked_again_with_a_schema() {
    let store = Store::made_by_0001().await;
    let run = &runs(&store).await[0];
    let old = &run.calls[0];
    let again = NewCall {
        tool_call_id: old.tool_call_id.clone(),
        tool_name: old.tool_name.clone(),
        arguments: old.arguments.clone(),
        ..call(0, old.policy.clone())
    };
    let (run_id, snapshot) = (run.run_id.clone(), run.snapshot.clone());
    let caller = Caller::Anonymous;
    let request = AskAgain { run_id, fence: run.fence, turn: run.turn, caller, snapshot, calls: vec![again] };
    store.ask_again(request).await.unwrap();
    let row = store.approval(&run.run_id).await;
    let edit = json!({ "edited_args": { "amount": 1, "to": "x" } });
    let yes = Resolution::approved().by("admin").data(edit);
    let edited = store.update_approval(&row.id, ApprovalStatus::Pending, yes).await.unwrap();
    assert_eq!((edited.version, edited.sensitive), (1, vec!["key".to_owned()]), "{SCHEMA}");
    history::check(&*store).await;
}
