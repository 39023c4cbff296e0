//! What each route answers to each kind of person: every cell of the table, over every route that is described.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kern::identity::{KeyRequest, ScopeSet, TokenVerifier};
use kern::os::{AgentOS, Limits, OsServer};
use kern::prelude::*;
use kern_tests::http::{Answer, Client};
use kern_tests::ledger;
use kern_tests::store::Store;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{ids, text};

pub(super) const ISSUER: &str = "https://id.example";
pub(super) const AUDIENCE: &str = "my-os";
pub(super) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Pays. Somebody of the finance pool decides.
#[approval(pool = "finance")]
#[tool]
async fn pay(to: String, ctx: &RunContext) -> String {
    ledger::enter(ctx, format!("pay {to}"));
    format!("paid {to}")
}

/// Who asks, in the order of the table's columns.
const ROLES: [&str; 10] = [
    "nobody",
    "expired",
    "wrong audience",
    "alg none",
    "requester",
    "another requester",
    "other pool",
    "other pool's token",
    "removed",
    "admin",
];

/// What somebody needs who asks agents for something.
const USER: &[&str] = &["agents:run", "agents:read", "approvals:read", "sessions:*"];
/// What somebody needs who decides.
const APPROVER: &[&str] = &["approvals:read", "approvals:write"];

