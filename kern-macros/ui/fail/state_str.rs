use kern::prelude::*;

/// Delete a user.
#[tool]
fn delete_user(id: String, #[state] pool: &str) {
    let _ = (id, pool);
}

fn main() {
    let _ = tools![delete_user];
}
