//! Every row says what its entries say, and every entry has its row. Without I/O.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use serde_json::Value;

use super::replay::{Approval, Call, Execution, Replay, Run, Sha};
use crate::cell::Table;
use crate::digest::{CallFields, Fields, call_digest, canonical, policy_digest, sha256};
use crate::page::{CellRef, Page, RowRef};
use crate::records::approval::{ApprovalRow, VoteRow};
use crate::records::audit::AuditBreak;
use crate::records::call::{CallPolicy, CallRow, Effect, Tier};
use crate::records::execution::ExecutionRow;
use crate::records::pool::PoolRow;
use crate::records::run::RunRow;
use crate::{ApprovalStatus, Authority, ExecutionStatus, PauseType};

/// A time in a row may be this much before the entry's, in files of builds that read the clock twice in a transaction.
const SLACK_MS: i64 = 1000;

/// Runs that follow each other, with all that belongs to them.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) runs: Page,
    pub(super) calls: Page,
    pub(super) approvals: Page,
    pub(super) executions: Page,
}

/// What is wrong with a row, and what it should say.
type Wrong = String;

type Column = (&'static str, usize);

fn wrong(what: &str) -> Wrong {
    what.to_owned()
}

fn check(holds: bool, what: &str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(wrong(what)) }
}

/// The column holds this text, or nothing.
fn is_text(row: &RowRef<'_>, column: Column, text: Option<&str>) -> Result<(), Wrong> {
    let holds = match (row.cell(column.1), text) {
        (CellRef::Null, None) => true,
        (CellRef::Text(found), Some(text)) => found == text,
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("`{}` is not what the audit log says", column.0)) }
}

fn is_int(row: &RowRef<'_>, column: Column, number: Option<i64>) -> Result<(), Wrong> {
    let holds = match (row.cell(column.1), number) {
        (CellRef::Null, None) => true,
        (CellRef::Int(found), Some(number)) => found == number,
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("`{}` is not what the audit log says", column.0)) }
}

/// The column holds this end of a time. Canonical JSON has doubles, and one in the far future may be more than they hold
/// exactly.
fn is_until(row: &RowRef<'_>, column: Column, until: Option<f64>) -> Result<(), Wrong> {
    #[expect(clippy::cast_precision_loss, reason = "it was lost when the entry was written")]
    let holds = match row.cell(column.1) {
        CellRef::Null => until.is_none(),
        CellRef::Int(found) => until == Some(found as f64),
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("`{}` is not what the audit log says", column.0)) }
}

/// The column holds this time, in units of so many milliseconds.
fn is_time(row: &RowRef<'_>, column: Column, at_ms: Option<i64>, unit: i64) -> Result<(), Wrong> {
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
fn is_sha(row: &RowRef<'_>, column: Column, sha: &Sha) -> Result<(), Wrong> {
    let holds = row.text(column).is_some_and(|text| sha.is(text));
    if holds { Ok(()) } else { Err(format!("`{}` is not what the audit log says", column.0)) }
}

fn text<'a>(row: &RowRef<'a>, column: Column) -> Result<&'a str, Wrong> {
    row.text(column).ok_or_else(|| format!("`{}` holds no text", column.0))
}

fn number(row: &RowRef<'_>, column: Column) -> Result<u32, Wrong> {
    let number = row.int(column).and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| format!("`{}` holds no number that kern wrote", column.0))
}

/// What a call is bound to beside its arguments and its policy.
pub(crate) fn rest(
    requirement_id: &str,
    user_fields: Option<&str>,
    argument_limit: Option<i64>,
    earlier_requirements: Option<&str>,
    context: Option<&str>,
) -> String {
    Fields::new("kern/rest/v1")
        .text(requirement_id)
        .optional(user_fields)
        .optional(argument_limit.map(|limit| limit.to_string()).as_deref())
        .optional(earlier_requirements)
        .optional(context)
        .finish()
}

