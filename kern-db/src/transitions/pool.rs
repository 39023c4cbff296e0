//! Who is in which pool: setting it, and holding what is stored against the audit log.

use std::collections::HashSet;

use serde_json::json;

use crate::audit::Entry;
use crate::cell::Json;
use crate::records::audit::AuditRow;
use crate::records::pool::{Pool, PoolRow};
use crate::records::principal::{Actor, Principal, check_key, check_named, check_person};
use crate::tx::{Query, Step, Tx};
use crate::{Error, Result};

use PoolRow as P;

/// Members of one pool at the most.
const LARGEST: usize = 1000;
/// Entries looked through at once for the newest about a pool.
const PAGE: u64 = 256;

/// Says who is in a pool from now on. It is on record who said so.
pub(crate) async fn set<T: Tx>(tx: &mut T, name: String, members: Vec<String>, by: Option<Principal>) -> Step<Pool> {
    check_named(by.as_ref())?;
    check_name(&name)?;
    check_members(&name, &members)?;
    let before = tx.one(vec![P::C.name.is(name.clone())]).await?;
    let now = tx.now().await?;
    let row = PoolRow { name: name.clone(), members: Json(members), set_by: by.clone().map(Json), set_at_ms: now };
    match before {
        None => tx.insert(&row).await?,
        Some(before) => {
            let set = vec![
                P::C.members.to(row.members.clone()),
                P::C.set_by.to(row.set_by.clone()),
                P::C.set_at_ms.to(row.set_at_ms),
            ];
            let expect = vec![P::C.name.is(name.clone()), P::C.members.is(before.members)];
            if tx.update(set, expect).await? != 1 {
                return Err(Error::Busy { action: "set a pool" }.into());
            }
        }
    }
    let entry = Entry::of_no_run("pool_set", Actor::of(by.as_ref()));
    tx.journal().record(entry.payload(json!({ "name": name, "members": row.members.0 })));
    Ok(row.into())
}

/// All pools, by name.
pub(crate) async fn list<T: Tx>(tx: &mut T) -> Result<Vec<Pool>> {
    let rows = tx.select::<PoolRow>(Query::of(Vec::new()).oldest(P::C.name.order())).await?;
    Ok(rows.into_iter().map(Pool::from).collect())
}

/// A pool as the audit log has it, too: somebody who only changes its row lets nobody in. The outer `None`: row and log do
/// not agree. The inner one: there is no such pool.
pub(crate) async fn on_record<T: Tx>(tx: &mut T, name: &str) -> Result<Option<Option<Pool>>> {
    // Once more where somebody set it for the first time between the two looks: there was no row to lock then.
    for _ in 0..2 {
        let row = tx.one(vec![P::C.name.is(name.to_owned())]).await?;
        let said = newest(tx, name).await?;
        match (row, said) {
            (None, None) => return Ok(Some(None)),
            (Some(row), Some(members)) if row.members.0 == members => return Ok(Some(Some(row.into()))),
            _ => {}
        }
    }
    Ok(None)
}

/// The members that the log has of a pool by now.
async fn newest<T: Tx>(tx: &mut T, name: &str) -> Result<Option<Vec<String>>> {
    let mut before = None;
    loop {
        // All three columns of the index: what is of no run lies in the order of `seq` there.
        let mut filter = vec![AuditRow::C.run_id.is(None), AuditRow::C.turn.is(None), AuditRow::C.idx.is(None)];
        filter.extend(before.map(|seq| AuditRow::C.seq.at_most(seq)));
        let page = tx.select::<AuditRow>(Query::of(filter).newest(AuditRow::C.seq.order()).limit(PAGE)).await?;
        for entry in page.iter().filter(|entry| entry.action == "pool_set" && !entry.evidence) {
            let payload: serde_json::Value = serde_json::from_str(&entry.payload).unwrap_or_default();
            if payload.get("name").and_then(serde_json::Value::as_str) == Some(name) {
                // What cannot be read lets nobody in.
                let members = payload.get("members").cloned().unwrap_or_default();
                return Ok(Some(serde_json::from_value(members).unwrap_or_default()));
            }
        }
        match page.last() {
            Some(last) if page.len() as u64 == PAGE => before = Some(last.seq - 1),
            _ => return Ok(None),
        }
    }
}

/// Whether something can name a pool.
///
/// # Errors
///
/// [`Error::Invalid`]: it is no plain word.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if starts_well && name.len() <= 64 && name.bytes().all(plain) {
        return Ok(());
    }
    let what =
        "it has letters, digits, `_`, `-` and `.`, starts with a letter or a digit, and has at most 64 characters";
    Err(Error::Invalid(format!("`{}` cannot name a pool: {what}", name.escape_debug())))
}

fn check_members(pool: &str, members: &[String]) -> Result<()> {
    let refused = |what: String| Err(Error::Invalid(format!("pool `{pool}` cannot be set: {what}")));
    if members.len() > LARGEST {
        return refused(format!("it has more than {LARGEST} members"));
    }
    let mut seen = HashSet::new();
    for member in members {
        check_key(member)?;
        if let Err(why) = check_person(member) {
            return refused(format!("{why}: `{}`", member.escape_debug()));
        }
        if !seen.insert(member) {
            return refused(format!("`{member}` is in it twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_has_a_plain_name_and_members_that_are_told_apart() {
        for name in ["finance", "fin-ops_2", "0.a", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", " ", " finance", "fin ance", "-x", ".", "fin\u{e4}nce", "a'b", "a\nb", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        let members =
            |names: &[&str]| check_members("p", &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert!(members(&[]).is_ok());
        assert!(members(&["ann", "bob", "Ann", "J\u{fc}rgen O'Neil"]).is_ok());
        for names in [&["ann", "ann"][..], &[""], &["  "], &["ann", "\t"], &[" ann"], &["ann "], &["a\u{0}b"]] {
            assert!(members(names).is_err(), "{names:?}");
        }
    }
}
