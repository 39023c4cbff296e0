//! API keys, from the header to an identity.

use std::time::Duration;

use kern::identity::{AuthError, Authenticator, Credential, Denied, Identity, KeyRequest, MadeKey, Scope, ScopeSet};
use kern_db::{KEY_ISSUER, Principal};
use kern_tests::steps::Store;

async fn made(store: &Store, scopes: &[&str]) -> MadeKey {
    KeyRequest::new("ann", ScopeSet::parse(scopes).unwrap()).make(&**store).await.unwrap()
}

async fn sent(store: &Store, values: &[&str]) -> Result<Identity, Denied> {
    let authenticator = Authenticator::new(store.shared());
    match authenticator.authenticate(values.iter().map(|value| value.as_bytes())).await {
        Ok(identity) => Ok(identity),
        Err(AuthError::Denied(denied)) => Err(denied),
        Err(other) => panic!("{other:?}"),
    }
}

async fn key(store: &Store, key: &str) -> Result<Identity, Denied> {
    sent(store, &[&format!("Bearer {key}")]).await
}

#[tokio::test]
async fn whoever_brings_a_key_is_its_subject_and_may_do_what_it_is_for() {
    let store = Store::on_a_file().await;
    let made = made(&store, &["approvals:read", "agents:refunds:run"]).await;
    let identity = key(&store, made.secret.reveal()).await.unwrap();
    assert_eq!(identity.principal, Principal::verified(KEY_ISSUER, "ann").unwrap());
    assert_eq!(identity.credential, Credential::Key { id: made.key.id.clone() });
    assert_eq!((identity.pools.as_ref(), identity.expires_at_ms), (None, None));
    assert!(identity.allows(&Scope::ApprovalsRead) && identity.allows(&Scope::run_agent("refunds")));
    assert!(!identity.allows(&Scope::ApprovalsWrite) && !identity.allows(&Scope::run_agent("other")));
}

#[tokio::test]
async fn a_key_of_which_one_character_is_another_is_refused() {
    let store = Store::on_a_file().await;
    let made = made(&store, &["audit:read"]).await;
    let whole = made.secret.reveal();
    for place in 0..whole.len() {
        let mut bytes = whole.as_bytes().to_vec();
        bytes[place] = if bytes[place] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(bytes).unwrap();
        let denied = key(&store, &changed).await.unwrap_err();
        assert_eq!(denied.code(), "invalid_credential", "{place}");
        let expected = match place {
            0..5 => Denied::NotTaken,
            5..21 => Denied::UnknownKey,
            21 => Denied::Malformed("it is no API key"),
            _ => Denied::WrongSecret,
        };
        assert_eq!(denied, expected, "{place}");
    }
    for wrong in [&whole[..whole.len() - 1], &format!("{whole}0"), &whole.to_uppercase(), "kern_", "kern__"] {
        assert_eq!(key(&store, wrong).await.unwrap_err().code(), "invalid_credential", "{wrong}");
    }
    assert!(key(&store, whole).await.is_ok());
}

#[tokio::test]
async fn the_secret_of_another_key_does_not_fit() {
    let store = Store::on_a_file().await;
    let (one, other) = (made(&store, &["audit:read"]).await, made(&store, &["agent_os:admin"]).await);
    let secret = one.secret.reveal().rsplit('_').next().unwrap();
    let mixed = format!("kern_{}_{secret}", other.key.id);
    assert_eq!(key(&store, &mixed).await, Err(Denied::WrongSecret));
}

#[tokio::test]
async fn a_key_that_was_revoked_or_has_expired_is_refused() {
    let store = Store::on_a_file().await;
    let revoked = made(&store, &["audit:read"]).await;
    store.revoke_key(&revoked.key.id, None).await.unwrap();
    assert_eq!(key(&store, revoked.secret.reveal()).await, Err(Denied::Revoked));
    let short = KeyRequest::new("ann", ScopeSet::parse(["audit:read"]).unwrap()).expires_in(Duration::from_millis(1));
    let short = short.make(&*store).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(key(&store, short.secret.reveal()).await, Err(Denied::Expired));
    let long = KeyRequest::new("ann", ScopeSet::parse(["audit:read"]).unwrap()).expires_in(Duration::from_secs(60));
    let long = long.make(&*store).await.unwrap();
    assert_eq!(key(&store, long.secret.reveal()).await.unwrap().expires_at_ms, long.key.expires_at_ms);
    // Whoever has not got the secret does not learn that it was revoked.
    let other = long.secret.reveal().rsplit('_').next().unwrap();
    assert_eq!(key(&store, &format!("kern_{}_{other}", revoked.key.id)).await, Err(Denied::WrongSecret));
}

