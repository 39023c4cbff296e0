//! The client against a server of a few lines, which answers whatever a test gives it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::failure::PAGE_LIMIT;
use super::request::wire_message;
use super::*;
use crate::models::{ModelToolCall, ToolDefinition, Usage};
use crate::run::{Message, ToolCallRequest};

const KEY: &str = "sk-test-0123456789";

/// Answers one request with raw bytes and closes the connection.
struct Server {
    address: SocketAddr,
    requests: Receiver<String>,
}

impl Server {
    fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = answer.into();
        let (send, requests) = channel();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let request = read_request(&mut socket).unwrap_or_default();
            let _ = send.send(request);
            // A client that has read enough hangs up first.
            let _ = socket.write_all(&answer);
        });
        Self { address, requests }
    }

    fn json(status: &str, body: &str) -> Self {
        Self::answering(http(status, "content-type: application/json\r\n", body))
    }

    fn model(&self) -> OpenAIChat {
        OpenAIChat::new("gpt-x").base_url(format!("http://{}/v1", self.address)).api_key(KEY)
    }

    fn request(&self) -> String {
        self.requests.recv_timeout(Duration::from_secs(5)).unwrap()
    }
}

/// Reads one request. `None`: the client has hung up.
fn read_request(socket: &mut impl Read) -> Option<String> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !is_whole(&request) {
        match socket.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    Some(String::from_utf8_lossy(&request).into_owned())
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    body.len() >= length
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

async fn ask(model: &OpenAIChat) -> Result<ModelReply, ModelError> {
    model.respond(ModelRequest::new(&[Message::user("hi")], &[])).await
}

async fn reply_to(body: &str) -> Result<ModelReply, ModelError> {
    ask(&Server::json("200 OK", body).model()).await
}

fn whole(message: Value, finish_reason: &str) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-x-1",
        "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason }],
        "usage": { "prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": { "cached_tokens": 4 } },
    })
    .to_string()
}

fn with_call(call: Value) -> String {
    whole(json!({ "role": "assistant", "content": null, "tool_calls": [call] }), "tool_calls")
}

#[tokio::test]
async fn a_whole_answer_is_read_whole() {
    let reply = reply_to(&whole(json!({ "role": "assistant", "content": "hé" }), "stop")).await.unwrap();
    assert_eq!(
        reply,
        ModelReply {
            content: Some("hé".into()),
            finish_reason: Some("stop".into()),
            usage: Some(Usage {
                input_tokens: 5,
                output_tokens: 2,
                total_tokens: 7,
                cached_tokens: 4,
                reasoning_tokens: 0,
            }),
            response_id: Some("chatcmpl-1".into()),
            model: Some("gpt-x-1".into()),
            ..ModelReply::default()
        }
    );
}

