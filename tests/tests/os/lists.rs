//! Lists, page after page.

use kern::os::{AgentOS, Limits, OsServer};
use kern::prelude::*;
use kern_tests::http::{Answer, Client};
use kern_tests::store::Store;
use kern_tests::tools::delete_user;
use serde_json::{Value, json};

use super::{Served, script, text};

fn rows(page: &Answer) -> Vec<String> {
    assert_eq!(page.status, 200, "{page:?}");
    page.body["data"].as_array().unwrap().iter().map(|row| text(&row["id"])).collect()
}

async fn pending(count: usize) -> Served {
    let calls: Vec<_> = (0..count).map(|user| ("delete_user", json!({ "user_id": format!("u{user}") }))).collect();
    let os = Served::new(&calls).await;
    assert_eq!(os.run("lists").await.status, 200);
    os
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_decides_each_page_before_it_asks_for_the_next_sees_every_row_once() {
    let os = pending(6).await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for page in 0..4 {
        let found = os.client.get(&format!("/approvals?status=pending&limit=2{cursor}")).await;
        let rows = rows(&found);
        for id in &rows {
            let no = json!({ "status": "rejected", "resolved_by": "bob" });
            assert_eq!(os.resolve(id, &no).await.status, 200);
        }
        seen.extend(rows);
        let next = &found.body["meta"]["next_cursor"];
        if next.is_null() {
            assert_eq!(page, 2, "six rows are three pages");
            break;
        }
        cursor = format!("&cursor={}", text(next));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_has_a_number_or_a_cursor_and_a_cursor_is_one_of_the_servers() {
    let os = pending(3).await;
    let first = os.client.get("/approvals?limit=2&page=1").await;
    let cursor = text(&first.body["meta"]["next_cursor"]);
    let second = os.client.get("/approvals?limit=2&page=2").await;
    assert_eq!(second.body["meta"]["next_cursor"], Value::Null);
    assert_eq!(rows(&os.client.get(&format!("/approvals?limit=2&cursor={cursor}")).await), rows(&second));
    let whole = os.client.get("/approvals?limit=3").await;
    assert_eq!((rows(&whole).len(), &whole.body["meta"]["next_cursor"]), (3, &Value::Null));
    for path in ["/approvals?limit=2&page=1&cursor=", "/agents/a/runs?session_id=lists&page=1&cursor="] {
        let both = os.client.get(&format!("{path}{cursor}")).await;
        assert_eq!((both.status, &both.body["detail"][0]["loc"]), (422, &json!(["query", "cursor"])), "{both:?}");
    }
    for wrong in ["x", "1", "1.", ".x", "x.y"] {
        let refused = os.client.get(&format!("/approvals?cursor={wrong}")).await;
        assert_eq!((refused.status, &refused.body["detail"][0]["loc"]), (422, &json!(["query", "cursor"])), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_that_is_no_text_is_refused_and_decides_nothing() {
    let os = pending(1).await;
    let id = rows(&os.client.get("/approvals").await).remove(0);
    for note in [json!(5), json!(true), json!(["x"]), json!({ "x": 1 })] {
        for (body, place) in [
            (
                json!({ "status": "rejected", "resolution_data": { "note": note } }),
                json!(["body", "resolution_data", "note"]),
            ),
            (json!({ "status": "rejected", "note": note }), json!(["body", "note"])),
        ] {
            let refused = os.resolve(&id, &body).await;
            assert_eq!((refused.status, &refused.body["detail"][0]["loc"]), (422, &place), "{body}: {refused:?}");
        }
    }
    assert_eq!(os.client.get(&format!("/approvals/{id}")).await.body["status"], "pending");
    let body = json!({ "status": "rejected", "resolved_by": "bob", "resolution_data": { "note": "why" } });
    assert_eq!(os.resolve(&id, &body).await.status, 200);
}

/// The ids on a page of runs, and the path of the next one.
async fn page(client: &Client, path: &str) -> (Vec<String>, Option<String>) {
    let answer = client.request("GET", path).send().await.unwrap();
    let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
    let runs: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let ids = runs.as_array().unwrap_or_else(|| panic!("{path}: {runs}")).iter().map(|run| text(&run["run_id"]));
    let next = link.map(|link| {
        let query = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
        format!("{}{query}", path.split('?').next().unwrap())
    });
    (ids.collect(), next)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runs_of_a_session_come_in_pages() {
    let os = Served::new(&[]).await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        runs.push(text(&os.run("paged").await.body["run_id"]));
    }
    for path in ["/sessions/paged/runs?limit=2", "/agents/a/runs?session_id=paged&limit=2"] {
        let by_number = async |number| page(&os.client, &format!("{path}&page={number}")).await.0;
        assert_eq!(by_number(1).await, runs[..2], "{path}");
        assert_eq!(by_number(3).await, runs[4..], "{path}");
        assert_eq!(by_number(4).await, [] as [&str; 0], "{path}");
        let (mut seen, mut next) = (Vec::new(), Some(path.to_owned()));
        while let Some(path) = next {
            let (found, then) = page(&os.client, &path).await;
            seen.extend(found);
            next = then;
        }
        assert_eq!(seen, runs, "{path}");
    }
    assert_eq!(page(&os.client, "/sessions/paged/runs").await, (runs, None));
    assert_eq!(os.client.get("/sessions/none/runs?page=2").await.status, 404);
}

async fn limited(list: usize) -> (OsServer, Client, Store) {
    let store = Store::new().await;
    let calls: Vec<_> = (0..3).map(|user| ("delete_user", json!({ "user_id": format!("{user}") }))).collect();
    let agent = Agent::builder().id("a").model(script(&calls)).tools(tools![delete_user]).db(store.db.clone());
    let os = AgentOS::builder().agent(agent.build().unwrap()).without_worker().limits(Limits::new().list(list));
    let server = os.build().unwrap().start("127.0.0.1:0").await.unwrap();
    let client = Client::of(server.address());
    (server, client, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_too_large_for_one_answer_goes_on_in_the_next() {
    let (_server, client, _store) = limited(4000).await;
    let message = "x".repeat(1500);
    let mut runs = Vec::new();
    for _ in 0..3 {
        let form = [("message", &*message), ("stream", "false"), ("session_id", "large"), ("user_id", "alice")];
        runs.push(text(&client.form("/agents/a/runs", &form).await.body["run_id"]));
    }
    let (mut seen, mut pages, mut next) = (Vec::new(), 0, Some("/agents/a/runs?session_id=large".to_owned()));
    while let Some(path) = next {
        let (found, then) = page(&client, &path).await;
        assert!(!found.is_empty(), "one row is always there");
        seen.extend(found);
        (next, pages) = (then, pages + 1);
    }
    assert_eq!((seen, pages > 1), (runs, true));
    let refused = client.get("/agents/a/runs?session_id=large&page=1").await;
    assert_eq!((refused.status, refused.code()), (422, "invalid"), "{refused:?}");
    let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let answer = client.request("GET", &format!("/approvals?limit=100{cursor}")).send().await.unwrap();
        let bytes = answer.text().await.unwrap();
        assert!(bytes.len() < 4500, "{}", bytes.len());
        let body: Value = serde_json::from_str(&bytes).unwrap();
        seen.extend(body["data"].as_array().unwrap().iter().map(|row| text(&row["id"])));
        pages += 1;
        let Some(next) = body["meta"]["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), pages > 1), (9, true), "{pages} pages");
    assert_eq!(client.get("/approvals?limit=100&page=1").await.status, 422);
    let session = client.get("/sessions/large").await;
    assert_eq!((session.status, &session.body["chat_history_is_cut"]), (200, &json!(true)));
    let history = session.body["chat_history"].as_array().unwrap();
    assert!(history.len() < 6 && !history.is_empty(), "{}", history.len());
}
