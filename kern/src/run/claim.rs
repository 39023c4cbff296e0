//! Claims a run and its calls, and reads a claim back whose acknowledgement was lost.

use std::time::{Duration, Instant};

use kern_db::{CallClaim, CallClaimed, ClaimCall, ClaimRun, DbFuture, Error, RunClaimed};

use super::retry::Pauses;
use super::stop::Stop;
use crate::agent::Inner;
use crate::error::causes;

/// R4, with the start of the call that has this digest where it may start.
///
/// `since` is a time before the claim was sent.
///
/// # Errors
///
/// Those of the store. The run is not claimed, or its claim must not be used.
pub(crate) async fn claim_run(
    agent: &Inner,
    request: ClaimRun,
    first: Option<String>,
    since: Instant,
    stop: &Stop,
) -> Result<(RunClaimed, Option<CallClaim>), Error> {
    let claimed = match first {
        Some(digest) => agent.db.claim_run_and_call(request.clone(), digest).await,
        None => agent.db.claim_run(request.clone()).await.map(|claimed| (claimed, None)),
    };
    match claimed {
        Err(lost) if lost.may_be_stored() => {
            let read = || agent.db.read_run_claim(request.clone());
            let (claim, started) = read_back(read, lost, (since, agent.lease), stop).await?;
            Ok((RunClaimed::Claimed(claim), started))
        }
        claimed => claimed,
    }
}

/// X3, or X2 for a bare audit call.
///
/// `since` is a time before the claim was sent.
///
/// # Errors
///
/// Those of the store. The call is not claimed, or its claim must not be used.
pub(super) async fn claim_call(
    agent: &Inner,
    request: ClaimCall,
    since: Instant,
    stop: &Stop,
) -> Result<CallClaimed, Error> {
    match agent.db.claim_call(request.clone()).await {
        Err(lost) if lost.may_be_stored() => {
            let read = || agent.db.read_call_claim(request.clone());
            Ok(CallClaimed::Claimed(read_back(read, lost, (since, agent.lease), stop).await?))
        }
        claimed => claimed,
    }
}

/// Reads a claim until the store says what became of it, for as long as the lease lasts that it was sent with.
///
/// Interleaving prevented: the store answers when the lease is over, another process has recovered the run or an operator has
/// accepted a restore, a person has said how the call ended, and this process uses the claim that it reads. The lease counts
/// from before the claim was sent, by the monotonic clock: the store granted it later, so it ends there no earlier than here.
///
/// # Errors
///
/// `lost`: the claim was not stored, or its lease is over. Any other: the store refuses the claim, or has it in no mark.
async fn read_back<'a, V>(
    read: impl Fn() -> DbFuture<'a, Option<V>>,
    lost: Error,
    (since, lease): (Instant, Duration),
    stop: &Stop,
) -> Result<V, Error> {
    let mut pauses = Pauses::new();
    while since.elapsed() < lease && !stop.is_closed() {
        match read().await {
            Ok(Some(claim)) if since.elapsed() < lease => return Ok(claim),
            Ok(_) => break,
            Err(error) if error.is_passing() => {
                tracing::warn!(error = causes(&error), "it is not known yet whether a claim was stored");
                pauses.rest().await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(lost)
}
