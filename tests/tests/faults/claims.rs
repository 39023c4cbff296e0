//! Claims whose acknowledgement was lost: read back by the owner token, and used only while the lease of the claim holds.

use std::sync::Arc;

use kern_db::ExecutionStatus;
use kern_tests::faults::agent;
use kern_tests::history;
use kern_tests::place::{On, PATIENT, Place, SHORT};

use super::PROGRAM;

/// A store with a run that is paused and approved.
async fn approved(on: On, script: &str) -> (Arc<Place>, kern_db::RunId) {
    let place = Arc::new(Place::new(on, PROGRAM).await);
    let run = agent(place.db.clone(), PATIENT * 3).run(script).user_id("alice").await.unwrap();
    place.approve(&run.run_id).await;
    (place, run.run_id)
}

/// Continues a run in a process of its own, in which calls of the store fail.
async fn continued(place: &Arc<Place>, fails: &str, command: &'static str, run_id: &kern_db::RunId) -> String {
    let (there, fails, word) = (Arc::clone(place), fails.to_owned(), run_id.to_string());
    let said = move || there.run_failing(&fails, &[command, &word]);
    tokio::task::spawn_blocking(said).await.unwrap().join(" ")
}

/// The claim is committed and its acknowledgement is lost: the process that lives goes on with it, and each body runs once.
/// By the script: the call that is claimed with its run, a call by itself, an implied confirmation before a call, and a bare
/// audit call.
async fn i7_a_claim_whose_acknowledgement_was_lost_is_read_back_and_used(on: On) {
    for (lost, script, command, bodies) in [
        ("claim a run", "delete", "resume", 1),
        ("claim a run", "erase", "go on", 1),
        ("claim a call", "erase", "go on", 1),
        ("claim a call", "two", "resume", 2),
    ] {
        let (place, run_id) = approved(on, script).await;
        let said = continued(&place, &format!("committed: {lost}=1*return(lost)"), command, &run_id).await;
        assert_eq!(said, format!("{run_id} COMPLETED"), "{lost}, {script}");
        assert_eq!(place.ledger().len(), bodies, "{lost}, {script}: {:?}", place.ledger());
        assert!(place.executions(Some(ExecutionStatus::Unknown)).await.is_empty(), "{lost}, {script}");
        history::check(&*place.db).await;
    }
    let place = Arc::new(Place::new(on, PROGRAM).await);
    let there = Arc::clone(&place);
    let run = move || there.run_failing("committed: claim a call=1*return(lost)", &["run", "export"]);
    let said = tokio::task::spawn_blocking(run).await.unwrap().join(" ");
    assert!(said.ends_with("COMPLETED"), "a bare audit call: {said}");
    assert_eq!(place.ledger().len(), 1, "{:?}", place.ledger());
    history::check(&*place.db).await;
}

/// A claim that was not committed is not read back: the caller is told what the store said, and nothing is entered.
async fn i2_a_claim_that_was_not_committed_is_not_read_back(on: On) {
    for (lost, script, command) in [("claim a run", "delete", "resume"), ("claim a call", "erase", "go on")] {
        let (place, run_id) = approved(on, script).await;
        let said = continued(&place, &format!("commit: {lost}=1*return(lost)"), command, &run_id).await;
        assert_eq!(said, "store_unavailable", "{lost}");
        assert_eq!(place.ledger().len(), 0, "{lost}: {:?}", place.ledger());
        // The process that continues the run next enters the body.
        assert_eq!(continued(&place, "open=off", command, &run_id).await, format!("{run_id} COMPLETED"), "{lost}");
        assert_eq!(place.ledger().len(), 1, "{lost}: {:?}", place.ledger());
        history::check(&*place.db).await;
    }
}

kern_tests::on_both! {
    i7_a_claim_whose_acknowledgement_was_lost_is_read_back_and_used,
    i2_a_claim_that_was_not_committed_is_not_read_back,
}

/// What these tests hold on a file: a server is asked by the store itself what became of a commit.
mod sqlite_file {
    use super::*;

    /// The body is entered only once the claim that was read back is in the mark.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn i1_a_claim_that_is_read_back_is_in_the_mark_before_its_body() {
        let (place, run_id) = approved(On::Sqlite, "delete").await;
        let fails = "committed: claim a run=1*return(lost);mark: keep the mark of the store=1*return(io)";
        let said = continued(&place, fails, "resume", &run_id).await;
        assert_eq!(said, "mark_not_written");
        assert_eq!(place.ledger().len(), 0, "{:?}", place.ledger());
    }

    /// What is committed and not in the mark is not read back, however often it is asked for.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn i1_a_claim_that_is_not_in_the_mark_is_not_read_back() {
        let (place, run_id) = approved(On::Sqlite, "delete").await;
        let said = continued(&place, "mark: keep the mark of the store=1*return(io)", "resume", &run_id).await;
        assert_eq!(said, "mark_not_written");
        assert_eq!(place.ledger().len(), 0, "{:?}", place.ledger());
    }

    /// The lease of the claim is over by the time that it is read back: another process may have recovered the run.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn i6_a_claim_that_is_read_back_after_its_lease_is_not_used() {
        let late = (SHORT * 4).as_millis();
        for (lost, script, command) in [("claim a run", "erase", "go on"), ("claim a call", "erase", "go on")] {
            let (place, run_id) = approved(On::Sqlite, script).await;
            let fails = format!("committed: {lost}=1*return(lost);begin: read a claim back=1*sleep({late})");
            let said = continued(&place, &fails, command, &run_id).await;
            assert_eq!(said, "store_unavailable", "{lost}");
            assert_eq!(place.ledger().len(), 0, "{lost}: {:?}", place.ledger());
            history::check(&*place.db).await;
        }
    }
}
