//! `OpenAIChat` on recorded traffic: what it makes of each answer, against what the official SDK made of it, and what it
//! sends, against what was sent.

use std::collections::HashMap;
use std::sync::Mutex;

use kern::models::openai::OpenAIChat;
use kern::models::{Model, ModelDelta, ModelError, ModelReply, ModelRequest, ToolDefinition};
use kern::run::{Message, ToolCallRequest};
use kern_tests::replay::{Exchange, ReplayServer, exchanges};
use serde_json::{Map, Value, json};

fn not_streamed(exchange: &Exchange) -> bool {
    exchange.provider == "openai-chat" && !exchange.stream
}

fn streamed(exchange: &Exchange) -> bool {
    exchange.provider == "openai-chat" && exchange.stream
}

/// How the bytes of an answer are cut into writes.
const CUTS: [&str; 4] = ["none", "awkward", "byte", "crlf"];

/// What was recorded of a request, in kern's terms.
struct Rebuilt {
    model: String,
    messages: Vec<Message>,
    tools: Vec<ToolDefinition>,
    parameters: Map<String, Value>,
}

/// Rebuilds a recorded request. `None` where there is none, or it holds what a `Message` cannot (images, several parts).
fn rebuild(exchange: &Exchange) -> Option<Rebuilt> {
    let mut parameters = exchange.request["body"].as_object()?.clone();
    let model = parameters.remove("model")?.as_str()?.to_owned();
    let recorded = parameters.remove("messages")?;
    let mut messages = Vec::new();
    let mut tool_names = HashMap::new();
    for recorded in recorded.as_array()? {
        let message = rebuild_message(recorded, &tool_names)?;
        for call in &message.tool_calls {
            tool_names.insert(call.id.clone(), call.function.name.clone());
        }
        messages.push(message);
    }
    let tools = match parameters.remove("tools") {
        None => Vec::new(),
        Some(tools) => tools.as_array()?.iter().map(rebuild_tool).collect::<Option<_>>()?,
    };
    parameters.remove("stream");
    if exchange.stream {
        // What the client asks for by itself is left to it.
        let asked = parameters.remove("stream_options");
        if asked != Some(json!({ "include_usage": true })) {
            parameters.insert("stream_options".to_owned(), asked.unwrap_or_default());
        }
    }
    Some(Rebuilt { model, messages, tools, parameters })
}

fn rebuild_message(recorded: &Value, tool_names: &HashMap<String, String>) -> Option<Message> {
    let content = match &recorded["content"] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => match parts.as_slice() {
            [part] if part["type"] == "text" => Some(part["text"].as_str()?.to_owned()),
            _ => return None,
        },
        _ => return None,
    };
    match recorded["role"].as_str()? {
        "system" => Some(Message::system(content?)),
        "user" => Some(Message::user(content?)),
        "tool" => {
            let id = recorded["tool_call_id"].as_str()?;
            Some(Message::tool(id, tool_names.get(id)?, content?))
        }
        "assistant" => {
            let calls = recorded["tool_calls"].as_array().cloned().unwrap_or_default();
            let calls = calls.iter().map(|call| {
                let function = &call["function"];
                Some(ToolCallRequest::new(
                    call["id"].as_str()?,
                    function["name"].as_str()?,
                    function["arguments"].as_str()?,
                ))
            });
            Some(Message::assistant(content, calls.collect::<Option<_>>()?))
        }
        _ => None,
    }
}

fn rebuild_tool(recorded: &Value) -> Option<ToolDefinition> {
    let function = recorded["function"].as_object()?;
    let tool = ToolDefinition::new(
        function.get("name")?.as_str()?,
        function.get("description")?.as_str()?,
        function.get("parameters")?.clone(),
    );
    Some(tool.strict(function.get("strict").is_some_and(|strict| strict == true)))
}

/// Drops what two right clients may spell differently: null members, and a text as itself or as a list of one part.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| match (name.as_str(), value.as_array().map(Vec::as_slice)) {
                ("content", Some([part])) if part["type"] == "text" => (name.clone(), part["text"].clone()),
                _ => (name.clone(), canonical(value)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(canonical).collect(),
        _ => value.clone(),
    }
}

