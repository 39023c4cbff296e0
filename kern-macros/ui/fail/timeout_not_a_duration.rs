use kern::prelude::*;

/// Delete a user.
#[tool(timeout = "5 parsecs")]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
