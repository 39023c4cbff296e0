use kern::prelude::*;

/// Delete a user.
#[approval(pool = "")]
#[tool]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
