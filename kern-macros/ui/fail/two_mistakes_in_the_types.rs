use kern::prelude::*;

struct Key(#[allow(dead_code)] String);

struct Refused;

/// Look up.
#[tool]
async fn look_up(key: Key) -> Result<(), Refused> {
    drop(key);
    Err(Refused)
}

fn main() {
    let _ = tools![look_up];
}