/// Asks as it was recorded, streamed or not. Options of the server's follow a `~`.
async fn replay(server: &ReplayServer, exchange: &Exchange, options: &str) -> Result<ModelReply, ModelError> {
    let rebuilt = rebuild(exchange).unwrap_or_else(|| Rebuilt {
        model: "gpt-4o-mini".to_owned(),
        messages: vec![Message::user("hi")],
        tools: Vec::new(),
        parameters: Map::new(),
    });
    let mut model = OpenAIChat::new(rebuilt.model)
        .base_url(format!("{}{options}/v1", server.base_url_exchange(&exchange.name)))
        .api_key("sk-not-a-real-key");
    for (name, value) in rebuilt.parameters {
        model = model.parameter(name, value);
    }
    let request = ModelRequest::new(&rebuilt.messages, &rebuilt.tools);
    if !exchange.stream {
        return model.respond(request).await;
    }
    let watched = Mutex::new((String::new(), String::new()));
    let sink = |delta: ModelDelta| {
        assert!(delta.content.is_some() || delta.reasoning.is_some(), "{}: an empty part", exchange.name);
        let mut watched = watched.lock().expect("no other thread");
        watched.0.push_str(delta.content.as_deref().unwrap_or_default());
        watched.1.push_str(delta.reasoning.as_deref().unwrap_or_default());
    };
    let reply = model.respond_streamed(request, &sink).await?;
    let (text, reasoning) = watched.into_inner().expect("no other thread");
    assert_eq!(text, reply.content.clone().unwrap_or_default(), "{}: the parts are the text", exchange.name);
    assert_eq!(reasoning, reply.reasoning.clone().unwrap_or_default(), "{}: and the reasoning", exchange.name);
    Ok(reply)
}

/// Gives what the SDK made of an answer. Of one stream it loses the usage, since the part after it says `null`: there the
/// stream's own is expected.
fn expected(exchange: &Exchange) -> Value {
    let mut expect = exchange.expect.clone();
    if exchange.name == "pyd-test_openai-test_openai_moderation_stream.0" {
        let stream = exchange.response["sse"].as_str().expect("a stream was recorded");
        let parts = stream.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        let usage = parts.map(|part| part["usage"].clone()).find(|usage| !usage.is_null()).expect("there is one");
        assert!(expect["usage"].is_null());
        expect["usage_norm"] =
            json!({ "input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"] });
        expect["usage"] = usage;
    }
    expect
}

