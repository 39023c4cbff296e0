//! A2 and A4 with a quorum, and with a reason.

use kern_db::{
    Actor, Answered, Approval, ApprovalStatus, CallPolicy, Caller, CommitTurn, DbExt as _, Ended, Error, KEY_ISSUER,
    Link, NewAnswer, NewCall, PauseType, Principal, Resolution, Result, RunClaimed, RunId, Settlement, Standing, Tier,
};
use kern_tests::steps::{APPROVER, REQUESTER, Store, begin, call, person, required, turn, two_stage};
use serde_json::{Value, json};

async fn vote(store: &Store, run_id: &RunId, by: &str) -> Result<Approval> {
    let seen = store.approval(run_id).await;
    let yes = Resolution::approved().by(by).digest(seen.digest);
    store.update_approval(&seen.id, ApprovalStatus::Pending, yes).await
}

async fn edit(store: &Store, run_id: &RunId, by: &str, to: &str) -> Result<Approval> {
    let seen = store.approval(run_id).await;
    let data = json!({ "edited_args": { "amount": 7, "to": to } });
    let yes = Resolution::approved().by(by).digest(seen.digest).data(data);
    store.update_approval(&seen.id, ApprovalStatus::Pending, yes).await
}

fn is_refused<T: std::fmt::Debug>(outcome: &Result<T>, why: &str) -> bool {
    matches!(outcome, Err(Error::NotPermitted { reason }) if reason.contains(why))
}

async fn a2_a_row_waits_until_its_quorum_is_reached(store: &Store) {
    let run_id = store.paused(&[required().quorum(3)]).await;
    let first = vote(store, &run_id, "bob").await.unwrap();
    assert_eq!((first.status, first.quorum, first.votes.len()), (ApprovalStatus::Pending, 3, 1));
    assert_eq!(first.execution, None);
    assert_eq!(vote(store, &run_id, "carol").await.unwrap().status, ApprovalStatus::Pending);
    assert!(matches!(store.claim_as(&run_id, person(REQUESTER)).await.unwrap(), RunClaimed::Blocked(_)));
    assert_eq!(store.call(&run_id).await.standing, Standing::AwaitsApproval);
    let last = vote(store, &run_id, "dan").await.unwrap();
    assert_eq!((last.status, last.votes.len()), (ApprovalStatus::Approved, 3));
    assert_eq!(last.resolved_by.as_deref(), Some("dan"));
    assert_eq!(store.words(&run_id).await[3..], ["voted", "voted", "voted", "approved", "ready"]);
    let claim = store.resumed(&run_id).await;
    store.succeed(&store.start(&claim, 0).await).await;
}

async fn i10_one_person_is_one_voter(store: &Store) {
    let run_id = store.paused(&[required().quorum(2)]).await;
    vote(store, &run_id, "bob").await.unwrap();
    assert!(is_refused(&vote(store, &run_id, "bob").await, "voted already"));
    let seen = store.approval(&run_id).await;
    let unnamed = store.update_approval(&seen.id, ApprovalStatus::Pending, Resolution::approved()).await;
    assert!(is_refused(&unnamed, "gives a name"), "{unnamed:?}");
    assert!(is_refused(&vote(store, &run_id, REQUESTER).await, "asked for this call"));
    assert_eq!(store.count(&run_id, "[vote_refused]").await, 3);
    let now = store.approval(&run_id).await;
    assert_eq!((now.status, now.votes.len()), (ApprovalStatus::Pending, 1));
    vote(store, &run_id, "carol").await.unwrap();
}

/// Other spellings of one name, and the same name from other issuers.
fn principals_of(spellings: &[&str]) -> Vec<Principal> {
    let of = |issuer: Option<&str>, subject: &&str| {
        serde_json::from_value(json!({ "issuer": issuer, "subject": subject, "verified": issuer.is_some() })).unwrap()
    };
    let issuers = [None, Some(KEY_ISSUER), Some("https://id.example"), Some("https://other.example")];
    issuers.iter().flat_map(|issuer| spellings.iter().map(|subject| of(*issuer, subject))).collect()
}

