//! Messages about trouble with a server: the cause, a way out, and no secret.

use std::time::Duration;

use kern::models::ScriptedModel;
use kern::os::AgentOS;
use kern::prelude::*;
use kern_db::{Caller, Error, IntoDb as _, PostgresDb, RunId};
use kern_tests::certificate::Certificate;
use kern_tests::http::Client;
use kern_tests::postgres::{Server, server};
use kern_tests::steps::{Store, begin, required};
use serde_json::json;

/// An error with all its causes, none of which shows the password.
fn told(error: &Error) -> String {
    let text = kern_tests::postgres::told(error);
    assert!(!text.contains("hunter2"), "{text}");
    text
}

/// What a write says, to a program and over HTTP, once something stands against it.
async fn refused_by(against: &str, code: &str, named: &str) {
    let store = Store::on_postgres().await;
    let approval_id = {
        let run_id = store.paused(&[required()]).await;
        store.approval_id(&run_id, 0).await
    };
    let db = store.shared();
    let agent = Agent::builder().id("a").model(ScriptedModel::new([])).db(db.clone()).build().unwrap();
    let server = AgentOS::builder().agent(agent).without_worker().build().unwrap().start("127.0.0.1:0").await.unwrap();
    store.database().raw().await.batch_execute(against).await.unwrap();
    let error = db.begin_run(begin(&RunId::generate())).await.unwrap_err();
    let said = told(&error);
    assert!(error.code() == code && said.contains(named), "`{against}`: {} {said}", error.code());
    let yes = json!({ "status": "approved", "resolved_by": "bob" });
    let path = format!("/approvals/{approval_id}/resolve");
    let answer = Client::of(server.address()).json(&path, &yes).await;
    assert_eq!((answer.status, answer.code()), (500, code), "`{against}`: {answer:?}");
    assert!(!answer.body.to_string().contains("cannot be reached"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_against_a_write_is_named_and_is_not_a_server_that_cannot_be_reached() {
    let constraint = "ALTER TABLE kern_runs ADD CONSTRAINT nothing_new CHECK (false) NOT VALID;
         ALTER TABLE kern_approvals ADD CONSTRAINT nothing_new CHECK (false) NOT VALID";
    refused_by(constraint, "store_refused", "nothing_new").await;
    refused_by("ALTER TABLE kern_runs RENAME COLUMN owner TO holder", "store_corrupt", "owner").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named() {
    let store = Store::on_postgres().await;
    let name = store.database().name();
    let role = format!("reader_{name}");
    let grants = format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {name} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO {role}"
    );
    store.database().raw().await.batch_execute(&grants).await.unwrap();
    let db = PostgresDb::open(store.database().address_as(&role)).await.unwrap().into_db();
    let error = db.begin_run(begin(&RunId::generate())).await.unwrap_err();
    let said = told(&error);
    assert!(error.code() == "store_refused" && said.contains("kern_hosts") && said.contains("grant"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_path_without_a_schema_is_named_by_kern() {
    let address = format!("{}?options=-c%20search_path%3Dnowhere", server().address_as("kern:hunter2", "postgres"));
    for existing in [false, true] {
        let builder = PostgresDb::builder(&address);
        let opened = if existing { builder.existing().open().await } else { builder.open().await };
        let error = opened.unwrap_err();
        let said = told(&error);
        assert!(error.code() == "invalid" && said.contains("`nowhere`") && said.contains("CREATE SCHEMA"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_unknown_authority_is_explained_with_both_ways_out() {
    let folder = kern_tests::folder::Folder::new();
    let Certificate { key, file: certificate } = Certificate::new(&folder);
    let server = Server::start_with_tls(&key, &certificate);
    let at = |more: &str| format!("postgres://kern:hunter2@localhost:{}/postgres{more}", server.port());
    for more in ["", "?sslmode=require"] {
        let builder = PostgresDb::builder(at(more)).busy_timeout(Duration::from_millis(50));
        let said = told(&builder.open().await.unwrap_err());
        assert!(said.contains("sslrootcert=") && said.contains("sslmode=disable"), "{said}");
    }
    for way_out in [format!("?sslrootcert={}", certificate.display()), "?sslmode=disable".to_owned()] {
        PostgresDb::open(at(&way_out)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_runs_notices_that_a_newer_kern_has_changed_the_schema() {
    let store = Store::on_postgres().await;
    let db = store.shared();
    db.begin_run(begin(&RunId::generate())).await.unwrap();
    let newer = "INSERT INTO kern_migrations VALUES (4711, 'x', 'x', 0)";
    store.database().raw().await.batch_execute(newer).await.unwrap();
    let refused = db.begin_run(begin(&RunId::generate())).await.unwrap_err();
    assert_eq!(refused.code(), "store_newer");
    let refused = db.cancel_run(RunId::generate(), Caller::Anonymous).await.unwrap_err();
    assert_eq!(refused.code(), "store_newer");
    // Sessions that are made from now on do not even read.
    store.database().terminate().await;
    let refused = db.count_pending_approvals().await.unwrap_err();
    assert_eq!(refused.code(), "store_newer");
}

/// The settings of kern's own session, as a statement in it sees them.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_looks_after_its_end_of_every_connection() {
    let folder = kern_tests::folder::Folder::new();
    let Certificate { key, file: certificate } = Certificate::new(&folder);
    let server = Server::start_with_tls(&key, &certificate);
    let address = format!("postgres://kern@localhost:{}/postgres?sslmode=disable", server.port());
    let db = PostgresDb::open(&address).await.unwrap().into_db();
    let listening = tokio::spawn({
        let db = db.clone();
        async move { db.changed().await }
    });
    db.begin_run(begin(&RunId::generate())).await.unwrap();
    let admin = server.connect("postgres").await;
    // The kernel's own word for each socket of the server: which timer runs, and for how many hundredths of a second.
    let of_kern = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kern'";
    let port = format!(":{:04X}", server.port());
    for _ in 0..500 {
        let sessions: i64 = admin.query_one(of_kern, &[]).await.unwrap().get(0);
        let table = std::fs::read_to_string("/proc/net/tcp").expect("this test needs Linux");
        let of_server = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let of_server = of_server.filter(|line| line[1].ends_with(&port) && line[3] == "01");
        let timers: Vec<String> = of_server.map(|line| line[5].to_owned()).collect();
        // The default of the system is two hours; kern's is ten seconds.
        let kept = |timer: &String| {
            timer.split_once(':').is_some_and(|(kind, left)| {
                kind == "02" && u64::from_str_radix(left, 16).is_ok_and(|left| left <= 1_000)
            })
        };
        // The first one and the one that listens, at least.
        if sessions >= 2 && timers.len() >= 2 && timers.iter().all(kept) {
            listening.abort();
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("sessions whose end would not be noticed");
}
