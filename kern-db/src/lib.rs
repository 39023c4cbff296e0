//! Stores for kern: runs, approvals, executions and the audit log.
//!
//! Every change of a state is one transaction with one conditional statement for each row and one entry in the audit
//! log. The transitions are written once ([`Transitions`]); a store offers a transaction with four operations.

mod arguments;
mod audit;
// The columns' names are for stores that speak SQL.
#[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
mod cell;
#[cfg(feature = "checkpoints")]
mod checkpoints;
#[doc(hidden)]
pub mod clock;
mod db;
mod digest;
mod error;
#[doc(hidden)]
pub mod fault;
mod ids;
// The store in memory has no mark: it cannot be set back.
#[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code))]
mod mark;
mod memory;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod migrations;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod names;
mod page;
#[cfg(feature = "postgres")]
mod postgres;
mod records;
mod requests;
mod rules;
mod schema;
mod sensitive;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod transitions;
mod tx;

#[doc(hidden)]
pub use audit::Gathered;
#[doc(hidden)]
pub use audit::Sign;
pub use audit::verify_export;
#[cfg(feature = "checkpoints")]
pub use checkpoints::{
    CheckpointKey, CheckpointPublicKey, CheckpointSink, Checkpointer, CheckpointerBuilder, FileSink, StdoutSink,
    unsigned,
};
pub use clock::StoreClock;
pub use db::{Audit, Db, DbExt, DbFuture, IntoDb, Transitions};
pub use error::{Error, Result};
pub use ids::{ApprovalId, ExecutionId, RunId, SessionId, fresh_id};
pub use mark::{Heads, Mark, MarkHost, MarkPlace, MarkSink};
pub use memory::InMemoryDb;
#[cfg(feature = "postgres")]
pub use postgres::{PostgresDb, PostgresDbBuilder};
pub use records::approval::{Approval, ApprovalFilter, Page, PageMeta, Resolution, Vote};
pub use records::audit::{AuditBreak, AuditEntry, AuditReport, Erased};
pub use records::call::{ATTEMPTS, Call, CallPolicy, Effect, Outcome, Standing, Tier};
pub use records::checkpoint::Checkpoint;
pub use records::delivery::{Delivery, DeliveryFilter};
pub use records::execution::{Execution, ExecutionFilter, Settlement};
pub use records::host::Host;
pub use records::key::AccessKey;
pub use records::outbox::TOPICS;
pub use records::pool::Pool;
pub use records::principal::{Actor, Caller, KEY_ISSUER, Link, MAX_LINKS, Owner, Principal, PrincipalFields};
pub use records::run::{Run, RunFilter};
pub use records::session::{
    DeletedSession, NewSession, Session, SessionChange, SessionDeletion, SessionFilter, SessionOwner,
};
pub use records::status::{
    Answer, ApprovalStatus, ApprovalType, Authority, DeliveryStatus, ExecutionStatus, PauseType, RunStatus, StoreState,
    UnknownWord,
};
pub use records::store::{RestoreAcceptance, RestoreAccepted, StoreStatus};
pub use requests::{
    AnswerCall, Answered, AskAgain, BeginRun, Blocker, CallClaim, CallClaimed, Candidates, ClaimCall, ClaimRun,
    CommitTurn, DeliveryClaim, DeliveryEnd, EndRun, Ended, Finished, FoundKey, KeptAnswer, KeyLookup, NewAnswer,
    NewCall, NewKey, OpenRequest, OpenedRequest, OwnerToken, Quarantine, Recovered, RequestClaim, Resumable, RunClaim,
    RunClaimed, Shown, SqlValue, StoreInput, Swept, Ticket, Write, WrongTool,
};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteDb, SqliteDbBuilder};

#[doc(hidden)]
pub use digest::tool_identity;

/// Canonical JSON (RFC 8785), the form that everything is digested and stored in.
pub fn canonical_json(value: &serde_json::Value) -> String {
    digest::canonical(value)
}
