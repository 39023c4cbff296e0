//! Races over processes and tasks, and over both channels: one wins, and everybody else is told so.

use std::collections::BTreeMap;
use std::sync::Arc;

use kern::prelude::*;
use kern_db::{ApprovalStatus, Error, ExecutionStatus, Settlement};
use kern_tests::children::Worker;
use kern_tests::command::Kern;
use kern_tests::faults::agent;
use kern_tests::history;
use kern_tests::place::{On, PATIENT, Place};
use kern_tests::scale::figure;

use super::PROGRAM;
use super::endings::counts;

/// Processes, and tasks in each of them.
const PROCESSES: usize = 3;
const TASKS: usize = 3;

/// I6: of all who go on with a run, one enters its body.
async fn i6_of_nine_tasks_in_three_processes_that_resume_a_run_one_enters_its_body(on: On) {
    let rounds = on.scaled(10_000);
    let place = Arc::new(Place::new(on, PROGRAM).await);
    let agent = agent(place.db.clone(), PATIENT * 3);
    let (sender, runs) = std::sync::mpsc::sync_channel::<String>(16);
    let racing = {
        let place = Arc::clone(&place);
        tokio::task::spawn_blocking(move || {
            let tasks = TASKS.to_string();
            let mut racers: Vec<Worker> = (0..PROCESSES).map(|_| place.start(&["race", &tasks])).collect();
            let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
            for run_id in runs {
                racers.iter_mut().for_each(|racer| racer.tell(&run_id));
                let said: Vec<String> = racers.iter_mut().map(Worker::line).collect();
                let won: usize = said.iter().map(|line| line.matches("COMPLETED").count()).sum();
                assert_eq!(won, 1, "{run_id}: {said:?}");
                for outcome in said.iter().flat_map(|line| line.split(' ')) {
                    *outcomes.entry(outcome.to_owned()).or_default() += 1;
                }
            }
            outcomes
        })
    };
    for _ in 0..rounds {
        let run = agent.run("delete").user_id("alice").await.unwrap();
        place.approve(&run.run_id).await;
        let sender = sender.clone();
        tokio::task::spawn_blocking(move || sender.send(run.run_id.to_string()).unwrap()).await.unwrap();
    }
    drop(sender);
    let outcomes = racing.await.unwrap();
    let expected = ["COMPLETED", "already_running", "not_paused"];
    assert!(outcomes.keys().all(|outcome| expected.contains(&outcome.as_str())), "{outcomes:?}");
    assert_eq!(outcomes.values().sum::<usize>(), rounds * PROCESSES * TASKS);
    let ledger = counts(&place);
    let doubled = ledger.values().filter(|count| **count != 1).count();
    assert_eq!((ledger.len(), doubled), (rounds, 0));
    history::check(&*place.db).await;
    let what = format!("rounds of racing resumers, {}", on.name());
    figure(&what, format!("{rounds}, of {PROCESSES} processes with {TASKS} tasks each: {doubled} double executions"));
}

/// I4: the command line and the API are two ways to one statement.
async fn i4_of_the_command_and_the_api_one_decides(on: On) {
    let rounds = on.scaled(200);
    let place = Place::new(on, PROGRAM).await;
    let agent = agent(place.db.clone(), PATIENT * 3);
    let mut by_command = 0;
    for round in 0..rounds {
        let run = agent.run("delete").user_id("alice").await.unwrap();
        let id = place.run(&run.run_id).await.calls[0].approval.as_ref().unwrap().id.clone();
        let kern = Kern::on(place.address());
        let commands = ["approve", "reject"].map(|word| {
            let by = format!("{word} by command");
            kern.start(&["approvals", word, id.as_str(), "--yes", "--by", &by, "--json"])
        });
        // The command takes a moment to start.
        tokio::time::sleep(std::time::Duration::from_millis(u64::try_from(round % 30).unwrap())).await;
        let decide = |resolution: Resolution| {
            let (db, id) = (place.db.clone(), id.clone());
            tokio::spawn(async move { db.update_approval(&id, ApprovalStatus::Pending, resolution.by("api")).await })
        };
        let (yes, no) = (decide(Resolution::approved()), decide(Resolution::rejected()));
        let api = [yes.await.unwrap(), no.await.unwrap()];
        let approval = place.db.get_approval(&id).await.unwrap();
        let mut won = api.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(
            api.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Error::Conflict { at: Some(_), .. }))),
            "{api:?}"
        );
        for command in commands {
            let output = tokio::task::spawn_blocking(|| command.wait_with_output().unwrap()).await.unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            if output.status.success() {
                won += 1;
                by_command += 1;
            } else {
                assert!(said.contains("\"conflict\""), "{said}");
            }
        }
        assert_eq!(won, 1, "{approval:?}");
    }
    history::check(&*place.db).await;
    let what = format!("rounds of the command against the API, {}", on.name());
    figure(&what, format!("{rounds}, each with one winner, {by_command} times the command"));
}

/// X9 by both channels.
async fn i4_of_the_command_and_the_api_one_settles(on: On) {
    let rounds = on.scaled(100);
    let place = Place::new(on, PROGRAM).await;
    let agent = agent(place.db.clone(), PATIENT * 3);
    for round in 0..rounds {
        let run = agent.run("explode").user_id("alice").await.unwrap();
        place.approve(&run.run_id).await;
        let run = agent.continue_run(&run.run_id).user_id("bob").await.unwrap();
        assert!(run.attention);
        let id = place.run(&run.run_id).await.calls[0].execution.as_ref().unwrap().id.clone();
        let words =
            ["executions", "settle", id.as_str(), "--as", "succeeded", "--note", "looked", "--by", "ops", "--json"];
        let command = Kern::on(place.address()).start(&words);
        tokio::time::sleep(std::time::Duration::from_millis(u64::try_from(round % 30).unwrap())).await;
        let api = place.db.settle_execution(&id, Settlement::failed("no").by("admin").note("looked")).await;
        let output = tokio::task::spawn_blocking(|| command.wait_with_output().unwrap()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let status = place.run(&run.run_id).await.calls[0].execution.as_ref().unwrap().status;
        match api {
            Ok(_) => assert!(!output.status.success() && said.contains("\"conflict\""), "{said}"),
            Err(Error::ExecutionConflict { .. }) => assert!(output.status.success(), "{said}"),
            Err(error) => panic!("{error}"),
        }
        let expected = if output.status.success() { ExecutionStatus::Succeeded } else { ExecutionStatus::Failed };
        assert_eq!(status, expected);
    }
    history::check(&*place.db).await;
    let what = format!("rounds of the command against the API about an unknown call, {}", on.name());
    figure(&what, format!("{rounds}, each with one winner"));
}

kern_tests::on_both!(
    i4_of_the_command_and_the_api_one_decides,
    i4_of_the_command_and_the_api_one_settles,
    i6_of_nine_tasks_in_three_processes_that_resume_a_run_one_enters_its_body,
);
