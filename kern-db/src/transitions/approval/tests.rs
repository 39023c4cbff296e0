//! The statement that decides an approval decides alone, whatever was read before it.

use super::*;
use crate::Effect;
use crate::db::Db as _;
use crate::memory::InMemoryDb;
use crate::store::Lane;
use crate::transitions::fixture::{paused, paused_for};
use crate::{CallPolicy, PauseType, Tier};

/// A pending approval that gets another state, or another version, between the look and the decision. Says what came of the
/// decision, and the row after it.
async fn decided_after(status: ApprovalStatus, versions: u32) -> (Result<()>, Approval) {
    let db = InMemoryDb::new();
    let (run, approval_id) = paused(&db, Effect::Once).await;
    let id = approval_id.clone();
    let decided = db.write(Lane::Normal, "decide an approval", move |tx| {
        Box::pin(async move {
            let run = super::super::run(tx, &run.run_id).await?;
            let rows = call(tx, &run.run_id, 1, 0).await?;
            let approval = rows.approval.clone().expect("it is asked for");
            let now = tx.now().await?;
            let resolution = Resolution::approved().by("bob");
            let actor = Actor::of(resolution.by.as_ref());
            let set = vec![A::C.status.to(status), A::C.version.to(approval.version + versions)];
            tx.update(set, vec![A::C.id.is(id)]).await?;
            let (rows, approval, resolution) = (&rows, &approval, &resolution);
            let deciding = Deciding { run: &run, rows, approval, resolution, actor, member_until_ms: None, now };
            // Kept either way: what it has done to the row is what is looked at.
            Ok(match deciding.close(tx, ApprovalStatus::Approved).await {
                Ok(_) => Ok(()),
                Err(Refused::Keep(error) | Refused::Undo(error)) => Err(error),
            })
        })
    });
    let decided = decided.await.expect("the store answers");
    (decided, db.get_approval(&approval_id).await.expect("it can be read").expect("it is there"))
}

#[test]
fn a2_an_approval_is_decided_while_it_is_pending_and_in_the_version_that_was_looked_at() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("there is a runtime");
    let decided_after = |status, versions| runtime.block_on(decided_after(status, versions));
    let (decided, row) = decided_after(ApprovalStatus::Pending, 0);
    assert!(decided.is_ok(), "{decided:?}");
    assert_eq!((row.status, row.resolved_by.as_deref()), (ApprovalStatus::Approved, Some("bob")));
    for status in
        [ApprovalStatus::Approved, ApprovalStatus::Rejected, ApprovalStatus::Expired, ApprovalStatus::Cancelled]
    {
        let (decided, row) = decided_after(status, 0);
        assert!(matches!(decided, Err(Error::Conflict { .. })), "{status:?}: {decided:?}");
        assert_eq!((row.status, row.resolved_by), (status, None), "nothing is written over it");
    }
    let (decided, row) = decided_after(ApprovalStatus::Pending, 1);
    assert!(matches!(decided, Err(Error::Conflict { .. })), "{decided:?}");
    assert_eq!(row.status, ApprovalStatus::Pending);
}

const HOUR_MS: i64 = 3_600_000;

fn proved(issuer: &str, subject: &str) -> Principal {
    Principal::verified(issuer, subject).expect("it is a name")
}

