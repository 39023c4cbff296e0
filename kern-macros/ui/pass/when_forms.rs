#![deny(warnings)]

use kern::prelude::*;
use kern::tools::{Arguments, Tool};

const LIMIT: u64 = 100;

fn is_big<A, B>(a: A, b: B) -> bool
where
    A: Into<u64>,
    B: Into<u64>,
{
    a.into() > LIMIT || b.into() > LIMIT
}

/// A comma in a turbofish.
#[approval(when = is_big::<u64, u64>(*cents, 1), type = "required")]
#[tool]
fn turbofish(cents: u64) {
    let _ = cents;
}

/// A block.
#[approval(when = { let limit = LIMIT / 2; *cents > limit })]
#[tool]
fn block(cents: u64) {
    let _ = cents;
}

/// A condition.
#[approval(when = if *cents > 10 { true } else { false },)]
#[tool]
fn condition(cents: u64) {
    let _ = cents;
}

/// A match, compared.
#[tool]
#[approval(when = match *cents { 0..=10 => 1, _ => 2 } == 2)]
fn compared(cents: u64) {
    let _ = cents;
}

/// A constant.
#[approval(when = true)]
#[tool]
async fn always() {}

/// An early return.
#[approval(when = { if cents.is_none() { return false; } true })]
#[tool]
fn early(cents: Option<u64>) {
    let _ = cents;
}

/// A negative number.
#[approval(when = !matches!(*delta, -5..=5))]
#[tool]
fn negative(delta: i64) {
    let _ = delta;
}

fn needed(tool: &impl Tool, cents: serde_json::Value) -> bool {
    tool.approval_needed(&Arguments::from_iter([("cents".to_owned(), cents)]))
}

fn main() {
    for (big, small) in [(101, 1)] {
        assert!(needed(&turbofish {}, big.into()) && !needed(&turbofish {}, small.into()));
        assert!(needed(&block {}, big.into()) && !needed(&block {}, small.into()));
        assert!(needed(&condition {}, big.into()) && !needed(&condition {}, small.into()));
        assert!(needed(&compared {}, big.into()) && !needed(&compared {}, small.into()));
        assert!(needed(&early {}, big.into()) && !needed(&early {}, serde_json::Value::Null));
    }
    assert!(always {}.approval_needed(&Arguments::new()));
    assert!(negative {}.approval_needed(&Arguments::from_iter([("delta".to_owned(), (-6).into())])));
    assert!(!negative {}.approval_needed(&Arguments::from_iter([("delta".to_owned(), (-5).into())])));
}
