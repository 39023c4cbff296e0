//! Asking the model, and telling what it says.

use std::sync::OnceLock;
use std::time::Instant;

use super::event::{RequestTokens, RunEvent};
use super::history::History;
use super::lease::while_mine;
use super::message::Message;
use super::turn::{Drive, without_panic};
use crate::agent::Inner;
use crate::error::Result;
use crate::models::{ModelDelta, ModelError, ModelReply, ModelRequest};

/// Calls of one answer. An answer of some megabytes has room for a hundred thousand, each a body or a question of its own.
const MOST_CALLS: usize = 1024;

/// What the model is sent: the instructions, what was said in the session before, and the run's own messages. It only
/// grows, so that a long run does not copy all of it for each answer.
pub(crate) struct Conversation {
    messages: Vec<Message>,
    /// How many of the run's own messages are in it.
    own: usize,
}

impl Conversation {
    pub(crate) fn new(agent: &Inner, history: History) -> Self {
        Self { messages: agent.instructions.iter().cloned().chain(history.messages).collect(), own: 0 }
    }

    /// Gives all of it, with the run's own messages so far.
    fn with(&mut self, own: &[Message]) -> &[Message] {
        self.messages.extend(own[self.own..].iter().cloned());
        self.own = own.len();
        &self.messages
    }
}

impl Drive {
    /// Asks the model, and waits for its answer as long as the run is in this owner's hands. A panic in a model's client
    /// ends the run, not the process.
    pub(super) async fn ask(&mut self) -> Result<ModelReply> {
        let mut conversation = self.conversation.take().expect("a conversation is there before the model is asked");
        let request = ModelRequest::new(conversation.with(&self.state.messages), self.agent.tools.definitions());
        let (id, provider) = (self.agent.model.id(), self.agent.model.provider());
        self.tell(|base| {
            let (model, model_provider) = (id.to_owned(), provider.to_owned());
            RunEvent::ModelRequestStarted { base, model, model_provider }
        });
        let asked = Instant::now();
        let first = OnceLock::new();
        let mut lease = self.lease.take();
        let answered = while_mine(lease.as_mut(), &self.stop, without_panic(self.answer(request, &first))).await;
        self.lease = lease;
        self.conversation = Some(conversation);
        let answered = answered.map_err(|left| self.left(left))?;
        let Some(reply) = answered else {
            let (provider, message) = (provider.to_owned(), "its client panicked".to_owned());
            return Err(ModelError::InvalidReply { provider, message }.into());
        };
        let reply = reply?;
        if reply.tool_calls.len() > MOST_CALLS {
            let message = format!("it asks for {} calls, {MOST_CALLS} are allowed", reply.tool_calls.len());
            return Err(ModelError::InvalidReply { provider: provider.to_owned(), message }.into());
        }
        let first = first.into_inner();
        if first.is_none() {
            // A refusal, and the text of a client that hands nothing on while it comes.
            let text = reply.content.as_ref().or(reply.refusal.as_ref()).filter(|text| !text.is_empty());
            if let Some(text) = text.cloned() {
                self.say(Some(text), None);
            }
        }
        self.tell(|base| {
            let waited = first.map(|first| first.duration_since(asked).as_secs_f64());
            let tokens = RequestTokens::new(reply.usage.as_ref(), waited);
            let (model, model_provider) = (id.to_owned(), provider.to_owned());
            RunEvent::ModelRequestCompleted { base, model, model_provider, tokens }
        });
        let first = first.unwrap_or_else(Instant::now).duration_since(self.started).as_secs_f64();
        let metrics = &mut self.state.metrics;
        metrics.time_to_first_token.get_or_insert(first);
        if let Some(usage) = &reply.usage {
            // A provider may say anything.
            metrics.input_tokens = metrics.input_tokens.saturating_add(usage.input_tokens);
            metrics.output_tokens = metrics.output_tokens.saturating_add(usage.output_tokens);
            metrics.total_tokens = metrics.total_tokens.saturating_add(usage.total_tokens);
        }
        Ok(reply)
    }

    /// The model's answer: in parts as well, where somebody watches. `first`: when the first part of its text came.
    async fn answer(&self, request: ModelRequest<'_>, first: &OnceLock<Instant>) -> Result<ModelReply, ModelError> {
        if !self.events.are_watched() {
            return self.agent.model.respond(request).await;
        }
        let part = |delta: ModelDelta| {
            if delta.content.as_ref().is_some_and(|text| !text.is_empty()) {
                first.get_or_init(Instant::now);
            }
            self.say(delta.content, delta.reasoning);
        };
        self.agent.model.respond_streamed(request, &part).await
    }

    /// Tells more of what the run says, unless post-hooks have to see it first. Everything that is said goes through here,
    /// or through [`tell_held`](Self::tell_held).
    pub(super) fn say(&self, content: Option<String>, reasoning: Option<String>) {
        if !self.agent.hooks.hold_output() {
            self.tell(|base| RunEvent::content(base, content, reasoning));
        }
    }

    /// Tells in one part what was not told while it came: post-hooks see an output before anybody else.
    pub(super) fn tell_held(&self, content: Option<String>, reasoning: Option<String>) {
        if self.agent.hooks.hold_output() && (content.is_some() || reasoning.is_some()) {
            self.tell(|base| RunEvent::content(base, content, reasoning));
        }
    }
}
