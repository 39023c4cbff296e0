use kern::prelude::*;

/// Delete a user.
#[tool(effect = "twice")]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
