use kern::prelude::*;

/// Pay.
#[approval(when = ctx.user_id.is_none())]
#[tool]
fn pay(cents: u64, ctx: &RunContext) {
    let _ = (cents, ctx);
}

fn main() {
    let _ = tools![pay];
}
