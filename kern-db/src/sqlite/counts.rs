//! How many approvals there are: kept by triggers beside their table, for the filters that lists are mostly opened with.
//! SQLite would have to count the rows one by one.

use rusqlite::Connection;

use super::failed;
use crate::cell::{Cell, Column, Cond, Op, Table};
use crate::names::Names;
use crate::records::approval::ApprovalRow;
use crate::{ApprovalStatus, Result};

/// One row of the counts, which no transition knows of: whose approvals it counts, and a column for each state.
pub(super) struct Count;

const WHOSE: Column<Count, String> = Column::new("whose", 0);

pub(super) fn table(names: &Names) -> String {
    format!("{}_counts", names.of(Table::Approvals))
}

/// The columns to add up, and of which row, where the counts say how many rows meet these conditions: those that are not
/// hidden, in one state, of one requester, or both. Of a name with any issuer they are counted by its index.
pub(super) fn kept<R>(table: Table, filter: &[Cond<R>]) -> Option<(String, Vec<Cond<Count>>)> {
    if table != Table::Approvals {
        return None;
    }
    let (deleted_at, status) = (ApprovalRow::C.deleted_at.order(), ApprovalRow::C.status.order());
    let (user_id, issuer) = (ApprovalRow::C.user_id.order(), ApprovalRow::C.issuer.order());
    let (mut is_shown, mut state) = (false, None);
    let (mut subject, mut vouching) = (None, None);
    for cond in filter {
        match (&cond.op, &cond.value) {
            (Op::Is, Cell::Null) if cond.name == deleted_at.0 => is_shown = true,
            (Op::Is, Cell::Text(name)) if cond.name == user_id.0 && subject.is_none() => subject = Some(name),
            (Op::Is, Cell::Null) if cond.name == issuer.0 && vouching.is_none() => vouching = Some(None),
            (Op::Is, Cell::Text(name)) if cond.name == issuer.0 && vouching.is_none() => vouching = Some(Some(name)),
            (Op::Is, Cell::Text(word)) if cond.name == status.0 && state.is_none() => {
                // It becomes the name of a column, so it is one of the words or nothing.
                state = Some(word.parse::<ApprovalStatus>().ok()?);
            }
            _ => return None,
        }
    }
    let whose = match (subject, vouching) {
        (None, None) => "*".to_owned(),
        (Some(subject), Some(None)) => format!("={subject}"),
        (Some(subject), Some(Some(issuer))) => format!("+{issuer}\n{subject}"),
        _ => return None,
    };
    let columns = match state {
        Some(state) => state.to_string(),
        None => ApprovalStatus::WORDS.join(" + "),
    };
    is_shown.then(|| (columns, vec![WHOSE.is(whose)]))
}

/// What is wrong with the counts: nothing, where they say how many rows there are.
pub(super) fn fault(connection: &Connection, names: &Names) -> Result<Option<(String, String)>> {
    let counts = table(names);
    // Rows are counted once, by users and states, which an index alone gives. Of a user whose approvals are all hidden, zeros
    // stay.
    let kept = |word: &&str| format!("SELECT whose, '{word}', {word} FROM {counts} WHERE {word} <> 0");
    let agree = format!(
        "WITH each_of AS MATERIALIZED (
            SELECT user_id, issuer, status, count(*) AS rows FROM {approvals} WHERE deleted_at IS NULL
            GROUP BY user_id, status, issuer),
          counted AS (
            SELECT '*', status, sum(rows) FROM each_of GROUP BY status
            UNION ALL
            SELECT iif(issuer IS NULL, '=' || user_id, '+' || issuer || char(10) || user_id), status, rows
            FROM each_of WHERE user_id IS NOT NULL),
          kept AS ({kept})
         SELECT NOT EXISTS (SELECT * FROM counted EXCEPT SELECT * FROM kept)
            AND NOT EXISTS (SELECT * FROM kept EXCEPT SELECT * FROM counted)",
        approvals = names.of(Table::Approvals),
        kept = ApprovalStatus::WORDS.iter().map(kept).collect::<Vec<_>>().join(" UNION ALL "),
    );
    let sql = |error| failed("compare the kept counts", error);
    let exists = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE";
    // Where the table is gone, the schema's own faults say so.
    if connection.query_row(exists, [&counts], |row| row.get::<_, i64>(0)).map_err(sql)? == 0 {
        return Ok(None);
    }
    let agree: bool = connection.query_row(&agree, (), |row| row.get(0)).map_err(sql)?;
    Ok((!agree).then(|| (format!("table `{counts}`"), "it does not say how many approvals there are".to_owned())))
}
