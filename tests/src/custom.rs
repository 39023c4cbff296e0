//! Tools made by hand: any body, any options, any policy.

use std::fmt;

use kern::tools::{
    ApprovalPolicy, ArgumentError, Arguments, Tool, ToolCall, ToolDescriptor, ToolError, ToolFuture, ToolOptions,
    ToolOutput, ToolPolicy,
};
use serde_json::json;

type Body = Box<dyn Fn(ToolCall) -> ToolFuture + Send + Sync>;

/// A tool without arguments.
pub struct Custom {
    descriptor: ToolDescriptor,
    body: Body,
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Custom").field(&self.descriptor.name).finish()
    }
}

impl Custom {
    /// Makes one.
    pub fn new<F>(name: &str, body: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        let parameters = json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": false });
        let body = move |_| -> ToolFuture {
            let running = body();
            Box::pin(async move { running.await.map(ToolOutput::new).map_err(ToolError::new) })
        };
        Self { descriptor: ToolDescriptor::new(name, "A tool of a test.", parameters), body: Box::new(body) }
    }

    /// Makes one whose body is whatever is done with its call.
    pub fn forwarding(name: &str, body: impl Fn(ToolCall) -> ToolFuture + Send + Sync + 'static) -> Self {
        Self { body: Box::new(body), ..Self::new(name, || async { Ok(String::new()) }) }
    }

    /// Gives it another descriptor.
    #[must_use]
    pub fn described_by(mut self, descriptor: ToolDescriptor) -> Self {
        self.descriptor = descriptor;
        self
    }

    /// Makes one whose body blocks.
    pub fn blocking(name: &str, body: impl Fn() -> String + Clone + Send + Sync + 'static) -> Self {
        Self::new(name, move || {
            let body = body.clone();
            async move { tokio::task::spawn_blocking(body).await.map_err(|error| error.to_string()) }
        })
    }

    /// Sets its options.
    #[must_use]
    pub fn options(mut self, options: ToolOptions) -> Self {
        self.descriptor = self.descriptor.options(options);
        self
    }

    /// Puts it under `#[approval]`.
    #[must_use]
    pub fn approved(mut self) -> Self {
        self.descriptor = self.descriptor.policy(ToolPolicy::new(None, Some(ApprovalPolicy::Required)));
        self
    }
}

impl Tool for Custom {
    fn descriptor(&self) -> &ToolDescriptor {
        &self.descriptor
    }

    fn check(&self, arguments: &Arguments, _: &[String]) -> Result<(), Vec<ArgumentError>> {
        match arguments.keys().next() {
            None => Ok(()),
            Some(name) => Err(vec![ArgumentError::new(format!("/{name}"), "the tool has no arguments")]),
        }
    }

    fn call(&self, call: ToolCall) -> ToolFuture {
        (self.body)(call)
    }
}
