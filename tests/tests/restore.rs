//! Schedules 20 and 21: an older copy of a store is put back at a random point, with processes dead and alive, and no approved
//! call is started twice; a store that was not set back is never taken for one that was.
//!
//! What really happened is counted outside of the store: a line in a file for each body that is entered, and for each no that
//! was answered.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
#[cfg(feature = "postgres")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

#[cfg(feature = "postgres")]
use kern_db::PostgresDb;
use kern_db::{
    ApprovalStatus, CallClaim, CallClaimed, Caller, ClaimCall, ClaimRun, Db, Ended, Error, ExecutionFilter,
    ExecutionStatus, IntoDb, Mark, MarkSink, Principal, Resolution, RestoreAcceptance, RestoreAccepted, RunClaim,
    RunClaimed, RunId, RunStatus, Settlement, SqliteDb, Standing, StoreState, clock,
};
use kern_tests::folder::Folder;
use kern_tests::no_mark::NoMark;
#[cfg(feature = "postgres")]
use kern_tests::postgres::{self, Server};
use kern_tests::scale;
use kern_tests::steps::{APPROVER, begin, end, required, turn};

/// Of runs and calls here.
const LEASE: i64 = 30_000;
/// Runs of one schedule.
const RUNS: usize = 2;

/// Numbers that a seed gives (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % end
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// What a process holds of a run.
enum Held {
    Claim(RunClaim),
    /// Claimed, and the body is not entered yet.
    Started(RunClaim, CallClaim),
    Entered(RunClaim, CallClaim),
}

/// The store that is set back, and the way.
#[derive(Clone, Debug)]
enum Kind {
    /// A SQLite file is copied.
    File,
    /// A PostgreSQL server is copied as a whole, or one database is dumped and read in.
    #[cfg(feature = "postgres")]
    Server { server: &'static Server, database: String, dumps: bool },
}

struct World {
    kind: Kind,
    folder: Folder,
    marked: bool,
    db: Option<Arc<dyn Db>>,
    runs: Vec<Option<RunId>>,
    held: BTreeMap<usize, Held>,
    ledger: PathBuf,
    /// Runs of which a no was answered.
    noes: BTreeSet<usize>,
    chance: Chance,
    alarms: usize,
    ahead_ms: i64,
}

impl World {
    async fn new(seed: u64, marked: bool) -> Self {
        Self::of(Kind::File, seed, marked).await
    }

    async fn of(kind: Kind, seed: u64, marked: bool) -> Self {
        let folder = Folder::in_memory();
        let ledger = folder.file("ledger");
        let (runs, chance) = ((0..RUNS).map(|_| None).collect(), Chance(seed));
        let (held, noes) = (BTreeMap::new(), BTreeSet::new());
        clock::set_ahead_ms(0);
        let mut world =
            Self { kind, folder, marked, db: None, runs, held, ledger, noes, chance, alarms: 0, ahead_ms: 0 };
        world.open().await;
        world
    }

    fn file(&self) -> PathBuf {
        self.folder.file("kern.db")
    }

    async fn open(&mut self) {
        let none = || Arc::new(NoMark) as Arc<dyn MarkSink>;
        self.db = Some(match &self.kind {
            Kind::File => {
                let builder = SqliteDb::builder(self.file());
                let builder = if self.marked { builder } else { builder.mark(none()) };
                builder.open().await.unwrap().into_db()
            }
            #[cfg(feature = "postgres")]
            Kind::Server { server, database, .. } => {
                let builder = PostgresDb::builder(server.address(database)).max_connections(2);
                let builder = if self.marked { builder.mark(self.folder.file("mark")) } else { builder.mark(none()) };
                builder.open().await.unwrap().into_db()
            }
        });
    }

    fn db(&self) -> Arc<dyn Db> {
        Arc::clone(self.db.as_ref().unwrap())
    }

    /// Who in the store's file has no idea that it is copied.
    fn copy(&self) {
        match &self.kind {
            Kind::File => self.copy_file(),
            #[cfg(feature = "postgres")]
            Kind::Server { server, database, dumps: true } => server.dump(database),
            #[cfg(feature = "postgres")]
            Kind::Server { server, .. } => server.back_up(),
        }
    }

