//! Many at once on one file: the database decides, one wins, and every loser is told so in a type.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

use std::collections::HashMap;
use std::future::Future;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kern_db::{
    ApprovalStatus, CallClaimed, Caller, ClaimCall, Db, Ended, Error, Finished, IntoDb, Resolution, RunClaimed, RunId,
    RunStatus, SqliteDb,
};
use kern_tests::history;
use kern_tests::steps::{LONG, Store, begin, person, required, turn, user};

/// Tasks that want the same thing at the same time.
const TASKS: usize = 64;
const ROUNDS: usize = 12;

/// Handles that share nothing but the file.
async fn handles(store: &Store) -> Vec<Arc<dyn Db>> {
    let mut handles = vec![store.shared()];
    for _ in 0..3 {
        handles.push(SqliteDb::open(store.file()).await.unwrap().into_db());
    }
    handles
}

/// Runs one thing in many tasks over all handles, and gives what each of them got.
async fn all_at_once<T, F>(handles: &[Arc<dyn Db>], job: impl Fn(Arc<dyn Db>, usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(tokio::sync::Barrier::new(TASKS));
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let job = job(Arc::clone(&handles[number % handles.len()]), number);
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                barrier.wait().await;
                job.await
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i4_one_of_all_resolutions_wins() {
    let store = Store::on_a_file().await;
    let handles = handles(&store).await;
    for _ in 0..ROUNDS {
        let run_id = store.paused(&[required()]).await;
        let id = store.approval_id(&run_id, 0).await;
        let outcomes = all_at_once(&handles, |db, number| {
            let id = id.clone();
            let resolution = if number % 2 == 0 { Resolution::approved() } else { Resolution::rejected() };
            async move {
                db.update_approval(&id, ApprovalStatus::Pending, resolution.by(format!("approver {number}"))).await
            }
        })
        .await;
        let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        assert_eq!(won.len(), 1);
        let lost = |outcome: &Result<_, Error>| matches!(outcome, Err(Error::Conflict { found, .. }) if *found == won[0].status);
        assert_eq!(outcomes.iter().filter(|outcome| lost(outcome)).count(), TASKS - 1);
        assert_eq!(store.approval(&run_id).await.resolved_by, won[0].resolved_by);
    }
    history::check(&*store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i6_one_of_all_claims_of_a_run_wins_and_one_of_its_call() {
    let store = Store::on_a_file().await;
    let handles = handles(&store).await;
    for _ in 0..ROUNDS {
        let run_id = store.paused(&[required()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let request = store.load(&run_id, Caller::Worker).await;
        let outcomes = all_at_once(&handles, |db, _| {
            let request = request.clone();
            async move { db.claim_run(request).await.unwrap() }
        })
        .await;
        let lost = outcomes.iter().filter(|outcome| **outcome == RunClaimed::AlreadyRunning).count();
        assert_eq!(lost, TASKS - 1);
        let claim = outcomes.into_iter().find_map(|outcome| match outcome {
            RunClaimed::Claimed(claim) => Some(claim),
            _ => None,
        });
        let claim = claim.expect("one has won");

        let outcomes = all_at_once(&handles, |db, _| {
            let claim = claim.clone();
            let request = ClaimCall { claim, turn: 1, index: 0, lease_ms: LONG };
            async move { db.claim_call(request).await.unwrap() }
        })
        .await;
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, CallClaimed::NotStartable)).count();
        assert_eq!(lost, TASKS - 1);
        let call = outcomes.into_iter().find_map(|outcome| match outcome {
            CallClaimed::Claimed(call) => Some(call),
            _ => None,
        });
        let ticket = call.expect("one has won").ticket();

        let outcomes = all_at_once(&handles, |db, number| {
            let ticket = ticket.clone();
            async move { db.finish_call(ticket, Ended::Succeeded(number.to_string()), Vec::new()).await.unwrap() }
        })
        .await;
        let recorded = outcomes.iter().filter(|outcome| **outcome == Finished::Recorded).count();
        assert_eq!(recorded, 1);
        store.complete(&claim).await.unwrap();
    }
    history::check(&*store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i9_a_cancelled_run_and_a_started_call_agree() {
    let store = Store::on_a_file().await;
    let handles = handles(&store).await;
    for _ in 0..ROUNDS {
        let run_id = store.paused(&[required()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let claim = store.resumed(&run_id).await;
        let outcomes = all_at_once(&handles, |db, number| {
            let (run_id, claim) = (run_id.clone(), claim.clone());
            async move {
                if number % 2 == 0 {
                    return db.cancel_run(run_id, person("eve")).await.map(|()| None);
                }
                let request = ClaimCall { claim, turn: 1, index: 0, lease_ms: LONG };
                db.claim_call(request).await.map(Some)
            }
        })
        .await;
        let cancelled = outcomes.iter().filter(|outcome| matches!(outcome, Ok(None))).count();
        let started = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Some(CallClaimed::Claimed(_))))).count();
        let other = outcomes.iter().filter(|outcome| {
            matches!(
                outcome,
                Ok(Some(CallClaimed::NotStartable)) | Err(Error::NotMine { .. } | Error::RunConflict { .. })
            )
        });
        assert_eq!(other.count(), TASKS - cancelled - started, "{outcomes:?}");
        assert!((cancelled, started) == (1, 0) || (cancelled, started) == (1, 1), "{outcomes:?}");
        assert_eq!(store.starts(&run_id).await, started);
    }
    history::check(&*store).await;
}

/// Transitions that wait together are committed together; one that fails takes only itself back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i3_a_transition_that_fails_takes_nothing_of_its_group_with_it() {
    let store = Store::on_a_file().await;
    let taken = store.paused(&[required()]).await;
    let taken = store.approval_id(&taken, 0).await;
    let one = [store.shared()];
    for _ in 0..3 {
        let outcomes = all_at_once(&one, |db, number| {
            let taken = taken.clone();
            async move {
                let claim = db.begin_run(begin(&RunId::generate())).await.unwrap();
                let mut commit = turn(&claim, 1, &[required(), user()], true);
                // Half of them have written a run, a call and an entry before they find out.
                if number % 2 == 0 {
                    commit.calls[0].approval_id = Some(taken);
                }
                (claim.run_id, number % 2 == 0, db.commit_turn(commit).await)
            }
        })
        .await;
        for (run_id, fails, outcome) in outcomes {
            assert_eq!(outcome.is_err(), fails, "{outcome:?}");
            let run = store.get_run(&run_id).await.unwrap();
            let expected = if fails { (RunStatus::Running, 0) } else { (RunStatus::Paused, 2) };
            assert_eq!((run.status, run.calls.len()), expected);
        }
    }
    history::check(&*store).await;
}

/// R10: a long queue must not make a living owner look dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn r10_a_renewal_passes_a_full_queue() {
    const WAITING: usize = 1500;
    let store = Store::on_a_file().await;
    let claim = store.started().await;
    let raw = store.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (queued, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = (0..WAITING)
        .map(|_| {
            let (db, queued, done) = (store.shared(), Arc::clone(&queued), Arc::clone(&done));
            tokio::spawn(async move {
                let begun = db.begin_run(begin(&RunId::generate()));
                queued.fetch_add(1, Ordering::SeqCst);
                begun.await.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    while queued.load(Ordering::SeqCst) < WAITING {
        tokio::task::yield_now().await;
    }
    let renewing = store.renew_run(claim, LONG);
    let freeing = async { raw.execute_batch("ROLLBACK").unwrap() };
    let (renewed, ()) = tokio::join!(biased; renewing, freeing);
    renewed.unwrap();
    // More wait than the queue has places for; whoever waits for a place in line is answered after the first 400.
    assert!(done.load(Ordering::SeqCst) < 400, "{done:?} were answered before the renewal");
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i6_four_processes_enter_each_body_once() {
    const RUNS: usize = 24;
    let store = Store::on_a_file().await;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(store.paused(&[required()]).await);
    }
    let ids: String = runs.iter().map(|run_id| format!("{run_id}\n")).collect();
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut child = Command::new(env!("CARGO_BIN_EXE_kern-test-worker"))
                .arg("race")
                .arg(store.file())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(ids.as_bytes()).unwrap();
            child
        })
        .collect();
    let mut words: HashMap<String, usize> = HashMap::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().last(), Some("done"), "{text}");
        assert!(output.status.success());
        for line in text.lines().filter_map(|line| line.split_once(' ')) {
            *words.entry(line.1.to_owned()).or_default() += 1;
        }
    }
    let count = |word: &str| words.get(word).copied().unwrap_or(0);
    assert_eq!((count("approved"), count("conflict")), (RUNS, 3 * RUNS));
    assert_eq!((count("ran"), count("lost")), (RUNS, 3 * RUNS));
    let bodies = std::fs::read_to_string(store.file().with_file_name("bodies")).unwrap();
    let mut entered: Vec<&str> = bodies.lines().collect();
    entered.sort_unstable();
    let mut expected: Vec<&str> = runs.iter().map(RunId::as_str).collect();
    expected.sort_unstable();
    assert_eq!(entered, expected, "each body once");
    history::check(&*store).await;
}
