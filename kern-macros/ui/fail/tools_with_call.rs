use kern::prelude::*;

/// Send a message.
#[tool]
fn send() {}

fn main() {
    let _ = tools![send()];
}
