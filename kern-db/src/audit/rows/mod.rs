//! Every row says what its entries say, and every entry has its row. Without I/O.

mod approval;
mod call;
mod cells;
mod execution;

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::replay::{Call, Replay, Run};
use crate::cell::Table;
use crate::digest::{KeyFields, canonical, key_digest, sha256};
use crate::page::{CellRef, Page, RowRef};
use crate::records::approval::ApprovalRow;
use crate::records::audit::AuditBreak;
use crate::records::call::{CallPolicy, CallRow};
use crate::records::execution::ExecutionRow;
use crate::records::key::KeyRow;
use crate::records::pool::PoolRow;
use crate::records::run::RunRow;
use crate::sensitive::snapshot_digest;
use crate::{ApprovalStatus, ExecutionStatus};
use call::{check_call, place_of};
use cells::{Column, Wrong, check, is_int, is_text, is_time, text, wrong};

/// Runs that follow each other, with all that belongs to them.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) runs: Page,
    pub(super) calls: Page,
    pub(super) approvals: Page,
    pub(super) executions: Page,
}

/// Compares rows with what the log says.
pub(super) struct Rows<'a> {
    replay: &'a Replay,
    policies: HashMap<String, CallPolicy>,
    /// The secret properties of schemas, by the schemas' hashes, as rows name them.
    sensitive: HashMap<String, Option<String>>,
    pub(super) found: Vec<AuditBreak>,
}

/// A call's row with its state and its policy.
struct KnownCall<'a> {
    row: RowRef<'a>,
    /// `None`: the log says nothing of it yet.
    state: Option<&'a Call>,
    policy: CallPolicy,
}

impl<'a> Rows<'a> {
    pub(super) fn new(replay: &'a Replay) -> Self {
        Self { replay, policies: HashMap::new(), sensitive: HashMap::new(), found: Vec::new() }
    }

    fn report(&mut self, seq: i64, table: Table, id: &str, what: Wrong) {
        let row = Some(format!("{} `{id}`", table.word()));
        self.found.push(AuditBreak { seq, row, what });
    }

    fn policy(&mut self, text: &str) -> Result<CallPolicy, Wrong> {
        if let Some(policy) = self.policies.get(text) {
            return Ok(policy.clone());
        }
        let policy: CallPolicy =
            serde_json::from_str(text).map_err(|error| format!("`policy` cannot be read: {error}"))?;
        if self.policies.len() < 1000 {
            self.policies.insert(text.to_owned(), policy.clone());
        }
        Ok(policy)
    }

    /// The secret properties of a call's schema, as rows name them.
    fn sensitive(&mut self, call: &KnownCall<'_>) -> Option<String> {
        let schema = call.row.text(CallRow::C.parameters.order())?;
        let hash = call.row.text(CallRow::C.schema_hash.order())?;
        if let Some(known) = self.sensitive.get(hash) {
            return known.clone();
        }
        let schema: Option<Value> = serde_json::from_str(schema).ok();
        let names = schema.map(|schema| canonical(&crate::schema::sensitive(&schema)));
        self.sensitive.insert(hash.to_owned(), names.clone());
        names
    }

    /// Every row of a chunk.
    pub(super) fn chunk(&mut self, chunk: &Chunk) {
        let calls = grouped(&chunk.calls, CallRow::C.run_id.order());
        let approvals = grouped(&chunk.approvals, ApprovalRow::C.run_id.order());
        let executions = grouped(&chunk.executions, ExecutionRow::C.run_id.order());
        let none = Vec::new();
        let mut met = 0;
        for run in chunk.runs.rows() {
            let Some(id) = run.text(RunRow::C.run_id.order()) else { continue };
            let of = |rows: &HashMap<&str, Vec<usize>>| rows.get(id).map_or(0, Vec::len);
            met += of(&calls) + of(&approvals) + of(&executions);
            let Some(state) = self.replay.runs.get(id) else {
                self.report(0, Table::Runs, id, wrong("no entry of the audit log says that it started"));
                continue;
            };
            state.met.store(true, Ordering::Relaxed);
            if let Err(what) = self.run(&run, state) {
                self.report(state.seq, Table::Runs, id, what);
            }
            let calls = calls.get(id).unwrap_or(&none);
            let calls = self.calls(&run, state, calls.iter().map(|row| chunk.calls.row(*row)));
            let rows = approvals.get(id).unwrap_or(&none).iter().map(|row| chunk.approvals.row(*row));
            let approvals = self.approvals(&run, state, &calls, rows);
            for call in &calls {
                if let Err(what) = check_call(self.replay, (&run, state), call, &approvals) {
                    let (turn, idx) = place_of(&call.row);
                    let seq = call.state.map_or(state.seq, |state| state.seq);
                    self.report(seq, Table::Calls, &format!("{id}/{turn}/{idx}"), what);
                }
            }
            let rows = executions.get(id).unwrap_or(&none).iter().map(|row| chunk.executions.row(*row));
            self.executions(state, &calls, &approvals, rows);
        }
        if met < chunk.calls.len() + chunk.approvals.len() + chunk.executions.len() {
            self.strays(chunk);
        }
    }

