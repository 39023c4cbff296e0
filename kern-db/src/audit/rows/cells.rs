//! One cell against what the log says of it.

use crate::audit::replay::Sha;
use crate::page::{CellRef, RowRef};

/// A time in a row may be this much before the entry's, in files of builds that read the clock twice in a transaction.
const SLACK_MS: i64 = 1000;

/// What is wrong with a row, and what it should say.
pub(super) type Wrong = String;

pub(super) type Column = (&'static str, usize);

pub(super) fn wrong(what: &str) -> Wrong {
    what.to_owned()
}

pub(super) fn check(holds: bool, what: &str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(wrong(what)) }
}

/// The column holds this text, or nothing.
pub(super) fn is_text(row: &RowRef<'_>, column: Column, text: Option<&str>) -> Result<(), Wrong> {
    let holds = match (row.cell(column.1), text) {
        (CellRef::Null, None) => true,
        (CellRef::Text(found), Some(text)) => found == text,
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("`{}` is not what the audit log says", column.0)) }
}

pub(super) fn is_int(row: &RowRef<'_>, column: Column, number: Option<i64>) -> Result<(), Wrong> {
    let holds = match (row.cell(column.1), number) {
        (CellRef::Null, None) => true,
        (CellRef::Int(found), Some(number)) => found == number,
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("`{}` is not what the audit log says", column.0)) }
}

/// The column holds this end of a time. Canonical JSON has doubles, and one in the far future may be more than they hold
/// exactly.
pub(super) fn is_until(row: &RowRef<'_>, column: Column, until: Option<f64>) -> Result<(), Wrong> {
    #[expect(clippy::cast_precision_loss, reason = "it was lost when the entry was written")]
    let holds = match row.cell(column.1) {
        CellRef::Null => until.is_none(),
        CellRef::Int(found) => until == Some(found as f64),
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("`{}` is not what the audit log says", column.0)) }
}

/// The column holds this time, in units of so many milliseconds.
pub(super) fn is_time(row: &RowRef<'_>, column: Column, at_ms: Option<i64>, unit: i64) -> Result<(), Wrong> {
    let holds = match (row.cell(column.1), at_ms) {
        (CellRef::Null, None) => true,
        (CellRef::Int(found), Some(at_ms)) => {
            (at_ms.saturating_sub(SLACK_MS).div_euclid(unit)..=at_ms.div_euclid(unit)).contains(&found)
        }
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("`{}` is not the time that the audit log says", column.0)) }
}

/// The column holds this digest.
pub(super) fn is_sha(row: &RowRef<'_>, column: Column, sha: &Sha) -> Result<(), Wrong> {
    let holds = row.text(column).is_some_and(|text| sha.is(text));
    if holds { Ok(()) } else { Err(format!("`{}` is not what the audit log says", column.0)) }
}

pub(super) fn text<'a>(row: &RowRef<'a>, column: Column) -> Result<&'a str, Wrong> {
    row.text(column).ok_or_else(|| format!("`{}` holds no text", column.0))
}

pub(super) fn number(row: &RowRef<'_>, column: Column) -> Result<u32, Wrong> {
    let number = row.int(column).and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("`{}` holds no number that kern wrote", column.0))
}
