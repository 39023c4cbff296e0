//! Events on their way to webhooks: who is told, handing over what the outbox holds, who is at a delivery, how it ended.
//!
//! None of it is a state of the table: nothing that is decided depends on it, and nothing of it is in the audit log.

use std::collections::HashMap;
use std::hash::Hash;

use crate::cell::{Column, Columns, Json, Row, Stored};
use crate::records::approval::ApprovalRow;
use crate::records::delivery::{Delivery, DeliveryFilter, DeliveryRow, WebhookRow};
use crate::records::execution::ExecutionRow;
use crate::records::outbox::{OutboxRow, TOPICS};
use crate::records::run::RunRow;
use crate::requests::{DeliveryClaim, DeliveryEnd};
use crate::tx::{Query, Step, Tx};
use crate::{DeliveryStatus, Error, ExecutionStatus, Result};

use ApprovalRow as A;
use DeliveryRow as D;
use ExecutionRow as E;
use OutboxRow as O;
use RunRow as R;
use WebhookRow as W;

const DAY_MS: i64 = 86_400_000;
/// How long a delivery that has ended can be looked at, and an event waits that nobody is told of.
const KEPT_MS: i64 = 7 * DAY_MS;
/// After how long without any process that sends to it nothing is kept for a webhook any more.
const FORGOTTEN_MS: i64 = 30 * DAY_MS;
/// Deliveries a list holds at the most where the caller names no number.
const LIST: u32 = 1000;
/// Why what waits for a forgotten webhook is given up.
const FORGOTTEN: &str = "forgotten";

/// Has a webhook told of these topics: from now on where the store does not know it, else from where it is.
pub(crate) async fn register<T: Tx>(tx: &mut T, name: String, topics: Vec<String>) -> Step<()> {
    if let Some(topic) = topics.iter().find(|topic| !TOPICS.contains(&topic.as_str())) {
        return Err(Error::Invalid(format!("`{}` is no topic of kern", topic.escape_debug())).into());
    }
    let found = tx.one(vec![W::C.name.is(name.clone())]).await?;
    let now = tx.now().await?;
    match found {
        None => tx.insert(&W { name, topics: Json(topics), since_ms: now, seen_at_ms: now }).await?,
        Some(found) => {
            let set = vec![W::C.topics.to(Json(topics)), W::C.seen_at_ms.to(now)];
            let expect = vec![W::C.name.is(name), W::C.seen_at_ms.is(found.seen_at_ms)];
            if tx.update(set, expect).await? != 1 {
                return Err(Error::Busy { action: "register a webhook" }.into());
            }
        }
    }
    Ok(())
}

/// Whether the outbox holds something that is not handed over yet.
pub(crate) async fn waits<T: Tx>(tx: &mut T) -> Result<bool> {
    Ok(!tx.pluck(O::C.id, Query::of(waiting()).limit(1)).await?.is_empty())
}

fn waiting() -> Vec<crate::cell::Cond<OutboxRow>> {
    // The index is on those.
    vec![O::C.delivered_at_ms.is(None)]
}

/// Makes of the oldest events a delivery for each webhook that is told of them, and says how many events it were. An event
/// leaves the outbox in the transaction that makes its deliveries.
pub(crate) async fn hand_over<T: Tx>(tx: &mut T, limit: u32) -> Step<u32> {
    let query = Query::of(waiting()).oldest(O::C.created_at_ms.order()).limit(u64::from(limit)).lock_or_skip();
    let events = tx.select::<O>(query).await?;
    if events.is_empty() {
        return Ok(0);
    }
    let now = tx.now().await?;
    let webhooks = tx.select::<W>(Query::of(remembered(now))).await?;
    let ids = events.iter().map(|event| event.id.clone());
    let gone = tx.delete(Query::of(waiting()).among(O::C.id, ids)).await?;
    if gone != events.len() as u64 {
        // Somebody else hands some of them over: nothing of this stays.
        return Err(Error::Busy { action: "hand over events" }.into());
    }
    for event in events {
        let OutboxRow { id, created_at_ms, topic, run_id, approval_id, execution_id, delivered_at_ms: _ } = event;
        for webhook in &webhooks {
            if created_at_ms < webhook.since_ms || !webhook.topics.0.contains(&topic) {
                continue;
            }
            let delivery = D {
                event_id: id.clone(),
                webhook: webhook.name.clone(),
                topic: topic.clone(),
                run_id: run_id.clone(),
                approval_id: approval_id.clone(),
                execution_id: execution_id.clone(),
                created_at_ms,
                status: DeliveryStatus::Pending,
                attempts: 0,
                due_at_ms: now,
                outcome: None,
                ended_at_ms: None,
            };
            tx.insert(&delivery).await?;
        }
    }
    Ok(u32::try_from(gone).unwrap_or(u32::MAX))
}

/// Webhooks that somebody sends to, or has sent to not long ago.
fn remembered(now: i64) -> Vec<crate::cell::Cond<WebhookRow>> {
    vec![W::C.seen_at_ms.above(now.saturating_sub(FORGOTTEN_MS))]
}

