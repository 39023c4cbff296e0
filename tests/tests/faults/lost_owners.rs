//! Schedule 17: owners that are lost before a turn, in each turn, and too often in one.

use std::sync::Arc;

use kern::prelude::*;
use kern_db::Run;
use kern_tests::faults::{SECRET, agent};
use kern_tests::place::{On, PATIENT, Place};
use kern_tests::scale::figure;

use super::PROGRAM;

async fn killed(place: &Arc<Place>, stop: &str, words: &[&str]) {
    let (there, stop) = (Arc::clone(place), stop.to_owned());
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let kill = move || there.kill_at(&stop, &words.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(kill).await.unwrap();
    place.lapsed().await;
}

/// Another process takes over what is lost: what its bodies do stands in the ledger, too.
async fn taken_over(place: &Arc<Place>, command: &'static str) {
    let there = Arc::clone(place);
    tokio::task::spawn_blocking(move || there.start(&[command]).rest()).await.unwrap();
}

async fn only_run(place: &Place) -> Run {
    place.runs().await.remove(0)
}

/// What hooks have not passed is not there, and nobody goes on with it; what they have passed is, and they are not asked
/// again.
async fn schedule_17_killed_around_the_storing_of_the_input(on: On) {
    for (stop, status, ledger) in [
        ("begin: store an input", RunStatus::Error, 1),
        ("written: store an input", RunStatus::Error, 1),
        ("committed: store an input", RunStatus::Completed, 2),
    ] {
        let place = Arc::new(Place::new(on, PROGRAM).await);
        killed(&place, stop, &["run hooked", &format!("export {SECRET}")]).await;
        taken_over(&place, "work hooked").await;
        let run = only_run(&place).await;
        assert_eq!(run.status, status, "{stop}");
        // The hook, and the body where there was one.
        assert_eq!(place.ledger().len(), ledger, "{stop}: {:?}", place.ledger());
        assert_eq!(place.ledger().iter().filter(|line| *line == "hook").count(), 1, "hooks are asked once");
        if status == RunStatus::Error {
            let shown = agent(place.db.clone(), PATIENT * 3).get_run(&run.run_id).await.unwrap();
            assert!(shown.content().contains("interrupted"), "{stop}: {shown:?}");
        }
        if on == On::Sqlite {
            for file in place.files() {
                let bytes = std::fs::read(&file).unwrap();
                let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
                assert!(!found, "{stop}: {}", file.display());
            }
        }
    }
}

/// Three owners within one turn are too many; five within the life of a long run are not.
async fn schedule_17_five_owners_lost_in_five_turns(on: On) {
    let place = Arc::new(Place::new(on, PROGRAM).await);
    killed(&place, "committed: start a run with a turn", &["run", "five"]).await;
    let run_id = only_run(&place).await.run_id.to_string();
    for kill in 2..=5 {
        killed(&place, "committed: commit a turn", &["resume", &run_id]).await;
        let run = only_run(&place).await;
        assert_eq!((run.turn, run.recoveries), (kill, 0), "the committed turn resets the count");
    }
    taken_over(&place, "work").await;
    let run = only_run(&place).await;
    assert_eq!((run.status, run.turn), (RunStatus::Completed, 5));
    assert_eq!(place.ledger().len(), 5, "{:?}", place.ledger());
    figure(&format!("owners of one run lost, one in each turn, {}", on.name()), 5);
}

kern_tests::on_both! {
    schedule_17_killed_around_the_storing_of_the_input,
    schedule_17_five_owners_lost_in_five_turns,
}
