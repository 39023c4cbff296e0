use kern::prelude::*;

/// Delete a user.
#[tool(requires_confirmation, external_execution)]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