    fn copy_file(&self) {
        for end in ["", "-wal"] {
            let from = self.folder.file(&format!("kern.db{end}"));
            if from.exists() {
                std::fs::copy(from, self.folder.file(&format!("copy{end}"))).unwrap();
            }
        }
    }

    /// Every process ends. One that was killed has not synced the mark on its way out.
    async fn close(&mut self, killed: bool) {
        if matches!(self.kind, Kind::File) {
            return self.close_file(killed);
        }
        if let Some(db) = self.db.take().filter(|_| !killed) {
            db.close().await.unwrap();
        }
    }

    fn close_file(&mut self, killed: bool) {
        let mark = self.folder.file("kern.db-mark");
        let kept = std::fs::read(&mark).ok().filter(|_| killed);
        self.db = None;
        if let Some(kept) = kept {
            std::fs::write(&mark, kept).unwrap();
        }
    }

    async fn put_back(&mut self, alive: bool) {
        let killed = self.chance.one_in(2);
        match self.kind.clone() {
            Kind::File => {
                self.close(killed).await;
                self.put_back_file();
            }
            #[cfg(feature = "postgres")]
            Kind::Server { server, database, dumps } => {
                // A process that lives on has its memory, which shows the loss as well.
                if !(alive && self.marked) {
                    self.close(killed).await;
                }
                match dumps {
                    true => {
                        server.make_database(&database).await;
                        server.read_in(&database);
                    }
                    false => server.put_back(),
                }
                if !self.marked {
                    // Without a mark, no host is known to have started anything.
                    let raw = server.connect(&database).await;
                    raw.batch_execute("DELETE FROM kern_hosts").await.unwrap();
                }
            }
        }
        if !alive {
            self.held.clear();
        }
        // What the copy does not know is gone, and nobody has its id.
        if self.db.is_none() {
            self.open().await;
        }
        for place in 0..RUNS {
            if let Some(id) = self.runs[place].clone()
                && self.db().get_run(&id).await.is_err()
            {
                self.runs[place] = None;
                self.held.remove(&place);
            }
        }
    }

