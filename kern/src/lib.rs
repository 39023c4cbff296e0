//! Agents whose tools need a human's consent.
//!
//! A function with [`#[tool]`](tools::tool) is a tool that a model may call. Who is asked before its body runs stands
//! beside it:
//!
//! | Written | Before the body runs |
//! |---|---|
//! | `#[tool]` | nobody is asked |
//! | `#[tool(requires_confirmation)]` | the person who asked confirms this very call |
//! | `#[tool(requires_user_input)]` | the person who asked fills or corrects the arguments |
//! | `#[tool(external_execution)]` | never: another system runs it, and its result is brought back |
//! | [`#[approval]`](approval::approval) `#[tool]` | somebody else than the person who asked approves it |
//! | `#[approval] #[tool(requires_confirmation)]` | both, in two recorded decisions |
//! | `#[approval(type = "audit")] #[tool]` | nobody is asked; the record of it is durable |
//!
//! While somebody has to decide, the run is paused: its rows are in the [store](db), and no task and no connection
//! waits. [`Agent::continue_run`] goes on, in the same process or in any other that has an agent with the same id.
//!
//! # The promise
//!
//! > The only way into the body of a protected tool is a committed database transition `ready → executing`, on a
//! > row whose digest equals the call about to run, and whose approval is `approved`.
//!
//! (For `#[approval]`. Calls of the user tier pass the same transition on the requester's stored answer, bare audit
//! calls on their durable record.)
//!
//! A protected call is started at most once per approval. If its process dies in between, its execution is
//! [`Unknown`](db::ExecutionStatus::Unknown): nothing runs it again, and a human says how it ended
//! ([`settle_execution`](db::Db::settle_execution)). A tool may promise something else with its [`effect`](tools::tool): to
//! be started again with the same key, or to write in kern's own transaction. Plain tools, and the model call, may be
//! repeated after a crash.
//! Names of people are what the caller says, recorded as unverified. Whoever can write to the database with SQL of their
//! own is trusted. To call the function itself is outside the gate. The README has the limits in full.
//!
//! # Example
//!
//! ```
//! use kern::db::SqliteDb;
//! use kern::models::{ScriptedModel, turn};
//! use kern::prelude::*;
//!
//! /// Pay money back to a customer. More than 100 dollars need an approval.
//! #[approval(when = *dollars > 100)]
//! #[tool]
//! async fn refund(customer_id: String, dollars: u32) -> String {
//!     format!("{dollars} dollars have been paid back to {customer_id}.")
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("kern-doc-crate-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("app.db");
//! let db = SqliteDb::open(&path).await?;
//! let model = ScriptedModel::new([
//!     turn().tool_call("refund", json!({ "customer_id": "ACME-123", "dollars": 500 })),
//!     turn().text("The money is on its way."),
//! ]);
//! let agent = Agent::builder().id("support").model(model).tools(tools![refund]).db(db.clone()).build()?;
//!
//! let run = agent.run("Refund ACME-123 500 dollars").user_id("alice").await?;
//! assert!(run.is_paused());
//!
//! // Somebody else decides, perhaps days later and in another program.
//! let waiting = ApprovalFilter::new().status(ApprovalStatus::Pending).run_id(&run.run_id);
//! let approval = &db.list_approvals(waiting).await?.data[0];
//! db.update_approval(&approval.id, ApprovalStatus::Pending, Resolution::approved().by("bob")).await?;
//!
//! let run = agent.continue_run(&run.run_id).user_id("alice").await?;
//! assert_eq!(run.content(), "The money is on its way.");
//! assert!(db.audit().verify().await?.is_intact());
//! # drop((agent, db));
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! - [`prelude`]: what most programs import.
//! - [`Agent`]: starting, continuing, cancelling and reading runs; [`AgentBuilder`]: all that it is made of.
//! - [`tools::tool`], [`approval::approval`], [`tools::toolkit`], [`hooks::hook`]: the attributes and their arguments.
//! - [`run::RunOutput`] and [`run::RunRequirement`]: what a run gave, what it asks the person who started it.
//! - [`run::RunStream`] and [`run::RunEvent`]: watching a run while it goes on.
//! - `os::AgentOS` (feature `os`): all of it over HTTP.
//! - [`worker::Worker`]: runs that go on by themselves once they are decided.
//! - [`tools::UserFeedbackTools`], [`tools::UserControlFlowTools`]: with these the model asks the user.
//! - [`hooks`], [`guardrails`]: checks around a run that wait for nobody, and what they do not see.
//! - [`db`]: the stores, [`db::Db`] with the contract of each method, and [`db::Audit`].
//! - [`display`]: what a person may be shown of arguments, names and notes.
//! - [`models`]: [`models::ScriptedModel`] for tests, the clients of providers, and [`models::Model`] for one's own.
//! - [`Error`]: every way in which kern does not do what it was asked, each with a stable code.
//!
//! # Features
//!
//! | Feature | Adds | Default |
//! |---|---|---|
//! | `macros` | `#[tool]`, `#[toolkit]`, `#[approval]` and `#[hook]` | yes |
//! | `sqlite` | `SqliteDb` | yes |
//! | `sqlite-bundled` | SQLite compiled in; without it, the system's is linked | yes |
//! | `postgres` | `PostgresDb`, with TLS | no |
//! | `openai` | `OpenAIChat`, and model strings such as `openai:gpt-4o-mini` | no |
//! | `models` | all model clients: today, `openai` | no |
//! | `cli` | the command `kern`: approvals, executions and the audit log from a shell | no |
//! | `os` | `AgentOS`: runs, approvals and the audit log over HTTP; `identity`: who somebody is, by an API key or a token | no |
//! | `jwks-url` | `identity::JwksUrl`: tokens are checked with the keys that their issuer publishes at an address | no |
//! | `webhooks` | `os::Webhook`: `AgentOS` tells other systems what happens, by signed requests | no |

// The crate's documentation links to what the default features bring.
#![cfg_attr(not(all(feature = "macros", feature = "sqlite")), allow(rustdoc::broken_intra_doc_links))]

extern crate self as kern;

/// The README's example, so that it is compiled and run.
#[cfg(all(doctest, feature = "macros"))]
#[doc = include_str!("../../README.md")]
struct ReadmeDoctests;

pub mod agent;
pub mod approval;
pub mod display;
mod error;
pub mod guardrails;
pub mod hooks;
#[cfg(any(feature = "openai", feature = "webhooks", feature = "jwks-url"))]
mod http;
#[cfg(any(feature = "os", feature = "cli"))]
pub mod identity;
mod milliseconds;
pub mod models;
#[cfg(feature = "os")]
pub mod os;
pub mod prelude;
pub mod run;
pub mod tools;
pub mod worker;

/// Stores: `SqliteDb`, `PostgresDb`, `InMemoryDb`, and the trait they share.
pub mod db {
    pub use kern_db::*;

    /// The documents' path of `SqliteDb`.
    #[cfg(feature = "sqlite")]
    pub mod sqlite {
        pub use kern_db::{SqliteDb, SqliteDbBuilder};
    }

    /// The documents' path of `PostgresDb`.
    #[cfg(feature = "postgres")]
    pub mod postgres {
        pub use kern_db::{PostgresDb, PostgresDbBuilder};
    }
}

#[doc(hidden)]
pub mod __private;

pub use agent::{Agent, AgentBuilder};
pub use error::{Error, Result};
