use kern::prelude::*;

/// Send a message.
#[tool(user_input_fields())]
fn send(to_address: String) {
    drop(to_address);
}

fn main() {
    let _ = tools![send];
}
