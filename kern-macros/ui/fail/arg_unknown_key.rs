use kern::prelude::*;

/// Delete a user.
#[tool]
fn delete_user(#[arg(sensitve)] id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
