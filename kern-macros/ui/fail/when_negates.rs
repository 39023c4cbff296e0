use kern::prelude::*;

/// Pay.
#[approval(when = -*balance > 10)]
#[tool]
fn pay(balance: i64) {
    let _ = balance;
}

fn main() {
    let _ = tools![pay];
}
