use kern::prelude::*;

/// Delete a user.
#[tool]
fn delete_user(id: String, #[arg(sensitive)] ctx: &RunContext) {
    let _ = (id, ctx);
}

fn main() {
    let _ = tools![delete_user];
}
