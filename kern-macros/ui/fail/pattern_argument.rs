use kern::prelude::*;

/// Move.
#[tool]
fn go((x, y): (i32, i32)) -> i32 {
    x + y
}

fn main() {
    let _ = tools![go];
}
