use kern::prelude::*;

/// Look up.
#[tool]
fn look_up<T: Into<String>>(key: T) -> String {
    key.into()
}

fn main() {
    let _ = tools![look_up];
}
