//! What only PostgreSQL has: locks that are waited for, a server that goes away, roles, addresses, TLS.

#![allow(clippy::unwrap_used, reason = "what a store answers otherwise is what a test shows")]

#[path = "postgres/append.rs"]
mod append;
#[path = "postgres/away.rs"]
mod away;
#[path = "postgres/command.rs"]
mod command;
#[path = "postgres/faults.rs"]
mod faults;
#[path = "postgres/locks.rs"]
mod locks;
#[path = "postgres/messages.rs"]
mod messages;
#[path = "postgres/opening.rs"]
mod opening;
#[path = "postgres/pooler.rs"]
mod pooler;
#[path = "postgres/rows.rs"]
mod rows;
#[path = "postgres/writes.rs"]
mod writes;
