use kern::prelude::*;

struct Billing {
    limit: u64,
}

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[tool]
    async fn refund(&self, #[arg(default = self.limit)] cents: u64) {
        let _ = (cents, self.limit);
    }
}

fn main() {
    let _ = Agent::builder().toolkit(Billing { limit: 3 });
}
