//! I12: every transition has exactly one entry in the audit log, and every entry is a transition.
//!
//! The log is replayed as the transition table says; what comes out has to be what the tables hold.

use std::collections::{HashMap, HashSet};

use kern_db::{
    Approval, ApprovalFilter, ApprovalStatus, AuditEntry, Db, ExecutionFilter, ExecutionStatus, RunFilter, RunStatus,
};

/// Reads the whole audit log.
pub async fn entries(db: &dyn Db) -> Vec<AuditEntry> {
    let mut entries: Vec<AuditEntry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.seq);
        let page = db.audit().entries(after, 500).await.expect("the log can be read");
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
    }
}

/// What the log says about one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RunState {
    status: RunStatus,
    turn: u32,
    recoveries: u32,
}

/// What the log says about one approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ApprovalState {
    status: ApprovalStatus,
    version: u64,
    votes: usize,
    hidden: bool,
}

/// What the log says about one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ExecutionState {
    status: ExecutionStatus,
    attempt: u32,
    /// How often it may be started, by what was promised first.
    limit: u32,
}

#[derive(Debug, Default)]
struct Replay {
    runs: HashMap<String, RunState>,
    approvals: HashMap<String, ApprovalState>,
    executions: HashMap<String, ExecutionState>,
    /// By run, turn and index: the last word of the requester.
    answers: HashMap<(String, u32, u32), &'static str>,
    /// By run, turn and index: how often it was asked again.
    generations: HashMap<(String, u32, u32), u32>,
    /// By name: who is in it.
    pools: HashMap<String, Vec<String>>,
    /// Runs whose session was deleted.
    hidden: HashSet<String>,
    /// By id: whether it was revoked.
    keys: HashMap<String, bool>,
    /// Whether the store is quarantined.
    quarantined: bool,
    /// Executions that an accepted restore has made unknown.
    restored: HashSet<String>,
}