const ANN: &[&str] = &["ann", "Ann", " ann", "ann\u{200b}", "\u{ff41}\u{ff4e}\u{ff4e}"];
const JOSE: &[&str] = &["jos\u{e9}", "jose\u{301}", "JOS\u{c9}"];

async fn i10_another_spelling_or_issuer_is_no_other_person(store: &Store) {
    for spellings in [ANN, JOSE] {
        let people = principals_of(spellings);
        let mut request = begin(&RunId::generate());
        request.requester = Some(people[0].clone());
        let claim = store.begin_run(request).await.unwrap();
        store.commit_turn(turn(&claim, 1, &[required()], true)).await.unwrap();
        let own = store.approval(&claim.run_id).await;
        let ballots = store.paused(&[required().quorum(2)]).await;
        let first = store.approval(&ballots).await;
        let yes = |by: &Principal| Resolution::approved().by_person(Some(by.clone()));
        store.update_approval(&first.id, ApprovalStatus::Pending, yes(&people[0])).await.unwrap();
        for by in &people {
            let about_own = store.update_approval(&own.id, ApprovalStatus::Pending, yes(by)).await;
            assert!(is_refused(&about_own, "asked for this call"), "{by:?}: {about_own:?}");
            let again = store.update_approval(&first.id, ApprovalStatus::Pending, yes(by)).await;
            assert!(is_refused(&again, "voted already"), "{by:?}: {again:?}");
        }
        assert_eq!(store.approval(&claim.run_id).await.votes.len(), 0);
        let counted = store.approval(&ballots).await;
        assert_eq!((counted.status, counted.votes.len()), (ApprovalStatus::Pending, 1));
        // Whoever edits does not approve what they wrote under another spelling either.
        let edited = store.paused(&[required().quorum(2)]).await;
        edit(store, &edited, spellings[0], "y").await.unwrap();
        for by in spellings {
            assert!(is_refused(&vote(store, &edited, by).await, "wrote these arguments"), "{by}");
        }
    }
}

async fn i10_another_spelling_of_the_requester_settles_nothing(store: &Store) {
    let (claim, call) = store.unknown().await;
    let id = call.ticket().execution_id().clone();
    for by in principals_of(&["ana", "Ana", " ana", "ana\u{200b}", "\u{ff41}\u{ff4e}\u{ff41}"]) {
        let settlement = Settlement::succeeded("paid").by_person(Some(by.clone())).note("looked");
        let refused = store.settle_execution(&id, settlement).await;
        assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{by:?}: {refused:?}");
    }
    assert_eq!(store.count(&claim.run_id, "settled").await, 0);
}

