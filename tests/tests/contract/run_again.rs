//! X9 by a probe, and X11: a call whose end nobody knows is run again, by order and not by itself.

use kern_db::{
    Actor, Answered, ApprovalStatus, AskAgain, Blocker, CallClaim, CallClaimed, CallPolicy, Caller, CommitTurn, Effect,
    Ended, Error, ExecutionStatus, Finished, NewAnswer, PauseType, Resolution, RunClaim, RunClaimed, RunId, RunStatus,
    Settlement, Standing, Tier,
};
use kern_tests::steps::{
    APPROVER, ARGUMENTS, REQUESTER, Store, answer_to, audit, call, person, required, turn, two_stage, user,
};

fn again() -> Settlement {
    Settlement::run_again().by(APPROVER).note("the host never saw it")
}

/// A run that is paused at a call with this policy whose end nobody knows, the start that was lost, and its late owner.
async fn unknown(store: &Store, policy: CallPolicy) -> (RunClaim, CallClaim) {
    let tier = policy.tier;
    let claim = if tier == Tier::Audit {
        let claim = store.started().await;
        store.commit_turn(turn(&claim, 1, &[policy], false)).await.unwrap();
        claim
    } else {
        let run_id = store.paused(&[policy]).await;
        if matches!(tier, Tier::Required | Tier::TwoStage) {
            store.approve(&run_id, 0).await.unwrap();
        }
        if matches!(tier, Tier::User | Tier::TwoStage) {
            store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
        }
        store.resumed(&run_id).await
    };
    let call = store.start(&claim, 0).await;
    let lost = store.finish_call(call.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await;
    assert_eq!(lost.unwrap(), Finished::Recorded);
    store.pause_run(claim.clone(), "{}".to_owned(), true).await.unwrap();
    (claim, call)
}

/// I9. The other system may have acted on the call before, so that a person still says how it ended.
async fn x11_what_its_requester_has_rejected_is_not_run_again(store: &Store) {
    let run_id = store.paused(&[CallPolicy::new(Tier::Required, Some(PauseType::ExternalExecution))]).await;
    store.approve(&run_id, 0).await.unwrap();
    store.answer(&run_id, 0, NewAnswer::Reject(None)).await.unwrap();
    let execution = store.call(&run_id).await.execution.unwrap();
    assert_eq!(execution.status, ExecutionStatus::Unknown, "its gate was open");
    let refused = store.settle_execution(&execution.id, again()).await;
    assert!(matches!(refused, Err(Error::ExecutionConflict { .. })), "{refused:?}");
    let ended = Settlement::abandoned().by(APPROVER).note("the other system never saw it");
    store.settle_execution(&execution.id, ended).await.unwrap();
}

async fn x9_a_settlement_has_a_reason(store: &Store) {
    let (claim, call) = store.unknown().await;
    let id = call.ticket().execution_id().clone();
    for settlement in
        [Settlement::succeeded("paid"), Settlement::failed("no"), Settlement::abandoned(), Settlement::run_again()]
    {
        for settlement in [settlement.clone(), settlement.clone().note(""), settlement.note(" \n\t")] {
            let refused = store.settle_execution(&id, settlement.by(APPROVER)).await.unwrap_err();
            assert_eq!(refused.code(), "reason_required", "{refused}");
        }
    }
    assert_eq!(store.call(&claim.run_id).await.standing, Standing::Unknown);
}

async fn x9_a_probe_settles_only_what_is_unknown(store: &Store) {
    let (claim, call) = store.executing().await;
    let id = call.ticket().execution_id().clone();
    let early = store.settle_probed(id.clone(), Settlement::succeeded("paid")).await;
    assert!(matches!(early, Err(Error::ExecutionConflict { found: ExecutionStatus::Executing, .. })), "{early:?}");
    store.finish_call(call.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await.unwrap();
    let order = store.settle_probed(id.clone(), Settlement::run_again()).await;
    assert!(matches!(order, Err(Error::Invalid(_))), "a probe orders nothing: {order:?}");
    let settled = store.settle_probed(id.clone(), Settlement::succeeded("paid")).await.unwrap();
    assert_eq!((settled.status, settled.result.as_deref()), (ExecutionStatus::Succeeded, Some("paid")));
    assert!(settled.settled_by.is_some() && settled.note.is_some());
    let late = store.settle_probed(id, Settlement::failed("no")).await;
    assert!(matches!(late, Err(Error::ExecutionConflict { .. })), "{late:?}");
    let last = kern_tests::history::entries(&**store).await.pop().unwrap();
    assert_eq!((last.action.as_str(), last.actor), ("settled", Actor::Probe));
    store.complete(&claim).await.unwrap();
}

/// Schedule 7: a new row; the old approval cannot start it; the same key; the zombie changes nothing.
async fn schedule_7_what_is_run_again_is_asked_anew(store: &Store) {
    for policy in [required(), two_stage(), required().effect(Effect::Idempotent)] {
        // An idempotent call is unknown after its last start.
        let lost_starts = if policy.effect == Effect::Idempotent { kern_db::ATTEMPTS } else { 1 };
        let run_id = store.paused(std::slice::from_ref(&policy)).await;
        let old = store.approve(&run_id, 0).await.unwrap();
        if policy.tier == Tier::TwoStage {
            store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
        }
        let claim = store.resumed(&run_id).await;
        let mut zombies = Vec::new();
        for _ in 0..lost_starts {
            let call = store.start(&claim, 0).await;
            store.finish_call(call.ticket(), Ended::Lost("gone".to_owned()), Vec::new()).await.unwrap();
            zombies.push(call);
        }
        store.pause_run(claim, "{}".to_owned(), true).await.unwrap();
        let before = store.call(&run_id).await;
        assert_eq!(before.standing, Standing::Unknown);

        let settled = store.settle_execution(&before.execution.unwrap().id, again()).await.unwrap();
        assert_eq!((settled.status, settled.attempt), (ExecutionStatus::Abandoned, lost_starts));
        let after = store.call(&run_id).await;
        let new = after.approval.clone().unwrap();
        assert_eq!((after.generation, new.status, &after.execution), (1, ApprovalStatus::Pending, &None));
        assert_eq!((&after.digest, &after.arguments), (&before.digest, &before.arguments));
        assert_ne!((&new.id, &after.requirement_id), (&old.id, &before.requirement_id));
        assert_eq!(after.earlier_requirement_ids, [before.requirement_id]);
        assert_eq!((after.answer, after.standing), (None, Standing::AwaitsApproval));

        // Nothing that was said before starts it.
        let blocked = store.claim_as(&run_id, person(REQUESTER)).await.unwrap();
        assert_eq!(
            blocked,
            RunClaimed::Blocked(vec![Blocker::AwaitsApproval { approval_id: new.id.clone(), index: 0 }])
        );
        let replayed = Resolution::approved().by("eve").digest(&old.digest);
        let replayed = store.update_approval(&old.id, ApprovalStatus::Pending, replayed).await;
        assert!(matches!(replayed, Err(Error::Conflict { .. })), "{replayed:?}");
        for zombie in &zombies {
            let late = store.finish_call(zombie.ticket(), Ended::Succeeded("zombie".to_owned()), Vec::new()).await;
            assert_eq!(late.unwrap(), Finished::Late);
        }
        assert_eq!(store.call(&run_id).await.standing, Standing::AwaitsApproval);

        store.approve(&run_id, 0).await.unwrap();
        if policy.tier == Tier::TwoStage {
            // The confirmation was for the first time, and is not implied for the second.
            let blocked = store.claim_as(&run_id, person(REQUESTER)).await.unwrap();
            assert!(matches!(blocked, RunClaimed::Blocked(_)), "{blocked:?}");
            let stale = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, ARGUMENTS);
            assert_eq!(
                store.answer_call(stale).await.unwrap(),
                Answered::Outdated,
                "an older requirement is no answer"
            );
            store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
        }
        let claim = store.resumed(&run_id).await;
        let call = store.start(&claim, 0).await;
        assert_eq!(call.ticket().execution_id().as_str(), new.id.as_str());
        assert_eq!((call.attempt(), call.idempotency_key()), (1, zombies[0].idempotency_key()));
        for zombie in &zombies {
            let late = store.finish_call(zombie.ticket(), Ended::Failed("zombie".to_owned()), Vec::new()).await;
            assert_eq!(late.unwrap(), Finished::Late);
        }
        store.succeed(&call).await;
        store.complete(&claim).await.unwrap();
        assert_eq!(store.starts(&run_id).await, lost_starts as usize + 1);
        assert_eq!(store.count(&run_id, "run_again").await, 1);
    }
}

async fn x11_the_requester_is_asked_anew(store: &Store) {
    let (claim, zombie) = unknown(store, user().record(true)).await;
    let run_id = claim.run_id;
    let before = store.call(&run_id).await;
    store.settle_execution(zombie.ticket().execution_id(), again()).await.unwrap();
    let after = store.call(&run_id).await;
    assert_eq!((after.answer, after.generation, after.standing), (None, 1, Standing::AwaitsRequester));
    assert!(matches!(store.claim_as(&run_id, person(REQUESTER)).await.unwrap(), RunClaimed::Blocked(_)));
    let stale = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, ARGUMENTS);
    assert_eq!(store.answer_call(stale).await.unwrap(), Answered::Outdated);
    store.answer(&run_id, 0, NewAnswer::Confirm).await.unwrap();
    let record = store.approval(&run_id).await;
    assert_ne!(Some(record.id), before.approval.map(|approval| approval.id), "each yes has its record");
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    assert_eq!(call.idempotency_key(), zombie.idempotency_key());
    store.succeed(&call).await;
    store.complete(&claim).await.unwrap();

    // A no is as good as ever.
    let (claim, zombie) = unknown(store, user()).await;
    store.settle_execution(zombie.ticket().execution_id(), again()).await.unwrap();
    store.answer(&claim.run_id, 0, NewAnswer::Reject(None)).await.unwrap();
    let claim = store.resumed(&claim.run_id).await;
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::Over));
    assert_eq!(store.starts(&claim.run_id).await, 1);
}

