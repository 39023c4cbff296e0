//! What a server takes of memory while many clients ask for long lists at once. Alone in its process, so that the peak is its own.

#![allow(clippy::unwrap_used, reason = "where a server answers something else, its answer is what a test shows")]

use std::time::Duration;

use kern::os::AgentOS;
use kern::prelude::*;
use kern_tests::http::Client;
use kern_tests::store::Store;

/// Runs of the session.
const RUNS: usize = 150;
/// Bytes of each run's message. Its snapshot has them more than once.
const BYTES: usize = 100_000;
/// Requests at once.
const CLIENTS: usize = 12;
/// What an answer may have, and room for the run that is being written.
const ANSWER: usize = 8 << 20;

/// The most memory that this process has had since the last reset, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_clients_that_list_large_runs_at_once_take_bounded_memory() {
    let store = Store::new().await;
    let model = kern::models::ScriptedModel::new([kern::models::turn().text("done")]);
    let agent = Agent::builder().id("a").model(model).db(store.db.clone()).build().unwrap();
    for number in 0..RUNS {
        let message = format!("{number} {}", "x".repeat(BYTES));
        agent.run(message).session_id("large").user_id("alice").await.unwrap();
    }
    let server = AgentOS::builder().agent(agent).without_worker().build().unwrap().start("127.0.0.1:0").await.unwrap();
    let client = Client::of(server.address());
    for path in ["/agents/a/runs?session_id=large", "/sessions/large/runs", "/sessions/large"] {
        reset_peak();
        let before = peak_mib();
        let asked: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let request = client.request("GET", path);
                tokio::spawn(async move {
                    let mut answer = request.send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    let mut bytes = 0;
                    while let Some(chunk) = answer.chunk().await.unwrap() {
                        bytes += chunk.len();
                    }
                    bytes
                })
            })
            .collect();
        let mut most = 0;
        for asked in asked {
            most = most.max(tokio::time::timeout(Duration::from_secs(300), asked).await.unwrap().unwrap());
        }
        let grown = peak_mib() - before;
        println!("{path}: {CLIENTS} answers of {most} bytes at the most, {grown} MiB more memory at the peak");
        assert!(most <= ANSWER + 2 * BYTES, "{most} bytes");
        // Each answer twice, as values and as text, and some for the allocator.
        assert!(grown < (CLIENTS * ANSWER * 4) as u64 >> 20, "{grown} MiB");
    }
}
