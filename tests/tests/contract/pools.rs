//! Pools: who may decide where a policy names one.

use kern_db::{Approval, ApprovalStatus, DbExt as _, Error, Principal, Resolution, RunId};
use kern_tests::steps::{REQUESTER, Store, audit, required, turn, user};
use serde_json::json;

async fn a_pool_is_set_listed_and_on_record(store: &Store) {
    let set = store.set_pool("finance", ["ann", "bob"]).await.unwrap();
    assert_eq!((set.name.as_str(), &set.members[..]), ("finance", &["ann".to_owned(), "bob".to_owned()][..]));
    let by = Some(Principal::unverified("root"));
    let set = store.write_pool("finance".to_owned(), vec!["bob".to_owned()], by.clone()).await.unwrap();
    assert_eq!((set.set_by, set.members.len()), (by, 1));
    store.set_pool("audit", Vec::<String>::new()).await.unwrap();
    let names: Vec<_> = store.list_pools().await.unwrap().into_iter().map(|pool| pool.name).collect();
    assert_eq!(names, ["audit", "finance"]);
    assert_eq!(store.pools_now().unwrap(), store.list_pools().await.unwrap());
    let entries = kern_tests::history::entries(&**store).await;
    assert_eq!(entries.iter().filter(|entry| entry.action == "pool_set" && entry.run_id.is_none()).count(), 3);
    for (name, members) in [("", vec!["ann"]), ("a b", vec!["ann"]), ("x", vec![""]), ("x", vec!["ann", "ann"])] {
        let refused = store.set_pool(name, members).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
}

async fn i10_only_who_is_in_the_pool_decides(store: &Store) {
    store.set_pool("finance", ["ann", "ana"]).await.unwrap();
    let run_id = store.paused(&[required().pool("finance")]).await;
    let approval = store.approval(&run_id).await;
    assert_eq!(approval.pool.as_deref(), Some("finance"));
    let decide = |resolution: Resolution| store.update_approval(&approval.id, ApprovalStatus::Pending, resolution);
    for refused in [
        Resolution::approved().by("bob"),
        Resolution::rejected().by("bob"),
        Resolution::approved(),
        Resolution::rejected(),
        // In the pool, but it is their own call.
        Resolution::approved().by("ana"),
    ] {
        let refused = decide(refused).await;
        assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
    }
    assert_eq!(store.count(&run_id, "[vote_refused]").await, 5);
    let approved = decide(Resolution::approved().by("ann")).await.unwrap();
    assert_eq!(approved.status, ApprovalStatus::Approved);
}

async fn vote(store: &Store, run_id: &RunId, who: &str) -> Result<Approval, Error> {
    let seen = store.approval(run_id).await;
    let yes = Resolution::approved().by(who).digest(seen.digest);
    store.update_approval(&seen.id, ApprovalStatus::Pending, yes).await
}

async fn i10_a_pool_that_nobody_set_or_of_nobody_lets_nobody_decide(store: &Store) {
    store.set_pool("empty", Vec::<String>::new()).await.unwrap();
    for name in ["unknown", "empty"] {
        let run_id = store.paused(&[required().pool(name)]).await;
        let id = store.approval_id(&run_id, 0).await;
        for resolution in [Resolution::approved(), Resolution::rejected()] {
            for resolution in [resolution.clone(), resolution.clone().by("ann"), resolution.by("")] {
                let refused = store.update_approval(&id, ApprovalStatus::Pending, resolution).await;
                assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
            }
        }
        // As soon as there is somebody, they decide.
        store.set_pool(name, ["ann"]).await.unwrap();
        assert_eq!(vote(store, &run_id, "ann").await.unwrap().status, ApprovalStatus::Approved);
    }
}

async fn i10_whoever_left_the_pool_has_no_vote_at_the_last_one(store: &Store) {
    store.set_pool("finance", ["ann", "bob", "carol"]).await.unwrap();
    let run_id = store.paused(&[required().pool("finance").quorum(2)]).await;
    assert_eq!(vote(store, &run_id, "ann").await.unwrap().status, ApprovalStatus::Pending);
    store.set_pool("finance", ["bob", "carol"]).await.unwrap();
    let pending = vote(store, &run_id, "bob").await.unwrap();
    assert_eq!((pending.status, pending.votes.len()), (ApprovalStatus::Pending, 2), "one of the two has left");
    assert!(matches!(vote(store, &run_id, "ann").await, Err(Error::NotPermitted { .. })));
    assert!(matches!(vote(store, &run_id, "bob").await, Err(Error::NotPermitted { .. })), "once each");
    assert_eq!(vote(store, &run_id, "carol").await.unwrap().status, ApprovalStatus::Approved);
    // What was approved stays approved, whoever leaves.
    store.set_pool("finance", Vec::<String>::new()).await.unwrap();
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 0).await).await;
    store.complete(&claim).await.unwrap();
}

