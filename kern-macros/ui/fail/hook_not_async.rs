use kern::models::ScriptedModel;
use kern::prelude::*;

#[hook]
fn audit(_out: &RunOutput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {
    let _ = Agent::builder().model(ScriptedModel::new([])).post_hook(audit).build();
}