async fn i10_each_link_of_a_chain_is_the_requester(store: &Store) {
    let proved = |name: &str| Principal::verified("https://id.example", name).unwrap();
    let asked =
        proved("ann").on_behalf_of(Link::new("https://id.example", "agent")).on_behalf_of(Link::unverified("gateway"));
    let mut request = begin(&RunId::generate());
    request.requester = Some(asked.clone());
    let claim = store.begin_run(request).await.unwrap();
    store.commit_turn(turn(&claim, 1, &[required(), two_stage()], true)).await.unwrap();
    let run_id = claim.run_id;
    let pending = store.approval(&run_id).await;
    assert_eq!(pending.requester.as_ref(), Some(&asked));
    assert_eq!(store.get_run(&run_id).await.unwrap().requester.as_ref(), Some(&asked));
    let entries = store.audit().entries(0, 100).await.unwrap();
    assert!(entries.iter().any(|entry| entry.action == "requested" && entry.actor == Actor::from(&asked)));
    let yes = |by: &Principal| Resolution::approved().by_person(Some(by.clone()));
    let acts = Principal::verified(KEY_ISSUER, "svc").unwrap().on_behalf_of(Link::unverified("carol"));
    for (by, why) in [
        (proved("ann"), "asked for this call"),
        (proved("agent"), "asked for this call"),
        (Principal::unverified("Gateway"), "asked for this call"),
        (asked.clone(), "on behalf of others"),
        (acts.clone(), "on behalf of others"),
    ] {
        for decision in [yes(&by), Resolution::rejected().by_person(Some(by.clone()))] {
            let refused = store.update_approval(&pending.id, ApprovalStatus::Pending, decision).await;
            assert!(is_refused(&refused, why), "{by:?}: {refused:?}");
        }
    }
    // With `allow_self`, the requester may decide, and what acts on behalf of others still may not.
    let mut lax = required();
    lax.allow_self = true;
    let own = store.approval(&store.paused(&[lax]).await).await;
    let refused = store.update_approval(&own.id, ApprovalStatus::Pending, yes(&acts)).await;
    assert!(is_refused(&refused, "on behalf of others"), "{refused:?}");
    // A confirmation is a decision, too: the requester gives it in their own name.
    let confirm = |by: &Principal| store.answer_as(&run_id, 1, Caller::Person(by.clone()), NewAnswer::Confirm);
    assert!(matches!(confirm(&asked).await, Err(Error::NotPermitted { .. })));
    assert_eq!(confirm(&proved("ann")).await.unwrap(), Answered::Stored);
    store.update_approval(&pending.id, ApprovalStatus::Pending, yes(&proved("bob"))).await.unwrap();
}

async fn i10_no_link_of_a_chain_settles(store: &Store) {
    let asked = Principal::unverified(REQUESTER).on_behalf_of(Link::unverified("ann"));
    let mut request = begin(&RunId::generate());
    request.requester = Some(asked.clone());
    let claim = store.begin_run(request).await.unwrap();
    store.commit_turn(turn(&claim, 1, &[required()], true)).await.unwrap();
    store.approve(&claim.run_id, 0).await.unwrap();
    let claim = store.resumed(&claim.run_id).await;
    let call = store.start(&claim, 0).await;
    store.finish_call(call.ticket(), Ended::Lost("it panicked".to_owned()), Vec::new()).await.unwrap();
    for by in [
        asked.clone(),
        Principal::unverified("Ann"),
        Principal::unverified("bob").on_behalf_of(Link::unverified("eve")),
    ] {
        let settlement = Settlement::abandoned().by_person(Some(by.clone())).note("looked");
        let refused = store.settle_execution(call.ticket().execution_id(), settlement).await;
        assert!(matches!(refused, Err(Error::NotPermitted { .. })), "{by:?}: {refused:?}");
    }
    let settlement = Settlement::abandoned().by("bob").note("looked");
    store.settle_execution(call.ticket().execution_id(), settlement).await.unwrap();
}

async fn i10_a_pool_holds_the_exact_name_alone(store: &Store) {
    store.set_pool("finance", ["bob"]).await.unwrap();
    let run_id = store.paused(&[required().pool("finance")]).await;
    for by in ["Bob", " bob", "bob\u{200b}", "\u{ff42}ob"] {
        let refused = vote(store, &run_id, by).await;
        assert!(is_refused(&refused, "finance"), "{by}: {refused:?}");
    }
    vote(store, &run_id, "bob").await.unwrap();
}

