use kern::prelude::*;
use kern::tools::tool as callable;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[callable]
    async fn refund(&self, payment: String) {
        drop(payment);
    }

    /// Refund a payment.
    #[tool]
    async fn look_up(&self) {
        let _ = self;
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
