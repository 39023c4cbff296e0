//! A process killed at one place of kern's code, another one that goes on: what is between two places is never half done.

use std::sync::Arc;

use kern::prelude::*;
use kern_db::{Call, ExecutionStatus, Run, RunId, Standing};
use kern_tests::faults::agent;
use kern_tests::folder::Folder;
use kern_tests::place::{HERE, On, PATIENT, Place, SHORT, STOP};
use kern_tests::scale::{self, figure};

use super::PROGRAM;
use super::endings::{counts, effects, nothing_doubled, nothing_stuck, orphans, recovered, to_the_end};

/// A store that only this test has, and the agent in this process.
struct Ground {
    place: Arc<Place>,
    agent: Agent,
}

impl Ground {
    async fn new(on: On) -> Self {
        let place = Arc::new(Place::new(on, PROGRAM).await);
        let agent = agent(place.db.clone(), PATIENT * 3);
        Self { place, agent }
    }

    /// A run that waits for its decisions.
    async fn paused(&self, script: &str) -> RunId {
        let run = self.agent.run(script).user_id("alice").await.unwrap();
        assert!(run.is_paused(), "{script}");
        run.run_id
    }

    async fn approved(&self, script: &str) -> RunId {
        let run_id = self.paused(script).await;
        self.place.approve(&run_id).await;
        run_id
    }

    /// Kills one process for each of these words, where it has reached a place. One after another: most of these places
    /// are inside of a transaction, and keep everybody else out.
    async fn kill(&self, stop: &str, command: &str, words: Vec<String>) {
        let (place, stop, command) = (Arc::clone(&self.place), stop.to_owned(), command.to_owned());
        let kills = move || words.iter().for_each(|word| place.kill_at(&stop, &[&command, word]));
        tokio::task::spawn_blocking(kills).await.unwrap();
    }
}

/// What a killed process had in hand.
struct Crash {
    /// The place of kern's code.
    at: &'static str,
    script: &'static str,
    /// What the process does: it goes on with an approved run, answers one as its requester, or starts one.
    command: &'static str,
    /// How often the call that is unknown now had its effect.
    effects: usize,
}

/// From the commit of a call's claim to the commit of its outcome, for every tier that has a body here.
const BETWEEN: &[Crash] = &[
    Crash { at: "committed: claim a run", script: "delete", command: "resume", effects: 0 },
    Crash { at: "enter: run a tool", script: "delete", command: "resume", effects: 0 },
    Crash { at: "body: before its effect", script: "delete", command: "resume", effects: 0 },
    Crash { at: "body: after its effect", script: "delete", command: "resume", effects: 1 },
    Crash { at: "left: run a tool", script: "delete", command: "resume", effects: 1 },
    Crash { at: "begin: record an outcome", script: "delete", command: "resume", effects: 1 },
    Crash { at: "written: record an outcome", script: "delete", command: "resume", effects: 1 },
    Crash { at: "commit: record an outcome", script: "delete", command: "resume", effects: 1 },
    Crash { at: "committed: claim a call", script: "two", command: "resume", effects: 0 },
    Crash { at: "committed: claim a call", script: "erase", command: "go on", effects: 0 },
    Crash { at: "commit: record an outcome", script: "restart", command: "answer", effects: 1 },
    Crash { at: "committed: claim a call", script: "export", command: "run", effects: 0 },
    Crash { at: "begin: record an outcome", script: "export", command: "run", effects: 1 },
];

/// I1, I6, I7, I8: what was started and has no recorded end is `unknown`, and nothing starts it again.
async fn i6_killed_between_claim_and_outcome_a_call_is_unknown_and_never_doubled(on: On) {
    let ground = Ground::new(on).await;
    let place = &ground.place;
    let each = on.scaled(2_000).div_ceil(BETWEEN.len());
    let mut killed = Vec::new();
    for crash in BETWEEN {
        let mut runs = Vec::new();
        let before: Vec<RunId> = place.runs().await.into_iter().map(|run| run.run_id).collect();
        if crash.command == "run" {
            ground.kill(crash.at, crash.command, vec![crash.script.to_owned(); each]).await;
            let after = place.runs().await.into_iter().map(|run| run.run_id);
            runs.extend(after.filter(|run_id| !before.contains(run_id)));
        } else {
            for _ in 0..each {
                runs.push(match crash.script {
                    "restart" => ground.paused(crash.script).await,
                    _ => ground.approved(crash.script).await,
                });
            }
            ground.kill(crash.at, crash.command, runs.iter().map(ToString::to_string).collect()).await;
        }
        assert_eq!(runs.len(), each, "{}", crash.at);
        killed.extend(runs.into_iter().map(|run_id| (run_id, crash)));
    }
    recovered(place).await;

    let found = place.runs().await;
    let ledger = counts(place);
    nothing_doubled(&found, &ledger);
    nothing_stuck(&found);
    for (run_id, crash) in &killed {
        let run = found.iter().find(|run| run.run_id == *run_id).unwrap();
        assert_eq!(run.status, RunStatus::Paused, "{}: {run:?}", crash.at);
        let lost = effects(run, &ledger);
        let unknown: Vec<_> = lost.iter().filter(|(status, _)| *status == Some(ExecutionStatus::Unknown)).collect();
        assert_eq!(unknown, [&(Some(ExecutionStatus::Unknown), crash.effects)], "{}: {run:?}", crash.at);
        let refused = ground.agent.continue_run(run_id).user_id("alice").await.unwrap_err();
        assert_eq!(refused.code(), "execution_unknown", "{}", crash.at);
    }
    // Every one of them is listed, and nothing else is.
    assert_eq!(place.executions(Some(ExecutionStatus::Unknown)).await.len(), killed.len());
    let seen = to_the_end(place).await;
    assert_eq!((seen.unknown, seen.ended[&RunStatus::Completed]), (killed.len(), killed.len()));
    let doubled = counts(place).values().filter(|count| **count > 1).count();
    assert_eq!(doubled, 0);
    let figure = |what: &str, value: usize| {
        figure(&format!("killed between claim and recorded outcome, {}: {what}", on.name()), value);
    };
    figure("kills", killed.len());
    figure("double executions", doubled);
    figure("of them unknown", seen.unknown);
}

