//! R1 to R5 and R8 to R10a: what the owner of a run does with it, and cancelling.

use std::collections::HashSet;

use serde_json::json;

use super::ask::{add_call, check_new, snapshot_salt};
use super::execution::{self, Readiness, ReadyCall, readiness};
use super::{
    GivenUp, NOT_IN_TIME, all_calls, call, calls, close_pending, close_rows, drop_ready, entries, entries_of_turn,
    evidence, next, of_call, read, restore, run,
};
use crate::audit::{Entry, is_whole};
use crate::cell::Json;
use crate::digest::{canonical, sha256};
use crate::records::audit::AuditRow;
use crate::records::call::{CallRow, Standing, Tier};
use crate::records::execution::ExecutionRow;
use crate::records::principal::{Actor, Caller, check_named};
use crate::records::run::{Run, RunRow};
use crate::requests::{
    BeginRun, Blocker, CallClaim, CallClaimed, ClaimRun, CommitTurn, EndRun, RunClaim, RunClaimed, StoreInput, Swept,
};
use crate::rules::{CallRows, check_asked, check_binding, check_run, is_due, is_void, not_on_record, standing};
use crate::sensitive::snapshot_digest;
use crate::tx::{Query, Refused, Step, Tx};
use crate::{Answer, ApprovalStatus, Error, ExecutionStatus, RunId, RunStatus};

use RunRow as R;

/// `mine`: the run is RUNNING, and its owner and fence are the caller's.
fn mine(claim: &RunClaim) -> Vec<crate::cell::Cond<RunRow>> {
    vec![
        R::C.run_id.is(claim.run_id.clone()),
        R::C.status.is(RunStatus::Running),
        R::C.owner.is(Some(claim.owner.clone())),
        R::C.fence.is(claim.fence),
    ]
}

/// The caller's own run, locked; otherwise the caller stops and touches nothing.
pub(crate) async fn own<T: Tx>(tx: &mut T, claim: &RunClaim) -> Result<RunRow, Error> {
    tx.one(mine(claim)).await?.ok_or_else(|| Error::NotMine { run_id: claim.run_id.clone() })
}

/// A run's snapshot with its digest, which several places of a transaction need.
struct Snapshot {
    text: String,
    digest: String,
}

impl Snapshot {
    fn of(run: &RunRow, text: String) -> Self {
        Self { digest: snapshot_digest(&text, run.snapshot_salt.as_deref()), text }
    }
}

/// R1.
pub(crate) async fn begin<T: Tx>(tx: &mut T, new: BeginRun) -> Step<RunClaim> {
    let claim = RunClaim::first(&new.run_id);
    let row = started(tx, new, &claim).await?;
    tx.insert(&row).await?;
    Ok(claim)
}

/// The row of a run that starts in this transaction, not stored yet. It may leave RUNNING in the same transaction, where
/// nobody was told of the run before.
async fn started<T: Tx>(tx: &mut T, new: BeginRun, claim: &RunClaim) -> Step<RunRow> {
    check_named(new.requester.as_ref())?;
    if claim.run_id != new.run_id || tx.count(vec![R::C.run_id.is(new.run_id.clone())]).await? > 0 {
        return Err(Error::Invalid(format!("there is a run `{}` already", new.run_id)).into());
    }
    let store = restore::open(tx).await?;
    restore::granted(&store, new.lease_ms)?;
    let now = tx.now().await?;
    let row = RunRow {
        epoch: store.epoch,
        run_id: new.run_id,
        session_id: new.session_id,
        agent_id: new.agent_id,
        agent_name: new.agent_name,
        user_id: new.requester.as_ref().map(|requester| requester.subject.clone()),
        issuer: new.requester.as_ref().and_then(|requester| requester.issuer.clone()),
        requester: new.requester.map(Json),
        status: RunStatus::Running,
        owner: Some(claim.owner.clone()),
        fence: claim.fence,
        lease_until_ms: Some(now.saturating_add(new.lease_ms)),
        turn: 0,
        input: new.input,
        recoveries: 0,
        attention: false,
        snapshot_digest: sha256(&new.snapshot),
        snapshot: new.snapshot,
        created_at_ms: now,
        updated_at_ms: now,
        snapshot_salt: None,
        erased_at_ms: None,
        deleted_at_ms: None,
    };
    let actor = Actor::of(row.requester.as_ref().map(|requester| &requester.0));
    let payload = json!({
        "agent_id": row.agent_id,
        "agent_name": row.agent_name,
        "session_id": row.session_id,
        "snapshot_digest": row.snapshot_digest,
        "input_digest": row.input.as_deref().map(sha256),
        "epoch": row.epoch,
    });
    tx.journal().record(Entry::new("run_started", actor, &row.run_id).payload(payload));
    Ok(row)
}

