use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[tool]
    fn refund(&self) {}

    /// Refund a payment.
    #[tool]
    fn refund(&self) {}
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
