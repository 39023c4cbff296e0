use kern::prelude::*;

/// Delete a user.
#[tool]
fn delete_user(id: String, #[arg(default = None)] note: Option<String>) {
    let _ = (id, note);
}

fn main() {
    let _ = tools![delete_user];
}
