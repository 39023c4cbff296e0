use kern::prelude::*;

struct Key(#[allow(dead_code)] String);

/// Look up.
#[tool]
fn look_up(key: Key) {
    drop(key);
}

fn main() {
    let _ = tools![look_up];
}
