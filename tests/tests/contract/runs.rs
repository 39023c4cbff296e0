//! R1 to R10 and T: what happens to a run.

use kern_db::{
    ApprovalFilter, ApprovalStatus, BeginRun, Blocker, Caller, Candidates, Ended, Error, ExecutionStatus, NewAnswer,
    Recovered, RunClaimed, RunFilter, RunId, RunStatus, Settlement, Standing, StoreInput,
};
use kern_tests::steps::{APPROVER, LONG, REQUESTER, Store, audit, begin, end, person, required, turn, two_stage, user};

async fn r1_a_run_starts_once(store: &Store) {
    let claim = store.started().await;
    let again = store.begin_run(begin(&claim.run_id)).await;
    assert!(matches!(again, Err(Error::Invalid(_))), "{again:?}");
    let run = store.get_run(&claim.run_id).await.unwrap();
    assert_eq!((run.status, run.fence, run.turn, run.recoveries), (RunStatus::Running, 1, 0, 0));
    assert!(!run.lapsed);
    assert_eq!(store.words(&claim.run_id).await, ["run_started"]);
    assert_eq!(store.list_runs(RunFilter::new()).await.unwrap().len(), 1);
}

async fn r2_a_turn_is_committed_by_the_owner_and_only_forward(store: &Store) {
    let claim = store.started().await;
    let mut forged = claim.clone();
    forged.fence = 7;
    let refused = store.commit_turn(turn(&forged, 1, &[required()], true)).await;
    assert!(matches!(refused, Err(Error::NotMine { .. })), "{refused:?}");
    store.commit_turn(turn(&claim, 1, &[user()], false)).await.unwrap();
    for number in [0, 1] {
        let refused = store.commit_turn(turn(&claim, number, &[required()], true)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let run = store.get_run(&claim.run_id).await.unwrap();
    assert_eq!((run.status, run.turn, run.calls.len()), (RunStatus::Running, 1, 1));
    store.commit_turn(turn(&claim, 2, &[required()], true)).await.unwrap();
    let run = store.get_run(&claim.run_id).await.unwrap();
    assert_eq!((run.status, run.turn, run.calls.len()), (RunStatus::Paused, 2, 2));
    let late = store.commit_turn(turn(&claim, 3, &[required()], true)).await;
    assert!(matches!(late, Err(Error::NotMine { .. })), "a paused run is nobody's: {late:?}");
}

async fn r2_two_calls_cannot_share_a_place(store: &Store) {
    let claim = store.started().await;
    let mut commit = turn(&claim, 1, &[required(), required()], true);
    commit.calls[1].index = 0;
    let refused = store.commit_turn(commit).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    assert_eq!(store.get_run(&claim.run_id).await.unwrap().turn, 0);
}

async fn i3_a_pause_that_fails_leaves_nothing(store: &Store) {
    let taken = store.paused(&[required()]).await;
    let taken = store.approval_id(&taken, 0).await;
    let claim = store.started().await;
    let mut commit = turn(&claim, 1, &[required(), required()], true);
    commit.calls[1].approval_id = Some(taken);
    let refused = store.commit_turn(commit).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let mut commit = turn(&claim, 1, &[required(), required()], true);
    commit.calls[1].approval_id = None;
    let refused = store.commit_turn(commit).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    let run = store.get_run(&claim.run_id).await.unwrap();
    assert_eq!((run.status, run.turn, run.calls.len()), (RunStatus::Running, 0, 0));
    let filter = ApprovalFilter::new().run_id(&claim.run_id);
    assert_eq!(store.list_approvals(filter).await.unwrap().meta.total_count, 0);
    assert_eq!(store.words(&claim.run_id).await, ["run_started"]);
    // The owner may try again.
    store.commit_turn(turn(&claim, 1, &[required(), required()], true)).await.unwrap();
}

async fn r3_an_owner_pauses_its_run(store: &Store) {
    let claim = store.started().await;
    store.pause_run(claim.clone(), "{\"later\":1}".to_owned(), false).await.unwrap();
    let run = store.get_run(&claim.run_id).await.unwrap();
    assert_eq!((run.status, run.snapshot.as_str(), run.attention), (RunStatus::Paused, "{\"later\":1}", false));
    let again = store.pause_run(claim.clone(), "{}".to_owned(), false).await;
    assert!(matches!(again, Err(Error::NotMine { .. })), "{again:?}");
    let claim = store.resumed(&claim.run_id).await;
    store.pause_run(claim.clone(), "{}".to_owned(), true).await.unwrap();
    assert!(store.get_run(&claim.run_id).await.unwrap().attention);
    let claim = store.resumed(&claim.run_id).await;
    assert!(!store.get_run(&claim.run_id).await.unwrap().attention);
}

async fn r4_one_claim_wins_and_the_loser_learns_it(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let (first, second) = (store.load(&run_id, Caller::Worker).await, store.load(&run_id, person(REQUESTER)).await);
    assert!(matches!(store.claim_run(first).await.unwrap(), RunClaimed::Claimed(_)));
    assert_eq!(store.claim_run(second).await.unwrap(), RunClaimed::AlreadyRunning);
    assert_eq!(store.count(&run_id, "run_claimed").await, 1);
}

async fn r4_a_run_that_went_on_since_it_was_loaded_is_not_claimed(store: &Store) {
    let run_id = store.paused(&[user()]).await;
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    let loaded = store.load(&run_id, Caller::Worker).await;
    let claim = store.resumed(&run_id).await;
    store.pause_run(claim, "{}".to_owned(), false).await.unwrap();
    // It is paused again, at the same turn: only the fence tells.
    assert_eq!(store.claim_run(loaded.clone()).await.unwrap(), RunClaimed::AlreadyRunning);
    let mut other_turn = store.load(&run_id, Caller::Worker).await;
    other_turn.turn = 0;
    assert_eq!(store.claim_run(other_turn).await.unwrap(), RunClaimed::AlreadyRunning);
    let fresh = store.load(&run_id, Caller::Worker).await;
    assert!(matches!(store.claim_run(fresh).await.unwrap(), RunClaimed::Claimed(_)));
}

async fn r4_only_a_paused_run_is_claimed(store: &Store) {
    let claim = store.started().await;
    let running = store.claim_as(&claim.run_id, Caller::Worker).await.unwrap();
    assert_eq!(running, RunClaimed::AlreadyRunning);
    store.complete(&claim).await.unwrap();
    let ended = store.claim_as(&claim.run_id, Caller::Worker).await.unwrap();
    assert_eq!(ended, RunClaimed::NotPaused(RunStatus::Completed));
    let unknown = kern_db::RunId::generate();
    let mut request = store.load(&claim.run_id, Caller::Worker).await;
    request.run_id = unknown.clone();
    assert!(matches!(store.claim_run(request).await, Err(Error::NotFound { entity: "run", .. })));
    assert!(matches!(store.get_run(&unknown).await, Err(Error::NotFound { entity: "run", .. })));
}

async fn r6_a_run_is_recovered_three_times_and_then_given_up(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    for time in 1..=4 {
        let mut request = store.load(&run_id, Caller::Worker).await;
        request.lease_ms = 0;
        let Ok(RunClaimed::Claimed(claim)) = store.claim_run(request).await else { panic!("claim {time}") };
        let run = store.get_run(&run_id).await.unwrap();
        assert!(run.lapsed);
        assert_eq!(store.lapsed_runs("agent".to_owned(), 10).await.unwrap(), std::slice::from_ref(&run_id));
        assert!(store.lapsed_runs("another".to_owned(), 10).await.unwrap().is_empty());
        let expected = if time < 4 { Recovered::Paused } else { Recovered::Failed };
        assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), expected);
        assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::NotNeeded);
        let run = store.get_run(&run_id).await.unwrap();
        assert_eq!((run.recoveries, run.fence), (time, claim.fence + 1));
        assert!(matches!(store.claim(&claim, 0).await, Err(Error::NotMine { .. })), "the fence has moved");
        assert!(store.lapsed_runs("agent".to_owned(), 10).await.unwrap().is_empty());
    }
    assert_eq!(store.get_run(&run_id).await.unwrap().status, RunStatus::Error);
    assert_eq!(store.call(&run_id).await.execution.unwrap().status, ExecutionStatus::Abandoned);
    assert_eq!(store.starts(&run_id).await, 0);
}

