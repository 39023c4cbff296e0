use kern::prelude::*;

struct Receipt;

/// Pay.
#[tool]
async fn pay(cents: u64) -> Result<Receipt, String> {
    let _ = cents;
    Ok(Receipt)
}

fn main() {
    let _ = tools![pay];
}
