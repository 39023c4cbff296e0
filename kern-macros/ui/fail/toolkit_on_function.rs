use kern::prelude::*;

/// Refund.
#[toolkit]
fn refund() {}

fn main() {
    refund();
}
