//! Tools: what the model may call, and the policy each one carries.

pub(crate) mod argument;
mod call;
mod context;
mod descriptor;
pub(crate) mod output;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use argument::ToolArg;
pub use call::ToolCall;
pub use context::RunContext;
pub use descriptor::{ApprovalPolicy, PauseType, ToolDescriptor, ToolPolicy};
pub use output::{ToolFailure, ToolReturn};

#[cfg(feature = "macros")]
pub use kern_macros::tool;

#[doc(inline)]
pub use crate::__tools as tools;

/// Gathers tools for an agent.
#[doc(hidden)]
#[macro_export]
macro_rules! __tools {
    ($($tool:path),* $(,)?) => {
        ::std::vec::Vec::<$crate::tools::ToolHandle>::from([$(<$tool as $crate::__private::StaticTool>::handle()),*])
    };
}

/// The arguments of a call: a JSON object.
pub type Arguments = Map<String, Value>;

/// What a tool's body gives, boxed so that [`Tool`] stays object-safe.
pub type ToolFuture = Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>;

/// Something a model may call.
///
/// `#[tool]` implements it for a function. Implement it by hand for tools that are made at run time; the policy in
/// the [descriptor](Tool::descriptor) is enforced either way, because a body is only ever entered with a
/// [`ToolCall`], and only kern makes one.
pub trait Tool: Send + Sync + 'static {
    /// What the model and the gate know of the tool.
    fn descriptor(&self) -> &ToolDescriptor;

    /// Checks arguments against the tool's types before anybody is shown them, and names every problem at once.
    ///
    /// Fields in `unfilled` are still to be filled by the user: they may be absent.
    ///
    /// # Errors
    ///
    /// One [`ArgumentError`] for each argument that is missing, unknown, or of another type.
    fn check(&self, arguments: &Arguments, unfilled: &[String]) -> Result<(), Vec<ArgumentError>>;

    /// Says whether this call needs the approval that the policy asks for (`when = …`).
    ///
    /// A panic in it means that it does.
    fn approval_needed(&self, arguments: &Arguments) -> bool {
        let _ = arguments;
        true
    }

    /// Enters the body.
    fn call(&self, call: ToolCall) -> ToolFuture;
}

/// A tool, ready to be given to an agent. Cheap to clone. Made by `tools!` or from any [`Tool`].
#[derive(Clone)]
pub struct ToolHandle(Arc<dyn Tool>);

impl ToolHandle {
    /// Wraps a tool.
    pub fn new(tool: impl Tool) -> Self {
        Self(Arc::new(tool))
    }

    /// The tool's name, description, schema and policy.
    pub fn descriptor(&self) -> &ToolDescriptor {
        self.0.descriptor()
    }

    pub(crate) fn tool(&self) -> &dyn Tool {
        &*self.0
    }
}

impl fmt::Debug for ToolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToolHandle").field(&self.descriptor().name).finish()
    }
}

/// What a tool gives back to the model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolOutput {
    /// The text the model reads: a string as it is, anything else as JSON.
    pub content: String,
}

impl ToolOutput {
    /// Makes an output of a text.
    pub fn new(content: impl Into<String>) -> Self {
        Self { content: content.into() }
    }
}

/// A tool's own failure. Data for the model, not an error of kern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct ToolError {
    /// What the model is told.
    pub message: String,
}

impl ToolError {
    /// Makes an error of a text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// One thing that is wrong with a call's arguments, for the model to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {message}")]
#[non_exhaustive]
pub struct ArgumentError {
    /// JSON pointer (RFC 6901) to the place, for example `/user_id`.
    pub pointer: String,
    /// What is wrong there.
    pub message: String,
}

impl ArgumentError {
    /// Makes an error at a place.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}
