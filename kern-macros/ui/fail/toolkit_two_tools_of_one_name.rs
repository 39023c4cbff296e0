use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[tool]
    async fn refund(&self, payment: String) {
        drop(payment);
    }

    /// Refund a payment.
    #[tool(name = "refund")]
    async fn refund_all(&self) {
        let _ = self;
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
