use kern::prelude::*;

/// Pay.
#[approval(when = *amount > 100)]
#[tool]
fn pay(cents: u64) {
    let _ = cents;
}

fn main() {
    let _ = tools![pay];
}
