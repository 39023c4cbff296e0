//! Pools: who may decide where a policy names one.

use std::time::{SystemTime, UNIX_EPOCH};

use kern_db::{Approval, ApprovalStatus, DbExt as _, Error, KEY_ISSUER, Principal, Resolution, RunId};
use kern_tests::steps::{REQUESTER, Store, audit, required, turn, user, verified, wait_until};
use serde_json::{Value, json};

const HOUR_MS: i64 = 3_600_000;

/// In so many milliseconds from now on.
fn in_ms(ahead_ms: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap() + ahead_ms
}

/// A yes by somebody whose token says that they are in this pool for another hour.
fn by_token(name: &str, pool: &str) -> Resolution {
    Resolution::approved().by_member(verified(name), [pool], in_ms(HOUR_MS))
}

async fn decide(store: &Store, run_id: &RunId, resolution: Resolution) -> Result<Approval, Error> {
    let seen = store.approval(run_id).await;
    store.update_approval(&seen.id, ApprovalStatus::Pending, resolution.digest(seen.digest)).await
}

/// What the log says of the newest step of this name about a run.
async fn payload(store: &Store, run_id: &RunId, action: &str) -> Value {
    let entries = kern_tests::history::entries(&**store).await;
    let found = entries.iter().rfind(|entry| entry.action == action && entry.run_id.as_ref() == Some(run_id));
    found.unwrap().payload.clone()
}

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
    for (name, members) in [("", vec!["ann"]), ("a b", vec!["ann"]), ("x", vec!["ann", "ann"])] {
        let refused = store.set_pool(name, members).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let refused = store.set_pool("x", [""]).await;
    assert!(matches!(refused, Err(Error::InvalidPrincipal { .. })), "{refused:?}");
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
            for resolution in [resolution.clone(), resolution.clone().by("ann"), resolution.by("-")] {
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

/// I10: nobody has set `tokens` in the store; `finance` has other people there.
async fn i10_a_token_says_that_somebody_is_in_a_pool(store: &Store) {
    store.set_pool("finance", ["ann"]).await.unwrap();
    for pool in ["tokens", "finance"] {
        let run_id = store.paused(&[required().pool(pool)]).await;
        let yes = || Resolution::approved();
        for (refused, why) in [
            (yes().by_person(Some(verified("bob"))), "pool"),
            (yes().by_member(verified("bob"), Vec::<String>::new(), in_ms(HOUR_MS)), "pool"),
            (yes().by_member(verified("bob"), ["legal", "Finance", "Tokens", "finance "], in_ms(HOUR_MS)), "pool"),
            (yes().by_member(verified("bob"), [pool], in_ms(-1)), "by a credential that has expired"),
            // Nobody has proved these.
            (yes().by_member(Principal::unverified("bob"), [pool], in_ms(HOUR_MS)), "pool"),
            (yes().by_member(Principal::verified(KEY_ISSUER, "bob").unwrap(), [pool], in_ms(HOUR_MS)), "pool"),
            // Another person than the one that it was said of.
            (by_token("bob", pool).by("bob"), "pool"),
            (by_token("bob", pool).by_person(Some(verified("carol"))), "pool"),
            (by_token("bob", pool).by_person(None), "pool"),
            (by_token(REQUESTER, pool), "asked for this call"),
        ] {
            let shown = format!("{pool}: {refused:?}");
            let refused = decide(store, &run_id, refused).await;
            assert!(
                matches!(&refused, Err(Error::NotPermitted { reason }) if reason.contains(why)),
                "{shown}: {refused:?}"
            );
        }
        assert_eq!(store.count(&run_id, "[vote_refused]").await, 10);
        let before = in_ms(HOUR_MS);
        let approved = decide(store, &run_id, by_token("bob", pool)).await.unwrap();
        assert_eq!((approved.status, approved.resolved_by_verified), (ApprovalStatus::Approved, true));
        let until_ms = approved.votes[0].member_until_ms.unwrap();
        assert!((before..=in_ms(HOUR_MS)).contains(&until_ms), "{until_ms}");
        assert_eq!(store.approval(&run_id).await.votes, approved.votes);
        assert_eq!(payload(store, &run_id, "voted").await["member_until_ms"], json!(until_ms));
        let claim = store.resumed(&run_id).await;
        store.succeed(&store.start(&claim, 0).await).await;
        store.complete(&claim).await.unwrap();
    }
    // The store's own people are on record as ever.
    let run_id = store.paused(&[required().pool("finance")]).await;
    vote(store, &run_id, "ann").await.unwrap();
    assert_eq!(payload(store, &run_id, "voted").await.get("member_until_ms"), None);
}

async fn i10_a_token_of_a_pool_edits_and_rejects_too(store: &Store) {
    let run_id = store.paused(&[required().pool("tokens").quorum(2)]).await;
    let rejected = Resolution::rejected().by_member(verified("bob"), ["tokens"], in_ms(HOUR_MS));
    assert_eq!(decide(store, &run_id, rejected).await.unwrap().status, ApprovalStatus::Rejected);
    assert!(payload(store, &run_id, "rejected").await["member_until_ms"].is_i64());
    let edit = |name| by_token(name, "tokens").data(json!({ "edited_args": { "amount": 1, "to": "y" } }));
    let run_id = store.paused(&[required().pool("tokens")]).await;
    let edited = decide(store, &run_id, edit("bob")).await.unwrap();
    assert_eq!((edited.status, edited.version), (ApprovalStatus::Approved, 1));
    assert!(edited.votes[0].member_until_ms.is_some());
    let run_id = store.paused(&[required().pool("tokens").quorum(2)]).await;
    let edited = decide(store, &run_id, edit("bob")).await.unwrap();
    assert_eq!((edited.status, edited.version), (ApprovalStatus::Pending, 1));
    assert!(payload(store, &run_id, "edited").await["member_until_ms"].is_i64());
    let wrote = decide(store, &run_id, by_token("bob", "tokens")).await;
    assert!(matches!(&wrote, Err(Error::NotPermitted { reason }) if reason.contains("wrote")), "{wrote:?}");
    decide(store, &run_id, by_token("carol", "tokens")).await.unwrap();
    assert_eq!(decide(store, &run_id, by_token("dan", "tokens")).await.unwrap().status, ApprovalStatus::Approved);
}

/// I10: at the last vote, the token of an earlier voter has expired, or not.
async fn i10_a_vote_by_a_token_counts_as_long_as_the_token_does(store: &Store) {
    store.set_pool("finance", ["ann", "carol"]).await.unwrap();
    let run_id = store.paused(&[required().pool("finance").quorum(2)]).await;
    decide(store, &run_id, by_token("bob", "finance")).await.unwrap();
    assert_eq!(vote(store, &run_id, "ann").await.unwrap().status, ApprovalStatus::Approved, "it counts still");
    let run_id = store.paused(&[required().pool("finance").quorum(2)]).await;
    let until_ms = in_ms(2000);
    decide(store, &run_id, Resolution::approved().by_member(verified("bob"), ["finance"], until_ms)).await.unwrap();
    wait_until(until_ms).await;
    let pending = vote(store, &run_id, "ann").await.unwrap();
    assert_eq!((pending.status, pending.votes.len()), (ApprovalStatus::Pending, 2), "one of the two has expired");
    assert_eq!((store.count(&run_id, "approved").await, store.count(&run_id, "ready").await), (0, 0));
    assert_eq!(vote(store, &run_id, "carol").await.unwrap().status, ApprovalStatus::Approved);
}

/// I10: who is taken out of the store's pool has no vote at the last one, whatever their token said when they voted.
async fn i10_a_token_keeps_nobody_in_the_stores_pool(store: &Store) {
    store.set_pool("finance", ["ann", "bob", "carol"]).await.unwrap();
    let run_id = store.paused(&[required().pool("finance").quorum(2)]).await;
    let first = decide(store, &run_id, by_token("ann", "finance")).await.unwrap();
    assert_eq!(first.votes[0].member_until_ms, None, "she needs no token");
    store.set_pool("finance", ["bob", "carol"]).await.unwrap();
    assert_eq!(vote(store, &run_id, "bob").await.unwrap().status, ApprovalStatus::Pending);
    assert_eq!(vote(store, &run_id, "carol").await.unwrap().status, ApprovalStatus::Approved);
}

/// I5, I10: until when somebody is in a pool is what the log says it was when they voted.
async fn i10_a_membership_is_not_prolonged_in_the_file(_: &Store) {
    for tampered in [
        "UPDATE kern_votes SET member_until_ms = member_until_ms + 86400000",
        "UPDATE kern_votes SET member_until_ms = member_until_ms - 1",
        "UPDATE kern_votes SET member_until_ms = NULL",
        "UPDATE kern_audit SET payload = json_set(payload, '$.member_until_ms', 9007199254740991) WHERE action = 'voted'",
        "UPDATE kern_audit SET payload = json_remove(payload, '$.member_until_ms') WHERE action = 'voted'",
        "UPDATE kern_audit SET payload = json_set(payload, '$.member_until_ms', 'later') WHERE action = 'voted'",
    ] {
        let store = &Store::on_a_file().await;
        store.set_pool("finance", ["ann"]).await.unwrap();
        let run_id = store.paused(&[required().pool("finance").quorum(2)]).await;
        decide(store, &run_id, by_token("bob", "finance")).await.unwrap();
        store.tamper(tampered);
        let refused = vote(store, &run_id, "ann").await;
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{tampered}: {refused:?}");
        assert_eq!(store.count(&run_id, "[digest_mismatch]").await, 1);
        assert_eq!((store.count(&run_id, "approved").await, store.count(&run_id, "ready").await), (0, 0));
        assert!(!store.audit().verify().await.unwrap().is_intact(), "{tampered}");
    }
    // A vote that the store's pool let somebody give, made one that lasts.
    let store = &Store::on_a_file().await;
    store.set_pool("finance", ["ann", "bob"]).await.unwrap();
    let run_id = store.paused(&[required().pool("finance").quorum(2)]).await;
    vote(store, &run_id, "bob").await.unwrap();
    store.set_pool("finance", ["ann"]).await.unwrap();
    store.tamper("UPDATE kern_votes SET member_until_ms = 9007199254740991");
    let refused = vote(store, &run_id, "ann").await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
}

on_each_store! {
    a1_a_pool_has_a_plain_name_and_decides_about_approvals,
    a_pool_is_set_listed_and_on_record,
    i10_a_name_is_compared_as_everywhere,
    i10_a_pool_decides_about_edits_and_rejections_too,
    i10_a_pool_that_nobody_set_or_of_nobody_lets_nobody_decide,
    i10_a_token_keeps_nobody_in_the_stores_pool,
    i10_a_token_of_a_pool_edits_and_rejects_too,
    i10_a_token_says_that_somebody_is_in_a_pool,
    i10_a_vote_by_a_token_counts_as_long_as_the_token_does,
    i10_a_vote_races_leaving_the_pool,
    i10_only_who_is_in_the_pool_decides,
    i10_whoever_comes_back_has_voted,
    i10_whoever_left_the_pool_has_no_vote_at_the_last_one,
}

on_a_file! {
    i10_a_membership_is_not_prolonged_in_the_file,
    what_is_asked_of_pools_and_deadlines_has_an_index,
}

/// What comes hours later: the clock is moved.
#[cfg(feature = "failpoints")]
mod later {
    use kern_db::clock;

    use super::*;

    async fn i10_no_later_token_prolongs_a_vote(store: &Store) {
        store.set_pool("finance", ["ann"]).await.unwrap();
        let finance = required().pool("finance").quorum(2);
        let finance = std::slice::from_ref(&finance);
        let runs = [store.paused(finance).await, store.paused(finance).await];
        for run_id in &runs {
            let first = decide(store, run_id, by_token("bob", "finance")).await.unwrap();
            assert_eq!((first.status, first.votes.len()), (ApprovalStatus::Pending, 1));
        }
        clock::set_ahead_ms(2 * HOUR_MS);
        let [run_id, joined] = &runs;
        // Another token is not another person.
        let fresh = Resolution::approved().by_member(verified("bob"), ["finance"], in_ms(9 * HOUR_MS));
        let twice = decide(store, run_id, fresh).await;
        assert!(matches!(&twice, Err(Error::NotPermitted { reason }) if reason.contains("voted already")), "{twice:?}");
        assert_eq!(vote(store, run_id, "ann").await.unwrap().status, ApprovalStatus::Pending);
        // Whoever the store's pool holds by then needs no token.
        store.set_pool("finance", ["ann", "bob"]).await.unwrap();
        assert_eq!(vote(store, joined, "ann").await.unwrap().status, ApprovalStatus::Approved);
        clock::set_ahead_ms(0);
    }

    async fn i10_a_pool_of_tokens_alone_decides_while_enough_of_them_count(store: &Store) {
        let run_id = store.paused(&[required().pool("tokens").quorum(2)]).await;
        let yes = |name: &str, hours: i64| {
            Resolution::approved().by_member(verified(name), ["tokens"], in_ms(hours * HOUR_MS))
        };
        decide(store, &run_id, yes("bob", 1)).await.unwrap();
        clock::set_ahead_ms(2 * HOUR_MS);
        assert_eq!(decide(store, &run_id, yes("dan", 4)).await.unwrap().status, ApprovalStatus::Pending);
        clock::set_ahead_ms(3 * HOUR_MS);
        assert_eq!(decide(store, &run_id, yes("eve", 5)).await.unwrap().status, ApprovalStatus::Approved);
        // What was approved stays approved, whatever has expired.
        clock::set_ahead_ms(9 * HOUR_MS);
        let claim = store.resumed(&run_id).await;
        store.succeed(&store.start(&claim, 0).await).await;
        store.complete(&claim).await.unwrap();
        clock::set_ahead_ms(0);
    }

    on_each_store! {
        i10_a_pool_of_tokens_alone_decides_while_enough_of_them_count,
        i10_no_later_token_prolongs_a_vote,
    }
}
