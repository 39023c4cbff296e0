//! Each part of a policy where it counts: at the vote, at the claim, and when somebody settles or orders a call to be run
//! again.

use kern_db::{
    Approval, ApprovalStatus, CallClaimed, Caller, DbExt as _, Ended, Error, ExecutionId, ExecutionStatus, Outcome,
    Resolution, Result, RunClaim, RunClaimed, RunId, Settlement, Standing,
};
use kern_tests::steps::{APPROVER, LONG, REQUESTER, Store, person, required, two_stage, wait_until};

async fn vote(store: &Store, run_id: &RunId, who: &str) -> Result<Approval> {
    let seen = store.approval(run_id).await;
    let yes = Resolution::approved().by(who).digest(seen.digest).note("as agreed");
    store.update_approval(&seen.id, ApprovalStatus::Pending, yes).await
}

/// Starts the call of a claimed run, and loses it.
async fn lose(store: &Store, claim: &RunClaim) -> ExecutionId {
    let call = store.start(claim, 0).await;
    store.finish_call(call.ticket(), Ended::Lost("gone".to_owned()), Vec::new()).await.unwrap();
    store.pause_run(claim.clone(), "{}".to_owned(), true).await.unwrap();
    call.ticket().execution_id().clone()
}

async fn x11_the_same_people_are_asked_in_the_same_way(store: &Store) {
    store.set_pool("finance", ["ann", "bob"]).await.unwrap();
    let policy = required().quorum(2).pool("finance").require_reason(true);
    let run_id = store.paused(std::slice::from_ref(&policy)).await;
    for who in ["ann", "bob"] {
        vote(store, &run_id, who).await.unwrap();
    }
    let id = lose(store, &store.resumed(&run_id).await).await;
    // Whoever orders it need not be in the pool: it decides nothing.
    store.settle_execution(&id, Settlement::run_again().by("operator").note("nobody saw it")).await.unwrap();
    let call = store.call(&run_id).await;
    assert_eq!(call.policy, policy);
    let asked = call.approval.unwrap();
    assert_eq!((asked.quorum, asked.pool.as_deref(), asked.votes.len()), (2, Some("finance"), 0));
    assert!(matches!(vote(store, &run_id, "operator").await, Err(Error::NotPermitted { .. })));
    let silent = Resolution::approved().by("ann");
    let silent = store.update_approval(&asked.id, ApprovalStatus::Pending, silent).await;
    assert!(matches!(silent, Err(Error::ReasonRequired { .. })), "{silent:?}");
    assert_eq!(vote(store, &run_id, "ann").await.unwrap().status, ApprovalStatus::Pending);
    let blocked = store.claim_as(&run_id, person(REQUESTER)).await.unwrap();
    assert!(
        matches!(blocked, RunClaimed::Blocked(_)),
        "one vote of two, and those of before do not count: {blocked:?}"
    );
    assert_eq!(vote(store, &run_id, "bob").await.unwrap().status, ApprovalStatus::Approved);
    store.succeed(&store.start(&store.resumed(&run_id).await, 0).await).await;
}

async fn x11_time_starts_anew(store: &Store) {
    let run_id = store.paused(&[required().valid_for_ms(300).expires_in_ms(60_000)]).await;
    let first = store.approve(&run_id, 0).await.unwrap();
    let id = lose(store, &store.resumed(&run_id).await).await;
    wait_until(first.execution.unwrap().created_at_ms + 300).await;
    assert_eq!(store.call(&run_id).await.standing, Standing::Unknown, "what has started is not void");
    store.settle_execution(&id, Settlement::run_again().by(APPROVER).note("again")).await.unwrap();
    assert!(store.approval(&run_id).await.expires_at >= first.expires_at);
    let second = store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    wait_until(second.execution.unwrap().created_at_ms + 300).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over), "the second yes has an end, too");
    assert!(matches!(store.call(&run_id).await.standing, Standing::Outcome(Outcome::Abandoned(_))));
    assert_eq!(store.starts(&run_id).await, 1);
}

