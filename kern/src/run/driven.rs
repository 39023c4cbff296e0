//! What this process drives: claims of runs and starts of calls, each for as long as its task lives.
//!
//! The process's own worker and its `continue_run` leave alone what stands here: a database that is away for a while makes no
//! `unknown` of a call whose result this process holds. **Nothing that decides reads it.** Another process recovers what it
//! finds after the lease, and fences keep that safe.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use kern_db::{ExecutionId, ExecutionStatus, Run, RunClaim, RunId, RunStatus, Ticket};

static DRIVEN: LazyLock<Mutex<HashMap<RunId, Vec<Entry>>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Claim(i64),
    Start(ExecutionId, i64),
}

/// One entry, until it is dropped: with its task, also where a runtime or a caller drops that.
#[derive(Debug)]
pub(crate) struct Registration {
    run_id: RunId,
    entry: Entry,
}

impl Registration {
    /// Of a claim of a run.
    pub(crate) fn of_run(claim: &RunClaim) -> Self {
        Self::enter(&claim.run_id, Entry::Claim(claim.fence))
    }

    /// Of a start of a call.
    pub(crate) fn of_call(ticket: &Ticket) -> Self {
        Self::enter(ticket.run_id(), Entry::Start(ticket.execution_id().clone(), ticket.fence()))
    }

    fn enter(run_id: &RunId, entry: Entry) -> Self {
        driven().entry(run_id.clone()).or_default().push(entry.clone());
        Self { run_id: run_id.clone(), entry }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut driven = driven();
        if let Some(entries) = driven.get_mut(&self.run_id) {
            if let Some(place) = entries.iter().position(|entry| *entry == self.entry) {
                entries.swap_remove(place);
            }
            if entries.is_empty() {
                driven.remove(&self.run_id);
            }
        }
    }
}

/// Whether anything of a run stands here, whatever its fence.
pub(crate) fn is_known(run_id: &RunId) -> bool {
    driven().contains_key(run_id)
}

/// Whether this process drives a run, or a body of it, as the store has it now: by the fence, so that a task which lost its
/// run keeps no other process from recovering it.
pub(crate) fn drives(run: &Run) -> bool {
    let driven = driven();
    let Some(entries) = driven.get(&run.run_id) else { return false };
    let claimed = run.status == RunStatus::Running && entries.contains(&Entry::Claim(run.fence));
    let executions = run.calls.iter().filter_map(|call| call.execution.as_ref());
    let mut executing = executions.filter(|execution| execution.status == ExecutionStatus::Executing);
    claimed || executing.any(|execution| entries.contains(&Entry::Start(execution.id.clone(), execution.fence)))
}

fn driven() -> MutexGuard<'static, HashMap<RunId, Vec<Entry>>> {
    // Consistent after every step, so that a panic elsewhere does not matter.
    DRIVEN.lock().unwrap_or_else(PoisonError::into_inner)
}
