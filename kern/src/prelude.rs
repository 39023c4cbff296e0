//! What most programs import: `use kern::prelude::*;`.
//!
//! Never a `Result` or an `Error`: a program has its own.

pub use serde_json::json;

#[cfg(feature = "macros")]
pub use crate::approval::approval;
#[cfg(feature = "macros")]
pub use crate::tools::tool;
pub use crate::tools::{RunContext, tools};
