use kern::prelude::*;

/// Delete a user.
#[approval(type = "audit", valid_for = "1h")]
#[tool]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
