use kern::prelude::*;

#[hook(run_in_backgroud)]
async fn audit(_out: RunOutput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {}
