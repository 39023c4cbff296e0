//! Random schedules, driven against real stores and against the oracle of the transition table side by side.
//!
//! After each step the answer, every row, and what was written into the audit log have to be what the table says. Two
//! handles that share nothing but what is stored stand for two replicas; a crash is that what one of them held is gone; the
//! clock is moved, so that no deadline has to be waited for.
//!
//! A schedule that failed is kept as a seed beside this file, and is run first from then on.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

#[path = "properties/beside.rs"]
mod beside;
#[path = "properties/schedule.rs"]
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kern_db::{Db, InMemoryDb, IntoDb, SqliteDb};
use kern_tests::scale;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

use beside::Replicas;
use schedule::Schedule;

/// Runs schedules on a kind of store.
fn run(what: &str, full: usize, open: impl AsyncFn() -> Replicas) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let config = Config {
        cases: u32::try_from(scale::of(full)).expect("a number of schedules"),
        source_file: Some(file!()),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let (steps, bodies) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let outcome = TestRunner::new(config).run(&schedule::schedules(), |schedule: Schedule| {
        let walked = runtime.block_on(async { beside::walk(&open().await, &schedule).await });
        let walked = walked.map_err(TestCaseError::fail)?;
        steps.fetch_add(walked.steps, Ordering::Relaxed);
        bodies.fetch_add(walked.bodies, Ordering::Relaxed);
        Ok(())
    });
    if let Err(failed) = outcome {
        panic!("{failed}");
    }
    let (steps, bodies) = (steps.into_inner(), bodies.into_inner());
    scale::figure(what, format!("{} schedules, {steps} steps, {bodies} bodies entered", scale::of(full)));
}

#[test]
fn every_schedule_on_a_file_goes_as_the_table_says() {
    run("schedules on SQLite, two replicas", 3_000, async || {
        let folder = kern_tests::folder::Folder::in_memory();
        let open = async || SqliteDb::open(folder.file("kern.db")).await.expect("a file opens").into_db();
        let handles: [Arc<dyn Db>; 2] = [open().await, open().await];
        Replicas { handles, _folder: Some(folder) }
    });
}

#[test]
fn every_schedule_in_memory_goes_as_the_table_says() {
    run("schedules in memory, two handles", 7_000, async || {
        let store = InMemoryDb::new();
        Replicas { handles: [store.clone().into_db(), store.into_db()], _folder: None }
    });
}

#[cfg(feature = "postgres")]
#[test]
fn every_schedule_on_postgresql_goes_as_the_table_says() {
    run("schedules on PostgreSQL, two replicas", 500, async || {
        let database = kern_tests::postgres::server().database().await;
        let handles: [Arc<dyn Db>; 2] = [database.open().await.into_db(), database.open().await.into_db()];
        Replicas { handles, _folder: None }
    });
}
