//! Tools: what the model may call, and the policy each one carries.

mod adapted;
pub(crate) mod argument;
pub(crate) mod call;
mod context;
mod control_flow;
mod descriptor;
mod feedback;
pub(crate) mod form;
mod locate;
pub(crate) mod output;
pub(crate) mod probe;
pub(crate) mod registry;
pub(crate) mod state;
pub(crate) mod toolkit;
pub(crate) mod transaction;
pub(crate) mod wire_json;

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use argument::ToolArg;
pub use call::ToolCall;
pub use context::RunContext;
pub use control_flow::UserControlFlowTools;
pub use descriptor::{ApprovalPolicy, ApprovalRules, Effect, PauseType, ToolDescriptor, ToolOptions, ToolPolicy};
pub use feedback::UserFeedbackTools;
pub use output::{ToolFailure, ToolReturn};
pub use probe::{Probe, ProbeFuture, ProbeReturn, Probed};
pub(crate) use state::States;
pub use state::{StateType, ToolState};
pub use toolkit::Toolkit;
pub use transaction::{Params, Transaction, TransactionError};

/// Makes a tool of a function.
///
/// The function stays as it is, callable for its own tests; beside it stands a handle of the same name, for
/// [`tools!`](tools). The doc comment tells the model what the tool does, and the one of a parameter what the parameter
/// means. An argument is anything that is [`ToolArg`], a result anything that is [`ToolReturn`], or a `Result` of such a
/// value and a [`ToolFailure`]. A parameter of type [`&RunContext`](RunContext) is filled by kern and never shown to the
/// model. An `async fn` runs where the agent runs, a plain `fn` on the pool for blocking work.
///
/// # Arguments
///
/// | Argument | Meaning |
/// |---|---|
/// | `name = "…"` | the tool's name, by default the function's: `[A-Za-z0-9_-]{1,64}` |
/// | `description = "…"` | what the model reads, by default the doc comment |
/// | `requires_confirmation` | the run pauses until its user confirms the call |
/// | `requires_user_input` | the run pauses until its user has filled or corrected the arguments |
/// | `user_input_fields("a", "b")` | the same, for these arguments only: the model is not asked for them |
/// | `external_execution` | the run pauses until somebody brings the result; the body never runs |
/// | `log_approval` | the same as `#[approval(type = "audit")]` |
/// | `stop_after_tool_call` | the run ends after this call: the model is not asked again |
/// | `show_result` | the result is part of what the run says; by default as `stop_after_tool_call` |
/// | `strict` | the provider holds the model to the schema, where it can |
/// | `timeout = "30s"` | how long the body may take |
/// | `inline` | a plain `fn` runs on the task itself, and not on the pool for blocking work |
/// | `effect = "once"` | the default: the body is started at most once for each approval |
/// | `effect = "idempotent"` | a start that was lost is made again, with the same [`idempotency_key`](RunContext::idempotency_key), at most [`ATTEMPTS`](crate::db::ATTEMPTS) times in all |
/// | `effect = "transactional"` | what it hands to [`ctx.transaction()`](RunContext::transaction) is committed together with its outcome; a start that was lost is made again |
/// | `probe = path` | an `async fn(&RunContext)` that gives [`Probed`]: what became of a call whose end is unknown |
/// | `version = "…"` | by default `"1"`; a paused call only runs on the version it was shown with |
/// | `crate = "…"` | the path of kern, where a dependency renames it |
///
/// A flag is written alone, or as `flag = true` or `flag = false`. A tool pauses in one way. A duration is a whole number
/// with `ms`, `s`, `m`, `h` or `d`.
///
/// # Effects
///
/// A start is *lost* when its process is gone, when the body panics, and when it is past its `timeout`: a future that was
/// cancelled is not an effect that was stopped. What happens then is the tool's to say. The `effect` is stored with each
/// call when it is asked for, and the stored one counts.
///
/// | `effect` | Promise | A start that was lost |
/// |---|---|---|
/// | `once` | started at most once for each approval | is `unknown`: a human settles it, or the tool's `probe` |
/// | `idempotent` | effectively once, if the other side sorts out what comes twice by the key | is made again, also by another process, at most three times in all |
/// | `transactional` | exactly once, for what goes through `ctx.transaction()` | has left nothing, and is made again |
///
/// Both kinds of retry need a record of the call, so a call of such a tool that nobody is asked about has one, as with
/// `log_approval`. A transactional tool needs a database: `build()` refuses it on a store in memory
/// (`policy_unsatisfiable`).
///
/// A `probe` is called for a call that is `unknown`, by whoever continues its run or by the worker. What it finds is
/// recorded as its word (`the tool's probe`); where it fails, panics, takes longer than the tool may, or cannot tell, the
/// call stays `unknown`. It never has anything run again.
///
/// # Parameters
///
/// | Parameter | Who fills it |
/// |---|---|
/// | `name: T` | the model, or the user. A doc comment describes it, `Option<T>` may be absent |
/// | `#[arg(default = …)] name: T` | the same; an absent one is this value |
/// | `#[arg(sensitive)] name: T` | the same; displays and notifications leave it out |
/// | `ctx: &RunContext` | kern |
/// | `#[state] name: &T` | the application, with [`AgentBuilder::state`](crate::AgentBuilder::state): one value for each type |
///
/// A default is an expression of the parameter's type; a string literal is converted. Where it can be written as JSON it
/// is in the schema, and is evaluated once in a process: what somebody approved stays what the body gets. Any other is
/// evaluated for each call; a `when` that names it then says that the approval is needed.
///
/// # Examples
///
/// ```
/// use kern::prelude::*;
///
/// /// Send an e-mail.
/// #[tool(user_input_fields("to_address"))]
/// async fn send_email(
///     /// What it is about, in a few words.
///     subject: String,
///     body: Option<String>,
///     to_address: String,
///     ctx: &RunContext,
/// ) -> Result<String, std::io::Error> {
///     let _ = (body, ctx);
///     Ok(format!("Sent \"{subject}\" to {to_address}."))
/// }
///
/// let tools = tools![send_email];
/// let descriptor = tools[0].descriptor();
/// assert_eq!(descriptor.name, "send_email");
/// assert_eq!(descriptor.parameters["required"], json!(["subject", "to_address"]));
/// ```
///
/// A type of one's own derives `Deserialize` and `JsonSchema` (from `schemars` 1):
///
/// ```
/// use kern::prelude::*;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Address {
///     street: String,
///     city: String,
/// }
///
/// /// Look up who lives somewhere.
/// #[tool]
/// fn residents(address: Address) -> Vec<String> {
///     vec![format!("somebody in {}, {}", address.street, address.city)]
/// }
///
/// assert_eq!(tools![residents][0].descriptor().parameters["properties"]["address"]["$ref"], "#/$defs/Address");
/// ```
///
/// What the model need not say, what nobody shall read, and what the application brings:
///
/// ```
/// use kern::prelude::*;
///
/// struct Directory(Vec<String>);
///
/// /// Look up users.
/// #[tool(timeout = "10s")]
/// async fn find_users(
///     /// A part of the name.
///     #[arg(sensitive)]
///     name: String,
///     /// How many at most.
///     #[arg(default = 10)]
///     limit: usize,
///     #[state] directory: &Directory,
/// ) -> Vec<String> {
///     directory.0.iter().filter(|known| known.contains(&name)).take(limit).cloned().collect()
/// }
///
/// let descriptor = tools![find_users][0].descriptor().clone();
/// assert_eq!(descriptor.parameters["required"], json!(["name"]));
/// assert_eq!(descriptor.parameters["properties"]["limit"]["default"], 10);
/// assert_eq!(descriptor.sensitive, ["name"]);
/// ```
///
/// A module and a re-exported tool of one name clash, because the handle is a type.
#[cfg(feature = "macros")]
pub use kern_macros::tool;

