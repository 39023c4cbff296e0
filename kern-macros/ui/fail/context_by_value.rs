use kern::prelude::*;

/// Look up.
#[tool]
fn look_up(ctx: RunContext) {
    drop(ctx);
}

fn main() {
    let _ = tools![look_up];
}
