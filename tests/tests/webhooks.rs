//! Webhooks: what happens is told to receivers, signed, at least once, and nobody waits for them.

#![allow(clippy::unwrap_used, reason = "in a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kern::db::{ApprovalStatus, Db, Delivery, DeliveryFilter, DeliveryStatus};
use kern::models::{ScriptedModel, turn};
use kern::os::{AgentOS, OsServer, Webhook};
use kern::prelude::*;
use kern_tests::certificate::Certificate;
use kern_tests::children::Worker;
use kern_tests::folder::Folder;
use kern_tests::receiver::{Received, Receiver, Reply};
use kern_tests::store::Store;
use kern_tests::tools::delete_user;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER_SECRET: &str = "whsec_bm90IHRoZSBzZWNyZXQgdGhhdCB3YXMgdXNlZA==";
/// A wait before the next attempt that no test waits for.
const NEVER: Duration = Duration::from_secs(3600);
const ARGUMENT: &str = "u-whose-id-is-nobodys-business";

fn agent(db: impl kern::db::IntoDb) -> Agent {
    let call = turn().tool_call("delete_user", json!({ "user_id": ARGUMENT }));
    let turns = (0..50).flat_map(|_| [call.clone(), turn().text("done")]);
    Agent::builder().id("a").model(ScriptedModel::new(turns)).tools(tools![delete_user]).db(db).build().unwrap()
}

/// The webhook of a receiver on this machine, which is tried again soon.
fn webhook(receiver: &Receiver) -> Webhook {
    let soon = Duration::from_millis(20);
    Webhook::new(&receiver.url(), SECRET).unwrap().allow_private_addresses().retries([soon, soon, soon])
}

async fn serve(agent: &Agent, webhooks: impl IntoIterator<Item = Webhook>) -> OsServer {
    let os = AgentOS::builder().agent(agent.clone()).without_worker();
    let os = webhooks.into_iter().fold(os, |os, webhook| os.webhook(webhook));
    os.build().unwrap().start("127.0.0.1:0").await.unwrap()
}

async fn paused(agent: &Agent) -> RunOutput {
    agent.run("go").user_id("alice").await.unwrap()
}

/// Approves the only call of a run.
async fn approve(db: &dyn Db, run: &RunOutput) {
    let waiting = kern::db::ApprovalFilter::new().run_id(&run.run_id);
    let approval = db.list_approvals(waiting).await.unwrap().data.remove(0);
    db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await.unwrap();
}

