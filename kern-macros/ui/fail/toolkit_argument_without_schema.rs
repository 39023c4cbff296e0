use kern::prelude::*;

struct Billing<T>(T);

struct Payment;

#[toolkit]
impl<T> Billing<T> {
    /// Refund a payment.
    #[tool]
    async fn refund(&self, payment: Payment) {
        drop(payment);
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing(1));
}
