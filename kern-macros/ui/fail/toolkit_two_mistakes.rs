use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[tool(requires_confirmaton)]
    async fn refund(&self, payment: String) {
        drop(payment);
    }

    /// Refund a payment.
    #[tool]
    async fn look_up(&self, key: &str) {
        let _ = key;
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
