use kern::prelude::*;

/// Delete a user.
#[tool]
fn delete_user(#[arg] id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
