use kern::prelude::*;

/// Delete a user.
#[approval = "audit"]
#[tool]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
