//! Checkpoints of the audit log: made whole or not at all, and by any number of processes.

use std::sync::Arc;

use kern::db::CheckpointKey;
use kern_tests::children::Worker;
use kern_tests::faults::agent;
use kern_tests::place::{On, PATIENT, Place};
use kern_tests::scale::figure;

use super::PROGRAM;

/// Processes that make checkpoints at the same time.
const MAKERS: usize = 3;

/// I13, I19: a checkpoint whose process is killed is there, signed, or is not.
async fn i13_killed_while_it_makes_a_checkpoint_a_process_leaves_a_whole_one_or_none(on: On) {
    let place = Arc::new(Place::new(on, PROGRAM).await);
    let agent = agent(place.db.clone(), PATIENT * 3);
    let key = CheckpointKey::generate().unwrap();
    let each = on.scaled(20);
    for at in ["begin", "written", "commit", "committed"] {
        for _ in 0..each {
            let _ = agent.run("delete").user_id("alice").await.unwrap();
            let before = place.db.audit().checkpoints(0, 10_000).await.unwrap().len();
            let (victims, hex, stop) = (Arc::clone(&place), key.to_hex(), format!("{at}: make a checkpoint"));
            let kill = move || victims.kill_at(&stop, &["checkpoint", &hex]);
            tokio::task::spawn_blocking(kill).await.unwrap();
            let after = place.db.audit().checkpoints(0, 10_000).await.unwrap().len();
            assert_eq!(after - before, usize::from(at == "committed"), "{at}");
        }
    }
    // Whoever comes next goes on from there.
    let kept = vec![place.db.audit().checkpoint(&key).await.unwrap().unwrap()];
    let report = place.db.audit().verify_signed(kept, &key.public()).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    figure(&format!("kills while making a checkpoint, {}", on.name()), each * 4);
}

/// I13: every checkpoint of several processes follows on the one before it.
async fn i13_of_several_processes_every_checkpoint_follows_on_the_last(on: On) {
    let place = Arc::new(Place::new(on, PROGRAM).await);
    let agent = agent(place.db.clone(), PATIENT * 3);
    let key = CheckpointKey::generate().unwrap();
    let hex = key.to_hex();
    let rounds = on.scaled(100);
    let mut makers: Vec<_> = (0..MAKERS).map(|_| place.start(&["checkpoints", &hex])).collect();
    let mut made = Vec::new();
    for _ in 0..rounds {
        makers.iter_mut().for_each(|maker| maker.tell("make"));
        // The log grows meanwhile.
        for _ in 0..2 {
            let _ = agent.run("delete").user_id("alice").await.unwrap();
        }
        let (said, back) = tokio::task::spawn_blocking(move || {
            let said: Vec<String> = makers.iter_mut().map(Worker::line).collect();
            (said, makers)
        })
        .await
        .unwrap();
        makers = back;
        // There is nothing to sign until the first run has started.
        made.extend(said.iter().filter(|said| *said != "nothing new").map(|size| size.parse::<i64>().unwrap()));
    }
    drop(makers);
    let stored = place.db.audit().checkpoints(0, 10_000).await.unwrap();
    let sizes: Vec<i64> = stored.iter().map(|checkpoint| checkpoint.size).collect();
    let told = made.len();
    // Where nothing was added since, the last one is given again.
    made.sort_unstable();
    made.dedup();
    assert_eq!(made, sizes, "what a process was told is there, and nothing else");
    assert!(sizes.len() >= rounds / 2, "{} in {rounds} rounds", sizes.len());
    let report = place.db.audit().verify_signed(stored, &key.public()).await.unwrap();
    assert!(report.is_intact(), "{report:?}");
    let what = format!("checkpoints made by {MAKERS} processes, {}", on.name());
    figure(&what, format!("{} for {told} requests, each on the last", made.len()));
}

kern_tests::on_both!(
    i13_killed_while_it_makes_a_checkpoint_a_process_leaves_a_whole_one_or_none,
    i13_of_several_processes_every_checkpoint_follows_on_the_last,
);
