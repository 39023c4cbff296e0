//! Approval: decisions of an administrator that a tool waits for.

#[cfg(feature = "macros")]
pub use kern_macros::approval;
