//! Starting a run.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Instant;

use kern_db::{BeginRun, Link, Principal, RunClaim, RunId, SessionId};

use super::{Agent, driven};
use crate::error::Result;
use crate::run::ask::Conversation;
use crate::run::history::History;
use crate::run::state::RunState;
use crate::run::stop::Stop;
use crate::run::stream::{Events, RunStream};
use crate::run::turn::Drive;
use crate::run::{RunInput, RunOutput};

/// A run about to start. Await it, or [watch](StartRun::stream) it.
#[derive(Debug)]
#[must_use = "a run starts when it is awaited"]
pub struct StartRun {
    agent: Agent,
    input: RunInput,
    requester: Option<Principal>,
    on_behalf_of: Vec<Link>,
    session_id: Option<SessionId>,
    run_id: RunId,
    stop: Stop,
}

impl StartRun {
    pub(super) fn new(agent: Agent, input: RunInput) -> Self {
        let (run_id, stop) = (RunId::generate(), Stop::never());
        Self { agent, input, requester: None, on_behalf_of: Vec::new(), session_id: None, run_id, stop }
    }

    /// Names who asks. They are the requester: what they asked for is decided by somebody else.
    pub fn user_id(mut self, user_id: impl Into<String>) -> Self {
        self.requester = Some(Principal::unverified(user_id));
        self
    }

    /// Names a person or service that the requester acts for. Called several times, it makes a chain of at most 8 links, the
    /// nearest first. Each link counts as the requester: none of them decides about the run's calls, or settles them.
    ///
    /// ```
    /// # use kern::models::{ScriptedModel, turn};
    /// use kern::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kern::Result<()> {
    /// # let agent = Agent::builder().model(ScriptedModel::new([turn().text("Done.")])).build()?;
    /// let run = agent.run("Pay the bill").user_id("billing-bot").on_behalf_of("ann").await?;
    /// # assert_eq!(run.status, RunStatus::Completed);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Awaiting the run fails with [`Error::Store`](crate::Error::Store) where there are more than 8 links, a link's name
    /// shows nothing, or [`user_id`](Self::user_id) names no requester.
    pub fn on_behalf_of(mut self, subject: impl Into<String>) -> Self {
        self.on_behalf_of.push(Link::unverified(subject));
        self
    }

    /// Starts as a server does, which knows who asks, and ends when it is told to.
    #[cfg(feature = "os")]
    pub(crate) fn served(mut self, requester: Option<Principal>, stop: Stop) -> Self {
        (self.requester, self.stop) = (requester, stop);
        self
    }

    /// Names the run. The store has one of each name.
    #[cfg(feature = "os")]
    pub(crate) fn named(mut self, run_id: RunId) -> Self {
        self.run_id = run_id;
        self
    }

    /// The id that the run will have.
    #[cfg(feature = "os")]
    pub(crate) fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// Names the session. A new one by default. The model sees the session's earlier runs of the same agent and person: see
    /// [`num_history_runs`](crate::AgentBuilder::num_history_runs).
    pub fn session_id(mut self, session_id: impl Into<SessionId>) -> Self {
        self.session_id = Some(session_id.into());
        self
    }

    /// Watches the run while it goes on: the stream of its events, instead of its output.
    ///
    /// Its items are errors where awaiting the run would give one; the stream ends there.
    ///
    /// ```
    /// # use kern::models::{ScriptedModel, turn};
    /// use kern::prelude::*;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kern::Result<()> {
    /// # let agent = Agent::builder().model(ScriptedModel::new([turn().text("Hello, Ann.")])).build()?;
    /// let mut said = String::new();
    /// let mut events = agent.run("Say hello to Ann").stream();
    /// while let Some(event) = events.next().await {
    ///     if let RunEvent::RunContent { content, .. } = event? {
    ///         said.push_str(&content);
    ///     }
    /// }
    /// assert_eq!(said, "Hello, Ann.");
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(self) -> RunStream {
        RunStream::new(false, |events| self.start(events))
    }

    async fn start(self, events: Events) -> Result<RunOutput> {
        let agent = self.agent.0;
        let requester = match (self.requester, self.on_behalf_of) {
            (None, links) if !links.is_empty() => {
                let what = "a run on behalf of others needs a requester: name it with `user_id`";
                return Err(kern_db::Error::Invalid(what.to_owned()).into());
            }
            (requester, links) => requester.map(|requester| links.into_iter().fold(requester, Principal::on_behalf_of)),
        };
        let run_id = self.run_id;
        // A session without a name is everybody's: it is none.
        let named = self.session_id.filter(|session_id| !session_id.as_str().is_empty());
        let history = match &named {
            Some(session_id) => History::of_session(&agent, session_id, requester.as_ref()).await?,
            // A new one has none.
            None => History::default(),
        };
        let session_id = named.unwrap_or_else(SessionId::generate);
        let state = RunState::new(self.input).of(&run_id, &history);
        let conversation = Conversation::new(&agent, history);
        let user_id = requester.as_ref().map(|requester| requester.subject.clone());
        let begin = BeginRun {
            run_id,
            session_id: session_id.clone(),
            agent_id: agent.id.clone(),
            agent_name: agent.name.clone(),
            requester,
            // Taken when the run is stored.
            snapshot: String::new(),
            // What hooks look at first may be redacted or refused, and is not stored before.
            input: agent.hooks.pre.is_empty().then(|| state.input_json()),
            lease_ms: agent.lease_ms(),
        };
        let drive = Drive {
            agent,
            claim: RunClaim::first(&begin.run_id),
            unbegun: Some(begin),
            first: None,
            lease: None,
            state,
            conversation: Some(conversation),
            session_id,
            user_id,
            resumed: false,
            started: Instant::now(),
            events,
            stop: self.stop,
        };
        drive.run().await
    }
}

impl IntoFuture for StartRun {
    type Output = Result<RunOutput>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<RunOutput>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { driven(tokio::spawn(self.start(Events::unwatched()))).await })
    }
}
