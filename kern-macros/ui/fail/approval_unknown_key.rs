use kern::prelude::*;

/// Send a message.
#[approval(colour = "red")]
#[tool]
fn send() {}

fn main() {
    let _ = tools![send];
}
