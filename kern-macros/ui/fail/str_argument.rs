use kern::prelude::*;

/// Look up.
#[tool]
fn look_up(key: &str) -> String {
    key.to_owned()
}

fn main() {
    let _ = tools![look_up];
}
