use kern::prelude::*;

/// Delete a user.
#[approval(type = "audit", pool = "finance")]
#[tool]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
