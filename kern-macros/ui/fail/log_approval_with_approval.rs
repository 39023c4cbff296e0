use kern::prelude::*;

/// Delete a user.
#[approval]
#[tool(log_approval)]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
