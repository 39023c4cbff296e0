//! Reading what a request brought: field by field, with everything that is wrong told at once, in the shape of the
//! reference.

use std::fmt::Display;
use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use futures_core::Stream as _;
use serde_json::{Map, Value, json};

use super::limits::Limits;
use super::problem::Problem;
use crate::tools::wire_json::read_arguments;

/// Bytes of one that is too large which are read all the same, and dropped.
const DROPPED: usize = 16 << 20;
/// For how long.
const DROPPING: Duration = Duration::from_secs(1);

/// Characters of a multipart boundary at the most (RFC 2046). A longer one would be looked for in the body in a time that grows
/// with the product of both.
pub(super) const BOUNDARY: usize = 70;
/// Parts of a multipart form.
const PARTS: usize = 256;

/// The fields of a query, a form or a JSON object.
#[derive(Debug)]
pub(super) struct Fields {
    place: &'static str,
    is_json: bool,
    given: Map<String, Value>,
    wrong: Vec<Value>,
}

impl Fields {
    fn new(place: &'static str, given: Map<String, Value>) -> Self {
        Self { place, is_json: false, given, wrong: Vec::new() }
    }

    /// The fields of a query. Of one that is given twice, the last one counts, as in the reference.
    pub(super) fn of_query(query: Option<&str>) -> Self {
        Self::new("query", pairs(query.unwrap_or_default().as_bytes()))
    }

    /// The fields of a form, whichever way it was sent.
    pub(super) async fn of_form(request: Request, limits: &Limits) -> Result<Self, Problem> {
        let kind = media_type(request.headers());
        match kind.as_deref() {
            Some("multipart/form-data") => {
                let (parts, body) = request.into_parts();
                // A client that is still sending would see a broken connection, and not why.
                let body = read(body, limits).await?;
                check_boundary(&parts.headers)?;
                let whole = Request::from_parts(parts, Body::from(body));
                let multipart = Multipart::from_request(whole, &()).await;
                let mut multipart = multipart.map_err(|error| unreadable(error.status(), error.body_text()))?;
                let mut given = Map::new();
                for part in 0.. {
                    if part == PARTS {
                        let what = format!("the form has more than {PARTS} parts");
                        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", what));
                    }
                    let field = multipart.next_field().await;
                    let field = field.map_err(|error| unreadable(error.status(), error.body_text()))?;
                    let Some(field) = field else { break };
                    let name = field.name().unwrap_or_default().to_owned();
                    if field.file_name().is_some() {
                        let wrong = wrong("unsupported", "body", &name, "this agent takes no files", &Value::Null);
                        return Err(Problem::invalid(vec![wrong]));
                    }
                    let text = field.text().await;
                    given.insert(name, text.map_err(|error| unreadable(error.status(), error.body_text()))?.into());
                }
                Ok(Self::new("body", given))
            }
            Some("application/x-www-form-urlencoded") => {
                Ok(Self::new("body", pairs(&read(request.into_body(), limits).await?)))
            }
            // Nothing was sent: what is needed is missing.
            None => Ok(Self::new("body", Map::new())),
            Some(_) => {
                let what = "send the form as application/x-www-form-urlencoded or multipart/form-data";
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", what))
            }
        }
    }

