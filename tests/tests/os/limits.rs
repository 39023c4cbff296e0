//! What a client may take, and for how long.

use std::time::Duration;

use kern::os::{AgentOS, Limits, OsServer};
use kern::prelude::*;
use kern_tests::http::Client;
use kern_tests::store::Store;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{script, served};

/// Longer than any limit here, shorter than a hanging test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends these bytes, and reads what comes until the connection is closed.
async fn sent(server: &OsServer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("the connection is closed").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_come_ends_its_connection_and_nobody_elses() {
    let (server, client, _store) =
        served(Limits::new().head_time(Duration::from_millis(300)).connections_each(200)).await;
    let slow: Vec<_> = (0..100)
        .map(|_| {
            let address = server.address();
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: ").await.unwrap();
                let mut answer = Vec::new();
                let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
                read.expect("the connection is closed").map(|_| String::from_utf8(answer).unwrap())
            })
        })
        .collect();
    assert_eq!(client.get("/health").await.status, 200);
    for slow in slow {
        let answer = slow.await.unwrap().unwrap_or_default();
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    // One that has answered, and is asked for nothing more.
    let idle = sent(&server, b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(idle.starts_with("HTTP/1.1 200 OK"), "{idle}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_too_large_is_refused() {
    let (server, _, _store) = served(Limits::new()).await;
    let large = format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(17 << 10));
    let answer = sent(&server, large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let close = "connection: close\r\n\r\n";
    let fits = format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n{close}", "x".repeat(15 << 10));
    let answer = sent(&server, fits.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_or_is_too_large_is_refused() {
    let (server, client, _store) = served(Limits::new().body(100).body_time(Duration::from_millis(300))).await;
    let head = "POST /agents/a/runs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 50\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\nmessage=";
    let answer = sent(&server, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"timeout\""), "{answer}");
    let large = client.form("/agents/a/runs", &[("message", &*"x".repeat(200))]).await;
    assert_eq!((large.status, large.code()), (413, "too_large"));
    assert_eq!(client.json("/approvals/none/resolve", &json!({ "note": "x".repeat(200) })).await.status, 413);
    assert_eq!(client.form("/agents/a/runs", &[("message", "go"), ("stream", "false")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_there_may_be_wait_for_a_place() {
    let (server, client, _store) = served(Limits::new().connections(1)).await;
    let first = TcpStream::connect(server.address()).await.unwrap();
    // Long enough to be taken.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = tokio::spawn(async move { client.get("/health").await.status });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!second.is_finished(), "there is one place");
    drop(first);
    assert_eq!(tokio::time::timeout(PATIENCE, second).await.unwrap().unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_no_answer_gives_its_place_up() {
    let limits = Limits::new().connections(1).answer_time(Duration::from_millis(300)).head_time(PATIENCE * 10);
    let (server, client, _store) = served(limits).await;
    let mut greedy = TcpStream::connect(server.address()).await.unwrap();
    // Far more answers than there is room for on the way, and none of them is read.
    let asked = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(2000);
    let asking = tokio::spawn(async move {
        // The server reads no more at some point.
        let _ = greedy.write_all(asked.as_bytes()).await;
        greedy
    });
    let answer = tokio::time::timeout(PATIENCE, client.get("/health")).await.expect("its place is free");
    assert_eq!(answer.status, 200);
    asking.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_too_often_is_told_to_wait_and_nobody_else_is() {
    let store = Store::new().await;
    let agent = Agent::builder().id("a").model(script(&[])).db(store.db.clone()).build().unwrap();
    let os = AgentOS::builder().agent(agent).without_worker().limits(Limits::new().rate(1, 3)).build().unwrap();
    let server = os.start("127.0.0.1:0").await.unwrap();
    let nobody = Client::of(server.address());
    for _ in 0..20 {
        assert_eq!(nobody.get("/agents").await.status, 200, "without credentials nobody is counted");
    }
    let (ann, bob) = (key(&store, "ann").await, key(&store, "bob").await);
    // Two credentials of one person are one person.
    let other = nobody.with(key(&store, "ann").await);
    let (ann, bob) = (nobody.with(ann), nobody.with(bob));
    for client in [&ann, &other, &ann] {
        assert_eq!(client.get("/agents").await.status, 200);
    }
    let refused = other.request("GET", "/agents").send().await.unwrap();
    assert_eq!(refused.status(), 429);
    let seconds: u32 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&seconds), "{seconds}");
    let problem: serde_json::Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(problem["code"], json!("rate_limited"));
    assert_eq!(bob.get("/agents").await.status, 200);
    assert_eq!(nobody.get("/health").await.status, 200, "what anybody may ask is not counted");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(ann.get("/agents").await.status, 200);
}

async fn key(store: &Store, subject: &str) -> String {
    let scopes = kern::identity::ScopeSet::parse(["agents:read"]).unwrap();
    let made = kern::identity::KeyRequest::new(subject, scopes).make(&store.db).await.unwrap();
    made.secret.reveal().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_pages_of_the_origins_that_were_named_may_ask() {
    const OURS: &str = "https://app.example";
    let store = Store::new().await;
    let agent = || Agent::builder().id("a").model(script(&[])).db(store.db.clone()).build().unwrap();
    let closed = AgentOS::builder().agent(agent()).without_worker().build().unwrap();
    let closed = closed.start("127.0.0.1:0").await.unwrap();
    let open = AgentOS::builder().agent(agent()).without_worker().allow_origins([OURS]).build().unwrap();
    let open = open.start("127.0.0.1:0").await.unwrap();
    let asked = async |server: &OsServer, method: &str, origin: &str| {
        let request = Client::of(server.address()).request(method, "/agents").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        let answer = request.header("access-control-request-headers", "authorization").send().await.unwrap();
        let allowed =
            answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), allowed)
    };
    assert_eq!(asked(&open, "OPTIONS", OURS).await, (200, Some(OURS.to_owned())));
    assert_eq!(asked(&open, "GET", OURS).await, (200, Some(OURS.to_owned())));
    for other in ["https://evil.example", "https://app.example.evil.example", "http://app.example", "null"] {
        assert_eq!(asked(&open, "OPTIONS", other).await.1, None, "{other}");
        assert_eq!(asked(&open, "GET", other).await, (403, None), "{other}");
    }
    assert_eq!(asked(&closed, "OPTIONS", OURS).await, (405, None));
    assert_eq!(asked(&closed, "GET", OURS).await, (403, None));
    for wrong in ["*", "https://*.example", "https://app.example/", "app.example"] {
        let refused = AgentOS::builder().agent(agent()).allow_origins([wrong]).build();
        assert!(refused.is_err_and(|error| error.to_string().contains(wrong)), "{wrong}");
    }
    let nobody = AgentOS::builder().agent(agent()).limits(Limits::new().rate(0, 1)).build();
    assert!(nobody.is_err_and(|error| error.to_string().contains("without_rate")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_has_so_many_streams_and_another_person_has_others() {
    let (_server, client, store) = served(Limits::new().streams(2)).await;
    let scopes = || kern::identity::ScopeSet::parse(["approvals:read"]).unwrap();
    let known = async |subject: &str| {
        let made = kern::identity::KeyRequest::new(subject, scopes()).make(&store.db).await.unwrap();
        client.with(made.secret.reveal())
    };
    let (ann, again, bob) = (known("ann").await, known("ann").await, known("bob").await);
    let ask = async |client: &Client| client.request("GET", "/approvals/events").send().await.unwrap();
    let open = [ask(&ann).await, ask(&again).await];
    assert!(open.iter().all(|answer| answer.status() == 200));
    let refused = ask(&ann).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(ask(&bob).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections() {
    let (server, _, _store) = served(Limits::new().connections_each(3)).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(TcpStream::connect(server.address()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut fourth = TcpStream::connect(server.address()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, fourth.read_to_end(&mut answer)).await.expect("it is closed").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("too_many_connections"), "{answer}");
    open.pop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ask = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(sent(&server, ask).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_may_guess_ten_credentials_a_minute() {
    let (server, nobody, store) = served(Limits::new()).await;
    let ann = nobody.with(key(&store, "ann").await);
    let late = nobody.with(key(&store, "late").await);
    assert_eq!(ann.get("/agents").await.status, 200);
    for guess in 0..9 {
        let wrong = nobody.with(format!("kern_0123456789abcdef_{guess:064}"));
        assert_eq!(wrong.get("/agents").await.status, 401, "{guess}");
        assert_eq!(nobody.get("/agents").await.status, 401, "who brings nothing guesses nothing");
    }
    let origin = format!("http://{}", server.address());
    let sign_in = async |credential: &str| {
        let form =
            nobody.request("POST", "/panel/signin").header("origin", &origin).form(&[("credential", credential)]);
        form.send().await.unwrap().status().as_u16()
    };
    assert_eq!(sign_in("nonsense").await, 401);
    assert_eq!(sign_in("nonsense").await, 429);
    let refused = nobody.with("nonsense").request("GET", "/agents").send().await.unwrap();
    assert_eq!(refused.status(), 429);
    let seconds: u32 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&seconds), "{seconds}");
    assert_eq!(late.get("/agents").await.status, 429, "nothing that has never counted is looked at");
    assert_eq!(ann.get("/agents").await.status, 200, "what has counted still does");
    assert_eq!(nobody.get("/livez").await.status, 200);
}

/// A form with this boundary, of this body.
async fn multipart(client: &Client, boundary: &str, body: Vec<u8>) -> (u16, Duration) {
    let kind = format!("multipart/form-data; boundary={boundary}");
    let started = std::time::Instant::now();
    let request = client.request("POST", "/agents/a/runs").header("content-type", kind).body(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), started.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_takes_no_time_that_grows_with_more_than_its_length() {
    let (_server, client, _store) = served(Limits::new()).await;
    let part = |boundary: &str, name: &str| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\ngo\r\n")
    };
    let whole = |boundary: &str| {
        format!("{}--{boundary}--\r\n", part(boundary, "message") + &part(boundary, "stream"))
            .replace("\r\ngo\r\n--x--", "\r\nfalse\r\n--x--")
    };
    assert_eq!(multipart(&client, "x", whole("x").into_bytes()).await.0, 200);
    // Almost the boundary, again and again.
    for length in [71, 4000, 15_000] {
        let boundary = format!("{}b", "a".repeat(length - 1));
        let keyed = client.request("POST", "/agents/a/runs").header("idempotency-key", format!("k{length}"));
        let body = "a".repeat((1 << 20) - 100);
        let started = std::time::Instant::now();
        let kind = format!("multipart/form-data; boundary={boundary}");
        let answer = keyed.header("content-type", kind).body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{length}");
        let keyed_time = started.elapsed();
        let (status, time) = multipart(&client, &boundary, body.into_bytes()).await;
        assert_eq!(status, 400, "{length}");
        println!("boundary of {length}: {time:?}, with a key {keyed_time:?}");
        assert!(time.max(keyed_time) < Duration::from_secs(5), "{time:?} {keyed_time:?}");
    }
    let quoted = format!("\"{}b\"", "a;".repeat(7000));
    assert_eq!(multipart(&client, &quoted, vec![b'a'; 1000]).await.0, 400);
    let longest = format!("{}b", "a".repeat(69));
    let (status, time) = multipart(&client, &longest, vec![b'a'; (1 << 20) - 100]).await;
    println!("longest boundary: {status} in {time:?}");
    let many: String = (0..5000).map(|number| part("x", &format!("f{number}"))).collect();
    let (status, time) = multipart(&client, "x", (many + "--x--\r\n").into_bytes()).await;
    println!("5000 parts: {status} in {time:?}");
    assert_eq!(status, 413);
}
