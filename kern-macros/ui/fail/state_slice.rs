use kern::prelude::*;

/// Delete a user.
#[tool]
fn delete_user(id: String, #[state] pool: &[u8]) {
    let _ = (id, pool);
}

fn main() {
    let _ = tools![delete_user];
}