async fn x11_a_bare_audit_call_is_ready_at_once(store: &Store) {
    let (claim, zombie) = unknown(store, audit()).await;
    let run_id = claim.run_id;
    store.settle_execution(zombie.ticket().execution_id(), again()).await.unwrap();
    let after = store.call(&run_id).await;
    let execution = after.execution.unwrap();
    assert_eq!((execution.status, execution.attempt, execution.generation), (ExecutionStatus::Ready, 0, 1));
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    assert_eq!((call.idempotency_key(), call.attempt()), (zombie.idempotency_key(), 1));
    assert_ne!(call.ticket().execution_id(), zombie.ticket().execution_id());
    let late = store.finish_call(zombie.ticket(), Ended::Succeeded("zombie".to_owned()), Vec::new()).await;
    assert_eq!(late.unwrap(), Finished::Late);
    store.succeed(&call).await;
    store.complete(&claim).await.unwrap();
    assert_eq!(store.count(&run_id, "recorded").await, 2);
}

async fn x11_only_somebody_else_orders_it_of_what_is_unknown_in_a_run_that_goes_on(store: &Store) {
    let (claim, call) = unknown(store, required()).await;
    let id = call.ticket().execution_id().clone();
    let own = store.settle_execution(&id, Settlement::run_again().by(REQUESTER).note("again!")).await;
    assert!(matches!(own, Err(Error::NotPermitted { .. })), "{own:?}");
    assert_eq!(store.call(&claim.run_id).await.standing, Standing::Unknown);
    store.settle_execution(&id, again()).await.unwrap();
    let twice = store.settle_execution(&id, again()).await;
    assert!(matches!(twice, Err(Error::ExecutionConflict { found: ExecutionStatus::Abandoned, .. })), "{twice:?}");

    // Its run has ended: there is nobody to tell.
    let (claim, call) = unknown(store, required()).await;
    store.cancel_run(claim.run_id.clone(), Caller::Anonymous).await.unwrap();
    let late = store.settle_execution(call.ticket().execution_id(), again()).await;
    assert!(matches!(late, Err(Error::RunConflict { found: RunStatus::Cancelled, .. })), "{late:?}");
    assert_eq!(store.call(&claim.run_id).await.standing, Standing::Unknown);
    store
        .settle_execution(call.ticket().execution_id(), Settlement::abandoned().by(APPROVER).note("it is over"))
        .await
        .unwrap();

    // While its run is driven still.
    let (claim, call) = store.unknown().await;
    store.settle_execution(call.ticket().execution_id(), again()).await.unwrap();
    assert!(matches!(store.claim(&claim, 0).await.unwrap(), CallClaimed::NotStartable));
    store.approve(&claim.run_id, 0).await.unwrap();
    store.succeed(&store.start(&claim, 0).await).await;
    store.complete(&claim).await.unwrap();
}

