//! What lists of approvals, runs and sessions hold, in which order, and how they are counted.

use std::collections::BTreeSet;

use kern_db::{
    Approval, ApprovalFilter, ApprovalStatus, BeginRun, Caller, Error, KEY_ISSUER, Link, Owner, Principal, RunFilter,
    RunId, RunStatus, SessionChange, SessionDeletion, SessionFilter, SessionId,
};
use kern_tests::steps::{APPROVER, REQUESTER, Store, begin, required, turn, two_stage, user, verified};

/// Starts a run of a session, asked for by somebody.
async fn run_of(store: &Store, session: &str, agent: &str, requester: Option<Principal>) -> RunId {
    let run_id = RunId::generate();
    let request = BeginRun {
        session_id: SessionId::from(session),
        agent_id: agent.to_owned(),
        agent_name: Some(agent.to_uppercase()),
        requester,
        ..begin(&run_id)
    };
    store.begin_run(request).await.unwrap();
    run_id
}

/// The same, paused at a call that somebody has to approve.
async fn asked_by(store: &Store, requester: &str) -> RunId {
    let mut request = begin(&RunId::generate());
    request.requester = Some(Principal::unverified(requester));
    let claim = store.begin_run(request).await.unwrap();
    store.commit_turn(turn(&claim, 1, &[required()], true)).await.unwrap().run_id
}

fn ana() -> Option<Principal> {
    Some(Principal::unverified("ana"))
}

async fn sessions(store: &Store, filter: SessionFilter) -> Vec<(String, u64)> {
    let page = store.list_sessions(filter).await.unwrap();
    assert_eq!(page.meta.total_count, page.data.len() as u64);
    page.data.into_iter().map(|session| (session.session_id.to_string(), session.runs)).collect()
}

async fn a_session_is_what_its_runs_have_in_common(store: &Store) {
    assert_eq!(store.list_sessions(SessionFilter::new()).await.unwrap().meta.total_pages, 0);
    let first = run_of(store, "one", "a", ana()).await;
    run_of(store, "two", "a", None).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let second = run_of(store, "one", "b", Some(verified("eve"))).await;
    let page = store.list_sessions(SessionFilter::new()).await.unwrap();
    let meta = page.meta;
    assert_eq!((meta.page, meta.limit, meta.total_pages, meta.total_count), (1, 20, 1, 2));
    let one = &page.data[0];
    assert_eq!((one.session_id.as_str(), one.runs, &one.first_run), ("one", 2, &Some(first.clone())));
    assert_eq!((one.agent_id.as_deref(), one.agent_name.as_deref(), &one.requester), (Some("a"), Some("A"), &ana()));
    assert_eq!(one.created_at_ms, store.get_run(&first).await.unwrap().created_at_ms);
    assert_eq!(one.updated_at_ms, store.get_run(&second).await.unwrap().updated_at_ms);
    assert!(one.created_at_ms < one.updated_at_ms);
    assert_eq!((page.data[1].session_id.as_str(), page.data[1].runs, &page.data[1].requester), ("two", 1, &None));
    // Whatever happens to a run moves its session up.
    let two = page.data[1].first_run.clone().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    store.cancel_run(two, kern_db::Caller::Anonymous).await.unwrap();
    assert_eq!(sessions(store, SessionFilter::new()).await, [("two".to_owned(), 1), ("one".to_owned(), 2)]);
}

