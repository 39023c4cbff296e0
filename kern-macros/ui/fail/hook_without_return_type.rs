use kern::prelude::*;

#[hook]
async fn audit(_out: &RunOutput, _ctx: &HookContext) {}

fn main() {
    let _ = audit;
}
