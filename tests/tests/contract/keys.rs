//! API keys: what the store keeps of them, and that only the audit log makes one.

use kern_db::{Error, FoundKey, KeyLookup, NewKey, Principal};
use kern_tests::steps::{Store, new_key as new};
use serde_json::json;

const ID: &str = "00112233445566aa";
const DAY_MS: i64 = 86_400_000;

async fn found(store: &Store, id: &str) -> FoundKey {
    match store.find_key(id.to_owned()).await.unwrap() {
        KeyLookup::Found(found) => *found,
        other => panic!("{other:?}"),
    }
}

async fn a_key_is_made_found_listed_and_on_record(store: &Store) {
    let made = store.make_key(new(ID)).await.unwrap();
    assert_eq!((made.id.as_str(), made.subject.as_str()), (ID, "ann"));
    assert_eq!(made.expires_at_ms, Some(made.created_at_ms + DAY_MS));
    assert_eq!((made.revoked_at_ms, &made.created_by), (None, &Some(Principal::unverified("root"))));
    let found = found(store, ID).await;
    assert_eq!((&found.key, found.secret_hash.as_str()), (&made, "5a".repeat(32).as_str()));
    assert!(!found.is_revoked && found.now_ms >= made.created_at_ms);

    let forever = NewKey { expires_in_ms: None, by: None, ..new("ffffffffffffffff") };
    let forever = store.make_key(forever).await.unwrap();
    assert_eq!((forever.expires_at_ms, &forever.created_by), (None, &None));
    assert_eq!(store.list_keys().await.unwrap(), [made, forever]);
    assert!(matches!(store.find_key("0".repeat(16)).await.unwrap(), KeyLookup::Missing));

    let entries = kern_tests::history::entries(&**store).await;
    assert_eq!(entries.len(), 3, "the first entry of the chain, and one for each key");
    let entry = &entries[1];
    assert_eq!((entry.action.as_str(), &entry.run_id, entry.call_digest.as_deref()), ("key_made", &None, Some(ID)));
    assert_eq!(entry.payload["subject"], json!("ann"));
    assert_eq!(entry.payload["scopes"], json!(["approvals:read", "agents:refunds:run"]));
    let kept = serde_json::to_string(&entries).unwrap();
    assert!(!kept.contains(&"5a".repeat(32)), "the hash of a secret is nobody's business: {kept}");
}

async fn a_key_that_cannot_be_is_refused_and_an_id_is_taken_once(store: &Store) {
    store.make_key(new(ID)).await.unwrap();
    for wrong in [
        new(ID),
        new("short"),
        NewKey { scopes: Vec::new(), ..new("1111111111111111") },
        NewKey { expires_in_ms: Some(0), ..new("1111111111111111") },
    ] {
        let refused = store.make_key(wrong).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }
    let nameless = store.make_key(NewKey { subject: String::new(), ..new("1111111111111111") }).await;
    assert!(matches!(nameless, Err(Error::InvalidPrincipal { .. })), "{nameless:?}");
    assert_eq!(store.list_keys().await.unwrap().len(), 1);
}

async fn a_revoked_key_stays_revoked_and_it_is_on_record_who_did(store: &Store) {
    store.make_key(new(ID)).await.unwrap();
    store.make_key(new("1111111111111111")).await.unwrap();
    let by = Some(Principal::unverified("root"));
    let revoked = store.revoke_key(ID, by.clone()).await.unwrap();
    assert_eq!((&revoked.revoked_by, revoked.revoked_at_ms.is_some()), (&by, true));
    assert!(found(store, ID).await.is_revoked);
    assert!(!found(store, "1111111111111111").await.is_revoked, "the other one is as it was");
    let again = store.revoke_key(ID, Some(Principal::unverified("eve"))).await.unwrap();
    assert_eq!(again, revoked, "the first word counts");
    let entries = kern_tests::history::entries(&**store).await;
    assert_eq!(entries.iter().filter(|entry| entry.action == "key_revoked").count(), 1);
    let unknown = store.revoke_key("2222222222222222", by).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
}

