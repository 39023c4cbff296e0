//! Who is in a pool by their token, over HTTP and in the panel: with the claim, as long as the token counts, and in no other
//! way.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kern::identity::{KeyRequest, ScopeSet, TokenVerifier};
use kern::os::{AgentOS, AgentOSBuilder};
use kern::prelude::*;
use kern_tests::http::{Answer, Client};
use kern_tests::ledger;
use kern_tests::steps::wait_until;
use kern_tests::store::Store;
use serde_json::{Value, json};

use super::panel::Browser;
use super::roles::{AUDIENCE, ISSUER, SECRET, token};
use super::{Served, ids, script, text};

/// Pays. Who decides is what tokens say.
#[approval(pool = "payers")]
#[tool]
async fn pay(to: String, ctx: &RunContext) -> String {
    ledger::enter(ctx, format!("pay {to}"));
    format!("paid {to}")
}

/// Pays. Two people of the finance pool decide.
#[approval(pool = "finance", quorum = 2)]
#[tool]
async fn pay_much(to: String, ctx: &RunContext) -> String {
    ledger::enter(ctx, format!("pay {to}"));
    format!("paid {to}")
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A token that expires in so many seconds, as exactly as a time in JSON can be.
fn expiring(subject: &str, scopes: &[&str], pools: Value, in_seconds: f64) -> (String, i64) {
    #[expect(clippy::cast_precision_loss, reason = "it is a time of these years")]
    let exp = now_ms() as f64 / 1000.0 + in_seconds;
    let mut claims = vec![("sub", json!(subject)), ("scopes", json!(scopes)), ("exp", json!(exp))];
    if !pools.is_null() {
        claims.push(("kern_pools", pools));
    }
    #[expect(clippy::cast_possible_truncation, reason = "as the token is read")]
    let until_ms = (exp * 1000.0) as i64;
    (token("HS256", &claims), until_ms)
}

const APPROVER: &[&str] = &["approvals:read", "approvals:write"];

fn approver(subject: &str, pools: Value) -> String {
    expiring(subject, APPROVER, pools, 300.0).0
}

fn tokens() -> TokenVerifier {
    TokenVerifier::builder(ISSUER, AUDIENCE).shared_secret(SECRET).unwrap().build().unwrap()
}

/// A server whose agent calls `tool`, and alice, who asks it.
async fn served(tool: &str, change: impl FnOnce(AgentOSBuilder) -> AgentOSBuilder) -> (Served, Client) {
    let store = Store::new().await;
    store.db.set_pool("finance", ["ann", "fay"]).await.unwrap();
    let agent = Agent::builder().id("a").model(script(&[(tool, json!({ "to": "bert" }))])).db(store.db.clone());
    let agent = agent.tools(tools![pay, pay_much]).pool_from_tokens("payers").build().unwrap();
    let os = change(AgentOS::builder().agent(agent).without_worker()).build().unwrap();
    let server = os.start("127.0.0.1:0").await.unwrap();
    let client = Client::of(server.address());
    let alice = client.with(expiring("alice", &["agents:run", "approvals:read"], Value::Null, 300.0).0);
    (Served { store, server, client }, alice)
}

async fn waiting(alice: &Client, session: &str) -> (String, String, String) {
    let form = [("message", "go"), ("stream", "false"), ("session_id", session), ("user_id", "alice")];
    let (run, approval) = ids(&alice.form("/agents/a/runs", &form).await);
    let digest = text(&alice.get(&format!("/approvals/{approval}")).await.body["digest"]);
    (run, approval, digest)
}

async fn go_on(alice: &Client, run: &str, session: &str) -> Answer {
    let form = [("stream", "false"), ("session_id", session)];
    alice.form(&format!("/agents/a/runs/{run}/continue"), &form).await
}

async fn approve(client: &Client, approval: &str, more: &[(&str, Value)]) -> Answer {
    let mut body = json!({ "status": "approved" });
    for (name, value) in more {
        body[*name] = value.clone();
    }
    client.json(&format!("/approvals/{approval}/resolve"), &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_nobody_is_in_a_pool_but_by_a_token_that_says_so_and_counts() {
    let (os, alice) = served("pay", |os| os.tokens(tokens())).await;
    let (_, approval, digest) = waiting(&alice, "refused").await;
    let key = KeyRequest::new("bob", ScopeSet::parse(APPROVER).unwrap()).make(&os.store.db).await.unwrap();
    // Within what clocks may be apart: the token is taken, and what it says of pools is over.
    let (late, _) = expiring("bob", APPROVER, json!(["payers"]), -5.0);
    let (own, _) = expiring("alice", APPROVER, json!(["payers"]), 300.0);
    let (admin, _) = expiring("root", &["agent_os:admin"], Value::Null, 300.0);
    for (credential, why) in [
        (approver("bob", Value::Null), "none does here"),
        (approver("bob", json!([])), "none does here"),
        (approver("bob", json!(["finance", "Payers", "payers ", "pay", "*", ""])), "none does here"),
        (key.secret.reveal().to_owned(), "none does here"),
        (admin, "none does here"),
        (late, "has expired"),
        (own, "asked for this call"),
    ] {
        let client = os.client.with(credential);
        assert_eq!(client.get(&format!("/approvals/{approval}")).await.status, 200);
        let forged = json!({ "kern_pools": ["payers"], "member_until_ms": 9_007_199_254_740_991_i64 });
        for more in [&[][..], &[("resolution_data", forged)], &[("resolved_by", json!("fay"))]] {
            let refused = approve(&client, &approval, more).await;
            assert_eq!((refused.status, refused.code()), (403, "not_permitted"), "{refused:?}");
            assert!(text(&refused.body["detail"]).contains(why), "{why}: {refused:?}");
        }
        for name in ["kern_pools", "pools", "member", "member_until_ms"] {
            let refused = approve(&client, &approval, &[(name, json!(["payers"]))]).await;
            assert_eq!(refused.status, 422, "{refused:?}");
        }
        let one = json!({ "id": approval, "digest": digest, "status": "approved" });
        let many = client.json("/approvals/resolve", &json!({ "approvals": [one] })).await;
        assert_eq!(many.body["data"][0]["problem"]["code"], json!("not_permitted"), "{many:?}");
    }
    assert_eq!(alice.get(&format!("/approvals/{approval}")).await.body["status"], json!("pending"));
    assert_eq!(ledger::of("refused"), [] as [&str; 0]);
    assert!(os.store.db.audit().verify().await.unwrap().is_intact());
}

/// Where nobody is asked who they are, nobody is in a pool that the store does not have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_a_token_that_nobody_checks_says_nothing() {
    let (os, _) = served("pay", |os| os).await;
    let (_, approval, _) = waiting(&os.client, "unasked").await;
    for client in [os.client.clone(), os.client.with(approver("bob", json!(["payers"])))] {
        let refused = approve(&client, &approval, &[("resolved_by", json!("bob"))]).await;
        assert_eq!((refused.status, refused.code()), (403, "not_permitted"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_whoever_is_in_a_pool_by_their_token_decides_in_every_way_there_is() {
    let (os, alice) = served("pay", |os| os.tokens(tokens())).await;
    let (credential, until_ms) = expiring("bob", APPROVER, json!(["legal", "payers"]), 300.0);
    let bob = os.client.with(&credential);
    let mut browser = Browser::of(&os);
    let signed_in = browser.sign_in(&credential).await;
    assert_eq!(signed_in.status, 303, "{}", signed_in.text);
    for way in ["one", "many", "page", "inbox"] {
        let session = format!("decided by {way}");
        let (run, approval, digest) = waiting(&alice, &session).await;
        let page = browser.get(&format!("/panel/approvals/{approval}")).await;
        assert!(page.text.contains("Approve…") && page.text.contains("the pool payers"), "{}", page.text);
        assert!(browser.get("/panel").await.text.contains(&approval), "{way}: it waits in the inbox");
        match way {
            "one" => assert_eq!(approve(&bob, &approval, &[]).await.status, 200),
            "many" => {
                let one = json!({ "id": approval, "digest": digest, "status": "approved" });
                let many = bob.json("/approvals/resolve", &json!({ "approvals": [one] })).await;
                assert_eq!(many.body["data"][0]["status"], json!(200), "{many:?}");
            }
            "page" => {
                let form = [("decision", "approved"), ("digest", &*digest)];
                let page = browser.post(&format!("/panel/approvals/{approval}"), &form).await;
                assert_eq!(page.status, 303, "{}", page.text);
            }
            _ => {
                let chosen = format!("approval.{approval}");
                let form = [("decision", "approved"), ("sure", "true"), (&*chosen, &*digest)];
                let page = browser.post("/panel/decide", &form).await;
                assert_eq!(page.status, 200, "{}", page.text);
            }
        }
        let decided = bob.get(&format!("/approvals/{approval}")).await.body;
        assert_eq!((&decided["status"], &decided["resolved_by"]), (&json!("approved"), &json!("bob")), "{way}");
        assert_eq!(decided["votes"][0]["member_until_ms"], json!(until_ms), "{way}: {decided}");
        let page = browser.get(&format!("/panel/approvals/{approval}")).await;
        assert!(page.text.contains("in the pool by a token"), "{}", page.text);
        assert_eq!(go_on(&alice, &run, &session).await.body["status"], json!("COMPLETED"), "{way}");
        assert_eq!(ledger::of(&session), ["pay bert"]);
    }
    assert!(os.store.db.audit().verify().await.unwrap().is_intact());
}

/// I10: quorum two, and the first of them is in the pool by a token that has expired when the last one votes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i10_a_vote_over_http_counts_until_the_token_expires() {
    let (os, alice) = served("pay_much", |os| os.tokens(tokens())).await;
    let (credential, until_ms) = expiring("bob", APPROVER, json!(["finance"]), 4.0);
    let bob = os.client.with(credential);
    let runs = [waiting(&alice, "lapsed").await, waiting(&alice, "in time").await];
    for (_, approval, _) in &runs {
        let first = approve(&bob, approval, &[]).await;
        assert_eq!((first.status, &first.body["status"]), (200, &json!("pending")), "{first:?}");
    }
    let [(lapsed_run, lapsed, _), (_, in_time, _)] = &runs;
    let (ann, fay) = (os.client.with(approver("ann", Value::Null)), os.client.with(approver("fay", Value::Null)));
    let last = approve(&ann, in_time, &[]).await;
    assert_eq!(last.body["status"], json!("approved"), "{last:?}");
    assert!(now_ms() < until_ms, "this machine was too slow to show anything");
    wait_until(until_ms).await;
    let last = approve(&ann, lapsed, &[]).await;
    assert_eq!((last.status, &last.body["status"]), (200, &json!("pending")), "{last:?}");
    assert_eq!(last.body["votes"].as_array().map(Vec::len), Some(2), "both are on record");
    assert_eq!(go_on(&alice, lapsed_run, "lapsed").await.code(), "approval_pending");
    assert_eq!(ledger::of("lapsed"), [] as [&str; 0]);
    // Another token makes no second vote of it.
    let twice = approve(&os.client.with(approver("bob", json!(["finance"]))), lapsed, &[]).await;
    assert_eq!((twice.status, twice.code()), (403, "not_permitted"), "{twice:?}");
    assert_eq!(approve(&fay, lapsed, &[]).await.body["status"], json!("approved"));
    assert!(os.store.db.audit().verify().await.unwrap().is_intact());
}

/// Who has signed in with a token is signed in as long as it counts, also within what clocks may be apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_the_panel_ends_with_its_token() {
    let (os, alice) = served("pay", |os| os.tokens(tokens())).await;
    let (_, approval, digest) = waiting(&alice, "session").await;
    let (credential, until_ms) = expiring("bob", APPROVER, json!(["payers"]), 3.0);
    let mut browser = Browser::of(&os);
    let cookie = browser.sign_in(&credential).await;
    let seconds = cookie.header("set-cookie").split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    assert!(seconds.parse::<u64>().unwrap() <= 3, "{seconds}");
    assert_eq!(browser.get("/panel").await.status, 200);
    assert!(now_ms() < until_ms, "this machine was too slow to show anything");
    wait_until(until_ms).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let gone = browser.get("/panel").await;
    assert_eq!((gone.status, gone.header("location")), (303, "/panel/signin?next=%2Fpanel"), "{}", gone.text);
    let form = [("decision", "approved"), ("digest", &*digest)];
    let gone = browser.post(&format!("/panel/approvals/{approval}"), &form).await;
    assert!(gone.header("location").starts_with("/panel/signin"), "{}", gone.text);
    assert_eq!(alice.get(&format!("/approvals/{approval}")).await.body["status"], json!("pending"));
}

/// A pool that nobody has set is no pool for `build`, unless tokens are said to fill it.
#[tokio::test]
async fn a_pool_that_only_tokens_know_is_named_when_an_agent_is_built() {
    let store = Store::new().await;
    let agent = || Agent::builder().model(script(&[])).db(store.db.clone()).tools(tools![pay]);
    for refused in [agent(), agent().pool_from_tokens("payer"), agent().pool_from_tokens("Payers")] {
        let refused = refused.build().unwrap_err();
        assert_eq!(refused.code(), "policy_unsatisfiable");
        assert!(refused.to_string().contains(".pool_from_tokens(\"payers\")"), "{refused}");
    }
    agent().pool_from_tokens("payers").build().unwrap();
}
