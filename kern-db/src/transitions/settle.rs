//! X9 and X11: what somebody says about an execution whose end nobody knows.

use serde_json::json;

use super::{ask, calls, check_bound, evidence, restore, run};
use crate::audit::Entry;
use crate::digest::sha256;
use crate::records::call::Effect;
use crate::records::execution::{Execution, ExecutionRow, Settlement};
use crate::records::principal::{Actor, Principal, check_named, check_separation};
use crate::records::run::RunRow;
use crate::rules::{CallRows, check_unknown};
use crate::tx::{Query, Step, Tx};
use crate::{Answer, Error, ExecutionId, ExecutionStatus, Result, RunStatus};

use ExecutionRow as E;

/// Who settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settler {
    /// Whom the settlement names.
    Person,
    /// The tool's own probe. It says how a call ended, and orders nothing.
    Probe,
}

/// X9, or X11 where the call shall be run again.
pub(crate) async fn settle<T: Tx>(
    tx: &mut T,
    id: ExecutionId,
    settlement: Settlement,
    settler: Settler,
) -> Step<Execution> {
    check_named(settlement.by.as_ref())?;
    let found = read(tx, &id).await?;
    let note = settlement.note.as_deref().map(str::trim).filter(|note| !note.is_empty());
    let note = match (note, settler) {
        (Some(_), _) => settlement.note.clone(),
        (None, Settler::Probe) => Some("the tool's probe looked it up".to_owned()),
        (None, Settler::Person) => return Err(Error::NoteRequired { id }.into()),
    };
    if settlement.again && settler == Settler::Probe {
        return Err(Error::Invalid("a probe says how a call ended, and does not have it run again".to_owned()).into());
    }
    // Locked in the order of all transactions.
    let run = run(tx, &found.run_id).await?;
    let rows = calls(tx, &found.run_id, found.turn).await?.into_iter().find(|rows| rows.call.idx == found.idx);
    let now = tx.now().await?;
    let by = settlement.by.as_ref().filter(|_| settler == Settler::Person).cloned();
    may_settle(&run, rows.as_ref(), by.as_ref())?;
    let settlement = adopted(settlement, &found, rows.as_ref())?;
    let actor = match settler {
        Settler::Person => Actor::of(by.as_ref()),
        Settler::Probe => Actor::Probe,
    };
    // A person says what they know of the call that they are shown, and a probe has looked up what the rows say it is: they must
    // be what was asked for, or it is the end of something else that is recorded.
    if found.status == ExecutionStatus::Unknown && !settlement.again {
        let Some(rows) = rows.as_ref().filter(|rows| rows.execution.as_ref() == Some(&found)) else {
            let needs = "the call that it is about is not there any more";
            return Err(Error::ExecutionConflict { id, found: found.status, needs }.into());
        };
        if let Err(error) = check_unknown_as_asked(tx, &run, rows).await {
            return Err(evidence(tx, &run.run_id, actor, error).await);
        }
    }
    let settling = Settling { id: &id, note, settlement: &settlement, actor, now };
    if settlement.again {
        run_again(tx, &run, rows, found, settling).await?;
    } else {
        let actor = settling.actor.clone();
        let digest = settling.text().map(sha256);
        let mut payload = json!({ "as": settlement.to, "note": settling.note, "digest": digest });
        if settlement.adopts.is_some() {
            payload["adopted"] = true.into();
        }
        settling.close(tx, &found).await?;
        let entry = Entry::new("settled", actor, &run.run_id).at(found.turn, found.idx);
        tx.journal().record(entry.execution(&id).digest(&found.decided_digest).payload(payload));
        tx.journal().tell("execution.settled", &run.run_id, found.approval_id.as_ref(), Some(&id));
    }
    Ok(read(tx, &id).await?.into())
}

/// A settlement by the late result of the execution, as it is stored: the very one that was shown, by its digest.
fn adopted(settlement: Settlement, found: &ExecutionRow, rows: Option<&CallRows>) -> Result<Settlement> {
    let Some(shown) = &settlement.adopts else { return Ok(settlement) };
    let conflict = |needs| Error::ExecutionConflict { id: found.id.clone(), found: found.status, needs };
    let (Some(to), Some(result)) = (found.late_status, found.late_result.clone()) else {
        return Err(conflict("no result of it was reported: say how it ended"));
    };
    // A settler adopts only the result that was shown.
    if *shown != sha256(&result) {
        return Err(conflict(
            "the result that was reported is another one than the one that was shown: look at it again",
        ));
    }
    // SUCCEEDED would say that its writes are there, and they were given up with the start.
    if rows.is_none_or(|rows| rows.policy.effect == Effect::Transactional) {
        return Err(conflict("what a transactional call was to write is not written: say how it ended"));
    }
    Ok(Settlement { to, result: Some(result), ..settlement })
}

