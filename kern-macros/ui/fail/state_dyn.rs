use kern::prelude::*;

trait Pool {}

/// Delete a user.
#[tool]
fn delete_user(id: String, #[state] pool: &dyn Pool) {
    let _ = (id, pool);
}

fn main() {
    let _ = tools![delete_user];
}