/// In how many milliseconds the next delivery to a webhook is due, 0 where one is. `None`: none waits.
pub(crate) async fn next_due<T: Tx>(tx: &mut T, webhook: String) -> Result<Option<i64>> {
    let query = Query::of(vec![D::C.webhook.is(webhook), D::C.status.is(DeliveryStatus::Pending)])
        .oldest(D::C.due_at_ms.order())
        .limit(1);
    let Some(due_at_ms) = tx.pluck(D::C.due_at_ms, query).await?.pop() else { return Ok(None) };
    Ok(Some(due_at_ms.saturating_sub(tx.now().await?).max(0)))
}

/// Takes deliveries that are due. Until the lease is over, nobody else begins them.
pub(crate) async fn claim<T: Tx>(tx: &mut T, webhook: String, limit: u32, lease_ms: i64) -> Step<Vec<DeliveryClaim>> {
    let now = tx.now().await?;
    let due = vec![D::C.webhook.is(webhook), D::C.status.is(DeliveryStatus::Pending), D::C.due_at_ms.at_most(now)];
    let query = Query::of(due)
        .oldest(D::C.due_at_ms.order())
        .oldest(D::C.event_id.order())
        .limit(u64::from(limit))
        .lock_or_skip();
    let mut claimed = Vec::new();
    for mut row in tx.select::<D>(query).await? {
        let expect = vec![
            D::C.event_id.is(row.event_id.clone()),
            D::C.webhook.is(row.webhook.clone()),
            D::C.status.is(DeliveryStatus::Pending),
            D::C.attempts.is(row.attempts),
            D::C.due_at_ms.is(row.due_at_ms),
        ];
        row.attempts = row.attempts.saturating_add(1);
        row.due_at_ms = now.saturating_add(lease_ms.max(0));
        let set = vec![D::C.attempts.to(row.attempts), D::C.due_at_ms.to(row.due_at_ms)];
        if tx.update(set, expect).await? == 1 {
            claimed.push(row);
        }
    }
    Ok(described(tx, claimed).await?)
}

/// Deliveries with what their events were about: ids and states, and nothing that is not told by a later look at the same
/// event. What cannot be found is left out.
async fn described<T: Tx>(tx: &mut T, rows: Vec<DeliveryRow>) -> Result<Vec<DeliveryClaim>> {
    let of = |row: &D| (row.run_id.clone(), row.approval_id.clone(), row.execution_id.clone());
    let runs = rows.iter().filter_map(|row| of(row).0);
    let runs = named(tx, R::C.run_id, (R::C.agent_id, R::C.session_id, R::C.status), runs).await?;
    let approvals = named(tx, A::C.id, A::C.tool_name, rows.iter().filter_map(|row| of(row).1)).await?;
    let executions = rows.iter().filter_map(|row| of(row).2);
    let executions = named(tx, E::C.id, (E::C.tool_name, E::C.status), executions).await?;
    let claims = rows.into_iter().map(|row| {
        let run = row.run_id.as_ref().and_then(|id| runs.get(id));
        let approval = row.approval_id.as_ref().and_then(|id| approvals.get(id));
        let execution = row.execution_id.as_ref().and_then(|id| executions.get(id));
        let ended = execution.map(|(_, status)| *status).filter(|status| {
            matches!(status, ExecutionStatus::Succeeded | ExecutionStatus::Failed | ExecutionStatus::Abandoned)
        });
        let status = match row.topic.as_str() {
            "approval.requested" | "approval.edited" | "approval.voted" => Some("pending"),
            "run.paused" => Some("PAUSED"),
            "run.ended" => run.map(|(.., status)| status.as_str()),
            // An outcome does not change.
            "execution.finished" | "execution.settled" => ended.map(ExecutionStatus::as_str),
            topic => ["approval.", "execution."].iter().find_map(|kind| topic.strip_prefix(kind)),
        };
        DeliveryClaim {
            status: status.map(str::to_owned),
            agent_id: run.map(|(agent_id, ..)| agent_id.clone()),
            session_id: run.map(|(_, session_id, _)| session_id.clone()),
            tool_name: approval.or(execution.map(|(tool_name, _)| tool_name)).cloned(),
            delivery: row.into(),
        }
    });
    Ok(claims.collect())
}

/// Columns of the rows with these ids, by id.
async fn named<T, R, I, C>(
    tx: &mut T,
    id: Column<R, I>,
    columns: C,
    ids: impl Iterator<Item = I>,
) -> Result<HashMap<I, C::Values>>
where
    T: Tx,
    R: Row,
    I: Stored + Eq + Hash,
    C: Columns<R>,
    (Column<R, I>, C): Columns<R, Values = (I, C::Values)>,
{
    let query = Query::of(Vec::new()).among(id, ids);
    if query.among.as_ref().is_none_or(|among| among.values.is_empty()) {
        return Ok(HashMap::new());
    }
    Ok(tx.pluck((id, columns), query).await?.into_iter().collect())
}

