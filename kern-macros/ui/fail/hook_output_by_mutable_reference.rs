use kern::prelude::*;

#[hook]
async fn redact(_out: &mut RunOutput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {}
