//! Neighbouring lines that share a transaction: R1 with R2 or R8, R4 with the first X3. Sharing removes states in
//! between and no check.

use kern_db::{
    CallClaim, CallPolicy, Caller, Error, ExecutionStatus, NewAnswer, PauseType, RunClaim, RunClaimed, RunFilter,
    RunId, RunStatus, Standing, Tier,
};
use kern_tests::steps::{REQUESTER, Store, audit, begin, end, person, required, turn, two_stage, user};

/// Claims a run as it is now, and its first call with it.
async fn resume(store: &Store, run_id: &RunId, caller: Caller, index: u32) -> (RunClaimed, Option<CallClaim>) {
    let digest = digest(store, run_id, index).await;
    store.claim_run_and_call(store.load(run_id, caller).await, digest).await.unwrap()
}

/// The call at a place of a run, by its digest. One that is not there has none.
async fn digest(store: &Store, run_id: &RunId, index: u32) -> String {
    let calls = store.get_run(run_id).await.unwrap().calls;
    calls.into_iter().find(|call| call.index == index).map(|call| call.digest).unwrap_or_default()
}

async fn i5_a_call_that_changed_since_it_was_looked_at_does_not_start_with_its_run(store: &Store) {
    let filled = CallPolicy::new(Tier::User, Some(PauseType::UserInput));
    let run_id = store.paused(&[filled]).await;
    let looked_at = digest(store, &run_id, 0).await;
    store.answer(&run_id, 0, NewAnswer::Input(r#"{"amount":9,"to":"x"}"#.to_owned())).await.unwrap();
    let request = store.load(&run_id, Caller::Worker).await;
    let (claimed, started) = store.claim_run_and_call(request, looked_at).await.unwrap();
    assert!(matches!(claimed, RunClaimed::Claimed(_)) && started.is_none(), "{claimed:?} {started:?}");
    assert_eq!(store.starts(&run_id).await, 0);
}

async fn i3_a_run_that_starts_with_its_pause_is_there_with_all_its_rows(store: &Store) {
    let run_id = RunId::generate();
    let claim = RunClaim::first(&run_id);
    store.begin_with_turn(begin(&run_id), turn(&claim, 1, &[required(), user()], true)).await.unwrap();
    let run = store.get_run(&run_id).await.unwrap();
    assert_eq!((run.status, run.turn, run.fence, run.snapshot.as_str()), (RunStatus::Paused, 1, 1, "{\"turn\":1}"));
    let standings: Vec<Standing> = run.calls.into_iter().map(|call| call.standing).collect();
    assert_eq!(standings, [Standing::AwaitsApproval, Standing::AwaitsRequester]);
    assert_eq!(store.words(&run_id).await, ["run_started", "run_paused", "requested"]);
    // Nobody owns it any more: it is resumed as every other.
    store.answer(&run_id, 1, NewAnswer::Confirm).await.unwrap();
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    assert_eq!(claim.fence, 2);
}

async fn i2_a_first_step_that_is_refused_leaves_no_run(store: &Store) {
    let run_id = RunId::generate();
    let claim = RunClaim::first(&run_id);
    let mut twice = turn(&claim, 1, &[required(), required()], true);
    twice.calls[1].index = 0;
    assert!(matches!(store.begin_with_turn(begin(&run_id), twice).await, Err(Error::Invalid(_))));
    let other = RunClaim::first(&RunId::generate());
    let strange = turn(&other, 1, &[required()], true);
    assert!(matches!(store.begin_with_turn(begin(&run_id), strange).await, Err(Error::Invalid(_))));
    let cancelled = end(&claim, RunStatus::Cancelled);
    assert!(matches!(store.begin_and_end(begin(&run_id), cancelled).await, Err(Error::Invalid(_))));
    assert!(matches!(store.get_run(&run_id).await, Err(Error::NotFound { .. })));
    assert!(store.list_runs(RunFilter::new()).await.unwrap().is_empty());
    assert!(store.words(&run_id).await.is_empty());
}

async fn i16_a_run_starts_once(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let claim = RunClaim::first(&run_id);
    let again = store.begin_with_turn(begin(&run_id), turn(&claim, 1, &[required()], true)).await;
    assert!(matches!(again, Err(Error::Invalid(_))), "{again:?}");
    let again = store.begin_and_end(begin(&run_id), end(&claim, RunStatus::Completed)).await;
    assert!(matches!(again, Err(Error::Invalid(_))), "{again:?}");
    assert_eq!(store.get_run(&run_id).await.unwrap().status, RunStatus::Paused);
}

async fn i7_a_run_that_goes_on_after_its_first_turn_has_an_owner_and_a_lease(store: &Store) {
    let run_id = RunId::generate();
    let claim = RunClaim::first(&run_id);
    store.begin_with_turn(begin(&run_id), turn(&claim, 1, &[audit()], false)).await.unwrap();
    let run = store.get_run(&run_id).await.unwrap();
    assert_eq!((run.status, run.lapsed), (RunStatus::Running, false));
    let call = store.start(&claim, 0).await;
    store.succeed(&call).await;
    store.complete(&claim).await.unwrap();
    let words = store.words(&run_id).await;
    let wanted = ["run_started", "turn_committed", "recorded", "executing", "succeeded", "run_completed"];
    assert_eq!(words, wanted);
}

async fn i12_a_run_that_is_over_at_once_has_its_start_and_its_end_on_record(store: &Store) {
    for (status, word) in [(RunStatus::Completed, "run_completed"), (RunStatus::Error, "run_failed")] {
        let run_id = RunId::generate();
        let claim = RunClaim::first(&run_id);
        store.begin_and_end(begin(&run_id), end(&claim, status)).await.unwrap();
        let run = store.get_run(&run_id).await.unwrap();
        assert_eq!((run.status, run.turn, run.calls.len()), (status, 0, 0));
        assert_eq!(store.words(&run_id).await, ["run_started", word]);
        assert!(matches!(store.complete(&claim).await, Err(Error::NotMine { .. })), "it has no owner");
    }
}

async fn i1_a_resumed_run_starts_its_first_call_in_the_same_transaction(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    let approval = store.approve(&run_id, 0).await.unwrap();
    let (claimed, call) = resume(store, &run_id, Caller::Worker, 0).await;
    let RunClaimed::Claimed(claim) = claimed else { panic!("{claimed:?}") };
    let call = call.expect("the call may start");
    assert_eq!((call.index(), call.decided_digest()), (0, approval.digest.as_str()));
    let execution = store.call(&run_id).await.execution.unwrap();
    assert_eq!((execution.status, execution.attempt, execution.fence), (ExecutionStatus::Executing, 1, 1));
    let words = store.words(&run_id).await;
    assert_eq!(words[words.len() - 2..], ["run_claimed", "executing"]);
    store.succeed(&call).await;
    store.complete(&claim).await.unwrap();
}

async fn i6_of_many_that_resume_one_gets_the_call(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let (request, digest) = (store.load(&run_id, Caller::Worker).await, digest(store, &run_id, 0).await);
    let racers: Vec<_> = (0..16)
        .map(|_| {
            let (store, request, digest) = (store.shared(), request.clone(), digest.clone());
            tokio::spawn(async move { store.claim_run_and_call(request, digest).await.unwrap() })
        })
        .collect();
    let mut started = 0;
    for racer in racers {
        match racer.await.unwrap() {
            (RunClaimed::Claimed(_), Some(_)) => started += 1,
            (RunClaimed::AlreadyRunning, None) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((started, store.starts(&run_id).await), (1, 1));
}

async fn i1_what_may_not_start_is_not_started_with_its_run(store: &Store) {
    // Not decided: the run is not claimed either.
    let run_id = store.paused(&[required()]).await;
    let (claimed, call) = resume(store, &run_id, Caller::Worker, 0).await;
    assert!(matches!((claimed, call), (RunClaimed::Blocked(_), None)));
    // Rejected: the run goes on, the call does not.
    store.refuse(&run_id, 0).await.unwrap();
    let (claimed, call) = resume(store, &run_id, Caller::Worker, 0).await;
    assert!(matches!((claimed, call), (RunClaimed::Claimed(_), None)));
    // Another system's: it has no body here.
    let external = kern_db::CallPolicy::new(Tier::User, Some(PauseType::ExternalExecution));
    let run_id = store.paused(&[external]).await;
    store.answer(&run_id, 0, NewAnswer::ExternalResult("ticket 17".to_owned())).await.unwrap();
    let (claimed, call) = resume(store, &run_id, Caller::Worker, 0).await;
    assert!(matches!((claimed, call), (RunClaimed::Claimed(_), None)));
    // No such call.
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let (claimed, call) = resume(store, &run_id, Caller::Worker, 7).await;
    assert!(matches!((claimed, call), (RunClaimed::Claimed(_), None)));
    assert_eq!(store.starts(&run_id).await, 0);
}

async fn i1_an_implied_confirmation_is_stored_before_its_call_starts(store: &Store) {
    let run_id = store.paused(&[two_stage()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let (claimed, call) = resume(store, &run_id, Caller::Worker, 0).await;
    assert!(matches!((claimed, call), (RunClaimed::Blocked(_), None)), "the worker implies nothing");
    let (claimed, call) = resume(store, &run_id, person(REQUESTER), 0).await;
    let RunClaimed::Claimed(claim) = claimed else { panic!("{claimed:?}") };
    assert!(call.is_none(), "the confirmation is committed first");
    let _started = store.start(&claim, 0).await;
    let words = store.words(&run_id).await;
    assert_eq!(words[words.len() - 3..], ["confirmed_implied", "run_claimed", "executing"]);
}

on_each_store!(
    i3_a_run_that_starts_with_its_pause_is_there_with_all_its_rows,
    i2_a_first_step_that_is_refused_leaves_no_run,
    i16_a_run_starts_once,
    i7_a_run_that_goes_on_after_its_first_turn_has_an_owner_and_a_lease,
    i12_a_run_that_is_over_at_once_has_its_start_and_its_end_on_record,
    i1_a_resumed_run_starts_its_first_call_in_the_same_transaction,
    i6_of_many_that_resume_one_gets_the_call,
    i1_what_may_not_start_is_not_started_with_its_run,
    i5_a_call_that_changed_since_it_was_looked_at_does_not_start_with_its_run,
    i1_an_implied_confirmation_is_stored_before_its_call_starts,
);

async fn i5_what_does_not_agree_leaves_the_run_unclaimed(store: &Store) {
    for sql in [
        // A copy of the arguments.
        "UPDATE kern_executions SET arguments = '{\"amount\":9}'",
        // An execution that nobody allowed: no entry of the log says so.
        "UPDATE kern_executions SET id = 'forged'",
        // A start that was taken back.
        "UPDATE kern_audit SET action = 'noted' WHERE action = 'ready'",
    ] {
        let run_id = store.paused(&[required()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let raw = store.raw();
        kern_tests::steps::drop_triggers(&raw);
        let filter = if sql.contains("WHERE") { "AND" } else { "WHERE" };
        raw.execute_batch(&format!("{sql} {filter} run_id = '{run_id}'")).unwrap();
        let (request, digest) = (store.load(&run_id, Caller::Worker).await, digest(store, &run_id, 0).await);
        let refused = store.claim_run_and_call(request, digest).await;
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{sql}: {refused:?}");
        assert_eq!(store.get_run(&run_id).await.unwrap().status, RunStatus::Paused, "{sql}");
        assert_eq!((store.starts(&run_id).await, store.count(&run_id, "[digest_mismatch]").await), (0, 1), "{sql}");
        assert_eq!(store.count(&run_id, "run_claimed").await, 0, "{sql}");
    }
}

on_a_file!(i5_what_does_not_agree_leaves_the_run_unclaimed);
