use kern::prelude::*;

struct Refused;

/// Pay.
#[tool]
fn pay(cents: u64) -> Result<u64, Refused> {
    if cents > 1 { Err(Refused) } else { Ok(cents) }
}

fn main() {
    let _ = tools![pay];
}
