use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[tool]
    async fn refund(&mut self, payment: String) {
        drop(payment);
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
