#![deny(warnings)]

/// Delete a user.
#[kern::approval::approval]
#[kern::tools::tool]
fn outside(ctx: &kern::tools::RunContext) -> String {
    ctx.agent_id.clone()
}

/// Delete a user.
#[::kern::tools::tool]
#[::kern::approval::approval]
fn inside(_: &::kern::tools::RunContext) {}

/// Delete a user.
#[kern::prelude::tool]
#[kern::prelude::approval]
fn prelude() {}

fn main() {
    for tool in kern::tools::tools![outside, inside, prelude] {
        assert_eq!(tool.descriptor().policy.approval, Some(kern::tools::ApprovalPolicy::Required));
        assert_eq!(tool.descriptor().parameters["properties"], kern::prelude::json!({}));
    }
}
