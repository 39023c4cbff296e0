//! `AgentOS`: agents, runs, approvals and the audit log over HTTP.
//!
//! ```no_run
//! use kern::db::SqliteDb;
//! use kern::models::{ScriptedModel, turn};
//! use kern::os::AgentOS;
//! use kern::prelude::*;
//!
//! /// Delete a user.
//! #[approval]
//! #[tool]
//! async fn delete_user(user_id: String) -> String {
//!     format!("{user_id} is gone.")
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let db = SqliteDb::open("app.db").await?;
//! let model = ScriptedModel::new([turn().tool_call("delete_user", json!({ "user_id": "u_42" })), turn().text("Done.")]);
//! let agent = Agent::builder().id("data").model(model).tools(tools![delete_user]).db(db).build()?;
//!
//! AgentOS::builder().agent(agent).build()?.serve("127.0.0.1:7777").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Paths, forms, fields and event streams are those of the reference, so that a client written for it drives kern unchanged;
//! `GET /openapi.json` describes all of it. A client that goes away takes no run with it, and a run that is decided goes on
//! by itself.
//!
//! Where there is an API key in the store ([`KeyRequest`](crate::identity::KeyRequest), `kern keys create`), or
//! [`tokens`](AgentOSBuilder::tokens) are taken, everybody is asked who they are: what they do is recorded under the name of
//! their credential, whatever their request says, they need the [scope](crate::identity::Scope) of a route, and what is
//! somebody else's is not there for them.
//!
//! As long as there is none, nobody is asked: [`serve`](AgentOS::serve) takes addresses of this machine only, and every name
//! is recorded as unverified; what is asked for under another name than this machine's, through a proxy, or by a page of another
//! server, is refused.

mod access;
mod addresses;
mod agents;
mod approvals;
mod audit;
mod connections;
mod cors;
mod events;
mod executions;
mod feeds;
mod fields;
mod home;
mod idempotency;
mod json;
mod limits;
mod openapi;
mod pages;
mod panel;
mod places;
mod probes;
mod problem;
mod proxy;
mod rate;
mod runs;
mod serve;
mod sessions;
mod shared;
mod watch;
#[cfg(feature = "webhooks")]
mod webhooks;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::http::HeaderValue;
use kern_db::{Db, IntoDb, RunId};

use crate::agent::Agent;
use crate::error::{Error, Result};
use crate::identity::{Authenticator, TokenVerifier};
use crate::run::RunOutput;
use crate::run::stop::{Phase, Stop};
use addresses::Failures;
use feeds::Feeds;
use places::Streams;
use probes::Health;
use proxy::Proxies;
use rate::Rate;
use shared::Shared;
use watch::Log;

pub use limits::Limits;
pub use serve::OsServer;
#[cfg(feature = "webhooks")]
pub use webhooks::Webhook;

/// Agents with their store, to be served over HTTP. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct AgentOS(Arc<Os>);

/// What every request sees.
struct Os {
    id: String,
    name: String,
    description: Option<String>,
    agents: Vec<Agent>,
    db: Arc<dyn Db>,
    started_at: jiff::Timestamp,
    has_worker: bool,
    has_panel: bool,
    limits: Limits,
    rate: Option<Rate>,
    streams: Streams,
    failures: Failures,
    health: Health,
    /// Runs that are read for those who watch them, and are driven elsewhere.
    looks: Shared<RunId, Arc<RunOutput>>,
    origins: Vec<HeaderValue>,
    proxies: Proxies,
    /// Who is to be in which, from the start of the server on.
    pools: Vec<(String, Vec<String>)>,
    feeds: Feeds,
    log: Log,
    auth: Authenticator,
    /// Whether anybody was ever seen to have a credential.
    asks: AtomicBool,
    sessions: panel::session::Sessions,
    #[cfg(feature = "webhooks")]
    webhooks: Vec<Webhook>,
    phase: tokio::sync::watch::Sender<Phase>,
}

impl Os {
    fn agent(&self, id: &str) -> Option<&Agent> {
        self.agents.iter().find(|agent| agent.id() == id)
    }

