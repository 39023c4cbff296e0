//! An entry as it is stored, for whoever reads a million of them: borrowed from the page it was read with, and hashed as it
//! stands there.

use sha2::{Digest, Sha256};

use crate::page::RowRef;
use crate::records::audit::{AuditEntry, AuditRow};

/// One entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) seq: i64,
    pub(super) time_ms: i64,
    /// Canonical JSON.
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) evidence: bool,
    pub(super) run_id: Option<&'a str>,
    pub(super) turn: Option<u32>,
    pub(super) idx: Option<u32>,
    pub(super) approval_id: Option<&'a str>,
    pub(super) execution_id: Option<&'a str>,
    pub(super) call_digest: Option<&'a str>,
    /// Canonical JSON.
    pub(super) payload: &'a str,
    pub(super) prev_hash: &'a str,
    pub(super) hash: &'a str,
}

impl<'a> Line<'a> {
    /// The entry of a row, or the column that holds nothing an entry can have.
    pub(super) fn of(row: &RowRef<'a>) -> Result<Self, &'static str> {
        use crate::page::CellRef;
        let c = AuditRow::C;
        let text = |column: (&'static str, usize)| row.text(column).ok_or(column.0);
        let int = |column: (&'static str, usize)| row.int(column).ok_or(column.0);
        let optional = |column: (&'static str, usize)| match row.cell(column.1) {
            CellRef::Null => Ok(None),
            CellRef::Text(text) => Ok(Some(text)),
            _ => Err(column.0),
        };
        let number = |column: (&'static str, usize)| match row.cell(column.1) {
            CellRef::Null => Ok(None),
            CellRef::Int(number) => u32::try_from(number).map(Some).map_err(|_| column.0),
            _ => Err(column.0),
        };
        Ok(Self {
            seq: int(c.seq.order())?,
            time_ms: int(c.time_ms.order())?,
            actor: text(c.actor.order())?,
            action: text(c.action.order())?,
            evidence: match int(c.evidence.order())? {
                0 => false,
                1 => true,
                _ => return Err("evidence"),
            },
            run_id: optional(c.run_id.order())?,
            turn: number(c.turn.order())?,
            idx: number(c.idx.order())?,
            approval_id: optional(c.approval_id.order())?,
            execution_id: optional(c.execution_id.order())?,
            call_digest: optional(c.call_digest.order())?,
            payload: text(c.payload.order())?,
            prev_hash: text(c.prev_hash.order())?,
            hash: text(c.hash.order())?,
        })
    }

    /// An entry that was decoded, with the canonical texts of its actor and its payload.
    pub(super) fn of_entry(entry: &'a AuditEntry, actor: &'a str, payload: &'a str) -> Self {
        Self {
            seq: entry.seq,
            time_ms: entry.time_ms,
            actor,
            action: &entry.action,
            evidence: entry.evidence,
            run_id: entry.run_id.as_ref().map(|id| id.as_str()),
            turn: entry.turn,
            idx: entry.index,
            approval_id: entry.approval_id.as_ref().map(|id| id.as_str()),
            execution_id: entry.execution_id.as_ref().map(|id| id.as_str()),
            call_digest: entry.call_digest.as_deref(),
            payload,
            prev_hash: &entry.prev_hash,
            hash: &entry.hash,
        }
    }

    /// Whether the hash is that of the other columns. `buffer` is only there to be used again.
    pub(super) fn fits(&self, buffer: &mut Vec<u8>) -> bool {
        self.digest(buffer).as_deref() == Some(self.hash)
    }

    fn digest(&self, buffer: &mut Vec<u8>) -> Option<String> {
        buffer.clear();
        let mut add = |text: &str| {
            buffer.extend_from_slice(&(text.len() as u64).to_be_bytes());
            buffer.extend_from_slice(text.as_bytes());
        };
        let optional = |add: &mut dyn FnMut(&str), text: Option<&str>| match text {
            None => add("-"),
            Some(text) => {
                add("+");
                add(text);
            }
        };
        let (mut one, mut other) = (Digits::default(), Digits::default());
        add("kern/audit/v1");
        add(one.of(self.seq));
        add(one.of(self.time_ms));
        add(self.actor);
        add(self.action);
        add(if self.evidence { "1" } else { "0" });
        optional(&mut add, self.run_id);
        optional(&mut add, self.turn.map(|turn| one.of(turn.into())));
        optional(&mut add, self.idx.map(|idx| other.of(idx.into())));
        optional(&mut add, self.approval_id);
        optional(&mut add, self.execution_id);
        optional(&mut add, self.call_digest);
        add(self.payload);
        add(self.prev_hash);
        Some(crate::digest::hex(&Sha256::digest(&buffer)))
    }
}

/// A number as text, without a text of its own for each.
#[derive(Default)]
struct Digits(String);

impl Digits {
    fn of(&mut self, number: i64) -> &str {
        use std::fmt::Write as _;
        self.0.clear();
        // A string takes everything.
        let _ = write!(self.0, "{number}");
        &self.0
    }
}
