use kern::prelude::*;

/// Delete a user.
#[tool]
fn delete_user(#[arg = "u_1"] id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
