use kern::prelude::*;

#[hook(run_in_background, run_in_background = false)]
async fn audit(_out: &RunOutput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {
    let _ = audit;
}