/// What the record of a call was made with.
fn context(call: &RowRef<'_>, run: &RowRef<'_>) -> String {
    let tool_name = call.text(CallRow::C.tool_name.order());
    serde_json::json!({ "tool_names": [tool_name], "source_name": run.text(RunRow::C.agent_name.order()) }).to_string()
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
        is_text(row, c.requester.order(), self.replay.who[state.requester as usize].principal.as_deref())?;
        is_text(row, c.session_id.order(), Some(&state.session_id))?;
        is_text(row, c.agent_id.order(), Some(&state.agent_id))?;
        if let Some(name) = &state.agent_name {
            is_text(row, c.agent_name.order(), name.as_deref())?;
        }
        is_int(row, c.turn.order(), Some(state.turn.into()))?;
        is_int(row, c.recoveries.order(), Some(state.recoveries.into()))?;
        is_int(row, c.attention.order(), Some(state.attention.into()))?;
        is_int(row, c.fence.order(), Some(state.fence))?;
        is_time(row, c.created_at_ms.order(), Some(state.started_ms), 1)?;
        is_time(row, c.updated_at_ms.order(), Some(state.changed_ms), 1)?;
        let driven = state.status == crate::RunStatus::Running;
        check(driven || row.cell(c.owner.order().1) == CellRef::Null, "nobody drives it, and it has an owner")?;
        let snapshot = text(row, c.snapshot.order())?;
        let digest = sha256(snapshot);
        check(row.text(c.snapshot_digest.order()) == Some(&digest), "its snapshot and the digest of it do not agree")?;
        check(
            state.snapshot.is_none_or(|said| said.is(&digest)),
            "its snapshot is not the one that the audit log says",
        )?;
        let open = state.calls.iter().any(|call| {
            call.approvals.iter().any(|approval| approval.status == ApprovalStatus::Pending)
                || call.executions.iter().any(|execution| execution.status == ExecutionStatus::Ready)
        });
        check(!(open && state.has_ended()), "it has ended, and something of it is still open")
    }

    fn calls<'r>(
        &mut self,
        run: &RowRef<'_>,
        state: &'r Run,
        rows: impl Iterator<Item = RowRef<'r>>,
    ) -> Vec<KnownCall<'r>> {
        let id = run.text(RunRow::C.run_id.order()).unwrap_or_default();
        let mut calls = Vec::new();
        let mut counts: HashMap<i64, u32> = HashMap::new();
        for row in rows {
            let (turn, idx) = place_of(&row);
            *counts.entry(turn).or_default() += 1;
            let known = state.calls.binary_search_by_key(&(turn, idx), |call| (call.turn.into(), call.idx.into()));
            let said = known.ok().map(|place| &state.calls[place]);
            let policy = text(&row, CallRow::C.policy.order()).and_then(|text| self.policy(text));
            match policy {
                Ok(policy) => calls.push(KnownCall { row, state: said, policy }),
                Err(what) => {
                    self.report(
                        said.map_or(state.seq, |call| call.seq),
                        Table::Calls,
                        &format!("{id}/{turn}/{idx}"),
                        what,
                    );
                }
            }
        }
        for turn in &state.turns {
            let found = counts.remove(&turn.turn.into()).unwrap_or(0);
            if found != turn.calls {
                let what = format!("turn {} has {} calls by the audit log, and {found} rows", turn.turn, turn.calls);
                self.report(state.seq, Table::Calls, id, what);
            }
        }
        if let Some((turn, _)) = counts.into_iter().next() {
            self.report(state.seq, Table::Calls, id, format!("it has calls of turn {turn}, which was never committed"));
        }
        calls
    }

    /// Compares the approvals of a run, and gives their rows by id.
    fn approvals<'r>(
        &mut self,
        run: &RowRef<'_>,
        state: &Run,
        calls: &[KnownCall<'_>],
        rows: impl Iterator<Item = RowRef<'r>>,
    ) -> HashMap<&'r str, RowRef<'r>> {
        let mut found = HashMap::new();
        for row in rows {
            let Some(id) = row.text(ApprovalRow::C.id.order()) else { continue };
            found.insert(id, row);
            let place = (row.int(ApprovalRow::C.turn.order()), row.int(ApprovalRow::C.idx.order()));
            let known = |call: &&Call| (Some(call.turn.into()), Some(call.idx.into())) == place;
            let said = state.calls.iter().find(known);
            let said = said.and_then(|call| Some((call, call.approvals.iter().find(|said| *said.id == *id)?)));
            let call = calls.iter().find(|call| place == (Some(place_of(&call.row).0), Some(place_of(&call.row).1)));
            let Some((_, said)) = said else {
                self.report(
                    state.seq,
                    Table::Approvals,
                    id,
                    wrong("no entry of the audit log says that it was asked for"),
                );
                continue;
            };
            let Some(call) = call else {
                self.report(said.seq, Table::Approvals, id, wrong("the call that it is about is not there"));
                continue;
            };
            let policy = text(&row, ApprovalRow::C.policy.order()).and_then(|text| self.policy(text));
            let sensitive = self.sensitive(call);
            let outcome =
                policy.and_then(|policy| self.approval(run, &row, said, call, (&policy, sensitive.as_deref())));
            if let Err(what) = outcome {
                self.report(said.seq, Table::Approvals, id, what);
            }
        }
        for said in state.calls.iter().flat_map(|call| &call.approvals) {
            if !found.contains_key(&*said.id) {
                self.report(
                    said.seq,
                    Table::Approvals,
                    &said.id,
                    wrong("the audit log has it, and its row is not there"),
                );
            }
        }
        found
    }

    fn approval(
        &self,
        run: &RowRef<'_>,
        row: &RowRef<'_>,
        said: &Approval,
        call: &KnownCall<'_>,
        (policy, sensitive): (&CallPolicy, Option<&str>),
    ) -> Result<(), Wrong> {
        let c = ApprovalRow::C;
        let who = |by: u32| &self.replay.who[by as usize];
        check(!row.is_odd(), "a column holds what kern does not store")?;
        is_text(row, c.status.order(), Some(said.status.as_str()))?;
        is_text(row, c.approval_type.order(), Some(if said.required { "required" } else { "audit" }))?;
        is_int(row, c.generation.order(), Some(said.generation.into()))?;
        is_int(row, c.version.order(), Some(said.version.into()))?;
        is_sha(row, c.digest.order(), &said.digest)?;
        let approved = said.status == ApprovalStatus::Approved;
        let digest = text(row, c.digest.order())?;
        is_text(row, c.decided_digest.order(), Some(digest).filter(|_| approved))?;
        for (one, other) in [(c.tool_name, CallRow::C.tool_name), (c.tool_call_id, CallRow::C.tool_call_id)] {
            is_text(row, one.order(), call.row.text(other.order()))
                .map_err(|_| format!("`{}` is not that of its call", one.order().0))?;
        }
        let current = call.row.int(CallRow::C.generation.order()) == Some(said.generation.into());
        let tool = if current {
            Some((text(&call.row, CallRow::C.tool_version.order())?, text(&call.row, CallRow::C.schema_hash.order())?))
        } else {
            None
        };
        if let (Some(said), Some((version, schema))) = (&said.tool, tool) {
            check(version == &*said.version && said.schema.is(schema), "its tool is another than it was asked with")?;
        }
        if let Some((tool_version, schema_hash)) = tool {
            let arguments = text(row, c.tool_args.order())?;
            let recomputed = digest_of(&call.row, tool_version, schema_hash, arguments)?;
            check(recomputed == digest, "its arguments and their digest do not agree")?;
        }
        if current {
            // Rows from before there was such a column name none.
            let old = call.row.cell(CallRow::C.parameters.order().1) == CellRef::Null;
            is_text(row, c.sensitive.order(), sensitive.filter(|_| !old))?;
        }
        let requester = run.text(RunRow::C.requester.order());
        is_text(row, c.requester.order(), requester).map_err(|_| wrong("`requester` is not that of its run"))?;
        let requirements = row.text(c.requirements.order());
        let recomputed = policy_digest(
            said.required.then_some(&*said.id),
            digest,
            requester,
            text(row, c.policy.order())?,
            requirements.filter(|_| said.required),
        );
        is_text(row, c.policy_digest.order(), Some(&recomputed))
            .map_err(|_| wrong("its policy, or what was shown, and the digest of them do not agree"))?;
        is_until(row, c.expires_at.order(), said.expires_at)?;
        is_text(row, c.edited_by.order(), said.edited_by.as_deref())?;
        // What falls with its run, or with its call, names somebody or nobody.
        let resolver = said.resolver.map(who);
        let named = row.text(c.resolver.order());
        if said.status == ApprovalStatus::Cancelled && named.is_none() {
            is_text(row, c.resolved_by.order(), None)?;
        } else {
            is_text(row, c.resolver.order(), resolver.and_then(|who| who.principal.as_deref()))?;
            let subject = resolver.and_then(|who| who.person.as_ref()).map(|person| person.subject.as_str());
            is_text(row, c.resolved_by.order(), subject)?;
        }
        is_time(row, c.created_at.order(), Some(said.asked_ms), 1000)?;
        is_time(row, c.resolved_at.order(), said.resolved_ms, 1000)?;
        is_time(row, c.deleted_at.order(), said.hidden_ms, 1000)?;
        check_note(row.text(c.resolution_data.order()), said)?;
        is_text(row, c.session_id.order(), run.text(RunRow::C.session_id.order()))?;
        is_text(row, c.agent_id.order(), run.text(RunRow::C.agent_id.order()))?;
        is_text(row, c.source_name.order(), run.text(RunRow::C.agent_name.order()))?;
        is_text(row, c.source_type.order(), Some("agent"))?;
        is_text(row, c.pause_type.order(), Some(policy.pause.unwrap_or(PauseType::Confirmation).as_str()))?;
        let asker = self.replay.who.get(self.requester_of(run) as usize).and_then(|who| who.person.as_ref());
        is_text(row, c.user_id.order(), asker.map(|person| person.subject.as_str()))?;
        for column in [c.team_id, c.workflow_id, c.schedule_id, c.schedule_run_id] {
            is_text(row, column.order(), None)?;
        }
        if !said.required {
            is_text(row, c.requirements.order(), None)?;
            is_text(row, c.context.order(), Some(&context(&call.row, run)))?;
            return Ok(());
        }
        if said.status == ApprovalStatus::Approved {
            let votes = || said.votes.iter().filter(|vote| vote.version == said.version);
            check(
                votes().count() as u64 >= u64::from(policy.quorum),
                "it is approved by fewer people than its policy asks",
            )?;
            let own = |by: u32| match (&who(by).person, asker) {
                (Some(voter), Some(asker)) => voter.is_same_person(asker),
                _ => false,
            };
            check(policy.allow_self || !votes().any(|vote| own(vote.by)), "it was approved by whoever asked for it")?;
        }
        Ok(())
    }

    fn requester_of(&self, run: &RowRef<'_>) -> u32 {
        let id = run.text(RunRow::C.run_id.order()).unwrap_or_default();
        self.replay.runs.get(id).map_or(u32::MAX, |run| run.requester)
    }

    fn executions<'r>(
        &mut self,
        state: &Run,
        calls: &[KnownCall<'_>],
        approvals: &HashMap<&str, RowRef<'_>>,
        rows: impl Iterator<Item = RowRef<'r>>,
    ) {
        let mut met = Vec::new();
        for row in rows {
            let Some(id) = row.text(ExecutionRow::C.id.order()) else { continue };
            let place = (row.int(ExecutionRow::C.turn.order()), row.int(ExecutionRow::C.idx.order()));
            let said = state.calls.iter().find(|call| (Some(call.turn.into()), Some(call.idx.into())) == place);
            let said = said.and_then(|call| call.executions.iter().find(|said| *said.id == *id));
            let call = calls.iter().find(|call| place == (Some(place_of(&call.row).0), Some(place_of(&call.row).1)));
            let Some(said) = said else {
                self.report(state.seq, Table::Executions, id, wrong("no entry of the audit log says what allows it"));
                continue;
            };
            met.push(id);
            let outcome = match call {
                Some(call) => self.execution(&row, said, call, approvals),
                None => Err(wrong("the call that it is about is not there")),
            };
            if let Err(what) = outcome {
                self.report(said.seq, Table::Executions, id, what);
            }
        }
        for said in state.calls.iter().flat_map(|call| &call.executions) {
            if !met.contains(&&*said.id) {
                self.report(
                    said.seq,
                    Table::Executions,
                    &said.id,
                    wrong("the audit log has it, and its row is not there"),
                );
            }
        }
    }

    fn execution(
        &self,
        row: &RowRef<'_>,
        said: &Execution,
        call: &KnownCall<'_>,
        approvals: &HashMap<&str, RowRef<'_>>,
    ) -> Result<(), Wrong> {
        use ExecutionStatus::{Abandoned, Executing, Failed, Ready, Succeeded, Unknown};
        let c = ExecutionRow::C;
        check(!row.is_odd(), "a column holds what kern does not store")?;
        is_text(row, c.status.order(), Some(said.status.as_str()))?;
        is_int(row, c.attempt.order(), Some(said.attempt.into()))?;
        is_int(row, c.fence.order(), Some(said.fence))?;
        is_int(row, c.generation.order(), Some(said.generation.into()))?;
        is_sha(row, c.decided_digest.order(), &said.digest)?;
        is_text(row, c.authority.order(), Some(said.authority.as_str()))?;
        let named = (said.authority != Authority::Answer).then_some(&*said.id);
        let named = named.filter(|id| said.authority != Authority::Policy || approvals.contains_key(id));
        is_text(row, c.approval_id.order(), named)?;
        is_text(row, c.tool_name.order(), call.row.text(CallRow::C.tool_name.order()))
            .map_err(|_| wrong("`tool_name` is not that of its call"))?;
        is_until(row, c.valid_until_ms.order(), said.valid_until_ms)?;
        if call.row.int(CallRow::C.generation.order()) == Some(said.generation.into()) {
            let (version, schema) =
                (text(&call.row, CallRow::C.tool_version.order())?, text(&call.row, CallRow::C.schema_hash.order())?);
            let recomputed = digest_of(&call.row, version, schema, text(row, c.arguments.order())?)?;
            check(said.digest.is(&recomputed), "its arguments and the digest that was decided on do not agree")?;
        }
        let digest_is = |column: Column| match (row.text(column), said.result) {
            (Some(found), Some(sha)) => check(sha.is(&sha256(found)), "what it gave is not what the audit log says"),
            (None, Some(_)) => Err(wrong("what it gave is not there")),
            // A settlement of before there was a digest for it.
            (_, None) => Ok(()),
        };
        match said.status {
            Succeeded => {
                digest_is(c.result.order())?;
                is_text(row, c.error.order(), None)?;
            }
            Failed => {
                is_text(row, c.result.order(), None)?;
                digest_is(c.error.order())?;
            }
            Unknown | Ready | Executing | Abandoned => {
                is_text(row, c.result.order(), None)?;
                match (said.status, &said.settled) {
                    (Abandoned, Some(_)) if said.result.is_some() => digest_is(c.error.order())?,
                    (Abandoned, Some(_)) | (Executing, _) => {}
                    _ => is_text(row, c.error.order(), said.why.as_deref())?,
                }
            }
        }
        let settled = said.settled.as_ref();
        is_text(row, c.settled_by.order(), settled.map(|(by, _)| self.replay.who[*by as usize].shown.as_str()))?;
        is_text(row, c.note.order(), settled.and_then(|(_, note)| note.as_deref()))?;
        is_time(row, c.created_at_ms.order(), Some(said.made_ms), 1)?;
        is_time(row, c.started_at_ms.order(), said.started_ms, 1)?;
        is_time(row, c.finished_at_ms.order(), said.ended_ms, 1)
    }

    /// Every row of a page of votes.
    pub(super) fn votes(&mut self, votes: &Page) {
        for row in votes.rows() {
            let Some(id) = row.text(VoteRow::C.approval_id.order()) else { continue };
            if let Err((seq, what)) = self.vote(&row, id) {
                self.report(seq, Table::Votes, id, what);
            }
        }
    }

    fn vote(&self, row: &RowRef<'_>, id: &str) -> Result<(), (i64, Wrong)> {
        let c = VoteRow::C;
        let approval = self.replay.approvals.get(id).and_then(|place| {
            let run = self.replay.runs.get(&place.run)?;
            let call = run.calls.iter().find(|call| (call.turn, call.idx) == (place.turn, place.idx))?;
            call.approvals.iter().find(|approval| *approval.id == *id)
        });
        let approval =
            approval.ok_or_else(|| (0, wrong("it is about an approval that the audit log does not have")))?;
        let at = |outcome: Result<(), Wrong>| outcome.map_err(|what| (approval.seq, what));
        at(check(!row.is_odd(), "a column holds what kern does not store"))?;
        let key = row.text(c.voter_key.order()).unwrap_or_default();
        let version = row.int(c.version.order());
        let who = |by: u32| &self.replay.who[by as usize];
        let vote =
            approval.votes.iter().find(|vote| Some(vote.version.into()) == version && who(vote.by).voter_key == key);
        let vote =
            vote.ok_or_else(|| (approval.seq, wrong("no entry of the audit log says that this vote was given")))?;
        at(is_sha(row, c.digest.order(), &vote.digest))?;
        at(is_text(row, c.voter.order(), who(vote.by).principal.as_deref()))?;
        at(is_time(row, c.created_at_ms.order(), Some(vote.at_ms), 1))?;
        if let Some(sha) = &vote.data {
            let same = row.text(c.resolution_data.order()).is_some_and(|data| sha.is(&sha256(data)));
            at(check(same, "`resolution_data` is not what the audit log says"))?;
        } else if !vote.noted && approval.tool.is_some() {
            at(is_text(row, c.resolution_data.order(), None))?;
        }
        approval.voted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Every pool.
    pub(super) fn pools(&mut self, pools: &Page) {
        let c = PoolRow::C;
        let mut met = Vec::new();
        for row in pools.rows() {
            let Some(name) = row.text(c.name.order()) else { continue };
            let Some(said) = self.replay.pools.get(name) else {
                self.report(0, Table::Pools, name, wrong("no entry of the audit log says who is in it"));
                continue;
            };
            met.push(name);
            let who = &self.replay.who[said.by as usize];
            let agrees = check(!row.is_odd(), "a column holds what kern does not store")
                .and_then(|()| is_text(&row, c.members.order(), Some(&said.members)))
                .and_then(|()| is_text(&row, c.set_by.order(), who.principal.as_deref()))
                .and_then(|()| is_time(&row, c.set_at_ms.order(), Some(said.at_ms), 1));
            if let Err(what) = agrees {
                self.report(said.seq, Table::Pools, name, what);
            }
        }
        for (name, said) in self.replay.pools.iter().filter(|(name, _)| !met.contains(&&***name)) {
            self.report(said.seq, Table::Pools, name, wrong("the audit log has it, and its row is not there"));
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

/// The rows of each run of a page.
fn grouped(page: &Page, column: Column) -> HashMap<&str, Vec<usize>> {
    let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, row) in page.rows().enumerate() {
        groups.entry(row.text(column).unwrap_or_default()).or_default().push(place);
    }
    groups
}

fn place_of(call: &RowRef<'_>) -> (i64, i64) {
    let number = |column: Column| call.int(column).unwrap_or(-1);
    (number(CallRow::C.turn.order()), number(CallRow::C.idx.order()))
}

/// The digest that these arguments have in a call's place.
fn digest_of(call: &RowRef<'_>, tool_version: &str, schema_hash: &str, arguments: &str) -> Result<String, Wrong> {
    let c = CallRow::C;
    Ok(call_digest(CallFields {
        run_id: text(call, c.run_id.order())?,
        turn: number(call, c.turn.order())?,
        index: number(call, c.idx.order())?,
        tool_call_id: text(call, c.tool_call_id.order())?,
        tool_name: text(call, c.tool_name.order())?,
        tool_version,
        schema_hash,
        arguments,
    }))
}

fn check_call(
    replay: &Replay,
    run: (&RowRef<'_>, &Run),
    call: &KnownCall<'_>,
    approvals: &HashMap<&str, RowRef<'_>>,
) -> Result<(), Wrong> {
    let (run, said) = run;
    let who = |by: u32| &replay.who[by as usize];
    let c = CallRow::C;
    let KnownCall { row, state, policy } = call;
    check(!row.is_odd(), "a column holds what kern does not store")?;
    let digest = text(row, c.digest.order())?;
    let (version, schema) = (text(row, c.tool_version.order())?, text(row, c.schema_hash.order())?);
    let recomputed = digest_of(row, version, schema, text(row, c.arguments.order())?)?;
    check(recomputed == digest, "its arguments, or its tool, and their digest do not agree")?;
    let schema_fits = row.text(c.parameters.order()).is_none_or(|parameters| sha256(parameters) == schema);
    check(schema_fits, "its schema and the hash of it do not agree")?;
    let approval = row.text(c.approval_id.order());
    let deciding = match (policy.is_decided_by_row(), approval) {
        (false, _) => None,
        (true, None) => return Err(wrong("no approval decides about it, and its policy asks for one")),
        (true, Some(id)) => Some((id, approvals.get(id).ok_or("the approval that decides about it is not there")?)),
    };
    let recomputed = policy_digest(
        deciding.map(|(id, _)| id),
        digest,
        run.text(RunRow::C.requester.order()),
        text(row, c.policy.order())?,
        deciding.and_then(|(_, approval)| approval.text(ApprovalRow::C.requirements.order())),
    );
    is_text(row, c.policy_digest.order(), Some(&recomputed))
        .map_err(|_| wrong("its policy, or what was shown, and the digest of them do not agree"))?;
    if let Some((_, approval)) = &deciding {
        let a = ApprovalRow::C;
        for (one, other) in [
            (c.arguments.order(), a.tool_args.order()),
            (c.policy.order(), a.policy.order()),
            (c.digest.order(), a.digest.order()),
        ] {
            check(row.text(one) == approval.text(other), "it and its approval are about different calls")?;
        }
    }
    let turn = said.turns.iter().find(|turn| Some(turn.turn.into()) == row.int(c.turn.order()));
    is_time(row, c.created_at_ms.order(), turn.map(|turn| turn.at_ms), 1)?;
    let Some(state) = state else {
        // Nobody has said anything to it, so that the log says nothing of it either.
        check(!policy.is_decided_by_row(), "no entry of the audit log says that an approval was asked for")?;
        for column in [c.version.order(), c.generation.order()] {
            is_int(row, column, Some(0))?;
        }
        let unsaid = [c.approval_id.order(), c.answer.order(), c.answer_digest.order(), c.answer_note.order()];
        return unsaid.into_iter().try_for_each(|column| is_text(row, column, None));
    };
    is_sha(row, c.digest.order(), &state.digest)?;
    is_int(row, c.generation.order(), Some(state.generation.into()))?;
    is_int(row, c.version.order(), Some(state.version.into()))?;
    let current = state.approvals.iter().rfind(|approval| approval.generation == state.generation);
    is_text(row, c.approval_id.order(), current.map(|approval| &*approval.id))?;
    if let Some(earlier) = &state.earlier {
        let found: Vec<String> =
            serde_json::from_str(text(row, c.earlier_digests.order())?).map_err(|error| error.to_string())?;
        let same = found.len() == earlier.len() && found.iter().zip(earlier).all(|(found, said)| said.is(found));
        check(same, "`earlier_digests` is not what the audit log says")?;
        let shown = earlier.first().unwrap_or(&state.digest);
        is_sha(row, c.shown_digest.order(), shown)?;
    }
    if state.version == 0
        && let Some(said) = &state.policy
    {
        check(said.is(&recomputed), "its policy, or what was shown, is not what the audit log says")?;
    }
    if let Some(said) = &state.unfilled {
        is_text(row, c.unfilled.order(), Some(&canonical(said)))?;
    }
    if state.rest.is_some() {
        text(row, c.parameters.order())?;
    }
    if let Some(said) = &state.rest {
        let context = deciding.and_then(|(_, approval)| approval.text(ApprovalRow::C.context.order()));
        let found = rest(
            text(row, c.requirement_id.order())?,
            row.text(c.user_fields.order()),
            row.int(c.argument_limit.order()),
            row.text(c.earlier_requirements.order()),
            context,
        );
        check(said.is(&found), "what it was shown with is not what the audit log says")?;
    }
    let required = current.is_some_and(|approval| approval.required);
    check(required == policy.is_decided_by_row(), "its policy asks for another approval than the audit log says")?;
    let authority = match policy.tier {
        Tier::Required | Tier::TwoStage => Authority::Approval,
        Tier::User => Authority::Answer,
        Tier::Audit => Authority::Policy,
    };
    let other = |execution: &Execution| execution.generation == state.generation && execution.authority != authority;
    check(!state.executions.iter().any(other), "its policy is another than the one its execution was allowed by")?;
    let again = |execution: &Execution| execution.generation == state.generation && execution.attempt > 1;
    check(
        policy.effect != Effect::Once || !state.executions.iter().any(again),
        "its policy lets it start once, and it was started again",
    )?;
    match &state.answer {
        None => {
            let unsaid = [c.answer.order(), c.answer_digest.order(), c.answer_note.order(), c.answered_by.order()];
            unsaid.into_iter().try_for_each(|column| is_text(row, column, None))?;
            is_time(row, c.answered_at_ms.order(), None, 1)
        }
        Some(answer) => {
            is_text(row, c.answer.order(), Some(if answer.confirmed { "confirmed" } else { "rejected" }))?;
            is_sha(row, c.answer_digest.order(), &answer.digest)?;
            is_text(row, c.answer_note.order(), answer.note.as_deref())?;
            is_text(row, c.answered_by.order(), who(answer.by).principal.as_deref())?;
            is_time(row, c.answered_at_ms.order(), Some(answer.at_ms), 1)
        }
    }
}

/// The note of a decision is the one on record.
fn check_note(data: Option<&str>, said: &Approval) -> Result<(), Wrong> {
    let unsaid = matches!(said.status, ApprovalStatus::Pending | ApprovalStatus::Expired | ApprovalStatus::Cancelled);
    if unsaid {
        return check(data.is_none(), "`resolution_data` is not what the audit log says");
    }
    let value: Option<Value> = match data {
        None => None,
        Some(data) => Some(serde_json::from_str(data).map_err(|error| format!("`resolution_data`: {error}"))?),
    };
    if let Some(sha) = &said.data {
        let same = data.is_some_and(|data| sha.is(&sha256(data)));
        return check(same, "`resolution_data` is not what the audit log says");
    }
    let note = value.as_ref().and_then(|value| value.get("note")).and_then(Value::as_str);
    let only_note = said.required || value.as_ref().and_then(Value::as_object).is_none_or(|data| data.len() == 1);
    check(only_note && (said.note.is_none() || note == said.note.as_deref()), "its note is not what the audit log says")
}
