//! API keys: making and revoking them, and holding what is stored against the audit log.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::audit::Entry;
use crate::cell::Json;
use crate::records::audit::AuditRow;
use crate::records::key::{AccessKey, KeyRow};
use crate::records::principal::{Actor, Principal, check_key, check_named, check_person};
use crate::requests::{FoundKey, KeyLookup, NewKey};
use crate::tx::{Query, Step, Tx};
use crate::{Error, Result};

use KeyRow as K;

/// Scopes of one key at the most.
const MOST: usize = 64;
/// Characters of a scope at the most: the id of an agent may stand in it.
const LONGEST: usize = 300;
/// How long a key is valid at the most, where it expires: a hundred years.
const FURTHEST_MS: i64 = 100 * 366 * 86_400_000;

/// Stores a key. It is on record who made it, for whom and for what.
pub(crate) async fn make<T: Tx>(tx: &mut T, new: NewKey) -> Step<AccessKey> {
    check(&new)?;
    check_named(new.by.as_ref())?;
    let NewKey { id, secret_hash, subject, scopes, expires_in_ms, by } = new;
    if tx.one(vec![K::C.id.is(id.clone())]).await?.is_some() {
        return Err(Error::Invalid(format!("there is a key `{id}` already")).into());
    }
    let now = tx.now().await?;
    let row = KeyRow {
        id,
        secret_hash,
        subject,
        scopes: Json(scopes),
        created_by: by.clone().map(Json),
        created_at_ms: now,
        expires_at_ms: expires_in_ms.map(|span| now.saturating_add(span)),
        revoked_by: None,
        revoked_at_ms: None,
    };
    tx.insert(&row).await?;
    let said = json!({
        "subject": row.subject,
        "scopes": row.scopes.0,
        "expires_at_ms": row.expires_at_ms,
        "digest": row.digest(),
    });
    let entry = Entry::of_no_run("key_made", Actor::of(by.as_ref())).digest(&row.id);
    tx.journal().record(entry.payload(said));
    Ok(row.into())
}

/// All keys, oldest first.
pub(crate) async fn list<T: Tx>(tx: &mut T) -> Result<Vec<AccessKey>> {
    let query = Query::of(Vec::new()).oldest(K::C.created_at_ms.order()).oldest(K::C.id.order());
    Ok(tx.select::<KeyRow>(query).await?.into_iter().map(AccessKey::from).collect())
}

/// Whether a key was ever made.
pub(crate) async fn exists<T: Tx>(tx: &mut T) -> Result<bool> {
    Ok(!tx.pluck(K::C.id, Query::of(Vec::new()).limit(1)).await?.is_empty())
}

/// Revokes a key for good, whatever its row says by now. One that was revoked before stays as it is.
pub(crate) async fn revoke<T: Tx>(tx: &mut T, id: String, by: Option<Principal>) -> Step<AccessKey> {
    check_named(by.as_ref())?;
    let row = tx.one(vec![K::C.id.is(id.clone())]).await?;
    let mut row = row.ok_or_else(|| Error::NotFound { entity: "key", id: id.clone() })?;
    let said = Said::of(&entries(tx, &id).await?);
    if said.revoked {
        return Ok(row.into());
    }
    if said.made.is_none() {
        return Err(Error::corrupt("keys.id", "no entry of the audit log says that this key was made").into());
    }
    if row.revoked_at_ms.is_none() {
        row.revoked_by = by.clone().map(Json);
        row.revoked_at_ms = Some(tx.now().await?);
        let set = vec![K::C.revoked_by.to(row.revoked_by.clone()), K::C.revoked_at_ms.to(row.revoked_at_ms)];
        if tx.update(set, vec![K::C.id.is(id.clone()), K::C.revoked_at_ms.is(None)]).await? != 1 {
            return Err(Error::Busy { action: "revoke a key" }.into());
        }
    }
    tx.journal().record(Entry::of_no_run("key_revoked", Actor::of(by.as_ref())).digest(&id));
    Ok(row.into())
}

/// A key as its row and the audit log have it: somebody who only changes the row makes no key, widens none and revives
/// none.
pub(crate) async fn find<T: Tx>(tx: &mut T, id: String) -> Result<KeyLookup> {
    let row = tx.select::<KeyRow>(Query::of(vec![K::C.id.is(id.clone())]).limit(1)).await?.pop();
    let Some(row) = row else { return Ok(KeyLookup::Missing) };
    // After the row: what both say was committed together.
    let said = Said::of(&entries(tx, &id).await?);
    let now_ms = tx.now().await?;
    if said.made.as_deref() != Some(row.digest().as_str()) {
        return Ok(KeyLookup::Altered);
    }
    let is_revoked = said.revoked || row.revoked_at_ms.is_some();
    let secret_hash = row.secret_hash.clone();
    Ok(KeyLookup::Found(Box::new(FoundKey { key: row.into(), secret_hash, is_revoked, now_ms })))
}