    /// Rows of runs that are not there.
    fn strays(&mut self, chunk: &Chunk) {
        let runs = grouped(&chunk.runs, RunRow::C.run_id.order());
        let tables = [
            (Table::Calls, &chunk.calls, CallRow::C.run_id.order()),
            (Table::Approvals, &chunk.approvals, ApprovalRow::C.run_id.order()),
            (Table::Executions, &chunk.executions, ExecutionRow::C.run_id.order()),
        ];
        for (table, page, column) in tables {
            for row in page.rows() {
                let run = row.text(column).unwrap_or_default();
                if !runs.contains_key(run) {
                    self.report(0, table, run, wrong("its run is not there"));
                }
            }
        }
    }

    fn run(&self, row: &RowRef<'_>, state: &Run) -> Result<(), Wrong> {
        let c = RunRow::C;
        check(!row.is_odd(), "a column holds what kern does not store")?;
        is_text(row, c.status.order(), Some(state.status.as_str()))?;
        let requester = &self.replay.who[state.requester as usize];
        is_text(row, c.requester.order(), requester.principal.as_deref())?;
        let asker = requester.person.as_ref();
        is_text(row, c.user_id.order(), asker.map(|person| person.subject.as_str()))?;
        is_text(row, c.issuer.order(), asker.and_then(|person| person.issuer.as_deref()))?;
        is_text(row, c.session_id.order(), Some(&state.session_id))?;
        is_text(row, c.agent_id.order(), Some(&state.agent_id))?;
        if let Some(name) = &state.agent_name {
            is_text(row, c.agent_name.order(), name.as_deref())?;
        }
        is_text(row, c.epoch.order(), Some(&state.epoch))?;
        is_int(row, c.turn.order(), Some(state.turn.into()))?;
        is_int(row, c.recoveries.order(), Some(state.recoveries.into()))?;
        is_int(row, c.attention.order(), Some(state.attention.into()))?;
        is_int(row, c.fence.order(), Some(state.fence))?;
        is_time(row, c.created_at_ms.order(), Some(state.started_ms), 1)?;
        is_time(row, c.updated_at_ms.order(), Some(state.changed_ms), 1)?;
        let driven = state.status == crate::RunStatus::Running;
        check(driven || row.cell(c.owner.order().1) == CellRef::Null, "nobody drives it, and it has an owner")?;
        let snapshot = text(row, c.snapshot.order())?;
        is_time(row, c.erased_at_ms.order(), state.erased_ms, 1)?;
        is_time(row, c.deleted_at_ms.order(), state.hidden_ms, 1)?;
        let salt = row.text(c.snapshot_salt.order());
        check(state.erased_ms.is_none() || salt.is_none(), "it was erased, and the salt of its snapshot is there")?;
        let digest = snapshot_digest(snapshot, salt);
        check(row.text(c.snapshot_digest.order()) == Some(&digest), "its snapshot and the digest of it do not agree")?;
        check(
            state.snapshot.is_none_or(|said| said.is(&digest)),
            "its snapshot is not the one that the audit log says",
        )?;
        match (row.text(c.input.order()), state.input, state.erased_ms) {
            (None, _, Some(_)) | (None, None, None) => {}
            (Some(input), Some(said), None) if said.is(&sha256(input)) => {}
            _ => return Err(wrong("its input is not the one that the audit log says")),
        }
        let open = state.calls.iter().any(|call| {
            call.approvals.iter().any(|approval| approval.status == ApprovalStatus::Pending)
                || call.executions.iter().any(|execution| execution.status == ExecutionStatus::Ready)
        });
        check(!(open && state.has_ended()), "it has ended, and something of it is still open")
    }

