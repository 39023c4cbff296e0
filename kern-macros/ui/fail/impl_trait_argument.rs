use kern::prelude::*;

/// Look up.
#[tool]
fn look_up(key: impl Into<String>) -> String {
    key.into()
}

fn main() {
    let _ = tools![look_up];
}