/// Waits until so many deliveries are this far.
async fn until(db: &dyn Db, status: DeliveryStatus, count: usize) -> Vec<Delivery> {
    let begun = Instant::now();
    loop {
        let found = db.list_deliveries(DeliveryFilter::new().status(status)).await.unwrap();
        if found.len() == count {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{count} {status}: {found:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn verify(received: &Received, secret: &str) -> Result<(), standardwebhooks::WebhookError> {
    standardwebhooks::Webhook::new(secret).unwrap().verify(&received.body, &received.headers)
}

fn topics(received: &[Received]) -> Vec<String> {
    let mut topics: Vec<_> = received.iter().map(Received::topic).collect();
    topics.sort();
    topics
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_comes_signed_with_ids_and_states_and_nothing_else() {
    let (store, receiver) = (Store::new().await, Receiver::new().await);
    let agent = agent(store.db.clone());
    let server = serve(&agent, [webhook(&receiver).older_secret(OTHER_SECRET).unwrap()]).await;
    let run = paused(&agent).await;
    receiver.wait_for(2).await;
    approve(&store.db, &run).await;
    let received = receiver.wait_for(3).await;
    assert_eq!(topics(&received), ["approval.approved", "approval.requested", "run.paused"]);
    let approval = &store.approvals(&run.run_id).await[0];
    for received in &received {
        verify(received, SECRET).unwrap();
        verify(received, OTHER_SECRET).unwrap();
        assert!(verify(received, "whsec_bmVpdGhlciBvZiB0aGUgdHdvIG90aGVycw==").is_err());
        let mut changed = received.clone();
        changed.body.push(b' ');
        assert!(verify(&changed, SECRET).is_err());
        let text = String::from_utf8(received.body.clone()).unwrap();
        assert!(!text.contains(ARGUMENT) && !text.contains("alice") && !text.contains("bob"), "{text}");
        assert_eq!(received.header("content-type"), "application/json");

        let body = received.json();
        let happened: jiff::Timestamp = body["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(happened.duration_until(jiff::Timestamp::now()).as_secs() < 60, "{body}");
        let about_run = json!({ "run_id": run.run_id, "session_id": run.session_id, "agent_id": "a" });
        let mut data = about_run;
        let status = match received.topic().as_str() {
            "run.paused" => "PAUSED",
            topic => {
                data["approval_id"] = json!(approval.id);
                data["tool_name"] = json!("delete_user");
                if topic == "approval.approved" { "approved" } else { "pending" }
            }
        };
        data["status"] = json!(status);
        assert_eq!(body["data"], data);
        assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    }
    let delivered = until(&store.db, DeliveryStatus::Delivered, 3).await;
    let ids: BTreeSet<_> = delivered.iter().map(|delivery| delivery.event_id.as_str()).collect();
    assert_eq!(ids, received.iter().map(Received::id).collect());
    assert!(delivered.iter().all(|delivery| delivery.outcome.as_deref() == Some("204")));
    assert_eq!(store.count("outbox"), 0, "what is handed over is gone");
    assert!(store.db.audit().verify().await.unwrap().is_intact());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_sent_again_under_the_same_id_until_it_is_taken() {
    let store = Store::new().await;
    let receiver = Receiver::answering(|before, _| match before {
        0 => Reply::status(500),
        1 => Reply::Status(302, "location: http://127.0.0.1:1/elsewhere\r\n".to_owned()),
        2 => Reply::status(429),
        _ => Reply::status(200),
    });
    let receiver = receiver.await;
    let agent = agent(store.db.clone());
    let server = serve(&agent, [webhook(&receiver).topics(["approval.requested"])]).await;
    paused(&agent).await;
    let received = receiver.wait_for(4).await;
    let delivered = until(&store.db, DeliveryStatus::Delivered, 1).await.remove(0);
    assert_eq!((delivered.attempts, delivered.outcome.as_deref()), (4, Some("200")));
    assert!(received.iter().all(|received| received.id() == delivered.event_id), "one id for all attempts");
    assert!(received.iter().all(|other| other.body == received[0].body), "and one body");
    received.iter().for_each(|received| verify(received, SECRET).unwrap());
    server.shutdown().await;
    assert_eq!(receiver.received().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_or_fails_too_often_is_given_up_and_that_is_on_record() {
    let store = Store::new().await;
    let gone = Receiver::answering(|_, _| Reply::status(410)).await;
    let broken = Receiver::answering(|_, _| Reply::status(503)).await;
    let agent = agent(store.db.clone());
    let topics = ["approval.requested"];
    let webhooks = [webhook(&gone).name("gone").topics(topics), webhook(&broken).name("broken").topics(topics)];
    let server = serve(&agent, webhooks).await;
    paused(&agent).await;
    let given_up = until(&store.db, DeliveryStatus::GivenUp, 2).await;
    let of = |name: &str| given_up.iter().find(|delivery| delivery.webhook == name).unwrap();
    assert_eq!((of("gone").attempts, of("gone").outcome.as_deref()), (1, Some("410")));
    assert_eq!((of("broken").attempts, of("broken").outcome.as_deref()), (4, Some("503")));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((gone.received().len(), broken.received().len()), (1, 4));
    let client = kern_tests::http::Client::of(server.address());
    let metrics = client.get("/metrics").await;
    let metrics = metrics.body.as_str().unwrap();
    for line in [
        r#"kern_webhook_deliveries{webhook="broken",status="given_up"} 1"#,
        r#"kern_webhook_deliveries{webhook="gone",status="given_up"} 1"#,
        r#"kern_webhook_deliveries{webhook="gone",status="pending"} 0"#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_is_waited_for() {
    let store = Store::new().await;
    let receiver = Receiver::answering(|before, _| match before {
        0 => Reply::Status(503, "retry-after: 2\r\n".to_owned()),
        _ => Reply::status(200),
    });
    let receiver = receiver.await;
    let agent = agent(store.db.clone());
    let server = serve(&agent, [webhook(&receiver).topics(["run.paused"])]).await;
    paused(&agent).await;
    receiver.wait_for(1).await;
    let begun = Instant::now();
    receiver.wait_for(2).await;
    assert!(begun.elapsed() > Duration::from_millis(1800), "{:?}", begun.elapsed());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_never_answers_delays_nobody() {
    let store = Store::new().await;
    let silent = Receiver::answering(|_, _| Reply::Silence).await;
    let endless = Receiver::answering(|_, _| Reply::Endless(200)).await;
    let good = Receiver::new().await;
    let agent = agent(store.db.clone());
    let webhooks = [
        webhook(&silent).name("silent").timeout(Duration::from_secs(2)).retries([NEVER]),
        webhook(&endless).name("endless"),
        webhook(&good).name("good"),
    ];
    let server = serve(&agent, webhooks).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let run = paused(&agent).await;
        let begun = Instant::now();
        approve(&store.db, &run).await;
        slowest = slowest.max(begun.elapsed());
    }
    let begun = Instant::now();
    good.wait_for(30).await;
    let (told, decided) = (begun.elapsed(), slowest);
    println!("30 events were told {told:?} after the last decision; the slowest decision took {decided:?}");
    // Two requests to the silent one, one after the other, would take as long.
    assert!(told < Duration::from_secs(4) && decided < Duration::from_secs(2), "{told:?} {decided:?}");
    endless.wait_for(30).await;
    let delivered = async || {
        let filter = DeliveryFilter::new().status(DeliveryStatus::Delivered);
        store.db.list_deliveries(filter).await.unwrap().len()
    };
    while delivered().await < 60 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let waits = store.db.list_deliveries(DeliveryFilter::new().webhook("silent")).await.unwrap();
    assert!(waits.len() == 30 && waits.iter().all(|delivery| delivery.status == DeliveryStatus::Pending));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_that_is_never_taken_keeps_no_other_from_being_told() {
    let store = Store::new().await;
    let receiver = Receiver::answering(|_, received| match received.topic().as_str() {
        "run.paused" => Reply::status(500),
        _ => Reply::status(204),
    });
    let receiver = receiver.await;
    let agent = agent(store.db.clone());
    let server = serve(&agent, [webhook(&receiver).retries([NEVER])]).await;
    for _ in 0..20 {
        paused(&agent).await;
    }
    until(&store.db, DeliveryStatus::Delivered, 20).await;
    let waits = until(&store.db, DeliveryStatus::Pending, 20).await;
    assert!(waits.iter().all(|delivery| delivery.topic == "run.paused"));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_no_server_runs_is_told_at_the_next_start_and_what_was_before_the_first_is_not() {
    let (store, receiver) = (Store::new().await, Receiver::new().await);
    let agent = agent(store.db.clone());
    paused(&agent).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    serve(&agent, [webhook(&receiver)]).await.shutdown().await;
    let run = paused(&agent).await;
    approve(&store.db, &run).await;
    let server = serve(&agent, [webhook(&receiver)]).await;
    let received = receiver.wait_for(3).await;
    assert_eq!(topics(&received), ["approval.approved", "approval.requested", "run.paused"]);
    assert!(received.iter().all(|received| received.json()["data"]["run_id"] == json!(run.run_id)));
    server.shutdown().await;
    assert_eq!(receiver.received().len(), 3);
}

/// Starts servers on several connections to one store, and tells once what happens.
async fn replicas(stores: Vec<std::sync::Arc<dyn Db>>) {
    let receiver = Receiver::new().await;
    let agents: Vec<_> = stores.iter().map(|db| agent(std::sync::Arc::clone(db))).collect();
    let mut servers = Vec::new();
    for agent in &agents {
        servers.push(serve(agent, [webhook(&receiver).name("w")]).await);
    }
    let mut runs = Vec::new();
    for round in 0..20 {
        let run = paused(&agents[round % agents.len()]).await;
        approve(&*stores[(round + 1) % stores.len()], &run).await;
        runs.push(run);
    }
    receiver.wait_for(60).await;
    until(&*stores[0], DeliveryStatus::Delivered, 60).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for received in receiver.received() {
        *times.entry(received.id().to_owned()).or_default() += 1;
    }
    assert_eq!(times.len(), 60);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    for server in servers {
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_servers_on_one_file_tell_each_event_once() {
    let store = Store::new().await;
    let second = store.again().await;
    replicas(vec![kern::db::IntoDb::into_db(store.db.clone()), kern::db::IntoDb::into_db(second)]).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_servers_on_postgresql_tell_each_event_once() {
    let database = kern_tests::postgres::server().database().await;
    let (one, other) = (database.open().await, database.open().await);
    replicas(vec![kern::db::IntoDb::into_db(one), kern::db::IntoDb::into_db(other)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_by_a_process_that_is_killed_before_it_notes_it_is_sent_again_under_the_same_id() {
    let store = Store::new().await;
    // Nobody answers the first request, so that nobody notes it.
    let receiver = Receiver::answering(|before, _| if before == 0 { Reply::Silence } else { Reply::status(200) }).await;
    let (path, url) = (store.path(), receiver.url());
    let words: [&dyn AsRef<std::ffi::OsStr>; 6] = [&"tell", &"delete", &"200", &path, &url, &SECRET];
    let mut child = Worker::start(env!("CARGO_BIN_EXE_kern-path-worker"), &store.folder.file("ledger"), &words);
    assert_eq!(child.line(), "serving");
    let agent = agent(store.db.clone());
    paused(&agent).await;
    let first = receiver.wait_for(1).await.remove(0);
    assert_eq!(child.kill(), [] as [&str; 0]);
    let pending = store.db.list_deliveries(DeliveryFilter::new()).await.unwrap();
    assert_eq!((pending[0].status, pending[0].attempts), (DeliveryStatus::Pending, 1));

    let server = serve(&agent, [webhook(&receiver).name("w").topics(["approval.requested"])]).await;
    let received = receiver.wait_for(2).await;
    assert_eq!((received[1].id(), &received[1].body), (first.id(), &first.body));
    verify(&received[1], SECRET).unwrap();
    let delivered = until(&store.db, DeliveryStatus::Delivered, 1).await;
    assert_eq!((delivered[0].attempts, delivered[0].event_id.as_str()), (2, first.id()));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_https_only_a_receiver_whose_certificate_counts_is_told() {
    let folder = Folder::new();
    let certificate = Certificate::new(&folder);
    for (host, trusted, is_told) in [("localhost", true, true), ("localhost", false, false), ("127.0.0.1", true, false)]
    {
        let (store, receiver) = (Store::new().await, Receiver::over_tls(&certificate).await);
        let (path, url) = (store.path(), format!("https://{host}:{}/hook", receiver.address.port()));
        let words: [&dyn AsRef<std::ffi::OsStr>; 6] = [&"tell", &"delete", &"200", &path, &url, &SECRET];
        let file = certificate.file.to_str().unwrap();
        let variable = trusted.then_some(("SSL_CERT_FILE", file));
        let program = env!("CARGO_BIN_EXE_kern-path-worker");
        let mut child = Worker::start_with(program, &store.folder.file("ledger"), &words, variable);
        assert_eq!(child.line(), "serving");
        paused(&agent(store.db.clone())).await;
        if is_told {
            let received = receiver.wait_for(1).await.remove(0);
            verify(&received, SECRET).unwrap();
            until(&store.db, DeliveryStatus::Delivered, 1).await;
            continue;
        }
        let begun = Instant::now();
        let outcome = loop {
            let noted = store.db.list_deliveries(DeliveryFilter::new()).await.unwrap();
            if let Some(outcome) = noted.first().and_then(|delivery| delivery.outcome.clone()) {
                break outcome;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{noted:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(outcome, "no_connection", "{host}");
        assert!(receiver.received().is_empty(), "nothing was told to {host}");
        until(&store.db, DeliveryStatus::Pending, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_secret_nor_the_address_is_stored_or_shown() {
    let (store, receiver) = (Store::new().await, Receiver::answering(|_, _| Reply::status(500)).await);
    let agent = agent(store.db.clone());
    let webhook = webhook(&receiver).older_secret(OTHER_SECRET).unwrap();
    let builder = AgentOS::builder().agent(agent.clone()).webhook(webhook.clone());
    let shown = format!("{webhook:?} {builder:?} {:?}", builder);
    let server = serve(&agent, [webhook]).await;
    let shown = format!("{shown} {server:?}");
    paused(&agent).await;
    until(&store.db, DeliveryStatus::GivenUp, 2).await;
    server.shutdown().await;

    let mut places = vec![("what is shown".to_owned(), shown.into_bytes())];
    for file in std::fs::read_dir(store.path().parent().unwrap()).unwrap() {
        let file = file.unwrap().path();
        places.push((file.display().to_string(), std::fs::read(file).unwrap()));
    }
    assert!(places.len() >= 2);
    for (place, bytes) in places {
        let secrets = [SECRET, OTHER_SECRET].map(|secret| secret.strip_prefix("whsec_").unwrap());
        for secret in secrets.into_iter().chain(["whsec_", "s3cret-of-the-address", "/hook"]) {
            let held = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!held, "{place} holds {secret}");
        }
    }
}

#[tokio::test]
async fn what_may_not_be_told_is_not_built() {
    let folder = Folder::new();
    let agent = agent(kern::db::SqliteDb::open(folder.file("app.db")).await.unwrap());
    let https = |host: &str| Webhook::new(&format!("https://{host}/hook"), SECRET).unwrap();
    let said = |webhooks: Vec<Webhook>| {
        let os = webhooks.into_iter().fold(AgentOS::builder().agent(agent.clone()), |os, webhook| os.webhook(webhook));
        os.build().map(drop).map_err(|error| (error.code(), error.to_string()))
    };
    said(vec![https("example.com"), https("example.org")]).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "10.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "0.0.0.0",
        "localhost",
    ] {
        let (code, text) = said(vec![https(host)]).unwrap_err();
        assert!(code == "setup" && text.contains("allow_private_addresses"), "{host}: {text}");
        said(vec![https(host).allow_private_addresses()]).unwrap();
    }
    let plain = Webhook::new("http://example.com/hook", SECRET).unwrap();
    assert!(said(vec![plain]).unwrap_err().1.contains("HTTPS"));
    let twice = said(vec![https("example.com").name("w"), https("example.org").name("w")]).unwrap_err().1;
    assert!(twice.contains("two webhooks have the name `w`"), "{twice}");
    for (url, secret) in [
        ("https://example.com", "secret"),
        ("https://example.com", "whsec_c2hvcnQ="),
        ("example.com", SECRET),
        ("https://me:hunter2@example.com", SECRET),
    ] {
        let error = Webhook::new(url, secret).unwrap_err();
        assert_eq!(error.code(), "setup");
        assert!(!error.to_string().contains("hunter2") && !error.to_string().contains("c2hv"), "{error}");
    }
}
