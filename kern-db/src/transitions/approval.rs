//! A2, A4 to A8, and A3 by an approver: deciding and hiding an approval.

use serde_json::json;

use super::answer::bring_result;
use super::edit::{Edit, edit};
use super::{abandon, call, check_bound, close_pending, evidence, make_ready, pool, read, restore, run};
use crate::arguments::{Change, change};
use crate::audit::Entry;
use crate::cell::Json;
use crate::digest::sha256;
use crate::records::approval::{Approval, ApprovalRow, Decision, Resolution, VoteRow};
use crate::records::execution::{Execution, ExecutionRow};
use crate::records::pool::Pool;
use crate::records::principal::{Actor, Principal, check_named, check_separation};
use crate::records::run::RunRow;
use crate::rules::{CallRows, Gate, check_votes, gate, is_due, is_exposed, is_same_voter, not_on_record, voter_key};
use crate::tx::{Query, Refused, Step, Tx};
use crate::{ApprovalId, ApprovalStatus, Error, ExecutionStatus, Result, RunId};

use ApprovalRow as A;

/// What an approval is about, and how it stands. The whole row is read with its call, once the run is locked.
struct Found {
    id: ApprovalId,
    run_id: RunId,
    turn: u32,
    idx: u32,
    generation: u32,
    status: ApprovalStatus,
    resolved_by: Option<String>,
    resolved_at: Option<i64>,
    digest: String,
}

impl Found {
    fn conflict(self, expected: ApprovalStatus) -> Error {
        let Self { id, status, resolved_by, resolved_at, .. } = self;
        Error::Conflict { id, expected, found: status, by: resolved_by, at: resolved_at }
    }
}

/// The row, unless it is hidden.
async fn visible<T: Tx>(tx: &mut T, id: &ApprovalId) -> Result<Found> {
    let place = (A::C.run_id, A::C.turn, A::C.idx, A::C.generation);
    let columns = (place, (A::C.status, A::C.resolved_by, A::C.resolved_at, A::C.digest));
    let query = Query::of(vec![A::C.id.is(id.clone()), A::C.deleted_at.is(None)]);
    let found = tx.pluck(columns, query).await?.pop().ok_or_else(|| not_found(id))?;
    let ((run_id, turn, idx, generation), (status, resolved_by, resolved_at, digest)) = found;
    Ok(Found { id: id.clone(), run_id, turn, idx, generation, status, resolved_by, resolved_at, digest })
}

fn not_found(id: &ApprovalId) -> Error {
    Error::NotFound { entity: "approval", id: id.to_string() }
}

