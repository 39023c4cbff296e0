//! What is said of a failure.

use serde_json::Value;

use crate::models::ModelError;
use crate::models::http::{Answer, ApiKey};

/// How much is repeated of a message.
const MESSAGE_LIMIT: usize = 2000;

/// How much is repeated of an error page that says nothing in JSON.
pub(super) const PAGE_LIMIT: usize = 300;

/// Makes errors of what one provider sent. Every text of the provider's passes through here, and the key is cut out.
pub(super) struct Failures<'a> {
    pub(super) provider: &'a str,
    pub(super) key: Option<&'a ApiKey>,
    /// Where the request went, as it may be shown.
    pub(super) address: String,
    pub(super) retry_after: Option<u64>,
}

impl Failures<'_> {
    /// What is wrong with an answer that cannot be read.
    pub(super) fn invalid(&self, message: impl Into<String>) -> ModelError {
        ModelError::InvalidReply { provider: self.provider.to_owned(), message: self.shown(message.into()) }
    }

    /// What came is not even the start of an answer: perhaps it is not the API that was asked.
    pub(super) fn no_answer(&self, message: &str) -> ModelError {
        self.invalid(format!("{message}; {}", self.asked_at()))
    }

    /// An error status.
    pub(super) fn status(&self, answer: &Answer) -> ModelError {
        let error = ProviderError::of_body(answer, &|text| self.cut(text));
        let hint = match answer.status {
            401 | 403 if self.key.is_none() => {
                "; no key was sent: with `base_url`, only one given with `api_key` is".to_owned()
            }
            300..=399 => format!("; {} leads elsewhere, which is not followed: correct `base_url`", self.address),
            404 if error.code.is_none() => format!("; {}", self.asked_at()),
            _ => String::new(),
        };
        self.named(answer.status, error, &hint)
    }

    /// An error inside an answer that claims success.
    ///
    /// Routers in front of providers answer 200 before they know, and put the failure into the body or the stream.
    pub(super) fn inside(&self, body: &Value) -> Option<ModelError> {
        ProviderError::inside(body).map(|error| self.told(error))
    }

    /// An event that is an error by its name, whatever is in it.
    pub(super) fn event(&self, data: &str) -> ModelError {
        let body: Value = serde_json::from_str(data).unwrap_or_default();
        let error = ProviderError::inside(&body).or_else(|| ProviderError::of(&body));
        self.told(error.unwrap_or_else(|| ProviderError { message: self.cut(data.to_owned()), code: None }))
    }

    fn asked_at(&self) -> String {
        format!("asked at {}: is `base_url` right?", self.address)
    }

    fn told(&self, error: ProviderError) -> ModelError {
        match error.status() {
            Some(status) => self.named(status, error, ""),
            None => self.invalid(format!("it holds an error: {}", error.message)),
        }
    }

    fn named(&self, status: u16, error: ProviderError, hint: &str) -> ModelError {
        ModelError::Status {
            provider: self.provider.to_owned(),
            status,
            message: self.shown(error.message) + hint,
            provider_code: error.code.map(|code| self.cut(code)),
            retry_after: self.retry_after,
        }
    }

    fn shown(&self, text: String) -> String {
        excerpt(&self.cut(text), MESSAGE_LIMIT)
    }

    fn cut(&self, text: String) -> String {
        match self.key {
            Some(key) => key.cut_from(text),
            None => text,
        }
    }
}

/// What a provider says about a failure.
struct ProviderError {
    message: String,
    code: Option<String>,
}

impl ProviderError {
    /// Reads the body of an error status. The servers that copy the format differ most here.
    fn of_body(answer: &Answer, cut: &dyn Fn(String) -> String) -> Self {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let body = body.get(0).unwrap_or(&body);
        let nested = Self::of(&body["error"]);
        nested.or_else(|| Self::of(body)).or_else(|| Self::of(&body["detail"])).unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&answer.body);
            let message = match text.trim() {
                "" => "no reason given".to_owned(),
                text => excerpt(&cut(text.to_owned()), PAGE_LIMIT),
            };
            Self { message, code: None }
        })
    }

    /// Reads an error inside an answer that claims success.
    fn inside(body: &Value) -> Option<Self> {
        [&body["error"], &body["choices"][0]["error"]].into_iter().find_map(|error| {
            Self::of(error)
                .or_else(|| error.is_object().then(|| Self { message: "it gives no reason".to_owned(), code: None }))
        })
    }

    fn of(error: &Value) -> Option<Self> {
        let message = error.as_str().or_else(|| error["message"].as_str())?;
        if message.is_empty() {
            return None;
        }
        let code = match error.get("code") {
            Some(Value::String(code)) => Some(code.clone()),
            Some(Value::Number(code)) => Some(code.to_string()),
            _ => None,
        };
        Some(Self { message: message.to_owned(), code })
    }

    /// Gives the HTTP status that a router names as its code.
    fn status(&self) -> Option<u16> {
        let status = self.code.as_deref()?.parse().ok()?;
        (400..600).contains(&status).then_some(status)
    }
}

/// Cuts a text to a readable length, after the key was cut out of it: the other way round could leave half a key.
fn excerpt(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