async fn r6_a_living_owner_is_not_recovered(store: &Store) {
    let (claim, call) = store.executing().await;
    assert_eq!(store.recover_run(claim.run_id.clone()).await.unwrap(), Recovered::NotNeeded);
    store.succeed(&call).await;
    store.complete(&claim).await.unwrap();
    assert_eq!(store.recover_run(claim.run_id.clone()).await.unwrap(), Recovered::NotNeeded);
    let unknown = store.recover_run(kern_db::RunId::generate()).await;
    assert!(matches!(unknown, Err(Error::NotFound { entity: "run", .. })));
}

async fn r6_a_run_waits_for_the_lease_of_its_call(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let mut request = store.load(&run_id, Caller::Worker).await;
    request.lease_ms = 0;
    let Ok(RunClaimed::Claimed(claim)) = store.claim_run(request).await else { panic!("it is claimed") };
    let call = store.start(&claim, 0).await;
    assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::NotNeeded);
    store.succeed(&call).await;
    assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::Paused);
}

/// Schedule 17: what was asked is stored, and somebody else goes on from there.
async fn r6_a_run_whose_input_is_stored_is_recovered_before_its_first_turn(store: &Store) {
    let stored_with_r1 = store.lapsed().await;
    let stored_later = withheld(store, 0).await;
    let request = StoreInput { claim: stored_later.clone(), snapshot: "{}".to_owned(), input: "{}".to_owned() };
    assert!(store.store_input(request.clone()).await.unwrap().has_input);
    assert!(matches!(store.store_input(request).await, Err(Error::Invalid(_))), "it is stored once");
    assert_eq!(store.words(&stored_later.run_id).await, ["run_started", "input_stored"]);
    for claim in [stored_with_r1, stored_later] {
        assert_eq!(store.recover_run(claim.run_id.clone()).await.unwrap(), Recovered::Paused);
        let run = store.get_run(&claim.run_id).await.unwrap();
        assert_eq!((run.status, run.turn, run.recoveries), (RunStatus::Paused, 0, 1));
        let found =
            store.resumable_runs("agent".to_owned(), Candidates::These(vec![run.run_id.clone()])).await.unwrap();
        assert_eq!(found.decided, [run.run_id], "the worker finds it");
        let late = StoreInput { claim: claim.clone(), snapshot: "{}".to_owned(), input: "{}".to_owned() };
        assert!(matches!(store.store_input(late).await, Err(Error::NotMine { .. })), "the fence has moved");
        let claim = store.resumed(&claim.run_id).await;
        // A turn that is committed makes the count start anew.
        store.commit_turn(turn(&claim, 1, &[required()], true)).await.unwrap();
        assert_eq!(store.get_run(&claim.run_id).await.unwrap().recoveries, 0);
    }
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[required(), audit()], false)).await.unwrap();
    let late = StoreInput { claim, snapshot: "{}".to_owned(), input: "{}".to_owned() };
    assert!(matches!(store.store_input(late).await, Err(Error::Invalid(_))), "before the first turn, or never");
}

