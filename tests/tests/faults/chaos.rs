//! Chaos: three servers on one PostgreSQL, people who decide over HTTP, and everything that goes wrong at once. Servers are
//! killed, and stopped for longer than their leases; the database restarts, and ends sessions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kern::db::{ApprovalFilter, Db, ExecutionFilter, ExecutionStatus, IntoDb as _, RunFilter, Settlement};
use kern::prelude::RunStatus;
use kern_db::Actor;
use kern_tests::children::Worker;
use kern_tests::faults::AGENT;
use kern_tests::folder::Folder;
use kern_tests::http::Client;
use kern_tests::postgres::Server;
use kern_tests::{history, ledger, scale};
use serde_json::{Value, json};

use super::PROGRAM;

/// Servers side by side.
const SERVERS: usize = 3;
/// Milliseconds that each waits for a lock. Its leases are three times as long.
const BUSY_MS: u64 = 300;
/// How long it may take until everything has ended once nothing disturbs it any more.
const QUIET: Duration = Duration::from_secs(120);

/// Numbers that are the same in every run with the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The servers that there are, each with the process that it is.
struct Fleet {
    address: String,
    folder: Folder,
    clients: Mutex<Vec<Client>>,
}

impl Fleet {
    /// Starts one in this place. It says where it is once it is there.
    fn start(&self, place: usize) -> Worker {
        let busy = BUSY_MS.to_string();
        let words: [&dyn AsRef<std::ffi::OsStr>; 3] = [&self.address, &busy, &"serve"];
        let mut server = Worker::start(PROGRAM, &self.folder.file("ledger"), &words);
        let address = server.line().parse().expect("it says where it is");
        let client = Client::impatient(address, Duration::from_millis(1_500));
        let mut clients = self.clients.lock().unwrap();
        if place < clients.len() {
            clients[place] = client;
        } else {
            clients.push(client);
        }
        server
    }

    fn any(&self, random: &mut Random) -> Client {
        let clients = self.clients.lock().unwrap();
        clients[random.below(clients.len() as u64) as usize].clone()
    }
}

/// Sends a request, and gives what was answered. `None`: nothing, or nothing that can be read.
async fn ask(request: reqwest::RequestBuilder) -> Option<(u16, Value)> {
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, serde_json::from_str(&answer.text().await.ok()?).ok()?))
}

