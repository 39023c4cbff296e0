use kern::prelude::*;

/// Stop.
#[tool]
fn stop() -> ! {
    std::process::exit(1)
}

fn main() {
    let _ = tools![stop];
}
