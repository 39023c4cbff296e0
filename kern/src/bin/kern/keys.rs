//! `kern keys create`, `list` and `revoke`.

use kern::db::{AccessKey, Db, Error, Principal};
use kern::identity::{KeyRequest, ScopeSet};
use serde_json::json;

use crate::approvals::checked;
use crate::arguments::{CreateKey, RevokeKey};
use crate::call::{name, safe};
use crate::database::Database;
use crate::decide::{check_name, system_user};
use crate::failure::{Answer, Failure, Outcome};
use crate::output::{Output, asks_yes, somebody_is_there, to_people};
use crate::words::{cell, moment, now, span, table};

pub(crate) async fn create(output: &mut Output, database: &Database, create: CreateKey, json: bool) -> Outcome {
    let scopes = ScopeSet::parse(&create.scopes);
    let scopes = scopes.map_err(|error| Failure::could_not("unknown_scope", error.to_string()))?;
    check_name(&create.name)?;
    let by = who(create.by)?;
    let mut request = KeyRequest::new(create.name, scopes).by(Principal::unverified(&by));
    if let Some(expires) = create.expires {
        request = request.expires_in(expires);
    }
    let made = request.make(&*database.open().await?).await;
    let made = made.map_err(|error| match error {
        kern::Error::Store(error) => error.into(),
        error => Failure::could_not(error.code(), error.to_string()),
    })?;
    let key = made.key;
    let said = if json {
        output.json(&json!({ "key": made.secret.reveal(), "id": key.id, "subject": key.subject, "scopes": key.scopes,
            "expires_at_ms": key.expires_at_ms }))
    } else {
        to_people(&format!(
            "key {} of {}, {}, by {}: {}",
            key.id,
            safe(&key.subject),
            ends(&key, now()),
            name(&by, false),
            safe(&key.scopes.join(", "))
        ));
        to_people("It is shown this once, and the store has only a hash of it:");
        // Alone on standard output, so that it can be piped to where it is kept.
        output.line(made.secret.reveal())
    };
    let done = format!("key `{}` is made, and was not shown (revoke it)", key.id);
    said.and_then(|()| output.finish()).map_err(|failure| failure.after(&done))?;
    Ok(Answer::Done)
}

pub(crate) async fn list(output: &mut Output, db: &dyn Db, json: bool) -> Outcome {
    let keys = db.list_keys().await?;
    if json {
        output.json(&json!({ "data": keys }))?;
        return Ok(Answer::Done);
    }
    if keys.is_empty() {
        output.line("there is no key. `kern keys create NAME --scopes …` makes one.")?;
        return Ok(Answer::Done);
    }
    let rows = keys.iter().map(|key| row(key, now())).collect();
    output.line(table(output.ink(), &["ID", "SUBJECT", "SCOPES", "STATE", "MADE BY", "AGE"], rows))?;
    Ok(Answer::Done)
}

fn row(key: &AccessKey, now: i64) -> Vec<String> {
    let by = key.created_by.as_ref().map_or_else(|| "-".to_owned(), |by| name(&by.subject, by.verified));
    vec![
        safe(&key.id),
        cell(&safe(&key.subject), 40),
        cell(&safe(&key.scopes.join(", ")), 100),
        ends(key, now),
        cell(&by, 40),
        span(now - key.created_at_ms / 1000),
    ]
}

/// Until when a key is good, or since when it is not.
fn ends(key: &AccessKey, now: i64) -> String {
    match (key.revoked_at_ms, key.expires_at_ms) {
        (Some(at), _) => format!("revoked {}", moment(at / 1000, now)),
        (None, Some(at)) if at / 1000 <= now => format!("expired {}", moment(at / 1000, now)),
        (None, Some(at)) => format!("expires {}", moment(at / 1000, now)),
        (None, None) => "does not expire".to_owned(),
    }
}

pub(crate) async fn revoke(output: &mut Output, database: &Database, revoke: RevokeKey, json: bool) -> Outcome {
    let id = checked(&revoke.id)?;
    if !revoke.yes && !somebody_is_there() {
        let message = "there is no terminal to ask on: give --yes to revoke without being asked";
        return Err(Failure::could_not("no_terminal", message));
    }
    let by = who(revoke.by)?;
    let shown = safe(id);
    if !revoke.yes {
        // The whole row, so that nobody revokes another one.
        let keys = database.open().await?.list_keys().await?;
        let key = keys.iter().find(|key| key.id == id).ok_or_else(|| unknown(&shown))?;
        let (subject, scopes) = (safe(&key.subject), safe(&key.scopes.join(", ")));
        to_people(&format!("key {shown} of {subject}, {}: {scopes}", ends(key, now())));
        if !asks_yes(&format!("Revoke it for good as {}?", name(&by, false)))? {
            return Err(Failure::no("declined", format!("key `{shown}` was not revoked")));
        }
    }
    let revoked = database.open().await?.revoke_key(id, Some(Principal::unverified(&by))).await;
    let key = revoked.map_err(|error| match error {
        Error::NotFound { .. } => unknown(&shown),
        error => error.into(),
    })?;
    let said = if json {
        output.json(&key)
    } else {
        let revoker = key.revoked_by.as_ref().map(|by| name(&by.subject, by.verified));
        let revoker = revoker.unwrap_or_else(|| "somebody without a name".to_owned());
        output.line(format!("{} key {shown} of {}, by {revoker}", output.ink().good("revoked"), safe(&key.subject)))
    };
    said.map_err(|failure| failure.after(&format!("key `{shown}` is revoked")))?;
    Ok(Answer::Done)
}

fn who(by: Option<String>) -> Outcome<String> {
    let by = match by {
        Some(by) => by,
        None => system_user()?,
    };
    check_name(&by)?;
    Ok(by)
}

fn unknown(id: &str) -> Failure {
    Failure::no("not_found", format!("no key with id `{id}`: `kern keys list` lists them"))
}
