//! What others are to be told of, written in the transaction of the change itself.

use crate::cell::row;
use crate::{ApprovalId, ExecutionId, RunId};

row! {
    /// One event. Whoever delivers it marks it; a lost mark means a second delivery, never none.
    OutboxRow, OutboxColumns, Outbox, lookups [id], unique [[id]] {
        id: String,
        created_at_ms: i64,
        topic: String,
        run_id: Option<RunId>,
        approval_id: Option<ApprovalId>,
        execution_id: Option<ExecutionId>,
        delivered_at_ms: Option<i64>,
    }
}
