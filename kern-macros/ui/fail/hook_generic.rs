use kern::prelude::*;

#[hook]
async fn audit<T: Default>(_out: &RunOutput, _ctx: &HookContext) -> HookResult {
    let _ = T::default();
    Ok(())
}

fn main() {}
