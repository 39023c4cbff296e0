use kern::prelude::*;

/// Send a message.
#[tool(user_input_fields("to_address", "to_address"))]
fn send(to_address: String) {
    drop(to_address);
}

fn main() {
    let _ = tools![send];
}