/// What a process does when it is killed, and the transition that it is killed in.
struct Step {
    action: &'static str,
    script: &'static str,
    command: &'static str,
    ready: Ready,
}

/// What a run is like before.
#[derive(Clone, Copy, PartialEq)]
enum Ready {
    Paused,
    Approved,
    /// Its call was started by a process that is gone.
    Lost,
    /// The same, found by somebody since.
    Unknown,
}

const fn step(action: &'static str, script: &'static str, command: &'static str, ready: Ready) -> Step {
    Step { action, script, command, ready }
}

const STEPS: &[Step] = &[
    step("decide an approval", "delete", "approve", Ready::Paused),
    step("store an answer", "restart", "answer", Ready::Paused),
    step("claim a run", "delete", "resume", Ready::Approved),
    step("claim a call", "erase", "go on", Ready::Approved),
    step("claim a call", "two", "resume", Ready::Approved),
    step("record an outcome", "delete", "resume", Ready::Approved),
    step("end a run", "delete", "resume", Ready::Approved),
    step("cancel a run", "delete", "cancel", Ready::Approved),
    step("cancel a run", "delete", "cancel", Ready::Paused),
    step("delete an approval", "delete", "delete", Ready::Approved),
    step("delete an approval", "delete", "delete", Ready::Paused),
    step("recover a run", "two", "resume", Ready::Lost),
    step("settle an execution", "delete", "settle", Ready::Unknown),
];

/// What a transition may change of a run.
fn state(run: &Run) -> String {
    let call = |call: &Call| format!("{:?} {:?} {:?}", call.answer, call.approval, call.execution);
    let calls: Vec<String> = run.calls.iter().map(call).collect();
    format!("{} {} {} {} {} {calls:?}", run.status, run.fence, run.turn, run.recoveries, run.snapshot)
}

/// I3, I12, I19: wherever its process is killed, a transition is there whole or not at all; and another process goes on
/// from either to the end.
async fn i19_a_transition_is_there_whole_or_not_at_all(on: On) {
    let ground = Ground::new(on).await;
    let place = &ground.place;
    let each = on.scaled(20);
    let mut kills = 0;
    for Step { action, script, command, ready } in STEPS {
        let mut runs = Vec::new();
        for _ in 0..each * 4 {
            runs.push(match ready {
                Ready::Paused => ground.paused(script).await,
                _ => ground.approved(script).await,
            });
        }
        let words = |runs: &[RunId]| runs.iter().map(ToString::to_string).collect();
        if matches!(ready, Ready::Lost | Ready::Unknown) {
            ground.kill("body: after its effect", "resume", words(&runs)).await;
            place.lapsed().await;
        }
        let mut targets: Vec<String> = words(&runs);
        if *ready == Ready::Unknown {
            targets.clear();
            for run_id in &runs {
                assert_eq!(place.db.recover_run(run_id.clone()).await.unwrap(), kern_db::Recovered::Paused);
                let execution = place.run(run_id).await.calls.remove(0).execution.unwrap();
                targets.push(execution.id.to_string());
            }
        }
        for (number, at) in ["begin", "written", "commit", "committed"].into_iter().enumerate() {
            let range = number * each..(number + 1) * each;
            let mut before = Vec::new();
            for run_id in &runs[range.clone()] {
                before.push(state(&place.run(run_id).await));
            }
            // What the process did before is committed, and is not what this is about.
            let first = matches!(*action, "claim a call" | "record an outcome" | "end a run");
            let stop = format!("{at}: {action}");
            ground.kill(&stop, command, targets[range.clone()].to_vec()).await;
            kills += each;
            for (run_id, before) in runs[range].iter().zip(before) {
                let run = place.run(run_id).await;
                let after = state(&run);
                let committed = at == "committed";
                if !first {
                    assert_eq!(after != before, committed, "{stop} of {command} {script}: {before} then {after}");
                }
                let standing = &run.calls.last().unwrap().standing;
                match *action {
                    "claim a call" => {
                        assert_eq!(*standing == Standing::Executing, committed, "{stop}: {run:?}");
                    }
                    "record an outcome" => {
                        assert_eq!(matches!(standing, Standing::Outcome(_)), committed, "{stop}: {run:?}");
                    }
                    "end a run" => assert_eq!(run.status == RunStatus::Completed, committed, "{stop}: {run:?}"),
                    _ => {}
                }
            }
        }
    }
    recovered(place).await;
    let runs = place.runs().await;
    nothing_doubled(&runs, &counts(place));
    nothing_stuck(&runs);
    to_the_end(place).await;
    figure(&format!("kills in and around every other transition, {}", on.name()), kills);
}