async fn i10_a_name_that_shows_nothing_is_refused(store: &Store) {
    for name in ["", " ", "\u{200b}", "\u{3164}", "\u{2060}\u{a0}\u{feff}"] {
        let by = Some(Principal::unverified(name));
        let is_invalid = |error: Error| assert_eq!(error.code(), "invalid_principal", "{name:?}: {error}");
        let mut request = begin(&RunId::generate());
        request.requester = by.clone();
        is_invalid(store.begin_run(request).await.unwrap_err());
        let run_id = store.paused(&[required()]).await;
        is_invalid(vote(store, &run_id, name).await.unwrap_err());
        is_invalid(store.cancel_run(run_id.clone(), person(name)).await.unwrap_err());
        is_invalid(store.claim_as(&run_id, person(name)).await.unwrap_err());
        is_invalid(store.hide_approval(store.approval_id(&run_id, 0).await, by.clone()).await.unwrap_err());
        is_invalid(store.set_pool("finance", [name]).await.unwrap_err());
        is_invalid(store.write_pool("finance".to_owned(), vec!["bob".to_owned()], by).await.unwrap_err());
        is_invalid(Principal::verified("https://id.example", name).unwrap_err());
    }
}

async fn i10_one_no_ends_it_also_of_somebody_who_said_yes(store: &Store) {
    for by in [Some("carol"), Some("bob"), None] {
        let run_id = store.paused(&[required().quorum(3)]).await;
        vote(store, &run_id, "bob").await.unwrap();
        let seen = store.approval(&run_id).await;
        let no = by.map_or_else(Resolution::rejected, |by| Resolution::rejected().by(by));
        let rejected = store.update_approval(&seen.id, ApprovalStatus::Pending, no).await.unwrap();
        assert_eq!(rejected.status, ApprovalStatus::Rejected);
        let late = vote(store, &run_id, "dan").await;
        assert!(matches!(late, Err(Error::Conflict { found: ApprovalStatus::Rejected, .. })), "{late:?}");
        assert_eq!(store.count(&run_id, "ready").await, 0);
    }
}

