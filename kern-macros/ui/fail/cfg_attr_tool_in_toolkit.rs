use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[cfg_attr(all(), tool(requires_confirmation))]
    async fn refund(&self, payment: String) {
        drop(payment);
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
