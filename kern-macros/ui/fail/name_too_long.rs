use kern::prelude::*;

/// Delete a user.
#[tool(name = "delete_a_user_and_everything_that_was_ever_known_of_them_everywhere")]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
