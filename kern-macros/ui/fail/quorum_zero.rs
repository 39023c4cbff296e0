use kern::prelude::*;

/// Delete a user.
#[approval(quorum = 0)]
#[tool]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
