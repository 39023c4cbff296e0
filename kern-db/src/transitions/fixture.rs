//! A run that waits, for tests of single statements.

use serde_json::json;

use crate::db::Transitions as _;
use crate::digest::sha256;
use crate::memory::InMemoryDb;
use crate::requests::{BeginRun, CommitTurn, NewCall};
use crate::{ApprovalId, CallPolicy, Effect, PauseType, Run, RunId, SessionId, Tier};

const SCHEMA: &str = r#"{"type":"object"}"#;

/// A run with one call that an administrator has to decide about.
pub(super) async fn paused(db: &InMemoryDb, effect: Effect) -> (Run, ApprovalId) {
    paused_for(db, CallPolicy::new(Tier::Required, Some(PauseType::Confirmation)).effect(effect)).await
}

/// A run with one call that is decided about as this says.
pub(super) async fn paused_for(db: &InMemoryDb, policy: CallPolicy) -> (Run, ApprovalId) {
    let run_id = RunId::generate();
    let begin = BeginRun {
        run_id: run_id.clone(),
        session_id: SessionId::from("session"),
        agent_id: "agent".to_owned(),
        agent_name: None,
        requester: None,
        snapshot: "{}".to_owned(),
        input: Some("{}".to_owned()),
        lease_ms: 60_000,
    };
    let claim = db.begin_run(begin).await.expect("it starts");
    let approval_id = ApprovalId::generate();
    let call_asked = NewCall {
        index: 0,
        requirement_id: "requirement".to_owned(),
        tool_call_id: "call_0".to_owned(),
        tool_name: "pay".to_owned(),
        tool_version: "1".to_owned(),
        tool_identity: "1d".repeat(32),
        schema_hash: sha256(SCHEMA),
        parameters: SCHEMA.to_owned(),
        argument_limit: 1000,
        user_fields: Vec::new(),
        arguments: "{}".to_owned(),
        unfilled: Vec::new(),
        policy,
        approval_id: Some(approval_id.clone()),
        requirements: json!([]),
        context: json!({}),
    };
    let turn = CommitTurn { claim, turn: 1, snapshot: "{}".to_owned(), calls: vec![call_asked], pause: true };
    let run = db.commit_turn(turn).await.expect("it pauses");
    (run, approval_id)
}
