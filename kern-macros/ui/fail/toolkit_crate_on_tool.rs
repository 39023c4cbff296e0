use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[tool(crate = "kern")]
    async fn refund(&self, payment: String) {
        drop(payment);
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
