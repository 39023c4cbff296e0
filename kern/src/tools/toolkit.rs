//! Toolkits: tools that share a value.

use std::sync::Arc;

use super::call::Admission;
use super::{ArgumentError, Arguments, Probe, Tool, ToolCall, ToolDescriptor, ToolFuture, ToolHandle};

/// Tools that share a value. `#[toolkit]` on an `impl` block makes one of its `#[tool]` methods.
pub trait Toolkit: Send + Sync + 'static {
    /// The tools, each of which keeps the value alive.
    fn tools(self: Arc<Self>) -> Vec<ToolHandle>;

    /// What the model is told about them, beside the agent's own instructions.
    fn instructions(&self) -> Option<&str> {
        None
    }
}

/// What `#[toolkit]` makes of a method: a tool that holds its toolkit and its parameters. Nothing of it is `static`,
/// because a toolkit may be generic.
struct Method<K, A> {
    toolkit: Arc<K>,
    args: Arc<A>,
    descriptor: ToolDescriptor,
    entry: Entry<K, A>,
}

/// What is generated for a method.
pub struct Entry<K, A> {
    /// [`Tool::check`].
    pub check: fn(&A, &Arguments, &[String]) -> Checked,
    /// [`Tool::approval_needed`].
    pub approval_needed: fn(&A, &Arguments) -> bool,
    /// [`Tool::probe`].
    pub probe: Option<Probe>,
    /// [`Tool::call`], the only place that calls the method.
    pub call: fn(Arc<K>, Arc<A>, Admission) -> ToolFuture,
}

/// What [`Tool::check`] gives.
type Checked = Result<(), Vec<ArgumentError>>;

/// Makes a tool of a method.
pub fn method<K: Toolkit, A: Send + Sync + 'static>(
    toolkit: &Arc<K>,
    args: A,
    describe: fn(&A) -> ToolDescriptor,
    entry: Entry<K, A>,
) -> ToolHandle {
    ToolHandle::new(Method { toolkit: Arc::clone(toolkit), descriptor: describe(&args), args: Arc::new(args), entry })
}

impl<K: Toolkit, A: Send + Sync + 'static> Tool for Method<K, A> {
    fn descriptor(&self) -> &ToolDescriptor {
        &self.descriptor
    }

    fn check(&self, arguments: &Arguments, unfilled: &[String]) -> Result<(), Vec<ArgumentError>> {
        (self.entry.check)(&self.args, arguments, unfilled)
    }

    fn approval_needed(&self, arguments: &Arguments) -> bool {
        (self.entry.approval_needed)(&self.args, arguments)
    }

    fn probe(&self) -> Option<Probe> {
        self.entry.probe
    }

    fn call(&self, call: ToolCall) -> ToolFuture {
        (self.entry.call)(Arc::clone(&self.toolkit), Arc::clone(&self.args), Admission::new(call, self))
    }
}
