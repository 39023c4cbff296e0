use kern::hooks::Background;
use kern::models::ScriptedModel;
use kern::prelude::*;

fn check<'a>(_input: &'a mut RunInput, _ctx: &'a HookContext) -> Background<'a> {
    Background::new(async { Ok(()) })
}

fn main() {
    let _ = Agent::builder().model(ScriptedModel::new([])).pre_hook(check).build();
}
