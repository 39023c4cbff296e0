//! What is not as it should be: one line that says what to do, an exit code, no file made, no panic.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use kern::db::SqliteDb;
use kern_tests::command::{Kern, Said, program};
use kern_tests::folder::Folder;
use kern_tests::steps::{Store, required};
use rusqlite::Connection;

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|found| found.unwrap().file_name()).collect();
    names.sort();
    names
}

/// One line, no panic, exit code 2.
fn could_not(said: &Said, contains: &str) {
    assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
    assert_eq!(said.error.lines().count(), 1, "{said:?}");
    assert!(said.error.starts_with("kern: ") && said.error.contains(contains), "{said:?}");
    for trace in ["panicked", "RUST_BACKTRACE", "Error {"] {
        assert!(!said.error.contains(trace), "{said:?}");
    }
}

/// Each command that opens a store.
const COMMANDS: [&[&str]; 9] = [
    &["approvals", "list"],
    &["approvals", "show", "01a2"],
    &["approvals", "approve", "01a2", "--yes", "--by", "bob"],
    &["approvals", "reject", "01a2", "--yes", "--by", "bob"],
    &["approvals", "watch"],
    &["executions", "list"],
    &["executions", "settle", "01a2", "--as", "failed", "--note", "x", "--by", "bob"],
    &["audit", "verify"],
    &["audit", "export"],
];

