use kern::models::ScriptedModel;
use kern::prelude::*;

async fn check(_input: &mut RunInput, _ctx: &HookContext) -> bool {
    true
}

fn main() {
    let _ = Agent::builder().model(ScriptedModel::new([])).pre_hook(check).build();
}