    /// What the runs that are driven for requests know of the server's end.
    fn stop(&self) -> Stop {
        Stop::by(self.phase.subscribe())
    }
}

impl fmt::Debug for AgentOS {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentOS").field("id", &self.0.id).field("agents", &self.0.agents).finish_non_exhaustive()
    }
}

/// What an [`AgentOS`] is made of.
#[derive(Debug)]
#[must_use = "nothing is made until `build` is called"]
pub struct AgentOSBuilder {
    id: String,
    name: Option<String>,
    description: Option<String>,
    agents: Vec<Agent>,
    db: Option<Arc<dyn Db>>,
    has_worker: bool,
    has_panel: bool,
    limits: Limits,
    tokens: Option<TokenVerifier>,
    origins: Vec<String>,
    proxies: Vec<IpAddr>,
    pools: Vec<(String, Vec<String>)>,
    #[cfg(feature = "webhooks")]
    webhooks: Vec<Webhook>,
}

impl AgentOSBuilder {
    /// Sets its id, `kern` by default.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the name that people see, by default the id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Says what it is for.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds an agent.
    pub fn agent(mut self, agent: Agent) -> Self {
        self.agents.push(agent);
        self
    }

    /// Adds agents.
    pub fn agents(mut self, agents: impl IntoIterator<Item = Agent>) -> Self {
        self.agents.extend(agents);
        self
    }

    /// Sets the store, by default that of the agents. They have to be one.
    pub fn db(mut self, db: impl IntoDb) -> Self {
        self.db = Some(db.into_db());
        self
    }

    /// Takes the tokens of an identity provider, beside API keys. From then on everybody is asked who they are.
    pub fn tokens(mut self, tokens: TokenVerifier) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Says who is in a pool. It is written when the server starts, where the store says otherwise, and is on record; a server
    /// that is started later with other people has the last word. A pool that an agent names has to be in the store before
    /// that, or be filled by tokens: the agent's `build` asks for it
    /// ([`pool_from_tokens`](crate::AgentBuilder::pool_from_tokens)).
    pub fn pool(mut self, name: impl Into<String>, members: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.pools.push((name.into(), members.into_iter().map(Into::into).collect()));
        self
    }

    /// Tells an address what happens, by signed requests, as long as the server runs. Any number of them may be added. It is
    /// told of what is committed after the first start with it, also of what happens while no server runs, and at least
    /// once; no decision waits for it.
    #[cfg(feature = "webhooks")]
    pub fn webhook(mut self, webhook: Webhook) -> Self {
        self.webhooks.push(webhook);
        self
    }

    /// Leaves the [`Worker`](crate::worker::Worker) out: runs go on when a client continues them, or a worker that is started
    /// elsewhere.
    pub fn without_worker(mut self) -> Self {
        self.has_worker = false;
        self
    }

