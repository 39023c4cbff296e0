use kern::models::ScriptedModel;
use kern::prelude::*;

#[hook(run_in_background)]
async fn audit(_out: &RunOutput, _ctx: &HookContext) -> HookResult {
    Ok(())
}

fn main() {
    let _ = Agent::builder().model(ScriptedModel::new([])).pre_hook(audit).build();
}
