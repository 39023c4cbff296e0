use kern::prelude::*;

struct Pool;

/// Delete a user.
#[tool]
fn delete_user(id: String, #[state] pool: Pool) {
    let _ = (id, pool);
}

fn main() {
    let _ = tools![delete_user];
}
