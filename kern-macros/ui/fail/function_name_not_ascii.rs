use kern::prelude::*;

/// Delete a user.
#[tool]
fn lösche(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![lösche];
}
