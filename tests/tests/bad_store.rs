//! A store that is not as it should be: typed errors, nothing half written, and everything works once the cause is gone.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kern_db::{ApprovalFilter, Db, Error, IntoDb, RunFilter, RunId, SqliteDb};
use kern_tests::folder::Folder;
use kern_tests::history;
use kern_tests::steps::{Store, begin, dump, required, turn};
use rusqlite::Connection;

const WORKER: &str = env!("CARGO_BIN_EXE_kern-test-worker");

async fn code(path: impl AsRef<Path>) -> &'static str {
    match SqliteDb::open(path).await {
        Ok(_) => "ok",
        Err(error) => error.code(),
    }
}

/// A file with one run that waits for one approval, closed.
async fn written(folder: &Folder) -> std::path::PathBuf {
    let path = folder.file("kern.db");
    let db = SqliteDb::open(&path).await.unwrap().into_db();
    let claim = db.begin_run(begin(&RunId::generate())).await.unwrap();
    db.commit_turn(turn(&claim, 1, &[required()], true)).await.unwrap();
    path
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt_and_stays_as_it_is() {
    let folder = Folder::new();
    for (name, bytes) in [("short", b"hello".to_vec()), ("long", b"not a database. ".repeat(1000))] {
        let path = folder.file(name);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(code(&path).await, "store_corrupt", "{name}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_file_with_broken_pages_is_corrupt() {
    let folder = Folder::new();
    let path = written(&folder).await;
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[4096..end].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let outcome = match SqliteDb::open(&path).await {
        Ok(db) => db.list_approvals(ApprovalFilter::new()).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_unavailable() {
    let folder = Folder::new();
    assert_eq!(code(folder.file("none").join("kern.db")).await, "store_unavailable");
    assert_eq!(code(folder.path()).await, "store_unavailable");
}

#[tokio::test]
async fn a_store_in_memory_is_no_file() {
    let name = format!("file:{}?mode=memory&cache=shared", RunId::generate());
    for path in ["", ":memory:", "file::memory:", name.as_str()] {
        assert_eq!(code(path).await, "invalid", "{path}");
    }
}

#[tokio::test]
async fn a_file_of_a_newer_kern_is_left_alone() {
    let folder = Folder::new();
    let path = written(&folder).await;
    let raw = Connection::open(&path).unwrap();
    raw.execute("INSERT INTO kern_migrations VALUES (99, 'later', 'x', 0)", ()).unwrap();
    let before = dump(&raw);
    let refused = SqliteDb::open(&path).await.unwrap_err();
    assert!(matches!(refused, Error::Newer { found: 99, .. }), "{refused:?}");
    assert_eq!(refused.code(), "store_newer");
    assert_eq!(dump(&raw), before);
}

#[tokio::test]
async fn a_schema_that_is_not_this_builds_is_found() {
    let folder = Folder::new();
    let path = written(&folder).await;
    let raw = Connection::open(&path).unwrap();
    for (change, expected) in [("checksum = 'x'", "store_corrupt"), ("version = 0", "store_too_old")] {
        raw.execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM kern_migrations").unwrap();
        raw.execute(&format!("UPDATE kern_migrations SET {change}"), ()).unwrap();
        assert_eq!(code(&path).await, expected, "{change}");
        raw.execute_batch(
            "DELETE FROM kern_migrations; INSERT INTO kern_migrations SELECT * FROM kept; DROP TABLE kept",
        )
        .unwrap();
        assert_eq!(code(&path).await, "ok");
    }
}

#[tokio::test]
async fn a_table_that_is_gone_is_found_when_the_file_is_opened() {
    for table in ["runs", "calls", "approvals", "votes", "executions", "audit", "outbox", "names"] {
        let folder = Folder::new();
        let path = written(&folder).await;
        let raw = Connection::open(&path).unwrap();
        raw.execute_batch(&format!("PRAGMA foreign_keys = OFF; DROP TABLE kern_{table}")).unwrap();
        let refused = SqliteDb::open(&path).await.unwrap_err();
        let is = |place: &str| place == format!("kern_{table}");
        assert!(matches!(&refused, Error::Corrupt { place, .. } if is(place)), "{table}: {refused:?}");
    }
}

#[tokio::test]
async fn names_that_name_nothing_are_refused() {
    let folder = Folder::new();
    let path = folder.file("kern.db");
    let long = "x".repeat(49);
    for name in ["", "1st", "a b", "a;DROP", "a\"b", "sqlite_master", "kern_runs", "KERN_RUNS", "tä", long.as_str()] {
        let refused = SqliteDb::builder(&path).approvals_table(name).open().await.unwrap_err();
        assert_eq!(refused.code(), "invalid", "{name}: {refused}");
    }
    let raw = Connection::open(&path).unwrap();
    let tables: i64 = raw.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).unwrap();
    assert_eq!(tables, 0, "nothing was made on the way");
}

#[tokio::test]
async fn a_name_that_something_else_has_is_refused() {
    let folder = Folder::new();
    let path = folder.file("app.db");
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(
        "CREATE TABLE approvals (id INTEGER PRIMARY KEY, mine TEXT); INSERT INTO approvals VALUES (1, 'x')",
    )
    .unwrap();
    for name in ["approvals", "Approvals", "kern_names"] {
        let refused = SqliteDb::builder(&path).approvals_table(name).open().await.unwrap_err();
        assert!(matches!(&refused, Error::Invalid(why) if why.contains(name)), "{refused:?}");
    }
    let mine: String = raw.query_row("SELECT mine FROM approvals", (), |row| row.get(0)).unwrap();
    assert_eq!(mine, "x");
    // Under its own names kern lives beside the program's tables.
    assert_eq!(code(&path).await, "ok");
}

#[tokio::test]
async fn the_names_of_a_file_are_found_by_every_program() {
    let folder = Folder::new();
    let path = folder.file("kern.db");
    let named =
        SqliteDb::builder(&path).approvals_table("consents").audit_table("journal").open().await.unwrap().into_db();
    let claim = named.begin_run(begin(&RunId::generate())).await.unwrap();
    named.commit_turn(turn(&claim, 1, &[required()], true)).await.unwrap();

    let other = SqliteDb::open(&path).await.unwrap();
    assert_eq!(other.count_pending_approvals().await.unwrap(), 1);
    SqliteDb::builder(&path).approvals_table("consents").open().await.unwrap();
    let refused = SqliteDb::builder(&path).approvals_table("kern_approvals").open().await.unwrap_err();
    assert!(matches!(&refused, Error::Invalid(why) if why.contains("`consents`")), "{refused:?}");
    let raw = Connection::open(&path).unwrap();
    let waiting: i64 = raw.query_row("SELECT count(*) FROM consents", (), |row| row.get(0)).unwrap();
    assert_eq!(waiting, 1);
    history::check(&*named).await;
}

#[tokio::test]
async fn tables_that_traded_their_names_are_found_again() {
    let folder = Folder::new();
    let path = folder.file("kern.db");
    let traded = || SqliteDb::builder(&path).votes_table("spare").approvals_table("kern_votes").open();
    drop(traded().await.unwrap());
    assert_eq!(code(&path).await, "ok");
    traded().await.unwrap();
}

#[tokio::test]
async fn a_view_in_the_place_of_a_table_is_corrupt() {
    let folder = Folder::new();
    let path = written(&folder).await;
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch(
        "PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON;
         ALTER TABLE kern_outbox RENAME TO kept; CREATE VIEW kern_outbox AS SELECT * FROM kept",
    )
    .unwrap();
    let refused = SqliteDb::open(&path).await.unwrap_err();
    assert!(matches!(&refused, Error::Corrupt { place, .. } if place == "kern_outbox"), "{refused:?}");
}

/// What opening only what is there answers, and that it left the folder as it was.
async fn existing(folder: &Folder, path: impl AsRef<Path>) -> &'static str {
    let listed = || {
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|found| found.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = listed();
    let answer = match SqliteDb::builder(path.as_ref()).existing().open().await {
        Ok(_) => "ok",
        Err(error) => error.code(),
    };
    assert_eq!(listed(), before, "{}: {answer}", path.as_ref().display());
    answer
}

#[tokio::test]
async fn what_is_opened_only_if_it_is_there_is_never_made() {
    let folder = Folder::new();
    let none = folder.file("none.db");
    for path in [none.clone(), folder.file("none").join("kern.db"), folder.path().to_owned(), "/dev/null".into()] {
        assert_eq!(existing(&folder, &path).await, "store_missing", "{}", path.display());
    }
    // SQLite reads this as an address, and would make the file that it names.
    let address = format!("file:{}?mode=rwc", none.display());
    assert_eq!(existing(&folder, &address).await, "store_missing");
    for name in ["empty.db", "text.db", "other.db"] {
        let path = folder.file(name);
        let expected = match name {
            "empty.db" => {
                std::fs::write(&path, "").unwrap();
                "store_missing"
            }
            "text.db" => {
                std::fs::write(&path, "not a database. ".repeat(1000)).unwrap();
                "store_corrupt"
            }
            _ => {
                Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
                "store_missing"
            }
        };
        let before = std::fs::read(&path).unwrap();
        assert_eq!(existing(&folder, &path).await, expected, "{name}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "{name} stays as it is, its journal mode included");
    }
}

#[tokio::test]
async fn an_older_store_is_refused_and_left_alone() {
    let folder = Folder::new();
    let path = written(&folder).await;
    assert_eq!(existing(&folder, &path).await, "ok");
    let raw = Connection::open(&path).unwrap();
    raw.execute("UPDATE kern_migrations SET version = version - 1", ()).unwrap();
    let before = dump(&raw);
    for builder in [SqliteDb::builder(&path), SqliteDb::builder(&path).existing()] {
        let refused = builder.open().await.unwrap_err();
        assert!(matches!(refused, Error::TooOld { found, known } if found == known - 1), "{refused:?}");
        assert_eq!(refused.code(), "store_too_old");
        assert!(refused.to_string().contains("start with an empty store"), "{refused}");
        assert_eq!(dump(&raw), before);
    }
    // Thirteen numbered migrations made a store before there was one schema.
    raw.execute_batch(
        "DELETE FROM kern_migrations;
         INSERT INTO kern_migrations VALUES (1, 'init', 'x', 0), (2, 'edits', 'x', 0), (13, 'sessions', 'x', 0)",
    )
    .unwrap();
    let refused = SqliteDb::open(&path).await.unwrap_err();
    assert!(matches!(refused, Error::TooOld { found: 13, .. }), "{refused:?}");
    raw.execute("UPDATE kern_migrations SET version = 4711 WHERE version = 13", ()).unwrap();
    assert_eq!(SqliteDb::open(&path).await.unwrap_err().code(), "store_newer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_held_too_long_is_busy_and_nothing_more() {
    let folder = Folder::new();
    let path = written(&folder).await;
    let timeout = Duration::from_millis(150);
    let db = SqliteDb::builder(&path).busy_timeout(timeout).open().await.unwrap().into_db();
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = dump(&raw);
    let started = Instant::now();
    let refused = db.begin_run(begin(&RunId::generate())).await.unwrap_err();
    assert_eq!(refused.code(), "store_busy", "{refused:?}");
    assert!(started.elapsed() >= timeout, "it waited as long as it was told to");
    // Many that wait together are all told, and reading and opening need no lock.
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.begin_run(begin(&RunId::generate())).await })
        })
        .collect();
    assert_eq!(db.count_pending_approvals().await.unwrap(), 1);
    assert_eq!(code(&path).await, "ok");
    for task in waiting {
        assert_eq!(task.await.unwrap().unwrap_err().code(), "store_busy");
    }
    assert_eq!(dump(&raw), before);
    raw.execute_batch("ROLLBACK").unwrap();
    db.begin_run(begin(&RunId::generate())).await.unwrap();
    assert_eq!(db.list_runs(RunFilter::new()).await.unwrap().len(), 2);
    history::check(&*db).await;
}

#[tokio::test]
async fn a_locked_file_without_a_schema_is_busy() {
    let folder = Folder::new();
    let path = folder.file("kern.db");
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; CREATE TABLE other (x)").unwrap();
    let open = || SqliteDb::builder(&path).busy_timeout(Duration::from_millis(50)).open();
    assert_eq!(open().await.unwrap_err().code(), "store_busy");
    raw.execute_batch("ROLLBACK").unwrap();
    assert!(open().await.is_ok());
}

#[tokio::test]
async fn a_timeout_of_any_length_is_no_panic() {
    let folder = Folder::new();
    let opened = SqliteDb::builder(folder.file("kern.db")).busy_timeout(Duration::MAX).open().await;
    assert!(opened.is_ok(), "{opened:?}");
}

/// I19: what makes the commit fail is told to everybody who waited for it, and nothing of them is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i19_nobody_is_answered_before_the_commit() {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let raw = store.raw();
    // A foreign key that is looked at only by COMMIT: every statement before it succeeds.
    raw.execute_batch(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
         CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER broken AFTER INSERT ON kern_audit BEGIN INSERT INTO child VALUES (1); END;",
    )
    .unwrap();
    let before = dump(&raw);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let db = store.shared();
            tokio::spawn(async move { db.begin_run(begin(&RunId::generate())).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap_err().code(), "store_unavailable");
    }
    assert!(store.approve(&run_id, 0).await.is_err());
    assert_eq!(dump(&raw), before);
    raw.execute_batch("DROP TRIGGER broken").unwrap();
    store.approve(&run_id, 0).await.unwrap();
    history::check(&*store).await;
}

/// Runs the worker as somebody who may not do everything, also where the tests run as root.
fn as_nobody(mode: &str, path: &Path) -> String {
    let id = Command::new("id").arg("-u").output().expect("`id` says who runs the tests");
    let root = String::from_utf8_lossy(&id.stdout).trim() == "0";
    // A copy beside the file, where everybody may enter.
    let worker = path.with_file_name("worker");
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&worker);
        command
    } else {
        Command::new(&worker)
    };
    let output = command.arg(mode).arg(path).output().expect("as root this test needs `setpriv`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_file_or_folder_that_cannot_be_written_is_unavailable() {
    let cases = [
        ("a file to read", 0o444, 0o777, "store_unavailable"),
        ("a folder to read", 0o666, 0o555, "store_unavailable"),
        ("a file for nobody", 0o000, 0o777, "store_unavailable"),
        // With the right to write, the same process does.
        ("a file to write", 0o666, 0o777, "ok"),
    ];
    for (what, file_mode, folder_mode, expected) in cases {
        let folder = Folder::new();
        let path = written(&folder).await;
        let before = std::fs::read(&path).unwrap();
        std::fs::copy(WORKER, folder.file("worker")).unwrap();
        allow(&folder.file("worker"), 0o755);
        allow(&path, file_mode);
        allow(folder.path(), folder_mode);
        assert_eq!(as_nobody("write", &path), expected, "{what}");
        if folder_mode == 0o555 {
            assert_eq!(as_nobody("write", &folder.file("new.db")), expected, "a file that cannot be made");
            assert!(!folder.file("new.db").exists());
        }
        allow(folder.path(), 0o777);
        allow(&path, 0o666);
        let runs = if expected == "ok" {
            2
        } else {
            assert_eq!(std::fs::read(&path).unwrap(), before, "{what}: nothing was written");
            1
        };
        let db = SqliteDb::open(&path).await.unwrap();
        assert_eq!(db.list_runs(RunFilter::new()).await.unwrap().len(), runs, "{what}");
        history::check(&db).await;
    }
}

