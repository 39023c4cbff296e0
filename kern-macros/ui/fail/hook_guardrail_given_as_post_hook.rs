use kern::models::ScriptedModel;
use kern::prelude::*;

fn main() {
    let _ = Agent::builder().model(ScriptedModel::new([])).post_hook(PIIDetectionGuardrail::new()).build();
}
