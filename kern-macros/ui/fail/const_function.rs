use kern::prelude::*;

/// Look up.
#[tool]
const fn look_up(key: u32) -> u32 {
    key
}

fn main() {
    let _ = tools![look_up];
}
