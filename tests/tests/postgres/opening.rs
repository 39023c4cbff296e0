//! Opening: addresses, what is there already, what is missing, and who may come in.

use std::time::Duration;

use kern_db::{Db as _, Error, IntoDb as _, PostgresDb, Principal, RunFilter, RunId};
use kern_tests::certificate::Certificate;
use kern_tests::postgres::{Server, server};
use kern_tests::steps::{Store, begin, required};

fn code<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    match outcome {
        Ok(value) => panic!("it was to be refused: {value:?}"),
        Err(error) => error.code(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_is_not_made_by_who_only_looks() {
    let empty = server().database().await;
    let look = |address: String| async { PostgresDb::builder(address).existing().open().await };
    assert_eq!(code(look(empty.address()).await), "store_missing");
    assert_eq!(code(look(server().address_as("kern", "nowhere")).await), "store_missing");
    assert_eq!(
        empty
            .raw()
            .await
            .query("SELECT 1 FROM pg_tables WHERE schemaname = current_schema()", &[])
            .await
            .unwrap()
            .len(),
        0
    );
    empty.open().await;
    look(empty.address()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_open_an_empty_database_at_once_make_one_store() {
    let database = server().database().await;
    let opening: Vec<_> = (0..6)
        .map(|_| {
            let address = database.address();
            tokio::spawn(async move { PostgresDb::open(address).await })
        })
        .collect();
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
    let applied = database.raw().await.query("SELECT 1 FROM kern_migrations", &[]).await.unwrap().len();
    assert_eq!(applied, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_the_tables_are_recorded_in_the_database() {
    let database = server().database().await;
    let named = PostgresDb::builder(database.address()).approvals_table("wishes").audit_table("kern_Log");
    let db = named.open().await.unwrap().into_db();
    let store = Store::around(db);
    store.paused(&[required()]).await;
    let raw = database.raw().await;
    let count: i64 = raw.query_one("SELECT count(*) FROM wishes", &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
    // Who names none finds them; who names others is told.
    let again = database.open().await;
    assert_eq!(again.count_pending_approvals().await.unwrap(), 1);
    kern_tests::history::check(&again).await;
    let other = PostgresDb::builder(database.address()).approvals_table("kern_approvals").open().await;
    assert_eq!(code(other), "invalid");
    let clash = server().database().await;
    clash.raw().await.batch_execute("CREATE VIEW kern_runs AS SELECT 1").await.unwrap();
    assert_eq!(code(PostgresDb::open(clash.address()).await), "invalid");
    for name in ["pg_runs", "a b", "\"a\"", "a;drop"] {
        assert_eq!(code(PostgresDb::builder(clash.address()).runs_table(name).open().await), "invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_not_this_builds_is_told_by_what_is_wrong() {
    for (tamper, expected) in [
        ("UPDATE kern_migrations SET version = version - 1", "store_too_old"),
        ("DELETE FROM kern_migrations", "store_too_old"),
        ("INSERT INTO kern_migrations VALUES (4711, 'x', 'x', 0)", "store_newer"),
        ("UPDATE kern_migrations SET checksum = 'x'", "store_corrupt"),
        ("DROP TABLE kern_outbox", "store_corrupt"),
        ("DROP TABLE kern_outbox; CREATE VIEW kern_outbox AS SELECT 1", "store_corrupt"),
        ("DROP TABLE kern_names", "store_corrupt"),
        ("UPDATE kern_names SET word = 'x' WHERE word = 'runs'", "store_corrupt"),
        ("ALTER TABLE kern_migrations DROP COLUMN checksum", "store_corrupt"),
    ] {
        let database = server().database().await;
        database.open().await;
        database.raw().await.batch_execute(tamper).await.unwrap();
        assert_eq!(code(PostgresDb::builder(database.address()).existing().open().await), expected, "`{tamper}`");
    }
}

/// Text with a NUL in it is no text for PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn runs_are_found_by_whoever_asked_for_them() {
    let database = server().database().await;
    let store = Store::around(database.open().await.into_db());
    let users = ["ana", "a\0b", "\u{1}", "\u{1}0\0\0", "\\u0000", "\\\0", "\"é\u{10ffff}"];
    for user in users {
        let mut request = begin(&RunId::generate());
        request.requester = Some(Principal::unverified(user));
        let claim = store.begin_run(request).await.unwrap();
        store.complete(&claim).await.unwrap();
    }
    let again = Store::around(database.open().await.into_db());
    for user in users {
        let found = again.list_runs(RunFilter::new().user_id(user)).await.unwrap();
        assert_eq!(found.len(), 1, "{user:?}");
        assert_eq!(found[0].requester.as_ref().map(|requester| requester.subject.as_str()), Some(user));
    }
    assert!(again.audit().verify().await.unwrap().is_intact());
}

#[tokio::test(flavor = "multi_thread")]
async fn i21_no_error_and_no_debug_shows_a_password() {
    let secret = "hunter2";
    let folder = server().address_as("x", "y");
    let folder = folder.strip_prefix("postgres://x@").unwrap().strip_suffix("/y").unwrap().to_owned();
    for address in [
        format!("postgres://kern:{secret}@{folder}/nowhere"),
        format!("postgres://nobody:{secret}@{folder}/postgres"),
        format!("postgresql+psycopg://kern:{secret}@127.0.0.1:1/postgres"),
        format!("postgres://kern:{secret}@127.0.0.1:port/postgres"),
        format!("postgres://kern:{secret}@host.invalid/postgres?sslmode=require"),
    ] {
        let builder = PostgresDb::builder(&address).busy_timeout(Duration::from_millis(50)).existing();
        let debug = format!("{builder:?}");
        let error = builder.open().await.unwrap_err();
        let mut said = format!("{debug} {error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            said.push_str(&format!(" {cause} {cause:?}"));
            source = cause.source();
        }
        assert!(!said.contains(secret), "{said}");
    }
    let database = server().database().await;
    let db = PostgresDb::open(database.address().replace("kern@", &format!("kern:{secret}@"))).await.unwrap();
    assert!(!format!("{db:?}").contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_with_a_server_that_somebody_vouches_for() {
    let folder = kern_tests::folder::Folder::new();
    let Certificate { key, file: certificate } = Certificate::new(&folder);
    let server = Server::start_with_tls(&key, &certificate);
    let port = server.port();
    let at = |host: &str, more: &str| format!("postgres://kern@{host}:{port}/postgres?{more}");
    let root = format!("sslrootcert={}", certificate.display());
    for mode in ["require", "verify-full", "prefer"] {
        let address = at("localhost", &format!("sslmode={mode}&{root}"));
        let db = PostgresDb::open(address).await.unwrap();
        assert_eq!(db.count_pending_approvals().await.unwrap(), 0);
    }
    // Nobody vouches for it, or for another name.
    assert_eq!(code(PostgresDb::open(at("localhost", "sslmode=require")).await), "store_unavailable");
    assert_eq!(code(PostgresDb::open(at("127.0.0.1", &format!("sslmode=require&{root}"))).await), "store_unavailable");
    // A server without TLS, where TLS is asked for.
    let plain = kern_tests::postgres::server().address_as("kern", "postgres");
    assert_eq!(code(PostgresDb::open(format!("{plain}?sslmode=require")).await), "store_unavailable");
}
