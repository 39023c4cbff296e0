use kern::approval::approval;
use kern::tools::{tool as action, tools};

/// Delete a user.
#[approval]
#[action]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
