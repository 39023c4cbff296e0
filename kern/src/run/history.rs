//! What a run sees of the earlier runs of its session.
//!
//! The messages are read when the run starts, and again where it goes on elsewhere: its snapshot names the runs, and does
//! not repeat them. Only runs that have ended are seen, so that two runs of one session at once never see what the other has
//! not finished.

use std::collections::HashSet;

use kern_db::{Principal, RunId, SessionId};

use super::message::{Message, Role};
use super::state::RunState;
use crate::agent::Inner;
use crate::error::Result;

/// The earlier runs that a run sees, and what was said in them.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) runs: Vec<RunId>,
    /// Oldest first, marked as history.
    pub(crate) messages: Vec<Message>,
}

impl History {
    /// Reads what a run that is about to start sees: the newest runs of its session that have ended, of the same agent and
    /// asked for by the same person.
    ///
    /// # Errors
    ///
    /// The store fails, or an earlier run cannot be read: what is left out in silence would be another conversation.
    pub(crate) async fn of_session(
        agent: &Inner,
        session_id: &SessionId,
        requester: Option<&Principal>,
    ) -> Result<Self> {
        let mut history = Self::default();
        if agent.num_history_runs == 0 {
            return Ok(history);
        }
        let (id, limit) = (agent.id.clone(), agent.num_history_runs);
        for snapshot in agent.db.history(session_id.clone(), id, requester.cloned(), limit).await? {
            let state = RunState::read(&snapshot)?;
            // Without its id it could not be found again where the run goes on elsewhere.
            if let Some(run_id) = state.run_id {
                history.runs.push(run_id);
                history.messages.extend(remembered(state.messages));
            }
        }
        Ok(history)
    }

    /// Reads again what a run saw when it started.
    ///
    /// # Errors
    ///
    /// As [`of_session`](Self::of_session).
    pub(crate) async fn again(agent: &Inner, runs: &[RunId]) -> Result<Self> {
        let mut history = Self { runs: runs.to_vec(), messages: Vec::new() };
        for run_id in runs {
            let run = agent.db.get_run(run_id).await?;
            history.messages.extend(remembered(RunState::read(&run.snapshot)?.messages));
        }
        Ok(history)
    }
}

/// The messages of a run that has ended, as a later one sees them. Of a run that was stopped in the middle, an answer of the
/// model whose calls have no results is left out, and so is a message that says nothing: no provider takes a conversation
/// with either.
fn remembered(messages: Vec<Message>) -> Vec<Message> {
    let mut kept: Vec<Message> = Vec::with_capacity(messages.len());
    let mut messages = messages.into_iter().peekable();
    while let Some(message) = messages.next() {
        if message.role == Role::Tool {
            // The answer that it belongs to was left out, or never there.
            continue;
        }
        if message.tool_calls.is_empty() && message.content.as_deref().unwrap_or_default().is_empty() {
            continue;
        }
        let mut asked: HashSet<String> = message.tool_calls.iter().map(|call| call.id.clone()).collect();
        let mut answer = vec![message];
        while let Some(result) = messages.next_if(|next| next.role == Role::Tool && !answer[0].tool_calls.is_empty()) {
            asked.remove(result.tool_call_id.as_deref().unwrap_or_default());
            answer.push(result);
        }
        if asked.is_empty() {
            kept.extend(answer);
        }
    }
    for message in &mut kept {
        message.from_history = true;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::ToolCallRequest;

    fn asks(ids: &[&str]) -> Message {
        Message::assistant(None, ids.iter().map(|id| ToolCallRequest::new(*id, "lookup", "{}")).collect())
    }

    fn said(text: &str) -> Message {
        Message::assistant(Some(text.to_owned()), Vec::new())
    }

    fn result(id: &str) -> Message {
        Message::tool(id, "lookup", "a value")
    }

    #[test]
    fn only_what_a_provider_takes_is_remembered() {
        let user = || Message::user("go");
        let cases = [
            ("nothing", vec![], vec![]),
            ("a question", vec![user()], vec![0]),
            ("a conversation", vec![user(), asks(&["a"]), result("a"), said("ok")], vec![0, 1, 2, 3]),
            ("stopped by a tool", vec![user(), asks(&["a"]), result("a")], vec![0, 1, 2]),
            ("no result", vec![user(), asks(&["a"])], vec![0]),
            ("one result of two", vec![user(), asks(&["a", "b"]), result("a")], vec![0]),
            ("in the middle", vec![user(), asks(&["a"]), user(), said("ok")], vec![0, 2, 3]),
            ("another's result", vec![user(), asks(&["a"]), result("b"), said("ok")], vec![0, 3]),
            ("a result of nothing", vec![user(), result("a"), said("ok")], vec![0, 2]),
            ("two turns", vec![asks(&["a"]), result("a"), asks(&["a"]), result("a")], vec![0, 1, 2, 3]),
            ("says nothing", vec![user(), Message::assistant(None, Vec::new()), Message::user("")], vec![0]),
            ("the second without", vec![asks(&["a"]), result("a"), asks(&["a"])], vec![0, 1]),
        ];
        for (case, messages, kept) in cases {
            let expected: Vec<String> = kept.iter().map(|place: &usize| messages[*place].id.clone()).collect();
            let found = remembered(messages);
            assert!(found.iter().all(|message| message.from_history), "{case}");
            assert_eq!(found.into_iter().map(|message| message.id).collect::<Vec<_>>(), expected, "{case}");
        }
    }
}