#[tokio::test]
async fn what_is_no_whole_answer_is_never_taken_for_one() {
    let good = whole(json!({ "role": "assistant", "content": "hi" }), "stop");
    let choice = |choice: Value| json!({ "choices": [choice] }).to_string();
    let call = |function: Value| with_call(json!({ "id": "c", "type": "function", "function": function }));
    let cases = [
        (String::new(), "empty"),
        ("{}".into(), "`choices` is missing"),
        ("[]".into(), "the body is no object"),
        ("null".into(), "the body is no object"),
        ("\"hi\"".into(), "the body is no object"),
        (r#"{"choices":[]}"#.into(), "`choices` is empty"),
        (r#"{"choices":{}}"#.into(), "`choices` is no list"),
        (r#"{"choices":null}"#.into(), "`choices` is no list"),
        (choice(json!("hi")), "`choices[0]` is no object"),
        (choice(json!({ "finish_reason": "stop" })), "`choices[0].message` is missing"),
        (choice(json!({ "message": [], "finish_reason": "stop" })), "is no object"),
        (choice(json!({ "message": { "content": "hi" } })), "`finish_reason` is missing"),
        (choice(json!({ "message": { "content": "hi" }, "finish_reason": null })), "`finish_reason` is missing"),
        (choice(json!({ "delta": { "content": "hi" }, "finish_reason": "stop" })), "message` is missing"),
        (whole(json!({ "role": "assistant" }), "stop"), "neither text nor calls"),
        (whole(json!({ "role": "user", "content": "hi" }), "stop"), "`role`"),
        (whole(json!({ "content": 7 }), "stop"), "`content` is no text"),
        (whole(json!({ "content": [{ "type": "image" }] }), "stop"), "a part of `content`"),
        (whole(json!({ "content": "hi", "tool_calls": {} }), "stop"), "`tool_calls` is no list"),
        (whole(json!({ "content": "hi", "tool_calls": [] }), "tool_calls"), "has none"),
        (
            whole(json!({ "content": null, "function_call": { "name": "f", "arguments": "{}" } }), "function_call"),
            "`function_call`",
        ),
        (with_call(json!("f")), "`tool_calls[0]`: it is no object"),
        (with_call(json!({ "id": "c", "type": "function" })), "`function` is missing"),
        (with_call(json!({ "id": "c", "type": "custom", "custom": {} })), "its `type`"),
        (call(json!({ "arguments": "{}" })), "`name` is missing"),
        (call(json!({ "name": "", "arguments": "{}" })), "`name` is missing"),
        (call(json!({ "name": 7, "arguments": "{}" })), "`name` is no text"),
        (call(json!({ "name": "f" })), "`arguments` is missing"),
        (call(json!({ "name": "f", "arguments": { "secret": 1 } })), "`arguments` is no text"),
        (with_call(json!({ "id": 7, "function": { "name": "f", "arguments": "{}" } })), "`id` is no text"),
        (good.replace("\"prompt_tokens\":5", "\"prompt_tokens\":-5"), "`prompt_tokens` is no count"),
        (good[..good.len() - 20].to_owned(), "not JSON"),
        (format!("{good}{good}"), "not JSON"),
        ("<html><body>Welcome</body></html>".into(), "not JSON"),
        ("[".repeat(100_000), "not JSON"),
        (r#"{"error":{"message":"overloaded"}}"#.into(), "it holds an error: overloaded"),
        (r#"{"error":{}}"#.into(), "it holds an error"),
    ];
    for (body, wanted) in cases {
        let shown = &body[..body.len().min(200)];
        match reply_to(&body).await {
            Err(ModelError::InvalidReply { provider, message }) => {
                assert_eq!(provider, "OpenAI");
                assert!(message.contains(wanted), "{shown}: {message}");
                assert!(!message.contains("secret"), "{shown}: {message}");
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn arguments_are_passed_on_as_text_and_ids_as_they_came() {
    let calls = json!([
        { "id": "same", "type": "function", "function": { "name": "f", "arguments": "{\"a\": 1,  \"a\": 2" } },
        { "id": "same", "function": { "name": "g", "arguments": "" } },
        { "id": null, "function": { "name": "h", "arguments": "null" } },
    ]);
    let reply = reply_to(&whole(json!({ "content": null, "tool_calls": calls }), "length")).await.unwrap();
    assert_eq!(
        reply.tool_calls,
        [
            ModelToolCall::new(Some("same".into()), "f", "{\"a\": 1,  \"a\": 2"),
            ModelToolCall::new(Some("same".into()), "g", ""),
            ModelToolCall::new(None, "h", "null"),
        ]
    );
    assert_eq!(reply.finish_reason.as_deref(), Some("length"));
}

#[tokio::test]
async fn an_error_status_keeps_the_providers_message_and_code() {
    let cases = [
        (
            "404 Not Found",
            r#"{"error":{"message":"no such model","code":"model_not_found"}}"#,
            "no such model",
            Some("model_not_found"),
        ),
        ("400 Bad Request", r#"{"code":400,"message":"too hot"}"#, "too hot", Some("400")),
        ("401 Unauthorized", r#"{"detail":"Invalid API Key"}"#, "Invalid API Key", None),
        ("400 Bad Request", r#"[{"error":{"message":"listed","code":400}}]"#, "listed", Some("400")),
        ("500 Oh", r#"{"error":"plain"}"#, "plain", None),
        ("503 Oh", "<html>down</html>", "<html>down</html>", None),
        ("502 Oh", "", "no reason given", None),
    ];
    for (status, body, wanted, code) in cases {
        match ask(&Server::json(status, body).model()).await {
            Err(ModelError::Status { status: number, message, provider_code, retry_after, .. }) => {
                assert_eq!(number.to_string(), status[..3]);
                assert_eq!((message.as_str(), provider_code.as_deref()), (wanted, code), "{body}");
                assert_eq!(retry_after, None);
            }
            other => panic!("{status} {body}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_429_says_when_to_come_back() {
    let body = r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#;
    let server = Server::answering(http("429 Too Many Requests", "Retry-After: 7\r\n", body));
    let error = ask(&server.model()).await.unwrap_err();
    assert!(matches!(error, ModelError::Status { retry_after: Some(7), .. }), "{error:?}");
    assert_eq!(error.code(), "model_rate_limited");
}

#[tokio::test]
async fn a_routers_failure_inside_a_200_gets_its_own_status() {
    for body in [
        r#"{"error":{"message":"upstream down","code":502}}"#,
        r#"{"choices":[{"error":{"message":"upstream down","code":502},"message":{"content":"ha"},"finish_reason":"stop"}]}"#,
    ] {
        let error = reply_to(body).await.unwrap_err();
        assert!(matches!(error, ModelError::Status { status: 502, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn no_server_is_a_connection_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let model = OpenAIChat::new("gpt-x").base_url(format!("http://{address}/v1?key={KEY}"));
    let error = ask(&model).await.unwrap_err();
    assert!(matches!(error, ModelError::Connection { .. }), "{error:?}");
    assert!(std::error::Error::source(&error).is_some());
    assert!(!format!("{error:?}").contains(KEY), "{error:?}");
}

#[tokio::test]
async fn a_server_without_tls_behind_https_is_a_connection_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write_all(http("200 OK", "", "{}").as_bytes());
    });
    let model = OpenAIChat::new("gpt-x").base_url(format!("https://{address}/v1"));
    let error = ask(&model).await.unwrap_err();
    assert!(matches!(error, ModelError::Connection { .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_cut_at_any_byte_is_an_error() {
    let answer = http("200 OK", "", &whole(json!({ "role": "assistant", "content": "hi" }), "stop"));
    for length in (0..answer.len()).step_by(23).chain([answer.len() - 1]) {
        let error = ask(&Server::answering(&answer.as_bytes()[..length]).model()).await.unwrap_err();
        assert!(matches!(error, ModelError::Connection { .. }), "{length}: {error:?}");
    }
    // Where the server gives no length, only the text tells that it is not whole.
    let open_ended = answer.replacen("content-length", "x-length", 1);
    for length in (open_ended.find("\r\n\r\n").unwrap() + 4)..open_ended.len() {
        let error = ask(&Server::answering(&open_ended.as_bytes()[..length]).model()).await.unwrap_err();
        assert!(matches!(error, ModelError::InvalidReply { .. }), "{length}: {error:?}");
    }
    assert!(ask(&Server::answering(open_ended).model()).await.is_ok());
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let head = "HTTP/1.1 200 OK\r\n\r\n".to_owned();
    let server = Server::answering(head + &" ".repeat(17 * 1024 * 1024));
    let error = ask(&server.model()).await.unwrap_err();
    assert!(error.to_string().contains("larger than 16 MiB"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_silent_runs_into_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let model = OpenAIChat::new("gpt-x")
        .base_url(format!("http://{}", listener.local_addr().unwrap()))
        .timeout(Duration::from_millis(100));
    let error = ask(&model).await.unwrap_err();
    assert!(matches!(error, ModelError::Connection { .. }), "{error:?}");
}

#[tokio::test]
async fn the_key_is_sent_and_shown_nowhere() {
    let body = json!({ "error": { "message": format!("bad key {KEY}"), "code": format!("x-{KEY}") } }).to_string();
    for answer in [
        http("401 Unauthorized", "", &body),
        http("401 Unauthorized", "", &format!("<p>{}{KEY}</p>", "x".repeat(PAGE_LIMIT - 10))),
        http("200 OK", "", &body),
    ] {
        let server = Server::answering(answer);
        let error = ask(&server.model()).await.unwrap_err();
        let sent = server.request();
        assert!(sent.contains(&format!("authorization: Bearer {KEY}\r\n")), "{sent}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("sk-test"), "{shown}");
        assert!(shown.contains("[key]"), "{shown}");
    }
    let model = OpenAIChat::new("gpt-x")
        .base_url(format!("https://me:{KEY}@a.example/v1?key={KEY}"))
        .api_key(KEY)
        .parameter("safety_identifier", KEY);
    let shown = format!("{model:?}");
    assert!(shown.contains("a.example") && !shown.contains("sk-test"), "{shown}");
}

#[tokio::test]
async fn a_key_that_fits_into_no_header_is_a_setup_error() {
    let model = OpenAIChat::new("gpt-x").base_url("http://127.0.0.1:9").api_key("sk-\u{7}\u{e9}");
    let error = ask(&model).await.unwrap_err();
    assert!(matches!(error, ModelError::Setup(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("sk-"), "{error:?}");
}

#[tokio::test]
async fn the_environments_key_goes_only_where_the_environment_says() {
    let made = |pairs: &'static [(&str, &str)]| {
        OpenAIChat::in_environment("gpt-x".into(), move |name| {
            pairs.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        })
    };
    let missing = ask(&made(&[])).await.unwrap_err();
    assert!(matches!(&missing, ModelError::Setup(what) if what.contains("OPENAI_API_KEY")), "{missing:?}");
    let blank = made(&[("OPENAI_API_KEY", " "), ("OPENAI_BASE_URL", "http://127.0.0.1:9")]);
    assert!(matches!(ask(&blank).await, Err(ModelError::Setup(_))));
    assert_eq!(made(&[("OPENAI_BASE_URL", "")]).base_url, DEFAULT_BASE);

    let both = made(&[("OPENAI_API_KEY", "sk-from-environment\n"), ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")]);
    assert_eq!(both.base_url, "http://127.0.0.1:9/v1");
    assert_eq!(both.key().unwrap().unwrap().cut_from("sk-from-environment".into()), "[key]");

    let server = Server::json("200 OK", &whole(json!({ "content": "hi" }), "stop"));
    let elsewhere = both.base_url(format!("http://{}", server.address));
    assert!(ask(&elsewhere).await.is_ok());
    let sent = server.request();
    assert!(!sent.to_lowercase().contains("authorization"), "{sent}");

    assert!(elsewhere.api_key(KEY).key().unwrap().is_some());
}

#[tokio::test]
async fn a_request_holds_what_the_run_holds() {
    let server = Server::json("200 OK", &whole(json!({ "content": "hi" }), "stop"));
    let messages = [
        Message::system("be brief"),
        Message::user("weather?"),
        Message::assistant(None, vec![ToolCallRequest::new("c1", "look", "{\"q\":  1")]),
        Message::tool("c1", "look", "not JSON"),
        Message::assistant(Some(String::new()), vec![]),
    ];
    let tools = [
        ToolDefinition::new("look", "Looks.", json!({ "type": "object" })),
        ToolDefinition::new("act", "Acts.", json!({ "type": "object", "properties": { "n": { "type": "integer" } } }))
            .strict(true),
        ToolDefinition::new("any", "Any.", json!({ "type": "object", "additionalProperties": true })).strict(true),
    ];
    let model =
        server.model().temperature(0.2).parameter("seed", 7).parameter("model", "another").parameter("stream", true);
    model.respond(ModelRequest::new(&messages, &tools)).await.unwrap();
    let sent = server.request();
    assert!(sent.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{sent}");
    let body: Value = serde_json::from_str(sent.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(
        body,
        json!({
            "model": "gpt-x", "stream": false, "temperature": 0.2, "seed": 7,
            "messages": [
                { "role": "system", "content": "be brief" },
                { "role": "user", "content": "weather?" },
                { "role": "assistant", "content": null, "tool_calls": [
                    { "id": "c1", "type": "function", "function": { "name": "look", "arguments": "{\"q\":  1" } },
                ] },
                { "role": "tool", "tool_call_id": "c1", "content": "not JSON" },
                { "role": "assistant", "content": "" },
            ],
            "tools": [
                { "type": "function",
                  "function": { "name": "look", "description": "Looks.", "parameters": { "type": "object" } } },
                { "type": "function",
                  "function": { "name": "act", "description": "Acts.", "strict": true, "parameters": {
                      "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"],
                      "additionalProperties": false } } },
                { "type": "function", "function": { "name": "any", "description": "Any.",
                  "parameters": { "type": "object", "additionalProperties": true } } },
            ],
        })
    );
}

/// What `wire_message` makes of a turn that came as `message`, as the run loop would keep it.
fn returned(message: Value, host: &str) -> Value {
    let body = serde_json::from_str(&whole(message, "length")).unwrap();
    let reply = read_reply(&body, Ending::Reason, "a.example").unwrap();
    let calls = reply
        .tool_calls
        .iter()
        .map(|call| ToolCallRequest::new(call.id.clone().unwrap_or_default(), &call.name, &call.arguments))
        .collect();
    let mut kept = Message::assistant(reply.content.or(reply.refusal), calls);
    kept.model_provider_data = reply.provider_data;
    let kept = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
    wire_message(&kept, host)
}

#[test]
fn a_turn_goes_back_to_its_provider_as_it_came() {
    let turns = [
        json!({ "role": "assistant", "content": null, "refusal": "I cannot." }),
        json!({ "role": "assistant", "content": "hi", "reasoning_content": "so", "reasoning_details": [{ "x": 1 }] }),
        json!({ "role": "assistant", "content": [
            { "type": "thinking", "thinking": [{ "type": "text", "text": "hm" }] }, { "type": "text", "text": "4" },
        ] }),
        json!({ "role": "assistant", "content": "", "tool_calls": [
            { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } },
            { "id": "b", "type": "function", "function": { "name": "g", "arguments": "{ }" },
              "extra_content": { "google": { "thought_signature": "x" } } },
        ] }),
    ];
    for turn in turns {
        assert_eq!(returned(turn.clone(), "a.example"), turn);
    }
}

#[test]
fn fields_of_answers_only_are_not_sent_back() {
    let turn = json!({
        "role": "assistant", "content": "hi", "refusal": null, "annotations": [{ "type": "url_citation" }],
        "audio": null, "reasoning": "", "padding": "xx",
    });
    assert_eq!(returned(turn, "a.example"), json!({ "role": "assistant", "content": "hi" }));
}

#[test]
fn another_host_gets_the_turn_without_what_its_first_provider_added() {
    let turn = json!({ "role": "assistant", "content": "hi", "reasoning_content": "so" });
    assert_eq!(returned(turn, "b.example"), json!({ "role": "assistant", "content": "hi" }));
}

mod messages;
mod streamed;
