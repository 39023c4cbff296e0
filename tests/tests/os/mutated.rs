//! Requests that are none: real ones with bytes flipped, cut and doubled, headers twice, lengths and types that are wrong, and
//! JSON that means harm. Whatever comes, the server answers with no fault of its own, goes on, and grows no larger.

use std::time::Duration;

use kern_tests::children::Worker;
use kern_tests::folder::Folder;
use kern_tests::http::Client;
use kern_tests::obedient::asking;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::text;

const REQUESTS: usize = 2000;
const SEED: u64 = 0x006b_6572_6e00_2026;
/// What the server may grow by, in KiB, once it has answered a quarter of them.
const GROWTH: i64 = 8 * 1024;
/// How long an answer may take. What waits for the rest of a body is given its end after a moment.
const PATIENCE: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(150);

const HOSTILE: &[&str] = &[
    "null",
    "[]",
    "\"\"",
    "{",
    "{\"status\":\"approved\",\"status\":\"rejected\"}",
    "{\"status\":\"\\ud800\"}",
    "{\"status\":1e999}",
    "{\"status\":-0.0}",
    "{\"__proto__\":{}}",
    "{\"status\":\"approved\\u0000\"}",
    "\u{feff}{}",
    "{\"approvals\":[null]}",
    "{\"as\":[],\"note\":{}}",
    "{\"resolution_data\":{\"edited_args\":null},\"status\":\"approved\"}",
    "99999999999999999999999999",
    "{\"digest\":\"\",\"status\":\"approved\"}",
    "'; DROP TABLE kern_runs; --",
];

/// SplitMix64: the same requests every time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `count`, from 0.
    fn of(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).unwrap()
    }
}

