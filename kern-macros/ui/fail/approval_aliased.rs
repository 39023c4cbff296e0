use kern::approval::approval as gate;
use kern::tools::{tool, tools};

/// Delete a user.
#[tool]
#[gate]
fn delete_user(id: String) {
    drop(id);
}

fn main() {
    let _ = tools![delete_user];
}
