use kern::prelude::*;

struct Audit;

impl Audit {
    #[hook]
    async fn log(&self, _out: &RunOutput, _ctx: &HookContext) -> HookResult {
        Ok(())
    }
}

fn main() {}
