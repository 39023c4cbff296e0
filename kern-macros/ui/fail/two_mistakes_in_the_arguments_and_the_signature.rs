use kern::prelude::*;

/// Look up.
#[approval(type = "audti")]
#[tool(require_confirmation)]
fn look_up(key: &str, (x, y): (i32, i32)) {
    let _ = (key, x, y);
}

fn main() {
    let _ = tools![look_up];
}
