use kern::prelude::*;

/// Pay.
#[approval(when = *cents * *times > 10_000)]
#[tool]
fn pay(cents: u64, times: u64) {
    let _ = (cents, times);
}

fn main() {
    let _ = tools![pay];
}
