use kern::prelude::*;

#[hook(requires_confirmation)]
async fn audit(_out: &RunOutput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {
    let _ = audit;
}
