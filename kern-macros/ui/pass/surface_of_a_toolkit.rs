//! The toolkit of the documents, as it is written there.

use std::fmt;
use std::sync::Arc;

use kern::db::InMemoryDb;
use kern::models::ScriptedModel;
use kern::prelude::*;
use kern::tools::{ApprovalPolicy, Toolkit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

struct Pool;

#[derive(Deserialize, JsonSchema)]
struct PaymentId(String);

#[derive(Serialize)]
struct Receipt(String);

struct BillingError;

impl fmt::Display for BillingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the payment is unknown")
    }
}

struct Billing { pool: Pool }

#[toolkit]
impl Billing {
    /// Refund a payment.
    #[approval(pool = "finance", when = *cents > 10_000)]
    #[tool]
    async fn refund(&self, ctx: &RunContext, payment: PaymentId, cents: u64) -> Result<Receipt, BillingError> {
        let (Pool, _) = (&self.pool, ctx);
        if cents == 0 { Err(BillingError) } else { Ok(Receipt(payment.0)) }
    }
}

fn main() {
    let pool = Pool;
    // The toolkit is a value: an agent takes it, or its tools.
    let agent = Agent::builder().model(ScriptedModel::new([])).db(InMemoryDb::new()).toolkit(Billing { pool });
    drop(agent);
    let tools = Arc::new(Billing { pool: Pool }).tools();
    let policy = &tools[0].descriptor().policy;
    assert_eq!(policy.approval, Some(ApprovalPolicy::Required));
    assert_eq!(policy.rules.pool.as_deref(), Some("finance"));
}
