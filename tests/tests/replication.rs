//! A synchronous standby that is cut off: no commit counts that it may not have, and no session that waits for it is ended.

#![allow(clippy::unwrap_used, reason = "what a store answers otherwise is what a test shows")]

use std::collections::{HashMap, HashSet};
use std::future::IntoFuture as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kern::models::ScriptedModel;
use kern::os::AgentOS;
use kern::prelude::*;
use kern_db::{
    ApprovalId, ApprovalStatus, CallClaimed, Caller, ClaimCall, ClaimRun, Db, Ended, Error, IntoDb as _, MarkSink,
    PostgresDb, Principal, Resolution, RestoreAcceptance, RestoreAccepted, RunClaim, RunClaimed, RunId, StoreState,
    clock, fault,
};
use kern_tests::folder::Folder;
use kern_tests::http::Client;
use kern_tests::no_mark::NoMark;
use kern_tests::postgres::{Server, told};
use kern_tests::steps::{APPROVER, begin, required, turn};
use kern_tests::{drive, history, scale};

/// How long a lock is waited for. A commit is waited for three times as long and a second.
const BUSY: Duration = Duration::from_millis(100);
const LEASE_MS: i64 = 2_000;
/// How long the primary goes on alone: longer than a commit is waited for.
const ALONE: Duration = Duration::from_secs(3);

/// A rule is taken away from the whole process.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A primary, and the standby that its commits wait for.
struct Pair {
    primary: Server,
    standby: Server,
}

impl Pair {
    async fn new() -> Self {
        let primary = Server::start(&["fsync=off", "wal_level=replica", "max_wal_senders=4"]);
        let standby = primary.follow();
        let pair = Self { primary, standby };
        pair.in_step().await;
        pair
    }

