use kern::prelude::*;

struct Billing;

impl Billing {
    /// Refund a payment.
    #[tool]
    fn refund(&self, payment: String) {
        drop(payment);
    }
}

fn main() {
    Billing.refund("p1".to_owned());
}
