//! Processes under load, killed at random. Others have taken over meanwhile, and one goes on when all are gone.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kern::prelude::*;
use kern_db::{ExecutionStatus, Standing};
use kern_tests::children::Worker;
use kern_tests::place::{On, Place};
use kern_tests::scale::figure;

use super::PROGRAM;
use super::endings::{counts, nothing_doubled, nothing_stuck, orphans, recovered, to_the_end};

/// Kills on one store, before everything there is brought to its end.
const BATCH: usize = 25;
/// Processes that live at the same time, beside the one that decides.
const AT_ONCE: usize = 2;

/// Numbers that nobody foresees: xorshift, from a seed that is told.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What came of a number of kills.
#[derive(Default)]
struct Sum {
    kills: usize,
    runs: usize,
    effects: usize,
    doubled: usize,
    lost: usize,
    stuck: usize,
    unknown: usize,
}

/// Kills a number of processes of a store, and gives what they had said of pauses, and who decided what.
fn kills(place: &Place, number: usize, random: &mut Random) -> (Vec<String>, Vec<String>) {
    let decider = place.start(&["decide"]);
    let mut alive: Vec<Worker> = (0..AT_ONCE).map(|_| place.victim(&["load", "2"])).collect();
    let mut said = Vec::new();
    for _ in 0..number {
        // By chance the older or the younger one, after it has paused some runs and a moment more.
        let chosen = usize::try_from(random.below(AT_ONCE as u64)).unwrap();
        let mut victim = alive.swap_remove(chosen);
        for _ in 0..=random.below(4) {
            said.push(victim.line());
        }
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        said.extend(victim.kill());
        alive.push(place.victim(&["load", "2"]));
    }
    for victim in alive {
        said.extend(victim.kill());
    }
    (said, decider.rest())
}

/// I6, I7, I9, I12, I19: nothing doubled, nothing lost, nothing stuck, and the log says how it came.
async fn i7_killed_at_random_under_load_nothing_is_doubled_lost_or_stuck(on: On) {
    let seed = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() & 0xffff_ffff).unwrap();
    figure(&format!("seed of the random kills, {}", on.name()), seed);
    let mut sum = Sum::default();
    let full = on.scaled(1_000);
    while sum.kills < full {
        let number = BATCH.min(full - sum.kills);
        let place = Place::new(on, PROGRAM).await;
        let mut random = Random(seed + sum.kills as u64 + 1);
        let (place, said, decided) = tokio::task::spawn_blocking(move || {
            let (said, decided) = kills(&place, number, &mut random);
            (place, said, decided)
        })
        .await
        .unwrap();
        recovered(&place).await;
        let runs = place.runs().await;
        let ledger = counts(&place);
        nothing_doubled(&runs, &ledger);
        nothing_stuck(&runs);
        assert_eq!(orphans(&place, &runs).await, 0);
        // What a process was told is there, though the process is not.
        let stored: HashMap<&str, &kern_db::Run> = runs.iter().map(|run| (run.run_id.as_str(), run)).collect();
        let told = said.iter().filter_map(|line| line.split_once(' '));
        sum.lost += told.filter(|(run_id, _)| !stored.contains_key(run_id)).count();
        for (id, status) in decided.iter().filter_map(|line| line.split_once(' ')) {
            let approval = place.db.get_approval(&id.into()).await.unwrap();
            sum.lost += usize::from(approval.is_none_or(|approval| approval.status.as_str() != status));
        }
        // Every lost execution is listed.
        let calls = runs.iter().flat_map(|run| &run.calls);
        let unknown = calls.filter(|call| call.standing == Standing::Unknown).count();
        let listed = place.executions(Some(ExecutionStatus::Unknown)).await.len();
        assert!(listed >= unknown, "{listed} of {unknown}");
        sum.unknown += listed;
        let seen = to_the_end(&place).await;
        assert_eq!(seen.ended.values().sum::<usize>(), runs.len());
        let open = [RunStatus::Paused, RunStatus::Running];
        sum.stuck += open.iter().filter_map(|status| seen.ended.get(status)).sum::<usize>();
        sum.kills += number + AT_ONCE;
        sum.runs += runs.len();
        let protected = |line: &&String| !line.starts_with("lookup");
        let ledger = counts(&place);
        sum.effects += ledger.keys().filter(protected).count();
        sum.doubled += ledger.iter().filter(|(line, count)| protected(line) && **count > 1).count();
    }
    assert_eq!((sum.doubled, sum.lost, sum.stuck), (0, 0, 0));
    let figure = |what: &str, value: usize| figure(&format!("random kills under load, {}: {what}", on.name()), value);
    figure("kills", sum.kills);
    figure("runs", sum.runs);
    figure("effects of protected calls", sum.effects);
    figure("doubled", sum.doubled);
    figure("lost", sum.lost);
    figure("stuck", sum.stuck);
    figure("unknown, each of them listed", sum.unknown);
}

kern_tests::on_both!(i7_killed_at_random_under_load_nothing_is_doubled_lost_or_stuck);