/// Starts runs, until there are enough decisions.
async fn start_runs(fleet: Arc<Fleet>, lane: u64, enough: Arc<AtomicBool>) {
    let mut random = Random(0x9e37_79b9 + lane);
    for number in 0.. {
        if enough.load(Ordering::SeqCst) {
            return;
        }
        let script = if random.below(4) == 0 { "two" } else { "delete" };
        let session = format!("s{lane}-{number}");
        let form = [("message", script), ("stream", "false"), ("session_id", &session), ("user_id", "alice")];
        let client = fleet.any(&mut random);
        // What was not answered may have been started, and is decided about as everything else.
        if ask(client.request("POST", &format!("/agents/{AGENT}/runs")).form(&form)).await.is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Decides what waits, three times of four with a yes, and remembers what was acknowledged.
async fn decide(fleet: Arc<Fleet>, lane: u64, over: Arc<AtomicBool>, known: Arc<Mutex<HashMap<String, &'static str>>>) {
    let mut random = Random(0x517c_c1b7 + lane);
    while !over.load(Ordering::SeqCst) {
        let client = fleet.any(&mut random);
        let found = ask(client.request("GET", "/approvals?status=pending&limit=20")).await;
        let pending = found.and_then(|(_, body)| body["data"].as_array().cloned()).unwrap_or_default();
        for approval in &pending {
            let id = approval["id"].as_str().unwrap().to_owned();
            let word = if random.below(4) == 0 { "rejected" } else { "approved" };
            let body = json!({ "status": word, "resolved_by": "admin" });
            let client = fleet.any(&mut random);
            let answer = ask(client.request("POST", &format!("/approvals/{id}/resolve")).json(&body)).await;
            // Only a success is an acknowledgement; after everything else it is asked for again.
            if let Some((200, _)) = answer {
                known.lock().unwrap().insert(id, word);
            }
        }
        if pending.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Why R7 lets recovery end a run.
#[derive(Debug, PartialEq)]
enum GivenUp {
    /// Its input was not stored yet.
    WithoutInput,
    /// It was recovered three times within one turn, and lost its owner once more.
    TooOften,
}

/// Which of these reasons a run in ERROR has. A committed turn sets its recoveries to zero, and the one that gives it up counts.
fn given_up(by_recovery: bool, has_input: bool, recoveries: u32) -> Option<GivenUp> {
    match (by_recovery, has_input, recoveries) {
        (true, false, _) => Some(GivenUp::WithoutInput),
        (true, true, 4..) => Some(GivenUp::TooOften),
        _ => None,
    }
}

#[test]
fn r7_gives_up_what_has_no_input_or_was_recovered_three_times_in_its_turn_and_nothing_else() {
    for recoveries in 1..=4 {
        assert_eq!(given_up(true, false, recoveries), Some(GivenUp::WithoutInput));
        assert_eq!(given_up(true, true, recoveries), (recoveries == 4).then_some(GivenUp::TooOften));
        // Neither a hook nor a model fails here: an owner that ends a run in ERROR has lost it.
        assert_eq!(given_up(false, false, recoveries), None);
        assert_eq!(given_up(false, true, recoveries), None);
    }
}

/// What was done to them.
#[derive(Debug, Default)]
struct Disturbed {
    kills: usize,
    stops: usize,
    restarts: usize,
    sessions: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_in_chaos_double_nothing_and_lose_nothing() {
    let postgres: &'static Server = Box::leak(Box::new(Server::start(&["fsync=off"])));
    let database = postgres.database().await;
    let db: Arc<dyn Db> = database.open().await.into_db();
    let fleet = Fleet { address: database.address(), folder: Folder::new(), clients: Mutex::default() };
    let fleet = Arc::new(fleet);
    let mut servers: Vec<Option<Worker>> = (0..SERVERS).map(|place| Some(fleet.start(place))).collect();
    let (enough, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let known = Arc::<Mutex<HashMap<String, &'static str>>>::default();
    let mut runners: Vec<_> =
        (0..4).map(|lane| tokio::spawn(start_runs(Arc::clone(&fleet), lane, Arc::clone(&enough)))).collect();
    let deciders: Vec<_> = (0..3)
        .map(|lane| tokio::spawn(decide(Arc::clone(&fleet), lane, Arc::clone(&over), Arc::clone(&known))))
        .collect();

    let decisions = scale::of(2_000);
    let (began, mut disturbed, mut random) = (Instant::now(), Disturbed::default(), Random(0x2545_f491));
    // As often as in the field: a kill or a stop for some thirty decisions, and a restart for a hundred.
    while known.lock().unwrap().len() < decisions {
        assert!(began.elapsed() < Duration::from_secs(1_800), "{} decisions", known.lock().unwrap().len());
        tokio::time::sleep(Duration::from_millis(200 + random.below(600))).await;
        let place = random.below(SERVERS as u64) as usize;
        match random.below(10) {
            0..=3 => {
                drop(servers[place].take());
                let starting = Arc::clone(&fleet);
                servers[place] = Some(tokio::task::spawn_blocking(move || starting.start(place)).await.unwrap());
                disturbed.kills += 1;
            }
            4..=6 => {
                let server = servers[place].as_ref().unwrap();
                server.signal("STOP");
                // Its lease is over meanwhile, and others take its runs.
                tokio::time::sleep(Duration::from_millis(BUSY_MS * 3 + 300 + random.below(600))).await;
                server.signal("CONT");
                disturbed.stops += 1;
            }
            7 | 8 => {
                let name = database.name().to_owned();
                // The server may restart just now.
                let ended = tokio::spawn(async move {
                    let admin = postgres.connect("postgres").await;
                    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
                    admin.execute(sql, &[&name]).await.unwrap_or(0)
                });
                disturbed.sessions += ended.await.unwrap_or(0);
            }
            _ => {
                let mode = if disturbed.restarts.is_multiple_of(2) { "immediate" } else { "fast" };
                tokio::task::spawn_blocking(move || postgres.restart(mode)).await.unwrap();
                disturbed.restarts += 1;
            }
        }
    }
    let took = began.elapsed();
    enough.store(true, Ordering::SeqCst);
    for runner in runners.drain(..) {
        runner.await.unwrap();
    }

    // One last time all are killed: a fresh worker looks at every run, and an old one only once a minute.
    for (place, server) in servers.iter_mut().enumerate() {
        drop(server.take());
        let starting = Arc::clone(&fleet);
        *server = Some(tokio::task::spawn_blocking(move || starting.start(place)).await.unwrap());
        disturbed.kills += 1;
    }
    // Nothing disturbs them any more: everything comes to its end, and a person looks at what is not known.
    let (quiet, settled) = (Instant::now(), AtomicUsize::new(0));
    let open = loop {
        for lost in db.list_executions(ExecutionFilter::new().status(ExecutionStatus::Unknown)).await.unwrap() {
            let settlement = Settlement::abandoned().by("admin").note("its process is gone");
            if db.settle_execution(&lost.id, settlement).await.is_ok() {
                settled.fetch_add(1, Ordering::SeqCst);
            }
        }
        let runs = db.list_runs(RunFilter::new().limit(1_000_000)).await.unwrap();
        let ended = |status| [RunStatus::Completed, RunStatus::Error, RunStatus::Cancelled].contains(&status);
        let open: Vec<_> = runs.into_iter().filter(|run| !ended(run.status)).map(|run| run.run_id).collect();
        if open.is_empty() || quiet.elapsed() > QUIET {
            break open;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    over.store(true, Ordering::SeqCst);
    for decider in deciders {
        decider.await.unwrap();
    }
    drop(servers);

    let mut starts = HashMap::<String, usize>::new();
    for line in ledger::read(&fleet.folder.file("ledger")) {
        *starts.entry(line).or_default() += 1;
    }
    let doubled: usize = starts.values().map(|count| count - 1).sum();
    let mut lost = 0;
    let acknowledged = known.lock().unwrap().clone();
    for (id, word) in &acknowledged {
        let found = db.get_approval(&id.as_str().into()).await.unwrap();
        lost += usize::from(found.is_none_or(|approval| approval.status.as_str() != *word));
    }
    let runs = db.list_runs(RunFilter::new().limit(1_000_000)).await.unwrap();
    let log = history::entries(&*db).await;
    let (mut without_input, mut too_often, mut refused) = (0, 0, Vec::new());
    for run in runs.iter().filter(|run| run.status == RunStatus::Error) {
        let ended =
            log.iter().rfind(|entry| entry.run_id.as_ref() == Some(&run.run_id) && entry.action == "run_failed");
        let by_recovery = ended.is_some_and(|entry| entry.actor == Actor::Recovery);
        match given_up(by_recovery, run.has_input, run.recoveries) {
            Some(GivenUp::WithoutInput) => without_input += 1,
            Some(GivenUp::TooOften) => too_often += 1,
            None => refused.push((run.run_id.clone(), run.turn, run.recoveries, run.has_input, by_recovery)),
        }
    }
    let allowed = without_input + too_often;
    let pending = db.count_approvals(ApprovalFilter::new().status(kern::db::ApprovalStatus::Pending)).await.unwrap();
    let Disturbed { kills, stops, restarts, sessions } = disturbed;
    let (decided, settled) = (acknowledged.len(), settled.into_inner());
    let what = format!("PostgreSQL, three servers in chaos for {} s", took.as_secs());
    scale::figure(
        &what,
        format!(
            "{decided} decisions, {} runs, {kills} kills, {stops} stops past the lease, {restarts} restarts, {sessions} \
             sessions ended; {} bodies entered, {doubled} doubled, {lost} decisions lost, {settled} settled as unknown, {} \
             stuck, {allowed} in ERROR as R7 allows ({without_input} without a stored input, {too_often} after three \
             recoveries in one turn), {} otherwise",
            runs.len(),
            starts.len(),
            open.len(),
            refused.len()
        ),
    );
    assert_eq!((doubled, lost, open.len(), pending), (0, 0, 0, 0), "{open:?}");
    assert!(refused.is_empty(), "{refused:?}");
    assert!(kills > 0 && stops > 0, "nothing was disturbed");
    history::check(&*db).await;
}