async fn of_two_who_revoke_one_key_one_is_on_record(store: &Store) {
    for round in 0..10 {
        let id = format!("{round:016x}");
        store.make_key(new(&id)).await.unwrap();
        let (one, other) = (store.shared(), store.second().await);
        let (first, second) = (id.clone(), id.clone());
        let first = tokio::spawn(async move { one.revoke_key(&first, None).await });
        let second = tokio::spawn(async move { other.revoke_key(&second, None).await });
        assert_eq!(first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    }
}

/// A key is what was made, and not what its row says.
async fn a_key_whose_row_was_changed_is_refused_and_found(_: &Store) {
    for forged in [
        "UPDATE kern_keys SET scopes = '[\"agent_os:admin\"]'",
        "UPDATE kern_keys SET expires_at_ms = expires_at_ms + 1",
        "UPDATE kern_keys SET expires_at_ms = NULL",
        "UPDATE kern_keys SET subject = 'root'",
        "UPDATE kern_keys SET secret_hash = replace(secret_hash, '5a', '5b')",
        "UPDATE kern_keys SET created_at_ms = created_at_ms - 1",
        "UPDATE kern_keys SET created_by = NULL",
    ] {
        let store = &Store::on_a_file().await;
        store.make_key(new(ID)).await.unwrap();
        store.tamper(forged);
        let looked = store.find_key(ID.to_owned()).await.unwrap();
        assert!(matches!(looked, KeyLookup::Altered), "{forged}: {looked:?}");
        let report = store.audit().verify().await.unwrap();
        let row = format!("keys `{ID}`");
        assert!(report.broken.is_some_and(|broken| broken.row == Some(row)), "{forged}");
        // It can still be revoked, and stays so when its row is put right again.
        store.revoke_key(ID, None).await.unwrap();
    }
}

async fn a_key_that_only_its_row_has_is_refused_and_found(_: &Store) {
    let store = &Store::on_a_file().await;
    store.make_key(new(ID)).await.unwrap();
    let forged = "INSERT INTO kern_keys SELECT 'aaaaaaaaaaaaaaaa', secret_hash, subject, scopes, created_by, \
                  created_at_ms, expires_at_ms, revoked_by, revoked_at_ms FROM kern_keys";
    store.raw().execute(forged, ()).unwrap();
    let looked = store.find_key("aaaaaaaaaaaaaaaa".to_owned()).await.unwrap();
    assert!(matches!(looked, KeyLookup::Altered), "{looked:?}");
    assert!(!store.audit().verify().await.unwrap().is_intact());
    assert!(matches!(store.revoke_key("aaaaaaaaaaaaaaaa", None).await, Err(Error::Corrupt { .. })));
    let gone = &Store::on_a_file().await;
    gone.make_key(new(ID)).await.unwrap();
    gone.tamper("DELETE FROM kern_keys");
    assert!(matches!(gone.find_key(ID.to_owned()).await.unwrap(), KeyLookup::Missing));
    assert!(!gone.audit().verify().await.unwrap().is_intact());
}

async fn a_revoked_key_is_not_revived_by_its_row(_: &Store) {
    let store = &Store::on_a_file().await;
    store.make_key(new(ID)).await.unwrap();
    // Revoked while its row says something else, which is put right afterwards.
    store.tamper("UPDATE kern_keys SET subject = 'eve'");
    store.revoke_key(ID, None).await.unwrap();
    store.tamper("UPDATE kern_keys SET subject = 'ann', revoked_at_ms = NULL");
    assert!(found(store, ID).await.is_revoked);
    assert!(!store.audit().verify().await.unwrap().is_intact());
    let store = &Store::on_a_file().await;
    store.make_key(new(ID)).await.unwrap();
    store.tamper("UPDATE kern_keys SET revoked_at_ms = 1");
    assert!(found(store, ID).await.is_revoked, "either is enough");
    assert!(!store.audit().verify().await.unwrap().is_intact());
}

async fn the_triggers_let_a_key_only_be_revoked(_: &Store) {
    let store = &Store::on_a_file().await;
    store.make_key(new(ID)).await.unwrap();
    store.revoke_key(ID, None).await.unwrap();
    let raw = store.raw();
    for sql in [
        "DELETE FROM kern_keys",
        "UPDATE kern_keys SET scopes = '[]'",
        "UPDATE kern_keys SET expires_at_ms = NULL",
        "UPDATE kern_keys SET secret_hash = 'x'",
        "UPDATE kern_keys SET revoked_at_ms = NULL",
        "UPDATE kern_keys SET revoked_by = 'x'",
        "INSERT OR REPLACE INTO kern_keys SELECT * FROM kern_keys",
    ] {
        let refused = raw.execute(sql, ());
        assert!(refused.as_ref().is_err_and(|why| why.to_string().contains("kern: ")), "`{sql}`: {refused:?}");
    }
}

async fn what_the_log_has_of_a_key_is_found_by_an_index(store: &Store) {
    let raw = store.raw();
    let sql = "SELECT * FROM kern_audit WHERE run_id IS NULL AND call_digest IS ? LIMIT ? OFFSET ?";
    let mut statement = raw.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let plan: Vec<String> = statement.query_map((ID, 8, 0), |row| row.get(3)).and_then(Iterator::collect).unwrap();
    assert!(plan.len() == 1 && plan[0].contains("of_no_run (call_digest=?)"), "{plan:?}");
}

on_each_store! {
    a_key_is_made_found_listed_and_on_record,
    a_key_that_cannot_be_is_refused_and_an_id_is_taken_once,
    a_revoked_key_stays_revoked_and_it_is_on_record_who_did,
    of_two_who_revoke_one_key_one_is_on_record,
}

on_a_file! {
    a_key_that_only_its_row_has_is_refused_and_found,
    a_key_whose_row_was_changed_is_refused_and_found,
    a_revoked_key_is_not_revived_by_its_row,
    the_triggers_let_a_key_only_be_revoked,
    what_the_log_has_of_a_key_is_found_by_an_index,
}
