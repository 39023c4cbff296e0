use kern::prelude::*;

/// Look up.
#[tool]
fn look_up<const N: usize>(keys: [String; N]) -> usize {
    keys.len()
}

fn main() {
    let _ = tools![look_up];
}
