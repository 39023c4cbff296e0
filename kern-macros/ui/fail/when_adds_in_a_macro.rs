use kern::prelude::*;

/// Pay.
#[tool]
#[approval(when = matches!(cents + fee, 10_000..))]
fn pay(cents: u64, fee: u64) {
    let _ = (cents, fee);
}

fn main() {
    let _ = tools![pay];
}
