//! Probes: of functions and methods, by any path, with and without an error.
#![deny(warnings)]

use kern::prelude::*;
use kern::tools::{Probed, ToolError};

mod bank {
    pub(crate) async fn find<T>(ctx: &kern::tools::RunContext) -> kern::tools::Probed {
        let _ = std::any::type_name::<T>();
        kern::tools::Probed::succeeded(ctx.idempotency_key())
    }
}

async fn find_by_argument(ctx: &RunContext) -> Result<Probed, ToolError> {
    let _ = ctx.state::<String>()?;
    Ok(ctx.arguments().get("cents").map_or(Probed::Unknown, |cents| Probed::failed(cents.to_string())))
}

/// Pay money out.
#[tool(probe = bank::find::<u8>, effect = "idempotent")]
#[approval]
async fn pay(cents: u32) -> u32 {
    cents
}

/// Pay money out, at once.
#[tool(inline, log_approval, probe = find_by_argument)]
fn pay_at_once(cents: u32) -> u32 {
    cents
}

/// Take from the stock.
#[tool(effect = "transactional", probe = find_by_argument)]
async fn take(pieces: u32, ctx: &RunContext) -> Result<u32, ToolError> {
    ctx.transaction().execute("UPDATE stock SET pieces = pieces - ?", (pieces,))?;
    Ok(ctx.attempt())
}

struct Till<T>(T);

#[toolkit]
impl<T: Send + Sync + 'static> Till<T> {
    async fn find(_: &RunContext) -> Probed {
        Probed::NotStarted
    }

    /// Pay money out.
    #[approval]
    #[tool(probe = Self::find)]
    async fn pay(&self, cents: u32) -> u32 {
        let _ = &self.0;
        cents
    }
}

fn main() {
    let _ = (tools![pay, pay_at_once, take], Till(1_u8));
}
