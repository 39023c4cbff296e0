//! A model that plays a script: for tests, examples and documentation, without network.

use std::sync::Arc;

use serde_json::Value;

use super::{DeltaSink, Model, ModelDelta, ModelError, ModelFuture, ModelReply, ModelRequest, ModelToolCall, Usage};
use crate::run::{Message, Role};

/// Starts a turn of a [`ScriptedModel`].
pub fn turn() -> Turn {
    Turn::default()
}

/// One turn of a [`ScriptedModel`], made with [`turn`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Turn {
    text: Option<String>,
    calls: Vec<ScriptedCall>,
    usage: Option<Usage>,
}

#[derive(Clone, Debug)]
struct ScriptedCall {
    id: CallId,
    name: String,
    arguments: String,
}

#[derive(Clone, Debug)]
enum CallId {
    /// `call_{turn}_{index}`.
    ByPlace,
    /// As written, and none at all where the script says so.
    Given(Option<String>),
}

impl Turn {
    /// Sets the text.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Adds a call. Its id is `call_{turn}_{index}`, both counted from 0.
    pub fn tool_call(self, name: impl Into<String>, arguments: Value) -> Self {
        self.call(CallId::ByPlace, name.into(), arguments.to_string())
    }

    /// Adds a call with an id of its own.
    pub fn tool_call_with_id(self, id: impl Into<String>, name: impl Into<String>, arguments: Value) -> Self {
        self.call(CallId::Given(Some(id.into())), name.into(), arguments.to_string())
    }

    /// Adds a call as a misbehaving model would send it: nothing of it is checked, and without an id there is none.
    pub fn raw_tool_call(self, id: Option<&str>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.call(CallId::Given(id.map(str::to_owned)), name.into(), arguments.into())
    }

    /// Sets what the turn cost.
    pub fn usage(mut self, input_tokens: u64, output_tokens: u64) -> Self {
        self.usage = Some(Usage {
            input_tokens,
            output_tokens,
            total_tokens: input_tokens.saturating_add(output_tokens),
            ..Usage::default()
        });
        self
    }

    fn call(mut self, id: CallId, name: String, arguments: String) -> Self {
        self.calls.push(ScriptedCall { id, name, arguments });
        self
    }

    fn reply(&self, place: usize, model: &str) -> ModelReply {
        let tool_calls: Vec<_> = self
            .calls
            .iter()
            .enumerate()
            .map(|(index, call)| ModelToolCall {
                id: match &call.id {
                    CallId::ByPlace => Some(format!("call_{place}_{index}")),
                    CallId::Given(id) => id.clone(),
                },
                name: call.name.clone(),
                arguments: call.arguments.clone(),
            })
            .collect();
        let finish_reason = if tool_calls.is_empty() { "stop" } else { "tool_calls" };
        ModelReply {
            content: self.text.clone(),
            tool_calls,
            finish_reason: Some(finish_reason.to_owned()),
            usage: self.usage,
            model: Some(model.to_owned()),
            ..ModelReply::default()
        }
    }
}

/// A model that plays its turns in order, for each run anew.
///
/// It keeps no place of its own: the place is read from the run's messages, so that a run which was paused goes on in
/// another process. Clones share the script.
///
/// ```
/// use kern::models::{ScriptedModel, turn};
/// use serde_json::json;
///
/// let model = ScriptedModel::new([
///     turn().tool_call("refund", json!({ "payment": "p1", "cents": 100 })),
///     turn().text("done"),
/// ]);
/// # let _ = model;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ScriptedModel {
    id: Arc<str>,
    provider: Arc<str>,
    turns: Arc<[Turn]>,
}

impl ScriptedModel {
    /// Makes a model of its turns.
    pub fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { id: "scripted".into(), provider: "Scripted".into(), turns: turns.into_iter().collect() }
    }

    /// Sets the id, by default `scripted`.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into().into();
        self
    }

    /// Sets the provider's name, by default `Scripted`.
    pub fn provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = provider.into().into();
        self
    }
}

/// Gives the number of turns the run has had: the model's messages after the last user message that is the run's own.
/// Messages of earlier runs of the session are marked and not counted, or a second run would start in mid-script.
fn turns_played(messages: &[Message]) -> usize {
    let own = |message: &&Message| !message.from_history;
    messages
        .iter()
        .rev()
        .filter(own)
        .take_while(|message| message.role != Role::User)
        .filter(|message| message.role == Role::Assistant)
        .count()
}

impl Model for ScriptedModel {
    fn id(&self) -> &str {
        &self.id
    }

    fn provider(&self) -> &str {
        &self.provider
    }

    fn respond<'a>(&'a self, request: ModelRequest<'a>) -> ModelFuture<'a> {
        Box::pin(async move {
            let place = turns_played(request.messages);
            match self.turns.get(place) {
                Some(turn) => Ok(turn.reply(place, &self.id)),
                None => Err(ModelError::ScriptEnded { turn: place, turns: self.turns.len() }),
            }
        })
    }

