use kern::prelude::*;

/// Delete a user.
#[tool(inline)]
async fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
