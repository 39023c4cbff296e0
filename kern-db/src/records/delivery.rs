//! Webhooks and what is sent to them: who is told of events, and how far that is with each.

use serde::{Deserialize, Serialize};

use super::status::DeliveryStatus;
use crate::cell::{Json, row};
use crate::{ApprovalId, ExecutionId, RunId};

row! {
    /// Who is told of events. Neither its address nor its secret is stored: whoever sends brings them along.
    WebhookRow, WebhookColumns, Webhooks, lookups [name], unique [[name]] {
        name: String,
        topics: Json<Vec<String>>,
        /// What was committed before is none of its business.
        since_ms: i64,
        /// When a process last said that it sends to it.
        seen_at_ms: i64,
    }
}

row! {
    /// One event on its way to one webhook. It is a copy of the outbox's row, which is gone once everybody has theirs.
    DeliveryRow, DeliveryColumns, Deliveries, lookups [event_id], unique [[event_id, webhook]] {
        event_id: String,
        webhook: String,
        topic: String,
        run_id: Option<RunId>,
        approval_id: Option<ApprovalId>,
        execution_id: Option<ExecutionId>,
        created_at_ms: i64,
        status: DeliveryStatus,
        /// How often it was begun. It is the fence of the last one, too: who ends an earlier one changes nothing.
        attempts: u32,
        /// When it may be begun again: after a failure, or after the lease of whoever is at it.
        due_at_ms: i64,
        /// What came of the last attempt, in a word.
        outcome: Option<String>,
        ended_at_ms: Option<i64>,
    }
}

/// One event on its way to one webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Delivery {
    /// The event's id, which is the same on every attempt and for every webhook.
    pub event_id: String,
    /// The name of the webhook.
    pub webhook: String,
    /// What happened, as `approval.requested`.
    pub topic: String,
    /// The run that it happened to.
    pub run_id: Option<RunId>,
    /// The approval that it happened to.
    pub approval_id: Option<ApprovalId>,
    /// The execution that it happened to.
    pub execution_id: Option<ExecutionId>,
    /// When it happened, epoch milliseconds.
    pub created_at_ms: i64,
    /// How far it is.
    pub status: DeliveryStatus,
    /// How often it was begun.
    pub attempts: u32,
    /// When it may be begun again, epoch milliseconds.
    pub due_at_ms: i64,
    /// What came of the last attempt: an HTTP status, or a word. `None`: nothing yet.
    pub outcome: Option<String>,
    /// When it was delivered or given up, epoch milliseconds.
    pub ended_at_ms: Option<i64>,
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        let DeliveryRow { event_id, webhook, topic, run_id, approval_id, execution_id, created_at_ms, .. } = row;
        let DeliveryRow { status, attempts, due_at_ms, outcome, ended_at_ms, .. } = row;
        Self {
            event_id,
            webhook,
            topic,
            run_id,
            approval_id,
            execution_id,
            created_at_ms,
            status,
            attempts,
            due_at_ms,
            outcome,
            ended_at_ms,
        }
    }
}

/// Which deliveries a list shows.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeliveryFilter {
    /// Only those to this webhook.
    pub webhook: Option<String>,
    /// Only those that are this far.
    pub status: Option<DeliveryStatus>,
    /// At most so many, 1000 where nothing is said.
    pub limit: Option<u32>,
}

impl DeliveryFilter {
    /// All deliveries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those to this webhook.
    #[must_use]
    pub fn webhook(mut self, name: impl Into<String>) -> Self {
        self.webhook = Some(name.into());
        self
    }

    /// Only those that are this far.
    #[must_use]
    pub fn status(mut self, status: DeliveryStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }
}
