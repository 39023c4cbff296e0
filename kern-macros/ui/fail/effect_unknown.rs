use kern::prelude::*;

/// Delete a user.
#[tool(effect = "idempotant")]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