/// The table. What a route that is described is not in here, or the other way round, fails.
const TABLE: &[(&str, [u16; 10])] = &[
    ("GET /", [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET /health", [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET /livez", [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET /readyz", [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET /info", [200, 200, 200, 200, 200, 200, 200, 200, 200, 200]),
    ("GET /config", [401, 401, 401, 401, 403, 403, 403, 403, 403, 200]),
    ("GET /metrics", [401, 401, 401, 401, 403, 403, 403, 403, 403, 200]),
    ("GET /teams", [401, 401, 401, 401, 403, 403, 403, 403, 403, 200]),
    ("GET /workflows", [401, 401, 401, 401, 200, 200, 403, 403, 403, 200]),
    ("GET /agents", [401, 401, 401, 401, 200, 200, 403, 403, 403, 200]),
    ("GET /agents/{agent_id}", [401, 401, 401, 401, 200, 200, 403, 403, 403, 200]),
    ("POST /agents/{agent_id}/runs", [401, 401, 401, 401, 200, 404, 403, 403, 403, 200]),
    ("GET /agents/{agent_id}/runs", [401, 401, 401, 401, 200, 200, 403, 403, 403, 200]),
    ("GET /agents/{agent_id}/runs/{run_id}", [401, 401, 401, 401, 200, 404, 403, 403, 403, 200]),
    // It is not decided: nobody goes on with it.
    ("POST /agents/{agent_id}/runs/{run_id}/continue", [401, 401, 401, 401, 403, 404, 403, 403, 403, 403]),
    ("POST /agents/{agent_id}/runs/{run_id}/cancel", [401, 401, 401, 401, 200, 404, 403, 403, 403, 200]),
    ("POST /agents/{agent_id}/runs/{run_id}/resume", [401, 401, 401, 401, 200, 404, 403, 403, 403, 200]),
    ("GET /sessions", [401, 401, 401, 401, 200, 200, 403, 403, 403, 200]),
    ("POST /sessions", [401, 401, 401, 401, 201, 201, 403, 403, 403, 201]),
    ("DELETE /sessions", [401, 401, 401, 401, 204, 404, 403, 403, 403, 204]),
    ("GET /sessions/{session_id}", [401, 401, 401, 401, 200, 404, 403, 403, 403, 200]),
    ("PATCH /sessions/{session_id}", [401, 401, 401, 401, 200, 404, 403, 403, 403, 200]),
    ("DELETE /sessions/{session_id}", [401, 401, 401, 401, 204, 404, 403, 403, 403, 204]),
    ("POST /sessions/{session_id}/rename", [401, 401, 401, 401, 200, 404, 403, 403, 403, 200]),
    ("GET /sessions/{session_id}/runs", [401, 401, 401, 401, 200, 404, 403, 403, 403, 200]),
    ("GET /sessions/{session_id}/runs/{run_id}", [401, 401, 401, 401, 200, 404, 403, 403, 403, 200]),
    ("GET /approvals", [401, 401, 401, 401, 200, 200, 200, 200, 200, 200]),
    ("GET /approvals/count", [401, 401, 401, 401, 200, 200, 200, 200, 200, 200]),
    ("GET /approvals/events", [401, 401, 401, 401, 200, 200, 200, 200, 200, 200]),
    ("GET /approvals/{approval_id}", [401, 401, 401, 401, 200, 404, 200, 200, 200, 200]),
    ("GET /approvals/{approval_id}/status", [401, 401, 401, 401, 200, 404, 200, 200, 200, 200]),
    ("DELETE /approvals/{approval_id}", [401, 401, 401, 401, 403, 403, 403, 403, 403, 204]),
    // Nobody but the members of the pool: an administrator is none by that alone.
    ("POST /approvals/{approval_id}/resolve", [401, 401, 401, 401, 403, 403, 403, 403, 403, 403]),
    // Of several, each has its own outcome in the body.
    ("POST /approvals/resolve", [401, 401, 401, 401, 403, 403, 200, 200, 200, 200]),
    ("GET /executions", [401, 401, 401, 401, 403, 403, 403, 403, 403, 200]),
    ("POST /executions/{execution_id}/settle", [401, 401, 401, 401, 403, 403, 403, 403, 403, 404]),
    // Of a run of this epoch nothing has to be acknowledged.
    ("POST /runs/{run_id}/acknowledge", [401, 401, 401, 401, 403, 403, 403, 403, 403, 204]),
    ("GET /audit", [401, 401, 401, 401, 403, 403, 403, 403, 403, 200]),
    ("GET /audit/verify", [401, 401, 401, 401, 403, 403, 403, 403, 403, 200]),
    ("GET /audit/checkpoint", [401, 401, 401, 401, 403, 403, 403, 403, 403, 404]),
];

/// A token that says this, under this algorithm.
pub(super) fn token(algorithm: &str, changes: &[(&str, Value)]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": now + 300, "iat": now });
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({ "alg": algorithm, "typ": "JWT" })), part(&claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(message.as_bytes());
    let signature =
        if algorithm == "none" { String::new() } else { URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()) };
    format!("{message}.{signature}")
}

/// An approver's token that says which pools they are in.
fn by_token(subject: &str, pools: &[&str]) -> String {
    let claims = [("sub", json!(subject)), ("scopes", json!(APPROVER)), ("kern_pools", json!(pools))];
    token("HS256", &claims)
}

fn of(subject: &str, scopes: &[&str]) -> String {
    token("HS256", &[("sub", json!(subject)), ("scopes", json!(scopes))])
}

struct Company {
    store: Store,
    server: OsServer,
    alice: Client,
    /// An API key whose subject is alice, too: another principal.
    key_of_alice: String,
    sessions: usize,
}

/// One run of alice's that waits.
struct Waiting {
    session: String,
    run: String,
    approval: String,
    digest: String,
}

impl Company {
    async fn new() -> Self {
        let store = Store::new().await;
        for (pool, members) in [("finance", &["fay", "rex"][..]), ("legal", &["lou"]), ("finance", &["fay"])] {
            store.db.set_pool(pool, members.to_vec()).await.unwrap();
        }
        let turn = kern::models::turn;
        let call = turn().raw_tool_call(Some("call_0"), "pay", json!({ "to": "bert" }).to_string());
        let model = kern::models::ScriptedModel::new([call, turn().text("done")]);
        let agent = Agent::builder().id("a").model(model).tools(tools![pay]).db(store.db.clone()).build().unwrap();
        let tokens = TokenVerifier::builder(ISSUER, AUDIENCE).shared_secret(SECRET).unwrap().build().unwrap();
        let os = AgentOS::builder().agent(agent).tokens(tokens).without_worker();
        // The table has far more credentials that do not count than an address may bring.
        let os = os.limits(Limits::new().failures(usize::MAX)).build().unwrap();
        let server = os.start("127.0.0.1:0").await.unwrap();
        let alice = Client::of(server.address()).with(of("alice", USER));
        let scopes = ScopeSet::parse(USER).unwrap();
        let key = KeyRequest::new("alice", scopes).make(&store.db).await.unwrap().secret.reveal().to_owned();
        Self { store, server, alice, key_of_alice: key, sessions: 0 }
    }

    fn client(&self, role: &str) -> Client {
        let client = Client::of(self.server.address());
        let admin = json!(["agent_os:admin"]);
        // Each of the four would be an administrator if it counted.
        client.with(match role {
            "nobody" => return client,
            "expired" => token("HS256", &[("sub", json!("root")), ("scopes", admin), ("exp", json!(1_700_000_000))]),
            "wrong audience" => token("HS256", &[("sub", json!("root")), ("scopes", admin), ("aud", json!("another"))]),
            "alg none" => token("none", &[("sub", json!("root")), ("scopes", admin)]),
            "requester" => of("alice", USER),
            "another requester" => of("mallory", USER),
            "same name by key" => self.key_of_alice.clone(),
            "other pool" => of("lou", APPROVER),
            // Whom a pool that is not asked was told of, and whom nobody was told of.
            "other pool's token" => by_token("tom", &["legal"]),
            "removed" => of("rex", APPROVER),
            "admin" => of("root", &["agent_os:admin"]),
            "approver" => of("fay", APPROVER),
            "approver by token" => by_token("tim", &["legal", "finance"]),
            other => panic!("nobody is `{other}`"),
        })
    }

    async fn waiting(&mut self) -> Waiting {
        self.sessions += 1;
        let session = format!("session-{}", self.sessions);
        let form = [("message", "go"), ("stream", "false"), ("session_id", &*session)];
        let (run, approval) = ids(&self.alice.form("/agents/a/runs", &form).await);
        let digest = text(&self.alice.get(&format!("/approvals/{approval}")).await.body["digest"]);
        Waiting { session, run, approval, digest }
    }

    /// How an approval stands; one that is deleted is cancelled.
    async fn status(&self, approval: &str) -> &'static str {
        let found = self.store.db.get_approval(&approval.into()).await.unwrap();
        found.map_or("cancelled", |approval| approval.status.as_str())
    }

    /// Asks for what a route is about, as somebody who knows all of it.
    async fn ask(&self, client: &Client, route: &str, waiting: &Waiting) -> Answer {
        let (method, path) = route.split_once(' ').unwrap();
        let Waiting { session, run, approval, digest } = waiting;
        let place = path
            .replace("{agent_id}", "a")
            .replace("{run_id}", run)
            .replace("{session_id}", session)
            .replace("{approval_id}", approval)
            .replace("{execution_id}", "01a1fbe9-3f6e-7735-9b07-4234a4294feb");
        let yes = json!({ "status": "approved", "digest": digest, "resolved_by": "fay" });
        let request = match (method, path) {
            ("POST", "/approvals/{approval_id}/resolve") => client.request(method, &place).json(&yes),
            ("POST", "/approvals/resolve") => {
                let one = json!({ "id": approval, "digest": digest, "status": "approved" });
                client.request(method, &place).json(&json!({ "approvals": [one], "resolved_by": "fay" }))
            }
            ("POST", "/executions/{execution_id}/settle") => {
                client.request(method, &place).json(&json!({ "as": "succeeded", "result": "x", "note": "I looked" }))
            }
            ("POST", "/runs/{run_id}/acknowledge") => {
                client.request(method, &place).json(&json!({ "note": "I looked" }))
            }
            ("POST", "/sessions") => client.request(method, &place).json(&json!({ "user_id": "alice" })),
            ("PATCH" | "POST", "/sessions/{session_id}" | "/sessions/{session_id}/rename") => {
                client.request(method, &place).json(&json!({ "session_name": "mine" }))
            }
            ("DELETE", "/sessions") => client.request(method, &place).json(&json!({ "session_ids": [session] })),
            ("POST", _) => {
                let form = [("message", "go"), ("stream", "false"), ("session_id", session), ("user_id", "alice")];
                client.request(method, &place).form(&form)
            }
            ("GET", "/agents/{agent_id}/runs" | "/agents/{agent_id}/runs/{run_id}") => {
                client.request(method, &format!("{place}?session_id={session}"))
            }
            // Without an end: only its head is waited for.
            ("GET", "/approvals/events") => {
                let answer = client.request(method, &place).send().await.unwrap();
                return Answer { status: answer.status().as_u16(), kind: String::new(), body: Value::Null };
            }
            _ => client.request(method, &place),
        };
        client.send(request).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_answers_every_role_as_the_table_says() {
    let mut company = Company::new().await;
    let description = company.alice.get("/openapi.json").await.body;
    let mut described = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        described.extend(methods.as_object().unwrap().keys().map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let mut listed: Vec<String> = TABLE.iter().map(|(route, _)| (*route).to_owned()).collect();
    described.sort();
    listed.sort();
    assert_eq!(described, listed, "every route has its row");
    let mut clients: Vec<(&str, Client)> = ROLES.map(|role| (role, company.client(role))).into();
    // A principal of another issuer is another requester, whatever its name.
    clients.push(("same name by key", company.client("same name by key")));
    let (mut wrong, mut cells) = (Vec::new(), 0);
    for (route, codes) in TABLE {
        for ((role, client), code) in clients.iter().zip(codes.iter().chain([&codes[5]])) {
            let waiting = company.waiting().await;
            let answer = company.ask(client, route, &waiting).await;
            cells += 1;
            if answer.status != *code {
                wrong.push(format!("{route}, {role}: {} and not {code}: {}", answer.status, answer.body));
            }
            if *route == "POST /approvals/resolve" && answer.status == 200 {
                let outcome = &answer.body["data"][0];
                if (&outcome["status"], &outcome["problem"]["code"]) != (&json!(403), &json!("not_permitted")) {
                    wrong.push(format!("{route}, {role}: {outcome}"));
                }
            }
            let left = company.status(&waiting.approval).await;
            let may_close = matches!(
                *route,
                "DELETE /approvals/{approval_id}"
                    | "DELETE /sessions"
                    | "DELETE /sessions/{session_id}"
                    | "POST /agents/{agent_id}/runs/{run_id}/cancel"
            );
            if left != "pending" && !(may_close && *code < 300 && left == "cancelled") {
                wrong.push(format!("{route}, {role}: the approval is {left}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(cells, TABLE.len() * (ROLES.len() + 1));
    // Nothing of all that has run anything; and what is decided by whom it should be, does.
    let waiting = company.waiting().await;
    for session in 1..=company.sessions {
        assert_eq!(ledger::of(&format!("session-{session}")), [] as [&str; 0]);
    }
    let answer = company.ask(&company.client("approver"), "POST /approvals/{approval_id}/resolve", &waiting).await;
    assert_eq!((answer.status, &answer.body["resolved_by"]), (200, &json!("fay")), "{answer:?}");
    let answer = company.ask(&company.alice, "POST /agents/{agent_id}/runs/{run_id}/continue", &waiting).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("COMPLETED")), "{answer:?}");
    assert_eq!(ledger::of(&waiting.session), ["pay bert"]);
    let waiting = company.waiting().await;
    let by_token = company.client("approver by token");
    let answer = company.ask(&by_token, "POST /approvals/{approval_id}/resolve", &waiting).await;
    assert_eq!((answer.status, &answer.body["resolved_by"]), (200, &json!("tim")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_somebody_elses_looks_like_what_is_not_there() {
    let mut company = Company::new().await;
    let strangers = [company.client("another requester"), company.client("same name by key")];
    let theirs = company.waiting().await;
    let nothing = Waiting {
        session: "no-such-session".to_owned(),
        run: "01a1fbe9-3f68-7548-8a0e-1b09a5e4fa3b".to_owned(),
        approval: "01a1fbe9-3f6e-7735-9b07-4234a4294feb".to_owned(),
        digest: theirs.digest.clone(),
    };
    let mut compared = 0;
    for (route, codes) in TABLE {
        // To start a run in a session that is not there begins it.
        if codes[5] != 404 || *route == "POST /agents/{agent_id}/runs" {
            continue;
        }
        for stranger in &strangers {
            let one = company.ask(stranger, route, &theirs).await;
            let other = company.ask(stranger, route, &nothing).await;
            assert_eq!((one.status, &one.kind), (404, &"application/problem+json".to_owned()), "{route}: {one:?}");
            let names = |text: String, waiting: &Waiting| {
                let ids = [&waiting.session, &waiting.run, &waiting.approval];
                ids.into_iter().fold(text, |text, id| text.replace(id, "…"))
            };
            let (one, other) = (names(one.body.to_string(), &theirs), names(other.body.to_string(), &nothing));
            assert_eq!(one, other, "{route}");
            compared += 1;
        }
    }
    assert!(compared >= 26, "{compared}");
    assert_eq!(company.status(&theirs.approval).await, "pending");
}

/// A token whose `sub` is an API key's subject, or the other way round, owns nothing of the other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_under_another_issuer_owns_nothing_of_the_first() {
    let mut company = Company::new().await;
    let (token, key) = (company.alice.clone(), company.client("same name by key"));
    let start = async |client: &Client, session: &str| {
        let form = [("message", "go"), ("stream", "false"), ("session_id", session)];
        client.form("/agents/a/runs", &form).await
    };
    let by_token = company.waiting().await;
    let (run, approval) = ids(&start(&key, "by-key").await);
    let by_key = Waiting { session: "by-key".to_owned(), run, approval, digest: by_token.digest.clone() };
    for (client, own, foreign) in [(&token, &by_token, &by_key), (&key, &by_key, &by_token)] {
        for path in [
            format!("/agents/a/runs/{}?session_id={}", foreign.run, foreign.session),
            format!("/sessions/{}", foreign.session),
            format!("/sessions/{}/runs/{}", foreign.session, foreign.run),
            format!("/approvals/{}", foreign.approval),
            format!("/approvals/{}/status", foreign.approval),
        ] {
            assert_eq!(client.get(&path).await.status, 404, "{path}");
        }
        for path in ["cancel", "continue", "resume"] {
            let form = [("stream", "false"), ("session_id", &*foreign.session)];
            let refused = client.form(&format!("/agents/a/runs/{}/{path}", foreign.run), &form).await;
            assert_eq!(refused.status, 404, "{path}");
        }
        assert_eq!(start(client, &foreign.session).await.status, 404);
        let deleted = client.send(client.request("DELETE", &format!("/sessions/{}", foreign.session))).await;
        assert_eq!(deleted.status, 404);
        // Lists and counts have their own alone.
        let runs = client.get(&format!("/agents/a/runs?session_id={}", foreign.session)).await.body;
        assert_eq!(runs, json!([]));
        let sessions = client.get("/sessions").await.body;
        assert_eq!(
            (&sessions["meta"]["total_count"], &sessions["data"][0]["session_id"]),
            (&json!(1), &json!(own.session))
        );
        let approvals = client.get("/approvals").await.body;
        assert_eq!((&approvals["meta"]["total_count"], &approvals["data"][0]["id"]), (&json!(1), &json!(own.approval)));
        assert_eq!(client.get("/approvals/count?user_id=alice").await.body, json!({ "count": 1 }));
        // The session of a run that goes on is shown to its owner.
        let found = client.get(&format!("/agents/a/runs/{}?session_id={}", own.run, own.session)).await;
        assert_eq!((found.status, &found.body["status"]), (200, &json!("PAUSED")));
        let page = client.get(&format!("/panel/runs/{}", foreign.run)).await;
        assert_eq!(page.status, 404);
    }
    // The same Idempotency-Key of two principals is two keys.
    let mut answers = Vec::new();
    for client in [&token, &key] {
        let form = [("message", "go"), ("stream", "false")];
        let request = client.request("POST", "/agents/a/runs").header("idempotency-key", "same").form(&form);
        answers.push(client.send(request).await.body["run_id"].clone());
    }
    assert_ne!(answers[0], answers[1]);
    for waiting in [&by_token, &by_key] {
        assert_eq!(company.status(&waiting.approval).await, "pending");
    }
    // An administrator's filter is by name, whatever issuer vouches for it.
    let root = company.client("admin");
    assert_eq!(root.get("/approvals?user_id=alice").await.body["meta"]["total_count"], json!(4));
    assert_eq!(root.get("/approvals/count?user_id=alice").await.body, json!({ "count": 4 }));
}

/// A session that alice has made and not used yet is hers, as one that she has used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_somebody_made_is_theirs() {
    let company = Company::new().await;
    let (mallory, root) = (company.client("another requester"), company.client("admin"));
    // A name in the body counts for nothing.
    let made = company.alice.json("/sessions", &json!({ "session_id": "made", "user_id": "mallory" })).await;
    assert_eq!((made.status, &made.body["user_id"]), (201, &json!("alice")), "{made:?}");
    let taken = mallory.json("/sessions", &json!({ "session_id": "made" })).await;
    assert_eq!((taken.status, taken.code()), (409, "session_exists"), "{taken:?}");
    assert!(!taken.body.to_string().contains("alice"), "{taken:?}");
    assert_eq!(mallory.get("/sessions/made").await.status, 404);
    assert_eq!(mallory.get("/sessions").await.body["meta"]["total_count"], json!(0));
    let form = [("message", "go"), ("stream", "false"), ("session_id", "made")];
    let entered = mallory.form("/agents/a/runs", &form).await;
    assert_eq!((entered.status, entered.code()), (404, "not_found"), "{entered:?}");
    assert_eq!(company.alice.form("/agents/a/runs", &form).await.status, 200);
    let named = root.json("/sessions/made/rename", &json!({ "session_name": "By root" })).await;
    assert_eq!((named.status, &named.body["user_id"]), (200, &json!("alice")), "{named:?}");
    // Deleted, its id is free: whoever takes it finds nothing of hers.
    assert_eq!(company.alice.send(company.alice.request("DELETE", "/sessions/made")).await.status, 204);
    assert_eq!(mallory.form("/agents/a/runs", &form).await.status, 200);
    let found = mallory.get("/sessions/made").await.body;
    assert_eq!((&found["user_id"], &found["session_name"]), (&json!("mallory"), &json!("go")), "{found}");
    assert_eq!(company.alice.get("/sessions/made").await.status, 404);
    // A stranger's word deletes nothing of theirs, whoever they say they are.
    let theirs = company.alice.send(company.alice.request("DELETE", "/sessions/made?user_id=mallory")).await;
    assert_eq!(theirs.status, 404);
}

/// A token with `act`: its subject owns the run, each actor counts as the requester, and the token decides nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_with_actors_asks_and_decides_nothing() {
    let company = Company::new().await;
    company.store.db.set_pool("finance", ["fay", "agent", "alice", "gateway"]).await.unwrap();
    let client = |claims: &[(&str, Value)]| Client::of(company.server.address()).with(token("HS256", claims));
    let act = json!({ "sub": "gateway", "act": { "iss": "https://agents.example", "sub": "agent" } });
    let all = json!([USER, APPROVER].concat());
    let acting = |subject: &str| client(&[("sub", json!(subject)), ("scopes", all.clone()), ("act", act.clone())]);
    let form = [("message", "go"), ("stream", "false"), ("session_id", "behalf")];
    let (run, approval) = ids(&acting("alice").form("/agents/a/runs", &form).await);
    // She finds what was asked for on her behalf, and whoever decides sees who is behind it.
    let found = company.alice.get(&format!("/agents/a/runs/{run}?session_id=behalf")).await;
    assert_eq!((found.status, &found.body["user_id"]), (200, &json!("alice")), "{found:?}");
    let shown = company.client("approver").get(&format!("/approvals/{approval}")).await.body;
    let chain =
        json!([{ "issuer": ISSUER, "subject": "gateway" }, { "issuer": "https://agents.example", "subject": "agent" }]);
    assert_eq!(shown["requester"]["on_behalf_of"], chain, "{shown}");
    let page = company.client("approver").get(&format!("/panel/approvals/{approval}")).await;
    assert!(page.body.as_str().is_none_or(|page| page.contains("alice, with gateway, agent")), "{page:?}");
    let entries = company.store.db.audit().entries(0, 1000).await.unwrap();
    let asked = entries.iter().find(|entry| entry.action == "requested").expect("it was asked for");
    assert_eq!(serde_json::to_value(&asked.actor).unwrap()["on_behalf_of"], chain);
    let yes = json!({ "status": "approved", "digest": shown["digest"] });
    let resolve = format!("/approvals/{approval}/resolve");
    for (name, who) in [
        ("the token itself", acting("alice")),
        ("an approver's token with actors", acting("fay")),
        ("an actor", of_client(&company, "agent")),
        ("another actor", of_client(&company, "gateway")),
        ("the subject", of_client(&company, "alice")),
    ] {
        let refused = who.json(&resolve, &yes).await;
        assert_eq!((refused.status, refused.code()), (403, "not_permitted"), "{name}: {refused:?}");
    }
    let nine = (0..9).fold(json!({ "sub": "first" }), |act, level| json!({ "sub": format!("a{level}"), "act": act }));
    for act in [nine, json!({ "client_id": "x" }), json!(null)] {
        let refused = client(&[("sub", json!("alice")), ("scopes", all.clone()), ("act", act.clone())]);
        let refused = refused.get("/approvals").await;
        assert_eq!((refused.status, refused.code()), (401, "invalid_credential"), "{act}");
    }
    assert_eq!(company.status(&approval).await, "pending");
    let decided = company.client("approver").json(&resolve, &yes).await;
    assert_eq!(decided.status, 200, "{decided:?}");
}

fn of_client(company: &Company, subject: &str) -> Client {
    Client::of(company.server.address()).with(of(subject, APPROVER))
}
