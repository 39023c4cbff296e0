//! A run's snapshot: everything that another process needs to go on, and nothing that decides.
//!
//! Decisions are rows of the store and are read from there each time.

use kern_db::RunId;
use serde::{Deserialize, Serialize};

use super::history::History;
use super::message::{Message, Role};
use super::output::{RunInput, RunMetrics};
use super::requirement::{RunRequirement, ToolExecution};
use crate::hooks::RunFailure;
use crate::tools::Arguments;

/// What stands in the place of an output that a post-hook stopped.
pub(crate) const OUTPUT_BLOCKED: &str = "[blocked by a post-hook, not stored]";

/// The snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunState {
    /// Raised when a build could not read what an older one wrote.
    pub(crate) format: u32,
    pub(crate) input: RunInput,
    /// The conversation, without the instructions: those are the agent's.
    pub(crate) messages: Vec<Message>,
    /// All tool calls of the run.
    pub(crate) tools: Vec<ToolExecution>,
    /// For each answer of the model: where its calls start in `tools`.
    pub(crate) turns: Vec<usize>,
    /// All requirements of the run, unanswered as they were shown.
    pub(crate) requirements: Vec<RunRequirement>,
    /// The calls of the last answer, until each has an outcome.
    pub(crate) open: Option<OpenTurn>,
    pub(crate) metrics: RunMetrics,
    pub(crate) error: Option<String>,
    /// What the run says beside the model's last text, in order: the results that are shown. It is a part of the output:
    /// whoever takes that back takes this, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shown: Vec<String>,
    /// The run's own id, so that a later run of the session can name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<RunId>,
    /// The earlier runs of the session that the model sees before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) history: Vec<RunId>,
    /// What its error event says beside that, where a hook stopped the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<RunFailure>,
}

/// The calls of one turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenTurn {
    pub(crate) calls: Vec<OpenCall>,
    /// Places of calls whose results are shown, as their tools said when the calls were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shows: Vec<usize>,
}

/// What a turn was, once it is closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    /// Whether the run ends here, and the model is not asked again.
    pub(crate) stops: bool,
    /// The results that are shown, in call order.
    pub(crate) shown: Vec<String>,
}

/// One call of an open turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenCall {
    pub(crate) tool_call_id: String,
    pub(crate) tool_name: String,
    pub(crate) kind: CallKind,
    /// Set once the call has its outcome.
    pub(crate) result: Option<CallResult>,
}

/// How a call is to be treated.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallKind {
    /// Nobody is asked. It has no record: after a crash it may be run again.
    Plain { arguments: Arguments },
    /// It cannot run; the model is told why.
    Refused,
    /// It has a row in the store, and only what stands there counts.
    Protected,
}

/// What the model is told of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallResult {
    pub(crate) content: String,
    /// Whether it is not the tool's normal result.
    pub(crate) error: bool,
}

impl RunState {
    const FORMAT: u32 = 1;

    pub(crate) fn new(input: RunInput) -> Self {
        Self {
            format: Self::FORMAT,
            messages: vec![Message::user(input.input_content.clone())],
            input,
            tools: Vec::new(),
            turns: Vec::new(),
            requirements: Vec::new(),
            open: None,
            metrics: RunMetrics::default(),
            error: None,
            shown: Vec::new(),
            run_id: None,
            history: Vec::new(),
            failure: None,
        }
    }

    /// Says which run this is, and which ones the model sees before it.
    pub(crate) fn of(mut self, run_id: &RunId, history: &History) -> Self {
        self.run_id = Some(run_id.clone());
        self.history.clone_from(&history.runs);
        self
    }

    /// The input, as it is stored beside the snapshot.
    pub(crate) fn input_json(&self) -> String {
        serde_json::to_string(&self.input).expect("an input is JSON")
    }

    /// Puts an input in the place of the one before, also where the model reads it.
    pub(crate) fn set_input(&mut self, input: RunInput) {
        let asked = self.messages.iter_mut().rfind(|message| message.role == Role::User && !message.from_history);
        let asked = asked.expect("a run starts with what it was asked");
        asked.content = Some(input.input_content.clone());
        self.input = input;
    }

    /// Takes the input out, and leaves a text in its place.
    pub(crate) fn withhold_input(&mut self, instead: &str) -> RunInput {
        let input = std::mem::take(&mut self.input);
        self.set_input(RunInput::new(instead));
        input
    }