/// Gives what differs from the SDK's reading of the answer.
fn differences(expect: &Value, answer: &Result<ModelReply, ModelError>) -> Vec<String> {
    let pairs = match answer {
        Ok(reply) => {
            let calls: Vec<_> =
                reply.tool_calls.iter().map(|call| json!([call.id, call.name, call.arguments])).collect();
            let expected_calls: Vec<_> = expect["tool_calls"]
                .as_array()
                .expect("an expectation has a list of calls")
                .iter()
                .map(|call| json!([call["id"], call["name"], call["arguments_raw"]]))
                .collect();
            let usage = reply.usage.unwrap_or_default();
            let norm = &expect["usage_norm"];
            let count = |value: &Value| json!(value.as_u64().unwrap_or(0));
            // The SDK tells an absent text from an empty one, and where it does so says nothing of the answer.
            let text = |value: &Value| json!(value.as_str().unwrap_or_default());
            let filled = |value: &Value| if expect["id"] == "" { Value::Null } else { value.clone() };
            vec![
                ("error", expect["error"].clone(), Value::Null),
                ("text", text(&expect["text"]), text(&json!(reply.content))),
                ("reasoning", text(&expect["reasoning"]), text(&json!(reply.reasoning))),
                ("refusal", text(&expect["refusal"]), text(&json!(reply.refusal))),
                ("tool_calls", json!(expected_calls), json!(calls)),
                ("finish_reason", expect["finish_reason"].clone(), json!(reply.finish_reason)),
                ("model", expect["model"].clone(), json!(reply.model)),
                // The SDK keeps the empty id of a first part, where kern takes the one that comes later.
                ("id", filled(&expect["id"]), filled(&json!(reply.response_id))),
                ("usage", json!(!expect["usage"].is_null()), json!(reply.usage.is_some())),
                ("input_tokens", count(&norm["input_tokens"]), json!(usage.input_tokens)),
                ("output_tokens", count(&norm["output_tokens"]), json!(usage.output_tokens)),
                ("cached_tokens", count(&norm["cached_input_tokens"]), json!(usage.cached_tokens)),
                ("reasoning_tokens", count(&norm["reasoning_tokens"]), json!(usage.reasoning_tokens)),
                ("total_tokens", count(&expect["usage"]["total_tokens"]), json!(usage.total_tokens)),
            ]
        }
        Err(ModelError::Status { status, message, provider_code, .. }) => {
            let expected = &expect["error"];
            let mut pairs = vec![("code", expected["code"].clone(), json!(provider_code))];
            // In mid-stream there is no status of HTTP's, and kern takes the code for one.
            if !expected["status"].is_null() {
                pairs.push(("status", expected["status"].clone(), json!(status)));
            }
            // The SDK finds no message in some vendors' errors. Where kern finds one, there is nothing to compare.
            if !expected["api_message"].is_null() {
                pairs.push(("message", expected["api_message"].clone(), json!(message)));
            }
            pairs
        }
        Err(error) => vec![("error", expect["error"].clone(), json!(format!("{error:?}")))],
    };
    pairs
        .into_iter()
        .filter(|(_, expected, found)| expected != found)
        .map(|(what, expected, found)| format!("{what}: expected {expected}, found {found}"))
        .collect()
}

/// Replays exchanges and gives how many answers were as expected. Panics with all differences when one was not.
async fn replay_all(server: &ReplayServer, exchanges: &[Exchange], options: &str) -> usize {
    let mut same = 0;
    let mut wrong = Vec::new();
    for exchange in exchanges {
        let answer = replay(server, exchange, options).await;
        let differences = differences(&expected(exchange), &answer);
        if differences.is_empty() {
            same += 1;
        }
        wrong.extend(differences.iter().map(|line| format!("{}: {line}", exchange.name)));
    }
    assert!(wrong.is_empty(), "{options} {} of {}:\n{}", same, exchanges.len(), wrong.join("\n"));
    same
}

#[tokio::test]
async fn every_answer_of_openai_is_read_as_its_sdk_reads_it() {
    let exchanges = exchanges(|exchange| not_streamed(exchange) && exchange.vendor == "openai");
    let server = ReplayServer::start();
    assert_eq!(replay_all(&server, &exchanges, "").await, 56);
}

#[tokio::test]
async fn every_answer_of_a_compatible_vendor_is_read_as_the_sdk_reads_it() {
    let exchanges = exchanges(|exchange| not_streamed(exchange) && exchange.vendor != "openai");
    let server = ReplayServer::start();
    assert_eq!(replay_all(&server, &exchanges, "").await, 210);
}

#[tokio::test]
async fn every_streamed_answer_of_openai_is_read_as_its_sdk_reads_it_however_it_is_cut() {
    let exchanges = exchanges(|exchange| streamed(exchange) && exchange.vendor == "openai");
    let server = ReplayServer::start();
    for cut in CUTS {
        assert_eq!(replay_all(&server, &exchanges, &format!("~{cut}")).await, 19);
    }
}

#[tokio::test]
async fn every_streamed_answer_of_a_compatible_vendor_is_read_as_the_sdk_reads_it_however_it_is_cut() {
    let exchanges = exchanges(|exchange| streamed(exchange) && exchange.vendor != "openai");
    let server = ReplayServer::start();
    for cut in CUTS {
        assert_eq!(replay_all(&server, &exchanges, &format!("~{cut}")).await, 90);
    }
}

