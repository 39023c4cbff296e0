use kern::prelude::*;
use kern::tools::Probed;

async fn find_payment(_: &RunContext) -> Probed {
    Probed::Unknown
}

/// Pay money out.
#[tool(probe = find_payment)]
async fn pay(cents: u32) -> u32 {
    cents
}

fn main() {
    let _ = tools![pay];
}