/// Walks the audit log and compares it with every row there is.
///
/// # Panics
///
/// Where the chain is broken, an entry is no legal step, or a row is in another state than its entries lead to.
pub async fn check(db: &dyn Db) {
    let report = db.audit().verify().await.expect("the log can be verified");
    assert!(report.is_intact(), "the chain is broken: {report:?}");
    let entries = entries(db).await;
    assert_eq!(report.entries, entries.len() as u64, "verification reads every entry");
    let mut replay = Replay::default();
    for entry in entries.iter().filter(|entry| !entry.evidence) {
        replay.step(entry);
    }

    let mut runs = db.list_runs(RunFilter::new().limit(1_000_000)).await.expect("runs can be read");
    // Those of sessions that were deleted are in no list.
    for id in &replay.hidden {
        let run = db.get_run(&id.as_str().into()).await.expect("runs can be read");
        assert!(run.deleted_at_ms.is_some(), "run {id} is as deleted as its entries say");
        runs.push(run);
    }
    assert_eq!(runs.len(), replay.runs.len(), "every run has its entries, and every entry its run");
    let listed = ApprovalFilter::new().limit(1000_u32);
    let page = db.list_approvals(listed.clone()).await.expect("approvals can be listed");
    let page = serde_json::to_value(&page).expect("a page is JSON");
    let json = db.approvals_json(listed, usize::MAX).await.expect("approvals can be listed");
    let mut json: serde_json::Value = serde_json::from_slice(&json).expect("it is JSON");
    let meta = json["meta"].as_object_mut().expect("a page has its place");
    let next = meta.remove("next_cursor").expect("a page says where the next one is");
    assert_eq!(next.is_null(), page["meta"]["total_count"].as_u64() <= Some(1000), "the last page has no next one");
    assert_eq!(json, page, "a page and its JSON");

    let mut approvals = HashSet::new();
    for run in &runs {
        let found = RunState { status: run.status, turn: run.turn, recoveries: run.recoveries };
        let id = run.run_id.as_str();
        assert_eq!(replay.runs.get(id), Some(&found), "the entries of run {id}");
        let run = db.get_run(&run.run_id).await.expect("the run can be read");
        for call in &run.calls {
            let place = (id.to_owned(), call.turn, call.index);
            let answer = call.answer.map(kern_db::Answer::as_str);
            assert_eq!(replay.answers.get(&place).copied(), answer, "the answer to call {place:?}");
            let Some(approval) = &call.approval else { continue };
            let visible = db.get_approval(&approval.id).await.expect("approvals can be read");
            let found = ApprovalState { hidden: visible.is_none(), ..state_of(approval) };
            let id = approval.id.as_str();
            assert_eq!(replay.approvals.get(id), Some(&found), "the entries of approval {id}");
            assert_eq!(call.digest, approval.digest, "the copies of call {place:?}");
            assert_eq!(replay.generations.get(&place).copied().unwrap_or(0), call.generation, "of call {place:?}");
            approvals.insert(id.to_owned());
        }
    }
    // The others were asked before their call was asked again: nothing of them is open.
    for (id, said) in replay.approvals.iter().filter(|(id, _)| !approvals.contains(*id)) {
        let row = db.get_approval(&id.as_str().into()).await.expect("approvals can be read");
        assert!(said.status != ApprovalStatus::Pending, "approval {id} was left behind: {said:?}");
        match row {
            Some(row) => assert_eq!(said, &state_of(&row), "the entries of approval {id}"),
            None => assert!(said.hidden, "every entry of an approval has its row: {id}"),
        }
    }

    let filter = ExecutionFilter::new().limit(1_000_000);
    let executions = db.list_executions(filter).await.expect("executions can be read");
    assert_eq!(executions.len(), replay.executions.len(), "every execution has its entries");
    for execution in executions {
        let id = execution.id.as_str();
        let said = replay.executions.get(id).map(|said| (said.status, said.attempt));
        assert_eq!(said, Some((execution.status, execution.attempt)), "the entries of execution {id}");
    }

    let pools = db.list_pools().await.expect("pools can be read");
    let pools: HashMap<_, _> = pools.into_iter().map(|pool| (pool.name, pool.members)).collect();
    assert_eq!(pools, replay.pools, "every pool has its entries, and every entry its pool");
    let keys = db.list_keys().await.expect("keys can be read");
    let keys: HashMap<_, _> = keys.into_iter().map(|key| (key.id, key.revoked_at_ms.is_some())).collect();
    assert_eq!(keys, replay.keys, "every key has its entries, and every entry its key");
}

/// What a row that can be seen says.
fn state_of(approval: &Approval) -> ApprovalState {
    ApprovalState {
        status: approval.status,
        version: u64::from(approval.version),
        votes: approval.votes.iter().filter(|vote| vote.version == approval.version).count(),
        hidden: false,
    }
}