    /// The fields of a JSON object, read as strictly as a model's arguments: no key twice, no number that is not exact.
    pub(super) async fn of_json(request: Request, limits: &Limits) -> Result<Self, Problem> {
        if media_type(request.headers()).as_deref() != Some("application/json") {
            let what = "send the body as application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", what));
        }
        let bytes = read(request.into_body(), limits).await?;
        let text = std::str::from_utf8(&bytes).map_err(|error| error.to_string());
        let given = text.and_then(|text| read_arguments(text, limits.body));
        let given = given
            .map_err(|what| Problem::invalid(vec![json!({ "type": "json_invalid", "loc": ["body"], "msg": what })]))?;
        Ok(Self::of_object(given))
    }

    /// The fields of one object in a JSON body.
    pub(super) fn of_object(given: Map<String, Value>) -> Self {
        Self { is_json: true, ..Self::new("body", given) }
    }

    fn wrong(&mut self, kind: &str, name: &str, what: &str, input: &Value) -> &mut Map<String, Value> {
        self.wrong.push(wrong(kind, self.place, name, what, input));
        match self.wrong.last_mut() {
            Some(Value::Object(last)) => last,
            _ => unreachable!("an object was pushed"),
        }
    }

    /// A text that is not empty, where there is one.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.given.get(name).cloned() {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            Some(other) => {
                self.wrong("string_type", name, "Input should be a valid string", &other);
                None
            }
        }
    }

    /// A text that has to be there.
    pub(super) fn needed(&mut self, name: &str) -> String {
        let before = self.wrong.len();
        let text = self.text(name);
        if text.is_none() && self.wrong.len() == before {
            // As in the reference: a form says nothing of what else was in it.
            let input = if self.is_json { Value::Object(self.given.clone()) } else { Value::Null };
            self.wrong("missing", name, "Field required", &input);
        }
        text.unwrap_or_default()
    }

    /// A text of at most so many characters.
    pub(super) fn short(&mut self, name: &str, characters: usize) -> Option<String> {
        let text = self.text(name)?;
        if text.chars().count() > characters {
            let what = format!("String should have at most {characters} characters");
            let input = Value::String(text);
            self.wrong("string_too_long", name, &what, &input)
                .insert("ctx".to_owned(), json!({ "max_length": characters }));
            return None;
        }
        Some(text)
    }

    /// One of these words.
    pub(super) fn one_of<T: FromStr>(&mut self, name: &str, words: &[&str]) -> Option<T> {
        let text = self.text(name)?;
        if words.contains(&text.as_str())
            && let Ok(word) = text.parse()
        {
            return Some(word);
        }
        let expected = match words {
            [first @ .., last] if !first.is_empty() => format!("{} or '{last}'", quoted(first)),
            words => quoted(words),
        };
        let what = format!("Input should be {expected}");
        let input = Value::String(text);
        self.wrong("literal_error", name, &what, &input).insert("ctx".to_owned(), json!({ "expected": expected }));
        None
    }

    /// One of these words, which has to be there.
    pub(super) fn word(&mut self, name: &str, words: &[&str]) -> String {
        let (before, text) = (self.wrong.len(), self.needed(name));
        if self.wrong.len() == before && !words.contains(&text.as_str()) {
            let pattern = format!("^({})$", words.join("|"));
            let what = format!("String should match pattern '{pattern}'");
            let input = Value::String(text.clone());
            self.wrong("string_pattern_mismatch", name, &what, &input)
                .insert("ctx".to_owned(), json!({ "pattern": pattern }));
        }
        text
    }

    /// A whole number in this range.
    pub(super) fn number<N: FromStr + PartialOrd + Display + Copy>(
        &mut self,
        name: &str,
        range: RangeInclusive<N>,
    ) -> Option<N> {
        let input = self.given.get(name).cloned().filter(|value| !value.is_null())?;
        let text = input.as_str().map_or_else(|| input.to_string(), str::to_owned);
        let Ok(number) = text.parse::<N>() else {
            // A number below zero, or too large for its type, is a number.
            let whole = text.parse::<i128>().ok();
            let (kind, what, limit) = match whole {
                Some(number) if number < 0 => ("greater_than_equal", "greater than or equal to", range.start()),
                Some(_) => ("less_than_equal", "less than or equal to", range.end()),
                None => {
                    self.wrong("int_parsing", name, "Input should be a valid integer", &input);
                    return None;
                }
            };
            self.limited(kind, name, what, *limit, &input);
            return None;
        };
        if number < *range.start() {
            self.limited("greater_than_equal", name, "greater than or equal to", *range.start(), &input);
            return None;
        }
        if number > *range.end() {
            self.limited("less_than_equal", name, "less than or equal to", *range.end(), &input);
            return None;
        }
        Some(number)
    }

    /// A place in a list is named by a page or by a cursor. Both together name two places.
    pub(super) fn page_or_cursor(&mut self) {
        if self.has("page") && self.has("cursor") {
            let cursor = self.given.get("cursor").cloned().unwrap_or_default();
            self.wrong("value_error", "cursor", "Give either `page` or `cursor`, not both", &cursor);
        }
    }

    /// Refuses a field that has a value of the right type which means nothing.
    pub(super) fn refuse(&mut self, name: &str, what: &str) {
        let input = self.given.get(name).cloned().unwrap_or_default();
        self.wrong("value_error", name, what, &input);
    }

    /// A text inside of an object, where there is one that is not empty.
    pub(super) fn text_in(&mut self, object: &str, name: &str) -> Option<String> {
        match self.given.get(object).and_then(|object| object.get(name)).cloned() {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            Some(other) => {
                let wrong = json!({ "type": "string_type", "loc": [self.place, object, name], "msg": "Input should be a valid string", "input": other });
                self.wrong.push(wrong);
                None
            }
        }
    }

    fn limited<N: Display>(&mut self, kind: &str, name: &str, what: &str, limit: N, input: &Value) {
        let key = if kind.starts_with("greater") { "ge" } else { "le" };
        let number: Value = serde_json::from_str(&limit.to_string()).unwrap_or(Value::Null);
        let what = format!("Input should be {what} {limit}");
        self.wrong(kind, name, &what, input).insert("ctx".to_owned(), json!({ key: number }));
    }

    /// `true` or `false`, in any of the reference's words.
    pub(super) fn flag(&mut self, name: &str, otherwise: bool) -> bool {
        let Some(input) = self.given.get(name).cloned() else { return otherwise };
        let word = match &input {
            Value::Bool(flag) => return *flag,
            Value::Null => return otherwise,
            Value::String(text) => text.to_ascii_lowercase(),
            _ => String::new(),
        };
        match word.as_str() {
            "" if input.is_string() => otherwise,
            "true" | "1" | "yes" | "on" | "t" | "y" => true,
            "false" | "0" | "no" | "off" | "f" | "n" => false,
            _ => {
                self.wrong("bool_parsing", name, "Input should be a valid boolean, unable to interpret input", &input);
                otherwise
            }
        }
    }

    /// A JSON object.
    pub(super) fn object(&mut self, name: &str) -> Option<Value> {
        match self.given.get(name).cloned() {
            None | Some(Value::Null) => None,
            Some(object @ Value::Object(_)) => Some(object),
            Some(other) => {
                self.wrong("dict_type", name, "Input should be a valid dictionary", &other);
                None
            }
        }
    }

    /// A JSON list that has to be there.
    pub(super) fn list(&mut self, name: &str, most: usize) -> Vec<Value> {
        match self.given.get(name).cloned() {
            Some(Value::Array(items)) if (1..=most).contains(&items.len()) => items,
            Some(Value::Array(_)) => {
                let what = format!("List should have 1 to {most} items");
                self.wrong("list_length", name, &what, &Value::Null);
                Vec::new()
            }
            Some(other) => {
                self.wrong("list_type", name, "Input should be a valid list", &other);
                Vec::new()
            }
            None => {
                self.wrong("missing", name, "Field required", &Value::Null);
                Vec::new()
            }
        }
    }

    /// Whether something stands there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.get(name).is_some_and(|value| !value.is_null())
    }

    /// A JSON list of texts that has to be there.
    pub(super) fn texts(&mut self, name: &str, most: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for item in self.list(name, most) {
            match item {
                Value::String(text) => texts.push(text),
                other => {
                    self.wrong("string_type", name, "Input should be a list of valid strings", &other);
                }
            }
        }
        texts
    }

    /// Nothing else may stand there: what nobody reads was meant as something.
    pub(super) fn nothing_but(&mut self, names: &[&str]) {
        let others: Vec<(String, Value)> = self
            .given
            .iter()
            .filter(|(name, _)| !names.contains(&name.as_str()))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        for (name, value) in others {
            self.wrong("extra_forbidden", &name, "Extra inputs are not permitted", &value);
        }
    }

    /// What the reference knows and kern does not do has to be left out, or left at what it does anyway.
    pub(super) fn unsupported(&mut self, names: &[(&str, &str)]) {
        for (name, default) in names {
            let Some(given) = self.given.get(*name).filter(|given| !given.is_null()).cloned() else { continue };
            let text = given.as_str().map_or_else(|| given.to_string(), str::to_ascii_lowercase);
            if !text.is_empty() && text != *default {
                self.wrong("unsupported", name, "kern does not do this: leave it out", &given);
            }
        }
    }

    /// The texts whose names start like this, by the rest of their names.
    pub(super) fn starting_with(&mut self, start: &str) -> Vec<(String, String)> {
        let names: Vec<String> = self.given.keys().filter(|name| name.starts_with(start)).cloned().collect();
        let rest = |name: &String| name[start.len()..].to_owned();
        names.iter().map(|name| (rest(name), self.text(name).unwrap_or_default())).collect()
    }

    /// # Errors
    ///
    /// Everything that was wrong.
    pub(super) fn done(self) -> Result<(), Problem> {
        if self.wrong.is_empty() { Ok(()) } else { Err(Problem::invalid(self.wrong)) }
    }
}

