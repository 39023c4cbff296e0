use kern::prelude::*;

/// Look up.
#[tool]
fn look_up(ctx: &RunContext, key: String, again: &RunContext) {
    let _ = (ctx, key, again);
}

fn main() {
    let _ = tools![look_up];
}