async fn assert_sent_as_recorded(wanted: fn(&Exchange) -> bool, count: usize) {
    let exchanges = exchanges(|exchange| wanted(exchange) && exchange.vendor == "openai");
    let rebuilt: Vec<_> = exchanges.iter().filter(|exchange| rebuild(exchange).is_some()).collect();
    let server = ReplayServer::start();
    for exchange in &rebuilt {
        // What becomes of the answer is another test's matter.
        let _ = replay(&server, exchange, "~none").await;
    }
    let log = server.log();
    let sent: Vec<_> = log.iter().filter(|row| row["method"] == "POST").collect();
    assert_eq!(sent.len(), rebuilt.len());
    for (row, exchange) in sent.iter().zip(&rebuilt) {
        assert_eq!(row["exchange"], *exchange.name);
        assert_eq!(row["path"], "/v1/chat/completions");
        assert_eq!(row["headers"]["authorization"], "<set>");
        assert_eq!(row["headers"]["content-type"], "application/json");
        let mut recorded = canonical(&exchange.request["body"]);
        // Without a stream it is the default, and some clients leave it out.
        recorded["stream"] = exchange.stream.into();
        assert_eq!(canonical(&row["body"]), recorded, "{}", exchange.name);
    }
    assert_eq!(rebuilt.len(), count);
}

#[tokio::test]
async fn a_request_is_sent_as_the_recorded_client_sent_it() {
    assert_sent_as_recorded(not_streamed, 49).await;
}

#[tokio::test]
async fn a_request_for_a_stream_is_sent_as_the_recorded_client_sent_it() {
    assert_sent_as_recorded(streamed, 19).await;
}

/// What of a recorded turn its provider is to see again: all but empty members and those that are answers only.
fn to_be_returned(recorded: &Value) -> Value {
    let mut turn = recorded.as_object().expect("a recorded turn is an object").clone();
    for answer_only in ["annotations", "audio", "executed_tools", "function_call", "padding"] {
        turn.remove(answer_only);
    }
    for call in turn.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
        let call = call.as_object_mut().expect("a recorded call is an object");
        call.remove("index");
        call.insert("type".into(), "function".into());
    }
    without_empty(&turn.into())
}

fn without_empty(turn: &Value) -> Value {
    let fields = turn.as_object().expect("a turn is an object").iter();
    fields
        .filter(|(_, value)| !value.is_null() && **value != json!("") && **value != json!([]))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect::<Map<_, _>>()
        .into()
}

/// The reference is the answer and not the recorded client's next request: some recorded clients write the arguments
/// anew, or give a refusal back as a text.
#[tokio::test]
async fn every_turn_goes_back_to_its_provider_as_it_came() {
    let exchanges = exchanges(|exchange| not_streamed(exchange) && exchange.response["status"] == 200);
    let server = ReplayServer::start();
    for exchange in &exchanges {
        let base = format!("{}/v1", server.base_url_exchange(&exchange.name));
        let model = OpenAIChat::new("gpt-4o-mini").base_url(base);
        let messages = [Message::user("hi")];
        let reply = model.respond(ModelRequest::new(&messages, &[])).await;
        let reply = reply.unwrap_or_else(|error| panic!("{}: {error}", exchange.name));
        let calls = reply.tool_calls.iter().map(|call| {
            let id = call.id.as_deref().expect("every recorded call has an id");
            ToolCallRequest::new(id, &call.name, &call.arguments)
        });
        let mut turn = Message::assistant(reply.content, calls.collect());
        turn.model_provider_data = reply.provider_data;
        let again = model.respond(ModelRequest::new(&[turn], &[])).await;
        assert!(again.is_ok(), "{}: {again:?}", exchange.name);
    }
    let log = server.log();
    let sent = log.iter().filter(|row| row["method"] == "POST").skip(1).step_by(2);
    let mut compared = 0;
    for (row, exchange) in sent.zip(&exchanges) {
        assert_eq!(row["exchange"], *exchange.name);
        assert_eq!(row["headers"]["authorization"], Value::Null);
        assert_eq!(
            without_empty(&row["body"]["messages"][0]),
            to_be_returned(&exchange.response["body"]["choices"][0]["message"]),
            "{}",
            exchange.name
        );
        compared += 1;
    }
    assert_eq!(compared, 248);
}