/// Whether every copy of an unknown call is what was asked for, and the log says, too, that its end is unknown.
async fn check_unknown_as_asked<T: Tx>(tx: &mut T, run: &RunRow, rows: &CallRows) -> Result<()> {
    let entries = check_bound(tx, run, rows).await?;
    check_unknown(rows, &entries)
}

async fn read<T: Tx>(tx: &mut T, id: &ExecutionId) -> Result<ExecutionRow> {
    let found = tx.select::<ExecutionRow>(Query::of(vec![E::C.id.is(id.clone())])).await?.pop();
    found.ok_or_else(|| Error::NotFound { entity: "execution", id: id.to_string() })
}

/// Separation, as for a decision: the requester of a call, and every link of the requester's chain, settles nothing.
pub(super) fn may_settle(run: &RunRow, rows: Option<&CallRows>, by: Option<&Principal>) -> Result<()> {
    let allow_self = rows.is_some_and(|rows| rows.policy.allow_self);
    check_separation(run.requester.as_ref().map(|requester| &requester.0), by, allow_self, "settle it")
}

/// A settlement that may be made.
struct Settling<'a> {
    id: &'a ExecutionId,
    note: Option<String>,
    settlement: &'a Settlement,
    actor: Actor,
    now: i64,
}

impl Settling<'_> {
    /// What stands in the row from then on, as its result or its error.
    fn text(&self) -> Option<&str> {
        let note = self.note.as_deref().filter(|_| self.settlement.to != ExecutionStatus::Succeeded);
        self.settlement.result.as_deref().or(note)
    }

    /// UNKNOWN → SUCCEEDED, FAILED, ABANDONED.
    async fn close<T: Tx>(&self, tx: &mut T, found: &ExecutionRow) -> Step<()> {
        let said = self.settlement.result.clone();
        let (result, error) = match self.settlement.to {
            ExecutionStatus::Succeeded => (said, None),
            _ => (None, said.or_else(|| self.note.clone())),
        };
        let settled = tx
            .update(
                vec![
                    E::C.status.to(self.settlement.to),
                    E::C.result.to(result),
                    E::C.error.to(error),
                    E::C.settled_by.to(Some(self.actor.to_string())),
                    E::C.note.to(self.note.clone()),
                    E::C.finished_at_ms.to(Some(self.now)),
                    // A body that still runs can no longer report: the settlement stays.
                    E::C.owner.to(None),
                ],
                vec![E::C.id.is(self.id.clone()), E::C.status.is(ExecutionStatus::Unknown)],
            )
            .await?;
        if settled != 1 {
            let needs = "only an unknown execution can be settled";
            return Err(Error::ExecutionConflict { id: self.id.clone(), found: found.status, needs }.into());
        }
        Ok(())
    }
}

/// X11.
async fn run_again<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    rows: Option<CallRows>,
    found: ExecutionRow,
    settling: Settling<'_>,
) -> Step<()> {
    // It asks for the call again.
    restore::open(tx).await?;
    let conflict = |needs| Error::ExecutionConflict { id: found.id.clone(), found: found.status, needs };
    if found.status != ExecutionStatus::Unknown {
        return Err(conflict("only an unknown execution can be run again").into());
    }
    let Some(rows) = rows.filter(|rows| rows.execution.as_ref() == Some(&found)) else {
        return Err(conflict("its call was asked for again since").into());
    };
    if !matches!(run.status, RunStatus::Paused | RunStatus::Running) {
        let needs = "nothing of a run that has ended is run again: ask the agent anew";
        return Err(Error::RunConflict { run_id: run.run_id.clone(), found: run.status, needs }.into());
    }
    if rows.call.turn != run.turn {
        return Err(conflict("its turn is over").into());
    }
    // I9. An external call is UNKNOWN, and not ABANDONED, when its requester rejects it after its gate has opened. A new
    // generation would clear that answer, and an approver alone could then allow what the requester has refused.
    if rows.call.answer == Some(Answer::Rejected) {
        return Err(conflict("its requester has rejected it: record how it ended instead").into());
    }
    if let Err(error) = check_unknown_as_asked(tx, run, &rows).await {
        return Err(evidence(tx, &run.run_id, settling.actor, error).await);
    }
    settling.close(tx, &found).await?;
    let said = settling.text().map(str::to_owned);
    ask::run_again(tx, run, &rows, settling.actor, settling.note.as_deref(), said.as_deref(), settling.now).await
}
