use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[tool]
    async fn refund<T>(&self, payment: Vec<T>) {
        drop(payment);
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
