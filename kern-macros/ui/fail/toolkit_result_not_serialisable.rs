use kern::prelude::*;

struct Billing;

struct Receipt;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[tool]
    async fn refund(&self, payment: String) -> Receipt {
        drop(payment);
        Receipt
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