async fn of_other_peoples_runs_no_session_shows_anything(store: &Store) {
    run_of(store, "shared", "a", Some(verified("eve"))).await;
    let own = run_of(store, "shared", "b", ana()).await;
    run_of(store, "hers", "a", Some(verified("eve"))).await;
    run_of(store, "nobodys", "a", None).await;
    // A subject is a whole name, and no pattern.
    run_of(store, "like", "a", Some(Principal::unverified("a%"))).await;
    let page = store.list_sessions(SessionFilter::new().user_id("ana")).await.unwrap();
    assert_eq!((page.data.len(), page.meta.total_count), (1, 1));
    let shared = &page.data[0];
    assert_eq!((shared.session_id.as_str(), shared.runs, &shared.first_run), ("shared", 1, &Some(own.clone())));
    let run = store.get_run(&own).await.unwrap();
    assert_eq!((shared.agent_id.as_deref(), &shared.requester), (Some("b"), &run.requester));
    assert_eq!((shared.created_at_ms, shared.updated_at_ms), (run.created_at_ms, run.updated_at_ms));
    // Of eve's, too, all that she asked for: a name is compared, whoever vouches for it.
    let hers: BTreeSet<_> = sessions(store, SessionFilter::new().user_id("eve")).await.into_iter().collect();
    assert_eq!(hers, BTreeSet::from([("hers".to_owned(), 1), ("shared".to_owned(), 1)]));
    assert_eq!(sessions(store, SessionFilter::new().user_id("eve").agent_id("b")).await, []);
    assert_eq!(sessions(store, SessionFilter::new().user_id("ana").agent_id("b")).await, [("shared".to_owned(), 1)]);
    assert_eq!(sessions(store, SessionFilter::new().agent_id("a")).await.len(), 4);
    assert_eq!(sessions(store, SessionFilter::new().user_id("nobody")).await, []);
}