/// R1b: the input as the hooks left it. From here on the run is recovered where its owner is lost, and no hook is asked
/// again.
///
/// Only before the first turn, and once: what the model was asked does not change afterwards.
pub(crate) async fn store_input<T: Tx>(tx: &mut T, request: StoreInput) -> Step<Run> {
    let StoreInput { claim, snapshot, input } = request;
    let run = own(tx, &claim).await?;
    if run.turn > 0 || run.input.is_some() {
        return Err(Error::Invalid(format!("the input of run `{}` is stored already", run.run_id)).into());
    }
    let now = tx.now().await?;
    let snapshot = Snapshot::of(&run, snapshot);
    let payload = json!({ "input_digest": sha256(&input), "snapshot_digest": snapshot.digest });
    let run = stepped(RunRow { input: Some(input), ..run }, RunStatus::Running, snapshot, now);
    let mut expect = mine(&claim);
    expect.extend([R::C.turn.is(0), R::C.input.is(None)]);
    let set = vec![
        R::C.input.to(run.input.clone()),
        R::C.snapshot_digest.to(run.snapshot_digest.clone()),
        R::C.snapshot.to(run.snapshot.clone()),
        R::C.updated_at_ms.to(now),
    ];
    if tx.update(set, expect).await? != 1 {
        return Err(Refused::Undo(Error::NotMine { run_id: claim.run_id }));
    }
    tx.journal().record(Entry::new("input_stored", Actor::Runtime, &run.run_id).turn(run.turn).payload(payload));
    Ok(read::run_of(tx, run, Vec::new()).await?)
}

/// A run as it is after its owner's step. One that is not RUNNING has no owner and no lease.
fn stepped(run: RunRow, status: RunStatus, snapshot: Snapshot, now: i64) -> RunRow {
    let open = status == RunStatus::Running;
    RunRow {
        status,
        owner: run.owner.filter(|_| open),
        lease_until_ms: run.lease_until_ms.filter(|_| open),
        snapshot_digest: snapshot.digest,
        snapshot: snapshot.text,
        updated_at_ms: now,
        ..run
    }
}

