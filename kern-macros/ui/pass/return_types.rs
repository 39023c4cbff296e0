#![deny(warnings)]

use std::borrow::Cow;
use std::fmt;

use kern::prelude::*;
use serde::Serialize;

type Outcome<T> = std::result::Result<T, Refused>;
type Whole = Result<u8, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

/// An alias with one type.
#[tool]
async fn alias(n: u8) -> Outcome<u8> {
    Ok(n)
}

/// An alias without types.
#[tool]
fn whole() -> Whole {
    Err("no".into())
}

/// Nothing.
#[tool]
async fn nothing() {}

/// Nothing, or an error.
#[tool]
fn nothing_or_error() -> Result<(), Refused> {
    Err(Refused)
}

/// Anonymous.
#[tool]
fn anonymous() -> impl Serialize {
    [1, 2]
}

/// Anonymous, in a future.
#[tool]
async fn anonymous_future() -> impl Serialize + Send {
    [1, 2]
}

/// Anonymous, in a result.
#[tool]
async fn anonymous_result() -> Result<impl Serialize, impl fmt::Display> {
    if true { Ok(1) } else { Err(Refused) }
}

/// Borrowed for good.
#[tool]
fn literal() -> &'static str {
    "text"
}

/// Borrowed or not.
#[tool]
fn cow(text: Cow<'static, str>) -> Cow<'static, str> {
    text
}

/// Borrowed from the context.
#[tool]
async fn borrowed<'a>(ctx: &'a RunContext) -> &'a str {
    &ctx.agent_id
}

/// A result in a result.
#[tool]
fn nested() -> Result<Result<u8, u8>, String> {
    Ok(Err(1))
}

/// Whatever JSON.
#[tool]
fn json(value: serde_json::Value, object: serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
    json!([value, object])
}

fn main() {
    let tools = tools![
        alias, whole, nothing, nothing_or_error, anonymous, anonymous_future, anonymous_result, literal, cow, borrowed,
        nested, json,
    ];
    assert_eq!(tools.len(), 12);
}
