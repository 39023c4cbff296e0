use kern::prelude::*;

/// Delete a user.
#[approval(type = "audit", allow_self = true)]
#[tool]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
