use kern::prelude::*;

struct Billing<'a>(&'a str);

#[toolkit]
impl<'a> Billing<'a> {
    /// Refund a payment.
    #[tool]
    async fn refund(&self) -> String {
        self.0.to_owned()
    }
}

fn main() {
    let _ = Billing("main");
}
