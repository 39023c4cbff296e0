use kern::prelude::*;

#[hook]
#[tool]
async fn audit(_out: &RunOutput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {}
