use kern::prelude::*;

struct Receipt;

/// Pay.
#[tool]
fn pay(cents: u64) -> Receipt {
    let _ = cents;
    Receipt
}

fn main() {
    let _ = tools![pay];
}
