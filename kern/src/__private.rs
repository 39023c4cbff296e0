//! What the macros' expansion names. Not public API: it changes without notice.

use std::borrow::Cow;
use std::time::Duration;

pub use schemars;
pub use serde;
pub use serde_json;

/// Whether this process drives anything of a run, for tests.
pub fn drives(run_id: &crate::run::RunId) -> bool {
    crate::run::driven::is_known(run_id)
}

pub use crate::hooks::mode::{HookReturn, background, inline};
pub use crate::tools::argument::{
    AnyArg, Arg, IsOpaque, IsShown, arg, check, doc_text, fallback, nothing_left, object_schema, text,
};
pub use crate::tools::call::Admission;
pub use crate::tools::output::{IsContent, IsResult, IsUnit, IsValue, blocking};
pub use crate::tools::state::{State, state};
pub use crate::tools::toolkit::{Entry, method};
pub use crate::tools::{
    ApprovalPolicy, ApprovalRules, ArgumentError, Arguments, Effect, PauseType, Probe, ProbeFuture, ProbeReturn,
    RunContext, StateType, Tool, ToolCall, ToolDescriptor, ToolError, ToolFuture, ToolHandle, ToolOptions, ToolOutput,
    ToolPolicy, Toolkit,
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
    /// How it is called, and what becomes of its result.
    const OPTIONS: ToolOptions;
    /// The arguments that the user fills.
    const USER_INPUT_FIELDS: &'static [&'static str];

    /// Wraps the tool.
    fn handle() -> ToolHandle {
        ToolHandle::new(Self::default())
    }
}

/// Puts the descriptor of a function together.
pub fn describe<T: StaticTool>(docs: &[&str], args: &[&dyn AnyArg], states: &[StateType]) -> ToolDescriptor {
    Description {
        name: T::NAME,
        version: T::VERSION,
        policy: T::POLICY,
        options: T::OPTIONS,
        user_input_fields: T::USER_INPUT_FIELDS,
    }
    .descriptor(docs, args, states)
}

/// Compares a call's permit with the tool that was handed it. The body starts with what [`Admission::admit`] gives.
pub fn admission(call: ToolCall, tool: &dyn Tool) -> Admission {
    Admission::new(call, tool)
}

/// What is known of a tool at compile time.
#[derive(Debug)]
pub struct Description {
    /// The tool's name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Who is asked before the body runs.
    pub policy: ToolPolicy,
    /// How it is called, and what becomes of its result.
    pub options: ToolOptions,
    /// The arguments that the user fills.
    pub user_input_fields: &'static [&'static str],
}

impl Description {
    /// Adds the rest.
    pub fn descriptor(self, docs: &[&str], args: &[&dyn AnyArg], states: &[StateType]) -> ToolDescriptor {
        ToolDescriptor::new(self.name, doc_text(docs), object_schema(args))
            .version(self.version)
            .policy(self.policy)
            .options(self.options)
            .user_input_fields(self.user_input_fields.iter().copied())
            .sensitive(args.iter().filter(|arg| arg.sensitive()).map(|arg| arg.name()))
            .states(states.iter().copied())
    }
}

/// Makes a policy in a `const`.
pub const fn policy(
    pause: Option<PauseType>,
    approval: Option<ApprovalPolicy>,
    rules: ApprovalRules,
    effect: Effect,
) -> ToolPolicy {
    ToolPolicy { pause, approval, rules, effect }
}

/// Makes the rules of an approval in a `const`.
pub const fn rules(
    pool: Option<&'static str>,
    quorum: u32,
    expires_in: Option<Duration>,
    valid_for: Option<Duration>,
    require_reason: bool,
    allow_self: bool,
) -> ApprovalRules {
    let pool = match pool {
        Some(pool) => Some(Cow::Borrowed(pool)),
        None => None,
    };
    ApprovalRules { pool, quorum, expires_in, valid_for, require_reason, allow_self }
}

/// Makes the options of a tool in a `const`.
pub const fn options(
    stop_after_tool_call: bool,
    show_result: bool,
    strict: bool,
    timeout: Option<Duration>,
) -> ToolOptions {
    ToolOptions { stop_after_tool_call, show_result, strict, timeout }
}

/// Makes a duration in a `const`.
pub const fn milliseconds(milliseconds: u64) -> Option<Duration> {
    Some(Duration::from_millis(milliseconds))
}

/// Says what a probe found.
pub fn probed(found: impl ProbeReturn) -> Result<crate::tools::Probed, String> {
    found.into_probed()
}

/// Tells the model of an argument that cannot be decoded.
pub fn bad_argument(error: ArgumentError) -> ToolError {
    ToolError::new(error.to_string())
}

/// Reads arguments that a person typed by the rules that a model's are read by.
#[cfg(feature = "cli")]
pub fn read_arguments(json: &str) -> Result<Arguments, String> {
    match json.trim() {
        // A model may send these for a call without arguments; a person who means none writes `{}`.
        "" | "null" => Err("it is not a JSON object".to_owned()),
        json => crate::tools::wire_json::read_arguments(json, usize::MAX),
    }
}
