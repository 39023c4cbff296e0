//! What others are to be told of, written in the transaction of the change itself.

use crate::cell::row;
use crate::{ApprovalId, ExecutionId, RunId};

row! {
    /// One event that waits to be handed to those who are told of it (`transitions/delivery.rs`), and is gone then.
    OutboxRow, OutboxColumns, Outbox, lookups [id], unique [[id]] {
        id: String,
        created_at_ms: i64,
        topic: String,
        run_id: Option<RunId>,
        approval_id: Option<ApprovalId>,
        execution_id: Option<ExecutionId>,
        /// Older builds made it for whoever delivers. It is always null.
        delivered_at_ms: Option<i64>,
    }
}

/// All that an event can be about.
pub const TOPICS: [&str; 16] = [
    "approval.approved",
    "approval.cancelled",
    "approval.edited",
    "approval.expired",
    "approval.rejected",
    "approval.requested",
    "approval.voted",
    "call.answered",
    "call.asked",
    "execution.executing",
    "execution.finished",
    "execution.ready",
    "execution.settled",
    "execution.unknown",
    "run.ended",
    "run.paused",
];
