#![deny(warnings)]

use kern::approval::approval;
use kern::tools::{ApprovalPolicy, PauseType, ToolPolicy, tool, tools};

/// Delete a user.
#[approval]
#[tool(requires_confirmation)]
async fn outside(user_id: String) -> String {
    user_id
}

/// Delete a user.
#[tool(requires_confirmation)]
#[approval]
async fn inside(user_id: String) -> String {
    user_id
}

fn main() {
    for tool in tools![outside, inside] {
        let expected = ToolPolicy::new(Some(PauseType::Confirmation), Some(ApprovalPolicy::Required));
        assert_eq!(tool.descriptor().policy, expected);
    }
}
