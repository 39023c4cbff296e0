#![deny(warnings)]

mod vendor {
    /// Stands for the crate under another name. It marks every descriptor, to show that its path was taken.
    pub mod agents {
        pub use kern::{approval, tools};

        pub mod __private {
            pub use kern::__private::*;

            pub fn describe<T: StaticTool>(
                docs: &[&str],
                args: &[&dyn AnyArg],
                states: &[StateType],
            ) -> ToolDescriptor {
                kern::__private::describe::<T>(docs, args, states).version("from vendor::agents")
            }
        }
    }
}

use vendor::agents::approval::approval;
use vendor::agents::tools::{tool, tools};

/// Delete a user.
#[approval(when = *cents > 1)]
#[tool(crate = "vendor::agents")]
fn outside(cents: u64) -> u64 {
    cents
}

/// Delete a user.
#[tool(crate = "crate::vendor::agents")]
#[approval]
fn inside() {}

fn main() {
    for tool in tools![outside, inside] {
        assert_eq!(tool.descriptor().version, "from vendor::agents");
    }
}