/// R2, with A1 for each call that an approval row decides, and with R1 where the run starts with it.
pub(crate) async fn commit_turn<T: Tx>(tx: &mut T, begin: Option<BeginRun>, turn: CommitTurn) -> Step<Run> {
    let starts = begin.is_some();
    let run = match begin {
        Some(new) => started(tx, new, &turn.claim).await?,
        None => {
            restore::open(tx).await?;
            own(tx, &turn.claim).await?
        }
    };
    check_turn(&run, &turn)?;
    let now = tx.now().await?;
    let status = if turn.pause { RunStatus::Paused } else { RunStatus::Running };
    let action = if turn.pause { "run_paused" } else { "turn_committed" };
    let run = RunRow { snapshot_salt: snapshot_salt(&run, turn.calls.iter())?, ..run };
    let snapshot = Snapshot::of(&run, turn.snapshot);
    let digest = snapshot.digest.clone();
    // Three lost owners within the life of a long run are nothing unusual; three within one turn are.
    let run = stepped(RunRow { turn: turn.turn, recoveries: 0, ..run }, status, snapshot, now);
    store(tx, &turn.claim, &run, starts).await?;
    let (place, calls, mut asked, mut alone) = (tx.journal().place(), turn.calls.len(), Vec::new(), Vec::new());
    for call in turn.calls {
        // What an approval row decides has an entry of its own that says who is asked.
        let said = add_call(tx, &run, turn.turn, call, now).await?;
        said.into_iter().for_each(|(call, said)| {
            asked.push(said);
            alone.push(call);
        });
    }
    // The turn comes first, and says of the calls that have no entry of their own what they are.
    let mut payload = json!({ "calls": calls, "snapshot_digest": digest });
    if !asked.is_empty() {
        payload["asked"] = asked.into();
    }
    let entry = Entry::new(action, Actor::Runtime, &run.run_id).turn(turn.turn).payload(payload);
    let entry = alone.iter().fold(entry, Entry::asks);
    tx.journal().record_at(place, entry);
    if turn.pause {
        tx.journal().tell("run.paused", &run.run_id, None, None);
    }
    let calls = all_calls(tx, &run.run_id).await?;
    Ok(read::run_of(tx, run, calls).await?)
}

/// What makes no row: a turn that is over, two calls in one place, a call that nobody could be shown.
fn check_turn(run: &RunRow, turn: &CommitTurn) -> Result<(), Error> {
    if turn.turn <= run.turn {
        let (committed, found) = (run.turn, turn.turn);
        return Err(Error::Invalid(format!("turn {found} is committed after turn {committed}")));
    }
    let mut places = HashSet::new();
    for call in &turn.calls {
        if !places.insert(call.index) {
            return Err(Error::Invalid(format!("two calls of a turn have the place {}", call.index)));
        }
        check_new(call)?;
    }
    Ok(())
}

/// R3 and R5: the owner pauses its run, because everything that could run at once has run, or because a call needs
/// somebody to look.
pub(crate) async fn pause<T: Tx>(tx: &mut T, claim: RunClaim, snapshot: String, attention: bool) -> Step<Run> {
    restore::open(tx).await?;
    let run = own(tx, &claim).await?;
    let now = tx.now().await?;
    let snapshot = Snapshot::of(&run, snapshot);
    let digest = snapshot.digest.clone();
    let run = stepped(RunRow { attention, ..run }, RunStatus::Paused, snapshot, now);
    store(tx, &claim, &run, false).await?;
    let payload = json!({ "attention": attention, "snapshot_digest": digest });
    tx.journal().record(Entry::new("run_paused", Actor::Runtime, &run.run_id).turn(run.turn).payload(payload));
    tx.journal().tell("run.paused", &run.run_id, None, None);
    let calls = all_calls(tx, &run.run_id).await?;
    Ok(read::run_of(tx, run, calls).await?)
}

/// Stores what the owner's step made of its run: a new row where the run starts with it, else one statement that expects
/// the run to be the caller's.
async fn store<T: Tx>(tx: &mut T, claim: &RunClaim, run: &RunRow, starts: bool) -> Step<()> {
    if starts {
        return Ok(tx.insert(run).await?);
    }
    let set = vec![
        R::C.status.to(run.status),
        R::C.turn.to(run.turn),
        R::C.recoveries.to(run.recoveries),
        R::C.attention.to(run.attention),
        R::C.owner.to(run.owner.clone()),
        R::C.lease_until_ms.to(run.lease_until_ms),
        R::C.snapshot_digest.to(run.snapshot_digest.clone()),
        R::C.snapshot.to(run.snapshot.clone()),
        R::C.snapshot_salt.to(run.snapshot_salt.clone()),
        R::C.updated_at_ms.to(run.updated_at_ms),
    ];
    if tx.update(set, mine(claim)).await? != 1 {
        return Err(Refused::Undo(Error::NotMine { run_id: claim.run_id.clone() }));
    }
    Ok(())
}

