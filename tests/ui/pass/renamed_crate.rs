#![deny(warnings)]

mod vendor {
    pub use kern as agents;
}

// Hides the crate, so that only what `crate = "…"` says can work.
mod kern {}

use vendor::agents::approval::approval;
use vendor::agents::tools::{tool, tools};

/// Delete a user.
#[approval(when = *cents > 1)]
#[tool(crate = "vendor::agents")]
fn outside(cents: u64) -> u64 {
    cents
}

/// Delete a user.
#[tool(crate = "crate::vendor::agents")]
#[approval]
fn inside() {}

fn main() {
    assert_eq!(tools![outside, inside].len(), 2);
}
