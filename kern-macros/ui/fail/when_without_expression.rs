use kern::prelude::*;

/// Pay.
#[approval(when)]
#[tool]
fn pay(cents: u64) {
    let _ = cents;
}

fn main() {
    let _ = tools![pay];
}