async fn i15_an_end_counts_at_the_vote_at_the_claim_and_in_a_retry(store: &Store) {
    // At the vote.
    let run_id = store.paused(&[required().expires_in_ms(0)]).await;
    wait_until(store.approval_row_due(&run_id).await).await;
    assert!(matches!(vote(store, &run_id, APPROVER).await, Err(Error::Expired { .. })));
    // At the claim of the run, where the requester's confirmation would be implied.
    let run_id = store.paused(&[two_stage().valid_for_ms(0)]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = match store.claim_as(&run_id, person(REQUESTER)).await.unwrap() {
        RunClaimed::Claimed(claim) => claim,
        other => panic!("what is void is an outcome: {other:?}"),
    };
    assert!(!matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Claimed(_)));
    assert!(matches!(store.call(&run_id).await.standing, Standing::Outcome(Outcome::Abandoned(_))));
    store.complete(&claim).await.unwrap();
    // Of a call that was to be started again.
    let run_id = store.paused(&[required().valid_for_ms(300).effect(kern_db::Effect::Idempotent)]).await;
    let until = store.approve(&run_id, 0).await.unwrap().execution.unwrap().created_at_ms + 300;
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    store.finish_call(call.ticket(), Ended::Lost("gone".to_owned()), Vec::new()).await.unwrap();
    wait_until(until).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::NotStartable));
    assert_eq!(store.call(&run_id).await.standing, Standing::Unknown);
    // And of one whose start is only then found to be lost: no attempt is left in time.
    let run_id = store.paused(&[required().valid_for_ms(300).effect(kern_db::Effect::Idempotent)]).await;
    let until = store.approve(&run_id, 0).await.unwrap().execution.unwrap().created_at_ms + 300;
    let call = store.start(&store.resumed(&run_id).await, 0).await;
    wait_until(until).await;
    store.finish_call(call.ticket(), Ended::Lost("gone".to_owned()), Vec::new()).await.unwrap();
    assert_eq!(store.call(&run_id).await.execution.unwrap().status, ExecutionStatus::Unknown);
    assert_eq!((store.count(&run_id, "retry").await, store.count(&run_id, "unknown").await), (0, 1));
    // By the claim of the run as well.
    let run_id = store.paused(&[required().valid_for_ms(300).effect(kern_db::Effect::Transactional)]).await;
    let until = store.approve(&run_id, 0).await.unwrap().execution.unwrap().created_at_ms + 300;
    let claim = store.resumed(&run_id).await;
    store.renew_run(claim.clone(), 0).await.unwrap();
    let _gone = store.start_and_die(&claim, 0).await;
    store.recover_run(run_id.clone()).await.unwrap();
    wait_until(until).await;
    let blocked = store.claim_as(&run_id, Caller::Worker).await.unwrap();
    assert!(matches!(blocked, RunClaimed::Blocked(_)), "{blocked:?}");
    assert_eq!(store.call(&run_id).await.standing, Standing::Unknown);
}

async fn i10_allow_self_counts_at_the_vote_and_when_settling(store: &Store) {
    for allowed in [false, true] {
        let policy = required().allow_self(allowed);
        let run_id = store.paused(&[policy]).await;
        assert_eq!(vote(store, &run_id, REQUESTER).await.is_ok(), allowed);
        if !allowed {
            vote(store, &run_id, APPROVER).await.unwrap();
        }
        let id = lose(store, &store.resumed(&run_id).await).await;
        let again = store.settle_execution(&id, Settlement::run_again().by(REQUESTER).note("again")).await;
        assert_eq!(again.is_ok(), allowed, "{again:?}");
        if !allowed {
            let end = store.settle_execution(&id, Settlement::succeeded("x").by(REQUESTER).note("seen")).await;
            assert!(matches!(end, Err(Error::NotPermitted { .. })), "{end:?}");
            continue;
        }
        // Asked anew of the same people, of whom one is the requester.
        assert_eq!(vote(store, &run_id, REQUESTER).await.unwrap().status, ApprovalStatus::Approved);
        let id = lose(store, &store.resumed(&run_id).await).await;
        let end = store.settle_execution(&id, Settlement::succeeded("x").by(REQUESTER).note("seen")).await;
        assert_eq!(end.unwrap().status, ExecutionStatus::Succeeded);
    }
}

/// A retry has a lease of its own, renewed by its own ticket.
async fn r10_a_start_that_was_made_again_is_kept_alive_as_any_other(store: &Store) {
    let run_id = store.paused(&[required().effect(kern_db::Effect::Idempotent)]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    store.renew_run(claim.clone(), 0).await.unwrap();
    let first = store.start_and_die(&claim, 0).await;
    store.recover_run(run_id.clone()).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let second = store.start_and_die(&claim, 0).await;
    // The start that was given up renews nothing any more.
    let given_up = store.renew_call(first.ticket(), LONG, LONG).await;
    assert!(matches!(given_up, Err(Error::NotMine { .. })), "{given_up:?}");
    store.renew_call(second.ticket(), LONG, LONG).await.unwrap();
    store.recover_run(run_id.clone()).await.unwrap();
    let execution = store.call(&run_id).await.execution.unwrap();
    assert_eq!((execution.status, execution.attempt, execution.fence), (ExecutionStatus::Executing, 2, 2));
    assert_ne!(first.ticket(), second.ticket());
    store.succeed(&second).await;
    store.complete(&claim).await.unwrap();
}

on_each_store! {
    i10_allow_self_counts_at_the_vote_and_when_settling,
    i15_an_end_counts_at_the_vote_at_the_claim_and_in_a_retry,
    r10_a_start_that_was_made_again_is_kept_alive_as_any_other,
    x11_the_same_people_are_asked_in_the_same_way,
    x11_time_starts_anew,
}
