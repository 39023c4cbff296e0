//! What a job leaves and what its caller is told, alone and in a group: the two never differ.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc;

use super::*;
use crate::audit::Entry;
use crate::records::audit::AuditRow;
use crate::records::outbox::OutboxRow;
use crate::records::principal::Actor;
use crate::requests::Write;
use crate::tx::{Query, Tx};
use crate::{RunId, sqlite::migrate};

/// A file with kern's schema, and triggers that fail as a disk does.
struct File {
    folder: PathBuf,
    writer: Writer,
}

/// Rows of the outbox with this topic break the promise of another row, which SQLite asks for at the COMMIT.
const ORPHAN: &str = "orphan";
/// Takes the whole transaction back at once, as a full disk does.
const ROLLBACK: &str = "rollback";

impl File {
    fn new(pages: Option<i64>) -> Self {
        let folder = std::env::temp_dir().join(format!("kern-db-{}", RunId::generate()));
        std::fs::create_dir_all(&folder).expect("the temp folder is writable");
        let mut connection = Connection::open(folder.join("kern.db")).expect("a fresh file opens");
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;")
            .expect("pragmas");
        let names = migrate::migrate(&mut connection, &[]).expect("a fresh file has no schema");
        connection
            .execute_batch(&format!(
                "CREATE TABLE parents (id TEXT PRIMARY KEY);
                 CREATE TABLE children (id TEXT REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
                 CREATE TRIGGER orphan AFTER INSERT ON kern_outbox WHEN NEW.topic = '{ORPHAN}'
                 BEGIN INSERT INTO children VALUES (NEW.id); END;
                 CREATE TRIGGER full BEFORE INSERT ON kern_outbox WHEN NEW.topic = '{ROLLBACK}'
                 BEGIN SELECT RAISE(ROLLBACK, 'no room'); END;"
            ))
            .expect("a table of the test's own");
        if let Some(more) = pages {
            let used: i64 = connection.query_row("PRAGMA page_count", (), |row| row.get(0)).expect("a count");
            connection.query_row(&format!("PRAGMA max_page_count = {}", used + more), (), |_| Ok(())).expect("a limit");
        }
        let place = Place::of(&folder.join("kern.db")).expect("the file is there");
        let mut keeper = Keeper::new(None, &folder.join("kern.db"));
        keeper.open(&connection, &names, true).expect("a mark is written");
        let writer =
            Writer::start(connection, Arc::new(place), Arc::new(names), Arc::default(), keeper).expect("a thread");
        Self { folder, writer }
    }

    /// What is in the log and in the outbox by the next look, on a connection of its own.
    fn stored(&self) -> (Vec<String>, Vec<String>) {
        let raw = Connection::open(self.folder.join("kern.db")).expect("the file opens");
        let read = |sql: &str| -> Vec<String> {
            let mut statement = raw.prepare(sql).expect("kern's tables are there");
            let rows = statement.query_map((), |row| row.get(0)).expect("rows");
            rows.collect::<rusqlite::Result<_>>().expect("text")
        };
        let logged = read("SELECT action FROM kern_audit WHERE action <> 'shard_opened' ORDER BY seq");
        (logged, read("SELECT topic FROM kern_outbox WHERE length(topic) < 100 ORDER BY rowid"))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// How a job ends after it has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Well,
    Undo,
    Keep,
    Panic,
    /// A statement is refused, and only that.
    Twice,
    /// A statement takes the whole transaction back.
    Rollback,
    /// The COMMIT fails.
    Commit,
    /// There is no room in mid-job.
    Full,
}

fn row(topic: &str) -> OutboxRow {
    OutboxRow {
        id: uuid::Uuid::now_v7().to_string(),
        created_at_ms: 0,
        topic: topic.to_owned(),
        run_id: None,
        approval_id: None,
        execution_id: None,
        delivered_at_ms: None,
    }
}

/// Writes a row and an entry, and ends so.
fn job(end: End, topic: &'static str) -> impl FnOnce(&mut SqliteTx<'_>) -> Step<&'static str> + Send + 'static {
    move |tx| {
        finish_now(async {
            let first = row(topic);
            tx.insert(&first).await?;
            tx.journal().record(Entry::new(topic, Actor::Runtime, &RunId::from("run")));
            let refused = || Error::Invalid("it is refused".to_owned());
            match end {
                End::Well => {}
                End::Undo => return Err(Refused::Undo(refused())),
                End::Keep => return Err(Refused::Keep(refused())),
                End::Panic => panic!("a job of a test panics"),
                End::Twice => tx.insert(&first).await?,
                End::Rollback => tx.insert(&row(ROLLBACK)).await?,
                End::Commit => tx.insert(&row(ORPHAN)).await?,
                End::Full => {
                    for _ in 0..1000 {
                        tx.insert(&row(&"x".repeat(100_000))).await?;
                    }
                }
            }
            Ok(topic)
        })
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Keeps the writer busy until it is let go, so that what is queued meanwhile is taken together and in order. A writer that is
/// free may have committed a job before the caller that queued it looks again.
async fn hold(writer: &Writer) -> (mpsc::Sender<()>, Pin<Box<dyn Future<Output = Result<()>> + '_>>) {
    let (go, wait) = mpsc::channel::<()>();
    let mut held: Pin<Box<dyn Future<Output = Result<()>> + '_>> =
        Box::pin(writer.run(Lane::Normal, "wait", move |_| {
            wait.recv().expect("somebody lets it go");
            Ok(())
        }));
    queue(held.as_mut()).await;
    while !writer.queue.lanes().normal.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    (go, held)
}

/// Queues a job by polling it once. The writer is held.
async fn queue<T>(mut job: Pin<&mut (impl Future<Output = T> + ?Sized)>) {
    let once = std::future::poll_fn(|context| std::task::Poll::Ready(job.as_mut().poll(context)));
    assert!(once.await.is_pending(), "the writer is held");
}

/// Runs jobs together, behind one that waits.
fn run_all(file: &File, jobs: &[(End, &'static str)]) -> Vec<Result<&'static str>> {
    runtime().block_on(async {
        let (go, held) = hold(&file.writer).await;
        let mut waiting: Vec<_> =
            jobs.iter().map(|(end, topic)| Box::pin(file.writer.run(Lane::Normal, "test", job(*end, topic)))).collect();
        for job in &mut waiting {
            queue(job.as_mut()).await;
        }
        go.send(()).expect("it waits");
        let mut outcomes = Vec::new();
        for job in waiting {
            outcomes.push(job.await);
        }
        held.await.expect("it does nothing");
        outcomes
    })
}

const ENDS: [End; 8] = [End::Well, End::Undo, End::Keep, End::Panic, End::Twice, End::Rollback, End::Commit, End::Full];

#[test]
fn a_job_that_is_alone_leaves_what_its_caller_is_told() {
    for end in ENDS {
        let file = File::new((end == End::Full).then_some(50));
        let outcome = run_all(&file, &[(end, "one")]).remove(0);
        let kept = matches!(end, End::Well | End::Keep);
        let expected = if kept { vec!["one".to_owned()] } else { Vec::new() };
        assert_eq!(file.stored(), (expected.clone(), expected.clone()), "{end:?}: {outcome:?}");
        match (end, &outcome) {
            (End::Well, Ok("one")) | (End::Undo | End::Keep, Err(Error::Invalid(_))) => {}
            (End::Full, Err(Error::Full { .. })) => {}
            (End::Panic | End::Twice | End::Rollback | End::Commit, Err(Error::Unavailable { .. })) => {}
            _ => panic!("{end:?}: {outcome:?}"),
        }
        // The store goes on.
        assert!(matches!(run_all(&file, &[(End::Well, "next")])[..], [Ok("next")]), "{end:?}");
        let more = [expected, vec!["next".to_owned()]].concat();
        assert_eq!(file.stored(), (more.clone(), more), "{end:?}");
        chain(&file);
    }
}

#[test]
fn a_job_in_a_group_takes_only_back_what_is_its_own_or_the_whole_group_is_told() {
    for end in ENDS {
        let file = File::new((end == End::Full).then_some(50));
        let outcomes =
            run_all(&file, &[(End::Well, "before"), (end, "one"), (End::Keep, "after"), (End::Well, "last")]);
        let whole = matches!(end, End::Rollback | End::Commit | End::Full);
        let kept = |topic: &str| !whole && (topic != "one" || matches!(end, End::Well | End::Keep));
        let expected: Vec<String> =
            ["before", "one", "after", "last"].into_iter().filter(|topic| kept(topic)).map(str::to_owned).collect();
        let stored = file.stored();
        if end == End::Full && !stored.0.is_empty() {
            // SQLite may take back only the statement: then only its job is undone, and told.
            assert_eq!(stored.0, ["before", "after", "last"], "{outcomes:?}");
            assert!(matches!(
                outcomes[..],
                [Ok("before"), Err(Error::Full { .. }), Err(Error::Invalid(_)), Ok("last")]
            ));
            continue;
        }
        assert_eq!(stored, (expected.clone(), expected), "{end:?}: {outcomes:?}");
        for (topic, outcome) in ["before", "one", "last"].into_iter().zip([&outcomes[0], &outcomes[1], &outcomes[3]]) {
            let well = kept(topic) && (topic != "one" || end == End::Well);
            assert_eq!(outcome.is_ok(), well, "{end:?} {topic}: {outcome:?}");
        }
        // What it was refused with is no news where the store is what failed.
        assert_eq!(matches!(outcomes[2], Err(Error::Invalid(_))), !whole, "{end:?}: {outcomes:?}");
        assert!(matches!(run_all(&file, &[(End::Well, "next")])[..], [Ok("next")]), "{end:?}");
        chain(&file);
    }
}

/// Hands statements of somebody else's over, in the middle of other jobs, and says what became of all of them.
#[test]
fn a_mark_that_was_removed_with_its_folder_is_not_made_again() {
    let file = File::new(None);
    let done = runtime().block_on(file.writer.run(Lane::Normal, "test a job", job(End::Well, "one")));
    assert_eq!(done.ok(), Some("one"));
    std::fs::remove_dir_all(&file.folder).expect("the folder is the test's own");
    std::fs::create_dir(&file.folder).expect("the temp folder is writable");
    // Within a second, the writer syncs commits that no caller waits for.
    std::thread::sleep(Duration::from_millis(1_200));
    let found = std::fs::read_dir(&file.folder).expect("the folder is there").count();
    assert_eq!(found, 0, "the folder is as empty as it was made");
}

fn write_among(file: &File, writes: Vec<Write>) -> (Result<Result<(), String>>, Vec<Result<&'static str>>) {
    runtime().block_on(async {
        let (go, held) = hold(&file.writer).await;
        let other = |topic| Box::pin(file.writer.run(Lane::Normal, "test", job(End::Well, topic)));
        let (mut before, mut after) = (other("before"), other("after"));
        let writing = |tx: &mut SqliteTx<'_>| {
            let written = finish_now(tx.write(writes))?;
            finish_now(tx.insert(&row("written")))?;
            tx.journal().record(Entry::new("written", Actor::Runtime, &RunId::from("run")));
            Ok(written)
        };
        let mut writing = Box::pin(file.writer.run(Lane::Alone, "write", writing));
        queue(before.as_mut()).await;
        queue(writing.as_mut()).await;
        queue(after.as_mut()).await;
        go.send(()).expect("it waits");
        let told = vec![before.await, after.await];
        held.await.expect("it does nothing");
        (writing.await, told)
    })
}

/// How many rows somebody else has.
fn theirs(file: &File) -> i64 {
    let raw = Connection::open(file.folder.join("kern.db")).expect("the file opens");
    raw.query_row("SELECT count(*) FROM parents", (), |row| row.get(0)).expect("a count")
}

#[test]
fn what_a_guest_writes_stays_with_its_job_or_not_at_all_and_others_are_not_touched() {
    let parent = |id: &str| Write::new("INSERT INTO parents (id) VALUES (?)", [id.into()]);
    let kept = ["before", "written", "after"].map(str::to_owned).to_vec();

    let file = File::new(None);
    let (written, others) = write_among(&file, vec![parent("one"), parent("two")]);
    assert!(matches!((written, &others[..]), (Ok(Ok(())), [Ok("before"), Ok("after")])));
    assert_eq!((file.stored(), theirs(&file)), ((kept.clone(), kept.clone()), 2));

    // A statement that is refused, and one that takes the whole transaction back with it: the job goes on without them.
    for bad in
        ["INSERT INTO parents VALUES ('one')", "INSERT OR ROLLBACK INTO parents VALUES ('one')", "DROP TABLE parents"]
    {
        let file = File::new(None);
        let (written, others) = write_among(&file, vec![parent("one"), Write::new(bad, [])]);
        assert!(matches!((&written, &others[..]), (Ok(Err(_)), [Ok("before"), Ok("after")])), "{bad}: {written:?}");
        assert_eq!((file.stored(), theirs(&file)), ((kept.clone(), kept.clone()), 0), "{bad}");
        chain(&file);
    }

    // No room: nothing of the job stays, and its caller hears of it. The store goes on.
    let file = File::new(Some(50));
    let large = Write::new("INSERT INTO parents (id) VALUES (hex(zeroblob(1000000)))", []);
    let (written, others) = write_among(&file, vec![parent("one"), large]);
    assert!(matches!((&written, &others[..]), (Err(Error::Full { .. }), [Ok("before"), Ok("after")])), "{written:?}");
    let kept = ["before", "after"].map(str::to_owned).to_vec();
    assert_eq!((file.stored(), theirs(&file)), ((kept.clone(), kept.clone()), 0));
    chain(&file);

    // What is only asked at the COMMIT.
    let file = File::new(None);
    let (written, others) = write_among(&file, vec![Write::new("INSERT INTO children VALUES ('nobody')", [])]);
    assert!(matches!((&written, &others[..]), (Err(Error::RefusedAtCommit { .. }), [Ok("before"), Ok("after")])));
    assert_eq!(file.stored(), (kept.clone(), kept));
    let (written, _) = write_among(&file, vec![parent("one")]);
    assert!(matches!(written, Ok(Ok(()))), "{written:?}");
    chain(&file);
}

/// The log has no gap and no fork.
fn chain(file: &File) {
    let report = runtime().block_on(file.writer.run(Lane::Normal, "verify", |tx| {
        let query = Query::of(Vec::new()).oldest(AuditRow::C.seq.order());
        let rows = finish_now(tx.select::<AuditRow>(query))?;
        Ok(rows.into_iter().map(crate::AuditEntry::try_from).collect::<Result<Vec<_>, _>>()?)
    }));
    let entries = report.expect("the log is read");
    let store_id = entries[0].payload["store_id"].as_str().expect("the first entry names the store");
    for (entry, seq) in entries.iter().zip(1..) {
        assert!(entry.seq == seq && entry.fits(store_id), "{entry:?}");
    }
    assert!(entries.windows(2).all(|pair| pair[0].hash == pair[1].prev_hash), "{entries:?}");
}