/// A2, with A3 before it or A4 and X1 after it, or A5, or A6 where the row is past its time.
pub(crate) async fn resolve<T: Tx>(
    tx: &mut T,
    id: ApprovalId,
    expected: ApprovalStatus,
    resolution: Resolution,
) -> Step<Approval> {
    check_named(resolution.by.as_ref())?;
    let found = visible(tx, &id).await?;
    if expected != ApprovalStatus::Pending && expected != found.status {
        return Err(found.conflict(expected).into());
    }
    if expected != ApprovalStatus::Pending {
        let reason = format!("expected_status is `{expected}`: only a pending approval can be decided");
        return Err(Error::Invalid(reason).into());
    }
    // Locked in the order of all transactions: run, approvals, executions.
    let actor = Actor::of(resolution.by.as_ref());
    let stray = || Error::DigestMismatch {
        run_id: found.run_id.clone(),
        turn: found.turn,
        index: found.idx,
        what: "the approval and the call it is about",
    };
    let read = match run(tx, &found.run_id).await {
        Ok(run) => call(tx, &found.run_id, found.turn, found.idx).await.map(|rows| (run, rows)),
        Err(error) => Err(error),
    };
    let (run, rows) = match read {
        Ok(read) => read,
        Err(Error::NotFound { entity: "call", .. }) => return Err(evidence(tx, &found.run_id, actor, stray()).await),
        Err(error) => return Err(evidence(tx, &found.run_id, actor, error).await),
    };
    // Decided, or void, and asked again since: nothing of it starts any more.
    if found.generation < rows.call.generation && found.status != ApprovalStatus::Pending {
        return Err(found.conflict(expected).into());
    }
    let Some(approval) = rows.approval.as_ref().filter(|approval| approval.id == id) else {
        return Err(evidence(tx, &found.run_id, actor, stray()).await);
    };
    // Locked before the clock is read, as all rows are.
    let pool = match &rows.policy.pool {
        Some(name) => pool::on_record(tx, name).await?,
        None => Some(None),
    };
    let now = tx.now().await?;
    // A record is born decided, and nobody was asked for it: there is nothing on record to hold it against.
    if !rows.policy.is_decided_by_row() && approval.status != ApprovalStatus::Pending {
        return Err(match check_bound(tx, &run, &rows).await {
            Ok(_) => conflict(approval, expected).into(),
            Err(error) => evidence(tx, &run.run_id, actor, error).await,
        });
    }
    let mut votes = tx.select::<VoteRow>(Query::of(vec![VoteRow::C.approval_id.is(id.clone())])).await?;
    // Those for other versions are shown with the row, and count for nothing.
    let is_first = votes.is_empty();
    votes.retain(|vote| vote.version == approval.version);
    // Before the time is asked for: a row whose time was changed is not expired for it, and nothing of it changes.
    let bound = check_bound(tx, &run, &rows).await.and_then(|entries| check_votes(&rows, &votes, &entries));
    let pool = match (bound, pool) {
        (Ok(()), Some(pool)) => Deciders { name: rows.policy.pool.as_deref(), pool, now },
        (Ok(()), None) => {
            return Err(evidence(tx, &run.run_id, actor, not_on_record(&rows.call, "the pool and the audit log")).await);
        }
        (Err(error), _) => return Err(evidence(tx, &run.run_id, actor, error).await),
    };
    if is_due(approval, now) && close_pending(tx, approval, ApprovalStatus::Expired, Actor::Recovery, None, now).await?
    {
        return Err(Refused::Keep(Error::Expired { id }));
    }
    let change = change(&rows, &id, &resolution);
    // Other words than those that are there: the same again are only a vote, also where they come as an edit.
    let edits = matches!(change, Ok(Change::Arguments(_)));
    if let Err(error) = may_decide(&rows, approval, &votes, &pool, &resolution, edits) {
        let entry = Entry::new("vote_refused", actor, &run.run_id).evidence().call(&rows.call).approval(&id);
        let entry = entry.payload(json!({ "why": error.to_string() }));
        return Err(match &resolution.gathered {
            Some(gathered) => {
                gathered.add(id.as_str(), entry);
                Refused::Undo(error)
            }
            None => {
                tx.journal().record(entry);
                Refused::Keep(error)
            }
        });
    }
    if approval.status != ApprovalStatus::Pending {
        return Err(conflict(approval, expected).into());
    }
    let change = change?;
    if edits && rows.has_started {
        let why = "it may have run already, and is only run again as it was".to_owned();
        return Err(Error::NotEditable { id, why }.into());
    }
    if resolution.approve == Decision::Approve {
        // Nothing is allowed in a store that was set back, nor for a run that no person has acknowledged since. R13 comes after
        // everything that can refuse the vote: a refusal keeps its evidence, and would otherwise keep R13 with it, by a person who
        // has no say about this call.
        if resolution.acknowledge_restore {
            restore::acknowledge(tx, run.run_id.clone(), resolution.by.clone(), resolution.note.clone()).await?;
        } else {
            restore::open_to(tx, &run, &actor).await?;
        }
    }
    let member_until_ms = pool.member(&resolution).and_then(Member::until_ms);
    let deciding = Deciding { run: &run, rows: &rows, approval, resolution: &resolution, actor, member_until_ms, now };
    let decided = match resolution.approve {
        Decision::Reject => {
            let approval = deciding.close(tx, ApprovalStatus::Rejected).await?;
            Some(Decided { approval, vote: None, execution: rows.execution.clone() })
        }
        Decision::Approve => {
            // Whoever is no longer in the pool has voted for nothing by now.
            let counted = votes.iter().filter(|vote| pool.count(vote)).count();
            deciding.approve(tx, change, counted).await?
        }
    };
    // R13 has changed the run since it was read.
    match decided.filter(|_| is_first && !resolution.acknowledge_restore) {
        // The run is locked, and so nobody changes any of it before the commit.
        Some(Decided { approval, vote, execution }) => {
            let run = Some((run.status, run.updated_at_ms));
            let votes = vote.into_iter().collect();
            Ok(Approval::assemble(approval, run, votes, execution.map(Execution::from))?)
        }
        // Read here, and not after the commit: nobody can have changed it in between.
        None => read::approval(tx, id.clone()).await?.ok_or_else(|| not_found(&id).into()),
    }
}