impl Replay {
    fn step(&mut self, entry: &AuditEntry) {
        let action = entry.action.as_str();
        if action == "shard_opened" {
            assert_eq!((entry.seq, &entry.run_id), (1, &None), "a chain begins once: {entry:?}");
            return;
        }
        if matches!(action, "quarantined" | "restore_accepted") {
            assert_eq!(entry.run_id, None, "the store is of no run: {entry:?}");
            assert_eq!(self.quarantined, action == "restore_accepted", "one after the other: {entry:?}");
            self.quarantined = !self.quarantined;
            return;
        }
        if matches!(action, "failover_confirmed" | "host_retired") {
            assert_eq!(entry.run_id, None, "a host is of no run: {entry:?}");
            return;
        }
        if action == "clock_reset" {
            assert_eq!(entry.run_id, None, "the time of the store is of no run: {entry:?}");
            return;
        }
        if action == "pool_set" {
            let name = entry.payload["name"].as_str().expect("the entry names its pool").to_owned();
            let members =
                serde_json::from_value(entry.payload["members"].clone()).expect("the entry names its members");
            assert_eq!((&entry.run_id, &entry.call_digest), (&None, &None), "a pool is of no run: {entry:?}");
            self.pools.insert(name, members);
            return;
        }
        if action == "key_made" || action == "key_revoked" {
            assert_eq!(entry.run_id, None, "a key is of no run: {entry:?}");
            let id = entry.call_digest.clone().expect("the entry names its key");
            let before = self.keys.insert(id, action == "key_revoked");
            assert_eq!(before, (action == "key_revoked").then_some(false), "made once, revoked once: {entry:?}");
            return;
        }
        let run_id = entry.run_id.as_ref().expect("every entry names its run").to_string();
        let run = self.runs.get(&run_id).copied();
        match action {
            "run_started" | "input_stored" | "turn_committed" | "run_paused" | "run_claimed" | "run_recovered"
            | "run_completed" | "run_failed" | "run_cancelled" | "run_restored" => {
                let after = run_step(entry, run);
                self.runs.insert(run_id, after);
            }
            "requested" | "recorded" | "voted" | "edited" | "approved" | "rejected" | "expired" | "cancelled"
            | "hidden" => {
                let id = entry.approval_id.as_ref().expect("the entry names its approval").to_string();
                let after = approval_step(entry, self.approvals.get(&id).copied());
                self.approvals.insert(id, after);
            }
            "restore_acknowledged" => {
                assert_eq!(run.map(|run| run.status), Some(RunStatus::Paused), "while it waits: {entry:?}");
            }
            "ready" | "executing" | "succeeded" | "failed" | "unknown" | "restored" | "late_succeeded"
            | "late_failed" | "retry" | "abandoned" | "settled" => {
                assert!(action != "restored" || self.quarantined, "only of a store that was set back: {entry:?}");
                let id = entry.execution_id.as_ref().expect("the entry names its execution").to_string();
                let after = execution_step(entry, self.executions.get(&id).copied());
                if action == "restored" {
                    self.restored.insert(id.clone());
                }
                if action == "retry" {
                    let open = run.map(|run| matches!(run.status, RunStatus::Running | RunStatus::Paused));
                    assert_eq!(open, Some(true), "nothing of a run that has ended is made again: {entry:?}");
                }
                self.executions.insert(id, after);
            }
            "run_again" => {
                let open = run.map(|run| matches!(run.status, RunStatus::Running | RunStatus::Paused));
                assert_eq!(open, Some(true), "nothing of a run that has ended is run again: {entry:?}");
                let id = entry.execution_id.as_ref().expect("the entry names what was lost").to_string();
                let lost = self.executions.get(&id).copied().expect("it has its entries");
                assert_eq!(lost.status, ExecutionStatus::Unknown, "{entry:?}");
                assert!(entry.payload["note"].as_str().is_some_and(|note| !note.is_empty()), "why: {entry:?}");
                self.executions.insert(id, ExecutionState { status: ExecutionStatus::Abandoned, ..lost });
                let place = (run_id, entry.turn.expect("a turn"), entry.index.expect("an index"));
                assert_ne!(self.answers.remove(&place), Some("rejected"), "a no is final: {entry:?}");
                let generation = self.generations.entry(place).or_default();
                *generation += 1;
                assert_eq!(entry.payload["generation"].as_u64(), Some(u64::from(*generation)), "{entry:?}");
            }
            "confirmed" | "confirmed_implied" | "user_rejected" => {
                assert!(entry.call_digest.is_some(), "an answer is to a version: {entry:?}");
                let place = (run_id, entry.turn.expect("a turn"), entry.index.expect("an index"));
                let before = self.answers.get(&place).copied();
                let legal = match action {
                    "confirmed_implied" => before.is_none(),
                    _ => before != Some("rejected"),
                };
                assert!(legal, "{action} after {before:?}: {entry:?}");
                let word = if action == "user_rejected" { "rejected" } else { "confirmed" };
                self.answers.insert(place, word);
            }
            "asked_again" => {
                assert_eq!(run.map(|run| run.status), Some(RunStatus::Paused), "while it waits: {entry:?}");
                assert!(entry.call_digest.is_some(), "it is about a version: {entry:?}");
                let place = (run_id, entry.turn.expect("a turn"), entry.index.expect("an index"));
                // What was asked before is over by now, whatever it was.
                let before = &entry.payload["before"];
                if let Some(id) = before["execution_id"].as_str() {
                    let execution = self.executions.get(id).expect("it has its entries");
                    assert_eq!((execution.status, execution.attempt), (ExecutionStatus::Abandoned, 0), "{entry:?}");
                }
                if let Some(id) = before["approval_id"].as_str() {
                    let approval = self.approvals.get(id).expect("it has its entries");
                    assert_ne!(approval.status, ApprovalStatus::Pending, "{entry:?}");
                }
                assert_ne!(self.answers.remove(&place), Some("rejected"), "a no is final: {entry:?}");
                let generation = self.generations.entry(place).or_default();
                *generation += 1;
                assert_eq!(entry.payload["generation"].as_u64(), Some(u64::from(*generation)), "{entry:?}");
            }
            "erased" => {
                let ended =
                    run.map(|run| matches!(run.status, RunStatus::Completed | RunStatus::Error | RunStatus::Cancelled));
                assert_eq!(ended, Some(true), "only what has ended is erased: {entry:?}");
            }
            "run_hidden" => {
                let ended =
                    run.map(|run| matches!(run.status, RunStatus::Completed | RunStatus::Error | RunStatus::Cancelled));
                assert_eq!(ended, Some(true), "only what has ended is hidden: {entry:?}");
                assert!(self.hidden.insert(run_id), "what was hidden is not hidden again: {entry:?}");
            }
            _ => panic!("no line of the table is called {action}"),
        }
    }
}