/// A run whose hooks look at its input still.
async fn withheld(store: &Store, lease_ms: i64) -> kern_db::RunClaim {
    let run_id = kern_db::RunId::generate();
    let request = BeginRun { input: None, lease_ms, ..begin(&run_id) };
    store.begin_run(request).await.unwrap()
}

async fn r7_a_run_whose_input_was_never_stored_is_given_up(store: &Store) {
    let claim = withheld(store, 0).await;
    assert_eq!(store.recover_run(claim.run_id.clone()).await.unwrap(), Recovered::Failed);
    assert_eq!(store.get_run(&claim.run_id).await.unwrap().status, RunStatus::Error);
    assert!(matches!(store.complete(&claim).await, Err(Error::NotMine { .. })));
    assert_eq!(store.words(&claim.run_id).await, ["run_started", "run_failed"]);
}

async fn r8_a_run_completes_only_when_every_call_has_an_outcome(store: &Store) {
    let claim = store.started().await;
    store.commit_turn(turn(&claim, 1, &[required(), user()], false)).await.unwrap();
    assert!(matches!(store.complete(&claim).await, Err(Error::RunConflict { .. })));
    store.refuse(&claim.run_id, 0).await.unwrap();
    assert!(matches!(store.complete(&claim).await, Err(Error::RunConflict { .. })));
    store.pause_run(claim.clone(), "{}".to_owned(), false).await.unwrap();
    store.answer(&claim.run_id, 1, NewAnswer::Confirm).await.unwrap();
    let claim = store.resumed(&claim.run_id).await;
    assert!(matches!(store.complete(&claim).await, Err(Error::RunConflict { .. })));
    store.succeed(&store.start(&claim, 1).await).await;
    store.complete(&claim).await.unwrap();
    assert_eq!(store.get_run(&claim.run_id).await.unwrap().status, RunStatus::Completed);
}