fn wrong(kind: &str, place: &str, name: &str, what: &str, input: &Value) -> Value {
    json!({ "type": kind, "loc": [place, name], "msg": what, "input": input })
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")
}

fn pairs(text: &[u8]) -> Map<String, Value> {
    form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect()
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Refuses a boundary that is none by RFC 2046, before anything is looked for in the body. However it is quoted, it is no longer than its header.
fn check_boundary(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let parameters = String::from_utf8_lossy(kind).to_ascii_lowercase();
    let boundaries = parameters.split(';').filter_map(|parameter| parameter.trim().strip_prefix("boundary="));
    let is_long = boundaries.map(|boundary| boundary.trim_matches('"')).any(|boundary| boundary.len() > BOUNDARY);
    if is_long || kind.len() > 2 * BOUNDARY + 60 {
        let what = format!("the boundary of a multipart form has 1 to {BOUNDARY} characters");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "unreadable", what));
    }
    Ok(())
}

/// Reads a body. Of one that is too large the rest is read and dropped for a moment: a client that is still sending would
/// otherwise see a broken connection, and not why.
pub(super) async fn read(body: Body, limits: &Limits) -> Result<Vec<u8>, Problem> {
    let read = tokio::time::timeout(limits.body_time, read_all(body, limits.body)).await;
    read.unwrap_or_else(|_| {
        let what = format!("the body was not there within {} seconds", limits.body_time.as_secs());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", what))
    })
}

async fn read_all(body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    let mut data = body.into_data_stream();
    let mut next = async || poll_fn(|context| Pin::new(&mut data).poll_next(context)).await;
    let mut bytes = Vec::new();
    while let Some(chunk) = next().await {
        let chunk = chunk.map_err(|error| {
            // Who sent it is gone, most of the time.
            tracing::debug!(%error, "a body could not be read");
            Problem::new(StatusCode::BAD_REQUEST, "unreadable", "the body could not be read to its end")
        })?;
        if bytes.len() + chunk.len() > most {
            let mut dropped = bytes.len() + chunk.len();
            drop(bytes);
            let rest = async {
                while dropped < DROPPED
                    && let Some(Ok(chunk)) = next().await
                {
                    dropped += chunk.len();
                }
            };
            // Nobody is waited for any longer: then the connection breaks.
            let _ = tokio::time::timeout(DROPPING, rest).await;
            let what = format!("the body has more than {most} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", what));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A form that is not what it says it is.
fn unreadable(status: StatusCode, what: String) -> Problem {
    Problem::new(status, "unreadable", what)
}
