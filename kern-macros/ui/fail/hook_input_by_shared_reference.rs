use kern::prelude::*;

#[hook]
async fn check(_input: &RunInput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {}
