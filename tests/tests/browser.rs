//! The control panel in a real browser: what people see, what their keys and clicks do, and what the store has then.
//!
//! Every scenario ends with [`Browser::close`], which shows that nothing went wrong in the console and that nothing was asked
//! of another host. It needs `chromium` and `chromedriver`.

#![allow(clippy::unwrap_used, reason = "where a page is something else, that is what a test shows")]

#[path = "browser/accessible.rs"]
mod accessible;
#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/deciding.rs"]
mod deciding;
#[path = "browser/inert.rs"]
mod inert;
#[path = "browser/looking.rs"]
mod looking;
#[path = "browser/people.rs"]
mod people;
#[path = "browser/talking.rs"]
mod talking;

use std::time::{Duration, Instant};

use kern::identity::{KeyRequest, ScopeSet};
use kern::os::{AgentOS, OsServer};
use kern::prelude::*;
use kern::tools::UserFeedbackTools;
use kern_tests::http::Client;
use kern_tests::ledger::{self, enter};
use kern_tests::obedient::{Obedient, asking};
use kern_tests::store::Store;
use kern_tests::tools::{delete_user, explode, restart};
use serde_json::Value;

use chromium::{Browser, key};

/// Longer than anything takes, shorter than a hanging test.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pay. An administrator decides.
#[approval]
#[tool]
async fn pay(
    /// Who gets it.
    to: String,
    cents: u64,
    urgent: bool,
    labels: Vec<String>,
    ctx: &RunContext,
) -> String {
    enter(ctx, format!("pay {to} {cents} {urgent} {labels:?}"));
    format!("paid {cents} to {to}")
}

/// Close the books. Two of finance decide.
#[approval(pool = "finance", quorum = 2)]
#[tool]
async fn close_books(year: u32, ctx: &RunContext) -> String {
    enter(ctx, format!("close {year}"));
    format!("closed {year}")
}

/// A server whose runs go on by themselves, and whoever asks it without a browser.
struct Served {
    store: Store,
    server: OsServer,
    client: Client,
}

impl Served {
    async fn new() -> Self {
        let store = Store::new().await;
        store.db.set_pool("finance", ["ann", "bob"]).await.unwrap();
        let tools = tools![delete_user, restart, explode, pay, close_books];
        let agent =
            Agent::builder().id("a").name("Agent A").model(Obedient).tools(tools).toolkit(UserFeedbackTools::new());
        let agent = agent.db(store.db.clone());
        let os = AgentOS::builder().id("kern").agent(agent.build().unwrap()).build().unwrap();
        let server = os.start("127.0.0.1:0").await.unwrap();
        Self { client: Client::of(server.address()), server, store }
    }

    /// The same, with everybody asked who they are: the keys are alice's, who asks, ann's and bob's, who decide.
    async fn with_keys() -> (Self, [String; 3]) {
        let mut os = Self::new().await;
        let mut keys = Vec::new();
        for (subject, scopes) in [
            ("alice", &["agents:run", "approvals:read", "sessions:read"][..]),
            ("ann", &["approvals:read", "approvals:write"]),
            ("bob", &["approvals:read", "approvals:write", "audit:read"]),
        ] {
            let made = KeyRequest::new(subject, ScopeSet::parse(scopes).unwrap()).make(&os.store.db).await.unwrap();
            keys.push(made.secret.reveal().to_owned());
        }
        os.client = os.client.with(&keys[0]);
        (os, keys.try_into().unwrap())
    }

    /// A browser of somebody's own, with nothing open.
    async fn browser(&self) -> Browser {
        Browser::open(&format!("http://{}", self.server.address())).await
    }

    /// A browser with the inbox open, of somebody who has said their name.
    async fn browser_of(&self, name: &str) -> Browser {
        let browser = self.browser().await;
        browser.go("/panel").await;
        browser.write("#name", name).await;
        // Keys are the page's again.
        browser.press(key::ESCAPE).await;
        browser
    }

    /// Starts a run of alice's, to its pause or its end, and gives its id.
    async fn asks(&self, session: &str, calls: &[(&str, Value)]) -> String {
        let message = asking(calls);
        let fields = [("message", &*message), ("stream", "false"), ("session_id", session), ("user_id", "alice")];
        let run = self.client.form("/agents/a/runs", &fields).await;
        assert_eq!(run.status, 200, "{run:?}");
        run.body["run_id"].as_str().unwrap().to_owned()
    }

    /// Waits until a run is over, and gives it.
    async fn completed(&self, run_id: &str, session: &str) -> Value {
        let begun = Instant::now();
        loop {
            let run = self.client.get(&format!("/agents/a/runs/{run_id}?session_id={session}")).await;
            if run.body["status"] == "COMPLETED" {
                return run.body;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {run:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The approvals of one status, the newest first.
    async fn approvals(&self, status: &str) -> Vec<Value> {
        let listed = self.client.get(&format!("/approvals?limit=100&status={status}")).await;
        listed.body["data"].as_array().unwrap_or_else(|| panic!("a list: {listed:?}")).clone()
    }
}

/// What ran in a session.
fn ran(session: &str) -> Vec<String> {
    ledger::of(session)
}