async fn r8_a_run_ends_only_as_completed_or_as_an_error(store: &Store) {
    for status in [RunStatus::Pending, RunStatus::Running, RunStatus::Paused, RunStatus::Cancelled] {
        let claim = store.started().await;
        let refused = store.end_run(end(&claim, status)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        assert_eq!(store.get_run(&claim.run_id).await.unwrap().status, RunStatus::Running);
        store.end_run(end(&claim, RunStatus::Error)).await.unwrap();
        assert_eq!(store.words(&claim.run_id).await, ["run_started", "run_failed"]);
    }
}

async fn i7_a_run_that_ends_leaves_nothing_open(store: &Store) {
    for ends in ["error", "cancel", "recovery"] {
        let claim = if ends == "recovery" { store.lapsed().await } else { store.started().await };
        store.commit_turn(turn(&claim, 1, &[required(), required(), required(), user()], true)).await.unwrap();
        let run_id = claim.run_id.clone();
        store.approve(&run_id, 1).await.unwrap();
        store.answer(&run_id, 3, NewAnswer::Confirm).await.unwrap();
        store.refuse(&run_id, 2).await.unwrap();
        match ends {
            "cancel" => store.cancel_run(run_id.clone(), person("eve")).await.unwrap(),
            "error" => {
                store.refuse(&run_id, 0).await.unwrap();
                let claim = store.resumed(&run_id).await;
                store.end_run(end(&claim, RunStatus::Error)).await.unwrap();
            }
            _ => {
                store.refuse(&run_id, 0).await.unwrap();
                for _ in 0..4 {
                    let mut request = store.load(&run_id, Caller::Worker).await;
                    request.lease_ms = 0;
                    assert!(matches!(store.claim_run(request).await.unwrap(), RunClaimed::Claimed(_)));
                    store.recover_run(run_id.clone()).await.unwrap();
                }
            }
        }
        let run = store.get_run(&run_id).await.unwrap();
        assert!(matches!(run.status, RunStatus::Error | RunStatus::Cancelled));
        for call in run.calls {
            assert!(matches!(call.standing, Standing::Outcome(_)), "{call:?}");
            assert_ne!(call.execution.map(|execution| execution.status), Some(ExecutionStatus::Ready));
            assert_ne!(call.approval.map(|approval| approval.status), Some(ApprovalStatus::Pending));
        }
        let filter = kern_db::ExecutionFilter::new().run_id(&run_id).status(ExecutionStatus::Abandoned);
        assert_eq!(store.list_executions(filter).await.unwrap().len(), 2);
        assert_eq!(store.starts(&run_id).await, 0);
    }
}

async fn i7_a_lost_body_is_found_also_when_its_run_has_ended(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let _started = store.start_and_die(&claim, 0).await;
    store.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap();
    // Nobody owns the run any more; that its body may have had an effect has to be found all the same.
    assert_eq!(store.lapsed_runs("agent".to_owned(), 10).await.unwrap(), std::slice::from_ref(&run_id));
    assert!(store.lapsed_runs("another".to_owned(), 10).await.unwrap().is_empty());
    assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::NotNeeded);
    assert_eq!(store.call(&run_id).await.standing, Standing::Unknown);
    assert!(store.lapsed_runs("agent".to_owned(), 10).await.unwrap().is_empty());
}

async fn i7_after_recovery_nothing_is_lost(store: &Store) {
    let run_id = store.paused(&[required(), required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    store.approve(&run_id, 1).await.unwrap();
    let mut request = store.load(&run_id, Caller::Worker).await;
    request.lease_ms = 0;
    let Ok(RunClaimed::Claimed(claim)) = store.claim_run(request).await else { panic!("it is claimed") };
    let lost = store.start_and_die(&claim, 0).await;
    assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::Paused);
    assert_eq!(store.call_at(&run_id, 0).await.standing, Standing::Unknown);
    assert_eq!(store.call_at(&run_id, 1).await.standing, Standing::Open);
    let id = lost.ticket().execution_id().clone();
    let blocked = store.claim_as(&run_id, Caller::Worker).await.unwrap();
    assert_eq!(blocked, RunClaimed::Blocked(vec![Blocker::Unknown { execution_id: id.clone(), index: 0 }]));
    store.settle_execution(&id, Settlement::succeeded("paid").by(APPROVER).note("looked")).await.unwrap();
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 1).await).await;
    store.complete(&claim).await.unwrap();
    assert_eq!(store.starts(&run_id).await, 2);
}

