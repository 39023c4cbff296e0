//! A model that asks for what its user's message lists, so that one agent serves any scenario.

use kern::models::{Model, ModelFuture, ModelRequest, ScriptedModel, turn};
use kern::run::Role;
use serde_json::Value;

/// The message that has [`Obedient`] ask for these calls.
#[must_use]
pub fn asking(calls: &[(&str, Value)]) -> String {
    serde_json::to_string(calls).expect("calls are JSON")
}

/// A model that reads the last message of its user as a list of calls, asks for them, and then says what became of each.
/// What is no such list it answers with `heard`.
#[derive(Clone, Copy, Debug)]
pub struct Obedient;

impl Model for Obedient {
    fn id(&self) -> &str {
        "obedient"
    }

    fn provider(&self) -> &str {
        "tests"
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        let own = || request.messages.iter().filter(|message| !message.from_history);
        let said = own().rfind(|message| message.role == Role::User).and_then(|message| message.content.clone());
        let calls: Vec<(String, Value)> = serde_json::from_str(&said.unwrap_or_default()).unwrap_or_default();
        let mut turns = Vec::new();
        if !calls.is_empty() {
            turns.push(calls.into_iter().fold(turn(), |turn, (name, arguments)| turn.tool_call(name, arguments)));
        }
        let told = own().filter(|message| message.role == Role::Tool).filter_map(|message| message.content.clone());
        let told: Vec<String> = told.collect();
        turns.push(turn().text(if told.is_empty() { "heard".to_owned() } else { format!("so: {}", told.join("; ")) }));
        Box::pin(async move { ScriptedModel::new(turns).respond(request).await })
    }
}
