#![deny(warnings)]

use kern::prelude::*;

/// Look up.
#[approval(when = key == "x")]
#[tool]
async fn look_up(
    #[cfg(all())] key: String,
    #[cfg(any())] missing: NoSuchType,
    /// How many.
    #[cfg(all())]
    limit: u8,
    #[cfg(any())] ctx: &RunContext,
    #[cfg(all())] ctx: &kern::tools::RunContext,
) -> String {
    format!("{key}{limit}{}", ctx.agent_id)
}

/// Only where it is.
#[tool]
#[cfg(any())]
fn nowhere(a: NoSuchType) {}

/// Delete, with an attribute that is there under a condition.
#[tool]
#[cfg_attr(all(), approval)]
fn delete() {}

/// Delete, the other way round.
#[approval]
#[cfg_attr(all(), tool)]
fn delete_too() {}

fn main() {
    let tools = tools![look_up, delete, delete_too];
    assert_eq!(tools[0].descriptor().parameters["required"], json!(["key", "limit"]));
    assert_eq!(tools[0].descriptor().parameters["properties"]["limit"]["description"], "How many.");
    assert!(tools[1].descriptor().policy.approval.is_some());
    assert!(tools[2].descriptor().policy.approval.is_some());
}
