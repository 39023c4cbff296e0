use kern::prelude::*;

/// Send a message.
#[tool(requires_user_input = false, user_input_fields("to_address"))]
fn send(to_address: String) {
    drop(to_address);
}

fn main() {
    let _ = tools![send];
}