    /// Has the primary wait for its standby, once that has caught up.
    async fn in_step(&self) {
        let admin = self.primary.connect("postgres").await;
        admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let sql = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'";
        for _ in 0..1_000 {
            let found: i64 = admin.query_one(sql, &[]).await.unwrap().get(0);
            if found == 1 {
                // The server's checkpointer tells commits to wait, and may read the setting later than the one that sends.
                admin.batch_execute("CHECKPOINT").await.unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the standby does not follow");
    }

    fn address(&self) -> String {
        let folder = |server: &Server| server.folder().display().to_string().replace('/', "%2F");
        format!("postgres://kern@{},{}/postgres", folder(&self.primary), folder(&self.standby))
    }

    async fn open(&self) -> Arc<dyn Db> {
        let builder = PostgresDb::builder(self.address()).busy_timeout(BUSY).max_connections(8);
        // The mark would show the loss all the same.
        let builder = match fault::without(fault::REPLICATED) {
            true => builder.mark(Arc::new(NoMark) as Arc<dyn MarkSink>),
            false => builder,
        };
        builder.open().await.unwrap().into_db()
    }

    /// Cuts the standby off, and gives what leads it back.
    async fn cut(&self) -> String {
        let admin = self.standby.connect("postgres").await;
        let way: String = admin.query_one("SHOW primary_conninfo", &[]).await.unwrap().get(0);
        admin.batch_execute("ALTER SYSTEM SET primary_conninfo = ''").await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        for _ in 0..1_000 {
            let receiving = admin.query("SELECT 1 FROM pg_stat_wal_receiver", &[]).await.unwrap();
            if receiving.is_empty() {
                return way;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the standby is not cut off");
    }

    /// Leads the standby back.
    async fn mend(&self, way: &str) {
        let admin = self.standby.connect("postgres").await;
        let quoted = way.replace('\'', "''");
        admin.batch_execute(&format!("ALTER SYSTEM SET primary_conninfo = '{quoted}'")).await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    }

    /// The primary is lost, and the standby takes its place, with no standby to wait for.
    async fn fail_over(&self) {
        self.primary.stop("immediate");
        self.standby.promote();
        let admin = self.standby.connect("postgres").await;
        admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = ''").await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        if fault::without(fault::REPLICATED) {
            // Nor is any host waited for.
            admin.batch_execute("DELETE FROM kern_hosts").await.unwrap();
        }
    }

    /// The server that took the place of the primary, with a standby of its own.
    async fn next(self) -> Self {
        let primary = self.standby;
        drop(self.primary);
        let standby = primary.follow();
        let pair = Self { primary, standby };
        pair.in_step().await;
        pair
    }
}

#[derive(Debug, Default)]
struct Tally {
    /// Bodies that were entered before the primary was lost, after its standby was cut off.
    alone: usize,
    /// Starts of bodies beyond the first of each run.
    doubled: usize,
    decisions: usize,
    /// Acknowledged decisions that the new primary does not have.
    lost: usize,
}

/// A run with an approved call, in the hands of an owner.
async fn claimed(db: &Arc<dyn Db>) -> RunClaim {
    let run_id = drive::approved(db).await;
    let run = db.get_run(&run_id).await.unwrap();
    let loaded = run.loaded.clone();
    let request = ClaimRun {
        run_id,
        fence: run.fence,
        turn: run.turn,
        loaded,
        caller: Caller::Worker,
        lease_ms: LEASE_MS,
        owner: kern_db::OwnerToken::fresh(),
    };
    match db.claim_run(request).await.unwrap() {
        RunClaimed::Claimed(claim) => claim,
        other => panic!("{other:?}"),
    }
}

/// A run with a call that waits for a decision.
async fn pending(db: &Arc<dyn Db>) -> (RunId, ApprovalId) {
    let run_id = RunId::generate();
    let claim = RunClaim::first(&run_id);
    db.begin_with_turn(begin(&run_id), turn(&claim, 1, &[required()], true)).await.unwrap();
    let run = db.get_run(&run_id).await.unwrap();
    (run_id, run.calls[0].approval.clone().unwrap().id)
}

type Effects = Arc<Mutex<HashMap<RunId, usize>>>;

/// One failover: the standby is cut off while calls are started and decisions made, and takes over without what it missed.
async fn round(pair: &Pair, seed: u64, tally: &mut Tally) {
    let (db, effects) = (pair.open().await, Effects::default());
    let mut claims = Vec::new();
    for _ in 0..3 {
        claims.push(claimed(&db).await);
    }
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(pending(&db).await);
    }
    let acknowledged = Arc::new(Mutex::new(Vec::<RunId>::new()));
    let mut tasks: Vec<_> = (0..2)
        .map(|lane| {
            let (db, acknowledged) = (Arc::clone(&db), Arc::clone(&acknowledged));
            let open: Vec<_> = open.iter().skip(lane).step_by(2).cloned().collect();
            tokio::spawn(async move {
                for (place, (run_id, id)) in (0_u64..).zip(open) {
                    tokio::time::sleep(Duration::from_millis((seed * 29 + place * 31) % 60)).await;
                    loop {
                        let yes = Resolution::approved().by(APPROVER);
                        match db.update_approval(&id, ApprovalStatus::Pending, yes).await {
                            Ok(_) | Err(Error::Conflict { .. }) => break,
                            Err(error) => assert!(error.is_passing(), "{error:?}"),
                        }
                        tokio::time::sleep(Duration::from_millis(15)).await;
                    }
                    acknowledged.lock().unwrap().push(run_id);
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20 + seed * 37 % 150)).await;
    pair.cut().await;
    let cut = Instant::now();
    for (place, claim) in claims.iter().enumerate() {
        let (db, effects, claim) = (Arc::clone(&db), Arc::clone(&effects), claim.clone());
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis((seed * 53 + place as u64 * 41) % 120)).await;
            let request = || ClaimCall {
                claim: claim.clone(),
                turn: 1,
                index: 0,
                lease_ms: LEASE_MS,
                owner: kern_db::OwnerToken::fresh(),
            };
            loop {
                match db.claim_call(request()).await {
                    Ok(CallClaimed::Claimed(call)) => {
                        *effects.lock().unwrap().entry(claim.run_id.clone()).or_default() += 1;
                        // The primary may be lost before it is recorded.
                        let _ = db.finish_call(call.ticket(), Ended::Succeeded("done".to_owned()), Vec::new()).await;
                        return;
                    }
                    Ok(_) | Err(Error::NotMine { .. }) => return,
                    Err(error) => assert!(error.is_passing(), "{error:?}"),
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }));
    }
    // Without the rule, until there is something to see.
    while cut.elapsed() < ALONE
        || (fault::without(fault::REPLICATED) && effects.lock().unwrap().is_empty() && cut.elapsed() < ALONE * 5)
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // This process is lost with its primary.
    for task in tasks {
        task.abort();
        if let Err(error) = task.await {
            assert!(error.is_cancelled(), "{error}");
        }
    }
    tally.alone += effects.lock().unwrap().len();
    drop(db);
    pair.fail_over().await;
    let db = pair.open().await;
    let status = db.store_status().await.unwrap();
    assert_eq!(status.state, StoreState::Open, "seed {seed}: {status:?}");
    let acknowledged: HashSet<RunId> = acknowledged.lock().unwrap().drain(..).collect();
    tally.decisions += acknowledged.len();
    for run_id in &acknowledged {
        let decided = match db.get_run(run_id).await {
            Ok(run) => run.calls[0].approval.as_ref().map(|approval| approval.status),
            Err(Error::NotFound { .. }) => None,
            Err(error) => panic!("{error:?}"),
        };
        tally.lost += usize::from(decided != Some(ApprovalStatus::Approved));
    }
    for claim in &claims {
        let enter = || *effects.lock().unwrap().entry(claim.run_id.clone()).or_default() += 1;
        drive::to_its_end(&db, &claim.run_id, LEASE_MS, &enter).await;
    }
    tally.doubled += effects.lock().unwrap().values().map(|count| count - 1).sum::<usize>();
    history::check(&*db).await;
}

async fn failovers(count: usize) -> Tally {
    let (mut pair, mut tally) = (Pair::new().await, Tally::default());
    for seed in 0..count {
        round(&pair, seed as u64, &mut tally).await;
        if seed + 1 < count {
            pair = pair.next().await;
        }
    }
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedule_24_a_failover_without_the_standby_doubles_nothing_and_loses_no_decision() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let count = scale::of(20);
    let with = failovers(count).await;
    fail::cfg(fault::REPLICATED, "return").unwrap();
    let without = failovers(count).await;
    fail::remove(fault::REPLICATED);
    for (rule, tally) in [("with", &with), ("without", &without)] {
        let Tally { alone, doubled, decisions, lost } = tally;
        let what = format!("PostgreSQL, {count} failovers with the standby cut off, {rule} the rule");
        let starts = format!("{alone} bodies entered on the primary alone, {doubled} doubled");
        scale::figure(&what, format!("{starts}, {decisions} decisions acknowledged, {lost} lost"));
    }
    assert_eq!((with.alone, with.doubled, with.lost), (0, 0, 0), "{with:?}");
    assert!(without.doubled > 0, "without the rule, the same seeds show nothing: {without:?}");
}

static PAID: AtomicUsize = AtomicUsize::new(0);

/// Pay. An administrator decides.
#[approval]
#[tool]
async fn pay() -> String {
    PAID.fetch_add(1, Ordering::SeqCst);
    "paid".to_owned()
}

/// I19, I6: a claim whose commit waits for the standby enters no body; once the standby is back, the process that lives reads the
/// claim back, and uses it while its lease holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i6_a_claim_that_waits_for_a_standby_is_read_back_when_it_lasts() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let pair = Pair::new().await;
    let db = pair.open().await;
    let script = [kern::models::turn().tool_call("pay", json!({})), kern::models::turn().text("done")];
    let agent = Agent::builder().id("claims").model(ScriptedModel::new(script)).tools(tools![pay]);
    let agent = agent.lease(Duration::from_secs(30)).db(Arc::clone(&db)).build().unwrap();
    let run_id = agent.run("go").await.unwrap().run_id;
    let approval = db.get_run(&run_id).await.unwrap().calls[0].approval.clone().unwrap().id;
    db.update_approval(&approval, ApprovalStatus::Pending, Resolution::approved().by(APPROVER)).await.unwrap();
    let way = pair.cut().await;
    let going = tokio::spawn(agent.continue_run(&run_id).into_future());
    tokio::time::sleep(ALONE).await;
    assert!(!going.is_finished() && PAID.load(Ordering::SeqCst) == 0, "a body was entered before its claim lasts");
    pair.mend(&way).await;
    let run = going.await.unwrap().unwrap();
    assert_eq!((run.status, PAID.load(Ordering::SeqCst)), (RunStatus::Completed, 1));
    let entries = history::entries(&*db).await;
    let found =
        entries.iter().filter(|entry| entry.action == "claim_read_back").inspect(|entry| assert!(entry.evidence));
    assert!(found.count() >= 2, "the run, and the call that started with it");
    history::check(&*db).await;
}

/// The sessions that wait for a standby.
async fn waiting(admin: &tokio_postgres::Client) -> HashSet<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    admin.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_refused_and_the_primary_found_among_several() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let pair = Pair::new().await;
    drive::approved(&pair.open().await).await;
    let standby = pair.standby.address_as("kern", "postgres");
    let refused = PostgresDb::builder(&standby).busy_timeout(BUSY).open().await.unwrap_err();
    assert_eq!(refused.code(), "store_unavailable");
    assert!(told(&refused).contains("a standby"), "{}", told(&refused));
    // A program that only looks may say so.
    let look = PostgresDb::builder(format!("{standby}?target_session_attrs=any"));
    let look = look.existing().open().await.unwrap().into_db();
    assert_eq!(look.count_pending_approvals().await.unwrap(), 0);
    let refused = look.cancel_run(RunId::generate(), Caller::Anonymous).await.unwrap_err();
    assert!(told(&refused).contains("a standby"), "{}", told(&refused));
    let turned = Pair { primary: pair.standby, standby: pair.primary };
    assert_eq!(turned.open().await.count_pending_approvals().await.unwrap(), 0);
}

/// Two hosts drive a store, and the standby that takes over lacks what one of them has committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_lost_a_commit_is_shown_by_the_host_that_made_it() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let pair = Pair::new().await;
    let admin = pair.primary.connect("postgres").await;
    admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = ''").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let folder = Folder::in_memory();
    let host = async |name: &str| {
        let builder = PostgresDb::builder(pair.address()).busy_timeout(BUSY).mark(folder.file(name));
        builder.open().await.unwrap().into_db()
    };
    let (db, up_to_date) = (host("one").await, host("other").await);
    let run_id = drive::approved(&up_to_date).await;
    drive::approved(&db).await;
    let sql = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()";
    for _ in 0..1_000 {
        if admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pair.cut().await;
    drive::approved(&db).await;
    // This process ends with what it has seen; its mark lies on its host.
    db.close().await.unwrap();
    let lost = db.list_hosts().await.unwrap();
    assert_eq!(lost.len(), 1, "a host that ended in order is waited for no longer: {lost:?}");
    drive::approved(&db).await;
    drop(db);
    pair.fail_over().await;

    // The host that has seen nothing which the new primary lacks cannot know what the other one started.
    assert_eq!(up_to_date.get_run(&run_id).await.unwrap().run_id, run_id);
    let refused = loop {
        match up_to_date.begin_run(begin(&RunId::generate())).await {
            Err(error) if error.is_passing() => tokio::time::sleep(BUSY).await,
            outcome => break outcome.unwrap_err(),
        }
    };
    assert_eq!(refused.code(), "store_restored");
    assert!(told(&refused).contains("waiting for") && told(&refused).contains("kern hosts retire"), "{refused}");
    let hosts = up_to_date.list_hosts().await.unwrap();
    let silent = hosts.iter().find(|host| !host.compared).unwrap().id.clone();
    assert_eq!(hosts.len(), 2);
    let by = || Principal::unverified("root");
    let refused = up_to_date.retire_host(silent, by(), "it burnt down".to_owned()).await.unwrap_err();
    assert!(told(&refused).contains("may still drive runs"), "{refused}");

    // The other host comes back, and shows what is lost.
    let db = host("one").await;
    assert_eq!(db.store_status().await.unwrap().state, StoreState::Quarantined);
    assert_eq!(up_to_date.begin_run(begin(&RunId::generate())).await.unwrap_err().code(), "store_restored");
    assert_eq!(db.get_run(&run_id).await.unwrap().run_id, run_id, "everything can be read");
    let acceptance = || RestoreAcceptance::new(by(), "the standby was behind");
    while let RestoreAccepted::Waits { for_ms } = db.accept_restore(acceptance()).await.unwrap() {
        clock::set_ahead_ms(for_ms);
    }
    for db in [&db, &up_to_date] {
        db.begin_run(begin(&RunId::generate())).await.unwrap();
    }
    assert!(db.audit().verify().await.unwrap().is_intact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedule_24_no_session_that_waits_for_a_standby_is_ended_and_what_it_committed_counts_later() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let pair = Pair::new().await;
    let db = pair.open().await;
    let admin = pair.primary.connect("postgres").await;
    let run_id = drive::approved(&db).await;
    let fresh = claimed(&db).await;
    let (_, asked) = pending(&db).await;
    let agent = Agent::builder().id("a").model(ScriptedModel::new([])).db(Arc::clone(&db)).build().unwrap();
    let os = AgentOS::builder().agent(agent).without_worker().build().unwrap();
    let server = os.start("127.0.0.1:0").await.unwrap();
    let client = Client::of(server.address());
    let decide = || {
        let yes = json!({ "status": "approved", "resolved_by": APPROVER });
        client.request("POST", &format!("/approvals/{asked}/resolve")).json(&yes).send()
    };
    let way = pair.cut().await;
    // Over HTTP, as long as no other session waits for the standby.
    let answer = decide().await.unwrap();
    let after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((status, &body["code"], after.as_deref()), (503, &json!("commit_unknown"), Some("5")), "{body}");
    let over = Arc::new(AtomicBool::new(false));
    // Leases are renewed meanwhile, or not.
    let (renewing, ending, claim) = (Arc::clone(&db), Arc::clone(&over), fresh.clone());
    let renewals = tokio::spawn(async move {
        while !ending.load(Ordering::SeqCst) {
            if let Err(error) = renewing.renew_run(claim.clone(), LEASE_MS).await {
                assert!(error.is_passing(), "{error:?}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let (mut seen, mut ended) = (HashSet::new(), 0);
    let until = Instant::now() + Duration::from_secs(scale::of(60) as u64);
    while Instant::now() < until {
        // It is stopped from being decided twice, and from being told that it is.
        match db.cancel_run(run_id.clone(), Caller::Anonymous).await {
            Err(Error::CommitUnknown { .. } | Error::Busy { .. }) => {}
            other => panic!("{other:?}"),
        }
        let present = waiting(&admin).await;
        ended += seen.difference(&present).count();
        seen.extend(present);
    }
    assert!(!seen.is_empty(), "no session waited");
    assert_eq!(ended, 0, "sessions that waited were ended");
    pair.mend(&way).await;
    over.store(true, Ordering::SeqCst);
    renewals.await.unwrap();
    // What waited is stored now, and what was not known is on record.
    for _ in 0..1_000 {
        let noted = history::entries(&*db).await.iter().filter(|entry| entry.action == "commit_unknown").count();
        if noted > 0 && waiting(&admin).await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let entries = history::entries(&*db).await;
    let noted: Vec<_> = entries.iter().filter(|entry| entry.action == "commit_unknown").collect();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert!(noted[0].evidence && noted[0].payload["actions"][0] == "decide an approval", "{noted:?}");
    let again = decide().await.unwrap();
    assert_eq!(again.status().as_u16(), 409, "it was stored, and is found");
    let body: serde_json::Value = serde_json::from_str(&again.text().await.unwrap()).unwrap();
    assert_eq!(body["approval_status"], "approved", "{body}");
    // Nothing more is unknown.
    let later = drive::approved(&db).await;
    let approval = db.get_run(&later).await.unwrap().calls[0].approval.clone().unwrap();
    let twice = db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by(APPROVER)).await;
    assert!(matches!(twice, Err(Error::Conflict { .. })), "{twice:?}");
    history::check(&*db).await;
    let seconds = scale::of(60);
    let what = format!("{} sessions waited, {ended} ended by kern", seen.len());
    scale::figure(&format!("PostgreSQL, a standby cut off for {seconds} s"), what);
}
