//! A client of AgentOS that reads what the server says, as it says it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

/// Longer than anything takes, shorter than a hanging test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    http: reqwest::Client,
    credential: Option<String>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its content type.
    pub kind: String,
    /// Its body: JSON, or a text.
    pub body: Value,
}

impl Answer {
    /// The stable code of a problem.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// An event of a stream.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id, where it has one.
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// What it says.
    pub data: Value,
}

/// A stream that is being read.
#[derive(Debug)]
pub struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    /// Waits for the next event. `None`: the stream has ended.
    ///
    /// # Panics
    ///
    /// When nothing comes, or no event.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
                // Comments keep the connection.
                let Some(name) = field("event: ") else { continue };
                let data = field("data: ").expect("an event has data");
                let data = serde_json::from_str(&data).expect("an event is JSON");
                return Some(Event { id: field("id: "), name, data });
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("something comes");
            match chunk.expect("the stream can be read") {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk).expect("it is text")),
                None => return None,
            }
        }
    }

    /// Waits until the stream ends.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

impl Client {
    /// A client of the server at this address.
    ///
    /// # Panics
    ///
    /// When there is no client to be had.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE * 10).build().expect("there is a client");
        Self { base: format!("http://{address}"), http, credential: None }
    }

    /// A client that waits no longer than this for an answer.
    ///
    /// # Panics
    ///
    /// When there is no client to be had.
    #[must_use]
    pub fn impatient(address: SocketAddr, patience: Duration) -> Self {
        let http = reqwest::Client::builder().timeout(patience).build().expect("there is a client");
        Self { base: format!("http://{address}"), http, credential: None }
    }

    /// The same client with a credential.
    #[must_use]
    pub fn with(&self, credential: impl Into<String>) -> Self {
        Self { credential: Some(credential.into()), ..self.clone() }
    }

    /// Starts a request.
    ///
    /// # Panics
    ///
    /// When the method is none.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method.parse().expect("a method"), format!("{}{path}", self.base));
        match &self.credential {
            Some(credential) => request.bearer_auth(credential),
            None => request,
        }
    }

    /// Sends a request and reads the answer.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("the server answers");
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type");
        let kind = kind.map(|kind| kind.to_str().expect("it is text").to_owned()).unwrap_or_default();
        let text = response.text().await.expect("the body is text");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, kind, body }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// `POST` of a form.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.request("POST", path).form(fields)).await
    }

    /// `POST` of JSON.
    pub async fn json(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path).json(body)).await
    }

    /// `POST` of a form whose answer is a stream.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub async fn stream(&self, path: &str, fields: &[(&str, &str)]) -> Stream {
        self.read(self.request("POST", path).form(fields)).await
    }

    /// Reads a stream.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub async fn read(&self, request: reqwest::RequestBuilder) -> Stream {
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status(), 200);
        let kind = response.headers().get("content-type").expect("it has a type").to_str().expect("it is text");
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Stream { response, text: String::new() }
    }
}
