//! A store that is locked, full or gone: the client is told to come again, nothing is half written, and it recovers by
//! itself.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kern_tests::http::{Answer, Client};
use kern_tests::store::Store;
use serde_json::{Value, json};

use super::{Served, ids};

/// A refusal that says when to come again, with nothing that an operator alone may see.
async fn refused(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().parse::<u32>().unwrap());
    assert_eq!((answer.status().as_u16(), after.is_some_and(|seconds| seconds >= 1)), (503, true), "{after:?}");
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let said = body.to_string();
    for inner in ["app.db", "SELECT", "UPDATE", "sqlite", "SQLite", "os error", "/"] {
        assert!(!said.replace("about:blank", "").contains(inner), "`{inner}` in {said}");
    }
    Answer { status: 503, kind: String::new(), body }
}

async fn is_intact(client: &Client) {
    let verified = client.get("/audit/verify").await;
    assert_eq!((verified.status, &verified.body["intact"]), (200, &json!(true)), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_locked_a_decision_is_told_to_come_again() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "locked" }))]).await;
    let (_, approval_id) = ids(&os.run("locked").await);
    let raw = os.store.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let path = format!("/approvals/{approval_id}/resolve");
    let yes = json!({ "status": "approved", "resolved_by": "bob" });
    let answer = refused(os.client.request("POST", &path).json(&yes)).await;
    assert_eq!(answer.code(), "store_busy");
    let pending = os.client.get(&format!("/approvals/{approval_id}/status")).await;
    assert_eq!(pending.body["status"], json!("pending"), "reading goes on");
    raw.execute_batch("ROLLBACK").unwrap();
    assert_eq!(os.client.json(&path, &yes).await.status, 200);
    is_intact(&os.client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_removed_or_replaced_takes_nothing_and_shows_nothing() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "gone" }))]).await;
    let (run_id, approval_id) = ids(&os.run("gone").await);
    let (path, away) = (os.store.path(), os.store.folder.file("away.db"));
    let decide = format!("/approvals/{approval_id}/resolve");
    let yes = json!({ "status": "approved", "resolved_by": "bob" });
    let form = [("message", "go"), ("stream", "false"), ("session_id", "gone")];
    // A copy of the file as it is, for later.
    os.store.raw().execute("VACUUM INTO ?1", [os.store.folder.file("copy.db").to_str().unwrap()]).unwrap();
    for replaced in [false, true] {
        std::fs::rename(&path, &away).unwrap();
        if replaced {
            std::fs::copy(os.store.folder.file("copy.db"), &path).unwrap();
        }
        for request in [
            os.client.request("POST", &decide).json(&yes),
            os.client.request("POST", "/agents/a/runs").form(&form),
            os.client.request("GET", "/approvals"),
            os.client.request("GET", &format!("/agents/a/runs/{run_id}?session_id=gone")),
        ] {
            assert_eq!(refused(request).await.code(), "store_unavailable");
        }
        std::fs::rename(&away, &path).unwrap();
        let pending = os.client.get(&format!("/approvals/{approval_id}/status")).await;
        assert_eq!(pending.body["status"], json!("pending"), "it is there again, as it was");
    }
    assert_eq!(os.client.json(&decide, &yes).await.status, 200);
    is_intact(&os.client).await;
    let runs = os.client.get("/agents/a/runs?session_id=gone").await;
    assert_eq!(runs.body.as_array().unwrap().len(), 1);
}

/// A server in a process of its own, which is killed in the end.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The limit on the size of a file stands for a disk without room: the write itself fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_what_is_new_and_takes_it_when_there_is_room_again() {
    let store = Store::new().await;
    let worker = env!("CARGO_BIN_EXE_kern-path-worker");
    let script = "trap '' XFSZ; exec \"$0\" serve delete 200 \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, worker]).arg(store.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.env(kern_tests::ledger::FILE, store.folder.file("ledger"));
    let mut process = Process(command.spawn().unwrap());
    let mut output = std::io::BufReader::new(process.0.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    let client = Client::of(line.trim().parse().unwrap());
    let limit = |bytes: &str| {
        let status =
            Command::new("prlimit").args(["--pid", &process.0.id().to_string(), &format!("--fsize={bytes}")]).status();
        assert!(status.expect("this test needs `prlimit`").success());
    };
    let message = "x".repeat(40_000);
    let request = |session: &str| {
        let form = [("message", &*message), ("stream", "false"), ("session_id", session), ("user_id", "alice")];
        client.request("POST", "/agents/paths/runs").form(&form)
    };
    let start = async |session: &str| request(session).send().await.unwrap().status().as_u16();
    assert_eq!(start("before").await, 200);
    limit("1000000:unlimited");
    let mut taken = 1;
    while start("filling").await == 200 {
        taken += 1;
        assert!(taken < 1000, "it is never full");
    }
    let answer = refused(request("full")).await;
    assert!(["store_full", "store_unavailable"].contains(&answer.code()), "{answer:?}");
    let count = async || client.get("/approvals/count").await.body["count"].clone();
    assert_eq!(count().await, json!(taken), "all that was acknowledged, and nothing else");
    limit("unlimited:unlimited");
    let room = Instant::now();
    while start("after").await != 200 {
        assert!(room.elapsed() < Duration::from_secs(30), "there is room, and it is not taken");
    }
    assert_eq!(count().await, json!(taken + 1));
    is_intact(&client).await;
}
