//! Another process for the tests of stores: does one thing to one file, and says on its standard output what came of it. Or
//! checks one token, with the certificates that its environment names.

use std::io::{BufRead, Write};
use std::path::Path;

use kern::identity::TokenVerifier;
use kern::os::AgentOS;
use kern::prelude::*;
use kern_db::{
    ApprovalStatus, CallClaimed, Caller, ClaimCall, ClaimRun, Db, Ended, Error, IntoDb, Resolution, RunClaimed, RunId,
    RunStatus, SqliteDb,
};
use kern_tests::obedient::Obedient;
use kern_tests::steps::{LONG, begin, end};
use kern_tests::tools::{delete_user, lookup, restart};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    #[cfg(feature = "postgres")]
    if let [mode, address, busy_ms] = arguments.as_slice()
        && mode == "drive"
    {
        return drive(address, busy_ms.parse().expect("milliseconds")).await;
    }
    if let [mode, url, issuer, audience, token] = arguments.as_slice()
        && mode == "token"
    {
        let tokens = TokenVerifier::builder(issuer, audience).jwks_url(url.as_str()).build();
        let verified = tokens.expect("the address may be asked").verify(token).await;
        return say(&verified.map_or_else(|error| error.to_string(), |identity| identity.principal.subject));
    }
    let [mode, path] = arguments.as_slice() else { panic!("usage: kern-test-worker write|fill|race|serve FILE") };
    let outcome = match mode.as_str() {
        "write" => write(path).await.map(|()| "ok".to_owned()),
        "fill" => return fill(path).await,
        "serve" => return serve(path).await,
        "race" => race(path).await.map(|()| "done".to_owned()),
        other => panic!("`{other}` is no mode"),
    };
    match outcome {
        Ok(word) => say(&word),
        Err(error) => say(error.code()),
    }
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("somebody listens");
}

/// Opens the file and starts a run.
async fn write(path: &str) -> Result<(), Error> {
    let db = SqliteDb::open(path).await?;
    start(&db, "{}".to_owned()).await
}

async fn start(db: &dyn Db, snapshot: String) -> Result<(), Error> {
    let mut request = begin(&RunId::generate());
    request.snapshot = snapshot;
    db.begin_run(request).await.map(drop)
}

/// Starts runs until the store takes no more, then one that is small. Says how many were acknowledged, and why it ended.
async fn fill(path: &str) {
    let db = SqliteDb::open(path).await.expect("the file opens");
    let mut acknowledged = 0;
    let error = loop {
        match start(&db, "x".repeat(64 * 1024)).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "the store is never full");
    };
    say(&format!("{acknowledged} {}", error.code()));
}

/// Serves an agent on the file and says where. For each line of standard input it says how many KiB of it are in memory; it
/// ends with its input.
async fn serve(path: &str) {
    let db = SqliteDb::open(path).await.expect("the file opens");
    let agent = Agent::builder().id("a").model(Obedient).tools(tools![lookup, restart, delete_user]).db(db).build();
    let os = AgentOS::builder().agent(agent.expect("the agent is right")).build().expect("it is right");
    let server = os.start("127.0.0.1:0").await.expect("it is served");
    say(&server.address().to_string());
    let lines = || {
        for _ in std::io::stdin().lock().lines() {
            let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says so");
            say(resident.trim_end_matches("kB").trim());
        }
    };
    tokio::task::spawn_blocking(lines).await.expect("it reads its input");
    server.shutdown().await;
}

/// Reads run ids from standard input. Tries to approve, claim, start and finish each of them. A body that is entered
/// leaves a line in `bodies` beside the file.
async fn race(path: &str) -> Result<(), Error> {
    let db = SqliteDb::open(path).await?.into_db();
    let bodies = Path::new(path).with_file_name("bodies");
    let me = format!("process {}", std::process::id());
    for line in std::io::stdin().lock().lines() {
        let run_id = RunId::from(line.expect("standard input is text"));
        let run = db.get_run(&run_id).await?;
        let approval = run.calls[0].approval.as_ref().expect("the call needs an approval");
        let resolution = Resolution::approved().by(me.as_str());
        match db.update_approval(&approval.id, ApprovalStatus::Pending, resolution).await {
            Ok(_) => say(&format!("{run_id} approved")),
            Err(Error::Conflict { .. }) => say(&format!("{run_id} conflict")),
            Err(error) => return Err(error),
        }
        let request = ClaimRun {
            run_id: run_id.clone(),
            fence: run.fence,
            turn: run.turn,
            loaded: run.loaded.clone(),
            caller: Caller::Worker,
            lease_ms: LONG,
            owner: kern_db::OwnerToken::fresh(),
        };
        let claim = match db.claim_run(request).await? {
            RunClaimed::Claimed(claim) => claim,
            RunClaimed::AlreadyRunning | RunClaimed::NotPaused(RunStatus::Completed) => {
                say(&format!("{run_id} lost"));
                continue;
            }
            other => panic!("{other:?}"),
        };
        let request =
            ClaimCall { claim: claim.clone(), turn: 1, index: 0, lease_ms: LONG, owner: kern_db::OwnerToken::fresh() };
        match db.claim_call(request).await? {
            CallClaimed::Claimed(call) => {
                let mut file = std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&bodies)
                    .expect("the folder is writable");
                writeln!(file, "{run_id}").expect("the file is writable");
                db.finish_call(call.ticket(), Ended::Succeeded(me.clone()), Vec::new()).await?;
            }
            other => panic!("{other:?}"),
        }
        db.end_run(end(&claim, RunStatus::Completed)).await?;
        say(&format!("{run_id} ran"));
    }
    Ok(())
}

/// Reads run ids from standard input, and drives each to its end on PostgreSQL. A body that is entered leaves a line in the
/// ledger.
#[cfg(feature = "postgres")]
async fn drive(address: &str, busy_ms: u64) {
    use std::time::Duration;

    let ledger = std::env::var_os(kern_tests::ledger::FILE).expect("there is a ledger");
    let busy = Duration::from_millis(busy_ms);
    let db = loop {
        let opened =
            kern_db::PostgresDb::builder(address).busy_timeout(busy).max_connections(2).existing().open().await;
        match opened {
            Ok(db) => break db.into_db(),
            Err(error) if error.is_passing() => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error:?}"),
        }
    };
    for line in std::io::stdin().lock().lines() {
        let run_id = RunId::from(line.expect("standard input is text"));
        let enter = || {
            let mut file =
                std::fs::OpenOptions::new().create(true).append(true).open(&ledger).expect("it can be opened");
            file.write_all(format!("{run_id}\n").as_bytes()).expect("the ledger can be written");
            file.sync_all().expect("the ledger reaches the disk");
        };
        let lease_ms = i64::try_from(busy_ms * 4).expect("a short lease");
        kern_tests::drive::to_its_end(&db, &run_id, lease_ms, &enter).await;
        say(run_id.as_str());
    }
}
