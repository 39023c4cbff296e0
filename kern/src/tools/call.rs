//! A call that may run. Only kern makes one.

use kern_db::{CallClaim, Ticket};

use super::wire_json::read_arguments;
use super::{Arguments, RunContext, ToolDescriptor};

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

    /// A call that nobody is asked about: the tool has no policy, or `when` said that it does not apply.
    pub(crate) fn plain(arguments: Arguments, context: RunContext) -> Self {
        Self { arguments, context }
    }

    /// The call that a committed claim allows, with the arguments of that claim. Consumes the claim.
    ///
    /// # Errors
    ///
    /// What does not fit: the claim is for another tool than this one, or its arguments cannot be read.
    pub(crate) fn claimed(
        claim: CallClaim,
        descriptor: &ToolDescriptor,
        context: impl FnOnce(&CallClaim) -> RunContext,
    ) -> Result<(Self, Ticket), (Ticket, String)> {
        let ticket = claim.ticket();
        if claim.tool_name() != descriptor.name {
            return Err((ticket, format!("the claim is for tool `{}`, not `{}`", claim.tool_name(), descriptor.name)));
        }
        // Canonical text that passed the same reader before it was digested; the limit was applied then.
        match read_arguments(claim.arguments(), usize::MAX) {
            Ok(arguments) => Ok((Self { arguments, context: context(&claim) }, ticket)),
            Err(error) => Err((ticket, error)),
        }
    }

    /// Makes a call for a test of the generated entry points.
    #[cfg(test)]
    pub(crate) fn for_test(arguments: Arguments) -> Self {
        Self { arguments, context: RunContext::for_test() }
    }
}
