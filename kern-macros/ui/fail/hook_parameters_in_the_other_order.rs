use kern::prelude::*;

#[hook]
async fn audit(_ctx: &HookContext, _out: &RunOutput) -> HookResult {
    Ok(())
}

fn main() {}
