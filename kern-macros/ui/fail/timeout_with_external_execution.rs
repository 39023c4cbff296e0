use kern::prelude::*;

/// Open a ticket in another system.
#[tool(external_execution, timeout = "30s")]
async fn open_ticket(title: String) {
    drop(title);
}

fn main() {
    let _ = tools![open_ticket];
}
