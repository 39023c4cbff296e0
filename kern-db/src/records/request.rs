//! Requests that came with an idempotency key.

use crate::RunId;
use crate::cell::row;

row! {
    /// One request: the same key of the same person is the same request.
    RequestRow, RequestColumns, Requests, lookups [request_key], unique [[owner, request_key]] {
        /// Whose key it is. Empty where nobody is asked who they are.
        owner: String,
        request_key: String,
        /// SHA-256 of what was asked for, in hexadecimal.
        digest: String,
        /// The run that it is about, if it starts one.
        run_id: RunId,
        /// Counts those who have worked on it. Only the last one's answer counts.
        attempt: i64,
        /// Until when whoever works on it is waited for. 0: nobody does.
        lease_until_ms: i64,
        created_at_ms: i64,
        /// HTTP status of the answer. `None`: there is none, or none that is kept.
        status: Option<i64>,
        content_type: Option<String>,
        body: Option<String>,
    }
}
