//! Toolkits: tools that share a value.

use std::sync::Arc;

use super::ToolHandle;

/// Tools that share a value. `#[toolkit]` on an `impl` block makes one of its `#[tool]` methods.
pub trait Toolkit: Send + Sync + 'static {
    /// The tools, each of which keeps the value alive.
    fn tools(self: Arc<Self>) -> Vec<ToolHandle>;

    /// What the model is told about them, beside the agent's own instructions.
    fn instructions(&self) -> Option<&str> {
        None
    }
}
