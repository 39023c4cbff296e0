//! Streamed answers: what makes one whole, and what is never taken for one.

use std::sync::Mutex;

use super::*;
use crate::models::ModelDelta;

/// Writes a stream with an end that HTTP knows.
fn sse(body: &str) -> String {
    http("200 OK", "content-type: text/event-stream\r\n", body)
}

/// Writes the events of parts, and the last one.
fn events(parts: &[Value]) -> String {
    parts.iter().map(|part| format!("data: {part}\n\n")).collect::<String>() + "data: [DONE]\n\n"
}

fn part(delta: Value) -> Value {
    json!({ "id": "chatcmpl-1", "model": "gpt-x-1", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn finish(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

fn call(fields: Value) -> Value {
    part(json!({ "tool_calls": [fields] }))
}

async fn watch(model: &OpenAIChat) -> (Result<ModelReply, ModelError>, Vec<ModelDelta>) {
    let seen = Mutex::new(Vec::new());
    let sink = |delta| seen.lock().unwrap().push(delta);
    let messages = [Message::user("hi")];
    let reply = model.respond_streamed(ModelRequest::new(&messages, &[]), &sink).await;
    (reply, seen.into_inner().unwrap())
}

async fn stream_of(parts: &[Value]) -> Result<ModelReply, ModelError> {
    watch(&Server::answering(sse(&events(parts))).model()).await.0
}

fn what(answer: Result<ModelReply, ModelError>) -> String {
    match answer {
        Err(ModelError::InvalidReply { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_gives_the_answer_that_would_have_come_whole() {
    let parts = [
        part(json!({ "role": "assistant", "content": "", "refusal": null })),
        part(json!({ "reasoning_content": "I th" })),
        part(json!({ "reasoning_content": "ink" })),
        part(json!({ "content": "h\u{e9}" })),
        json!({ "choices": [{ "index": 1, "delta": { "content": "another choice" } }] }),
        part(json!({ "content": "llo" })),
        finish("stop"),
        json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2 } }),
    ];
    let (reply, seen) = watch(&Server::answering(sse(&events(&parts))).model()).await;
    let reply = reply.unwrap();
    assert_eq!(
        (reply.content.as_deref(), reply.reasoning.as_deref(), reply.finish_reason.as_deref()),
        (Some("h\u{e9}llo"), Some("I think"), Some("stop"))
    );
    assert_eq!((reply.response_id.as_deref(), reply.model.as_deref()), (Some("chatcmpl-1"), Some("gpt-x-1")));
    assert_eq!(reply.usage.unwrap().total_tokens, 7);
    let seen: Vec<_> = seen.into_iter().map(|delta| (delta.content, delta.reasoning)).collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(seen, [(None, some("I th")), (None, some("ink")), (some("h\u{e9}"), None), (some("llo"), None)]);
}

#[tokio::test]
async fn what_is_asked_for_is_a_stream_with_its_usage_unless_the_server_refuses_that() {
    let body = |server: &Server| -> Value {
        serde_json::from_str(server.request().split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let answer = sse(&events(&[part(json!({ "content": "hi" })), finish("stop")]));
    let server = Server::answering(answer.clone());
    watch(&server.model()).await.0.unwrap();
    let sent = body(&server);
    assert_eq!((&sent["stream"], &sent["stream_options"]), (&json!(true), &json!({ "include_usage": true })));

    let server = Server::answering(answer);
    watch(&server.model().parameter("stream_options", Value::Null)).await.0.unwrap();
    assert_eq!(body(&server).get("stream_options"), None);

    let server = Server::json("200 OK", &whole(json!({ "content": "hi" }), "stop"));
    ask(&server.model().parameter("stream_options", json!({ "include_usage": true }))).await.unwrap();
    assert_eq!(body(&server).get("stream_options"), None, "without a stream it is an error");

    let messages = [Message::user("hi")];
    let refusing = OpenAIChat::new("m").body(ModelRequest::new(&messages, &[]), "api.mistral.ai", true);
    assert_eq!(refusing.get("stream_options"), None);
}

#[tokio::test]
async fn calls_are_put_together_however_a_server_spreads_them() {
    let function = |name: &str, arguments: &str| json!({ "name": name, "arguments": arguments });
    let arguments = |arguments: &str| json!({ "arguments": arguments });
    let a = || ModelToolCall::new(Some("a".into()), "f", r#"{"x":1}"#);
    let b = || ModelToolCall::new(Some("b".into()), "g", "{}");
    let cases = [
        // By the format, and mixed.
        vec![
            call(json!({ "index": 0, "id": "a", "type": "function", "function": function("f", "") })),
            call(json!({ "index": 1, "id": "b", "type": "function", "function": function("g", "") })),
            call(json!({ "index": 0, "function": arguments("{\"x\"") })),
            call(json!({ "index": 1, "function": arguments("{}") })),
            call(json!({ "index": 0, "function": arguments(":1}") })),
        ],
        // Id and name with each part.
        vec![
            call(json!({ "index": 0, "id": "a", "function": function("f", "{\"x\"") })),
            call(json!({ "index": 0, "id": "a", "function": function("f", ":1}") })),
            call(json!({ "index": 1, "id": "b", "function": function("g", "{}") })),
        ],
        // Without index.
        vec![
            call(json!({ "id": "a", "function": function("f", "{\"x\"") })),
            call(json!({ "function": arguments(":1}") })),
            call(json!({ "id": "b", "function": function("g", "{}") })),
        ],
        // Whole, with one index for all.
        vec![
            call(json!({ "index": 0, "id": "a", "function": function("f", "{\"x\":1}") })),
            call(json!({ "index": 0, "id": "b", "function": function("g", "{}") })),
        ],
        // Whole, and at once.
        vec![part(json!({ "tool_calls": [
            { "index": 0, "id": "a", "function": function("f", "{\"x\":1}") },
            { "index": 1, "id": "b", "function": function("g", "{}") },
        ] }))],
        // The whole message.
        vec![json!({ "choices": [{ "message": { "role": "assistant", "content": null, "tool_calls": [
            { "id": "a", "type": "function", "function": function("f", "{\"x\":1}") },
            { "id": "b", "type": "function", "function": function("g", "{}") },
        ] } }] })],
    ];
    for mut parts in cases {
        parts.push(finish("tool_calls"));
        assert_eq!(stream_of(&parts).await.unwrap().tool_calls, [a(), b()], "{parts:?}");
    }
    // Two calls of one tool without anything that tells them apart but that each has a name.
    let twice = call(json!({ "function": function("f", "{\"x\":1}") }));
    let reply = stream_of(&[twice.clone(), twice, finish("tool_calls")]).await.unwrap();
    assert_eq!(
        reply.tool_calls,
        [ModelToolCall::new(None, "f", r#"{"x":1}"#), ModelToolCall::new(None, "f", r#"{"x":1}"#)]
    );
}

#[tokio::test]
async fn what_is_no_whole_stream_is_never_taken_for_an_answer() {
    let hi = || part(json!({ "content": "hi" }));
    let named = |index: u64, id: &str, name: &str| {
        call(json!({ "index": index, "id": id, "function": { "name": name, "arguments": "{" } }))
    };
    let cases: Vec<(Vec<Value>, &str)> = vec![
        (vec![], "`choices` is empty"),
        (vec![finish("stop")], "neither text nor calls"),
        (vec![finish("tool_calls")], "has none"),
        (vec![json!({ "choices": [] })], "`choices` is empty"),
        (vec![json!([])], "an event is no object"),
        (vec![json!({ "choices": {} })], "`choices` is no list"),
        (vec![json!({ "choices": [7] })], "a part of `choices` is no object"),
        (vec![json!({ "choices": [{ "delta": "hi" }] })], "a part of the answer is no object"),
        (vec![part(json!({ "content": 7 }))], "`content` is no text"),
        (vec![part(json!({ "role": "user", "content": "hi" })), finish("stop")], "`role`"),
        (vec![part(json!({ "role": "tool" })), part(json!({ "role": "assistant" })), finish("stop")], "`role`"),
        (vec![hi(), finish("length"), finish("stop")], "two different reasons"),
        (vec![hi(), finish("error")], "it ended for `error`"),
        (vec![hi(), json!({ "error": { "message": "overloaded" } }), finish("stop")], "it holds an error: overloaded"),
        (vec![hi(), json!({ "error": {} }), finish("stop")], "it holds an error"),
        (vec![part(json!({ "function_call": { "name": "f" } })), finish("stop")], "`function_call`"),
        (
            vec![
                part(json!({ "function_call": { "name": "f", "arguments": "" } })),
                part(json!({ "content": "x", "function_call": { "arguments": "{}" } })),
                finish("stop"),
            ],
            "`function_call`",
        ),
        (vec![part(json!({ "tool_calls": {} }))], "`tool_calls` is no list"),
        (vec![call(json!({ "index": 0, "function": { "arguments": "{}" } }))], "belongs to no call"),
        (vec![call(json!({ "index": -1, "function": { "name": "f" } }))], "`index` is no count"),
        (vec![named(0, "a", "f"), named(0, "a", "g")], "the name of a call changes"),
        (
            vec![named(0, "a", "f"), call(json!({ "index": 0, "id": "b", "function": { "arguments": "}" } }))],
            "the id of a call changes",
        ),
        (
            vec![named(0, "a", "f"), call(json!({ "index": 0, "function": { "arguments": { "secret": 1 } } }))],
            "`arguments` is no text",
        ),
        (
            vec![
                call(json!({ "index": 0, "function": { "name": "f", "arguments": { "secret": 1 } } })),
                finish("stop"),
            ],
            "`arguments` is no text",
        ),
        (vec![call(json!({ "index": 0, "function": { "name": "f" } })), finish("stop")], "`arguments` is missing"),
        (
            vec![
                call(json!({ "index": 0, "type": "custom", "function": { "name": "f", "arguments": "" } })),
                finish("stop"),
            ],
            "its `type`",
        ),
    ];
    for (parts, wanted) in cases {
        let message = what(stream_of(&parts).await);
        assert!(message.contains(wanted), "{parts:?}: {message}");
        assert!(!message.contains("secret"), "{parts:?}: {message}");
    }
    for (body, wanted) in [
        ("", "ended before the answer began"),
        ("<html><body>Welcome</body></html>", "ended before the answer began"),
        (": ping\n\n", "ended before the answer began"),
        ("data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n", "ended before the answer was whole"),
        ("data: {\"choices\":[{\"delta\":{\"con", "an event is not JSON"),
        ("data: hello\n\ndata: [DONE]\n\n", "an event is not JSON"),
        ("event: error\ndata: all is lost\n\n", "it holds an error: all is lost"),
        ("event: error\ndata: {\"message\":\"all is lost\"}\n\n", "it holds an error: all is lost"),
    ] {
        let message = what(watch(&Server::answering(sse(body)).model()).await.0);
        assert!(message.contains(wanted), "{body}: {message}");
    }
    let head = sse("data: \u{e9}").replacen("content-length: 8", "content-length: 9", 1);
    let bytes = [head.as_bytes(), &[0xff]];
    assert!(what(watch(&Server::answering(bytes.concat()).model()).await.0).contains("not UTF-8"));
}

#[tokio::test]
async fn the_reason_to_stop_ends_an_answer_only_where_nothing_can_be_lost_after_it() {
    let parts = [part(json!({ "content": "hi" })), finish("stop")];
    let without_mark = events(&parts).replace("data: [DONE]\n\n", "");
    let (reply, _) = watch(&Server::answering(sse(&without_mark)).model()).await;
    assert_eq!(reply.unwrap().content.as_deref(), Some("hi"));

    let endless = |body: &str| sse(body).replacen("content-length", "x-length", 1);
    let (reply, _) = watch(&Server::answering(endless(&without_mark)).model()).await;
    assert!(what(reply).contains("ended before the answer was whole"));
    let (reply, _) = watch(&Server::answering(endless(&events(&parts))).model()).await;
    assert_eq!(reply.unwrap().content.as_deref(), Some("hi"));

    // Some providers have the mark only.
    let reply = stream_of(&parts[..1]).await.unwrap();
    assert_eq!((reply.content.as_deref(), reply.finish_reason), (Some("hi"), None));
}

#[tokio::test]
async fn an_error_in_mid_stream_is_the_providers_own_and_without_the_key() {
    let failure =
        json!({ "error": { "message": format!("key {KEY} has no tokens left"), "code": 402 }, "choices": [] });
    let (error, seen) =
        watch(&Server::answering(sse(&events(&[part(json!({ "content": "hi" })), failure]))).model()).await;
    let error = error.unwrap_err();
    assert_eq!(seen.len(), 1);
    assert!(matches!(&error, ModelError::Status { status: 402, .. }), "{error:?}");
    assert_eq!(error.to_string(), "OpenAI answered 402: key [key] has no tokens left");
    let shown =
        format!("{:?}", watch(&Server::answering(sse(&format!("event: error\ndata: {KEY}\n\n"))).model()).await.0);
    assert!(shown.contains("[key]") && !shown.contains(KEY), "{shown}");
    // Where nothing of it is JSON.
    let (error, _) = watch(&Server::answering(sse(&format!("data: {KEY}\n\n"))).model()).await;
    assert!(!format!("{error:?}").contains(KEY), "{error:?}");
}

#[tokio::test]
async fn a_server_that_streams_nothing_is_understood() {
    let server = Server::json("200 OK", &whole(json!({ "role": "assistant", "content": "hi" }), "stop"));
    let (reply, seen) = watch(&server.model()).await;
    assert_eq!(reply.unwrap().content.as_deref(), Some("hi"));
    assert_eq!(seen.len(), 1);
    let (error, seen) = watch(&Server::json("429 Slow Down", r#"{"error":{"message":"slow down"}}"#).model()).await;
    assert_eq!((error.unwrap_err().code(), seen.len()), ("model_rate_limited", 0));
}

#[tokio::test]
async fn a_stream_without_end_is_given_up() {
    let part = |size: usize| format!("data: {}\n\n", part(json!({ "content": "x".repeat(size) })));
    let endless = |body: String| format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{body}");
    for (body, wanted) in [
        (part(1024 * 1024).repeat(17), "larger than 16 MiB"),
        ("data: ".to_owned() + &"x".repeat(5 * 1024 * 1024), "one of its events is larger than 4 MiB"),
        (
            // Calls cost more than their bytes.
            (0..5000)
                .map(|index| format!("data: {}\n\n", call(json!({ "index": index, "function": { "name": "f" } }))))
                .collect(),
            "larger than 16 MiB",
        ),
    ] {
        let message = what(watch(&Server::answering(endless(body)).model()).await.0);
        assert!(message.contains(wanted), "{message}");
    }
}

/// The server's first words have to come within this time, too, also where many tests share a core: 100 ms were not enough.
const SILENCE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_stream_that_falls_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (done, wait) = channel::<()>();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 4096]);
        let body = events(&[part(json!({ "content": "hi" })), finish("stop")]).replace("data: [DONE]\n\n", "");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let _ = wait.recv_timeout(Duration::from_secs(30));
    });
    let model = OpenAIChat::new("gpt-x").base_url(format!("http://{address}")).idle_timeout(SILENCE);
    let (error, seen) = watch(&model).await;
    let error = error.unwrap_err();
    assert_eq!(seen.len(), 1);
    assert!(matches!(error, ModelError::Connection { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("nothing came for {SILENCE:?}")), "{error}");
    drop(done);
    server.join().unwrap();
}

#[tokio::test]
async fn a_streamed_turn_goes_back_to_its_provider_as_a_whole_one_would() {
    let detail = |fields: Value| part(json!({ "content": "", "reasoning": "hm", "reasoning_details": [fields] }));
    let parts = [
        detail(json!({ "type": "reasoning.text", "index": 0, "text": "I th", "format": null })),
        detail(json!({ "type": "reasoning.text", "index": 0, "text": "ink", "signature": "sig" })),
        detail(json!({ "type": "reasoning.encrypted", "index": 1, "data": "xyz" })),
        call(json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" },
                     "extra_content": { "google": { "thought_signature": "x" } } })),
        finish("tool_calls"),
    ];
    let reply = stream_of(&parts).await.unwrap();
    let kept = reply.provider_data.unwrap();
    assert_eq!(
        kept["message"]["reasoning_details"],
        json!([
            { "type": "reasoning.text", "index": 0, "text": "I think", "format": null, "signature": "sig" },
            { "type": "reasoning.encrypted", "index": 1, "data": "xyz" },
        ])
    );
    assert_eq!(kept["message"]["reasoning"], "hmhmhm");
    assert_eq!(kept["tool_calls"][0]["extra_content"]["google"]["thought_signature"], "x");

    let thinking = |text: &str| json!([{ "type": "thinking", "thinking": [{ "type": "text", "text": text }] }]);
    let parts = [
        part(json!({ "content": thinking("I th") })),
        part(json!({ "content": thinking("ink") })),
        part(json!({ "content": "It is" })),
        part(json!({ "content": " 4" })),
        finish("stop"),
    ];
    let (reply, seen) = watch(&Server::answering(sse(&events(&parts))).model()).await;
    let reply = reply.unwrap();
    assert_eq!((reply.content.as_deref(), reply.reasoning.as_deref()), (Some("It is 4"), Some("I think")));
    assert_eq!(
        reply.provider_data.unwrap()["content"],
        json!([
            { "type": "thinking", "thinking": [{ "type": "text", "text": "I think" }] },
            { "type": "text", "text": "It is 4" },
        ])
    );
    assert_eq!(seen.iter().filter_map(|delta| delta.content.as_deref()).collect::<String>(), "It is 4");
    assert_eq!(seen.iter().filter_map(|delta| delta.reasoning.as_deref()).collect::<String>(), "I think");
}

#[tokio::test]
async fn a_refusal_is_put_together_and_is_no_text() {
    let parts = [
        part(json!({ "role": "assistant", "content": null, "refusal": "" })),
        part(json!({ "refusal": "I can" })),
        part(json!({ "refusal": "not." })),
        finish("stop"),
    ];
    let reply = stream_of(&parts).await.unwrap();
    assert_eq!((reply.content, reply.refusal.as_deref()), (None, Some("I cannot.")));
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (accepted, connections) = channel::<()>();
    let (ended, ends) = channel::<()>();
    thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            accepted.send(()).unwrap();
            let ended = ended.clone();
            thread::spawn(move || {
                while let Some(_request) = read_request(&mut socket) {
                    let body = events(&[part(json!({ "content": "hi" })), finish("stop")]);
                    let head =
                        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                    // The end of the body comes a moment after the end of the stream.
                    let _ = socket.write_all(format!("{head}{:x}\r\n{body}\r\n", body.len()).as_bytes());
                    thread::sleep(Duration::from_millis(20));
                    let _ = socket.write_all(b"0\r\n\r\n");
                    let _ = ended.send(());
                }
            });
        }
    });
    let model = OpenAIChat::new("gpt-x").base_url(format!("http://{address}"));
    for _ in 0..3 {
        assert_eq!(watch(&model).await.0.unwrap().content.as_deref(), Some("hi"));
        // A loaded machine may write the end long after it was due. Then the client still has to read it.
        let begun = std::time::Instant::now();
        while ends.try_recv().is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "the server does not end its answer");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(connections.try_iter().count(), 1);
}

/// Gives a value with one of its places replaced, for each place.
fn replaced(value: &Value, by: &Value) -> Vec<Value> {
    let mut all = vec![by.clone()];
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                all.extend(replaced(field, by).into_iter().map(|field| {
                    let mut fields = fields.clone();
                    fields.insert(name.clone(), field);
                    fields.into()
                }));
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                all.extend(replaced(item, by).into_iter().map(|item| {
                    let mut items = items.clone();
                    items[at] = item;
                    items.into()
                }));
            }
        }
        _ => {}
    }
    all
}

