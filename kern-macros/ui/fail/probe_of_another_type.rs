use kern::prelude::*;

async fn find_payment(_: &RunContext) -> bool {
    true
}

/// Pay money out.
#[approval]
#[tool(probe = find_payment)]
async fn pay(cents: u32) -> u32 {
    cents
}

fn main() {
    let _ = tools![pay];
}
