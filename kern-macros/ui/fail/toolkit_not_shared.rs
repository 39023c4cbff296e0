use kern::prelude::*;

struct Billing(std::cell::Cell<u8>);

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[tool]
    fn refund(&self, payment: String) {
        let _ = (payment, self.0.get());
    }

    /// Look up a payment.
    #[tool]
    async fn look_up(&self, payment: String) {
        drop(payment);
    }
}

fn main() {
    let _ = Billing(std::cell::Cell::new(1));
}
