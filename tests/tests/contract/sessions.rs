//! Sessions that somebody made, named or deleted. Deleting one is no way past anything: what it closes is closed for good, and
//! what was decided stays on record.

use kern_db::{
    ApprovalFilter, ApprovalStatus, Caller, DbExt as _, Ended, Error, ExecutionStatus, NewSession, Principal,
    Resolution, RunClaim, RunFilter, RunId, RunStatus, Session, SessionChange, SessionDeletion, SessionFilter,
    SessionId, Settlement,
};
use kern_tests::steps::{Store, begin, end, required, turn, verified};
use serde_json::{Map, Value, json};

fn ana() -> Principal {
    verified("ana")
}

fn id(session_id: &str) -> SessionId {
    SessionId::from(session_id)
}

fn object(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

async fn session(store: &Store, session_id: &str) -> Option<Session> {
    let found = store.get_session(&id(session_id)).await.unwrap();
    // What is read alone is what is listed.
    let listed = store.list_sessions(SessionFilter::new().limit(1000)).await.unwrap().data;
    assert_eq!(listed.into_iter().find(|one| one.session_id == *session_id), found);
    found
}

/// Starts a run of a session and pauses it at a call that somebody has to approve, at once.
async fn paused(store: &Store, session_id: &str, requester: Principal) -> RunId {
    let run_id = RunId::generate();
    let mut request = begin(&run_id);
    (request.session_id, request.requester) = (id(session_id), Some(requester));
    let claim = RunClaim::first(&run_id);
    store.begin_with_turn(request, turn(&claim, 1, &[required()], true)).await.unwrap();
    run_id
}

/// The same, approved and run to its end.
async fn complete(store: &Store, session_id: &str, requester: Principal) -> RunId {
    let run_id = paused(store, session_id, requester).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let started = store.start(&claim, 0).await;
    store.succeed(&started).await;
    store.complete(&claim).await.unwrap();
    run_id
}

async fn delete(store: &Store, session_id: &str) -> (Vec<RunId>, Vec<RunId>) {
    let deleted = store.delete_session(&id(session_id), SessionDeletion::new().by_person(Some(ana()))).await.unwrap();
    assert_eq!(deleted.session_id, *session_id);
    (deleted.runs, deleted.cancelled)
}

async fn a_session_is_made_before_its_first_run(store: &Store) {
    let kept = object(json!({ "theme": "dark", "nothing": null, "nul": "a\0b" }));
    let new = NewSession::new().session_id("s").agent_id("a").requester(ana()).name("Refunds").metadata(kept.clone());
    let made = store.create_session(new).await.unwrap();
    assert_eq!((made.session_id.as_str(), made.agent_id.as_deref(), made.runs), ("s", Some("a"), 0));
    assert_eq!((&made.requester, made.name.as_deref()), (&Some(ana()), Some("Refunds")));
    assert_eq!((&made.metadata, &made.first_run, &made.agent_name), (&Some(kept), &None, &None));
    assert_eq!(made.created_at_ms, made.updated_at_ms);
    assert_eq!(session(store, "s").await.as_ref(), Some(&made));
    // It is in the lists that it belongs in, and in no other.
    for (filter, count) in [
        (SessionFilter::new().user_id("ana"), 1),
        (SessionFilter::new().user_id("ana").agent_id("a"), 1),
        (SessionFilter::new().user_id("eve"), 0),
        (SessionFilter::new().agent_id("b"), 0),
    ] {
        let page = store.list_sessions(filter.clone()).await.unwrap();
        assert_eq!((page.data.len(), page.meta.total_count), (count, count as u64), "{filter:?}");
    }
    // With its first run it is still one session.
    let run_id = paused(store, "s", ana()).await;
    let found = session(store, "s").await.unwrap();
    assert_eq!((found.runs, &found.first_run, found.name), (1, &Some(run_id), made.name));
    assert_eq!((found.created_at_ms, found.updated_at_ms >= made.updated_at_ms), (made.created_at_ms, true));
    assert_eq!(store.list_sessions(SessionFilter::new()).await.unwrap().meta.total_count, 1);
    // An id that is not brought is made, and one that is there is not taken over, whether by a row or by runs.
    let named = store.create_session(NewSession::new()).await.unwrap();
    assert_eq!((named.session_id.as_str().len(), named.requester, named.name), (36, None, None));
    paused(store, "t", ana()).await;
    for taken in ["s", "t", named.session_id.as_str()] {
        let refused = store.create_session(NewSession::new().session_id(taken).requester(verified("eve"))).await;
        assert!(matches!(&refused, Err(Error::SessionExists { session_id }) if *session_id == *taken), "{refused:?}");
    }
    assert_eq!(session(store, "t").await.unwrap().requester, Some(ana()));
}

async fn a_session_is_called_what_somebody_says(store: &Store) {
    let run_id = paused(store, "s", ana()).await;
    let before = session(store, "s").await.unwrap();
    assert_eq!((&before.name, &before.metadata, &before.requester), (&None, &None, &Some(ana())));
    // Nothing is nothing.
    let same = store.update_session(&id("s"), SessionChange::new()).await.unwrap();
    assert_eq!(same, before);
    let named = store.update_session(&id("s"), SessionChange::new().name("One").of_user("ana")).await.unwrap();
    assert_eq!((named.name.as_deref(), &named.metadata), (Some("One"), &None));
    assert_eq!((named.runs, &named.first_run, &named.requester), (1, &Some(run_id), &before.requester));
    assert_eq!((&named.agent_id, named.created_at_ms), (&before.agent_id, before.created_at_ms));
    // One of the two changes, and the other stays.
    let kept = object(json!({ "a": [1, { "b": 2.5 }] }));
    let change = SessionChange::new().metadata(kept.clone());
    let found = store.update_session(&id("s"), change).await.unwrap();
    assert_eq!((found.name.as_deref(), &found.metadata), (Some("One"), &Some(kept.clone())));
    let found = store.update_session(&id("s"), SessionChange::new().name("Two")).await.unwrap();
    assert_eq!((found.name.as_deref(), &found.metadata), (Some("Two"), &Some(kept)));
    assert_eq!(session(store, "s").await, Some(found));
    // Whoever sees only their own runs of it sees nothing of what its owner said.
    let own = paused(store, "s", verified("eve")).await;
    let page = store.list_sessions(SessionFilter::new().user_id("eve")).await.unwrap();
    let [seen] = page.data.as_slice() else { panic!("{page:?}") };
    assert_eq!((&seen.name, &seen.metadata, &seen.requester), (&None, &None, &Some(verified("eve"))));
    assert_eq!((seen.runs, &seen.first_run), (1, &Some(own)));
    // Somebody else's is as good as none.
    for (session_id, owner) in [("s", "eve"), ("none", "ana")] {
        let change = SessionChange::new().name("Mine").of_user(owner);
        let refused = store.update_session(&id(session_id), change).await;
        assert!(matches!(refused, Err(Error::NotFound { entity: "session", .. })), "{refused:?}");
        let refused = store.delete_session(&id(session_id), SessionDeletion::new().of_user(owner)).await;
        assert!(matches!(refused, Err(Error::NotFound { entity: "session", .. })), "{refused:?}");
    }
    assert_eq!(session(store, "s").await.unwrap().name.as_deref(), Some("Two"));
}

async fn what_is_too_long_or_empty_is_refused(store: &Store) {
    store.create_session(NewSession::new().session_id("s").name("n")).await.unwrap();
    let before = session(store, "s").await;
    let long = "é".repeat(255);
    let large = object(json!({ "a": "x".repeat(64 << 10) }));
    for new in [
        NewSession::new().session_id(""),
        NewSession::new().session_id(" \n"),
        NewSession::new().session_id(format!("{long}e")),
        NewSession::new().name(""),
        NewSession::new().name("\t "),
        NewSession::new().name(format!("{long}e")),
        NewSession::new().metadata(large.clone()),
    ] {
        let refused = store.create_session(new.clone()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{new:?}: {refused:?}");
    }
    for change in [SessionChange::new().name(""), SessionChange::new().name("a").metadata(large)] {
        let refused = store.update_session(&id("s"), change).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    assert_eq!(session(store, "s").await, before);
    assert_eq!(store.list_sessions(SessionFilter::new()).await.unwrap().meta.total_count, 1);
    store.create_session(NewSession::new().session_id(&long).name(&long)).await.unwrap();
    assert_eq!(session(store, &long).await.unwrap().name, Some(long));
}

/// I9, I12, I16: what waits is cancelled, and what was decided stays.
async fn i9_deleting_a_session_cancels_its_runs_and_keeps_what_was_decided(store: &Store) {
    let over = complete(store, "s", ana()).await;
    let open = paused(store, "s", ana()).await;
    let other = paused(store, "other", ana()).await;
    store.update_session(&id("s"), SessionChange::new().name("Refunds")).await.unwrap();
    assert_eq!(delete(store, "s").await, (vec![over.clone(), open.clone()], vec![open.clone()]));

    assert_eq!(session(store, "s").await, None);
    let listed: Vec<_> = store.list_runs(RunFilter::new()).await.unwrap().into_iter().map(|run| run.run_id).collect();
    assert_eq!(listed, std::slice::from_ref(&other));
    assert!(store.history(id("s"), begin(&over).agent_id, Some(ana()), 10).await.unwrap().is_empty());
    // Whoever knows them still reads them, and sees what became of them.
    let (over, open) = (store.get_run(&over).await.unwrap(), store.get_run(&open).await.unwrap());
    assert_eq!((over.status, open.status), (RunStatus::Completed, RunStatus::Cancelled));
    assert!(over.deleted_at_ms.is_some() && open.deleted_at_ms.is_some());
    assert_eq!(store.words(&over.run_id).await.last().map(String::as_str), Some("run_hidden"));
    assert_eq!(store.words(&open.run_id).await.last().map(String::as_str), Some("run_hidden"));
    // What was decided is in the lists of those who decide, and what was not can never be.
    let rows = store.list_approvals(ApprovalFilter::new().session_id("s")).await.unwrap().data;
    let statuses: Vec<_> = rows.iter().map(|row| (row.run_id.clone(), row.status)).collect();
    assert!(statuses.contains(&(over.run_id.clone(), ApprovalStatus::Approved)), "{statuses:?}");
    assert!(statuses.contains(&(open.run_id.clone(), ApprovalStatus::Cancelled)), "{statuses:?}");
    let row = rows.iter().find(|row| row.run_id == open.run_id).unwrap();
    let late = store.update_approval(&row.id, ApprovalStatus::Pending, Resolution::approved().by("admin")).await;
    assert!(matches!(late, Err(Error::Conflict { .. })), "{late:?}");
    assert_eq!(store.starts(&open.run_id).await, 0);
    // It was said once, by whom, and is over.
    let again = store.delete_session(&id("s"), SessionDeletion::new()).await;
    assert!(matches!(again, Err(Error::NotFound { entity: "session", .. })), "{again:?}");
    assert_eq!(store.count(&open.run_id, "run_cancelled").await, 1);
    assert_eq!(store.count(&over.run_id, "run_hidden").await, 1);
    assert_eq!(store.get_run(&other).await.unwrap().status, RunStatus::Paused);
}

async fn a_session_goes_on_anew_after_it_was_deleted(store: &Store) {
    complete(store, "s", ana()).await;
    store.create_session(NewSession::new().session_id("empty").requester(ana())).await.unwrap();
    delete(store, "s").await;
    assert_eq!(delete(store, "empty").await, (vec![], vec![]));
    // Of somebody else by now, who sees nothing of what was before.
    let run_id = complete(store, "s", verified("eve")).await;
    let found = session(store, "s").await.unwrap();
    assert_eq!((found.runs, found.requester, found.name), (1, Some(verified("eve")), None));
    let refused = store.delete_session(&id("s"), SessionDeletion::new().of_user("ana")).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    assert_eq!(store.history(id("s"), begin(&run_id).agent_id, Some(verified("eve")), 10).await.unwrap().len(), 1);
    store.create_session(NewSession::new().session_id("empty").requester(verified("eve"))).await.unwrap();
    assert_eq!(session(store, "empty").await.unwrap().requester, Some(verified("eve")));
}

/// I7, I8: a body under way ends by itself, and what nobody knows stays with those who can say.
async fn i7_what_runs_in_a_deleted_session_is_still_recorded(store: &Store) {
    let run_id = paused(store, "s", ana()).await;
    store.approve(&run_id, 0).await.unwrap();
    let claim = store.resumed(&run_id).await;
    let started = store.start(&claim, 0).await;
    assert_eq!(delete(store, "s").await, (vec![run_id.clone()], vec![run_id.clone()]));
    // Its owner owns nothing any more, and ends nothing.
    let lost = store.end_run(end(&claim, RunStatus::Completed)).await;
    assert!(matches!(lost, Err(Error::NotMine { .. })), "{lost:?}");
    store.finish_call(started.ticket(), Ended::Succeeded("paid".to_owned()), Vec::new()).await.unwrap();
    let execution = store.call(&run_id).await.execution.unwrap();
    assert_eq!((execution.status, execution.result.as_deref()), (ExecutionStatus::Succeeded, Some("paid")));
    assert_eq!(store.get_run(&run_id).await.unwrap().status, RunStatus::Cancelled);
}

async fn i8_what_is_unknown_in_a_deleted_session_is_settled(store: &Store) {
    let (claim, _) = store.unknown().await;
    let run = store.get_run(&claim.run_id).await.unwrap();
    let deleted = store.delete_session(&run.session_id, SessionDeletion::new()).await.unwrap();
    assert_eq!(deleted.cancelled, std::slice::from_ref(&claim.run_id));
    let unknown = kern_db::ExecutionFilter::new().status(ExecutionStatus::Unknown);
    let listed = store.list_executions(unknown.clone()).await.unwrap();
    assert_eq!(listed.len(), 1, "somebody still has to say");
    // Not by letting it run once more: its run has ended.
    let again =
        store.settle_execution(&listed[0].id, Settlement::run_again().by("ops").note("it is worth a try")).await;
    assert!(matches!(again, Err(Error::RunConflict { .. })), "{again:?}");
    store
        .settle_execution(&listed[0].id, Settlement::succeeded("paid").by("ops").note("seen at the bank"))
        .await
        .unwrap();
    assert!(store.list_executions(unknown).await.unwrap().is_empty());
}

async fn a_run_of_a_deleted_session_is_erased(store: &Store) {
    let run_id = complete(store, "s", ana()).await;
    delete(store, "s").await;
    let erased = store.audit().erase(&run_id, Some(ana()), "ticket 42").await.unwrap();
    assert_eq!(erased.run_id, run_id);
    assert!(store.audit().verify().await.unwrap().is_intact());
}

/// I13, I16: in SQL nobody deletes a run in silence, and nobody brings one back.
async fn i13_a_deletion_that_kern_did_not_make_is_found(_: &Store) {
    for (change, is_refused) in [
        ("UPDATE kern_runs SET deleted_at_ms = NULL WHERE deleted_at_ms IS NOT NULL", true),
        ("UPDATE kern_runs SET deleted_at_ms = deleted_at_ms + 1 WHERE deleted_at_ms IS NOT NULL", true),
        ("UPDATE kern_runs SET deleted_at_ms = 1 WHERE status = 'PAUSED'", true),
        (
            "UPDATE kern_runs SET deleted_at_ms = 1, snapshot = snapshot || ' ' WHERE deleted_at_ms IS NULL AND status = 'COMPLETED'",
            true,
        ),
        ("UPDATE kern_runs SET deleted_at_ms = 1, turn = 7 WHERE deleted_at_ms IS NULL AND status = 'COMPLETED'", true),
        // What the triggers let pass, the log does not know.
        ("UPDATE kern_runs SET deleted_at_ms = 1 WHERE deleted_at_ms IS NULL AND status = 'COMPLETED'", false),
    ] {
        let store = &Store::on_a_file().await;
        complete(store, "gone", ana()).await;
        delete(store, "gone").await;
        complete(store, "here", ana()).await;
        paused(store, "open", ana()).await;
        assert!(store.audit().verify().await.unwrap().is_intact());
        assert_eq!(store.raw().execute_batch(change).is_err(), is_refused, "`{change}`");
        if is_refused {
            store.tamper(change);
        }
        assert!(!store.audit().verify().await.unwrap().is_intact(), "`{change}` is found");
    }
}

/// All of them go, or none: whoever tries again finds what they left.
async fn several_sessions_are_deleted_together(store: &Store) {
    let (one, two) = (paused(store, "one", ana()).await, complete(store, "two", ana()).await);
    let theirs = paused(store, "theirs", verified("eve")).await;
    store.create_session(NewSession::new().session_id("empty").requester(ana())).await.unwrap();
    let of_ana = || SessionDeletion::new().by_person(Some(ana())).of_user("ana");
    for missing in ["theirs", "none", "zzz"] {
        let ids = ["two", missing, "one"].map(id).to_vec();
        let refused = store.delete_sessions(ids, of_ana()).await;
        assert!(matches!(&refused, Err(Error::NotFound { id, .. }) if id == missing), "{refused:?}");
    }
    for (run_id, status) in [(&one, RunStatus::Paused), (&two, RunStatus::Completed), (&theirs, RunStatus::Paused)] {
        let run = store.get_run(run_id).await.unwrap();
        assert_eq!((run.status, run.deleted_at_ms), (status, None));
    }
    // One that is named twice is deleted once.
    let deleted = store.delete_sessions(["two", "one", "empty", "two"].map(id).to_vec(), of_ana()).await.unwrap();
    let deleted: Vec<_> = deleted.into_iter().map(|it| (it.session_id.to_string(), it.runs, it.cancelled)).collect();
    let expected = [
        ("empty".to_owned(), vec![], vec![]),
        ("one".to_owned(), vec![one.clone()], vec![one]),
        ("two".to_owned(), vec![two], vec![]),
    ];
    assert_eq!(deleted, expected);
    assert!(store.delete_sessions(Vec::new(), of_ana()).await.unwrap().is_empty());
    let left = store.list_sessions(SessionFilter::new()).await.unwrap().data;
    assert_eq!(left.into_iter().map(|session| session.session_id).collect::<Vec<_>>(), [id("theirs")]);
}

/// I4: of two who delete at once, one does; a run that starts meanwhile is deleted with the others, or is a new session's.
async fn i4_a_session_is_deleted_once(store: &Store) {
    for round in 0..20 {
        let name = format!("s{round}");
        let open = paused(store, &name, ana()).await;
        let (one, two) = (store.shared(), store.second().await);
        let session_id = id(&name);
        let (first, second, late) = tokio::join!(
            one.delete_session(&session_id, SessionDeletion::new()),
            two.delete_session(&session_id, SessionDeletion::new()),
            paused(store, &name, verified("eve")),
        );
        let is_gone = |outcome: &Result<_, Error>| match outcome {
            Ok(_) => true,
            Err(Error::NotFound { .. }) => false,
            Err(other) => panic!("{other}"),
        };
        assert!(is_gone(&first) || is_gone(&second), "{first:?}, {second:?}");
        assert_eq!(store.get_run(&open).await.unwrap().status, RunStatus::Cancelled);
        assert_eq!(store.count(&open, "run_hidden").await, 1);
        let late = store.get_run(&late).await.unwrap();
        match late.deleted_at_ms {
            Some(_) => assert_eq!(late.status, RunStatus::Cancelled),
            None => assert_eq!((late.status, session(store, &name).await.unwrap().runs), (RunStatus::Paused, 1)),
        }
        if late.status == RunStatus::Paused {
            store.cancel_run(late.run_id, Caller::Anonymous).await.unwrap();
        }
    }
}

on_each_store! {
    a_session_is_made_before_its_first_run,
    a_session_is_called_what_somebody_says,
    what_is_too_long_or_empty_is_refused,
    i9_deleting_a_session_cancels_its_runs_and_keeps_what_was_decided,
    a_session_goes_on_anew_after_it_was_deleted,
    i7_what_runs_in_a_deleted_session_is_still_recorded,
    i8_what_is_unknown_in_a_deleted_session_is_settled,
    a_run_of_a_deleted_session_is_erased,
    several_sessions_are_deleted_together,
    i4_a_session_is_deleted_once,
}

on_a_file! { i13_a_deletion_that_kern_did_not_make_is_found }
