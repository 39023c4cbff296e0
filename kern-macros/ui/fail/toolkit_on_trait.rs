use kern::prelude::*;

struct Billing;

trait Refunds {
    fn refund(&self, payment: String);
}

#[toolkit]
impl Refunds for Billing {
    /// Refund a payment.
    #[tool]
    fn refund(&self, payment: String) {
        drop(payment);
    }
}

fn main() {
    let _ = Billing;
}