/// What a decision has left: the rows as they are stored now, so that they need not be read again.
struct Decided {
    approval: ApprovalRow,
    /// The one that it added.
    vote: Option<VoteRow>,
    execution: Option<ExecutionRow>,
}

/// Who may decide, beside whoever asked.
struct Deciders<'a> {
    /// The pool that the policy names.
    name: Option<&'a str>,
    /// `None`: there is none of that name.
    pool: Option<Pool>,
    now: i64,
}

/// What makes somebody one of those who decide.
#[derive(Clone, Copy, Debug)]
enum Member {
    /// No pool is named.
    OfNone,
    /// The store's pool holds them.
    OfStore,
    /// Only a credential says so, until then.
    Vouched { until_ms: i64 },
}

impl Member {
    fn until_ms(self) -> Option<i64> {
        match self {
            Self::OfNone | Self::OfStore => None,
            Self::Vouched { until_ms } => Some(until_ms),
        }
    }
}

impl Deciders<'_> {
    /// Whether the store has somebody among them. A pool that nobody has set holds nobody.
    fn hold(&self, person: Option<&Principal>) -> bool {
        self.name.is_none() || self.pool.as_ref().is_some_and(|pool| pool.holds(person))
    }

    /// What makes whoever decides one of them. A credential adds to the store's pool, also to one that nobody has set, and
    /// takes nobody out of it.
    fn member(&self, resolution: &Resolution) -> Option<Member> {
        let Some(name) = self.name else { return Some(Member::OfNone) };
        if self.hold(resolution.by.as_ref()) {
            return Some(Member::OfStore);
        }
        let until_ms = resolution.member_until_ms(name).filter(|until_ms| self.now < *until_ms)?;
        Some(Member::Vouched { until_ms })
    }

    /// Whether a vote that was given counts now: its voter is still one of them.
    fn count(&self, vote: &VoteRow) -> bool {
        self.hold(vote.voter.as_ref().map(|voter| &voter.0))
            || vote.member_until_ms.is_some_and(|until_ms| self.now < until_ms)
    }

    fn refusal(&self, resolution: &Resolution) -> Error {
        let (name, person) = (self.name.unwrap_or_default(), resolution.by.as_ref());
        let reason = match (&self.pool, person) {
            (_, Some(person)) if resolution.member_until_ms(name).is_some() => format!(
                "`{}` is in the pool `{name}`, which decides about this call, only by a credential that has expired",
                person.subject
            ),
            (None, _) => format!(
                "the pool `{name}` decides about this call, and nobody has set it: `set_pool` does; or a token says who is \
                 in it, and none does here"
            ),
            (Some(_), None) => {
                format!("the pool `{name}` decides about this call, and somebody without a name is not in it")
            }
            (Some(_), Some(person)) => {
                format!("`{}` is not in the pool `{name}`, which decides about this call", person.subject)
            }
        };
        Error::NotPermitted { reason }
    }
}

/// A decision that may be made.
struct Deciding<'a> {
    run: &'a RunRow,
    rows: &'a CallRows,
    approval: &'a ApprovalRow,
    resolution: &'a Resolution,
    actor: Actor,
    /// Until when whoever decides may, where only a credential says that they are in the pool.
    member_until_ms: Option<i64>,
    now: i64,
}

