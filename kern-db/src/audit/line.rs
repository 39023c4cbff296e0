//! An entry as it is stored, borrowed from the page that it was read with, and its digests: position, header and body.

use sha2::{Digest, Sha256};

use crate::digest::Fields;
use crate::page::RowRef;
use crate::records::audit::{AuditEntry, AuditRow};

/// One entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) shard: u32,
    pub(super) seq: i64,
    pub(super) at_ms: i64,
    pub(super) now_ms: i64,
    /// Canonical JSON.
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) evidence: bool,
    pub(super) root_run_id: Option<&'a str>,
    pub(super) run_id: Option<&'a str>,
    pub(super) turn: Option<u32>,
    pub(super) idx: Option<u32>,
    pub(super) approval_id: Option<&'a str>,
    pub(super) execution_id: Option<&'a str>,
    pub(super) tool_name: Option<&'a str>,
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
            shard: number(c.shard.order())?.ok_or("shard")?,
            seq: int(c.seq.order())?,
            at_ms: int(c.at_ms.order())?,
            now_ms: int(c.now_ms.order())?,
            actor: text(c.actor.order())?,
            action: text(c.action.order())?,
            evidence: match int(c.evidence.order())? {
                0 => false,
                1 => true,
                _ => return Err("evidence"),
            },
            root_run_id: optional(c.root_run_id.order())?,
            run_id: optional(c.run_id.order())?,
            turn: number(c.turn.order())?,
            idx: number(c.idx.order())?,
            approval_id: optional(c.approval_id.order())?,
            execution_id: optional(c.execution_id.order())?,
            tool_name: optional(c.tool_name.order())?,
            call_digest: optional(c.call_digest.order())?,
            payload: text(c.payload.order())?,
            prev_hash: text(c.prev_hash.order())?,
            hash: text(c.hash.order())?,
        })
    }

    /// A row that was decoded, with the canonical text of its actor.
    pub(super) fn of_row(row: &'a AuditRow, actor: &'a str) -> Self {
        Self {
            shard: row.shard,
            seq: row.seq,
            at_ms: row.at_ms,
            now_ms: row.now_ms,
            actor,
            action: &row.action,
            evidence: row.evidence,
            root_run_id: row.root_run_id.as_ref().map(|id| id.as_str()),
            run_id: row.run_id.as_ref().map(|id| id.as_str()),
            turn: row.turn,
            idx: row.idx,
            approval_id: row.approval_id.as_ref().map(|id| id.as_str()),
            execution_id: row.execution_id.as_ref().map(|id| id.as_str()),
            tool_name: row.tool_name.as_deref(),
            call_digest: row.call_digest.as_deref(),
            payload: &row.payload,
            prev_hash: &row.prev_hash,
            hash: &row.hash,
        }
    }

    /// An entry that was decoded, with the canonical texts of its actor and its payload.
    pub(super) fn of_entry(entry: &'a AuditEntry, actor: &'a str, payload: &'a str) -> Self {
        Self {
            shard: entry.shard,
            seq: entry.seq,
            at_ms: entry.at_ms,
            now_ms: entry.now_ms,
            actor,
            action: &entry.action,
            evidence: entry.evidence,
            root_run_id: entry.root_run_id.as_ref().map(|id| id.as_str()),
            run_id: entry.run_id.as_ref().map(|id| id.as_str()),
            turn: entry.turn,
            idx: entry.index,
            approval_id: entry.approval_id.as_ref().map(|id| id.as_str()),
            execution_id: entry.execution_id.as_ref().map(|id| id.as_str()),
            tool_name: entry.tool_name.as_deref(),
            call_digest: entry.call_digest.as_deref(),
            payload,
            prev_hash: &entry.prev_hash,
            hash: &entry.hash,
        }
    }

    /// Whether the hash is that of the other columns, in the store with this id. `buffer` is only there to be used again.
    pub(super) fn fits(&self, store_id: &str, buffer: &mut Vec<u8>) -> bool {
        let digest = self.entry_digest(buffer);
        chain_hash(store_id, self.shard, self.seq, self.at_ms, &digest, self.prev_hash, buffer) == self.hash
    }

    /// The digest of header and body, which does not depend on the place that the store gives the entry.
    pub(super) fn entry_digest(&self, buffer: &mut Vec<u8>) -> String {
        let (mut one, mut other) = (Digits::default(), Digits::default());
        let mut header = Text::of(buffer, "kern/header/v2");
        header.add(one.of(self.now_ms));
        header.add(self.action);
        header.add(if self.evidence { "1" } else { "0" });
        header.optional(self.root_run_id);
        header.optional(self.run_id);
        header.optional(self.turn.map(|turn| one.of(turn.into())));
        header.optional(self.idx.map(|idx| other.of(idx.into())));
        header.optional(self.approval_id);
        header.optional(self.execution_id);
        header.optional(self.tool_name);
        header.optional(self.call_digest);
        let header = header.digest();
        let mut body = Text::of(buffer, "kern/body/v2");
        body.add(self.actor);
        body.add(self.payload);
        let body = body.digest();
        let mut entry = Text::of(buffer, "kern/entry/v2");
        entry.add(&header);
        entry.add(&body);
        entry.digest()
    }
}

/// The hash of an entry at its place in a chain.
pub(super) fn chain_hash(
    store_id: &str,
    shard: u32,
    seq: i64,
    at_ms: i64,
    entry_digest: &str,
    prev_hash: &str,
    buffer: &mut Vec<u8>,
) -> String {
    let mut digits = Digits::default();
    let mut text = Text::of(buffer, "kern/audit/v2");
    text.add(store_id);
    text.add(digits.of(shard.into()));
    text.add(digits.of(seq));
    text.add(digits.of(at_ms));
    text.add(entry_digest);
    text.add(prev_hash);
    text.digest()
}

/// `prev_hash` of the first entry of a chain.
pub(super) fn genesis(store_id: &str, shard: u32, shards: u32) -> String {
    Fields::new("kern/shard/v1").text(store_id).number(shard.into()).number(shards.into()).finish()
}

/// Fields that each carry their length, in bytes that are used again.
struct Text<'a>(&'a mut Vec<u8>);

impl<'a> Text<'a> {
    fn of(buffer: &'a mut Vec<u8>, domain: &str) -> Self {
        buffer.clear();
        let mut text = Self(buffer);
        text.add(domain);
        text
    }

    fn add(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// An absent value differs from every present one.
    fn optional(&mut self, text: Option<&str>) {
        match text {
            None => self.add("-"),
            Some(text) => {
                self.add("+");
                self.add(text);
            }
        }
    }

    fn digest(self) -> String {
        crate::digest::hex(&Sha256::digest(&*self.0))
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
