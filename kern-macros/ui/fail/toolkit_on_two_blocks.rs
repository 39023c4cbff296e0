use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[tool]
    fn refund(&self) {}
}

#[toolkit]
impl Billing {
    /// Look up a payment.
    #[tool]
    fn look_up(&self) {}
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
