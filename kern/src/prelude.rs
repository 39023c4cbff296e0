//! What most programs import: `use kern::prelude::*;`.
//!
//! Never a `Result` or an `Error`: a program has its own.

pub use kern_db::{ApprovalFilter, ApprovalStatus, Db, DbExt, Resolution};
pub use serde_json::json;

pub use crate::agent::Agent;
#[cfg(feature = "macros")]
pub use crate::approval::approval;
pub use crate::guardrails::{PIIDetectionGuardrail, PromptInjectionGuardrail};
#[cfg(feature = "macros")]
pub use crate::hooks::hook;
pub use crate::hooks::{HookContext, HookResult, InputCheckError, OutputCheckError};
pub use crate::run::{RunEvent, RunInput, RunOutput, RunRequirement, RunStatus};
#[cfg(feature = "macros")]
pub use crate::tools::tool;
#[cfg(feature = "macros")]
pub use crate::tools::toolkit;
pub use crate::tools::{RunContext, tools};
