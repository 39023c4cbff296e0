//! Many at once on one file: the database decides, one wins, and every loser is told so in a type.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

use std::collections::HashMap;
use std::future::Future;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kern_db::{
    ApprovalStatus, CallClaimed, Caller, ClaimCall, Db, Ended, Error, Finished, IntoDb, NewAnswer, Resolution,
    RunClaimed, RunId, RunStatus, Settlement, SqliteDb,
};
use kern_tests::history;
use kern_tests::scale::{self, figure};
use kern_tests::steps::{ARGUMENTS, LONG, REQUESTER, Store, answer_to, begin, person, required, turn, two_stage, user};

/// Tasks that want the same thing at the same time.
const TASKS: usize = 64;
/// The same in races of very many rounds.
const FEW: usize = 8;

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
    at_once(TASKS, handles, job).await
}

async fn at_once<T, F>(tasks: usize, handles: &[Arc<dyn Db>], job: impl Fn(Arc<dyn Db>, usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(tokio::sync::Barrier::new(tasks));
    let tasks: Vec<_> = (0..tasks)
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
    let rounds = scale::of(10_000);
    for _ in 0..rounds {
        let run_id = store.paused(&[required()]).await;
        let id = store.approval_id(&run_id, 0).await;
        let outcomes = at_once(FEW, &handles, |db, number| {
            let id = id.clone();
            let resolution = if number % 2 == 0 { Resolution::approved() } else { Resolution::rejected() };
            async move {
                db.update_approval(&id, ApprovalStatus::Pending, resolution.by(format!("approver {number}"))).await
            }
        })
        .await;
        let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        assert_eq!(won.len(), 1);
        // Everybody else learns what it is by now, and who was first.
        let lost = |outcome: &Result<_, Error>| {
            matches!(outcome, Err(Error::Conflict { found, by, at: Some(_), .. })
                     if *found == won[0].status && *by == won[0].resolved_by)
        };
        assert_eq!(outcomes.iter().filter(|outcome| lost(outcome)).count(), FEW - 1, "{outcomes:?}");
        assert_eq!(store.approval(&run_id).await.resolved_by, won[0].resolved_by);
    }
    figure("rounds of racing resolvers with exactly one winner", format!("{rounds} of {rounds}"));
    history::check(&*store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i6_one_of_all_claims_of_a_run_wins_and_one_of_its_call() {
    let store = Store::on_a_file().await;
    let handles = handles(&store).await;
    for _ in 0..scale::of(120) {
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
            let request = ClaimCall { claim, turn: 1, index: 0, lease_ms: LONG, owner: kern_db::OwnerToken::fresh() };
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
    for _ in 0..scale::of(120) {
        let run_id = store.paused(&[required()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let claim = store.resumed(&run_id).await;
        let outcomes = all_at_once(&handles, |db, number| {
            let (run_id, claim) = (run_id.clone(), claim.clone());
            async move {
                if number % 2 == 0 {
                    return db.cancel_run(run_id, person("eve")).await.map(|()| None);
                }
                let request =
                    ClaimCall { claim, turn: 1, index: 0, lease_ms: LONG, owner: kern_db::OwnerToken::fresh() };
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

/// A6 against A4 and R4: whoever is in time decides, and what has expired is never approved.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i15_an_approval_at_its_last_moment_is_approved_or_expired() {
    let store = Store::on_a_file().await;
    let handles = handles(&store).await;
    let (rounds, mut approved) = (scale::of(500), 0);
    for round in 0..rounds {
        let expires_in = i64::try_from(round % 12).unwrap();
        let run_id = store.paused(&[required().expires_in_ms(10 + expires_in)]).await;
        let id = store.approval_id(&run_id, 0).await;
        let load = store.load(&run_id, Caller::Worker).await;
        let outcomes = at_once(FEW, &handles, |db, number| {
            let (id, load) = (id.clone(), load.clone());
            async move {
                if number % 2 == 0 {
                    let yes = Resolution::approved().by(format!("approver {number}"));
                    return db.update_approval(&id, ApprovalStatus::Pending, yes).await.map(|_| true);
                }
                // Whoever goes on with the run meets what is due.
                match db.claim_run(load).await? {
                    RunClaimed::Claimed(claim) => {
                        let call = db
                            .claim_call(ClaimCall {
                                claim,
                                turn: 1,
                                index: 0,
                                lease_ms: LONG,
                                owner: kern_db::OwnerToken::fresh(),
                            })
                            .await?;
                        Ok(matches!(call, CallClaimed::Claimed(_)))
                    }
                    _ => Ok(false),
                }
            }
        })
        .await;
        let yes = outcomes.iter().step_by(2).filter(|outcome| matches!(outcome, Ok(true))).count();
        let refused = |outcome: &Result<bool, Error>| {
            matches!(outcome, Err(Error::Expired { .. } | Error::Conflict { .. })) || matches!(outcome, Ok(true))
        };
        assert!(outcomes.iter().step_by(2).all(refused), "{outcomes:?}");
        let approval = store.approval(&run_id).await;
        // Whoever expired it is told so; nobody meets it where all came in time.
        let ended = [ApprovalStatus::Approved, ApprovalStatus::Expired];
        assert!(ended.contains(&approval.status), "{outcomes:?}");
        assert_eq!(yes, usize::from(approval.status == ApprovalStatus::Approved), "{outcomes:?}");
        assert!(store.starts(&run_id).await <= yes, "what has expired starts nothing");
        approved += yes;
    }
    figure("rounds of approve against expire", format!("{rounds}, {approved} approved in time, the others expired"));
    history::check(&*store).await;
}

/// A8 against X3: an approval is void, or its call has started; never both.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i9_a_deletion_and_a_claim_agree() {
    let store = Store::on_a_file().await;
    let handles = handles(&store).await;
    let (rounds, mut ran) = (scale::of(500), 0);
    for _ in 0..rounds {
        let run_id = store.paused(&[required()]).await;
        store.approve(&run_id, 0).await.unwrap();
        let id = store.approval_id(&run_id, 0).await;
        let claim = store.resumed(&run_id).await;
        let outcomes = at_once(FEW, &handles, |db, number| {
            let (id, claim) = (id.clone(), claim.clone());
            async move {
                if number % 2 == 0 {
                    return db.delete_approval(&id).await.map(|()| None);
                }
                db.claim_call(ClaimCall {
                    claim,
                    turn: 1,
                    index: 0,
                    lease_ms: LONG,
                    owner: kern_db::OwnerToken::fresh(),
                })
                .await
                .map(Some)
            }
        })
        .await;
        let deleted = outcomes.iter().filter(|outcome| matches!(outcome, Ok(None))).count();
        let started = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Some(CallClaimed::Claimed(_))))).count();
        assert_eq!(deleted + started, 1, "{outcomes:?}");
        assert_eq!(store.starts(&run_id).await, started);
        ran += started;
    }
    figure("rounds of delete against claim", format!("{rounds}, {ran} started, the others void"));
    history::check(&*store).await;
}

/// X9: one of all words about an unknown call counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i4_one_of_all_settlements_wins() {
    let store = Store::on_a_file().await;
    let handles = handles(&store).await;
    let rounds = scale::of(500);
    for _ in 0..rounds {
        let (claim, call) = store.unknown().await;
        let id = call.ticket().execution_id().clone();
        let outcomes = at_once(FEW, &handles, |db, number| {
            let id = id.clone();
            let settlement = match number % 3 {
                0 => Settlement::succeeded(number.to_string()),
                1 => Settlement::failed(number.to_string()),
                _ => Settlement::abandoned(),
            };
            async move { db.settle_execution(&id, settlement.by("bob").note(format!("looked, {number}"))).await }
        })
        .await;
        let won: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        let lost = |outcome: &Result<_, Error>| matches!(outcome, Err(Error::ExecutionConflict { found, .. }) if *found == won[0].status);
        assert_eq!(outcomes.iter().filter(|outcome| lost(outcome)).count(), FEW - 1, "{outcomes:?}");
        let execution = store.call(&claim.run_id).await.execution.unwrap();
        assert_eq!((&execution.note, &execution.result), (&won[0].note, &won[0].result));
        assert_eq!(store.count(&claim.run_id, "settled").await, 1);
    }
    figure("rounds of settle against settle with exactly one winner", format!("{rounds} of {rounds}"));
    history::check(&*store).await;
}

/// U1 against A4: neither misses the other, whichever comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn u1_a_confirmation_and_an_approval_at_the_same_time_both_count() {
    let store = Store::on_a_file().await;
    let handles = handles(&store).await;
    let rounds = scale::of(500);
    for _ in 0..rounds {
        let run_id = store.paused(&[two_stage()]).await;
        let id = store.approval_id(&run_id, 0).await;
        let confirm = answer_to(&run_id, 0, person(REQUESTER), NewAnswer::Confirm, ARGUMENTS);
        let outcomes = at_once(2, &handles, |db, number| {
            let (id, confirm) = (id.clone(), confirm.clone());
            async move {
                if number % 2 == 0 {
                    let yes = Resolution::approved().by("bob");
                    return db.update_approval(&id, ApprovalStatus::Pending, yes).await.map(drop);
                }
                db.answer_call(confirm).await.map(drop)
            }
        })
        .await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        // Nothing is left to wait for: the worker goes on at once.
        let claim = store.resumed(&run_id).await;
        store.succeed(&store.start(&claim, 0).await).await;
        store.complete(&claim).await.unwrap();
    }
    figure("rounds of confirm against approve, none of them missed", rounds);
    history::check(&*store).await;
}

/// Nothing that was acknowledged is lost where many write one file.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i19_a_thousand_runs_paused_by_sixty_four_tasks_are_all_there() {
    const RUNS: usize = 1_000;
    let store = Store::on_a_file().await;
    let handles = handles(&store).await;
    let next = Arc::new(AtomicUsize::new(0));
    let told = all_at_once(&handles, |db, _| {
        let next = Arc::clone(&next);
        async move {
            let mut told = Vec::new();
            while next.fetch_add(1, Ordering::SeqCst) < RUNS {
                let claim = db.begin_run(begin(&RunId::generate())).await.unwrap();
                let run = db.commit_turn(turn(&claim, 1, &[required()], true)).await.unwrap();
                assert_eq!(run.status, RunStatus::Paused);
                told.push(run.run_id);
            }
            told
        }
    })
    .await;
    let told: Vec<RunId> = told.into_iter().flatten().collect();
    assert_eq!(told.len(), RUNS);
    let mut lost = 0;
    for run_id in &told {
        let there = store.get_run(run_id).await.is_ok_and(|run| {
            run.status == RunStatus::Paused && run.calls.len() == 1 && run.calls[0].approval.is_some()
        });
        lost += usize::from(!there);
    }
    assert_eq!(lost, 0);
    assert_eq!(store.count_pending_approvals().await.unwrap(), RUNS as u64);
    figure("runs paused by 64 tasks on one SQLite file", RUNS);
    figure("lost of them", lost);
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
    let rounds = scale::of(1_000);
    let store = Store::on_a_file().await;
    let mut runs = Vec::new();
    for _ in 0..rounds {
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
    assert_eq!((count("approved"), count("conflict")), (rounds, 3 * rounds));
    assert_eq!((count("ran"), count("lost")), (rounds, 3 * rounds));
    let bodies = std::fs::read_to_string(store.file().with_file_name("bodies")).unwrap();
    let mut entered: Vec<&str> = bodies.lines().collect();
    entered.sort_unstable();
    let mut expected: Vec<&str> = runs.iter().map(RunId::as_str).collect();
    expected.sort_unstable();
    assert_eq!(entered, expected, "each body once");
    figure("calls that four processes raced for, each entered once", rounds);
    history::check(&*store).await;
}
