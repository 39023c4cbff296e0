//! Pools: who may decide where a policy names one.

use kern_db::{ApprovalStatus, DbExt as _, Error, Principal, Resolution};
use kern_tests::steps::{Store, required};

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

on_each_store! {
    a_pool_is_set_listed_and_on_record,
    i10_only_who_is_in_the_pool_decides,
}