async fn i10_whoever_comes_back_has_voted(store: &Store) {
    store.set_pool("finance", ["ann", "bob", "carol"]).await.unwrap();
    let run_id = store.paused(&[required().pool("finance").quorum(3)]).await;
    vote(store, &run_id, "ann").await.unwrap();
    store.set_pool("finance", ["bob", "carol"]).await.unwrap();
    vote(store, &run_id, "bob").await.unwrap();
    store.set_pool("finance", ["ann", "bob", "carol"]).await.unwrap();
    assert_eq!(vote(store, &run_id, "carol").await.unwrap().status, ApprovalStatus::Approved);
    let claim = store.resumed(&run_id).await;
    let _started = store.start(&claim, 0).await;
}

async fn i10_a_pool_decides_about_edits_and_rejections_too(store: &Store) {
    store.set_pool("finance", ["ann"]).await.unwrap();
    let run_id = store.paused(&[required().pool("finance")]).await;
    let id = store.approval_id(&run_id, 0).await;
    let edit = || Resolution::approved().data(json!({ "edited_args": { "amount": 1, "to": "y" } }));
    let refused = store.update_approval(&id, ApprovalStatus::Pending, edit().by("eve")).await;
    assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{refused:?}");
    assert_eq!(store.call(&run_id).await.version, 0);
    let edited = store.update_approval(&id, ApprovalStatus::Pending, edit().by("ann")).await.unwrap();
    assert_eq!((edited.status, edited.version), (ApprovalStatus::Approved, 1));
    let run_id = store.paused(&[required().pool("finance").quorum(2)]).await;
    let id = store.approval_id(&run_id, 0).await;
    let rejected = store.update_approval(&id, ApprovalStatus::Pending, Resolution::rejected().by("ann")).await.unwrap();
    assert_eq!(rejected.status, ApprovalStatus::Rejected, "one no of somebody in it is enough");
}

async fn i10_a_name_is_compared_as_everywhere(store: &Store) {
    store.set_pool("finance", ["ann"]).await.unwrap();
    for who in ["Ann", "ann ", "an", "annn", "\u{430}nn"] {
        let run_id = store.paused(&[required().pool("finance")]).await;
        assert!(matches!(vote(store, &run_id, who).await, Err(Error::NotPermitted { .. })), "{who:?}");
    }
    // Whoever asked is not in it for their own call, unless they may be.
    store.set_pool("own", [REQUESTER]).await.unwrap();
    let run_id = store.paused(&[required().pool("own")]).await;
    assert!(matches!(vote(store, &run_id, REQUESTER).await, Err(Error::NotPermitted { .. })));
    let run_id = store.paused(&[required().pool("own").allow_self(true)]).await;
    assert_eq!(vote(store, &run_id, REQUESTER).await.unwrap().status, ApprovalStatus::Approved);
    let run_id = store.paused(&[required().pool("finance").allow_self(true)]).await;
    assert!(
        matches!(vote(store, &run_id, REQUESTER).await, Err(Error::NotPermitted { .. })),
        "self, but not in the pool"
    );
}

