//! Sessions: making one before its first run, saying what it is called, deleting it. Nothing here decides about a call; what
//! deleting one closes, it closes as cancelling its runs does.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{read, run};
use crate::audit::Entry;
use crate::cell::{Json, Table};
use crate::digest::canonical;
use crate::records::principal::{Actor, Caller, Owner, Principal, check_named};
use crate::records::run::RunRow;
use crate::records::session::{
    DeletedSession, NewSession, Session, SessionChange, SessionDeletion, SessionOwner, SessionRow,
};
use crate::tx::{Query, Refused, Step, Tx};
use crate::{Error, Result, RunId, RunStatus, SessionId, fresh_id};

use RunRow as R;
use SessionRow as N;

/// Characters of an id or a name at the most.
const LONGEST: usize = 255;
/// Bytes of metadata at the most.
const LARGEST: usize = 64 << 10;

/// Makes a session that has no run yet.
pub(crate) async fn make<T: Tx>(tx: &mut T, new: NewSession) -> Step<Session> {
    let NewSession { session_id, agent_id, requester, name, metadata } = new;
    check_named(requester.as_ref())?;
    let session_id = session_id.unwrap_or_else(|| SessionId::from(fresh_id()));
    check_text("a session's id", session_id.as_str())?;
    check(name.as_deref(), metadata.as_ref())?;
    // Of two that bring the same id, the second one sees the first one's row.
    tx.lock_name(Table::Sessions, session_id.as_str()).await?;
    if read::session_owner(tx, session_id.clone()).await?.is_some() {
        return Err(Error::SessionExists { session_id }.into());
    }
    let now = tx.now().await?;
    let row = SessionRow {
        session_id: session_id.clone(),
        user_id: requester.as_ref().map(|requester| requester.subject.clone()),
        issuer: requester.as_ref().and_then(|requester| requester.issuer.clone()),
        requester: requester.map(Json),
        agent_id,
        name,
        metadata: metadata.map(Json),
        created_at_ms: now,
        updated_at_ms: now,
    };
    tx.insert(&row).await?;
    shown(tx, session_id).await
}

/// Says what a session is called, and what is kept with it.
pub(crate) async fn change<T: Tx>(tx: &mut T, session_id: SessionId, change: SessionChange) -> Step<Session> {
    let SessionChange { name, metadata, owner } = change;
    check(name.as_deref(), metadata.as_ref())?;
    tx.lock_name(Table::Sessions, session_id.as_str()).await?;
    owned(tx, &session_id, owner.as_ref()).await?;
    if name.is_none() && metadata.is_none() {
        return shown(tx, session_id).await;
    }
    let now = tx.now().await?;
    if let Some(before) = tx.one(vec![N::C.session_id.is(session_id.clone())]).await? {
        let mut set = vec![N::C.updated_at_ms.to(now)];
        set.extend(name.map(|name| N::C.name.to(Some(name))));
        set.extend(metadata.map(|metadata| N::C.metadata.to(Some(Json(metadata)))));
        let expect =
            vec![N::C.session_id.is(session_id.clone()), N::C.name.is(before.name), N::C.metadata.is(before.metadata)];
        if tx.update(set, expect).await? != 1 {
            return Err(Error::Busy { action: "change a session" }.into());
        }
    } else {
        let found = shown(tx, session_id.clone()).await?;
        let row = SessionRow {
            session_id: session_id.clone(),
            user_id: found.requester.as_ref().map(|requester| requester.subject.clone()),
            issuer: found.requester.as_ref().and_then(|requester| requester.issuer.clone()),
            requester: found.requester.map(Json),
            agent_id: found.agent_id,
            name,
            metadata: metadata.map(Json),
            created_at_ms: found.created_at_ms,
            updated_at_ms: now,
        };
        tx.insert(&row).await?;
    }
    shown(tx, session_id).await
}

