use kern::prelude::*;

struct Billing;

#[toolkit]
impl Billing {
    fn refund(&self) {}
}

fn main() {
    let _ = Agent::builder().toolkit(Billing);
}
