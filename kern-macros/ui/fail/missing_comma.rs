use kern::prelude::*;

/// Send a message.
#[tool(requires_confirmation version = "2")]
fn send(to_address: String) {
    drop(to_address);
}

fn main() {
    let _ = tools![send];
}