/// By what somebody decides at 100, whose credential says that they are in the pool `tokens` until 200, by default.
#[test]
fn i10_a_credential_makes_a_member_only_of_whoever_has_proved_it_and_only_until_it_expires() {
    let yes = Resolution::approved;
    let ann = || proved("https://one", "ann");
    let vouched = yes().by_member(ann(), ["other", "tokens"], 200);
    let deciders = |name, pool: Option<&[&str]>, now| {
        let members = pool.map(|members| members.iter().map(|member| (*member).to_owned()).collect());
        let pool = members.map(|members| Pool { name: "tokens".to_owned(), members, set_by: None, set_at_ms: 0 });
        Deciders { name, pool, now }
    };
    for (resolution, pool, now, until_ms) in [
        (vouched.clone(), None, 100, Some(Some(200))),
        (vouched.clone(), Some(&[][..]), 199, Some(Some(200))),
        (vouched.clone(), None, 200, None),
        (vouched.clone(), None, 201, None),
        // The store's pool counts first: a credential prolongs nothing that it gives.
        (vouched.clone(), Some(&["ann"]), 100, Some(None)),
        (vouched.clone(), Some(&["ann"]), 900, Some(None)),
        (vouched.clone(), Some(&["bob"]), 100, Some(Some(200))),
        (yes().by_member(ann(), ["Tokens", "token", "tokens ", ""], 200), None, 100, None),
        (yes().by_member(ann(), Vec::<String>::new(), 200), None, 100, None),
        (yes().by_member(ann(), ["tokens"], i64::MAX), None, 100, Some(Some((1 << 53) - 1))),
        (yes().by_member(ann(), ["tokens"], i64::MIN), None, 100, None),
        (yes().by_member(Principal::unverified("ann"), ["tokens"], 200), None, 100, None),
        (yes().by_member(proved(crate::KEY_ISSUER, "ann"), ["tokens"], 200), None, 100, None),
        (yes().by_person(Some(ann())), None, 100, None),
        // Whoever is named afterwards is somebody else.
        (vouched.clone().by("ann"), None, 100, None),
        (vouched.clone().by_person(Some(proved("https://one", "bob"))), None, 100, None),
        (vouched.clone().by_person(None), None, 100, None),
        (yes(), None, 100, None),
    ] {
        let found = deciders(Some("tokens"), pool, now).member(&resolution).map(Member::until_ms);
        assert_eq!(found, until_ms, "{resolution:?} {pool:?} at {now}");
    }
    assert_eq!(deciders(None, None, 100).member(&yes()).map(Member::until_ms), Some(None), "no pool is named");

    let given = |voter: Option<Principal>, member_until_ms| VoteRow {
        approval_id: ApprovalId::generate(),
        version: 0,
        voter_key: String::new(),
        voter: voter.map(Json),
        digest: String::new(),
        created_at_ms: 0,
        resolution_data: None,
        member_until_ms,
    };
    for (vote, pool, now, counts) in [
        (given(Some(ann()), Some(200)), None, 199, true),
        (given(Some(ann()), Some(200)), None, 200, false),
        (given(Some(ann()), Some(200)), Some(&["bob"][..]), 199, true),
        (given(Some(ann()), Some(200)), Some(&["ann"]), 900, true),
        (given(Some(ann()), None), Some(&["ann"]), 900, true),
        (given(Some(ann()), None), Some(&["bob"]), 100, false),
        (given(Some(ann()), None), None, 100, false),
        (given(None, None), Some(&[]), 100, false),
    ] {
        assert_eq!(deciders(Some("tokens"), pool, now).count(&vote), counts, "{vote:?} {pool:?} at {now}");
    }
}

/// Writes what no transition does: a vote by somebody who is in the pool by a credential until then, and the approval that it
/// makes after so many milliseconds. Every row and every entry agrees with every other.
async fn approved_anyway(in_ms: i64, by: Principal, wait_ms: u64) -> Vec<String> {
    let db = InMemoryDb::new();
    let policy = CallPolicy::new(Tier::Required, Some(PauseType::Confirmation)).pool("tokens");
    let (run, id) = paused_for(&db, policy).await;
    let until_ms = crate::clock::wall_clock() + in_ms;
    for approves in [false, true] {
        let (run_id, resolution) = (run.run_id.clone(), Resolution::approved().by_person(Some(by.clone())));
        let written = db.write(Lane::Normal, "decide an approval", move |tx| {
            Box::pin(async move {
                let run = super::super::run(tx, &run_id).await?;
                let rows = call(tx, &run_id, 1, 0).await?;
                let approval = rows.approval.clone().expect("it is asked for");
                let now = tx.now().await?;
                let actor = Actor::of(resolution.by.as_ref());
                let (rows, approval, resolution) = (&rows, &approval, &resolution);
                let member_until_ms = Some(until_ms);
                let deciding = Deciding { run: &run, rows, approval, resolution, actor, member_until_ms, now };
                if approves {
                    deciding.close(tx, ApprovalStatus::Approved).await?;
                    make_ready(tx, &rows.call, &rows.policy, Some(&approval.id), deciding.actor, now).await?;
                } else {
                    tx.insert(&vote(approval, resolution.by.as_ref(), None, member_until_ms, now)).await?;
                    let payload = with_member(json!({ "version": 0, "note": null }), member_until_ms);
                    tx.journal().record(deciding.entry("voted").payload(payload));
                }
                Ok(())
            })
        });
        written.await.expect("it is written");
        tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await;
    }
    let decided = db.get_approval(&id).await.expect("it can be read").expect("it is there");
    assert_eq!((decided.status, decided.votes[0].member_until_ms), (ApprovalStatus::Approved, Some(until_ms)));
    let report = db.audit().verify().await.expect("the log can be read");
    report.broken.into_iter().chain(report.others).map(|found| found.what).collect()
}

#[tokio::test]
async fn i13_an_approval_by_a_membership_that_was_over_is_found() {
    let ann = || proved("https://one", "ann");
    assert_eq!(approved_anyway(HOUR_MS, ann(), 0).await, [""; 0], "nothing is wrong with that");
    for (found, what) in [
        (approved_anyway(500, ann(), 600).await, "fewer people of its pool"),
        (approved_anyway(-1, ann(), 0).await, "in the pool for a time that was over"),
        (approved_anyway(HOUR_MS, Principal::unverified("ann"), 0).await, "nobody has proved who"),
    ] {
        assert!(found.iter().any(|found| found.contains(what)), "{what}: {found:?}");
    }
}