impl Deciding<'_> {
    fn entry(&self, action: &'static str) -> Entry {
        Entry::new(action, self.actor.clone(), &self.run.run_id).call(&self.rows.call).approval(&self.approval.id)
    }

    /// What the approver sent along, with the note where the reference keeps it. Secrets that it brings are where the
    /// arguments are, and nowhere else.
    fn data(&self) -> Option<String> {
        let mut data = self.resolution.data.clone();
        if let (Some(data), Some(salts)) = (&mut data, &self.rows.call.salts) {
            salts.0.cover_data(data);
        }
        if let Some(note) = &self.resolution.note {
            data.get_or_insert_with(|| json!({}))["note"] = json!(note);
        }
        data.as_ref().map(crate::digest::canonical)
    }

    /// A yes: A3 where it brings other arguments, then A2, and A4 with X1 where the quorum is reached, then X10 where it
    /// brings the result of another system. Gives what was written, where that was the whole of it.
    async fn approve<T: Tx>(self, tx: &mut T, change: Change, votes: usize) -> Step<Option<Decided>> {
        let id = &self.approval.id;
        let quorum = self.rows.policy.quorum;
        let result = match change {
            Change::Arguments(arguments) => {
                self.edit(tx, arguments).await?;
                return Ok(None);
            }
            Change::Result(result) => Some(result),
            Change::None => None,
        };
        let call = &self.rows.call;
        if !call.unfilled.0.is_empty() {
            let fields = call.unfilled.0.join("`, `");
            return Err(Error::Invalid(format!(
                "approval `{id}` cannot be approved yet: somebody still has to fill `{fields}`: the person who asked, or \
                 whoever approves, with `values` in the resolution's data"
            ))
            .into());
        }
        let reached = votes as u64 + 1 >= u64::from(quorum);
        if result.is_some() && !reached {
            let what = format!("approval `{id}` has {votes} of {quorum} votes: a result is taken with the last one");
            return Err(Error::Invalid(what).into());
        }
        let (by, data) = (self.resolution.by.as_ref(), self.data());
        let voted = json!({ "version": self.approval.version, "note": self.resolution.note });
        let voted = with_member(with_data(voted, data.as_deref()), self.member_until_ms);
        let vote = vote(self.approval, by, data, self.member_until_ms, self.now);
        tx.insert(&vote).await?;
        tx.journal().record(self.entry("voted").payload(voted));
        if !reached {
            tx.journal().tell("approval.voted", &self.run.run_id, Some(id), None);
            return Ok(None);
        }
        let Self { run, rows, actor, now, .. } = &self;
        let approval = self.close(tx, ApprovalStatus::Approved).await?;
        let execution = make_ready(tx, call, &rows.policy, Some(id), actor.clone(), *now).await?;
        let Some(result) = result else {
            return Ok(Some(Decided { approval, vote: Some(vote), execution: Some(execution) }));
        };
        // What the gate is like with this decision, as the store has it now.
        let rows = super::call(tx, &run.run_id, call.turn, call.idx).await?;
        if gate(&rows) != Gate::Open {
            let what =
                format!("approval `{id}` cannot take a result yet: the person who asked has to confirm the call");
            return Err(Error::Invalid(what).into());
        }
        bring_result(tx, run, call, &execution.id, result, actor.clone(), *now).await?;
        Ok(None)
    }

    /// A3. Where one person decides, it is approved by who wrote it. Otherwise others have to, and it stays pending.
    async fn edit<T: Tx>(self, tx: &mut T, arguments: String) -> Step<()> {
        let Self { run, rows, approval, resolution, actor, member_until_ms, now } = self;
        let written = Edit {
            arguments,
            author: resolution.by.as_ref(),
            role: "approver",
            actor: actor.clone(),
            note: resolution.note.as_deref(),
            member_until_ms,
        };
        let call = edit(tx, run, &rows.call, Some(approval), written).await?.call;
        if rows.policy.quorum > 1 {
            // The row is not decided, so that it has no place for anything else. What is given is kept or refused.
            let known = |key: &String| ["edited_args", "values", "note"].contains(&key.as_str());
            let data = resolution.data.as_ref().and_then(serde_json::Value::as_object);
            return match data.and_then(|data| data.keys().find(|key| data.contains_key("edited_args") && !known(key))) {
                Some(other) => Err(Error::Invalid(format!("an edit that others decide on takes no `{other}`")).into()),
                None => Ok(()),
            };
        }
        let rows = super::call(tx, &run.run_id, call.turn, call.idx).await?;
        let edited = rows.approval.clone().ok_or_else(|| not_found(&approval.id))?;
        let deciding = Deciding { run, rows: &rows, approval: &edited, resolution, actor, member_until_ms, now };
        // No votes: they were for other versions.
        Box::pin(deciding.approve(tx, Change::None, 0)).await.map(drop)
    }

    /// A5, or the last part of A4. Gives the row as it was written.
    async fn close<T: Tx>(&self, tx: &mut T, status: ApprovalStatus) -> Step<ApprovalRow> {
        let Self { approval, resolution, now, .. } = self;
        let data = self.data();
        let payload = with_data(json!({ "note": resolution.note }), data.as_deref());
        // Of a yes the vote says it.
        let said = self.member_until_ms.filter(|_| status == ApprovalStatus::Rejected);
        let payload = with_member(payload, said);
        let closed = ApprovalRow {
            status,
            decided_digest: (status == ApprovalStatus::Approved).then(|| approval.digest.clone()),
            resolved_by: resolution.by.as_ref().map(|by| by.subject.clone()),
            resolver: resolution.by.clone().map(Json),
            resolved_at: Some(now / 1000),
            resolution_data: data,
            ..(*approval).clone()
        };
        let decided = tx
            .update(
                vec![
                    A::C.status.to(closed.status),
                    A::C.decided_digest.to(closed.decided_digest.clone()),
                    A::C.resolved_by.to(closed.resolved_by.clone()),
                    A::C.resolver.to(closed.resolver.clone()),
                    A::C.resolved_at.to(closed.resolved_at),
                    A::C.resolution_data.to(closed.resolution_data.clone()),
                ],
                vec![
                    A::C.id.is(approval.id.clone()),
                    A::C.status.is(ApprovalStatus::Pending),
                    A::C.version.is(approval.version),
                    A::C.deleted_at.is(None),
                ],
            )
            .await?;
        if decided != 1 {
            return Err(conflict(approval, ApprovalStatus::Pending).into());
        }
        let action = if status == ApprovalStatus::Approved { "approved" } else { "rejected" };
        tx.journal().record(self.entry(action).payload(payload));
        let topic = if status == ApprovalStatus::Approved { "approval.approved" } else { "approval.rejected" };
        tx.journal().tell(topic, &self.run.run_id, Some(&approval.id), None);
        Ok(closed)
    }
}

