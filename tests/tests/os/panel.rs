//! The control panel, as a browser asks for it: what it shows, what it decides, and who may.

use std::net::SocketAddr;
use std::time::Duration;

use kern::db::{Db as _, Principal, RestoreAcceptance, RestoreAccepted};
use kern::identity::{KeyRequest, ScopeSet};
use kern::os::AgentOS;
use kern::prelude::*;
use kern_tests::http::Client;
use kern_tests::ledger;
use kern_tests::store::Store;
use reqwest::redirect::Policy;
use serde_json::json;

use super::{Served, ids};

/// A page as it came.
pub(super) struct Page {
    pub(super) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Page {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A browser: it follows nothing by itself, and says where its forms come from.
pub(super) struct Browser {
    http: reqwest::Client,
    base: String,
    cookie: Option<String>,
    origin: Option<String>,
}

impl Browser {
    pub(super) fn of(os: &Served) -> Self {
        Self::at(os.server.address())
    }

    pub(super) fn at(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        let base = format!("http://{address}");
        Self { http, origin: Some(base.clone()), base, cookie: None }
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Page {
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Page { status, headers, text: response.text().await.unwrap() }
    }

    pub(super) async fn get(&self, path: &str) -> Page {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    pub(super) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Page {
        let mut request = self.http.post(format!("{}{path}", self.base)).form(form);
        if let Some(origin) = &self.origin {
            request = request.header("origin", origin);
        }
        self.send(request).await
    }

    pub(super) async fn sign_in(&mut self, credential: &str) -> Page {
        let page = self.post("/panel/signin", &[("credential", credential), ("next", "/panel/audit")]).await;
        self.cookie =
            page.header("set-cookie").split(';').next().filter(|cookie| !cookie.is_empty()).map(str::to_owned);
        page
    }
}

/// The digest of an approval, as the pages have it.
async fn digest(client: &Client, approval_id: &str) -> String {
    super::text(&client.get(&format!("/approvals/{approval_id}")).await.body["digest"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_there_and_says_what_browsers_may_load() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let browser = Browser::of(&os);
    let empty = browser.get("/panel").await;
    assert!(empty.text.contains("Nothing waits for anybody."), "{}", empty.text);
    let (run_id, approval_id) = ids(&os.run("pages").await);
    for path in [
        "/panel",
        "/panel?shown=decided",
        "/panel?shown=all&search=u1",
        &format!("/panel/approvals/{approval_id}"),
        &format!("/panel/approvals/{approval_id}?do=approve"),
        &format!("/panel/approvals/{approval_id}?do=reject"),
        &format!("/panel/approvals/{approval_id}?do=edit"),
        "/panel/chat",
        "/panel/sessions",
        "/panel/sessions/pages",
        &format!("/panel/runs/{run_id}"),
        "/panel/executions",
        "/panel/audit",
        "/panel/signin",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        // The policy would keep them from working, and everything is this server's.
        for word in [" style=", " onclick=", "<script>", "http://", "https://", "//cdn"] {
            assert!(!page.text.contains(word), "{path} has {word}");
        }
    }
    for (path, kind) in
        [("/panel/panel.css", "text/css"), ("/panel/panel.js", "text/javascript"), ("/panel/icon.svg", "image/svg+xml")]
    {
        let asset = browser.get(path).await;
        assert_eq!(asset.status, 200);
        assert!(asset.header("content-type").starts_with(kind), "{path}");
    }
    let missing = browser.get("/panel/approvals/none").await;
    assert_eq!(missing.status, 404);
    assert!(missing.text.contains("Approval not found") && missing.text.contains("To the inbox"), "{}", missing.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_set_back_is_named_on_every_page_and_on_what_waits_since() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let browser = Browser::of(&os);
    let (run_id, approval_id) = ids(&os.run("back").await);
    let approval = format!("/panel/approvals/{approval_id}");
    let run = format!("/panel/runs/{run_id}");
    let pages = ["/panel", &approval, &run, "/panel/chat", "/panel/sessions", "/panel/executions", "/panel/audit"];
    let (closed, lost) = ("until an operator has accepted the loss", "executed in the history that was lost");
    for path in pages {
        let page = browser.get(path).await.text;
        assert!(!page.contains(closed) && !page.contains(lost), "{path}: {page}");
    }
    let acceptance = || RestoreAcceptance::new(Principal::unverified("root"), "the disk failed").force();
    let mut accepted = os.store.db.accept_restore(acceptance()).await.unwrap();
    for path in pages {
        let page = browser.get(path).await.text;
        assert!(page.contains(closed), "{path}: {page}");
    }
    while let RestoreAccepted::Waits { for_ms } = accepted {
        tokio::time::sleep(Duration::from_millis(for_ms.unsigned_abs())).await;
        accepted = os.store.db.accept_restore(acceptance()).await.unwrap();
    }
    for path in pages {
        let page = browser.get(path).await.text;
        assert!(!page.contains(closed), "{path}: {page}");
        assert_eq!(page.contains(lost), path == approval || path == run, "{path}: {page}");
    }
    // A person lets the run go on, and the page warns no longer.
    let done = browser.post(&run, &[("note", "not in the bank's list"), ("acknowledged_by", "bob")]).await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert!(!browser.get(&approval).await.text.contains(lost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_model_wrote_is_inert_flagged_and_whole() {
    let long = "x".repeat(60 * 1024);
    let hostile = format!("<script>alert(1)</script>\u{202e}\u{1b}[31m&\"'{long}");
    let os = Served::new(&[("delete_user", json!({ "user_id": hostile }))]).await;
    let browser = Browser::of(&os);
    let (run_id, approval_id) = ids(&os.run("hostile").await);
    for path in ["/panel".to_owned(), format!("/panel/approvals/{approval_id}"), format!("/panel/runs/{run_id}")] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text.contains("<script>alert"), "{path}");
        assert!(page.text.contains("&#60;script&#62;alert") || page.text.contains("&lt;script&gt;alert"), "{path}");
        assert!(page.text.contains(&long), "{path}: nothing is cut off");
        assert!(page.text.contains("\\u202e") && page.text.contains("\\u001b"), "{path}");
        assert!(!page.text.contains(['\u{202e}', '\u{1b}']), "{path}");
    }
    let page = browser.get(&format!("/panel/approvals/{approval_id}")).await;
    assert!(page.text.contains("changes the direction of the text") && page.text.contains("control character"));
    assert!(page.text.contains("61,4"), "its length is said");
    // In an attribute, too.
    let searched = browser.get("/panel?search=%22%3E%3Cb%3E").await;
    assert!(!searched.text.contains("\"><b>"), "{}", searched.text);
}

/// Pay.
#[tool(requires_confirmation)]
async fn pay(#[arg(sensitive)] card: String, cents: u32) -> String {
    format!("{cents} of {}", card.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tool_keeps_secret_is_on_no_page() {
    let store = Store::new().await;
    let model = super::script(&[("pay", json!({ "card": "4111-1111", "cents": 7 }))]);
    let agent = Agent::builder().id("a").model(model).tools(tools![pay]).db(store.db.clone()).build().unwrap();
    let server = AgentOS::builder().agent(agent).without_worker().build().unwrap().start("127.0.0.1:0").await.unwrap();
    let os = Served { client: Client::of(server.address()), server, store };
    let browser = Browser::of(&os);
    let (run_id, _) = ids(&os.run("secret").await);
    for path in [format!("/panel/runs/{run_id}"), "/panel/sessions/secret".to_owned()] {
        let page = browser.get(&path).await;
        assert!(page.text.contains("(sensitive, not shown)") && page.text.contains("cents"), "{path}: {}", page.text);
        assert!(!page.text.contains("4111-1111"), "{path}");
    }
    assert!(browser.get("/panel/chat").await.text.contains("&#34;pay&#34;:[&#34;card&#34;]"), "the script knows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_about_what_was_shown_and_is_made_once() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let browser = Browser::of(&os);
    let (run_id, approval_id) = ids(&os.run("decided").await);
    let path = format!("/panel/approvals/{approval_id}");
    let shown = digest(&os.client, &approval_id).await;
    let asked = browser.get(&format!("{path}?do=approve")).await;
    assert!(asked.text.contains(&format!("name=\"digest\" value=\"{shown}\"")), "{}", asked.text);
    let decide = async |digest: &str, by: &str| {
        browser.post(&path, &[("decision", "approved"), ("digest", digest), ("resolved_by", by)]).await
    };
    let other = decide(&"0".repeat(64), "bob").await;
    assert_eq!(other.status, 409, "{}", other.text);
    assert!(other.text.contains("Look at it again"), "{}", other.text);
    assert_eq!(browser.post(&path, &[("decision", "approved"), ("resolved_by", "bob")]).await.status, 422, "no digest");
    assert_eq!(decide(&shown, "alice").await.status, 403, "her own");
    let approved = decide(&shown, "bob").await;
    assert_eq!((approved.status, approved.header("location")), (303, path.as_str()), "{}", approved.text);
    let again = decide(&shown, "carol").await;
    assert_eq!(again.status, 409);
    assert!(again.text.contains("Somebody decided it before you"), "{}", again.text);
    assert_eq!(os.go_on(&run_id, "decided", &[]).await.status, 200);
    assert_eq!(ledger::of("decided"), ["delete u1"]);
    let page = browser.get(&path).await;
    assert!(page.text.contains("by bob") && page.text.contains("unverified"), "{}", page.text);
    assert!(!page.text.contains("?do=approve"), "there is nothing to decide any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edited_arguments_are_what_runs() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let browser = Browser::of(&os);
    let (run_id, approval_id) = ids(&os.run("edited").await);
    let path = format!("/panel/approvals/{approval_id}");
    let form = browser.get(&format!("{path}?do=edit")).await;
    assert!(form.text.contains("name=\"argument.user_id\""), "{}", form.text);
    let shown = digest(&os.client, &approval_id).await;
    let edit = async |name: &str, value: &str| {
        let form = [("decision", "edited"), ("digest", &*shown), ("resolved_by", "bob"), (name, value)];
        browser.post(&path, &form).await
    };
    assert_eq!(edit("argument.everything", "yes").await.status, 422, "the call has no such argument");
    assert_eq!(edit("argument.user_id", "u2").await.status, 303);
    assert_eq!(os.go_on(&run_id, "edited", &[]).await.status, 200);
    assert_eq!(ledger::of("edited"), ["delete u2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_are_decided_at_once_and_none_hides_behind_another() {
    let os =
        Served::new(&[("delete_user", json!({ "user_id": "u1" })), ("erase_user", json!({ "user_id": "u2" }))]).await;
    let browser = Browser::of(&os);
    os.run("many-panel").await;
    let listed = os.client.get("/approvals?status=pending").await.body["data"].as_array().unwrap().clone();
    let fields: Vec<(String, String)> = listed
        .iter()
        .map(|row| (format!("approval.{}", super::text(&row["id"])), super::text(&row["digest"])))
        .collect();
    let mut form: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    form.push(("decision", "approved"));
    let asked = browser.post("/panel/decide", &form).await;
    assert!(asked.text.contains("Approve 2 calls?") && asked.text.contains("&#34;u2&#34;"), "{}", asked.text);
    assert_eq!(os.client.get("/approvals/count").await.body, json!({ "count": 2 }), "asking decides nothing");
    let stale = "0".repeat(64);
    form[0].1 = &stale;
    form.extend([("sure", "true"), ("resolved_by", "bob")]);
    let decided = browser.post("/panel/decide", &form).await;
    assert_eq!(decided.status, 200);
    assert!(decided.text.contains("not decided: ") && decided.text.contains(">approved<"), "{}", decided.text);
    assert_eq!(os.client.get("/approvals/count").await.body, json!({ "count": 1 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_signs_in_is_whom_their_key_names_and_forms_come_from_this_server() {
    let os = Served::new(&[("delete_user", json!({ "user_id": "u1" }))]).await;
    let (_, approval_id) = ids(&os.run("signed").await);
    let key = async |subject: &str, scopes: &[&str]| {
        let made = KeyRequest::new(subject, ScopeSet::parse(scopes).unwrap()).make(&os.store.db).await.unwrap();
        (made.key.id.clone(), made.secret.reveal().to_owned())
    };
    let (bob_id, bob) = key("bob", &["approvals:read", "approvals:write"]).await;
    let mut browser = Browser::of(&os);
    let away = browser.get("/panel/audit?before=7").await;
    assert_eq!(away.status, 303);
    assert_eq!(away.header("location"), "/panel/signin?next=%2Fpanel%2Faudit%3Fbefore%3D7");
    assert_eq!(browser.get("/panel/signin").await.status, 200);
    let wrong = browser.sign_in("kern_0123456789abcdef_00").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("does not count here") && browser.cookie.is_none(), "{}", wrong.text);
    // A page of another server signs nobody in: they would act in its author's name.
    for origin in [None, Some("null"), Some("http://evil.example")] {
        browser.origin = origin.map(str::to_owned);
        let refused = browser.sign_in(&bob).await;
        assert_eq!((refused.status, refused.header("set-cookie")), (403, ""), "{origin:?}");
    }
    browser.origin = Some(browser.base.clone());
    let signed = browser.sign_in(&bob).await;
    assert_eq!((signed.status, signed.header("location")), (303, "/panel/audit"));
    let cookie = signed.header("set-cookie");
    assert!(cookie.contains("; HttpOnly; SameSite=Strict") && !cookie.contains(&bob), "{cookie}");
    // Not what the key is for.
    let refused = browser.get("/panel/audit").await;
    assert_eq!(refused.status, 403);
    assert!(refused.text.contains("audit:read"), "{}", refused.text);
    let inbox = browser.get("/panel").await;
    assert!(inbox.text.contains("<span>bob</span>") && !inbox.text.contains("/panel/audit"), "{}", inbox.text);
    // A page of another server has the cookie sent along, where a browser would still do so.
    let path = format!("/panel/approvals/{approval_id}");
    let shown = digest(&os.client.with(&bob), &approval_id).await;
    let form = [("decision", "approved"), ("digest", shown.as_str()), ("resolved_by", "the boss")];
    for origin in [None, Some("null"), Some("http://evil.example")] {
        browser.origin = origin.map(str::to_owned);
        assert_eq!(browser.post(&path, &form).await.status, 403, "{origin:?}");
        let api = browser.post(&format!("/approvals/{approval_id}/resolve"), &[]).await;
        assert_eq!(api.status, 403, "{origin:?}");
    }
    browser.origin = Some(browser.base.clone());
    assert_eq!(browser.post(&path, &form).await.status, 303);
    let row = os.client.with(&bob).get(&format!("/approvals/{approval_id}")).await.body;
    assert_eq!((&row["resolved_by"], &row["resolved_by_verified"]), (&json!("bob"), &json!(true)));
    // The cookie is good for as long as the key is.
    os.store.db.revoke_key(&bob_id, None).await.unwrap();
    assert_eq!(browser.get("/panel").await.status, 303);
    let (_, ann) = key("ann", &["approvals:read"]).await;
    browser.sign_in(&ann).await;
    let theirs = browser.get(&path).await;
    assert_eq!(theirs.status, 404, "it is alice's");
    assert_eq!(browser.get("/panel").await.status, 200);
    browser.post("/panel/signout", &[]).await;
    assert_eq!(browser.get("/panel").await.status, 303);
}
