//! Tools that share a value: a shop's till, whose large refunds need an approval.
//!
//! `cargo run --example toolkit`
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use kern::db::InMemoryDb;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

/// What the shop owes, by customer. Its tools may run in parallel, so what changes is behind a lock.
struct Till {
    owed: Mutex<BTreeMap<String, u32>>,
}

/// What the application brings, and no model ever sees.
struct Shop {
    name: &'static str,
}

/// A tool's own failure: the model is told, and may go on.
enum TillError {
    NothingOwed(String),
    TooMuch { owed: u32 },
}

#[toolkit]
impl Till {
    /// List what is owed to customers.
    #[tool]
    fn list_owed(
        &self,
        /// Leave out smaller sums, in dollars.
        #[arg(default = 1)]
        at_least: u32,
    ) -> BTreeMap<String, u32> {
        let mut owed = self.owed();
        owed.retain(|_, dollars| *dollars >= at_least);
        owed
    }

    /// Pay money back to a customer. More than 100 dollars need an approval.
    #[approval(when = *dollars > 100)]
    #[tool]
    async fn refund(
        &self,
        ctx: &RunContext,
        #[state] shop: &Shop,
        /// Id of the customer.
        customer_id: String,
        dollars: u32,
    ) -> Result<String, TillError> {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rest) = owed.get_mut(&customer_id) else {
            return Err(TillError::NothingOwed(customer_id));
        };
        *rest = rest.checked_sub(dollars).ok_or(TillError::TooMuch { owed: *rest })?;
        // The bank takes the same key twice for one payment.
        println!("{}: {dollars} dollars to {customer_id}, {}", shop.name, ctx.idempotency_key());
        Ok(format!("{dollars} dollars paid, {rest} left"))
    }

    /// A method of its own: no tool, so no model can call it.
    fn owed(&self) -> BTreeMap<String, u32> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for TillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingOwed(customer_id) => write!(f, "nothing is owed to {customer_id}"),
            Self::TooMuch { owed } => write!(f, "only {owed} dollars are owed"),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = ScriptedModel::new([
        turn().tool_call("list_owed", json!({})),
        turn()
            .tool_call("refund", json!({ "customer_id": "ACME-123", "dollars": 20 }))
            .tool_call("refund", json!({ "customer_id": "ACME-456", "dollars": 500 })),
        turn().tool_call("refund", json!({ "customer_id": "ACME-123", "dollars": 90 })),
        turn().text("Both have their money back, but for 10 dollars."),
    ]);
    let owed = BTreeMap::from([("ACME-123".to_owned(), 30), ("ACME-456".to_owned(), 500)]);
    let till = Till { owed: Mutex::new(owed) };
    let db = InMemoryDb::new();
    let agent = Agent::builder()
        .id("till")
        .model(model)
        .toolkit(till)
        .state(Shop { name: "Corner shop" })
        .db(db.clone())
        .build()?;

    let run = agent.run("Pay back what we owe").user_id("alice").await?;
    assert!(run.is_paused());
    let waiting = db.list_approvals(ApprovalFilter::new().run_id(&run.run_id)).await?;
    let [approval] = &waiting.data[..] else { panic!("only the large refund waits") };
    println!("waiting: {}", json!(approval.tool_args));

    let yes = Resolution::approved().by("bob");
    db.update_approval(&approval.id, ApprovalStatus::Pending, yes).await?;
    let run = agent.continue_run(&run.run_id).user_id("alice").await?;
    assert_eq!(run.status, RunStatus::Completed);

    let results: Vec<&str> = run.tool_calls().iter().map(|call| call.result.as_deref().unwrap_or("-")).collect();
    for (call, result) in run.tool_calls().iter().zip(&results) {
        println!("{} {}: {result}", call.name(), json!(call.tool_args));
    }
    println!("model: {}", run.content());
    assert_eq!(results[0], r#"{"ACME-123":30,"ACME-456":500}"#);
    assert_eq!(results[1], "20 dollars paid, 10 left");
    assert_eq!(results[2], "500 dollars paid, 0 left");
    assert!(results[3].contains("only 10 dollars are owed"));
    Ok(())
}
