use kern::prelude::*;

/// Delete a user.
#[approval]
fn delete_user(
    /// Id of the user.
    id: String,
) {
    drop(id);
}

fn main() {
    delete_user("u_42".to_owned());
}