/// Separation: whoever asked does not decide, and nobody who is not in the policy's pool; several who decide are different
/// people, and none of them wrote what they decide on; and a vote is for the version that was looked at.
fn may_decide(
    rows: &CallRows,
    approval: &ApprovalRow,
    votes: &[VoteRow],
    pool: &Deciders<'_>,
    resolution: &Resolution,
    edits: bool,
) -> Result<()> {
    let requester = approval.requester.as_ref().map(|requester| &requester.0);
    check_separation(requester, resolution.by.as_ref(), rows.policy.allow_self, "decide about it")?;
    if approval.status == ApprovalStatus::Pending && pool.member(resolution).is_none() {
        return Err(pool.refusal(resolution));
    }
    if rows.policy.require_reason && !has_reason(resolution) && approval.status == ApprovalStatus::Pending {
        return Err(Error::ReasonRequired { id: approval.id.clone() });
    }
    if resolution.approve == Decision::Approve && rows.policy.quorum > 1 && approval.status == ApprovalStatus::Pending {
        may_vote(rows.policy.quorum, approval, votes, resolution, edits)?;
    }
    // Whoever says yes to something that was edited says to what: it may have been edited again since they looked.
    let seen = match &resolution.digest {
        Some(seen) => seen == &approval.digest,
        None => approval.version == 0 || resolution.approve == Decision::Reject,
    };
    // A row that is decided says so itself.
    if !seen && approval.status == ApprovalStatus::Pending {
        return Err(Error::StaleView { id: approval.id.clone(), version: approval.version });
    }
    Ok(())
}

/// One yes of several. One person is one voter, and a name is needed to tell them apart.
fn may_vote(
    quorum: u32,
    approval: &ApprovalRow,
    votes: &[VoteRow],
    resolution: &Resolution,
    edits: bool,
) -> Result<()> {
    let refused = |reason: String| Err(Error::NotPermitted { reason });
    let Some(by) = &resolution.by else {
        return refused(format!("{quorum} people have to approve, and each of them gives a name"));
    };
    if votes.iter().any(|vote| is_same_voter(vote.voter.as_ref().map(|voter| &voter.0), Some(by))) {
        return refused(format!("`{}` has voted already: somebody else has to", by.subject));
    }
    if !edits && approval.edited_by.as_ref().is_some_and(|author| author.0.is_same_person(by)) {
        let reason = format!("`{}` wrote these arguments and cannot approve them: {quorum} others have to", by.subject);
        return Err(Error::NotPermitted { reason });
    }
    Ok(())
}

