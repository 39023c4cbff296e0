use kern::prelude::*;

#[hook]
async fn audit(_text: String, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {}
