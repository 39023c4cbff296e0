use kern::prelude::*;

/// Pay.
#[approval(when = account != "ours")]
#[tool(user_input_fields("account"))]
fn pay(cents: u64, account: String) {
    let _ = (cents, account);
}

fn main() {
    let _ = tools![pay];
}