/// The limit on the size of a file stands for a disk without room: the write itself fails.
#[tokio::test]
async fn a_disk_without_room_loses_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let path = written(&folder).await;
    // In blocks of 512 bytes or of 1,024, as the shell likes: one or two megabytes.
    let script = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" fill \"$1\"";
    let output = Command::new("sh").args(["-c", script, WORKER]).arg(&path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (acknowledged, why) =
        text.trim().split_once(' ').unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let acknowledged: usize = acknowledged.parse().unwrap();
    assert!(acknowledged > 0);
    assert!(matches!(why, "store_full" | "store_unavailable"), "{why}");

    let db = SqliteDb::open(&path).await.unwrap();
    assert_eq!(db.list_runs(RunFilter::new()).await.unwrap().len(), 1 + acknowledged, "all of them, and no other");
    history::check(&db).await;
    let raw = Connection::open(&path).unwrap();
    let intact: String = raw.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(intact, "ok");
    let db = db.into_db();
    db.begin_run(begin(&RunId::generate())).await.unwrap();
}

/// As on a full disk, SQLite takes the whole transaction back by itself, and with it the group's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_the_whole_transaction_back_is_told_to_the_whole_group() {
    let store = Store::on_a_file().await;
    let raw = store.raw();
    // RAISE(ROLLBACK) takes the whole transaction back at once, as a full disk does.
    raw.execute_batch(
        "CREATE TRIGGER full BEFORE INSERT ON kern_runs WHEN NEW.session_id = 'full'
         BEGIN SELECT RAISE(ROLLBACK, 'no room'); END",
    )
    .unwrap();
    for _ in 0..20 {
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let db = store.shared();
                let mut request = begin(&RunId::generate());
                if number == 3 {
                    request.session_id = "full".into();
                }
                let run_id = request.run_id.clone();
                tokio::spawn(async move { (run_id, db.begin_run(request).await) })
            })
            .collect();
        for task in tasks {
            let (run_id, outcome) = task.await.unwrap();
            let found = store.get_run(&run_id).await;
            assert_eq!(found.is_ok(), outcome.is_ok(), "what was answered is what is there: {outcome:?}");
            if let Err(error) = outcome {
                let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                assert!(
                    source.contains("no room"),
                    "everybody learns the cause, not that a savepoint is gone: {error:?}"
                );
            }
        }
    }
    raw.execute_batch("DROP TRIGGER full").unwrap();
    store.started().await;
    history::check(&*store).await;
}
