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
/// How often a run is taken over before it is given up.
const RECOVERIES: u32 = 3;
/// Tasks that race for each run.
const RACERS: usize = 3;

type Effects = Arc<Mutex<HashMap<RunId, u64>>>;

/// What there was in the end.
#[derive(Debug, Default)]
struct Tally {
    entered: usize,
    unknown: usize,
    /// Runs that ended with an error because their owners were lost too often, which is what the table says.
    given_up: usize,
    /// Bodies that were entered more than once.
    doubled: usize,
    /// Results without an effect.
    lost: usize,
    /// Runs that did not end.
    stuck: usize,
}

/// Every run has ended, no body was entered twice, and each was entered if its outcome says so. One that was started and
/// never entered, or not known to have ended, has been settled by a person.
async fn tally(db: &Arc<dyn Db>, runs: &[RunId], entered: impl Fn(&RunId) -> u64) -> Tally {
    let mut tally = Tally::default();
    for run_id in runs {
        let run = db.get_run(run_id).await.unwrap();
        let count = entered(run_id);
        tally.entered += usize::from(count > 0);
        tally.doubled += usize::from(count > 1);
        match run.status {
            RunStatus::Completed => {}
            RunStatus::Error => {
                assert_eq!(run.recoveries, RECOVERIES + 1, "{run:?}");
                tally.given_up += 1;
                // Nothing of it is started any more, and what was is on a list.
                match run.calls[0].execution.as_ref().map(|execution| execution.status) {
                    Some(ExecutionStatus::Succeeded) => tally.lost += usize::from(count == 0),
                    Some(ExecutionStatus::Unknown | ExecutionStatus::Abandoned) => {}
                    other => panic!("{run_id}: {other:?}"),
                }
                continue;
            }
            _ => {
                tally.stuck += 1;
                continue;
            }
        }
        match run.calls[0].execution.as_ref().map(|execution| execution.status) {
            Some(ExecutionStatus::Succeeded) => tally.lost += usize::from(count == 0),
            Some(ExecutionStatus::Abandoned) => tally.unknown += 1,
            other => panic!("{run_id}: {other:?}"),
        }
    }
    history::check(&**db).await;
    assert_eq!((tally.doubled, tally.lost, tally.stuck), (0, 0, 0), "{tally:?}");
    tally
}

impl Tally {
    fn figures(&self, what: &str, runs: usize) {
        let Self { entered, unknown, given_up, doubled, lost, stuck } = self;
        let ended = format!("{entered} bodies entered, {unknown} settled as unknown, {given_up} given up");
        scale::figure(what, format!("{runs} runs, {ended}, {doubled} doubled, {lost} lost, {stuck} stuck"));
    }
}

/// Runs that were driven to their ends.
struct Driven {
    db: Arc<dyn Db>,
    runs: Vec<RunId>,
    effects: HashMap<RunId, u64>,
    took: Duration,
}

impl Driven {
    /// Asked once nothing disturbs the server any more: what cannot be read now is a finding.
    async fn tally(&self) -> Tally {
        tally(&self.db, &self.runs, |run_id| self.effects.get(run_id).copied().unwrap_or(0)).await
    }
}

/// Drives many runs, each by several tasks over several handles, while something else goes on until this is over.
async fn under_load(database: &Database, count: usize, over: Arc<AtomicBool>) -> Driven {
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
    Driven { db: handles.remove(0), runs, effects, took }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_at_any_moment_double_nothing_and_lose_nothing() {
    let database = server().database().await;
    database.open().await;
    let over = Arc::new(AtomicBool::new(false));
    let cut = Arc::new(AtomicU64::new(0));
    let (ending, counted) = (Arc::clone(&over), Arc::clone(&cut));
    let name = database.name().to_owned();
    let cutting = tokio::spawn(async move {
        let admin = server().connect("postgres").await;
        // One at a time: on a slow machine, all of them would be in the middle of something at every moment.
        let sql = "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = $1
                   AND backend_xid IS NOT NULL ORDER BY random() LIMIT 1) AS one";
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
    let driven = under_load(&database, count, Arc::clone(&over)).await;
    cutting.await.unwrap();
    let tally = driven.tally().await;
    let cut = cut.load(Ordering::SeqCst);
    assert!(cut > 0, "nothing was cut");
    let what = format!("PostgreSQL, {cut} backends terminated under load, {} s", driven.took.as_secs());
    tally.figures(&what, count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
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
    let driven = under_load(&database, count, Arc::clone(&over)).await;
    let restarts = restarting.await.unwrap();
    let tally = driven.tally().await;
    assert!(restarts > 0);
    let what = format!("PostgreSQL, restarted {restarts} times under load, {} s", driven.took.as_secs());
    tally.figures(&what, count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_resumes_start_each_call_once() {
    let database = server().database().await;
    database.open().await;
    let count = scale::of(3_000);
    let driven = under_load(&database, count, Arc::new(AtomicBool::new(false))).await;
    let tally = driven.tally().await;
    assert_eq!((tally.entered, tally.unknown, tally.given_up), (count, 0, 0));
    tally.figures("PostgreSQL, racing resumes over tasks", count);
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
    assert_eq!((tally.entered, tally.unknown, tally.given_up), (count, 0, 0));
    tally.figures("PostgreSQL, racing resumes over 4 processes", count);
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
    assert_eq!(tally.given_up, 0, "{tally:?}");
    tally.figures(&format!("PostgreSQL, {killed} random SIGKILL"), runs.len());
}
