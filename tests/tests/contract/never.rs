//! I9: what may not run does not, by any way in, whoever asks, and however often.

use kern_db::{
    ApprovalStatus, CallClaimed, Caller, Ended, NewAnswer, Principal, Resolution, RunClaim, RunClaimed, RunId,
    Settlement,
};
use kern_tests::steps::{APPROVER, REQUESTER, Store, call, person, required, turn, two_stage, user, wait_until};

/// Why a call may not run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Closed {
    /// Nobody has decided.
    Pending,
    Rejected,
    Expired,
    DeletedWhilePending,
    DeletedWhenApproved,
    /// Its run was cancelled while it waited, or when it was approved.
    CancelledWhilePending,
    CancelledWhenApproved,
    RequesterSaidNo,
    /// The requester said no after the administrator's yes.
    RequesterSaidNoLast,
    /// Two stages, and only the administrator has decided.
    NotConfirmed,
    /// Two stages, and only the requester has.
    NotApproved,
    /// The user's own tier, and nobody has answered.
    NotAnswered,
    /// Approved, and not used in time.
    TooLate,
    /// It has run, and failed.
    Failed,
    /// It has started, and nobody knows its end.
    Unknown,
    /// A human has given it up.
    GivenUp,
}

const ALL: [Closed; 16] = [
    Closed::Pending,
    Closed::Rejected,
    Closed::Expired,
    Closed::DeletedWhilePending,
    Closed::DeletedWhenApproved,
    Closed::CancelledWhilePending,
    Closed::CancelledWhenApproved,
    Closed::RequesterSaidNo,
    Closed::RequesterSaidNoLast,
    Closed::NotConfirmed,
    Closed::NotApproved,
    Closed::NotAnswered,
    Closed::TooLate,
    Closed::Failed,
    Closed::Unknown,
    Closed::GivenUp,
];

/// A run whose only call may not run, and how often it has started before.
async fn closed(store: &Store, why: Closed) -> (RunId, usize) {
    let policy = match why {
        Closed::Expired => required().expires_in_ms(1),
        Closed::TooLate => required().valid_for_ms(1),
        Closed::NotConfirmed | Closed::NotApproved | Closed::RequesterSaidNoLast => two_stage(),
        Closed::NotAnswered => user(),
        _ => required(),
    };
    if matches!(why, Closed::Failed | Closed::Unknown | Closed::GivenUp) {
        let (claim, call) = store.executing().await;
        let ended = match why {
            Closed::Failed => Ended::Failed("no".to_owned()),
            _ => Ended::Lost("gone".to_owned()),
        };
        store.finish_call(call.ticket(), ended, Vec::new()).await.unwrap();
        store.pause_run(claim.clone(), "{}".to_owned(), true).await.unwrap();
        if why == Closed::GivenUp {
            let settlement = Settlement::abandoned().by(APPROVER).note("looked");
            store.settle_execution(call.ticket().execution_id(), settlement).await.unwrap();
        }
        return (claim.run_id, 1);
    }
    let run_id = store.paused(&[policy]).await;
    let id = async || store.approval_id(&run_id, 0).await;
    match why {
        Closed::Pending | Closed::NotAnswered => {}
        Closed::Rejected => drop(store.refuse(&run_id, 0).await.unwrap()),
        Closed::Expired => wait_until(store.approval(&run_id).await.expires_at.unwrap() * 1000).await,
        Closed::DeletedWhilePending => store.delete_approval(&id().await).await.unwrap(),
        Closed::DeletedWhenApproved => {
            store.approve(&run_id, 0).await.unwrap();
            store.delete_approval(&id().await).await.unwrap();
        }
        Closed::CancelledWhilePending => store.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap(),
        Closed::CancelledWhenApproved => {
            store.approve(&run_id, 0).await.unwrap();
            store.cancel_run(run_id.clone(), Caller::Anonymous).await.unwrap();
        }
        Closed::RequesterSaidNo => drop(store.answer(&run_id, 0, NewAnswer::Reject(None)).await.unwrap()),
        Closed::RequesterSaidNoLast => {
            store.approve(&run_id, 0).await.unwrap();
            store.answer(&run_id, 0, NewAnswer::Reject(None)).await.unwrap();
        }
        Closed::NotConfirmed => drop(store.approve(&run_id, 0).await.unwrap()),
        Closed::NotApproved => drop(store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap()),
        Closed::TooLate => {
            let ready = store.approve(&run_id, 0).await.unwrap().execution.unwrap();
            wait_until(ready.created_at_ms + 2).await;
        }
        Closed::Failed | Closed::Unknown | Closed::GivenUp => unreachable!("returned above"),
    }
    (run_id, 0)
}

/// Claims the call with whatever a claim of its run gives, and lets the run go again. How often it could.
async fn claims(store: &Store, claimed: RunClaimed) -> usize {
    let RunClaimed::Claimed(claim) = claimed else { return 0 };
    let started = matches!(store.claim(&claim, 0).await, Ok(CallClaimed::Claimed(_)));
    store.pause_run(claim, "{}".to_owned(), false).await.unwrap();
    usize::from(started)
}