fn run_step(entry: &AuditEntry, before: Option<RunState>) -> RunState {
    use RunStatus::{Cancelled, Completed, Error, Paused, Running};
    if entry.action == "run_started" {
        assert_eq!(before, None, "a run starts once: {entry:?}");
        return RunState { status: Running, turn: 0, recoveries: 0 };
    }
    let before = before.expect("the run has started");
    let (from, status): (&[RunStatus], RunStatus) = match entry.action.as_str() {
        "input_stored" | "turn_committed" => (&[Running], Running),
        "run_paused" => (&[Running], Paused),
        "run_claimed" => (&[Paused], Running),
        "run_recovered" => (&[Running], Paused),
        "run_restored" => (&[Running, Paused], Paused),
        "run_completed" => (&[Running], Completed),
        "run_failed" => (&[Running], Error),
        _ => (&[Paused, Running], Cancelled),
    };
    assert!(from.contains(&before.status), "{:?} from {:?}", entry.action, before.status);
    let lost = entry.payload.get("recoveries").is_some();
    let commits = entry.payload.get("calls").is_some();
    RunState {
        status,
        turn: entry.turn.expect("the entry names its turn"),
        // A committed turn makes the count start anew.
        recoveries: if commits { 0 } else { before.recoveries + u32::from(lost) },
    }
}

fn approval_step(entry: &AuditEntry, before: Option<ApprovalState>) -> ApprovalState {
    use ApprovalStatus::{Approved, Cancelled, Expired, Pending, Rejected};
    let born = |status| ApprovalState { status, version: 0, votes: 0, hidden: false };
    assert!(entry.call_digest.is_some(), "an approval is about a version: {entry:?}");
    if entry.action == "requested" {
        assert_eq!(before, None, "an approval is asked for once: {entry:?}");
        return born(Pending);
    }
    if entry.action == "recorded" {
        assert_eq!(before, None, "a record is made once: {entry:?}");
        let status = match entry.payload["status"].as_str() {
            Some("approved") => Approved,
            Some("rejected") => Rejected,
            other => panic!("a record is born {other:?}"),
        };
        let version = entry.payload["version"].as_u64().expect("a record is of a version");
        return ApprovalState { version, ..born(status) };
    }
    let before = before.expect("the approval was asked for");
    assert!(!before.hidden, "nothing follows on hiding: {entry:?}");
    if entry.action == "hidden" {
        assert_ne!(before.status, Pending, "a pending row is cancelled before it is hidden");
        return ApprovalState { hidden: true, ..before };
    }
    assert_eq!(before.status, Pending, "only what is pending is decided: {entry:?}");
    let to = |status| ApprovalState { status, ..before };
    match entry.action.as_str() {
        "voted" => ApprovalState { votes: before.votes + 1, ..before },
        "edited" => {
            let version = entry.payload["version"].as_u64().expect("an edit makes a version");
            assert_eq!(version, before.version + 1, "versions follow each other");
            ApprovalState { version, votes: 0, ..before }
        }
        "approved" => {
            assert!(before.votes > 0, "nothing is approved without a vote");
            to(Approved)
        }
        "rejected" => to(Rejected),
        "expired" => to(Expired),
        _ => to(Cancelled),
    }
}

