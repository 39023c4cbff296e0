use kern::prelude::*;

/// Look up.
#[tool]
fn look_up(key: Option<&str>) -> bool {
    key.is_some()
}

fn main() {
    let _ = tools![look_up];
}
