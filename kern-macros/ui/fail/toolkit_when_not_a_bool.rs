use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[approval(when = *cents)]
    #[tool]
    async fn refund(&self, cents: u64) {
        let _ = cents;
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