/// Every way in, by one caller. How many of them gave a claim of the call.
async fn ways_in(store: &Store, run_id: &RunId, caller: &Caller) -> usize {
    let mut started = 0;
    // The run, then its call.
    started += claims(store, store.claim_run(store.load(run_id, caller.clone()).await).await.unwrap()).await;
    // Both at once, by the digest of what is there.
    let (load, digest) = (store.load(run_id, caller.clone()).await, store.call(run_id).await.digest);
    let (claimed, call) = store.claim_run_and_call(load, digest).await.unwrap();
    started += usize::from(call.is_some()) + claims(store, claimed).await;
    // With the claim of another run, and with a fence that is to come.
    let other = store.started().await;
    for fence in [0, 1, 2] {
        let mut forged: RunClaim = other.clone();
        forged.run_id = run_id.clone();
        forged.fence = store.get_run(run_id).await.unwrap().fence + fence;
        started += usize::from(matches!(store.claim(&forged, 0).await, Ok(CallClaimed::Claimed(_))));
        let more = store.commit_turn(turn(&forged, 2, &[required()], false)).await;
        assert!(more.is_err(), "somebody else's claim is none");
    }
    // Recovering and looking over are no ways in.
    store.recover_run(run_id.clone()).await.unwrap();
    store.sweep_run(run_id.clone()).await.unwrap();
    started + claims(store, store.claim_run(store.load(run_id, caller.clone()).await).await.unwrap()).await
}

async fn i9_what_may_not_run_does_not_by_any_way_in(store: &Store) {
    let agent = Caller::Person(Principal::unverified("agent"));
    let mut tried = 0;
    for why in ALL {
        for caller in [Caller::Worker, person(REQUESTER), person("carol"), Caller::Anonymous, agent.clone()] {
            // Who asked confirms by going on: that is the one way in that is meant.
            let requester = matches!(&caller, Caller::Anonymous) || caller == person(REQUESTER);
            if why == Closed::NotConfirmed && requester {
                continue;
            }
            let (run_id, before) = closed(store, why).await;
            assert_eq!(ways_in(store, &run_id, &caller).await, 0, "{why:?} by {caller:?}");
            // A second opinion does not open what is closed.
            let open =
                matches!(why, Closed::Pending | Closed::NotApproved | Closed::NotConfirmed | Closed::NotAnswered);
            if !open {
                let shown = store.call(&run_id).await;
                if let Some(approval) = &shown.approval {
                    for expected in [ApprovalStatus::Pending, approval.status] {
                        let yes = Resolution::approved().by(APPROVER).digest(approval.digest.clone());
                        assert!(store.update_approval(&approval.id, expected, yes).await.is_err(), "{why:?}");
                    }
                }
                // The answer of somebody who is not asked is no error, and no answer.
                let _ = store.answer(&run_id, 0, NewAnswer::Confirm).await;
                assert_eq!(ways_in(store, &run_id, &caller).await, 0, "{why:?} by {caller:?}, once more");
            }
            assert_eq!(store.starts(&run_id).await, before, "{why:?} by {caller:?}");
            tried += 1;
        }
    }
    kern_tests::scale::figure("kinds of closed gates by callers, each by every way in of the store", tried);
    kern_tests::scale::figure("executions among them", 0);
}

/// What is not there starts nothing: no run, no call, no turn of that number.
async fn i9_what_is_missing_starts_nothing(store: &Store) {
    let run_id = store.paused(&[required()]).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    for (turn, index) in [(1, 1), (2, 0), (0, 0), (u32::MAX, u32::MAX)] {
        let request = kern_db::ClaimCall {
            claim: claim.clone(),
            turn,
            index,
            lease_ms: 1_000,
            owner: kern_db::OwnerToken::fresh(),
        };
        assert!(store.claim_call(request).await.is_err(), "{turn}/{index}");
    }
    let nowhere = RunClaim::first(&RunId::generate());
    assert!(store.claim(&nowhere, 0).await.is_err());
    assert!(store.commit_turn(turn(&nowhere, 1, &[required()], true)).await.is_err());
    let load = kern_db::ClaimRun {
        run_id: nowhere.run_id.clone(),
        fence: 1,
        turn: 1,
        loaded: String::new(),
        caller: Caller::Worker,
        lease_ms: 1_000,
        owner: kern_db::OwnerToken::fresh(),
    };
    assert!(store.claim_run(load.clone()).await.is_err());
    assert!(store.claim_run_and_call(load, call(0, required()).schema_hash).await.is_err());
    assert!(store.recover_run(nowhere.run_id).await.is_err());
    assert_eq!(store.starts(&run_id).await, 0);
}

on_each_store! {
    i9_what_is_missing_starts_nothing,
    i9_what_may_not_run_does_not_by_any_way_in,
}
