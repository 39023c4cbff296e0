//! A call that may run. Only kern makes one.

use super::{Arguments, RunContext};

/// A call on its way into a tool's body: the arguments and the context, with the permission to run.
///
/// It has no public constructor. For a protected tool kern makes it from a claim that the store has committed; the
/// arguments are the ones that claim returned.
#[derive(Debug)]
pub struct ToolCall {
    arguments: Arguments,
    context: RunContext,
}

impl ToolCall {
    /// The arguments, checked before anybody was asked.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// Where the call belongs.
    pub fn context(&self) -> &RunContext {
        &self.context
    }

    /// Gives both away.
    pub fn into_parts(self) -> (Arguments, RunContext) {
        (self.arguments, self.context)
    }

    /// Makes a call for a test of the generated entry points.
    #[cfg(test)]
    pub(crate) fn for_test(arguments: Arguments) -> Self {
        Self {
            arguments,
            context: RunContext::for_test(),
        }
    }
}