/// R4: claims a paused run whose calls are all decided, with U3 where the requester's confirmation is implied, and with
/// the first X3 where a call is named, by its digest, that may start.
pub(crate) async fn claim<T: Tx>(
    tx: &mut T,
    request: ClaimRun,
    first: Option<String>,
) -> Step<(RunClaimed, Option<CallClaim>)> {
    request.caller.check()?;
    let actor = Actor::from(&request.caller);
    // The worker has other runs to look at, and does not wait for one that somebody is at.
    if matches!(request.caller, Caller::Worker) && is_held(tx, &request.run_id).await? {
        return Ok((RunClaimed::AlreadyRunning, None));
    }
    let (run, open) = open_turn(tx, &request.run_id, &actor).await?;
    // Before anything is closed for its time: of rows that are not what was asked for, nothing changes.
    if run.status == RunStatus::Paused
        && let Err(error) = check_open(tx, &run, &open).await
    {
        return Err(evidence(tx, &run.run_id, actor, error).await);
    }
    // R4 of a quarantined store, or of a run that was set back, would start what may have been started already.
    let store = restore::open_to(tx, &run, &actor).await?;
    restore::granted(&store, request.lease_ms)?;
    let now = tx.now().await?;
    let expired = expire_due(tx, &open, now).await?;
    // A caller that loaded an older turn is answered for that one: the claim below finds that it is over.
    let open = match expired != Swept::default() || run.turn != request.turn {
        true => calls(tx, &run.run_id, request.turn).await?,
        false => open,
    };
    let mut blockers = Vec::new();
    let mut implied = Vec::new();
    for rows in &open {
        match blocker(rows) {
            Some(Blocker::AwaitsRequester { .. }) if confirmation_is_implied(&run, rows, &request.caller) => {
                implied.push(rows.call.clone());
            }
            Some(blocker) => {
                if matches!(blocker, Blocker::ApprovalMissing { .. }) {
                    // Rows are never deleted: somebody did it behind kern's back.
                    let entry = Entry::new("approval_missing", actor.clone(), &run.run_id);
                    tx.journal().record(entry.evidence().call(&rows.call));
                }
                blockers.push(blocker);
            }
            None => {}
        }
    }
    if !blockers.is_empty() && run.status == RunStatus::Paused {
        return Ok((RunClaimed::Blocked(blockers), None));
    }
    // Fences repeat after a restore: what was read in a lost history claims nothing.
    if run.loaded() != request.loaded && run.fence == request.fence && run.turn == request.turn {
        return Ok((RunClaimed::AlreadyRunning, None));
    }
    let first = first_ready(tx, &run, open, first, now).await?;
    let claim =
        RunClaim { run_id: run.run_id.clone(), fence: next(request.fence, "runs.fence")?, owner: request.owner.0 };
    let claimed = tx
        .update(
            vec![
                R::C.status.to(RunStatus::Running),
                R::C.owner.to(Some(claim.owner.clone())),
                R::C.fence.to(claim.fence),
                R::C.lease_until_ms.to(Some(now.saturating_add(request.lease_ms))),
                R::C.attention.to(false),
                R::C.updated_at_ms.to(now),
            ],
            vec![
                R::C.run_id.is(request.run_id.clone()),
                R::C.status.is(RunStatus::Paused),
                R::C.fence.is(request.fence),
                R::C.turn.is(request.turn),
                R::C.snapshot_digest.is(run.snapshot_digest.clone()),
                R::C.epoch.is(store.epoch.clone()),
            ],
        )
        .await?;
    if claimed != 1 {
        let claimed = match run.status {
            RunStatus::Paused | RunStatus::Running => RunClaimed::AlreadyRunning,
            status => RunClaimed::NotPaused(status),
        };
        return Ok((claimed, None));
    }
    for call in implied {
        confirm_implied(tx, &run, &call, &request.caller, now).await?;
    }
    let entry = Entry::new("run_claimed", actor, &run.run_id).turn(run.turn);
    tx.journal().record(entry.payload(json!({ "fence": claim.fence })));
    let started = match first {
        Some(call) => match execution::start(tx, &run, call, (claim.owner.clone(), request.lease_ms), now).await? {
            CallClaimed::Claimed(claim) => Some(claim),
            CallClaimed::Over | CallClaimed::NotStartable => None,
        },
        None => None,
    };
    Ok((RunClaimed::Claimed(claim), started))
}