    /// Sets how much clients may take. Of [`into_router`](AgentOS::into_router), only what is said of bodies counts: heads and
    /// connections are its server's.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets pages of other servers ask this one, from browsers (CORS): those of exactly these origins, such as
    /// `https://app.example`. They bring a credential of their own along; the panel's cookie counts for none of them.
    pub fn allow_origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.origins.extend(origins.into_iter().map(Into::into));
        self
    }

    /// Trusts a proxy at this address: the last address in its `X-Forwarded-For` is that of the client, for the log and for
    /// whatever is limited by address. Every other header of a proxy is ignored, and so is this one from other peers. Call it
    /// once for each proxy on the way. Only [`serve`](AgentOS::serve) and [`start`](AgentOS::start) know the peer's address.
    ///
    /// It opens nothing: a server without credentials refuses what any proxy forwards. `docs/proxy.md` has the rest.
    pub fn trusted_proxy(mut self, address: impl Into<IpAddr>) -> Self {
        self.proxies.push(address.into());
        self
    }

    /// Leaves the control panel out: what stands under `/panel` is not found then.
    pub fn without_panel(mut self) -> Self {
        self.has_panel = false;
        self
    }

    /// Builds it.
    ///
    /// # Errors
    ///
    /// - [`Error::Setup`]: there is no agent, two have the same id, or they have different stores: its approvals would be
    ///   some of them; a limit lets nobody ask anything; an origin is none; a webhook may not be told what it asks for, or has
    ///   the name of another one.
    pub fn build(self) -> Result<AgentOS> {
        let refused = |what: String| Err(Error::Setup(what));
        let Some(first) = self.agents.first() else {
            return refused("an AgentOS without agents serves nothing: add one with `.agent(…)`".to_owned());
        };
        let db = self.db.unwrap_or_else(|| Arc::clone(&first.0.db));
        for (place, agent) in self.agents.iter().enumerate() {
            if self.agents[..place].iter().any(|other| other.id() == agent.id()) {
                let what = "a path could mean either: give one of them another `.id(…)`";
                return refused(format!("two agents have the id `{}`: {what}", agent.id()));
            }
            if agent.0.db.handle() != db.handle() {
                let what = "its approvals would not be listed: give all agents, and the AgentOS, clones of one store";
                return refused(format!("the agent `{}` has another store: {what}", agent.id()));
            }
        }
        let rate = match self.limits.rate.map(|(rate, burst)| (NonZeroU32::new(rate), NonZeroU32::new(burst))) {
            None => None,
            Some((Some(rate), Some(burst))) => Some(Rate::new(rate, burst)),
            Some(_) => return refused("a rate of 0 requests lets nobody ask: see `Limits::without_rate`".to_owned()),
        };
        let origins = self.origins.into_iter().map(|origin| {
            cors::origin(&origin).ok_or_else(|| {
                let what = "an origin is a scheme, a name and a port, as browsers send it: `https://app.example`";
                Error::Setup(format!("`{origin}` cannot be allowed: {what}"))
            })
        });
        let origins = origins.collect::<Result<_>>()?;
        #[cfg(feature = "webhooks")]
        let webhooks = self.webhooks.into_iter().map(Webhook::checked).collect::<Result<Vec<_>>>()?;
        #[cfg(feature = "webhooks")]
        for (place, webhook) in webhooks.iter().enumerate() {
            if webhooks[..place].iter().any(|other| other.id() == webhook.id()) {
                let what = "they could not be told apart in the store: give one of them another `.name(…)`";
                return refused(format!("two webhooks have the name `{}`: {what}", webhook.id().escape_debug()));
            }
        }
        Ok(AgentOS(Arc::new(Os {
            #[cfg(feature = "webhooks")]
            webhooks,
            name: self.name.unwrap_or_else(|| self.id.clone()),
            id: self.id,
            description: self.description,
            agents: self.agents,
            log: Log::default(),
            auth: self.tokens.into_iter().fold(Authenticator::new(Arc::clone(&db)), Authenticator::tokens),
            asks: AtomicBool::new(false),
            sessions: panel::session::Sessions::default(),
            has_panel: self.has_panel,
            streams: Streams::new(self.limits.connections, self.limits.streams),
            failures: Failures::new(self.limits.failures),
            health: Health::default(),
            looks: Shared::default(),
            limits: self.limits,
            rate,
            origins,
            proxies: Proxies::new(self.proxies),
            pools: self.pools,
            has_worker: self.has_worker,
            db,
            started_at: jiff::Timestamp::now(),
            feeds: Feeds::default(),
            phase: tokio::sync::watch::Sender::new(Phase::Working),
        })))
    }
}

impl AgentOS {
    /// Starts from the default settings.
    pub fn builder() -> AgentOSBuilder {
        AgentOSBuilder {
            id: "kern".to_owned(),
            name: None,
            description: None,
            agents: Vec::new(),
            db: None,
            has_worker: true,
            has_panel: true,
            limits: Limits::new(),
            tokens: None,
            origins: Vec::new(),
            proxies: Vec::new(),
            pools: Vec::new(),
            #[cfg(feature = "webhooks")]
            webhooks: Vec::new(),
        }
    }

    /// Gives all routes, for a server of one's own. Runs do not go on by themselves then, unless a
    /// [`Worker`](crate::worker::Worker) is started beside it, and no webhook is told of anything. As long as there is no credential, they answer only what is
    /// asked for under a name of this machine.
    pub fn into_router(self) -> axum::Router {
        openapi::router(self.0)
    }
}
