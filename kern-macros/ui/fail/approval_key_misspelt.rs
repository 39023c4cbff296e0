use kern::prelude::*;

/// Delete a user.
#[approval(quorom = 2)]
#[tool]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
