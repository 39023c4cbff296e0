//! The reference's shapes that no type of kern has: what stands around a run.

use kern_db::{ApprovalFilter, ApprovalType, RunId, RunStatus};
use serde_json::{Map, Value, json};

use super::Os;
use super::problem::Problem;
use crate::run::RunOutput;

/// A run, with the approval that let it go on under `metadata`, where there was one.
pub(super) async fn shown(os: &Os, run: &RunOutput) -> Result<Value, Problem> {
    let mut shown = serde_json::to_value(run).expect("a run is JSON");
    if let Value::Object(fields) = &mut shown {
        if run.status != RunStatus::Paused {
            // They are streamed, and not kept.
            fields.insert("events".to_owned(), json!([]));
        }
        if let Some(metadata) = metadata_of(os, run).await? {
            fields.insert("metadata".to_owned(), metadata);
        }
    }
    Ok(shown)
}

async fn metadata_of(os: &Os, run: &RunOutput) -> Result<Option<Value>, Problem> {
    let decided = run.status != RunStatus::Paused && run.tools.iter().any(|tool| tool.approval_id.is_some());
    if decided { metadata(os, &run.run_id).await } else { Ok(None) }
}

/// The first approval that a run has waited for.
pub(super) async fn metadata(os: &Os, run_id: &RunId) -> Result<Option<Value>, Problem> {
    let filter = ApprovalFilter::new().run_id(run_id).approval_type(ApprovalType::Required).limit(1000_u32);
    let first = os.db.list_approvals(filter).await?.data.pop();
    Ok(first.map(|approval| json!({ "approval": approval })))
}

/// A run in a list: more keys than the run itself has, and nulls where it has none.
pub(super) async fn run_schema(os: &Os, run: &RunOutput) -> Result<Value, Problem> {
    let mut schema = json!({
        "run_id": run.run_id,
        "parent_run_id": "",
        "agent_id": run.agent_id,
        "user_id": run.user_id,
        "status": run.status,
        "cancellation_stage": null,
        "run_input": run.input.input_content,
        "content": run.content(),
        "run_response_format": "text",
        "reasoning_content": "",
        "reasoning_steps": [],
        "metrics": run.metrics,
        "metadata": metadata_of(os, run).await?,
        "messages": run.messages,
        "tools": run.tools,
        "events": null,
        "created_at": time(run.created_at),
        "references": [],
        "citations": null,
        "reasoning_messages": [],
        "session_state": run.session_state,
        "images": [],
        "videos": [],
        "audio": [],
        "files": [],
        "response_audio": null,
        "input_media": { "images": [], "videos": [], "audios": [], "files": [] },
        "followups": null,
        "forked_from_run_id": null,
        "forked_from_message_index": null,
        "forked_from_session_id": null,
        "regenerated_from": null,
        "last_checkpoint_at_message_index": null,
    });
    if let Some(blocked) = &run.blocked {
        schema["blocked"] = json!(blocked);
    }
    Ok(schema)
}

/// A time in the reference's lists.
pub(super) fn time(epoch_seconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(epoch_seconds).ok().map(|time| time.to_string())
}

/// One page of a list.
pub(super) fn page(data: Vec<Value>, page: u32, limit: u32, total_count: u64) -> Value {
    let total_pages = total_count.div_ceil(u64::from(limit));
    json!({
        "data": data,
        "meta": {
            "page": page, "limit": limit, "total_pages": total_pages, "total_count": total_count, "search_time_ms": 0.0,
        },
    })
}

/// Leaves out what is null.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept: Map<String, Value> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
            Value::Object(kept)
        }
        other => other,
    }
}
