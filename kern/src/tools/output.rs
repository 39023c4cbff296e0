//! What a body gives back, and how it runs: a text for the model, whatever the return type.

use std::fmt::Display;

use serde::Serialize;

use super::{ToolError, ToolOutput};

/// What the model reads when a tool returns `()`.
const DONE: &str = "done";

/// A value that a tool can return.
///
/// It is implemented for everything that is `Serialize`. A tool may also return `()`, and a `Result` of these and a
/// [`ToolFailure`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned from a tool: it cannot be written as JSON",
    label = "not something the model could read",
    note = "a tool returns `T` or `Result<T, E>`, with `T: serde::Serialize` and `E: std::fmt::Display`"
)]
pub trait ToolReturn {
    #[doc(hidden)]
    fn __output(&self) -> Result<ToolOutput, ToolError>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize> ToolReturn for T {
    fn __output(&self) -> Result<ToolOutput, ToolError> {
        // Through text and not through `Value`, which would sort the fields of a struct.
        let json = serde_json::to_string(self)
            .map_err(|error| ToolError::new(format!("the tool's result cannot be written as JSON: {error}")))?;
        Ok(ToolOutput::new(match serde_json::from_str::<String>(&json) {
            Ok(text) => text,
            Err(_) => json,
        }))
    }
}

/// An error that a tool can return. It is implemented for everything that is `Display`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the error of a tool: it has no text",
    label = "not an error the model could read",
    note = "implement `std::fmt::Display` for it: the model is told this text"
)]
pub trait ToolFailure {
    #[doc(hidden)]
    fn __error(&self) -> ToolError;
}

#[diagnostic::do_not_recommend]
impl<E: Display> ToolFailure for E {
    fn __error(&self) -> ToolError {
        ToolError::new(self.to_string())
    }
}

// The return type is looked at by method resolution, which sees through aliases and `impl Trait`: a method of `Result`
// itself wins over the one that takes a reference to anything. The tags carry no bounds, so that a type which fits
// neither gives the message above, and not "no method found".

/// Is it a `Result`? Chosen first.
pub trait IsResult {
    #[doc(hidden)]
    fn __kern_shape(&self) -> ResultShape {
        ResultShape
    }
}

impl<T, E> IsResult for Result<T, E> {}

/// Anything else. Chosen when nothing before it fits.
pub trait IsValue {
    #[doc(hidden)]
    fn __kern_shape(&self) -> ValueShape {
        ValueShape
    }
}

impl<T> IsValue for &T {}

/// The return type is a `Result`.
#[derive(Clone, Copy, Debug)]
pub struct ResultShape;

/// The return type is a value.
#[derive(Clone, Copy, Debug)]
pub struct ValueShape;

impl ResultShape {
    /// Turns the error into what the model is told.
    pub fn settle<T, E: ToolFailure>(self, result: Result<T, E>) -> Result<T, ToolError> {
        result.map_err(|error| error.__error())
    }
}

impl ValueShape {
    /// Takes the value as a success.
    pub fn settle<T>(self, value: T) -> Result<T, ToolError> {
        Ok(value)
    }
}

/// Is nothing returned on success? Chosen first.
pub trait IsUnit {
    #[doc(hidden)]
    fn __kern_output(&self) -> UnitOutput {
        UnitOutput
    }
}

impl IsUnit for Result<(), ToolError> {}

/// Anything else.
pub trait IsContent {
    #[doc(hidden)]
    fn __kern_output(&self) -> ContentOutput {
        ContentOutput
    }
}

impl<T> IsContent for &Result<T, ToolError> {}

/// Nothing is returned.
#[derive(Clone, Copy, Debug)]
pub struct UnitOutput;

/// Something is returned.
#[derive(Clone, Copy, Debug)]
pub struct ContentOutput;

impl UnitOutput {
    /// Gives the text for nothing.
    pub fn write(self, result: Result<(), ToolError>) -> Result<ToolOutput, ToolError> {
        result.map(|()| ToolOutput::new(DONE))
    }
}

impl ContentOutput {
    /// Gives the text of a value.
    pub fn write<T: ToolReturn>(self, result: Result<T, ToolError>) -> Result<ToolOutput, ToolError> {
        result.and_then(|value| value.__output())
    }
}

/// Runs a body that blocks on the pool that is there for it. Its panic goes on as a panic of the caller.
///
/// # Errors
///
/// The body's own, or that the runtime shut down before the body started.
pub async fn blocking(
    body: impl FnOnce() -> Result<ToolOutput, ToolError> + Send + 'static,
) -> Result<ToolOutput, ToolError> {
    match tokio::task::spawn_blocking(body).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ToolError::new("the tool did not start, because the process is shutting down")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_on_the_blocking_pool_goes_on_as_a_panic() {
        let task = tokio::spawn(blocking(|| panic!("from the body")));
        let panic = task.await.expect_err("the body panicked").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"from the body"));
    }
}