/// Deletes sessions, all of them or none: their runs are cancelled where they have not ended, and leave every list and the
/// history of later runs. They, what was decided about their calls, and the log stay. A run that starts at the same moment is
/// the first of a new session.
pub(crate) async fn delete<T: Tx>(
    tx: &mut T,
    session_ids: Vec<SessionId>,
    deletion: SessionDeletion,
) -> Step<Vec<DeletedSession>> {
    let SessionDeletion { by, owner } = deletion;
    check_named(by.as_ref())?;
    let caller = by.clone().map_or(Caller::Anonymous, Caller::Person);
    let session_ids: BTreeSet<_> = session_ids.into_iter().collect();
    // All runs are locked before the time is read, and in one order: of two deletions, none waits for the other in a circle.
    let mut deleted = Vec::new();
    for session_id in session_ids {
        owned(tx, &session_id, owner.as_ref()).await?;
        let filter = vec![R::C.session_id.is(session_id.clone()), R::C.deleted_at_ms.is(None)];
        let query = Query::of(filter).oldest(R::C.run_id.order());
        let (mut runs, mut cancelled) = (Vec::new(), Vec::new());
        for run_id in tx.pluck(R::C.run_id, query).await? {
            let run = super::run(tx, &run_id).await?;
            // Else somebody was faster.
            if run.deleted_at_ms.is_none() {
                cancelled.extend(matches!(run.status, RunStatus::Running | RunStatus::Paused).then(|| run_id.clone()));
                runs.push(run_id);
            }
        }
        deleted.push(DeletedSession { session_id, runs, cancelled });
    }
    for DeletedSession { runs, cancelled, .. } in &deleted {
        for run_id in cancelled {
            run::cancel(tx, run_id.clone(), caller.clone()).await?;
        }
        for run_id in runs {
            hide(tx, run_id, by.as_ref()).await?;
        }
    }
    // Before the sessions' own rows, as whoever makes or changes one does.
    let mut names: Vec<&SessionId> = deleted.iter().map(|deleted| &deleted.session_id).collect();
    // In one order, so that two deletions of the same sessions do not wait for each other.
    names.sort_unstable();
    for session_id in names {
        tx.lock_name(Table::Sessions, session_id.as_str()).await?;
    }
    for DeletedSession { session_id, runs, .. } in &deleted {
        let rows = tx.delete(Query::of(vec![N::C.session_id.is(session_id.clone())])).await?;
        if runs.is_empty() && rows == 0 {
            return Err(not_found(session_id).into());
        }
    }
    Ok(deleted)
}

/// Takes a run that has ended, and is locked, out of every list.
async fn hide<T: Tx>(tx: &mut T, run_id: &RunId, by: Option<&Principal>) -> Step<()> {
    let now = tx.now().await?;
    let expect = vec![R::C.run_id.is(run_id.clone()), R::C.deleted_at_ms.is(None)];
    if tx.update(vec![R::C.deleted_at_ms.to(Some(now))], expect).await? != 1 {
        return Err(Refused::Undo(Error::Busy { action: "delete a session" }));
    }
    tx.journal().record(Entry::new("run_hidden", Actor::of(by), run_id));
    Ok(())
}

/// That a session is there, and this user's, where only theirs is meant. Somebody else's is not found.
async fn owned<T: Tx>(tx: &mut T, session_id: &SessionId, owner: Option<&Owner>) -> Result<()> {
    let found = read::session_owner(tx, session_id.clone()).await?;
    let is_meant = |found: SessionOwner| owner.is_none_or(|owner| owner.owns(found.requester.as_ref()));
    if found.is_some_and(is_meant) { Ok(()) } else { Err(not_found(session_id)) }
}

async fn shown<T: Tx>(tx: &mut T, session_id: SessionId) -> Step<Session> {
    let found = read::session(tx, session_id.clone()).await?;
    Ok(found.ok_or_else(|| not_found(&session_id))?)
}

fn not_found(session_id: &SessionId) -> Error {
    Error::NotFound { entity: "session", id: session_id.to_string() }
}

fn check(name: Option<&str>, metadata: Option<&Map<String, Value>>) -> Result<()> {
    if let Some(name) = name {
        check_text("a session's name", name)?;
    }
    match metadata.map(|metadata| canonical(metadata).len()).filter(|bytes| *bytes > LARGEST) {
        Some(bytes) => {
            Err(Error::Invalid(format!("what is kept with a session has at most {LARGEST} bytes as JSON, not {bytes}")))
        }
        None => Ok(()),
    }
}

fn check_text(what: &str, text: &str) -> Result<()> {
    if !text.trim().is_empty() && text.chars().count() <= LONGEST {
        return Ok(());
    }
    Err(Error::Invalid(format!("{what} has 1 to {LONGEST} characters, and not only blanks")))
}
