//! How a hook stops a run: by a check that did not pass, or by a failure of its own.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a hook gives: nothing, or why the run stops. `?` takes any error.
pub type HookResult = Result<(), HookError>;

/// Why a check did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckTrigger {
    /// It is not what the agent is for.
    OffTopic,
    /// This input is not allowed.
    InputNotAllowed,
    /// This output is not allowed.
    OutputNotAllowed,
    /// It does not have the form it should have.
    ValidationFailed,
    /// It tries to override the agent's instructions.
    PromptInjection,
    /// It holds personal data.
    PiiDetected,
}

impl CheckTrigger {
    /// Gives its name as in the `error_id` of an event, for example `pii_detected`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OffTopic => "off_topic",
            Self::InputNotAllowed => "input_not_allowed",
            Self::OutputNotAllowed => "output_not_allowed",
            Self::ValidationFailed => "validation_failed",
            Self::PromptInjection => "prompt_injection",
            Self::PiiDetected => "pii_detected",
        }
    }
}

impl fmt::Display for CheckTrigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Both errors of a check: the same fields, another default for the trigger.
macro_rules! check_error {
    ($(#[$docs:meta])* $name:ident, $error_type:literal, $default:ident) => {
        $(#[$docs])*
        #[derive(Clone, Debug, PartialEq, thiserror::Error)]
        #[error("{message}")]
        #[non_exhaustive]
        pub struct $name {
            /// What the caller is told. It is stored with the run: leave out what must not be.
            pub message: String,
            /// Why the check did not pass.
            pub trigger: CheckTrigger,
            /// More for programs. It is stored with the run: leave out what must not be.
            pub additional_data: Map<String, Value>,
        }

        impl $name {
            /// The `error_type` of a run's error event.
            pub const ERROR_TYPE: &'static str = $error_type;

            /// Stops the run with a message for the caller.
            pub fn new(message: impl Into<String>) -> Self {
                Self {
                    message: message.into(),
                    trigger: CheckTrigger::$default,
                    additional_data: Map::new(),
                }
            }

            /// Says why the check did not pass.
            #[must_use]
            pub fn trigger(mut self, trigger: CheckTrigger) -> Self {
                self.trigger = trigger;
                self
            }

            /// Adds more for programs.
            #[must_use]
            pub fn additional_data(
                mut self,
                data: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>,
            ) -> Self {
                self.additional_data.extend(data.into_iter().map(|(key, value)| (key.into(), value.into())));
                self
            }

            fn stop(&self) -> Stop {
                Stop {
                    message: self.message.clone(),
                    failure: RunFailure {
                        error_type: Self::ERROR_TYPE.to_owned(),
                        error_id: self.trigger.as_str().to_owned(),
                        additional_data: self.additional_data.clone(),
                    },
                }
            }
        }
    };
}

check_error! {
    /// The input of a run did not pass a check: the run stops before the model sees anything of it.
    ///
    /// Its trigger is `input_not_allowed` unless another one is given.
    ///
    /// ```
    /// use kern::prelude::*;
    ///
    /// #[hook]
    /// async fn only_short(input: &mut RunInput, ctx: &HookContext) -> HookResult {
    ///     if input.input_content.len() > 10_000 {
    ///         return Err(InputCheckError::new("please write less").into());
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() {
    /// let mut long = RunInput::new("x".repeat(10_001));
    /// let stopped = only_short(&mut long, &HookContext::for_test()).await.expect_err("it is too long");
    /// assert_eq!(stopped.to_string(), "please write less");
    /// # }
    /// ```
    InputCheckError, "input_check_error", InputNotAllowed
}

check_error! {
    /// The output of a run did not pass a check: the run ends with an error, and the output is neither given nor stored.
    ///
    /// Its trigger is `output_not_allowed` unless another one is given.
    OutputCheckError, "output_check_error", OutputNotAllowed
}

/// Why a hook stops its run. Made by `?` from any error.
///
/// An [`InputCheckError`] or [`OutputCheckError`] in it, also as the source of another error, is a check that did not
/// pass: the caller is given its message. Anything else is a failure of the hook: it stops the run all the same, and
/// its text goes to the log (`tracing`) only, because it may quote what the hook was given.
///
/// It is no [`std::error::Error`] itself, so that `?` can take all of them. What is none either, such as a text or a
/// `Box<dyn Error + Send + Sync>`, goes through [`HookError::new`]: `.map_err(HookError::new)?`.
pub struct HookError(Box<dyn StdError + Send + Sync>);

impl HookError {
    /// Makes one of a text, or of a boxed error.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// Gives the error it was made of, if it is of this type.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }

    /// The check that did not pass, if it is one.
    pub(crate) fn stop(&self) -> Option<Stop> {
        let mut error: Option<&(dyn StdError + 'static)> = Some(self.0.as_ref());
        while let Some(found) = error {
            if let Some(check) = found.downcast_ref::<InputCheckError>() {
                return Some(check.stop());
            }
            if let Some(check) = found.downcast_ref::<OutputCheckError>() {
                return Some(check.stop());
            }
            error = found.source();
        }
        None
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for HookError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A run that a hook stopped: what its caller is told, and what its error event says.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    pub(crate) message: String,
    pub(crate) failure: RunFailure,
}

/// What a run's error event says beside its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFailure {
    pub(crate) error_type: String,
    pub(crate) error_id: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) additional_data: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] InputCheckError);

    fn stop(error: impl Into<HookError>) -> Option<(String, String, String)> {
        let stop = error.into().stop()?;
        Some((stop.message, stop.failure.error_type, stop.failure.error_id))
    }

    fn texts(a: &str, b: &str, c: &str) -> Option<(String, String, String)> {
        Some((a.to_owned(), b.to_owned(), c.to_owned()))
    }

    #[test]
    fn a_check_that_did_not_pass_is_told_from_a_failure() {
        let input = InputCheckError::new("no").trigger(CheckTrigger::OffTopic);
        assert_eq!(stop(input.clone()), texts("no", "input_check_error", "off_topic"));
        assert_eq!(stop(OutputCheckError::new("no")), texts("no", "output_check_error", "output_not_allowed"));
        assert_eq!(stop(Wrapped(input)), texts("no", "input_check_error", "off_topic"));
        assert_eq!(stop(std::fmt::Error), None);
        assert!(HookError::new("a text").stop().is_none());
        let boxed: Box<dyn StdError + Send + Sync> = Box::new(InputCheckError::new("boxed"));
        assert_eq!(HookError::new(boxed).stop().map(|stop| stop.message).as_deref(), Some("boxed"));
    }

    #[test]
    fn a_trigger_has_one_name_everywhere() {
        for trigger in [
            CheckTrigger::OffTopic,
            CheckTrigger::InputNotAllowed,
            CheckTrigger::OutputNotAllowed,
            CheckTrigger::ValidationFailed,
            CheckTrigger::PromptInjection,
            CheckTrigger::PiiDetected,
        ] {
            assert_eq!(json!(trigger), json!(trigger.as_str()));
            assert_eq!(trigger.to_string(), trigger.as_str());
        }
    }
}
