//! What the HTTP server does under load, on a SQLite file with 100,000 approvals, beside a bare server on the same rows.
//!
//! ```text
//! cargo bench -p kern-tests --bench http
//! cargo bench -p kern-tests --bench http -- list resolve
//! KERN_ROWS=1000000 cargo bench -p kern-tests --bench http -- growth
//! ```
//!
//! Servers are processes of their own, the load comes from this one, and all of them share the machine. What is compared is
//! measured in turns, and the ratio is the median of those of the turns.
//!
//! The runs belong to an agent that is served elsewhere: what is decided is not carried out meanwhile, and the worker beside the
//! server looks for its own runs as ever.

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

#[path = "http/bare.rs"]
mod bare;
#[path = "http/client.rs"]
mod client;
#[path = "http/server.rs"]
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Connection, ask, get, resolve, send};
use kern_tests::filled::filled;
use kern_tests::folder::Folder;
use kern_tests::steps::{Store, required};
use server::{SERVE, Server};
use tokio::task::JoinSet;

/// Rows that are stored.
const ROWS: u64 = 100_000;
/// Connections.
const CONNECTIONS: usize = 32;
/// Turns of what is compared.
const TURNS: usize = 7;
/// Time of one turn of a list.
const TURN: Duration = Duration::from_secs(2);
/// Decisions of one turn.
const DECISIONS: usize = 1500;
/// Decisions beside slow clients.
const SLOW_DECISIONS: usize = 500;
const PAGE: &str = "/approvals?limit=100";

