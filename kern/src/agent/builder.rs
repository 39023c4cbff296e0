//! Building an agent: everything that can be wrong with it is said here.

use std::sync::Arc;
use std::time::Duration;

use kern_db::{Db, InMemoryDb, IntoDb};

use super::{Agent, Inner};
use crate::approval::policy::check_satisfiable;
use crate::error::{Error, Result};
use crate::hooks::{Hooks, IntoPostHook, IntoPreHook};
use crate::models::{IntoModel, Model, ModelError};
use crate::run::Message;
use crate::run::lease::Hints;
use crate::tools::registry::Registry;
use crate::tools::{StateType, States, Tool, ToolHandle, Toolkit};

const LEASE: Duration = Duration::from_secs(30);
const MAX_TURNS: u32 = 50;
const ARGUMENT_LIMIT: usize = 64 * 1024;
const HISTORY_RUNS: u32 = 20;

/// Settings of an [`Agent`].
#[must_use = "an agent is made by `build`"]
pub struct AgentBuilder {
    id: Option<String>,
    name: Option<String>,
    model: Option<Result<Arc<dyn Model>, ModelError>>,
    tools: Vec<ToolHandle>,
    states: States,
    given_twice: Option<StateType>,
    instructions: Option<String>,
    toolkit_instructions: Vec<String>,
    hooks: Hooks,
    db: Option<Arc<dyn Db>>,
    lease: Duration,
    max_turns: u32,
    argument_limit: usize,
    num_history_runs: u32,
    pools_from_tokens: Vec<String>,
}

impl Default for AgentBuilder {
    fn default() -> Self {
        Self {
            id: None,
            name: None,
            model: None,
            tools: Vec::new(),
            states: States::default(),
            given_twice: None,
            instructions: None,
            toolkit_instructions: Vec::new(),
            hooks: Hooks::default(),
            db: None,
            lease: LEASE,
            max_turns: MAX_TURNS,
            argument_limit: ARGUMENT_LIMIT,
            num_history_runs: HISTORY_RUNS,
            pools_from_tokens: Vec::new(),
        }
    }
}

impl AgentBuilder {
    /// Names the agent for the store: a process with an agent of the same id can resume its runs. `agent` by default.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Names the agent for people.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the model: one of [`models`](crate::models), or a name such as `openai:gpt-4o-mini`.
    pub fn model(mut self, model: impl IntoModel) -> Self {
        self.model = Some(model.into_model());
        self
    }

    /// Adds tools.
    pub fn tools(mut self, tools: impl IntoIterator<Item = ToolHandle>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Adds a tool.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools.push(ToolHandle::new(tool));
        self
    }

    /// Adds the tools of a toolkit.
    pub fn toolkit(mut self, toolkit: impl Toolkit) -> Self {
        let toolkit = Arc::new(toolkit);
        self.toolkit_instructions.extend(toolkit.instructions().map(str::to_owned));
        self.tools.extend(toolkit.tools());
        self
    }

    /// Brings a value for the tools that ask for its type with `#[state]`.
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Self {
        if !self.states.insert(state) {
            self.given_twice = self.given_twice.or(Some(StateType::of::<T>()));
        }
        self
    }

    /// Sets what the model is told before the conversation.
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// Adds a hook that runs before the model sees the input: a function with `#[hook]`, a plain `async fn` of the same
    /// shape, or a [guardrail](crate::guardrails). They run in the order they were added, each on what the one before left.
    ///
    /// It may change the input, or stop the run; a hook that fails or panics stops it, too. See [`hooks`](crate::hooks).
    pub fn pre_hook<Kind>(mut self, hook: impl IntoPreHook<Kind>) -> Self {
        self.hooks.pre.push(hook.into_pre_hook());
        self
    }

    /// Adds a hook that runs when a run is about to be completed, or in the background after that: a function with
    /// `#[hook]` or `#[hook(run_in_background)]`, or a plain `async fn` of the same shape. They run in the order they were
    /// added.
    ///
    /// One that the run waits for may stop it; if it fails or panics it stops it, too. One in the background only writes
    /// to the log. See [`hooks`](crate::hooks).
    pub fn post_hook<Kind>(mut self, hook: impl IntoPostHook<Kind>) -> Self {
        self.hooks.post.push(hook.into_post_hook());
        self
    }

    /// Sets the store. Without one the agent keeps its runs in memory, and tools with `#[approval]` are refused.
    pub fn db(mut self, db: impl IntoDb) -> Self {
        self.db = Some(db.into_db());
        self
    }

    /// Sets after how much silence of a process its runs are taken to be lost. 30 seconds by default; at least three
    /// times the store's busy timeout.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how many times the model may answer in one run. 50 by default.
    pub fn max_turns(mut self, turns: u32) -> Self {
        self.max_turns = turns;
        self
    }

    /// Sets how large the arguments of one call may be. 64 KiB by default.
    pub fn argument_limit(mut self, bytes: usize) -> Self {
        self.argument_limit = bytes;
        self
    }

    /// Sets how many earlier runs of its session the model sees before a run: the newest that have ended, of this agent and
    /// asked for by the same person. 20 by default, 0 for none.
    ///
    /// Runs that are paused or running are not seen, and of a run that was stopped in the middle only what was finished. A
    /// run that goes on later sees what it saw when it started. [`RunOutput::messages`](crate::run::RunOutput::messages)
    /// holds the run's own messages only.
    pub fn num_history_runs(mut self, runs: u32) -> Self {
        self.num_history_runs = runs;
        self
    }

