//! The server goes away, connections are cut, processes are killed: no effect is doubled, none is lost, nothing is stuck.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kern_db::{Db, ExecutionStatus, IntoDb as _, RunId, RunStatus};
use kern_tests::children::Worker;
use kern_tests::drive;
use kern_tests::folder::Folder;
use kern_tests::history;
use kern_tests::ledger;
use kern_tests::postgres::{Database, Server, server};
use kern_tests::scale;

/// How long a lock is waited for, and a lease: three times as long, and a little more.
const BUSY: Duration = Duration::from_millis(500);
const LEASE_MS: i64 = 2_000;
/// Tasks that race for each run.
const RACERS: usize = 3;

type Effects = Arc<Mutex<HashMap<RunId, u64>>>;

/// What there was in the end.
#[derive(Debug, Default)]
struct Tally {
    entered: usize,
    unknown: usize,
}

/// Every run has ended, no body was entered twice, and each was entered if its outcome says so. One that was started and
/// never entered, or not known to have ended, has been settled by a person.
async fn tally(db: &Arc<dyn Db>, runs: &[RunId], entered: impl Fn(&RunId) -> u64) -> Tally {
    let mut tally = Tally::default();
    for run_id in runs {
        let run = db.get_run(run_id).await.unwrap();
        assert_eq!(run.status, RunStatus::Completed, "{run_id} is stuck");
        let count = entered(run_id);
        assert!(count <= 1, "the body of {run_id} was entered {count} times");
        tally.entered += usize::from(count == 1);
        match run.calls[0].execution.as_ref().map(|execution| execution.status) {
            Some(ExecutionStatus::Succeeded) => assert_eq!(count, 1, "{run_id} has a result and no effect"),
            Some(ExecutionStatus::Abandoned) => tally.unknown += 1,
            other => panic!("{run_id}: {other:?}"),
        }
    }
    history::check(&**db).await;
    tally
}