async fn x11_of_many_orders_one_counts(store: &Store) {
    for _ in 0..4 {
        let (claim, call) = unknown(store, required()).await;
        let handles = [store.shared(), store.second().await];
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let (db, id) = (handles[number % 2].clone(), call.ticket().execution_id().clone());
                let settlement =
                    if number % 3 == 0 { Settlement::succeeded("paid").by("eve").note("seen") } else { again() };
                tokio::spawn(async move { db.settle_execution(&id, settlement).await.is_ok() })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            won += usize::from(task.await.unwrap());
        }
        assert_eq!(won, 1);
        let words = store.words(&claim.run_id).await;
        assert_eq!(
            words.iter().filter(|word| ["settled", "run_again"].contains(&word.as_str())).count(),
            1,
            "{words:?}"
        );
    }
}

async fn x11_what_may_have_run_keeps_its_words_and_its_key(store: &Store) {
    let (claim, call) = unknown(store, required()).await;
    let run_id = claim.run_id;
    store.settle_execution(call.ticket().execution_id(), again()).await.unwrap();
    let approval = store.approval(&run_id).await;
    let edit = Resolution::approved().by("eve").data(serde_json::json!({ "edited_args": { "amount": 1, "to": "me" } }));
    let edited = store.update_approval(&approval.id, ApprovalStatus::Pending, edit).await;
    assert!(matches!(edited, Err(Error::NotEditable { .. })), "{edited:?}");

    // What a user filled in is confirmed as it is.
    let policy = CallPolicy::new(Tier::User, Some(PauseType::UserInput));
    let run_id = store.paused(&[policy]).await;
    let filled = r#"{"amount":7,"to":"y"}"#;
    store.answer(&run_id, 0, NewAnswer::Input(filled.to_owned())).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let lost = store.start(&claim, 0).await;
    store.finish_call(lost.ticket(), Ended::Lost("gone".to_owned()), Vec::new()).await.unwrap();
    store.pause_run(claim, "{}".to_owned(), true).await.unwrap();
    store.settle_execution(lost.ticket().execution_id(), again()).await.unwrap();
    let other = store.answer(&run_id, 0, NewAnswer::Input(r#"{"amount":8,"to":"y"}"#.to_owned())).await;
    assert!(matches!(other, Err(Error::Invalid(_))), "{other:?}");
    let answer =
        if store.call(&run_id).await.unfilled.is_empty() { NewAnswer::Confirm } else { panic!("it is filled") };
    assert_eq!(store.answer(&run_id, 0, answer).await.unwrap(), Answered::Stored);
    let again = NewAnswer::Input(filled.to_owned());
    assert_ne!(store.answer(&run_id, 0, again).await.unwrap(), Answered::Stored);
    let claim = store.resumed(&run_id).await;
    let call = store.start(&claim, 0).await;
    assert_eq!((call.arguments(), call.idempotency_key()), (filled, lost.idempotency_key()));
}

/// A tool that has changed would give it another key: an older build runs it, or nobody does.
async fn x11_what_may_have_run_is_not_asked_again_with_another_tool(store: &Store) {
    let (claim, lost) = unknown(store, required()).await;
    let run_id = claim.run_id;
    store.settle_execution(lost.ticket().execution_id(), again()).await.unwrap();
    let run = store.get_run(&run_id).await.unwrap();
    let mut changed = call(0, required());
    changed.tool_version = "2".to_owned();
    let asked = AskAgain {
        run_id: run_id.clone(),
        fence: run.fence,
        turn: run.turn,
        caller: Caller::Anonymous,
        snapshot: "{}".to_owned(),
        calls: vec![changed],
    };
    let refused = store.ask_again(asked).await;
    assert!(matches!(refused, Err(Error::RunConflict { .. })), "{refused:?}");
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    assert_eq!(store.start(&claim, 0).await.idempotency_key(), lost.idempotency_key());
}

/// The requirement is shown under an id of its own, in the row as well.
async fn x11_the_new_requirement_has_its_own_id(store: &Store) {
    let claim = store.started().await;
    let mut asked = call(0, required());
    asked.requirements = serde_json::json!([{ "id": asked.requirement_id, "tool_name": "pay" }]);
    let before = asked.requirement_id.clone();
    store.commit_turn(CommitTurn { calls: vec![asked], ..turn(&claim, 1, &[], true) }).await.unwrap();
    let run_id = claim.run_id;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let lost = store.start(&claim, 0).await;
    store.finish_call(lost.ticket(), Ended::Lost("gone".to_owned()), Vec::new()).await.unwrap();
    store.settle_execution(lost.ticket().execution_id(), again()).await.unwrap();
    let call = store.call(&run_id).await;
    let shown = call.approval.unwrap().requirements.unwrap();
    assert_eq!(shown[0]["id"].as_str(), Some(call.requirement_id.as_str()));
    assert_ne!(call.requirement_id, before);
    assert_eq!(shown[0]["tool_name"].as_str(), Some("pay"));
}

async fn x11_may_be_ordered_again_and_again(store: &Store) {
    let (claim, call) = unknown(store, required()).await;
    let run_id: RunId = claim.run_id;
    let (mut id, key) = (call.ticket().execution_id().clone(), call.idempotency_key().to_owned());
    for generation in 1..4 {
        store.settle_execution(&id, again()).await.unwrap();
        store.approve(&run_id, 0).await.unwrap();
        let claim = store.resumed(&run_id).await;
        let call = store.start(&claim, 0).await;
        assert_eq!(call.idempotency_key(), key);
        store.finish_call(call.ticket(), Ended::Lost("gone".to_owned()), Vec::new()).await.unwrap();
        store.pause_run(claim, "{}".to_owned(), true).await.unwrap();
        assert_eq!(store.call(&run_id).await.generation, generation);
        assert_ne!(&id, call.ticket().execution_id());
        id = call.ticket().execution_id().clone();
    }
    assert_eq!(store.starts(&run_id).await, 4);
}

on_each_store! {
    schedule_7_what_is_run_again_is_asked_anew,
    x11_a_bare_audit_call_is_ready_at_once,
    x11_may_be_ordered_again_and_again,
    x11_of_many_orders_one_counts,
    x11_only_somebody_else_orders_it_of_what_is_unknown_in_a_run_that_goes_on,
    x11_the_new_requirement_has_its_own_id,
    x11_the_requester_is_asked_anew,
    x11_what_its_requester_has_rejected_is_not_run_again,
    x11_what_may_have_run_is_not_asked_again_with_another_tool,
    x11_what_may_have_run_keeps_its_words_and_its_key,
    x9_a_probe_settles_only_what_is_unknown,
    x9_a_settlement_has_a_reason,
}