    /// Says that tokens say who is in this pool (their claim `kern_pools`), beside the store or alone, so that
    /// [`build`](Self::build) does not ask the store whether enough people are. It lets nobody decide: who does is asked at each
    /// vote. For each pool by its name, so that one that is misspelt elsewhere is still refused.
    pub fn pool_from_tokens(mut self, name: impl Into<String>) -> Self {
        self.pools_from_tokens.push(name.into());
        self
    }

    /// Makes the agent.
    ///
    /// # Errors
    ///
    /// - [`Error::Setup`]: there is no model; two tools have one name; a tool needs an approval and there is no store to
    ///   keep it in; a tool asks for a state that is missing, or two were given of one type; the lease is too short for
    ///   the store.
    /// - [`Error::PolicyUnsatisfiable`]: nobody can ever satisfy an `#[approval]` (its pool is not in the store, or has fewer
    ///   members than its quorum, and is none of [`pool_from_tokens`](Self::pool_from_tokens)), or the store cannot keep what
    ///   an `effect` promises. Pools are read here, and this waits for the store; they may change later, and then decide as
    ///   they are.
    /// - [`Error::Store`]: the pools cannot be read.
    /// - [`Error::Model`]: the model's name is unknown.
    pub fn build(self) -> Result<Agent> {
        if self.max_turns == 0 {
            let what = "the model could not even answer once: leave it out for 50";
            return Err(Error::Setup(format!("`.max_turns(0)`: {what}")));
        }
        let Some(model) = self.model else {
            let what = "an agent needs a model: `.model(\"openai:gpt-4o-mini\")`, or a `ScriptedModel` for tests";
            return Err(Error::Setup(what.to_owned()));
        };
        let model = model?;
        if let Some(state) = self.given_twice {
            let what = "a tool could not tell them apart: wrap one of them in a type of its own";
            return Err(Error::Setup(format!("`.state(…)` was given two values of type `{}`: {what}", state.name())));
        }
        let tools = Registry::new(self.tools)?;
        check_tools(&tools, &self.states)?;
        let recorded = tools.all().iter().find(|tool| tool.descriptor().policy.approval.is_some());
        let db = match (self.db, recorded) {
            (Some(db), Some(tool)) if !db.is_durable() => {
                let tool = &tool.descriptor().name;
                tracing::warn!(tool, "approvals are kept in memory: they end with this process");
                db
            }
            (Some(db), _) => db,
            (None, None) => InMemoryDb::new().into_db(),
            (None, Some(tool)) => {
                return Err(Error::Setup(format!(
                    "tool `{}` has an approval, and the agent has no store to keep it in: give it one with \
                     `.db(SqliteDb::open(\"app.db\").await?)`",
                    tool.descriptor().name
                )));
            }
        };
        check_policies(&tools, &self.pools_from_tokens, &*db)?;
        let shortest = db.busy_timeout() * 3;
        if self.lease < Duration::from_millis(1) {
            let what = "it would be over before the run has started";
            return Err(Error::Setup(format!("a lease of {:?} is less than a millisecond: {what}", self.lease)));
        }
        if self.lease < shortest {
            return Err(Error::Setup(format!(
                "a lease of {:?} is shorter than three times the store's busy timeout of {:?}: a busy store would make \
                 a living process look dead",
                self.lease,
                db.busy_timeout()
            )));
        }
        Ok(Agent(Arc::new(Inner {
            id: self.id.unwrap_or_else(|| "agent".to_owned()),
            name: self.name,
            model,
            tools,
            states: Arc::new(self.states),
            instructions: instructions(self.instructions, self.toolkit_instructions),
            hooks: self.hooks,
            db,
            lease: self.lease,
            max_turns: self.max_turns,
            argument_limit: self.argument_limit,
            num_history_runs: self.num_history_runs,
            hints: Hints::default(),
        })))
    }
}

/// What a tool asks for has to be there.
fn check_tools(tools: &Registry, states: &States) -> Result<()> {
    for tool in tools.all() {
        let descriptor = tool.descriptor();
        if let Some(missing) = descriptor.states.iter().find(|state| !states.has(state)) {
            return Err(Error::Setup(format!(
                "tool `{}` asks for a state of type `{}`, and the agent has none: give it one with `.state(…)`",
                descriptor.name,
                missing.name()
            )));
        }
    }
    Ok(())
}

/// What a tool asks for can be satisfied. Where no tool names a pool, the store is not asked.
fn check_policies(tools: &Registry, from_tokens: &[String], db: &dyn Db) -> Result<()> {
    let named = tools.all().iter().any(|tool| tool.descriptor().policy.rules.pool.is_some());
    let pools = if named { db.pools_now()? } else { Vec::new() };
    for tool in tools.all() {
        let descriptor = tool.descriptor();
        check_satisfiable(descriptor, &pools, from_tokens, db.takes_writes())
            .map_err(|why| Error::PolicyUnsatisfiable { tool_name: descriptor.name.clone(), why })?;
    }
    Ok(())
}

/// The agent's own instructions, and after them those of its toolkits.
fn instructions(own: Option<String>, toolkits: Vec<String>) -> Option<Message> {
    let parts: Vec<String> = own.into_iter().chain(toolkits).collect();
    (!parts.is_empty()).then(|| Message::system(parts.join("\n\n")))
}