/// Makes a [`Toolkit`] of a type: the methods with [`#[tool]`](tool) in this `impl` block are its tools.
///
/// A tool takes `&self`, or nothing of the toolkit, and beside it what every tool may take. Its name is the method's. Tools
/// may run in parallel and share the one value, so the type is `Send + Sync + 'static`; `&mut self` and `self` are refused.
/// `#[approval]` goes with `#[tool]` in either order. Methods without `#[tool]`, constants and types stay as they are. The
/// type may be generic. It has one such block. Macros in the block, and what `cfg_attr` hides, are not seen: where that
/// would lose a `#[tool]` or an `#[approval]`, it is an error.
///
/// `crate = "…"` is the only argument: the path of kern, where a dependency renames it.
///
/// # Examples
///
/// ```
/// use kern::models::{ScriptedModel, turn};
/// use kern::prelude::*;
///
/// struct Billing {
///     currency: &'static str,
/// }
///
/// #[toolkit]
/// impl Billing {
///     /// Refund a payment. Large refunds need an approval.
///     #[approval(when = *cents > 10_000)]
///     #[tool]
///     async fn refund(&self, ctx: &RunContext, payment: String, cents: u64) -> String {
///         let key = ctx.idempotency_key();
///         format!("Refunded {cents} {} of {payment} ({key}).", self.currency)
///     }
///
///     /// Say in which currency is paid.
///     #[tool]
///     fn currency(&self) -> &str {
///         self.currency
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = ScriptedModel::new([turn().tool_call("currency", json!({})), turn().text("In euros.")]);
/// let db = kern::db::InMemoryDb::new();
/// let agent = Agent::builder().model(model).toolkit(Billing { currency: "EUR" }).db(db).build()?;
///
/// let run = agent.run("In which currency do you pay?").await?;
/// assert_eq!(run.tool_calls()[0].result.as_deref(), Some("EUR"));
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "macros")]
pub use kern_macros::toolkit;