/// A request in its parts.
#[derive(Clone)]
struct Request {
    line: String,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Request {
    fn new(line: &str, kind: &str, body: &str) -> Self {
        let mut headers = vec!["host: localhost".to_owned(), "connection: close".to_owned()];
        if !kind.is_empty() {
            headers.extend([format!("content-type: {kind}"), format!("content-length: {}", body.len())]);
        }
        Self { line: format!("{line} HTTP/1.1"), headers, body: body.as_bytes().to_vec() }
    }

    fn bytes(&self) -> Vec<u8> {
        let head = format!("{}\r\n{}\r\n\r\n", self.line, self.headers.join("\r\n"));
        [head.as_bytes(), &self.body].concat()
    }

    /// Another body, with its length.
    fn with(&mut self, body: Vec<u8>) {
        for header in &mut self.headers {
            if header.starts_with("content-length") {
                *header = format!("content-length: {}", body.len());
            }
        }
        self.body = body;
    }
}

/// A part of something: from where, and how far.
fn part(chance: &mut Chance, length: usize) -> std::ops::Range<usize> {
    let from = chance.of(length + 1);
    from..from + chance.of((length - from).min(200) + 1)
}

/// The request with something wrong.
fn mutated(request: &Request, chance: &mut Chance) -> Vec<u8> {
    let mut request = request.clone();
    let header = chance.of(request.headers.len());
    match chance.of(14) {
        0 => {
            let header = request.headers[header].clone();
            request.headers.push(header);
        }
        1 => request.headers.retain(|header| !header.starts_with("host")),
        2 => request.headers.push(format!("content-length: {}", chance.of(100_000))),
        3 => {
            request.headers.retain(|header| !header.starts_with("content-length"));
            let wrong = ["-1", "0x10", "99999999999999999999", "1, 2", ""][chance.of(5)];
            request.headers.push(format!("content-length: {wrong}"));
        }
        4 => {
            request.headers.retain(|header| !header.starts_with("content-type"));
            let wrong =
                ["text/plain", "application/xml", "multipart/form-data", "application/json; charset=utf-7", "\u{ff}"];
            request.headers.push(format!("content-type: {}", wrong[chance.of(5)]));
        }
        5 => request.headers.push("transfer-encoding: chunked".to_owned()),
        6 => {
            let name = ["authorization", "last-event-id", "origin", "cookie", "expect", "upgrade", "x"][chance.of(7)];
            let value =
                ["Bearer kern_", "-1", "null", "a=b; __Host-kern=", "100-continue", "\u{1}", "\u{20ac}"][chance.of(7)];
            request.headers.push(format!("{name}: {value}"));
        }
        7 => {
            let odd = ["%00", "%ff", "..%2f", "//", "?limit=%F0", "?page=99999999999", "%", "\u{e9}", "?a=1&a=2"]
                [chance.of(9)];
            request.line = request.line.replacen(" HTTP", &format!("{odd} HTTP"), 1);
        }
        8 => {
            let method = ["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "HEAD", "get", "POST"][chance.of(8)];
            let rest = request.line.split_once(' ').unwrap().1.to_owned();
            request.line = format!("{method} {rest}");
        }
        9 => request.with(HOSTILE[chance.of(HOSTILE.len())].as_bytes().to_vec()),
        10 => {
            let depth = 1 << chance.of(14);
            request.with(format!("{{\"status\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes());
        }
        11 if !request.body.is_empty() => {
            // The length stays right, what is said does not.
            let mut body = request.body.clone();
            for _ in 0..=chance.of(4) {
                let at = chance.of(body.len());
                body[at] ^= 1 << chance.of(8);
            }
            request.with(body);
        }
        _ => {}
    }
    let mut bytes = request.bytes();
    match chance.of(8) {
        0 => {
            for _ in 0..=chance.of(8) {
                let at = chance.of(bytes.len());
                bytes[at] ^= 1 << chance.of(8);
            }
        }
        1 => bytes.truncate(chance.of(bytes.len()) + 1),
        2 => {
            let doubled = bytes[part(chance, bytes.len())].to_vec();
            let at = chance.of(bytes.len());
            bytes.splice(at..at, doubled);
        }
        3 => {
            let gone = part(chance, bytes.len());
            bytes.drain(gone);
        }
        _ => {}
    }
    bytes
}

/// Sends bytes and gives the status of the answer, and what kind of body it has. `None`: the connection was closed without one.
async fn status(address: &str, bytes: &[u8]) -> Option<(u16, Option<String>)> {
    let mut stream = TcpStream::connect(address).await.expect("it takes connections");
    // It may have closed before it has read all: what it said counts.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut moment = MOMENT;
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match tokio::time::timeout(moment, stream.read_buf(&mut answer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(_)) => {}
            Err(_) => {
                assert!(moment < PATIENCE, "no answer, and no end: {}", String::from_utf8_lossy(bytes));
                // It waits for what never comes.
                let _ = stream.shutdown().await;
                moment = PATIENCE;
            }
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let head = answer.split("\r\n\r\n").next()?;
    let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "))?.get(..3)?.parse().ok()?;
    Some((status, head.lines().find_map(|line| line.strip_prefix("content-type: ").map(str::to_owned))))
}

/// Real requests about what is there.
async fn real(client: &Client) -> Vec<Request> {
    let form = "application/x-www-form-urlencoded";
    let mut requests = Vec::new();
    for place in 0..4 {
        let message = asking(&[("delete_user", json!({ "user_id": "u1" })), ("restart", json!({ "service": "web" }))]);
        let session = format!("s{place}");
        let fields = [("message", &*message), ("stream", "false"), ("session_id", &*session), ("user_id", "alice")];
        let run = client.form("/agents/a/runs", &fields).await.body;
        let run_id = text(&run["run_id"]);
        let row = client.get(&format!("/approvals?run_id={run_id}")).await.body["data"][0].clone();
        let (id, digest) = (text(&row["id"]), text(&row["digest"]));
        let started = "message=%5B%5B%22lookup%22%2C%7B%22key%22%3A%22k%22%7D%5D%5D&stream=false&user_id=alice";
        let part = "--x\r\ncontent-disposition: form-data; name=\"message\"\r\n\r\nhello\r\n--x--\r\n";
        let resolve = json!({ "status": "approved", "digest": digest, "resolved_by": "bob", "note": "n" }).to_string();
        let many = json!({ "approvals": [{ "id": id, "digest": digest, "status": "rejected" }] }).to_string();
        let tools = format!("session_id={session}&stream=false&tools={}", "%5B%7B%22tool_call_id%22%3A%22x%22%7D%5D");
        requests.extend([
            Request::new("GET /approvals?status=pending&limit=2", "", ""),
            Request::new(&format!("GET /approvals/{id}"), "", ""),
            Request::new(&format!("GET /panel/approvals/{id}?do=edit"), "", ""),
            Request::new("GET /panel?shown=all&search=u1", "", ""),
            Request::new(&format!("GET /sessions/{session}/runs"), "", ""),
            Request::new("GET /audit?limit=3&after=1", "", ""),
            Request::new("POST /agents/a/runs", form, started),
            Request::new("POST /agents/a/runs", "multipart/form-data; boundary=x", part),
            Request::new(&format!("POST /agents/a/runs/{run_id}/continue"), form, &tools),
            Request::new(&format!("POST /agents/a/runs/{run_id}/resume"), form, &format!("session_id={session}")),
            Request::new(&format!("POST /approvals/{id}/resolve"), "application/json", &resolve),
            Request::new("POST /approvals/resolve", "application/json", &many),
            Request::new("POST /executions/x/settle", "application/json", "{\"as\":\"failed\",\"note\":\"n\"}"),
            Request::new(&format!("POST /panel/approvals/{id}"), form, &format!("decision=approved&digest={digest}")),
            Request::new("POST /panel/decide", form, &format!("decision=approved&approval.{id}={digest}")),
            Request::new("POST /panel/signin", form, "credential=kern_x_y&next=%2Fpanel"),
        ]);
    }
    requests
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_mutated_requests_are_answered_without_a_fault_and_without_growth() {
    let folder = Folder::new();
    let file = folder.file("app.db");
    let mut server = Worker::start(env!("CARGO_BIN_EXE_kern-test-worker"), &folder.file("ledger"), &[&"serve", &file]);
    let address = server.line();
    let client = Client::of(address.parse().unwrap());
    let real = real(&client).await;
    let mut chance = Chance(SEED);
    let requests: Vec<Vec<u8>> = (0..REQUESTS).map(|place| mutated(&real[place % real.len()], &mut chance)).collect();
    let (mut answered, mut refused) = (0, 0);
    let resident = |server: &mut Worker| {
        server.tell("memory");
        server.line().parse::<i64>().unwrap()
    };
    let mut before = 0;
    for (place, group) in requests.chunks(20).enumerate() {
        if place * 20 == REQUESTS / 4 {
            before = resident(&mut server);
        }
        let sent: Vec<_> = group
            .iter()
            .map(|bytes| {
                let (address, bytes) = (address.clone(), bytes.clone());
                tokio::spawn(async move { status(&address, &bytes).await })
            })
            .collect();
        for (sent, bytes) in sent.into_iter().zip(group) {
            let answer = sent.await.unwrap();
            let said = || format!("{answer:?} to\n{}", String::from_utf8_lossy(bytes));
            answered += usize::from(answer.is_some());
            let Some((status, kind)) = answer.clone().filter(|(status, _)| *status >= 400) else { continue };
            refused += 1;
            assert!(status < 500, "{}", said());
            // A head that is none is answered before anything of kern's is asked.
            let is_said = match kind.as_deref() {
                Some("application/problem+json") => true,
                Some(kind) => kind.starts_with("text/html") && String::from_utf8_lossy(bytes).contains("/panel"),
                None => [400, 414, 431].contains(&status),
            };
            assert!(is_said, "{}", said());
        }
    }
    let grown = resident(&mut server) - before;
    println!("mutated: {answered} of {REQUESTS} answered, {refused} refused, {before} KiB and {grown} more");
    assert!(answered > REQUESTS * 3 / 4 && refused > REQUESTS / 4, "{answered} answered, {refused} refused");
    assert!(grown < GROWTH, "{before} KiB and {grown} more");
    assert_eq!(client.get("/health").await.status, 200, "it still answers");
    let verified = client.get("/audit/verify").await;
    assert_eq!(verified.body["intact"], json!(true), "{verified:?}");
}
