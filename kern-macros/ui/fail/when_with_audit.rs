use kern::prelude::*;

/// Pay.
#[approval(type = "audit", when = *cents > 100)]
#[tool]
fn pay(cents: u64) {
    let _ = cents;
}

fn main() {
    let _ = tools![pay];
}