#[doc(inline)]
pub use crate::__tools as tools;

/// Gathers functions with `#[tool]` for an agent: takes paths, gives a `Vec<ToolHandle>`.
///
/// ```
/// use kern::prelude::*;
///
/// mod clock {
///     use kern::prelude::*;
///
///     /// Tell the time.
///     #[tool]
///     pub fn now() -> String {
///         "noon".to_owned()
///     }
/// }
///
/// /// Look up a key.
/// #[tool]
/// async fn lookup(key: String) -> Option<u32> {
///     (key == "answer").then_some(42)
/// }
///
/// let tools = tools![lookup, clock::now];
/// assert_eq!(tools[1].descriptor().name, "now");
/// ```
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
/// [`ToolCall`], and only kern makes one. A body made by hand hands it to [`ToolCall::enter`] first, so that it is entered only
/// for a call of this very tool. To adapt a tool that exists, use [`ToolHandle::renamed`], [`described`](ToolHandle::described),
/// [`wrapped`](ToolHandle::wrapped) or [`policy`](ToolHandle::policy): a tool that hands its own call to another one is refused
/// there.
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

    /// Gives what looks up how a call ended whose end is unknown (`probe = …`). None by default.
    fn probe(&self) -> Option<Probe> {
        None
    }

    /// Enters the body.
    fn call(&self, call: ToolCall) -> ToolFuture;
}

/// A tool, ready to be given to an agent. Cheap to clone. Made by `tools!` or from any [`Tool`].
#[derive(Clone)]
pub struct ToolHandle {
    tool: Arc<dyn Tool>,
    /// As it was when the tool was wrapped: a descriptor that changes afterwards changes no policy.
    descriptor: Arc<ToolDescriptor>,
}

impl ToolHandle {
    /// Wraps a tool.
    pub fn new(tool: impl Tool) -> Self {
        let descriptor = Arc::new(tool.descriptor().clone());
        Self { tool: Arc::new(tool), descriptor }
    }

    /// The tool's name, description, schema and policy.
    pub fn descriptor(&self) -> &ToolDescriptor {
        &self.descriptor
    }

    pub(crate) fn tool(&self) -> &dyn Tool {
        &*self.tool
    }
}

impl fmt::Debug for ToolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToolHandle").field(&self.descriptor().name).finish()
    }
}

/// Checks arguments. A panic in the tool's own types is an argument that cannot be checked, and never kern's panic.
///
/// # Errors
///
/// As [`Tool::check`].
pub(crate) fn check(tool: &dyn Tool, arguments: &Arguments, unfilled: &[String]) -> Result<(), Vec<ArgumentError>> {
    catch_unwind(AssertUnwindSafe(|| tool.check(arguments, unfilled))).unwrap_or_else(|_| {
        Err(vec![ArgumentError::new("", "the arguments could not be checked: the check itself panicked")])
    })
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
    code: Option<&'static str>,
}

impl ToolError {
    /// Makes an error of a text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: None }
    }

    /// The stable code of kern's own refusals: `wrong_tool`. `None`: the tool's own error.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// The body of `entered` was handed a call that was allowed for `allowed`.
    pub(crate) fn wrong_tool(allowed: &str, entered: &str, why: &str) -> Self {
        let message = format!("wrong_tool: the call of `{allowed}` does not enter the body of `{entered}`: {why}");
        Self { message, code: Some("wrong_tool") }
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