/// A measured value beside the one it is held against.
fn line(what: &str, value: f64, unit: &str, limit: f64, at_least: bool) {
    let (word, met) = if at_least { ("at least", value >= limit) } else { ("at most", value <= limit) };
    println!("{what}: {value:.2}{unit}, {word} {limit}{unit}: {}", if met { "met" } else { "missed" });
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn spread(values: &[f64]) -> String {
    let (low, high) =
        values.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    format!("{low:.2} to {high:.2}")
}

/// Time on processors for each answer. It says more than a rate where others use the machine.
fn work(servers: [&Server; 2], before: [Duration; 2], answers: [usize; 2]) -> String {
    let each = |place: usize| ms(servers[place].worked().saturating_sub(before[place])) / answers[place].max(1) as f64;
    format!("processor time {:.2} ms an answer, bare {:.2} ms", each(0), each(1))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The file that most of it is about.
struct Many {
    store: Arc<Store>,
    /// The bare server's decisions are made here.
    decisions: PathBuf,
    _folder: Folder,
}

impl Many {
    async fn make(asked: impl Fn(&str) -> bool) -> Self {
        let started = Instant::now();
        let store = Arc::new(filled(ROWS).await);
        // Real ones, which the audit log knows: copies cannot be decided.
        let real =
            if asked("resolve") { (TURNS + 1) * DECISIONS } else { 0 } + if asked("slow") { SLOW_DECISIONS } else { 0 };
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            let store = Arc::clone(&store);
            tasks.spawn(async move {
                for _ in 0..real.div_ceil(64) {
                    store.paused(&[required()]).await;
                }
            });
        }
        tasks.join_all().await;
        let folder = Folder::new();
        let decisions = folder.file("bare.db");
        bare::copy(&store.file(), &decisions);
        println!("made a file with {ROWS} approvals in {:.0} s", started.elapsed().as_secs_f64());
        Self { store, decisions, _folder: folder }
    }

    /// Ids of approvals that can be decided, each once.
    fn real(&self) -> Vec<String> {
        let raw = self.store.raw();
        let mut found = raw
            .prepare("SELECT id FROM kern_approvals JOIN kern_calls USING (run_id, turn, idx) WHERE status = 'pending'")
            .expect("the tables are there");
        found.query_map((), |row| row.get(0)).and_then(Iterator::collect).expect("ids are text")
    }

    fn servers(&self) -> [Server; 2] {
        [Server::kern(&self.store.file()), Server::bare(&self.store.file(), &self.decisions)]
    }
}

/// A page of 100, over 32 connections.
async fn list(many: &Many) {
    let [kern, bare] = many.servers();
    let request = get(PAGE);
    let mut bodies = Vec::new();
    for server in [&kern, &bare] {
        let mut connection = Connection::to(server.address).await.expect("it takes connections");
        let (status, body) = connection.send(&request).await.expect("it answers");
        assert_eq!(status, 200);
        bodies.push(String::from_utf8_lossy(body).into_owned());
    }
    assert_eq!(bodies[0], bodies[1], "both give the same bytes");
    for server in [&kern, &bare] {
        ask(server.address, &request, CONNECTIONS, TURN / 2).await;
    }
    let (mut rates, mut ratios, mut slowest) = ([Vec::new(), Vec::new()], Vec::new(), Vec::new());
    let (worked, mut answers) = ([kern.worked(), bare.worked()], [0, 0]);
    for turn in 0..TURNS {
        let mut both = [0.0, 0.0];
        for place in if turn % 2 == 0 { [0, 1] } else { [1, 0] } {
            let done = ask([&kern, &bare][place].address, &request, CONNECTIONS, TURN).await;
            both[place] = done.rate;
            answers[place] += done.times.len();
            rates[place].push(done.rate);
            if place == 0 {
                slowest.push(ms(done.percentile(0.99)));
            }
        }
        ratios.push(both[0] / both[1]);
    }
    let work = work([&kern, &bare], worked, answers);
    let [kern, bare] = rates.map(median);
    println!(
        "list of 100 at {CONNECTIONS} connections, {} bytes: {kern:.0}/s, p99 {:.1} ms; bare {bare:.0}/s; ratios {}; {work}",
        bodies[0].len(),
        median(slowest),
        spread(&ratios)
    );
    line("list of 100, kern to bare", median(ratios), "", 0.7, true);
}

/// Decisions over 32 connections.
async fn decide(many: &Many) {
    let [kern, bare] = many.servers();
    let mut ids = many.real();
    let (mut rates, mut ratios, mut slowest) = ([Vec::new(), Vec::new()], Vec::new(), Vec::new());
    let (worked, mut answers) = ([kern.worked(), bare.worked()], [0, 0]);
    // The first turn warms both up.
    for turn in 0..=TURNS {
        let requests: Vec<_> = ids.drain(..DECISIONS).map(|id| resolve(&id)).collect();
        let mut both = [0.0, 0.0];
        for place in if turn % 2 == 0 { [0, 1] } else { [1, 0] } {
            let done = send([&kern, &bare][place].address, requests.clone(), CONNECTIONS).await;
            both[place] = done.rate;
            answers[place] += done.times.len();
            if turn > 0 {
                rates[place].push(done.rate);
                if place == 0 {
                    slowest.push(ms(done.percentile(0.99)));
                }
            }
        }
        if turn > 0 {
            ratios.push(both[0] / both[1]);
        }
    }
    let work = work([&kern, &bare], worked, answers);
    let [kern, bare] = rates.map(median);
    println!(
        "resolve at {CONNECTIONS} connections: {kern:.0}/s, p99 {:.1} ms; bare {bare:.0}/s; ratios {}; {work}",
        median(slowest),
        spread(&ratios)
    );
    line("resolve, kern to bare", median(ratios), "", 0.9, true);
}

/// Pages of files with more and more rows, each with a server of its own, and for each filter.
async fn growth() {
    let mut sizes = vec![1000, ROWS];
    sizes.extend(std::env::var("KERN_ROWS").ok().and_then(|text| text.parse::<u64>().ok()));
    let mut files = Vec::new();
    for rows in &sizes {
        let started = Instant::now();
        let store = filled(*rows).await;
        println!("made a file with {rows} approvals in {:.0} s", started.elapsed().as_secs_f64());
        files.push((Server::kern(&store.file()), store));
    }
    for (name, filter) in [
        ("unfiltered", ""),
        ("by status", "&status=pending"),
        ("by user", "&user_id=ana"),
        ("by both", "&status=pending&user_id=ana"),
    ] {
        let request = get(&format!("{PAGE}{filter}"));
        let mut times = vec![Vec::new(); sizes.len()];
        // The first turn warms them up.
        for turn in 0..=TURNS {
            for (place, (server, _)) in files.iter().enumerate() {
                let done = ask(server.address, &request, CONNECTIONS, TURN / 4).await;
                if turn > 0 {
                    times[place].push(1e3 / done.rate);
                }
            }
        }
        for (rows, many) in sizes.iter().zip(&times).skip(1) {
            let ratios: Vec<f64> = times[0].iter().zip(many).map(|(few, many)| many / few).collect();
            println!(
                "page {name} of {rows}: {:.2} ms a page, of {}: {:.2} ms; ratios {}",
                median(many.clone()),
                sizes[0],
                median(times[0].clone()),
                spread(&ratios)
            );
            line(&format!("page {name}, {rows} rows to {}", sizes[0]), median(ratios), "", 1.3, false);
        }
    }
}

/// A count in the store.
async fn count(many: &Many) {
    let mut times = Vec::new();
    for _ in 0..1000 {
        let started = Instant::now();
        many.store.count_pending_approvals().await.expect("they are counted");
        times.push(ms(started.elapsed()));
    }
    line("count in the store", median(times), " ms", 0.2, false);
}

/// From the start of the process to its first answer, and the memory that it holds then.
async fn start_and_memory(many: &Many, asked: impl Fn(&str) -> bool) {
    let empty = Store::on_a_file().await;
    for (name, file) in [("an empty store", empty.file()), ("100,000 approvals", many.store.file())] {
        let mut times = Vec::new();
        for _ in 0..if asked("start") { 11 } else { 1 } {
            times.push(ms(Server::kern(&file).started_in));
        }
        if asked("start") {
            println!("starts with {name}: {} ms", spread(&times));
            line(&format!("start with {name}"), median(times), " ms", 50.0, false);
        }
        if asked("memory") {
            let server = Server::kern(&file);
            tokio::time::sleep(Duration::from_secs(2)).await;
            line(
                &format!("memory, idle, with {name}"),
                server.memory() as f64 / f64::from(1 << 20),
                " MiB",
                20.0,
                false,
            );
        }
    }
}

/// Decisions while others hold connections and do next to nothing with them.
async fn slow(many: &Many) {
    const SLOW: usize = 1000;
    const STALLED: usize = 200;
    let server = Server::kern(&many.store.file());
    let ids = many.real();
    let requests: Vec<_> = ids.iter().rev().take(SLOW_DECISIONS).map(|id| resolve(id)).collect();
    let mut others = JoinSet::new();
    for _ in 0..SLOW {
        others.spawn(client::dawdle(server.address));
    }
    for _ in 0..STALLED {
        others.spawn(client::stall(server.address));
    }
    // They are all there, and the first of them have been cut off.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let done = client::paced(server.address, requests, Duration::from_millis(20)).await;
    println!(
        "beside {SLOW} slow heads and {STALLED} stalled streams: resolve p50 {:.1} ms, {:.0}/s, memory {:.1} MiB",
        ms(done.percentile(0.5)),
        done.rate,
        server.memory() as f64 / f64::from(1 << 20)
    );
    line("resolve p99 beside slow clients", ms(done.percentile(0.99)), " ms", 500.0, false);
    others.abort_all();
}

async fn all(sections: &[String]) {
    let asked = |name: &str| sections.is_empty() || sections.iter().any(|section| section == name);
    let any = |names: &[&str]| names.iter().any(|name| asked(name));
    if any(&["list", "resolve", "count", "start", "memory", "slow"]) {
        let many = Many::make(asked).await;
        if asked("list") {
            list(&many).await;
        }
        if asked("count") {
            count(&many).await;
        }
        if any(&["start", "memory"]) {
            start_and_memory(&many, asked).await;
        }
        if asked("slow") {
            slow(&many).await;
        }
        if asked("resolve") {
            decide(&many).await;
        }
    }
    if asked("growth") {
        growth().await;
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made");
    match arguments.split_first() {
        Some((first, rest)) if first == SERVE => runtime.block_on(server::serve(rest)),
        _ => {
            // Cargo adds flags of its own.
            let sections: Vec<String> = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
            runtime.block_on(all(&sections));
        }
    }
}
