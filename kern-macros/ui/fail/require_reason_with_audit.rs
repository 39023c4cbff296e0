use kern::prelude::*;

/// Delete a user.
#[approval(type = "audit", require_reason)]
#[tool]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
