use kern::prelude::*;

/// Look up.
#[tool]
async fn look_up(key: String) -> u64 {
    key
}

fn main() {
    let _ = tools![look_up];
}
