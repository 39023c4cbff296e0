//! Hooks: what runs before the model sees the input, and before and after an output is given.
//!
//! | | takes | runs | may |
//! |---|---|---|---|
//! | pre-hook | `&mut RunInput` | before the model sees anything, in the order they were added; never when a run is continued | change the input; stop the run |
//! | post-hook | `&RunOutput` | when the run is about to be completed, in order; not when it pauses or fails | stop the run |
//! | post-hook with `run_in_background` | `&RunOutput` | after the completed run is stored, each in a task of its own | write to the log |
//!
//! **A hook that does not end well stops the run**: it ends as `ERROR`, whether a check did not pass
//! ([`InputCheckError`], [`OutputCheckError`]), the hook failed with any other error, or it panicked. `agent.run(…)` then
//! gives `Ok` with the status [`Error`](crate::run::RunStatus::Error) and a `content` that says why; a
//! [stream](crate::run::RunStream) ends with `RunError`.
//!
//! **What was stopped is not kept.** An agent with pre-hooks stores an input only after the last of them has passed it,
//! and as they left it; of a stopped one, only that it was blocked. Of a blocked output neither `content` nor
//! `messages` nor `tools` hold anything, results that are shown included; the execution of a protected call stays on
//! record. A stream of an agent with post-hooks that are waited for tells the text in one part, after they have passed it,
//! and no result that is shown with its call. What a hook itself puts into a check's message or its `additional_data` is stored.
//!
//! What they do not do: the answers people give to a paused run, what tools return, and the earlier runs of the
//! session pass no pre-hook. What a model says
//! beside a call that pauses the run passes no post-hook. A result of a tool that the model repeats stays among the run's
//! tool calls also where the output is blocked. A hook that never ends holds its run until that is cancelled. When a
//! process dies while post-hooks run and the run is recovered, they run again; a hook in the background is lost with its
//! process.

mod drive;
mod error;
pub(crate) mod mode;

use kern_db::{RunId, SessionId};

/// Makes a hook of an `async fn`.
///
/// The function stays a function: its return type becomes [`Inline`], or [`Background`] with `run_in_background`. Both can
/// be awaited, so a test calls it with [`HookContext::for_test()`].
///
/// | Argument | Meaning |
/// |---|---|
/// | `run_in_background` | a post-hook that nobody waits for: it runs after the completed run is stored, and only writes to the log |
/// | `crate = "…"` | the path of kern, where a dependency renames it |
///
/// # Examples
///
/// ```
/// use kern::models::{ScriptedModel, turn};
/// use kern::prelude::*;
///
/// #[hook]
/// async fn trim(input: &mut RunInput, ctx: &HookContext) -> HookResult {
///     input.input_content = input.input_content.trim().to_owned();
///     Ok(())
/// }
///
/// #[hook]
/// async fn no_secrets(out: &RunOutput, ctx: &HookContext) -> HookResult {
///     if out.content().contains("password") {
///         return Err(OutputCheckError::new("the answer was withheld").into());
///     }
///     Ok(())
/// }
///
/// # #[tokio::main]
/// # async fn main() -> kern::Result<()> {
/// let model = ScriptedModel::new([turn().text("the password is swordfish")]);
/// let agent = Agent::builder().model(model).pre_hook(trim).post_hook(no_secrets).build()?;
///
/// let run = agent.run("  what is the password?  ").await?;
/// assert_eq!(run.status, RunStatus::Error);
/// assert_eq!(run.content(), "the answer was withheld");
/// assert_eq!(run.input.input_content, "what is the password?");
/// # Ok(())
/// # }
/// ```
///
/// A pre-hook in the background could not keep anything from the model, so there is none:
///
/// ```compile_fail
/// # use kern::prelude::*;
/// #[hook(run_in_background)]
/// async fn trim(input: &mut RunInput, ctx: &HookContext) -> HookResult {
///     Ok(())
/// }
/// ```
#[cfg(feature = "macros")]
pub use kern_macros::hook;

pub(crate) use error::RunFailure;
pub use error::{CheckTrigger, HookError, HookResult, InputCheckError, OutputCheckError};
pub use mode::{
    Background, BackgroundFunction, GuardrailValue, Inline, InlineFunction, IntoPostHook, IntoPreHook, PostHook,
    PreHook,
};

/// Which run a hook runs for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HookContext {
    /// The run.
    pub run_id: RunId,
    /// Its session.
    pub session_id: SessionId,
    /// The agent.
    pub agent_id: String,
    /// Who asked, as the caller named them.
    pub user_id: Option<String>,
}

impl HookContext {
    /// Makes a context for calling a hook in a unit test.
    pub fn for_test() -> Self {
        Self {
            run_id: RunId::from("test-run"),
            session_id: SessionId::from("test-session"),
            agent_id: "test-agent".to_owned(),
            user_id: None,
        }
    }
}

/// The hooks of one agent.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) pre: Vec<PreHook>,
    pub(crate) post: Vec<PostHook>,
}

impl Hooks {
    pub(crate) fn are_any(&self) -> bool {
        !self.pre.is_empty() || !self.post.is_empty()
    }

    /// Whether nobody may see an output before the run is about to be completed.
    pub(crate) fn hold_output(&self) -> bool {
        self.post.iter().any(|hook| !hook.in_background)
    }
}
