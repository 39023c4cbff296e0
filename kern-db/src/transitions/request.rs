//! Requests that came with an idempotency key: the first one is worked on, the others get its answer. Nothing here decides
//! about a call, and no entry of the log is about it.

use crate::cell::Table;
use crate::digest::canonical;
use crate::records::request::RequestRow;
use crate::requests::{KeptAnswer, OpenRequest, OpenedRequest, RequestClaim};
use crate::tx::{Query, Step, Tx};
use crate::{Error, Result, RunId};

use RequestRow as Q;

/// For how long a key is known.
pub(crate) const KNOWN_MS: i64 = 86_400_000;

/// Claims a request, or says what became of it. One whose owner is gone is claimed again.
pub(crate) async fn open<T: Tx>(tx: &mut T, asked: OpenRequest) -> Step<OpenedRequest> {
    // Of two that have the same key, the second one sees the first one's row.
    tx.lock_name(Table::Requests, &canonical(&(&asked.owner, &asked.key))).await?;
    let now = tx.now().await?;
    let old = vec![Q::C.created_at_ms.at_most(now.saturating_sub(KNOWN_MS))];
    tx.delete(Query::of(old)).await?;
    let OpenRequest { owner, key, digest, lease_ms } = asked;
    let lease_until_ms = now.saturating_add(lease_ms);
    let Some(row) = tx.one(vec![Q::C.owner.is(owner.clone()), Q::C.request_key.is(key.clone())]).await? else {
        let row = RequestRow {
            owner,
            request_key: key,
            digest,
            run_id: RunId::generate(),
            attempt: 1,
            lease_until_ms,
            created_at_ms: now,
            status: None,
            content_type: None,
            body: None,
        };
        tx.insert(&row).await?;
        return Ok(OpenedRequest::Claimed(claim_of(row)));
    };
    if row.digest != digest {
        return Ok(OpenedRequest::Other);
    }
    if let Some(status) = row.status {
        let status = u16::try_from(status).map_err(|error| Error::corrupt("requests.status", error))?;
        let (content_type, body) = (row.content_type.unwrap_or_default(), row.body.unwrap_or_default());
        return Ok(OpenedRequest::Answered(KeptAnswer { status, content_type, body }));
    }
    if row.lease_until_ms > now {
        return Ok(OpenedRequest::Busy);
    }
    let before = claim_of(row);
    let claim = RequestClaim { attempt: before.attempt.saturating_add(1), ..before.clone() };
    let set = vec![Q::C.attempt.to(claim.attempt), Q::C.lease_until_ms.to(lease_until_ms)];
    match tx.update(set, mine(&before)).await? {
        1 => Ok(OpenedRequest::Claimed(claim)),
        _ => Ok(OpenedRequest::Busy),
    }
}

/// Goes on being waited for. Without effect where somebody else works on it by now.
pub(crate) async fn renew<T: Tx>(tx: &mut T, claim: RequestClaim, lease_ms: i64) -> Step<()> {
    let until = tx.now().await?.saturating_add(lease_ms);
    tx.update(vec![Q::C.lease_until_ms.to(until)], mine(&claim)).await?;
    Ok(())
}

/// Keeps the answer; without one, lets the request be claimed again. Without effect where somebody else works on it by now.
pub(crate) async fn close<T: Tx>(tx: &mut T, claim: RequestClaim, answer: Option<KeptAnswer>) -> Step<()> {
    let mut set = vec![Q::C.lease_until_ms.to(0)];
    if let Some(KeptAnswer { status, content_type, body }) = answer {
        set.extend([
            Q::C.status.to(Some(status.into())),
            Q::C.content_type.to(Some(content_type)),
            Q::C.body.to(Some(body)),
        ]);
    }
    tx.update(set, mine(&claim)).await?;
    Ok(())
}

/// Drops every answer that is kept: an argument of a run that is erased may stand in any. The requests stay known: whoever
/// comes again is told how things stand then.
pub(crate) async fn forget_answers<T: Tx>(tx: &mut T) -> Result<()> {
    let set = vec![Q::C.status.to(None), Q::C.content_type.to(None), Q::C.body.to(None), Q::C.lease_until_ms.to(0)];
    tx.update(set, vec![Q::C.status.above(Some(0))]).await?;
    Ok(())
}

fn claim_of(row: RequestRow) -> RequestClaim {
    RequestClaim { owner: row.owner, key: row.request_key, run_id: row.run_id, attempt: row.attempt }
}

/// The claim is still the last one, and nothing is answered.
fn mine(claim: &RequestClaim) -> Vec<crate::cell::Cond<RequestRow>> {
    vec![
        Q::C.owner.is(claim.owner.clone()),
        Q::C.request_key.is(claim.key.clone()),
        Q::C.attempt.is(claim.attempt),
        Q::C.status.is(None),
    ]
}
