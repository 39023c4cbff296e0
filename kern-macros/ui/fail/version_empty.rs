use kern::prelude::*;

/// Send a message.
#[tool(version = "")]
fn send(to_address: String) {
    drop(to_address);
}

fn main() {
    let _ = tools![send];
}