/// Whether another transaction is at a run right now. If not, it is locked.
async fn is_held<T: Tx>(tx: &mut T, run_id: &RunId) -> Result<bool, Error> {
    let filter = || vec![R::C.run_id.is(run_id.clone())];
    match tx.select::<RunRow>(Query::of(filter()).limit(1).lock_or_skip()).await {
        Ok(free) => Ok(free.is_empty() && tx.count(filter()).await? > 0),
        // Nobody has it, and what is wrong with it is put on record by whoever reads it.
        Err(Error::Corrupt { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The call that starts together with the claim of its run, if it may: everything is asked before the run is claimed, so
/// that what does not agree leaves the run as it is. What cannot start is left to a claim of its own, which says why.
async fn first_ready<T: Tx>(
    tx: &mut T,
    run: &RunRow,
    open: Vec<CallRows>,
    first: Option<String>,
    now: i64,
) -> Step<Option<ReadyCall>> {
    let Some(rows) = open.into_iter().find(|rows| Some(&rows.call.digest) == first.as_ref()) else { return Ok(None) };
    if standing(&rows) != Standing::Open {
        return Ok(None);
    }
    Ok(match readiness(tx, run, rows, now).await? {
        Readiness::Ready(call) => Some(*call),
        Readiness::Recorded(_) | Readiness::Over | Readiness::NotStartable => None,
    })
}

/// Compares what is stored of a run's open turn, and changes nothing. What does not agree is an error, and on record.
pub(crate) async fn check<T: Tx>(tx: &mut T, run_id: RunId, caller: Caller) -> Step<()> {
    caller.check()?;
    let actor = Actor::from(&caller);
    let (run, open) = open_turn(tx, &run_id, &actor).await?;
    match check_open(tx, &run, &open).await {
        Ok(()) => Ok(()),
        Err(error) => Err(evidence(tx, &run.run_id, actor, error).await),
    }
}

/// A run and the calls of its open turn, where they can be read, and where the snapshot is the one that was stored.
pub(super) async fn open_turn<T: Tx>(tx: &mut T, run_id: &RunId, actor: &Actor) -> Step<(RunRow, Vec<CallRows>)> {
    let read = match run(tx, run_id).await {
        Ok(run) => calls(tx, &run.run_id, run.turn).await.map(|open| (run, open)),
        Err(error) => Err(error),
    };
    let (run, open) = match read {
        Ok(read) => read,
        Err(error) => return Err(evidence(tx, run_id, actor.clone(), error).await),
    };
    if run.snapshot_digest != run.digest_of_snapshot() {
        let error = Error::DigestMismatch {
            run_id: run.run_id.clone(),
            turn: run.turn,
            index: 0,
            what: "the run's snapshot and its digest",
        };
        return Err(evidence(tx, &run.run_id, actor.clone(), error).await);
    }
    Ok((run, open))
}

/// The run and every call of its open turn are what the log says was started and asked for: the agent, the session and the
/// requester that a body would be entered for, too. An approval that is not there is the business of [`blocker`].
async fn check_open<T: Tx>(tx: &mut T, run: &RunRow, open: &[CallRows]) -> Result<(), Error> {
    use AuditRow as L;
    let of_run = || L::C.run_id.is(Some(run.run_id.clone()));
    let started = Query::of(vec![of_run(), L::C.turn.is(None), L::C.idx.is(None)]).oldest(L::C.seq.order()).limit(1);
    let started = tx.select::<AuditRow>(started).await?.pop();
    // Evidence names the turn that a row says, whatever that is.
    let said = vec![of_run(), L::C.evidence.is(false), L::C.turn.above(Some(0))];
    let last = Query::of(said).newest(L::C.turn.order()).limit(1);
    let last = tx.pluck(L::C.turn, last).await?.pop().flatten();
    let entries = entries_of_turn(tx, &run.run_id, run.turn).await?;
    check_run(run, started.as_ref(), &entries, last, open.len())?;
    let store_id = tx.store().await?.store_id;
    let broken = |call: &CallRow| not_on_record(call, "the entry in which it was asked for and its hash");
    if !started.is_some_and(|started| is_whole(&started, &store_id)) {
        let what = "the run's first entry and its hash";
        return Err(Error::DigestMismatch { run_id: run.run_id.clone(), turn: run.turn, index: 0, what });
    }
    let is_gone = |rows: &&CallRows| rows.call.approval_id.is_some() && rows.approval.is_none();
    for rows in open.iter().filter(|rows| !is_gone(rows)) {
        check_binding(run, rows)?;
        let entries = of_call(&entries, &rows.call);
        let asked = check_asked(rows, &entries)?;
        if !is_whole(asked, &store_id) {
            return Err(broken(&rows.call));
        }
    }
    Ok(())
}

/// Why a call keeps its run from going on.
fn blocker(rows: &CallRows) -> Option<Blocker> {
    let index = rows.call.idx;
    match standing(rows) {
        Standing::Open | Standing::Outcome(_) => None,
        Standing::AwaitsRequester => Some(Blocker::AwaitsRequester { index }),
        Standing::AwaitsApproval => Some(match &rows.approval {
            Some(approval) => Blocker::AwaitsApproval { approval_id: approval.id.clone(), index },
            None => Blocker::ApprovalMissing { index },
        }),
        Standing::Missing => Some(Blocker::ApprovalMissing { index }),
        Standing::Executing => Some(Blocker::Executing { index }),
        Standing::Unknown => Some(match &rows.execution {
            Some(execution) => Blocker::Unknown { execution_id: execution.id.clone(), index },
            None => Blocker::ApprovalMissing { index },
        }),
    }
}

/// U3: a requester who continues the run without having said no confirms what they were first shown. After an edit
/// only an explicit confirmation counts.
fn confirmation_is_implied(run: &RunRow, rows: &CallRows, caller: &Caller) -> bool {
    let requester = run.requester.as_ref().map(|requester| &requester.0);
    let Some(approval) = &rows.approval else { return false };
    rows.policy.tier == Tier::TwoStage
        // Who goes on may have seen only what was asked before the tool changed.
        && rows.call.generation == 0
        && rows.call.answer.is_none()
        && approval.status == ApprovalStatus::Approved
        // An edit back to what was first shown is another version than that.
        && (approval.version, rows.call.version) == (0, 0)
        && approval.decided_digest.as_deref() == Some(rows.call.shown_digest.as_str())
        && caller.is_requester(requester)
}

async fn confirm_implied<T: Tx>(tx: &mut T, run: &RunRow, call: &CallRow, caller: &Caller, now: i64) -> Step<()> {
    use CallRow as C;
    let confirmed = tx
        .update(
            vec![
                C::C.answer.to(Some(Answer::Confirmed)),
                C::C.answer_digest.to(Some(call.digest.clone())),
                C::C.confirmed_version.to(Some(call.version)),
                C::C.answered_by.to(caller.person().cloned().map(Json)),
                C::C.answered_at_ms.to(Some(now)),
            ],
            vec![
                C::C.run_id.is(call.run_id.clone()),
                C::C.turn.is(call.turn),
                C::C.idx.is(call.idx),
                C::C.answer.is(None),
                C::C.version.is(call.version),
            ],
        )
        .await?;
    if confirmed != 1 {
        return Err(Refused::Undo(Error::NotMine { run_id: run.run_id.clone() }));
    }
    let entry = Entry::new("confirmed_implied", Actor::from(caller), &run.run_id).call(call);
    tx.journal().record(entry.payload(json!({ "version": call.version })));
    Ok(())
}

/// A6, X7 and X8 for calls that are past their time, approvals first. Says how many there were.
pub(super) async fn expire_due<T: Tx>(tx: &mut T, calls: &[CallRows], now: i64) -> Step<Swept> {
    let mut swept = Swept::default();
    for approval in calls.iter().filter_map(|rows| rows.approval.as_ref()).filter(|row| is_due(row, now)) {
        if close_pending(tx, approval, ApprovalStatus::Expired, Actor::Recovery, None, now).await? {
            swept.expired += 1;
        }
    }
    let executions = calls.iter().filter_map(|rows| Some((rows, rows.execution.as_ref()?)));
    for (rows, execution) in executions.filter(|(_, row)| is_void(row, now)) {
        match drop_ready(tx, rows, execution, NOT_IN_TIME, Actor::Recovery, now).await? {
            GivenUp::Abandoned => swept.abandoned += 1,
            GivenUp::Unknown => swept.unknown += 1,
            GivenUp::Not | GivenUp::Retry => {}
        }
    }
    Ok(swept)
}

/// R8, with T, and with R1 where the run starts with it: then it has no calls.
pub(crate) async fn end<T: Tx>(tx: &mut T, begin: Option<BeginRun>, end: EndRun) -> Step<Run> {
    if !matches!(end.status, RunStatus::Completed | RunStatus::Error) {
        let reason = format!("an owner ends its run as completed or as an error, not as {}", end.status);
        return Err(Error::Invalid(reason).into());
    }
    let starts = begin.is_some();
    let run = match begin {
        Some(new) => started(tx, new, &end.claim).await?,
        None => {
            restore::open(tx).await?;
            own(tx, &end.claim).await?
        }
    };
    let now = tx.now().await?;
    let calls = if starts { Vec::new() } else { all_calls(tx, &run.run_id).await? };
    let decided = calls.iter().all(|rows| matches!(standing(rows), Standing::Outcome(_)));
    if end.status == RunStatus::Completed && !decided {
        let (found, needs) = (run.status, "a call of it has no outcome");
        return Err(Refused::Undo(Error::RunConflict { run_id: run.run_id, found, needs }));
    }
    let snapshot = Snapshot::of(&run, end.snapshot);
    let digest = snapshot.digest.clone();
    let run = stepped(run, end.status, snapshot, now);
    store(tx, &end.claim, &run, starts).await?;
    let action = if end.status == RunStatus::Completed { "run_completed" } else { "run_failed" };
    let payload = json!({ "snapshot_digest": digest, "error": end.error });
    tx.journal().record(Entry::new(action, Actor::Runtime, &run.run_id).turn(run.turn).payload(payload));
    tx.journal().tell("run.ended", &run.run_id, None, None);
    Ok(match close_rows(tx, &calls, &Actor::Runtime, now).await? {
        true => read::run(tx, run.run_id).await?,
        // Nothing but the run has changed since it was read in this transaction.
        false => read::run_of(tx, run, calls).await?,
    })
}

/// R9, with T. A body under way ends by itself, and its result is recorded.
pub(crate) async fn cancel<T: Tx>(tx: &mut T, run_id: RunId, caller: Caller) -> Step<()> {
    caller.check()?;
    let run = run(tx, &run_id).await?;
    let fence = next(run.fence, "runs.fence")?;
    let now = tx.now().await?;
    let open =
        |status: RunStatus| vec![R::C.run_id.is(run_id.clone()), R::C.status.is(status), R::C.fence.is(run.fence)];
    let set = || {
        vec![
            R::C.status.to(RunStatus::Cancelled),
            R::C.fence.to(fence),
            R::C.owner.to(None),
            R::C.lease_until_ms.to(None),
            R::C.updated_at_ms.to(now),
        ]
    };
    let cancelled =
        tx.update(set(), open(RunStatus::Paused)).await? + tx.update(set(), open(RunStatus::Running)).await?;
    if cancelled != 1 {
        let needs = "only a paused or running run can be cancelled";
        return Err(Refused::Undo(Error::RunConflict { run_id, found: run.status, needs }));
    }
    let actor = Actor::from(&caller);
    tx.journal().record(Entry::new("run_cancelled", actor.clone(), &run.run_id).turn(run.turn));
    tx.journal().tell("run.ended", &run.run_id, None, None);
    let calls = all_calls(tx, &run.run_id).await?;
    close_rows(tx, &calls, &actor, now).await?;
    Ok(())
}

/// R10a: renews the lease of a run. No transition, no entry. Its executing calls have leases of their own (R10b).
pub(crate) async fn renew<T: Tx>(tx: &mut T, claim: RunClaim, lease_ms: i64) -> Step<()> {
    // Every process that notices the quarantine drops its claims.
    restore::open(tx).await?;
    let now = tx.now().await?;
    let until = now.saturating_add(lease_ms);
    if tx.update(vec![R::C.lease_until_ms.to(Some(until))], mine(&claim)).await? != 1 {
        return Err(Refused::Undo(Error::NotMine { run_id: claim.run_id }));
    }
    Ok(())
}

/// Runs whose owner's lease is over, and runs with a body whose lease is over, whatever became of the run.
pub(crate) async fn lapsed<T: Tx>(tx: &mut T, agent_id: String, limit: u64) -> Result<Vec<RunId>, Error> {
    use ExecutionRow as E;
    let now = tx.now().await?;
    let filter = vec![
        R::C.agent_id.is(agent_id.clone()),
        R::C.status.is(RunStatus::Running),
        R::C.lease_until_ms.at_most(Some(now)),
    ];
    let query = Query::of(filter).oldest(R::C.created_at_ms.order()).limit(limit);
    let mut lapsed = tx.pluck(R::C.run_id, query).await?;
    // The body of a run that ended meanwhile is nobody's business but this one's.
    let filter = vec![E::C.status.is(ExecutionStatus::Executing), E::C.lease_until_ms.at_most(Some(now))];
    let query = Query::of(filter).oldest(E::C.created_at_ms.order());
    let mut listed: HashSet<RunId> = lapsed.iter().cloned().collect();
    for run_id in tx.pluck(E::C.run_id, query).await? {
        let of_agent = vec![R::C.run_id.is(run_id.clone()), R::C.agent_id.is(agent_id.clone())];
        if listed.insert(run_id.clone()) && tx.count(of_agent).await? > 0 {
            lapsed.push(run_id);
        }
    }
    lapsed.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(lapsed)
}

/// Evidence: the worker cannot go on with a run, because the tool of a call is not the one that it was shown with. It changes
/// nothing, and is written once for each call and reason, however often and by however many workers the run is tried.
pub(crate) async fn tool_changed<T: Tx>(tx: &mut T, run_id: RunId, turn: u32, index: u32, reason: String) -> Step<()> {
    let run = run(tx, &run_id).await?;
    let rows = call(tx, &run_id, turn, index).await?;
    // Another build may have gone on with it since the worker looked.
    if run.status != RunStatus::Paused || run.turn != turn {
        return Ok(());
    }
    let payload = json!({ "tool_name": rows.call.tool_name, "reason": reason });
    let written = canonical(&payload);
    let is_same = |entry: &AuditRow| {
        entry.action == "tool_changed"
            && entry.call_digest.as_deref() == Some(rows.call.digest.as_str())
            && entry.payload == written
    };
    if entries(tx, &rows.call).await?.iter().any(is_same) {
        return Ok(());
    }
    let mut entry = Entry::new("tool_changed", Actor::Runtime, &run_id).call(&rows.call).payload(payload);
    if let Some(approval_id) = &rows.call.approval_id {
        entry = entry.approval(approval_id);
    }
    tx.journal().record(entry.evidence());
    Ok(())
}