/// What the log says of one key.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    /// The digest of what was made. `None`: nothing was, or the log says it twice.
    made: Option<String>,
    revoked: bool,
}

impl Said {
    fn of(entries: &[AuditRow]) -> Self {
        let words = |word: &'static str| entries.iter().filter(move |entry| !entry.evidence && entry.action == word);
        let mut made = words("key_made").map(|entry| {
            let payload: Value = serde_json::from_str(&entry.payload).unwrap_or_default();
            payload.get("digest").and_then(Value::as_str).map(str::to_owned)
        });
        let made = match (made.next(), made.next()) {
            (Some(digest), None) => digest,
            _ => None,
        };
        Self { made, revoked: words("key_revoked").next().is_some() }
    }
}

/// What the log has of one key. kern writes two entries about it at the most.
async fn entries<T: Tx>(tx: &mut T, id: &str) -> Result<Vec<AuditRow>> {
    // Both columns of the index on what is of no run.
    let filter = vec![AuditRow::C.run_id.is(None), AuditRow::C.call_digest.is(Some(id.to_owned()))];
    tx.select::<AuditRow>(Query::of(filter).limit(8)).await
}

fn check(new: &NewKey) -> Result<()> {
    let refused = |what: String| Err(Error::Invalid(format!("the key cannot be made: {what}")));
    let hexadecimal =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !hexadecimal(&new.id, 16) || !hexadecimal(&new.secret_hash, 64) {
        return refused("its id or the hash of its secret is none".to_owned());
    }
    check_key(&new.subject)?;
    if let Err(why) = check_person(&new.subject) {
        return refused(format!("{why}: `{}`", new.subject.escape_debug()));
    }
    let plain = |scope: &String| {
        !scope.is_empty() && scope.chars().count() <= LONGEST && !scope.chars().any(|c| c.is_control() || c == ' ')
    };
    if new.scopes.is_empty() || new.scopes.len() > MOST || !new.scopes.iter().all(plain) {
        return refused(format!("it has 1 to {MOST} scopes, each a word of at most {LONGEST} characters"));
    }
    if new.scopes.iter().collect::<HashSet<_>>().len() != new.scopes.len() {
        return refused("a scope is there twice".to_owned());
    }
    if new.expires_in_ms.is_some_and(|span| !(1..=FURTHEST_MS).contains(&span)) {
        return refused("it is valid for a time, and for a hundred years at the most".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> NewKey {
        NewKey {
            id: "0123456789abcdef".to_owned(),
            secret_hash: "0".repeat(64),
            subject: "ann".to_owned(),
            scopes: vec!["approvals:read".to_owned()],
            expires_in_ms: None,
            by: None,
        }
    }

    #[test]
    fn a_key_has_an_id_a_hash_a_name_and_scopes() {
        assert!(check(&new()).is_ok());
        let text = str::to_owned;
        for wrong in [
            NewKey { id: text(""), ..new() },
            NewKey { id: text("0123456789ABCDEF"), ..new() },
            NewKey { id: text("0123456789abcde"), ..new() },
            NewKey { secret_hash: text("00"), ..new() },
            NewKey { subject: text(" ann"), ..new() },
            NewKey { subject: text("ann\u{0}"), ..new() },
            NewKey { scopes: Vec::new(), ..new() },
            NewKey { scopes: vec![text("a b")], ..new() },
            NewKey { scopes: vec![text("")], ..new() },
            NewKey { scopes: vec![text("a"), text("a")], ..new() },
            NewKey { scopes: (0..65).map(|number| number.to_string()).collect(), ..new() },
            NewKey { expires_in_ms: Some(0), ..new() },
            NewKey { expires_in_ms: Some(-1), ..new() },
            NewKey { expires_in_ms: Some(i64::MAX), ..new() },
        ] {
            assert!(matches!(check(&wrong), Err(Error::Invalid(_))), "{wrong:?}");
        }
        let nameless = NewKey { subject: text(""), ..new() };
        assert!(matches!(check(&nameless), Err(Error::InvalidPrincipal { .. })));
    }
}
