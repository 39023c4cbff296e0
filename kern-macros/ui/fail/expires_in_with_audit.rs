use kern::prelude::*;

/// Delete a user.
#[approval(type = "audit", expires_in = "24h")]
#[tool]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
