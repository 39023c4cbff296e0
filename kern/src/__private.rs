//! What the macros' expansion names. Not public API: it changes without notice.

pub use schemars;
pub use serde;
pub use serde_json;

pub use crate::hooks::mode::{HookReturn, background, inline};
pub use crate::tools::argument::{AnyArg, Arg, arg, check, doc_text, nothing_left, object_schema};
pub use crate::tools::output::{IsContent, IsResult, IsUnit, IsValue, blocking};
pub use crate::tools::{
    ApprovalPolicy, ArgumentError, Arguments, PauseType, RunContext, Tool, ToolCall, ToolDescriptor, ToolError,
    ToolFuture, ToolHandle, ToolOutput, ToolPolicy,
};

/// What `#[tool]` makes of a function. What is known at compile time is `const`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool",
    label = "`tools!` takes functions with `#[tool]`",
    note = "put `#[tool]` on the function; a value that implements `Tool` goes to `.tool(value)`"
)]
pub trait StaticTool: Tool + Default {
    /// The tool's name.
    const NAME: &'static str;
    /// Its version.
    const VERSION: &'static str;
    /// Who is asked before the body runs.
    const POLICY: ToolPolicy;
    /// The arguments that the user fills.
    const USER_INPUT_FIELDS: &'static [&'static str];

    /// Wraps the tool.
    fn handle() -> ToolHandle {
        ToolHandle::new(Self::default())
    }
}

/// Puts a tool's descriptor together.
pub fn describe<T: StaticTool>(docs: &[&str], args: &[&dyn AnyArg]) -> ToolDescriptor {
    ToolDescriptor::new(T::NAME, doc_text(docs), object_schema(args))
        .version(T::VERSION)
        .policy(T::POLICY)
        .user_input_fields(T::USER_INPUT_FIELDS.iter().copied())
}

/// Tells the model of an argument that cannot be decoded.
pub fn bad_argument(error: ArgumentError) -> ToolError {
    ToolError::new(error.to_string())
}
