use kern::models::ScriptedModel;
use kern::prelude::*;

#[hook]
async fn audit(_out: &RunOutput, _ctx: &HookContext) -> Result<(), std::io::Error> {
    Ok(())
}

fn main() {
    let _ = Agent::builder().model(ScriptedModel::new([])).post_hook(audit).build();
}