/// Whether somebody says why, in the note or where the reference keeps it.
fn has_reason(resolution: &Resolution) -> bool {
    let in_data = || resolution.data.as_ref().and_then(|data| data.get("note")).and_then(serde_json::Value::as_str);
    resolution.note.as_deref().or_else(in_data).is_some_and(|note| !note.trim().is_empty())
}

/// A payload, with the digest of what was sent along.
fn with_data(mut payload: serde_json::Value, data: Option<&str>) -> serde_json::Value {
    if let Some(data) = data {
        payload["data"] = sha256(data).into();
    }
    payload
}

/// A payload, with until when a credential says that whoever did it is in the pool, where only that let them.
pub(super) fn with_member(mut payload: serde_json::Value, member_until_ms: Option<i64>) -> serde_json::Value {
    if let Some(until_ms) = member_until_ms {
        payload["member_until_ms"] = until_ms.into();
    }
    payload
}

fn vote(
    approval: &ApprovalRow,
    by: Option<&Principal>,
    resolution_data: Option<String>,
    member_until_ms: Option<i64>,
    now: i64,
) -> VoteRow {
    VoteRow {
        approval_id: approval.id.clone(),
        version: approval.version,
        voter_key: voter_key(by),
        voter: by.cloned().map(Json),
        digest: approval.digest.clone(),
        created_at_ms: now,
        resolution_data,
        member_until_ms,
    }
}

fn conflict(approval: &ApprovalRow, expected: ApprovalStatus) -> Error {
    Error::Conflict {
        id: approval.id.clone(),
        expected,
        found: approval.status,
        by: approval.resolved_by.clone(),
        at: approval.resolved_at,
    }
}

/// A8: hides a row. It leaves every list; it and the log stay.
pub(crate) async fn delete<T: Tx>(tx: &mut T, id: ApprovalId, by: Option<Principal>) -> Step<()> {
    check_named(by.as_ref())?;
    let found = visible(tx, &id).await?;
    // Locked in the order of all transactions.
    run(tx, &found.run_id).await?;
    let rows = call(tx, &found.run_id, found.turn, found.idx).await?;
    let now = tx.now().await?;
    let actor = Actor::of(by.as_ref());
    // One that was asked again since has nothing left that could start, and what was asked then is not touched.
    if found.generation < rows.call.generation && found.status != ApprovalStatus::Pending {
        return hide(tx, &found, &found.digest, actor, now).await;
    }
    let Some(approval) = rows.approval.as_ref().filter(|approval| approval.id == id) else {
        return Err(not_found(&id).into());
    };
    // Another system may have acted on it already. Once its row is hidden, no list would show its outcome.
    if let Some(execution) =
        rows.execution.as_ref().filter(|row| row.status == ExecutionStatus::Ready && is_exposed(&rows))
    {
        let needs = "an approval cannot be deleted while another system may execute its call";
        let (id, found) = (execution.id.clone(), execution.status);
        return Err(Refused::Undo(Error::ExecutionConflict { id, found, needs }));
    }
    close_pending(tx, approval, ApprovalStatus::Cancelled, actor.clone(), by.as_ref(), now).await?;
    // The call's execution, whether the row allows it or only records what the requester allowed.
    if let Some(execution) = &rows.execution {
        let abandoned = abandon(tx, execution, "the approval was deleted", actor.clone(), now).await?;
        let open =
            matches!(execution.status, ExecutionStatus::Ready | ExecutionStatus::Executing | ExecutionStatus::Unknown);
        if open && !abandoned {
            let needs = "an approval cannot be deleted while nobody knows how its call ends";
            let (id, found) = (execution.id.clone(), execution.status);
            return Err(Refused::Undo(Error::ExecutionConflict { id, found, needs }));
        }
    }
    hide(tx, &found, &approval.digest, actor, now).await
}

/// The last part of A8.
async fn hide<T: Tx>(tx: &mut T, found: &Found, digest: &str, actor: Actor, now: i64) -> Step<()> {
    let hidden = tx
        .update(
            vec![A::C.deleted_at.to(Some(now / 1000))],
            vec![A::C.id.is(found.id.clone()), A::C.deleted_at.is(None)],
        )
        .await?;
    if hidden != 1 {
        return Err(not_found(&found.id).into());
    }
    let entry = Entry::new("hidden", actor, &found.run_id).at(found.turn, found.idx).approval(&found.id);
    tx.journal().record(entry.digest(digest));
    Ok(())
}

#[cfg(test)]
mod tests;
