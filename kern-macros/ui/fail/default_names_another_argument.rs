use kern::prelude::*;

/// Delete a user.
#[tool]
fn delete_user(id: String, #[arg(default = id.len())] limit: usize) {
    let _ = (id, limit);
}

fn main() {
    let _ = tools![delete_user];
}