    fn put_back_file(&self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.folder.file(&format!("kern.db{end}")));
        }
        for end in ["", "-wal"] {
            let from = self.folder.file(&format!("copy{end}"));
            if from.exists() {
                std::fs::copy(from, self.folder.file(&format!("kern.db{end}"))).unwrap();
            }
        }
    }

    fn write(&self, line: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.ledger).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    fn bodies(&self) -> Vec<String> {
        kern_tests::ledger::read(&self.ledger)
    }

    fn body(&self, place: usize) -> String {
        format!("{}", self.runs[place].as_ref().unwrap())
    }

    /// The operator accepts the loss, and looks that nothing is left that could start.
    async fn accept(&mut self) {
        self.alarms += 1;
        let db = self.db();
        let (ready, executing) = (of(&*db, ExecutionStatus::Ready).await, of(&*db, ExecutionStatus::Executing).await);
        loop {
            let acceptance = RestoreAcceptance::new(Principal::unverified("root"), "the disk failed");
            match db.accept_restore(acceptance).await.unwrap() {
                RestoreAccepted::Waits { for_ms } => {
                    self.ahead_ms += for_ms;
                    clock::set_ahead_ms(self.ahead_ms);
                }
                _ => break,
            }
        }
        assert_eq!(db.store_status().await.unwrap().state, StoreState::Open);
        let unknown = of(&*db, ExecutionStatus::Unknown).await;
        for uncertain in ready.iter().chain(&executing) {
            assert!(unknown.contains(uncertain), "what may have started is not listed as unknown");
        }
        assert!(of(&*db, ExecutionStatus::Ready).await.is_empty());
    }

    /// One step of the world. Whether there was anything to do.
    async fn step(&mut self) -> bool {
        let first = self.chance.below(RUNS as u64) as usize;
        for place in (0..RUNS).map(|place| (place + first) % RUNS) {
            match self.advance(place).await {
                Ok(moved) if moved => return true,
                Ok(_) => {}
                Err(Error::StoreRestored { .. }) => {
                    if self.db().store_status().await.unwrap().state == StoreState::Quarantined {
                        self.held.retain(|_, held| matches!(held, Held::Entered(..)));
                        self.accept().await;
                    } else if let Some(id) = self.runs[place].clone() {
                        let by = Some(Principal::unverified(APPROVER));
                        self.db().acknowledge_restore(&id, by, Some("seen".to_owned())).await.unwrap();
                    }
                    return true;
                }
                // The copy may lack what a process that lives on holds.
                Err(Error::NotMine { .. } | Error::NotFound { .. }) => {
                    self.held.remove(&place);
                    return true;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        false
    }

    async fn advance(&mut self, place: usize) -> Result<bool, Error> {
        let db = self.db();
        if let Some(held) = self.held.remove(&place) {
            match held {
                Held::Claim(claim) => {
                    let request = ClaimCall {
                        claim: claim.clone(),
                        turn: 1,
                        index: 0,
                        lease_ms: LEASE,
                        owner: kern_db::OwnerToken::fresh(),
                    };
                    if let CallClaimed::Claimed(call) = db.claim_call(request).await? {
                        let refused = self.marked && self.noes.contains(&place);
                        assert!(!refused, "a call is started after a no that was answered");
                        self.held.insert(place, Held::Started(claim, call));
                    } else {
                        db.end_run(end(&claim, RunStatus::Completed)).await?;
                    }
                }
                Held::Started(claim, call) => {
                    self.write(&self.body(place));
                    self.held.insert(place, Held::Entered(claim, call));
                }
                Held::Entered(claim, call) => {
                    db.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), Vec::new()).await?;
                    match db.end_run(end(&claim, RunStatus::Completed)).await {
                        // The outcome did not count any more.
                        Ok(_) | Err(Error::RunConflict { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            return Ok(true);
        }
        let Some(run_id) = self.runs[place].clone() else {
            let run_id = RunId::generate();
            let claim = RunClaim::first(&run_id);
            self.runs[place] = Some(run_id.clone());
            let mut request = begin(&run_id);
            request.lease_ms = LEASE;
            let begun = db.begin_with_turn(request, turn(&claim, 1, &[required()], true)).await;
            if begun.is_err() {
                self.runs[place] = None;
            } else {
                self.noes.remove(&place);
            }
            return begun.map(|_| true);
        };
        let run = db.get_run(&run_id).await?;
        match run.status {
            RunStatus::Paused => {}
            RunStatus::Running => {
                // Its process is gone.
                self.ahead_ms += LEASE + 1;
                clock::set_ahead_ms(self.ahead_ms);
                db.recover_run(run_id).await?;
                return Ok(true);
            }
            _ => return Ok(false),
        }
        let call = run.calls[0].clone();
        let done = self.bodies().contains(&self.body(place));
        if self.chance.one_in(20) && !self.noes.contains(&place) {
            db.cancel_run(run_id, Caller::Person(Principal::unverified(APPROVER))).await?;
            self.noes.insert(place);
            return Ok(true);
        }
        match call.standing {
            Standing::AwaitsApproval => {
                let approval = call.approval.unwrap();
                // A person looks at the other system first, and holds to what was said before.
                let no = done || self.noes.contains(&place) || self.chance.one_in(10);
                let resolution = if no { Resolution::rejected() } else { Resolution::approved() };
                let resolution = resolution.by(APPROVER);
                let resolution = if self.chance.one_in(2) { resolution.acknowledge_restore() } else { resolution };
                db.update_approval(&approval.id, ApprovalStatus::Pending, resolution).await?;
                if no {
                    self.noes.insert(place);
                }
            }
            Standing::Unknown => {
                let settlement = if done { Settlement::succeeded("seen") } else { Settlement::abandoned() };
                let id = call.execution.unwrap().id;
                db.settle_execution(&id, settlement.by(APPROVER).note("looked it up")).await?;
            }
            _ => {
                let (fence, turn, loaded) = (run.fence, run.turn, run.loaded);
                let request = ClaimRun {
                    run_id,
                    fence,
                    turn,
                    loaded,
                    caller: Caller::Worker,
                    lease_ms: LEASE,
                    owner: kern_db::OwnerToken::fresh(),
                };
                if let RunClaimed::Claimed(claim) = db.claim_run(request).await? {
                    self.held.insert(place, Held::Claim(claim));
                }
            }
        }
        Ok(true)
    }
}

async fn of(db: &dyn Db, status: ExecutionStatus) -> Vec<String> {
    let found = db.list_executions(ExecutionFilter::new().status(status)).await.unwrap();
    found.into_iter().map(|execution| execution.id.to_string()).collect()
}

/// What a schedule came to.
#[derive(Default)]
struct Came {
    /// Bodies that were entered more than once.
    doubled: usize,
    /// Whether the copy lacked a start.
    lacked: bool,
    alarms: usize,
}

async fn schedule(seed: u64, marked: bool) -> Came {
    schedule_of(Kind::File, seed, marked).await
}

async fn schedule_of(kind: Kind, seed: u64, marked: bool) -> Came {
    let mut world = World::of(kind, seed, marked).await;
    let before = 1 + world.chance.below(8);
    let after = 1 + world.chance.below(8);
    let alive = world.chance.one_in(2);
    for _ in 0..before {
        world.step().await;
    }
    world.copy();
    let known = world.bodies().len();
    for _ in 0..after {
        world.step().await;
    }
    let lacked = world.bodies().len() > known;
    world.put_back(alive).await;
    let mut steps = 0;
    while world.step().await {
        steps += 1;
        assert!(steps < 500, "seed {seed}: the runs have no end");
    }
    if seed.is_multiple_of(8) {
        let report = world.db().audit().verify().await.unwrap();
        assert!(report.is_intact(), "seed {seed}: {report:?}");
    }
    let mut bodies = BTreeMap::new();
    for body in world.bodies() {
        *bodies.entry(body).or_insert(0) += 1;
    }
    let doubled = bodies.values().filter(|starts| **starts > 1).count();
    if marked {
        assert_eq!(doubled, 0, "seed {seed}: {bodies:?}");
    }
    Came { doubled, lacked, alarms: world.alarms }
}

#[tokio::test]
async fn an_approved_call_is_not_started_twice_by_a_restore() {
    let full = scale::of(1_000) as u64;
    let (mut with, mut without) = (Came::default(), Came::default());
    let mut lacked = 0;
    for seed in 0..full {
        let came = schedule(seed, true).await;
        with.doubled += came.doubled;
        with.alarms += came.alarms;
        lacked += usize::from(came.lacked);
        without.doubled += schedule(seed, false).await.doubled;
    }
    scale::figure("restores of a SQLite file", format!("{full}, in {lacked} of them the copy lacks a start"));
    scale::figure("bodies started twice, with a mark", with.doubled);
    scale::figure("bodies started twice, without one", without.doubled);
    scale::figure("restores that the mark has shown", with.alarms);
    assert_eq!(with.doubled, 0);
    assert!(without.doubled > 0, "the schedules do not show what the mark is for");
    assert!(lacked * 10 >= full as usize * 3, "{lacked} of {full}");
}

/// Half of them by a base backup of the server, half by a dump of the database.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn an_approved_call_is_not_started_twice_by_a_restore_of_a_server() {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start(postgres::QUICK));
    let full = scale::of(50).max(4) as u64;
    let (mut with, mut without) = (Came::default(), Came::default());
    let mut lacked = 0;
    for seed in 0..full {
        let mut came = Vec::new();
        for marked in [true, false] {
            let database = format!("store_{seed}_{marked}");
            server.make_database(&database).await;
            let kind = Kind::Server { server, database: database.clone(), dumps: seed % 2 == 1 };
            came.push(schedule_of(kind, 1_000 + seed, marked).await);
            let admin = server.connect(postgres::DATABASE).await;
            admin.batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)")).await.unwrap();
        }
        with.doubled += came[0].doubled;
        with.alarms += came[0].alarms;
        lacked += usize::from(came[0].lacked);
        without.doubled += came[1].doubled;
    }
    scale::figure(
        "restores of a PostgreSQL server or database",
        format!("{full}, in {lacked} of them the copy lacks a start"),
    );
    scale::figure("PostgreSQL: bodies started twice, with a mark", with.doubled);
    scale::figure("PostgreSQL: bodies started twice, without one", without.doubled);
    scale::figure("PostgreSQL: restores that the mark has shown", with.alarms);
    assert_eq!(with.doubled, 0);
    assert!(without.doubled > 0, "the schedules do not show what the mark is for");
    assert!(lacked * 10 >= full as usize * 3, "{lacked} of {full}");
}

/// A place of its own for a mark. Once, a write of another epoch is done and not acknowledged.
#[derive(Debug, Default)]
struct Shared {
    mark: Mutex<Option<Mark>>,
    dies: AtomicBool,
}

impl MarkSink for Shared {
    fn load(&self) -> std::io::Result<Option<Mark>> {
        Ok(self.mark.lock().unwrap().clone())
    }

    fn compare_and_set(&self, expected: Option<&Mark>, new: &Mark) -> std::io::Result<bool> {
        let mut mark = self.mark.lock().unwrap();
        if mark.as_ref() != expected {
            return Ok(false);
        }
        let closes = mark.as_ref().is_some_and(|mark| mark.epoch != new.epoch);
        *mark = Some(new.clone());
        if closes && self.dies.swap(false, Ordering::Relaxed) {
            return Err(std::io::Error::other("the process dies here"));
        }
        Ok(true)
    }
}

#[tokio::test]
async fn a_crash_between_the_mark_and_the_commit_of_an_accepted_restore_leaves_the_store_quarantined() {
    let folder = Folder::in_memory();
    let sink = Arc::new(Shared::default());
    let open = async || {
        let place = Arc::clone(&sink) as Arc<dyn MarkSink>;
        SqliteDb::builder(folder.file("kern.db")).mark(place).open().await.unwrap().into_db()
    };
    let db = open().await;
    let acceptance = || RestoreAcceptance::new(Principal::unverified("root"), "the disk failed").force();
    // Nobody has a lease yet.
    assert_eq!(db.accept_restore(acceptance()).await.unwrap(), RestoreAccepted::Waits { for_ms: 0 });
    let before = db.store_status().await.unwrap().epoch;
    sink.dies.store(true, Ordering::Relaxed);
    assert!(db.accept_restore(acceptance()).await.is_err());
    drop(db);
    let db = open().await;
    let status = db.store_status().await.unwrap();
    assert_eq!((status.state, status.epoch), (StoreState::Quarantined, before.clone()));
    assert!(matches!(db.accept_restore(acceptance()).await.unwrap(), RestoreAccepted::Accepted { .. }));
    let run_id = RunId::generate();
    db.begin_run(begin(&run_id)).await.unwrap();
    db.cancel_run(run_id, Caller::Anonymous).await.unwrap();
    let status = db.store_status().await.unwrap();
    assert_ne!(status.epoch, before);
    assert_eq!(sink.load().unwrap().unwrap().epoch, status.epoch);
    assert!(db.audit().verify().await.unwrap().is_intact());
}

fn moved(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for end in ["", "-wal", "-shm", "-mark"] {
        let name = format!("kern.db{end}");
        if from.join(&name).exists() {
            std::fs::rename(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_that_was_not_set_back_is_never_taken_for_one() {
    let full = scale::of(500) as u64;
    let mut world = World::new(7, true).await;
    let away = world.folder.file("away");
    for kill in 0..full {
        for _ in 0..=world.chance.below(4) {
            if !world.step().await {
                world.runs = (0..RUNS).map(|_| None).collect();
            }
        }
        world.held.clear();
        let killed = world.chance.one_in(2);
        world.close(killed).await;
        match kill % 5 {
            0 => rusqlite::Connection::open(world.file()).unwrap().execute_batch("VACUUM").unwrap(),
            1 => {
                let folder = world.folder.path().to_owned();
                moved(&folder, &away);
                moved(&away, &folder);
            }
            _ => {}
        }
        world.open().await;
        assert_eq!(world.db().store_status().await.unwrap().state, StoreState::Open, "kill {kill}");
    }
    assert_eq!(world.alarms, 0);
    scale::figure("false alarms", format!("{} in {full} kills, VACUUM and mv among them", world.alarms));
}