#[tokio::test]
async fn a_key_whose_row_was_changed_is_refused() {
    for forged in [
        "UPDATE kern_keys SET scopes = '[\"agent_os:admin\"]'",
        "UPDATE kern_keys SET expires_at_ms = NULL",
        "UPDATE kern_keys SET expires_at_ms = expires_at_ms * 2",
        "UPDATE kern_keys SET subject = 'root'",
    ] {
        let store = Store::on_a_file().await;
        let request = KeyRequest::new("ann", ScopeSet::parse(["audit:read"]).unwrap());
        let made = request.expires_in(Duration::from_secs(60)).make(&*store).await.unwrap();
        store.tamper(forged);
        assert_eq!(key(&store, made.secret.reveal()).await, Err(Denied::AlteredKey), "{forged}");
    }
    // A row that cannot even be read lets nobody in either: the store is what has failed.
    let store = Store::on_a_file().await;
    let made = made(&store, &["audit:read"]).await;
    store.tamper("UPDATE kern_keys SET scopes = '['");
    let header = format!("Bearer {}", made.secret.reveal());
    let failed = Authenticator::new(store.shared()).authenticate([header.as_bytes()]).await;
    assert!(matches!(failed, Err(AuthError::Store(kern_db::Error::Corrupt { .. }))), "{failed:?}");
}

#[tokio::test]
async fn a_scope_that_kern_does_not_know_any_more_grants_nothing() {
    let store = Store::on_a_file().await;
    let secret = "0".repeat(64);
    let request = kern_db::NewKey {
        // `printf %064d 0 | sha256sum`
        secret_hash: "60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55".to_owned(),
        scopes: vec!["everything".to_owned(), "audit:read".to_owned()],
        ..kern_tests::steps::new_key("0123456789abcdef")
    };
    store.make_key(request).await.unwrap();
    let identity = key(&store, &format!("kern_0123456789abcdef_{secret}")).await.unwrap();
    assert_eq!(identity.scopes, ScopeSet::parse(["audit:read"]).unwrap());
}

#[tokio::test]
async fn what_is_no_single_bearer_is_refused() {
    let store = Store::on_a_file().await;
    let made = made(&store, &["audit:read"]).await;
    let good = format!("Bearer {}", made.secret.reveal());
    assert!(sent(&store, &[&good]).await.is_ok());
    assert_eq!(sent(&store, &[]).await, Err(Denied::Missing));
    assert_eq!(sent(&store, &[&good, &good]).await, Err(Denied::Several));
    assert_eq!(sent(&store, &["Bearer x", &good]).await, Err(Denied::Several));
    for value in ["", "Bearer", "Bearer ", "Basic YTpi", made.secret.reveal(), &format!("{good}, {good}")] {
        let denied = sent(&store, &[value]).await.unwrap_err();
        assert!(matches!(denied, Denied::Malformed(_)), "{value:?}: {denied:?}");
    }
    // No token is taken where none is configured.
    assert_eq!(sent(&store, &["Bearer a.b.c"]).await, Err(Denied::NotTaken));
}

#[tokio::test]
async fn nothing_opens_by_itself_when_the_last_key_ends() {
    let store = Store::on_a_file().await;
    let authenticator = Authenticator::new(store.shared());
    assert!(!authenticator.has_credentials().await.unwrap());
    let made = made(&store, &["audit:read"]).await;
    assert!(authenticator.has_credentials().await.unwrap());
    store.revoke_key(&made.key.id, None).await.unwrap();
    assert!(authenticator.has_credentials().await.unwrap());
}

#[test]
fn a_server_can_wait_for_it_in_any_task() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let authenticator = Authenticator::new(kern_db::IntoDb::into_db(kern_db::InMemoryDb::new()));
    let value: &[u8] = b"Bearer x";
    drop(is_send(authenticator.authenticate([value])));
}
