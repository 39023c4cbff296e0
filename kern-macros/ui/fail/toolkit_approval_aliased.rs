use kern::prelude::*;
use kern::approval::approval as gate;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[gate]
    #[tool]
    async fn refund(&self, payment: String) {
        drop(payment);
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