/// Says how the attempt ended that somebody has claimed. `false`: it is somebody else's by now, or has ended.
pub(crate) async fn end<T: Tx>(
    tx: &mut T,
    event_id: String,
    webhook: String,
    attempt: u32,
    end: DeliveryEnd,
) -> Step<bool> {
    let now = tx.now().await?;
    let set = match end {
        DeliveryEnd::Delivered { outcome } => ended(DeliveryStatus::Delivered, outcome, now),
        DeliveryEnd::GivenUp { outcome } => ended(DeliveryStatus::GivenUp, outcome, now),
        DeliveryEnd::Again { outcome, in_ms } => {
            vec![D::C.outcome.to(Some(outcome)), D::C.due_at_ms.to(now.saturating_add(in_ms.max(0)))]
        }
    };
    let expect = vec![
        D::C.event_id.is(event_id),
        D::C.webhook.is(webhook),
        D::C.status.is(DeliveryStatus::Pending),
        D::C.attempts.is(attempt),
    ];
    Ok(tx.update(set, expect).await? == 1)
}

fn ended(status: DeliveryStatus, outcome: String, now: i64) -> Vec<crate::cell::Assign<DeliveryRow>> {
    vec![D::C.status.to(status), D::C.outcome.to(Some(outcome)), D::C.ended_at_ms.to(Some(now))]
}

/// Deliveries, those of the oldest events first.
pub(crate) async fn list<T: Tx>(tx: &mut T, filter: DeliveryFilter) -> Result<Vec<Delivery>> {
    let mut conds = Vec::new();
    conds.extend(filter.webhook.map(|webhook| D::C.webhook.is(webhook)));
    conds.extend(filter.status.map(|status| D::C.status.is(status)));
    let query = Query::of(conds)
        .oldest(D::C.event_id.order())
        .oldest(D::C.webhook.order())
        .limit(u64::from(filter.limit.unwrap_or(LIST)));
    Ok(tx.select::<D>(query).await?.into_iter().map(Delivery::from).collect())
}

/// Counts deliveries to a webhook that are this far.
pub(crate) async fn count<T: Tx>(tx: &mut T, webhook: String, status: DeliveryStatus) -> Result<u64> {
    tx.count(vec![D::C.webhook.is(webhook), D::C.status.is(status)]).await
}

/// Removes what nobody needs any more: deliveries that have ended a while ago, and events of a while ago where nobody is
/// told of any. What waits for a webhook that no process has is given up first. Says whether there may be more.
pub(crate) async fn sweep<T: Tx>(tx: &mut T, limit: u32) -> Step<bool> {
    let (now, page) = (tx.now().await?, u64::from(limit));
    let past = now.saturating_sub(KEPT_MS);
    let mut more = false;

    let query = Query::of(vec![D::C.ended_at_ms.at_most(Some(past))]).oldest(D::C.ended_at_ms.order()).limit(page);
    let old = tx.pluck(D::C.ended_at_ms, query).await?;
    if let Some(last) = old.last() {
        tx.delete(Query::of(vec![D::C.ended_at_ms.at_most(*last)])).await?;
        more |= old.len() as u64 == page;
    }

    let forgotten = vec![W::C.seen_at_ms.at_most(now.saturating_sub(FORGOTTEN_MS))];
    for webhook in tx.select::<W>(Query::of(forgotten).lock_or_skip()).await? {
        let waits = vec![D::C.webhook.is(webhook.name.clone()), D::C.status.is(DeliveryStatus::Pending)];
        let query = Query::of(waits).oldest(D::C.due_at_ms.order()).limit(page).lock_or_skip();
        let waits = tx.select::<D>(query).await?;
        if waits.is_empty() {
            let expect = vec![W::C.name.is(webhook.name), W::C.seen_at_ms.is(webhook.seen_at_ms)];
            tx.delete(Query::of(expect)).await?;
            continue;
        }
        more = true;
        for row in waits {
            let expect = vec![
                D::C.event_id.is(row.event_id),
                D::C.webhook.is(row.webhook),
                D::C.status.is(DeliveryStatus::Pending),
                D::C.attempts.is(row.attempts),
            ];
            tx.update(ended(DeliveryStatus::GivenUp, FORGOTTEN.to_owned(), now), expect).await?;
        }
    }

    if tx.count::<W>(remembered(now)).await? == 0 {
        let old = || waiting().into_iter().chain([O::C.created_at_ms.at_most(past)]);
        let query = Query::of(old().collect()).oldest(O::C.created_at_ms.order()).limit(page);
        let times = tx.pluck(O::C.created_at_ms, query).await?;
        if let Some(last) = times.last() {
            let expect = old().chain([O::C.created_at_ms.at_most(*last)]).collect();
            tx.delete(Query::of(expect)).await?;
            more |= times.len() as u64 == page;
        }
    }
    Ok(more)
}