#[tokio::test]
async fn no_command_makes_a_store_or_takes_another_file_for_one() {
    let folder = Folder::new();
    let text = folder.file("text.db");
    std::fs::write(&text, "not a database. ".repeat(1000)).unwrap();
    let empty = folder.file("empty.db");
    std::fs::write(&empty, "").unwrap();
    let other = folder.file("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let before = names(folder.path());
    let missing = folder.file("missing.db").display().to_string();
    let cases = [
        (missing.clone(), "there is no such file", "store_missing"),
        (format!("sqlite:{missing}"), "there is no such file", "store_missing"),
        (format!("file:{missing}?mode=rwc"), "there is no such file", "store_missing"),
        (folder.path().display().to_string(), "it is a folder", "store_missing"),
        (":memory:".to_owned(), "there is no such file", "store_missing"),
        (text.display().to_string(), "it is not a SQLite database", "store_corrupt"),
        (empty.display().to_string(), "without kern's tables", "store_missing"),
        (other.display().to_string(), "without kern's tables", "store_missing"),
        ("postgres://me:secret@127.0.0.1:1/app".to_owned(), "check the address", "store_unavailable"),
        ("mysql://me:secret@host/app".to_owned(), "`mysql://` is no store of kern", "unsupported"),
        ("sqlite:".to_owned(), "names no file", "invalid"),
        (String::new(), "which database?", "no_database"),
    ];
    for (db, contains, code) in cases {
        let kern = Kern::on(&db);
        let some = if db == missing { &COMMANDS[..] } else { &COMMANDS[..1] };
        for words in some {
            let said = kern.run(words);
            could_not(&said, contains);
            assert!(!said.error.contains("secret"), "{said:?}");
            let said = kern.json(words);
            assert_eq!((said.code, said.error_code().as_str()), (2, code), "{said:?}");
        }
    }
    could_not(
        &Kern::on_nothing().run(&["approvals", "list"]),
        "which database? give --db sqlite:app.db or --db postgres://host/database, or set KERN_DB",
    );
    assert_eq!(names(folder.path()), before);
}

#[tokio::test]
async fn the_variable_names_the_store_and_the_option_goes_first() {
    let store = Store::on_a_file().await;
    let run = |kern: Kern, variable: &str| {
        let mut command = kern.command(&["approvals", "list"]);
        command.env("KERN_DB", variable).output().unwrap().status.code()
    };
    let file = store.file().display().to_string();
    assert_eq!(run(Kern::on_nothing(), &file), Some(0));
    assert_eq!(run(Kern::on_nothing(), "missing.db"), Some(2));
    assert_eq!(run(Kern::on(&file), "missing.db"), Some(0));
    assert_eq!(run(Kern::on("missing.db"), &file), Some(2));
}

#[tokio::test]
async fn an_older_and_a_newer_schema_are_left_alone() {
    let store = Store::on_a_file().await;
    let kern = Kern::on(store.file());
    let raw = store.raw();
    raw.execute("INSERT INTO kern_migrations VALUES (99, 'later', 'x', 0)", ()).unwrap();
    let before = store.dump();
    could_not(&kern.run(&["approvals", "list"]), "use a newer kern");
    assert_eq!(kern.json(&["approvals", "list"]).error_code(), "store_newer");
    raw.execute("DELETE FROM kern_migrations WHERE version = 99", ()).unwrap();
    assert_eq!(store.dump(), before);
    raw.execute("UPDATE kern_migrations SET version = version - 1", ()).unwrap();
    could_not(&kern.run(&["approvals", "list"]), "start with an empty store");
    assert_eq!(kern.json(&["approvals", "list"]).error_code(), "store_too_old");
    assert_eq!(store.dump(), before);
}

#[tokio::test]
async fn a_table_that_is_not_where_the_file_says_is_refused() {
    let store = Store::on_a_file().await;
    for name in ["nowhere", "kern_votes", "x; DROP TABLE kern_runs", "sqlite_schema"] {
        store.raw().execute("UPDATE kern_names SET name = ? WHERE word = 'approvals'", [name]).unwrap();
        let kern = Kern::on(store.file());
        could_not(&kern.run(&["approvals", "list"]), "cannot be used");
        assert_eq!(kern.json(&["approvals", "list"]).error_code(), "store_corrupt", "{name}");
    }
    store.raw().execute("UPDATE kern_names SET name = 'kern_approvals' WHERE word = 'approvals'", ()).unwrap();
    assert_eq!(Kern::on(store.file()).run(&["approvals", "list"]).code, 0);
}

/// Runs the command as somebody who may not do everything, also where the tests run as root.
fn as_nobody(folder: &Folder, db: &Path) -> Said {
    let id = Command::new("id").arg("-u").output().unwrap();
    let copy = folder.file("kern");
    if !copy.exists() {
        std::fs::copy(program(), &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = if id.stdout == b"0\n" {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
        command
    } else {
        Command::new(copy)
    };
    let output = command.args(["approvals", "list", "--db"]).arg(db).stdin(Stdio::null()).output().unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        error: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test]
async fn a_file_that_may_not_be_read_or_written_is_said() {
    let folder = Folder::new();
    let path = folder.file("app.db");
    drop(SqliteDb::open(&path).await.unwrap());
    let allow = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for (file_mode, folder_mode) in [(0o444, 0o777), (0o000, 0o777), (0o666, 0o555), (0o666, 0o000)] {
        allow(&path, file_mode);
        allow(folder.path(), 0o777);
        // The copy of the program has to be there before the folder is closed.
        let elsewhere = Folder::new();
        allow(elsewhere.path(), 0o755);
        allow(folder.path(), folder_mode);
        let said = as_nobody(&elsewhere, &path);
        allow(folder.path(), 0o777);
        could_not(&said, "check who may read and write the file and its folder");
    }
    allow(&path, 0o666);
    assert_eq!(as_nobody(&folder, &path).code, 0);
}

#[tokio::test]
async fn a_locked_store_can_be_looked_at_and_decides_nothing() {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let id = store.approval(&run_id).await.id.to_string();
    let kern = Kern::on(store.file());
    let raw = store.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(kern.run(&["approvals", "show", &id]).code, 0);
    let said = kern.run(&["approvals", "approve", &id, "--yes", "--by", "bob"]);
    could_not(&said, "another process holds it, try again");
    raw.execute_batch("ROLLBACK").unwrap();
    assert_eq!(kern.run(&["approvals", "approve", &id, "--yes", "--by", "bob"]).code, 0);
}

#[tokio::test]
async fn without_a_terminal_nothing_is_asked_and_nothing_decided() {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let approval = store.approval(&run_id).await;
    let kern = Kern::on(store.file());
    for way in ["approve", "reject"] {
        could_not(&kern.run(&["approvals", way, approval.id.as_str()]), "give --yes");
        assert_eq!(kern.json(&["approvals", way, approval.id.as_str()]).error_code(), "no_terminal");
        // A `y` that is piped in is nobody's.
        let mut child = kern.command(&["approvals", way, approval.id.as_str()]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The command may be gone before it is written to.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"y\n");
        assert_eq!(child.wait().unwrap().code(), Some(2));
    }
    assert_eq!(store.get_approval(&approval.id).await.unwrap().unwrap(), approval);
}

#[tokio::test]
async fn words_that_are_none_are_said_in_one_line() {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let id = store.approval(&run_id).await.id.to_string();
    let kern = Kern::on(store.file());
    let yes = |more: &[&'static str]| -> Vec<String> {
        ["approvals", "approve", &id, "--yes"].iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    let settle = |more: &[&'static str]| -> Vec<String> {
        ["executions", "settle", &id, "--note"].iter().chain(more).map(|word| (*word).to_owned()).collect()
    };
    for (words, contains) in [
        (vec!["approvals".to_owned(), "show".to_owned(), "a\u{1b}[2Jb".to_owned()], "`a\\u001b[2Jb` is no id"),
        (vec!["approvals".to_owned(), "show".to_owned(), String::new()], "is no id"),
        (vec!["approvals".to_owned(), "show".to_owned(), "two words".to_owned()], "is no id"),
        (yes(&["--by", ""]), "give --by NAME"),
        (yes(&["--by", " ann"]), "give --by NAME"),
        (yes(&["--by", "ann\u{202e}"]), "give --by NAME"),
        (yes(&["--by", "ann\nroot"]), "give --by NAME"),
        (yes(&["--by", "bob", "--edited-args", "{"]), "--edited-args cannot be used"),
        (yes(&["--by", "bob", "--edited-args", "[1]"]), "--edited-args cannot be used"),
        (yes(&["--by", "bob", "--edited-args", ""]), "--edited-args cannot be used"),
        (yes(&["--by", "bob", "--edited-args", r#"{"to":"a","to":"b"}"#]), "--edited-args cannot be used"),
        (yes(&["--by", "bob", "--values", "7"]), "--values cannot be used"),
        (settle(&["x", "--as", "run-again", "--result", "y"]), "what is to be run again has no result"),
        (settle(&["x", "--as", "abandoned", "--result", "y"]), "leave out --result"),
        (settle(&[" ", "--as", "failed"]), "--note is empty"),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        could_not(&kern.run(&words), contains);
    }
    // What clap finds has its usage below it; as JSON it is one line.
    for words in [
        &["approvals", "list", "--status", "open"][..],
        &["approvals", "list", "--limit", "0"],
        &["approvals", "list", "--limit", "1001"],
        &["approvals", "watch", "--interval", "0"],
        &["executions", "settle", "x", "--as", "failed"],
        &["approvals", "show"],
        &["approvals"],
        &["appro\u{1b}vals"],
        &[],
    ] {
        let said = kern.run(words);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{said:?}");
        assert!(!said.error.contains('\u{1b}') && !said.error.contains("panicked"), "{said:?}");
        let said = kern.json(words);
        assert_eq!((said.code, said.error_code().as_str()), (2, "usage"), "{said:?}");
    }
    assert_eq!(store.count(&run_id, "approved").await, 0);
}

#[tokio::test]
async fn a_reader_that_is_gone_is_no_panic() {
    let store = Store::on_a_file().await;
    for _ in 0..20 {
        store.paused(&vec![required(); 40]).await;
    }
    let kern = Kern::on(store.file());
    for words in
        [&["approvals", "list", "--limit", "1000"][..], &["audit", "export"], &["audit", "verify"], &["--help"]]
    {
        let mut child = kern.start(words);
        let mut out = child.stdout.take().unwrap();
        let mut first = [0; 1];
        out.read_exact(&mut first).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{words:?}");
    }
    // Nobody reads from the start.
    let mut child = kern.start(&["approvals", "list"]);
    drop(child.stdout.take());
    assert_eq!(child.wait_with_output().unwrap().stderr, b"");
    // Nobody hears of an error.
    let mut child = kern.start(&["approvals", "show", "01a2"]);
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[tokio::test]
async fn an_output_that_cannot_be_written_is_said_and_a_decision_with_it() {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let id = store.approval(&run_id).await.id.to_string();
    let kern = Kern::on(store.file());
    let full = |words: &[&str]| {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = kern.command(words).stdout(full).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, error) = full(&["approvals", "list"]);
    assert!(code == Some(2) && error.starts_with("kern: standard output cannot be written"), "{error}");
    let (code, error) = full(&["approvals", "approve", &id, "--yes", "--by", "bob"]);
    assert!(code == Some(2) && error.contains(&format!("approval `{id}` is approved, but ")), "{error}");
}

#[tokio::test]
async fn colours_are_for_terminals_only() {
    let store = Store::on_a_file().await;
    let run_id = store.paused(&[required()]).await;
    let id = store.approval(&run_id).await.id.to_string();
    let kern = Kern::on(store.file());
    for words in [&["approvals", "list"][..], &["approvals", "show", &id], &["audit", "verify"]] {
        assert!(!kern.run(words).out.contains('\u{1b}'), "{words:?}");
    }
    let show = |kern: Kern| kern.on_a_terminal(&["approvals", "show", &id], "never", &[], "").out;
    assert!(show(kern.clone()).contains("\u{1b}[1m"));
    assert!(show(kern.clone().env("NO_COLOR", "")).contains("\u{1b}[1m"), "empty is not set");
    assert!(!show(kern.clone().env("NO_COLOR", "1")).contains('\u{1b}'));
    assert!(!show(kern.env("TERM", "dumb")).contains('\u{1b}'));
}