async fn schedule_9_a_vote_for_v0_and_an_edit_to_v1_leave_it_pending(store: &Store) {
    let run_id = store.paused(&[required().quorum(2)]).await;
    vote(store, &run_id, "bob").await.unwrap();
    let edited = edit(store, &run_id, "carol", "y").await.unwrap();
    assert_eq!((edited.status, edited.version), (ApprovalStatus::Pending, 1));
    assert_eq!(edited.edited_by.as_ref().map(|editor| editor.subject.as_str()), Some("carol"));
    assert!(edited.votes.iter().all(|vote| vote.version == 0), "{:?}", edited.votes);
    assert_eq!(store.words(&run_id).await[3..], ["voted", "edited"]);
    // The vote for v0 does not count, and carol wrote v1.
    assert_eq!(vote(store, &run_id, "bob").await.unwrap().status, ApprovalStatus::Pending);
    assert!(is_refused(&vote(store, &run_id, "carol").await, "wrote these arguments"));
    assert!(is_refused(&edit(store, &run_id, "carol", "y").await, "wrote these arguments"), "the same again is a vote");
    let approved = vote(store, &run_id, "dan").await.unwrap();
    assert_eq!((approved.status, approved.version), (ApprovalStatus::Approved, 1));
    let claim = store.resumed(&run_id).await;
    assert_eq!(store.start(&claim, 0).await.arguments(), r#"{"amount":7,"to":"y"}"#);
}

async fn i10_who_wrote_an_older_version_may_vote_for_the_next(store: &Store) {
    let run_id = store.paused(&[required().quorum(2)]).await;
    edit(store, &run_id, "carol", "y").await.unwrap();
    // Back to what was there before is a version of its own: nothing that was said to the other counts for it.
    let back = edit(store, &run_id, "dan", "x").await.unwrap();
    assert_eq!((back.version, back.status), (2, ApprovalStatus::Pending));
    vote(store, &run_id, "carol").await.unwrap();
    assert!(is_refused(&vote(store, &run_id, "dan").await, "wrote these arguments"));
    assert!(is_refused(&edit(store, &run_id, "carol", "z").await, "voted already"));
    assert_eq!(vote(store, &run_id, "bob").await.unwrap().status, ApprovalStatus::Approved);
}

async fn i5_a_vote_for_a_version_does_not_come_back_with_its_arguments(store: &Store) {
    let run_id = store.paused(&[required().quorum(2)]).await;
    let v0 = store.approval(&run_id).await;
    vote(store, &run_id, "bob").await.unwrap();
    edit(store, &run_id, "carol", "y").await.unwrap();
    let seen = store.approval(&run_id).await;
    let same_as_v0 = json!({ "edited_args": { "amount": 100, "to": "x" } });
    let yes = Resolution::approved().by("dan").digest(seen.digest).data(same_as_v0);
    let v2 = store.update_approval(&seen.id, ApprovalStatus::Pending, yes).await.unwrap();
    assert_eq!((v2.version, &v2.digest), (2, &v0.digest));
    // One vote of v0 and one of v2 are not two of v2.
    assert_eq!(vote(store, &run_id, "eve").await.unwrap().status, ApprovalStatus::Pending);
    assert_eq!(vote(store, &run_id, "bob").await.unwrap().status, ApprovalStatus::Approved);
}

async fn i5_an_edit_without_a_look_at_the_last_one_is_refused(store: &Store) {
    let run_id = store.paused(&[required().quorum(2)]).await;
    let id = store.approval_id(&run_id, 0).await;
    let blind =
        |by: &str, to: &str| Resolution::approved().by(by).data(json!({ "edited_args": { "amount": 7, "to": to } }));
    store.update_approval(&id, ApprovalStatus::Pending, blind("bob", "b")).await.unwrap();
    let second = store.update_approval(&id, ApprovalStatus::Pending, blind("carol", "c")).await;
    assert!(matches!(second, Err(Error::StaleView { version: 1, .. })), "{second:?}");
}

async fn a2_what_goes_with_a_vote_is_kept_with_it(store: &Store) {
    let run_id = store.paused(&[required().quorum(2)]).await;
    let seen = store.approval(&run_id).await;
    let yes = Resolution::approved().by("bob").note("fine by me").data(json!({ "ticket": 17 }));
    let voted = store.update_approval(&seen.id, ApprovalStatus::Pending, yes).await.unwrap();
    assert_eq!(voted.resolution_data, None, "nothing is decided");
    assert_eq!(voted.votes[0].resolution_data, Some(json!({ "note": "fine by me", "ticket": 17 })));
    // An edit that others decide on has no such place.
    let data = json!({ "edited_args": { "amount": 7, "to": "y" }, "ticket": 18 });
    let edit = Resolution::approved().by("carol").data(data);
    let refused = store.update_approval(&seen.id, ApprovalStatus::Pending, edit).await;
    assert!(matches!(refused, Err(Error::Invalid(ref what)) if what.contains("`ticket`")), "{refused:?}");
    assert_eq!(store.approval(&run_id).await.version, 0);
}

async fn x10_a_result_comes_with_the_last_vote(store: &Store) {
    let outside = CallPolicy::new(Tier::Required, Some(PauseType::ExternalExecution)).quorum(2);
    let run_id = store.paused(&[outside]).await;
    let id = store.approval_id(&run_id, 0).await;
    let with_result = |by: &str| Resolution::approved().by(by).data(json!({ "result": "done" }));
    let early = store.update_approval(&id, ApprovalStatus::Pending, with_result("bob")).await;
    assert!(matches!(early, Err(Error::Invalid(_))), "{early:?}");
    assert!(store.approval(&run_id).await.votes.is_empty());
    vote(store, &run_id, "bob").await.unwrap();
    let last = store.update_approval(&id, ApprovalStatus::Pending, with_result("carol")).await.unwrap();
    assert_eq!(last.execution.unwrap().result.as_deref(), Some("done"));
}

async fn i10_of_many_votes_at_once_as_many_count_as_there_are_people(store: &Store) {
    for _ in 0..4 {
        let run_id = store.paused(&[required().quorum(3)]).await;
        let id = store.approval_id(&run_id, 0).await;
        let handles = [store.shared(), store.second().await];
        let tasks: Vec<_> = (0..16)
            .map(|number| {
                let (db, id) = (handles[number % 2].clone(), id.clone());
                let yes = Resolution::approved().by(format!("approver {}", number % 4));
                tokio::spawn(async move { db.update_approval(&id, ApprovalStatus::Pending, yes).await })
            })
            .collect();
        let mut counted = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => counted += 1,
                Err(Error::Conflict { .. } | Error::NotPermitted { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(counted, 3);
        let approval = store.approval(&run_id).await;
        assert_eq!((approval.status, approval.votes.len()), (ApprovalStatus::Approved, 3));
        assert_eq!(store.count(&run_id, "ready").await, 1);
    }
}

async fn a2_nobody_decides_without_the_reason_that_is_asked_for(store: &Store) {
    let run_id = store.paused(&[two_stage().require_reason(true)]).await;
    let id = store.approval_id(&run_id, 0).await;
    let decide = |resolution: Resolution| store.update_approval(&id, ApprovalStatus::Pending, resolution.by(APPROVER));
    for silent in [Resolution::approved(), Resolution::rejected(), Resolution::approved().note(" ")] {
        let refused = decide(silent).await;
        assert!(matches!(refused, Err(Error::ReasonRequired { .. })), "{refused:?}");
        assert_eq!(refused.unwrap_err().code(), "reason_required");
    }
    let data = json!({ "note": "as agreed" });
    assert_eq!(decide(Resolution::approved().data(data)).await.unwrap().status, ApprovalStatus::Approved);
}

async fn a1_a_quorum_of_nobody_is_no_policy(store: &Store) {
    let claim = store.started().await;
    let refused = store.commit_turn(kern_tests::steps::turn(&claim, 1, &[required().quorum(0)], true)).await;
    assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
}

async fn i5_a_policy_without_a_quorum_is_stored_as_ever(store: &Store) {
    let plain = serde_json::to_value(required()).unwrap();
    for new in ["quorum", "require_reason"] {
        assert_eq!(plain.get(new), None, "what was stored before has no {new}, and its digest stays");
    }
    let read: CallPolicy = serde_json::from_value(plain.clone()).unwrap();
    assert_eq!((read.quorum, read.require_reason), (1, false));
    let strict: Value = serde_json::to_value(required().quorum(2).require_reason(true)).unwrap();
    assert_eq!((&strict["quorum"], &strict["require_reason"]), (&json!(2), &json!(true)));
    let run_id = store.paused(&[required()]).await;
    assert_eq!(store.approval(&run_id).await.quorum, 1);
}

/// Votes that nobody gave, votes that are gone, and a smaller quorum.
async fn i10_votes_are_those_that_are_on_record(_: &Store) {
    let forged = "INSERT INTO kern_votes (approval_id, version, voter_key, voter, digest, created_at_ms)
                  SELECT id, version, 'x', '{\"issuer\":null,\"subject\":\"eve\",\"verified\":false}', digest, 0
                  FROM kern_approvals";
    let smaller = "UPDATE kern_approvals SET policy = replace(policy, '\"quorum\":2,', '')";
    for tampered in [
        forged,
        "DELETE FROM kern_votes",
        "UPDATE kern_votes SET voter = replace(voter, 'bob', 'dan')",
        "UPDATE kern_votes SET digest = 'other'",
        smaller,
    ] {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required().quorum(2)]).await;
        vote(store, &run_id, "bob").await.unwrap();
        store.tamper(tampered);
        let refused = vote(store, &run_id, "carol").await;
        assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{tampered}: {refused:?}");
        assert_eq!(store.count(&run_id, "ready").await, 0);
        assert_eq!(store.count(&run_id, "[digest_mismatch]").await, 1);
    }
}

/// I10: the claim counts once more, and it counts what is on record.
async fn i10_the_claim_counts_the_votes_on_record(_: &Store) {
    for tampered in [
        "DELETE FROM kern_audit WHERE action = 'voted' AND actor LIKE '%bob%'",
        "UPDATE kern_audit SET actor = replace(actor, 'bob', 'carol') WHERE action = 'voted'",
        "UPDATE kern_audit SET payload = '{}' WHERE action = 'voted'",
        "UPDATE kern_audit SET call_digest = 'other' WHERE action = 'voted'",
    ] {
        let store = &Store::on_a_file().await;
        let run_id = store.paused(&[required().quorum(2)]).await;
        vote(store, &run_id, "bob").await.unwrap();
        vote(store, &run_id, "carol").await.unwrap();
        let claim = store.resumed(&run_id).await;
        store.tamper(tampered);
        let claimed = store.claim(&claim, 0).await;
        assert!(matches!(claimed, Err(Error::DigestMismatch { .. })), "{tampered}: {claimed:?}");
        assert_eq!(store.starts(&run_id).await, 0);
    }
}

/// I5: a laxer policy with digests that fit it. Kern itself makes them, in another file for a call of the same name.
async fn i5_a_policy_that_was_never_asked_decides_nothing(_: &Store) {
    let laxer = async |store: &Store, run_id: &RunId, policy: CallPolicy| {
        let twin = Store::on_a_file().await;
        let claim = twin.begin_run(begin(run_id)).await.unwrap();
        let call = NewCall { approval_id: Some(store.approval_id(run_id, 0).await), ..call(0, policy) };
        twin.commit_turn(CommitTurn { calls: vec![call], ..turn(&claim, 1, &[], true) }).await.unwrap();
        assert_eq!(twin.call(run_id).await.digest, store.call(run_id).await.digest);
        let read = "SELECT policy, policy_digest FROM kern_calls";
        let (policy, digest): (String, String) =
            twin.raw().query_row(read, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        for table in ["calls", "approvals"] {
            store.tamper(&format!("UPDATE kern_{table} SET policy = '{policy}', policy_digest = '{digest}'"));
        }
    };
    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[required().quorum(2)]).await;
    laxer(store, &run_id, required()).await;
    let refused = vote(store, &run_id, "bob").await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");

    let store = &Store::on_a_file().await;
    let run_id = store.paused(&[two_stage()]).await;
    vote(store, &run_id, "bob").await.unwrap();
    laxer(store, &run_id, required()).await;
    let refused = store.claim_as(&run_id, Caller::Worker).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
    assert_eq!(store.starts(&run_id).await, 0);
}

on_each_store! {
    a1_a_quorum_of_nobody_is_no_policy,
    a2_a_row_waits_until_its_quorum_is_reached,
    a2_nobody_decides_without_the_reason_that_is_asked_for,
    a2_what_goes_with_a_vote_is_kept_with_it,
    i10_a_name_that_shows_nothing_is_refused,
    i10_a_pool_holds_the_exact_name_alone,
    i10_another_spelling_of_the_requester_settles_nothing,
    i10_another_spelling_or_issuer_is_no_other_person,
    i10_each_link_of_a_chain_is_the_requester,
    i10_no_link_of_a_chain_settles,
    i10_of_many_votes_at_once_as_many_count_as_there_are_people,
    i10_one_no_ends_it_also_of_somebody_who_said_yes,
    i10_one_person_is_one_voter,
    i10_who_wrote_an_older_version_may_vote_for_the_next,
    i5_a_policy_without_a_quorum_is_stored_as_ever,
    i5_a_vote_for_a_version_does_not_come_back_with_its_arguments,
    i5_an_edit_without_a_look_at_the_last_one_is_refused,
    schedule_9_a_vote_for_v0_and_an_edit_to_v1_leave_it_pending,
    x10_a_result_comes_with_the_last_vote,
}

on_a_file! {
    i10_the_claim_counts_the_votes_on_record,
    i10_votes_are_those_that_are_on_record,
    i5_a_policy_that_was_never_asked_decides_nothing,
}
