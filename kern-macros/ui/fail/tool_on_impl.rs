use kern::prelude::*;

struct Billing;

#[tool]
impl Billing {
    fn refund(&self) {}
}

fn main() {
    Billing.refund();
}
