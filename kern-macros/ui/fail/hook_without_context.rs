use kern::prelude::*;

#[hook]
async fn audit(_out: &RunOutput) -> HookResult {
    Ok(())
}

fn main() {}
