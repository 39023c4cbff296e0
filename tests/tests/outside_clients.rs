//! Software that is not ours against a server: the reference's own client, a validator of OpenAPI descriptions, and
//! Schemathesis, which makes requests out of the description. Their versions are pinned in `outside/requirements.txt`.

#![allow(clippy::unwrap_used, reason = "where a server answers something else, its answer is what a test shows")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use kern::os::{AgentOS, OsServer};
use kern::prelude::*;
use kern_tests::http::Client;
use kern_tests::obedient::{Obedient, asking};
use kern_tests::store::Store;
use kern_tests::tools::{delete_user, explode, lookup, restart};
use serde_json::{Value, json};

/// Longer than anything takes, shorter than a hanging test.
const PATIENCE: Duration = Duration::from_secs(300);

fn outside() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("outside")
}

/// A virtual environment with what `requirements.txt` names, below the folder of the build. It is made anew where that has
/// changed, or where it was not finished.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let requirements = outside().join("requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    let finished = folder.join("finished.txt");
    if std::fs::read_to_string(&finished).is_ok_and(|there| there == wanted) {
        return folder.join("bin");
    }
    let run = |program: &Path, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}, see tests/run", program.display()));
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(Path::new("python3"), &["-m", "venv", "--clear", folder.to_str().unwrap()]);
    let python = folder.join("bin/python");
    let install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input", "-r"];
    run(&python, &[&install[..], &[requirements.to_str().unwrap()]].concat());
    std::fs::write(finished, wanted).unwrap();
    folder.join("bin")
});

struct Served {
    _store: Store,
    server: OsServer,
    client: Client,
}

impl Served {
    async fn new(tools: Vec<kern::tools::ToolHandle>) -> Self {
        let store = Store::new().await;
        let agent = Agent::builder().id("a").name("Agent A").model(Obedient).tools(tools).db(store.db.clone());
        let os = AgentOS::builder().id("outside").agent(agent.build().unwrap()).build().unwrap();
        let server = os.start("127.0.0.1:0").await.unwrap();
        Self { client: Client::of(server.address()), server, _store: store }
    }

    fn base(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Starts a run of alice's, to its pause or its end.
    async fn run(&self, session: &str, calls: &[(&str, Value)]) -> Value {
        let message = asking(calls);
        let fields = [("message", &*message), ("stream", "false"), ("session_id", session), ("user_id", "alice")];
        let run = self.client.form("/agents/a/runs", &fields).await;
        assert_eq!(run.status, 200, "{run:?}");
        run.body
    }
}

/// Runs a program of the environment, which has to succeed, and gives what it said.
async fn succeeds(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let bin = tokio::task::spawn_blocking(|| PYTHON.clone()).await.unwrap();
    // Its cache would land in the working folder.
    let folder = kern_tests::folder::Folder::new();
    let mut command = tokio::process::Command::new(bin.join(program));
    command.args(arguments).envs(variables.iter().copied()).current_dir(folder.path());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_of_the_reference_drives_it_unchanged() {
    let os = Served::new(tools![lookup, restart, delete_user]).await;
    let script = outside().join("reference_client.py");
    let said = succeeds("python", &[script.to_str().unwrap(), &os.base()], &[]).await;
    assert!(said.contains("everything as it should be"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_description_is_valid_openapi() {
    let os = Served::new(tools![lookup]).await;
    let description = os.client.get("/openapi.json").await;
    assert!(description.body["openapi"].as_str().unwrap().starts_with("3.1."), "{}", description.body["openapi"]);
    let folder = kern_tests::folder::Folder::new();
    let file = folder.file("openapi.json");
    std::fs::write(&file, description.body.to_string()).unwrap();
    let arguments = ["--schema", "3.1", "--validation-errors", "all", file.to_str().unwrap()];
    let said = succeeds("openapi-spec-validator", &arguments, &[]).await;
    assert!(said.contains(": OK"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_what_its_description_says() {
    let os = Served::new(tools![lookup, restart, delete_user, explode]).await;
    let mut there = json!({ "agent_id": ["a"], "run_id": [], "session_id": [], "approval_id": [], "execution_id": [], "session_of": {}, "to_delete": [] });
    for (place, call) in ["lookup", "restart", "delete_user", "explode"].into_iter().cycle().take(12).enumerate() {
        let session = format!("s{place}");
        let arguments = match call {
            "lookup" => json!({ "key": "k" }),
            "restart" => json!({ "service": "web" }),
            "delete_user" => json!({ "user_id": "u1" }),
            _ => json!({ "why": "to be settled" }),
        };
        let run = os.run(&session, &[(call, arguments)]).await;
        there["run_id"].as_array_mut().unwrap().push(run["run_id"].clone());
        there["session_of"][run["run_id"].as_str().unwrap()] = json!(session);
        there["session_id"].as_array_mut().unwrap().push(json!(session));
    }
    for _ in 0..12 {
        let made = os.client.json("/sessions", &json!({ "user_id": "alice" })).await;
        there["to_delete"].as_array_mut().unwrap().push(made.body["session_id"].clone());
    }
    for row in os.client.get("/approvals").await.body["data"].as_array().unwrap() {
        if row["tool_name"] == "explode" {
            let yes = json!({ "status": "approved", "resolved_by": "bob" });
            os.client.json(&format!("/approvals/{}/resolve", row["id"].as_str().unwrap()), &yes).await;
        } else {
            there["approval_id"].as_array_mut().unwrap().push(row["id"].clone());
        }
    }
    // Those that explode are unknown once the worker has gone on with them.
    let begun = std::time::Instant::now();
    let unknown = loop {
        let unknown = os.client.get("/executions").await.body["data"].as_array().unwrap().clone();
        if unknown.len() == 3 {
            break unknown;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{unknown:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    there["execution_id"] = unknown.iter().map(|row| row["id"].clone()).collect();
    assert!(there["execution_id"][0].is_string() && there["approval_id"][2].is_string(), "{there}");
    let said = succeeds(
        "st",
        &[
            "--config-file",
            outside().join("schemathesis.toml").to_str().unwrap(),
            "run",
            &format!("{}/openapi.json", os.base()),
            // It never ends.
            "--exclude-path=/approvals/events",
            "--phases=examples,coverage,fuzzing",
            "--max-examples=20",
            "--seed=1",
            "--request-timeout=10",
            "--suppress-health-check=all",
            "--continue-on-failure",
        ],
        &[("SCHEMATHESIS_HOOKS", outside().join("hooks.py").to_str().unwrap()), ("KERN_THERE", &there.to_string())],
    )
    .await;
    println!("{said}");
    assert_eq!(os.client.get("/health").await.status, 200, "it still answers");
    assert_eq!(os.client.get("/audit/verify").await.body["intact"], json!(true));
}