    /// Hands the text on word by word, each with the space after it.
    fn respond_streamed<'a>(&'a self, request: ModelRequest<'a>, deltas: DeltaSink<'a>) -> ModelFuture<'a> {
        Box::pin(async move {
            let reply = self.respond(request).await?;
            for word in reply.content.iter().flat_map(|text| text.split_inclusive(char::is_whitespace)) {
                deltas(ModelDelta { content: Some(word.to_owned()), reasoning: None });
                // Whoever watches gets to see it: a provider is not as fast as a script.
                tokio::task::yield_now().await;
            }
            Ok(reply)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::ToolCallRequest;

    async fn answer(model: &ScriptedModel, messages: &[Message]) -> Result<ModelReply, ModelError> {
        model.respond(ModelRequest::new(messages, &[])).await
    }

    fn said(reply: &ModelReply) -> Message {
        let calls = reply
            .tool_calls
            .iter()
            .map(|call| ToolCallRequest::new(call.id.clone().unwrap_or_default(), &call.name, &call.arguments))
            .collect();
        Message::assistant(reply.content.clone(), calls)
    }

    fn from_history(mut message: Message) -> Message {
        message.from_history = true;
        message
    }

    fn two_turns() -> ScriptedModel {
        ScriptedModel::new([
            turn().tool_call("refund", json!({"cents": 100})).tool_call("lookup", json!({})),
            turn().text("done").usage(3, 4),
        ])
    }

    #[tokio::test]
    async fn it_plays_its_turns_in_order_and_then_says_that_the_script_has_ended() {
        let model = two_turns();
        let mut messages = vec![Message::system("be brief"), Message::user("refund p1")];

        let first = answer(&model, &messages).await.unwrap();
        assert_eq!(
            first.tool_calls,
            [
                ModelToolCall::new(Some("call_0_0".into()), "refund", r#"{"cents":100}"#),
                ModelToolCall::new(Some("call_0_1".into()), "lookup", "{}"),
            ]
        );
        assert_eq!((first.content.as_deref(), first.finish_reason.as_deref()), (None, Some("tool_calls")));

        messages.push(said(&first));
        messages.push(Message::tool("call_0_0", "refund", "ok"));
        messages.push(Message::tool("call_0_1", "lookup", "ok"));
        let second = answer(&model, &messages).await.unwrap();
        assert_eq!((second.content.as_deref(), second.finish_reason.as_deref()), (Some("done"), Some("stop")));
        assert_eq!(second.usage.map(|usage| usage.total_tokens), Some(7));

        messages.push(said(&second));
        let ended = answer(&model, &messages).await.unwrap_err();
        assert!(matches!(ended, ModelError::ScriptEnded { turn: 2, turns: 2 }), "{ended:?}");
    }

    #[tokio::test]
    async fn a_second_run_of_the_session_starts_at_the_first_turn() {
        let messages = [
            from_history(Message::user("one")),
            from_history(Message::assistant(Some("first answer".into()), vec![])),
            from_history(Message::user("two")),
            from_history(Message::assistant(Some("second answer".into()), vec![])),
            Message::user("three"),
        ];
        let reply = answer(&two_turns(), &messages).await.unwrap();
        assert_eq!(reply.tool_calls.len(), 2);
    }

    #[tokio::test]
    async fn a_run_goes_on_with_another_instance_after_its_messages_were_stored() {
        let first = answer(&two_turns(), &[Message::user("go")]).await.unwrap();
        let stored = serde_json::to_string(&[Message::user("go"), said(&first)]).unwrap();
        let messages: Vec<Message> = serde_json::from_str(&stored).unwrap();
        let second = answer(&two_turns(), &messages).await.unwrap();
        assert_eq!(second.content.as_deref(), Some("done"));
    }

    #[tokio::test]
    async fn a_text_is_streamed_word_by_word_and_is_the_same_text() {
        for (text, wanted) in [
            ("The refund is done.", &["The ", "refund ", "is ", "done."][..]),
            ("  two\n\nlines ", &[" ", " ", "two\n", "\n", "lines "]),
            ("word", &["word"]),
            ("", &[]),
        ] {
            let model = ScriptedModel::new([turn().text(text).tool_call("f", json!({}))]);
            let parts = std::sync::Mutex::new(Vec::new());
            let sink = |delta: ModelDelta| parts.lock().unwrap().push(delta.content.unwrap());
            let messages = [Message::user("go")];
            let reply = model.respond_streamed(ModelRequest::new(&messages, &[]), &sink).await.unwrap();
            assert_eq!((reply.content.as_deref(), reply.tool_calls.len()), (Some(text), 1));
            let parts = parts.into_inner().unwrap();
            assert_eq!(parts, wanted);
            assert_eq!(parts.concat(), text);
        }
    }

    #[tokio::test]
    async fn raw_calls_keep_garbage_repeated_ids_and_missing_ids() {
        let model = ScriptedModel::new([turn()
            .tool_call_with_id("same", "a", json!({"x": 1}))
            .raw_tool_call(Some("same"), "b", "{not json")
            .raw_tool_call(None, "", "")
            .tool_call("c", json!({}))])
        .id("gpt-x")
        .provider("Nobody");
        assert_eq!((Model::id(&model), Model::provider(&model)), ("gpt-x", "Nobody"));
        let reply = answer(&model, &[Message::user("go")]).await.unwrap();
        assert_eq!(reply.model.as_deref(), Some("gpt-x"));
        assert_eq!(
            reply.tool_calls,
            [
                ModelToolCall::new(Some("same".into()), "a", r#"{"x":1}"#),
                ModelToolCall::new(Some("same".into()), "b", "{not json"),
                ModelToolCall::new(None, "", ""),
                ModelToolCall::new(Some("call_0_3".into()), "c", "{}"),
            ]
        );
    }
}
