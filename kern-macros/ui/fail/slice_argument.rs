use kern::prelude::*;

/// Look up.
#[tool]
fn look_up(keys: &[&str]) -> usize {
    keys.len()
}

fn main() {
    let _ = tools![look_up];
}
