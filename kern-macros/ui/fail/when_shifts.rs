use kern::prelude::*;

/// Pay.
#[approval(when = *cents << 2 > 10_000)]
#[tool]
fn pay(cents: u64) {
    let _ = cents;
}

fn main() {
    let _ = tools![pay];
}