fn execution_step(entry: &AuditEntry, before: Option<ExecutionState>) -> ExecutionState {
    use ExecutionStatus::{Abandoned, Executing, Failed, Ready, Succeeded, Unknown};
    assert!(entry.call_digest.is_some(), "an execution is of a version: {entry:?}");
    let status = before.map(|before| before.status);
    let (from, to): (&[Option<ExecutionStatus>], ExecutionStatus) = match entry.action.as_str() {
        "ready" => (&[None], Ready),
        // Without a `ready` before it only a bare audit call starts.
        "executing" => (&[Some(Ready), None], Executing),
        // From `ready` only the result of an external call.
        "succeeded" => (&[Some(Executing), Some(Ready)], Succeeded),
        "failed" => (&[Some(Executing)], Failed),
        // From `ready` only what was to be started again.
        "unknown" => (&[Some(Executing), Some(Ready)], Unknown),
        // By the body that was given up.
        "late_succeeded" => (&[Some(Unknown)], Succeeded),
        "late_failed" => (&[Some(Unknown)], Failed),
        "restored" => (&[Some(Executing), Some(Ready)], Unknown),
        "retry" => (&[Some(Executing)], Ready),
        "abandoned" => (&[Some(Ready)], Abandoned),
        "settled" => match entry.payload["as"].as_str() {
            Some("succeeded") => (&[Some(Unknown)], Succeeded),
            Some("failed") => (&[Some(Unknown)], Failed),
            Some("abandoned") => (&[Some(Unknown)], Abandoned),
            other => panic!("settled as {other:?}"),
        },
        other => panic!("no execution goes the way of {other}"),
    };
    assert!(from.contains(&status), "{} from {status:?}", entry.action);
    let limit = before.map_or_else(|| limit_of(&entry.payload), |before| before.limit);
    let attempts = before.map_or(0, |before| before.attempt);
    match (entry.action.as_str(), status) {
        ("unknown", Some(Ready)) => {
            let outside = entry.payload["outside"].as_bool() == Some(true);
            assert!(attempts > 0 || outside, "what never started is abandoned: {entry:?}");
        }
        ("abandoned", _) => assert_eq!(attempts, 0, "what has started is unknown: {entry:?}"),
        ("succeeded", Some(Ready)) => assert_eq!(attempts, 0, "only another system brings a result: {entry:?}"),
        ("retry", _) => assert!(attempts < limit, "there is no start left: {entry:?}"),
        _ => {}
    }
    let attempt = attempts + u32::from(entry.action == "executing");
    assert!(attempt <= limit, "it starts {limit} times at the most: {entry:?}");
    ExecutionState { status: to, attempt, limit }
}

/// How often a call may be started by the effect that it was first allowed with.
fn limit_of(payload: &serde_json::Value) -> u32 {
    match payload.get("effect").and_then(serde_json::Value::as_str) {
        None | Some("once") => 1,
        Some("idempotent") => kern_db::ATTEMPTS,
        Some("transactional") => u32::MAX,
        other => panic!("no effect is called {other:?}"),
    }
}