/// Drives many runs, each by several tasks over several handles, while something else goes on.
async fn under_load(database: &Database, count: usize, over: Arc<AtomicBool>) -> (Tally, Duration) {
    let mut handles = Vec::new();
    for _ in 0..RACERS {
        handles.push(database.open_with(BUSY, 6).await.into_db());
    }
    let (effects, began) = (Effects::default(), Instant::now());
    let mut lanes = Vec::new();
    for lane in 0..6 {
        let (handles, effects) = (handles.clone(), Arc::clone(&effects));
        lanes.push(tokio::spawn(async move {
            let mut runs = Vec::new();
            for _ in (lane..count).step_by(6) {
                let run_id = drive::approved(&handles[lane % RACERS]).await;
                let racers: Vec<_> = handles
                    .iter()
                    .map(|db| {
                        let (db, run_id, effects) = (Arc::clone(db), run_id.clone(), Arc::clone(&effects));
                        tokio::spawn(async move {
                            let enter = || *effects.lock().unwrap().entry(run_id.clone()).or_default() += 1;
                            drive::to_its_end(&db, &run_id, LEASE_MS, &enter).await;
                        })
                    })
                    .collect();
                for racer in racers {
                    racer.await.unwrap();
                }
                runs.push(run_id);
            }
            runs
        }));
    }
    let mut runs = Vec::new();
    for lane in lanes {
        runs.extend(lane.await.unwrap());
    }
    let took = began.elapsed();
    over.store(true, Ordering::SeqCst);
    let effects = effects.lock().unwrap().clone();
    let tally = tally(&handles[0], &runs, |run_id| effects.get(run_id).copied().unwrap_or(0)).await;
    (tally, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "has not ended within its time yet: nobody knows whether the load or the store is at fault"]
async fn connections_that_are_cut_at_any_moment_double_nothing_and_lose_nothing() {
    let database = server().database().await;
    database.open().await;
    let over = Arc::new(AtomicBool::new(false));
    let cut = Arc::new(AtomicU64::new(0));
    let (ending, counted) = (Arc::clone(&over), Arc::clone(&cut));
    let name = database.name().to_owned();
    let cutting = tokio::spawn(async move {
        let admin = server().connect("postgres").await;
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1
                   AND backend_xid IS NOT NULL";
        // At its moments in the middle of a transaction, which the commit is a part of.
        for round in 0_u64.. {
            if ending.load(Ordering::SeqCst) {
                break;
            }
            let ended = admin.execute(sql, &[&name]).await.unwrap();
            counted.fetch_add(ended, Ordering::SeqCst);
            // Seldom enough that work gets done in between: what is cut all the time shows nothing.
            tokio::time::sleep(Duration::from_millis(60 + round * 97 % 400)).await;
        }
    });
    let count = scale::of(1_000);
    let (tally, took) = under_load(&database, count, Arc::clone(&over)).await;
    cutting.await.unwrap();
    assert!(cut.load(Ordering::SeqCst) > 0, "nothing was cut");
    scale::figure("PostgreSQL, backends terminated under load: runs", count);
    scale::figure("PostgreSQL, backends terminated under load: backends", cut.load(Ordering::SeqCst));
    scale::figure("PostgreSQL, backends terminated under load: settled as unknown", tally.unknown);
    scale::figure("PostgreSQL, backends terminated under load: doubled, lost, stuck", "0, 0, 0");
    scale::figure("PostgreSQL, backends terminated under load: seconds", took.as_secs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "passes alone and fails beside the other tests of this file, for a reason that is not known yet"]
async fn a_server_that_restarts_under_load_doubles_nothing_and_loses_nothing() {
    // Another one than the other tests use.
    let server: &'static Server = Box::leak(Box::new(Server::start(&["fsync=off"])));
    let database = server.database().await;
    database.open().await;
    let over = Arc::new(AtomicBool::new(false));
    let ending = Arc::clone(&over);
    let restarting = tokio::task::spawn_blocking(move || {
        let mut restarts = 0;
        while !ending.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1_200));
            server.restart(if restarts % 2 == 0 { "immediate" } else { "fast" });
            restarts += 1;
        }
        restarts
    });
    let count = scale::of(600);
    let (tally, took) = under_load(&database, count, Arc::clone(&over)).await;
    let restarts = restarting.await.unwrap();
    assert!(restarts > 0);
    scale::figure("PostgreSQL restarted under load: runs", count);
    scale::figure("PostgreSQL restarted under load: restarts", restarts);
    scale::figure("PostgreSQL restarted under load: settled as unknown", tally.unknown);
    scale::figure("PostgreSQL restarted under load: doubled, lost, stuck", "0, 0, 0");
    scale::figure("PostgreSQL restarted under load: seconds", took.as_secs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_resumes_start_each_call_once() {
    let database = server().database().await;
    database.open().await;
    let count = scale::of(3_000);
    let (tally, took) = under_load(&database, count, Arc::new(AtomicBool::new(false))).await;
    assert_eq!((tally.entered, tally.unknown), (count, 0));
    scale::figure("PostgreSQL, racing resumes over tasks: runs, double executions", format!("{count}, 0"));
    scale::figure("PostgreSQL, racing resumes over tasks: seconds", took.as_secs());
}

fn processes(database: &Database, folder: &Folder, busy_ms: &str) -> Worker {
    let address = database.address();
    Worker::start(env!("CARGO_BIN_EXE_kern-test-worker"), &folder.file("ledger"), &[&"drive", &address, &busy_ms])
}

fn entered(folder: &Folder) -> HashMap<RunId, u64> {
    let mut found = HashMap::new();
    for line in ledger::read(&folder.file("ledger")) {
        *found.entry(RunId::from(line)).or_default() += 1;
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_processes_start_each_call_once() {
    let (database, folder) = (server().database().await, Folder::new());
    let db = database.open().await.into_db();
    let mut workers: Vec<Worker> = (0..4).map(|_| processes(&database, &folder, "5000")).collect();
    let count = scale::of(2_000);
    let mut runs = Vec::new();
    for _ in 0..count {
        runs.push(drive::approved(&db).await);
    }
    for run_id in &runs {
        for worker in &mut workers {
            worker.tell(run_id.as_str());
        }
    }
    for worker in workers {
        assert_eq!(worker.rest().len(), count);
    }
    let entered = entered(&folder);
    let tally = tally(&db, &runs, |run_id| entered.get(run_id).copied().unwrap_or(0)).await;
    assert_eq!((tally.entered, tally.unknown), (count, 0));
    scale::figure("PostgreSQL, racing resumes over 4 processes: runs, double executions", format!("{count}, 0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_killed_at_random_double_nothing_and_lose_nothing() {
    let (database, folder) = (server().database().await, Folder::new());
    let db = database.open_with(BUSY, 4).await.into_db();
    let kills = scale::of(300);
    let (mut runs, mut killed) = (Vec::new(), 0);
    while killed < kills {
        let batch = 3;
        let mut victims: Vec<Worker> = (0..2).map(|_| processes(&database, &folder, "500")).collect();
        let mut fresh = Vec::new();
        for _ in 0..batch {
            fresh.push(drive::approved(&db).await);
        }
        for run_id in &fresh {
            for victim in &mut victims {
                victim.tell(run_id.as_str());
            }
        }
        // Each dies at a moment of its own.
        for (place, victim) in victims.into_iter().enumerate() {
            tokio::time::sleep(Duration::from_millis((killed as u64 * 17 + place as u64 * 29) % 90)).await;
            drop(victim);
            killed += 1;
        }
        runs.extend(fresh);
    }
    // Somebody comes later, and nobody knows what the dead have done but what they have written down.
    let survivor = Arc::new(Mutex::new(HashMap::<RunId, u64>::new()));
    for run_id in &runs {
        let enter = || *survivor.lock().unwrap().entry(run_id.clone()).or_default() += 1;
        drive::to_its_end(&db, run_id, LEASE_MS, &enter).await;
    }
    let (dead, alive) = (entered(&folder), survivor.lock().unwrap().clone());
    let count = |run_id: &RunId| dead.get(run_id).copied().unwrap_or(0) + alive.get(run_id).copied().unwrap_or(0);
    let tally = tally(&db, &runs, count).await;
    scale::figure("PostgreSQL, random SIGKILL: kills", killed);
    scale::figure("PostgreSQL, random SIGKILL: runs", runs.len());
    scale::figure("PostgreSQL, random SIGKILL: settled as unknown", tally.unknown);
    scale::figure("PostgreSQL, random SIGKILL: doubled, lost, stuck", "0, 0, 0");
}
