//! Approval: decisions that a tool waits for, made by somebody else than the model.

pub(crate) mod answers;
pub(crate) mod outcome;
pub(crate) mod policy;

#[cfg(feature = "macros")]
pub use kern_macros::approval;

pub use kern_db::{Approval, ApprovalFilter, ApprovalId, ApprovalStatus, ApprovalType, Resolution};
