//! What a user reads when something is wrong: what it is, and what to do next.

use super::*;

async fn says(model: &OpenAIChat) -> String {
    crate::Error::from(ask(model).await.unwrap_err()).to_string()
}

async fn says_streamed(model: &OpenAIChat) -> String {
    let messages = [Message::user("hi")];
    model.respond_streamed(ModelRequest::new(&messages, &[]), &|_| {}).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_client_that_is_not_set_up_says_what_to_set() {
    let without_key = OpenAIChat::in_environment("gpt-x".into(), |_| None);
    assert_eq!(
        says(&without_key).await,
        "the model is not set up: no API key: set OPENAI_API_KEY, or give one with `api_key`"
    );
    for (base_url, wanted) in [
        ("api.example.com/v1", "is no URL (relative URL without a base): write it like `https://api.example.com/v1`"),
        ("localhost:1/v1", "starts with neither `http://` nor `https://`: write it like `http://localhost:8080/v1`"),
    ] {
        let model = OpenAIChat::new("gpt-x").base_url(base_url);
        assert_eq!(says(&model).await, format!("the model is not set up: the base address {wanted}"));
    }
}

#[tokio::test]
async fn a_wrong_address_is_named_without_what_may_be_secret_in_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let model = OpenAIChat::new("gpt-x").base_url(format!("http://{address}/v1?key={KEY}"));
    let wanted = format!(
        "no whole answer from OpenAI: http://{address}/v1/chat/completions cannot be reached: check `base_url`, the \
         network, and that the server runs"
    );
    assert_eq!((says(&model).await, says_streamed(&model).await), (wanted.clone(), wanted));

    let asked =
        |server: &Server| format!("asked at http://{}/v1/chat/completions: is `base_url` right?", server.address);
    let page = "<html>Welcome</html>";
    let server = Server::answering(http("404 Not Found", "", page));
    assert_eq!(says(&server.model()).await, format!("OpenAI answered 404: {page}; {}", asked(&server)));
    let server = Server::answering(http("200 OK", "content-type: text/html\r\n", page));
    assert_eq!(
        says(&server.model()).await,
        format!(
            "OpenAI sent an answer that cannot be read: the body is not JSON: expected value at line 1 column 1; {}",
            asked(&server)
        )
    );
    let server = Server::answering(http("200 OK", "content-type: text/html\r\n", page));
    assert_eq!(
        says_streamed(&server.model()).await,
        format!(
            "OpenAI sent an answer that cannot be read: the stream ended before the answer began; {}",
            asked(&server)
        )
    );
    let server = Server::answering(http("301 Moved Permanently", "location: http://elsewhere.example\r\n", ""));
    assert_eq!(
        says(&server.model()).await,
        format!(
            "OpenAI answered 301: no reason given; http://{}/v1/chat/completions leads elsewhere, which is not \
             followed: correct `base_url`",
            server.address
        )
    );
    // A model that is not there is no wrong address.
    let body = r#"{"error":{"message":"no model `gpt-x`","code":"model_not_found"}}"#;
    let server = Server::json("404 Not Found", body);
    assert_eq!(says(&server.model()).await, "OpenAI answered 404: no model `gpt-x`");
}

#[tokio::test]
async fn a_missing_key_is_told_from_a_wrong_one() {
    let body = r#"{"error":{"message":"who are you?"}}"#;
    let server = Server::json("401 Unauthorized", body);
    assert_eq!(says(&server.model()).await, "OpenAI answered 401: who are you?");
    let server = Server::json("401 Unauthorized", body);
    assert_eq!(
        says(&server.model().api_key("")).await,
        "OpenAI answered 401: who are you?; no key was sent: with `base_url`, only one given with `api_key` is"
    );
}

#[tokio::test]
async fn a_rate_limit_says_when_to_try_again() {
    let body = r#"{"error":{"message":"too many requests","code":"rate_limit_exceeded"}}"#;
    for streamed in [false, true] {
        let server = Server::answering(http("429 Too Many Requests", "retry-after: 7\r\n", body));
        let said = if streamed { says_streamed(&server.model()).await } else { says(&server.model()).await };
        assert_eq!(said, "OpenAI answered 429: too many requests; try again in 7 s");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let stream = http("200 OK", "content-type: text/event-stream\r\n", "data: {\"choices\":[]}\n\n");
    let server = Server::answering(&stream.as_bytes()[..stream.len() - 3]);
    assert_eq!(
        says_streamed(&server.model()).await,
        "no whole answer from OpenAI: the connection broke before its end"
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let model = OpenAIChat::new("gpt-x").base_url(format!("http://{}", silent.local_addr().unwrap()));
    assert_eq!(
        says_streamed(&model.timeout(Duration::from_millis(50))).await,
        "no whole answer from OpenAI: it took longer than 50ms: set a longer `timeout` if the model needs it"
    );
}
