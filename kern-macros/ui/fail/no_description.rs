use kern::prelude::*;

#[tool]
fn look_up(key: String) {
    drop(key);
}

fn main() {
    let _ = tools![look_up];
}
