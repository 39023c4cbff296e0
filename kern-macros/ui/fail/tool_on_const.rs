use kern::prelude::*;

/// A limit.
#[tool]
const LIMIT: u32 = 3;

fn main() {
    let _ = LIMIT;
}