#[tokio::test]
async fn a_recorded_answer_that_is_cut_short_is_an_error() {
    let exchanges = exchanges(|exchange| {
        not_streamed(exchange) && exchange.vendor == "openai" && exchange.response["status"] == 200
    });
    let server = ReplayServer::start();
    for exchange in &exchanges {
        let base = server.base_url_exchange(&format!("{}~cut:300", exchange.name));
        let model = OpenAIChat::new("gpt-4o-mini").base_url(format!("{base}/v1"));
        let answer = model.respond(ModelRequest::new(&[Message::user("hi")], &[])).await;
        assert!(matches!(answer, Err(ModelError::Connection { .. })), "{}: {answer:?}", exchange.name);
    }
    assert_eq!(exchanges.len(), 51);
}

/// Gives where a stream can be cut: early, after its first events, in the middle of everything that looks like the
/// arguments of a call, before the reason to stop, and just before its end.
fn places_to_cut(stream: &str) -> Vec<usize> {
    let end = stream.find("data: [DONE]").expect("every stream of OpenAI has an end");
    let mut places = vec![1, 7, 40, stream.len() / 2, end - 1, end, end + 8, stream.len() - 1];
    places.extend(stream.match_indices("\"arguments\"").map(|(place, _)| place + 15));
    places.extend(stream.match_indices("\n\n").map(|(place, _)| place + 2).take(3));
    places.extend(stream.find("\"finish_reason\":\"").map(|place| place + 18));
    places.sort_unstable();
    places.dedup();
    places
}

#[tokio::test]
async fn a_recorded_stream_that_is_cut_is_an_error_wherever_it_is_cut() {
    let exchanges = exchanges(|exchange| streamed(exchange) && exchange.vendor == "openai");
    let server = ReplayServer::start();
    let (mut cuts, mut in_calls) = (0, 0);
    for exchange in &exchanges {
        let stream = exchange.response["sse"].as_str().expect("a stream was recorded");
        for place in places_to_cut(stream) {
            let answer = replay(&server, exchange, &format!("~none,cut:{place}")).await;
            assert!(matches!(answer, Err(ModelError::Connection { .. })), "{} at {place}: {answer:?}", exchange.name);
            // Where HTTP does not say how long the answer is, only the stream itself tells. Its last blank line is
            // nothing that could be missed.
            let answer = replay(&server, exchange, &format!("~none,nochunk,cut:{place}")).await;
            if place < stream.len() - 2 {
                let unread = matches!(answer, Err(ModelError::InvalidReply { .. }));
                assert!(unread, "{} at {place}: {answer:?}", exchange.name);
            } else {
                assert_eq!(differences(&expected(exchange), &answer), Vec::<String>::new(), "{}", exchange.name);
            }
            cuts += 1;
            in_calls += usize::from(stream[..place].contains("\"arguments\""));
        }
    }
    assert_eq!(exchanges.len(), 19);
    assert!(cuts > 19 * 8 && in_calls > 20, "{cuts} cuts, {in_calls} of them in calls");
}

#[tokio::test]
async fn a_rate_limit_is_told_and_then_the_answer_comes() {
    let exchange = exchanges(|exchange| not_streamed(exchange) && exchange.vendor == "openai")
        .into_iter()
        .find(|exchange| exchange.expect["error"].is_null())
        .expect("there are answers without error");
    let server = ReplayServer::start();
    let base = server.base_url_exchange(&format!("{}~fail:429x1@3", exchange.name));
    let model = OpenAIChat::new("gpt-4o-mini").base_url(format!("{base}/v1"));
    let messages = [Message::user("hi")];
    let first = model.respond(ModelRequest::new(&messages, &[])).await;
    assert!(
        matches!(
            &first,
            Err(ModelError::Status { status: 429, retry_after: Some(3), provider_code: Some(code), .. })
                if code == "rate_limit_exceeded"
        ),
        "{first:?}"
    );
    let second = model.respond(ModelRequest::new(&messages, &[])).await;
    assert_eq!(differences(&exchange.expect, &second), Vec::<String>::new());
}
