use kern::prelude::*;

/// Look up.
#[tool]
extern "C" fn look_up(key: u32) {
    let _ = key;
}

fn main() {
    let _ = tools![look_up];
}
