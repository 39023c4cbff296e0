//! Stores for kern: runs, approvals, executions and the audit log.

mod ids;
mod records;

pub use ids::{ApprovalId, ExecutionId, RunId, SessionId};
pub use records::status::{ApprovalStatus, ApprovalType, ExecutionStatus, PauseType, RunStatus};
