use kern::prelude::*;

/// Pay.
#[approval(when = *cents > self.limit)]
#[tool]
fn pay(cents: u64) {
    let _ = cents;
}

fn main() {
    let _ = tools![pay];
}
