//! The rows of executions.

use std::collections::HashMap;

use super::call::{digest_of, is_erased, place_of};
use super::cells::{Column, Wrong, check, is_int, is_sha, is_text, is_time, is_until, text, wrong};
use super::{KnownCall, Rows};
use crate::audit::replay::{Execution, Run};
use crate::cell::Table;
use crate::digest::sha256;
use crate::page::RowRef;
use crate::records::call::CallRow;
use crate::records::execution::ExecutionRow;
use crate::{Authority, ExecutionStatus, PauseType};

impl Rows<'_> {
    pub(super) fn executions<'r>(
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
                Some(call) => self
                    .execution(state, &row, said, call, approvals)
                    .and_then(|()| is_erased(&row, ExecutionRow::C.erased_at_ms.order(), &call.row, state)),
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

    pub(super) fn execution(
        &self,
        state: &Run,
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
        if said.outside {
            let outside = call.policy.pause == Some(PauseType::ExternalExecution);
            check(outside, "it is unknown and never started, and no other system executes it")?;
        }
        is_text(row, c.late_status.order(), said.late.map(|(status, _)| status.as_str()))?;
        match (row.text(c.late_result.order()), said.late) {
            (Some(found), Some((_, sha))) => {
                check(sha.is(&sha256(found)), "what came too late is not what the audit log says")?;
                check(state.erased_ms.is_none(), "its run was erased, and what came too late is there")?;
            }
            (None, Some(_)) => check(state.erased_ms.is_some(), "what came too late is not there")?,
            (None, None) => {}
            (Some(_), None) => return Err(wrong("no entry of the audit log says what came too late")),
        }
        let settled = said.settled.as_ref();
        is_text(row, c.settled_by.order(), settled.map(|(by, _)| self.replay.who[*by as usize].shown.as_str()))?;
        is_text(row, c.note.order(), settled.and_then(|(_, note)| note.as_deref()))?;
        is_time(row, c.created_at_ms.order(), Some(said.made_ms), 1)?;
        is_time(row, c.started_at_ms.order(), said.started_ms, 1)?;
        is_time(row, c.finished_at_ms.order(), said.ended_ms, 1)
    }
}
