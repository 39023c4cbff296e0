use kern::prelude::*;

/// Look up.
#[tool]
fn look_up(
    key: String,
    /// Where the call belongs.
    ctx: &RunContext,
) {
    let _ = (key, ctx);
}

fn main() {
    let _ = tools![look_up];
}