#[test]
fn no_part_makes_the_client_panic_or_gives_a_call_that_is_none() {
    let thinking = json!([{ "type": "thinking", "thinking": [{ "type": "text", "text": "I think" }] }]);
    let detail = json!([{ "type": "reasoning.text", "index": 0, "text": "so" }]);
    let parts = [
        part(json!({ "role": "assistant", "content": "h", "refusal": "n", "reasoning": "so", "function_call": null })),
        part(json!({ "content": thinking, "reasoning_details": detail })),
        call(
            json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "f", "arguments": "{" }, "x": {} }),
        ),
        call(json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "}" } })),
        json!({ "choices": [{ "message": { "content": "x" } }], "usage": { "prompt_tokens": 1 } }),
        finish("tool_calls"),
    ];
    let others = [
        Value::Null,
        json!(true),
        json!(-1),
        json!(""),
        json!("x"),
        json!([]),
        json!([[{}]]),
        json!({}),
        json!([{ "type": "text" }, { "type": "thinking", "thinking": [7] }]),
        json!([{ "type": "text", "text": "x" }, { "type": "text", "index": 0, "text": null }]),
    ];
    let (mut tried, mut read) = (0, 0);
    for at in 0..parts.len() {
        for other in &others {
            for wrong in replaced(&parts[at], other) {
                let mut assembly = Assembly::default();
                let all = parts[..at].iter().chain([&wrong, &wrong]).chain(&parts[at..]);
                let added = all.map(|part| assembly.add(part)).collect::<Result<Vec<_>, _>>();
                let reply = added.and_then(|_| read_reply(&assembly.into_body(), Ending::Mark, "a.example"));
                tried += 1;
                if let Ok(reply) = reply {
                    read += 1;
                    assert!(reply.tool_calls.iter().all(|call| !call.name.is_empty()), "{wrong}");
                }
            }
        }
    }
    assert!(tried > 500 && read > 50, "{tried} tried, {read} read");
}

#[test]
fn a_content_of_many_parts_is_put_together_without_copying_it_for_each() {
    let started = std::time::Instant::now();
    let mut assembly = Assembly::default();
    for _ in 0..10_000 {
        let content = [json!({ "type": "thinking", "thinking": "x" }), json!({ "type": "text", "text": "y" })];
        assembly.add(&part(json!({ "content": content }))).unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    let content = &assembly.into_body()["choices"][0]["message"]["content"];
    assert_eq!(content.as_array().map(Vec::len), Some(20_000));
}