    /// Every pool.
    pub(super) fn pools(&mut self, pools: &Page) {
        let c = PoolRow::C;
        let mut met = Vec::new();
        for row in pools.rows() {
            let Some(name) = row.text(c.name.order()) else { continue };
            let Some(said) = self.replay.pools.get(name).and_then(|pool| pool.set.last()) else {
                self.report(0, Table::Pools, name, wrong("no entry of the audit log says who is in it"));
                continue;
            };
            met.push(name);
            let who = &self.replay.who[said.by as usize];
            let agrees = check(!row.is_odd(), "a column holds what kern does not store")
                .and_then(|()| is_text(&row, c.members.order(), Some(&canonical(&said.members))))
                .and_then(|()| is_text(&row, c.set_by.order(), who.principal.as_deref()))
                .and_then(|()| is_time(&row, c.set_at_ms.order(), Some(said.at_ms), 1));
            if let Err(what) = agrees {
                self.report(said.seq, Table::Pools, name, what);
            }
        }
        for (name, said) in self.replay.pools.iter().filter(|(name, _)| !met.contains(&&***name)) {
            let seq = said.set.last().map_or(0, |said| said.seq);
            self.report(seq, Table::Pools, name, wrong("the audit log has it, and its row is not there"));
        }
    }

    /// Every API key.
    pub(super) fn keys(&mut self, keys: &Page) {
        let c = KeyRow::C;
        let mut met = Vec::new();
        for row in keys.rows() {
            let Some(id) = row.text(c.id.order()) else { continue };
            let Some(said) = self.replay.keys.get(id) else {
                self.report(0, Table::Keys, id, wrong("no entry of the audit log says that it was made"));
                continue;
            };
            met.push(id);
            let revoker = said.revoked.and_then(|(by, _)| self.replay.who[by as usize].principal.as_deref());
            let agrees = check(!row.is_odd(), "a column holds what kern does not store")
                .and_then(|()| made_digest(&row))
                .and_then(|digest| check(said.digest.is(&digest), "it is not the key that the audit log says was made"))
                .and_then(|()| is_text(&row, c.revoked_by.order(), revoker))
                .and_then(|()| is_time(&row, c.revoked_at_ms.order(), said.revoked.map(|(_, at_ms)| at_ms), 1));
            if let Err(what) = agrees {
                self.report(said.seq, Table::Keys, id, what);
            }
        }
        for (id, said) in self.replay.keys.iter().filter(|(id, _)| !met.contains(&&***id)) {
            self.report(said.seq, Table::Keys, id, wrong("the audit log has it, and its row is not there"));
        }
    }

    /// Runs and votes whose rows nobody has met.
    pub(super) fn missing(&mut self) {
        let replay = self.replay;
        for (id, run) in &replay.runs {
            if !run.met.load(Ordering::Relaxed) {
                self.report(run.seq, Table::Runs, id, wrong("the audit log has it, and its row is not there"));
            }
            for approval in run.calls.iter().flat_map(|call| &call.approvals) {
                let met = approval.voted.load(Ordering::Relaxed);
                if met != approval.votes.len() {
                    let what = format!("the audit log has {} votes for it, and {met} rows", approval.votes.len());
                    self.report(approval.seq, Table::Votes, &approval.id, what);
                }
            }
        }
    }
}

/// The digest over what a key's row says was said when it was made.
fn made_digest(row: &RowRef<'_>) -> Result<String, Wrong> {
    let c = KeyRow::C;
    let created_at_ms = row.int(c.created_at_ms.order()).ok_or("`created_at_ms` holds no time")?;
    Ok(key_digest(KeyFields {
        id: text(row, c.id.order())?,
        secret_hash: text(row, c.secret_hash.order())?,
        subject: text(row, c.subject.order())?,
        scopes: text(row, c.scopes.order())?,
        created_by: row.text(c.created_by.order()),
        created_at_ms,
        expires_at_ms: row.int(c.expires_at_ms.order()),
    }))
}

/// The rows of each run of a page.
fn grouped(page: &Page, column: Column) -> HashMap<&str, Vec<usize>> {
    let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, row) in page.rows().enumerate() {
        groups.entry(row.text(column).unwrap_or_default()).or_default().push(place);
    }
    groups
}
