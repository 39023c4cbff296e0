use kern::prelude::*;

#[hook]
async fn audit(_out: RunOutput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {}
