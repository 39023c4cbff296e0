//! I13: checkpoints that are kept elsewhere show what is missing, and who signed them.

use std::time::Duration;

use kern_db::{Checkpoint, CheckpointKey, CheckpointSink, Db, DbFuture, Error, FileSink, RunId, verify_export};
use kern_tests::folder::Folder;
use kern_tests::steps::{Store, begin, drop_triggers, required};

fn key() -> CheckpointKey {
    CheckpointKey::generate().unwrap()
}

async fn i13_a_checkpoint_says_how_long_the_log_is_and_who_says_so(store: &Store) {
    let key = key();
    assert_eq!(store.audit().checkpoint(&key).await.unwrap(), None, "there is nothing to sign");
    store.paused(&[required()]).await;
    let first = store.audit().checkpoint(&key).await.unwrap().unwrap();
    assert_eq!(store.audit().checkpoint(&key).await.unwrap().unwrap(), first, "nothing was added since");
    store.paused(&[required()]).await;
    let second = store.audit().checkpoint(&key).await.unwrap().unwrap();
    assert_eq!((&second.origin, &second.previous), (&first.origin, &first.hash()));
    assert!(
        second.size > first.size
            && second.size == i64::try_from(kern_tests::history::entries(&**store).await.len()).unwrap()
    );
    assert_eq!(store.audit().checkpoints(0, 10).await.unwrap(), [first.clone(), second.clone()]);

    let public = key.public();
    assert!(public.has_signed(&first) && public.has_signed(&second));
    assert!(!self::key().public().has_signed(&first));
    for forged in [
        Checkpoint::clone(&{
            let mut forged = second.clone();
            forged.size += 1;
            forged
        }),
        {
            let mut forged = second.clone();
            forged.head = first.head.clone();
            forged
        },
        {
            let mut forged = second.clone();
            forged.signature = first.signature.clone();
            forged
        },
        {
            let mut forged = second.clone();
            forged.signature.clear();
            forged
        },
    ] {
        assert!(!public.has_signed(&forged), "{forged:?}");
    }
    let kept = vec![first, second];
    assert!(store.audit().verify_signed(kept.clone(), &public).await.unwrap().is_intact());
    assert!(!store.audit().verify_signed(kept, &self::key().public()).await.unwrap().is_intact());
}

async fn i13_a_tail_that_was_cut_off_with_its_rows_is_found_by_a_checkpoint(store: &Store) {
    let key = key();
    store.started().await;
    let early = store.audit().checkpoint(&key).await.unwrap().unwrap();
    let copy = Folder::new();
    store.raw().execute("VACUUM INTO ?1", [copy.file("older.db").to_str().unwrap()]).unwrap();
    store.paused(&[required()]).await;
    let late = store.audit().checkpoint(&key).await.unwrap().unwrap();
    assert!(store.audit().verify_against(vec![early.clone(), late.clone()]).await.unwrap().is_intact());

    // An older copy of the file is whole by itself.
    let older = kern_db::SqliteDb::open(copy.file("older.db")).await.unwrap();
    assert!(older.audit().verify_against(vec![early.clone()]).await.unwrap().is_intact());
    let broken = older.audit().verify_against(vec![late]).await.unwrap().broken.unwrap();
    assert_eq!(broken.seq, early.size + 1);
    assert!(broken.what.contains("it is missing"), "{broken:?}");

    // And another file is another log.
    let other = Store::on_a_file().await;
    other.paused(&[required()]).await;
    let broken = other.audit().verify_against(vec![early.clone()]).await.unwrap().broken.unwrap();
    assert!(broken.seq == early.size && broken.what.contains("another log"), "{broken:?}");
}

async fn i13_what_does_not_go_on_from_the_last_checkpoint_is_not_signed(store: &Store) {
    let key = key();
    store.paused(&[required()]).await;
    store.audit().checkpoint(&key).await.unwrap().unwrap();
    let raw = store.raw();
    drop_triggers(&raw);
    raw.execute_batch("UPDATE kern_audit SET hash = prev_hash WHERE seq = (SELECT max(seq) FROM kern_audit)").unwrap();
    // The store notices that its log lacks the entry, and goes on only by saying so.
    let begun = store.begin_run(begin(&RunId::generate())).await;
    assert!(matches!(begun, Err(Error::StoreRestored { .. })), "{begun:?}");
    let refused = store.audit().checkpoint(&key).await;
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    // Edited checkpoints are found, too.
    raw.execute_batch("UPDATE kern_checkpoints SET head = origin").unwrap();
    assert!(!store.audit().verify().await.unwrap().is_log_intact());
}

/// A sink that is there only from the third time on.
struct Late(std::sync::atomic::AtomicUsize, std::path::PathBuf);

impl CheckpointSink for Late {
    fn name(&self) -> String {
        "late".to_owned()
    }

    fn deliver(&self, checkpoint: Checkpoint) -> DbFuture<'_, ()> {
        if self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 2 {
            return Box::pin(async { Err(Error::Busy { action: "take a checkpoint" }) });
        }
        let file = FileSink::new(&self.1);
        Box::pin(async move { file.deliver(checkpoint).await })
    }
}

async fn i13_checkpoints_are_made_and_sent_in_the_background(store: &Store) {
    let (folder, key) = (Folder::new(), key());
    let (file, late) = (folder.file("kept.jsonl"), folder.file("late.jsonl"));
    let builder = store.audit().checkpointer(key.clone()).entries(2).interval(Duration::from_secs(600));
    let checkpointer = builder.sink(FileSink::new(&file)).sink(Late(0.into(), late.clone())).spawn();
    store.paused(&[required()]).await;
    let read = |path: &std::path::Path| -> Vec<Checkpoint> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for _ in 0..200 {
        if !read(&file).is_empty() && !read(&late).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!read(&late).is_empty(), "a sink that failed is tried again");
    store.started().await;
    // One entry is not two, but the end is an occasion.
    checkpointer.stop().await;
    let kept = read(&file);
    let entries = store.audit().verify_signed(kept.clone(), &key.public()).await.unwrap();
    assert!(entries.is_intact(), "{entries:?}");
    assert_eq!(kept.last().map(|last| last.size.unsigned_abs()), Some(entries.entries));
    let mut lines = String::new();
    for entry in kern_tests::history::entries(&**store).await {
        lines += &format!("{}\n", serde_json::to_string(&entry).unwrap());
    }
    let report = verify_export(lines.as_bytes(), kept.clone()).unwrap();
    assert!(report.is_intact() && report.entries == entries.entries && report.head == entries.head, "{report:?}");
    let cut = &lines[..lines.trim_end().rfind('\n').unwrap() + 1];
    assert!(!verify_export(cut.as_bytes(), kept).unwrap().is_intact());
    for (from, to) in [("\"action\":\"run_paused\"", "\"action\":\"run_claimed\""), ("bob", "eve"), ("ana", "eve")] {
        let edited = lines.replacen(from, to, 1);
        let report = verify_export(edited.as_bytes(), Vec::new()).unwrap();
        assert_eq!(report.is_intact(), edited == lines, "{from}: {report:?}");
    }
}

on_each_store! {
    i13_a_checkpoint_says_how_long_the_log_is_and_who_says_so,
    i13_checkpoints_are_made_and_sent_in_the_background,
}

on_a_file! {
    i13_a_tail_that_was_cut_off_with_its_rows_is_found_by_a_checkpoint,
    i13_what_does_not_go_on_from_the_last_checkpoint_is_not_signed,
}