async fn a1_a_pool_has_a_plain_name_and_decides_about_approvals(store: &Store) {
    for policy in [
        required().pool(""),
        required().pool("a b"),
        required().pool("-x"),
        user().pool("finance"),
        audit().pool("finance"),
    ] {
        let claim = store.started().await;
        let refused = store.commit_turn(turn(&claim, 1, &[policy], true)).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        assert!(store.get_run(&claim.run_id).await.unwrap().calls.is_empty());
    }
    // Without a pool a policy is stored as ever.
    let text = |policy| serde_json::to_value::<kern_db::CallPolicy>(policy).unwrap();
    assert!(text(required()).get("pool").is_none());
    assert_eq!(text(required().pool("finance"))["pool"], json!("finance"));
}

async fn i10_a_vote_races_leaving_the_pool(store: &Store) {
    for round in 0..10 {
        let name = format!("pool{round}");
        store.set_pool(&name, ["ann", "bob"]).await.unwrap();
        let run_id = store.paused(&[required().pool(&name).quorum(2)]).await;
        vote(store, &run_id, "ann").await.unwrap();
        let (leaving, voting) = (store.second().await, store.shared());
        let id = store.approval_id(&run_id, 0).await;
        let left = tokio::spawn(async move { leaving.set_pool(&name, ["bob"]).await });
        let yes = Resolution::approved().by("bob");
        let voted = tokio::spawn(async move { voting.update_approval(&id, ApprovalStatus::Pending, yes).await });
        left.await.unwrap().unwrap();
        let voted = voted.await.unwrap().unwrap();
        let entries = kern_tests::history::entries(&**store).await;
        let place = |found: &dyn Fn(&kern_db::AuditEntry) -> bool| entries.iter().rposition(found).unwrap();
        let left = place(&|entry| entry.action == "pool_set");
        let last_vote = place(&|entry| entry.action == "voted");
        assert_eq!(voted.status == ApprovalStatus::Approved, last_vote < left, "{round}");
    }
}

/// The newest word about a pool is found by the index, however many there are about others.
async fn what_is_asked_of_pools_and_deadlines_has_an_index(store: &Store) {
    for number in 0..600 {
        store.set_pool(format!("pool{number}"), ["ann"]).await.unwrap();
    }
    let run_id = store.paused(&[required().pool("pool0")]).await;
    assert_eq!(vote(store, &run_id, "ann").await.unwrap().status, ApprovalStatus::Approved);
    let raw = store.raw();
    for (sql, index) in [
        (
            "SELECT * FROM kern_approvals WHERE status IS ? AND expires_at <= ? ORDER BY expires_at ASC LIMIT ?",
            "approvals_due",
        ),
        (
            "SELECT * FROM kern_executions WHERE status IS ? AND valid_until_ms <= ? ORDER BY valid_until_ms ASC LIMIT ?",
            "executions_void",
        ),
        (
            "SELECT * FROM kern_audit WHERE run_id IS NULL AND turn IS NULL AND idx IS NULL AND seq <= ? ORDER BY seq DESC LIMIT ?",
            "audit_run_id",
        ),
    ] {
        let mut statement = raw.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let places = vec![rusqlite::types::Value::Null; statement.parameter_count()];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(places), |row| row.get(3))
            .and_then(Iterator::collect)
            .unwrap();
        assert!(plan.len() == 1 && plan[0].contains(index), "{sql}: {plan:?}");
    }
}

on_each_store! {
    a1_a_pool_has_a_plain_name_and_decides_about_approvals,
    a_pool_is_set_listed_and_on_record,
    i10_a_name_is_compared_as_everywhere,
    i10_a_pool_decides_about_edits_and_rejections_too,
    i10_a_pool_that_nobody_set_or_of_nobody_lets_nobody_decide,
    i10_a_vote_races_leaving_the_pool,
    i10_only_who_is_in_the_pool_decides,
    i10_whoever_comes_back_has_voted,
    i10_whoever_left_the_pool_has_no_vote_at_the_last_one,
}

on_a_file! {
    what_is_asked_of_pools_and_deadlines_has_an_index,
}