    /// Takes out what the run is about to give, wherever it stands, and leaves a text in its place.
    pub(crate) fn withhold_output(&mut self) {
        let shown = std::mem::take(&mut self.shown);
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| shown.contains(text));
        let last = self.messages.len().checked_sub(1).expect("a run that is completed has an answer");
        for (place, message) in self.messages.iter_mut().enumerate() {
            if message.role == Role::User || !(place == last || given(&message.content)) {
                continue;
            }
            if message.role == Role::Assistant {
                // A new one, so that nothing that a message may hold beside its text is left of it.
                *message = Message::assistant(None, std::mem::take(&mut message.tool_calls));
            }
            message.content = Some(OUTPUT_BLOCKED.to_owned());
        }
        for tool in self.tools.iter_mut().filter(|tool| given(&tool.result)) {
            tool.result = Some(OUTPUT_BLOCKED.to_owned());
        }
    }

    pub(crate) fn snapshot(&self) -> String {
        serde_json::to_string(self).expect("the snapshot's own types have string keys")
    }

    /// Reads a snapshot. What is stored is not trusted.
    pub(crate) fn read(snapshot: &str) -> Result<Self, kern_db::Error> {
        let corrupt = |detail: String| kern_db::Error::Corrupt { place: "runs.snapshot".to_owned(), detail };
        let state: Self = serde_json::from_str(snapshot).map_err(|error| corrupt(error.to_string()))?;
        if state.format != Self::FORMAT {
            return Err(corrupt(format!("format {} is not this build's {}", state.format, Self::FORMAT)));
        }
        let in_order = state.turns.is_sorted() && state.turns.last().is_none_or(|first| *first <= state.tools.len());
        let open_fits = state
            .open
            .as_ref()
            .is_none_or(|open| state.turns.last().is_some_and(|first| first + open.calls.len() == state.tools.len()));
        if !in_order || !open_fits {
            return Err(corrupt("its calls do not fit its turns".to_owned()));
        }
        Ok(state)
    }

    /// How often the model has answered: the number of the last turn, 0 before the first.
    pub(crate) fn turn(&self) -> u32 {
        u32::try_from(self.turns.len()).unwrap_or(u32::MAX)
    }

    /// The protected call that comes next, if nothing else has to run before it.
    pub(crate) fn next_protected(&self) -> Option<u32> {
        let mut open = (0_u32..).zip(&self.open.as_ref()?.calls).filter(|(_, call)| call.result.is_none());
        if open.clone().any(|(_, call)| matches!(call.kind, CallKind::Plain { .. })) {
            return None;
        }
        open.next().filter(|(_, call)| matches!(call.kind, CallKind::Protected)).map(|(index, _)| index)
    }

    /// The call at a place of a turn.
    pub(crate) fn tool(&self, turn: u32, index: u32) -> Option<&ToolExecution> {
        let first = self.turns.get(usize::try_from(turn).ok()?.checked_sub(1)?)?;
        self.tools.get(first + usize::try_from(index).ok()?)
    }

    /// The call at a place of a turn, to be changed.
    pub(crate) fn tool_mut(&mut self, turn: u32, index: u32) -> Option<&mut ToolExecution> {
        let first = self.turns.get(usize::try_from(turn).ok()?.checked_sub(1)?)?;
        self.tools.get_mut(first + usize::try_from(index).ok()?)
    }

    /// Whether a call of the open turn may end the run.
    pub(crate) fn may_stop(&self) -> bool {
        let open = self.open.as_ref().map_or(0, |open| open.calls.len());
        self.tools.iter().rev().take(open).any(|tool| tool.stop_after_tool_call)
    }

    /// Closes the open turn: its results become messages, in call order. All of them are there.
    pub(crate) fn close_turn(&mut self) -> Closed {
        let mut closed = Closed { stops: false, shown: Vec::new() };
        let Some(open) = self.open.take() else { return closed };
        let first = self.tools.len() - open.calls.len();
        let said = self.messages.last().and_then(|message| message.content.clone());
        for (place, call) in open.calls.into_iter().enumerate() {
            let result = call.result.expect("a turn is closed when every call has an outcome");
            let tool = &mut self.tools[first + place];
            tool.tool_call_error = Some(result.error);
            tool.result = Some(result.content.clone());
            if !result.error {
                closed.stops |= tool.stop_after_tool_call;
                closed.shown.extend(open.shows.contains(&place).then(|| result.content.clone()));
            }
            let stops = tool.stop_after_tool_call && !result.error;
            let mut message = Message::tool(&call.tool_call_id, &call.tool_name, result.content);
            message.tool_args.clone_from(&tool.tool_args);
            message.tool_call_error = Some(result.error);
            message.stop_after_tool_call = stops;
            self.messages.push(message);
        }
        self.shown.extend(closed.shown.iter().cloned());
        if closed.stops && closed.shown.is_empty() {
            // Nothing comes after what the model said with its calls.
            self.shown.extend(said);
        }
        closed
    }

    /// What a run that has completed says: the results that are shown, and the model's last text.
    pub(crate) fn said(&self) -> Option<String> {
        let last = self.messages.last().filter(|message| message.role == Role::Assistant);
        let last = last.and_then(|message| message.content.clone());
        if self.shown.is_empty() {
            return last;
        }
        Some(self.shown.concat() + last.as_deref().unwrap_or_default())
    }
}
