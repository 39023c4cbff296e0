use std::rc::Rc;

use kern::prelude::*;

/// Wait.
#[tool]
async fn wait(millis: u64) -> u64 {
    let shared = Rc::new(millis);
    std::future::ready(()).await;
    *shared
}

fn main() {
    let _ = tools![wait];
}
