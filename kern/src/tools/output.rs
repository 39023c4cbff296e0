//! What a body gives back, and how it runs: a text for the model, whatever the return type.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

tokio::task_local! {
    static BLOCKS: Blocks;
}

/// Whether the body of a task is on the pool for what blocks, where nothing can cancel it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks(Arc<AtomicBool>);

impl Blocks {
    /// The task of a body that says so here.
    pub(crate) fn scope<F: Future>(self, body: F) -> impl Future<Output = F::Output> {
        BLOCKS.scope(self, body)
    }

    pub(crate) fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
    // Omitted where it was not asked for.
    let _ = BLOCKS.try_with(|blocks| blocks.0.store(true, Ordering::Relaxed));
    match tokio::task::spawn_blocking(body).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ToolError::new("the tool did not start, because the process is shutting down")),
        },
    }
}

#[cfg(all(test, feature = "macros"))]
mod tests {
    use std::fmt;

    use serde::{Serialize, Serializer};
    use serde_json::{Value, json};

    use crate::tools::{RunContext, ToolCall, ToolHandle, tool, tools};

    #[derive(Serialize)]
    struct Receipt {
        // Not in the order of the alphabet: the model reads the fields as they were declared.
        payment: &'static str,
        cents: u64,
    }

    struct Refused;

    impl fmt::Display for Refused {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("refused, \"as it is\"")
        }
    }

    struct Unwritable;

    impl Serialize for Unwritable {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no words"))
        }
    }

    type Outcome<T> = Result<T, Refused>;

    /// A text.
    #[tool]
    async fn text() -> String {
        "a \"text\"\nas it is".to_owned()
    }

    /// A struct.
    #[tool]
    fn receipt() -> Receipt {
        Receipt { payment: "p1", cents: 3 }
    }

    /// Nothing.
    #[tool]
    async fn nothing() {}

    /// Nothing, in a result behind an alias.
    #[tool]
    fn nothing_in_a_result() -> Outcome<()> {
        Ok(())
    }

    /// None.
    #[tool]
    fn none() -> Option<u8> {
        None
    }

    /// Success.
    #[tool]
    async fn success() -> Outcome<Vec<u8>> {
        Ok(vec![1, 2])
    }

    /// Failure.
    #[tool]
    async fn failure() -> Outcome<Vec<u8>> {
        Err(Refused)
    }

    /// Anonymous.
    #[tool]
    fn anonymous() -> impl Serialize {
        ("a", 1)
    }

    /// Cannot be written.
    #[tool]
    fn unwritable() -> Unwritable {
        Unwritable
    }

    /// Blocks.
    #[tool]
    fn blocks(ctx: &RunContext, count: u8, note: Option<String>) -> String {
        format!("{count} {note:?} {}", ctx.tool_name)
    }

    /// Waits.
    #[tool]
    async fn waits(count: u8, ctx: &RunContext) -> String {
        tokio::task::yield_now().await;
        format!("{count} {}", ctx.tool_name)
    }

    /// Which thread?
    #[tool]
    fn thread() -> String {
        format!("{:?}", std::thread::current().id())
    }

    /// Panics.
    #[tool]
    fn panics() {
        panic!("from the body")
    }

    async fn call(tools: Vec<ToolHandle>, arguments: Value) -> Result<String, String> {
        let Value::Object(arguments) = arguments else { panic!("not an object") };
        let result = tools[0].tool().call(ToolCall::for_test(arguments, tools[0].descriptor())).await;
        result.map(|output| output.content).map_err(|error| error.message)
    }

    #[tokio::test]
    async fn every_return_type_becomes_a_text_for_the_model() {
        for (tools, expected) in [
            (tools![text], Ok("a \"text\"\nas it is")),
            (tools![receipt], Ok(r#"{"payment":"p1","cents":3}"#)),
            (tools![nothing], Ok("done")),
            (tools![nothing_in_a_result], Ok("done")),
            (tools![none], Ok("null")),
            (tools![success], Ok("[1,2]")),
            (tools![failure], Err("refused, \"as it is\"")),
            (tools![anonymous], Ok(r#"["a",1]"#)),
            (tools![unwritable], Err("the tool's result cannot be written as JSON: no words")),
        ] {
            let name = tools[0].descriptor().name.clone();
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(call(tools, json!({})).await, expected, "{name}");
        }
    }

    #[tokio::test]
    async fn the_entry_point_gives_the_body_its_arguments_and_its_context() {
        let arguments = json!({ "count": 3, "note": "n" });
        assert_eq!(call(tools![blocks], arguments).await.as_deref(), Ok("3 Some(\"n\") test-tool"));
        assert_eq!(call(tools![blocks], json!({ "count": 3 })).await.as_deref(), Ok("3 None test-tool"));
        assert_eq!(call(tools![waits], json!({ "count": 3 })).await.as_deref(), Ok("3 test-tool"));
    }

    #[tokio::test]
    async fn arguments_that_do_not_fit_never_reach_the_body() {
        for tools in [tools![blocks], tools![waits]] {
            for (arguments, expected) in [
                (json!({}), "/count: missing, the argument is required"),
                (json!({ "count": 256 }), "/count: invalid value: integer `256`, expected u8"),
                (json!({ "count": 1, "more": 1 }), "/more: unknown argument, the tool has no such parameter"),
            ] {
                assert_eq!(call(tools.clone(), arguments).await, Err(expected.to_owned()));
            }
        }
    }

    #[tokio::test]
    async fn a_function_that_is_not_async_runs_on_the_blocking_pool() {
        let here = format!("{:?}", std::thread::current().id());
        let there = call(tools![thread], json!({})).await.expect("it answers");
        assert_ne!(here, there);
    }

    #[tokio::test]
    async fn a_panic_on_the_blocking_pool_goes_on_as_a_panic() {
        let panic = tokio::spawn(call(tools![panics], json!({}))).await.expect_err("the body panicked").into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"from the body"));
    }
}