async fn r9_every_state_but_an_end_can_be_cancelled(store: &Store) {
    let running = store.started().await;
    store.cancel_run(running.run_id.clone(), Caller::Anonymous).await.unwrap();
    assert!(matches!(store.commit_turn(turn(&running, 1, &[required()], true)).await, Err(Error::NotMine { .. })));
    assert!(matches!(store.complete(&running).await, Err(Error::NotMine { .. })));
    assert!(matches!(store.renew_run(running.clone(), LONG).await, Err(Error::NotMine { .. })));
    let paused = store.paused(&[two_stage()]).await;
    let fence = store.get_run(&paused).await.unwrap().fence;
    store.cancel_run(paused.clone(), person(REQUESTER)).await.unwrap();
    let run = store.get_run(&paused).await.unwrap();
    assert_eq!((run.status, run.fence), (RunStatus::Cancelled, fence + 1));
    assert_eq!(store.claim_as(&paused, person(REQUESTER)).await.unwrap(), RunClaimed::NotPaused(RunStatus::Cancelled));
    assert!(matches!(store.answer(&paused, 0, NewAnswer::Confirm).await, Err(Error::RunConflict { .. })));
    let completed = store.started().await;
    store.complete(&completed).await.unwrap();
    let failed = store.started().await;
    store.end_run(end(&failed, RunStatus::Error)).await.unwrap();
    for run_id in [&running.run_id, &paused, &completed.run_id, &failed.run_id] {
        let before = store.get_run(run_id).await.unwrap();
        let refused = store.cancel_run(run_id.clone(), Caller::Anonymous).await;
        assert!(matches!(refused, Err(Error::RunConflict { found, .. }) if found == before.status), "{refused:?}");
        assert_eq!(store.get_run(run_id).await.unwrap().fence, before.fence);
    }
}

async fn r10_a_renewed_lease_keeps_the_run_and_its_body(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let mut request = store.load(&run_id, Caller::Worker).await;
    request.lease_ms = 0;
    let Ok(RunClaimed::Claimed(claim)) = store.claim_run(request).await else { panic!("it is claimed") };
    let call = store.start_and_die(&claim, 0).await;
    let words = store.words(&run_id).await;
    store.renew_call(call.ticket(), LONG, LONG).await.unwrap();
    store.renew_run(claim.clone(), LONG).await.unwrap();
    assert_eq!(store.words(&run_id).await, words, "a renewal is no transition");
    assert!(!store.get_run(&run_id).await.unwrap().lapsed);
    assert_eq!(store.recover_run(run_id.clone()).await.unwrap(), Recovered::NotNeeded);
    assert_eq!(store.call(&run_id).await.standing, Standing::Executing);
    store.succeed(&call).await;
    let mut forged = claim.clone();
    forged.fence += 1;
    assert!(matches!(store.renew_run(forged, LONG).await, Err(Error::NotMine { .. })));
    store.complete(&claim).await.unwrap();
    assert!(matches!(store.renew_run(claim, LONG).await, Err(Error::NotMine { .. })));
}

async fn i17_another_handle_resumes_any_run(store: &Store) {
    let claim = store.started().await;
    let snapshot = "x".repeat(1 << 20);
    let mut commit = turn(&claim, 1, &[required()], true);
    commit.snapshot.clone_from(&snapshot);
    store.commit_turn(commit).await.unwrap();
    let other = store.second().await;
    let run = other.get_run(&claim.run_id).await.unwrap();
    assert_eq!((run.status, run.snapshot == snapshot, run.calls.len()), (RunStatus::Paused, true, 1));
    let id = store.approval_id(&claim.run_id, 0).await;
    let resolution = kern_db::Resolution::approved().by(APPROVER);
    other.update_approval(&id, ApprovalStatus::Pending, resolution).await.unwrap();
    let claim = store.resumed(&claim.run_id).await;
    let call = store.start(&claim, 0).await;
    // The process that claimed it need not be the one that records its end.
    let finished = other.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), Vec::new()).await;
    assert_eq!(finished.unwrap(), kern_db::Finished::Recorded);
    other.end_run(end(&claim, RunStatus::Completed)).await.unwrap();
    assert_eq!(store.get_run(&claim.run_id).await.unwrap().status, RunStatus::Completed);
}

