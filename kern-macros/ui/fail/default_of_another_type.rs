use kern::prelude::*;

/// Delete a user.
#[tool]
fn delete_user(id: String, #[arg(default = 10.5)] limit: u8) {
    let _ = (id, limit);
}

fn main() {
    let _ = tools![delete_user];
}