/// Where a run pauses: its start with a turn, a turn after a body, the end of what runs before the pause.
const PAUSING: &[(&str, &str)] = &[
    ("start a run with a turn", "delete"),
    ("start a run with a turn", "mixed"),
    ("start a run with a turn", "looks first"),
    ("pause a run", "looks first"),
    ("commit a turn", "again"),
];

/// I3: no approval without its run, and no paused run without its approvals.
async fn i3_killed_while_it_pauses_a_run_and_its_approvals_are_there_together_or_not(on: On) {
    let ground = Ground::new(on).await;
    let place = &ground.place;
    let each = on.scaled(1_000).div_ceil(PAUSING.len() * 4);
    let (mut kills, mut lost) = (0, 0);
    for (action, script) in PAUSING {
        for at in ["begin", "written", "commit", "committed"] {
            let stop = format!("{at}: {action}");
            let before = place.runs().await;
            let (command, mut words) = ("run", vec![(*script).to_owned(); each]);
            if *script == "again" {
                words.clear();
                for _ in 0..each {
                    words.push(ground.approved(script).await.to_string());
                }
                ground.kill(&stop, "resume", words).await;
            } else {
                ground.kill(&stop, command, words).await;
            }
            kills += each;
            let runs = place.runs().await;
            lost += orphans(place, &runs).await;
            let new = runs.len() - before.len();
            let stored = *action != "start a run with a turn" || at == "committed";
            assert_eq!(new, if stored { each } else { 0 }, "{stop} {script}");
            let waiting = |runs: &[Run]| {
                let asks = |call: &Call| call.standing == Standing::AwaitsApproval;
                runs.iter().filter(|run| run.status == RunStatus::Paused && run.calls.iter().any(asks)).count()
            };
            let pauses = at == "committed" && !(*action == "start a run with a turn" && *script != "delete");
            assert_eq!(waiting(&runs) - waiting(&before), if pauses { each } else { 0 }, "{stop} {script}");
        }
    }
    recovered(place).await;
    let runs = place.runs().await;
    lost += orphans(place, &runs).await;
    nothing_doubled(&runs, &counts(place));
    nothing_stuck(&runs);
    assert_eq!(lost, 0);
    to_the_end(place).await;
    figure(&format!("kills while pausing, {}", on.name()), kills);
    figure(&format!("orphans of them, {}", on.name()), lost);
}

kern_tests::on_both!(
    i3_killed_while_it_pauses_a_run_and_its_approvals_are_there_together_or_not,
    i6_killed_between_claim_and_outcome_a_call_is_unknown_and_never_doubled,
    i19_a_transition_is_there_whole_or_not_at_all,
);

/// Killed while it makes the tables, a process leaves none or all of them, and the next one finishes.
#[tokio::test(flavor = "multi_thread")]
async fn i3_killed_while_it_makes_a_store_a_process_leaves_none_or_a_whole_one() {
    let mut kills = 0;
    for stop in [
        "migrate: init",
        "commit: bring the database to this version's schema",
        "committed: bring the database to this version's schema",
    ] {
        for _ in 0..scale::of(20) {
            let folder = Folder::new();
            let path = folder.file("app.db");
            let mut command = std::process::Command::new(PROGRAM);
            command.arg(&path).arg(SHORT.as_millis().to_string()).arg("open").env(STOP, stop);
            let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
            let mut said = String::new();
            let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
            std::io::BufRead::read_line(&mut output, &mut said).unwrap();
            assert_eq!(said.trim_end(), HERE, "{stop}");
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            kern_tests::history::check(&kern::db::SqliteDb::open(&path).await.unwrap()).await;
        }
    }
    figure("kills while making a store", kills);
}
