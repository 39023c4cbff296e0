use kern::prelude::*;

/// Look up.
#[tool]
fn look_up(ctx: &mut RunContext) {
    let _ = ctx;
}

fn main() {
    let _ = tools![look_up];
}
