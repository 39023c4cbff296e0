//! Looking up what became of a call whose end is unknown.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;

use kern_db::Settlement;

use super::RunContext;

/// What a tool's probe found out about a call whose end is unknown.
///
/// ```
/// use kern::prelude::*;
/// use kern::tools::Probed;
///
/// /// Pay money out. A start whose end is unknown is looked up at the bank.
/// #[approval]
/// #[tool(probe = find_payment)]
/// async fn pay(to: String, cents: u64, ctx: &RunContext) -> String {
///     # let (_, _) = (&to, cents);
///     // … with `ctx.idempotency_key()` as the payment's reference
///     format!("paid with reference {}", ctx.idempotency_key())
/// }
///
/// async fn find_payment(ctx: &RunContext) -> Result<Probed, std::io::Error> {
///     // … asks the bank for a payment with this reference
///     # fn at_the_bank(_: &str) -> Result<Option<String>, std::io::Error> { Ok(None) }
///     Ok(match at_the_bank(ctx.idempotency_key())? {
///         Some(receipt) => Probed::succeeded(receipt),
///         None => Probed::NotStarted,
///     })
/// }
/// # let _ = tools![pay];
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probed {
    /// It was done, with this result for the model.
    Succeeded(String),
    /// It failed, with this error for the model.
    Failed(String),
    /// It was never begun, and cannot be by this start any more. The model is told that it was not done.
    NotStarted,
    /// There is no telling. The call stays unknown, and a human has to say.
    Unknown,
}

impl Probed {
    /// It was done, with this result for the model.
    pub fn succeeded(result: impl Into<String>) -> Self {
        Self::Succeeded(result.into())
    }

    /// It failed, with this error for the model.
    pub fn failed(error: impl Into<String>) -> Self {
        Self::Failed(error.into())
    }

    /// What is recorded of it. `None`: nothing.
    pub(crate) fn settlement(self) -> Option<Settlement> {
        let settlement = match self {
            Self::Succeeded(result) => Settlement::succeeded(result),
            Self::Failed(error) => Settlement::failed(error),
            Self::NotStarted => Settlement::abandoned(),
            Self::Unknown => return None,
        };
        Some(settlement.note("the tool's own probe looked it up"))
    }
}

/// What a probe gives, boxed. An error leaves the call unknown.
pub type ProbeFuture = Pin<Box<dyn Future<Output = Result<Probed, String>> + Send>>;

/// A tool's probe. What the application brings it finds with [`RunContext::state`].
pub type Probe = fn(RunContext) -> ProbeFuture;

/// What the function after `probe =` may return.
#[diagnostic::on_unimplemented(
    message = "a probe cannot return `{Self}`",
    label = "expected `Probed`, or a `Result` of it",
    note = "write `async fn find_it(ctx: &RunContext) -> Probed`"
)]
pub trait ProbeReturn {
    /// Gives what was found, or why nothing was.
    #[doc(hidden)]
    fn into_probed(self) -> Result<Probed, String>;
}

impl ProbeReturn for Probed {
    fn into_probed(self) -> Result<Probed, String> {
        Ok(self)
    }
}

impl<E: Display> ProbeReturn for Result<Probed, E> {
    fn into_probed(self) -> Result<Probed, String> {
        self.map_err(|error| error.to_string())
    }
}
