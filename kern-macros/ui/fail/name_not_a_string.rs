use kern::prelude::*;

/// Delete a user.
#[tool(name = 3)]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
