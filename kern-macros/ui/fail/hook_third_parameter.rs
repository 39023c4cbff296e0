use kern::prelude::*;

#[hook]
async fn audit(_out: &RunOutput, _ctx: &HookContext, _table: &str) -> HookResult {
    Ok(())
}

fn main() {}
