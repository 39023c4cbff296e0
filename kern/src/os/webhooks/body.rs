//! What a request says: ids and states. Whoever wants to know more asks for it with a credential of their own.

use kern_db::{ApprovalId, DeliveryClaim, ExecutionId, RunId, SessionId};
use serde::Serialize;

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    /// When it happened, not when it is told.
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_id: Option<&'a ApprovalId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_id: Option<&'a ExecutionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<&'a RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
}

/// The body of an event, which is the same on every attempt.
pub(super) fn of(claim: &DeliveryClaim) -> Vec<u8> {
    let event = &claim.delivery;
    let at = jiff::Timestamp::from_millisecond(event.created_at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let body = Body {
        r#type: &event.topic,
        timestamp: at.to_string(),
        data: Data {
            approval_id: event.approval_id.as_ref(),
            execution_id: event.execution_id.as_ref(),
            run_id: event.run_id.as_ref(),
            session_id: claim.session_id.as_ref(),
            agent_id: claim.agent_id.as_deref(),
            tool_name: claim.tool_name.as_deref(),
            status: claim.status.as_deref(),
        },
    };
    serde_json::to_vec(&body).expect("texts and options of them are JSON")
}
