//! Runs that are decided and cannot continue, because a tool is not the one that the call was shown with: said wherever
//! somebody looks.

use kern::db::SqliteDb;
use kern::os::{AgentOS, OsServer};
use kern::prelude::*;
use kern_tests::http::Client;
use kern_tests::store::PATIENT;
use kern_tests::tools::delete_user;
use serde_json::{Value, json};

use super::panel::Browser;
use super::{Served, ids, script};

/// The tool of a newer build.
mod newer {
    use kern::prelude::*;

    /// Delete a user. An administrator decides.
    #[approval]
    #[tool(version = "2")]
    pub(super) async fn delete_user(user_id: String) -> String {
        panic!("a call that was shown with another version ran for {user_id}")
    }
}

/// A server, with a worker, of a build with these tools on the same store.
async fn other(os: &Served, tools: Vec<kern::tools::ToolHandle>) -> (OsServer, SqliteDb) {
    let db = os.store.patient().await;
    let agent = Agent::builder().id("a").name("A").model(script(&[])).tools(tools).db(db.clone()).lease(3 * PATIENT);
    let agent = agent.build().unwrap();
    (AgentOS::builder().agent(agent).build().unwrap().start("127.0.0.1:0").await.unwrap(), db)
}

fn is_said(blocked: &Value, reason: &str) {
    assert_eq!((&blocked["code"], &blocked["tool_name"]), (&json!("tool_changed"), &json!("delete_user")), "{blocked}");
    assert_eq!(blocked["reason"], reason, "{blocked}");
    let to_do = blocked["to_do"].as_str().unwrap();
    assert!(to_do.contains("ask_again") && to_do.contains("cancel"), "{to_do}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_tool_changed_says_so_in_the_run_the_answer_the_events_and_the_panel() {
    let builds: [(Vec<kern::tools::ToolHandle>, &str); 2] =
        [(tools![newer::delete_user], "its version is another"), (tools![], "this agent does not have it")];
    for (tools, reason) in builds {
        let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
        let (run_id, approval_id) = ids(&os.run("blocked").await);
        let (server, db) = other(&os, tools).await;
        let newer = Client::of(server.address());
        let mut events = newer.read(newer.request("GET", "/approvals/events").header("last-event-id", "0")).await;

        let yes = json!({ "status": "approved", "resolved_by": "admin" });
        let answer = newer.json(&format!("/approvals/{approval_id}/resolve"), &yes).await;
        assert_eq!((answer.status, &answer.body["status"]), (200, &json!("approved")), "{answer:?}");
        is_said(&answer.body["run_blocked"], reason);

        // The worker has tried it, and says so where nobody drives the run.
        let told = loop {
            let event = events.next().await.expect("the stream goes on");
            if event.name == "blocked" {
                break event.data;
            }
        };
        assert_eq!((&told["run_id"], &told["reason"]), (&json!(run_id), &json!(reason)), "{told}");
        assert_eq!((&told["tool_name"], &told["approval_id"]), (&json!("delete_user"), &json!(approval_id)));

        let run = newer.get(&format!("/agents/a/runs/{run_id}?session_id=blocked")).await.body;
        assert_eq!(run["status"], "PAUSED");
        is_said(&run["blocked"], reason);
        assert!(run["content"].as_str().unwrap().starts_with("This run cannot continue: tool `delete_user`"), "{run}");
        let fields = [("stream", "false"), ("session_id", "blocked"), ("user_id", "alice")];
        let refused = newer.form(&format!("/agents/a/runs/{run_id}/continue"), &fields).await;
        assert_eq!((refused.status, refused.code()), (409, "tool_changed"));
        assert!(refused.body.to_string().contains("ask_again"), "{refused:?}");

        let browser = Browser::at(server.address());
        for path in ["/panel", &format!("/panel/runs/{run_id}"), &format!("/panel/approvals/{approval_id}")] {
            let page = browser.get(path).await.text;
            assert!(page.contains("This run cannot continue") && page.contains(reason), "{path}: {page}");
        }
        // However often it is tried, and by whom: one entry.
        let agent = Agent::builder().id("a").model(script(&[])).db(db.clone()).lease(3 * PATIENT).build().unwrap();
        for _ in 0..2 {
            assert_eq!(agent.resume_decided_runs().await.unwrap().len(), 1);
        }
        let entries = db.audit().entries(0, 1000).await.unwrap();
        let changed: Vec<_> = entries.iter().filter(|entry| entry.action == "tool_changed").collect();
        let reasons: Vec<_> = changed.iter().filter(|entry| entry.payload["reason"] == reason).collect();
        assert_eq!(reasons.len(), 1, "{changed:?}");
        assert!(changed.iter().all(|entry| entry.evidence));
        assert!(db.audit().verify().await.unwrap().is_intact());

        // The build that has the tool is not blocked, and runs it.
        let run = os.client.get(&format!("/agents/a/runs/{run_id}?session_id=blocked")).await.body;
        assert_eq!(run.get("blocked"), None, "{run}");
        assert!(!Browser::of(&os).get("/panel").await.text.contains("cannot continue"));
        let run = os.go_on(&run_id, "blocked", &[]).await;
        assert_eq!(run.body["status"], "COMPLETED", "{run:?}");
        let run = newer.get(&format!("/agents/a/runs/{run_id}?session_id=blocked")).await.body;
        assert_eq!(run.get("blocked"), None, "{run}");
    }
}

#[tokio::test]
async fn a_run_whose_tool_changed_says_so_in_process_and_in_its_events() {
    let store = kern_tests::store::Store::new().await;
    let calls = [("delete_user", json!({ "user_id": "u1" }))];
    let build =
        |tools| Agent::builder().id("a").model(script(&calls)).tools(tools).db(store.db.clone()).build().unwrap();
    let (old, new) = (build(tools![delete_user]), build(tools![newer::delete_user]));
    let run = old.run("go").user_id("alice").await.unwrap();
    assert_eq!(run.blocked, None);
    store.approve_all(&run.run_id).await;
    let seen = new.get_run(&run.run_id).await.unwrap();
    let blocked = seen.blocked.clone().unwrap();
    assert_eq!((&*blocked.code, &*blocked.tool_name), ("tool_changed", "delete_user"));
    assert_eq!(blocked.reason, "its version is another");
    assert!(seen.content().contains("cannot continue"), "{}", seen.content());
    // As JSON, and back.
    let json = serde_json::to_value(&seen).unwrap();
    assert_eq!(serde_json::from_value::<RunOutput>(json).unwrap().blocked, Some(blocked));
    // The way out that it names.
    let again = new.continue_run(&run.run_id).user_id("alice").ask_again().await.unwrap();
    assert_eq!((again.status, again.blocked), (RunStatus::Paused, None));
    assert!(old.get_run(&run.run_id).await.unwrap().blocked.is_some(), "now it is the older build that cannot");
}
