use kern::prelude::*;

/// Send a message.
#[tool(user_input_fields("nope"))]
fn send(to_address: String, body: String, ctx: &RunContext) {
    let _ = (to_address, body, ctx);
}

fn main() {
    let _ = tools![send];
}
