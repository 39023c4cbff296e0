use kern::prelude::*;

/// Delete a user.
#[tool(timeout = "30s", inline)]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
