use kern::prelude::*;

#[hook]
#[hook(run_in_background)]
async fn audit(_out: &RunOutput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {
    let _ = audit;
}
