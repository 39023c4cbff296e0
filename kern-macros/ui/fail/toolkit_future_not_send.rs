use std::rc::Rc;

use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    /// Wait.
    #[tool]
    async fn wait(&self, millis: u64) -> u64 {
        let shared = Rc::new(millis);
        std::future::ready(()).await;
        *shared
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
