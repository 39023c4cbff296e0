//! Guardrails: pre-hooks that check an input, ready to use.
//!
//! They match patterns, in time linear in the length of the text. That finds what is written in the usual ways, and what
//! is spaced or decorated a little to get past; it is no proof that nothing is there. Each one says what it does not find.

mod injection;
mod numbers;
mod pii;

use std::future::Future;

pub use injection::PromptInjectionGuardrail;
pub use pii::PIIDetectionGuardrail;

use crate::hooks::HookResult;
use crate::run::RunInput;

/// A check of a run's input, as a value with settings. Give it to
/// [`AgentBuilder::pre_hook`](crate::AgentBuilder::pre_hook).
///
/// It may change the input, or stop the run with an [`InputCheckError`](crate::hooks::InputCheckError). One that fails
/// with any other error, or panics, stops the run as well.
///
/// ```
/// use kern::guardrails::Guardrail;
/// use kern::prelude::*;
///
/// struct LongestInput(usize);
///
/// impl Guardrail for LongestInput {
///     async fn check(&self, input: &mut RunInput) -> HookResult {
///         if input.input_content.len() > self.0 {
///             return Err(InputCheckError::new("please write less").into());
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> kern::Result<()> {
/// # let model = kern::models::ScriptedModel::new([kern::models::turn().text("done")]);
/// let agent = Agent::builder().model(model).pre_hook(LongestInput(10)).build()?;
/// assert_eq!(agent.run("a long question").await?.content(), "please write less");
/// # Ok(())
/// # }
/// ```
pub trait Guardrail: Send + Sync + 'static {
    /// Checks the input, and may change it.
    fn check(&self, input: &mut RunInput) -> impl Future<Output = HookResult> + Send;
}

/// Characters that are not seen: they may stand anywhere in a word without changing how it looks.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The character as it is on a keyboard, where it is one of the wide forms of ASCII.
fn narrow(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xfee0).expect("the wide forms lie as far above ASCII as this")
        }
        other => other,
    }
}
