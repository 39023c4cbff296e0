use std::rc::Rc;

use kern::prelude::*;

#[hook]
async fn audit(_out: &RunOutput, _ctx: &HookContext) -> HookResult {
    let seen = Rc::new(1);
    std::future::ready(()).await;
    drop(seen);
    Ok(())
}

fn main() {
    let _ = audit;
}
