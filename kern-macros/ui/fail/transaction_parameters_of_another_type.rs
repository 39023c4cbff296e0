use kern::prelude::*;
use kern::tools::ToolError;

/// Take pieces out of the stock.
#[tool(effect = "transactional")]
async fn take(pieces: u32, ctx: &RunContext) -> Result<(), ToolError> {
    ctx.transaction().execute("UPDATE stock SET pieces = pieces - ?", pieces)?;
    Ok(())
}

fn main() {
    let _ = tools![take];
}