async fn i19_what_was_answered_is_there_for_everybody(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let other = store.second().await;
    let run = other.get_run(&run_id).await.unwrap();
    assert_eq!(run.calls[0].standing, Standing::Open);
    assert_eq!(other.audit().verify().await.unwrap(), store.audit().verify().await.unwrap());
}

async fn i22_times_at_the_ends_of_the_range_are_no_panic(store: &Store) {
    for milliseconds in [i64::MIN, -1, 0, i64::MAX] {
        let mut request = begin(&kern_db::RunId::generate());
        request.lease_ms = milliseconds;
        let claim = store.begin_run(request).await.unwrap();
        assert_eq!(store.get_run(&claim.run_id).await.unwrap().lapsed, milliseconds <= 0);
        // Times that canonical JSON cannot hold would make the stored policy unreadable: they make no row.
        for policy in [required().expires_in_ms(milliseconds), required().valid_for_ms(milliseconds)] {
            let committed = store.commit_turn(turn(&claim, u32::MAX, &[policy], false)).await;
            assert_eq!(committed.is_ok(), milliseconds == 0, "{committed:?}");
            assert!(matches!(committed, Ok(_) | Err(Error::Invalid(_))), "{committed:?}");
            if milliseconds == 0 {
                break;
            }
        }
        store.renew_run(claim.clone(), milliseconds).await.unwrap();
    }
    let longest = (1 << 53) - 1;
    let run_id = store.paused(&[required().expires_in_ms(longest).valid_for_ms(longest)]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let _started = store.start(&claim, 0).await;
}

async fn i18_runs_are_listed_page_by_page_and_none_is_passed_over(store: &Store) {
    let mut started = Vec::new();
    for _ in 0..7 {
        started.push(store.paused(&[required()]).await);
    }
    let filter = || RunFilter::new().status(RunStatus::Paused).limit(3);
    let mut seen: Vec<RunId> = Vec::new();
    let mut page = store.list_runs(filter()).await.unwrap();
    while let Some(last) = page.last().map(|run| run.run_id.clone()) {
        assert!(page.len() <= 3);
        seen.extend(page.into_iter().map(|run| run.run_id));
        page = store.list_runs(filter().after(last)).await.unwrap();
    }
    assert_eq!(seen, started);
}

on_each_store! {
    i18_runs_are_listed_page_by_page_and_none_is_passed_over,
    i17_another_handle_resumes_any_run,
    i19_what_was_answered_is_there_for_everybody,
    i22_times_at_the_ends_of_the_range_are_no_panic,
    i3_a_pause_that_fails_leaves_nothing,
    i7_a_lost_body_is_found_also_when_its_run_has_ended,
    i7_a_run_that_ends_leaves_nothing_open,
    i7_after_recovery_nothing_is_lost,
    r10_a_renewed_lease_keeps_the_run_and_its_body,
    r1_a_run_starts_once,
    r2_a_turn_is_committed_by_the_owner_and_only_forward,
    r2_two_calls_cannot_share_a_place,
    r3_an_owner_pauses_its_run,
    r4_a_run_that_went_on_since_it_was_loaded_is_not_claimed,
    r4_one_claim_wins_and_the_loser_learns_it,
    r4_only_a_paused_run_is_claimed,
    r6_a_living_owner_is_not_recovered,
    r6_a_run_is_recovered_three_times_and_then_given_up,
    r6_a_run_waits_for_the_lease_of_its_call,
    r6_a_run_whose_input_is_stored_is_recovered_before_its_first_turn,
    r7_a_run_whose_input_was_never_stored_is_given_up,
    r8_a_run_completes_only_when_every_call_has_an_outcome,
    r8_a_run_ends_only_as_completed_or_as_an_error,
    r9_every_state_but_an_end_can_be_cancelled,
}
