use kern::prelude::*;

#[hook(run_in_background = "yes")]
async fn audit(_out: &RunOutput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {
    let _ = audit;
}
