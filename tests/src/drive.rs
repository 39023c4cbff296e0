//! Drives runs to their end through whatever happens to the store meanwhile: every error is taken as it is meant, read
//! again, and gone on from there.

use std::sync::Arc;
use std::time::Duration;

use kern_db::{
    ApprovalStatus, CallClaimed, Caller, ClaimCall, ClaimRun, Db, Ended, Error, Resolution, RunClaimed, RunId,
    RunStatus, Settlement, Standing,
};

use crate::steps::{APPROVER, begin, end, required, turn};

/// Whether a store may answer otherwise in a moment.
fn passes(error: &Error) -> bool {
    error.is_passing()
}

async fn again() {
    tokio::time::sleep(Duration::from_millis(15)).await;
}

/// A run that is paused at one approved call.
///
/// # Panics
///
/// When the store answers with what cannot be meant.
pub async fn approved(db: &Arc<dyn Db>) -> RunId {
    let run_id = RunId::generate();
    let claim = kern_db::RunClaim::first(&run_id);
    loop {
        match db.begin_with_turn(begin(&run_id), turn(&claim, 1, &[required()], true)).await {
            Ok(_) => break,
            // Stored, and nobody was told.
            Err(Error::Invalid(_)) => break,
            Err(error) if passes(&error) => again().await,
            Err(error) => panic!("{error:?}"),
        }
    }
    loop {
        let outcome = async {
            let run = db.get_run(&run_id).await?;
            let approval = run.calls[0].approval.as_ref().expect("its call needs an approval").clone();
            if approval.status == ApprovalStatus::Approved {
                return Ok(());
            }
            let yes = Resolution::approved().by(APPROVER);
            db.update_approval(&approval.id, ApprovalStatus::Pending, yes).await.map(drop)
        };
        match outcome.await {
            Ok(()) => return run_id,
            Err(Error::Conflict { .. }) => {}
            Err(error) if passes(&error) => again().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Drives a run to its end, together with whoever else does. A body that is entered is told first. A start whose end
/// nobody knows is settled as abandoned.
///
/// # Panics
///
/// When the store answers with what cannot be meant, or the run has no end.
pub async fn to_its_end(db: &Arc<dyn Db>, run_id: &RunId, lease_ms: i64, enter: &(dyn Fn() + Send + Sync)) {
    for _ in 0..20_000 {
        match step(db, run_id, lease_ms, enter).await {
            Ok(true) => return,
            Ok(false) | Err(Error::NotMine { .. } | Error::ExecutionConflict { .. }) => again().await,
            Err(error) if passes(&error) => again().await,
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("{run_id} is stuck");
}

/// One look, and one step. Whether it has ended.
async fn step(
    db: &Arc<dyn Db>,
    run_id: &RunId,
    lease_ms: i64,
    enter: &(dyn Fn() + Send + Sync),
) -> Result<bool, Error> {
    let run = db.get_run(run_id).await?;
    match run.status {
        RunStatus::Paused => {}
        RunStatus::Running => {
            db.recover_run(run_id.clone()).await?;
            return Ok(false);
        }
        _ => return Ok(true),
    }
    if run.calls[0].standing == Standing::Unknown {
        let execution = run.calls[0].execution.as_ref().expect("what is unknown has started");
        let nobody_knows = Settlement::abandoned().by(APPROVER).note("its process is gone");
        db.settle_execution(&execution.id, nobody_knows).await?;
        return Ok(false);
    }
    let (fence, turn, loaded) = (run.fence, run.turn, run.loaded.clone());
    let request = ClaimRun {
        run_id: run_id.clone(),
        fence,
        turn,
        loaded,
        caller: Caller::Worker,
        lease_ms,
        owner: kern_db::OwnerToken::fresh(),
    };
    let RunClaimed::Claimed(claim) = db.claim_run(request).await? else { return Ok(false) };
    let request = ClaimCall { claim: claim.clone(), turn: 1, index: 0, lease_ms, owner: kern_db::OwnerToken::fresh() };
    if let CallClaimed::Claimed(call) = db.claim_call(request).await? {
        enter();
        // The same outcome counts once, however often it is told.
        while let Err(error) = db.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), Vec::new()).await {
            assert!(passes(&error), "{error:?}");
            again().await;
        }
    }
    db.end_run(end(&claim, RunStatus::Completed)).await.map(|_| false).or_else(|error| match error {
        // Its call has no outcome: whoever looks next sees why.
        Error::RunConflict { .. } => Ok(false),
        error => Err(error),
    })
}
