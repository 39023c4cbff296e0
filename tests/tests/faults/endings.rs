//! How a store is left after processes were killed on it: nothing lost, nothing doubled, nothing stuck.

use std::collections::HashMap;

use kern::db::{ApprovalFilter, Settlement};
use kern::prelude::*;
use kern_db::{ExecutionStatus, Run, Standing, Tier};
use kern_tests::faults::line;
use kern_tests::history;
use kern_tests::place::Place;

/// How often each line stands in the ledger.
pub(crate) fn counts(place: &Place) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for line in place.ledger() {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// The lines of a run's protected calls that the ledger has, each with the state of its execution and how often it is
/// there.
pub(crate) fn effects(run: &Run, counts: &HashMap<String, usize>) -> Vec<(Option<ExecutionStatus>, usize)> {
    let calls = run.calls.iter().map(|call| {
        let line = line(&call.tool_name, run.run_id.as_str(), &call.tool_call_id);
        (call.execution.as_ref().map(|execution| execution.status), counts.get(&line).copied().unwrap_or(0))
    });
    calls.collect()
}

/// I6, I7, I9: no protected body was entered twice, and the state of every call agrees with what the ledger says.
pub(crate) fn nothing_doubled(runs: &[Run], counts: &HashMap<String, usize>) {
    for run in runs {
        for (status, entered) in effects(run, counts) {
            let possible = match status {
                Some(ExecutionStatus::Succeeded) => 1..=1,
                Some(ExecutionStatus::Executing | ExecutionStatus::Unknown) => 0..=1,
                // None of the tools fails, and what was settled was unknown before.
                Some(ExecutionStatus::Failed) => 0..=1,
                Some(ExecutionStatus::Ready | ExecutionStatus::Abandoned) | None => 0..=0,
                other => panic!("{other:?}"),
            };
            assert!(possible.contains(&entered), "{status:?} and entered {entered} times: {run:?}");
        }
    }
}

/// I3: no approval without its run, no paused run without its approvals.
pub(crate) async fn orphans(place: &Place, runs: &[Run]) -> usize {
    let listed = place.db.list_approvals(ApprovalFilter::new().limit(1_u32)).await.unwrap().meta.total_count;
    let of_calls = runs.iter().flat_map(|run| &run.calls).filter(|call| call.approval.is_some()).count();
    let asks = |call: &&kern_db::Call| matches!(call.policy.tier, Tier::Required | Tier::TwoStage);
    let bare = runs.iter().flat_map(|run| &run.calls).filter(asks).filter(|call| call.approval.is_none()).count();
    // A run that waits, waits for something.
    let empty = runs.iter().filter(|run| run.status == RunStatus::Paused && run.calls.is_empty()).count();
    bare + empty + usize::try_from(listed).unwrap().abs_diff(of_calls)
}

/// Has a process of its own take over whatever the dead have left, and go on with what is decided.
pub(crate) async fn recovered(place: &Place) -> Vec<String> {
    place.lapsed().await;
    let worker = place.start(&["work"]);
    tokio::task::spawn_blocking(move || worker.rest()).await.unwrap()
}

/// After recovery: no run is left that somebody has to own, and none that is over has anything open.
pub(crate) fn nothing_stuck(runs: &[Run]) {
    for run in runs {
        assert_ne!(run.status, RunStatus::Running, "after recovery nobody owns it: {run:?}");
        for call in &run.calls {
            assert_ne!(call.standing, Standing::Executing, "nobody executes it: {run:?}");
            let open = matches!(call.standing, Standing::AwaitsApproval | Standing::AwaitsRequester | Standing::Open);
            assert!(run.status == RunStatus::Paused || !open, "it is over, and has something open: {run:?}");
        }
    }
}

/// What people did to bring every run to its end.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) unknown: usize,
    pub(crate) ended: HashMap<RunStatus, usize>,
}

/// Answers, approves and settles until every run has ended: nothing is stuck for ever. Then replays the log against the
/// tables.
pub(crate) async fn to_the_end(place: &Place) -> Seen {
    let mut seen = Seen::default();
    for _ in 0..20 {
        let open: Vec<Run> = place.runs().await.into_iter().filter(|run| run.status == RunStatus::Paused).collect();
        if open.is_empty() {
            let runs = place.runs().await;
            for run in &runs {
                *seen.ended.entry(run.status).or_default() += 1;
            }
            nothing_stuck(&runs);
            nothing_doubled(&runs, &counts(place));
            history::check(&*place.db).await;
            return seen;
        }
        for execution in place.executions(Some(ExecutionStatus::Unknown)).await {
            let settlement = Settlement::failed("nobody knows").by("admin").note("looked");
            place.db.settle_execution(&execution.id, settlement).await.unwrap();
            seen.unknown += 1;
        }
        for run in open {
            place.approve(&run.run_id).await;
        }
        // Bodies are entered in processes whose ledger outlives them.
        let answering = place.start(&["answer-all"]);
        tokio::task::spawn_blocking(move || answering.rest()).await.unwrap();
        recovered(place).await;
    }
    panic!("runs wait for ever: {:?}", place.runs().await.iter().find(|run| run.status == RunStatus::Paused));
}
