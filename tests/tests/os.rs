//! AgentOS over HTTP: what kern does beside, and against, what the reference does.

#![allow(clippy::unwrap_used, reason = "where a server answers something else, its answer is what a test shows")]

#[path = "os/bad_input.rs"]
mod bad_input;
#[path = "os/blocked.rs"]
mod blocked;
#[path = "os/events.rs"]
mod events;
#[path = "os/gate.rs"]
mod gate;
#[path = "os/idempotency.rs"]
mod idempotency;
#[path = "os/identity.rs"]
mod identity;
#[path = "os/limits.rs"]
mod limits;
#[path = "os/lists.rs"]
mod lists;
#[path = "os/mutated.rs"]
mod mutated;
#[path = "os/panel.rs"]
mod panel;
#[path = "os/pools.rs"]
mod pools;
#[path = "os/probes.rs"]
mod probes;
#[path = "os/roles.rs"]
mod roles;
#[path = "os/serving.rs"]
mod serving;
#[path = "os/sessions.rs"]
mod sessions;
#[path = "os/streams.rs"]
mod streams;
#[path = "os/troubles.rs"]
mod troubles;

use kern::os::{AgentOS, Limits, OsServer};
use kern::prelude::*;
use kern_tests::http::{Answer, Client};
use kern_tests::store::Store;
use kern_tests::tools::{delete_user, erase_user, lookup};
use serde_json::Value;

/// A server under these limits, with one agent that has no tools.
async fn served(limits: Limits) -> (OsServer, Client, Store) {
    let store = Store::new().await;
    let agent = Agent::builder().id("a").model(script(&[])).db(store.db.clone()).build().unwrap();
    let os = AgentOS::builder().agent(agent).without_worker().limits(limits).build().unwrap();
    let server = os.start("127.0.0.1:0").await.unwrap();
    let client = Client::of(server.address());
    (server, client, store)
}

/// A server with one agent, and whoever asks it.
struct Served {
    store: Store,
    server: OsServer,
    client: Client,
}

/// A model that asks for these calls, then says `done`.
fn script(calls: &[(&str, Value)]) -> kern::models::ScriptedModel {
    let mut first = kern::models::turn();
    for (place, (name, arguments)) in calls.iter().enumerate() {
        first = first.raw_tool_call(Some(&format!("call_{place}")), *name, arguments.to_string());
    }
    kern::models::ScriptedModel::new([first, kern::models::turn().text("done")])
}

impl Served {
    /// The agent `a`, whose model asks for these calls; runs go on when somebody continues them.
    async fn new(calls: &[(&str, Value)]) -> Self {
        Self::with(script(calls), false).await
    }

    async fn with(model: impl kern::models::Model, worker: bool) -> Self {
        let store = Store::new().await;
        let agent = Agent::builder().id("a").name("A").model(model).tools(tools![delete_user, erase_user, lookup]);
        let os = AgentOS::builder().agent(agent.db(store.db.clone()).build().unwrap());
        let os = if worker { os } else { os.without_worker() };
        let server = os.build().unwrap().start("127.0.0.1:0").await.unwrap();
        let client = Client::of(server.address());
        Self { store, server, client }
    }

    /// Starts a run of alice's, to its pause or its end.
    async fn run(&self, session: &str) -> Answer {
        let fields = [("message", "go"), ("stream", "false"), ("session_id", session), ("user_id", "alice")];
        self.client.form("/agents/a/runs", &fields).await
    }

    async fn go_on(&self, run_id: &str, session: &str, more: &[(&str, &str)]) -> Answer {
        let fields = [&[("stream", "false"), ("session_id", session), ("user_id", "alice")], more].concat();
        self.client.form(&format!("/agents/a/runs/{run_id}/continue"), &fields).await
    }

    async fn resolve(&self, approval_id: &str, body: &Value) -> Answer {
        self.client.json(&format!("/approvals/{approval_id}/resolve"), body).await
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The id of a run, and that of its first approval.
fn ids(run: &Answer) -> (String, String) {
    assert_eq!(run.status, 200, "{run:?}");
    let approval = run.body["tools"].as_array().unwrap().iter().find_map(|tool| tool["approval_id"].as_str());
    (text(&run.body["run_id"]), approval.unwrap_or_default().to_owned())
}
