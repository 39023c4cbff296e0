use kern::models::ScriptedModel;
use kern::prelude::*;

#[hook(run_in_background)]
async fn mask(input: &mut RunInput, _ctx: &HookContext) -> HookResult {
    input.input_content.clear();
    Ok(())
}

fn main() {
    let _ = Agent::builder().model(ScriptedModel::new([])).pre_hook(mask).build();
}