async fn sessions_come_page_by_page(store: &Store) {
    for session in 0..7 {
        run_of(store, &format!("s{session}"), "a", ana()).await;
    }
    let whole = sessions(store, SessionFilter::new()).await;
    let mut pages = Vec::new();
    for page in 1..=4 {
        let found = store.list_sessions(SessionFilter::new().limit(2).page(page)).await.unwrap();
        assert_eq!((found.meta.total_count, found.meta.total_pages, found.meta.page), (7, 4, page));
        pages.extend(found.data.into_iter().map(|session| (session.session_id.to_string(), session.runs)));
    }
    assert_eq!(pages, whole);
    let times: Vec<_> = store.list_sessions(SessionFilter::new()).await.unwrap().data;
    let keys: Vec<_> = times.iter().map(|session| (-session.updated_at_ms, session.session_id.clone())).collect();
    assert!(keys.is_sorted(), "{keys:?}");
    assert_eq!(store.list_sessions(SessionFilter::new().page(9)).await.unwrap().data.len(), 0);
    for wrong in [SessionFilter::new().limit(0), SessionFilter::new().limit(1001), SessionFilter::new().page(0)] {
        let refused = store.list_sessions(wrong).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
}

async fn runs_of_a_user_come_in_both_orders(store: &Store) {
    let mut own = Vec::new();
    for _ in 0..3 {
        own.push(run_of(store, "s", "a", ana()).await);
        run_of(store, "s", "a", Some(verified("eve"))).await;
        run_of(store, "s", "a", None).await;
    }
    let list = async |filter: RunFilter| -> Vec<RunId> {
        store.list_runs(filter).await.unwrap().into_iter().map(|run| run.run_id).collect()
    };
    let of_ana = || RunFilter::new().user_id("ana").session_id("s");
    assert_eq!(list(of_ana()).await, own);
    own.reverse();
    assert_eq!(list(of_ana().newest_first()).await, own);
    assert_eq!(list(of_ana().newest_first().limit(1)).await, own[..1]);
    assert_eq!(list(of_ana().newest_first().after(own[0].clone())).await, own[1..]);
    assert_eq!(list(of_ana().after(own[1].clone())).await, own[..1]);
    assert!(list(of_ana().status(RunStatus::Paused)).await.is_empty());
    assert_eq!(list(RunFilter::new().newest_first()).await.len(), 9);
}

/// Approvals of three users, in every state that one gets to without waiting.
async fn mixed(store: &Store) {
    for round in 0..6 {
        for requester in ["ana", "eve", "a\0na"] {
            let run_id = asked_by(store, requester).await;
            match round {
                0 => drop(store.approve(&run_id, 0).await.unwrap()),
                1 => drop(store.refuse(&run_id, 0).await.unwrap()),
                2 => {
                    let caller = kern_db::Caller::Person(Principal::unverified(requester));
                    store.cancel_run(run_id, caller).await.unwrap();
                }
                3 => store.delete_approval(&store.approval_id(&run_id, 0).await).await.unwrap(),
                4 => {
                    store.approve(&run_id, 0).await.unwrap();
                    store.delete_approval(&store.approval_id(&run_id, 0).await).await.unwrap();
                }
                _ => {}
            }
        }
    }
}

fn filters() -> Vec<ApprovalFilter> {
    let mut filters = vec![
        ApprovalFilter::new().agent_id("agent"),
        ApprovalFilter::new().session_id("session").user_id("ana"),
        ApprovalFilter::new().workflow_id("w"),
        ApprovalFilter::new().schedule_id("s").status(ApprovalStatus::Pending),
    ];
    for user in [None, Some("ana"), Some("eve"), Some("a\0na"), Some(""), Some("*"), Some("bob")] {
        let of = || user.map_or_else(ApprovalFilter::new, |user| ApprovalFilter::new().user_id(user));
        filters.push(of());
        filters.extend(
            ["pending", "approved", "rejected", "expired", "cancelled"]
                .map(|status| of().status(status.parse::<ApprovalStatus>().unwrap())),
        );
    }
    filters
}

async fn what_is_counted_is_what_is_listed(store: &Store) {
    mixed(store).await;
    for filter in filters() {
        let page = store.list_approvals(filter.clone()).await.unwrap();
        assert_eq!(page.meta.total_count, page.data.len() as u64, "{filter:?}");
        assert_eq!(
            store.count_approvals(filter.clone().limit(1_u32).page(7_u32)).await.unwrap(),
            page.meta.total_count
        );
        for approval in &page.data {
            assert_eq!(store.get_approval(&approval.id).await.unwrap().as_ref(), Some(approval), "{filter:?}");
        }
    }
    let count = async |filter: ApprovalFilter| store.count_approvals(filter).await.unwrap();
    assert_eq!(count(ApprovalFilter::new()).await, 12);
    assert_eq!(count(ApprovalFilter::new().user_id("ana")).await, 4);
    assert_eq!(count(ApprovalFilter::new().status(ApprovalStatus::Approved)).await, 3);
    assert_eq!(count(ApprovalFilter::new().status(ApprovalStatus::Pending).user_id("a\0na")).await, 1);
    assert_eq!(count(ApprovalFilter::new().workflow_id("w")).await, 0);
    assert_eq!(store.count_pending_approvals().await.unwrap(), 3);
}

/// What a list shows of each row is what reading it alone shows: votes, execution and run are those of this row.
async fn every_row_of_a_page_comes_with_its_own(store: &Store) {
    let run_id = store.paused(&[required(), two_stage(), required().quorum(2)]).await;
    store.approve(&run_id, 0).await.unwrap();
    store.approve(&run_id, 1).await.unwrap();
    store.approve(&run_id, 2).await.unwrap();
    let _ = store.executing().await;
    let _ = store.unknown().await;
    let recorded = store.paused(&[user().record(true)]).await;
    store.answer(&recorded, 0, kern_db::NewAnswer::Confirm).await.unwrap();
    store.paused(&[required()]).await;
    let page = store.list_approvals(ApprovalFilter::new().limit(1000_u32)).await.unwrap();
    assert_eq!(page.data.len(), 7);
    for approval in &page.data {
        assert_eq!(store.get_approval(&approval.id).await.unwrap().as_ref(), Some(approval));
        let run = store.get_run(&approval.run_id).await.unwrap();
        assert_eq!((approval.run_status, approval.updated_at), (Some(run.status), Some(run.updated_at_ms / 1000)));
        let call = run.calls.iter().find(|call| call.tool_call_id == approval.tool_call_id).unwrap();
        assert_eq!(approval.execution, call.execution);
    }
    let voters = |approval: &Approval| approval.votes.iter().filter_map(|vote| vote.voter.clone()).collect::<Vec<_>>();
    assert_eq!(page.data.iter().map(voters).filter(|voters| *voters == [APPROVER]).count(), 5);
    assert!(page.data.iter().all(|approval| approval.user_id.as_deref() == Some(REQUESTER)));
}

async fn a_cursor_misses_nothing_and_shows_nothing_twice(store: &Store) {
    for _ in 0..7 {
        asked_by(store, "ana").await;
        asked_by(store, "eve").await;
    }
    let of_ana = || ApprovalFilter::new().user_id("ana").status(ApprovalStatus::Pending);
    for filter in [ApprovalFilter::new(), of_ana(), ApprovalFilter::new().agent_id("agent")] {
        let whole = store.list_approvals(filter.clone()).await.unwrap().data;
        let keys: Vec<_> = whole.iter().map(|row| (-row.created_at, std::cmp::Reverse(row.id.clone()))).collect();
        assert!(keys.is_sorted(), "newest first: {keys:?}");
        let mut found: Vec<Approval> = Vec::new();
        loop {
            let next = match found.last() {
                Some(last) => filter.clone().after(last.created_at, last.id.clone()),
                None => filter.clone(),
            };
            let page = store.list_approvals(next.limit(3_u32)).await.unwrap();
            assert!(page.meta.total_count >= whole.len() as u64);
            assert_eq!(page.meta.page, 1);
            if page.data.is_empty() {
                break;
            }
            found.extend(page.data);
            // What comes meanwhile is before the first, and in no later page.
            asked_by(store, "ana").await;
        }
        assert_eq!(found, whole);
    }
    let both = store.list_approvals(of_ana().after(0, "x").page(2_u32)).await;
    assert!(matches!(both, Err(Error::Invalid(_))), "{both:?}");
}

/// Triggers keep the counts; without one of them, or with another number, the store says that something is wrong.
async fn kept_counts_are_held_against_the_rows(store: &Store) {
    mixed(store).await;
    assert!(store.audit().verify().await.unwrap().is_intact());
    let verify = async |sql: &str, undo: &str| {
        store.raw().execute_batch(sql).unwrap();
        let report = store.audit().verify().await.unwrap();
        assert!(report.is_log_intact() && !report.is_intact(), "{sql}");
        store.raw().execute_batch(undo).unwrap();
        assert!(store.audit().verify().await.unwrap().is_intact(), "{undo}");
        report.broken.unwrap().row.unwrap()
    };
    let counts = "table `kern_approvals_counts`";
    for (column, whose) in [("pending", "*"), ("approved", "=ana"), ("expired", "*")] {
        let change =
            |by: &str| format!("UPDATE kern_approvals_counts SET {column} = {column} {by} 1 WHERE whose = '{whose}'");
        assert_eq!(verify(&change("+"), &change("-")).await, counts);
    }
    let added = "INSERT INTO kern_approvals_counts (whose, pending) VALUES ('=zoe', 1)";
    assert_eq!(verify(added, "DELETE FROM kern_approvals_counts WHERE whose = '=zoe'").await, counts);
    let foreign = "CREATE TRIGGER theirs AFTER UPDATE ON kern_approvals_counts BEGIN SELECT 1; END";
    assert_eq!(verify(foreign, "DROP TRIGGER theirs").await, "trigger `theirs`");
    let raw = store.raw();
    for trigger in ["kern_approvals_counted", "kern_approvals_recounted"] {
        let sql: String =
            raw.query_row("SELECT sql FROM sqlite_schema WHERE name = ?", [trigger], |row| row.get(0)).unwrap();
        assert_eq!(verify(&format!("DROP TRIGGER {trigger}"), &sql).await, format!("trigger `{trigger}`"));
    }
}

/// A filter by a principal compares issuer and subject exactly; one by a name takes whatever issuer vouches for it.
async fn a_name_under_another_issuer_is_another_owner(store: &Store) {
    let proved = |issuer: &str| Principal::verified(issuer, "ana").unwrap();
    let link = Link::new("https://id.example", "agent");
    let acting = proved("https://id.example").on_behalf_of(link);
    // A name that spells out what the counts of SQLite are kept under is still only a name.
    let odd = Principal::unverified("https://id.example\nana");
    let principals = [proved(KEY_ISSUER), proved("https://id.example"), Principal::unverified("ana"), odd];
    let mut runs = Vec::new();
    for requester in principals.iter().chain([&acting]) {
        let mut request = begin(&RunId::generate());
        request.session_id = SessionId::generate();
        request.requester = Some(requester.clone());
        let claim = store.begin_run(request).await.unwrap();
        runs.push(store.commit_turn(turn(&claim, 1, &[required()], true)).await.unwrap().run_id);
    }
    store.approve(&runs[1], 0).await.unwrap();
    let found = async |owner: Owner| {
        let listed = store.list_runs(RunFilter::new().user_id(&owner)).await.unwrap();
        let pending = ApprovalFilter::new().status(ApprovalStatus::Pending).user_id(&owner);
        let approvals = store.list_approvals(ApprovalFilter::new().user_id(&owner)).await.unwrap();
        assert_eq!(approvals.meta.total_count, approvals.data.len() as u64);
        assert!(approvals.data.iter().all(|approval| owner.owns(approval.requester.as_ref())));
        assert!(listed.iter().all(|run| owner.owns(run.requester.as_ref())));
        let sessions = store.list_sessions(SessionFilter::new().user_id(&owner)).await.unwrap();
        assert_eq!((sessions.meta.total_count, approvals.data.len()), (listed.len() as u64, listed.len()));
        (listed.into_iter().map(|run| run.run_id).collect::<Vec<_>>(), store.count_approvals(pending).await.unwrap())
    };
    // What an agent asked for on her behalf is hers: the chain is no part of the owner.
    let own = [vec![0], vec![1, 4], vec![2], vec![3]];
    for (principal, own) in principals.iter().zip(own) {
        let ids: Vec<_> = own.iter().map(|place| runs[*place].clone()).collect();
        let pending = own.iter().filter(|place| **place != 1).count() as u64;
        assert_eq!(found(Owner::from(principal)).await, (ids, pending), "{principal:?}");
    }
    assert_eq!(found(Owner::from("ana")).await, ([0, 1, 2, 4].map(|place| runs[place].clone()).into(), 3));
    // Nor does a session open for another issuer's principal, and its history stays with its own.
    let session = store.get_run(&runs[1]).await.unwrap().session_id;
    for other in [&principals[0], &principals[2]] {
        let change = SessionChange::new().name("mine").of_user(other);
        assert!(matches!(store.update_session(&session, change).await, Err(Error::NotFound { .. })));
        let deletion = SessionDeletion::new().of_user(other);
        assert!(matches!(store.delete_sessions(vec![session.clone()], deletion).await, Err(Error::NotFound { .. })));
    }
    store.cancel_run(runs[1].clone(), Caller::Person(principals[1].clone())).await.unwrap();
    let history = async |of: &Principal| {
        store.history(session.clone(), "agent".to_owned(), Some(of.clone()), 9).await.unwrap().len()
    };
    assert_eq!((history(&principals[1]).await, history(&acting).await), (1, 1));
    assert_eq!((history(&principals[0]).await, history(&principals[2]).await), (0, 0));
    store.update_session(&session, SessionChange::new().name("hers").of_user(&principals[1])).await.unwrap();
    let named = store.list_sessions(SessionFilter::new().user_id(&principals[0])).await.unwrap();
    assert!(named.data.iter().all(|found| found.session_id != session));
}

on_each_store! {
    a_name_under_another_issuer_is_another_owner,
    a_session_is_what_its_runs_have_in_common,
    of_other_peoples_runs_no_session_shows_anything,
    sessions_come_page_by_page,
    runs_of_a_user_come_in_both_orders,
    what_is_counted_is_what_is_listed,
    every_row_of_a_page_comes_with_its_own,
    a_cursor_misses_nothing_and_shows_nothing_twice,
}

on_a_file! {
    kept_counts_are_held_against_the_rows,
}
